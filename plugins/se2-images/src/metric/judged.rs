//! The sets of images that are judged beside one another, and the rows of each digit.

use crate::dataset::moved_digits::{MOVED, pictures, true_motion};
use crate::dataset::rotated_digits::{SIDE, TRUE_ANGLE, UPRIGHT};
use isotropy_core::{Error, Evaluation, Field, Moves, Result, ScoreModel, State};
use isotropy_images::action::image_rotation::rotate;
use tch::{Kind, Tensor};

/// Images that go through the classifier together. Bounds the memory; with larger activations the
/// allocator returns them to the system each time, and page faults cost a third of the run.
const CHUNK: i64 = 125;

/// Sets of images `[N, 1, 28, 28]` with the same labels. Of moved digits the middle of the canvas.
pub struct Judged {
    /// The samples.
    pub samples: Tensor,
    /// The rotated (and shifted) input as it is.
    pub input: Tensor,
    /// The input turned (and shifted) back by the true angle (and shift): what a perfect sampler would reach, after two
    /// interpolations.
    pub derotated: Tensor,
    /// The images before any rotation.
    pub upright: Tensor,
    /// Labels `[N]`.
    pub labels: Tensor,
}

impl Judged {
    /// The sets that belong to an evaluation.
    ///
    /// # Errors
    /// When the states come from neither of the datasets `rotated-digits` and `moved-digits`, or hold a number that is not
    /// finite.
    pub fn of(evaluation: &Evaluation) -> Result<Self> {
        let samples = evaluation.samples;
        let bad = samples.x().isfinite().logical_not().sum(Kind::Int64).int64_value(&[]);
        if bad > 0 {
            return Err(Error::Numbers(format!("{bad} pixels of the samples are not finite")));
        }
        if let Ok(moved) = samples.given(MOVED) {
            return Self::of_moved(samples, &pictures(samples, &moved.tensor));
        }
        let start = evaluation.start.x();
        let angle = &samples.given(TRUE_ANGLE)?.tensor;
        if start.size() != samples.x().size() {
            return Err(Error::Unsupported(
                "digits are judged beside the inputs that they started from: set sampling.start to \"input\"".into(),
            ));
        }
        Ok(Self {
            samples: samples.x().shallow_clone(),
            input: start.shallow_clone(),
            derotated: rotate(start, &angle.neg()),
            upright: samples.given(UPRIGHT)?.tensor.shallow_clone(),
            labels: samples.given(State::LABEL)?.tensor.shallow_clone(),
        })
    }

    fn of_moved(samples: &State, moved: &Tensor) -> Result<Self> {
        Ok(Self {
            samples: middle(&pictures(samples, samples.x())),
            derotated: middle(&true_motion(samples)?.inverse().render(moved)),
            input: middle(moved),
            upright: middle(&samples.given(UPRIGHT)?.tensor),
            labels: samples.given(State::LABEL)?.tensor.shallow_clone(),
        })
    }
}

/// The middle 28 x 28 pixels.
fn middle(images: &Tensor) -> Tensor {
    let pad = (images.size()[3] - SIDE) / 2;
    images.narrow(2, pad, SIDE).narrow(3, pad, SIDE)
}

/// Rows `[n]` of each of the ten digits.
pub fn rows_by_digit(labels: &Tensor) -> Vec<Tensor> {
    (0..10).map(|digit| labels.eq(digit).nonzero().squeeze_dim(1)).collect()
}

/// Whether the classifier is right, `[N]`, on the CPU.
///
/// # Errors
/// When the classifier fails.
pub fn hits(classifier: &dyn ScoreModel, images: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let predicted = over_chunks(images, |state| {
        let t = Tensor::zeros([state.batch_size()], state.options());
        Ok(classifier.predict(state, &t, false)?.heads[0].single().argmax(-1, false))
    })?;
    Ok(predicted.eq_tensor(labels).to_kind(Kind::Double).to_device(tch::Device::Cpu))
}

/// The classifier's features `[N, d]` in double precision.
///
/// # Errors
/// When the classifier has none.
pub fn features(classifier: &dyn ScoreModel, images: &Tensor) -> Result<Tensor> {
    over_chunks(images, |state| {
        let features = classifier.features(state)?;
        features.map(|f| f.to_kind(Kind::Double)).ok_or_else(|| {
            Error::Unsupported("the classifier of this metric has no features".into())
        })
    })
}

fn over_chunks(images: &Tensor, mut f: impl FnMut(&State) -> Result<Tensor>) -> Result<Tensor> {
    let _guard = tch::no_grad_guard();
    let count = images.size()[0];
    let mut parts = Vec::new();
    for start in (0..count).step_by(CHUNK as usize) {
        let chunk = images.narrow(0, start, CHUNK.min(count - start));
        parts.push(f(&State::new(Field::new(chunk, Moves::Image)))?);
    }
    Ok(Tensor::f_cat(&parts, 0)?)
}
