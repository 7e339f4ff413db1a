//! ISO 7816-4 around the applet: commands that come in several pieces, answers that go out in several.

use heapless::Vec as Buffer;
use iso7816::Status;
use iso7816::command::CommandView;
use piv_authenticator::{Authenticator, Client};

/// The applet as vpcd talks to it.
pub(crate) struct Card<T> {
    applet: Authenticator<T>,
    /// Data of a chained command so far.
    command: Vec<u8>,
    /// What GET RESPONSE has still to fetch.
    answer: Vec<u8>,
}

impl<T: Client> Card<T> {
    pub(crate) fn new(applet: Authenticator<T>) -> Self {
        Self {
            applet,
            command: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// A card without power has forgotten who logged in; this applet forgets by VERIFY with P1 = FF
    /// (SP 800-73-4, part 2, section 3.2.1).
    fn log_out(&mut self) {
        self.command.clear();
        self.answer.clear();
        self.call(&[0x00, 0x20, 0xff, 0x80]);
    }

    /// Answers a whole command: status word last.
    fn call(&mut self, apdu: &[u8]) -> (Vec<u8>, Status) {
        let Ok(command) = CommandView::try_from(apdu) else {
            return (Vec::new(), Status::WrongLength);
        };
        let mut reply = Buffer::<u8, LONGEST>::new();
        let result = self.applet.respond(command, &mut reply);
        match result {
            Ok(()) => (reply.to_vec(), Status::Success),
            Err(status) => (Vec::new(), status),
        }
    }

    /// As much of the answer as was asked for.
    fn next_part(&mut self, wanted: usize) -> Vec<u8> {
        let rest = self.answer.split_off(wanted.min(self.answer.len()));
        let mut part = std::mem::replace(&mut self.answer, rest);
        let status = match u8::try_from(self.answer.len()) {
            Ok(0) => Status::Success,
            Ok(left) => Status::MoreAvailable(left),
            Err(_) => Status::MoreAvailable(0), // 256 or more
        };
        part.extend(<[u8; 2]>::from(status));
        part
    }
}

impl<T: Client> vpicc::VSmartCard for Card<T> {
    fn power_off(&mut self) {
        self.log_out();
    }

    fn reset(&mut self) {
        self.log_out();
    }

    fn execute(&mut self, apdu: &[u8]) -> Vec<u8> {
        let Ok(command) = CommandView::try_from(apdu) else {
            return <[u8; 2]>::from(Status::WrongLength).to_vec();
        };
        let wanted = if command.extended {
            LONGEST
        } else {
            command.expected().min(256)
        };
        if apdu[1] == GET_RESPONSE {
            return self.next_part(wanted);
        }
        self.answer.clear();
        let data = command.data();
        if self.command.is_empty() {
            self.command = vec![apdu[0] & !CHAINED, apdu[1], apdu[2], apdu[3], 0, 0, 0];
        }
        self.command.extend(data);
        if apdu[0] & CHAINED != 0 {
            return <[u8; 2]>::from(Status::Success).to_vec();
        }
        let mut whole = std::mem::take(&mut self.command);
        let len = u16::try_from(whole.len() - 7).unwrap_or(u16::MAX);
        whole[5..7].copy_from_slice(&len.to_be_bytes());
        whole.extend([0, 0]);
        let (answer, status) = self.call(&whole);
        if status != Status::Success {
            return <[u8; 2]>::from(status).to_vec();
        }
        self.answer = answer;
        self.next_part(wanted)
    }
}

const GET_RESPONSE: u8 = 0xc0;
/// In the class byte: more data follows.
const CHAINED: u8 = 0x10;
/// Bytes of the longest answer, a certificate.
const LONGEST: usize = 8192;
