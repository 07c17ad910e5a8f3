//! Tables of lives: events, and the actions that each of them asks for.

mod early;
mod ending;
mod held;
mod warm;

use bcvk_contract::examples::saved_files;
use bcvk_contract::spec::{Earlier, Resume, SnapshotImage};

use super::*;
use crate::children::Role;

/// Everything that a test says about one event: the seconds that pass before it, the event, and the
/// actions.
type Row<'a> = (f64, LifeEvent, &'a str);

fn short(action: &Action) -> String {
    let start = |start: &Start| format!("{start:?}").to_lowercase();
    match action {
        Action::Look => "look".to_owned(),
        Action::UseSnapshot(None) => "drop snapshot".to_owned(),
        Action::UseSnapshot(Some(Snapshot::Save)) => "save instead".to_owned(),
        Action::UseSnapshot(Some(Snapshot::Resume(_))) => "try another".to_owned(),
        Action::RecordDiffers(what) => format!("differs: {what}"),
        Action::Prepare(how) => format!("prepare {}", start(how)),
        Action::Start(how) => format!("start {}", start(how)),
        Action::GiveUpRights => "give up rights".to_owned(),
        Action::Save(stage) => at("save", *stage),
        Action::AbandonSaving(stage) => at("abandon saving", *stage),
        Action::LetGoOn => "let go on".to_owned(),
        Action::Personalize => "personalize".to_owned(),
        Action::CarryOut => "carry out".to_owned(),
        Action::Decline => "decline".to_owned(),
        Action::PressPowerButton => "press".to_owned(),
        Action::KillQemu => "kill".to_owned(),
        Action::Clear => "clear".to_owned(),
        Action::RecordPhase(phase) => format!("phase {phase:?}").to_lowercase(),
        Action::RecordFailure(Trouble {
            problem,
            how,
            phase,
        }) => {
            let told = std::iter::once(problem.to_string()).chain(how.iter().cloned());
            format!("fail: {} ({phase:?})", told.collect::<Vec<_>>().join(": "))
        }
        Action::RecordExecuted(code) => format!("executed {code}"),
        Action::RecordResumed(stage) => at("resumed", *stage),
        Action::RecordCold(why) => format!("cold: {why}"),
        Action::Warn(text) => format!("warn: {text}"),
        Action::Exit { code, .. } => format!("exit {code}"),
    }
}

/// Names the stage, unless it is the usual one.
fn at(what: &str, stage: SnapshotStage) -> String {
    match stage {
        SnapshotStage::Early => format!("{what} early"),
        SnapshotStage::Ready => what.to_owned(),
    }
}

/// A guest that is not saved.
const NEVER: Saves = Saves {
    early: false,
    ready: false,
};

/// A guest that is saved once it is up.
const LATE: Saves = Saves {
    early: false,
    ready: true,
};

/// A guest that is saved twice.
const TWICE: Saves = Saves {
    early: true,
    ready: true,
};

fn all(actions: &[Action]) -> String {
    let all: Vec<_> = actions.iter().map(short).collect();
    all.join("; ")
}

/// Lives one life. Time that passes is told in steps, as the supervisor does.
#[track_caller]
fn expect(purpose: Purpose, snapshot: Option<&Snapshot>, begun: &str, rows: Vec<Row<'_>>) {
    expect_with(purpose, Reachable::Banner, snapshot, begun, rows);
}

#[track_caller]
fn expect_with(
    purpose: Purpose,
    reachable: Reachable,
    snapshot: Option<&Snapshot>,
    begun: &str,
    rows: Vec<Row<'_>>,
) {
    let (life, actions) = Life::begin(purpose, reachable, Lifetime::Cli, snapshot);
    follow(life, &actions, begun, rows);
}

#[track_caller]
fn follow(mut life: Life, actions: &[Action], begun: &str, rows: Vec<Row<'_>>) {
    assert_eq!(all(actions), begun);
    let mut now = Instant::now();
    for (seconds, event, expected) in rows {
        now += Duration::from_secs_f64(seconds);
        let shown = format!("{event:?}");
        if matches!(event, LifeEvent::Tick) && !expected.is_empty() {
            let due = life.deadline().is_some_and(|at| at <= now);
            assert!(due, "nothing wakes the supervisor for {expected}");
        }
        assert_eq!(all(&life.on(event, now)), expected, "{shown}");
    }
}

/// A life of a VM that boots, has no snapshot, and belongs to a command.
#[track_caller]
fn booted(purpose: Purpose, rows: Vec<Row<'_>>) {
    booted_for(purpose, Lifetime::Cli, rows);
}

