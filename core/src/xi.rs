//! Coefficients of a frame of fields, and elements of a group: one tensor per factor.

use tch::{Device, Kind, Tensor};

/// Coefficients in a frame: one tensor per factor of the group, each with the batch as its leading
/// axis. Written `xi` in the design; increments, noise, drifts and scores are all of this type.
///
/// Cloning is shallow: the tensors are shared, and no operation here changes a tensor in place.
#[derive(Debug)]
pub struct Xi(pub Vec<Tensor>);

impl Clone for Xi {
    fn clone(&self) -> Self {
        Self(self.0.iter().map(Tensor::shallow_clone).collect())
    }
}

impl From<Tensor> for Xi {
    fn from(tensor: Tensor) -> Self {
        Self(vec![tensor])
    }
}

impl Xi {
    /// The tensor of factor `k`.
    ///
    /// # Panics
    /// When there is no such factor: the caller and the group disagree about the factors.
    pub fn factor(&self, k: usize) -> &Tensor {
        &self.0[k]
    }

    /// The only tensor of a group with one factor.
    pub fn single(&self) -> &Tensor {
        debug_assert_eq!(self.0.len(), 1, "the group has more than one factor");
        &self.0[0]
    }

    /// Applies `f` to every factor.
    pub fn map(&self, f: impl FnMut(&Tensor) -> Tensor) -> Self {
        Self(self.0.iter().map(f).collect())
    }

    /// Applies `f` to the factors of two coefficients, pair by pair.
    pub fn zip(&self, other: &Self, mut f: impl FnMut(&Tensor, &Tensor) -> Tensor) -> Self {
        debug_assert_eq!(self.0.len(), other.0.len(), "coefficients of different groups");
        Self(self.0.iter().zip(&other.0).map(|(a, b)| f(a, b)).collect())
    }

    /// `self + other`.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    /// `self - other`.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    /// `scale * self` with one number for all factors.
    #[must_use]
    pub fn scale(&self, scale: f64) -> Self {
        self.map(|a| a * scale)
    }

    /// `self + scale * other`.
    #[must_use]
    pub fn add_scaled(&self, other: &Self, scale: f64) -> Self {
        self.zip(other, |a, b| a + b * scale)
    }

    /// Zeros of the same shapes.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        self.map(Tensor::zeros_like)
    }

    /// Squared Euclidean norm over everything but the batch, summed over factors: shape `[B]`.
    pub fn square_norm(&self) -> Tensor {
        let per_factor =
            self.0.iter().map(|a| (a * a).flatten(1, -1).sum_dim_intlist(1, false, None));
        per_factor.reduce(|a, b| a + b).expect("a group has at least one factor")
    }

    /// The shapes, one per factor.
    pub fn shapes(&self) -> Vec<Vec<i64>> {
        self.0.iter().map(Tensor::size).collect()
    }

    /// Kind and device of the first factor (all factors agree).
    pub fn options(&self) -> (Kind, Device) {
        (self.0[0].kind(), self.0[0].device())
    }
}

/// A number for each point of a batch, `[B]` or `[B, 1]`, with as many axes as what it multiplies:
/// `[B, 1, ..]`.
pub fn broadcast(numbers: &Tensor, axes: usize) -> Tensor {
    if numbers.dim() == axes {
        return numbers.shallow_clone();
    }
    let mut shape = vec![1; axes];
    shape[0] = -1;
    numbers.reshape(&shape)
}

/// A mask `[B, N]` over an index set in a shape that broadcasts against coefficients `[B, N, ..]`;
/// `None` when the coefficients do not belong to the index set (those of a rigid body).
pub fn broadcast_mask(mask: &Tensor, coefficients: &Tensor) -> Option<Tensor> {
    let (mask_shape, mut shape) = (mask.size(), coefficients.size());
    if shape.len() < 2 || shape[..2] != mask_shape[..] {
        return None;
    }
    shape[2..].fill(1);
    Some(mask.view(shape.as_slice()).to_kind(coefficients.kind()))
}

/// An element of a group: one tensor per factor, the batch leading. What a factor looks like is the
/// group's business (an angle `[.., 1]`, a rotation matrix `[.., 3, 3]`, an index `[..]`).
#[derive(Debug)]
pub struct Element(pub Vec<Tensor>);

impl Clone for Element {
    fn clone(&self) -> Self {
        Self(self.0.iter().map(Tensor::shallow_clone).collect())
    }
}

impl From<Tensor> for Element {
    fn from(tensor: Tensor) -> Self {
        Self(vec![tensor])
    }
}

impl Element {
    /// The only tensor of a group with one factor.
    pub fn single(&self) -> &Tensor {
        debug_assert_eq!(self.0.len(), 1, "the group has more than one factor");
        &self.0[0]
    }
}
