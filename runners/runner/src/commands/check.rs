//! `runner check`: components against their mathematics.

use isotropy_core::Result;
use std::path::PathBuf;

/// What is checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// Every component.
    All,
    /// One component, or all of a kind.
    Component(String, Option<String>),
    /// What an experiment names.
    Experiment(PathBuf),
}

impl Subject {
    /// From the flags of the command line.
    pub fn from_flags(k: Option<String>, n: Option<String>, c: Option<PathBuf>, all: bool) -> Result<Self> {
        let _ = (k, n, c, all);
        Ok(Self::All)
    }
}

/// Placeholder signature.
pub fn check(_what: &Subject, _json: bool) -> Result<()> { Ok(()) }
