//! Noise that moves with the input: with it not only the law of the samples but every single run is
//! equivariant (spdm.md 1.2).
//!
//! A sampler step is `x' = Phi(x, noise)`, and an equivariant model gives `Phi(g x, g noise) = g Phi(x,
//! noise)`. Equal seeds alone do not help: the noise has to be moved, too. A *canonicaliser* `c` picks
//! an element for every input with `c(g y) = g c(y)`; the noise is drawn at the canonical input
//! `c(y)^-1 y` and moved by `c(y)`. That is the same as to canonicalise, sample, and move back. As the
//! action keeps the law of white noise, every run still has the law that it had.
//!
//! For a finite group `c(y)` is the element whose inverse brings the input into its lexicographically
//! largest form: numbers are compared, not computed with, so the choice has no rounding error.
//!
//! **Ties.** An input that some elements leave as it is (a symmetric image) has as many canonical
//! elements, and no choice among them can be equivariant: the first in the order of the group is
//! taken, the run of the moved input is then that of another of them, and only the law is equivariant.
//! [`Canonical::ties`] says where.
//!
//! **Continuous groups.** Their elements cannot be gone through; the action itself says what the pose of an
//! input is ([`ImageInterpolation::pose`]: an angle, a centre of mass), up to the error of its interpolation. A
//! pose that is hardly defined (a nearly round image) turns far for a small error. Interpolated noise is
//! not white any more, so that the law of the samples is not quite what it was;
//! [`ImageInterpolation::noise_action`] says how noise is moved.

use isotropy_core::representation::as_type;
use isotropy_core::{
    Drive, Element, Error, Field, FreshNoise, Moves, Noise, NoiseOperator, NoisingProcess,
    Representation, Result, State, Stream, Xi,
};
use isotropy_images::action::{Canonical, ImageInterpolation};
use tch::{Kind, Tensor};

/// Whether groups move a field, and point by point.
fn moves(field: &Field) -> bool {
    field.batched
        && matches!(field.moves, Moves::Point | Moves::Vector | Moves::Image | Moves::Frame)
}

/// Whether a state is told where it is: some context field moves with the symmetry (the other end of
/// a bridge, an image to start from). Then the context is the input, else the value.
fn has_moving_context(state: &State) -> bool {
    state.context.iter().any(|(_, field)| moves(field))
}

/// The numbers by which points are compared, `[B, n]`.
fn key(state: &State) -> Tensor {
    let flat = |field: &Field| field.tensor.flatten(1, -1).to_kind(Kind::Double);
    if !has_moving_context(state) {
        return flat(&state.value);
    }
    let fields = state.context.iter().filter(|(_, field)| moves(field));
    Tensor::cat(&fields.map(|(_, field)| flat(field)).collect::<Vec<_>>(), 1)
}

/// The canonical element of every point of a batch. The input of a point is the part of its context that moves;
/// where there is none, its value. Of several fields that move a continuous group looks at the first.
///
/// # Errors
/// When the group is not finite and its action knows no pose, or a field cannot be moved.
pub fn canonical(symmetry: &dyn Representation, state: &State) -> Result<Canonical> {
    let group = symmetry.group();
    let Some(finite) = group.finite() else {
        let first = state.context.iter().map(|(_, field)| field).find(|field| moves(field));
        let input = State::new(first.unwrap_or(&state.value).clone());
        let Some(posed) = as_type::<ImageInterpolation>(symmetry) else {
            return Err(Error::Unsupported(format!(
                "noise is coupled through the elements of a finite group or a pose of the input; {} has infinitely \
                 many elements, and {} knows no pose",
                group.name(),
                symmetry.name()
            )));
        };
        return posed.pose(&input);
    };
    let (batch, device) = (state.batch_size(), state.x().device());
    // What does not move has no say and need not be copied.
    let bare = State { lift: Vec::new(), context: Vec::new(), ..state.clone() };
    let bare = state
        .context
        .iter()
        .filter(|(_, field)| moves(field))
        .fold(bare, |bare, (name, field)| bare.with_context(name, field.clone()));
    let elements = finite.elements(device);
    let mut best = key(&bare);
    let mut index = Tensor::zeros([batch], (Kind::Int64, device));
    let mut ties = index.ones_like();
    for k in 1..finite.order() {
        let rows = Tensor::full([batch], k, (Kind::Int64, device));
        let g = Element(elements.0.iter().map(|all| all.index_select(0, &rows)).collect());
        let other = key(&symmetry.act(&group.inverse(&g), &bare)?);
        let difference = &other - &best;
        // The first number in which they differ decides.
        let first = difference.ne(0.0).to_kind(Kind::Uint8).argmax(1, true);
        let decides = difference.gather(1, &first, false).squeeze_dim(1);
        let better = decides.gt(0.0);
        let equal = decides.eq(0.0).to_kind(Kind::Int64);
        ties = ties.ones_like().where_self(&better, &(ties + equal));
        index = rows.where_self(&better, &index);
        best = other.where_self(&better.unsqueeze(1), &best);
    }
    let element = Element(elements.0.iter().map(|all| all.index_select(0, &index)).collect());
    Ok(Canonical { element, ties })
}

