//! The conformance suite: what every registered component is checked for.

pub mod coupled;
pub mod covariance;
mod drive;
pub mod group;
pub mod measure;
pub mod model;
mod orbits;
pub mod panics;
pub mod process;
pub mod representation;
pub mod sampler;
pub mod strategies;

use isotropy_core::Component;

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The error is within the tolerance.
    Pass,
    /// It is not.
    Fail,
    /// The check does not apply; `why` says so.
    Skip,
    /// Nothing of the component could be checked: it brings no states.
    Unchecked,
}

/// One line of the table that `runner check` prints.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CheckResult {
    /// Name of the check.
    pub check: String,
    /// Outcome.
    pub status: Status,
    /// Largest error seen, where there is one.
    pub error: Option<f64>,
    /// What was allowed.
    pub tolerance: Option<f64>,
    /// Why it failed or was skipped, and what was left out; empty when it passed in full.
    pub why: String,
}

impl CheckResult {
    /// Compares an error with its tolerance. NaN fails.
    pub fn compare(check: &str, error: f64, tolerance: f64) -> Self {
        let pass = error <= tolerance;
        Self {
            check: check.into(),
            status: if pass { Status::Pass } else { Status::Fail },
            error: Some(error),
            tolerance: Some(tolerance),
            why: if pass { String::new() } else { format!("error {error:.3e} > {tolerance:.3e}") },
        }
    }

    /// A check that does not apply.
    pub fn skip(check: &str, why: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            status: Status::Skip,
            error: None,
            tolerance: None,
            why: why.into(),
        }
    }

    /// The same, with a word about what was left out.
    #[must_use]
    pub fn with_note(mut self, note: &str) -> Self {
        let separator = if self.why.is_empty() { "" } else { "; " };
        self.why = format!("{}{separator}{note}", self.why);
        self
    }

    /// No check at all of this side of a component, and why.
    pub fn unchecked(check: &str, why: impl Into<String>) -> Self {
        Self { status: Status::Unchecked, ..Self::skip(check, why) }
    }

    /// A check that failed without a number.
    pub fn fail(check: &str, why: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            status: Status::Fail,
            error: None,
            tolerance: None,
            why: why.into(),
        }
    }
}

/// A check that a plugin adds, for one of its components or for all of a kind.
pub struct ExtraCheck {
    /// Kind of the component.
    pub kind: &'static str,
    /// Name of the component; `None` for all of the kind.
    pub name: Option<&'static str>,
    /// Runs the check on a registered component.
    pub run: fn(&Component) -> Vec<CheckResult>,
}

/// Further checks that plugins contribute to the conformance suite.
#[linkme::distributed_slice]
pub static CHECKS: [ExtraCheck];
