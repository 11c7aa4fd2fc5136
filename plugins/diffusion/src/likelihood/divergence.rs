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
//!
//! A backward pass gives `p^T J` for one vector `p` a row of the batch. Several vectors are tried in
//! one pass by evaluating the model on as many copies of the batch: for small batches a pass costs
//! what its number of operations costs, whatever the number of rows. A model that has products of
//! vectors with its Jacobian ([`ScoreModel::linearised`](isotropy_core::ScoreModel::linearised)) is evaluated
//! once for all vectors, and copies are made only of what surrounds it.

use crate::integrate::runge_kutta::{Slope, Volume};
use isotropy_core::{Drive, Error, Linearised, Prediction, Result, State, Stream, Xi, config};
use std::cell::OnceCell;
use tch::{Kind, Tensor};

/// How the divergence is found.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Divergence {
    /// The whole trace: one vector-Jacobian product for each coefficient.
    #[default]
    Exact,
    /// Hutchinson's estimate with random signs: `mean of p^T J p` over `probes` vectors `p` of
    /// signs. Unbiased for the logarithm of the density; one vector-Jacobian product for each probe.
    Hutchinson,
    /// Hutchinson's estimate with normal probes.
    HutchinsonNormal,
}

/// Points of the index set (rows, where a state has none) that are evaluated at once unless a
/// configuration says: below it a pass of a small network costs what its operations cost to start,
/// above it the copies cost more in the forward pass than they save in the backward ones.
const POINTS_AT_ONCE: i64 = 256;

/// The same where the model is evaluated once: bounds what a pass holds in memory.
const SHARED_POINTS_AT_ONCE: i64 = 1024;

/// The vectors that the Jacobian is tried on.
pub(super) struct Probes {
    vectors: Vectors,
    /// The number of vectors.
    count: i64,
    /// Factor of the sum over vectors.
    weight: f64,
    /// The mask of each factor that belongs to the index set, broadcasting against it.
    masks: Vec<Option<Tensor>>,
    /// Passes over copies of the batch through the model.
    copied: Pass,
    /// Passes that share one evaluation of the model.
    shared: Pass,
}

/// Vectors that are tried together.
struct Pass {
    at_once: i64,
    /// The context of as many copies of the batch; it stays what it was, so that a process can keep what it found out
    /// about it.
    context: OnceCell<State>,
}

impl Pass {
    /// For `count` vectors and states of so many points in all.
    fn new(count: i64, points: i64, at_once: Option<u32>, points_at_once: i64) -> Self {
        let at_once = at_once.map_or(points_at_once / points.max(1), i64::from);
        let at_once = at_once.clamp(1, i64::max(count, 1));
        // As many passes as that takes, all of them equally full.
        let passes = (count + at_once - 1) / at_once;
        let at_once = (count + passes - 1) / i64::max(passes, 1);
        Self { at_once: i64::max(at_once, 1), context: OnceCell::new() }
    }

    /// As many copies of a state as there are vectors in a pass.
    fn copies(&self, state: &State) -> State {
        if self.at_once == 1 {
            return state.clone();
        }
        let repeat = |tensor: &Tensor| repeated(tensor, self.at_once);
        let context = self.context.get_or_init(|| state.map_batched(repeat));
        let mut state = state.clone();
        state.value.tensor = repeat(state.x());
        for (_, field) in &mut state.lift {
            if field.batched {
                field.tensor = repeat(&field.tensor);
            }
        }
        state.context.clone_from(&context.context);
        state
    }
}

enum Vectors {
    /// Every unit vector, made when it is needed.
    Basis(Xi),
    /// `[count, B, ..]`.
    Drawn(Xi),
}

