//! Gaussian-process fields: T(Nd) with noise coloured by a root of K, OU whose limit is GP(m, k),
//! under E(n) on index set and values; context and query points by split and join; a mask.

use crate::groups::{ByTags, Euclid};
use crate::harness::{F64, Oracle, Row, assert_close, normal, stream};
use crate::ou::{Noise, times_like};
use crate::translations::Translations;
use isotropy_core::{
    Error, Field, Kernel, Moves, NoiseOperator, NoisingProcess, Perturbed, Prediction,
    PredictionKind, Representation, Result, Root, Scale, State, StateSpec, Step, Stream, Streams,
    Terms, TimeDomain, Xi, probe_symmetry,
};
use std::sync::Arc;
use tch::{Kind, Tensor};

#[derive(Debug)]
struct GaussianProcess {
    drive: Arc<dyn Representation>,
    time: TimeDomain,
    beta: f64,
    /// Constant limiting mean in every component; only zero is equivariant for vectors.
    mean: f64,
}

impl GaussianProcess {
    fn new(beta: f64, mean: f64) -> Self {
        let drive = Arc::new(Translations { remove_mean: false });
        Self { drive, time: TimeDomain::continuous(1e-3, 1.0), beta, mean }
    }
    /// Cholesky root of `exp(-|x - x'|^2 / 2) + 0.05 [x = x']`; the identity on padding.
    fn root(state: &State) -> Result<Root> {
        let x = &state.given("index")?.tensor;
        let apart =
            (x.unsqueeze(2) - x.unsqueeze(1)).square().sum_dim_intlist(-1, false, Kind::Double);
        let mask = match state.mask() {
            Some(mask) => mask.unsqueeze(1) * mask.unsqueeze(2),
            None => apart.ones_like(),
        };
        let one = Tensor::eye(x.size()[1], state.options());
        let there = mask.diagonal(0, 1, 2).unsqueeze(2);
        let gram = (apart * -0.5).exp() * mask + &one * 0.05 + &one * (there * -1.0 + 1.0);
        Ok(Root::of_index(gram.linalg_cholesky(false)))
    }
    fn centred(&self, state: &State) -> Xi {
        self.fields().horizontal(state, &(state.x() - self.mean).into())
    }
    fn noise(&self) -> Noise {
        Noise::Vp(self.beta)
    }
    fn kernel_at(&self, state: &State, mean: Scale, std: Scale, shift: Scale) -> Result<Kernel> {
        let colour = vec![Some(Self::root(state)?)];
        Ok(Kernel::new(vec![mean], vec![std]).coloured(colour).shifted(vec![shift]))
    }
}

