//! Opens files in places where somebody else may write: for reading, and to be replaced.
//!
//! A path is walked component by component, each opened relative to the folder before it, so that nobody
//! can change what was looked at. A symbolic link is followed if it belongs to root or to the user that this
//! process runs as: another user's could lead to any file that this process may open. What is found must be a
//! regular file, of a size that the caller limits: a FIFO would keep the reader waiting, a device has no end.
//!
//! What a path of the form `/dev/stdin`, `/dev/stdout`, `/dev/stderr`, `/dev/fd/N` or `/proc/self/fd/N` names is
//! what whoever started the process has opened for it. That may be a pipe, a terminal or a socket, too;
//! besides its size, the time is limited that is waited for it ([`DESCRIPTOR_TIME`]).
//!
//! What the kernel makes (/proc, /sys) needs none of this.

mod descriptor;
mod edit;
mod error;
mod folder;
mod leftover;
mod lock;
mod read;
mod text;
mod walk;
mod write;

pub use descriptor::{DESCRIPTOR_TIME, is_descriptor};
pub use edit::Edited;
pub use error::{FileError, FileKind, Problem, user};
pub use folder::{Folder, read_folder};
pub use lock::Lock;
pub use read::{Opened, is_private, open, read, read_private_text, read_text};
pub use text::{printable, printable_lines};
pub use write::{Attributes, check_writable, create, write};

/// Most bytes of a file with certificates: all public CAs together have a quarter of a MiB.
pub const MAX_CERTIFICATES: usize = 4 * 1024 * 1024;
/// Most bytes of a file with settings: far more than an operator writes.
pub const MAX_SETTINGS: usize = 1024 * 1024;
