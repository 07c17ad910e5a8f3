//! The moment at which a deployed system would answer its users.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use super::device::Device;

/// Path under `/run` of the sign that systemd gives when a deployed sshd would be started.
pub(crate) const SIGN: &str = "bcvk/answers";

/// Time for a network to get its address after that: an emulated guest takes up to half of it. DHCP runs
/// then; whatever takes longer may not come at all.
const LIMIT: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(20);

/// Waits until a deployed sshd would be started, and could be reached.
///
/// # Errors
/// If the sign cannot be watched for.
pub(super) async fn answers(run: &Path, proc: &Path, sys: &Path) -> io::Result<()> {
    appears(&run.join(SIGN)).await?;
    if has_card(sys) {
        settle(proc).await;
    }
    Ok(())
}

/// Waits until there is something at `path`, in a directory that is there.
async fn appears(path: &Path) -> io::Result<()> {
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let dir = path.parent().unwrap_or(path);
    inotify::add_watch(&changes, dir, inotify::WatchFlags::CREATE)?;
    let mut changes = Device::new(File::from(changes))?;
    let mut buffer = [0; 1024];
    while !path.try_exists()? {
        // Any change makes it look again.
        let _changes = changes.read(&mut buffer).await?;
    }
    Ok(())
}

/// Returns true if the machine has a network card, with a driver or not yet. The first byte of a PCI
/// device's class is 2 then (PCI Code and ID Assignment Specification).
fn has_card(sys: &Path) -> bool {
    let devices = fs::read_dir(sys.join("bus/pci/devices")).into_iter();
    devices.flatten().flatten().any(|device| {
        let class = fs::read_to_string(device.path().join("class"));
        class.is_ok_and(|class| class.starts_with("0x02"))
    })
}

/// Waits until the network has an address, or for [`LIMIT`].
async fn settle(proc: &Path) {
    let there = async {
        while !is_there(proc) {
            sleep(PAUSE).await;
        }
    };
    let _ = timeout(LIMIT, there).await;
}

fn is_there(proc: &Path) -> bool {
    let read = |name: &str| fs::read_to_string(proc.join("net").join(name)).unwrap_or_default();
    leads_out(&read("route")) || has_global_address(&read("if_inet6"))
}

/// Returns true if one of these IPv4 routes leads anywhere but to the host itself. The first line is
/// that of the columns' names, and the first column the interface (proc_net(5)).
fn leads_out(routes: &str) -> bool {
    let interfaces = routes
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    interfaces.into_iter().any(|interface| interface != "lo")
}

/// Returns true if one of these IPv6 addresses is global. The fourth column is the scope, and the last
/// one the interface (proc_net(5)).
fn has_global_address(addresses: &str) -> bool {
    addresses.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(3) == Some(&"00") && columns.last() != Some(&"lo")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_there_when_it_has_an_address() {
        let names = "Iface\tDestination\tGateway \tFlags\n";
        assert!(!leads_out("") && !leads_out(names));
        assert!(!leads_out(&format!(
            "{names}lo\t0000007F\t00000000\t0001\n"
        )));
        assert!(leads_out(&format!(
            "{names}eth0\t0002000A\t00000000\t0001\n"
        )));
        let lo = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link = "fe80000000000000505400fffe123456 02 40 20 80     eth0\n";
        let global = "fec0000000000000505400fffe123456 02 40 00 00     eth0\n";
        assert!(!has_global_address(&format!("{lo}{link}")));
        assert!(has_global_address(&format!("{lo}{link}{global}")));
    }

    #[test]
    fn a_card_is_known_by_its_class() {
        let sys = tempfile::tempdir().expect("a directory");
        assert!(!has_card(sys.path()), "no PCI");
        for (device, class, network) in [("0", "0x060000\n", false), ("2", "0x020000\n", true)] {
            let dir = sys.path().join("bus/pci/devices").join(device);
            fs::create_dir_all(&dir).expect("made");
            fs::write(dir.join("class"), class).expect("written");
            assert_eq!(has_card(sys.path()), network, "{class}");
        }
    }

    /// The sign may be there before the program looks, or come while it waits, beside others.
    #[tokio::test]
    async fn the_sign_is_seen_whenever_it_comes() {
        let run = tempfile::tempdir().expect("a directory");
        fs::create_dir(run.path().join("bcvk")).expect("made");
        let path = run.path().join(SIGN);
        let waits = tokio::spawn({
            let (run, path) = (run.path().to_owned(), path.clone());
            async move {
                answers(&run, &run, &run).await.expect("watched");
                assert!(path.exists());
            }
        });
        tokio::task::yield_now().await;
        fs::write(path.with_file_name("other"), "").expect("written");
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        fs::write(&path, "").expect("written");
        waits.await.expect("seen");
        answers(run.path(), run.path(), run.path())
            .await
            .expect("watched");
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_does_not_come_is_not_waited_for_for_ever() {
        let nothing = tempfile::tempdir().expect("a directory");
        let begun = tokio::time::Instant::now();
        settle(nothing.path()).await;
        assert_eq!(begun.elapsed().as_secs(), LIMIT.as_secs());
    }
}
