//! The chain of units that a unit had to wait for.

use super::guest::Answer;

/// Returns the place of the first of the units `names` that had begun to start at `ready`, on the
/// guest's clock. Returns `None` if the unit was started again since: systemd knows of the latest
/// start alone.
pub(super) fn awaited(answer: &Answer, names: &[&str], ready: u64) -> Option<usize> {
    names.iter().find_map(|name| {
        let place = answer.units.iter().position(|unit| unit.id == *name)?;
        let started = answer.units[place].started;
        (started > 0 && started <= ready).then_some(place)
    })
}

/// Returns the places of the units because of which the one at `last` started when it did, first to
/// last, itself included.
/// Each step goes to that unit of those in `After=` which had started last, and before this one
/// began: a unit that had started later has not been waited for. The chain begins where none of them
/// started in this system (some are left over from the initramfs).
pub(super) fn chain(answer: &Answer, last: usize) -> Vec<usize> {
    let mut chain = Vec::new();
    let mut next = Some(last);
    while let Some(place) = next {
        chain.push(place);
        let begun = answer.units[place].started;
        next = answer.units[place]
            .after
            .iter()
            .copied()
            .filter(|other| !chain.contains(other))
            .filter_map(|other| {
                let unit = &answer.units[other];
                let done = unit.done()?;
                let waited_for = unit.started >= answer.userspace && done <= begun;
                waited_for.then_some((done, unit.started, std::cmp::Reverse(other)))
            })
            .max()
            .map(|(_, _, std::cmp::Reverse(other))| other);
    }
    chain.reverse();
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::guest::Unit;

    /// Makes an answer from units by name, start, end and what they are after.
    fn answer(units: &[(&str, u64, u64, &[usize])]) -> Answer {
        let units = units.iter().map(|(id, started, active, after)| Unit {
            id: (*id).to_owned(),
            after: after.to_vec(),
            started: *started,
            active: *active,
            ..Unit::default()
        });
        Answer {
            userspace: 100,
            units: units.collect(),
            ..Answer::default()
        }
    }

    #[test]
    fn the_chain_leads_over_what_started_last_before() {
        let answer = answer(&[
            ("ssh.service", 500, 600, &[1, 2, 3, 4, 5, 9]),
            ("basic.target", 300, 300, &[4]),
            ("network.target", 480, 480, &[6]),
            // This unit was not waited for: it is slower.
            ("slow.service", 200, 550, &[]),
            ("sysinit.target", 250, 250, &[8]),
            ("never.service", 0, 0, &[]),
            ("net.service", 310, 470, &[1]),
            ("else.service", 310, 499, &[]),
            // This unit is from the initramfs.
            ("journal.socket", 50, 60, &[]),
            // This unit has not started yet.
            ("waits.service", 400, 0, &[]),
        ]);
        assert_eq!(chain(&answer, 0), [4, 1, 6, 2, 0]);
    }

    #[test]
    fn a_circle_of_units_ends() {
        let circle = answer(&[("a", 200, 200, &[0, 1]), ("b", 200, 200, &[0, 1])]);
        assert_eq!(chain(&circle, 0), [1, 0]);
    }

    #[test]
    fn a_command_has_started_when_it_has_ended() {
        let mut answer = answer(&[("a", 300, 0, &[1]), ("b", 200, 0, &[])]);
        answer.units[1].inactive = 290;
        assert_eq!(chain(&answer, 0), [1, 0]);
        answer.units[1].inactive = 310;
        assert_eq!(chain(&answer, 0), [0]);
    }

    #[test]
    fn what_answered_had_begun_by_then() {
        let sshd =
            |answer: &Answer, ready| awaited(answer, &["sshd.service", "sshd.socket"], ready);
        let socket = answer(&[
            ("sshd.service", 900, 910, &[]),
            ("sshd.socket", 300, 300, &[]),
        ]);
        assert_eq!(sshd(&socket, 500), Some(1));
        assert_eq!(sshd(&socket, 950), Some(0));
        assert_eq!(sshd(&socket, 200), None);
    }
}
