//! The multilayer perceptron of the toy experiments (sism.md 3.1): affine layers with an activation
//! between them, on a chosen list of input features.

use crate::features::{Feature, Features};
use crate::layers::{Activation, Linear};
use isotropy_core::{
    Error, ModelConfig, ModelContext, Prediction, PredictionKind, Regression, Result, ScoreModel,
    State, Xi, component, config,
};
use tch::Tensor;
use tch::nn::Path;

/// A multilayer perceptron. Its variables are called as those of a PyTorch `Sequential`
/// (`0.weight`, `0.bias`, `2.weight`, ...).
#[config]
#[derive(Clone)]
pub struct MlpConfig {
    /// Units of each hidden layer, from the input on. An empty list is an affine map.
    #[serde(default = "default_hidden")]
    #[schemars(inner(range(min = 1, max = 65536)))]
    pub hidden: Vec<i64>,
    /// What stands between the layers.
    #[serde(default)]
    pub activation: Activation,
    /// What the network sees, in this order.
    #[serde(default = "default_inputs")]
    #[schemars(length(min = 1))]
    pub inputs: Vec<Feature>,
    /// Frequencies of the features `fourier-tau` and `fourier-log-r-unit`, in radians per unit.
    #[serde(default = "default_frequencies")]
    pub frequencies: Vec<f64>,
    /// What it predicts. `field` needs a drive with flow coordinates and stays right where angles
    /// alias; each prediction has as many outputs as the frame has fields, `field` twice as many.
    #[serde(default = "default_predicts")]
    pub predicts: PredictionKind,
}

fn default_hidden() -> Vec<i64> {
    vec![32, 32]
}

fn default_inputs() -> Vec<Feature> {
    vec![Feature::X, Feature::Time]
}

fn default_frequencies() -> Vec<f64> {
    vec![1.0, 2.0, 4.0]
}

fn default_predicts() -> PredictionKind {
    PredictionKind::Field
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            hidden: default_hidden(),
            activation: Activation::default(),
            inputs: default_inputs(),
            frequencies: default_frequencies(),
            predicts: default_predicts(),
        }
    }
}

#[component(
    "mlp",
    "a multilayer perceptron on chosen features of point and time",
    r#"{"type": "mlp", "hidden": [32, 32], "inputs": ["log-r-unit", "time"], "predicts": "field"}"#
)]
impl ModelConfig for MlpConfig {
    fn build(&self, path: &Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let process = context.denoised()?;
        if self.predicts == PredictionKind::Logits {
            return Err(Error::config("/predicts", "an mlp denoises: it does not predict logits"));
        }
        let needs_coordinates =
            matches!(self.predicts, PredictionKind::Field | PredictionKind::FieldSum);
        if needs_coordinates && process.fields().coordinates().is_none() {
            return Err(Error::config(
                "/predicts",
                format!("{} has no flow coordinates, which this prediction needs", process.name()),
            )
            .with_help("predict `noise` or `preconditioned-score` instead"));
        }
        let features = Features::new(&self.inputs, &self.frequencies, context.spec, process)?;
        let xi_shape = context.xi_shape()?;
        if xi_shape.iter().flatten().any(|&n| n < 1) {
            return Err(Error::config("", "an mlp needs states of one size, and these vary"));
        }
        let coefficients: i64 = xi_shape.iter().map(|shape| shape.iter().product::<i64>()).sum();
        let outputs = coefficients * self.predicts.heads();
        let network = Mlp::new(path, features.width(), &self.hidden, outputs, self.activation);
        Ok(Box::new(MlpModel { features, network, xi_shape, predicts: self.predicts }))
    }
}

/// The network alone: affine layers with an activation between them.
#[derive(Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    activation: Activation,
}

impl Mlp {
    /// Creates the layers under `path` as `0`, `2`, `4`, ...: the numbers between belong to the
    /// activations, as in a PyTorch `Sequential`.
    pub fn new(
        path: &Path,
        inputs: i64,
        hidden: &[i64],
        outputs: i64,
        activation: Activation,
    ) -> Self {
        let sizes: Vec<i64> =
            [inputs].into_iter().chain(hidden.iter().copied()).chain([outputs]).collect();
        let layers = sizes
            .windows(2)
            .enumerate()
            .map(|(k, pair)| Linear::new(&(path / (2 * k)), pair[0], pair[1]))
            .collect();
        Self { layers, activation }
    }

