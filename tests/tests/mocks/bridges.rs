//! Equivariant bridges: pairs (x_0, x_T) of images under quarter turns that act on both ends. The
//! other end is context, the h-term is separate (a sampler weighs it), the prior is a point.

use crate::groups::QuarterTurns;
use crate::harness::{Euler, F64, Oracle, Row, assert_close, normal, stream};
use crate::ou::times_like;
use crate::translations::Translations;
use isotropy_core::{
    Field, FreshNoise, Kernel, KernelOfTime, Moves, Noise, NoiseOperator, NoisingProcess,
    Perturbed, Prediction, PredictionKind, Representation, Result, Sampler, Scale, State,
    StateSpec, Step, Stream, Streams, Terms, TimeDomain, Xi, probe_symmetry, sampler,
};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Brownian bridge on [0, 1]: `x_t = (1 - t) x_0 + t x_T + sqrt(t (1 - t)) z`.
#[derive(Debug)]
struct Bridge {
    drive: Arc<dyn Representation>,
    time: TimeDomain,
}

impl Bridge {
    fn new() -> Self {
        let drive = Arc::new(Translations { remove_mean: false });
        // The score of a bridge is singular at both ends.
        Self {
            drive,
            time: TimeDomain {
                end: 1.0 - 1e-3,
                prior: 1.0 - 1e-3,
                ..TimeDomain::continuous(1e-3, 1.0)
            },
        }
    }
    /// Centred coordinates `x_t - shift x_T`.
    fn centred(&self, state: &State, t: f64) -> Result<Xi> {
        Ok((state.x() - &state.given("end")?.tensor * t).into())
    }
}

impl NoisingProcess for Bridge {
    fn name(&self) -> String {
        "Brownian bridge".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }
    fn time(&self) -> &TimeDomain {
        &self.time
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let kernel = (self.kernel_of_time().expect("closed form"))(&times_like(t, clean.x()));
        let z = stream.normal(&clean.x().size(), clean.options());
        let tau = kernel.mean[0].times(clean.x()) + kernel.std[0].times(&z);
        let known = kernel.shift.as_ref().expect("a bridge")[0].times(&clean.given("end")?.tensor);
        Ok(Perturbed {
            noisy: clean.with_value(&tau + known),
            kernel,
            noise: z.into(),
            clean: Some(clean.x().shallow_clone().into()),
            coordinates: Some(tau.into()),
            orientation: None,
        })
    }
    fn prior(&self, template: &State, _: &mut Stream) -> Result<State> {
        Ok(template.with_value(template.given("end")?.tensor.shallow_clone()))
    }
    fn prior_log_prob(&self, _: &State) -> Result<Option<Tensor>> {
        Ok(None)
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let t = step.from;
        let kernel = self.kernel(t).expect("closed form");
        let score = kernel.score(prediction, Some(&self.centred(state, t)?))?;
        let h: Xi = ((&state.given("end")?.tensor - state.x()) / (1.0 - t)).into();
        Ok(Terms {
            drift: h.zeros_like(),
            noise: vec![NoiseOperator::White(1.0)],
            preconditioned: score.clone(),
            score: Some(score),
            h: Some(h),
        })
    }
    fn kernel(&self, t: f64) -> Option<Kernel> {
        let std = (t * (1.0 - t)).sqrt();
        let kernel = Kernel::new(vec![Scale::Same(1.0 - t)], vec![Scale::Same(std)]);
        Some(kernel.shifted(vec![Scale::Same(t)]))
    }
    fn kernel_of_time(&self) -> Option<KernelOfTime> {
        Some(Arc::new(|t| {
            let std = Scale::Each((t * (t.ones_like() - t)).sqrt());
            let kernel = Kernel::new(vec![Scale::Each(1.0 - t)], vec![std]);
            kernel.shifted(vec![Scale::Each(t.shallow_clone())])
        }))
    }
    fn posterior(&self, x: &State, step: Step, prediction: &Prediction, z: &Xi) -> Result<State> {
        let (t, s) = (step.from, step.to);
        let kernel = self.kernel(t).expect("closed form");
        let clean = kernel.clean(prediction, &self.centred(x, t)?)?;
        let mean = clean.single() + (x.x() - clean.single()) * (s / t);
        Ok(x.with_value(mean + z.single() * (s * (t - s) / t).sqrt()))
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        // The forward drift is the h-term alone; the end moves with the value.
        probe_symmetry(self.fields(), symmetry, spec, |state| {
            Ok((&state.given("end")?.tensor - state.x()).into())
        })
    }
}

