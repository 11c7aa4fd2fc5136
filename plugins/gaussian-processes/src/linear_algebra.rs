//! Factorised covariances of a field at its points: Cholesky, log-determinants, densities, samples.
//!
//! Whatever the kind of the points, Gram matrices are computed and factorised in double precision: a smooth kernel at
//! fifty points has a condition number beyond the 1e7 of single precision. Padding counts as nothing: its rows are those
//! of the identity, and densities leave it out.

use isotropy_core::{CovarianceKernel, Error, Gram, Result, Root, Scale, State, refuse_if};
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

/// The default jitter: `1e-6` times the mean variance is added to the diagonal of every Gram matrix that is factorised
/// (the published value for kernels of variance 1, here whatever the unit of the values is).
pub const JITTER: f64 = 1e-6;

/// The points of a field and which of them are there.
#[derive(Debug)]
pub struct Points {
    /// `[B, N, p]`, or `[N, p]` where all functions of a batch are seen at the same points; in double precision.
    pub index: Tensor,
    /// `[B, N]`, 1 where the point is there; `None` when all are. In double precision.
    pub mask: Option<Tensor>,
}

impl Points {
    /// From a tensor of points `[B, N, p]` or `[N, p]` and a mask `[B, N]`.
    pub fn new(index: &Tensor, mask: Option<&Tensor>) -> Self {
        // A grid that was copied for every function of a batch without copying its memory is one grid.
        let repeated =
            index.dim() == 3 && mask.is_none() && index.size()[0] > 1 && index.stride()[0] == 0;
        let index = if repeated { index.get(0) } else { index.shallow_clone() };
        let index = index.to_kind(Kind::Double);
        let mask = mask.map(|mask| mask.to_kind(Kind::Double));
        // Padding may hold anything. What is NaN in a covariance that is not used is NaN in its gradient.
        let index = match &mask {
            Some(mask) => {
                let there = mask.unsqueeze(-1).gt(0.5);
                index.where_self(&there, &Tensor::zeros([1], (Kind::Double, index.device())))
            }
            None => index,
        };
        Self { index, mask }
    }

    /// The points of a state: its context field [`State::INDEX`] and its mask.
    ///
    /// # Errors
    /// When the state has no index points.
    pub fn of(state: &State) -> Result<Self> {
        Ok(Self::new(&state.given(State::INDEX)?.tensor, state.mask()))
    }

    /// Number of points `N`, padding included.
    pub fn len(&self) -> i64 {
        self.index.size()[self.index.dim() - 2]
    }

    /// Whether there is no point, not even padding.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Coordinates `p` of a point.
    pub fn dimension(&self) -> i64 {
        self.index.size()[self.index.dim() - 1]
    }

    /// Number of points that are there: `[B]`, or a tensor without axes.
    fn count(&self) -> Tensor {
        match &self.mask {
            Some(mask) => mask.sum_dim_intlist([-1].as_slice(), false, Kind::Double),
            None => Tensor::full([], self.len(), (Kind::Double, self.index.device())),
        }
    }

    /// The mask for values `[B, N, d]`: `[B, N, 1]`.
    fn on_values(&self) -> Option<Tensor> {
        self.mask.as_ref().map(|mask| mask.unsqueeze(-1))
    }
}

/// The Gram matrix of a kernel at points, in double precision, with the rows and columns of padding replaced by those of
/// the identity and with `jitter` times the mean variance of the points that are there on the diagonal.
///
/// # Errors
/// When the kernel does not take such points.
pub fn gram(
    kernel: &dyn CovarianceKernel,
    values: &[Scale],
    points: &Points,
    jitter: f64,
) -> Result<Gram> {
    kernel.accepts(points.dimension())?;
    let gram = kernel.gram_at(values, &points.index);
    let d = gram.outputs().unwrap_or(1);
    let matrix = gram.tensor();
    let options = (matrix.kind(), matrix.device());
    let rows = points.len() * d;
    let one = Tensor::eye(rows, options);
    let diagonal = matrix.diagonal(0, -2, -1);
    let mean = |a: &Tensor| a.mean_dim([-1].as_slice(), true, Kind::Double).unsqueeze(-1);
    let Some(mask) = &points.mask else {
        return Ok(gram.map(|matrix| matrix + &one * (mean(&diagonal) * jitter)));
    };
    // [B, N] to [B, N d], each number d times.
    let mask = mask.repeat_interleave_self_int(d, -1, rows_of(mask) * d);
    let count = mask.sum_dim_intlist([-1].as_slice(), true, Kind::Double).clamp_min(1.0);
    let there = diagonal.expand_as(&mask).where_self(&mask.gt(0.5), &mask.zeros_like());
    let variance =
        (there.sum_dim_intlist([-1].as_slice(), true, Kind::Double) / count).unsqueeze(-1);
    let both = mask.unsqueeze(-1) * mask.unsqueeze(-2);
    Ok(gram.map(|matrix| {
        let lifted = matrix + &one * (&variance * jitter);
        let one = one.expand_as(&both);
        // Chosen, not multiplied: padding may hold anything, NaN too.
        lifted.expand_as(&both).where_self(&both.gt(0.5), &one)
    }))
}

fn rows_of(mask: &Tensor) -> i64 {
    mask.size()[mask.dim() - 1]
}

