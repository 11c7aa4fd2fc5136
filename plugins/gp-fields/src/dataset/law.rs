//! Laws of random functions that can be drawn at any points.

use isotropy_core::{CovarianceKernel, Error, Result, Root, Stream};
use isotropy_gaussian_processes::linear_algebra::{self, JITTER};
use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// A law of functions with `d` components.
pub trait Law: Send + Debug {
    /// Number of components `d`.
    fn outputs(&self) -> i64;

    /// Values `[B, N, d]` of `batch` independent functions, in double precision, at points `[B, N, p]` or at points
    /// `[N, p]` that all share.
    ///
    /// # Errors
    /// When a covariance is not positive definite.
    fn draw(&self, index: &Tensor, batch: i64, stream: &mut Stream) -> Result<Tensor>;
}

/// A Gaussian process of mean 0 seen with independent noise.
#[derive(Debug)]
pub struct GaussianLaw {
    kernel: Arc<dyn CovarianceKernel>,
    outputs: i64,
    noise_variance: f64,
    /// The points that all functions shared last, and the root of the covariance there. Only saves time.
    shared: RefCell<Option<(Tensor, Root)>>,
}

impl GaussianLaw {
    /// Functions of `p` coordinates: independent components with a scalar kernel, or the components of a matrix-valued
    /// one. The variance of the noise is that of each component at each point.
    ///
    /// # Errors
    /// `Config` when the kernel is not for points of `p` coordinates (at `/kernel`) or not for `outputs` components (at
    /// `/values`), or for a negative variance of the noise.
    pub fn new(
        kernel: Arc<dyn CovarianceKernel>,
        p: i64,
        outputs: i64,
        noise_variance: f64,
    ) -> Result<Self> {
        kernel.accepts(p).map_err(|error| error.under("/kernel"))?;
        if let Some(own) = kernel.outputs(p)
            && own != outputs
        {
            let message = format!("{} gives {own} components, not {outputs}", kernel.name());
            return Err(Error::config("/values", message));
        }
        if !(noise_variance.is_finite() && noise_variance >= 0.0) {
            let message = format!("a variance is not negative; this one is {noise_variance}");
            return Err(Error::config("/noise_variance", message));
        }
        Ok(Self { kernel, outputs, noise_variance, shared: RefCell::new(None) })
    }

    /// The kernel without the noise.
    pub fn kernel(&self) -> &dyn CovarianceKernel {
        self.kernel.as_ref()
    }

    /// A root of the covariance of noisy values at points `[.., N, p]`.
    fn root(&self, index: &Tensor) -> Result<Root> {
        let kernel = self.kernel.as_ref();
        // With noise the matrix is positive definite as it is.
        let jitter = if self.noise_variance > 0.0 { 0.0 } else { JITTER };
        let points = linear_algebra::Points::new(index, None);
        let gram = linear_algebra::gram(kernel, &kernel.values(), &points, jitter)?.map(|matrix| {
            let size = matrix.size();
            let noise = Tensor::eye(size[size.len() - 1], (matrix.kind(), matrix.device()));
            matrix + noise * self.noise_variance
        });
        let lower = linear_algebra::cholesky(gram.tensor(), kernel, jitter)?;
        Ok(match gram.outputs() {
            None => Root::lower_of_index(lower),
            Some(_) => Root::lower_of_all(lower),
        })
    }
}

impl Law for GaussianLaw {
    fn outputs(&self) -> i64 {
        self.outputs
    }

    fn draw(&self, index: &Tensor, batch: i64, stream: &mut Stream) -> Result<Tensor> {
        let size = index.size();
        let white = stream
            .normal(&[batch, size[size.len() - 2], self.outputs], (Kind::Double, index.device()));
        if index.dim() > 2 {
            return Ok(self.root(index)?.apply(&white));
        }
        let mut shared = self.shared.borrow_mut();
        let (_, root) = match shared.take() {
            // The same memory: the same points.
            Some((points, root))
                if points.data_ptr() == index.data_ptr() && points.size() == size =>
            {
                shared.insert((points, root))
            }
            _ => shared.insert((index.shallow_clone(), self.root(index)?)),
        };
        Ok(root.apply(&white))
    }
}

/// Each function is drawn from one of several laws, all of them equally likely.
#[derive(Debug)]
pub struct Mixture(pub Vec<Box<dyn Law>>);

impl Law for Mixture {
    fn outputs(&self) -> i64 {
        self.0[0].outputs()
    }

    fn draw(&self, index: &Tensor, batch: i64, stream: &mut Stream) -> Result<Tensor> {
        // All laws are drawn for all functions and one is kept: without reading on the host which, at a few times the
        // cost of drawing, which is small beside that of a network.
        let law = stream.integers(self.0.len() as i64, &[batch, 1, 1], index.device());
        let mut kept: Option<Tensor> = None;
        for (number, component) in self.0.iter().enumerate() {
            let drawn = component.draw(index, batch, stream)?;
            kept = Some(match kept {
                None => drawn,
                Some(before) => drawn.where_self(&law.eq(number as i64), &before),
            });
        }
        kept.ok_or_else(|| Error::Other("a mixture of no laws".into()))
    }
}
