//! Words of a simulated guest.

use crate::life::*;

/// Something that a guest says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    FirstByte,
    Unmounted,
    Panic,
    Emergency,
    Initrd,
    Userspace,
    Up,
    Failed,
    Reported,
    GaveUp,
    Banner,
    Sessions,
    Answers,
}

/// Returns what the life hears of a word.
pub(super) fn event(word: Word) -> LifeEvent {
    let why = || "why".to_owned();
    match word {
        Word::FirstByte => LifeEvent::Console(Sign::FirstByte),
        Word::Unmounted => LifeEvent::Control(Message::Unmounted),
        Word::Panic => LifeEvent::Console(Sign::Panic(why())),
        Word::Emergency => LifeEvent::Console(Sign::Emergency),
        Word::Initrd => LifeEvent::Control(Message::Initrd),
        Word::Userspace => LifeEvent::Control(Message::Userspace),
        Word::Up => LifeEvent::Control(Message::Up),
        Word::Failed => LifeEvent::Control(Message::Failed(why())),
        Word::Reported => LifeEvent::Control(Message::Reported),
        Word::GaveUp => LifeEvent::Control(Message::GaveUp(why())),
        Word::Banner => LifeEvent::Banner,
        Word::Sessions => LifeEvent::Control(Message::Sessions),
        Word::Answers => LifeEvent::Control(Message::Answers),
    }
}
