//! How far the recovered motion is off.

use crate::dataset::moved_digits::{MOVED, pictures, true_motion};
use crate::dataset::rotated_digits::UPRIGHT;
use crate::metric::registration::{register, size};
use isotropy_core::{Error, Evaluation, Measured, Metric, MetricConfig, Result, component, config};
use isotropy_images::action::image_motion::{ImageMotion, SHIFT};
use isotropy_images::action::motion::Motion;
use tch::{Kind, Tensor};

/// Error of moved digits that were brought back: what is left of the turn, degrees, and how far the
/// centre of the image is from where it belongs, pixels. Beside it the input as it is. Nothing marks the
/// upright position of a digit but the writers' habit, and its place in the image is that of its centre of
/// mass; half turns of 0 and 8 can hardly be seen.
#[config(default)]
#[derive(Clone)]
pub struct MotionErrorConfig {
    /// How the motion of a sample is known.
    pub by: By,
}

impl Default for MotionErrorConfig {
    fn default() -> Self {
        Self { by: By::Motion }
    }
}

/// How the motion of a sample is known.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The sampler says it: the lift of the samples after the true motion.
    Motion,
    /// By looking: the motion of the upright image, in whole degrees and pixels, that has the largest
    /// cosine with the sample. For samples that are pixels. Beside it the same for the input
    /// brought back by the true motion: what two interpolations and the resolution cost.
    Registration,
    /// Both ways.
    Both,
}

#[component(
    "motion-error",
    "errors of the recovered turn (degrees) and shift (pixels)",
    r#"{"type": "motion-error", "by": "registration"}"#
)]
impl MetricConfig for MotionErrorConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        Ok(Box::new(self.clone()))
    }
}

impl Metric for MotionErrorConfig {
    fn reports(&self) -> Vec<String> {
        ["angle_error*", "shift_error*"].map(String::from).to_vec()
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let samples = evaluation.samples;
        let bad = samples.x().isfinite().logical_not().sum(Kind::Int64).int64_value(&[]);
        if bad > 0 {
            return Err(Error::Numbers(format!("{bad} pixels of the samples are not finite")));
        }
        let truth = true_motion(samples)?;
        let mut measured = Vec::new();
        if matches!(self.by, By::Motion | By::Both) {
            if samples.lifted(SHIFT).is_err() {
                return Err(Error::config("/by", "these samples have no motion in their lift")
                    .with_help("set `by` to `registration`"));
            }
            let (found, _) = ImageMotion::lifted(samples);
            summary("", &found.after(&truth), Measured::lower, &mut measured);
        }
        if matches!(self.by, By::Registration | By::Both) {
            let upright = &samples.given(UPRIGHT)?.tensor;
            let moved = pictures(samples, &samples.given(MOVED)?.tensor);
            let found = register(upright, &pictures(samples, samples.x()))?;
            summary("_registered", &found, Measured::lower, &mut measured);
            let back = register(upright, &truth.inverse().render(&moved))?;
            summary("_registered_brought_back", &back, Measured::neutral, &mut measured);
        }
        summary("_input", &truth, Measured::neutral, &mut measured);
        Ok(measured)
    }
}

fn summary(
    of: &str,
    left: &Motion,
    kind: fn(String, f64) -> Measured,
    measured: &mut Vec<Measured>,
) {
    let (degrees, pixels) = size(left);
    let mean = |a: &Tensor| a.mean(Kind::Double).double_value(&[]);
    let median = |a: &Tensor| a.median().double_value(&[]);
    let half_turns = degrees.gt(135.0).to_kind(Kind::Double);
    measured.extend([
        kind(format!("angle_error{of}_median_degrees"), median(&degrees)),
        kind(format!("angle_error{of}_mean_degrees"), mean(&degrees)),
        kind(format!("angle_error{of}_half_turns_fraction"), mean(&half_turns)),
        kind(format!("shift_error{of}_median_pixels"), median(&pixels)),
        kind(format!("shift_error{of}_mean_pixels"), mean(&pixels)),
    ]);
}
