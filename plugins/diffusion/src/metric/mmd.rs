//! Maximum mean discrepancy with Gaussian kernels `k(x, y) = exp(-|x - y|^2 / 2 s^2)` (Gretton et
//! al. 2012, the unbiased estimate; sism.md 3.1).

use super::points;
use isotropy_core::{Evaluation, Measured, Metric, MetricConfig, Result, component, config};
use tch::{Kind, Tensor};

/// Maximum mean discrepancy between samples and data: `mmd` is the square root of the unbiased
/// estimate (0 where that is negative) with one Gaussian kernel, `mmd_multi_scale` the mean over
/// kernels as wide as 0.1, 0.5, 1, 2 and 5 times the median distance between points.
#[config(default)]
#[derive(Clone)]
pub struct MmdConfig {
    /// Width `s` of the kernel of `mmd`, in the unit of the data; positive.
    #[schemars(range(min = 1e-12))]
    pub bandwidth: f64,
    /// Whether to compute `mmd_multi_scale` as well.
    pub multi_scale: bool,
}

impl Default for MmdConfig {
    fn default() -> Self {
        Self { bandwidth: 1.0, multi_scale: true }
    }
}

#[component(
    "mmd",
    "maximum mean discrepancy with Gaussian kernels of one and of several widths",
    r#"{"type": "mmd", "bandwidth": 1.0, "multi_scale": true}"#
)]
impl MetricConfig for MmdConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        if !(self.bandwidth.is_finite() && self.bandwidth > 0.0) {
            let message = "the width of the kernel must be positive";
            return Err(isotropy_core::Error::config("/bandwidth", message));
        }
        Ok(Box::new(self.clone()))
    }
}

/// Widths of the kernels of `mmd_multi_scale`, as multiples of the median distance.
const MULTIPLES: [f64; 5] = [0.1, 0.5, 1.0, 2.0, 5.0];
/// Entries of a block of the kernel matrix. Blocks stay in the cache, and memory does not grow with
/// the number of points.
const BLOCK: i64 = 1 << 18;
/// Exponents below this count as this: `exp` of it is nothing beside a sum, and the subnormal numbers
/// below would take many times as long.
const SMALLEST_EXPONENT: f64 = -80.0;
/// Most points whose distances are sorted for the median.
const MEDIAN_POINTS: i64 = 4000;

/// `sqrt(max(0, MMD^2))` of points `[n, d]` and `[m, d]` for a kernel of width `bandwidth`; a scalar
/// on the device of the points. NaN with fewer than two points on a side.
pub fn mmd(x: &Tensor, y: &Tensor, bandwidth: f64) -> Tensor {
    let width = Tensor::from(bandwidth).to_kind(x.kind()).to_device(x.device());
    at_widths(x, y, &[width]).squeeze_dim(0)
}

/// The mean of [`mmd`] over widths around the median distance; a scalar on the device of the points.
pub fn mmd_multi_scale(x: &Tensor, y: &Tensor) -> Tensor {
    at_widths(x, y, &widths(x, y)).mean(Kind::Double)
}

/// The median of the distances between different points of both sets together (the lower one of two
/// middle values); for more than 4,000 points, of evenly spaced ones of them.
pub fn median_distance(x: &Tensor, y: &Tensor) -> Tensor {
    let all = Tensor::cat(&[x, y], 0);
    let stride = all.size()[0].div_euclid(MEDIAN_POINTS + 1) + 1;
    let distances = all.slice(0, None, None, stride).pdist(2.0);
    if distances.numel() == 0 {
        return Tensor::zeros([0; 0], (all.kind(), all.device()));
    }
    distances.median()
}

fn widths(x: &Tensor, y: &Tensor) -> Vec<Tensor> {
    let median = median_distance(x, y);
    // Equal points have the median 0; any width then gives the same answer.
    let median = median.where_self(&median.gt(0.0), &median.ones_like());
    MULTIPLES.iter().map(|multiple| &median * *multiple).collect()
}