    /// `[B, inputs]` to `[B, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (last, rest) = self.layers.split_last().expect("there is always an output layer");
        let mut h = x.shallow_clone();
        for layer in rest {
            h = self.activation.forward(&layer.forward(&h));
        }
        last.forward(&h)
    }

    /// The values of [`Mlp::forward`], computed with the points in columns: a sampler evaluates many
    /// points in networks with few outputs, where that is cheaper. The result `[B, outputs]` is a
    /// view of `[outputs, B]`.
    pub fn evaluate(&self, x: &Tensor) -> Tensor {
        let (last, rest) = self.layers.split_last().expect("there is always an output layer");
        let mut h = x.tr();
        for layer in rest {
            h = self.activation.forward(&layer.forward_columns(&h));
        }
        last.forward_columns(&h).tr()
    }

    /// Weights and biases, layer by layer.
    pub fn variables(&self) -> Vec<Tensor> {
        self.layers.iter().flat_map(Linear::variables).map(Tensor::shallow_clone).collect()
    }

    /// The derivatives of a loss by weights and biases, written into `gradients` (in the order of
    /// [`Mlp::variables`]), without a graph: the chain rule layer by layer. `by_outputs` gives the
    /// derivative of the loss by the outputs.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn differentiate(
        &self,
        x: &Tensor,
        by_outputs: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
        gradients: &[Tensor],
    ) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let (last, rest) = self.layers.split_last().expect("there is always an output layer");
        // What each layer saw, and what it said before the activation.
        let mut seen = vec![x.shallow_clone()];
        let mut said = Vec::with_capacity(rest.len());
        for layer in rest {
            let before = layer.forward(&seen[seen.len() - 1]);
            seen.push(self.activation.forward(&before));
            said.push(before);
        }
        let mut g = by_outputs(&last.forward(&seen[rest.len()]))?;
        for (k, layer) in self.layers.iter().enumerate().rev() {
            layer.differentiate(&seen[k], &g, &gradients[2 * k], &gradients[2 * k + 1])?;
            if k > 0 {
                let by_input = layer.pull_back(&g)?;
                g = self.activation.pull_back(&said[k - 1], &seen[k], &by_input)?;
            }
        }
        Ok(())
    }
}

/// A perceptron as a score model.
#[derive(Debug)]
struct MlpModel {
    features: Features,
    network: Mlp,
    xi_shape: Vec<Vec<i64>>,
    predicts: PredictionKind,
}

impl ScoreModel for MlpModel {
    fn predicts(&self) -> PredictionKind {
        self.predicts
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        let inputs = self.features.of(state, t);
        let output =
            if train { self.network.forward(&inputs) } else { self.network.evaluate(&inputs) };
        let heads = split_heads(output, &self.xi_shape, self.predicts.heads());
        Ok(Prediction { kind: self.predicts, heads })
    }

    fn any_number_of_points(&self) -> bool {
        false
    }

    fn regression(&self) -> Option<&dyn Regression> {
        Some(self)
    }
}

impl Regression for MlpModel {
    fn inputs(&self, state: &State, t: &Tensor) -> Result<Tensor> {
        Ok(self.features.of(state, t))
    }

    fn variables(&self) -> Vec<Tensor> {
        self.network.variables()
    }

    fn differentiate(
        &self,
        inputs: &Tensor,
        by_outputs: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
        gradients: &[Tensor],
    ) -> Result<()> {
        self.network.differentiate(inputs, by_outputs, gradients)
    }
}

