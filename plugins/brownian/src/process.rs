//! Brownian motion on the compact factors of a drive, an Ornstein-Uhlenbeck process in the flat ones.
//!
//! In a compact factor the forward equation is `dg = (noise dW) . g`: the point moves by independent
//! increments in the frame of generators, and its law at clock `eps^2` is the heat kernel about the
//! clean point. In a flat factor (`log r`) the noise is that of the variance-preserving process. Each
//! factor has one kernel, and nothing here knows more about a drive than its [`Homogeneous`] side. On
//! SO(n)xR+ this is the Riemannian baseline: Brownian motion on the sphere, VP in `log r`.

use crate::heat_kernel::HeatKernel;
use isotropy_core::schedule::Family;
use isotropy_core::{
    ClosedForm, ClosedForms, Element, Error, Homogeneous, Kernel, KernelLaw, NoiseOperator,
    NoisingProcess, Perturbed, Prediction, PredictionKind, ProcessConfig, Representation, Result,
    Scale, ScheduleConfig, Space, State, StateSpec, Step, Stream, Terms, TimeDomain, Xi, broadcast,
    component, config, probe_symmetry,
};
use isotropy_diffusion::clock::Clock;
use isotropy_diffusion::schedule::{CosineConfig, GeometricConfig};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// A terminal law that deviates more than this from the uniform one is refused: samples would start
/// at the wrong place.
const REFUSED: f64 = 0.5;

/// The clock of the compact factors: `eps(t)`, the standard deviation of their coefficients.
#[derive(Debug)]
struct Compact(Clock);

impl Compact {
    /// An exploding schedule gives `eps` itself; a preserving one stands for the same `beta`, whose
    /// integral `-log alpha_bar` is `eps^2`.
    fn at(&self, t: f64) -> f64 {
        let (_, std) = self.0.at(t);
        match self.0.family() {
            Family::VarianceExploding => std,
            Family::VariancePreserving => (-(-std * std).ln_1p()).sqrt(),
        }
    }

    /// As [`Compact::at`], for times `[B]`: `[B, 1]`.
    fn gather(&self, t: &Tensor, options: (Kind, Device)) -> Tensor {
        let (_, std) = self.0.gather(t, options);
        match self.0.family() {
            Family::VarianceExploding => std,
            Family::VariancePreserving => std.square().neg().log1p().neg().sqrt(),
        }
    }

    /// Increase of `eps^2` per unit of time over a step (either way round), or at an instant.
    fn rate(&self, step: Step) -> f64 {
        if step.from == step.to && self.0.family() == Family::VarianceExploding {
            return self.0.rate(step);
        }
        let (mut from, mut to) = (step.from, step.to);
        if from == to {
            let (time, h) = (&self.0.time, if self.0.time.discrete { 1.0 } else { 1e-4 });
            // Discrete: the rate of the step that ends here. Continuous: the derivative.
            let ahead = if time.discrete { 0.0 } else { h };
            (from, to) = ((from + ahead).min(time.end), (to - h).max(0.0));
        }
        (self.at(from).powi(2) - self.at(to).powi(2)) / (from - to)
    }
}

/// Mean factors and standard deviations of the factors; in the compact ones the kernel has no more
/// of a Gaussian than these.
#[derive(Debug)]
struct Scales {
    /// Scales of the compact factors.
    compact: Compact,
    /// Mean factor and scale of the flat ones, on the same time axis.
    flat: Clock,
    /// Which factors are flat.
    is_flat: Vec<bool>,
    time: TimeDomain,
}

impl Scales {
    /// `(mean, std)` of a flat or a compact factor at a time.
    fn of(&self, is_flat: bool, t: f64) -> (f64, f64) {
        if is_flat { self.flat.at(t) } else { (1.0, self.compact.at(t)) }
    }
}

impl KernelLaw for Scales {
    fn time(&self) -> &TimeDomain {
        &self.time
    }

    fn scales(&self, t: f64) -> Kernel {
        let factors = self.is_flat.iter().map(|&is_flat| self.of(is_flat, t));
        let scales = factors.map(|(mean, std)| (Scale::Same(mean), Scale::Same(std)));
        let (mean, std) = scales.unzip();
        Kernel::new(mean, std)
    }

    fn tensors(&self, t: &Tensor) -> Kernel {
        let options = (t.kind(), t.device());
        let scales = self.is_flat.iter().map(|&is_flat| {
            if is_flat {
                let (mean, std) = self.flat.gather(t, options);
                return (Scale::Each(mean), Scale::Each(std));
            }
            (Scale::Same(1.0), Scale::Each(self.compact.gather(t, options)))
        });
        let (mean, std) = scales.unzip();
        Kernel::new(mean, std)
    }

    fn gaussian(&self) -> bool {
        false
    }

