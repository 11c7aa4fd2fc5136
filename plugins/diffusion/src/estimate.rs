//! Estimates of the clean image from predictions at the times of a batch, on the device.

use isotropy_core::{
    Error, Field, FlowCoordinates, NoisingProcess, Prediction, PredictionKind, Result, State,
    broadcast,
};
use tch::Tensor;

/// The clean state that a prediction stands for at times `t` (`[B]`), for processes whose kernel is
/// Gaussian in flow coordinates (for translations in the value itself).
///
/// # Errors
/// `Unsupported` where there is no such kernel, or the prediction has no clean estimate.
pub fn clean(
    process: &dyn NoisingProcess,
    state: &State,
    t: &Tensor,
    prediction: &Prediction,
) -> Result<State> {
    let coordinates = coordinates(process)?;
    let clean = if prediction.kind == PredictionKind::Clean {
        prediction.heads[0].clone()
    } else {
        let kernel = process.gaussian_kernel().ok_or_else(|| {
            Error::Unsupported(format!("{} has no Gaussian kernel", process.name()))
        })?;
        let tau = coordinates.unwrapped(state);
        let kernel = kernel.tensors(&broadcast(&t.to_kind(tau.options().0), tau.0[0].dim()));
        let end = process.known_end(state)?;
        kernel.clean(prediction, &kernel.centred(&tau, end.as_ref()))?
    };
    Ok(coordinates.point(state, &clean))
}

/// Whether [`clean`] has an answer for predictions of this kind, asked before the first step.
///
/// # Errors
/// `Unsupported` with the reason.
pub fn estimable(process: &dyn NoisingProcess, kind: PredictionKind) -> Result<()> {
    coordinates(process)?;
    let refuse = |why: String| Err(Error::Unsupported(why));
    match kind {
        PredictionKind::Clean => Ok(()),
        PredictionKind::Field
        | PredictionKind::FieldSum
        | PredictionKind::Logits
        | PredictionKind::Velocity => {
            refuse(format!("a prediction of kind {kind:?} holds no estimate of the clean image"))
        }
        _ if process.gaussian_kernel().is_none() => {
            refuse(format!("{} has no Gaussian kernel", process.name()))
        }
        _ => Ok(()),
    }
}

/// The flow coordinates of the process's drive.
///
/// # Errors
/// `Unsupported` where it has none.
pub fn coordinates(process: &dyn NoisingProcess) -> Result<&dyn FlowCoordinates> {
    process.fields().coordinates().ok_or_else(|| {
        let message = format!("{} has no flow coordinates to estimate in", process.name());
        Error::Unsupported(message)
    })
}

/// The state with an earlier estimate of the clean value beside it, for networks that look at it.
pub fn beside(state: &State, name: &str, estimate: Tensor) -> State {
    state.clone().with_context(name, Field::new(estimate, state.value.moves))
}
