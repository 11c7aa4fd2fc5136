//! Equivariance of a whole run (Delta x_0 of spdm.md 2.4).

use crate::{coupled_noise as coupled, coupled_noise::CoupledNoise};
use isotropy_core::{
    Element, Error, Evaluation, FreshNoise, Measured, Metric, MetricConfig, Noise, NoisingProcess,
    Representation, RepresentationConfig, Result, Sampler, SamplerConfig, ScoreModel, State,
    component, config,
    sampler::{run_and_moved, unobserved},
};
use isotropy_images::metric::{finite, named};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// `delta_x0_mean` and `delta_x0_max`: mean and maximum of `|F(g y) - g F(y)|` over inputs, elements of the
/// group and pixels (for images in units of half their range), where `F` runs the sampler from an input
/// to data. Zero up to rounding where every single run is equivariant, which takes an equivariant model
/// and noise that moves with the input.
///
/// Where the action interpolates, a third number stands beside them: `action_error_mean`, the mean of
/// `|g^-1 (g x) - x|` of the samples `x`, what the action itself does to a picture. No pipeline can be held to less.
#[config]
pub struct SamplerEquivarianceConfig {
    /// The symmetry. Finite groups are gone through element by element; of others four elements are drawn.
    pub symmetry: Box<dyn RepresentationConfig>,
    /// The sampler.
    pub sampler: Box<dyn SamplerConfig>,
    /// Inputs: the first so many test points, at most.
    #[serde(default = "sixteen")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: i64,
    /// What becomes of start and noise when the input is moved.
    #[serde(default)]
    pub noise: NoiseUnder,
    /// Put before the names of the numbers.
    #[serde(default)]
    pub name: Option<String>,
}

/// What becomes of start and noise when the input is moved.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum NoiseUnder {
    /// Both are moved by the same element: what is left is the model's and the sampler's.
    #[default]
    Transported,
    /// Both runs know their own input alone and couple their noise to its canonical form.
    Coupled,
    /// Both runs draw the same numbers: what equal seeds give.
    Same,
}

fn sixteen() -> i64 {
    16
}

#[component(
    "sampler-equivariance",
    "difference of a run from a moved input and the moved run (Delta x_0)",
    r#"{"type": "sampler-equivariance", "symmetry": {"type": "image-permutation", "group": "quarter-turns"}, "sampler": {"type": "ddim", "steps": 10}}"#
)]
impl MetricConfig for SamplerEquivarianceConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        if self.count < 1 {
            return Err(Error::config("/count", "at least one input"));
        }
        Ok(Box::new(SamplerEquivariance {
            symmetry: self.symmetry.build().map_err(|error| error.under("/symmetry"))?,
            sampler: self.sampler.build().map_err(|error| error.under("/sampler"))?,
            count: self.count,
            noise: self.noise,
            name: self.name.clone(),
        }))
    }
}

#[derive(Debug)]
struct SamplerEquivariance {
    symmetry: Arc<dyn Representation>,
    sampler: Box<dyn Sampler>,
    count: i64,
    noise: NoiseUnder,
    name: Option<String>,
}

/// Elements drawn from an infinite group.
const DRAWN: i64 = 4;
const STREAM: &str = "sampler equivariance";

impl SamplerEquivariance {
    /// One element for the whole batch at a time: all but the identity, or a few drawn ones.
    fn elements(&self, state: &State, evaluation: &Evaluation) -> Result<Vec<Element>> {
        let shape = self.symmetry.element_shape(state)?;
        let group = self.symmetry.group();
        if let Some(finite) = group.finite() {
            let all = finite.elements(state.x().device());
            let rows = |k: i64| {
                let row = Tensor::full([state.batch_size()], k, (Kind::Int64, state.x().device()));
                Element(all.0.iter().map(|all| all.index_select(0, &row)).collect())
            };
            return Ok((1..finite.order()).map(rows).collect());
        }
        let draw = |k| {
            let mut stream = evaluation.streams.stream("equivariance elements", k as u64);
            group.sample(&shape, state.options(), &mut stream)
        };
        Ok((0..DRAWN).map(draw).collect())
    }
}

