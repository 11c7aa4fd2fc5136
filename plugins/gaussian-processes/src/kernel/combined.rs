//! Sums, products and multiples of kernels.

use super::{one, positive};
use isotropy_core::{
    CovarianceKernel, CovarianceKernelConfig, Error, Gram, Hyperparameter, Invariance, Result,
    Scale, component, config,
};
use std::sync::Arc;
use tch::Tensor;

/// What the parts of a combination share.
#[derive(Debug, Clone)]
struct Parts(Vec<Arc<dyn CovarianceKernel>>);

impl Parts {
    fn new(configs: &[Box<dyn CovarianceKernelConfig>]) -> Result<Self> {
        if configs.is_empty() {
            return Err(Error::config("/kernels", "at least one kernel is needed"));
        }
        let parts = configs.iter().enumerate();
        let parts = parts.map(|(k, c)| c.build().map_err(|e| e.under(&format!("/kernels/{k}"))));
        let parts = Self(parts.collect::<Result<_>>()?);
        // Points of some number of coordinates must suit all parts.
        if !(1..=64).any(|p| parts.accepts(p).is_ok()) {
            let names = parts.name(" and ");
            let message = format!(
                "{names} do not go together: their values have different numbers of components"
            );
            return Err(Error::config("/kernels", message));
        }
        Ok(parts)
    }

    fn name(&self, between: &str) -> String {
        self.0.iter().map(|part| part.name()).collect::<Vec<_>>().join(between)
    }

    fn accepts(&self, p: i64) -> Result<()> {
        let mut found = None;
        for part in &self.0 {
            part.accepts(p)?;
            match (found, part.outputs(p)) {
                (Some(a), Some(b)) if a != b => {
                    return Err(Error::Unsupported(format!(
                        "kernels for values of {a} and of {b} components cannot be combined"
                    )));
                }
                (None, outputs) => found = outputs,
                _ => {}
            }
        }
        Ok(())
    }

    fn outputs(&self, p: i64) -> Option<i64> {
        self.0.iter().find_map(|part| part.outputs(p))
    }

    fn invariance(&self) -> Invariance {
        self.0.iter().map(|part| part.invariance()).min().expect("there is at least one part")
    }

    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        let under = |(k, part): (usize, &Arc<dyn CovarianceKernel>)| {
            let place = format!("/kernels/{k}");
            part.hyperparameters().into_iter().map(move |h| h.under(&place)).collect::<Vec<_>>()
        };
        self.0.iter().enumerate().flat_map(under).collect()
    }

    /// Each part with its own hyperparameters.
    fn with<'a>(
        &'a self,
        mut values: &'a [Scale],
    ) -> impl Iterator<Item = (&'a dyn CovarianceKernel, &'a [Scale])> {
        self.0.iter().map(move |part| {
            let (own, rest) = values.split_at(part.hyperparameters().len());
            values = rest;
            (part.as_ref(), own)
        })
    }

    fn fold(
        &self,
        values: &[Scale],
        gram: impl Fn(&dyn CovarianceKernel, &[Scale]) -> Gram,
        join: impl Fn(Gram, Gram) -> Gram,
    ) -> Gram {
        let grams = self.with(values).map(|(part, own)| gram(part, own));
        grams.reduce(join).expect("there is at least one part")
    }
}

/// The sum of kernels: independent functions on top of each other.
#[derive(Debug, Clone)]
pub struct Sum(Parts);

impl CovarianceKernel for Sum {
    fn name(&self) -> String {
        self.0.name(" + ")
    }

    fn accepts(&self, p: i64) -> Result<()> {
        self.0.accepts(p)
    }

    fn outputs(&self, p: i64) -> Option<i64> {
        self.0.outputs(p)
    }

    fn invariance(&self) -> Invariance {
        self.0.invariance()
    }

    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        self.0.hyperparameters()
    }

    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        self.0.fold(values, |part, own| part.cross_at(own, a, b), |x, y| x.add(&y))
    }

    fn gram_at(&self, values: &[Scale], a: &Tensor) -> Gram {
        self.0.fold(values, |part, own| part.gram_at(own, a), |x, y| x.add(&y))
    }

    fn white_at(&self, values: &[Scale]) -> Option<Scale> {
        let whites: Option<Vec<Scale>> =
            self.0.with(values).map(|(part, own)| part.white_at(own)).collect();
        whites?.into_iter().reduce(|a, b| a.add(&b))
    }
}

