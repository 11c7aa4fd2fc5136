//! Samplers and likelihoods of Gaussian-process fields with the exact score, without a network.

use super::case::{Case, excess};
use super::words;
use isotropy_core::{
    CovarianceKernelConfig, Drive, Field, ModelConfig, ModelContext, Moves, Noise, NoiseOperator,
    NoisingProcess, ProcessConfig, RepresentationConfig, Result, SamplerConfig, ScoreModel, State,
    Streams, Xi, sampler::unobserved,
};
use isotropy_diffusion::integrate::FlowMethod;
use isotropy_diffusion::likelihood::{LikelihoodOptions, Variable, log_likelihood};
use isotropy_diffusion::observed;
use isotropy_gp_fields::metric::GaussianProcessConfig;
use serde_json::{Value, json};
use std::f64::consts::LN_2;
use tch::{Device, Kind, Tensor, nn::VarStore};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

/// Runs a case; `None` for a kind that is not covered.
pub fn cover(case: &Case) -> Option<()> {
    match case.kind() {
        "loglik_probability_flow" => probability_flow(case),
        "conditional_sampling" => exact_posterior(case),
        "conditional_sampling_affine" => law_of_the_sampler(case),
        _ => return None,
    }
    Some(())
}

/// The kernel of the case's data, which stands with the inputs or in the notes.
fn data(case: &Case) -> Value {
    let stated = case.0["inputs"]["data_kernel"].as_str();
    let text = stated.or_else(|| words::sentence_after(case.text("notes"), "data kernel "));
    words::stated(text.expect("the case names the kernel of its data"))
}

/// Refuses a kernel that hasn't the Gram matrix that the case gives with it.
fn check_gram(case: &Case, key: &str, json: &Value) {
    if case.0["inputs"][key].is_null() {
        return;
    }
    let kernel: Box<dyn CovarianceKernelConfig> = serde_json::from_value(json.clone()).unwrap();
    let found = kernel.build().unwrap().gram(&inputs(case).tensor("x")).full(1);
    let worst = excess(&found, &inputs(case).tensor(key), 1e-12, 1e-14);
    assert!(worst <= 0.0, "{key} is not that of {json}");
}

fn limit(inputs: &Value) -> Value {
    words::stated(inputs["limiting_kernel"].as_str().expect("a limiting kernel"))
}

fn process(inputs: &Value) -> Box<dyn NoisingProcess> {
    let schedule: Vec<f64> = serde_json::from_value(inputs["schedule"].clone()).unwrap();
    let config: Box<dyn ProcessConfig> = serde_json::from_value(json!({
        "type": "gaussian-process",
        "kernel": limit(inputs),
        "start": schedule[0], "end": schedule[1], "beta_min": schedule[2], "beta_max": schedule[3],
        "jitter": 0.0, "std_floor": 1e-12
    }))
    .unwrap();
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "translations"})).unwrap();
    config.build(drive.build().unwrap()).unwrap()
}

fn oracle(case: &Case, process: &dyn NoisingProcess, state: &State) -> Box<dyn ScoreModel> {
    let config: Box<dyn ModelConfig> = serde_json::from_value(
        json!({"type": "gaussian-process-oracle", "kernel": data(case), "jitter": 0.0}),
    )
    .unwrap();
    let (store, spec) = (VarStore::new(Device::Cpu), state.spec());
    let context = ModelContext { spec: &spec, process: Some(process), symmetry: None };
    config.build(&store.root(), &context).unwrap()
}

/// Values `[N]` at points `[N, 1]` as a batch of one function.
fn function(x: &Tensor, y: &Tensor) -> State {
    let n = x.size()[0];
    State::new(Field::new(y.reshape([1, n, -1]), Moves::Scalar).indexed(1))
        .with_context("index", Field::new(x.unsqueeze(0), Moves::Point).indexed(1))
}

/// Compares `expected[key]` within the case's own tolerance.
fn close(case: &Case, key: &str, found: &Tensor) {
    let part = json!({
        "kind": case.kind(), key: case.0["expected"][key], "tolerance": case.0["tolerance"]
    });
    Case(&part).assert_close(key, found);
}

fn inputs<'a>(case: &'a Case) -> Case<'a> {
    Case(&case.0["inputs"])
}

