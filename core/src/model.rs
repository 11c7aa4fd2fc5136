//! Score models: what maps a noisy state and a time to a prediction.

use crate::{NoisingProcess, Prediction, PredictionKind, Representation, Result, State, StateSpec};
use std::sync::Arc;
use tch::Tensor;

/// What a model is told when it is built; no data are needed.
pub struct ModelContext<'a> {
    /// Shapes of the states.
    pub spec: &'a StateSpec,
    /// The process, absent for models that are not denoisers (a classifier).
    pub process: Option<&'a dyn NoisingProcess>,
    /// The symmetry that the configuration claims; shared, so that a model can keep it.
    pub symmetry: Option<&'a Arc<dyn Representation>>,
}

impl ModelContext<'_> {
    /// Shapes of the coefficients to predict, without the batch.
    ///
    /// # Errors
    /// When there is no process.
    pub fn xi_shape(&self) -> Result<Vec<Vec<i64>>> {
        Ok(self.denoised()?.fields().xi_shape(self.spec))
    }

    /// The process.
    ///
    /// # Errors
    /// When the experiment has none.
    pub fn denoised(&self) -> Result<&dyn NoisingProcess> {
        self.process.ok_or_else(|| {
            crate::Error::config("/process", "this model needs a `process`, and there is none")
        })
    }
}

/// A model. Oracles, whose score is known, are models too.
///
/// A model need not be fit for other threads: wrappers borrow the model inside.
pub trait ScoreModel {
    /// What it predicts.
    fn predicts(&self) -> PredictionKind;

    /// The prediction at a noisy state and times `t` (`[B]`, in the time of the process). `train`
    /// switches dropout and batch statistics.
    ///
    /// # Errors
    /// When the state lacks a field that the model needs.
    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction>;

    /// Whether it takes sets of another number of points than it was built for: samplers that put
    /// known points beside those that they draw need it. False for networks of so many columns.
    fn any_number_of_points(&self) -> bool {
        self.inner().is_none_or(|inner| inner.any_number_of_points())
    }

    /// Whether the model claims to be equivariant under the configured symmetry.
    fn claims_symmetry(&self) -> bool {
        self.inner().is_some_and(|inner| inner.claims_symmetry())
    }

    /// The model that this one is a wrapper of, such as the network under a preconditioner. Whatever
    /// a wrapper does not answer itself is asked of it: the defaults here do so, and a test holds
    /// every later one to it.
    fn inner(&self) -> Option<&dyn ScoreModel> {
        None
    }

    /// The factor with which the output of the network inside enters the prediction at these times, where
    /// a wrapper has one: `c_out` of a preconditioner, in a shape that broadcasts against the
    /// coefficients. `None` for 1.
    ///
    /// # Errors
    /// As for [`ScoreModel::predict`].
    fn raw_scale(&self, state: &State, t: &Tensor) -> Result<Option<crate::Xi>> {
        self.inner().map_or(Ok(None), |inner| inner.raw_scale(state, t))
    }

    /// The same model as a plain function of columns, where it is one: training is then several times
    /// cheaper for small networks ([`Regression`]). A wrapper changes the function, so it is not
    /// asked of the model inside.
    fn regression(&self) -> Option<&dyn Regression> {
        None
    }

    /// The prediction (not for training) together with products of vectors and its Jacobian,
    /// where the model has them cheaper than a graph has: several share one evaluation. `None`
    /// where it has not. Only models that know of a state no more than its value and context can
    /// have them. Nothing is recorded for differentiation. A wrapper changes the Jacobian, so it
    /// is not asked of the model inside.
    ///
    /// # Errors
    /// As for [`ScoreModel::predict`].
    fn linearised(&self, _state: &State, _t: &Tensor) -> Result<Option<Linearised<'_>>> {
        Ok(None)
    }

    /// Promises that the weights stay as they are until the promise is taken back (`false`), so that what
    /// is made of weights alone may be made once: the kernels of tied convolutions.
    fn hold(&self, held: bool) {
        if let Some(inner) = self.inner() {
            inner.hold(held);
        }
    }

    /// Features of a layer, `[B, d]`, for distances in feature space; `None` where there are none.
    ///
    /// # Errors
    /// As for [`ScoreModel::predict`].
    fn features(&self, state: &State) -> Result<Option<Tensor>> {
        self.inner().map_or(Ok(None), |inner| inner.features(state))
    }
}

/// The transpose of the Jacobian of a prediction of one head and one factor, by the value of the state, at one point:
/// takes `K` vectors `[K, B, ..]` in the shape of the head to `[K, B, ..]` in the shape of the value.
pub type PullBack<'a> = Box<dyn Fn(&Tensor) -> Result<Tensor> + 'a>;

/// A prediction with products of vectors and its Jacobian.
pub struct Linearised<'a> {
    /// The prediction, of one head and one factor.
    pub prediction: Prediction,
    /// The products.
    pub pull_back: PullBack<'a>,
}

/// A model that maps columns to columns, `outputs = f(inputs; parameters)`, with inputs made of state
/// and time alone. The inputs of many batches can then be computed at once, and the gradient needs no
/// graph: for networks of a few thousand parameters both cost more than the arithmetic.
///
/// The output columns are the heads of the prediction in order, each with its factors in order, each
/// factor flattened without its batch axis.
pub trait Regression {
    /// Input columns `[B, n]` of noisy states at times `t` (`[B]`). No parameter enters.
    ///
    /// # Errors
    /// When the state lacks a field that the model needs.
    fn inputs(&self, state: &State, t: &Tensor) -> Result<Tensor>;

    /// The trained variables, in the order in which [`Regression::differentiate`] writes gradients.
    fn variables(&self) -> Vec<Tensor>;

    /// Evaluates the outputs `[B, m]` at the inputs, asks for the derivative of a loss by the outputs,
    /// and writes the derivatives by the variables into `gradients` (same shapes).
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    fn differentiate(
        &self,
        inputs: &Tensor,
        by_outputs: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
        gradients: &[Tensor],
    ) -> Result<()>;
}

#[cfg(test)]
mod tests {
    /// The methods with a default of a trait, by their text: name and body.
    fn defaults<'a>(file: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
        let start = file.find(&format!("\npub trait {name}")).expect("the trait is in its file");
        let text = &file[start..];
        let text = &text[..text.find("\n}\n").expect("the trait ends")];
        let methods = text.split("\n    fn ").skip(1).filter_map(|method| {
            let name = method.split('(').next()?;
            let body = method.split_once(" {\n        ")?.1;
            Some((name, body.split("\n    }").next()?))
        });
        methods.collect()
    }

    /// What a wrapper leaves out must reach what it wraps, whatever methods these traits get later.
    /// Named are the methods that a wrapper must never borrow: they are of the function that it changes.
    #[test]
    fn no_wrapper_can_forget_a_method() {
        let traits = [
            ("ScoreModel", include_str!("model.rs"), &["inner", "regression", "linearised"][..]),
            ("Sampler", include_str!("sampler.rs"), &["inner"]),
            ("Dataset", include_str!("dataset.rs"), &["inner", "is_empty"]),
            ("Objective", include_str!("objective.rs"), &["inner", "loss_with", "columns"]),
        ];
        for (name, file, own) in traits {
            let defaults = defaults(file, name);
            for own in own {
                assert!(defaults.iter().any(|(method, _)| method == own), "{name}::{own} is gone");
            }
            for (method, body) in defaults {
                assert!(
                    own.contains(&method) || body.contains("self.inner()"),
                    "the default of {name}::{method} does not ask the one inside a wrapper"
                );
            }
        }
    }
}