/// The lower Cholesky root of a Gram matrix from [`gram`].
///
/// # Errors
/// `Numbers` when it is not positive definite, with kernel, size and jitter: at once on the CPU, with the next
/// [`isotropy_core::late_errors`] on a device.
pub fn cholesky(gram: &Tensor, kernel: &dyn CovarianceKernel, jitter: f64) -> Result<Tensor> {
    let (lower, info) = gram.f_linalg_cholesky_ex(false, false)?;
    if info.numel() == 0 {
        return Ok(lower);
    }
    let (size, name) = (gram.size(), kernel.name());
    let n = size[size.len() - 1];
    let finite = (gram.device() == Device::Cpu).then(|| gram.isfinite().all());
    refuse_if(info.max(), move || {
        let finite = finite.is_none_or(|finite| finite.int64_value(&[]) == 1);
        let what = format!("the {n} x {n} Gram matrix of the kernel {name}");
        Error::Numbers(if finite {
            format!(
                "{what} is not positive definite with jitter {jitter:e} (times its mean variance): raise `jitter`, or \
                 add white noise (kernel `noisy`)"
            )
        } else {
            format!("{what} holds numbers that are not finite: look at the index points")
        })
    })?;
    Ok(lower)
}

#[derive(Debug)]
enum Form {
    /// `v` times the identity.
    White(Scale),
    /// The lower root along the index axis, the same for all components: `[.., N, N]`.
    Index(Tensor),
    /// The lower root over all coefficients, point-major: `[.., N d, N d]`.
    All(Tensor),
}

/// The factorised covariance of the values of a field at its points.
#[derive(Debug)]
pub struct Factor {
    form: Form,
    points: Points,
}

impl Factor {
    /// Factorises the covariance of a kernel at points. White noise needs no factorisation.
    ///
    /// # Errors
    /// When the kernel does not take such points, or the matrix is not positive definite.
    pub fn new(kernel: &dyn CovarianceKernel, points: Points, jitter: f64) -> Result<Self> {
        Self::at(kernel, &kernel.values(), points, jitter)
    }

    /// As [`Factor::new`], with other values of the hyperparameters.
    ///
    /// # Errors
    /// As for [`Factor::new`].
    pub fn at(
        kernel: &dyn CovarianceKernel,
        values: &[Scale],
        points: Points,
        jitter: f64,
    ) -> Result<Self> {
        kernel.accepts(points.dimension())?;
        if let Some(variance) = kernel.white_at(values) {
            return Ok(Self { form: Form::White(variance), points });
        }
        let gram = gram(kernel, values, &points, jitter)?;
        let lower = cholesky(gram.tensor(), kernel, jitter)?;
        let form = match gram.outputs() {
            None => Form::Index(lower),
            Some(_) => Form::All(lower),
        };
        Ok(Self { form, points })
    }

    /// The same factor around the same tensors.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        let form = match &self.form {
            Form::White(variance) => Form::White(variance.clone()),
            Form::Index(lower) => Form::Index(lower.shallow_clone()),
            Form::All(lower) => Form::All(lower.shallow_clone()),
        };
        let mask = self.points.mask.as_ref().map(Tensor::shallow_clone);
        Self { form, points: Points { index: self.points.index.shallow_clone(), mask } }
    }

    /// The points.
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// The root in a kind, for coefficients `[B, N, d]`.
    pub fn root(&self, kind: Kind) -> Root {
        match &self.form {
            Form::White(variance) => {
                let one = Tensor::ones([1], (kind, self.points.index.device()));
                Root::diagonal(variance.times(&one).sqrt())
            }
            Form::Index(lower) => Root::lower_of_index(lower.to_kind(kind)),
            Form::All(lower) => Root::lower_of_all(lower.to_kind(kind)),
        }
    }

    /// Number of stored numbers.
    pub fn numel(&self) -> usize {
        match &self.form {
            Form::White(_) => 0,
            Form::Index(lower) | Form::All(lower) => lower.numel(),
        }
    }

    /// `values` with zeros where there is no point.
    fn shown(&self, values: &Tensor) -> Tensor {
        let values = values.to_kind(Kind::Double);
        match self.points.on_values() {
            Some(mask) => values.where_self(&mask.gt(0.5), &values.zeros_like()),
            None => values,
        }
    }

    /// `L z` for `z` `[B, N, d]`, zero at padding.
    pub fn colour(&self, z: &Tensor) -> Tensor {
        let root = self.root(z.kind());
        let shown = self.shown(z).to_kind(z.kind());
        root.apply(&shown)
    }

    /// Log-determinant of the covariance of `d` components at the points that are there: `[B]`, or without axes where
    /// all functions share it.
    pub fn log_determinant(&self, d: i64) -> Tensor {
        let diagonal = |lower: &Tensor| {
            let log = lower.diagonal(0, -2, -1).log() * 2.0;
            log.sum_dim_intlist([-1].as_slice(), false, Kind::Double)
        };
        match &self.form {
            Form::White(variance) => {
                let one = Tensor::ones([], (Kind::Double, self.points.index.device()));
                self.points.count() * variance.times(&one).log() * d as f64
            }
            Form::Index(lower) => diagonal(lower) * d as f64,
            Form::All(lower) => diagonal(lower),
        }
    }

    /// `y^T K^-1 y` of values `[B, N, d]`, counted from the mean: `[B]`.
    pub fn quadratic(&self, y: &Tensor) -> Tensor {
        let white = self.root(Kind::Double).solve(&self.shown(y));
        white.square().flatten(1, -1).sum_dim_intlist([1].as_slice(), false, Kind::Double)
    }

    /// Log-density of values `[B, N, d]`, counted from the mean, at the points that are there: `[B]`, in nats and in
    /// double precision.
    pub fn log_prob(&self, y: &Tensor) -> Tensor {
        let d = y.size()[y.dim() - 1];
        let constant = self.points.count() * (d as f64 * (2.0 * PI).ln());
        (self.quadratic(y) + self.log_determinant(d) + constant) * -0.5
    }
}