fn probability_flow(case: &Case) {
    let given = inputs(case);
    let state = function(&given.tensor("x"), &given.tensor("y0"));
    check_gram(case, "data_gram", &data(case));
    check_gram(case, "limiting_gram", &limit(given.0));
    let points = state.x().size()[1] as f64;
    let process = process(given.0);
    let oracle = oracle(case, process.as_ref(), &state);
    for variable in [Variable::ArcLength, Variable::Time] {
        let options = LikelihoodOptions {
            method: Some(FlowMethod::DormandPrince),
            rtol: 1e-9,
            atol: 1e-9,
            variable,
            ..LikelihoodOptions::default()
        };
        let streams = Streams::new(0);
        let found =
            log_likelihood(process.as_ref(), oracle.as_ref(), &state, &options, &streams).unwrap();
        let prior = process.prior_log_prob(&found.end).unwrap().unwrap();
        close(case, "y_T", &found.end.x().flatten(0, -1));
        close(case, "logp_prior_yT", &prior);
        close(case, "delta_logp", &(&found.log_prob - &prior));
        close(case, "model_loglik_nats", &found.log_prob);
        close(case, "model_loglik_bits", &(&found.log_prob / LN_2));
        close(case, "nats_per_point", &(&found.log_prob / points));
    }
    let data: GaussianProcessConfig =
        serde_json::from_value(json!({"kernel": data(case), "jitter": 0.0})).unwrap();
    close(case, "gp_loglik_nats", &data.build().unwrap().log_prob(&state).unwrap());
}

/// A query of which some values are known, as `batch` copies.
fn conditional(case: &Case, batch: i64) -> State {
    let given = inputs(case);
    let known = function(&given.tensor("x_context"), &given.tensor("y_context"));
    let at = given.tensor("x_query");
    let query = function(&at, &Tensor::zeros([at.size()[0]], F64));
    let state = observed::with_observed(&query, &known).unwrap();
    state.map_batched(|tensor| {
        let mut times = vec![1; tensor.dim()];
        times[0] = batch;
        tensor.repeat(&times)
    })
}

/// Noise by which mean and covariance of an ensemble are propagated exactly. A sampler with the exact score of Gaussian
/// data is affine in its start and its noise. So each draw is made of columns over the ensemble that have mean 0,
/// covariance 1, and no covariance with what is there already: then the moments of the ensemble are those of the law.
struct Uncorrelated {
    members: i64,
    /// Columns `[B, k]` whose span holds the state after the last step.
    there: Tensor,
}

impl Uncorrelated {
    fn new(members: i64) -> Self {
        Self { members, there: Tensor::ones([members, 1], F64) }
    }

    /// `[B, columns]` with mean 0 and covariance 1, uncorrelated with the columns of `there`.
    fn columns(there: &Tensor, columns: i64) -> Tensor {
        let members = there.size()[0];
        let seeds = Tensor::arange(members * columns, F64).square().sin().view([members, columns]);
        let (q, _) = Tensor::linalg_qr(&Tensor::cat(&[there, &seeds], 1), "reduced");
        // The first columns of Q span those of `there`, even if these depend on one another.
        q.narrow(1, there.size()[1], columns) * (members as f64).sqrt()
    }

    fn with_constant(columns: &[&Tensor]) -> Tensor {
        let members = columns[0].size()[0];
        let one = Tensor::ones([members, 1], F64);
        let all: Vec<Tensor> =
            std::iter::once(one).chain(columns.iter().map(|a| a.reshape([members, -1]))).collect();
        Tensor::cat(&all, 1)
    }
}

impl Noise for Uncorrelated {
    fn draw(
        &mut self,
        _: u64,
        state: &State,
        _: &Xi,
        noise: &[NoiseOperator],
        _: &dyn Drive,
    ) -> Result<Xi> {
        let x = Self::with_constant(&[state.x()]);
        let z = Self::columns(&x, x.size()[1] - 1).view_as(state.x());
        let drawn = noise[0].apply(&z);
        self.there = Self::with_constant(&[state.x(), &drawn]);
        Ok(drawn.into())
    }

    fn unit(
        &mut self,
        _: u64,
        state: &State,
        like: &Xi,
        process: &dyn NoisingProcess,
    ) -> Result<Xi> {
        let count = like.single().numel() as i64 / self.members;
        let z = Self::columns(&self.there, count).view_as(like.single());
        Ok(process.unit_noise(state)?[0].apply(&z).into())
    }
}

