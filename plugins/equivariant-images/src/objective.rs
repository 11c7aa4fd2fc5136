//! What is added to a loss: the regulariser of spdm.md 1.3 (d), and the pass of self-conditioning.

use isotropy_core::{
    Averages, Element, Error, Loss, LossContext, NoisingProcess, Objective, ObjectiveConfig,
    Prediction, PredictionKind, Representation, RepresentationConfig, Result, ScoreModel, State,
    Streams, Xi, component, config,
};
use isotropy_diffusion::estimate::{beside, clean, estimable};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use tch::Tensor;

/// Another objective, as a mean over coefficients, with the regulariser `+Reg` and with self-conditioning.
#[config]
pub struct RegularisedConfig {
    /// The loss itself.
    pub inner: Box<dyn ObjectiveConfig>,
    /// Whether the inner loss, a sum over coefficients, is divided by their number: the mean over pixels
    /// and channels of the published loss. The weight of the regulariser refers to it, and so do
    /// optimisers whose first steps are not adaptive (RAdam) and clipping.
    #[serde(default = "yes")]
    pub mean: bool,
    /// The regulariser; null for none.
    #[serde(default)]
    pub regulariser: Option<RegulariserConfig>,
    /// Self-conditioning; null for none.
    #[serde(default)]
    pub self_conditioning: Option<SelfConditioning>,
}

/// `weight mean_(CHW) (F(x) - g^-1 F'(g x))^2`, averaged over the batch: `F` is the output of the network
/// (inside a preconditioner), `F'` that of a target without gradient, and `g` an element for each
/// image, uniform over the group (by default without the identity).
#[config]
pub struct RegulariserConfig {
    /// The action of a finite group; value and context of a state move together.
    pub symmetry: Box<dyn RepresentationConfig>,
    /// Factor of the regulariser; no unit, positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-9, max = 1e9))]
    pub weight: f64,
    /// Rate of the average that the target is, one of `train.ema` (published: 0.95 for images, 0.9999
    /// for bridges); null for the present weights.
    #[serde(default)]
    pub target: Option<f64>,
    /// Standard deviation of normal noise that is added to the target, in its unit (published for bridges:
    /// 0.1).
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1e6))]
    pub target_noise: f64,
    /// Whether the identity is drawn too (published for D_4).
    #[serde(default)]
    pub identity: bool,
}

/// Self-conditioning while training: for a part of the batches the model is asked once without
/// gradient, and its estimate of the clean image is put beside the state; the other batches see none.
#[config]
#[derive(Clone, Copy)]
pub struct SelfConditioning {
    /// Part of the batches that see an estimate; in [0, 1].
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

fn half() -> f64 {
    0.5
}

#[component(
    "regularised",
    "an objective with the equivariance regulariser and self-conditioning",
    r#"{"type": "regularised", "inner": {"type": "denoising"}, "regulariser": {"symmetry": {"type": "image-permutation", "group": "quarter-turns"}, "target": 0.95}}"#
)]
impl ObjectiveConfig for RegularisedConfig {
    fn build(&self) -> Result<Box<dyn Objective>> {
        let inner = self.inner.build().map_err(|error| error.under("/inner"))?;
        let regulariser = match &self.regulariser {
            None => None,
            Some(config) => {
                Some(Regulariser::new(config).map_err(|error| error.under("/regulariser"))?)
            }
        };
        if let Some(p) = self.self_conditioning.map(|s| s.probability)
            && !(0.0..=1.0).contains(&p)
        {
            let message = format!("{p} is no probability");
            return Err(Error::config("/self_conditioning/probability", message));
        }
        Ok(Box::new(Regularised {
            inner,
            mean: self.mean,
            regulariser,
            self_conditioning: self.self_conditioning,
        }))
    }
}

#[derive(Debug)]
struct Regulariser {
    symmetry: Arc<dyn Representation>,
    order: i64,
    weight: f64,
    target: Option<f64>,
    target_noise: f64,
    first: i64,
}

