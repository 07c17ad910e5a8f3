//! What travels into the guest: units for its initramfs and its real root, and its keys.
//!
//! All of it goes the same way for every systemd and every architecture: in a cpio archive after
//! the image's initramfs.

pub mod agent;
pub mod early;
pub mod facts;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod masks;
mod personal;
pub(crate) mod port;
pub mod rooted;
mod storage;

use std::fmt::Write as _;
use std::path::Path;

use base64ct::{Base64, Encoding};

pub(crate) use personal::{OpenIdentity, personal};

use crate::guest::early::{Plan, Var};
use crate::guest::facts::{GuestFacts, Network, Sshd};
use crate::guest::masks::Masks;
use crate::spec::{
    Console, EnvVar, Initramfs, Karg, Purpose, SWAP_NAME, Share, SshAccess, UnitContent, VmSpec,
};

/// Where the user's key is, under `/run`.
const USER_KEY: &str = "tmpfiles.d/00-bcvk-key.conf";

/// Where the host key is that was made for the VM, under `/run`.
const HOST_KEY: &str = "tmpfiles.d/00-bcvk-host-key.conf";

/// The unit that runs commands.
const EXECUTE_UNIT: &str = "bcvk-execute.service";

/// An entry of the archive that is appended to the initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path without a leading slash.
    pub path: String,
    /// What is there.
    pub content: Content,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file, mode 0644.
    File(String),
    /// A file that only root may read, mode 0600.
    Secret(String),
    /// A symbolic link.
    Link(String),
}

/// Everything that is added to the initramfs for `spec` on an image with `facts` and its kernel
/// arguments, but for bcvk itself.
#[must_use]
pub fn initramfs_entries(spec: &VmSpec, facts: &GuestFacts, from_image: &[Karg]) -> Vec<Entry> {
    let mut tree = Tree::default();
    let masks = masks::masks(spec, facts, from_image);
    add_plan(&mut tree, spec, facts);
    if spec.initramfs == Initramfs::Image {
        add_initrd(&mut tree, spec, &masks);
    }
    add_masks(&mut tree, &masks);
    tree.run_file("bcvk/failed", include_str!("units/failed.sh"));
    tree.run_file("bcvk/port", include_str!("units/port.sh"));
    tree.run_unit(
        "bcvk-failed.service",
        &include_str!("units/bcvk-failed.service").replace("@DIR@", "/run/bcvk"),
    );
    tree.run_wants("emergency.target", "bcvk-failed.service");
    tree.run_wants("rescue.target", "bcvk-failed.service");
    tree.run_unit(
        "bcvk-userspace.service",
        include_str!("units/bcvk-userspace.service"),
    );
    tree.run_wants("sysinit.target", "bcvk-userspace.service");

    if spec.ssh.is_some() {
        add_sshd(&mut tree, facts);
    }
    add_keys(&mut tree, spec, facts);
    match spec.purpose() {
        Purpose::Login | Purpose::Boot => {
            tree.run_unit("bcvk-up.service", include_str!("units/bcvk-up.service"));
            tree.run_wants("multi-user.target", "bcvk-up.service");
        }
        // Its commands' unit says so.
        Purpose::Execute => {}
    }
    add_network(&mut tree, facts);
    if spec.snapshot.is_some() {
        add_agent(&mut tree, facts);
    }
    add_options(&mut tree, spec, facts);
    tree.0
}

/// What [`early`] reads.
fn add_plan(tree: &mut Tree, spec: &VmSpec, facts: &GuestFacts) {
    let plan = Plan {
        var: if facts.var.copyable() {
            Var::Copy
        } else {
            Var::Overlay
        },
        home: facts.root_home.clone(),
        environment: environment(&spec.env),
        agent: spec.snapshot.is_some(),
    };
    let plan = serde_json::to_string(&plan).expect("texts only");
    tree.file(&format!("{}/{}", early::DIR, early::PLAN), &plan);
}

