//! Start of file servers, then of QEMU.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use bcvk_contract::missing::if_exists;
use bcvk_contract::procfs;
use bcvk_contract::spec::{
    Accelerator, CONTAINER_EXE, CONTAINER_IMAGE, Console, Login, STORAGE_TAG, Share, SnapshotStage,
    VmSpec,
};

use super::{Running, Supervisor};
use crate::children::Role;
use crate::container::BootFile;
use crate::exposed::Exposed;
use crate::points::{self, Part};
use crate::prepare::{Prepared, memory_file};
use crate::qemu::monitor::Monitor;
use crate::qemu::{self, Machine, QemuConfinement, WarmFds};
use crate::sessions::Sessions;
use crate::sshd::{Ports, Sshd};
use crate::streams::Streams;
use crate::virtiofs::{ServeOptions, TraceOptions};
use crate::{console, control, disks, ports};

/// Where a socket of a file server's is until QEMU's end of it is connected.
const SOCKET: &str = ".file-server.sock";

/// How a machine begins.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// The state that it is resumed with, and the stage at which that was saved. Without one, it begins
    /// with its kernel.
    pub(super) resumes: Option<(SnapshotStage, OwnedFd)>,
    /// Files to which its state is written later, by the stages at which it is.
    pub(super) saves: Vec<(SnapshotStage, OwnedFd)>,
}

impl Beginning {
    /// Returns true if the image's system starts as it does in any boot.
    fn boots_system(&self) -> bool {
        !matches!(self.resumes, Some((SnapshotStage::Ready, _)))
    }

    fn files(&self) -> impl Iterator<Item = &OwnedFd> {
        self.resumes.iter().chain(&self.saves).map(|(_, file)| file)
    }
}

impl Supervisor {
    /// Starts one server for the image, which makes a `trace` if one is wanted, and one for each share;
    /// returns QEMU's ends of their sockets in that order. They are connected before the servers run, so that QEMU needs no path.
    pub(super) fn start_file_servers(
        &mut self,
        trace: Option<TraceOptions>,
    ) -> io::Result<Vec<UnixStream>> {
        let mut servers = vec![(
            qemu::ROOT_TAG.to_owned(),
            "the image".to_owned(),
            ServeOptions {
                dir: CONTAINER_IMAGE.into(),
                read_only: true,
                immutable: true,
                images: false,
                trace,
            },
        )];
        for share in &self.spec.shares {
            servers.push((
                share.tag.clone(),
                share.host.display().to_string(),
                share_options(&self.spec, share),
            ));
        }
        let mut sockets = Vec::new();
        for (tag, serves, options) in servers {
            let (listener, qemus) = self.connected_listener()?;
            let mut command = Command::new(CONTAINER_EXE);
            // It leaves the root in which it could open procfs.
            command
                .args(options.args())
                .stdin(Stdio::from(OwnedFd::from(listener)))
                .stdout(Stdio::from(procfs::for_child()?));
            self.children
                .spawn(Role::FileServer { tag, serves }, &mut command, &[])?;
            sockets.push(qemus);
        }
        Ok(sockets)
    }

    /// A socket that listens, with one connection that waits to be accepted, and no name any more.
    fn connected_listener(&self) -> io::Result<(UnixListener, UnixStream)> {
        let path = self.dir.dir().join(SOCKET);
        if_exists(fs::remove_file(&path))?;
        let listener = UnixListener::bind(&path)?;
        let connected = UnixStream::connect(&path);
        fs::remove_file(&path)?;
        Ok((listener, connected?))
    }

