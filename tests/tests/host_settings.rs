//! Settings of a host for all of its containers, and programs of a host that lack something: a VM is
//! the same all the same, or is refused in one sentence.

use std::fs;
use std::path::{Path, PathBuf};

use bcvk_testkit::{Checks, Sandbox, images, limit};
use bcvk_tests::own_storage::OwnStorage;

/// Settings of `containers.conf` that would make VMs share what is their own, give them rights, take
/// their supervisor's place, or let their file servers open too few files for a guest to come up.
const SHARING: &str = r#"[containers]
ipcns = "host"
pidns = "host"
netns = "host"
userns = "USERNS"
init = true
privileged = true
read_only = true
default_ulimits = ["nofile=1024:1024", "nproc=64:64"]
"#;

fn containers_conf(sandbox: &Sandbox, userns: &str) -> PathBuf {
    let conf = sandbox.path().join("containers.conf");
    fs::write(&conf, SHARING.replace("USERNS", userns)).expect("write");
    conf
}

#[test]
fn vms_share_nothing_whatever_podman_is_set_to() {
    const NAMESPACES: [&str; 3] = ["ipc", "pid", "net"];

    let Some(sandbox) = Sandbox::root() else {
        return;
    };
    let conf = containers_conf(&sandbox, "auto");
    let namespaces = |process: &str| {
        NAMESPACES.map(|name| {
            let link = fs::read_link(Path::new("/proc").join(process).join("ns").join(name));
            link.expect("a namespace")
        })
    };
    let mut of_all = vec![namespaces("self")];
    for part in ["one", "two"] {
        let name = sandbox.name(part);
        let _ = sandbox
            .bcvk(["run", "-d", "--rm", "--name", &name, images::trixie()])
            .env("CONTAINERS_CONF", &conf)
            .run()
            .expect_success();
        let found = |template: &str| {
            let inspect = sandbox.podman(["container", "inspect", "--format", template, &name]);
            inspect.run().expect_success().text()
        };
        of_all.push(namespaces(&found("{{.State.Pid}}")));
        let rights =
            found("{{.HostConfig.Privileged}} {{.HostConfig.Init}} {{.HostConfig.ReadonlyRootfs}}");
        assert_eq!(rights, "false false false");
    }
    for (index, name) in NAMESPACES.iter().enumerate() {
        let mut each: Vec<&PathBuf> = of_all.iter().map(|all| &all[index]).collect();
        each.sort_unstable();
        each.dedup();
        assert_eq!(each.len(), of_all.len(), "{name}: {of_all:?}");
    }
    for part in ["one", "two"] {
        let _ = sandbox
            .bcvk(["rm", "--force", &sandbox.name(part)])
            .run()
            .expect_success();
    }
    sandbox.finish();
}

/// With `keep-id`, the container's root would be somebody who cannot read the VM's files.
#[test]
fn an_ordinary_users_vm_runs_whatever_podman_is_set_to() {
    let Some(sandbox) = Sandbox::rootless() else {
        return;
    };
    let conf = containers_conf(&sandbox, "keep-id");
    let output = sandbox
        .bcvk(["run-ssh", "--name", &sandbox.name("vm")])
        .args([
            images::trixie(),
            "systemctl is-system-running --wait; id -u; exit 3",
        ])
        .env("CONTAINERS_CONF", conf)
        .env("PODMAN_USERNS", "keep-id")
        .limit(limit::BOOT)
        .run()
        .expect_code(3);
    assert_eq!(output.stdout(), "running\n0\n", "{output}");
    sandbox.finish();
}

#[test]
fn a_podman_that_works_elsewhere_is_refused_in_one_sentence() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    for variable in ["CONTAINER_HOST", "CONTAINER_CONNECTION"] {
        let sentence = format!(
            "error: {variable} is set, which makes podman the client of a service; a VM needs podman \
             itself, on this machine\n"
        );
        let hint = format!("hint: `unset {variable}` lets podman work here");
        for verb in [&["run", "-d", "--rm"][..], &["run-ssh"], &["ps"]] {
            checks.check(&format!("{variable}, {verb:?}"), || {
                let image = (verb[0] != "ps").then_some(images::trixie());
                let _ = sandbox
                    .bcvk(verb)
                    .args(image)
                    .env(variable, "unix:///nowhere.sock")
                    .run()
                    .expect_error(125, &[&sentence, &hint]);
            });
        }
        checks.check(&format!("{variable}, doctor"), || {
            let _ = sandbox
                .command(sandbox.bcvk_path())
                .arg("doctor")
                .env(variable, "unix:///nowhere.sock")
                .run()
                .expect_code(1)
                .expect_stdout(&format!("{variable} is set"));
        });
    }
    checks.finish();
    sandbox.finish();
}

/// QEMU of RHEL and its derivatives is one.
#[test]
fn a_qemu_without_user_networking_is_named() {
    const QEMU: &str = r#"#!/bin/sh
case "$*" in
--version) echo 'QEMU emulator version 10.0.2' ;;
'-netdev help') printf 'Available netdev backend types:\nsocket\nhubport\ntap\n' ;;
*)
    echo "qemu: -netdev user,id=net: network backend 'user' is not compiled into this binary" >&2
    exit 1 ;;
