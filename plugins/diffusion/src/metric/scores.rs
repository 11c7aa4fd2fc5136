//! Proper scores of samples against values, and intervals.
//!
//! Samples are `[G, r, ..]`, values `[G, ..]`; draws lie along axis 1.

use std::f64::consts::{FRAC_1_SQRT_2, PI};
use tch::{Kind, Tensor};

/// The continuous ranked probability score `E|X - y| - E|X - X'|/2` of each component (Gneiting and Raftery 2007, eq.
/// 21), in the unit of the values. The second mean is over pairs of different samples (`unbiased`: the score of the law
/// that the samples come from), or over all pairs (that of the samples as a law of equal masses). Of sorted samples the
/// sum over pairs is `2 sum_i (2 i - r + 1) X_(i)`, `i = 0 .. r - 1`.
pub fn crps(samples: &Tensor, values: &Tensor, unbiased: bool) -> Tensor {
    let r = samples.size()[1];
    let apart = (samples - values.unsqueeze(1)).abs().mean_dim([1].as_slice(), false, None);
    let (sorted, _) = samples.sort(1, false);
    let mut shape = vec![1; samples.dim()];
    shape[1] = r;
    let options = (samples.kind(), samples.device());
    let weight = (Tensor::arange(r, options) * 2.0 - (r - 1) as f64).view(shape.as_slice());
    let pairs = (sorted * weight).sum_dim_intlist([1].as_slice(), false, None) * 2.0;
    let count = (if unbiased { r * (r - 1) } else { r * r }) as f64;
    apart - pairs * (0.5 / count)
}

/// The energy score `E|X - y| - E|X - X'|/2` with the length of vectors (Gneiting and Raftery 2007, eq. 22): of samples
/// `[G, r, N, d]` and values `[G, N, d]`, at each point, `[G, N]`.
pub fn energy(samples: &Tensor, values: &Tensor, unbiased: bool) -> Tensor {
    let r = samples.size()[1];
    let length = |a: Tensor| a.norm_scalaropt_dim(2, [-1].as_slice(), false);
    let apart = length(samples - values.unsqueeze(1)).mean_dim([1].as_slice(), false, None);
    let mut pairs = apart.zeros_like();
    // One sample at a time: all pairs at once would need r times the memory.
    for k in 0..r {
        let each = length(samples - samples.narrow(1, k, 1));
        pairs += each.sum_dim_intlist([1].as_slice(), false, None);
    }
    let count = (if unbiased { r * (r - 1) } else { r * r }) as f64;
    apart - pairs * (0.5 / count)
}

/// The continuous ranked probability score of a normal law (Gneiting et al. 2005, eq. 5): `sd (z (2 Phi(z) - 1) + 2
/// phi(z) - 1/sqrt(pi))` with `z = (y - mean) / sd`.
pub fn crps_of_normal(mean: &Tensor, sd: &Tensor, values: &Tensor) -> Tensor {
    let z = (values - mean) / sd;
    let within = (&z * FRAC_1_SQRT_2).erf();
    let density = (z.square() * -0.5).exp() * (2.0 / (2.0 * PI).sqrt());
    (z * within + density - 1.0 / PI.sqrt()) * sd
}

/// The quantile of samples at a probability, at the place `(r + 1) p` of the sorted samples with straight lines between
/// them: of `r` exchangeable numbers and a further one, it is that quantile in the mean over all whole places.
pub fn quantile(sorted: &Tensor, probability: f64) -> Tensor {
    let r = sorted.size()[1];
    let place = ((r + 1) as f64 * probability - 1.0).clamp(0.0, (r - 1) as f64);
    let low = (place.floor() as i64).min(r - 1);
    let high = (low + 1).min(r - 1);
    let share = place - low as f64;
    sorted.select(1, low) * (1.0 - share) + sorted.select(1, high) * share
}

