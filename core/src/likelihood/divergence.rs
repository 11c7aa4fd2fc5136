//! The divergence of the probability flow, by reverse-mode differentiation through the flow of the
//! drive.
//!
//! The velocity is `V = sum_i v_i Pi_i` with coefficients `v_i(x)`, and its divergence with respect
//! to the drive's base measure is `sum_i (L_i v_i + v_i div Pi_i)`. The derivative of `v_i` along
//! `Pi_i` is that of `v_i(flow(x, u))` with respect to `u_i` at `u = 0`, which needs no coordinates
//! and no matrix of the frame: it serves every drive. Directions that the stabiliser makes
//! invisible add nothing, because `flow` does not move the point along them.
//!
//! In flow coordinates `v_i div Pi_i` is the derivative of `log |det Pi|` along the flow. It is
//! left out of the integral there (it is singular at poles, which unwrapped angles cross) and taken
//! at both ends.

use crate::integrate::runge_kutta::{Slope, Volume};
use crate::{Drive, Error, Result, State, Stream, Xi};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// How the divergence is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Divergence {
    /// The whole trace: one backward pass for each coefficient.
    #[default]
    Exact,
    /// Hutchinson's estimate with random signs: `mean of p^T J p` over `probes` vectors `p` of
    /// signs. Unbiased for the logarithm of the density; one backward pass for each probe.
    Hutchinson,
    /// Hutchinson's estimate with normal probes.
    HutchinsonNormal,
}

/// The vectors that the Jacobian is tried on, with the weight of each.
pub(super) struct Probes {
    vectors: Vec<Xi>,
    weight: f64,
}

impl Probes {
    /// Probes for coefficients shaped as `like`; estimates draw `count` of them, the same for a
    /// whole integration, so that the integrand is smooth.
    pub(super) fn new(
        kind: Divergence,
        like: &Xi,
        count: u32,
        stream: &mut Stream,
    ) -> Result<Self> {
        if kind == Divergence::Exact {
            return Ok(Self { vectors: basis(like), weight: 1.0 });
        }
        if count == 0 {
            return Err(Error::config("/probes", "an estimate needs at least one probe"));
        }
        let draw = |stream: &mut Stream| {
            like.map(|a| {
                let options = (a.kind(), a.device());
                if kind == Divergence::HutchinsonNormal {
                    stream.normal(&a.size(), options)
                } else {
                    stream.uniform(&a.size(), options).ge(0.5).to_kind(a.kind()) * 2.0 - 1.0
                }
            })
        };
        let vectors = (0..count).map(|_| draw(stream)).collect();
        Ok(Self { vectors, weight: f64::from(count).recip() })
    }
}

/// Every unit vector of the coefficients, the same for all points.
fn basis(like: &Xi) -> Vec<Xi> {
    let mut vectors = Vec::new();
    for (k, factor) in like.0.iter().enumerate() {
        let batch = factor.size()[0];
        for index in 0..factor.size()[1..].iter().product::<i64>() {
            let unit = like.zeros_like();
            let _ = unit.0[k].view([batch, -1]).select(1, index).fill_(1.0);
            vectors.push(unit);
        }
    }
    vectors
}

/// Zeros shaped as the coefficients at a state.
pub(super) fn no_motion(drive: &dyn Drive, state: &State) -> Xi {
    let zeros = |shape: Vec<i64>| {
        let size: Vec<i64> = std::iter::once(state.batch_size()).chain(shape).collect();
        Tensor::zeros(size, state.options())
    };
    Xi(drive.xi_shape(&state.spec()).into_iter().map(zeros).collect())
}

/// The velocity at a state with its divergence. `velocity` must be differentiable.
pub(super) fn with_divergence(
    drive: &dyn Drive,
    state: &State,
    probes: &Probes,
    velocity: &mut dyn FnMut(&State) -> Result<Xi>,
) -> Result<Slope> {
    tch::with_grad(|| {
        let state = state.map_batched(Tensor::detach);
        let u = no_motion(drive, &state).map(|a| a.set_requires_grad(true));
        let v = velocity(&drive.flow(&state, &u))?;
        let mut trace = Tensor::zeros([state.batch_size()], state.options());
        let differentiable = v.0.iter().any(Tensor::requires_grad);
        for (k, probe) in probes.vectors.iter().enumerate() {
            if !differentiable {
                break;
            }
            let along = v.zip(probe, |v, p| (v * p).sum(v.kind()));
            let along = along.0.into_iter().reduce(|a, b| a + b).expect("a group has a factor");
            let keep = k + 1 < probes.vectors.len();
            let inputs: Vec<&Tensor> = u.0.iter().collect();
            let gradients = Tensor::f_run_backward(&[along], &inputs, keep, false)?;
            for (gradient, probe) in gradients.iter().zip(&probe.0) {
                if gradient.defined() {
                    trace += (gradient * probe).flatten(1, -1).sum_dim_intlist(1, false, None);
                }
            }
        }
        let v = v.map(Tensor::detach);
        let mut volume = trace * probes.weight;
        if drive.coordinates().is_none() {
            for (v, divergence) in v.0.iter().zip(&drive.divergences(&state).0) {
                volume += (v * divergence).flatten(1, -1).sum_dim_intlist(1, false, None);
            }
        }
        Ok(Slope { xi: v, volume: Some(Volume(volume)) })
    })
}
