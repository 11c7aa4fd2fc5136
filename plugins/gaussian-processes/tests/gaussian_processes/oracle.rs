//! The exact scores of Gaussian data.

use crate::kernels::kernel;
use crate::process::{close, curl, failed, process, rbf, representation};
use crate::support::{F64, fields, number, streams};
use isotropy_conformance::Status;
use isotropy_conformance::model::check_model;
use isotropy_core::{
    Kernel, KernelLaw, ModelConfig, ModelContext, NoisingProcess, Perturbed, Prediction,
    Representation, Result, ScoreModel, State, StateSpec, Step, Stream, Terms, TimeDomain,
};
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Device, Kind, Tensor, nn::VarStore};

fn oracle(json: &Value, process: &dyn NoisingProcess, spec: &StateSpec) -> Box<dyn ScoreModel> {
    let mut json = json.clone();
    json["type"] = "gaussian-process-oracle".into();
    let config: Box<dyn ModelConfig> = serde_json::from_value(json).unwrap();
    let context = ModelContext { spec, process: Some(process), symmetry: None };
    config.build(&VarStore::new(Device::Cpu).root(), &context).unwrap()
}

/// The exact prediction is the conditional mean of the target: their difference is uncorrelated with every function of
/// the noisy values. Tried with means on both sides, matrix values and every kind of prediction.
#[test]
fn the_oracle_is_the_conditional_mean_of_the_target() {
    let many = 20_000;
    let data = json!({"type": "sum", "kernels": [
        {"type": "divergence-free", "lengthscale": 1.5}, {"type": "white", "variance": 0.05}
    ]});
    let gp = isotropy_gaussian_processes::posterior::GaussianProcess::new(kernel(data.clone()))
        .with_mean(vec![1.0, -0.5]);
    let one = fields("conditional mean", 1, 3, 2, 2);
    let index = one.given(State::INDEX).unwrap();
    let template = State::new(one.value.with(one.x().expand([many, -1, -1], false)))
        .with_context(State::INDEX, index.with(index.tensor.expand([many, -1, -1], false)));
    let clean = gp.sample(&template, &mut streams().stream("data", 0)).unwrap();
    for limit in [curl(), json!({"type": "white", "variance": 0.4})] {
        let process = process(json!({"kernel": limit, "mean": [0.3, 0.8]}));
        let t = streams().stream("t", 0).uniform(&[many], F64) * 0.6 + 0.3;
        let perturbed = process.perturb(&clean, &t, &mut streams().stream("data", 1)).unwrap();
        for predicts in ["score", "covariance-score", "preconditioned-score", "noise", "clean"] {
            let json = json!({"kernel": data, "mean": [1.0, -0.5], "predicts": predicts});
            let model = oracle(&json, process.as_ref(), &clean.spec());
            let found = model.predict(&perturbed.noisy, &t, false).unwrap();
            let target = perturbed.target(model.predicts()).unwrap();
            let rest = (target[0].single() - found.heads[0].single()).flatten(1, -1);
            let y = perturbed.noisy.x().flatten(1, -1);
            let ones = Tensor::ones([many, 1], F64);
            let probes = Tensor::cat(&[&ones, &y, &t.unsqueeze(1)], 1);
            // Every probe times every coefficient, in units of the standard deviation of its mean.
            let products = rest.unsqueeze(2) * probes.unsqueeze(1);
            let spread = products.std_dim([0i64].as_slice(), true, false);
            let score = products.mean_dim(0, false, Kind::Double) / spread * (many as f64).sqrt();
            let worst = number(&score.abs().max());
            assert!(worst < 5.0, "{predicts} with {limit}: {worst}");
        }
    }
}

#[test]
fn oracles_pass_the_suite_with_their_symmetry() {
    let rotation = representation(json!({"type": "rotation", "dimension": 2}));
    let kernel =
        json!({"type": "noisy", "kernel": {"type": "divergence-free", "lengthscale": 1.2}});
    for limit in [curl(), rbf(), json!({"type": "white"})] {
        let process = process(json!({"kernel": limit}));
        let spec = process.sample_state(2, F64, &mut streams().stream("spec", 0)).unwrap().spec();
        let context = ModelContext {
            spec: &spec,
            process: Some(process.as_ref()),
            symmetry: Some(&rotation),
        };
        for predicts in ["covariance-score", "score", "clean"] {
            let json =
                json!({"type": "gaussian-process-oracle", "kernel": kernel, "predicts": predicts});
            let config: Box<dyn ModelConfig> = serde_json::from_value(json).unwrap();
            let results = check_model(config.as_ref(), &context, &streams());
            let names = failed(&results);
            assert!(names.is_empty(), "{limit} {predicts}: {names:#?}");
            let skipped: Vec<_> = results.iter().filter(|r| r.status == Status::Skip).collect();
            assert!(skipped.is_empty(), "{skipped:#?}");
        }
        // Neither a mean nor a kernel with axes of its own is symmetric.
        for extra in [
            json!({"mean": [0.5]}),
            json!({"kernel": {"type": "noisy", "kernel": {"type": "periodic"}}}),
        ] {
            let mut json = json!({"type": "gaussian-process-oracle", "kernel": kernel});
            json.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let config: Box<dyn ModelConfig> = serde_json::from_value(json).unwrap();
            let model = config.build(&VarStore::new(Device::Cpu).root(), &context).unwrap();
            assert!(!model.claims_symmetry());
        }
    }
}

/// A process that knows nothing of fields: white noise of variance 1 by the same schedule.
#[derive(Debug)]
struct Plain(Box<dyn NoisingProcess>);

/// The law without the colour.
#[derive(Debug)]
struct PlainLaw(Arc<dyn KernelLaw>);

impl KernelLaw for PlainLaw {
    fn time(&self) -> &TimeDomain {
        self.0.time()
    }
    fn scales(&self, t: f64) -> Kernel {
        self.0.scales(t)
    }
    fn tensors(&self, t: &Tensor) -> Kernel {
        self.0.tensors(t)
    }
}

impl NoisingProcess for Plain {
    fn name(&self) -> String {
        "plain".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        self.0.drive()
    }
    fn time(&self) -> &TimeDomain {
        self.0.time()
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        self.0.perturb(clean, t, stream)
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        self.0.prior(template, stream)
    }
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        self.0.prior_log_prob(state)
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        self.0.terms(state, step, prediction)
    }
    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        Some(Arc::new(PlainLaw(self.0.kernel()?)))
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        self.0.symmetric_under(symmetry, spec)
    }
}

#[test]
fn the_oracle_serves_plain_processes() {
    let white = process(json!({"kernel": {"type": "white"}, "std_floor": 1e-9}));
    let plain = Plain(process(json!({"kernel": {"type": "white"}, "std_floor": 1e-9})));
    let state = fields("plain", 2, 3, 2, 2);
    let t = Tensor::from_slice(&[0.2, 0.8]);
    let json = json!({"kernel": {"type": "noisy", "kernel": {"type": "curl-free"}}});
    let [a, b] = [white.as_ref(), &plain]
        .map(|process| oracle(&json, process, &state.spec()).predict(&state, &t, false).unwrap());
    close("prediction", a.heads[0].single(), b.heads[0].single(), 1e-12);
}
