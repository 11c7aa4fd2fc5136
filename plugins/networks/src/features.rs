//! What a plain network sees of a noisy state and its time: a list of features, chosen by name.

use isotropy_core::{
    Drive, Error, Field, Moves, NoisingProcess, Representation, Result, State, StateSpec,
    TimeDomain,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tch::Tensor;

/// One group of input columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// The value as it is, flattened.
    X,
    /// The flow coordinates of the drive, unwrapped where the state carries them.
    Tau,
    /// `log r` and `x / r` of every position, with `r` the norm over the last axis: it tells small
    /// radii apart, which a network on the raw value cannot. The value must be made of positions.
    LogRUnit,
    /// The time label of the process, one column.
    Time,
}

/// Radii below this are treated as this, so that the logarithm stays finite.
const SMALLEST_RADIUS: f64 = 1e-30;

/// A list of features with the number of columns they take.
#[derive(Debug)]
pub struct Features {
    list: Vec<Feature>,
    width: i64,
    time: TimeDomain,
    drive: Arc<dyn Representation>,
}

impl Features {
    /// Checks the list against shapes and process.
    ///
    /// # Errors
    /// `Config` with pointer `/inputs` when the list is empty or names a feature twice, or the state
    /// or the drive does not have what is asked for.
    pub fn new(list: &[Feature], spec: &StateSpec, process: &dyn NoisingProcess) -> Result<Self> {
        if list.is_empty() {
            return Err(Error::config("/inputs", "a network needs at least one input feature"));
        }
        let mut width = 0;
        for (k, feature) in list.iter().enumerate() {
            let pointer = format!("/inputs/{k}");
            if list[..k].contains(feature) {
                return Err(Error::config(pointer, "this input feature is named twice"));
            }
            width += columns(*feature, spec, process.fields())
                .map_err(|why| Error::config(pointer, why))?;
        }
        Ok(Self {
            list: list.to_vec(),
            width,
            time: process.time().clone(),
            drive: Arc::clone(process.drive()),
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
                Feature::Tau => {
                    let coordinates = self.drive.drive().and_then(Drive::coordinates);
                    let coordinates = coordinates.expect("checked when the features were built");
                    columns.extend(coordinates.unwrapped(state).0.iter().map(flat));
                }
                Feature::LogRUnit => push_log_r_unit(&state.value, &mut columns),
                Feature::Time => columns.push(self.time.label(t).unsqueeze(1)),
            }
        }
        if columns.len() == 1 { columns.remove(0) } else { Tensor::cat(&columns, 1) }
    }
}

/// Number of columns of one feature, or why it cannot be had.
fn columns(feature: Feature, spec: &StateSpec, drive: &dyn Drive) -> Result<i64, String> {
    let shape = &spec.value.shape;
    match feature {
        Feature::X => size(shape),
        Feature::Tau if drive.coordinates().is_none() => {
            Err(format!("{} has no flow coordinates for the feature `tau`", drive.name()))
        }
        Feature::Tau => drive.xi_shape(spec).iter().map(|shape| size(shape)).sum(),
        Feature::LogRUnit => match shape.last() {
            Some(&last) if spec.value.moves == Moves::Point => Ok(size(shape)? / last * (last + 1)),
            _ => Err("the feature `log-r-unit` needs a value made of positions".into()),
        },
        Feature::Time => Ok(1),
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
fn push_log_r_unit(value: &Field, columns: &mut Vec<Tensor>) {
    let x = &value.tensor;
    let r = x.norm_scalaropt_dim(2, [-1i64], true).clamp_min(SMALLEST_RADIUS);
    columns.push(flat(&r.log()));
    columns.push(flat(&(x / r)));
}