/// `sqrt(max(0, MMD^2))` for each width, `[widths]`, in double precision.
fn at_widths(x: &Tensor, y: &Tensor, widths: &[Tensor]) -> Tensor {
    let (n, m) = (x.size()[0], y.size()[0]);
    let options = (Kind::Double, x.device());
    if n < 2 || m < 2 {
        return Tensor::full([widths.len() as i64], f64::NAN, options);
    }
    // Distances do not change with the origin, but their rounding does.
    let centre = y.mean_dim(0, true, y.kind());
    let (x, y) = (x - &centre, y - &centre);
    let rates: Vec<Tensor> = widths.iter().map(|s| s.square().reciprocal() * -0.5).collect();
    let within = |points: &Tensor| {
        let count = points.size()[0] as f64;
        // The diagonal holds ones.
        (sum_of_kernels(points, None, &rates) - count) / (count * (count - 1.0))
    };
    let between = sum_of_kernels(&x, Some(&y), &rates) * (2.0 / (n as f64 * m as f64));
    (within(&x) + within(&y) - between).clamp_min(0.0).sqrt()
}

/// `sum_ij exp(rate |x_i - y_j|^2)` for each rate, `[rates]`; over all pairs of `x` with itself when
/// there is no `y`.
fn sum_of_kernels(x: &Tensor, y: Option<&Tensor>, rates: &[Tensor]) -> Tensor {
    let symmetric = y.is_none();
    let y = y.unwrap_or(x);
    let (n, m) = (x.size()[0], y.size()[0]);
    let square = |rows: &Tensor| rows.square().sum_dim_intlist(1, true, None);
    let (x_square, y_square) = (square(x), square(y).tr());
    let columns = y.tr() * -2.0;
    let height = (BLOCK / m).clamp(1, n);
    let mut total = Tensor::zeros([rates.len() as i64], (Kind::Double, x.device()));
    let mut start = 0;
    while start < n {
        let rows = height.min(n - start);
        // A symmetric sum needs the blocks on and right of the diagonal only.
        let left = if symmetric { start } else { 0 };
        let right = |all: &Tensor| all.narrow(1, left, m - left);
        let squares = x_square.narrow(0, start, rows) + right(&y_square);
        let block = x.narrow(0, start, rows);
        let distances = squares.addmm(&block, &right(&columns)).clamp_min_(0.0);
        if symmetric {
            // A point is at no distance from itself, but far out the difference of squares rounds
            // to a large one.
            let _ = distances.narrow(1, 0, rows).diagonal(0, 0, 1).fill_(0.0);
        }
        // Rows are added in the kind of the points, which is fast, and their sums in double precision.
        let sum = |part: &Tensor| part.sum_dim_intlist(1, false, None).sum(Kind::Double);
        let sums: Vec<Tensor> = rates
            .iter()
            .map(|rate| {
                let kernel = (&distances * rate).clamp_min_(SMALLEST_EXPONENT).exp_();
                let all = sum(&kernel);
                if symmetric { all * 2.0 - sum(&kernel.narrow(1, 0, rows)) } else { all }
            })
            .collect();
        total += Tensor::stack(&sums, 0);
        start += rows;
    }
    total
}

