//! Modes of terminals as the protocol encodes them (RFC 4254, section 8).

use std::io;

use rustix::termios::{InputModes, LocalModes, OutputModes, SpecialCodeIndex as Code, Termios};

use crate::login::server::wire::Fields;

const END: u8 = 0;
/// First operation that has another kind of argument, or none that is known.
const UNKNOWN: u8 = 160;
/// Value of a character that is not used.
const NO_CHARACTER: u32 = 255;

const CHARACTERS: [(u8, Code); 15] = [
    (1, Code::VINTR),
    (2, Code::VQUIT),
    (3, Code::VERASE),
    (4, Code::VKILL),
    (5, Code::VEOF),
    (6, Code::VEOL),
    (7, Code::VEOL2),
    (8, Code::VSTART),
    (9, Code::VSTOP),
    (10, Code::VSUSP),
    (12, Code::VREPRINT),
    (13, Code::VWERASE),
    (14, Code::VLNEXT),
    (16, Code::VSWTC),
    (18, Code::VDISCARD),
];

const INPUT: [(u8, InputModes); 13] = [
    (30, InputModes::IGNPAR),
    (31, InputModes::PARMRK),
    (32, InputModes::INPCK),
    (33, InputModes::ISTRIP),
    (34, InputModes::INLCR),
    (35, InputModes::IGNCR),
    (36, InputModes::ICRNL),
    (37, InputModes::IUCLC),
    (38, InputModes::IXON),
    (39, InputModes::IXANY),
    (40, InputModes::IXOFF),
    (41, InputModes::IMAXBEL),
    (42, InputModes::IUTF8),
];

const LOCAL: [(u8, LocalModes); 13] = [
    (50, LocalModes::ISIG),
    (51, LocalModes::ICANON),
    (52, LocalModes::XCASE),
    (53, LocalModes::ECHO),
    (54, LocalModes::ECHOE),
    (55, LocalModes::ECHOK),
    (56, LocalModes::ECHONL),
    (57, LocalModes::NOFLSH),
    (58, LocalModes::TOSTOP),
    (59, LocalModes::IEXTEN),
    (60, LocalModes::ECHOCTL),
    (61, LocalModes::ECHOKE),
    (62, LocalModes::PENDIN),
];

const OUTPUT: [(u8, OutputModes); 6] = [
    (70, OutputModes::OPOST),
    (71, OutputModes::OLCUC),
    (72, OutputModes::ONLCR),
    (73, OutputModes::OCRNL),
    (74, OutputModes::ONOCR),
    (75, OutputModes::ONLRET),
];

/// Sets the modes that the client's terminal has. Those of a serial line, parity and speed, mean nothing
/// to a pseudo-terminal.
pub(super) fn apply(attributes: &mut Termios, modes: &[u8]) -> io::Result<()> {
    let mut fields = Fields::new(modes);
    while let Ok(operation) = fields.byte() {
        if operation == END || operation >= UNKNOWN {
            break;
        }
        let value = fields.number()?;
        let on = value != 0;
        if let Some((_, code)) = find(&CHARACTERS, operation) {
            let character = if value == NO_CHARACTER { 0 } else { value };
            attributes.special_codes[*code] = u8::try_from(character).unwrap_or(0);
        } else if let Some((_, mode)) = find(&INPUT, operation) {
            attributes.input_modes.set(*mode, on);
        } else if let Some((_, mode)) = find(&LOCAL, operation) {
            attributes.local_modes.set(*mode, on);
        } else if let Some((_, mode)) = find(&OUTPUT, operation) {
            attributes.output_modes.set(*mode, on);
        }
    }
    Ok(())
}

fn find<T>(table: &[(u8, T)], operation: u8) -> Option<&(u8, T)> {
    table.iter().find(|(known, _)| *known == operation)
}
