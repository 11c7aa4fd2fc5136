//! Adam, AdamW and RAdam over one flat parameter buffer, with torch's definitions.
//!
//! m and v are the running means of the gradient and its square; bias corrections are `1 - beta^t`. They are host
//! numbers computed from the step count, so a step reads nothing from the device. The second moment is updated by an
//! interpolation, `v + (1 - beta2) (g^2 - v)`, which differs from torch's `beta2 v + (1 - beta2) g^2` only in rounding.
//!
//! Sources: Adam: Kingma and Ba, arXiv 1412.6980; AdamW: Loshchilov and Hutter, arXiv 1711.05101; RAdam: Liu et al.,
//! arXiv 1908.03265.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::flat::{FlatError, check_like};

/// Which optimizer, and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Adam without weight decay.
    Adam {
        /// Step size before the schedule's factor.
        #[schemars(range(min = 0.0))]
        learning_rate: f64,
        /// Decay of the mean of the gradient, for each step.
        #[serde(default = "default_beta1")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        beta1: f64,
        /// Decay of the mean of the squared gradient, for each step.
        #[serde(default = "default_beta2")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        beta2: f64,
        /// Added to the root of the second moment, in units of the gradient.
        #[serde(default = "default_epsilon")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        epsilon: f64,
    },
    /// Adam with decoupled weight decay: every step first shrinks the parameters by learning_rate * weight_decay.
    #[serde(rename = "adamw")]
    AdamW {
        /// Step size before the schedule's factor.
        #[schemars(range(min = 0.0))]
        learning_rate: f64,
        /// Decay of the mean of the gradient, for each step.
        #[serde(default = "default_beta1")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        beta1: f64,
        /// Decay of the mean of the squared gradient, for each step.
        #[serde(default = "default_beta2")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        beta2: f64,
        /// Added to the root of the second moment, in units of the gradient.
        #[serde(default = "default_epsilon")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        epsilon: f64,
        /// Share of a parameter that is taken away in a step of size 1.
        #[serde(default = "default_decoupled_decay")]
        #[schemars(range(min = 0.0))]
        weight_decay: f64,
    },
    /// Rectified Adam: plain momentum until the variance of the second moment can be estimated (rho_t > 5; with the
    /// default beta2 that is the first five steps).
    Radam {
        /// Step size before the schedule's factor.
        #[schemars(range(min = 0.0))]
        learning_rate: f64,
        /// Decay of the mean of the gradient, for each step.
        #[serde(default = "default_beta1")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        beta1: f64,
        /// Decay of the mean of the squared gradient, for each step.
        #[serde(default = "default_beta2")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        beta2: f64,
        /// Added to the root of the second moment, in units of the gradient.
        #[serde(default = "default_epsilon")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        epsilon: f64,
        /// Times the parameters, added to the gradient (torch's coupled decay). Zero for none.
        #[serde(default)]
        #[schemars(range(min = 0.0))]
        weight_decay: f64,
    },
}

fn default_beta1() -> f64 {
    0.9
}
fn default_beta2() -> f64 {
    0.999
}
fn default_epsilon() -> f64 {
    1e-8
}
fn default_decoupled_decay() -> f64 {
    1e-2
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam {
            learning_rate: 1e-3,
            beta1: default_beta1(),
            beta2: default_beta2(),
            epsilon: default_epsilon(),
        }
    }
}

/// A step moves a parameter by a few times the learning rate at most, so smaller rates than this leave
/// every parameter as it is. A schedule that keeps dividing comes here.
const SMALLEST_RATE: f64 = 1e-30;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Adam,
    AdamW,
    Radam,
}

/// The numbers of a configuration without its variants.
#[derive(Debug, Clone, Copy)]
struct Settings {
    rule: Rule,
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
}

impl OptimizerConfig {
    /// The optimizer for parameters like `buffer` (its length, kind and device), with zero moments.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn build(&self, buffer: &Tensor) -> Result<Optimizer, FlatError> {
        Ok(Optimizer {
            settings: self.settings(),
            m: buffer.f_zeros_like()?,
            v: buffer.f_zeros_like()?,
            scratch: buffer.f_zeros_like()?,
            steps: 0,
        })
    }

    fn settings(&self) -> Settings {
        match *self {
            Self::Adam { learning_rate, beta1, beta2, epsilon } => Settings {
                rule: Rule::Adam,
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay: 0.0,
            },
            Self::AdamW { learning_rate, beta1, beta2, epsilon, weight_decay } => {
                Settings { rule: Rule::AdamW, learning_rate, beta1, beta2, epsilon, weight_decay }
            }
            Self::Radam { learning_rate, beta1, beta2, epsilon, weight_decay } => {
                Settings { rule: Rule::Radam, learning_rate, beta1, beta2, epsilon, weight_decay }
            }
        }
    }
}

/// A running optimizer: two moments in the flat layout and the number of steps taken.
#[derive(Debug)]
pub struct Optimizer {
    settings: Settings,
    m: Tensor,
    v: Tensor,
    /// Reused in every step, so that a step allocates nothing large.
    scratch: Tensor,
    steps: u64,
}

