//! Flow matching on a torus: points go along geodesics to uniform draws. The process is driven by
//! the velocity of that flow; it has no score and no noise on the way.

use crate::harness::{F64, Oracle, assert_close, stream};
use crate::torus::{Circles, points, turns};
use isotropy_core::{
    Error, Kernel, NoiseOperator, NoisingProcess, Perturbed, Prediction, PredictionKind, Purpose,
    Representation, Result, Scale, State, StateSpec, Step, Stream, Terms, TimeDomain, Xi,
    probe_symmetry, sampler,
};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Kind, Tensor};

#[derive(Debug)]
struct Geodesic {
    drive: Arc<dyn Representation>,
    time: TimeDomain,
}

impl Geodesic {
    fn new() -> Self {
        // At the prior's time the velocity is that of the mean path: nothing is singular at 0.
        Self { drive: Arc::new(Circles), time: TimeDomain::continuous(0.0, 1.0) }
    }
}

impl NoisingProcess for Geodesic {
    fn name(&self) -> String {
        "geodesics of a torus".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }
    fn time(&self) -> &TimeDomain {
        &self.time
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let end = self.prior(clean, stream)?;
        let velocity = turns(&(end.x() - clean.x()));
        let t = t.unsqueeze(1);
        let scale = |a: &Tensor| vec![Scale::Each(a.shallow_clone())];
        Ok(Perturbed {
            noisy: self.fields().flow(clean, &(&velocity * &t).into()),
            kernel: Kernel::new(scale(&(1.0 - &t)), scale(&t)),
            noise: None,
            velocity: Some(velocity.into()),
            clean: None,
            coordinates: None,
            orientation: None,
        })
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let u = stream.uniform(&template.x().size(), template.options());
        Ok(template.with_value((u - 0.5) * (2.0 * PI)))
    }
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let log = -(2.0 * PI).ln() * state.x().size()[1] as f64;
        Ok(Some(Tensor::full([state.batch_size()], log, state.options())))
    }
    fn accepts_prediction(&self, kind: PredictionKind) -> Result<()> {
        match kind {
            PredictionKind::Velocity => Ok(()),
            _ => Err(Error::Unsupported(format!("{} is driven by a velocity", self.name()))),
        }
    }
    fn terms(&self, _: &State, _: Step, prediction: &Prediction) -> Result<Terms> {
        self.accepts_prediction(prediction.kind)?;
        let drift = prediction.heads[0].clone();
        let noise = vec![NoiseOperator::White(0.0)];
        Ok(Terms { preconditioned: drift.zeros_like(), drift, noise, score: None, h: None })
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        probe_symmetry(self.fields(), symmetry, spec, |state| Ok(state.x().zeros_like().into()))
    }
}

/// The velocity of one clean point: the way back over the time that is left.
fn oracle() -> Oracle {
    let answer = |state: &State, t: f64| {
        let native = &state.given("native")?.tensor;
        Ok((turns(&(state.x() - native)) / t).into())
    };
    Oracle(PredictionKind::Velocity, Box::new(answer))
}

#[test]
fn a_velocity_drives_the_flow_and_nothing_else() {
    let process = Geodesic::new();
    let clean = points("clean", 64);
    // What a network would learn from one clean point is what the oracle says.
    let t = process.time.sample(64, true, F64, &mut stream("times")).clamp_min(0.1);
    let noisy = process.perturb(&clean, &t, &mut stream("paths")).unwrap();
    let target = noisy.target(PredictionKind::Velocity).unwrap().remove(0);
    let back = turns(&(noisy.noisy.x() - clean.x())) / t.unsqueeze(1);
    assert_close("the velocity of a path", target.single(), &back, 1e-9);
    for kind in [PredictionKind::Noise, PredictionKind::Score] {
        assert!(noisy.target(kind).is_err() && process.accepts_prediction(kind).is_err());
    }
    let model = oracle();
    sampler::accept(&process, &model, Purpose::ProbabilityFlow).unwrap();
    sampler::accept(&process, &model, Purpose::Likelihood).unwrap();
    for purpose in [Purpose::ReverseSde, Purpose::Corrector, Purpose::Posterior] {
        assert!(sampler::accept(&process, &model, purpose).is_err(), "{purpose:?}");
    }
    // A process with a score refuses it in turn.
    let kinetic = crate::kinetic::Kinetic::new();
    let refusal = kinetic.accepts_prediction(PredictionKind::Velocity).unwrap_err();
    assert!(refusal.to_string().contains("velocity"), "{refusal}");
}

/// The flow from the prior ends in the clean points, by the rate that every sampler takes.
#[test]
fn the_flow_runs_back_from_uniform_points_to_the_data() {
    let (process, model) = (Geodesic::new(), oracle());
    let clean = points("clean", 64);
    let mut state = process.prior(&clean, &mut stream("prior")).unwrap();
    for step in process.time.grid(50).unwrap() {
        let answer = (model.1)(&state, step.from).unwrap();
        let prediction = Prediction::one(PredictionKind::Velocity, answer);
        let terms = process.terms(&state, step, &prediction).unwrap();
        assert!(terms.noise.iter().all(|noise| noise.scale() == 0.0) && terms.score.is_none());
        let xi: Xi = sampler::reverse_rate(&terms, 0.5).scale(step.length());
        state = process.fields().flow(&state, &xi);
    }
    let error = turns(&(state.x() - clean.x())).abs().max().double_value(&[]);
    assert!(error < 1e-9, "{error}");
}

/// The mean velocity at a place moves the marginal law: the path of a cosine moment. One clean point
/// at 0 and uniform ends give `E cos x_t = sin(pi t) / (pi t)`.
#[test]
fn paths_have_the_law_of_the_flow() {
    let process = Geodesic::new();
    let clean = points("clean", 40_000);
    let clean = clean.with_value(clean.x().zeros_like());
    let t = 0.6;
    let times = Tensor::full([40_000], t, F64);
    let noisy = process.perturb(&clean, &times, &mut stream("law")).unwrap().noisy;
    let mean = noisy.x().cos().mean(Kind::Double).double_value(&[]);
    let expected = (PI * t).sin() / (PI * t);
    assert!((mean - expected).abs() < 0.01, "{mean} for {expected}");
}
