//! One process for every drive with flow coordinates: a Gaussian kernel in each of them, each
//! factor with its own schedule. Six rows use it, from spirals in the plane to images.

use isotropy_core::{
    ClosedForm, ClosedForms, Error, Kernel, KernelLaw, NoiseOperator, NoisingProcess, Perturbed,
    Prediction, PredictionKind, Representation, Result, Scale, State, StateSpec, Step, Stream,
    Terms, TimeDomain, Xi, probe_symmetry,
};
use std::sync::Arc;
use tch::Tensor;

/// A schedule of one factor.
#[derive(Debug, Clone, Copy)]
pub enum Noise {
    /// Variance-preserving with constant rate beta.
    Vp(f64),
    /// Variance-exploding: std = sigma t.
    Ve(f64),
}

impl Noise {
    pub fn mean(self, t: &Tensor) -> Tensor {
        match self {
            Self::Vp(beta) => (t * (-0.5 * beta)).exp(),
            Self::Ve(_) => t.ones_like(),
        }
    }
    pub fn std(self, t: &Tensor) -> Tensor {
        match self {
            Self::Vp(beta) => (-(t * (-beta)).expm1()).sqrt(),
            Self::Ve(sigma) => t * sigma,
        }
    }
    pub fn at(self, t: f64) -> (f64, f64) {
        let t = Tensor::from(t);
        (self.mean(&t).double_value(&[]), self.std(&t).double_value(&[]))
    }
    /// Drift coefficient and squared noise per unit time.
    pub fn rates(self, t: f64) -> (f64, f64) {
        match self {
            Self::Vp(beta) => (-0.5 * beta, beta),
            Self::Ve(sigma) => (0.0, 2.0 * sigma * sigma * t),
        }
    }
}

#[derive(Debug)]
pub struct Ou {
    pub drive: Arc<dyn Representation>,
    pub time: TimeDomain,
    /// One for each factor.
    pub noise: Vec<Noise>,
}

impl Ou {
    pub fn new(drive: impl Representation + 'static, noise: &[Noise]) -> Self {
        let time = TimeDomain::continuous(1e-3, 1.0);
        Self { drive: Arc::new(drive), time, noise: noise.to_vec() }
    }
    fn law(&self) -> OuLaw {
        OuLaw(self.time.clone(), self.noise.clone())
    }
    fn each(&self, xi: &Xi, f: impl Fn(Noise, &Tensor) -> Tensor) -> Xi {
        Xi(self.noise.iter().zip(&xi.0).map(|(noise, a)| f(*noise, a)).collect())
    }
    fn coordinates(&self) -> &dyn isotropy_core::FlowCoordinates {
        self.fields().coordinates().expect("built on a drive with flow coordinates")
    }
    fn normal(state: &State, like: &Xi, stream: &mut Stream) -> Xi {
        like.map(|a| stream.normal(&a.size(), state.options()))
    }
}

/// Times `[B]` in the shape that broadcasts against `like`.
pub fn times_like(t: &Tensor, like: &Tensor) -> Tensor {
    let mut shape = vec![1; like.dim()];
    shape[0] = t.size()[0];
    t.reshape(shape)
}

/// The law of the kernel: each factor by its own schedule.
#[derive(Debug)]
struct OuLaw(TimeDomain, Vec<Noise>);

impl KernelLaw for OuLaw {
    fn time(&self) -> &TimeDomain {
        &self.0
    }
    fn scales(&self, t: f64) -> Kernel {
        let numbers = self.1.iter().map(|noise| noise.at(t));
        let (mean, std) = numbers.map(|(m, s)| (Scale::Same(m), Scale::Same(s))).unzip();
        Kernel::new(mean, std)
    }
    fn tensors(&self, t: &Tensor) -> Kernel {
        let scales = self.1.iter().map(|n| (Scale::Each(n.mean(t)), Scale::Each(n.std(t))));
        let (mean, std) = scales.unzip();
        Kernel::new(mean, std)
    }
}

