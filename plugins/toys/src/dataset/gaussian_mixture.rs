//! What the mixtures of Gaussians with diagonal covariances share.

use isotropy_core::{Error, Result, Stream};
use tch::{Device, Kind, Tensor};

/// Refuses lists that are empty, do not fit together or hold impossible numbers.
pub(super) fn check<const D: usize>(
    means: &[[f64; D]],
    std: &[[f64; D]],
    weights: &[f64],
) -> Result<()> {
    if means.is_empty() {
        return Err(Error::config("/means", "a mixture needs at least one component"));
    }
    for (pointer, length) in [("/std", std.len()), ("/weights", weights.len())] {
        if length != means.len() {
            let message = format!("{length} entries, but `means` has {}", means.len());
            return Err(Error::config(pointer, message));
        }
    }
    if means.as_flattened().iter().any(|mean| !mean.is_finite()) {
        return Err(Error::config("/means", "means must be finite"));
    }
    if std.as_flattened().iter().any(|std| !(std.is_finite() && *std > 0.0)) {
        return Err(Error::config("/std", "standard deviations must be positive and finite"));
    }
    let total: f64 = weights.iter().sum();
    if weights.iter().any(|weight| weight.is_nan() || *weight < 0.0)
        || !(total > 0.0 && total.is_finite())
    {
        return Err(Error::config("/weights", "weights must not be negative, and not all zero"));
    }
    Ok(())
}

/// `count` points, `[count, D]`.
pub(super) fn draw<const D: usize>(
    means: &[[f64; D]],
    std: &[[f64; D]],
    weights: &[f64],
    count: i64,
    options: (Kind, Device),
    stream: &mut Stream,
) -> Tensor {
    let total: f64 = weights.iter().sum();
    // Inner boundaries of the cumulative weights: the component is how many of them a uniform
    // number has reached.
    let mut sum = 0.0;
    let boundaries: Vec<f64> = weights[..weights.len() - 1]
        .iter()
        .map(|weight| {
            sum += weight / total;
            sum
        })
        .collect();
    let constant = |rows: &[[f64; D]]| {
        Tensor::from_slice(rows.as_flattened())
            .view([-1, D as i64])
            .to_kind(options.0)
            .to_device(options.1)
    };
    let boundaries = Tensor::from_slice(&boundaries).to_kind(options.0).to_device(options.1);
    let component = stream.uniform(&[count], options).bucketize(&boundaries, false, true);
    let noise = stream.normal(&[count, D as i64], options);
    constant(means).index_select(0, &component) + constant(std).index_select(0, &component) * noise
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use isotropy_core::Streams;
    use isotropy_diffusion::point_law::PointLaw;

    /// Compares mean and second moments of many points with those of the mixture.
    pub fn moments_match<const D: usize>(
        law: &impl PointLaw,
        means: &[[f64; D]],
        std: &[[f64; D]],
        weights: &[f64],
    ) {
        law.check().unwrap();
        let count = 400_000;
        let mut stream = Streams::new(5).stream("test", 0);
        let points = law.draw(count, (Kind::Double, Device::Cpu), &mut stream);
        let second = points.tr().matmul(&points) / count as f64;
        let first = points.mean_dim(0, false, Kind::Double);
        let total: f64 = weights.iter().sum();
        for i in 0..D {
            let components = || weights.iter().zip(means).zip(std);
            let mean: f64 = components().map(|((w, m), _)| w / total * m[i]).sum();
            // 400,000 points with a spread of about 7: the mean is good to 0.011.
            assert!((first.double_value(&[i as i64]) - mean).abs() < 0.05, "mean of axis {i}");
            for j in 0..D {
                let expected: f64 = components()
                    .map(|((w, m), s)| {
                        w / total * (m[i] * m[j] + if i == j { s[i] * s[i] } else { 0.0 })
                    })
                    .sum();
                let found = second.double_value(&[i as i64, j as i64]);
                assert!((found - expected).abs() < 0.5, "({i}, {j}): {found} != {expected}");
            }
        }
    }

    #[test]
    fn weights_are_normalised_and_select_components() {
        let mut stream = Streams::new(1).stream("test", 0);
        let options = (Kind::Double, Device::Cpu);
        let (means, std) = ([[0.0], [10.0], [20.0]], [[0.01], [0.01], [0.01]]);
        let points = draw(&means, &std, &[1.0, 0.0, 3.0], 40_000, options, &mut stream);
        let near = |mean: f64| {
            (&points - mean)
                .abs()
                .lt(1.0)
                .to_kind(Kind::Double)
                .mean(Kind::Double)
                .double_value(&[])
        };
        assert!((near(0.0) - 0.25).abs() < 0.01 && near(10.0) == 0.0 && near(20.0) > 0.74);
        let single = draw(&[[7.0]], &[[0.1]], &[2.0], 10, options, &mut stream);
        assert!((single - 7.0).abs().max().double_value(&[]) < 1.0);
    }

    #[test]
    fn impossible_mixtures_are_refused_by_name() {
        let pointer = |result: Result<()>| match result.unwrap_err() {
            Error::Config { pointer, .. } => pointer,
            other => panic!("{other}"),
        };
        assert_eq!(pointer(check::<2>(&[], &[], &[])), "/means");
        assert_eq!(pointer(check(&[[0.0]], &[], &[1.0])), "/std");
        assert_eq!(pointer(check(&[[0.0]], &[[0.0]], &[1.0])), "/std");
        assert_eq!(pointer(check(&[[0.0]], &[[1.0]], &[f64::NAN])), "/weights");
        assert_eq!(pointer(check(&[[0.0]], &[[1.0]], &[0.0])), "/weights");
    }
}
