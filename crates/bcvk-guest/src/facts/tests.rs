//! Facts of trees made for the purpose.

use std::fs;
use std::path::Path;

use super::*;

const UNITS: &str = "usr/lib/systemd/system";
const WANTS: &str = "etc/systemd/system/multi-user.target.wants";

/// Returns the facts of an image of these files, as [`tree::add`] reads them.
fn facts(files: &[&str]) -> GuestFacts {
    let dir = tempfile::tempdir().expect("a directory");
    for file in files {
        tree::add(dir.path(), file).expect(file);
    }
    read(dir.path())
}

fn read(root: &Path) -> GuestFacts {
    GuestFacts::read(&Rooted::new(root).expect("the root")).expect("facts")
}

#[test]
fn an_empty_image_has_nothing() {
    assert_eq!(
        facts(&[]),
        GuestFacts {
            systemd: false,
            sshd: Sshd::Absent,
            sshd_port: SSH_PORT,
            has_ssh_host_keys: false,
            sshd_penalises: false,
            network: Network::None,
            networkd_installed: false,
            root: RootKind::Image,
            var: VarLayout {
                copied_whole: true,
                ..VarLayout::default()
            },
            root_home: None,
            root_shell: None,
            stand_in_shell: None,
            has_hostname: false,
            has_machine_id: false,
            selinux_enforcing: false,
            cloud_init_enabled: false,
            ignition: false,
            credentials: false,
            rc_local: false,
            modules_to_load: false,
            storage_conf: None,
            bound_images: Vec::new(),
            fstab: String::new(),
            crypttab: String::new(),
            wanted_units: Vec::new(),
            asking: Vec::new(),
            asks_for_settings: false,
            repart: false,
            api_mounts: Vec::new(),
            awaited_links: Vec::new(),
            networkd_waits: false,
        }
    );
}

fn unit(name: &str) -> String {
    format!("{UNITS}/{name}")
}

fn wants(name: &str) -> String {
    format!("{WANTS}/{name} -> /{UNITS}/{name}")
}

fn sshd(files: &[String]) -> Sshd {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    facts(&files).sshd
}

#[test]
fn sshd_that_answers_by_itself() {
    let enabled = |unit: &str| Sshd::Enabled { unit: unit.into() };
    let socket = |unit: &str| Sshd::SocketActivated { unit: unit.into() };
    for (files, expected) in [
        // On Debian, the unit is enabled, with the alias that enabling makes.
        (
            vec![
                unit("ssh.service"),
                wants("ssh.service"),
                format!("etc/systemd/system/sshd.service -> /{UNITS}/ssh.service"),
            ],
            enabled("ssh.service"),
        ),
        // This is as on Fedora.
        (
            vec![
                unit("sshd.service"),
                unit("sshd.socket"),
                wants("sshd.service"),
            ],
            enabled("sshd.service"),
        ),
        // Ubuntu starts sshd by its socket.
        (
            vec![
                unit("ssh.service"),
                unit("ssh.socket"),
                format!(
                    "etc/systemd/system/sockets.target.wants/ssh.socket -> /{UNITS}/ssh.socket"
                ),
            ],
            socket("ssh.socket"),
        ),
        // The vendor's files want the unit.
        (
            vec![
                unit("sshd.service"),
                format!("{UNITS}/multi-user.target.wants/sshd.service -> ../sshd.service"),
            ],
            enabled("sshd.service"),
        ),
        // This image is not merged.
        (
            vec![
                "lib/systemd/system/ssh.service".into(),
                format!("{WANTS}/ssh.service -> /lib/systemd/system/ssh.service"),
            ],
            enabled("ssh.service"),
        ),
    ] {
        let found = sshd(&files);
        assert_eq!(found, expected, "{files:?}");
        assert!(found.answers_by_itself());
    }
}

