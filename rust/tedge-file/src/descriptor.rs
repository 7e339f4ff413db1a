//! What whoever started this process has opened for it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::error::Problem;

/// Longest time that a pipe, terminal or socket which was passed to this process is waited for: long enough
/// for a person who types at the other end.
pub const DESCRIPTOR_TIME: Duration = Duration::from_secs(5 * 60);

/// Whether a path names what whoever started this process has opened for it. A file of settings is no place for that: who
/// writes it could have a program wait.
#[must_use]
pub fn is_descriptor(path: &Path) -> bool {
    number(path).is_some()
}

/// The descriptor that `path` names as one of this process, if that is what it does.
pub(crate) fn number(path: &Path) -> Option<u32> {
    let path = path.to_str()?;
    match path {
        "/dev/stdin" => return Some(0),
        "/dev/stdout" => return Some(1),
        "/dev/stderr" => return Some(2),
        _ => {}
    }
    let number = path
        .strip_prefix("/dev/fd/")
        .or_else(|| path.strip_prefix("/proc/self/fd/"))?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.parse().ok())?
}

/// To read from the descriptor `number`.
pub(crate) fn for_reading(number: u32) -> Result<File, Problem> {
    handle(number, OFlags::RDONLY)
}

/// To write to the descriptor `number`, behind what is in it.
pub(crate) fn for_writing(number: u32) -> Result<File, Problem> {
    handle(number, OFlags::WRONLY | OFlags::APPEND)
}

/// Those of the standard streams are duplicated, which also does for sockets. Of any other, safe code has only
/// its name.
fn handle(number: u32, flags: OFlags) -> Result<File, Problem> {
    let handle: OwnedFd = match number {
        0 => std::io::stdin().as_fd().try_clone_to_owned()?,
        1 => std::io::stdout().as_fd().try_clone_to_owned()?,
        2 => std::io::stderr().as_fd().try_clone_to_owned()?,
        _ => open(
            format!("/proc/self/fd/{number}"),
            flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?,
    };
    Ok(handle.into())
}

/// Reads what comes next, at `deadline` at the latest; 0 is the end.
pub(crate) fn read(
    mut file: &File,
    buffer: &mut [u8],
    deadline: Instant,
) -> Result<usize, Problem> {
    loop {
        wait(file, PollFlags::IN, deadline)?;
        match file.read(buffer) {
            Err(error) if is_passing(&error) => {}
            other => return Ok(other?),
        }
    }
}

/// Writes all of `content`, by `deadline` at the latest.
pub(crate) fn write(mut file: &File, mut content: &[u8], deadline: Instant) -> Result<(), Problem> {
    while !content.is_empty() {
        wait(file, PollFlags::OUT, deadline)?;
        // A pipe that takes something takes as much without waiting.
        let part = &content[..content.len().min(PIPE_BUF)];
        match file.write(part) {
            Err(error) if is_passing(&error) => {}
            other => content = &content[other?..],
        }
    }
    Ok(())
}

fn wait(file: &File, flags: PollFlags, deadline: Instant) -> Result<(), Problem> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // It can't fail: it is a few minutes at most.
        let left = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut [PollFd::new(file, flags)], Some(&left)) {
            Ok(0) => return Err(Problem::Slow),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), Interrupted | WouldBlock)
}

/// POSIX's PIPE_BUF, as Linux has it.
const PIPE_BUF: usize = 4096;

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn only_whole_names_of_descriptors_are_such() {
        for (path, expected) in [
            ("/dev/stdin", Some(0)),
            ("/dev/fd/63", Some(63)),
            ("/proc/self/fd/7", Some(7)),
            ("/dev/fd/", None),
            ("/dev/fd/+1", None),
            ("/dev/fd/1/x", None),
            ("/proc/1/fd/1", None),
            ("/dev/zero", None),
        ] {
            assert_eq!(number(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_silent_pipe_is_not_waited_for_for_ever() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        let file = for_reading(number(Path::new(&path)).unwrap()).unwrap();
        let deadline = Instant::now() + Duration::from_millis(10);
        let silent = read(&file, &mut [0; 8], deadline);
        assert!(matches!(silent, Err(Problem::Slow)), "{silent:?}");
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_not_waited_for_for_ever() {
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        let file = File::from(writer);
        let deadline = Instant::now() + Duration::from_millis(10);
        let full = write(&file, &vec![0; 1024 * 1024], deadline);
        assert!(matches!(full, Err(Problem::Slow)), "{full:?}");
    }
}
