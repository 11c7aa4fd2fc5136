//! How the learning rate changes while training: a factor on the optimizer's own learning rate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which schedule, and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LearningRateConfig {
    /// The factor is 1, after a linear warm-up.
    Constant {
        /// Steps of linear growth from 0 to 1 at the start.
        #[serde(default)]
        warm_up_steps: u64,
    },
    /// Linear warm-up, then half a cosine down to `final_factor`, which is kept from there on.
    WarmUpCosine {
        /// Steps of linear growth to 1 at the start.
        #[serde(default)]
        warm_up_steps: u64,
        /// The factor of the first step of the warm-up; `null` for growth from 0, whose first step moves already.
        #[serde(default)]
        #[schemars(range(min = 0.0, max = 1.0))]
        initial_factor: Option<f64>,
        /// The step that gets the final factor, counted from the start of the run; `null` for the last one.
        #[serde(default)]
        decay_steps: Option<u64>,
        /// The factor at the end.
        #[serde(default)]
        #[schemars(range(min = 0.0, max = 1.0))]
        final_factor: f64,
    },
    /// Multiplies by `factor` when the validation metric has not improved in more than `patience` evaluations.
    Plateau {
        /// What the factor is multiplied by.
        #[serde(default = "default_plateau_factor")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        factor: f64,
        /// Evaluations without improvement that are tolerated.
        #[serde(default = "default_patience")]
        patience: u64,
        /// An improvement is a decrease by more than this share of the size of the best value so far.
        #[serde(default = "default_threshold")]
        #[schemars(range(min = 0.0))]
        threshold: f64,
        /// Evaluations after a reduction during which nothing is counted.
        #[serde(default)]
        cooldown: u64,
        /// The factor never falls below this.
        #[serde(default)]
        #[schemars(range(min = 0.0, max = 1.0))]
        minimum_factor: f64,
        /// Steps of linear growth from 0 to 1 at the start.
        #[serde(default)]
        warm_up_steps: u64,
    },
    /// Multiplies by `factor` at every milestone.
    Steps {
        /// Step numbers; order does not matter.
        milestones: Vec<u64>,
        /// What the factor is multiplied by.
        #[serde(default = "default_plateau_factor")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        factor: f64,
        /// Steps of linear growth from 0 to 1 at the start.
        #[serde(default)]
        warm_up_steps: u64,
    },
}

fn default_plateau_factor() -> f64 {
    0.1
}
fn default_patience() -> u64 {
    10
}
fn default_threshold() -> f64 {
    1e-4
}

impl Default for LearningRateConfig {
    fn default() -> Self {
        Self::Constant { warm_up_steps: 0 }
    }
}

impl LearningRateConfig {
    /// The schedule for a run of `total_steps` optimizer steps.
    pub fn build(&self, total_steps: u64) -> LearningRate {
        LearningRate { config: self.clone(), total_steps, state: LearningRateState::default() }
    }
}

/// What a schedule remembers beyond the step number. Only the plateau schedule changes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRateState {
    /// The best metric seen, none before the first evaluation.
    pub best: Option<f64>,
    /// Evaluations since the last improvement.
    pub bad_evaluations: u64,
    /// Evaluations that are still ignored.
    pub cooldown_left: u64,
    /// The product of all reductions so far.
    pub factor: f64,
}

impl Default for LearningRateState {
    fn default() -> Self {
        Self { best: None, bad_evaluations: 0, cooldown_left: 0, factor: 1.0 }
    }
}

/// A running schedule.
#[derive(Debug, Clone)]
pub struct LearningRate {
    config: LearningRateConfig,
    total_steps: u64,
    state: LearningRateState,
}