    /// Starts QEMU with all that it needs, and whatever listens to it. Returns the agent's port, if
    /// the machine has one.
    pub(super) fn start_qemu(
        &mut self,
        base: &VmSpec,
        prepared: &Prepared,
        sockets: &[UnixStream],
        beginning: &Beginning,
    ) -> io::Result<Option<UnixStream>> {
        let (console, qemu_console) = UnixStream::pair()?;
        let (control, qemu_control) = UnixStream::pair()?;
        let (monitor, qemu_monitor) = UnixStream::pair()?;
        let login = base.login();
        let ports = match login {
            Some(Login::Image) => Some(Ports::free(prepared.identity.sshd_port, &base.ports)?),
            Some(Login::Own) | None => None,
        };
        let sessions = match login {
            Some(Login::Own) => Some(UnixStream::pair()?),
            Some(Login::Image) | None => None,
        };
        let (sessions, qemu_sessions) = sessions.unzip();
        let disks = self.open_disks()?;
        let streams = Streams::new(self.sender.clone());
        let (carriers, qemu_ports) = self.open_ports(&streams)?;
        let agent = base.snapshot.map(|_| UnixStream::pair()).transpose()?;
        let (agent, qemu_agent) = agent.unzip();
        let store = memory_file(c"states", &[])?;
        let args = qemu::args(&Machine {
            spec: base,
            kernel: prepared.kernel.path.clone(),
            initrd: prepared.initrd.path.clone(),
            cmdline: prepared.cmdline.clone(),
            memory: prepared.memory.path.clone(),
            root_fd: sockets[0].as_raw_fd(),
            share_fds: sockets[1..].iter().map(AsRawFd::as_raw_fd).collect(),
            warm: qemu_agent.as_ref().map(|qemu_agent| WarmFds {
                incoming: beginning.resumes.as_ref().map(|(_, fd)| fd.as_raw_fd()),
                states: beginning
                    .saves
                    .iter()
                    .map(|(stage, fd)| (*stage, fd.as_raw_fd()))
                    .collect(),
                agent: qemu_agent.as_raw_fd(),
            }),
            ignition: prepared.ignition.as_ref().map(|config| config.path.clone()),
            disk_fds: disks.iter().map(AsRawFd::as_raw_fd).collect(),
            port_fds: qemu_ports.iter().map(AsRawFd::as_raw_fd).collect(),
            ports,
            sessions_fd: qemu_sessions.as_ref().map(AsRawFd::as_raw_fd),
            store_fd: store.as_raw_fd(),
            console_fd: qemu_console.as_raw_fd(),
            control_fd: qemu_control.as_raw_fd(),
            monitor_fd: qemu_monitor.as_raw_fd(),
        });
        let mut command = self.confined_qemu()?;
        command.arg(&self.spec.qemu).args(&args);
        let mut inherited = vec![
            qemu_console.as_fd(),
            qemu_control.as_fd(),
            qemu_monitor.as_fd(),
            store.as_fd(),
        ];
        inherited.extend(prepared.files().filter_map(BootFile::inherited));
        inherited.extend(sockets.iter().map(AsFd::as_fd));
        inherited.extend(qemu_sessions.as_ref().map(AsFd::as_fd));
        inherited.extend(qemu_agent.as_ref().map(AsFd::as_fd));
        inherited.extend(beginning.files().map(AsFd::as_fd));
        inherited.extend(disks.iter().map(AsFd::as_fd));
        inherited.extend(qemu_ports.iter().map(AsFd::as_fd));
        let pid = self.children.spawn(Role::Qemu, &mut command, &inherited)?;
        if self.spec.console == Console::Interactive {
            console::feed_stdin(console.try_clone()?);
        }
        let outs = ports::console_outs(&self.spec, &self.dir, &streams, &self.sender)?;
        let console = console::follow(console, outs, self.sender.clone());
        let monitor = Monitor::follow(&monitor, self.sender.clone())?;
        let exposed = Exposed::default();
        exposed.follow(&self.spec, monitor.clone());
        let told = move |ports| exposed.say(ports);
        control::follow(control, told, self.sender.clone());
        let sessions = match sessions {
            Some(port) => Some(Sessions::serve(&self.dir.ssh_socket(), port)?),
            None => None,
        };
        if let Some(ports) = ports {
            let sshd = Sshd::new(ports);
            sshd.serve(&self.dir.ssh_socket())?;
            if beginning.boots_system() {
                let asked = monitor.clone();
                let accepted = move || asked.guest_accepted(ports.sshd).unwrap_or(false);
                sshd.await_banner(accepted, self.sender.clone());
            }
        }
        let machine = match &sessions {
            Some(sessions) => Some(self.machine((&monitor, sessions), prepared, disks)?),
            None => None,
        };
        self.running = Some(Running {
            qemu: pid,
            machine: machine.map(Arc::new),
            monitor,
            sessions,
            has_keys: self.spec.snapshot.is_none(),
            console,
            carriers,
        });
        Ok(agent)
    }

