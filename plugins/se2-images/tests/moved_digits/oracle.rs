//! The exact score of data that are Gaussian in the straight coordinates.

use isotropy_core::{
    KernelLaw, NoisingProcess, Prediction, PredictionKind, Result, Scale, ScoreModel, State, Xi,
};
use isotropy_images::action::image_motion::{ImageMotion, MotionFrame};
use isotropy_images::action::motion::Motion;
use std::sync::Arc;
use tch::Tensor;

/// Data with angle and straight shift normal about those of `centre`, with the standard deviation
/// `spread` (radians, pixels) in each coordinate.
pub struct Oracle {
    pub drive: ImageMotion,
    pub centre: Motion,
    pub spread: [f64; 2],
    kernel: Arc<dyn KernelLaw>,
}

impl Oracle {
    pub fn new(
        process: &dyn NoisingProcess,
        frame: MotionFrame,
        centre: Motion,
        spread: [f64; 2],
    ) -> Self {
        let kernel = process.kernel().unwrap();
        Self { drive: ImageMotion::new(frame), centre, spread, kernel }
    }

    /// Variances of the noised data.
    pub fn variance(&self, t: f64) -> [f64; 2] {
        let kernel = self.kernel.tensors(&Tensor::from_slice(&[t]).view([1, 1]));
        [0, 1].map(|k: usize| {
            let std = match &kernel.std[k] {
                Scale::Same(a) => *a,
                Scale::Each(a) => a.double_value(&[0, 0]),
            };
            std * std + self.spread[k] * self.spread[k]
        })
    }

    /// Distance from the centre in the straight coordinates: angle, shift.
    pub fn off(&self, state: &State) -> (Motion, Tensor, Tensor) {
        let (motion, _) = ImageMotion::lifted(state);
        let turn = &motion.angle - &self.centre.angle;
        let shift = self.drive.straight(&motion) - self.drive.straight(&self.centre);
        (motion, turn, shift)
    }
}

impl ScoreModel for Oracle {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Score
    }

    fn predict(&self, state: &State, t: &Tensor, _: bool) -> Result<Prediction> {
        let [a, s] = self.variance(t.double_value(&[0]));
        let (motion, turn, shift) = self.off(state);
        let shift = self.drive.to_frame(&motion.angle, &(shift / -s));
        Ok(Prediction::one(PredictionKind::Score, Xi(vec![turn / -a, shift])))
    }
}
