//! What the networks of fields share: inputs from a state, the published reparametrisations, masks.

use isotropy_core::{
    Error, KernelLaw, Linearised, ModelContext, Moves, Prediction, PredictionKind, PullBack,
    Result, Scale, ScoreModel, State, TimeDomain, Xi,
};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// What a network sees of a batch of fields. All tensors have the kind and device of the values.
#[derive(Debug)]
pub struct FieldInput {
    /// Index points `[B, N, p]`; zero where there is no point.
    pub index: Tensor,
    /// Values `[B, N, d]` over the value scale; zero where there is no point.
    pub value: Tensor,
    /// `[B, N]`, 1 for points that are there; `None` when all are.
    pub mask: Option<Tensor>,
    /// Time labels `[B]` times the time scale.
    pub time: Tensor,
}

impl FieldInput {
    /// The index points counted from their mean over the points that are there: the same after a translation.
    pub fn centred(&self) -> Tensor {
        let Some(mask) = &self.mask else {
            return &self.index - self.index.mean_dim(1, true, None);
        };
        let weight = mask.unsqueeze(-1);
        let count = weight.sum_dim_intlist(1, true, None).clamp_min(1.0);
        let mean = (&self.index * &weight).sum_dim_intlist(1, true, None) / count;
        (&self.index - mean) * weight
    }
}

/// A network on fields.
pub trait FieldNetwork: Send {
    /// The output `f`, shape of the values. Entries of points that are not there are ignored.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    fn forward(&self, input: &FieldInput) -> Result<Tensor>;

    /// The output with products of vectors and its Jacobian by the values: `[K, B, N, d]` in the shape of the output to
    /// `[K, B, N, d]` in that of [`FieldInput::value`]. `None` where they are left to a graph.
    ///
    /// # Errors
    /// As for [`FieldNetwork::forward`].
    fn linearised(&self, _input: &FieldInput) -> Result<Option<(Tensor, PullBack<'_>)>> {
        Ok(None)
    }
}

/// How the output of a network becomes a prediction: the part of a configuration that all field models have.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// What the network stands for, before a prediction is multiplied by `std`.
    pub predicts: PredictionKind,
    /// `f <- f / (std + 1e-3)`.
    pub std_trick: bool,
    /// `f <- f - (y - m)` with the limiting mean `m`.
    pub residual_trick: bool,
    /// The network sees `y / value_scale`.
    pub value_scale: f64,
    /// The output is multiplied by this before anything else.
    pub output_scale: f64,
    /// The network sees the time label times this.
    pub time_scale: f64,
}

/// Added to `std` by the std trick (geomndp.md 1.3).
const STD_FLOOR: f64 = 1e-3;

/// A network on fields as a score model.
///
/// With `f` the output after the tricks, `f` approximates `K score` ([`PredictionKind::CovarianceScore`]), `L^T score`
/// ([`PredictionKind::PreconditionedScore`]), the score, or the clean values (geomndp.md 1.3). Predictions of the first
/// two are `std f`, by the definition of their kinds.
pub struct FieldModel {
    network: Box<dyn FieldNetwork>,
    head: Head,
    kernel: Arc<dyn KernelLaw>,
    mean: Option<Xi>,
    time: TimeDomain,
    symmetric: bool,
}

impl FieldModel {
    /// Checks shapes and settings, and puts the network behind them. `network` is given the dimensions `p` of the index
    /// and `d` of the values; `symmetric` says whether it has the symmetry that the configuration claims.
    ///
    /// # Errors
    /// `Config` when the states are no fields, or the process has no kernel to take `std` from, or the prediction does
    /// not fit.
    pub fn build(
        context: &ModelContext,
        head: Head,
        network: impl FnOnce(i64, i64) -> Result<(Box<dyn FieldNetwork>, bool)>,
    ) -> Result<Box<dyn ScoreModel>> {
        let process = context.denoised()?;
        let (p, d) = dimensions(context)?;
        head.check()?;
        process.accepts_prediction(head.predicts).map_err(|error| error.under("/predicts"))?;
        if context.xi_shape()?.len() != 1 {
            return Err(Error::config("", "a field has coefficients of one factor, its values"));
        }
        let kernel = process.kernel().filter(|law| law.level(law.time().end).is_some());
        let kernel = kernel.ok_or_else(|| {
            let message = format!("{} has no Gaussian kernel whose std is known", process.name());
            Error::config("", message)
        })?;
        let mean = if head.residual_trick { fixed_mean(context)? } else { None };
        let (network, symmetric) = network(p, d)?;
        let time = process.time().clone();
        Ok(Box::new(Self { network, head, kernel, mean, time, symmetric }))
    }

