//! Sine and cosine of numbers times fixed frequencies.

use std::sync::{Mutex, PoisonError};
use tch::Tensor;

/// A list of frequencies `w`, kept in the kind and on the device in which they were last used.
#[derive(Debug)]
pub struct Waves {
    frequencies: Mutex<Tensor>,
    count: i64,
}

impl Waves {
    /// Frequencies in radians per unit of what they are multiplied with.
    pub fn new(frequencies: &[f64]) -> Self {
        let count = frequencies.len() as i64;
        Self { frequencies: Mutex::new(Tensor::from_slice(frequencies)), count }
    }

    /// Number of waves of one number: a sine and a cosine for each frequency.
    pub fn width(&self) -> i64 {
        2 * self.count
    }

    /// `sin(w x)` and `cos(w x)` for `x` of shape `[.., n]`, each `[.., n count]` with the frequencies of one number side
    /// by side.
    pub fn of(&self, x: &Tensor) -> [Tensor; 2] {
        let phases = (x.unsqueeze(-1) * self.like(x)).flatten(-2, -1);
        [phases.sin(), phases.cos()]
    }

    fn like(&self, x: &Tensor) -> Tensor {
        let (kind, device) = (x.kind(), x.device());
        // A poisoned lock is harmless: the tensor is only ever replaced whole.
        let mut kept = self.frequencies.lock().unwrap_or_else(PoisonError::into_inner);
        if (kept.kind(), kept.device()) != (kind, device) {
            *kept = kept.to_kind(kind).to_device(device);
        }
        kept.shallow_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_of_a_number_lie_side_by_side() {
        let waves = Waves::new(&[1.0, 2.0]);
        let [sin, cos] = waves.of(&Tensor::from_slice(&[0.3_f64, -1.0]).view([1, 2]));
        assert_eq!((waves.width(), sin.size()), (4, vec![1, 4]));
        let expected = [0.3_f64.sin(), 0.6_f64.sin(), (-1.0_f64).sin(), (-2.0_f64).sin()];
        for (k, expected) in expected.iter().enumerate() {
            assert!((sin.double_value(&[0, k as i64]) - expected).abs() < 1e-15);
        }
        assert!((cos.double_value(&[0, 3]) - 2.0_f64.cos()).abs() < 1e-15);
    }

    #[test]
    fn single_precision_stays_single() {
        let [sin, _] = Waves::new(&[1.0]).of(&Tensor::from_slice(&[0.5_f32]));
        assert_eq!(sin.kind(), tch::Kind::Float);
    }
}
