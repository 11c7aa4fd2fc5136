//! Early stopping by the validation loss.

use crate::experiment::EarlyStop;
use serde::{Deserialize, Serialize};

/// The best validation loss, and for how long it has not been beaten.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// Smallest validation loss so far.
    pub best: Option<f64>,
    /// Validations since then.
    pub waited: u64,
    /// Whether patience has run out.
    pub stopped: bool,
}

impl EarlyStopping {
    /// Takes in a validation loss; without options nothing ever stops.
    pub fn observe(&mut self, loss: f64, options: Option<&EarlyStop>) {
        let margin = options.map_or(0.0, |o| o.min_improvement);
        let better = self.best.is_none_or(|best| loss < best - margin * best.abs());
        if better {
            self.best = Some(loss);
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        self.stopped = options.is_some_and(|o| self.waited >= o.patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_stops_only_after_patience_without_improvement() {
        let options = EarlyStop { patience: 2, min_improvement: 0.0 };
        let mut early = EarlyStopping::default();
        let mut stopped_after = Vec::new();
        for loss in [3.0, 2.0, 2.5, 1.0, 1.5, 1.2] {
            early.observe(loss, Some(&options));
            stopped_after.push(early.stopped);
        }
        assert_eq!(stopped_after, [false, false, false, false, false, true]);
        assert_eq!(early.best, Some(1.0));
    }
}