    fn input(&self, state: &State, t: &Tensor) -> Result<FieldInput> {
        let y = state.x();
        let (kind, device) = state.options();
        let index = state.given("index")?;
        let x = index.tensor.to_device(device).to_kind(kind);
        let x = if index.batched { x } else { x.unsqueeze(0).expand([y.size()[0], -1, -1], false) };
        let mask = state.mask().map(|mask| mask.to_kind(kind));
        // Padding may hold anything, even NaN: products would keep it.
        let clear = |a: &Tensor| match &mask {
            Some(mask) => a.masked_fill(&mask.unsqueeze(-1).lt(0.5), 0.0),
            None => a.shallow_clone(),
        };
        let value = clear(y) * self.head.value_scale.recip();
        let time = self.time.label(t).to_kind(kind) * self.head.time_scale;
        Ok(FieldInput { index: clear(&x), value, mask, time })
    }
}

/// What surrounds the network at a state and times: `f <- factor f - residual (y - m)`, zero at padding.
struct Surroundings {
    /// `[B, 1, 1]`; `None` for 1.
    factor: Option<Tensor>,
    /// The factor, and `y - m`.
    residual: Option<(Scale, Tensor)>,
    /// `[B, N, 1]`, true where there is no point.
    hidden: Option<Tensor>,
}

impl FieldModel {
    fn surroundings(&self, state: &State, t: &Tensor, input: &FieldInput) -> Surroundings {
        let kind = state.options().0;
        // The kernel is asked in the kind of the times, which may have more digits than the values.
        let kernel = self.kernel.tensors(&t.reshape([-1, 1, 1]));
        let std = match &kernel.std[0] {
            Scale::Same(std) => t.full_like(*std).reshape([-1, 1, 1]),
            Scale::Each(std) => std.shallow_clone(),
        }
        .to_kind(kind);
        let scaled = matches!(
            self.head.predicts,
            PredictionKind::CovarianceScore | PredictionKind::PreconditionedScore
        );
        let divisor = &std + STD_FLOOR;
        let factor = match (self.head.std_trick, scaled) {
            (true, true) => Some(&std / divisor),
            (true, false) => Some(divisor.reciprocal()),
            (false, true) => Some(std.shallow_clone()),
            (false, false) => None,
        };
        let factor = match (factor, self.head.output_scale) {
            (factor, 1.0) => factor,
            (Some(factor), scale) => Some(factor * scale),
            (None, scale) => Some(std.full_like(scale)),
        };
        let residual = self.head.residual_trick.then(|| {
            let from_mean = match &self.mean {
                Some(mean) => state.x() - mean.single().to_kind(kind).to_device(state.x().device()),
                None => state.x().shallow_clone(),
            };
            (if scaled { Scale::Each(std) } else { Scale::Same(1.0) }, from_mean)
        });
        let hidden = input.mask.as_ref().map(|mask| mask.unsqueeze(-1).lt(0.5));
        Surroundings { factor, residual, hidden }
    }
}

impl Surroundings {
    fn around(&self, f: &Tensor) -> Tensor {
        let f = match &self.factor {
            Some(factor) => f * factor,
            None => f.shallow_clone(),
        };
        let f = match &self.residual {
            Some((factor, from_mean)) => f - factor.times(from_mean),
            None => f,
        };
        self.shown(&f)
    }

    /// `a` (`[.., B, N, d]`) with zeros at padding.
    fn shown(&self, a: &Tensor) -> Tensor {
        match &self.hidden {
            Some(hidden) => a.masked_fill(hidden, 0.0),
            None => a.shallow_clone(),
        }
    }
}

impl ScoreModel for FieldModel {
    fn predicts(&self) -> PredictionKind {
        self.head.predicts
    }

    fn predict(&self, state: &State, t: &Tensor, _train: bool) -> Result<Prediction> {
        let input = self.input(state, t)?;
        let surroundings = self.surroundings(state, t, &input);
        let f = surroundings.around(&self.network.forward(&input)?);
        Ok(Prediction::one(self.head.predicts, f))
    }

