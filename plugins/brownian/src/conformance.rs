//! Checks of processes whose kernel is no Gaussian of flow coordinates, on any homogeneous drive: the
//! core suite has nothing to compare their kernel with. `runner check process brownian` runs them.

use isotropy_conformance::{CheckResult, ExtraCheck, Status};
use isotropy_core::{
    Error, NoisingProcess, Prediction, PredictionKind, ProcessConfig, RepresentationConfig, Result,
    Scale, State, Step, Streams, Xi,
};
use tch::{Device, Kind, Tensor};

/// Standard deviations of the Monte-Carlo error that are allowed.
const SIGMAS: f64 = 5.0;
/// Points of a simulation.
const POINTS: i64 = 5_000;
/// Steps of a simulation.
const STEPS: usize = 60;

/// All checks.
pub fn check_heat_process(process: &dyn NoisingProcess, streams: &Streams) -> Vec<CheckResult> {
    let subject = Subject { process, streams };
    let outcome = |name: &str, found: Result<(f64, f64)>| match found {
        Ok((error, tolerance)) => CheckResult::compare(name, error, tolerance),
        Err(error) => CheckResult::fail(name, error.to_string()),
    };
    vec![
        outcome("targets are horizontal", subject.horizontal()),
        outcome("heat kernel against the simulated equation", subject.simulated()),
        outcome("score of the heat kernel obeys integration by parts", subject.by_parts()),
    ]
}

struct Subject<'a> {
    process: &'a dyn NoisingProcess,
    streams: &'a Streams,
}

/// The larger of both, NaN if one is.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn largest(a: &Tensor) -> f64 {
    a.abs().max().double_value(&[])
}

