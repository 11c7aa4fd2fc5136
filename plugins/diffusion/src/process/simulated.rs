//! Langevin diffusion whose kernel has no closed form.

use super::CoordinateLaw;
use super::anchor::{fits, row, visible};
use super::gaussian::coordinates_of;
use crate::clock::Clock;
use isotropy_core::{
    ClosedForm, ClosedForms, Error, FlowCoordinates, Kernel, KernelLaw, NoiseOperator,
    NoisingProcess, Perturbed, Prediction, PredictionKind, Representation, Result, Root, Scale,
    State, StateSpec, Step, Stream, Terms, TimeDomain, Xi, broadcast, probe_symmetry,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// `dtau = beta/2 S^2 grad log pi dt + sqrt(beta) S dW` by simulation.
///
/// A noisy state takes `n` steps of the length `h = B(t) / n` on the clock `B = -log alpha_bar`: all
/// but the last by stochastic Heun (of second weak order), the last by Euler-Maruyama, so that it is
/// drawn from a known normal law given the state before it. Regression on the noise of that last
/// step gives the score of the simulated law itself (denoising score matching with the last
/// transition in the place of the whole kernel); `std` of [`Perturbed::kernel`] is `sqrt(h)`, with
/// the colour `S`. The target has the variance of that short transition: more simulated steps make
/// the law more exact and the target noisier.
#[derive(Debug)]
pub struct Simulated {
    drive: Arc<dyn Representation>,
    clock: Arc<Clock>,
    /// The law of each coordinate, factor by factor: one for all, or one for each.
    laws: Vec<Vec<CoordinateLaw>>,
    steps: usize,
}

/// The law of the last simulated step: `tau_t = tau + sqrt(B(t) / n) S z`.
#[derive(Debug)]
struct LastStepLaw {
    clock: Arc<Clock>,
    /// The number `n` of simulated steps.
    steps: f64,
    /// `S` of each factor.
    scales: Vec<Vec<f64>>,
}

fn roots(scales: &[Vec<f64>]) -> Vec<Option<Root>> {
    scales.iter().map(|scale| Some(Root::diagonal(Tensor::from_slice(scale)))).collect()
}

impl KernelLaw for LastStepLaw {
    fn time(&self) -> &TimeDomain {
        &self.clock.time
    }

    fn scales(&self, t: f64) -> Kernel {
        let std = (elapsed(&self.clock, t) / self.steps).sqrt();
        let same = |a: f64| vec![Scale::Same(a); self.scales.len()];
        Kernel::new(same(1.0), same(std)).coloured(roots(&self.scales))
    }

    fn tensors(&self, t: &Tensor) -> Kernel {
        let (mean, _) = self.clock.gather(t, (t.kind(), t.device()));
        let std = (mean.log() * (-2.0 / self.steps)).sqrt();
        let factors = self.scales.len();
        let kernel = Kernel::new(vec![Scale::Same(1.0); factors], vec![Scale::Each(std); factors]);
        kernel.coloured(roots(&self.scales))
    }

    fn gaussian(&self) -> bool {
        false
    }

    fn level(&self, _t: f64) -> Option<f64> {
        None
    }
}

/// `B(t) = -log alpha_bar`.
fn elapsed(clock: &Clock, t: f64) -> f64 {
    -2.0 * clock.at(t).0.ln()
}

impl Simulated {
    /// The process on a drive.
    ///
    /// # Errors
    /// When the drive has no flow coordinates, or hides some directions: independent laws of the
    /// coordinates say nothing about them on a subspace.
    pub(super) fn new(
        drive: Arc<dyn Representation>,
        clock: Clock,
        laws: Vec<Vec<CoordinateLaw>>,
        steps: usize,
    ) -> Result<Self> {
        coordinates_of(drive.as_ref())?;
        let process = Self { drive, clock: Arc::new(clock), laws, steps };
        let mut stream = isotropy_core::Stream::probe();
        let options = (Kind::Double, Device::Cpu);
        if let Some(state) = process.drive.sample_state(2, options, &mut stream) {
            let state = process.fields().lift(state)?;
            let z = process.fields().normal(&state, &mut stream);
            let hidden = z.sub(&process.fields().horizontal(&state, &z)).square_norm();
            if state.mask().is_none() && hidden.max().double_value(&[]) > 1e-12 {
                return Err(Error::config(
                    "/invariant",
                    format!(
                        "{} hides some directions; give normal laws, which have a closed form",
                        process.drive.name()
                    ),
                ));
            }
        }
        Ok(process)
    }

    fn coordinates(&self) -> &dyn FlowCoordinates {
        self.fields().coordinates().expect("checked when the process was built")
    }

    /// Something of the law of each coordinate, put together along the last axis.
    fn each(&self, tau: &Xi, mut f: impl FnMut(&CoordinateLaw, &Tensor) -> Tensor) -> Xi {
        let factors = tau.0.iter().zip(&self.laws).map(|(tau, laws)| {
            if let [law] = laws.as_slice() {
                return f(law, tau);
            }
            let columns =
                laws.iter().enumerate().map(|(k, law)| f(law, &tau.narrow(-1, k as i64, 1)));
            Tensor::cat(&columns.collect::<Vec<_>>(), -1)
        });
        Xi(factors.collect())
    }

    /// `S` of each factor, one number for each coordinate.
    fn numbers(&self) -> Vec<Vec<f64>> {
        self.laws.iter().map(|laws| laws.iter().map(CoordinateLaw::scale).collect()).collect()
    }

    fn scales(&self, options: (Kind, Device)) -> Vec<Tensor> {
        self.numbers().iter().map(|list| row(list, options)).collect()
    }

    fn law(&self) -> LastStepLaw {
        let (clock, steps) = (Arc::clone(&self.clock), self.steps as f64);
        LastStepLaw { clock, steps, scales: self.numbers() }
    }

    /// `S^2 grad log pi / 2`, in the visible directions.
    fn pull(&self, state: &State, tau: &Xi) -> Xi {
        let score = self.each(tau, CoordinateLaw::score);
        let scales = self.scales(state.options());
        let half = score.0.iter().zip(&scales).map(|(score, scale)| score * scale.square() * 0.5);
        self.fields().horizontal(state, &Xi(half.collect()))
    }

    fn coloured(&self, z: &Xi) -> Xi {
        let scales = self.scales(z.options());
        Xi(z.0.iter().zip(&scales).map(|(z, scale)| z * scale).collect())
    }

    /// Score and `S^2 score` of a prediction.
    fn read(&self, state: &State, t: f64, prediction: &Prediction) -> Result<(Xi, Xi)> {
        self.accepts_prediction(prediction.kind)?;
        let (kernel, fields) = (self.law().scales(t), self.fields());
        let score = kernel.score(prediction, None)?;
        let preconditioned = kernel.covariance_score(prediction, None)?;
        Ok((fields.horizontal(state, &score), fields.horizontal(state, &preconditioned)))
    }
}

impl NoisingProcess for Simulated {
    fn name(&self) -> String {
        format!("Langevin in {}", self.fields().frame())
    }

    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }

    fn time(&self) -> &TimeDomain {
        &self.clock.time
    }

    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let (fields, coordinates) = (self.fields(), self.coordinates());
        fits(&self.laws, &fields.xi_shape(&clean.spec()))?;
        let mut tau = coordinates.unwrapped(clean);
        let (mean, _) = self.clock.gather(t, clean.options());
        let length = mean.log() * (-2.0 / self.steps as f64);
        let length: Vec<Tensor> = tau.0.iter().map(|tau| broadcast(&length, tau.dim())).collect();
        let std: Vec<Tensor> = length.iter().map(Tensor::sqrt).collect();
        let times = |xi: &Xi, scale: &[Tensor]| {
            Xi(xi.0.iter().zip(scale).map(|(xi, scale)| xi * scale).collect())
        };
        let mut noise = tau.zeros_like();
        for step in 1..=self.steps {
            noise = fields.horizontal(clean, &fields.normal(clean, stream));
            let kick = times(&self.coloured(&noise), &std);
            let here = self.pull(clean, &tau);
            let ahead = tau.add(&times(&here, &length)).add(&kick);
            tau = if step == self.steps {
                ahead
            } else {
                let middle = here.add(&self.pull(clean, &ahead)).scale(0.5);
                tau.add(&times(&middle, &length)).add(&kick)
            };
        }
        let ones = tau.0.iter().map(|_| Scale::Same(1.0)).collect();
        let kernel = Kernel::new(ones, std.into_iter().map(Scale::Each).collect());
        Ok(Perturbed {
            noisy: coordinates.point(clean, &tau),
            kernel: kernel.coloured(roots(&self.numbers())),
            noise: Some(noise),
            velocity: None,
            clean: None,
            orientation: coordinates.orientation(&tau),
            coordinates: Some(tau),
        })
    }

    fn simulated_steps(&self) -> usize {
        self.steps
    }

    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let shapes = self.fields().xi_shape(&template.spec());
        fits(&self.laws, &shapes)?;
        let zeros = self.fields().normal(template, stream).zeros_like();
        let tau = self.each(&zeros, |law, like| law.sample(like, stream));
        // Padding stays at the origin.
        Ok(self.coordinates().point(template, &self.fields().horizontal(template, &tau)))
    }

    /// On the branch of the state for laws on the line; angles with a law on the circle have one
    /// density on all branches.
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let tau = self.coordinates().unwrapped(state);
        let there = visible(self.fields(), state, &tau);
        let log = self.each(&tau, CoordinateLaw::log_density);
        let sums = log.zip(&there, |log, there| log * there).0.into_iter();
        let sums = sums.map(|log| log.flatten(1, -1).sum_dim_intlist(1, false, None));
        let total = sums.reduce(|a, b| a + b);
        Ok(total.map(|total| total - self.coordinates().log_abs_det(state)))
    }

    fn accepts_prediction(&self, kind: PredictionKind) -> Result<()> {
        match kind {
            PredictionKind::Noise
            | PredictionKind::Score
            | PredictionKind::PreconditionedScore
            | PredictionKind::CovarianceScore => Ok(()),
            _ => Err(Error::Unsupported(format!(
                "{} is simulated: its kernel is not Gaussian, so only predictions of the score serve (noise, score, preconditioned-score)",
                self.name()
            ))),
        }
    }

    /// That of the last simulated step: not Gaussian as a whole, and without a noise level.
    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        Some(Arc::new(self.law()))
    }

    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let rate = self.clock.rate(step);
        let (score, preconditioned) = self.read(state, step.from, prediction)?;
        let drift = self.pull(state, &self.coordinates().unwrapped(state)).scale(rate);
        let scale = rate.sqrt();
        let noise = roots(&self.numbers()).into_iter().map(|root| match root {
            Some(root) => NoiseOperator::Coloured { scale, root },
            None => NoiseOperator::White(scale),
        });
        let noise = noise.collect();
        let preconditioned = preconditioned.scale(rate);
        Ok(Terms { drift, noise, score: Some(score), preconditioned, h: None })
    }

    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        symmetry.accepts(spec)?;
        let pull = |state: &State| Ok(self.pull(state, &self.coordinates().unwrapped(state)));
        probe_symmetry(self.fields(), symmetry, spec, pull)?;
        // The noise is coloured: that has to commute with the action, too.
        probe_symmetry(self.fields(), symmetry, spec, |state| Ok(self.coloured(&pull(state)?)))
    }

    fn closed_forms(&self) -> Option<&dyn ClosedForms> {
        Some(self)
    }
}

impl ClosedForms for Simulated {
    fn forms(&self) -> &'static [ClosedForm] {
        &[ClosedForm::Clean]
    }

    /// To first order in the time that has passed (one reverse step without noise): use it near the
    /// data, for the last step of a sampler.
    fn clean(&self, state: &State, t: f64, prediction: &Prediction) -> Result<State> {
        let (_, preconditioned) = self.read(state, t, prediction)?;
        let pull = self.pull(state, &self.coordinates().unwrapped(state));
        let displacement = preconditioned.sub(&pull).scale(elapsed(&self.clock, t));
        Ok(self.fields().flow(state, &displacement))
    }
}