/// The units for an image's own initramfs.
fn add_initrd(tree: &mut Tree, spec: &VmSpec, masks: &Masks) {
    let bcvk = format!("{}/{}", early::BIN, early::NAME);
    for (name, text) in [
        (
            "bcvk-sysroot.service",
            include_str!("units/bcvk-sysroot.service"),
        ),
        (
            "bcvk-handover.service",
            include_str!("units/bcvk-handover.service"),
        ),
    ] {
        tree.initrd_unit(name, &text.replace("@BCVK@", &bcvk));
    }
    tree.initrd_unit(
        "bcvk-failed.service",
        &include_str!("units/bcvk-failed.service").replace("@DIR@", "/usr/lib/bcvk"),
    );
    for (target, unit) in [
        ("initrd-root-fs.target.requires", "bcvk-sysroot.service"),
        ("initrd.target.requires", "bcvk-handover.service"),
        ("emergency.target.wants", "bcvk-failed.service"),
    ] {
        tree.initrd_wants(target, unit);
    }
    tree.file("usr/lib/bcvk/failed", include_str!("units/failed.sh"));
    tree.file("usr/lib/bcvk/port", include_str!("units/port.sh"));
    for unit in &masks.initrd_units {
        tree.mask(format!("etc/systemd/system/{unit}"));
    }
    for generator in &masks.generators {
        tree.mask(format!("etc/systemd/system-generators/{generator}"));
    }
    if spec.wants_journal() {
        tree.file("usr/lib/bcvk/journal", include_str!("units/journal.sh"));
        tree.initrd_unit(
            "bcvk-journal.service",
            &journal_unit("/usr/lib/bcvk", port::INITRD_JOURNAL),
        );
        tree.initrd_wants("sysinit.target.wants", "bcvk-journal.service");
    }
}

fn add_masks(tree: &mut Tree, masks: &Masks) {
    for unit in &masks.units {
        tree.mask(format!("usr/lib/bcvk/run/systemd/system/{unit}"));
    }
    for generator in &masks.generators {
        tree.mask(format!(
            "usr/lib/bcvk/run/systemd/system-generators/{generator}"
        ));
    }
}

/// What a VM has only because its user asked for it.
fn add_options(tree: &mut Tree, spec: &VmSpec, facts: &GuestFacts) {
    for share in &spec.shares {
        let unit = format!("{}.mount", unit_name(&share.guest_path));
        tree.run_unit(&unit, &share_mount(share));
        tree.run_wants("local-fs.target", &unit);
    }
    if spec.swap.is_some() {
        add_swap(tree);
    }
    if spec.host_storage {
        tree.file(
            "usr/lib/bcvk/etc/containers/storage.conf",
            &storage::with_host_store(facts.storage_conf.as_deref()),
        );
    }
    for unit in &spec.units {
        let path = format!("systemd/system/{}", unit.path);
        match &unit.content {
            UnitContent::File(text) => tree.run_file(&path, text),
            UnitContent::Link(target) => {
                tree.link(format!("usr/lib/bcvk/run/{path}"), target.clone());
            }
        }
    }
    if spec.wants_journal() {
        add_journal(tree);
    }
    match spec.purpose() {
        Purpose::Execute => {
            add_execution(tree, facts);
            for (name, text) in commands(&spec.execute) {
                tree.run_file(&name, text);
            }
            tree.run_wants("multi-user.target", EXECUTE_UNIT);
        }
        Purpose::Login | Purpose::Boot => {}
    }
    if spec.console == Console::Interactive {
        tree.run_file(
            "systemd/system/serial-getty@.service.d/50-bcvk.conf",
            include_str!("units/autologin.conf"),
        );
    }
    if !spec.env.is_empty() {
        tree.run_file(
            "systemd/system.conf.d/50-bcvk.conf",
            &format!("[Manager]\nDefaultEnvironment={}\n", manager_env(&spec.env)),
        );
    }
}

/// The keys, as `tmpfiles.d(5)` snippets: systemd-tmpfiles follows the image's links to `/root`,
/// and is done before sshd or what makes host keys starts. Of two lines for one path systemd takes
/// the first, in the order of file names; an image that installs a key in this way too must not
/// keep ours out.
fn add_keys(tree: &mut Tree, spec: &VmSpec, facts: &GuestFacts) {
    if let Some(ssh) = &spec.ssh {
        tree.run_secret(USER_KEY, &user_key(ssh));
    }
    if !facts.has_ssh_host_keys && facts.sshd != Sshd::Absent {
        // Made on the host, where it takes no time.
        tree.run_secret(HOST_KEY, &host_key(spec));
    }
}

fn host_key(spec: &VmSpec) -> String {
    let key = base64(spec.host_key.as_bytes());
    format!("f~ /etc/ssh/ssh_host_ed25519_key 0600 root root - {key}\n")
}

fn user_key(ssh: &SshAccess) -> String {
    format!(
        "d /root/.ssh 0700 root root -\n\
         f+~ /root/.ssh/authorized_keys 0600 root root - {}\n",
        base64(ssh.authorized_key.as_bytes()),
    )
}