impl Regulariser {
    fn new(config: &RegulariserConfig) -> Result<Self> {
        let symmetry = config.symmetry.build().map_err(|error| error.under("/symmetry"))?;
        let order = symmetry.group().finite().map(|group| group.order()).ok_or_else(|| {
            let message = format!("{} is no finite group", symmetry.group().name());
            Error::config("/symmetry", message)
        })?;
        let first = i64::from(!config.identity);
        if first >= order {
            return Err(Error::config("/symmetry", "the group has no element but the identity"));
        }
        if config.weight.is_nan() || config.weight <= 0.0 || config.weight.is_infinite() {
            return Err(Error::config("/weight", "the weight must be a positive number"));
        }
        if config.target_noise.is_nan()
            || config.target_noise < 0.0
            || config.target_noise.is_infinite()
        {
            return Err(Error::config("/target_noise", "the noise must not be negative"));
        }
        Ok(Self {
            symmetry,
            order,
            weight: config.weight,
            target: config.target,
            target_noise: config.target_noise,
            first,
        })
    }

    /// One element for each image of a batch.
    fn draw(&self, state: &State, streams: &Streams, step: u64) -> Element {
        let mut stream = streams.stream("regulariser", step);
        let device = state.x().device();
        let drawn = stream.integers(self.order - self.first, &[state.batch_size()], device);
        Element::from(drawn + self.first)
    }
}

/// `g^-1 F(g x)`, head by head: what an equivariant model would say at `x`.
///
/// # Errors
/// When the drive knows no transport under this symmetry, or the model fails.
pub fn turned_back(
    process: &dyn NoisingProcess,
    symmetry: &dyn Representation,
    g: &Element,
    state: &State,
    predict: impl FnOnce(&State) -> Result<Vec<Xi>>,
) -> Result<Vec<Xi>> {
    let moved = symmetry.act(g, state)?;
    let heads = predict(&moved)?;
    let back = symmetry.group().inverse(g);
    let fields = process.fields();
    heads.iter().map(|head| fields.transport(symmetry, &back, &moved, head)).collect()
}

/// `mean_(CHW) (a - b)^2`, `[B]`: over all coefficients of all heads, each divided by `scale` first.
pub fn mean_square(a: &[Xi], b: &[Xi], scale: Option<&Xi>) -> Tensor {
    let mut count = 0;
    let mut sum: Option<Tensor> = None;
    for (a, b) in a.iter().zip(b) {
        for (k, (a, b)) in a.0.iter().zip(&b.0).enumerate() {
            let difference = a - b;
            let difference = match scale {
                Some(scale) => difference / scale.factor(k),
                None => difference,
            };
            let flat = difference.flatten(1, -1);
            count += flat.size()[1];
            let squares = flat.square().sum_dim_intlist(1, false, None);
            sum = Some(match sum {
                Some(sum) => sum + squares,
                None => squares,
            });
        }
    }
    sum.expect("a prediction has at least one factor") / count as f64
}

#[derive(Debug)]
struct Regularised {
    inner: Box<dyn Objective>,
    mean: bool,
    regulariser: Option<Regulariser>,
    self_conditioning: Option<SelfConditioning>,
}

/// Averages where there are none: outside a run.
struct NoAverages;

impl Averages for NoAverages {
    fn with(&self, rate: f64, _f: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        Err(Error::Unsupported(format!("no average of rate {rate} is kept here")))
    }
}

impl Objective for Regularised {
    fn accepts(&self, process: Option<&dyn NoisingProcess>, model: &dyn ScoreModel) -> Result<()> {
        self.inner.accepts(process, model).map_err(|error| error.under("/inner"))?;
        match (&self.self_conditioning, process) {
            (Some(_), Some(process)) => estimable(process, model.predicts())
                .map_err(|error| error.under("/self_conditioning")),
            _ => Ok(()),
        }
    }

    fn inner(&self) -> Option<&dyn Objective> {
        Some(self.inner.as_ref())
    }

    fn averages(&self) -> Vec<f64> {
        let ours = self.regulariser.iter().filter_map(|regulariser| regulariser.target);
        ours.chain(self.inner.averages()).collect()
    }

    fn loss(&self, model: &dyn ScoreModel, batch: &State, context: &LossContext) -> Result<Loss> {
        self.loss_with(model, batch, context, &NoAverages)
    }

