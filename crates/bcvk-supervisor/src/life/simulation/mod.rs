//! Lives in random orders of events.

mod snapshots;
mod word;
mod world;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use snapshots::SNAPSHOTS;
use word::Word;
use world::{Move, World};

use super::*;

/// Lives that are simulated for each purpose, and the most events of each before it is asked to end.
const LIVES: u32 = 24_000;
const EVENTS: usize = 60;

/// Events that all lives of a purpose have at least: more than a million for the three.
const ALL_EVENTS: u64 = 350_000;

fn reachable() -> impl Strategy<Value = Reachable> {
    prop_oneof![
        Just(Reachable::Banner),
        Just(Reachable::Answers),
        Just(Reachable::Sessions),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let word = prop_oneof![
        20 => Just(Word::FirstByte),
        20 => Just(Word::Unmounted),
        1 => Just(Word::Panic),
        1 => Just(Word::Emergency),
        20 => Just(Word::Initrd),
        20 => Just(Word::Userspace),
        20 => Just(Word::Up),
        1 => Just(Word::Failed),
        1 => Just(Word::Reported),
        1 => Just(Word::GaveUp),
        20 => Just(Word::Banner),
        20 => Just(Word::Sessions),
        20 => Just(Word::Answers),
    ];
    let end = prop_oneof![
        Just(GuestEnd::PowerOff),
        Just(GuestEnd::Reboot),
        Just(GuestEnd::Signal),
    ];
    // Moments, seconds, minutes.
    let wait = prop_oneof![20 => 0_u32..300, 4 => 0_u32..5000, 1 => 0_u32..200_000];
    let next = prop_oneof![
        80 => wait.prop_map(Move::Wait),
        1 => Just(Move::Stop),
        1 => Just(Move::CliGone),
        80 => (0_usize..4, prop::bool::weighted(0.97)).prop_map(|(i, well)| Move::Answer(i, well)),
        2 => any::<u8>().prop_map(Move::Executed),
        60 => word.prop_map(Move::Guest),
        1 => Just(Move::ServerEnds),
        1 => Just(Move::HostFull),
        10 => Just(Move::Ask),
        1 => end.prop_map(Move::GuestEnds),
        1 => any::<bool>().prop_map(|success| Move::QemuEnds { success }),
        5 => Just(Move::Warning),
    ];
    prop::collection::vec(next, EVENTS / 3..EVENTS)
}

/// In every order of events, a VM ends, for one reason that is the earliest, and leaves no QEMU.
fn every_life_ends_well(purpose: Purpose) {
    let lifetime = prop_oneof![Just(Lifetime::Cli), Just(Lifetime::Detached)];
    let begin = (
        0..SNAPSHOTS,
        reachable(),
        prop::bool::weighted(0.02),
        any::<(bool, bool)>(),
        lifetime,
    );
    let mut runner = TestRunner::new(Config {
        cases: LIVES,
        failure_persistence: None,
        ..Config::default()
    });
    let told = Cell::new(0);
    let lives = (begin, moves(), any::<bool>());
    let result = runner.run(&lives, |(begin, moves, collected)| {
        let (snapshot, reachable, start_fails, (early, ready), lifetime) = begin;
        let saves = Saves { early, ready };
        let mut world = World::new((purpose, reachable, lifetime), snapshot, start_fails, saves);
        for next in moves {
            if world.exit.is_none() {
                world.step(next);
            }
        }
        world.finish(collected);
        world.judge();
        let late = world.life.on(LifeEvent::Stop, world.now);
        assert!(late.is_empty() && world.life.deadline().is_none());
        told.set(told.get() + world.events);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(told.get() > ALL_EVENTS, "{} events only", told.get());
}

#[test]
fn every_life_of_a_login_ends_well() {
    every_life_ends_well(Purpose::Login);
}

#[test]
fn every_life_of_a_boot_ends_well() {
    every_life_ends_well(Purpose::Boot);
}

#[test]
fn every_life_of_commands_ends_well() {
    every_life_ends_well(Purpose::Execute);
}
