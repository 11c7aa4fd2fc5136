//! How far a model is from the symmetry that a configuration claims.

use isotropy_core::{NoisingProcess, Representation, Result, ScoreModel, State, Streams};

/// `|predict(h x) - transport(h, predict(x))| / |predict(x)|`, root mean square over the batch, at
/// one random symmetry element and time for each point. A number without unit; zero for an
/// equivariant model.
///
/// # Errors
/// `Unsupported` when the drive cannot transport predictions under the symmetry.
pub fn equivariance_error(
    process: &dyn NoisingProcess,
    symmetry: &dyn Representation,
    model: &dyn ScoreModel,
    clean: &State,
    streams: &Streams,
) -> Result<f64> {
    let _no_grad = tch::no_grad_guard();
    let mut stream = streams.stream("equivariance", 0);
    let t = process.time().sample(clean.batch_size(), false, clean.options(), &mut stream);
    let noisy = process.perturb(clean, &t, &mut stream)?.noisy;
    let shape = symmetry.element_shape(&noisy)?;
    let h = symmetry.group().sample(&shape, clean.options(), &mut stream);
    let moved = symmetry.act(&h, &noisy)?;
    let here = model.predict(&noisy, &t, false)?;
    let there = model.predict(&moved, &t, false)?;
    let (mut difference, mut size) = (0.0, 0.0);
    for (a, b) in here.heads.iter().zip(&there.heads) {
        let expected = process.fields().transport(symmetry, &h, &noisy, a)?;
        difference += expected.sub(b).square_norm().sum(None).double_value(&[]);
        size += expected.square_norm().sum(None).double_value(&[]);
    }
    Ok((difference / size.max(f64::MIN_POSITIVE)).sqrt())
}
