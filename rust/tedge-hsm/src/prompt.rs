//! A PIN typed at the terminal, without echo.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result, Write as _};

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use tedge_p11_client::Pin;
use zeroize::Zeroizing;

/// Asks at the terminal of this process. Nothing of what is typed is shown, nor stays in memory beside the
/// PIN.
pub(crate) fn ask(what: &str) -> anyhow::Result<Pin> {
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    // Before it asks: who answers at once must not be seen either.
    let quiet = Quiet::new(&terminal)?;
    write!(&terminal, "{what}: ")?;
    let typed = read_line(&terminal);
    drop(quiet);
    writeln!(&terminal)?;
    let typed = match typed {
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            // As if the terminal had sent it, which is as it was again.
            kill_process(getpid(), Signal::INT)?;
            Err(error)
        }
        typed => typed,
    };
    let text = std::str::from_utf8(&typed?)?.to_owned();
    Ok(Pin::new(text)?)
}

fn read_line(mut terminal: &File) -> Result<Zeroizing<Vec<u8>>> {
    // Reserved at once, so that no copy stays behind when the vector grows.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LEN));
    let mut key = Zeroizing::new([0]);
    loop {
        if terminal.read(&mut key[..])? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match key[0] {
            b'\n' | b'\r' => return Ok(line),
            CTRL_C => return Err(ErrorKind::Interrupted.into()),
            CTRL_D => return Err(ErrorKind::UnexpectedEof.into()),
            CTRL_U => line.clear(),
            // The whole character, with the bytes that continue it in UTF-8.
            BACKSPACE | DELETE => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            _ if line.len() == MAX_LEN => return Err(Error::other("this is too long for a PIN")),
            byte => line.push(byte),
        }
    }
}

/// A terminal that shows nothing and gives every key at once, until this is dropped.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        // Without signals: this process must not end before the terminal is as it was.
        quiet.local_modes -=
            LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no settings.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CTRL_U: u8 = 0x15;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
/// In bytes; PKCS#11 tokens take 255 at most.
const MAX_LEN: usize = 512;
