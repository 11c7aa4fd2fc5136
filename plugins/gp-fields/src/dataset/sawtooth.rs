//! Sawtooth functions: truncated Fourier series with random frequency, phase and number of harmonics.

use super::law::Law;
use isotropy_core::{Result, Stream};
use std::f64::consts::{PI, TAU};
use std::ops::RangeInclusive;
use tch::{Kind, Tensor};

/// The frequency is uniform in this interval.
const FREQUENCY: (f64, f64) = (3.0, 5.0);
/// The shift is uniform in this interval.
const SHIFT: (f64, f64) = (-5.0, 5.0);
/// The parameter `k` is one of these, all equally likely; the series has `k - 1` harmonics.
const TERMS: RangeInclusive<i64> = 10..=20;

/// The series `(1/pi) sum_{j=1}^{k-1} (-1)^j sin(2 pi j f (x - s)) / j` (geomndp.md 2.1), in the shape that `x`,
/// frequency `f`, shift `s` and terms `k` broadcast to; no `k` may be above `most`. It has mean 0 and is not scaled.
pub fn sawtooth(
    x: &Tensor,
    frequency: &Tensor,
    shift: &Tensor,
    terms: &Tensor,
    most: i64,
) -> Tensor {
    let turns = (frequency * (x - shift)).unsqueeze(-1);
    let j = Tensor::arange_start(1, most, (x.kind(), x.device()));
    let sign = j.remainder(2.0) * -2.0 + 1.0;
    let there = j.lt_tensor(&terms.unsqueeze(-1)).to_kind(x.kind());
    let waves = (turns * &j * TAU).sin() * (sign / &j * there);
    waves.sum_dim_intlist(-1, false, x.kind()) / PI
}

/// Variance of a sawtooth at a point, over frequency, shift and terms: `E_k (1/(2 pi^2)) sum_{j<k} 1/j^2` = 0.07966.
/// (The shift covers whole periods only on average: the phase is uniform up to 1 part in 30.)
pub fn variance() -> f64 {
    let partial = |k: i64| (1..k).map(|j| ((j * j) as f64).recip()).sum::<f64>();
    let count = (TERMS.end() - TERMS.start() + 1) as f64;
    TERMS.map(partial).sum::<f64>() / count / (2.0 * PI * PI)
}

/// The law of sawtooth functions of one coordinate, times a factor.
#[derive(Debug)]
pub struct Sawtooth {
    /// What values are multiplied with: 1, or `1 / sqrt(variance)` for functions of variance 1.
    pub factor: f64,
}

impl Law for Sawtooth {
    fn outputs(&self) -> i64 {
        1
    }

    fn draw(&self, index: &Tensor, batch: i64, stream: &mut Stream) -> Result<Tensor> {
        let options = (Kind::Double, index.device());
        let mut between =
            |(low, high): (f64, f64)| stream.uniform(&[batch, 1], options) * (high - low) + low;
        let (frequency, shift) = (between(FREQUENCY), between(SHIFT));
        let terms = stream.integers(TERMS.end() - TERMS.start() + 1, &[batch, 1], index.device());
        let x = index.select(-1, 0);
        let y = sawtooth(&x, &frequency, &shift, &(terms + *TERMS.start()), *TERMS.end());
        Ok(y.unsqueeze(-1) * self.factor)
    }
}
