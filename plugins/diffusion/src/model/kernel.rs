//! What models that read the kernel of a process share: its scales as tensors, and its known end.

use isotropy_core::{
    Error, Field, FieldSpec, Kernel, NoisingProcess, Result, Root, Scale, State, StateSpec, Xi,
};
use tch::{Device, Kind, Tensor};

/// The known end of a kernel, if it is the same for all states: one row, for models to keep.
///
/// # Errors
/// When it differs from state to state.
pub(crate) fn fixed_end(process: &dyn NoisingProcess, spec: &StateSpec) -> Result<Option<Xi>> {
    let Some(end) = process.known_end(&probe(spec))? else { return Ok(None) };
    let difference = end.map(|a| a.narrow(0, 0, 1) - a.narrow(0, 1, 1)).square_norm();
    if difference.max().double_value(&[]) > 0.0 {
        return Err(Error::config(
            "",
            format!(
                "the end of {} depends on the state; this model needs a fixed one",
                process.name()
            ),
        ));
    }
    Ok(Some(end.map(|a| a.narrow(0, 0, 1))))
}

/// Two different points of these shapes, without drawing: models are built while the generator is
/// locked for their weights. Sizes that vary become 3.
fn probe(spec: &StateSpec) -> State {
    let field = |name: &str, spec: &FieldSpec| {
        let mut shape: Vec<i64> = spec.shape.iter().map(|&n| if n < 0 { 3 } else { n }).collect();
        if spec.batched {
            shape.insert(0, 2);
        }
        let options = (Kind::Double, Device::Cpu);
        let tensor = match name {
            State::MASK => Tensor::ones(&shape, options),
            _ => {
                Tensor::arange(shape.iter().product::<i64>(), options).view(&shape[..]) * 0.1 + 1.0
            }
        };
        let (index_axis, moves) = (spec.index_axis, spec.moves);
        Field { tensor, batched: spec.batched, index_axis, moves }
    };
    let over = |fields: &[(String, FieldSpec)]| {
        fields.iter().map(|(name, spec)| (name.clone(), field(name, spec))).collect()
    };
    State {
        value: field("value", &spec.value),
        lift: over(&spec.lift),
        context: over(&spec.context),
    }
}

/// The coordinates from `shift end` on; `end` follows the kind and device of `tau`.
pub(crate) fn centred(kernel: &Kernel, tau: &Xi, end: Option<&Xi>) -> Xi {
    let (kind, device) = tau.options();
    let end = end.map(|end| end.map(|a| a.to_kind(kind).to_device(device)));
    kernel.centred(tau, end.as_ref())
}

/// `scale` as a tensor that broadcasts against `like`, multiplied by the colour where there is one.
pub(crate) fn std_of(kernel: &Kernel, factor: usize, like: &Tensor) -> Tensor {
    let std = tensor(&kernel.std[factor], like);
    match &kernel.colour[factor] {
        Some(root) => Root::apply(root, &(std + like.zeros_like())),
        None => std,
    }
}

/// A scale as a tensor.
pub(crate) fn tensor(scale: &Scale, like: &Tensor) -> Tensor {
    match scale {
        Scale::Same(a) => Tensor::full([1], *a, (like.kind(), like.device())),
        Scale::Each(a) => a.shallow_clone(),
    }
}