fn add_sshd(tree: &mut Tree, facts: &GuestFacts) {
    if facts.sshd_penalises {
        // Every session comes from this one address. Without the exemption, a few that end before
        // they log in lock out all that follow.
        tree.run_file(
            "tmpfiles.d/bcvk.conf",
            "f /etc/ssh/sshd_config.d/00-bcvk.conf 0644 root root - \
             PerSourcePenaltyExemptList 10.0.2.2\n",
        );
    }
    let report_failure = |tree: &mut Tree, unit: &str| {
        tree.run_file(
            &format!("systemd/system/{unit}.d/50-bcvk.conf"),
            "[Unit]\nOnFailure=bcvk-failed.service\n",
        );
    };
    match &facts.sshd {
        Sshd::Absent => {}
        Sshd::Enabled { unit } | Sshd::SocketActivated { unit } => report_failure(tree, unit),
        Sshd::Installed { unit } => {
            tree.run_wants_image("multi-user.target", unit);
            report_failure(tree, unit);
        }
        Sshd::BinaryOnly { path } | Sshd::Masked { path, .. } => {
            let unit =
                include_str!("units/bcvk-sshd.service").replace("@SSHD@", &path.to_string_lossy());
            tree.run_unit("bcvk-sshd.service", &unit);
            tree.run_wants("multi-user.target", "bcvk-sshd.service");
            report_failure(tree, "bcvk-sshd.service");
        }
    }
}

fn add_network(tree: &mut Tree, facts: &GuestFacts) {
    if facts.networkd_installed {
        // Sorts after any file of the image's, and the first match wins (systemd.network(5)).
        tree.run_file(
            "systemd/network/zz-bcvk.network",
            include_str!("units/bcvk.network"),
        );
    }
    if facts.network == Network::NetworkManager {
        // For images that tell it to leave alone what they have no profile for; any other profile
        // comes before this one. It takes none that others could read.
        tree.run_secret(
            "NetworkManager/system-connections/bcvk.nmconnection",
            include_str!("units/bcvk.nmconnection"),
        );
    }
    if facts.network != Network::None {
        return;
    }
    if facts.networkd_installed {
        tree.run_wants_image("multi-user.target", "systemd-networkd.service");
    } else {
        tree.run_file("bcvk/network", include_str!("units/network.sh"));
        tree.run_file(
            "systemd/resolved.conf.d/bcvk.conf",
            "[Resolve]\nDNS=10.0.2.3\n",
        );
        tree.run_unit(
            "bcvk-network.service",
            include_str!("units/bcvk-network.service"),
        );
        tree.run_wants("multi-user.target", "bcvk-network.service");
    }
}

/// systemd finds the device by its serial number, and swaps on it once udev has seen it.
fn add_swap(tree: &mut Tree) {
    let device = format!("/dev/disk/by-id/virtio-{SWAP_NAME}");
    let unit = format!("{}.swap", unit_name(Path::new(&device)));
    tree.run_unit(
        &unit,
        &include_str!("units/bcvk.swap").replace("@WHAT@", &device),
    );
    tree.run_wants("swap.target", &unit);
}

fn add_journal(tree: &mut Tree) {
    tree.run_file("bcvk/journal", include_str!("units/journal.sh"));
    // Another name: the one of the initramfs is left running while the system takes over.
    tree.run_unit(
        "bcvk-system-journal.service",
        &journal_unit("/run/bcvk", port::JOURNAL),
    );
    tree.run_wants("sysinit.target", "bcvk-system-journal.service");
}

fn journal_unit(dir: &str, port: u8) -> String {
    include_str!("units/bcvk-journal.service")
        .replace("@DIR@", dir)
        .replace("@PORT@", &port.to_string())
}

/// What runs commands, but not the commands.
fn add_execution(tree: &mut Tree, facts: &GuestFacts) {
    tree.run_file("bcvk/execute", include_str!("units/execute.sh"));
    tree.run_unit(
        EXECUTE_UNIT,
        &include_str!("units/bcvk-execute.service")
            .replace("@STDOUT@", &port::STDOUT.to_string())
            .replace("@STDERR@", &port::STDERR.to_string()),
    );
    add_wait_for_network(tree, facts);
}

/// Files under `/run` with the commands to execute.
fn commands(commands: &[String]) -> impl Iterator<Item = (String, &str)> {
    // The shell sorts them as text.
    let name = |index| format!("bcvk/commands/{index:03}");
    let commands = commands.iter().enumerate();
    commands.map(move |(index, command)| (name(index), command.as_str()))
}

/// For a VM that is saved before it knows what it is to do.
fn add_agent(tree: &mut Tree, facts: &GuestFacts) {
    let bcvk = format!("{}/{}", early::SYSTEM_BIN, early::NAME);
    tree.run_unit(
        "bcvk-agent.service",
        &include_str!("units/bcvk-agent.service").replace("@BCVK@", &bcvk),
    );
    tree.run_wants("sysinit.target", "bcvk-agent.service");
    add_execution(tree, facts);
}

