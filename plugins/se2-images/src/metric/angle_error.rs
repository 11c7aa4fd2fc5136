//! How far the recovered angle is off.

use crate::dataset::rotated_digits::TRUE_ANGLE;
use isotropy_core::{Evaluation, Measured, Metric, MetricConfig, Result, component, config};
use isotropy_groups::group::wrap;
use isotropy_images::action::image_rotation::ANGLE;
use tch::Kind;

/// Error of the recovered angle, degrees: the input was turned by the true angle, the sampler by
/// the total angle, and their sum should vanish. Nothing marks the upright position of a digit
/// but the writers' habit, so slanted writing counts as error; a half turn of 0 or 8 can hardly be
/// seen, and one of 6 gives a 9: the median is not moved by these, the mean is.
#[config]
#[derive(Clone)]
pub struct AngleErrorConfig {}

#[component(
    "angle-error",
    "error of the recovered rotation angle, degrees",
    r#"{"type": "angle-error"}"#
)]
impl MetricConfig for AngleErrorConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        Ok(Box::new(self.clone()))
    }
}

impl Metric for AngleErrorConfig {
    fn reports(&self) -> Vec<String> {
        vec!["angle_error_*".into()]
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let samples = evaluation.samples;
        let total = samples.lifted(ANGLE)?.tensor.to_kind(Kind::Double);
        let truth = samples.given(TRUE_ANGLE)?.tensor.to_kind(Kind::Double);
        let error = wrap(&(total + truth)).abs().rad2deg();
        let flipped = error.gt(135.0).to_kind(Kind::Double);
        let mean = |a: &tch::Tensor| a.mean(Kind::Double).double_value(&[]);
        Ok(vec![
            Measured::lower("angle_error_median_degrees", error.median().double_value(&[])),
            Measured::lower("angle_error_mean_degrees", mean(&error)),
            Measured::lower("angle_error_half_turns_fraction", mean(&flipped)),
        ])
    }
}