    /// The variable of integration is one for all factors.
    fn family(&self) -> Option<Family> {
        match (self.is_flat.contains(&true), self.is_flat.contains(&false)) {
            (true, false) => Some(Family::VariancePreserving),
            (false, true) => Some(Family::VarianceExploding),
            _ => None,
        }
    }

    /// That of the compact factors.
    fn level(&self, t: f64) -> Option<f64> {
        Some(self.compact.at(t))
    }
}

/// One factor of the drive with its kernel.
#[derive(Debug)]
enum Factor {
    /// Brownian motion by this heat kernel.
    Compact(HeatKernel),
    /// The variance-preserving process.
    Flat,
}

/// Brownian motion on compact factors, VP on flat ones.
#[derive(Debug)]
pub struct Brownian {
    drive: Arc<dyn Representation>,
    factors: Vec<Factor>,
    scales: Arc<Scales>,
}

impl Brownian {
    /// The process on a drive; both clocks have the same kind of time axis.
    ///
    /// # Errors
    /// When the drive is no frame of generators, a space has no known heat kernel, or the schedule
    /// ends long before the law is uniform.
    pub fn new(drive: Arc<dyn Representation>, compact: Clock, flat: Clock) -> Result<Self> {
        let homogeneous = drive.drive().and_then(|fields| fields.homogeneous());
        let homogeneous = homogeneous.ok_or_else(|| {
            let message =
                format!("{} is no frame of algebra generators on known spaces", drive.name());
            Error::config("", message).with_help(
                "Brownian motion runs on the drives `generators`, `rotation-matrices`, `torus`",
            )
        })?;
        let factor = |space: &Space| match space {
            Space::Flat => Ok(Factor::Flat),
            space => HeatKernel::new(*space).map(Factor::Compact),
        };
        let factors = homogeneous.spaces().iter().map(factor).collect::<Result<Vec<_>>>()?;
        let mut time = compact.time.clone();
        // The last step of a clipped schedule removes all that is left of flat coordinates at once,
        // and samplers leave it out. A compact factor needs no such care: its score is zero there.
        time.prior = time.end;
        if factors.iter().any(|factor| matches!(factor, Factor::Flat)) {
            time.prior = time.prior.min(flat.time.prior);
        }
        let is_flat = factors.iter().map(|factor| matches!(factor, Factor::Flat)).collect();
        let scales = Scales { compact: Compact(compact), flat, is_flat, time };
        let process = Self { drive, factors, scales: Arc::new(scales) };
        let gap = process.prior_gap();
        if gap > REFUSED {
            let eps = process.scales.compact.at(process.scales.time.prior);
            let message = format!(
                "the schedule ends at standard deviation {eps}, where the density still deviates by {gap:.2} from the uniform prior"
            );
            return Err(Error::config("/schedule", message)
                .with_help("raise the largest standard deviation, to 4.5 for instance"));
        }
        Ok(process)
    }

    /// By how much the density of the compact factors at the time of the prior deviates from the
    /// uniform one, at most and for a single clean point (0.01 is one per cent).
    pub fn prior_gap(&self) -> f64 {
        let eps = self.scales.compact.at(self.scales.time.prior);
        let gaps = self.factors.iter().map(|factor| match factor {
            Factor::Compact(kernel) => kernel.deviation(eps),
            Factor::Flat => 0.0,
        });
        gaps.fold(0.0, f64::max)
    }

    /// Standard deviation of the coefficients of compact factors at a time.
    pub fn scale(&self, t: f64) -> f64 {
        self.scales.compact.at(t)
    }

    fn homogeneous(&self) -> &dyn Homogeneous {
        self.fields().homogeneous().expect("checked when the process was built")
    }

    /// `(mean, std)` of a factor at a time.
    fn at(&self, factor: &Factor, t: f64) -> (f64, f64) {
        self.scales.of(matches!(factor, Factor::Flat), t)
    }

    fn white(&self, state: &State, stream: &mut Stream) -> Xi {
        self.fields().horizontal(state, &self.fields().normal(state, stream))
    }

    /// The score that a prediction stands for, horizontal.
    fn score(&self, state: &State, t: f64, prediction: &Prediction) -> Result<Xi> {
        let score = self.scales.scales(t).score(prediction, None)?;
        Ok(self.fields().horizontal(state, &score))
    }
}