/// Mean and covariance of the law of a sampler.
fn propagated(case: &Case, sampler: Value) -> (Tensor, Tensor) {
    let process = process(&case.0["inputs"]);
    let (query, known) = (inputs(case).tensor("x_query"), inputs(case).tensor("x_context"));
    let (query, known) = (query.size()[0], known.size()[0]);
    // More than a constant, a joint state, its noise, and known values: only then there are columns
    // that are uncorrelated with all of them.
    let members = 5 + 2 * (query + known) + known;
    let given = conditional(case, members);
    let oracle = oracle(case, process.as_ref(), &observed::query(&given));
    let mut noise = Uncorrelated::new(members);
    let like = Xi::from(given.x().zeros_like());
    let prior = noise.unit(0, &observed::query(&given), &like, process.as_ref()).unwrap();
    noise.there = Uncorrelated::with_constant(&[prior.single()]);
    let start = given.with_value(prior.single().shallow_clone());
    let config: Box<dyn SamplerConfig> = serde_json::from_value(sampler).unwrap();
    let sampler = config.build().unwrap();
    let end =
        sampler.run(process.as_ref(), oracle.as_ref(), start, &mut noise, &mut unobserved).unwrap();
    let y = end.state.x().squeeze_dim(-1);
    let mean = y.mean_dim([0].as_slice(), false, None);
    let centred = &y - &mean;
    (mean, centred.transpose(0, 1).matmul(&centred) / members as f64)
}

/// Mean and covariance of the query given what is known.
fn exact(case: &Case) -> (Tensor, Tensor) {
    let data: GaussianProcessConfig =
        serde_json::from_value(json!({"kernel": data(case), "jitter": 0.0})).unwrap();
    let exact = data.build().unwrap().condition_on_observed(&conditional(case, 1)).unwrap();
    (exact.mean().flatten(0, -1), exact.covariance().full(1).squeeze_dim(0))
}

/// Relative entropy of one normal law to another, in nats.
fn entropy((mean, covariance): (&Tensor, &Tensor), to: (&Tensor, &Tensor)) -> Tensor {
    let ratio = Tensor::linalg_solve(to.1, covariance, true);
    let off = mean - to.0;
    let square = (&off * Tensor::linalg_solve(to.1, &off, true)).sum(Kind::Double);
    (ratio.trace() - mean.size()[0] as f64 - ratio.det().log() + square) * 0.5
}

/// The exact law of the query, and how near the corrected sampler comes to it.
fn exact_posterior(case: &Case) {
    let (mean, covariance) = exact(case);
    close(case, "posterior_mean", &mean);
    close(case, "posterior_cov", &covariance);
    let distance = |steps: u32, inner: u32| {
        let sampler = json!({"type": "conditional-langevin", "steps": steps, "inner_steps": inner});
        let law = propagated(case, sampler);
        entropy((&law.0, &law.1), (&mean, &covariance)).double_value(&[])
    };
    let (few, more, many) = (distance(50, 5), distance(100, 10), distance(200, 20));
    println!("to the exact law: {few:.1e}, {more:.1e}, {many:.1e} nats");
    // Of second order in the refinement: a sampler of another law would come to a halt.
    assert!(many < 0.4 * more && more < 0.4 * few, "{few} {more} {many}");
}

/// The law of the discretised sampler, with the published times and tempering.
fn law_of_the_sampler(case: &Case) {
    let given = inputs(case);
    let steps = given.number("n_steps") as u32 - 1;
    let at_start = given.0["eval_at"].as_str() == Some("t");
    let (mean, covariance) = propagated(
        case,
        json!({
            "type": "conditional-langevin",
            "steps": steps,
            "inner_steps": given.number("n_inner") as u32,
            "psi": given.number("psi"),
            "lambda": given.number("lam"),
            "tau": given.number("tau"),
            "times": if at_start { "step-start" } else { "step-end" },
            "tempering": "drift",
            "predictor": given.0["predictor"].as_bool().unwrap_or(true),
        }),
    );
    close(case, "sample_mean", &mean);
    close(case, "sample_cov", &covariance);
    let (exact_mean, exact_covariance) = exact(case);
    let distance = entropy((&mean, &covariance), (&exact_mean, &exact_covariance));
    close(case, "kl_sampler_to_posterior_nats", &distance);
    close(case, "mean_abs_err", &(&mean - &exact_mean).abs().max());
    let sd = |a: &Tensor| a.diagonal(0, 0, 1).sqrt();
    close(case, "std_ratio", &(sd(&covariance) / sd(&exact_covariance)));
}