impl NoisingProcess for GaussianProcess {
    fn name(&self) -> String {
        "OU to a Gaussian process".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }
    fn time(&self) -> &TimeDomain {
        &self.time
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let t = times_like(t, clean.x());
        let (a, std) = (self.noise().mean(&t), self.noise().std(&t));
        let z = Xi::from(stream.normal(&clean.x().size(), clean.options()));
        let coloured = self.fields().horizontal(clean, &self.colour(clean, &z)?);
        let tau = self.centred(clean);
        let noisy = tau.single() * &a + coloured.single() * &std;
        let shift = Scale::Each(1.0 - &a);
        let value = &noisy + self.mean;
        Ok(Perturbed {
            kernel: self.kernel_at(clean, Scale::Each(a), Scale::Each(std), shift)?,
            noisy: clean.with_value(value),
            noise: self.fields().horizontal(clean, &z),
            clean: Some(tau),
            coordinates: Some(noisy.into()),
            orientation: None,
        })
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let z = Xi::from(stream.normal(&template.x().size(), template.options()));
        let coloured = self.fields().horizontal(template, &self.colour(template, &z)?);
        Ok(template.with_value(coloured.single() + self.mean))
    }
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let white = Self::root(state)?.solve(self.centred(state).single());
        let points = (white.numel() as i64 / white.size()[0]) as f64;
        let constant = 0.5 * points * (2.0 * std::f64::consts::PI).ln();
        Ok(Some(Xi::from(white).square_norm() * -0.5 - constant))
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let (rate, g2) = self.noise().rates(step.from);
        let (a, std) = self.noise().at(step.from);
        let (mean, std) = (Scale::Same(a), Scale::Same(std));
        let kernel = self.kernel_at(state, mean, std, Scale::Same(1.0 - a))?;
        let tau = self.centred(state);
        let k_score = kernel.covariance_score(prediction, Some(&tau))?;
        Ok(Terms {
            drift: tau.scale(rate),
            noise: vec![NoiseOperator::Coloured { scale: g2.sqrt(), root: Self::root(state)? }],
            score: Some(kernel.score(prediction, Some(&tau))?),
            preconditioned: k_score.scale(g2),
            h: None,
        })
    }
    fn kernel(&self, _t: f64) -> Option<Kernel> {
        None // its colour depends on the index points
    }
    fn colour(&self, state: &State, z: &Xi) -> Result<Xi> {
        Ok(Self::root(state)?.apply(z.single()).into())
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        probe_symmetry(self.fields(), symmetry, spec, |state| Ok(self.centred(state).scale(-1.0)))
            .map_err(|error| Error::Unsupported(format!("mean {}: {error}", self.mean)))?;
        // The kernel is k(|x - x'|) times the identity: equivariant under every isometry.
        let mut stream = Streams::new(0).stream("probe", 1);
        let state = State::random(spec, 4, F64, &mut stream);
        let h = symmetry.group().sample(&symmetry.element_shape(&state)?, F64, &mut stream);
        let a = stream.normal(&state.x().size(), F64);
        let here = Self::root(&state)?.covariance(&a);
        let there = Self::root(&symmetry.act(&h, &state)?)?.covariance(&a);
        if (here - there).abs().max().double_value(&[]) > 1e-6 {
            return Err(Error::Unsupported("the kernel changes with the index set".into()));
        }
        Ok(())
    }
}

fn fields() -> State {
    let mask = Tensor::ones([6, 5], F64);
    let _ = mask.select(1, 4).slice(0, 0, 6, 3).fill_(0.0);
    let y = normal("fields", &[6, 5, 2]) * mask.unsqueeze(-1);
    let index = Field::new(normal("index", &[6, 5, 2]) * 2.0, Moves::Point).indexed(1);
    State::new(Field::new(y, Moves::Vector).indexed(1))
        .with_context("index", index)
        .with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1))
}

fn e2() -> Arc<dyn Representation> {
    Arc::new(ByTags(Euclid { n: 2, translate: true, reflect: true }))
}

/// Data GP(0, 0.25 k): the K-score is known without a solve.
fn oracle(beta: f64) -> Oracle {
    let answer = move |state: &State, t: f64| {
        let (a, std) = Noise::Vp(beta).at(t);
        let mask = state.mask().unwrap().unsqueeze(-1);
        Ok((state.x() * mask * (-std / (0.25 * a * a + std * std))).into())
    };
    Oracle(PredictionKind::CovarianceScore, Box::new(answer))
}

#[test]
fn gaussian_process_fields_have_e2_with_a_cholesky_root() {
    let refusing = GaussianProcess::new(8.0, 0.7);
    let refusal = refusing.symmetric_under(e2().as_ref(), &fields().spec()).unwrap_err();
    assert!(refusal.to_string().contains("mean 0.7"), "{refusal}");
    let row = Row {
        process: Box::new(GaussianProcess::new(8.0, 0.0)),
        model: oracle(8.0),
        clean: fields(),
        symmetry: Some(e2()),
        push_tolerance: 1e-7,
        refused: vec![],
    };
    row.check(100);
}

