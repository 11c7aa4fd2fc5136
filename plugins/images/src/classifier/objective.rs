//! Cross-entropy: a classifier is a model with this objective.

use isotropy_core::{
    Error, Loss, LossContext, NoisingProcess, Objective, ObjectiveConfig, PredictionKind, Result,
    ScoreModel, State, component, config,
};
use tch::{Kind, Tensor};

/// Cross-entropy between a model's logits and the labels in the context of a state; logs the
/// accuracy.
#[config]
#[derive(Clone)]
pub struct CrossEntropyConfig {
    /// Context field with the labels, `[B]`, integers from 0.
    #[serde(default = "label")]
    pub label: String,
}

fn label() -> String {
    State::LABEL.to_string()
}

#[component(
    "cross-entropy",
    "cross-entropy of a classifier, with its accuracy",
    r#"{"type": "cross-entropy"}"#
)]
impl ObjectiveConfig for CrossEntropyConfig {
    fn build(&self) -> Result<Box<dyn Objective>> {
        Ok(Box::new(CrossEntropy { label: self.label.clone() }))
    }
}

/// The running objective.
#[derive(Debug)]
pub struct CrossEntropy {
    label: String,
}

impl Objective for CrossEntropy {
    fn accepts(&self, _process: Option<&dyn NoisingProcess>, model: &dyn ScoreModel) -> Result<()> {
        match model.predicts() {
            PredictionKind::Logits => Ok(()),
            other => Err(Error::Unsupported(format!(
                "cross-entropy needs a model that predicts logits; this one predicts {other:?}"
            ))),
        }
    }

    fn loss(&self, model: &dyn ScoreModel, batch: &State, context: &LossContext) -> Result<Loss> {
        let labels = &batch.given(&self.label)?.tensor;
        let t = Tensor::zeros([batch.batch_size()], batch.options());
        // Dropout draws from libtorch's own generator.
        let predict = || model.predict(batch, &t, context.train);
        let prediction = context.streams.scope("dropout", context.step, predict)?;
        let logits = prediction.heads[0].single();
        let hits = logits.argmax(-1, false).eq_tensor(labels).to_kind(logits.kind());
        Ok(Loss {
            total: logits.f_cross_entropy_loss(
                labels,
                None::<Tensor>,
                tch::Reduction::Mean,
                -100,
                0.0,
            )?,
            parts: vec![("accuracy".into(), hits.mean(Kind::Double).detach())],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::{Field, Moves, Prediction, Streams};

    /// Logits are the value itself.
    struct Identity;

    impl ScoreModel for Identity {
        fn predicts(&self) -> PredictionKind {
            PredictionKind::Logits
        }

        fn predict(&self, state: &State, _: &Tensor, _: bool) -> Result<Prediction> {
            Ok(Prediction::one(PredictionKind::Logits, state.x().shallow_clone()))
        }
    }

    #[test]
    fn loss_and_accuracy_are_those_of_the_labels() {
        let logits = Tensor::from_slice2(&[[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]]);
        let labels = Field::new(Tensor::from_slice(&[0_i64, 1, 1]), Moves::Fixed);
        let batch = State::new(Field::new(logits, Moves::Scalar)).with_context("label", labels);
        let streams = Streams::new(0);
        let context = LossContext { process: None, streams: &streams, step: 0, train: true };
        let objective = CrossEntropyConfig { label: label() }.build().unwrap();
        let loss = objective.loss(&Identity, &batch, &context).unwrap();
        let soft = |gap: f64| (1.0 + (-gap).exp()).ln();
        let expected = (soft(2.0) + soft(1.0) + soft(-3.0)) / 3.0;
        assert!((loss.total.double_value(&[]) - expected).abs() < 1e-12);
        assert_eq!(loss.parts[0].0, "accuracy");
        assert!((loss.parts[0].1.double_value(&[]) - 2.0 / 3.0).abs() < 1e-12);
        assert!(objective.accepts(None, &Identity).is_ok());
    }
}