#[test]
fn sshd_that_needs_help() {
    let installed = |unit: &str| Sshd::Installed { unit: unit.into() };
    let masked = |unit: &str| Sshd::Masked { unit: unit.into() };
    for (files, expected) in [
        // On a desktop, sshd is installed but off. The unit that wants it is no target.
        (
            vec![
                unit("sshd.service"),
                unit("sshd.socket"),
                format!("etc/systemd/system/x.service.wants/sshd.service -> /{UNITS}/sshd.service"),
            ],
            installed("sshd.service"),
        ),
        // An alias alone says which unit it is an alias of.
        (
            vec![
                unit("openssh.service"),
                format!("etc/systemd/system/sshd.service -> /{UNITS}/openssh.service"),
            ],
            installed("openssh.service"),
        ),
        (vec![unit("sshd.socket")], installed("sshd.socket")),
        // The unit is masked, although it is enabled; masked by an empty file; masked with nothing
        // left to run.
        (
            vec![
                unit("sshd.service"),
                wants("sshd.service"),
                "etc/systemd/system/sshd.service -> /dev/null".into(),
                "usr/sbin/sshd".into(),
            ],
            masked("sshd.service"),
        ),
        (
            vec![
                unit("sshd.service"),
                "etc/systemd/system/sshd.service = ".into(),
                "usr/sbin/sshd".into(),
            ],
            masked("sshd.service"),
        ),
        (
            vec!["etc/systemd/system/ssh.service -> /dev/null".into()],
            Sshd::Absent,
        ),
        // Debian's alias outlives the mask.
        (
            vec![
                unit("ssh.service"),
                "etc/systemd/system/ssh.service -> /dev/null".into(),
                format!("etc/systemd/system/sshd.service -> /{UNITS}/ssh.service"),
                "usr/sbin/sshd".into(),
            ],
            masked("ssh.service"),
        ),
        // A package that was removed has left these links behind.
        (
            vec![
                wants("ssh.service"),
                format!("etc/systemd/system/sshd.service -> /{UNITS}/ssh.service"),
            ],
            Sshd::Absent,
        ),
        (
            vec!["usr/sbin/sshd".into()],
            Sshd::BinaryOnly {
                path: "/usr/sbin/sshd".into(),
            },
        ),
    ] {
        let found = sshd(&files);
        assert_eq!(found, expected, "{files:?}");
        assert!(!found.answers_by_itself());
    }
    assert_eq!((masked("x").unit(), Sshd::Absent.unit()), (Some("x"), None));
}

#[test]
fn host_keys_have_content() {
    for (file, expected) in [
        ("etc/ssh/ssh_host_ed25519_key", true),
        ("etc/ssh/ssh_host_ed25519_key = ", false),
        ("etc/ssh/ssh_host_ed25519_key.pub", false),
    ] {
        assert_eq!(facts(&[file]).has_ssh_host_keys, expected, "{file}");
    }
}

#[test]
fn network_by_what_is_enabled() {
    let other = |name: &str| Network::Other(name.into());
    for (unit, expected) in [
        ("NetworkManager.service", Network::NetworkManager),
        ("systemd-networkd.service", Network::Networkd),
        ("networking.service", Network::Ifupdown),
        ("connman.service", other("ConnMan")),
    ] {
        let file = format!("{UNITS}/{unit}");
        assert_eq!(facts(&[&file]).network, Network::None, "{unit}");
        let wants = format!("{WANTS}/{unit} -> /{file}");
        assert_eq!(facts(&[&file, &wants]).network, expected, "{unit}");
    }
    let netplan = [
        "etc/netplan/a.yaml",
        "usr/lib/systemd/system-generators/netplan",
    ];
    assert_eq!(facts(&netplan).network, other("netplan"));
}

#[test]
fn networkd_that_nobody_enables() {
    assert!(facts(&["usr/lib/systemd/systemd-networkd"]).networkd_installed);
}

#[test]
fn a_small_var_is_copied() {
    for files in [
        &["var/lib/a = 12345", "var/lib/b -> a", "var/log/"][..],
        // These have a moved /var, and one that is circular.
        &["var -> srv", "srv/a = 123"],
        &["var/self -> ."],
    ] {
        assert!(facts(files).var.copied_whole, "{files:?}");
    }
}