/// Whether values lie in the central interval of that probability (1 or 0), and its width.
pub fn covered(samples: &Tensor, values: &Tensor, probability: f64) -> (Tensor, Tensor) {
    let (sorted, _) = samples.sort(1, false);
    let low = quantile(&sorted, 0.5 * (1.0 - probability));
    let high = quantile(&sorted, 0.5 * (1.0 + probability));
    let inside = values.ge_tensor(&low).logical_and(&values.le_tensor(&high));
    (inside.to_kind(Kind::Double), high - low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::Streams;
    use tch::Device;

    const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn normal(name: &str, shape: &[i64]) -> Tensor {
        Streams::new(3).stream(name, 0).normal(shape, F64)
    }

    fn number(a: &Tensor) -> f64 {
        a.double_value(&[])
    }

    #[test]
    fn the_score_of_samples_is_the_sum_over_their_pairs() {
        let (samples, values) = (normal("samples", &[3, 7, 4, 2]), normal("values", &[3, 4, 2]));
        let pairs = (samples.unsqueeze(1) - samples.unsqueeze(2)).abs().flatten(1, 2);
        let pairs = pairs.sum_dim_intlist([1].as_slice(), false, None);
        let apart = (&samples - values.unsqueeze(1)).abs().mean_dim([1].as_slice(), false, None);
        for (unbiased, count) in [(true, 42.0), (false, 49.0)] {
            let expected = &apart - &pairs * (0.5 / count);
            let error = (crps(&samples, &values, unbiased) - expected).abs().max();
            assert!(number(&error) < 1e-12);
            // Of numbers, the energy score is the ranked probability score.
            let one = |a: &Tensor| a.narrow(-1, 0, 1);
            let energy = energy(&one(&samples), &one(&values), unbiased);
            let ranked = crps(&one(&samples), &one(&values), unbiased).squeeze_dim(-1);
            assert!(number(&(energy - ranked).abs().max()) < 1e-12);
        }
        // One sample taken as a law scores its distance.
        let one = crps(&samples.narrow(1, 0, 1), &values, false);
        let distance = (samples.select(1, 0) - &values).abs();
        assert!(number(&(one - distance).abs().max()) < 1e-15);
    }

    #[test]
    fn the_unbiased_score_is_that_of_the_law_on_average() {
        let (mean, sd) = (0.4, 1.7);
        let samples = normal("law", &[60_000, 3]) * sd + mean;
        let values = Tensor::full([60_000], 1.1, F64);
        let found = crps(&samples, &values, true);
        let error = number(&found.std(true)) / 60_000f64.sqrt();
        let exact = crps_of_normal(&values.full_like(mean), &values.full_like(sd), &values);
        let off = number(&found.mean(Kind::Double)) - number(&exact.get(0));
        assert!(off.abs() < 4.0 * error && error < 0.01, "{off} of {error}");
        // By the integral of the squared distance of the distribution functions.
        let x = Tensor::linspace(-30.0, 30.0, 600_001, F64);
        let cdf = (((&x - mean) / (sd * 2f64.sqrt())).erf() + 1.0) * 0.5;
        let step = x.ge(1.1).to_kind(Kind::Double);
        let integral = number(&(cdf - step).square().sum(Kind::Double)) * 1e-4;
        assert!((integral - number(&exact.get(0))).abs() < 1e-3);
    }

    #[test]
    fn intervals_hold_a_further_number_as_often_as_they_say() {
        // 19 samples: the central 90 % interval lies between the first and the last.
        let all = normal("exchangeable", &[40_000, 20]);
        let (samples, values) = (all.narrow(1, 0, 19), all.select(1, 19));
        for probability in [0.5, 0.9] {
            let (inside, width) = covered(&samples, &values, probability);
            let found = number(&inside.mean(Kind::Double));
            assert!((found - probability).abs() < 0.01, "{probability}: {found}");
            assert!(number(&width.min()) > 0.0);
        }
        let sorted = Tensor::arange(19, F64).view([1, 19]);
        assert!((number(&quantile(&sorted, 0.5).get(0)) - 9.0).abs() < 1e-12);
        assert!((number(&quantile(&sorted, 0.05).get(0)) - 0.0).abs() < 1e-12);
    }
}