#[test]
fn predictions_of_coloured_noise_convert_into_one_another() {
    let process = GaussianProcess::new(8.0, 0.0);
    let mut clean = fields();
    clean.context.retain(|(name, _)| name != State::MASK);
    let t = stream("t").uniform(&[6], F64) * 0.5 + 0.3;
    let perturbed = process.perturb(&clean, &t, &mut stream("p")).unwrap();
    let tau = perturbed.coordinates.clone();
    for kind in [
        PredictionKind::Noise,
        PredictionKind::Score,
        PredictionKind::PreconditionedScore,
        PredictionKind::CovarianceScore,
        PredictionKind::Clean,
    ] {
        let prediction = Prediction { kind, heads: perturbed.target(kind).unwrap() };
        let z = perturbed.kernel.noise(&prediction, tau.as_ref()).unwrap();
        assert_close("noise", z.single(), perturbed.noise.single(), 1e-7);
        let y = perturbed.kernel.clean(&prediction, tau.as_ref().unwrap()).unwrap();
        assert_close("clean", y.single(), clean.x(), 1e-7);
        let score = perturbed.kernel.score(&prediction, tau.as_ref()).unwrap();
        let root = GaussianProcess::root(&clean).unwrap();
        let k_score = perturbed.kernel.covariance_score(&prediction, tau.as_ref()).unwrap();
        assert_close("K score", &root.covariance(score.single()), k_score.single(), 1e-7);
    }
}

#[test]
fn the_limit_of_the_process_has_the_covariance_of_the_kernel() {
    let process = GaussianProcess::new(8.0, 0.0);
    let index = normal("few", &[1, 3, 2]).expand([20_000, -1, -1], false);
    let clean =
        State::new(Field::new(Tensor::zeros([20_000, 3, 1], F64), Moves::Scalar).indexed(1))
            .with_context("index", Field::new(index, Moves::Point).indexed(1));
    let t = Tensor::full([20_000], 0.2, F64);
    let y = process.perturb(&clean, &t, &mut stream("limit")).unwrap().noisy;
    let y = y.x().squeeze_dim(-1);
    let covariance = y.transpose(0, 1).matmul(&y) / 20_000.0;
    let one = Tensor::eye(3, F64).unsqueeze(-1).expand([3, 3, 1], false);
    let first = State { value: Field::new(one, Moves::Scalar).indexed(1), ..clean.narrow(0, 3) };
    let columns = GaussianProcess::root(&first).unwrap().covariance(first.x()).squeeze_dim(-1);
    assert_close("covariance", &covariance, &(columns * -(-1.6f64).exp_m1()), 0.03);
}

#[test]
fn context_points_are_renoised_and_query_points_sampled() {
    // The replacement scheme (geomndp.md 1.8), to show that split and join carry it.
    let process = GaussianProcess::new(8.0, 0.0);
    let mut all = fields();
    all.context.retain(|(name, _)| name != State::MASK);
    let (given, queries) = all.split_index(2);
    let model = oracle(8.0);
    let mut query = process.prior(&queries, &mut stream("query")).unwrap();
    for step in process.time().grid(20).unwrap() {
        let t = Tensor::full([6], step.from, F64);
        let noisy = process.perturb(&given, &t, &mut stream("given")).unwrap().noisy;
        let joint = State::join_index(&[noisy, query]).unwrap();
        assert_eq!(joint.spec(), all.spec());
        let mask = Field::new(Tensor::ones([6, 5], F64), Moves::Fixed).indexed(1);
        let joint = joint.with_context(State::MASK, mask);
        let prediction = isotropy_core::ScoreModel::predict(&model, &joint, &t, false).unwrap();
        let terms = process.terms(&joint, step, &prediction).unwrap();
        let xi = terms.preconditioned.sub(&terms.drift).scale(step.length());
        query = process.fields().flow(&joint, &xi).split_index(2).1;
        query.context.retain(|(name, _)| name != State::MASK);
    }
    assert_eq!(query.spec(), queries.spec());
    assert!(query.x().isfinite().all().int64_value(&[]) == 1);
}
