//! Commands that ask a guest how it is.

/// Most bytes of an answer that are read: about 25 000 entries of a journal.
pub const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// Command that ends when systemd has started everything that starts with the system.
pub const SETTLED: &str = "systemctl is-system-running --wait";

/// Beginning of the line that ends a part of the answer: the part's name and the exit code of its
/// command follow.
pub(super) const END: &str = "bcvk-end ";

/// Command that asks for all that [`super::Facts::parse`] reads.
///
/// systemd calls a service started whose process runs, so one that ends at once has not failed yet
/// when the system has started: the command gives it five seconds, in the emulated guest's own time.
/// The journal comes last, because it is what may be too long. All of it is asked for, because
/// services write at the priority "info" whatever they have to say.
pub const QUESTION: &str = "\
sleep 5
systemctl show --property=SystemState,FinishTimestampMonotonic
echo \"bcvk-end manager $?\"
systemctl show --all --property=Id,LoadState,ActiveState,SubState,Result,NRestarts,\
ExecMainCode,ExecMainStatus,FragmentPath,InactiveExitTimestampMonotonic,\
ActiveEnterTimestampMonotonic,InactiveEnterTimestampMonotonic '*'
echo \"bcvk-end units $?\"
systemctl list-jobs --plain --no-legend --no-pager
echo \"bcvk-end jobs $?\"
journalctl --sync
journalctl --boot --no-pager --output=json \
--output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_TRANSPORT
echo \"bcvk-end journal $?\"";
