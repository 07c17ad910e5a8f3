//! Options combine: every pair of them, used and not used, is on some VM.

use std::fs;

use bcvk_testkit::{ReservedPort, Sandbox, expect_sshd, images, limit};

/// Options that one VM is started with.
#[derive(Debug, Clone, Copy)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "the options of a table are independent of each other"
)]
struct Row {
    bind: bool,
    disk: bool,
    swap: bool,
    execute: bool,
    publish: bool,
    journal: bool,
    itype: bool,
}

/// A covering array of strength 2: no option in the first row; in the others, the columns are
/// different three of five rows, of which any two have rows in common and rows of their own.
const ROWS: [&str; 6] = [
    ". . . . . . .",
    "x x x x x x .",
    "x x x . . . x",
    "x . . x x . x",
    ". x . x . x x",
    ". . x . x x .",
];

fn row(number: usize) -> Row {
    let cells: Vec<bool> = ROWS[number].split(' ').map(|cell| cell == "x").collect();
    let &[bind, disk, swap, execute, publish, journal, itype] = cells.as_slice() else {
        panic!("seven columns");
    };
    Row {
        bind,
        disk,
        swap,
        execute,
        publish,
        journal,
        itype,
    }
}

/// Checks that the table is what it claims to be.
#[test]
fn every_pair_is_there() {
    let rows: Vec<Vec<bool>> = ROWS
        .iter()
        .map(|row| row.split(' ').map(|cell| cell == "x").collect())
        .collect();
    for a in 0..7 {
        for b in a + 1..7 {
            for pair in [(false, false), (false, true), (true, false), (true, true)] {
                let covered = rows.iter().any(|row| (row[a], row[b]) == pair);
                assert!(covered, "columns {a} and {b}: {pair:?}");
            }
        }
    }
}

#[test]
fn row_0() {
    combine(0);
}

#[test]
fn row_1() {
    combine(1);
}

#[test]
fn row_2() {
    combine(2);
}

#[test]
fn row_3() {
    combine(3);
}

#[test]
fn row_4() {
    combine(4);
}

#[test]
fn row_5() {
    combine(5);
}

/// Script that says what the guest finds, one line for each option.
const SCRIPT: &str = "\
echo here
test -e /run/virtiofs-mnt-data/in && cat /run/virtiofs-mnt-data/in && echo out >/run/virtiofs-mnt-data/out || echo no bind
test -b /dev/disk/by-id/virtio-d && echo disk | dd of=/dev/disk/by-id/virtio-d conv=fsync status=none && echo disk || echo no disk
test $(wc -l </proc/swaps) -gt 1 && echo swap || echo no swap
test $(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) -lt 1048576 && echo small || echo large
logger bcvk-test-marker
sleep 5
exit 9
";

fn combine(number: usize) {
    let row = row(number);
    let sandbox = Sandbox::new();
    let bind = sandbox.make_dir("data");
    fs::write(bind.join("in"), "bind\n").expect("write");
    let disk = sandbox.path().join("disk.img");
    let logs = sandbox.path().join("logs");
    let port = ReservedPort::new();
    let mut options: Vec<String> = vec!["--name".into(), sandbox.name("vm")];
    for (wanted, option) in [
        (row.bind, format!("--bind={}:data", bind.display())),
        (row.disk, format!("--mount-disk-file={}:d", disk.display())),
        (row.swap, "--add-swap=64M".to_owned()),
        (row.publish, format!("--publish=127.0.0.1:{port}:22")),
        (row.journal, format!("--log-dir=journal={}", logs.display())),
        (row.itype, "--itype=u1.micro".to_owned()),
        (!row.itype, "--memory=1536M".to_owned()),
    ] {
        if wanted {
            options.push(option);
        }
    }
    let command = if row.execute {
        sandbox
            .bcvk(["run", "--rm", "--execute", SCRIPT])
            .args(&options)
            .arg(images::trixie())
    } else {
        sandbox
            .bcvk(["run-ssh"])
            .args(&options)
            .args([images::trixie(), "--", "sh", "-c", SCRIPT])
    };
    let mut run = command.limit(limit::BOOT).spawn();
    run.await_stdout("here", limit::BOOT);
    if row.publish {
        expect_sshd(("127.0.0.1", port.number()));
    }
    let output = run.wait(limit::SHUTDOWN).expect_code(9);
    let stdout = output.stdout();
    assert_eq!(stdout.lines().collect::<Vec<_>>(), expected_lines(row));
    if row.bind {
        assert_eq!(fs::read(bind.join("out")).expect("read"), b"out\n");
    }
    if row.disk {
        assert!(fs::read(&disk).expect("read").starts_with(b"disk\n"));
    }
    if row.journal {
        let journal = fs::read_to_string(logs.join("journal.json")).expect("read");
        assert!(journal.contains("bcvk-test-marker"));
    }
    sandbox.finish();
}

/// Returns the lines that [`SCRIPT`] prints in a VM with these options.
fn expected_lines(row: Row) -> Vec<&'static str> {
    std::iter::once("here")
        .chain(
            [
                (row.bind, "bind", "no bind"),
                (row.disk, "disk", "no disk"),
                (row.swap, "swap", "no swap"),
                (row.itype, "small", "large"),
            ]
            .map(|(wanted, yes, no)| if wanted { yes } else { no }),
        )
        .collect()
}