/// `name` as a host name (`hostname(7)`): at most 64 letters, digits, dashes and dots.
pub(crate) fn hostname(name: &str) -> String {
    let text: String = name
        .chars()
        .map(|c| if c == '_' { '-' } else { c })
        .take(64)
        .collect();
    text.trim_end_matches(['-', '.']).to_owned()
}

/// Commands expect a network, but `network-online.target` waits for it only if the image has enabled
/// what waits, and a system that starts quickly is up before its network card.
fn add_wait_for_network(tree: &mut Tree, facts: &GuestFacts) {
    let unit = match facts.network {
        Network::NetworkManager => "NetworkManager-wait-online.service",
        Network::Networkd => "systemd-networkd-wait-online.service",
        Network::None if facts.networkd_installed => "systemd-networkd-wait-online.service",
        // Ours and ifupdown's are done once they have run.
        Network::None | Network::Ifupdown | Network::Other(_) => return,
    };
    tree.run_wants_image("network-online.target", unit);
}

fn share_mount(share: &Share) -> String {
    let template = include_str!("units/share.mount");
    // In one pass: a path may look like one of these names.
    let parts = template.split('@').map(|part| match part {
        "HOST" => specifiers(&share.host),
        "TAG" => share.tag.replace('%', "%%"),
        "WHERE" => specifiers(&share.guest_path),
        "OPTIONS" => if share.read_only { "ro" } else { "rw" }.to_owned(),
        text => text.to_owned(),
    });
    parts.collect()
}

/// A path in a unit file, where `%` starts a specifier and a line break ends the value.
fn specifiers(path: &Path) -> String {
    path.to_string_lossy()
        .replace('%', "%%")
        .replace(['\n', '\r'], "?")
}

/// Name of the unit for a path (`systemd.unit(5)`, STRING ESCAPING FOR INCLUSION IN UNIT NAMES).
fn unit_name(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = text.trim_matches('/');
    let mut name = String::new();
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if i > 0 => name.push('.'),
            b if b.is_ascii_alphanumeric() || b == b'_' || b == b':' => name.push(b.into()),
            b => {
                let _ = write!(name, "\\x{b:02x}");
            }
        }
    }
    name
}

/// Lines of `/etc/environment` (`pam_env(8)`), which sessions read. Between quotes it leaves blanks,
/// quotes and a backslash at the end alone (Linux-PAM, modules/pam_env/pam_env.c); it has no way to
/// write a `#`, which begins a comment.
fn environment(env: &[EnvVar]) -> String {
    env.iter()
        .map(|var| format!("{}='{}'\n", var.name, var.value))
        .collect()
}

