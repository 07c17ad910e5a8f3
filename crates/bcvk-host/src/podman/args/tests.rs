use bcvk_contract::examples::{example, resume};
use bcvk_contract::spec::Snapshot;

use super::*;
use crate::podman::container::is_run_command;

static NO_CLAIMS: ImageClaims = ImageClaims {
    annotations: Vec::new(),
    capabilities: false,
};

fn lines(args: &[OsString]) -> String {
    args.iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        // These arguments depend on the machine that runs the test.
        .filter(|arg| !arg.contains("ld.so"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn plan<'a>(spec: &'a VmSpec, dir: &'a VmDir, publish: &'a [PortForward]) -> ContainerPlan<'a> {
    ContainerPlan {
        spec,
        dir,
        claims: &NO_CLAIMS,
        limits: Some(Limits {
            memory: 5 << 30,
            tasks: 1000,
        }),
        ulimits: Ulimits {
            open_files: 524_288,
            processes: 4_194_304,
        },
        exe: Path::new("/usr/local/bin/bcvk"),
        runner: None,
        hooks_dir: Some(Path::new("/run/bcvk/vms/0123/hooks")),
        remove: true,
        interactive: false,
        tty: false,
        debug: false,
        resumes: vec![(
            SnapshotStage::Ready,
            Path::new("/home/user/.cache/bcvk/snapshots/c0ffee-1"),
        )],
        saves: vec![(
            SnapshotStage::Early,
            Path::new("/home/user/.cache/bcvk/snapshots/c0ffee-2"),
        )],
        labels: &[],
        network: Some("none"),
        publish,
        kvm: true,
        groups: None,
    }
}

#[test]
fn the_container_is_plain_but_for_what_a_vm_needs() {
    let spec = VmSpec {
        snapshot: Some(Snapshot::Resume(resume())),
        ..example()
    };
    let forward: PortForward = "127.0.0.1:8080:80".parse().expect("port");
    let args = run_args(&ContainerPlan {
        labels: &["team=os".parse().expect("label")],
        ..plan(&spec, &dir(), &[forward])
    });
    insta::assert_snapshot!(lines(&args));
}

fn dir() -> VmDir {
    VmDir::at("/run/bcvk/vms/0123")
}

#[test]
fn what_an_image_claims_is_overruled() {
    let spec = example();
    let claims = ImageClaims {
        annotations: vec!["run.oci.handler".to_owned()],
        capabilities: true,
    };
    let args = lines(&run_args(&ContainerPlan {
        claims: &claims,
        ..plan(&spec, &dir(), &[])
    }));
    assert!(args.contains("\n--annotation=run.oci.handler=\n"), "{args}");
    let label = format!("\n--label=io.containers.capabilities={CAPABILITIES}\n");
    assert!(args.contains(&label), "{args}");
}

#[test]
fn only_our_own_command_line_makes_a_container_a_vm() {
    let spec = example();
    let words: Vec<String> = run_args(&plan(&spec, &dir(), &[]))
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    assert!(is_run_command(&words, "0123"));
    assert!(!is_run_command(&words, "4567"));
    let stranger = ["podman", "run", "--label=bcvk.vm=0123", "image"];
    assert!(!is_run_command(&stranger.map(str::to_owned), "0123"));
}

#[test]
fn a_shell_in_place_of_the_supervisor_is_at_the_users_terminal() {
    let spec = example();
    let of = |debug| {
        let args = run_args(&ContainerPlan {
            debug,
            interactive: debug,
            tty: debug,
            remove: debug,
            groups: debug.then(|| "keep-groups".to_owned()),
            ..plan(&spec, &dir(), &[])
        });
        lines(&args)
    };
    for (line, shell, vm) in [
        ("--detach", false, true),
        ("--interactive", true, false),
        ("--tty", true, false),
        ("--rm", true, false),
        ("--group-add=keep-groups", true, false),
        ("debug", true, false),
        ("supervise", false, true),
    ] {
        let has = |args: String| args.lines().any(|found| found == line);
        assert_eq!((has(of(true)), has(of(false))), (shell, vm), "{line}");
    }
    assert!(of(false).contains(CONTAINER_CLI_LOCK));
    assert!(!of(true).contains(CONTAINER_CLI_LOCK), "nobody watches it");
}

#[test]
fn a_vm_that_outlives_its_command_does_not_watch_it() {
    let spec = VmSpec {
        lifetime: Lifetime::Detached,
        ..example()
    };
    let args = lines(&run_args(&plan(&spec, &dir(), &[])));
    assert!(!args.contains(CONTAINER_CLI_LOCK), "{args}");
}

#[test]
fn a_container_of_a_runner_has_nothing_of_the_hosts_programs() {
    let spec = example();
    let args = run_args(&ContainerPlan {
        runner: Some("4a11"),
        ..plan(&spec, &dir(), &[])
    });
    let args = lines(&args);
    assert!(!args.contains("source=/usr,"), "{args}");
    let image = "type=image,source=c0ffee,destination=/bcvk-0123/run/bcvk-image";
    assert!(args.contains(image), "{args}");
    let end = "\n4a11\ninternal\nsupervise\n--root=/bcvk-0123/\n--runner";
    assert!(args.ends_with(end), "{args}");
}

#[test]
fn bind_sources_are_quoted_for_podmans_csv() {
    let at = |source: &str| bind(Path::new(source), Path::new("/x"), false);
    assert_eq!(
        at("/plain path"),
        "type=bind,source=/plain path,destination=/x"
    );
    assert_eq!(at("/a,b"), "type=bind,\"source=/a,b\",destination=/x");
    assert_eq!(at("/a\"b"), "type=bind,\"source=/a\"\"b\",destination=/x");
}

#[test]
fn only_paths_that_podman_hands_on_unchanged_are_given_to_it() {
    for path in ["/a b", "/a,b\"", "/é\n", "/$(x)"] {
        check_path(Path::new(path)).expect(path);
    }
    let error = check_path(Path::new("/a\r\n")).expect_err("a carriage return");
    assert!(
        error.to_string().starts_with("\"/a\\r\\n\" cannot"),
        "{error}"
    );
    let error = check_path(Path::new(OsStr::from_bytes(b"/\xff"))).expect_err("no UTF-8");
    assert!(
        error.to_string().starts_with("\"/\\xFF\" cannot"),
        "{error}"
    );
}

#[test]
fn published_ports_are_written_as_podman_reads_them() {
    for (given, written) in [
        ("8080:80", "8080:80/tcp"),
        ("127.0.0.1:53:53/udp", "127.0.0.1:53:53/udp"),
        ("[::1]:8080:80", "[::1]:8080:80/tcp"),
    ] {
        let forward: PortForward = given.parse().expect("port");
        assert_eq!(publish_arg(&forward), written);
    }
}