#[track_caller]
fn booted_for(purpose: Purpose, lifetime: Lifetime, rows: Vec<Row<'_>>) {
    let boot = [
        (0.0, LifeEvent::Prepared, "start boot"),
        (
            0.1,
            LifeEvent::Started { saves: NEVER },
            "phase qemu; give up rights",
        ),
    ];
    let rows = boot.into_iter().chain(rows).collect();
    let (life, actions) = Life::begin(purpose, Reachable::Banner, lifetime, None);
    follow(life, &actions, "prepare boot", rows);
}

fn resume(of: SnapshotImage, otherwise: Otherwise) -> Snapshot {
    Snapshot::Resume(Resume {
        stage: SnapshotStage::Ready,
        files: saved_files(),
        of,
        earlier: None,
        otherwise,
    })
}

fn resumed(only: bool, rows: Vec<Row<'_>>) {
    let snapshot = if only {
        resume(SnapshotImage::Same, Otherwise::Fail)
    } else {
        resume(SnapshotImage::Same, Otherwise::Boot)
    };
    let begin = [
        (0.0, LifeEvent::Looked(Looked::Fit), "prepare resume"),
        (0.0, LifeEvent::Prepared, "start resume"),
        (0.1, LifeEvent::Started { saves: NEVER }, ""),
    ];
    let rows = begin.into_iter().chain(rows).collect();
    expect(Purpose::Login, Some(&snapshot), "look", rows);
}

fn saved(purpose: Purpose, rows: Vec<Row<'_>>) {
    let begin = [
        (0.0, LifeEvent::Looked(Looked::Fit), "prepare boot"),
        (0.0, LifeEvent::Prepared, "start boot"),
        (
            0.1,
            LifeEvent::Started { saves: LATE },
            "phase qemu; give up rights",
        ),
    ];
    let rows = begin.into_iter().chain(rows).collect();
    expect(purpose, Some(&Snapshot::Save), "look", rows);
}

fn says(message: Message) -> LifeEvent {
    LifeEvent::Control(message)
}

fn panics() -> LifeEvent {
    LifeEvent::Console(Sign::Panic("oops".to_owned()))
}

fn server_ends() -> LifeEvent {
    LifeEvent::ServerEnded {
        role: Role::FileServer {
            tag: "root".to_owned(),
            serves: "the image".to_owned(),
        },
        how: vec!["killed".to_owned()],
    }
}

fn qemu(success: bool, killed: bool) -> LifeEvent {
    LifeEvent::QemuEnded(QemuEnd {
        success,
        killed,
        how: vec!["it ended".to_owned()],
    })
}

fn off() -> LifeEvent {
    LifeEvent::GuestEnded(GuestEnd::PowerOff)
}

fn unit() -> LifeEvent {
    says(Message::Failed("a unit".to_owned()))
}

#[test]
fn a_guest_comes_up_and_powers_off() {
    let up = || says(Message::Up);
    for (purpose, first, second) in [
        (
            Purpose::Login,
            (up(), ""),
            (LifeEvent::Banner, "phase ready"),
        ),
        (
            Purpose::Boot,
            (LifeEvent::Banner, ""),
            (up(), "phase ready"),
        ),
    ] {
        booted(
            purpose,
            vec![
                (1.0, LifeEvent::Console(Sign::FirstByte), "phase kernel"),
                (1.0, says(Message::Initrd), "phase initrd"),
                (1.0, says(Message::Userspace), "phase userspace"),
                (0.0, says(Message::Userspace), ""),
                (0.0, says(Message::Initrd), ""),
                (1.0, first.0, first.1),
                (9.0, second.0, second.1),
                (99.0, unit(), ""),
                (0.0, says(Message::Executed(3)), ""),
                (0.0, LifeEvent::Warning("listen".to_owned()), "warn: listen"),
                (0.0, off(), ""),
                (0.1, server_ends(), ""),
                (0.1, qemu(true, false), "exit 0"),
                (0.0, LifeEvent::Stop, ""),
            ],
        );
    }
}