/// The sum of kernels.
#[config]
pub struct SumConfig {
    /// The summands, at least one. Scalar kernels count as multiples of the identity beside kernels with matrix values.
    #[schemars(length(min = 1))]
    pub kernels: Vec<Box<dyn CovarianceKernelConfig>>,
}

#[component(
    "sum",
    "independent functions on top of each other: a signal and its noise",
    r#"{"type": "sum", "kernels": [{"type": "rbf", "lengthscale": 0.25}, {"type": "white", "variance": 0.0025}]}"#
)]
impl CovarianceKernelConfig for SumConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        Ok(Arc::new(Sum(Parts::new(&self.kernels)?)))
    }
}

/// The product of kernels, of which at most one has matrix values.
#[derive(Debug, Clone)]
pub struct Product(Parts);

impl CovarianceKernel for Product {
    fn name(&self) -> String {
        format!("({})", self.0.name(") * ("))
    }

    fn accepts(&self, p: i64) -> Result<()> {
        self.0.accepts(p)?;
        if self.0.0.iter().filter(|part| part.outputs(p).is_some()).count() > 1 {
            return Err(Error::Unsupported(
                "the product of two kernels with matrix values moves with no rotation".into(),
            ));
        }
        Ok(())
    }

    fn outputs(&self, p: i64) -> Option<i64> {
        self.0.outputs(p)
    }

    fn invariance(&self) -> Invariance {
        self.0.invariance()
    }

    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        self.0.hyperparameters()
    }

    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        self.0.fold(values, |part, own| part.cross_at(own, a, b), |x, y| x.multiply(&y))
    }

    fn gram_at(&self, values: &[Scale], a: &Tensor) -> Gram {
        self.0.fold(values, |part, own| part.gram_at(own, a), |x, y| x.multiply(&y))
    }
}

/// The product of kernels.
#[config]
pub struct ProductConfig {
    /// The factors, at least one; at most one of them with matrix values.
    #[schemars(length(min = 1))]
    pub kernels: Vec<Box<dyn CovarianceKernelConfig>>,
}

#[component(
    "product",
    "kernels multiplied with each other",
    r#"{"type": "product", "kernels": [{"type": "rbf", "lengthscale": 2.0}, {"type": "periodic", "period": 0.5}]}"#
)]
impl CovarianceKernelConfig for ProductConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        let product = Product(Parts::new(&self.kernels)?);
        match (1..=64).map(|p| product.accepts(p)).find(Result::is_ok) {
            Some(_) => Ok(Arc::new(product)),
            None => Err(Error::config(
                "/kernels",
                "a product takes at most one kernel with matrix values: that of two moves with no rotation",
            )),
        }
    }
}

/// A multiple of a kernel.
#[derive(Debug, Clone)]
pub struct Scaled {
    kernel: Arc<dyn CovarianceKernel>,
    factor: f64,
}

impl Scaled {
    /// `factor` times the kernel.
    ///
    /// # Errors
    /// When the factor is not positive.
    pub fn new(kernel: Arc<dyn CovarianceKernel>, factor: f64) -> Result<Self> {
        Ok(Self { kernel, factor: positive("factor", factor)? })
    }
}

impl CovarianceKernel for Scaled {
    fn name(&self) -> String {
        format!("{} * ({})", self.factor, self.kernel.name())
    }

    fn accepts(&self, p: i64) -> Result<()> {
        self.kernel.accepts(p)
    }

    fn outputs(&self, p: i64) -> Option<i64> {
        self.kernel.outputs(p)
    }

    fn invariance(&self) -> Invariance {
        self.kernel.invariance()
    }

    /// The factor alone first, then the numbers of the kernel.
    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        let own = std::iter::once(Hyperparameter::new("factor", self.factor));
        own.chain(self.kernel.hyperparameters().into_iter().map(|h| h.under("/kernel"))).collect()
    }

    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        self.kernel.cross_at(&values[1..], a, b).scale(&values[0])
    }

    fn gram_at(&self, values: &[Scale], a: &Tensor) -> Gram {
        self.kernel.gram_at(&values[1..], a).scale(&values[0])
    }

    fn white_at(&self, values: &[Scale]) -> Option<Scale> {
        Some(values[0].multiply(&self.kernel.white_at(&values[1..])?))
    }
}

/// A multiple of a kernel: functions with `sqrt(factor)` times the amplitude.
#[config]
pub struct ScaledConfig {
    /// The kernel.
    pub kernel: Box<dyn CovarianceKernelConfig>,
    /// What its covariances are multiplied by; positive.
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub factor: f64,
}

