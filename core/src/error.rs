//! The one error type of the toolkit, and the exit code each kind of error leads to.

use std::path::{Path, PathBuf};

/// Shorthand for results with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, sorted by who has to act: the author of the configuration, the owner of the
/// data, the numbers themselves, or the machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration that cannot work. `pointer` is the JSON pointer of the offending value
    /// (`/process/steps`), so that the runner can show file, line and column.
    #[error("{message}")]
    Config {
        /// What is wrong.
        message: String,
        /// Where, as a JSON pointer; empty when it concerns the whole file.
        pointer: String,
        /// How to mend it; may be empty.
        help: String,
    },
    /// Data that are missing, damaged or of another shape than declared.
    #[error("{message}")]
    Data {
        /// What is wrong, with the file's name.
        message: String,
        /// The command or action that mends it; may be empty.
        help: String,
    },
    /// NaN, infinity, or a group element that left its group.
    #[error("{0}")]
    Numbers(String),
    /// The operation is not defined for these arguments: for instance the logarithm at the cut
    /// locus, or a drive that knows no way to transport noise under the given symmetry.
    #[error("{0}")]
    Unsupported(String),
    /// A signal ended the run after a checkpoint; it can be resumed.
    #[error("{0}")]
    Interrupted(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// libtorch refused an operation.
    #[error("{component}: libtorch: {message}")]
    Tensor {
        /// The component in whose code it happened; empty when unknown.
        component: String,
        /// libtorch's first line.
        message: String,
    },
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// A configuration error at a JSON pointer (without leading component names).
    pub fn config(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config { message: message.into(), pointer: pointer.into(), help: String::new() }
    }

    /// A data error with its remedy.
    pub fn data(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Data { message: message.into(), help: help.into() }
    }

    /// An input/output error that names the file.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// Puts `parent` in front of the pointer of a configuration error; other errors pass through.
    #[must_use]
    pub fn under(self, parent: &str) -> Self {
        match self {
            Self::Config { message, pointer, help } => {
                Self::Config { message, pointer: format!("{parent}{pointer}"), help }
            }
            Self::Unsupported(message) => Self::config(parent, message),
            other => other,
        }
    }

    /// Adds the remedy to a configuration or data error; other errors pass through.
    #[must_use]
    pub fn with_help(self, text: impl Into<String>) -> Self {
        match self {
            Self::Config { message, pointer, .. } => {
                Self::Config { message, pointer, help: text.into() }
            }
            Self::Data { message, .. } => Self::Data { message, help: text.into() },
            other => other,
        }
    }

    /// The remedy, if there is one.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Config { help, .. } | Self::Data { help, .. } if !help.is_empty() => Some(help),
            _ => None,
        }
    }

    /// The exit code of the process: 2 configuration, 3 data, 4 numbers, 75 interrupted and
    /// resumable, 1 the rest.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Config { .. } | Self::Unsupported(_) => 2,
            Self::Data { .. } => 3,
            Self::Numbers(_) => 4,
            Self::Interrupted(_) => 75,
            Self::Io { .. } | Self::Tensor { .. } | Self::Other(_) => 1,
        }
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        Self::Tensor {
            component: String::new(),
            message: text.lines().next().unwrap_or("unknown error").to_string(),
        }
    }
}