impl Probes {
    /// Probes for coefficients at a (lifted) state. Estimates draw `count` of them, the same for a
    /// whole integration, so that the integrand is smooth; padded points are left out. `at_once`
    /// vectors are tried in one pass, or as many as a state of this size allows.
    pub(super) fn new(
        kind: Divergence,
        drive: &dyn Drive,
        state: &State,
        count: u32,
        at_once: Option<u32>,
        stream: &mut Stream,
    ) -> Result<Self> {
        let like = drive.zeros(state);
        if kind == Divergence::Exact {
            return Ok(Self::over(Vectors::Basis(like), state, at_once));
        }
        if count == 0 {
            return Err(Error::config("/probes", "an estimate needs at least one probe"));
        }
        let drawn = like.map(|a| {
            let options = (a.kind(), a.device());
            let size: Vec<i64> = std::iter::once(i64::from(count)).chain(a.size()).collect();
            if kind == Divergence::HutchinsonNormal {
                stream.normal(&size, options)
            } else {
                stream.uniform(&size, options).ge(0.5).to_kind(a.kind()) * 2.0 - 1.0
            }
        });
        Ok(Self::over(Vectors::Drawn(drawn), state, at_once))
    }

    fn over(vectors: Vectors, state: &State, at_once: Option<u32>) -> Self {
        let (like, count, weight) = match &vectors {
            Vectors::Basis(like) => {
                let size = |a: &Tensor| a.size()[1..].iter().product::<i64>();
                (like.clone(), like.0.iter().map(size).sum(), 1.0)
            }
            Vectors::Drawn(drawn) => {
                let count = drawn.0[0].size()[0];
                (drawn.map(|a| a.get(0)), count, (count as f64).recip())
            }
        };
        let points = state.batch_size() * state.index_size().unwrap_or(1);
        let masks = like.0.iter().map(|a| mask_of(state, a)).collect();
        let copied = Pass::new(count, points, at_once, POINTS_AT_ONCE);
        let shared = Pass::new(count, points, at_once, SHARED_POINTS_AT_ONCE);
        Self { vectors, count, weight, masks, copied, shared }
    }

    /// The probes of a part of the index set: the same numbers at the same points.
    ///
    /// # Errors
    /// When a factor does not belong to the index set.
    pub(super) fn narrowed(
        &self,
        drive: &dyn Drive,
        part: &State,
        start: i64,
        at_once: Option<u32>,
    ) -> Result<Self> {
        let vectors = match &self.vectors {
            Vectors::Basis(_) => Vectors::Basis(drive.zeros(part)),
            Vectors::Drawn(drawn) => {
                let axis = part.value.index_axis.ok_or_else(no_index_set)?;
                let points = part.index_size().ok_or_else(no_index_set)?;
                let like = drive.zeros(part);
                let narrow = |(all, like): (&Tensor, &Tensor)| {
                    let found = like.size().get(axis).copied();
                    if found != Some(points) {
                        return Err(no_index_set());
                    }
                    Ok(all.narrow(axis as i64 + 1, start, points))
                };
                let parts = drawn.0.iter().zip(&like.0).map(narrow);
                Vectors::Drawn(Xi(parts.collect::<Result<_>>()?))
            }
        };
        Ok(Self::over(vectors, part, at_once))
    }

    /// The vectors of every pass for the copies of the batch, one after the other (`[at_once * B, ..]`); zero beyond
    /// the last.
    fn chunks<'a>(&'a self, pass: &'a Pass) -> impl Iterator<Item = Xi> + 'a {
        let starts = (0..self.count).step_by(pass.at_once as usize);
        starts.map(|from| self.chunk(from, pass.at_once))
    }

