//! One-dimensional laws that a Langevin process can have as its invariant law: log-density, its
//! derivative, and draws.

use super::anchor::row;
use isotropy_core::{Error, Result, Stream, config};
use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// Nodes of the distribution function that von Mises draws are read from. Between them it is
/// linear: off by at most `concentration (2 pi / nodes)^2 / 8` of the density.
const NODES: usize = 8192;

/// The law of one coordinate.
#[config]
#[derive(Clone)]
pub enum CoordinateLaw {
    /// A normal law.
    Normal(Normal),
    /// A mixture of normal laws.
    NormalMixture(NormalMixture),
    /// `exp(concentration cos(tau - mean))` on the circle: for an angle that runs all the way round.
    VonMises(VonMises),
}

/// `N(mean, std^2)`.
#[config]
#[derive(Clone, Copy, PartialEq)]
pub struct Normal {
    /// Mean, in the unit of the coordinate.
    pub mean: f64,
    /// Standard deviation, in the unit of the coordinate; positive.
    #[schemars(range(min = 1e-9, max = 1e9))]
    pub std: f64,
}

/// `sum_k weight_k N(mean_k, std_k^2)`.
#[config]
#[derive(Clone, PartialEq)]
pub struct NormalMixture {
    /// Mean of each component, in the unit of the coordinate.
    #[schemars(length(min = 1))]
    pub means: Vec<f64>,
    /// Standard deviation of each component, in the unit of the coordinate; positive.
    #[schemars(length(min = 1))]
    pub stds: Vec<f64>,
    /// Weight of each component; positive, scaled to sum 1.
    #[schemars(length(min = 1))]
    pub weights: Vec<f64>,
}

/// The von Mises law.
#[config]
#[derive(Clone, Copy, PartialEq)]
pub struct VonMises {
    /// Direction, radians.
    pub mean: f64,
    /// Concentration, no unit; 0 is the uniform law.
    #[schemars(range(min = 0.0, max = 10000.0))]
    pub concentration: f64,
}

impl CoordinateLaw {
    /// Refuses numbers that are no law.
    ///
    /// # Errors
    /// A configuration error without a pointer.
    pub(super) fn checked(&self) -> Result<()> {
        let positive = |what: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(Error::config("", format!("{what} {value} must be a positive number")))
        };
        match self {
            Self::Normal(law) => positive("std", law.std),
            Self::NormalMixture(law) => {
                let count = law.means.len();
                if count == 0 || law.stds.len() != count || law.weights.len() != count {
                    return Err(Error::config("", "means, stds and weights are not equally many"));
                }
                law.stds.iter().try_for_each(|std| positive("std", *std))?;
                law.weights.iter().try_for_each(|weight| positive("weight", *weight))
            }
            Self::VonMises(law) if law.concentration >= 0.0 && law.concentration <= 1e4 => Ok(()),
            Self::VonMises(law) => Err(Error::config(
                "",
                format!("concentration {} is outside [0, 10000]", law.concentration),
            )),
        }
    }

    /// The scale on which the law changes: the noise of the Langevin process is multiplied by it, so
    /// that narrow and wide coordinates forget at one rate and a step of one size suits both.
    pub(super) fn scale(&self) -> f64 {
        match self {
            Self::Normal(law) => law.std,
            Self::NormalMixture(law) => law.stds.iter().copied().fold(f64::INFINITY, f64::min),
            Self::VonMises(law) => law.concentration.max(1.0).sqrt().recip(),
        }
    }

    /// `d log density / dtau`, elementwise.
    pub(super) fn score(&self, tau: &Tensor) -> Tensor {
        match self {
            Self::Normal(law) => (tau - law.mean) * (-1.0 / (law.std * law.std)),
            Self::NormalMixture(law) => {
                let (scores, logs) = law.components(tau);
                (logs.softmax(-1, tau.kind()) * scores).sum_dim_intlist(-1, false, None)
            }
            Self::VonMises(law) => (tau - law.mean).sin() * -law.concentration,
        }
    }

    /// The log-density, elementwise; on the circle with respect to `dtau` on one turn.
    pub(super) fn log_density(&self, tau: &Tensor) -> Tensor {
        match self {
            Self::Normal(law) => {
                let constant = 0.5 * (2.0 * PI).ln() + law.std.ln();
                ((tau - law.mean) / law.std).square() * -0.5 - constant
            }
            Self::NormalMixture(law) => {
                law.components(tau).1.logsumexp(-1, false) - 0.5 * (2.0 * PI).ln()
            }
            Self::VonMises(law) => {
                let from_top = (tau - law.mean).cos() - 1.0;
                from_top * law.concentration - law.log_turn()
            }
        }
    }

    /// Independent draws in the shape of `like`.
    pub(super) fn sample(&self, like: &Tensor, stream: &mut Stream) -> Tensor {
        let (size, options) = (like.size(), (like.kind(), like.device()));
        match self {
            Self::Normal(law) => stream.normal(&size, options) * law.std + law.mean,
            Self::NormalMixture(law) => {
                let total: f64 = law.weights.iter().sum();
                let ends: Vec<f64> = law
                    .weights
                    .iter()
                    .scan(0.0, |sum, weight| {
                        *sum += weight / total;
                        Some(*sum)
                    })
                    .collect();
                let which = stream
                    .uniform(&size, options)
                    .searchsorted(&row(&ends, options), false, false, "left", None::<Tensor>)
                    .clamp_max(law.means.len() as i64 - 1)
                    .flatten(0, -1);
                let of = |list: &[f64]| row(list, options).index_select(0, &which).view(&size[..]);
                of(&law.means) + of(&law.stds) * stream.normal(&size, options)
            }
            Self::VonMises(law) => law.quantile(&stream.uniform(&size, options)),
        }
    }
}