esac
"#;

    let Some(sandbox) = Sandbox::root() else {
        return;
    };
    let qemu = sandbox.path().join("qemu");
    fs::write(&qemu, QEMU).expect("write");
    let real = format!("/usr/bin/qemu-system-{}", std::env::consts::ARCH);
    let on_that_host = |words: &[&str]| {
        let script = format!(
            "chmod 0755 '{0}' && mount --bind '{0}' {real} && exec \"$@\"",
            qemu.display()
        );
        let command = sandbox.command("unshare");
        let command = command.args(["--mount", "sh", "-ec", &script, "sh"]);
        command.arg(sandbox.bcvk_path()).args(words).run()
    };
    let _ = on_that_host(&["doctor"])
        .expect_code(1)
        .expect_stdout(&format!(
            "QEMU at {real} cannot be used: it was built without user networking (libslirp)"
        ));
    let name = sandbox.name("vm");
    let words = [
        "ephemeral",
        "run-ssh",
        "--name",
        &name,
        images::trixie(),
        "true",
    ];
    let _ = on_that_host(&words)
        .expect_error(125, &["QEMU was built without user networking (libslirp)"])
        .expect_stderr("hint: install a QEMU that has it");
    sandbox.finish();
}

/// A host that is a VM itself often has the addresses that QEMU gives a guest.
#[test]
fn a_guest_reaches_a_host_whose_addresses_are_those_of_qemus_network() {
    /// The network of a host, and what answers each connection with a line.
    const HOST: &str = r#"
ip link set lo up
ip link add name lan type bridge
ip address add 10.0.2.15/24 dev lan
ip link set lan up
python3 - <<'EOF' &
import socket
server = socket.create_server(("10.0.2.15", 7))
while True:
    server.accept()[0].sendall(b"the host answers\n")
EOF
server=$!
trap 'kill $server' EXIT
"$@"
"#;

    let Some(sandbox) = Sandbox::root() else {
        return;
    };
    let name = sandbox.name("vm");
    let bcvk = sandbox.bcvk_path().to_owned();
    let _ = sandbox
        .command("unshare")
        .args(["--net", "bash", "-ec", HOST, "bash"])
        .arg(bcvk)
        .args(["ephemeral", "run-ssh", "--network", "host", "--name", &name])
        .args([images::trixie(), "--", "cat < /dev/tcp/10.0.2.15/7"])
        .limit(limit::BOOT)
        .run()
        .expect_success()
        .expect_stdout("the host answers\n");
    sandbox.finish();
}

/// podman takes images from files and directories too, where they need not have a name.
#[test]
fn an_image_is_taken_from_where_podman_can_pull_it() {
    let Some(sandbox) = Sandbox::apart() else {
        return;
    };
    sandbox.load_image(images::scratch());
    let dir = sandbox.make_dir("images");
    let id = {
        let inspect = ["image", "inspect", "--format={{.Id}}", images::scratch()];
        sandbox.podman(inspect).run().expect_success().text()
    };
    let mut checks = Checks::new();
    for transport in ["docker-archive", "oci-archive", "dir"] {
        checks.check(transport, || {
            let path = dir.join(transport);
            let format = match transport {
                "dir" => "docker-dir",
                archive => archive,
            };
            let save = sandbox.podman(["save", "--quiet", "--format", format, "--output"]);
            let _ = save
                .arg(&path)
                .arg(images::scratch())
                .run()
                .expect_success();
            let reference = format!("{transport}:{}", path.display());
            let plan = sandbox.bcvk(["run", "--dry-run", &reference]).run();
            let _ = plan.expect_success().expect_stdout("type=image,source=");
            let _ = sandbox
                .bcvk(["run", "--dry-run", "--pull=never", &reference])
                .run()
                .expect_error(125, &[&reference, "does not exist here"]);
        });
    }
    for name in [
        format!("containers-storage:{}", images::scratch()),
        id.clone(),
        id[..12].to_owned(),
        images::scratch()
            .trim_start_matches("localhost/")
            .to_owned(),
    ] {
        checks.check(&name, || {
            let plan = sandbox
                .bcvk(["run", "--dry-run", "--pull=never", &name])
                .run();
            let _ = plan
                .expect_success()
                .expect_stdout(&format!("source={id},"));
        });
    }
    checks.finish();
    sandbox.finish();
}

/// An image that others provide, as in `/usr/share/containers/storage`, has to get a layer of its own.
#[test]
fn an_image_of_a_read_only_store_is_refused_with_what_makes_it_boot() {
    let Some(sandbox) = Sandbox::root() else {
        return;
    };
    let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";
    let own = OwnStorage::make(&sandbox, &sandbox.make_dir("storage"), limits);
    let run = |part: &str, image: &str| {
        own.used_by(sandbox.bcvk(["run", "-d", "--rm", "--name", &sandbox.name(part), image]))
            .run()
    };
    let output = run("vm", images::trixie())
        .expect_error(125, &["hint: podman mounts no image", "read-only store"]);
    let stderr = output.stderr();
    let command = stderr.split('`').nth(1).expect("a command in the hint");
    let mend = command
        .replace("IMAGE", images::trixie())
        .replace("NAME", "mine");
    let _ = own
        .used_by(sandbox.command("sh").args(["-c", &mend]))
        .run()
        .expect_success();
    let _ = run("vm", "localhost/mine").expect_success();
    let _ = own
        .used_by(sandbox.bcvk(["rm", "--force", &sandbox.name("vm")]))
        .run()
        .expect_success();
    let _ = own
        .used_by(sandbox.podman(["system", "reset", "--force"]))
        .run();
    sandbox.finish();
}