/// Assignments for `DefaultEnvironment=` (`systemd-system.conf(5)`), which services get.
fn manager_env(env: &[EnvVar]) -> String {
    env.iter()
        .map(|var| {
            let assignment = var
                .to_string()
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('%', "%%");
            format!("\"{assignment}\"")
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// RFC 4648 with padding.
fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Entries in the making. Two roots: the initramfs's own, and what is copied to the real `/run`.
#[derive(Default)]
struct Tree(Vec<Entry>);

impl Tree {
    fn file(&mut self, path: &str, text: &str) {
        self.0.push(Entry {
            path: path.to_owned(),
            content: Content::File(text.to_owned()),
        });
    }

    fn link(&mut self, path: String, target: String) {
        self.0.push(Entry {
            path,
            content: Content::Link(target),
        });
    }

    fn initrd_unit(&mut self, name: &str, text: &str) {
        self.file(&format!("etc/systemd/system/{name}"), text);
    }

    /// Starts a unit of the initramfs with another, as the directory `dependency` has it.
    fn initrd_wants(&mut self, dependency: &str, unit: &str) {
        self.link(
            format!("etc/systemd/system/{dependency}/{unit}"),
            format!("../{unit}"),
        );
    }

    fn mask(&mut self, path: String) {
        self.link(path, "/dev/null".to_owned());
    }

    fn run_file(&mut self, path: &str, text: &str) {
        self.file(&format!("usr/lib/bcvk/run/{path}"), text);
    }

    fn run_secret(&mut self, path: &str, text: &str) {
        self.0.push(Entry {
            path: format!("usr/lib/bcvk/run/{path}"),
            content: Content::Secret(text.to_owned()),
        });
    }

    fn run_unit(&mut self, name: &str, text: &str) {
        self.run_file(&format!("systemd/system/{name}"), text);
    }

    /// Starts one of our units with `target`.
    fn run_wants(&mut self, target: &str, unit: &str) {
        self.link(
            format!("usr/lib/bcvk/run/systemd/system/{target}.wants/{unit}"),
            format!("../{unit}"),
        );
    }

    /// Starts a unit of the image's with `target`. systemd takes the unit's name from the link, so
    /// the file may be in any of its directories.
    fn run_wants_image(&mut self, target: &str, unit: &str) {
        self.link(
            format!("usr/lib/bcvk/run/systemd/system/{target}.wants/{unit}"),
            format!("/usr/lib/systemd/system/{unit}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Fidelity;

    #[test]
    fn unit_names_are_escaped_as_systemd_escape_does() {
        for (path, name) in [
            (
                "/run/virtiofs-mnt-project",
                r"run-virtiofs\x2dmnt\x2dproject",
            ),
            ("/srv/my data/.x", r"srv-my\x20data-.x"),
            ("/.hidden", r"\x2ehidden"),
        ] {
            assert_eq!(unit_name(Path::new(path)), name);
        }
    }

    #[test]
    fn what_is_added_to_the_initramfs() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let mut text = String::new();
        for entry in initramfs_entries(&crate::spec::tests::example(), &facts, &[]) {
            let content = match entry.content {
                Content::Link(target) => format!(" -> {target}"),
                // Fixed texts are in units/; what depends on the VM is worth seeing.
                Content::File(text) if entry.path.contains("virtiofs") => format!(":\n{text}"),
                Content::File(text) if text.contains("GREETING") => format!(":\n{text}"),
                Content::File(_) => String::new(),
                Content::Secret(_) => " (secret)".to_owned(),
            };
            let _ = writeln!(text, "{}{content}", entry.path);
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn all_of_the_images_boot_is_left_if_it_is_wanted() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let spec = |fidelity: Fidelity| VmSpec {
            fidelity,
            ..crate::spec::tests::example()
        };
        let masked = |spec: &VmSpec| {
            let entries = initramfs_entries(spec, &facts, &[]).into_iter();
            entries
                .filter(|e| e.content == Content::Link("/dev/null".to_owned()))
                .count()
        };
        assert_eq!(masked(&spec(Fidelity::Full)), 0);
        let fast = spec(Fidelity::Fast);
        let Masks {
            initrd_units,
            units,
            generators,
        } = masks::masks(&fast, &facts, &[]);
        let expected = initrd_units.len() + units.len() + 2 * generators.len();
        assert_eq!(masked(&fast), expected);
        assert!(expected > 20);
    }

    #[test]
    fn no_placeholder_is_left_in_a_unit() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        for entry in initramfs_entries(&crate::spec::tests::example(), &facts, &[]) {
            if let Content::File(text) | Content::Secret(text) = entry.content {
                let left = [
                    "@BCVK@",
                    "@DIR@",
                    "@HOST@",
                    "@TAG@",
                    "@WHERE@",
                    "@OPTIONS@",
                    "@SSHD@",
                    "@WHAT@",
                    "@PORT@",
                    "@STDOUT@",
                    "@STDERR@",
                ];
                assert!(!left.iter().any(|p| text.contains(p)), "{}", entry.path);
            }
        }
    }

    #[test]
    fn keys_travel_as_a_tmpfiles_snippet() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let spec = crate::spec::tests::example();
        let facts = GuestFacts {
            sshd: Sshd::BinaryOnly {
                path: "/usr/sbin/sshd".into(),
            },
            ..facts
        };
        let secrets: Vec<Entry> = initramfs_entries(&spec, &facts, &[])
            .into_iter()
            .filter(|entry| matches!(entry.content, Content::Secret(_)))
            .collect();
        let mut text = String::new();
        for secret in secrets {
            let Content::Secret(snippet) = secret.content else {
                continue;
            };
            let _ = write!(text, "{}:\n{snippet}", secret.path);
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn environment_values_survive_systemds_quoting() {
        let env = EnvVar {
            name: "A".into(),
            value: r#"100% "b" \c"#.into(),
        };
        assert_eq!(manager_env(&[env]), r#""A=100%% \"b\" \\c""#);
    }

    #[test]
    fn environment_values_survive_pams_quoting() {
        for (value, line) in [
            ("\"b\" c", "A='\"b\" c'\n"),
            ("it's", "A='it's'\n"),
            ("end\\", "A='end\\'\n"),
            ("", "A=''\n"),
        ] {
            let (name, value) = ("A".into(), value.into());
            assert_eq!(environment(&[EnvVar { name, value }]), line);
        }
    }
}
