//! What a plain network sees of a noisy state and its time: a list of features, chosen by name.

use crate::waves::Waves;
use isotropy_core::{
    Drive, Error, Field, KernelLaw, Moves, NoisingProcess, Representation, Result, State,
    StateSpec, TimeDomain, Xi, config,
};
use std::sync::Arc;
use tch::Tensor;

/// One group of input columns.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// The value as it is, flattened.
    X,
    /// The flow coordinates of the drive, unwrapped where the state carries them.
    Tau,
    /// `log r` and `x / r` of every position, with `r` the norm over the last axis: it tells small
    /// radii apart, which a network on the raw value cannot. The value must be made of positions.
    LogRUnit,
    /// Sine and cosine of every flow coordinate times every frequency: fine structure in the
    /// coordinates, and whole frequencies see angles without their cut. For translations the
    /// coordinates are the value.
    FourierTau,
    /// Sine and cosine of `log r` and of the components of `x / r`, times every frequency: the same
    /// fine structure for drives without flow coordinates.
    FourierLogRUnit,
    /// The other end of a bridge, flattened: the context field `end`.
    End,
    /// The time label of the process, one column.
    Time,
    /// `ln(std / mean)` of the kernel, one column: small noise levels, which the time label presses
    /// together, lie far apart.
    LogNoise,
}

/// Radii below this are treated as this, so that the logarithm stays finite.
const SMALLEST_RADIUS: f64 = 1e-30;

/// A list of features with the number of columns they take.
pub struct Features {
    list: Vec<Feature>,
    width: i64,
    time: TimeDomain,
    drive: Arc<dyn Representation>,
    kernel: Option<Arc<dyn KernelLaw>>,
    waves: Waves,
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Features").field("list", &self.list).field("width", &self.width).finish()
    }
}

impl Features {
    /// Checks the list against shapes and process.
    ///
    /// # Errors
    /// `Config` with pointer `/inputs` when the list is empty or names a feature twice, or the state
    /// or the drive does not have what is asked for.
    pub fn new(
        list: &[Feature],
        frequencies: &[f64],
        spec: &StateSpec,
        process: &dyn NoisingProcess,
    ) -> Result<Self> {
        if list.is_empty() {
            return Err(Error::config("/inputs", "a network needs at least one input feature"));
        }
        let mut width = 0;
        for (k, feature) in list.iter().enumerate() {
            let pointer = format!("/inputs/{k}");
            if list[..k].contains(feature) {
                return Err(Error::config(pointer, "this input feature is named twice"));
            }
            width += columns(*feature, frequencies, spec, process)
                .map_err(|why| Error::config(pointer, why))?;
        }
        Ok(Self {
            list: list.to_vec(),
            width,
            time: process.time().clone(),
            drive: Arc::clone(process.drive()),
            kernel: with_level(process),
            waves: Waves::new(frequencies),
        })
    }

    /// Number of columns.
    pub fn width(&self) -> i64 {
        self.width
    }

    /// The features of a batch at times `t` (`[B]`): `[B, width]`.
    pub fn of(&self, state: &State, t: &Tensor) -> Tensor {
        let mut columns = Vec::with_capacity(self.list.len() + 1);
        for feature in &self.list {
            match feature {
                Feature::X => columns.push(flat(state.x())),
                Feature::Tau => columns.extend(self.unwrapped(state).0.iter().map(flat)),
                Feature::FourierTau => {
                    for tau in &self.unwrapped(state).0 {
                        columns.extend(self.waves.of(&flat(tau)));
                    }
                }
                Feature::LogRUnit => columns.extend(self.log_r_unit(state)),
                Feature::FourierLogRUnit => {
                    let both = Tensor::cat(&self.log_r_unit(state), 1);
                    columns.extend(self.waves.of(&both));
                }
                Feature::End => {
                    let end = state.given("end").expect("checked when the features were built");
                    columns.push(flat(&end.tensor));
                }
                Feature::Time => columns.push(self.time.label(t).unsqueeze(1)),
                Feature::LogNoise => {
                    let kernel =
                        self.kernel.as_ref().expect("checked when the features were built");
                    let kernel = kernel.tensors(&t.unsqueeze(1));
                    let one = t.ones_like().unsqueeze(1);
                    let noise = kernel.std[0].times(&one) / kernel.mean[0].times(&one);
                    columns.push(noise.log());
                }
            }
        }
        if columns.len() == 1 { columns.remove(0) } else { Tensor::cat(&columns, 1) }
    }

