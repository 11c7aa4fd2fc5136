//! Counting values into buckets.

use super::proto::Histogram;

const BUCKETS: usize = 30;

/// The histogram of the finite values in buckets of equal width, none without a finite value; and how many values are
/// not finite.
pub(super) fn histogram(values: &[f64]) -> (Option<Histogram>, usize) {
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let not_finite = values.len() - finite.len();
    if finite.is_empty() {
        return (None, not_finite);
    }
    let min = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let max = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Halves, so that the width of the widest range does not overflow.
    let half_width = max / 2.0 - min / 2.0;
    let buckets = if half_width > 0.0 { BUCKETS } else { 1 };
    let mut bucket = vec![0.0; buckets];
    for value in &finite {
        let share = if half_width > 0.0 { (value / 2.0 - min / 2.0) / half_width } else { 0.0 };
        bucket[((share * buckets as f64) as usize).min(buckets - 1)] += 1.0;
    }
    let limit = |k: usize| {
        if k + 1 == buckets {
            max
        } else {
            min + (k + 1) as f64 / buckets as f64 * 2.0 * half_width
        }
    };
    let histogram = Histogram {
        min,
        max,
        num: finite.len() as f64,
        sum: finite.iter().sum(),
        sum_squares: finite.iter().map(|v| v * v).sum(),
        bucket_limit: (0..buckets).map(limit).collect(),
        bucket,
    };
    (Some(histogram), not_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_counted_once() {
        let values: Vec<f64> = (0..=100).map(f64::from).chain([f64::NAN, f64::INFINITY]).collect();
        let (histogram, not_finite) = histogram(&values);
        let histogram = histogram.expect("finite values");
        assert_eq!((histogram.num, not_finite), (101.0, 2));
        assert_eq!(histogram.bucket.iter().sum::<f64>(), 101.0);
        assert_eq!((histogram.min, histogram.max, histogram.sum), (0.0, 100.0, 5050.0));
        assert!(histogram.bucket_limit.is_sorted());
        assert_eq!(histogram.bucket_limit.last(), Some(&100.0));
        assert!(
            histogram.bucket.iter().all(|&n| (3.0..=5.0).contains(&n)),
            "{:?}",
            histogram.bucket
        );
    }

    #[test]
    fn extremes_do_not_break_it() {
        assert_eq!(histogram(&[]).0, None);
        assert_eq!(histogram(&[f64::NAN]), (None, 1));
        assert_eq!(histogram(&[2.0; 5]).0.expect("finite").bucket, [5.0]);
        let wide = histogram(&[f64::MIN, 0.0, f64::MAX]).0.expect("finite");
        assert_eq!(wide.bucket.iter().sum::<f64>(), 3.0);
    }
}
