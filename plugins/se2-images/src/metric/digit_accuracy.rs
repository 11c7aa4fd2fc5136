//! How often a classifier recognises the samples.

use super::judged::{Judged, hits, rows_by_digit};
use super::mean_and_std;
use isotropy_core::{Evaluation, Measured, Metric, MetricConfig, Result, component, config};
use tch::{Kind, Tensor};

/// Accuracy of a classifier on the samples: over all, and mean and population standard deviation
/// over the ten digits. Beside it stand the input as it is, the input turned back by the true
/// angle, and the upright images.
#[config]
#[derive(Clone)]
pub struct DigitAccuracyConfig {
    /// Configuration of the classifier, relative to this file; trained on first use.
    #[schemars(extend("x-isotropy-path" = true))]
    pub classifier: String,
}

#[component(
    "digit-accuracy",
    "accuracy of a classifier on digits, over all and per digit",
    r#"{"type": "digit-accuracy", "classifier": "classifier.json"}"#
)]
impl MetricConfig for DigitAccuracyConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        Ok(Box::new(self.clone()))
    }
}

impl Metric for DigitAccuracyConfig {
    fn reports(&self) -> Vec<String> {
        vec!["digit_accuracy*".into()]
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let judged = Judged::of(evaluation)?;
        let classifier = evaluation.services.trained_model(&self.classifier)?;
        let hits = |images: &Tensor| hits(classifier.as_ref(), images, &judged.labels);
        let all = |hits: &Tensor| hits.mean(Kind::Double).double_value(&[]);
        let right = hits(&judged.samples)?;
        let mut per_digit = Vec::new();
        for rows in rows_by_digit(&judged.labels.to_device(tch::Device::Cpu)) {
            // NaN for a digit without images.
            per_digit.push(all(&right.index_select(0, &rows)));
        }
        let (mean, std) = mean_and_std(&per_digit);
        let mut measured = vec![
            Measured::higher("digit_accuracy", all(&right)),
            Measured::higher("digit_accuracy_mean_over_digits", mean),
            Measured::neutral("digit_accuracy_std_over_digits", std),
            Measured::neutral("digit_accuracy_upright", all(&hits(&judged.upright)?)),
            Measured::neutral("digit_accuracy_derotated", all(&hits(&judged.derotated)?)),
            Measured::neutral("digit_accuracy_input", all(&hits(&judged.input)?)),
        ];
        measured.extend(per_digit.iter().enumerate().map(|(digit, &accuracy)| {
            let name = format!("digit_accuracy_of_{digit}");
            // Of a digit that is not among the samples nothing is measured.
            match accuracy.is_nan() {
                true => Measured::neutral(name, accuracy),
                false => Measured::higher(name, accuracy),
            }
        }));
        Ok(measured)
    }
}