impl NoisingProcess for Brownian {
    fn name(&self) -> String {
        let parts = self.factors.iter().map(|factor| match factor {
            Factor::Compact(kernel) => format!("Brownian motion on {:?}", kernel.space()),
            Factor::Flat => "VP".into(),
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }

    fn time(&self) -> &TimeDomain {
        &self.scales.time
    }

    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let z = self.white(clean, stream);
        let count = self.factors.len();
        let (mut xi, mut noise) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut means, mut stds) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (k, (factor, z)) in self.factors.iter().zip(&z.0).enumerate() {
            match factor {
                Factor::Compact(kernel) => {
                    let eps = broadcast(&self.scales.compact.gather(t, clean.options()), z.dim());
                    let (displacement, pull) = kernel.noise(z, &eps);
                    xi.push(displacement);
                    noise.push(pull);
                    means.push(Scale::Same(1.0));
                    stds.push(Scale::Each(eps));
                }
                Factor::Flat => {
                    let (mean, std) = self.scales.flat.gather(t, clean.options());
                    let (mean, std) = (broadcast(&mean, z.dim()), broadcast(&std, z.dim()));
                    let place = self.homogeneous().flat(clean, k)?;
                    xi.push((place * (&mean - 1.0)).addcmul(&std, z));
                    noise.push(z.shallow_clone());
                    means.push(Scale::Each(mean));
                    stds.push(Scale::Each(std));
                }
            }
        }
        Ok(Perturbed {
            noisy: self.fields().flow(clean, &Xi(xi)),
            kernel: Kernel::new(means, stds),
            noise: Some(Xi(noise)),
            velocity: None,
            clean: None,
            coordinates: None,
            orientation: None,
        })
    }

    /// Uniform in compact factors, standard normal in flat ones. The template gives the shapes and,
    /// where the action is not transitive, the orbit.
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let (drive, options) = (self.fields(), template.options());
        let mut g: Element = drive.group().sample(&drive.element_shape(template)?, options, stream);
        for (k, factor) in self.factors.iter().enumerate() {
            if matches!(factor, Factor::Flat) {
                let place = self.homogeneous().flat(template, k)?;
                g.0[k] = stream.normal(&place.size(), options) - place;
            }
        }
        drive.act(&g, template)
    }

    /// With respect to the base measure of the drive.
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let mut total = self.homogeneous().log_uniform(state);
        for (k, factor) in self.factors.iter().enumerate() {
            if matches!(factor, Factor::Flat) {
                let place = self.homogeneous().flat(state, k)?.flatten(1, -1);
                let constant = place.size()[1] as f64 * 0.5 * (2.0 * PI).ln();
                total +=
                    place.square().sum_dim_intlist([1].as_slice(), false, None) * -0.5 - constant;
            }
        }
        Ok(Some(total))
    }

    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        Some(Arc::clone(&self.scales) as Arc<dyn KernelLaw>)
    }

    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let score = self.score(state, step.from, prediction)?;
        let count = self.factors.len();
        let (mut drift, mut noise) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut preconditioned = Vec::with_capacity(count);
        for (k, (factor, score)) in self.factors.iter().zip(&score.0).enumerate() {
            let rate = match factor {
                Factor::Compact(_) => {
                    drift.push(score.zeros_like());
                    self.scales.compact.rate(step)
                }
                Factor::Flat => {
                    let rate = self.scales.flat.rate(step);
                    drift.push(self.homogeneous().flat(state, k)? * (-0.5 * rate));
                    rate
                }
            };
            noise.push(NoiseOperator::White(rate.max(0.0).sqrt()));
            preconditioned.push(score * rate);
        }
        Ok(Terms {
            drift: Xi(drift),
            noise,
            preconditioned: Xi(preconditioned),
            score: Some(score),
            h: None,
        })
    }

    /// A score or the noise: there are no clean coordinates, and no field of coordinates.
    fn accepts_prediction(&self, kind: PredictionKind) -> Result<()> {
        match kind {
            PredictionKind::Noise
            | PredictionKind::Score
            | PredictionKind::PreconditionedScore
            | PredictionKind::CovarianceScore => Ok(()),
            _ => Err(Error::Unsupported(format!(
                "{} has no flow coordinates, which a prediction of kind {kind:?} needs",
                self.name()
            ))
            .with_help("predict `preconditioned-score` instead")),
        }
    }

    /// The heat kernel is a function of the distance, and the drift in flat factors refers to their
    /// origin: every symmetry that keeps both is one of the process, rotations among them.
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        symmetry.accepts(spec)?;
        let (fields, homogeneous) = (self.fields(), self.homogeneous());
        probe_symmetry(fields, symmetry, spec, |state| {
            let parts = self.factors.iter().zip(fields.zeros(state).0).enumerate();
            let drift = parts.map(|(k, (factor, zeros))| match factor {
                Factor::Compact(_) => Ok(zeros),
                Factor::Flat => Ok(homogeneous.flat(state, k)? * -0.5),
            });
            Ok(Xi(drift.collect::<Result<Vec<_>>>()?))
        })
    }

    fn closed_forms(&self) -> Option<&dyn ClosedForms> {
        Some(self)
    }
}