fn pairs(moves_end: Moves) -> State {
    State::new(Field::new(normal("start", &[8, 1, 4, 4]), Moves::Image))
        .with_context("end", Field::new(normal("end", &[8, 1, 4, 4]), moves_end))
        .with_context("truth", Field::new(normal("start", &[8, 1, 4, 4]), Moves::Image))
}

fn oracle() -> Oracle {
    let answer = |state: &State, _| Ok(state.given("truth")?.tensor.shallow_clone().into());
    Oracle(PredictionKind::Clean, Box::new(answer))
}

#[test]
fn bridges_have_quarter_turns_that_act_on_both_ends() {
    let row = Row {
        process: Box::new(Bridge::new()),
        model: oracle(),
        clean: pairs(Moves::Image),
        symmetry: Some(Arc::new(QuarterTurns)),
        push_tolerance: 1e-7,
        refused: vec![],
    };
    let samples = row.check(200);
    assert_close("the other end", samples.x(), row.clean.x(), 0.3);
    assert!(row.process.prior_log_prob(&samples).unwrap().is_none());
    // An end that is not told to move is an asymmetric process.
    let refusal =
        row.process.symmetric_under(&QuarterTurns, &pairs(Moves::Fixed).spec()).unwrap_err();
    assert!(refusal.to_string().contains("drift"));
}

#[test]
fn the_guidance_weight_reaches_the_h_term_alone() {
    let (process, model) = (Bridge::new(), oracle());
    let mut ends = Vec::new();
    for weight in [1.0, 0.5] {
        let mut noise = FreshNoise::new(&Streams::new(3), "sampler");
        let start = process.prior(&pairs(Moves::Image), &mut stream("prior")).unwrap();
        let euler = Euler { steps: 20, weight };
        let samples = euler
            .run(&process, &model, start, &mut noise, &mut isotropy_core::sampler::unobserved)
            .unwrap();
        ends.push(samples.state);
    }
    assert!(crate::harness::difference(ends[0].x(), ends[1].x()) > 1e-3);
}

#[test]
fn the_posterior_leads_exactly_to_the_clean_end_and_moves_with_its_noise() {
    let (process, model) = (Bridge::new(), oracle());
    let run = |start: State, noise: &mut dyn Noise| {
        let mut state = start;
        for (k, step) in process.time().grid(10).unwrap().into_iter().enumerate() {
            let to = if k == 9 { 0.0 } else { step.to };
            let t = sampler::times(&state, step);
            let p = isotropy_core::ScoreModel::predict(&model, &state, &t, false).unwrap();
            let z = noise.unit(k as u64, &state, &p.heads[0], &process).unwrap();
            state = process.posterior(&state, Step { from: step.from, to }, &p, &z).unwrap();
        }
        state
    };
    let start = process.prior(&pairs(Moves::Image), &mut stream("prior")).unwrap();
    let fresh = FreshNoise::new(&Streams::new(3), "posterior");
    let mut recording = isotropy_core::RecordingNoise::new(fresh);
    let end = run(start.clone(), &mut recording);
    assert_close("clean end", end.x(), &start.given("truth").unwrap().tensor, 1e-12);
    let h = crate::harness::element(&QuarterTurns, &start);
    let moved =
        run(QuarterTurns.act(&h, &start).unwrap(), &mut recording.transported(&QuarterTurns, &h));
    assert_close("moved end", moved.x(), QuarterTurns.act(&h, &end).unwrap().x(), 1e-12);
}

#[test]
fn the_kernel_of_a_bridge_has_its_moments() {
    let ends = Field::new(Tensor::full([20_000, 1, 1, 1], 2.0, F64), Moves::Image);
    let zero = Field::new(Tensor::full([20_000, 1, 1, 1], -1.0, F64), Moves::Image);
    let clean = State::new(zero).with_context("end", ends);
    let t = Tensor::full([20_000], 0.3, F64);
    let x = Bridge::new().perturb(&clean, &t, &mut stream("bridge")).unwrap().noisy;
    let (mean, variance) = (x.x().mean(Kind::Double), x.x().var(false));
    assert!((mean.double_value(&[]) - (-0.7 + 0.6)).abs() < 0.02);
    assert!((variance.double_value(&[]) - 0.21).abs() < 0.01);
}