impl Metric for SamplerEquivariance {
    fn accepts(&self, process: Option<&dyn NoisingProcess>, model: &dyn ScoreModel) -> Result<()> {
        let process = process.ok_or_else(|| {
            Error::Unsupported("runs need a process, and this experiment has none".into())
        })?;
        self.sampler.accepts(process, model).map_err(|error| error.under("/sampler"))
    }

    fn of_samples(&self) -> bool {
        false
    }

    fn reports(&self) -> Vec<String> {
        ["delta_x0_*", "action_error_mean"].map(|name| named(self.name.as_ref(), name)).to_vec()
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let process = evaluation.process.ok_or_else(|| {
            Error::Unsupported("runs need a process, and this experiment has none".into())
        })?;
        let symmetry = self.symmetry.as_ref();
        let count = self.count.min(evaluation.reference.batch_size());
        let input = process.fields().lift(evaluation.reference.narrow(0, count))?;
        symmetry.accepts(&input.spec()).map_err(|error| error.under("/symmetry"))?;
        let fresh = || FreshNoise::new(evaluation.streams, STREAM);
        let run = |start: &State, noise: &mut dyn Noise| -> Result<State> {
            let (model, start) = (evaluation.model, start.clone());
            Ok(self.sampler.run(process, model, start, noise, &mut unobserved)?.state)
        };
        let stream = || evaluation.streams.stream(STREAM, u64::MAX);
        let (mut sum, mut largest, mut elements) = (0.0, 0.0_f64, 0);
        let (interpolates, mut action) = (symmetry.approximation_error() > 0.0, 0.0);
        let identity = symmetry.group().identity(&symmetry.element_shape(&input)?, input.options());
        for g in self.elements(&input, evaluation)? {
            let moved = symmetry.act(&g, &input)?;
            let (here, there) = match self.noise {
                NoiseUnder::Transported => {
                    let start = process.prior(&input, &mut stream())?;
                    let of = (process, evaluation.model);
                    run_and_moved(self.sampler.as_ref(), of, &start, (symmetry, &g), fresh())?
                }
                NoiseUnder::Coupled => {
                    // Where nothing in the context moves, the draw from the prior is the input.
                    let start = coupled::prior(process, symmetry, &input, &mut stream())?;
                    let other = match moves(&input) {
                        true => coupled::prior(process, symmetry, &moved, &mut stream())?,
                        false => symmetry.act(&g, &start)?,
                    };
                    let mut first = CoupledNoise::new(fresh(), symmetry, &start)?;
                    let mut second = CoupledNoise::new(fresh(), symmetry, &other)?;
                    (run(&start, &mut first)?, run(&other, &mut second)?)
                }
                NoiseUnder::Same => {
                    let start = process.prior(&input, &mut stream())?;
                    let other = match moves(&input) {
                        true => process.prior(&moved, &mut stream())?,
                        false => symmetry.act(&g, &start)?,
                    };
                    (run(&start, &mut fresh())?, run(&other, &mut fresh())?)
                }
            };
            finite("samples", here.x())?;
            // An action that masks shows less than the sampler draws: both sides are looked at through it.
            let there = if interpolates { symmetry.act(&identity, &there)? } else { there };
            let difference = (there.x() - symmetry.act(&g, &here)?.x()).abs();
            sum += difference.mean(Kind::Double).double_value(&[]);
            largest = largest.max(difference.max().double_value(&[]));
            if interpolates {
                let back =
                    symmetry.act(&symmetry.group().inverse(&g), &symmetry.act(&g, &here)?)?;
                action += (back.x() - here.x()).abs().mean(Kind::Double).double_value(&[]);
            }
            elements += 1;
        }
        let name = |name: &str| named(self.name.as_ref(), name);
        let mut measured = vec![
            Measured::lower(name("delta_x0_mean"), sum / f64::from(elements)),
            Measured::lower(name("delta_x0_max"), largest),
        ];
        if interpolates {
            let error = action / f64::from(elements);
            measured.push(Measured::neutral(name("action_error_mean"), error));
        }
        Ok(measured)
    }
}

/// Whether the context tells a run where its input lies.
fn moves(state: &State) -> bool {
    use isotropy_core::Moves::{Coordinates, Fixed, Scalar};
    state
        .context
        .iter()
        .any(|(_, field)| field.batched && !matches!(field.moves, Fixed | Scalar | Coordinates))
}