/// Cuts the columns of `output` (`[B, heads * sum of sizes]`) into heads and factors. `xi_shape`
/// holds the shapes of the factors without the batch.
pub fn split_heads(output: Tensor, xi_shape: &[Vec<i64>], heads: i64) -> Vec<Xi> {
    if let ([shape], 1) = (xi_shape, heads)
        && shape.len() == 1
    {
        return vec![Xi::from(output)];
    }
    let batch = output.size()[0];
    let mut start = 0;
    (0..heads)
        .map(|_| {
            let factors = xi_shape.iter().map(|shape| {
                let size = shape.iter().product();
                let columns = output.narrow(1, start, size);
                start += size;
                if shape.len() == 1 {
                    return columns;
                }
                let full: Vec<i64> = [batch].into_iter().chain(shape.iter().copied()).collect();
                columns.reshape(full)
            });
            Xi(factors.collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, nn::VarStore};

    #[test]
    fn the_toy_networks_have_the_published_number_of_parameters() {
        for (inputs, outputs, count) in [(3, 2, 1250), (4, 3, 1315)] {
            let store = VarStore::new(Device::Cpu);
            let _ = Mlp::new(&store.root(), inputs, &[32, 32], outputs, Activation::Silu);
            let total: usize = store.trainable_variables().iter().map(Tensor::numel).sum();
            assert_eq!(total, count);
        }
    }

    #[test]
    fn weights_start_within_pytorchs_bound_and_fill_it() {
        let store = VarStore::new(Device::Cpu);
        let _ = Mlp::new(&store.root(), 4, &[4096], 1, Activation::Silu);
        let variables = store.variables();
        for name in ["0.weight", "0.bias"] {
            let largest = variables[name].abs().max().double_value(&[]);
            assert!(largest <= 0.5 && largest > 0.49, "{name}: {largest}, bound 1/sqrt(4)");
        }
    }

    #[test]
    fn points_in_columns_give_the_same_values_and_derivatives() {
        for hidden in [vec![], vec![7, 5]] {
            let mut store = VarStore::new(Device::Cpu);
            let network = Mlp::new(&store.root(), 3, &hidden, 2, Activation::Silu);
            store.double();
            let x = Tensor::randn([11, 3], (Kind::Double, Device::Cpu)).set_requires_grad(true);
            let (rows, columns) = (network.forward(&x), network.evaluate(&x));
            let far = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
            assert!(far(&rows, &columns) < 1e-14, "{hidden:?}");
            let slope = |y: &Tensor| {
                Tensor::run_backward(&[y.square().sum(Kind::Double)], &[&x], false, false)
            };
            assert!(far(&slope(&rows)[0], &slope(&columns)[0]) < 1e-13, "{hidden:?}");
        }
    }

    #[test]
    fn gradients_without_a_graph_are_those_of_autograd() {
        let options = (Kind::Double, Device::Cpu);
        for (hidden, activation) in [
            (vec![], Activation::Silu),
            (vec![7], Activation::Silu),
            (vec![7, 5], Activation::Relu),
            (vec![4, 6, 5], Activation::Gelu),
            (vec![4, 6], Activation::GeluTanh),
            (vec![6, 6], Activation::Tanh),
        ] {
            let mut store = VarStore::new(Device::Cpu);
            let network = Mlp::new(&store.root(), 3, &hidden, 2, activation);
            store.double();
            let (x, y) = (Tensor::randn([11, 3], options), Tensor::randn([11, 2], options));
            let variables = network.variables();
            let loss = (network.forward(&x) - &y).square().sum(Kind::Double);
            let expected = Tensor::run_backward(&[loss], &variables, false, false);
            let found: Vec<Tensor> = variables.iter().map(Tensor::zeros_like).collect();
            let mut by_outputs = |out: &Tensor| Ok((out - &y) * 2.0);
            network.differentiate(&x, &mut by_outputs, &found).unwrap();
            for (a, b) in expected.iter().zip(&found) {
                let error = (a - b).abs().max().double_value(&[]);
                assert!(error < 1e-12, "{activation:?} {hidden:?}: {error}");
            }
        }
    }

    #[test]
    fn heads_and_factors_come_out_in_order() {
        let output = Tensor::arange(2 * 10, (Kind::Float, Device::Cpu)).view([2, 10]);
        let heads = split_heads(output, &[vec![2], vec![3, 1]], 2);
        assert_eq!(heads.len(), 2);
        assert_eq!(heads[1].shapes(), [vec![2, 2], vec![2, 3, 1]]);
        assert_eq!(heads[0].factor(0).double_value(&[1, 0]), 10.0);
        assert_eq!(heads[0].factor(1).double_value(&[0, 0, 0]), 2.0);
        assert_eq!(heads[1].factor(0).double_value(&[0, 0]), 5.0);
        assert_eq!(heads[1].factor(1).double_value(&[1, 2, 0]), 19.0);
    }
}
