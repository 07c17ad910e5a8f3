//! Cases: faults, their subjects and moments, and the outcome that each must have. Pure.

use std::fmt;

/// Who suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Subject {
    /// The command that the user has started.
    Cli,
    /// PID 1 of the container.
    Supervisor,
    /// The virtual machine.
    Qemu,
    /// The file server of the image.
    RootServer,
    /// The file server of a share.
    BindServer,
    /// podman's monitor of the container.
    Conmon,
    /// The system in the VM.
    Guest,
}

/// How far the VM has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Moment {
    /// podman has not started anything.
    Start,
    Kernel,
    Initrd,
    Userspace,
    Ready,
    /// Reading and writing files.
    Busy,
    ShuttingDown,
    /// Stopped, while a snapshot is made of it.
    Saving,
    /// Not running yet, but made from a snapshot.
    Resuming,
}

/// In their order; those of a VM with a snapshot last.
pub(super) const MOMENTS: [Moment; 9] = [
    Moment::Start,
    Moment::Kernel,
    Moment::Initrd,
    Moment::Userspace,
    Moment::Ready,
    Moment::Busy,
    Moment::ShuttingDown,
    Moment::Saving,
    Moment::Resuming,
];

/// Fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fault {
    Term,
    Kill,
    /// SIGSTOP, and SIGCONT ten seconds later.
    Pause,
    /// Of the guest's kernel.
    Panic,
    /// By the guest itself.
    PowerOff,
    /// By the guest itself.
    Reboot,
}

/// One line of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) subject: Subject,
    pub(crate) moment: Moment,
    pub(crate) fault: Fault,
}

/// Outcome that a case must have. In all of them nothing is left within five seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command ends with one of these codes and says this.
    Ends {
        codes: &'static [i32],
        says: &'static str,
    },
    /// Nothing happens: the VM goes on, and ends when it is told to.
    GoesOn,
    /// Either: nobody promises anything but that nothing hangs and nothing is left.
    Either,
}

impl Case {
    /// Every combination, those included that cannot be made.
    pub(crate) fn all() -> Vec<Self> {
        use Fault::{Kill, Panic, Pause, PowerOff, Reboot, Term};
        use Subject::{BindServer, Cli, Conmon, Guest, Qemu, RootServer, Supervisor};

        let mut cases = Vec::new();
        for moment in MOMENTS {
            for subject in [Cli, Supervisor, Qemu, RootServer, BindServer, Conmon, Guest] {
                let faults = if subject == Guest {
                    [Panic, PowerOff, Reboot]
                } else {
                    [Term, Kill, Pause]
                };
                cases.extend(faults.map(|fault| Self {
                    subject,
                    moment,
                    fault,
                }));
            }
        }
        cases
    }

