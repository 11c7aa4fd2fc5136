//! Exponential moving averages of the weights, several rates at once.
//!
//! `average <- rate * average + (1 - rate) * weights` after every step. Buffers of floating kind (BatchNorm statistics)
//! are averaged like parameters; others (counters) are copied.

use std::collections::BTreeMap;

use tch::Tensor;

use super::flat::{FlatError, FlatParameters, Weights};

/// Averages of one model's weights, one for each rate.
#[derive(Debug)]
pub struct Ema {
    averages: Vec<(f64, Weights)>,
    warm_up: bool,
}

impl Ema {
    /// Starts every average at the present weights. With `warm_up` the rate at step t is min(rate, (1 + t) / (10 + t)),
    /// so that the initial weights are forgotten quickly.
    ///
    /// # Errors
    /// [`FlatError::Rate`] when a rate is outside [0, 1) or named twice.
    pub fn new(
        parameters: &FlatParameters,
        rates: &[f64],
        warm_up: bool,
    ) -> Result<Self, FlatError> {
        let mut averages: Vec<(f64, Weights)> = Vec::with_capacity(rates.len());
        for &rate in rates {
            if !(0.0..1.0).contains(&rate) {
                return Err(FlatError::Rate { rate, problem: "must be at least 0 and below 1" });
            }
            if averages.iter().any(|(other, _)| *other == rate) {
                return Err(FlatError::Rate { rate, problem: "is named twice" });
            }
            averages.push((rate, parameters.copy()?));
        }
        Ok(Self { averages, warm_up })
    }

    /// Takes the present weights into every average. `step` counts finished optimizer steps, so it is 1 at the first
    /// call. Reads nothing from the device.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn update(&mut self, parameters: &FlatParameters, step: u64) -> Result<(), FlatError> {
        let _guard = tch::no_grad_guard();
        for (rate, average) in &mut self.averages {
            let step = step as f64;
            let rate = if self.warm_up { rate.min((1.0 + step) / (10.0 + step)) } else { *rate };
            let _ = average.parameters.f_lerp_(parameters.buffer(), 1.0 - rate)?;
            for ((_, kept), (_, new)) in average.buffers.iter_mut().zip(parameters.buffers()) {
                if kept.is_floating_point() {
                    let _ = kept.f_lerp_(new, 1.0 - rate)?;
                } else {
                    kept.f_copy_(new)?;
                }
            }
        }
        Ok(())
    }

    /// The rates, in the order of the configuration.
    pub fn rates(&self) -> impl Iterator<Item = f64> + '_ {
        self.averages.iter().map(|(rate, _)| *rate)
    }

    /// The average with this rate, for [`FlatParameters::with_weights`].
    pub fn weights(&self, rate: f64) -> Option<&Weights> {
        self.averages.iter().find(|(r, _)| *r == rate).map(|(_, w)| w)
    }

    /// All averages as `ema.<rate>.<variable>`, views in the shapes of the model.
    ///
    /// # Errors
    /// [`FlatError::Layout`] when `parameters` belong to another model.
    pub fn named(&self, parameters: &FlatParameters) -> Result<Vec<(String, Tensor)>, FlatError> {
        let mut all = Vec::new();
        for (rate, weights) in &self.averages {
            let prefix = prefix(*rate);
            let views = parameters.views(&weights.parameters)?.into_iter();
            let buffers = weights.buffers.iter().map(|(name, t)| (name.clone(), t.shallow_clone()));
            all.extend(views.chain(buffers).map(|(name, t)| (format!("{prefix}{name}"), t)));
        }
        Ok(all)
    }

    /// Restores what [`named`](Self::named) gave. Averages of rates that are not configured are ignored.
    ///
    /// # Errors
    /// [`FlatError::Mismatch`] names what is missing or does not fit.
    pub fn load(
        &mut self,
        parameters: &FlatParameters,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<(), FlatError> {
        let gathered: Result<Vec<_>, _> =
            self.rates().map(|r| parameters.gather(tensors, &prefix(r))).collect();
        for ((_, average), weights) in self.averages.iter_mut().zip(gathered?) {
            *average = weights;
        }
        Ok(())
    }
}

/// What the names of one average begin with in a checkpoint: `ema.0.999.`.
pub fn prefix(rate: f64) -> String {
    // `{:?}` writes 0 as 0.0, so that no prefix begins another.
    format!("ema.{rate:?}.")
}
