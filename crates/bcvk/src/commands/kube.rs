//! `bcvk ephemeral kube`: a VM as a Kubernetes Pod.

use std::process::ExitCode;

use bcvk_contract::limits::STOP_TIMEOUT_SECONDS;
use bcvk_contract::spec::{
    CONTAINER_EXE, CONTAINER_IMAGE, CONTAINER_VM_DIR, EnvRequest, EnvVar, GuestPort, VmName,
    check_pod_name, pod_ports, pod_volume,
};
use bcvk_host::AccelRequest;
use serde_json::{Value, json};

use super::vm;
use crate::cli::{GuestOptions, Kube, Output};
use crate::error::{CommandError, UsageError};
use crate::ui::{self, Ui};

/// Processors of a VM if nobody sets a number: a node may have a hundred.
const VCPUS: u32 = 2;

/// Memory that a Pod needs beside the guest's: for QEMU with its translated code, bcvk's processes,
/// and some of the image's files in the page cache.
const OVERHEAD_MIB: u32 = 512;

/// Room for the files of a VM that are written before it runs, and for its status and console.
const VM_DIR_SIZE: &str = "64Mi";

/// Capabilities that the container keeps, all of them such that Kubernetes' Pod Security Standard
/// "baseline" allows: the file server reads every user's files, leaves its groups and goes to the
/// image for good, and the bounding set shrinks on the way.
const CAPABILITIES: [&str; 4] = ["DAC_OVERRIDE", "SETGID", "SETPCAP", "SYS_CHROOT"];

/// Seconds between two looks at whether the VM is ready.
const PROBE_PERIOD: u32 = 2;

pub(super) fn kube(args: Kube, ui: &Ui) -> Result<ExitCode, CommandError> {
    if args.guest.output == Some(Output::Events) {
        return Err(UsageError::NoEvents("kube").into());
    }
    let manifest = manifest(args, ui)?;
    let yaml = serde_norway::to_string(&manifest)
        .map_err(|e| CommandError::io("write the Pod as YAML")(std::io::Error::other(e)))?;
    ui::print(&yaml);
    Ok(ExitCode::SUCCESS)
}

/// Returns the Pod.
fn manifest(args: Kube, ui: &Ui) -> Result<Value, CommandError> {
    let env = vm::environment(&args.guest.env, ui)?;
    let _ = vm::var(&args.guest)?;
    let name = match &args.guest.name {
        Some(name) => name.clone(),
        None => vm::random_name()?,
    };
    check_pod_name(&name)?;
    let ports = pod_ports(&args.guest.publish)?;
    let guest = fixed_options(args.guest, &name, env);
    let volume = pod_volume(&name);
    let mut container = json!({
        "name": "vm",
        "image": args.runner,
        "command": [CONTAINER_EXE],
        "args": pod_words(&guest, &args.image),
        "resources": { "limits": limits(&guest, &args.kvm_resource) },
        "securityContext": {
            "runAsUser": 0,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            // A disk of the VM's own is a file in the container's root.
            "readOnlyRootFilesystem": guest.add_swap.is_none() && guest.var_disk.is_none(),
            "capabilities": { "drop": ["ALL"], "add": CAPABILITIES },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "readinessProbe": {
            "exec": { "command": [CONTAINER_EXE, "internal", "ready"] },
            "periodSeconds": PROBE_PERIOD,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            { "name": "image", "mountPath": CONTAINER_IMAGE, "readOnly": true },
            { "name": volume, "mountPath": CONTAINER_VM_DIR },
        ],
    });
    if !ports.is_empty() {
        container["ports"] = ports.iter().copied().map(container_port).collect();
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": { "app.kubernetes.io/managed-by": "bcvk" },
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": STOP_TIMEOUT_SECONDS,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "containers": [container],
            "volumes": [
                { "name": "image", "image": { "reference": args.image } },
                { "name": volume, "emptyDir": { "medium": "Memory", "sizeLimit": VM_DIR_SIZE } },
            ],
        },
    }))
}

/// Returns the options with fixed values in place of those that depend on where they are read.
fn fixed_options(guest: GuestOptions, name: &VmName, env: Vec<EnvVar>) -> GuestOptions {
    GuestOptions {
        itype: None,
        memory: vm::memory(&guest),
        vcpus: Some(vm::vcpus(&guest).unwrap_or(VCPUS)),
        name: Some(name.clone()),
        env: env.into_iter().map(EnvRequest::from).collect(),
        accel: if guest.accel == AccelRequest::Tcg {
            AccelRequest::Tcg
        } else {
            AccelRequest::Kvm
        },
        ..guest
    }
}

/// Returns the words by which bcvk starts the VM in the container.
fn pod_words(guest: &GuestOptions, image: &str) -> Vec<String> {
    let mut words = vec!["internal".to_owned(), "pod".to_owned()];
    words.extend(guest.words());
    words.extend(["--".to_owned(), image.to_owned()]);
    words
}