    fn loss_with(
        &self,
        model: &dyn ScoreModel,
        batch: &State,
        context: &LossContext,
        averages: &dyn Averages,
    ) -> Result<Loss> {
        let process = context.process.ok_or_else(|| Error::Other("no process".into()))?;
        let watching = Watching {
            model,
            process,
            objective: self,
            context,
            averages,
            penalty: RefCell::default(),
            coefficients: Cell::new(1),
        };
        let mut loss = self.inner.loss_with(&watching, batch, context, averages)?;
        if self.mean {
            let share = 1.0 / watching.coefficients.get() as f64;
            loss.total = &loss.total * share;
            loss.parts.iter_mut().for_each(|(_, part)| *part = &*part * share);
        }
        if let (Some(regulariser), Some(penalty)) =
            (&self.regulariser, watching.penalty.into_inner())
        {
            loss.parts.push(("denoising".into(), loss.total.detach()));
            loss.parts.push(("regulariser".into(), penalty.detach()));
            // Not in place: the part just kept shares the memory of the sum.
            loss.total = &loss.total + penalty * regulariser.weight;
        }
        Ok(loss)
    }
}

/// The model as the inner objective sees it: with an estimate beside the state, and the regulariser
/// measured on the way. One evaluation with gradients serves both.
struct Watching<'a> {
    model: &'a dyn ScoreModel,
    process: &'a dyn NoisingProcess,
    objective: &'a Regularised,
    context: &'a LossContext<'a>,
    averages: &'a dyn Averages,
    penalty: RefCell<Option<Tensor>>,
    /// Coefficients of one point, over all heads.
    coefficients: Cell<i64>,
}

impl Watching<'_> {
    /// The state with the model's own estimate beside it, for a part of the batches.
    fn conditioned(&self, state: &State, t: &Tensor, train: bool) -> Result<State> {
        let Some(SelfConditioning { probability }) = self.objective.self_conditioning else {
            return Ok(state.clone());
        };
        let mut stream = self.context.streams.stream("self-conditioning", self.context.step);
        // A number of the host, so that nothing is read back.
        let u = stream.seed() as f64 / u64::MAX as f64;
        if u >= probability {
            return Ok(state.clone());
        }
        let _no_grad = tch::no_grad_guard();
        let prediction = self.model.predict(state, t, train)?;
        let estimate = clean(self.process, state, t, &prediction)?;
        Ok(beside(state, State::ESTIMATE, estimate.x().detach()))
    }

    fn count(&self, prediction: &Prediction) {
        let numbers = prediction.heads.iter().flat_map(|head| &head.0);
        self.coefficients.set(numbers.map(|a| a.numel() as i64 / a.size()[0].max(1)).sum());
    }

    /// What the target says, turned back.
    fn target(&self, regulariser: &Regulariser, state: &State, t: &Tensor) -> Result<Vec<Xi>> {
        let _no_grad = tch::no_grad_guard();
        let g = regulariser.draw(state, self.context.streams, self.context.step);
        let symmetry = regulariser.symmetry.as_ref();
        let mut found = None;
        let mut ask = || {
            let heads = turned_back(self.process, symmetry, &g, state, |moved| {
                Ok(self.model.predict(moved, t, false)?.heads)
            })?;
            found = Some(heads);
            Ok(())
        };
        match regulariser.target {
            Some(rate) => self.averages.with(rate, &mut ask)?,
            None => ask()?,
        }
        found.ok_or_else(|| Error::Other("the average was not asked".into()))
    }
}

impl ScoreModel for Watching<'_> {
    fn predicts(&self) -> PredictionKind {
        self.model.predicts()
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        let state = self.conditioned(state, t, train)?;
        let Some(regulariser) = &self.objective.regulariser else {
            let prediction = self.model.predict(&state, t, train)?;
            self.count(&prediction);
            return Ok(prediction);
        };
        // Before the evaluation with gradients: the weights change hands in between.
        let mut target = self.target(regulariser, &state, t)?;
        let prediction = self.model.predict(&state, t, train)?;
        let scale = self.model.raw_scale(&state, t)?;
        if regulariser.target_noise > 0.0 {
            let mut stream = self.context.streams.stream("regulariser-noise", self.context.step);
            let options = state.options();
            for head in &mut target {
                let noise = head.map(|a| stream.normal(&a.size(), options));
                let noise = match &scale {
                    Some(scale) => noise.zip(scale, |noise, scale| noise * scale),
                    None => noise,
                };
                *head = head.add_scaled(&noise, regulariser.target_noise);
            }
        }
        self.count(&prediction);
        let penalty = mean_square(&prediction.heads, &target, scale.as_ref());
        *self.penalty.borrow_mut() = Some(penalty.mean(penalty.kind()));
        Ok(prediction)
    }

    fn inner(&self) -> Option<&dyn ScoreModel> {
        Some(self.model)
    }
}
