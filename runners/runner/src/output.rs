//! Lines for people that survive a reader who has gone: a closed pipe or a full disk behind
//! standard output must not end a run, as `println!` would.

use std::fmt::Arguments;
use std::io::Write;

/// Writes a line to standard output; what cannot be written is lost.
pub fn to_stdout(text: Arguments) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes a line to standard error; what cannot be written is lost.
pub fn to_stderr(text: Arguments) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// `println!` for commands that must survive a closed pipe.
macro_rules! say {
    ($($argument:tt)*) => { $crate::output::to_stdout(format_args!($($argument)*)) };
}

/// `eprintln!` for commands that must survive a closed pipe.
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
