//! Lists in the guide (docs/guide/fidelity.md), held against a guest.

use std::collections::BTreeSet;

use bcvk_testkit::{Checks, Vm};

/// Returns the page of the guide that lists how a VM differs from a deployed host.
fn fidelity() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/fidelity.md");
    std::fs::read_to_string(page).expect("the page")
}

/// Checks the masks of a VM without --fidelity, with no option that needs a masked unit.
pub(crate) fn check_listed_masks(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("what is masked is what the guide lists", || {
        let masked = vm.sh(
            "find /run/systemd/system /run/systemd/system-generators -maxdepth 1 -lname /dev/null \
             -printf '%f\\n'",
        );
        let masked: BTreeSet<&str> = masked.lines().collect();
        let guide = fidelity();
        let (_, table) = guide
            .split_once("| unit or generator |")
            .expect("the table");
        let (table, _) = table.split_once("\n\n").expect("its end");
        let rows = table.lines().skip(2);
        let rows = rows.filter(|row| !row.contains("in the initramfs only"));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        let listed: BTreeSet<&str> = cells
            .flat_map(|c| c.split('`').skip(1).step_by(2))
            .collect();
        assert_eq!(masked, listed);
    });
}

/// Checks bcvk's arguments, which stand before the user's.
pub(crate) fn check_listed_arguments(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check(
        "kernel arguments: bcvk's are those that the guide lists",
        || {
            let guide = fidelity();
            let (_, guide) = guide.split_once("## Kernel arguments").expect("a part");
            let cmdline = vm.sh("cat /proc/cmdline");
            let (ours, _) = cmdline.split_once(" bcvk_test.one").expect("the user's");
            let ours = ours
                .split(' ')
                .filter(|word| !word.starts_with("bcvk_test."));
            let listed: Vec<&str> = guide.split('`').skip(1).step_by(2).collect();
            let listed: Vec<&str> = listed.iter().flat_map(|code| code.split(' ')).collect();
            let own_name = format!("systemd.hostname={}", vm.name());
            for word in ours.filter(|word| *word != own_name) {
                assert!(listed.contains(&word), "{word} is not in the guide");
            }
        },
    );
}
