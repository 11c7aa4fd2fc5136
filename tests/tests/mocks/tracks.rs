//! Storm tracks with coloured noise: Brownian motion on (S^2)^N whose increments are shared by nested
//! blocks of time stamps. Each block turns all its points together; the squares of nested blocks'
//! generators commute, so rotations drawn once for the track, each block and each point, one after
//! another, have exactly the law of the equation with noise coloured by the tree.

use crate::docking::sample_igso3;
use crate::groups::{ByTags, Euclid};
use crate::harness::{F64, Oracle, Row, assert_close, difference, normal};
use crate::ou::times_like;
use crate::sphere::{Turns, dot, score, turn};
use isotropy_core::{
    Field, FreshNoise, Kernel, Moves, Noise, NoiseOperator, NoisingProcess, Perturbed, Prediction,
    PredictionKind, Representation, Result, Root, Scale, State, StateSpec, Step, Stream, Streams,
    Terms, TimeDomain, Xi, probe_symmetry,
};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Shares of the clock: of the whole track, of each block, of each point. They add up to 1.
const SHARES: [f64; 3] = [0.5, 0.3, 0.2];
const BLOCK: &str = "block";

#[derive(Debug)]
struct Tracks {
    drive: Arc<dyn Representation>,
    time: TimeDomain,
    beta: f64,
}

impl Tracks {
    fn new() -> Self {
        let group = Euclid { n: 3, translate: false, reflect: false };
        Self { drive: Arc::new(Turns(group)), time: TimeDomain::continuous(5e-3, 1.0), beta: 10.0 }
    }
    /// The root of the tree's covariance, `[N, N]`.
    fn root(state: &State) -> Result<Root> {
        let block = &state.given(BLOCK)?.tensor;
        let (a, b) = (block.unsqueeze(0), block.unsqueeze(1));
        let same = a.eq_tensor(&b).to_kind(Kind::Double);
        let own = Tensor::eye(block.size()[0], state.options());
        let covariance = same * SHARES[1] + own * SHARES[2] + SHARES[0];
        Ok(Root::lower_of_index(covariance.linalg_cholesky(false)))
    }
    fn kernel(&self, state: &State, std: Scale) -> Result<Kernel> {
        let kernel = Kernel::new(vec![Scale::Same(1.0)], vec![std]);
        Ok(kernel.coloured(vec![Some(Self::root(state)?)]))
    }
    /// The points after the turns that they share with others, and after their own.
    fn turned(clean: &State, s: &Tensor, stream: &mut Stream) -> Result<(Tensor, Tensor)> {
        let mut draw = |share: f64| sample_igso3(&(s * share).sqrt(), stream).unsqueeze(1);
        let block = Vec::<f64>::try_from(&clean.given(BLOCK)?.tensor)?;
        let mut turns: Vec<(f64, Tensor)> = Vec::new();
        let track = draw(SHARES[0]);
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        for (k, block) in block.into_iter().enumerate() {
            if turns.iter().all(|(known, _)| *known != block) {
                turns.push((block, draw(SHARES[1])));
            }
            let of_block = &turns.iter().find(|(known, _)| *known == block).expect("put there").1;
            let moved = turn(of_block, &turn(&track, &clean.x().narrow(1, k as i64, 1)));
            own.push(turn(&draw(SHARES[2]), &moved));
            shared.push(moved);
        }
        Ok((Tensor::cat(&shared, 1), Tensor::cat(&own, 1)))
    }
}

impl NoisingProcess for Tracks {
    fn name(&self) -> String {
        "tree-coloured Brownian motion".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }
    fn time(&self) -> &TimeDomain {
        &self.time
    }
    /// The score given the shared turns as well: its mean given the noisy track is the score.
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let s = times_like(t, clean.x()) * self.beta;
        let (shared, noisy) = Self::turned(clean, &s.reshape([-1, 1]), stream)?;
        let std = (-(-&s).expm1()).sqrt();
        let score = score(&noisy, &shared, &(s * SHARES[2]));
        let noise = -Self::root(clean)?.apply_transposed(&score) * &std;
        Ok(Perturbed {
            noisy: clean.with_value(noisy),
            kernel: self.kernel(clean, Scale::Each(std))?,
            noise: Some(noise.into()),
            velocity: None,
            clean: None,
            coordinates: None,
            orientation: None,
        })
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let z = stream.normal(&template.x().size(), template.options());
        Ok(template.with_value(&z / dot(&z, &z).sqrt()))
    }
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let points = state.x().size()[1] as f64;
        let density = -points * (4.0 * std::f64::consts::PI).ln();
        Ok(Some(Tensor::full([state.batch_size()], density, state.options())))
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let std = (-(-self.beta * step.from).exp_m1()).sqrt();
        let kernel = self.kernel(state, Scale::Same(std))?;
        let level = |xi: &Xi| self.fields().horizontal(state, xi);
        let score = level(&kernel.score(prediction, None)?);
        let (scale, root) = (self.beta.sqrt(), Self::root(state)?);
        Ok(Terms {
            drift: score.zeros_like(),
            noise: vec![NoiseOperator::Coloured { scale, root }],
            preconditioned: level(&kernel.covariance_score(prediction, None)?).scale(self.beta),
            score: Some(score),
            h: None,
        })
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        probe_symmetry(self.fields(), symmetry, spec, |state| Ok(state.x().zeros_like().into()))
    }
}

