//! The one error type: what went wrong and the line that mends it.

use std::fmt;

/// An error with an optional remedy, both meant to be read by a person.
#[derive(Debug)]
pub struct Failure {
    message: String,
    help: Option<String>,
}

/// The result of everything that can fail here.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// An error without a remedy.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// Adds what the reader can do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Wraps an I/O error: `doing` says what was tried, on which path.
    pub fn io(doing: impl fmt::Display, error: &std::io::Error) -> Self {
        let failure = Self::new(format!("{doing}: {error}"));
        match error.kind() {
            std::io::ErrorKind::StorageFull => failure.help(
                "free some space, or set ISOTROPY_CACHE to a folder on a file system with more room",
            ),
            _ => failure,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}