/// Noise of a run's streams, moved with the input by its canonical element.
pub struct CoupledNoise<'a> {
    inner: FreshNoise,
    symmetry: &'a dyn Representation,
    canonical: Element,
    inverse: Element,
}

impl<'a> CoupledNoise<'a> {
    /// Couples `inner` to the state from which a run starts.
    ///
    /// # Errors
    /// As for [`canonical`].
    pub fn new(inner: FreshNoise, symmetry: &'a dyn Representation, start: &State) -> Result<Self> {
        let canonical = canonical(symmetry, start)?.element;
        let inverse = symmetry.group().inverse(&canonical);
        Ok(Self { inner, symmetry, canonical, inverse })
    }
}

impl Noise for CoupledNoise<'_> {
    fn draw(
        &mut self,
        index: u64,
        state: &State,
        like: &Xi,
        noise: &[NoiseOperator],
        drive: &dyn Drive,
    ) -> Result<Xi> {
        if noise.iter().any(|noise| matches!(noise, NoiseOperator::Coloured { .. })) {
            return Err(Error::Unsupported(
                "the colour of noise belongs to the state as it is, and coupled noise is drawn at \
                 its canonical form; draw fresh noise"
                    .into(),
            ));
        }
        let home = self.symmetry.act(&self.inverse, state)?;
        let xi = self.inner.draw(index, &home, like, noise, drive)?;
        drive.transport(noise_action(self.symmetry), &self.canonical, &home, &xi)
    }
}

/// The action that moves noise.
fn noise_action(symmetry: &dyn Representation) -> &dyn Representation {
    as_type::<ImageInterpolation>(symmetry).and_then(|s| s.noise_action()).unwrap_or(symmetry)
}

/// A draw from the prior that moves with the input, where the context says what the input is;
/// otherwise the draw itself is the input. A prior without a density (a bridge starts at its other end) moves by
/// itself, and is not interpolated to and fro.
///
/// # Errors
/// As for [`canonical`] and [`NoisingProcess::prior`].
pub fn prior(
    process: &dyn NoisingProcess,
    symmetry: &dyn Representation,
    template: &State,
    stream: &mut Stream,
) -> Result<State> {
    if !has_moving_context(template) {
        return process.prior(template, stream);
    }
    if symmetry.group().finite().is_none() {
        let here = process.prior(template, stream)?;
        if process.prior_log_prob(&here)?.is_none() {
            return Ok(here);
        }
        let canonical = canonical(symmetry, template)?.element;
        let home = symmetry.act(&symmetry.group().inverse(&canonical), template)?;
        return noise_action(symmetry).act(&canonical, &process.prior(&home, stream)?);
    }
    let canonical = canonical(symmetry, template)?.element;
    let home = symmetry.act(&symmetry.group().inverse(&canonical), template)?;
    symmetry.act(&canonical, &process.prior(&home, stream)?)
}
