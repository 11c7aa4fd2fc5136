//! How much of a symmetry samples given known values have: the gap of a run against its transform.

use super::Summary;
use super::functions::test_functions;
use isotropy_core::{
    Error, Evaluation, FreshNoise, Measured, Metric, MetricConfig, NoisingProcess, Representation,
    RepresentationConfig, Result, Sampler, SamplerConfig, ScoreModel, State, component, config,
    sampler::run_and_moved,
};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Samples test functions given what is known of them, and once more with everything transformed by an element of the
/// symmetry: the known values, all points, the start and the noise. Reports the root mean square of `y(h x_c) - h y(x_c)`
/// over the points that are there, divided by that of the samples: `equivariance_gap` with its standard error over
/// functions, and `equivariance_gap_largest`. Zero, up to rounding, for a symmetric process with an equivariant model;
/// otherwise the part of a sample that depends on how the coordinates lie.
#[config]
pub struct ConditionalEquivarianceConfig {
    /// The symmetry, one random element for each function.
    pub symmetry: Box<dyn RepresentationConfig>,
    /// The sampler.
    pub sampler: Box<dyn SamplerConfig>,
    /// Put before the names of the numbers; null for nothing.
    #[serde(default)]
    pub name: Option<String>,
    /// Test functions that are sampled, at most.
    #[serde(default = "functions")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub functions: u32,
}

fn functions() -> u32 {
    16
}

#[component(
    "conditional-equivariance",
    "gap between samples given a transformed context and the transform of the samples",
    r#"{"type": "conditional-equivariance", "symmetry": {"type": "rotation", "dimension": 2},
        "sampler": {"type": "conditional-langevin", "steps": 20}}"#
)]
impl MetricConfig for ConditionalEquivarianceConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        if self.functions == 0 {
            return Err(Error::config("/functions", "at least 1"));
        }
        Ok(Box::new(ConditionalEquivariance {
            symmetry: self.symmetry.build().map_err(|error| error.under("/symmetry"))?,
            sampler: self.sampler.build().map_err(|error| error.under("/sampler"))?,
            name: self.name.clone(),
            functions: self.functions,
        }))
    }
}

#[derive(Debug)]
struct ConditionalEquivariance {
    symmetry: Arc<dyn Representation>,
    sampler: Box<dyn Sampler>,
    name: Option<String>,
    functions: u32,
}

/// Root mean square of values `[B, N, d]` over the points that are there: `[B]`.
fn rms(state: &State, values: &Tensor) -> Tensor {
    let square = values.to_kind(Kind::Double).square();
    let square = match state.mask() {
        Some(mask) => {
            let there = mask.unsqueeze(-1).gt(0.5).expand_as(&square);
            let sum = square.where_self(&there, &square.zeros_like());
            let count = there.to_kind(Kind::Double).flatten(1, -1);
            sum.flatten(1, -1).sum_dim_intlist([1].as_slice(), false, None)
                / count.sum_dim_intlist([1].as_slice(), false, None)
        }
        None => square.flatten(1, -1).mean_dim([1].as_slice(), false, None),
    };
    square.sqrt()
}

impl Metric for ConditionalEquivariance {
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
        let prefix = self.name.as_ref().map_or(String::new(), |name| format!("{name}_"));
        vec![format!("{prefix}equivariance_gap*")]
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let process = evaluation.process.ok_or_else(|| {
            Error::Unsupported("samples need a process, and this experiment has none".into())
        })?;
        let symmetry = self.symmetry.as_ref();
        let given = test_functions(evaluation, None, self.functions)?;
        symmetry.accepts(&given.spec()).map_err(|error| error.under("/symmetry"))?;
        let mut stream = evaluation.streams.stream("conditional equivariance", 0);
        let shape = symmetry.element_shape(&given)?;
        let h = symmetry.group().sample(&shape, given.options(), &mut stream);
        let start = process.prior(&given, &mut stream)?;
        let fresh = FreshNoise::new(evaluation.streams, "conditional equivariance");
        let of = (process, evaluation.model);
        let (here, there) =
            run_and_moved(self.sampler.as_ref(), of, &start, (symmetry, &h), fresh)?;
        let expected = symmetry.act(&h, &here)?;
        let gap = rms(&expected, &(there.x() - expected.x())) / rms(&expected, expected.x());
        let prefix = self.name.as_ref().map_or(String::new(), |name| format!("{name}_"));
        let summary = Summary::of(&gap);
        let name = format!("{prefix}equivariance_gap");
        let mut measured = Vec::from(summary.measured(Measured::lower(name, f64::NAN)));
        let largest = gap.max().double_value(&[]);
        measured.push(Measured::lower(format!("{prefix}equivariance_gap_largest"), largest));
        Ok(measured)
    }
}
