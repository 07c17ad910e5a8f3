//! The network of a guest in which nothing else configures it.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::missing::if_exists;
use bcvk_contract::user_net::UserNet;

use super::netlink::Netlink;
use super::systemctl;

/// Gives the first virtio network interface the address in `net` that QEMU forwards connections to. Names
/// of one word are looked for in `domain`.
///
/// # Errors
/// If there is no such interface, or it cannot be configured.
pub fn configure_network(net: UserNet, domain: Option<&str>) -> io::Result<()> {
    let index = await_interface()?;
    let netlink = Netlink::open()?;
    netlink.set_up(index)?;
    netlink.set_address(index, net.guest(), UserNet::PREFIX)?;
    netlink.set_gateway(index, net.gateway())?;
    let resolved = || systemctl(["is-enabled", "systemd-resolved.service"]).is_ok();
    let domain = domain.map(|domain| format!("search {domain}\n"));
    let text = format!("nameserver {}\n{}", net.dns(), domain.unwrap_or_default());
    set_name_server(Path::new("/etc/resolv.conf"), &text, resolved)
}

/// Waits for an interface; returns its index.
fn await_interface() -> io::Result<u32> {
    const PAUSE: Duration = Duration::from_millis(50);
    /// Every VM has a card, but udev loads its driver late in an emulated guest on a busy machine.
    const LIMIT: Duration = Duration::from_secs(120);
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(index) = first_interface(Path::new("/sys/bus/virtio/drivers/virtio_net")) {
            return Ok(index);
        }
        if Instant::now() > deadline {
            let what = "there is no network card";
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        thread::sleep(PAUSE);
    }
}

/// Returns the index of the first interface of a driver's devices, `virtioN/net/NAME`.
fn first_interface(driver: &Path) -> Option<u32> {
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.collect()
    };
    let mut devices = names(driver);
    devices.retain(|name| name.starts_with("virtio"));
    devices.sort();
    let mut interfaces = devices.iter().flat_map(|device| {
        let dir = driver.join(device).join("net");
        let interfaces = names(&dir).into_iter();
        interfaces.map(move |name| dir.join(name).join("ifindex"))
    });
    let index = fs::read_to_string(interfaces.next()?).ok()?;
    index.trim_end().parse().ok()
}

/// Says where names are resolved, unless something has done so. An empty file may be a link to one of
/// systemd-resolved's, which makes it when it starts and has its name server from bcvk's
/// resolved.conf.d.
fn set_name_server(conf: &Path, text: &str, resolved: impl FnOnce() -> bool) -> io::Result<()> {
    if fs::metadata(conf).is_ok_and(|found| found.len() > 0) || resolved() {
        return Ok(());
    }
    if_exists(fs::remove_file(conf))?;
    fs::write(conf, text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_first_card_is_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(first_interface(&dir.path().join("missing")), None);
        for (path, index) in [
            ("module/net/no", "4"),
            ("virtio3/net/eth1", "3"),
            ("virtio1/net/eth0", "2"),
            ("virtio0", "1"),
        ] {
            let interface = dir.path().join(path);
            fs::create_dir_all(&interface).expect("made");
            fs::write(interface.join("ifindex"), format!("{index}\n")).expect("written");
        }
        assert_eq!(first_interface(dir.path()), Some(2));
    }

    #[test]
    fn only_a_system_without_a_resolver_gets_a_name_server() {
        let dir = tempfile::tempdir().expect("a directory");
        let conf = dir.path().join("resolv.conf");
        let ours = "nameserver 10.0.2.3\n";
        set_name_server(&conf, ours, || true).expect("nothing to do");
        assert!(!conf.exists());
        set_name_server(&conf, ours, || false).expect("written");
        assert_eq!(fs::read_to_string(&conf).expect("text"), ours);
        fs::write(&conf, "nameserver 9.9.9.9\n").expect("written");
        set_name_server(&conf, ours, || false).expect("nothing to do");
        let text = fs::read_to_string(&conf).expect("text");
        assert_eq!(text, "nameserver 9.9.9.9\n");
        fs::remove_file(&conf).expect("removed");
        symlink("missing/stub.conf", &conf).expect("linked");
        set_name_server(&conf, ours, || false).expect("written");
        assert_eq!(fs::read_to_string(&conf).expect("text"), ours);
    }
}
