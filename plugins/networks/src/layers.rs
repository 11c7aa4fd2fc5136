//! Layers with PyTorch's default initialisation, so that results compare with code written there.
//!
//! (tch's own `nn::linear` draws weights from the wider `U(-sqrt(6/fan_in), sqrt(6/fan_in))`.)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{Init, Path};

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
}