impl Metric for MmdConfig {
    fn reports(&self) -> Vec<String> {
        ["mmd", "mmd_multi_scale", "mmd_points_left_out"].map(String::from).to_vec()
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let pair = points::pair(evaluation)?;
        let (x, y) = (&pair.samples, &pair.reference);
        let first = Tensor::from(self.bandwidth).to_kind(x.kind()).to_device(x.device());
        let mut all = vec![first];
        if self.multi_scale {
            all.extend(widths(x, y));
        }
        let values = Vec::<f64>::try_from(at_widths(x, y, &all))?;
        let mut measured = vec![Measured::lower("mmd", values[0])];
        if self.multi_scale {
            let mean = values[1..].iter().sum::<f64>() / MULTIPLES.len() as f64;
            measured.push(Measured::lower("mmd_multi_scale", mean));
        }
        measured.push(Measured::neutral("mmd_points_left_out", pair.left_out as f64));
        Ok(measured)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{evaluate, normal, number, value};
    use super::*;

    fn list(points: &Tensor) -> Vec<Vec<f64>> {
        Vec::<Vec<f64>>::try_from(points).unwrap()
    }

    /// The estimate straight from its definition.
    fn brute_force(x: &[Vec<f64>], y: &[Vec<f64>], s: f64) -> f64 {
        let kernel = |a: &[f64], b: &[f64]| {
            let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
            (-square / (2.0 * s * s)).exp()
        };
        let mean = |a: &[Vec<f64>], b: &[Vec<f64>], same: bool| {
            let (mut sum, mut count) = (0.0, 0.0);
            for (i, p) in a.iter().enumerate() {
                for (j, q) in b.iter().enumerate() {
                    if !(same && i == j) {
                        sum += kernel(p, q);
                        count += 1.0;
                    }
                }
            }
            sum / count
        };
        let square = mean(x, x, true) + mean(y, y, true) - 2.0 * mean(x, y, false);
        square.max(0.0).sqrt()
    }

    #[test]
    fn the_definition_is_met_for_one_and_several_widths() {
        let (x, y) = (normal(&[30, 3], 1), normal(&[45, 3], 2) * 0.5 + 1.0);
        let (lx, ly) = (list(&x), list(&y));
        for s in [0.5, 1.0, 3.0] {
            let expected = brute_force(&lx, &ly, s);
            assert!(expected > 0.05);
            assert!((number(&mmd(&x, &y, s)) - expected).abs() < 1e-10);
        }
        let all: Vec<&Vec<f64>> = lx.iter().chain(&ly).collect();
        let mut distances = Vec::new();
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                let square: f64 = a.iter().zip(*b).map(|(a, b)| (a - b).powi(2)).sum();
                distances.push(square.sqrt());
            }
        }
        distances.sort_unstable_by(f64::total_cmp);
        let median = distances[(distances.len() - 1) / 2];
        assert!((number(&median_distance(&x, &y)) - median).abs() < 1e-12);
        let expected: f64 =
            MULTIPLES.iter().map(|c| brute_force(&lx, &ly, c * median)).sum::<f64>() / 5.0;
        assert!((number(&mmd_multi_scale(&x, &y)) - expected).abs() < 1e-10);
    }

    #[test]
    fn blocks_add_up_to_the_whole() {
        // 1,500 x 1,500 entries are more than one block.
        let x = normal(&[1500, 2], 3);
        let rate = [Tensor::from(-0.5)];
        let direct = (x.unsqueeze(0) - x.unsqueeze(1)).square().sum_dim_intlist(2, false, None);
        let expected = (direct * -0.5).exp().sum(Kind::Double).double_value(&[]);
        for y in [None, Some(&x)] {
            let sum = number(&sum_of_kernels(&x, y, &rate).squeeze());
            assert!((sum / expected - 1.0).abs() < 1e-12, "{sum} != {expected}");
        }
    }

    #[test]
    fn equal_laws_are_near_and_single_precision_is_enough() {
        let (x, y) = (normal(&[2000, 2], 4) + 10.0, normal(&[2000, 2], 5) + 10.0);
        let near = number(&mmd(&x, &y, 1.0));
        assert!(near < 0.03, "{near}");
        let far = &x + 0.3;
        let (double, single) = (mmd(&far, &y, 1.0), |t: &Tensor| t.to_kind(Kind::Float));
        let single = number(&mmd(&single(&far), &single(&y), 1.0));
        assert!((number(&double) / single - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_point_far_out_is_at_no_distance_from_itself() {
        let (near, far) = (normal(&[12, 3], 8), normal(&[8, 3], 9) * 1e9);
        let x = Tensor::cat(&[&near, &far], 0).to_kind(Kind::Float);
        let y = normal(&[30, 3], 10).to_kind(Kind::Float);
        let double = |t: &Tensor| list(&t.to_kind(Kind::Double));
        let expected = brute_force(&double(&x), &double(&y), 1.0);
        let found = number(&mmd(&x, &y, 1.0));
        assert!((found / expected - 1.0).abs() < 1e-4, "{found} != {expected}");
    }

    #[test]
    fn points_that_are_not_finite_are_left_out_and_counted() {
        let (x, y) = (normal(&[20, 2], 6), normal(&[30, 2], 7) + 1.0);
        let with_nan = Tensor::cat(&[&x, &(x.narrow(0, 0, 2) * f64::NAN)], 0);
        let measured = evaluate(&with_nan, &y, |e| MmdConfig::default().measure(e)).unwrap();
        assert_eq!(value(&measured, "mmd_points_left_out"), 2.0);
        assert!((value(&measured, "mmd") - number(&mmd(&x, &y, 1.0))).abs() < 1e-12);
        let none = x * f64::NAN;
        let measured = evaluate(&none, &y, |e| MmdConfig::default().measure(e)).unwrap();
        assert!(value(&measured, "mmd").is_nan());
    }
}