impl ClosedForms for Brownian {
    fn forms(&self) -> &'static [ClosedForm] {
        &[ClosedForm::Clean, ClosedForm::Transition]
    }

    /// Tweedie's step: `eps^2 score` in compact factors, which is the mean of the clean points to
    /// first order in `eps^2` (use it near the data), exact in flat ones.
    fn clean(&self, state: &State, t: f64, prediction: &Prediction) -> Result<State> {
        let score = self.score(state, t, prediction)?;
        let mut xi = Vec::with_capacity(self.factors.len());
        for (k, (factor, score)) in self.factors.iter().zip(&score.0).enumerate() {
            let (mean, std) = self.at(factor, t);
            let step = score * (std * std / mean);
            xi.push(match factor {
                Factor::Compact(_) => step,
                Factor::Flat => self.homogeneous().flat(state, k)? * (mean.recip() - 1.0) + step,
            });
        }
        Ok(self.fields().flow(state, &Xi(xi)))
    }

    /// An exact draw of the heat kernel between both clocks.
    fn transition(&self, state: &State, from: f64, to: f64, z: &Xi) -> Result<State> {
        let z = self.fields().horizontal(state, z);
        let mut xi = Vec::with_capacity(self.factors.len());
        for (k, (factor, z)) in self.factors.iter().zip(&z.0).enumerate() {
            let ((mean_a, std_a), (mean_b, std_b)) = (self.at(factor, from), self.at(factor, to));
            let alpha = mean_b / mean_a;
            let added = (std_b * std_b - alpha * alpha * std_a * std_a).max(0.0).sqrt();
            xi.push(match factor {
                Factor::Compact(_) if added <= 0.0 => z.zeros_like(),
                Factor::Compact(kernel) => {
                    let size = vec![1; z.dim()];
                    kernel.noise(z, &Tensor::full(&size, added, state.options())).0
                }
                Factor::Flat => self.homogeneous().flat(state, k)? * (alpha - 1.0) + z * added,
            });
        }
        Ok(self.fields().flow(state, &Xi(xi)))
    }
}

/// Brownian motion in the compact factors of a frame of generators (angles, rotations, directions),
/// the variance-preserving process in its flat factors (`log r`). The prior is uniform in the first
/// and standard normal in the second.
#[config]
pub struct BrownianConfig {
    /// The schedule of the compact factors. A variance-exploding one is the standard deviation of each
    /// coefficient, in radians; a variance-preserving one stands for Brownian motion with the same
    /// `beta`, whose variance is `-log alpha_bar`. It must end so high that the law is uniform: a
    /// standard deviation of 4.5 leaves less than 1e-4 of the density of a circle, the slowest space.
    #[serde(default = "schedule")]
    pub schedule: Box<dyn ScheduleConfig>,
    /// A variance-preserving schedule of the flat factors.
    #[serde(default = "flat")]
    pub flat: Box<dyn ScheduleConfig>,
    /// Number of discrete steps `T`; `null` for continuous time on [`start`, 1].
    #[serde(default = "steps")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// Smallest time that is trained when time is continuous, in (0, 1); unused otherwise.
    #[serde(default = "start")]
    #[schemars(range(min = 1e-9, max = 0.999))]
    pub start: f64,
}

fn schedule() -> Box<dyn ScheduleConfig> {
    Box::new(GeometricConfig { sigma_min: 0.01, sigma_max: 4.5 })
}

fn flat() -> Box<dyn ScheduleConfig> {
    Box::new(CosineConfig { offset: 0.008 })
}

#[allow(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn steps() -> Option<u32> {
    Some(100)
}

fn start() -> f64 {
    1e-3
}

#[component(
    "brownian",
    "Brownian motion on circles, SO(3) and spheres, VP in log r",
    r#"{"type": "brownian", "schedule": {"type": "ve-geometric", "sigma_min": 0.01, "sigma_max": 4.5}, "steps": 100}"#
)]
impl ProcessConfig for BrownianConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        let compact = self.schedule.build().map_err(|error| error.under("/schedule"))?;
        let flat = self.flat.build().map_err(|error| error.under("/flat"))?;
        if flat.family() != Family::VariancePreserving {
            return Err(Error::config(
                "/flat",
                "flat factors need a variance-preserving schedule: cosine, linear-time, ddpm, linear-beta",
            ));
        }
        if self.steps == Some(0) {
            return Err(Error::config("/steps", "a process has at least 1 step"));
        }
        if !(self.start > 0.0 && self.start < 1.0) {
            return Err(Error::config("/start", format!("{} is not in (0, 1)", self.start)));
        }
        let clock = |schedule| Clock::new(schedule, self.steps, self.start);
        Ok(Box::new(Brownian::new(drive, clock(compact), clock(flat))?))
    }
}