    fn linearised(&self, state: &State, t: &Tensor) -> Result<Option<Linearised<'_>>> {
        tch::no_grad(|| {
            let input = self.input(state, t)?;
            let Some((f, of_network)) = self.network.linearised(&input)? else { return Ok(None) };
            let surroundings = self.surroundings(state, t, &input);
            let prediction = Prediction::one(self.head.predicts, surroundings.around(&f));
            let value_scale = self.head.value_scale.recip();
            let pull_back = move |g: &Tensor| {
                let g = surroundings.shown(g);
                let by_value = match &surroundings.factor {
                    Some(factor) => of_network(&(&g * factor))?,
                    None => of_network(&g)?,
                };
                let by_value = surroundings.shown(&(by_value * value_scale));
                Ok(match &surroundings.residual {
                    Some((factor, _)) => by_value - factor.times(&g),
                    None => by_value,
                })
            };
            Ok(Some(Linearised { prediction, pull_back: Box::new(pull_back) }))
        })
    }

    fn claims_symmetry(&self) -> bool {
        self.symmetric
    }
}

impl Head {
    fn check(&self) -> Result<()> {
        use PredictionKind::{Clean, CovarianceScore, PreconditionedScore, Score};
        if !matches!(self.predicts, CovarianceScore | PreconditionedScore | Score | Clean) {
            return Err(Error::config("/predicts", "a field model does not predict this")
                .with_help("take `covariance-score`, `preconditioned-score`, `score` or `clean`"));
        }
        if self.residual_trick && self.predicts == Clean {
            let message = "`f - y` estimates a score, not the clean values";
            return Err(Error::config("/residual_trick", message)
                .with_help("leave `residual_trick` out, or predict `covariance-score`"));
        }
        require_range("/value_scale", self.value_scale, 1e-12, 1e12)?;
        require_range("/output_scale", self.output_scale, 1e-12, 1e12)?;
        require_range("/time_scale", self.time_scale, 1e-12, 1e12)
    }
}

/// Refuses a number outside `[low, high]`, or NaN.
///
/// # Errors
/// `Config` at the pointer.
pub fn require_range(pointer: &str, number: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&number) {
        return Ok(());
    }
    let message = format!("{number} is out of range: expected a number from {low} to {high}");
    Err(Error::config(pointer, message))
}

/// The dimensions of index points and values, or why the states are no fields.
fn dimensions(context: &ModelContext) -> Result<(i64, i64)> {
    let spec = context.spec;
    let no_field = |why: &str| {
        Error::config("", format!("this model takes fields, and {why}")).with_help(
            "use a dataset of fields: values [B, N, d] with the context field `index` [B, N, p]",
        )
    };
    let value = &spec.value;
    let [_, d] = value.shape[..] else {
        return Err(no_field(&format!("the value has shape {:?}", value.shape)));
    };
    if value.index_axis != Some(1) || !matches!(value.moves, Moves::Scalar | Moves::Vector) {
        return Err(no_field("the value is not a list of scalars or a vector at each index point"));
    }
    let index = spec.given("index").ok_or_else(|| no_field("the states have no `index`"))?;
    match index.shape[..] {
        [_, p] if p >= 1 && d >= 1 => Ok((p, d)),
        _ => Err(no_field(&format!("`index` has shape {:?}", index.shape))),
    }
}

/// The limiting mean if it is the same number for all points and states, one row `[1, 1, d]`; `None` for zero.
fn fixed_mean(context: &ModelContext) -> Result<Option<Xi>> {
    let process = context.denoised()?;
    let state = isotropy_gaussian_processes::claim::probe(context.spec, 2);
    let Some(end) = process.known_end(&state)? else { return Ok(None) };
    let row = end.single().narrow(0, 0, 1).narrow(1, 0, 1);
    if (end.single() - &row).abs().max().double_value(&[]) > 0.0 {
        return Err(Error::config(
            "/residual_trick",
            format!("the limiting mean of {} changes from point to point", process.name()),
        )
        .with_help("use a constant mean, or leave `residual_trick` out"));
    }
    if row.to_kind(Kind::Double).abs().max().double_value(&[]) == 0.0 {
        return Ok(None);
    }
    Ok(Some(row.into()))
}
