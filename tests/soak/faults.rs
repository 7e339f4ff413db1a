//! What goes wrong in the module, by chance.

use std::time::Duration;

use support::faulty::{CODES, LOST_INITIALISATION, NOT_INITIALIZED};

use crate::random::Random;

/// One thing that goes wrong.
#[derive(Debug)]
pub struct Fault {
    pub kind: &'static str,
    /// For the module's control file.
    pub rules: String,
    pub lasts: Duration,
}

impl Fault {
    pub fn choose(random: &mut Random) -> Self {
        let lasts = random.millis(20, 400);
        let token = random.pick(&["device", "two"]);
        let (kind, rules, lasts) = match random.below(100) {
            0..50 => {
                let code = random.pick(&CODES);
                let function = random.pick(&FUNCTIONS);
                let slot = if code == NOT_INITIALIZED {
                    String::new()
                } else {
                    format!("slot={token} ")
                };
                let times = 1 + random.below(5);
                match random.below(3) {
                    0 => (
                        "code, once or a few times",
                        format!("{function} {slot}return {code} {times}"),
                        lasts,
                    ),
                    1 => (
                        "code, every so often",
                        format!("{function} {slot}every {} return {code}", 1 + times),
                        lasts,
                    ),
                    _ => (
                        "code, for a while",
                        format!("{function} {slot}return {code}"),
                        lasts,
                    ),
                }
            }
            50..62 => {
                let (function, delay) = (random.pick(&FUNCTIONS), random.below(200));
                let rules = format!("{function} slot={token} delay {delay}");
                ("delay", rules, lasts)
            }
            62..72 => {
                let function = random.pick(&FUNCTIONS);
                let rules = format!("{function} slot={token} hang");
                ("hang that ends", rules, random.millis(100, 1500))
            }
            72..82 => (
                "sessions lost",
                format!("sessions slot={token} lost"),
                lasts,
            ),
            82..92 => (
                "token absent",
                format!("token {token} absent"),
                random.millis(50, 1000),
            ),
            92..97 => ("initialisation lost", LOST_INITIALISATION.to_owned(), lasts),
            _ => (
                "initialisation lost, C_Initialize fails",
                format!("C_Initialize return CKR_GENERAL_ERROR 1\n{LOST_INITIALISATION}"),
                lasts,
            ),
        };
        Self { kind, rules, lasts }
    }

    /// The process ends in the middle of a signature.
    pub fn crash(random: &mut Random) -> Self {
        let function = random.pick(&["C_SignInit", "C_Sign"]);
        Self {
            kind: "crash",
            rules: format!("{function} crash"),
            lasts: Duration::ZERO,
        }
    }
}

/// Those that the signer calls on the way of a request. C_CloseSession is not among them: a session
/// that the module refuses to close is the module's leak.
const FUNCTIONS: [&str; 11] = [
    "C_Sign",
    "C_Sign",
    "C_SignInit",
    "C_SignInit",
    "C_OpenSession",
    "C_Login",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_GetAttributeValue",
    "C_GetTokenInfo",
];
