//! Samples that went wrong: not finite, or collapsed into the origin (sism.md, pitfall 10). Metrics
//! of quality are computed on what is left, so these counts belong beside them.

use super::points;
use isotropy_core::{Evaluation, Measured, Metric, MetricConfig, Result, component, config};
use tch::{Kind, Tensor};

/// Counts of samples that are not finite (`non_finite`), and of finite samples much nearer to the
/// origin than any point of the data (`collapsed`).
#[config(default)]
#[derive(Clone)]
pub struct FiniteConfig {
    /// A sample is collapsed when its distance from the origin is below this fraction of the
    /// smallest distance in the data.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub collapse_fraction: f64,
}

impl Default for FiniteConfig {
    fn default() -> Self {
        Self { collapse_fraction: 0.1 }
    }
}

#[component(
    "finite",
    "counts of samples that are not finite or collapsed into the origin",
    r#"{"type": "finite"}"#
)]
impl MetricConfig for FiniteConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        Ok(Box::new(self.clone()))
    }
}

impl Metric for FiniteConfig {
    fn reports(&self) -> Vec<String> {
        ["non_finite", "collapsed"].map(String::from).to_vec()
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let radii = |rows: &Tensor| rows.norm_scalaropt_dim(2, [1i64], false);
        let samples = points::rows(evaluation.samples);
        let finite = points::finite_rows(&samples);
        let reference = radii(&points::rows(evaluation.reference));
        let non_finite = finite.logical_not().sum(Kind::Int64);
        // Without data there is nothing to compare with, and no sample counts as collapsed.
        let collapsed = if reference.numel() == 0 {
            non_finite.zeros_like()
        } else {
            let infinity = reference.full_like(f64::INFINITY);
            let smallest = reference.where_self(&reference.isfinite(), &infinity).min();
            let near = radii(&samples).lt_tensor(&(smallest * self.collapse_fraction));
            near.logical_and(&finite).sum(Kind::Int64)
        };
        let counts = Vec::<i64>::try_from(Tensor::stack(&[non_finite, collapsed], 0))?;
        Ok(vec![
            Measured::lower("non_finite", counts[0] as f64),
            Measured::lower("collapsed", counts[1] as f64),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{evaluate, value};
    use super::*;

    #[test]
    fn broken_and_collapsed_samples_are_counted_apart() {
        let samples = Tensor::from_slice2(&[
            [f64::NAN, 0.0],
            [0.0, f64::INFINITY],
            [0.0, 0.0],
            [0.0, 0.19],
            [0.0, 0.21],
        ]);
        let reference = Tensor::from_slice2(&[[0.0, 2.0], [3.0, 0.0], [f64::NAN, 0.0]]);
        let measure = |reference: &Tensor| {
            evaluate(&samples, reference, |e| FiniteConfig::default().measure(e)).unwrap()
        };
        let counts = measure(&reference);
        assert_eq!((value(&counts, "non_finite"), value(&counts, "collapsed")), (2.0, 2.0));
        let counts = measure(&reference.narrow(0, 0, 0));
        assert_eq!((value(&counts, "non_finite"), value(&counts, "collapsed")), (2.0, 0.0));
    }
}