fn tracks(x: &Tensor) -> State {
    let block = Field::new(Tensor::from_slice(&[0.0, 0.0, 1.0, 1.0]), Moves::Fixed);
    let unit = x / dot(x, x).sqrt();
    State::new(Field::new(unit.shallow_clone(), Moves::Vector).indexed(1))
        .with_context("truth", Field::new(unit, Moves::Vector).indexed(1))
        .with_context(BLOCK, block.shared().indexed(0))
}

#[test]
fn tracks_with_shared_increments_have_so3() {
    let beta = Tracks::new().beta;
    // To first order in the clock `K score` is the way back, whatever the colour.
    let answer = move |state: &State, t: f64| {
        let s = Tensor::full([1, 1, 1], beta * t, F64);
        let back = score(state.x(), &state.given("truth")?.tensor, &s);
        Ok((back * (-(-beta * t).exp_m1()).sqrt()).into())
    };
    let row = Row {
        process: Box::new(Tracks::new()),
        model: Oracle(PredictionKind::CovarianceScore, Box::new(answer)),
        clean: tracks(&normal("tracks", &[8, 4, 3])),
        symmetry: Some(Arc::new(ByTags(Euclid { n: 3, translate: false, reflect: false }))),
        push_tolerance: 1e-7,
        refused: vec![],
    };
    let samples = row.check(400);
    let cos = dot(samples.x(), row.clean.x()).mean(Kind::Double).double_value(&[]);
    assert!(cos > 0.9, "mean cosine {cos} to the truth");
    assert_close("unit", &dot(samples.x(), samples.x()), &Tensor::ones([8, 4, 1], F64), 1e-10);
}

/// Steps of the equation by the terms' operator and one exact draw have the same moments, and these
/// are known: points that start together are apart by the clocks that they do not share.
#[test]
fn rotations_of_nested_blocks_are_the_coloured_equation() {
    let process = Tracks::new();
    let (batch, t) = (500, 0.06);
    let s = process.beta * t;
    let up = Tensor::from_slice(&[0.0, 0.0, 1.0]).expand([batch, 4, 3], false);
    let clean = tracks(&up.contiguous());
    let zero = Prediction::one(PredictionKind::Score, clean.x().zeros_like());
    let moments = |state: &State| {
        let cos = |a: i64, b: &Tensor| {
            dot(&state.x().select(1, a), b).mean(Kind::Double).double_value(&[])
        };
        let other = |k: i64| state.x().select(1, k);
        [cos(0, &clean.x().select(1, 0)), cos(0, &other(1)), cos(0, &other(2))]
    };
    let expected =
        [(-s).exp(), (-2.0 * s * SHARES[2]).exp(), (-2.0 * s * (SHARES[1] + SHARES[2])).exp()];
    let (mut drawn, mut walked) = ([0.0; 3], [0.0; 3]);
    let rounds = 6;
    for round in 0..rounds {
        let times = Tensor::full([batch], t, F64);
        let mut drawing = Streams::new(round).stream("draw", 0);
        let noisy = process.perturb(&clean, &times, &mut drawing).unwrap();
        let target = noisy.target(PredictionKind::Score).unwrap().remove(0);
        let vertical = dot(target.single(), noisy.noisy.x());
        assert!(difference(&vertical, &vertical.zeros_like()) < 1e-6, "a target is horizontal");
        let (count, mut state) = (100, clean.clone());
        let mut noise = FreshNoise::new(&Streams::new(round), "walk");
        for k in 0..count {
            let terms = process.terms(&state, Step::at(t), &zero).unwrap();
            let drive = process.fields();
            let z = noise.draw(k, &state, &terms.drift, &terms.noise, drive).unwrap();
            state = drive.flow(&state, &z.scale((t / count as f64).sqrt()));
        }
        for (sum, found) in drawn.iter_mut().zip(moments(&noisy.noisy)) {
            *sum += found / rounds as f64;
        }
        for (sum, found) in walked.iter_mut().zip(moments(&state)) {
            *sum += found / rounds as f64;
        }
    }
    for ((drawn, walked), expected) in drawn.into_iter().zip(walked).zip(expected) {
        assert!((drawn - expected).abs() < 0.03, "drawn {drawn} for {expected}");
        assert!((walked - expected).abs() < 0.03, "walked {walked} for {expected}");
    }
}
