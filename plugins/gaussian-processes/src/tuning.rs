//! Tuning of a kernel by the marginal likelihood.

use crate::linear_algebra::{Factor, JITTER, Points};
use crate::posterior::{GaussianProcess, components};
use isotropy_core::{CovarianceKernelConfig, Error, Hyperparameter, Result, Scale, State};
use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// How hyperparameters are tuned.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// Steps of Adam; the step size falls to zero along half a cosine.
    pub steps: usize,
    /// First step size, in the logarithm of the hyperparameters.
    pub learning_rate: f64,
    /// The constant mean, as in [`GaussianProcess::with_mean`].
    pub mean: Vec<f64>,
    /// The jitter.
    pub jitter: f64,
    /// Hyperparameters that stay as they are, as pointers.
    pub fixed: Vec<String>,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { steps: 200, learning_rate: 0.1, mean: Vec::new(), jitter: JITTER, fixed: Vec::new() }
    }
}

/// A tuned kernel.
#[derive(Debug)]
pub struct Fit {
    /// The kernel with the tuned numbers, ready for a configuration.
    pub kernel: Box<dyn CovarianceKernelConfig>,
    /// The tuned numbers.
    pub hyperparameters: Vec<Hyperparameter>,
    /// Mean log marginal likelihood of a function, in nats, before each step and at the end.
    pub log_likelihood: Vec<f64>,
}

/// Tunes the hyperparameters of a kernel by the marginal likelihood of the functions of a state (all of its batch,
/// at the points that are there), with Adam on their logarithms. Nothing is drawn: the result is a function of its
/// arguments. The best numbers seen are kept.
///
/// # Errors
/// When values and kernel do not suit each other, a pointer of `fixed` is unknown, or the likelihood stops being finite
/// at once.
pub fn fit(config: &dyn CovarianceKernelConfig, data: &State, options: &FitOptions) -> Result<Fit> {
    let kernel = config.build()?;
    let process = GaussianProcess::new(kernel.clone()).with_mean(options.mean.clone());
    let points = Points::of(data)?;
    process.accepts(points.dimension(), components(data))?;
    let numbers = kernel.hyperparameters();
    for pointer in &options.fixed {
        if !numbers.iter().any(|h| h.pointer == *pointer) {
            let known: Vec<&str> = numbers.iter().map(|h| h.pointer.as_str()).collect();
            let message = format!("the kernel has no hyperparameter '{pointer}'");
            return Err(
                Error::config("/fixed", message).with_help(format!("it has: {}", known.join(", ")))
            );
        }
    }
    let free = numbers.iter().map(|h| f64::from(!options.fixed.contains(&h.pointer)));
    let device = data.x().device();
    let free = Tensor::from_slice(&free.collect::<Vec<_>>()).to_device(device);
    let start: Vec<f64> = numbers.iter().map(|h| h.value.ln()).collect();
    let centred = process.centred(data.x()).to_kind(Kind::Double).detach();
    // Where the value is differentiated; the graph is new in every step.
    let log_likelihood = |log: &Tensor| -> Result<Tensor> {
        // Metrics tune, too, and are measured where gradients are off.
        tch::with_grad(|| {
            let values: Vec<Scale> = log.exp().unbind(0).into_iter().map(Scale::Each).collect();
            let points = Points::of(data)?;
            let factor = Factor::at(kernel.as_ref(), &values, points, options.jitter)?;
            Ok(factor.log_prob(&centred).mean(Kind::Double))
        })
    };
    let mut log = Tensor::from_slice(&start).to_device(device);
    let (mut first, mut second) = (log.zeros_like(), log.zeros_like());
    let mut best = (f64::NEG_INFINITY, log.shallow_clone());
    let mut history = Vec::with_capacity(options.steps + 1);
    for step in 0..=options.steps {
        let leaf = log.detach().set_requires_grad(true);
        let found = match log_likelihood(&leaf) {
            // A step that went too far: back to the best, with half the pace from the decaying schedule.
            Err(Error::Numbers(_)) if best.0.is_finite() => {
                log = best.1.shallow_clone();
                (first, second) = (log.zeros_like(), log.zeros_like());
                history.push(f64::NEG_INFINITY);
                continue;
            }
            other => other?,
        };
        let value = found.double_value(&[]);
        history.push(value);
        if value > best.0 {
            best = (value, leaf.detach());
        } else if !value.is_finite() && !best.0.is_finite() {
            return Err(Error::Numbers(format!(
                "the log-likelihood of the kernel {} is not finite at its first numbers",
                kernel.name()
            )));
        }
        if step == options.steps {
            break;
        }
        // Adam (Kingma and Ba 2015) with its usual constants, upwards.
        let gradient = Tensor::run_backward(&[found], &[&leaf], false, false)[0].detach() * &free;
        first = first * 0.9 + &gradient * 0.1;
        second = second * 0.999 + gradient.square() * 0.001;
        let count = step as i32 + 1;
        let (a, b) = (1.0 - 0.9f64.powi(count), 1.0 - 0.999f64.powi(count));
        let share = step as f64 / options.steps as f64;
        let rate = options.learning_rate * 0.5 * (1.0 + (PI * share).cos());
        log = &log + (&first / a) / ((&second / b).sqrt() + 1e-8) * rate;
    }
    let tuned = Vec::<f64>::try_from(best.1.exp().to_device(tch::Device::Cpu))?;
    let hyperparameters: Vec<Hyperparameter> =
        numbers.into_iter().zip(tuned).map(|(h, value)| Hyperparameter { value, ..h }).collect();
    Ok(Fit {
        kernel: with_numbers(config, &hyperparameters)?,
        hyperparameters,
        log_likelihood: history,
    })
}

/// The JSON of a kernel with other numbers, read again.
fn with_numbers(
    config: &dyn CovarianceKernelConfig,
    numbers: &[Hyperparameter],
) -> Result<Box<dyn CovarianceKernelConfig>> {
    let wrong = |error: serde_json::Error| Error::Other(format!("the kernel as JSON: {error}"));
    let mut json = serde_json::to_value(config).map_err(wrong)?;
    for number in numbers {
        let slot = json.pointer_mut(&number.pointer).ok_or_else(|| {
            Error::Other(format!("the kernel has no number at '{}' in its JSON", number.pointer))
        })?;
        *slot = number.value.into();
    }
    serde_json::from_value(json).map_err(wrong)
}
