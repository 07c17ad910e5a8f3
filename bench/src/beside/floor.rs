//! The floor: a virtiofsd and a QEMU as somebody who knows both would start them by hand.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bcvk_contract::spec::Accelerator;
use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::process::{Running, run, scratch, text, writer};
use tempfile::TempDir;

use super::banner::{self, NOBODY, Ports};
use super::common::{MEMORY_MIB, SHORT};
use super::guest;
use super::metrics::{Metric, Samples};
use super::server::Cache;
use super::setup::Setup;

/// Kernel arguments that boot the image under `root=`; everything writable is in the guest's memory.
const KERNEL_ARGUMENTS: &str =
    "root=rootfs rootfstype=virtiofs ro systemd.volatile=overlay console=ttyS0 selinux=0";

/// A VM started by hand. Dropping it ends it.
pub(super) struct HandMade {
    qemu: Running,
    /// Output of QEMU on stderr.
    words: File,
    /// File servers, which end when QEMU does, and are ended if not.
    _servers: Vec<Running>,
    dir: TempDir,
    ports: Ports,
    key: PathBuf,
    ssh: PathBuf,
    /// Time from the start of the file server to sshd's banner.
    to_banner: Duration,
}

/// Boots once and asks the guest how it went.
pub(super) fn measure(setup: &Setup, samples: &mut Samples) -> Result<()> {
    let mut vm = HandMade::boot(setup, None)?;
    let first = vm.run("true")?;
    let times = guest::BootTimes::parse(&vm.output(guest::BootTimes::QUESTION)?)?;
    samples.add_duration(Metric::FloorBanner, vm.to_banner);
    samples.add_duration(Metric::FloorFirstSsh, first);
    samples.add_boot_times(Metric::FLOOR_GUEST, &times);
    vm.qemu.check_alive()
}

impl HandMade {
    /// Boots the image, with `data` as a second share whose tag is [`super::common::TAG`]. Returns
    /// once sshd has sent its banner.
    pub(super) fn boot(setup: &Setup, data: Option<&Path>) -> Result<Self> {
        let dir = TempDir::new_in(setup.work.path()).map_err(Error::io("make a directory"))?;
        let ports = Ports::free()?;
        let (root, share) = (dir.path().join("root.sock"), dir.path().join("data.sock"));

        let started = Instant::now();
        let mut servers =
            vec![
                setup
                    .server
                    .start(&setup.tree, setup.tree.path(), Cache::Always, &root)?,
            ];
        let mut sockets = vec![("rootfs", root.as_path())];
        if let Some(data) = data {
            servers.push(setup.server.start(&setup.tree, data, Cache::Auto, &share)?);
            sockets.push((super::common::TAG, share.as_path()));
        }
        let console = dir.path().join("console.log");
        let words = scratch()?;
        let mut command = qemu(setup, &sockets, ports, &console);
        command.stdin(Stdio::null()).stderr(writer(&words)?);
        let mut vm = Self {
            qemu: Running::start(&mut command)?,
            words,
            _servers: servers,
            ports,
            key: setup.keys.user.clone(),
            ssh: setup.ssh.clone(),
            to_banner: Duration::ZERO,
            dir,
        };
        banner::wait(ports, &mut vm.qemu, setup.limit).map_err(|e| vm.explain(e))?;
        vm.to_banner = started.elapsed();
        Ok(vm)
    }

    /// Runs `ssh … COMMAND`; returns how long it took.
    pub(super) fn run(&self, command: &str) -> Result<Duration> {
        let done = run(self.ssh().arg(command), SHORT)?.success("log in to the VM made by hand")?;
        Ok(done.took)
    }

    /// Runs `ssh … COMMAND`; returns what it printed.
    fn output(&self, command: &str) -> Result<String> {
        let done = run(self.ssh().arg(command), 2 * SHORT)?;
        Ok(done.success("ask the VM made by hand")?.stdout)
    }

    /// Makes the client's command line, up to the command.
    pub(super) fn ssh(&self) -> Command {
        let mut command = Command::new(&self.ssh);
        command.args(["-F", "none", "-i"]).arg(&self.key);
        command.args(["-p", &self.ports.sshd.to_string()]);
        for option in [
            "IdentitiesOnly=yes",
            "PreferredAuthentications=publickey",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ] {
            command.args(["-o", option]);
        }
        command.arg("root@127.0.0.1");
        command
    }

    /// Adds the guest's and QEMU's last words, which usually say more than the time-out does.
    fn explain(&self, error: Error) -> Error {
        if matches!(error, Error::Interrupted) {
            return error;
        }
        let log = fs::read(self.dir.path().join("console.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().rev().take(15).collect();
        let tail = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
        Error::other(format!(
            "{error}; QEMU said: {}; the console ended with:\n{tail}",
            text(&self.words).trim()
        ))
    }
}

/// Makes a QEMU command line that is plain, but has every option that a VM on virtiofs needs.
fn qemu(setup: &Setup, sockets: &[(&str, &Path)], ports: Ports, console: &Path) -> Command {
    let accel = match setup.accel {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "tcg",
    };
    let mut qemu = Command::new(&setup.qemu);
    qemu.args(["-nodefaults", "-display", "none"])
        .args(["-machine", "q35,memory-backend=mem", "-accel", accel])
        .args(["-cpu", "max", "-smp", &setup.vcpus.to_string()])
        .args(["-m", &format!("{MEMORY_MIB}M"), "-object"])
        .arg(format!(
            "memory-backend-memfd,id=mem,share=on,size={MEMORY_MIB}M"
        ))
        .arg("-kernel")
        .arg(&setup.boot.kernel)
        .arg("-initrd")
        .arg(&setup.boot.initramfs)
        .args(["-append", KERNEL_ARGUMENTS])
        .arg("-smbios")
        .arg(with_path("type=11,path=", &setup.keys.oem_string))
        .arg("-serial")
        .arg(with_path("file:", console))
        .arg("-netdev")
        .arg(format!(
            "user,id=net,hostfwd=tcp:127.0.0.1:{}-:22,hostfwd=tcp:127.0.0.1:{}-:{NOBODY}",
            ports.sshd, ports.nobody
        ))
        .args(["-device", "virtio-net-pci,netdev=net"]);
    for (tag, socket) in sockets {
        qemu.arg("-chardev")
            .arg(with_path(&format!("socket,id={tag},path="), socket))
            .arg("-device")
            .arg(format!(
                "vhost-user-fs-pci,chardev={tag},tag={tag},queue-size=1024"
            ));
    }
    qemu
}

/// Adds a path to an option. The bench's own paths have no comma, which QEMU would want doubled.
fn with_path(option: &str, path: &Path) -> String {
    format!("{option}{}", path.display())
}