    /// Why this case cannot be made, if it cannot.
    pub(crate) fn obstacle(self) -> Option<&'static str> {
        match (self.subject, self.moment, self.fault) {
            (Subject::Cli, Moment::Start, _) => None,
            (_, Moment::Start, _) => Some("it does not exist yet"),
            (Subject::Guest, Moment::Kernel, Fault::PowerOff | Fault::Reboot) => {
                Some("no program of the guest's runs yet")
            }
            (Subject::Guest, Moment::Initrd, Fault::Panic) => {
                Some("an image's initramfs has nothing that could be told to")
            }
            (Subject::Guest, Moment::ShuttingDown, Fault::PowerOff) => {
                Some("it is what shutting down leads to")
            }
            (Subject::Guest, Moment::Saving | Moment::Resuming, _) => {
                Some("the guest stands still")
            }
            _ => None,
        }
    }

    /// True for the cases that a short run makes: every subject killed, early and late, and QEMU killed around
    /// a snapshot.
    pub(crate) fn is_short(self) -> bool {
        match self.moment {
            Moment::Kernel | Moment::Busy => matches!(self.fault, Fault::Kill | Fault::Panic),
            Moment::Saving | Moment::Resuming => {
                (self.subject, self.fault) == (Subject::Qemu, Fault::Kill)
            }
            _ => false,
        }
    }

    /// Returns true if nothing is left that could finish a snapshot.
    pub(crate) fn breaks_saving(self) -> bool {
        self.moment == Moment::Saving
            && matches!(
                (self.subject, self.fault),
                (Subject::Qemu, Fault::Term | Fault::Kill) | (Subject::Supervisor, Fault::Kill)
            )
    }

    /// Outcome that the case must have.
    pub(crate) fn expected(self) -> Outcome {
        use Fault::{Panic, Pause, PowerOff, Reboot, Term};

        let ends = |codes, says| Outcome::Ends { codes, says };
        let shutting_down = self.moment == Moment::ShuttingDown;
        let in_session = matches!(self.moment, Moment::Ready | Moment::Busy);
        match (self.subject, self.fault) {
            (_, Pause) => Outcome::GoesOn,
            // A VM that cannot be resumed is booted.
            (Subject::Qemu | Subject::RootServer | Subject::BindServer, _)
                if self.moment == Moment::Resuming =>
            {
                Outcome::GoesOn
            }
            // podman's business: bcvk only has to survive it.
            (Subject::Conmon, _) => Outcome::Either,
            (Subject::Cli, Term) if shutting_down => ends(&[143], "shut down"),
            // It may not have taken over its signals yet.
            (Subject::Cli, Term) if self.moment == Moment::Start => ends(&[143], ""),
            (Subject::Cli, Term) => ends(&[143], "interrupted"),
            (Subject::Cli, _) => ends(&[137], ""),
            // Its second signal changes nothing: it is what `podman stop` sends.
            (Subject::Supervisor, Term) if shutting_down => ends(&[0], ""),
            (Subject::Supervisor, Term) | (Subject::Guest, PowerOff | Reboot) if in_session => {
                ends(&[255], "has shut down")
            }
            (Subject::Supervisor, Term) => ends(&[126], "stopped before it was ready"),
            (Subject::Guest, Panic) if in_session || shutting_down => {
                ends(&[1], "kernel panicked (phase: ")
            }
            (Subject::Guest, Panic) => ends(&[126], "kernel panicked (phase: "),
            (Subject::Supervisor, _) => {
                ends(&[125], "supervisor ended without saying why (phase: ")
            }
            (Subject::RootServer, _) => ends(
                &[125],
                "file server of the image ended while the VM was running (phase: ",
            ),
            (Subject::BindServer, _) => {
                ends(&[125], "share ended while the VM was running (phase: ")
            }
            // It was told to end anyway.
            (Subject::Guest, _) if shutting_down => ends(&[0], ""),
            (Subject::Guest, PowerOff) => ends(&[126], "powered off before it was ready (phase: "),
            (Subject::Guest, _) => ends(&[126], "rebooted before it was ready (phase: "),
            (Subject::Qemu, _) => ends(&[125], "QEMU ended unexpectedly (phase: "),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cli => "command line",
            Self::Supervisor => "supervisor",
            Self::Qemu => "QEMU",
            Self::RootServer => "image's file server",
            Self::BindServer => "share's file server",
            Self::Conmon => "conmon",
            Self::Guest => "guest",
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "before podman starts it",
            Self::Kernel => "kernel",
            Self::Initrd => "initramfs",
            Self::Userspace => "starting services",
            Self::Ready => "ready",
            Self::Busy => "busy with files",
            Self::ShuttingDown => "shutting down",
            Self::Saving => "being saved",
            Self::Resuming => "being resumed",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Term => "SIGTERM",
            Self::Kill => "SIGKILL",
            Self::Pause => "SIGSTOP, 10 s, SIGCONT",
            Self::Panic => "kernel panic",
            Self::PowerOff => "power-off",
            Self::Reboot => "reboot",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_is_in_the_short_run() {
        let short: Vec<Case> = Case::all().into_iter().filter(|c| c.is_short()).collect();
        assert_eq!(short.len(), 14 + 2);
        assert!(short.iter().all(|case| case.obstacle().is_none()));
    }

    #[test]
    fn the_matrix_is_whole() {
        assert_eq!(Case::all().len(), 9 * 7 * 3);
        let made = Case::all().into_iter().filter(|c| c.obstacle().is_none());
        assert_eq!(made.count(), 9 * 7 * 3 - 18 - 4 - 6);
    }
}