impl NormalMixture {
    /// Score and log-density (up to `log sqrt(2 pi)`, weight included) of each component, on a new
    /// last axis.
    fn components(&self, tau: &Tensor) -> (Tensor, Tensor) {
        let options = (tau.kind(), tau.device());
        let total: f64 = self.weights.iter().sum();
        let weights: Vec<f64> = self.weights.iter().map(|weight| weight / total).collect();
        let std = row(&self.stds, options);
        let unit = (tau.unsqueeze(-1) - row(&self.means, options)) / &std;
        let log = unit.square() * -0.5 + (row(&weights, options) / &std).log();
        (unit / std * -1.0, log)
    }
}

impl VonMises {
    fn density(&self, angle: f64) -> f64 {
        (self.concentration * (angle.cos() - 1.0)).exp()
    }

    /// `log` of the integral of `exp(concentration (cos - 1))` over one turn. The trapezoidal rule
    /// converges faster than any power for periodic functions.
    fn log_turn(&self) -> f64 {
        let step = 2.0 * PI / NODES as f64;
        (0..NODES).map(|k| self.density(step * k as f64) * step).sum::<f64>().ln()
    }

    /// The angles below which the law has these masses, counted from half a turn before the mean.
    fn quantile(&self, u: &Tensor) -> Tensor {
        let (step, options) = (2.0 * PI / NODES as f64, (u.kind(), u.device()));
        let mut mass = vec![0.0; NODES + 1];
        for k in 0..NODES {
            let (low, high) = (step * k as f64 - PI, step * (k + 1) as f64 - PI);
            mass[k + 1] = mass[k] + 0.5 * step * (self.density(low) + self.density(high));
        }
        let total = mass[NODES];
        let mass: Vec<f64> = mass.into_iter().map(|mass| mass / total).collect();
        // In double precision: neighbouring nodes far out differ by less than a float sees.
        let nodes = row(&mass, (Kind::Double, options.1));
        let u = u.to_kind(Kind::Double);
        let above = u
            .searchsorted(&nodes, false, false, "left", None::<Tensor>)
            .clamp(1, NODES as i64)
            .flatten(0, -1);
        let at = |index: &Tensor| nodes.index_select(0, index).view_as(&u);
        let (low, high) = (at(&(&above - 1)), at(&above));
        let part = ((&u - &low) / (high - &low).clamp_min(1e-300)).clamp(0.0, 1.0);
        let angle = (part + (above - 1).view_as(&u)) * step + (self.mean - PI);
        angle.to_kind(options.0)
    }
}