    fn chunk(&self, from: i64, at_once: i64) -> Xi {
        let take = at_once.min(self.count - from);
        let rows = |a: Tensor| {
            let size = a.size();
            let missing = at_once - size[0];
            let a = if missing > 0 {
                let mut zeros = size.clone();
                zeros[0] = missing;
                Tensor::cat(&[&a, &a.new_zeros(&zeros, (a.kind(), a.device()))], 0)
            } else {
                a
            };
            a.flatten(0, 1)
        };
        let parts = match &self.vectors {
            Vectors::Drawn(drawn) => drawn.map(|a| rows(a.narrow(0, from, take))),
            Vectors::Basis(like) => {
                let mut first = 0;
                like.map(|a| {
                    let (size, options) = (a.size(), (a.kind(), a.device()));
                    let components: i64 = size[1..].iter().product();
                    // Vector `k` of all is the component `k - first` of this factor, if it is one.
                    let k = Tensor::arange_start(from, from + take, (Kind::Int64, a.device()));
                    let own = Tensor::arange(components, (Kind::Int64, a.device())) + first;
                    first += components;
                    let hot = k.unsqueeze(1).eq_tensor(&own.unsqueeze(0)).to_kind(options.0);
                    let hot = hot.unsqueeze(1).expand([take, size[0], components], false);
                    let shape: Vec<i64> =
                        [take, size[0]].into_iter().chain(size[1..].iter().copied()).collect();
                    rows(hot.reshape(&shape))
                })
            }
        };
        Xi(parts.0.iter().zip(&self.masks).map(|(a, mask)| masked(a, mask.as_ref())).collect())
    }
}

fn no_index_set() -> Error {
    Error::Unsupported(
        "the likelihood given known values needs coefficients along the index set of the value"
            .into(),
    )
}

/// The mask of the state in a shape that broadcasts against coefficients `[B, N, ..]` and, in the
/// copies of a batch, against `[copies * B, N, ..]` viewed as such.
pub(super) fn mask_of(state: &State, coefficients: &Tensor) -> Option<Tensor> {
    let (mask, mut shape) = (state.mask()?, coefficients.size());
    if shape.len() < 2 || shape[..2] != mask.size()[..] {
        return None;
    }
    shape[2..].fill(1);
    Some(mask.to_kind(coefficients.kind()).reshape(shape.as_slice()))
}

/// Coefficients `[copies * B, ..]` with padded points at zero.
fn masked(a: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let Some(mask) = mask else { return a.shallow_clone() };
    let (size, batch) = (a.size(), mask.size()[0]);
    let mut split = vec![size[0] / batch, batch];
    split.extend(&size[1..]);
    (a.reshape(split.as_slice()) * mask.unsqueeze(0)).reshape(size.as_slice())
}

fn repeated(tensor: &Tensor, copies: i64) -> Tensor {
    let mut times = vec![1; tensor.dim()];
    times[0] = copies;
    tensor.repeat(&times)
}

/// The velocity of the flow, in two parts.
pub(super) trait Velocity {
    /// The prediction that it is made of.
    fn predict(&self, state: &State) -> Result<Prediction>;

    /// The same with products of vectors and its Jacobian, where the model has them.
    fn linearised(&self, state: &State) -> Result<Option<Linearised<'_>>>;

    /// The velocity that a prediction gives.
    fn of(&self, state: &State, prediction: &Prediction) -> Result<Xi>;
}

/// The velocity at a state with its divergence; all of it must be differentiable. Padded points do not
/// move.
pub(super) fn with_divergence(
    drive: &dyn Drive,
    state: &State,
    probes: &Probes,
    velocity: &dyn Velocity,
) -> Result<Slope> {
    let state = state.map_batched(Tensor::detach);
    let (v, trace) = match tch::no_grad(|| velocity.linearised(&state))? {
        Some(linearised) => shared(drive, &state, probes, velocity, &linearised)?,
        None => copied(drive, &state, probes, velocity)?,
    };
    let pairs = v.0.iter().zip(&probes.masks);
    let v = Xi(pairs.map(|(v, mask)| masked(v, mask.as_ref())).collect());
    let mut volume = trace * probes.weight;
    if drive.coordinates().is_none() {
        for (v, divergence) in v.0.iter().zip(&drive.divergences(&state).0) {
            volume += (v * divergence).flatten(1, -1).sum_dim_intlist(1, false, None);
        }
    }
    Ok(Slope { xi: v, volume: Some(Volume(volume)) })
}

/// `sum_i v_i p_i` over everything: its derivatives are products of `p` with the Jacobian of `v`.
fn along(v: &Xi, p: &Xi) -> Tensor {
    let along = v.zip(p, |v, p| (v * p).sum(v.kind()));
    along.0.into_iter().reduce(|a, b| a + b).expect("a group has a factor")
}

