//! Layers with PyTorch's default initialisation, so that results compare with code written there; other laws of the
//! first weights by name.
//!
//! (tch's own `nn::linear` draws weights from the wider `U(-sqrt(6/fan_in), sqrt(6/fan_in))`.)

use isotropy_core::config;
use tch::nn::{Init, Path};
use tch::{TchError, Tensor};

/// The law of the first weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// PyTorch's default: weights and biases from `U(-1/sqrt(inputs), 1/sqrt(inputs))`.
    Uniform,
    /// Weights from a normal law of standard deviation `1/sqrt(inputs)` cut off at two of them (what is left has
    /// standard deviation `0.88/sqrt(inputs)`), biases zero: the default of Haiku and Sonnet.
    TruncatedNormal,
    /// All zero: a last layer that starts a network at zero.
    Zero,
}

/// `erf(sqrt 2)`: the probability that a normal number stays within two standard deviations.
const WITHIN_TWO: f64 = 0.954_499_736_103_641_6;

/// Creates a variable of normal numbers of standard deviation `std`, cut off at two of them: the distribution function
/// turns uniform numbers into these.
pub fn truncated_normal(path: &Path, name: &str, shape: &[i64], std: f64) -> Tensor {
    let init = Init::Uniform { lo: -WITHIN_TWO, up: WITHIN_TWO };
    let mut variable = path.var(name, shape, init);
    tch::no_grad(|| {
        let normal = variable.erfinv() * (std * 2f64.sqrt());
        variable.copy_(&normal);
    });
    variable
}

/// An affine map of the last axis.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Creates `weight` (`[outputs, inputs]`) and `bias` (`[outputs]`) under `path`, both drawn
    /// from `U(-1/sqrt(inputs), 1/sqrt(inputs))`. That is PyTorch's default: `kaiming_uniform` with
    /// `a = sqrt(5)`.
    pub fn new(path: &Path, inputs: i64, outputs: i64) -> Self {
        Self::starting(path, inputs, outputs, Start::Uniform)
    }

    /// As [`Linear::new`] with another law of the first weights.
    pub fn starting(path: &Path, inputs: i64, outputs: i64, start: Start) -> Self {
        let bound = 1.0 / (inputs as f64).sqrt();
        let (shape, zero) = ([outputs, inputs], Init::Const(0.0));
        let (weight, bias) = match start {
            Start::Uniform => {
                let init = Init::Uniform { lo: -bound, up: bound };
                (path.var("weight", &shape, init), init)
            }
            Start::TruncatedNormal => (truncated_normal(path, "weight", &shape, bound), zero),
            Start::Zero => (path.var("weight", &shape, zero), zero),
        };
        Self { weight, bias: path.var("bias", &[outputs], bias) }
    }

    /// `x weight^T + bias`: `[.., inputs]` to `[.., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }

    /// `weight x + bias` for points in columns: `[inputs, B]` to `[outputs, B]`. On a CPU a product
    /// with few rows takes a third of the time of one with few columns.
    pub fn forward_columns(&self, x: &Tensor) -> Tensor {
        self.bias.unsqueeze(1).addmm(&self.weight, x)
    }

    /// Weight and bias.
    pub fn variables(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }

    /// Writes the derivatives by weight and bias into `weight` and `bias`, from the input `x`
    /// (`[B, inputs]`) and the derivative `g` by the output (`[B, outputs]`): `g^T x` and `sum_B g`.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn differentiate(
        &self,
        x: &Tensor,
        g: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<(), TchError> {
        let _ = g.tr().f_mm_out(weight, x)?;
        let _ = g.f_sum_intlist_out(bias, 0, false, None)?;
        Ok(())
    }

    /// The derivative by the input, `g weight`.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn pull_back(&self, g: &Tensor) -> Result<Tensor, TchError> {
        g.f_mm(&self.weight)
    }
}

/// An elementwise nonlinearity.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x sigmoid(x)`.
    #[default]
    Silu,
    /// `max(0, x)`.
    Relu,
    /// `x Phi(x)` with the normal distribution function `Phi`.
    Gelu,
    /// The same with `tanh(sqrt(2/pi) (x + 0.044715 x^3))` for `erf(x / sqrt 2)`: what JAX computes under that name.
    GeluTanh,
    /// `tanh x`.
    Tanh,
}

impl Activation {
    /// Applies it.
    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::Silu => x.silu(),
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu("none"),
            Self::GeluTanh => x.gelu("tanh"),
            Self::Tanh => x.tanh(),
        }
    }

    /// The derivative by the input `x`, from `y = forward(x)` and the derivative `g` by `y`.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn pull_back(self, x: &Tensor, y: &Tensor, g: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Silu => x.f_silu_backward(g),
            Self::Relu => g.f_mul(&y.f_sign()?),
            Self::Gelu => x.f_gelu_backward(g, "none"),
            Self::GeluTanh => x.f_gelu_backward(g, "tanh"),
            Self::Tanh => Tensor::f_tanh_backward(g, y),
        }
    }
}
