//! `bcvk ephemeral inspect`.

use std::process::ExitCode;

use bcvk_contract::status::{Phase, Status, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::find::{self, Found};
use super::listing;
use super::ps::{VmState, vm_state};
use crate::cli::{Description as Form, Inspect};
use crate::error::CommandError;
use crate::ui::{Image, Ui};

/// All about one VM. The keys are documented in bcvk-ephemeral-inspect(8).
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub(super) struct Description {
    /// The container's ID.
    id: Option<String>,
    /// Name of the VM, of its container and of the guest.
    name: String,
    image: Image,
    state: VmState,
    /// Description that the VM was started with. Unlike the rest, it changes with bcvk's versions.
    #[cfg_attr(test, schemars(with = "bcvk_contract::spec::VmSpec"))]
    spec: Value,
    /// Last status of the supervisor; null before its first.
    status: Option<Status>,
    timings: Timings,
}

/// Seconds that each phase took; `None` for one that is not over or that nothing told of.
#[derive(Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
struct Timings {
    preparing: Option<f64>,
    qemu: Option<f64>,
    kernel: Option<f64>,
    initrd: Option<f64>,
    userspace: Option<f64>,
    /// From the supervisor's first word until ready.
    boot: Option<f64>,
    /// From ready until the VM was to stop or ended, or until now.
    ready: Option<f64>,
    stopping: Option<f64>,
    /// From the supervisor's first word until its last, or until now.
    total: Option<f64>,
}

pub(super) fn inspect(args: &Inspect, ui: &Ui) -> Result<ExitCode, CommandError> {
    let names = args.vms.names.iter();
    let all = names
        .map(|name| describe(name))
        .collect::<Result<Vec<_>, _>>()?;
    match (&args.format, all.as_slice()) {
        (Some(Form::Template(template)), all) => {
            let values = all.iter().map(serde_json::to_value);
            let values = values.collect::<Result<Vec<_>, _>>();
            let values = values.map_err(|e| CommandError::io("print JSON")(e.into()))?;
            listing::show_lines(template, &values, true)?;
        }
        // One VM is described by an object, not by a list.
        (_, [one]) => ui.json(one)?,
        (_, all) => ui.json(&all)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(name: &str) -> Result<Description, CommandError> {
    let Found { dir, spec, running } = find::any(name)?;
    let status = dir.shared().status().map_err(CommandError::io(format!(
        "read the status of VM {}",
        spec.name
    )))?;
    let now = running.then(Timestamp::now);
    Ok(Description {
        id: dir.container_id(),
        name: spec.name.to_string(),
        image: Image {
            id: spec.image.id.clone(),
            name: spec.image.reference.clone(),
        },
        state: vm_state(running, status.as_ref()),
        spec: spec
            .public()
            .map_err(|e| CommandError::io("describe the VM")(e.into()))?,
        timings: status
            .as_ref()
            .map(|status| timings(status, now))
            .unwrap_or_default(),
        status,
    })
}

/// Computes the timings; `now` is `None` for a VM that has ended.
fn timings(status: &Status, now: Option<Timestamp>) -> Timings {
    let began = |phase| status.began(phase);
    let after = |phase: Phase| {
        let later = status.history.iter().filter(|e| e.phase > phase);
        later.map(|e| e.at).min()
    };
    let span =
        |from: Option<Timestamp>, to: Option<Timestamp>| Some(to?.rounded_seconds_since(from?));
    let took = |phase| span(began(phase), after(phase));
    Timings {
        preparing: took(Phase::Preparing),
        qemu: took(Phase::Qemu),
        kernel: took(Phase::Kernel),
        initrd: took(Phase::Initrd),
        userspace: span(began(Phase::Userspace), after(Phase::Reachable)),
        boot: span(began(Phase::Preparing), began(Phase::Ready)),
        ready: span(began(Phase::Ready), after(Phase::Ready).or(now)),
        stopping: took(Phase::Stopping),
        total: span(began(Phase::Preparing), began(Phase::Exited).or(now)),
    }
}

#[cfg(test)]
mod tests {
    use bcvk_contract::examples::status;

    use super::*;

    #[test]
    fn phases_add_up() {
        use Phase::{Exited, Initrd, Kernel, Preparing, Qemu, Ready, Stopping, Userspace};
        let boot = [
            (Preparing, 100),
            (Qemu, 101),
            (Kernel, 103),
            (Initrd, 106),
            (Userspace, 110),
            (Ready, 115),
        ];
        let ready = timings(&status(&boot), Some(Timestamp(118_000_000)));
        let expected = Timings {
            preparing: Some(1.0),
            qemu: Some(2.0),
            kernel: Some(3.0),
            initrd: Some(4.0),
            userspace: Some(5.0),
            boot: Some(15.0),
            ready: Some(3.0),
            stopping: None,
            total: Some(18.0),
        };
        assert_eq!(ready, expected);

        let mut all = boot.to_vec();
        all.extend([(Stopping, 120), (Exited, 122)]);
        let expected = Timings {
            ready: Some(5.0),
            stopping: Some(2.0),
            total: Some(22.0),
            ..expected
        };
        assert_eq!(timings(&status(&all), None), expected);
    }

    #[test]
    fn what_nothing_told_of_is_not_made_up() {
        use Phase::{Kernel, Preparing, Qemu, Ready};
        let killed = timings(&status(&[(Preparing, 1), (Qemu, 2), (Kernel, 3)]), None);
        let expected = Timings {
            preparing: Some(1.0),
            qemu: Some(1.0),
            ..Timings::default()
        };
        assert_eq!(killed, expected);
        // An initramfs may lack the control port's driver, and then tells of no phase.
        let told = status(&[(Preparing, 1), (Qemu, 2), (Kernel, 3), (Ready, 9)]);
        let told = timings(&told, Some(Timestamp(9_000_000)));
        assert_eq!((told.kernel, told.initrd), (Some(6.0), None));
    }
}
