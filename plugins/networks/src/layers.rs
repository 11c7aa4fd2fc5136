//! Layers with PyTorch's default initialisation, so that results compare with code written there.
//!
//! (tch's own `nn::linear` draws weights from the wider `U(-sqrt(6/fan_in), sqrt(6/fan_in))`.)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::{Init, Path};
use tch::{TchError, Tensor};

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
        let bound = 1.0 / (inputs as f64).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        Self {
            weight: path.var("weight", &[outputs, inputs], init),
            bias: path.var("bias", &[outputs], init),
        }
    }

    /// `x weight^T + bias`: `[.., inputs]` to `[.., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x sigmoid(x)`.
    #[default]
    Silu,
    /// `max(0, x)`.
    Relu,
    /// `x Phi(x)` with the normal distribution function `Phi`.
    Gelu,
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
            Self::Tanh => Tensor::f_tanh_backward(g, y),
        }
    }
}