/// Returns the limits of the container's resources, of which `kvm_resource` is the cluster's name
/// for KVM.
fn limits(guest: &GuestOptions, kvm_resource: &str) -> Value {
    let mut limits = json!({
        "cpu": guest.vcpus.unwrap_or(VCPUS).to_string(),
        "memory": format!("{}Mi", guest.memory.mib().saturating_add(OVERHEAD_MIB)),
    });
    if guest.accel == AccelRequest::Kvm {
        limits[kvm_resource] = "1".into();
    }
    limits
}

fn container_port(port: GuestPort) -> Value {
    json!({
        "containerPort": port.container,
        "protocol": port.protocol.name().to_ascii_uppercase(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use k8s_openapi::api::core::v1::Pod;

    use super::*;
    use crate::cli::{Cli, Command, Internal, Verb};

    fn manifest_of(words: &[&str]) -> Result<Value, CommandError> {
        let words = ["bcvk", "ephemeral", "kube"].iter().chain(words);
        let Command::Ephemeral(ephemeral) = Cli::parse_from(words).command else {
            panic!("not ephemeral");
        };
        let Verb::Kube(args) = ephemeral.verb else {
            panic!("not kube");
        };
        manifest(*args, &Ui::new(true, 0))
    }

    const EVERYTHING: [&str; 18] = [
        "--itype=u1.small",
        "--name=check",
        "--add-swap=1G",
        "--var-disk",
        "--execute=systemctl --failed",
        "--execute=-x",
        "--karg=a=\"b c\"",
        "--env=GREETING=hello world",
        "--publish=8080:80",
        "--publish=8080:53/udp",
        "--no-ssh-keygen",
        "--output=journal",
        "--fidelity=full",
        "--initramfs=direct",
        "--accel=kvm",
        "--nested",
        "--runner=quay.io/me/runner:1",
        "quay.io/me/mybootc:latest",
    ];

    /// The Pod's types are generated from Kubernetes' own schema. A field that it does not know
    /// would be lost on the way through them.
    #[test]
    fn kubernetes_knows_every_field() {
        for words in [&EVERYTHING[..], &["--accel=tcg", "image"]] {
            let manifest = manifest_of(words).expect("a Pod");
            let yaml = serde_norway::to_string(&manifest).expect("YAML");
            let pod: Pod = serde_norway::from_str(&yaml).expect("a Pod");
            assert_eq!(serde_json::to_value(pod).expect("JSON"), manifest);
        }
    }

    #[test]
    fn the_manifest() {
        let manifest = manifest_of(&EVERYTHING).expect("a Pod");
        insta::assert_snapshot!(serde_norway::to_string(&manifest).expect("YAML"));
    }

    #[test]
    fn the_guide_shows_it_as_it_is() {
        let guide = include_str!("../../../../docs/scale-out.md");
        let words = "--name check --accel kvm --publish 8080:80";
        assert!(guide.contains(words), "the options beside the manifest");
        let mut words: Vec<&str> = words.split(' ').collect();
        words.extend([
            "--runner=quay.io/me/bcvk-runner:0.1.0",
            "quay.io/me/mybootc:latest",
        ]);
        let manifest = manifest_of(&words).expect("a Pod");
        let yaml = serde_norway::to_string(&manifest).expect("YAML");
        assert!(guide.contains(&yaml), "{yaml}");
    }

    #[test]
    fn the_runner_understands_what_the_manifest_tells_it() {
        let manifest = manifest_of(&EVERYTHING).expect("a Pod");
        let container = &manifest["spec"]["containers"][0];
        let words = container["args"].as_array().expect("args");
        let words = words.iter().map(|word| word.as_str().expect("text"));
        let cli = Cli::parse_from(std::iter::once("bcvk").chain(words));
        let Command::Internal(Internal::Pod(pod)) = cli.command else {
            panic!("not a Pod's command");
        };
        assert_eq!(pod.image, "quay.io/me/mybootc:latest");
        assert_eq!(pod.guest.memory.mib(), 2048, "of u1.small");
        assert_eq!(pod.guest.execute, ["systemctl --failed", "-x"]);
    }

    #[test]
    fn kvm_is_asked_for_by_the_clusters_name_for_it() {
        let limits = |words: &[&str]| {
            let manifest = manifest_of(words).expect("a Pod");
            manifest["spec"]["containers"][0]["resources"]["limits"].clone()
        };
        assert_eq!(limits(&["image"])["devices.kubevirt.io/kvm"], "1");
        let own = limits(&["--kvm-resource=example.com/kvm", "image"]);
        assert_eq!(own["example.com/kvm"], "1");
        let emulated = limits(&["--accel=tcg", "--memory=1G", "image"]);
        assert_eq!(emulated, json!({ "cpu": "2", "memory": "1536Mi" }));
    }

    #[test]
    fn what_no_pod_can_have_is_refused() {
        for words in [
            ["--name=a_b", "image"],
            ["--publish=80:80", "image"],
            ["--var-size=4G", "image"],
        ] {
            assert!(manifest_of(&words).is_err(), "{words:?}");
        }
    }
}
