//! What is printed survives a reader who has gone: a closed pipe or a full disk behind standard
//! output must not end a run, as the standard `println!` would, and is no defect of the program.

use isotropy_core::{Error, Result};
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

/// Why something that was printed has been lost, the first time.
static LOST: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Writes to standard output; what cannot be written is lost, and [`lost`] says so in the end.
pub fn to_stdout(text: Arguments) {
    remember(std::io::stdout().write_fmt(text));
}

fn remember(outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        let mut first = LOST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        first.get_or_insert(error);
    }
}

/// Whether everything that was printed has arrived. A reader who has seen enough is no error.
///
/// # Errors
/// With the reason of the system.
pub fn lost() -> Result<()> {
    remember(std::io::stdout().flush());
    let first = LOST.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    match first {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("standard output", error))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error; what cannot be written is lost.
pub fn to_stderr(text: Arguments) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints a line.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::output::to_stdout(format_args!("{}\n", format_args!($($argument)*)))
    };
}

/// Prints a line on standard error.
macro_rules! note {
    ($($argument:tt)*) => { $crate::output::to_stderr(format_args!($($argument)*)) };
}

pub(crate) use {note, say};

/// Lets a closed pipe end the process quietly, as other tools end in `runner list | head`. For
/// commands that only print: a run must not die with the terminal that watches it.
pub fn end_with_the_reader() {
    // SAFETY: the default action of a signal is always valid; no thread has been started yet.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