impl Subject<'_> {
    /// One clean point, as often as asked for.
    fn clean(&self, count: i64) -> Result<State> {
        let mut stream = self.streams.stream("heat clean", 0);
        let options = (Kind::Double, Device::Cpu);
        let state =
            self.process.drive().sample_state(1, options, &mut stream).ok_or_else(|| {
                Error::Unsupported("the drive offers no states to test on".into())
            })?;
        let state = self.process.fields().lift(state)?;
        let rows = Tensor::zeros([count], (Kind::Int64, Device::Cpu));
        Ok(state.map_batched(|a| a.index_select(0, &rows)))
    }

    /// A time at which the kernel is neither narrow nor flat.
    fn time(&self, level: f64) -> f64 {
        let time = self.process.time();
        let t = self.process.time_of_level(level).unwrap_or(0.5 * (time.start + time.end));
        if time.discrete { t.round() } else { t }
    }

    fn perturb(&self, count: i64, t: f64) -> Result<(State, isotropy_core::Perturbed)> {
        let clean = self.clean(count)?;
        let times = Tensor::full([count], t, clean.options());
        let mut stream = self.streams.stream("heat perturb", 0);
        let noisy = self.process.perturb(&clean, &times, &mut stream)?;
        Ok((clean, noisy))
    }

    fn horizontal(&self) -> Result<(f64, f64)> {
        let mut error = 0.0;
        for level in [0.1, 0.7, 2.0] {
            let (_, perturbed) = self.perturb(200, self.time(level))?;
            let level = self.process.fields().horizontal(&perturbed.noisy, perturbed.noise()?);
            let vertical = perturbed.noise()?.sub(&level);
            error = vertical.0.iter().map(largest).fold(error, worse);
        }
        Ok((error, 1e-9))
    }

    /// Noise in the frame, step by step, must lead to the law that `perturb` draws from: first and
    /// second moments of the value agree.
    fn simulated(&self) -> Result<(f64, f64)> {
        let t = self.time(0.8);
        let (clean, perturbed) = self.perturb(POINTS, t)?;
        let fields = self.process.fields();
        let zero = Prediction::one(PredictionKind::Score, fields.zeros(&clean));
        // From the first time on, by the process's own transition to it.
        let start = self.process.time().start;
        let mut stream = self.streams.stream("heat walk", 0);
        let mut normal = |state: &State| {
            let z = zero.heads[0].map(|a| stream.normal(&a.size(), state.options()));
            fields.horizontal(state, &z)
        };
        let times = Tensor::full([POINTS], start, clean.options());
        let mut first = self.streams.stream("heat start", 0);
        let mut state = self.process.perturb(&clean, &times, &mut first)?.noisy;
        let count = match self.process.time().discrete {
            true => (t - start) as usize,
            false => STEPS,
        };
        for k in 0..count {
            let at = |k: usize| start + (t - start) * k as f64 / count as f64;
            let step = Step { from: at(k + 1), to: at(k) };
            // Long steps at the end of a geometric schedule are cut, for the error of Euler's rule.
            let parts = 2;
            let terms = self.process.terms(&state, step, &zero)?;
            let length = step.length() / f64::from(parts);
            for _ in 0..parts {
                let drift = self.process.terms(&state, step, &zero)?.drift;
                let z = normal(&state);
                let noise = z.0.iter().zip(&terms.noise).map(|(z, g)| g.apply(z) * length.sqrt());
                let xi = drift.scale(length).add(&Xi(noise.collect()));
                state = fields.flow(&state, &xi);
            }
        }
        // On a torus moments of the angle depend on the cut; those of cosine and sine do not.
        let features = |state: &State| {
            let x = state.x().flatten(1, -1);
            Tensor::cat(&[x.sin(), x.cos(), x.tanh()], 1)
        };
        let (walked, drawn) = (features(&state), features(&perturbed.noisy));
        let mean = |x: &Tensor| x.mean_dim([0i64].as_slice(), false, Kind::Double);
        let spread = |x: &Tensor| x.var_dim([0i64].as_slice(), true, false) / POINTS as f64;
        let scale = (spread(&walked) + spread(&drawn)).sqrt() + 1e-12;
        // Euler's rule is off by a part of a step; 0.004 of a unit is what it may be here.
        let excess = (mean(&walked) - mean(&drawn)).abs() / (scale * SIGMAS + 0.004);
        Ok((largest(&excess), 1.0))
    }

    /// `E[L_i phi] = -E[phi L_i log p]` for every field of the frame (they keep the measure that the
    /// density refers to) and linear functions `phi` of the value; `-L_i log p = noise_i / std`.
    fn by_parts(&self) -> Result<(f64, f64)> {
        let mut worst = 0.0;
        for level in [0.3, 1.2] {
            let (_, perturbed) = self.perturb(POINTS, self.time(level))?;
            let noisy = &perturbed.noisy;
            // A function of the value that is smooth on every space: angles by their sine.
            let x = noisy.x().detach().set_requires_grad(true);
            let mut stream = self.streams.stream("heat covector", 0);
            let size: Vec<i64> = [&[1], &x.size()[1..]].concat();
            let c = stream.normal(&size, noisy.options());
            let phi = ((&x.sin() + x.cos()) * &c).flatten(1, -1).sum_dim_intlist(
                [1].as_slice(),
                true,
                None,
            );
            let gradient = Tensor::f_run_backward(&[phi.sum(Kind::Double)], &[&x], false, false)?;
            let derivative = self.process.fields().pull(noisy, &gradient[0]);
            let phi = phi.detach();
            for (k, noise) in perturbed.noise()?.0.iter().enumerate() {
                let noise = noise.flatten(1, -1);
                let std = match &perturbed.kernel.std[k] {
                    Scale::Same(std) => noise.ones_like() * *std,
                    Scale::Each(std) => std.flatten(1, -1).expand_as(&noise),
                };
                let difference = derivative.factor(k).flatten(1, -1) - noise / std * &phi;
                let mean = difference.mean_dim([0i64].as_slice(), false, Kind::Double);
                let spread =
                    difference.std_dim([0i64].as_slice(), true, false) / (POINTS as f64).sqrt();
                worst = worse(worst, largest(&(mean / (spread * SIGMAS + 1e-9))));
            }
        }
        Ok((worst, 1.0))
    }
}

/// The first check that fails, or the last.
fn registered() -> CheckResult {
    const NAME: &str = "heat kernels (target, simulation, integration by parts)";
    let run = || -> Result<Vec<CheckResult>> {
        let mut all = Vec::new();
        for drive in [
            r#"{"type": "torus"}"#,
            r#"{"type": "rotation-matrices"}"#,
            r#"{"type": "generators", "dimension": 3}"#,
        ] {
            let parse = |error: serde_json::Error| Error::Other(error.to_string());
            let drive: Box<dyn RepresentationConfig> =
                serde_json::from_str(drive).map_err(parse)?;
            let process: Box<dyn ProcessConfig> =
                serde_json::from_str(r#"{"type": "brownian"}"#).map_err(parse)?;
            let process = process.build(drive.build()?)?;
            all.extend(check_heat_process(process.as_ref(), &Streams::new(1)));
        }
        Ok(all)
    };
    match run() {
        Err(error) => CheckResult::fail(NAME, error.to_string()),
        Ok(all) => match all.iter().find(|result| result.status == Status::Fail) {
            Some(failed) => CheckResult::fail(NAME, format!("{}: {}", failed.check, failed.why)),
            None => CheckResult::compare(NAME, 0.0, 0.0),
        },
    }
}

#[isotropy_core::linkme::distributed_slice(isotropy_conformance::CHECKS)]
#[linkme(crate = isotropy_core::linkme)]
static HEAT: ExtraCheck =
    ExtraCheck { kind: "process", name: Some("brownian"), run: |_| vec![registered()] };
