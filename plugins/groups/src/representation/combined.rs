//! Direct sums, tensor products and duals of linear representations.

use super::linear::{Linear, same_group};
use super::matrices::{LinearRepresentation, as_linear};
use isotropy_core::{
    Element, Error, Group, Representation, RepresentationConfig, Result, component, config,
};
use std::sync::Arc;
use tch::{Kind, Tensor};

fn names(parts: &[Arc<dyn Linear>], between: &str) -> String {
    parts.iter().map(|part| format!("({})", part.name())).collect::<Vec<_>>().join(between)
}

/// Refuses parts of different groups.
fn one_group(parts: &[Arc<dyn Linear>]) -> Result<()> {
    let Some((first, rest)) = parts.split_first() else {
        return Err(Error::config("/parts", "at least one part is needed"));
    };
    for (k, part) in rest.iter().enumerate() {
        let (a, b) = (first.group(), part.group());
        if !same_group(a.as_ref(), b.as_ref()) {
            return Err(Error::config(
                format!("/parts/{}", k + 1),
                format!(
                    "the parts must be representations of one group; '{}' is one of {}, '{}' of {}",
                    first.name(),
                    a.name(),
                    part.name(),
                    b.name()
                ),
            ));
        }
    }
    Ok(())
}

/// The direct sum: vectors of the parts one after another, block-diagonal matrices.
#[derive(Debug)]
pub struct DirectSum {
    parts: Vec<Arc<dyn Linear>>,
}

impl DirectSum {
    /// The sum in this order.
    ///
    /// # Errors
    /// When there is no part, or the parts belong to different groups.
    pub fn new(parts: Vec<Arc<dyn Linear>>) -> Result<Self> {
        one_group(&parts)?;
        Ok(Self { parts })
    }
}

impl Linear for DirectSum {
    fn name(&self) -> String {
        names(&self.parts, " + ")
    }

    fn group(&self) -> &Arc<dyn Group> {
        self.parts[0].group()
    }

    fn dimension(&self) -> i64 {
        self.parts.iter().map(|part| part.dimension()).sum()
    }

    fn matrix(&self, g: &Element, kind: Kind) -> Tensor {
        let total = self.dimension();
        let mut before = 0;
        let rows: Vec<Tensor> = self
            .parts
            .iter()
            .map(|part| {
                let d = part.dimension();
                let row = part.matrix(g, kind).constant_pad_nd([before, total - before - d]);
                before += d;
                row
            })
            .collect();
        Tensor::cat(&rows, -2)
    }
}

/// The tensor product: component `(i, j, ..)` of the product of vectors, the last factor running
/// fastest.
#[derive(Debug)]
pub struct TensorProduct {
    parts: Vec<Arc<dyn Linear>>,
}

impl TensorProduct {
    /// The product in this order.
    ///
    /// # Errors
    /// When there is no part, or the parts belong to different groups.
    pub fn new(parts: Vec<Arc<dyn Linear>>) -> Result<Self> {
        one_group(&parts)?;
        Ok(Self { parts })
    }
}

/// The Kronecker products of batches of matrices.
fn kronecker(a: &Tensor, b: &Tensor) -> Tensor {
    let (m, n) = (a.size()[a.dim() - 1], b.size()[b.dim() - 1]);
    let lead = &a.size()[..a.dim() - 2];
    // [.., i, 1, j, 1] times [.., 1, k, 1, l].
    let a = a.unsqueeze(-1).unsqueeze(-3);
    let b = b.unsqueeze(-2).unsqueeze(-4);
    (a * b).reshape([lead, &[m * n, m * n]].concat())
}

impl Linear for TensorProduct {
    fn name(&self) -> String {
        names(&self.parts, " x ")
    }

    fn group(&self) -> &Arc<dyn Group> {
        self.parts[0].group()
    }

    fn dimension(&self) -> i64 {
        self.parts.iter().map(|part| part.dimension()).product()
    }

    fn matrix(&self, g: &Element, kind: Kind) -> Tensor {
        let matrices = self.parts.iter().map(|part| part.matrix(g, kind));
        matrices.reduce(|a, b| kronecker(&a, &b)).expect("there is at least one part")
    }
}

/// The dual (contragredient) representation: `rho(g^-1)^T`, on covectors. The pairing of a covector
/// with a vector is invariant.
#[derive(Debug)]
pub struct Dual {
    of: Arc<dyn Linear>,
}

impl Dual {
    /// The dual of a representation.
    pub fn new(of: Arc<dyn Linear>) -> Self {
        Self { of }
    }
}

impl Linear for Dual {
    fn name(&self) -> String {
        format!("dual of ({})", self.of.name())
    }

    fn group(&self) -> &Arc<dyn Group> {
        self.of.group()
    }

    fn dimension(&self) -> i64 {
        self.of.dimension()
    }

    fn matrix(&self, g: &Element, kind: Kind) -> Tensor {
        self.of.matrix(&self.of.group().inverse(g), kind).transpose(-1, -2)
    }
}

/// The parts of a configuration as matrices; errors point into it.
fn build(parts: &[Box<dyn RepresentationConfig>]) -> Result<Vec<Arc<dyn Linear>>> {
    let mut built = Vec::with_capacity(parts.len());
    for (k, part) in parts.iter().enumerate() {
        let place = format!("/parts/{k}");
        let representation = part.build().map_err(|e| e.under(&place))?;
        built.push(as_linear(representation.as_ref()).map_err(|e| e.under(&place))?);
    }
    Ok(built)
}

/// The direct sum of linear representations of one group.
#[config]
pub struct DirectSumConfig {
    /// The parts, at least one; their vectors lie one after another on the last axis.
    #[schemars(length(min = 1))]
    pub parts: Vec<Box<dyn RepresentationConfig>>,
}

#[component(
    "direct-sum",
    "linear representations side by side",
    r#"{"type": "direct-sum", "parts": [{"type": "irrep", "degree": 0}, {"type": "irrep", "degree": 2}]}"#
)]
impl RepresentationConfig for DirectSumConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        let sum = DirectSum::new(build(&self.parts)?)?;
        Ok(Arc::new(LinearRepresentation::new(Arc::new(sum))))
    }
}

/// The tensor product of linear representations of one group.
#[config]
pub struct TensorProductConfig {
    /// The factors, at least one; the last one's components run fastest.
    #[schemars(length(min = 1))]
    pub parts: Vec<Box<dyn RepresentationConfig>>,
}

#[component(
    "tensor-product",
    "products of the components of linear representations (matrices, tensors)",
    r#"{"type": "tensor-product", "parts": [{"type": "rotation", "dimension": 3}, {"type": "rotation", "dimension": 3}]}"#
)]
impl RepresentationConfig for TensorProductConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        let product = TensorProduct::new(build(&self.parts)?)?;
        Ok(Arc::new(LinearRepresentation::new(Arc::new(product))))
    }
}

/// The dual of a linear representation: how gradients and covectors move.
#[config]
pub struct DualConfig {
    /// The representation whose dual this is.
    pub of: Box<dyn RepresentationConfig>,
}

#[component(
    "dual",
    "how gradients of a linear representation move",
    r#"{"type": "dual", "of": {"type": "defining", "group": {"type": "so-n", "dimension": 4}}}"#
)]
impl RepresentationConfig for DualConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        let of = self.of.build().map_err(|e| e.under("/of"))?;
        let of = as_linear(of.as_ref()).map_err(|e| e.under("/of"))?;
        Ok(Arc::new(LinearRepresentation::new(Arc::new(Dual::new(of)))))
    }
}
