//! Mean and standard error over functions.

use isotropy_core::Measured;
use tch::{Kind, Tensor};

/// Mean of a number over functions with its standard error; functions for which it is not finite are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The mean; NaN without a finite number.
    pub mean: f64,
    /// Standard deviation over the root of the number of functions; NaN for fewer than two.
    pub error: f64,
    /// Functions with a finite number.
    pub count: i64,
    /// Functions without one.
    pub left_out: i64,
}

impl Summary {
    /// Of one number for each function, `[B]`.
    pub fn of(values: &Tensor) -> Self {
        let values = values.to_kind(Kind::Double).flatten(0, -1);
        let kept = values.isfinite().nonzero().squeeze_dim(1);
        let finite = values.index_select(0, &kept);
        let count = finite.size()[0];
        let mean = if count > 0 { finite.mean(Kind::Double).double_value(&[]) } else { f64::NAN };
        let spread = if count > 1 { finite.std(true).double_value(&[]) } else { f64::NAN };
        let left_out = values.size()[0] - count;
        Self { mean, error: spread / (count as f64).sqrt(), count, left_out }
    }

    /// The mean as a metric, with `NAME_standard_error`.
    pub fn measured(&self, mean: Measured) -> [Measured; 2] {
        let name = format!("{}_standard_error", mean.name);
        [Measured { value: self.mean, ..mean }, Measured::neutral(name, self.error)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_that_of_the_mean_over_functions() {
        let values = Tensor::from_slice(&[1.0, 3.0, f64::NAN, 5.0, f64::INFINITY]);
        let found = Summary::of(&values);
        assert_eq!((found.mean, found.count, found.left_out), (3.0, 3, 2));
        assert!((found.error - 2.0 / 3f64.sqrt()).abs() < 1e-12);
        let one = Summary::of(&values.narrow(0, 0, 1));
        assert!(one.mean == 1.0 && one.error.is_nan());
        assert!(Summary::of(&values.narrow(0, 2, 1)).mean.is_nan());
    }
}