#[component(
    "scale",
    "a multiple of a kernel",
    r#"{"type": "scale", "factor": 0.07965, "kernel": {"type": "matern"}}"#
)]
impl CovarianceKernelConfig for ScaledConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        let kernel = self.kernel.build().map_err(|e| e.under("/kernel"))?;
        Ok(Arc::new(Scaled::new(kernel, self.factor)?))
    }
}

/// `variance ((1 - fraction) k + fraction 1)`: a smooth kernel with enough white noise to be factorised.
#[derive(Debug, Clone)]
pub struct Noisy {
    kernel: Arc<dyn CovarianceKernel>,
    fraction: f64,
    variance: f64,
}

impl Noisy {
    /// The white part is independent from entry to entry ([`Repeats::Independent`](super::Repeats)).
    ///
    /// # Errors
    /// When the fraction is not strictly between 0 and 1, or the variance is not positive.
    pub fn new(kernel: Arc<dyn CovarianceKernel>, fraction: f64, variance: f64) -> Result<Self> {
        if !(fraction > 0.0 && fraction < 1.0) {
            let message = format!("fraction = {fraction} must lie between 0 and 1");
            return Err(Error::config("/fraction", message)
                .with_help("leave the noise out instead of giving it the fraction 0"));
        }
        Ok(Self { kernel, fraction, variance: positive("variance", variance)? })
    }
}

impl CovarianceKernel for Noisy {
    fn name(&self) -> String {
        let (v, f) = (self.variance, self.fraction);
        format!("{v} * ({} * ({}) + {f} * white)", 1.0 - f, self.kernel.name())
    }

    fn accepts(&self, p: i64) -> Result<()> {
        self.kernel.accepts(p)
    }

    fn outputs(&self, p: i64) -> Option<i64> {
        self.kernel.outputs(p)
    }

    fn invariance(&self) -> Invariance {
        self.kernel.invariance()
    }

    /// The variance first, then the numbers of the kernel; the fraction is not tuned.
    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        let own = std::iter::once(Hyperparameter::new("variance", self.variance));
        own.chain(self.kernel.hyperparameters().into_iter().map(|h| h.under("/kernel"))).collect()
    }

    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        let smooth = self.kernel.cross_at(&values[1..], a, b);
        smooth.scale(&values[0].multiply(&Scale::Same(1.0 - self.fraction)))
    }

    fn gram_at(&self, values: &[Scale], a: &Tensor) -> Gram {
        let smooth = self.kernel.gram_at(&values[1..], a).scale(&Scale::Same(1.0 - self.fraction));
        let rows = smooth.tensor().size()[smooth.tensor().dim() - 1];
        let white = Tensor::eye(rows, (a.kind(), a.device())) * self.fraction;
        smooth.map(|smooth| smooth + &white).scale(&values[0])
    }

    fn white_at(&self, values: &[Scale]) -> Option<Scale> {
        let inner = self.kernel.white_at(&values[1..])?;
        let inner = inner.multiply(&Scale::Same(1.0 - self.fraction));
        Some(values[0].multiply(&inner.add(&Scale::Same(self.fraction))))
    }
}

/// `variance ((1 - fraction) k(x, x') + fraction [same entry])`: limits of diffusions that are smooth but can be
/// factorised (the `noisy-` limits of geomndp.md 1.5).
#[config]
pub struct NoisyConfig {
    /// The kernel `k`, mostly with variance 1.
    pub kernel: Box<dyn CovarianceKernelConfig>,
    /// Share of the white noise, strictly between 0 and 1.
    #[serde(default = "five_per_cent")]
    #[schemars(range(min = 1e-12, max = 0.999_999_999))]
    pub fraction: f64,
    /// What all of it is multiplied by: the variance of the data, in the squared unit of the values; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub variance: f64,
}

fn five_per_cent() -> f64 {
    0.05
}

#[component(
    "noisy",
    "a smooth kernel with a share of white noise",
    r#"{"type": "noisy", "kernel": {"type": "rbf", "lengthscale": 1.0}, "fraction": 0.05, "variance": 1.0}"#
)]
impl CovarianceKernelConfig for NoisyConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        let kernel = self.kernel.build().map_err(|e| e.under("/kernel"))?;
        Ok(Arc::new(Noisy::new(kernel, self.fraction, self.variance)?))
    }
}