#[test]
fn a_login_is_ready_by_the_sign_of_its_way_in() {
    let signs = [
        (
            Reachable::Banner,
            "the guest is up, but its sshd does not answer (Userspace)",
        ),
        (
            Reachable::Answers,
            "the guest is up, but what takes sessions in it does not answer (Userspace)",
        ),
        (
            Reachable::Sessions,
            "the guest is up, but what takes sessions in it does not answer (Userspace)",
        ),
    ];
    let event = |sign| match sign {
        Reachable::Banner => LifeEvent::Banner,
        Reachable::Answers => says(Message::Answers),
        Reachable::Sessions => says(Message::Sessions),
    };
    for (sign, trouble) in signs {
        let start = || {
            vec![
                (0.0, LifeEvent::Prepared, "start boot"),
                (
                    0.1,
                    LifeEvent::Started { saves: NEVER },
                    "phase qemu; give up rights",
                ),
                (1.0, says(Message::Userspace), "phase userspace"),
            ]
        };
        let mut well: Vec<Row<'_>> = start();
        let others = signs.into_iter().filter(|(other, _)| *other != sign);
        well.extend(others.map(|(other, _)| match other {
            Reachable::Sessions => (1.0, event(other), "phase reachable"),
            Reachable::Banner | Reachable::Answers => (1.0, event(other), ""),
        }));
        well.push(match sign {
            Reachable::Sessions => (1.0, event(sign), "phase reachable; phase ready"),
            Reachable::Banner | Reachable::Answers => (1.0, event(sign), "phase ready"),
        });
        expect_with(Purpose::Login, sign, None, "prepare boot", well);
        let fails = format!("fail: {trouble}; kill");
        let mut ill: Vec<Row<'_>> = start();
        ill.push((0.0, says(Message::Up), ""));
        ill.push((90.0, LifeEvent::Tick, &fails));
        expect_with(Purpose::Login, sign, None, "prepare boot", ill);
    }
}

#[test]
fn commands_end_their_vm() {
    booted(
        Purpose::Execute,
        vec![
            (1.0, LifeEvent::Banner, ""),
            (1.0, says(Message::Up), "phase ready"),
            (
                1.0,
                says(Message::Executed(7)),
                "executed 7; phase stopping; press",
            ),
            (0.0, LifeEvent::Pressed, ""),
            (0.5, LifeEvent::Tick, ""),
            (0.5, LifeEvent::Tick, "press"),
            (0.0, LifeEvent::Stop, ""),
            (1.0, off(), ""),
            (0.0, qemu(true, false), "exit 7"),
        ],
    );
    booted(
        Purpose::Execute,
        vec![
            (1.0, says(Message::Up), "phase ready"),
            (0.0, off(), ""),
            (
                0.0,
                qemu(true, false),
                "fail: the guest powered off before its command had ended (Ready); exit 1",
            ),
        ],
    );
    booted(
        Purpose::Execute,
        vec![
            (1.0, says(Message::Up), "phase ready"),
            (1.0, LifeEvent::Stop, "phase stopping; press"),
            (0.0, qemu(true, false), "exit 143"),
        ],
    );
}

#[test]
fn a_vm_of_which_nothing_runs_ends_at_once() {
    let problem = || LifeEvent::CannotBoot(Problem::NoSystemd("app".to_owned()));
    let fails = "fail: image app has no systemd to boot with (Preparing); exit 125";
    for (event, expected) in [
        (LifeEvent::Stop, "phase stopping; exit 0"),
        (LifeEvent::CliGone, "exit 0"),
        (problem(), fails),
    ] {
        let rows = vec![(1.0, event, expected)];
        expect(Purpose::Login, None, "prepare boot", rows);
    }
    for (event, expected) in [
        (LifeEvent::Stop, "phase stopping; exit 0"),
        (LifeEvent::CliGone, "exit 0"),
        (problem(), fails),
        (
            LifeEvent::Looked(Looked::Obstacle("old".to_owned())),
            "cold: old; drop snapshot; prepare boot",
        ),
    ] {
        let rows = vec![(1.0, event, expected)];
        expect(Purpose::Login, Some(&Snapshot::Save), "look", rows);
    }
    let looked = || LifeEvent::Looked(Looked::Obstacle("old".to_owned()));
    for (snapshot, expected) in [
        (
            resume(SnapshotImage::Same, Otherwise::Boot),
            "warn: the VM was booted instead of resumed: old; drop snapshot; prepare boot",
        ),
        (
            resume(SnapshotImage::Same, Otherwise::Fail),
            "fail: the VM cannot be resumed from its snapshot (Preparing); exit 125",
        ),
    ] {
        expect(
            Purpose::Login,
            Some(&snapshot),
            "look",
            vec![(1.0, looked(), expected)],
        );
    }
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let error = std::io::Error::other("no");
    expect(
        Purpose::Login,
        None,
        "prepare boot",
        vec![
            (0.0, LifeEvent::Prepared, "start boot"),
            (
                0.0,
                LifeEvent::CannotBoot(Problem::StartQemu(error)),
                "fail: cannot start QEMU (Preparing); clear",
            ),
            (0.0, LifeEvent::Cleared, "exit 125"),
        ],
    );
}
