//! Means, standard errors and confidence intervals over seeds.

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its standard error, `s / sqrt(n)` with the sample standard deviation `s`; none for one seed.
    pub error: Option<f64>,
    /// Number of values.
    pub count: usize,
}

impl Mean {
    /// The mean of the finite values; none without one.
    pub fn of(values: &[f64]) -> Option<Self> {
        let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let count = finite.len();
        if count == 0 {
            return None;
        }
        let mean = finite.iter().sum::<f64>() / count as f64;
        let error = (count > 1).then(|| {
            let squares: f64 = finite.iter().map(|v| (v - mean).powi(2)).sum();
            (squares / (count - 1) as f64 / count as f64).sqrt()
        });
        Some(Self { mean, error, count })
    }

    /// Half the width of the two-sided confidence interval of the mean, from Student's t; none for
    /// one value.
    pub fn half_width(&self, confidence: f64) -> Option<f64> {
        Some(self.error? * t_quantile(confidence, self.count - 1))
    }
}

/// The `t` with `P(|T| < t) = confidence` for Student's distribution with `nu >= 1` degrees of
/// freedom.
pub fn t_quantile(confidence: f64, nu: usize) -> f64 {
    // In the angle the probability grows from 0 at 0 to 1 at pi/2.
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if central_probability(middle, nu) < confidence { low = middle } else { high = middle }
    }
    (nu as f64).sqrt() * (0.5 * (low + high)).tan()
}

/// `P(|T| < sqrt(nu) tan(angle))`: the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4.
fn central_probability(angle: f64, nu: usize) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let odd = nu % 2 == 1;
    let mut term = if odd { cosine } else { 1.0 };
    let mut sum = 0.0;
    let mut k = if odd { 1 } else { 0 };
    while k + 2 <= nu {
        sum += term;
        k += 2;
        term *= cosine * cosine * (k as f64 - 1.0) / k as f64;
    }
    if odd { (angle + sine * sum) / std::f64::consts::FRAC_PI_2 } else { sine * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Two-sided 95 % and 99 %.
        for (confidence, nu, expected) in [
            (0.95, 1, 12.706),
            (0.95, 2, 4.303),
            (0.95, 3, 3.182),
            (0.95, 4, 2.776),
            (0.95, 5, 2.571),
            (0.95, 9, 2.262),
            (0.95, 10, 2.228),
            (0.95, 30, 2.042),
            (0.95, 1000, 1.962),
            (0.99, 1, 63.657),
            (0.99, 7, 3.499),
        ] {
            let found = t_quantile(confidence, nu);
            assert!((found - expected).abs() < 6e-4, "{confidence} {nu}: {found}");
        }
    }

    #[test]
    fn standard_error_is_that_of_the_mean() {
        let mean = Mean::of(&[1.0, 2.0, 3.0, f64::NAN]).unwrap();
        assert_eq!((mean.mean, mean.count), (2.0, 3));
        assert!((mean.error.unwrap() - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Mean::of(&[f64::NAN]), None);
        assert_eq!(Mean::of(&[4.0]).unwrap().half_width(0.95), None);
    }
}