/// Adds the sum of `g p` over each point's coefficients and over the copies of it (`[copies * B, ..]`) to `trace` (`[B]`).
fn add_products(trace: &mut Tensor, gradients: &[Tensor], vectors: &Xi) {
    let batch = trace.size()[0];
    for (gradient, vector) in gradients.iter().zip(&vectors.0) {
        if gradient.defined() {
            let rows = (gradient * vector).flatten(1, -1).sum_dim_intlist(1, false, None);
            *trace += rows.view([-1, batch]).sum_dim_intlist(0, false, None);
        }
    }
}

/// The velocity, and the sum of `p^T J p` over all vectors, through copies of the batch.
fn copied(
    drive: &dyn Drive,
    state: &State,
    probes: &Probes,
    velocity: &dyn Velocity,
) -> Result<(Xi, Tensor)> {
    tch::with_grad(|| {
        let pass = &probes.copied;
        let copies = pass.copies(state);
        let u = drive.zeros(&copies).map(|a| a.set_requires_grad(true));
        let moved = drive.flow(&copies, &u);
        let all = velocity.of(&moved, &velocity.predict(&moved)?)?;
        let batch = state.batch_size();
        let mut trace = Tensor::zeros([batch], state.options());
        if all.0.iter().any(Tensor::requires_grad) {
            let inputs: Vec<&Tensor> = u.0.iter().collect();
            let mut chunks = probes.chunks(pass).peekable();
            while let Some(vectors) = chunks.next() {
                let again = chunks.peek().is_some();
                let along = along(&all, &vectors);
                let gradients = Tensor::f_run_backward(&[along], &inputs, again, false)?;
                add_products(&mut trace, &gradients, &vectors);
            }
        }
        Ok((all.map(|v| v.detach().narrow(0, 0, batch)), trace))
    })
}

/// The same with one evaluation of the model: the velocity is `V(x, f(x))` with the prediction `f`, so `p^T J = p^T
/// dV/dx + (p^T dV/df) df/dx`, and only what surrounds the model is differentiated by a graph.
fn shared(
    drive: &dyn Drive,
    state: &State,
    probes: &Probes,
    velocity: &dyn Velocity,
    linearised: &Linearised,
) -> Result<(Xi, Tensor)> {
    let (pass, batch) = (&probes.shared, state.batch_size());
    let Linearised { prediction, pull_back } = linearised;
    let v = tch::no_grad(|| velocity.of(state, prediction))?;
    let mut trace = Tensor::zeros([batch], state.options());
    let split = |a: &Tensor| {
        let mut size = a.size();
        size.splice(0..1, [pass.at_once, batch]);
        a.reshape(size.as_slice())
    };
    let copies = pass.copies(state);
    let head = repeated(prediction.heads[0].single(), pass.at_once);
    for vectors in probes.chunks(pass) {
        tch::with_grad(|| -> Result<()> {
            let u = drive.zeros(&copies).map(|a| a.set_requires_grad(true));
            let head = head.detach().set_requires_grad(true);
            let moved = drive.flow(&copies, &u);
            let prediction = Prediction::one(prediction.kind, head.shallow_clone());
            let along = along(&velocity.of(&moved, &prediction)?, &vectors);
            if !along.requires_grad() {
                return Ok(());
            }
            let inputs: Vec<&Tensor> = std::iter::once(&head).chain(&u.0).collect();
            let mut gradients = Tensor::f_run_backward(&[along], &inputs, true, false)?;
            let by_head = gradients.remove(0);
            add_products(&mut trace, &gradients, &vectors);
            if by_head.defined() {
                let by_value = tch::no_grad(|| pull_back(&split(&by_head)))?.flatten(0, 1);
                let along = (moved.x() * by_value).sum(by_head.kind());
                let gradients = Tensor::f_run_backward(&[along], &inputs[1..], false, false)?;
                add_products(&mut trace, &gradients, &vectors);
            }
            Ok(())
        })?;
    }
    Ok((v, trace))
}