    /// `log r` (one column a position), then `x / r`. A state that carries `log r` spares a norm and a
    /// logarithm.
    fn log_r_unit(&self, state: &State) -> [Tensor; 2] {
        let carried = self.drive.drive().and_then(Drive::coordinates);
        match carried.and_then(|coordinates| coordinates.log_radius(state)) {
            Some(log_r) => {
                let log_r = log_r.clamp_min(SMALLEST_RADIUS.ln());
                let unit = state.x() * log_r.neg().exp();
                [flat(&log_r), flat(&unit)]
            }
            None => log_r_unit(&state.value),
        }
    }

    fn unwrapped(&self, state: &State) -> Xi {
        let coordinates = self.drive.drive().and_then(Drive::coordinates);
        coordinates.expect("checked when the features were built").unwrapped(state)
    }
}

/// Number of columns of one feature, or why it cannot be had.
fn columns(
    feature: Feature,
    frequencies: &[f64],
    spec: &StateSpec,
    process: &dyn NoisingProcess,
) -> Result<i64, String> {
    let (shape, drive) = (&spec.value.shape, process.fields());
    let coordinates = || -> Result<i64, String> {
        if drive.coordinates().is_none() {
            return Err(format!("{} has no flow coordinates for this feature", drive.name()));
        }
        drive.xi_shape(spec).iter().map(|shape| size(shape)).sum()
    };
    match feature {
        Feature::X => size(shape),
        Feature::Tau => coordinates(),
        Feature::FourierTau | Feature::FourierLogRUnit if frequencies.is_empty() => {
            Err("waves of a feature need `frequencies`".into())
        }
        Feature::FourierTau => Ok(coordinates()? * 2 * frequencies.len() as i64),
        Feature::LogRUnit | Feature::FourierLogRUnit => match shape.last() {
            Some(&last) if spec.value.moves == Moves::Point => {
                let waves = 2 * frequencies.len() as i64;
                let each = if feature == Feature::LogRUnit { 1 } else { waves };
                Ok(size(shape)? / last * (last + 1) * each)
            }
            _ => Err("`log r` needs a value made of positions".into()),
        },
        Feature::End => match spec.given("end") {
            Some(end) if end.batched => size(&end.shape),
            _ => Err("the states have no context field `end` for this feature".into()),
        },
        Feature::Time => Ok(1),
        Feature::LogNoise if with_level(process).is_none() => {
            Err(format!("{} has no kernel for the feature `log-noise`", process.name()))
        }
        Feature::LogNoise => Ok(1),
    }
}

/// Numbers in a shape without its batch.
fn size(shape: &[i64]) -> Result<i64, String> {
    if shape.iter().any(|&n| n < 1) {
        return Err("a plain network needs states of one size, and these vary".into());
    }
    Ok(shape.iter().product())
}

/// `[B, n]` from `[B, ..]`.
fn flat(x: &Tensor) -> Tensor {
    if x.dim() == 2 { x.shallow_clone() } else { x.flatten(1, -1) }
}

/// `log r` (one column a position), then `x / r`.
fn log_r_unit(value: &Field) -> [Tensor; 2] {
    let x = &value.tensor;
    let r = x.norm_scalaropt_dim(2, [-1i64], true).clamp_min(SMALLEST_RADIUS);
    [flat(&r.log()), flat(&(x / r))]
}

/// The law of a kernel that has noise levels.
fn with_level(process: &dyn NoisingProcess) -> Option<Arc<dyn KernelLaw>> {
    process.kernel().filter(|law| law.level(law.time().end).is_some())
}