impl Optimizer {
    /// The configured learning rate, before a schedule's factor.
    pub fn learning_rate(&self) -> f64 {
        self.settings.learning_rate
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step on `parameters`, in place, along `gradient`; both like the buffer the optimizer was built for. The
    /// learning rate is the configured one times `factor` (see [`LearningRate`](super::learning_rate::LearningRate)).
    ///
    /// # Errors
    /// [`FlatError::Layout`] when a tensor does not fit.
    pub fn step(
        &mut self,
        parameters: &Tensor,
        gradient: &Tensor,
        factor: f64,
    ) -> Result<(), FlatError> {
        check_like(&self.m, parameters)?;
        check_like(&self.m, gradient)?;
        let _guard = tch::no_grad_guard();
        let Settings { rule, beta1, beta2, epsilon, weight_decay, .. } = self.settings;
        let learning_rate = self.settings.learning_rate * factor;
        let mut parameters = parameters.shallow_clone();

        let decayed;
        let gradient = match rule {
            Rule::Radam if weight_decay != 0.0 => {
                decayed = parameters.f_mul_scalar(weight_decay)?.f_add_(gradient)?;
                &decayed
            }
            Rule::AdamW if weight_decay != 0.0 => {
                let _ = parameters.f_mul_scalar_(1.0 - learning_rate * weight_decay)?;
                gradient
            }
            _ => gradient,
        };
        let _ = self.m.f_lerp_(gradient, 1.0 - beta1)?;
        let _ = gradient.f_square_out(&self.scratch)?;
        let _ = self.v.f_lerp_(&self.scratch, 1.0 - beta2)?;
        self.steps += 1;
        if learning_rate < SMALLEST_RATE {
            return Ok(()); // below, the inverse of the learning rate would overflow in single precision
        }

        let t = self.steps as f64;
        let correction1 = 1.0 - beta1.powf(t);
        let correction2 = 1.0 - beta2.powf(t);
        // All rules move by -m / (a sqrt(v) + b), with host numbers a and b; the sign is folded into them.
        let (a, b) = match rule {
            Rule::Adam | Rule::AdamW => {
                let size = learning_rate / correction1;
                (1.0 / (size * correction2.sqrt()), epsilon / size)
            }
            Rule::Radam => match rectification(beta2, t) {
                Some(r) => {
                    let size = learning_rate * r * correction2.sqrt() / correction1;
                    (1.0 / size, epsilon / size)
                }
                None => {
                    let _ = self.m.f_mul_scalar_out(&self.scratch, -learning_rate / correction1)?;
                    let _ = parameters.f_add_(&self.scratch)?;
                    return Ok(());
                }
            },
        };
        let _ = self.v.f_sqrt_out(&self.scratch)?;
        let _ = self.scratch.f_mul_scalar_(-a)?;
        let _ = self.scratch.f_add_scalar_(-b)?;
        let _ = parameters.f_addcdiv_(&self.m, &self.scratch)?;
        Ok(())
    }

    /// The moments (`optimizer.m`, `optimizer.v`, in the flat layout) and the step count (`optimizer.step`).
    pub fn named(&self) -> Vec<(String, Tensor)> {
        vec![
            ("optimizer.m".to_owned(), self.m.shallow_clone()),
            ("optimizer.v".to_owned(), self.v.shallow_clone()),
            ("optimizer.step".to_owned(), Tensor::from(self.steps as i64)),
        ]
    }

    /// Restores what [`named`](Self::named) gave; other names are left alone.
    ///
    /// # Errors
    /// [`FlatError::Mismatch`] names what is missing or does not fit; nothing is changed then.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<(), FlatError> {
        let mut problems = Vec::new();
        for (name, size) in [
            ("optimizer.m", self.m.size()),
            ("optimizer.v", self.v.size()),
            ("optimizer.step", vec![]),
        ] {
            match tensors.get(name) {
                None => problems.push(format!("`{name}` is missing")),
                Some(t) if t.size() != size => {
                    problems.push(format!(
                        "`{name}` has shape {:?}, the optimizer needs {size:?}",
                        t.size()
                    ));
                }
                Some(_) => {}
            }
        }
        let steps = match tensors.get("optimizer.step").filter(|t| t.numel() == 1) {
            Some(t) => u64::try_from(i64::try_from(t)?).unwrap_or_else(|_| {
                problems.push("`optimizer.step` is negative".to_owned());
                0
            }),
            None => 0,
        };
        if !problems.is_empty() {
            return Err(FlatError::Mismatch { problems });
        }
        let _guard = tch::no_grad_guard();
        self.m.f_copy_(&tensors["optimizer.m"])?;
        self.v.f_copy_(&tensors["optimizer.v"])?;
        self.steps = steps;
        Ok(())
    }
}

/// RAdam's factor r_t, or none while the length rho_t of the approximated average is at most 5.
fn rectification(beta2: f64, t: f64) -> Option<f64> {
    let limit = 2.0 / (1.0 - beta2) - 1.0;
    let power = beta2.powf(t);
    let rho = limit - 2.0 * t * power / (1.0 - power);
    (rho > 5.0)
        .then(|| ((rho - 4.0) * (rho - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * rho)).sqrt())
}

/// Euclidean norm of a flat gradient, a scalar tensor on its device.
///
/// # Errors
/// When libtorch refuses the operation.
pub fn gradient_norm(gradient: &Tensor) -> Result<Tensor, FlatError> {
    let _guard = tch::no_grad_guard();
    Ok(gradient.f_norm()?)
}

/// Scales `gradient` in place by min(1, max_norm / (norm + 1e-6)) and returns the norm before that, a scalar tensor.
/// Nothing is read from the device; a norm that is not finite makes the gradient NaN, as in torch.
///
/// # Errors
/// When libtorch refuses an operation.
pub fn clip_by_norm(gradient: &mut Tensor, max_norm: f64) -> Result<Tensor, FlatError> {
    let _guard = tch::no_grad_guard();
    let norm = gradient.f_norm()?;
    let mut divisor = norm.f_add_scalar(1e-6)?.f_div_scalar_(max_norm)?;
    let _ = gradient.f_div_(&divisor.f_clamp_min_(1.0)?)?;
    Ok(norm)
}