    /// Returns the parts of the machine that checkpoints save, of which `disks` are the last.
    fn machine(
        &self,
        (monitor, sessions): (&Monitor, &Sessions),
        prepared: &Prepared,
        disks: Vec<File>,
    ) -> io::Result<points::Machine> {
        let memory = Part {
            file: File::from(prepared.memory.file.try_clone()?),
            bytes: self.spec.memory.bytes(),
        };
        // The user's are first; a VM with any has no checkpoints.
        let own = disks.into_iter().skip(self.spec.disks.len());
        let own = own.map(|file| {
            let bytes = file.metadata()?.len();
            Ok(Part { file, bytes })
        });
        let own = own.collect::<io::Result<Vec<_>>>()?;
        let talk = (monitor.clone(), sessions.clone());
        Ok(points::Machine::new(talk, self.spec.arch, memory, own))
    }

    /// The command that confines itself and becomes QEMU.
    fn confined_qemu(&self) -> io::Result<Command> {
        let how = QemuConfinement {
            root: self.container.qemu_root().is_some(),
            files: self.container.boot_dir().map(Path::to_owned),
            user: self.container.qemu_user.map(|user| (user.uid, user.gid)),
            kvm: self.spec.accel == Accelerator::Kvm,
        };
        let stdin = match self.container.qemu_root() {
            Some(root) => root.try_clone_to_owned()?,
            None => memory_file(c"nothing", &[])?.into(),
        };
        let mut command = Command::new(CONTAINER_EXE);
        command.args(how.args()).stdin(Stdio::from(stdin));
        Ok(command)
    }

    /// Opens the disks' files, and makes those of the swap device and of `/var`.
    fn open_disks(&self) -> io::Result<Vec<File>> {
        let mut files = Vec::new();
        for disk in &self.spec.disks {
            let file = File::options()
                .read(true)
                .write(true)
                .open(disk.container_path());
            files.push(file.map_err(|e| {
                let text = format!("{}: {e}", disk.host.display());
                io::Error::new(e.kind(), text)
            })?);
        }
        let cannot = |what| {
            move |e: io::Error| {
                io::Error::new(e.kind(), format!("cannot make the file of {what}: {e}"))
            }
        };
        let swap = self.spec.swap.map(disks::make_swap).transpose();
        files.extend(swap.map_err(cannot("the swap device"))?);
        let var = self.spec.var.disk().map(disks::make_var).transpose();
        files.extend(var.map_err(cannot("the disk of /var"))?);
        Ok(files)
    }

    /// Starts to carry what comes through the VM's ports; returns QEMU's ends too.
    fn open_ports(&self, streams: &Streams) -> io::Result<(Vec<JoinHandle<()>>, Vec<UnixStream>)> {
        let mut carriers = Vec::new();
        let mut qemus = Vec::new();
        for port in ports::ports(&self.spec) {
            let (ours, qemu) = UnixStream::pair()?;
            let places = ports::outs(&port, &self.spec, &self.dir, streams, &self.sender)?;
            carriers.push(ports::carry(ours, places));
            qemus.push(qemu);
        }
        Ok((carriers, qemus))
    }
}

fn share_options(spec: &VmSpec, share: &Share) -> ServeOptions {
    ServeOptions {
        dir: share.container_path(),
        read_only: share.read_only,
        // The host goes on working in its directory.
        immutable: false,
        images: spec.host_storage && share.tag == STORAGE_TAG,
        trace: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcvk_contract::examples::example;

    /// Resumed guests get the same servers.
    #[test]
    fn a_share_is_served_as_its_user_wants() {
        let spec = example();
        for read_only in [true, false] {
            let share = Share {
                read_only,
                ..spec.shares[0].clone()
            };
            let options = share_options(&spec, &share);
            assert_eq!(options.read_only, read_only);
            assert_eq!(options.dir, share.container_path());
            assert!(!options.immutable && !options.images);
        }
    }
}