#[test]
fn a_large_var_is_copied_but_for_its_large_parts() {
    let dir = tempfile::tempdir().expect("a directory");
    let var = dir.path().join("var");
    let large = |path: &str| {
        let path = var.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        let file = fs::File::create(path).expect("a file");
        file.set_len(40 << 20).expect("sparse");
    };
    let many = |path: &str, count: usize| {
        fs::create_dir_all(var.join(path)).expect("a directory");
        for i in 0..count {
            fs::File::create(var.join(path).join(i.to_string())).expect("a file");
        }
    };
    many("many", 2000);
    many("lib/dpkg/info", 300);
    many("lib/small", 3);
    large("lib/file");
    large("lib/containers/x/f");
    for id in ["a", "b"] {
        large(&format!("lib/containers/storage/overlay/{id}/diff/f"));
        large(&format!("lib/other/snapshots/{id}/fs/f"));
    }
    many("lib/containers/storage/overlay/l", 1);
    let layout = read(dir.path()).var;
    let paths = |paths: &[PathBuf]| {
        let mut paths: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        paths.sort();
        paths.join(" ")
    };
    assert!(!layout.copied_whole);
    assert_eq!(
        paths(&layout.directories),
        " lib lib/containers lib/containers/storage lib/containers/storage/overlay lib/other \
         lib/other/snapshots"
    );
    assert_eq!(
        paths(&layout.copied),
        "lib/containers/storage/overlay/l lib/small"
    );
    assert_eq!(
        paths(&layout.overlaid),
        "lib/containers/storage/overlay/a lib/containers/storage/overlay/b lib/containers/x \
         lib/dpkg lib/file lib/other/snapshots/a lib/other/snapshots/b many"
    );
}

#[test]
fn where_the_home_of_root_is() {
    for (files, expected) in [
        (&["root/"][..], Some("/root")),
        (&["root"], None),
        (&["root -> var/roothome"], Some("/var/roothome")),
        (
            &["root -> var/roothome", "var/roothome/"],
            Some("/var/roothome"),
        ),
        (&["root -> var/roothome", "var/roothome"], None),
        (&["root -> ../var/./roothome"], Some("/var/roothome")),
        (
            &["root -> home/root", "home -> var/home", "var/home/"],
            Some("/var/home/root"),
        ),
        (
            &["root -> a", "a -> var/b", "var/b -> ../usr/c", "usr/c/"],
            Some("/usr/c"),
        ),
        (&["root -> usr/none", "usr/"], None),
        (&["root -> root"], None),
    ] {
        let found = facts(files).root_home;
        assert_eq!(found.as_deref(), expected.map(Path::new), "{files:?}");
    }
}

#[test]
fn single_facts() {
    assert!(facts(&["usr/lib/systemd/systemd"]).systemd);
    for (file, expected) in [
        ("etc/hostname = vm\n", true),
        ("etc/hostname = \n", false),
        ("etc/hostname = # none\n", false),
    ] {
        assert_eq!(facts(&[file]).has_hostname, expected, "{file}");
    }
    for (file, expected) in [
        (
            "etc/selinux/config = # SELINUX=disabled\nSELINUX=enforcing\nSELINUXTYPE=targeted\n",
            true,
        ),
        ("etc/selinux/config = SELINUX=permissive\n", false),
        ("etc/selinux/config = SELINUXTYPE=enforcing\n", false),
    ] {
        assert_eq!(facts(&[file]).selinux_enforcing, expected, "{file}");
    }

    let service = &format!("{UNITS}/cloud-init.service");
    let enabled =
        &format!("etc/systemd/system/cloud-init.target.wants/cloud-init.service -> /{service}");
    let target = &format!("{UNITS}/cloud-init.target");
    let generator = "usr/lib/systemd/system-generators/cloud-init-generator";
    for (files, expected) in [
        (vec![service.as_str(), enabled], true),
        (vec![generator, target], true),
        (vec![service], false),
        (
            vec![service, enabled, "etc/cloud/cloud-init.disabled"],
            false,
        ),
        (
            vec![
                generator,
                target,
                "etc/systemd/system/cloud-init.target -> /dev/null",
            ],
            false,
        ),
    ] {
        assert_eq!(facts(&files).cloud_init_enabled, expected, "{files:?}");
    }
    assert!(facts(&["usr/lib/dracut/modules.d/30ignition/module-setup.sh"]).ignition);
}