impl LearningRate {
    /// The factor for the optimizer step that follows `step` finished ones (0 for the first).
    pub fn factor(&self, step: u64) -> f64 {
        match &self.config {
            LearningRateConfig::Constant { warm_up_steps } => warm_up(step, *warm_up_steps),
            LearningRateConfig::WarmUpCosine {
                warm_up_steps,
                initial_factor,
                decay_steps,
                final_factor,
            } => {
                if step < *warm_up_steps {
                    return match initial_factor {
                        Some(first) => first + (1.0 - first) * step as f64 / *warm_up_steps as f64,
                        None => warm_up(step, *warm_up_steps),
                    };
                }
                // The last step, number total_steps - 1, gets exactly the final factor.
                let last = decay_steps.unwrap_or(self.total_steps.saturating_sub(1));
                let length = last.saturating_sub(*warm_up_steps);
                let share = if length == 0 {
                    1.0
                } else {
                    ((step - warm_up_steps) as f64 / length as f64).min(1.0)
                };
                final_factor
                    + (1.0 - final_factor) * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
            LearningRateConfig::Plateau { warm_up_steps, .. } => {
                self.state.factor * warm_up(step, *warm_up_steps)
            }
            LearningRateConfig::Steps { milestones, factor, warm_up_steps } => {
                let passed = milestones.iter().filter(|&&milestone| step >= milestone).count();
                factor.powi(passed as i32) * warm_up(step, *warm_up_steps)
            }
        }
    }

    /// Tells the schedule the result of a validation; lower is better. Returns whether the factor was reduced. A metric
    /// that is NaN counts as no improvement. Does nothing for schedules other than the plateau.
    pub fn observe(&mut self, metric: f64) -> bool {
        let LearningRateConfig::Plateau {
            factor,
            patience,
            threshold,
            cooldown,
            minimum_factor,
            ..
        } = self.config
        else {
            return false;
        };
        let state = &mut self.state;
        // torch compares with `best * (1 - threshold)`, which is wrong for the negative values that a likelihood or a
        // score-matching loss can take; the size of the best value serves both signs.
        let improved = match state.best {
            None => metric.is_finite(),
            Some(best) => metric < best - threshold * best.abs(),
        };
        if improved {
            state.best = Some(metric);
            state.bad_evaluations = 0;
        } else {
            state.bad_evaluations += 1;
        }
        if state.cooldown_left > 0 {
            state.cooldown_left -= 1;
            state.bad_evaluations = 0;
        }
        if state.bad_evaluations <= patience {
            return false;
        }
        let reduced = (state.factor * factor).max(minimum_factor);
        let changed = reduced < state.factor;
        state.factor = reduced;
        state.cooldown_left = cooldown;
        state.bad_evaluations = 0;
        changed
    }

    /// What a checkpoint has to keep.
    pub fn state(&self) -> &LearningRateState {
        &self.state
    }

    /// Continues from a checkpoint.
    pub fn restore(&mut self, state: LearningRateState) {
        self.state = state;
    }
}

/// Linear growth: the first step already moves, the step after the warm-up has factor 1.
fn warm_up(step: u64, steps: u64) -> f64 {
    if step >= steps { 1.0 } else { (step + 1) as f64 / (steps + 1) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_starts_at_one_and_ends_at_the_final_factor() {
        let cosine = LearningRateConfig::WarmUpCosine {
            warm_up_steps: 10,
            initial_factor: None,
            decay_steps: None,
            final_factor: 0.1,
        };
        let schedule = cosine.build(110);
        let factors: Vec<f64> = (0..110).map(|s| schedule.factor(s)).collect();
        assert!(factors[0] > 0.0 && factors[..=10].windows(2).all(|w| w[0] < w[1]), "{factors:?}");
        assert_eq!(factors[10], 1.0);
        assert!((factors[109] - 0.1).abs() < 1e-15);
        assert!(factors[10..].windows(2).all(|w| w[0] > w[1]));
        assert!((schedule.factor(1_000_000) - 0.1).abs() < 1e-15, "stays there after the end");
        let short = cosine.build(3);
        assert!((0..20).all(|s| short.factor(s).is_finite()), "a run shorter than its warm-up");
    }

    #[test]
    fn warm_up_may_start_above_zero_and_the_decay_end_before_the_run() {
        let json = serde_json::json!({"type": "warm-up-cosine", "warm_up_steps": 4, "initial_factor": 0.2,
            "decay_steps": 14, "final_factor": 0.1});
        let config: LearningRateConfig = serde_json::from_value(json).expect("valid");
        let schedule = config.build(1000);
        let near = |step, value: f64| (schedule.factor(step) - value).abs() < 1e-15;
        assert!(near(0, 0.2) && near(2, 0.6) && near(4, 1.0) && near(9, 0.55));
        assert!(near(14, 0.1) && near(15, 0.1) && near(999, 0.1));
    }

    #[test]
    fn steps_multiply_at_each_milestone() {
        let schedule =
            LearningRateConfig::Steps { milestones: vec![20, 10], factor: 0.5, warm_up_steps: 0 }
                .build(30);
        assert_eq!([9, 10, 19, 20].map(|s| schedule.factor(s)), [1.0, 0.5, 0.5, 0.25]);
    }

    fn plateau(patience: u64, cooldown: u64, minimum_factor: f64) -> LearningRate {
        let config = serde_json::json!({"type": "plateau", "factor": 0.5, "patience": patience, "cooldown": cooldown,
            "minimum_factor": minimum_factor});
        serde_json::from_value::<LearningRateConfig>(config).expect("valid").build(100)
    }

    #[test]
    fn plateau_waits_for_patience_and_cools_down() {
        let mut schedule = plateau(1, 2, 0.0);
        let reduced: Vec<bool> = [1.0; 9].map(|m| schedule.observe(m)).to_vec();
        // 1 is the best; 2, 3 are bad (reduce at 3); 4, 5 cool down; 6, 7 are bad (reduce at 7); 8, 9 cool down.
        assert_eq!(reduced, [false, false, true, false, false, false, true, false, false]);
        assert_eq!(schedule.factor(50), 0.25);
    }

    #[test]
    fn plateau_works_for_negative_metrics_nan_and_the_minimum() {
        let mut schedule = plateau(0, 0, 0.4);
        assert!(!schedule.observe(-1.0));
        assert!(!schedule.observe(-1.1), "an improvement");
        assert!(schedule.observe(-1.1 + 1e-9), "slightly worse is no improvement");
        assert!(schedule.observe(f64::NAN));
        assert_eq!(schedule.factor(0), 0.4);
        assert!(!schedule.observe(0.0), "already at the minimum");
    }

    #[test]
    fn state_survives_json_in_the_same_bits() {
        let mut schedule = plateau(0, 1, 0.0);
        for metric in [0.1 + 0.2, 1.0 / 3.0, 0.5, 0.5, 0.5] {
            schedule.observe(metric);
        }
        let text = serde_json::to_string(schedule.state()).expect("serializable");
        let mut resumed = plateau(0, 1, 0.0);
        resumed.restore(serde_json::from_str(&text).expect("readable"));
        assert_eq!(resumed.state(), schedule.state());
        assert_eq!(resumed.observe(0.5), schedule.observe(0.5));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        for text in [r#"{"type": "constant", "warmup": 3}"#, r#"{"type": "plateau", "factr": 3}"#] {
            assert!(serde_json::from_str::<LearningRateConfig>(text).is_err(), "{text}");
        }
    }
}
