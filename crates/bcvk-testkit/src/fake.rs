//! Scripted programs in place of podman and QEMU, for tests without a VM.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::cmd::Cmd;
use crate::sandbox::Sandbox;

/// A directory that is all of a command's `PATH`, or its beginning.
#[derive(Debug)]
pub struct FakeTools {
    dir: PathBuf,
}

/// Answer of a fake podman to `image inspect` about an image that could boot.
const BOOTABLE_IMAGE: &str = r#"[{"Id":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","Architecture":"ARCH","Labels":{"containers.bootc":"1"}}]"#;

impl FakeTools {
    /// Makes a directory with only a shell and what scripts need.
    #[must_use]
    pub fn new(sandbox: &Sandbox) -> Self {
        Self::named(sandbox, "fake-tools")
    }

    /// Makes tools like those of [`FakeTools::new`], for one of several machines.
    #[must_use]
    pub fn named(sandbox: &Sandbox, name: &str) -> Self {
        let tools = Self {
            dir: sandbox.make_dir(name),
        };
        for name in ["sh", "cat"] {
            tools.link(name);
        }
        tools
    }

    /// Makes tools that all of the sandbox's commands find before the host's programs.
    #[must_use]
    pub fn in_front(sandbox: &Sandbox) -> Self {
        Self { dir: sandbox.bin() }
    }

    /// Returns the directory of the tools.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Adds a program of the host's.
    pub fn link(&self, name: &str) {
        let host = ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
            .iter()
            .map(|dir| Path::new(dir).join(name))
            .find(|path| path.exists())
            .unwrap_or_else(|| panic!("this machine has no {name}"));
        symlink(host, self.dir.join(name)).expect("link a program");
    }

    /// Adds a shell script.
    pub fn script(&self, name: &str, body: &str) {
        let path = self.dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("write a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    }

    /// Adds a podman that knows one bootable image and no container, notes every call, and does
    /// `on_run` (shell) for `podman run`.
    pub fn podman(&self, on_run: &str) {
        self.podman_with_image(BOOTABLE_IMAGE, on_run);
    }

    /// Adds a podman like that of [`FakeTools::podman`], whose image does not say that it could boot.
    pub fn podman_with_plain_image(&self, on_run: &str) {
        let plain = BOOTABLE_IMAGE.replace("containers.bootc", "maintainer");
        self.podman_with_image(&plain, on_run);
    }

    fn podman_with_image(&self, image: &str, on_run: &str) {
        let image = bootable(image);
        let calls = self.calls_file();
        self.script(
            "podman",
            &format!(
                "echo \"$*\" >>'{}'\n\
                 case \"$*\" in\n\
                 'image inspect'*) echo '{image}' ;;\n\
                 'ps '*) echo '[]' ;;\n\
                 *' run '* | 'run '*) {on_run} ;;\n\
                 esac",
                calls.display()
            ),
        );
    }

    /// Adds a podman that knows one bootable image, and in place of a container starts a process that
    /// holds the supervisor's lock: the test is the supervisor. [`FakeTools::vm_dir`] is then there.
    pub fn podman_without_supervisor(&self) {
        let image = bootable(BOOTABLE_IMAGE);
        let vm_dir = self.dir.join("vm-dir");
        self.script(
            "podman",
            &format!(
                "vm_dir='{}'\n\
                 case \"$*\" in\n\
                 'image inspect'*) echo '{image}' ;;\n\
                 *' run '* | 'run '*)\n\
                 dir=$(echo \"$*\" | sed 's|.*--cidfile=\\([^ ]*\\)/container-id.*|\\1|')\n\
                 echo 0123456789abcdef >\"$dir/container-id\"\n\
                 setsid flock -x \"$dir/shared/supervisor.lock\" sh -c 'echo $$ >\"$1/pid\"; exec sleep 300' sh \"$dir\" \
                 </dev/null >/dev/null 2>&1 &\n\
                 while ! [ -s \"$dir/pid\" ]; do sleep 0.01; done\n\
                 echo \"$dir/shared\" >\"$vm_dir\"\n\
                 cat \"$dir/container-id\" ;;\n\
                 'rm '* | 'kill '*)\n\
                 [ -e \"$vm_dir\" ] || exit 0\n\
                 shared=$(cat \"$vm_dir\")\n\
                 kill -9 \"$(cat \"$shared/../pid\")\"\n\
                 flock -s \"$shared/supervisor.lock\" rm \"$vm_dir\" ;;\n\
                 *) exec /usr/bin/podman \"$@\" ;;\n\
                 esac",
                vm_dir.display()
            ),
        );
    }

    /// Returns the directory that the test writes in the supervisor's place, once `podman run` has
    /// returned.
    #[must_use]
    pub fn vm_dir(&self) -> Option<PathBuf> {
        let text = fs::read_to_string(self.dir.join("vm-dir")).ok()?;
        text.strip_suffix('\n').map(PathBuf::from)
    }

    /// Returns the calls of the fake podman so far, one a line.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.calls_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Gives `command` nothing else on its `PATH`.
    pub fn only(&self, command: Cmd) -> Cmd {
        command.env("PATH", &self.dir)
    }

    fn calls_file(&self) -> PathBuf {
        self.dir.join("podman-calls")
    }
}

fn bootable(image: &str) -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    image.replace("ARCH", architecture)
}