impl NoisingProcess for Ou {
    fn name(&self) -> String {
        "OU in flow coordinates".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }
    fn time(&self) -> &TimeDomain {
        &self.time
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let state = self.fields().lift(clean.clone())?;
        let tau = self.coordinates().unwrapped(&state);
        let z = self.fields().horizontal(&state, &Self::normal(&state, &tau, stream));
        let law = self.law();
        let mut kernel = Kernel::new(Vec::new(), Vec::new());
        for (k, a) in tau.0.iter().enumerate() {
            let mut all = law.tensors(&times_like(t, a));
            kernel.mean.push(all.mean.swap_remove(k));
            kernel.std.push(all.std.swap_remove(k));
            kernel.colour.push(None);
        }
        let scaled = |xi: &Xi, scales: &[Scale]| {
            Xi(xi.0.iter().zip(scales).map(|(a, scale)| scale.times(a)).collect())
        };
        let noisy = scaled(&tau, &kernel.mean).add(&scaled(&z, &kernel.std));
        Ok(Perturbed {
            noisy: self.coordinates().point(&state, &noisy),
            kernel,
            noise: Some(z),
            velocity: None,
            clean: Some(tau),
            orientation: self.coordinates().orientation(&noisy),
            coordinates: Some(noisy),
        })
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let state = self.fields().lift(template.clone())?;
        let tau = self.coordinates().unwrapped(&state);
        let z = self.fields().horizontal(&state, &Self::normal(&state, &tau, stream));
        let end = self.time.end;
        let spread = self.each(&z, |noise, z| match noise {
            Noise::Vp(_) => z.shallow_clone(),
            Noise::Ve(_) => z * noise.at(end).1,
        });
        let centre = self.each(&tau, |noise, tau| match noise {
            Noise::Vp(_) => tau.zeros_like(),
            Noise::Ve(_) => tau.shallow_clone(),
        });
        Ok(self.coordinates().point(&state, &centre.add(&spread)))
    }
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        // Standard normal in tau; the change of variables gives the density in x.
        Ok(self.noise.iter().all(|noise| matches!(noise, Noise::Vp(_))).then(|| {
            let tau = self.coordinates().unwrapped(state);
            let size: usize = tau.0.iter().map(|a| a.numel() / a.size()[0] as usize).sum();
            let constant = -0.5 * size as f64 * (2.0 * std::f64::consts::PI).ln();
            tau.square_norm() * -0.5 + constant - self.coordinates().log_abs_det(state)
        }))
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let t = step.from;
        let kernel = self.law().scales(t);
        let mut tau = self.coordinates().unwrapped(state);
        let mut score = kernel.score(prediction, Some(&tau))?;
        if prediction.kind == PredictionKind::Field {
            // The heads are oriented as the principal branch; coefficients as the state's own.
            tau = prediction.heads[0].clone();
            if let Some(eps) = self.coordinates().orientation(&self.coordinates().unwrapped(state))
            {
                (tau, score) = (tau.zip(&eps, |a, b| a * b), score.zip(&eps, |a, b| a * b));
            }
        }
        Ok(Terms {
            drift: self.each(&tau, |noise, tau| tau * noise.rates(t).0),
            noise: self.noise.iter().map(|n| NoiseOperator::White(n.rates(t).1.sqrt())).collect(),
            preconditioned: self.each(&score, |noise, score| score * noise.rates(t).1),
            score: Some(score),
            h: None,
        })
    }
    fn closed_forms(&self) -> Option<&dyn ClosedForms> {
        Some(self)
    }
    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        Some(Arc::new(self.law()))
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        probe_symmetry(self.fields(), symmetry, spec, |state| {
            Ok(self
                .each(&self.coordinates().unwrapped(state), |noise, tau| tau * noise.rates(1.0).0))
        })
        .map_err(|error| Error::Unsupported(format!("{}: {error}", self.name())))
    }
}

impl ClosedForms for Ou {
    fn forms(&self) -> &'static [ClosedForm] {
        &[ClosedForm::Clean]
    }
    fn clean(&self, state: &State, t: f64, prediction: &Prediction) -> Result<State> {
        let kernel = self.law().scales(t);
        let tau = kernel.clean(prediction, &self.coordinates().unwrapped(state))?;
        Ok(self.coordinates().point(state, &tau))
    }
}
