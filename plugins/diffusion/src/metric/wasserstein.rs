//! Wasserstein distances between equally many samples and data points, exact by assignment.
//!
//! W1 is what the released code of the toy experiments computes under the name W2 (sism.md 3.1).

use super::assignment::assignment;
use super::points;
use isotropy_core::{Evaluation, Measured, Metric, MetricConfig, Result, component, config};
use tch::{Device, Kind, Tensor};

/// The Wasserstein distances `w1` and `w2` with Euclidean ground distance between random subsets of
/// samples and data, in the unit of the data. They do not vanish for perfect samples: `w1_floor` and
/// `w2_floor` are those of two such subsets of the data.
#[config(default)]
#[derive(Clone)]
pub struct WassersteinConfig {
    /// Points in each subset; fewer when there are fewer. Time grows with the cube.
    #[schemars(range(min = 1, max = 5000))]
    pub points: u32,
    /// Number of pairs of subsets over which distances are averaged.
    #[schemars(range(min = 1, max = 1000))]
    pub repeats: u32,
    /// Whether to report the floor as well; it needs data for two subsets.
    pub floor: bool,
}

impl Default for WassersteinConfig {
    fn default() -> Self {
        Self { points: 1000, repeats: 1, floor: true }
    }
}

#[component(
    "wasserstein",
    "exact W1 and W2 between equally many samples and data points",
    r#"{"type": "wasserstein", "points": 1000}"#
)]
impl MetricConfig for WassersteinConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        Ok(Box::new(self.clone()))
    }
}

/// `(W1, W2)` between the empirical laws of two sets of equally many points, `[n, d]` each; NaN for
/// empty sets.
///
/// # Errors
/// `Numbers` when a point is not finite.
pub fn wasserstein(x: &Tensor, y: &Tensor) -> Result<(f64, f64)> {
    let n = x.size()[0];
    if n == 0 {
        return Ok((f64::NAN, f64::NAN));
    }
    let (x, y) = (x.to_kind(Kind::Double), y.to_kind(Kind::Double));
    // Mode 2: from differences, since the shortcut through a matrix product loses small distances.
    let distances = Tensor::f_cdist(&x, &y, 2.0, 2)?.to_device(Device::Cpu);
    let distances = Vec::<f64>::try_from(distances.flatten(0, -1))?;
    let squares: Vec<f64> = distances.iter().map(|d| d * d).collect();
    let n = n as usize;
    let mean = |cost: &[f64]| -> Result<f64> {
        let columns = assignment(cost, n)?;
        let total: f64 = columns.iter().enumerate().map(|(row, c)| cost[row * n + c]).sum();
        Ok(total / n as f64)
    };
    Ok((mean(&distances)?, mean(&squares)?.sqrt()))
}

impl Metric for WassersteinConfig {
    fn reports(&self) -> Vec<String> {
        ["w1", "w2", "w1_floor", "w2_floor", "wasserstein_points*"].map(String::from).to_vec()
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let pair = points::pair(evaluation)?;
        let (available, reference) = (pair.samples.size()[0], pair.reference.size()[0]);
        let wanted = i64::from(self.points);
        let size = wanted.min(available).min(reference);
        let floor_size = size.min(reference / 2);
        let (mut distances, mut floors) = ([0.0; 2], [0.0; 2]);
        for repeat in 0..self.repeats {
            let mut stream = evaluation.streams.stream("wasserstein", u64::from(repeat));
            let mut shuffled = |rows: &Tensor| {
                rows.index_select(0, &stream.permutation(rows.size()[0]).to_device(rows.device()))
            };
            let (samples, data) = (shuffled(&pair.samples), shuffled(&pair.reference));
            let (w1, w2) = wasserstein(&samples.narrow(0, 0, size), &data.narrow(0, 0, size))?;
            distances = [distances[0] + w1, distances[1] + w2];
            if self.floor && floor_size == size {
                let (a, b) = (data.narrow(0, 0, size), data.narrow(0, size, size));
                let (w1, w2) = wasserstein(&a, &b)?;
                floors = [floors[0] + w1, floors[1] + w2];
            }
        }
        let average = |sum: f64| sum / f64::from(self.repeats);
        let mut measured = vec![
            Measured::lower("w1", average(distances[0])),
            Measured::lower("w2", average(distances[1])),
        ];
        if self.floor && floor_size == size {
            measured.push(Measured::neutral("w1_floor", average(floors[0])));
            measured.push(Measured::neutral("w2_floor", average(floors[1])));
        }
        measured.push(Measured::neutral("wasserstein_points", size as f64));
        measured.push(Measured::neutral("wasserstein_points_left_out", pair.left_out as f64));
        Ok(measured)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{evaluate, normal, value};
    use super::*;

    #[test]
    fn a_shift_costs_its_length() {
        let x = normal(&[50, 3], 1);
        let (w1, w2) = wasserstein(&x, &(&x + Tensor::from_slice(&[3.0, 0.0, 4.0]))).unwrap();
        assert!((w1 - 5.0).abs() < 1e-9 && (w2 - 5.0).abs() < 1e-9, "{w1} {w2}");
    }

    #[test]
    fn samples_that_are_left_out_are_counted() {
        let samples = normal(&[40, 2], 1);
        let _ = samples.narrow(0, 0, 3).fill_(f64::NAN);
        let config = WassersteinConfig { points: 30, repeats: 2, floor: true };
        let measured = evaluate(&samples, &normal(&[100, 2], 2), |e| config.measure(e)).unwrap();
        assert_eq!(value(&measured, "wasserstein_points_left_out"), 3.0);
        assert_eq!(value(&measured, "wasserstein_points"), 30.0);
        let (w1, floor) = (value(&measured, "w1"), value(&measured, "w1_floor"));
        assert!(w1.is_finite() && w1 > 0.0 && (w1 - floor).abs() < 0.5, "{w1} {floor}");
    }

    #[test]
    fn without_survivors_the_distance_is_not_a_number() {
        let samples = normal(&[4, 2], 1) * f64::NAN;
        let measured =
            evaluate(&samples, &normal(&[10, 2], 2), |e| WassersteinConfig::default().measure(e));
        assert!(value(&measured.unwrap(), "w1").is_nan());
    }
}
