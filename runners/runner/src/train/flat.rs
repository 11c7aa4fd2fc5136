//! All trainable variables of a model as views of one flat buffer.
//!
//! An optimizer step, an exponential moving average or a norm is then a handful of operations on one large tensor
//! instead of a handful for each variable. Every variable starts on a 16-element boundary (at least 64 bytes), because
//! matrix kernels are slower, on CUDA also others, for operands that are not aligned. The gaps hold zeros, have zero
//! gradient and so stay zero.

use std::collections::{BTreeMap, BTreeSet};

use super::numbers;
use tch::{Device, Kind, TchError, Tensor, nn::VarStore};

/// Elements between possible starts of a variable in the flat buffer.
const ALIGNMENT: i64 = 16;

/// What can go wrong with flat parameters and the averages over them.
#[derive(Debug, thiserror::Error)]
pub enum FlatError {
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
    /// Trainable variables of different kinds or on different devices have no common buffer.
    #[error(
        "variable `{name}` is {found} but `{first}` is {expected}: all trainable variables must agree"
    )]
    Mixed {
        /// The variable that differs.
        name: String,
        /// The kind and device of that variable.
        found: String,
        /// The variable it was compared with.
        first: String,
        /// The kind and device of the first variable.
        expected: String,
    },
    /// Named tensors do not fit the model.
    #[error("the stored tensors do not fit the model: {}", problems.join("; "))]
    Mismatch {
        /// One line for each tensor that is missing, unknown or of the wrong shape.
        problems: Vec<String>,
    },
    /// A flat tensor has another length, kind or device than the buffer.
    #[error("expected a flat tensor {expected}, got {found}")]
    Layout {
        /// Length, kind and device of the buffer.
        expected: String,
        /// The same of what was given.
        found: String,
    },
    /// Named tensors hold numbers that are not finite, or too large for the model's kind.
    #[error("weights are not finite: {}", tensors.join("; "))]
    NotFinite {
        /// Name, shape and count of each tensor, a few at most.
        tensors: Vec<String>,
    },
    /// The loss is not a single number.
    #[error("the loss must hold one element, got shape {0:?}")]
    LossShape(Vec<i64>),
    /// The loss was computed without gradient tracking, or from nothing that requires a gradient.
    #[error("the loss depends on nothing that requires a gradient")]
    ConstantLoss,
    /// An averaging rate outside [0, 1), or named twice.
    #[error("moving-average rate {rate}: {problem}")]
    Rate {
        /// The rate as given.
        rate: f64,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl From<FlatError> for isotropy_core::Error {
    fn from(error: FlatError) -> Self {
        match error {
            FlatError::Torch(error) => error.into(),
            FlatError::Mismatch { .. } => {
                Self::data(error.to_string(), "use weights that the same model was trained to")
            }
            FlatError::NotFinite { .. } => Self::Numbers(error.to_string()),
            FlatError::Rate { .. } => Self::config("/train/ema", error.to_string()),
            other => Self::Other(other.to_string()),
        }
    }
}

/// Values for a whole model: parameters in the flat layout, and the buffers beside them.
#[derive(Debug)]
pub struct Weights {
    /// One-dimensional, in the layout of the [`FlatParameters`] it was made from.
    pub parameters: Tensor,
    /// Tensors that are not trained (BatchNorm statistics), sorted by name.
    pub buffers: Vec<(String, Tensor)>,
}

#[derive(Debug)]
struct Variable {
    name: String,
    /// The leaf that the model holds; its data is a view of the flat buffer.
    tensor: Tensor,
    shape: Vec<i64>,
    offset: i64,
    length: i64,
    /// Elements from `offset` to the next variable.
    padded: i64,
}

/// The trainable variables of a model in one contiguous buffer, and its other tensors by name.
#[derive(Debug)]
pub struct FlatParameters {
    buffer: Tensor,
    variables: Vec<Variable>,
    leaves: Vec<Tensor>,
    buffers: Vec<(String, Tensor)>,
    /// As long as the longest variable: stands in for gaps and for the gradient of what a loss does not use.
    zeros: Tensor,
}

impl FlatParameters {
    /// Moves every variable of `store` that requires a gradient into one buffer, sorted by name, and makes the variable
    /// a view of it. The model built on `store` sees the views at once; a later `VarStore::set_device`, `set_kind` or
    /// `load` would undo this, so convert first.
    ///
    /// A model without trainable variables gives an empty buffer.
    ///
    /// # Errors
    /// [`FlatError::Mixed`] when the variables disagree in kind or device.
    pub fn new(store: &VarStore) -> Result<Self, FlatError> {
        let _guard = tch::no_grad_guard();
        let named: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
        let (trained, buffers): (Vec<_>, Vec<_>) =
            named.into_iter().partition(|(_, t)| t.requires_grad());
        let (kind, device) =
            trained.first().map_or((store.kind(), store.device()), |(_, t)| (t.kind(), t.device()));
        for (name, tensor) in &trained {
            if (tensor.kind(), tensor.device()) != (kind, device) {
                return Err(FlatError::Mixed {
                    name: name.clone(),
                    found: placement(tensor.kind(), tensor.device()),
                    first: trained[0].0.clone(),
                    expected: placement(kind, device),
                });
            }
        }

        let mut variables = Vec::with_capacity(trained.len());
        let mut offset = 0;
        let count = trained.len();
        for (index, (name, tensor)) in trained.into_iter().enumerate() {
            let length = tensor.numel() as i64;
            let padded = if index + 1 == count {
                length
            } else {
                (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
            };
            variables.push(Variable { name, shape: tensor.size(), tensor, offset, length, padded });
            offset += padded;
        }
        let buffer = Tensor::f_zeros([offset], (kind, device))?;
        for variable in &mut variables {
            let mut view =
                buffer.f_narrow(0, variable.offset, variable.length)?.f_view_(&variable.shape)?;
            view.f_copy_(&variable.tensor)?;
            variable.tensor.f_set_data(&view)?;
        }
        let longest = variables.iter().map(|v| v.padded).max().unwrap_or(0).max(ALIGNMENT);
        let leaves = variables.iter().map(|v| v.tensor.shallow_clone()).collect();
        Ok(Self {
            buffer,
            variables,
            leaves,
            buffers,
            zeros: Tensor::f_zeros([longest], (kind, device))?,
        })
    }

    /// The flat buffer, one-dimensional. Its length counts the gaps; see [`count`](Self::count).
    pub fn buffer(&self) -> &Tensor {
        &self.buffer
    }

    /// How many numbers are trained.
    pub fn count(&self) -> i64 {
        self.variables.iter().map(|v| v.length).sum()
    }

    /// Every trained variable by name, as a view of the buffer without gradient tracking. Sorted by name.
    ///
    /// # Errors
    /// When libtorch cannot make a view.
    pub fn named(&self) -> Result<Vec<(String, Tensor)>, FlatError> {
        self.views(&self.buffer)
    }

    /// Views of any tensor in the flat layout (an average, a moment) under the names of the variables.
    ///
    /// # Errors
    /// [`FlatError::Layout`] when `flat` has another length.
    pub fn views(&self, flat: &Tensor) -> Result<Vec<(String, Tensor)>, FlatError> {
        self.check_layout(flat)?;
        let view = |v: &Variable| {
            Ok((v.name.clone(), flat.f_narrow(0, v.offset, v.length)?.f_view_(&v.shape)?))
        };
        self.variables.iter().map(view).collect()
    }

    /// Views of a tensor in the flat layout for variables that a model lists, in its order; `None`
    /// when they are not all the trained variables, each once.
    ///
    /// # Errors
    /// [`FlatError::Layout`] when `flat` has another length.
    pub fn views_of(
        &self,
        variables: &[Tensor],
        flat: &Tensor,
    ) -> Result<Option<Vec<Tensor>>, FlatError> {
        let views = self.views(flat)?;
        let place = |variable: &Tensor| {
            self.variables.iter().position(|own| own.tensor.data_ptr() == variable.data_ptr())
        };
        let places: Vec<Option<usize>> = variables.iter().map(place).collect();
        let distinct: BTreeSet<usize> = places.iter().flatten().copied().collect();
        if distinct.len() != self.variables.len() || places.len() != distinct.len() {
            return Ok(None);
        }
        Ok(Some(places.iter().flatten().map(|&k| views[k].1.shallow_clone()).collect()))
    }

    /// What the model holds without training it, sorted by name. The tensors are the model's own.
    pub fn buffers(&self) -> &[(String, Tensor)] {
        &self.buffers
    }

    /// Runs the backward pass of `loss` (one element) and returns its gradient in the flat layout, in a new tensor.
    /// Variables that the loss does not depend on get zeros. The graph is freed.
    ///
    /// # Errors
    /// [`FlatError::LossShape`] and [`FlatError::ConstantLoss`].
    pub fn gradients(&self, loss: &Tensor) -> Result<Tensor, FlatError> {
        if loss.numel() != 1 {
            return Err(FlatError::LossShape(loss.size()));
        }
        if !loss.requires_grad() {
            // libtorch crashes on a loss without a graph instead of refusing it.
            return Err(FlatError::ConstantLoss);
        }
        if self.leaves.is_empty() {
            return Ok(self.buffer.f_zeros_like()?);
        }
        // Accumulating into `.grad` views of one buffer measured about 10 of 240 microseconds less for forward and
        // backward of a 3-32-32-2 network, but then the result aliases the next call's; a copy would eat the gain.
        let gradients = Tensor::f_run_backward(&[loss], &self.leaves, false, false)?;
        let _guard = tch::no_grad_guard();
        let mut pieces = Vec::with_capacity(2 * gradients.len());
        for (variable, gradient) in self.variables.iter().zip(&gradients) {
            if gradient.defined() {
                pieces.push(gradient.f_reshape([-1])?);
                if variable.padded > variable.length {
                    pieces.push(self.zeros.f_narrow(0, 0, variable.padded - variable.length)?);
                }
            } else {
                pieces.push(self.zeros.f_narrow(0, 0, variable.padded)?);
            }
        }
        Ok(Tensor::f_cat(&pieces, 0)?)
    }

    /// A copy of everything: parameters and buffers.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn copy(&self) -> Result<Weights, FlatError> {
        let duplicate = |tensor: &Tensor| -> Result<Tensor, TchError> {
            let mut new = tensor.f_detach()?.f_empty_like()?;
            new.f_copy_(tensor)?;
            Ok(new)
        };
        let _guard = tch::no_grad_guard();
        let buffers = self.buffers.iter().map(|(name, t)| Ok((name.clone(), duplicate(t)?)));
        Ok(Weights {
            parameters: duplicate(&self.buffer)?,
            buffers: buffers.collect::<Result<_, TchError>>()?,
        })
    }

    /// Overwrites parameters and buffers in place.
    ///
    /// # Errors
    /// [`FlatError::Layout`] or [`FlatError::Mismatch`] when `weights` come from another model; nothing is changed then.
    pub fn assign(&self, weights: &Weights) -> Result<(), FlatError> {
        self.check_layout(&weights.parameters)?;
        self.check_buffers(&weights.buffers)?;
        let _guard = tch::no_grad_guard();
        self.buffer.shallow_clone().f_copy_(&weights.parameters)?;
        for ((_, own), (_, new)) in self.buffers.iter().zip(&weights.buffers) {
            own.shallow_clone().f_copy_(new)?;
        }
        Ok(())
    }

    /// Parameters and buffers by name, as a checkpoint stores them. All are views of what the model holds.
    ///
    /// # Errors
    /// When libtorch cannot make a view.
    pub fn named_weights(&self) -> Result<Vec<(String, Tensor)>, FlatError> {
        let mut all = self.named()?;
        all.extend(self.buffers.iter().map(|(name, t)| (name.clone(), t.shallow_clone())));
        Ok(all)
    }

    /// Builds [`Weights`] from tensors named `<prefix><variable>`; names without the prefix are left alone. Tensors may
    /// be on another device and of another precision, and are converted; floating numbers are never
    /// made from integers, nor the reverse.
    ///
    /// # Errors
    /// [`FlatError::Mismatch`] names every tensor that is missing, unknown, or of the wrong shape
    /// or sort of number, [`FlatError::NotFinite`] those that hold NaN or infinity once they are
    /// converted.
    pub fn gather(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        prefix: &str,
    ) -> Result<Weights, FlatError> {
        let own = self.variables.iter().map(|v| (v.name.as_str(), &v.tensor));
        let own = own.chain(self.buffers.iter().map(|(name, tensor)| (name.as_str(), tensor)));
        let mut problems = Vec::new();
        let mut known = BTreeSet::new();
        for (name, tensor) in own {
            let shape = tensor.size();
            let full = format!("{prefix}{name}");
            match tensors.get(&full) {
                None => problems.push(format!("`{full}` is missing")),
                Some(t) if t.size() != shape => {
                    problems.push(format!(
                        "`{full}` has shape {:?}, the model needs {shape:?}",
                        t.size()
                    ));
                }
                Some(t) if t.is_floating_point() != tensor.is_floating_point() => {
                    problems.push(format!(
                        "`{full}` holds {}, the model needs {}",
                        sort_of(t),
                        sort_of(tensor)
                    ));
                }
                Some(_) => {}
            }
            known.insert(full);
        }
        let unknown = tensors.keys().filter(|n| n.starts_with(prefix) && !known.contains(*n));
        problems.extend(unknown.map(|n| format!("`{n}` is unknown to the model")));
        if !problems.is_empty() {
            return Err(FlatError::Mismatch { problems });
        }

        let _guard = tch::no_grad_guard();
        let parameters = self.buffer.f_zeros_like()?;
        for (name, mut view) in self.views(&parameters)? {
            view.f_copy_(&tensors[&format!("{prefix}{name}")])?;
        }
        let mut buffers = Vec::with_capacity(self.buffers.len());
        for (name, own) in &self.buffers {
            let mut new = own.f_empty_like()?;
            new.f_copy_(&tensors[&format!("{prefix}{name}")])?;
            buffers.push((name.clone(), new));
        }
        let named = self.views(&parameters)?;
        let wrong = named.iter().chain(&buffers);
        let wrong = wrong.filter_map(|(name, t)| numbers::describe(&format!("{prefix}{name}"), t));
        let wrong: Vec<String> = wrong.take(5).collect();
        if !wrong.is_empty() {
            return Err(FlatError::NotFinite { tensors: wrong });
        }
        Ok(Weights { parameters, buffers })
    }

    /// Loads parameters and buffers from named tensors; the inverse of [`named_weights`](Self::named_weights).
    ///
    /// # Errors
    /// As [`gather`](Self::gather); nothing is changed then.
    pub fn load(&self, tensors: &BTreeMap<String, Tensor>) -> Result<(), FlatError> {
        self.assign(&self.gather(tensors, "")?)
    }

    /// Runs `evaluate` with `weights` in the model, then puts back what was there, also after an error or a panic.
    /// Buffers that `evaluate` changes (BatchNorm in training mode) are put back too; `weights` are not changed.
    ///
    /// # Errors
    /// What `evaluate` returns, or a [`FlatError`] when `weights` do not fit or cannot be put back.
    pub fn with_weights<T, E: From<FlatError>>(
        &self,
        weights: &Weights,
        evaluate: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut restore = Restore { parameters: self, saved: Some(self.copy()?) };
        let result = self.assign(weights).map_err(E::from).and_then(|()| evaluate());
        restore.now()?;
        result
    }

    /// Refuses a tensor that does not share the buffer's length, kind and device.
    pub(crate) fn check_layout(&self, flat: &Tensor) -> Result<(), FlatError> {
        check_like(&self.buffer, flat)
    }

    fn check_buffers(&self, buffers: &[(String, Tensor)]) -> Result<(), FlatError> {
        let shapes = |all: &[(String, Tensor)]| {
            all.iter().map(|(n, t)| (n.clone(), t.size())).collect::<Vec<_>>()
        };
        if shapes(&self.buffers) == shapes(buffers) {
            return Ok(());
        }
        let problem = format!(
            "buffers {:?} where the model has {:?}",
            shapes(buffers),
            shapes(&self.buffers)
        );
        Err(FlatError::Mismatch { problems: vec![problem] })
    }
}

/// Integers are no weights, and weights are no counters.
fn sort_of(tensor: &Tensor) -> String {
    let sort = if tensor.is_floating_point() { "floating" } else { "whole" };
    format!("{sort} numbers ({:?})", tensor.kind())
}

/// Refuses `other` unless it shares the shape, kind and device of `reference`.
pub(crate) fn check_like(reference: &Tensor, other: &Tensor) -> Result<(), FlatError> {
    let describe =
        |t: &Tensor| format!("of shape {:?}, {}", t.size(), placement(t.kind(), t.device()));
    let key = |t: &Tensor| (t.size(), t.kind(), t.device());
    if key(reference) == key(other) {
        return Ok(());
    }
    Err(FlatError::Layout { expected: describe(reference), found: describe(other) })
}

fn placement(kind: Kind, device: Device) -> String {
    format!("{kind:?} on {device:?}")
}

/// Puts saved weights back when it is dropped, so that a panic in between cannot leave the wrong ones.
struct Restore<'a> {
    parameters: &'a FlatParameters,
    saved: Option<Weights>,
}

impl Restore<'_> {
    fn now(&mut self) -> Result<(), FlatError> {
        self.saved.take().map_or(Ok(()), |saved| self.parameters.assign(&saved))
    }
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        // Only reached with something to do while a panic unwinds: that is already being reported.
        let _ = self.now();
    }
}