#[test]
fn serialised_plainly() {
    let facts = facts(&["root -> var/roothome", "usr/sbin/sshd"]);
    let json = serde_json::to_value(&facts).expect("serialises");
    assert_eq!(json["sshd"]["state"], "binary_only");
    assert_eq!(json["network"], "none");
    assert_eq!(json["root_home"], "/var/roothome");
    assert_eq!(
        serde_json::from_value::<GuestFacts>(json).expect("deserialises"),
        facts
    );
}

#[test]
fn modules_that_are_named_are_to_be_loaded() {
    for (text, named) in [("# loop\n; loop\n\n", false), ("# mine\n loop\n", true)] {
        for above in ["etc", "usr/lib"] {
            let image = tempfile::tempdir().expect("a directory");
            let dir = image.path().join(above).join("modules-load.d");
            fs::create_dir_all(&dir).expect("made");
            fs::write(dir.join("x.conf"), text).expect("written");
            assert_eq!(read(image.path()).modules_to_load, named, "{above}: {text}");
        }
    }
}

#[test]
fn credentials_and_a_script_at_the_end() {
    for (files, credentials, rc_local) in [
        (&["etc/credstore/", "usr/lib/credstore/"][..], false, false),
        (&["etc/credstore/network.conf.x"], true, false),
        (&["usr/lib/credstore.encrypted/x"], true, false),
        (&["etc/rc.local"], false, true),
        (&["etc/rc.d/rc.local"], false, true),
    ] {
        let facts = facts(files);
        assert_eq!(facts.credentials, credentials, "{files:?}");
        assert_eq!(facts.rc_local, rc_local, "{files:?}");
    }
}

#[test]
fn a_machine_id_may_be_left_open() {
    let id = "0123456789abcdef0123456789abcdef";
    for (text, expected) in [
        (format!("{id}\n"), true),
        (String::new(), false),
        ("uninitialized\n".to_owned(), false),
        (id[1..].to_owned(), false),
    ] {
        let file = format!("etc/machine-id = {text}");
        assert_eq!(facts(&[&file]).has_machine_id, expected, "{file}");
    }
    assert!(!facts(&[]).has_machine_id);
}

#[test]
fn a_shell_of_roots_runs_commands() {
    for (files, shell) in [
        (&["bin/sh = x"][..], Some("/bin/sh")),
        (
            &["bin/sh = x", "etc/passwd = a:x:1:1::/:/bin/no"],
            Some("/bin/sh"),
        ),
        (
            &["bin/sh = x", "etc/passwd = root:x:0:0:root:/root:"],
            Some("/bin/sh"),
        ),
        (
            &["bin/ash = x", "etc/passwd = root:x:0:0:root:/root:/bin/ash"],
            Some("/bin/ash"),
        ),
        (
            &[
                "bin/ash = x",
                "usr/lib/passwd = root:x:0:0:root:/root:/bin/ash",
            ],
            Some("/bin/ash"),
        ),
        (
            &["bin/sh = x", "etc/passwd = root:x:0:0:root:/root:/bin/ash"],
            None,
        ),
        (
            &[
                "sbin/nologin = x",
                "bin/sh = x",
                "etc/passwd = root:x:0:0:root:/root:/sbin/nologin",
            ],
            None,
        ),
    ] {
        assert_eq!(
            facts(files).root_shell.as_deref(),
            shell.map(Path::new),
            "{files:?}"
        );
    }
}
