//! A check of noise that is coupled to its input (the block `diffusion` makes it).

use super::CheckResult;
use super::measure::{Found, Table, broken, relative, worse};
use isotropy_core::sampler::unobserved;
use isotropy_core::{
    Element, Noise, NoisingProcess, Representation, Result, Sampler, ScoreModel, State,
};
use tch::{Kind, Tensor};

/// The noise of a run from a start.
pub type NoiseOfRun<'a> = dyn Fn(&State) -> Result<Box<dyn Noise + 'a>> + 'a;

/// Runs from a start and from the start moved by every element of a finite group, each with the noise
/// that belongs to it: `run(h x) = h run(x)`, up to rounding (1e-9 in f64, 1e-5 in f32). Starts must not
/// be symmetric themselves.
pub fn check_coupled_noise<'a>(
    sampler: &dyn Sampler,
    (process, model): (&dyn NoisingProcess, &dyn ScoreModel),
    start: &State,
    symmetry: &dyn Representation,
    noise: &NoiseOfRun<'a>,
) -> CheckResult {
    let mut table = Table::default();
    table.check("a whole run moves with its input", || {
        let Some(finite) = symmetry.group().finite() else {
            return broken("noise is coupled through a finite group");
        };
        let run = |start: &State| -> Result<State> {
            let mut noise = noise(start)?;
            let sampled =
                sampler.run(process, model, start.clone(), noise.as_mut(), &mut unobserved)?;
            Ok(sampled.state)
        };
        let here = run(start)?;
        let elements = finite.elements(start.x().device());
        let mut error = 0.0;
        for k in 0..finite.order() {
            let rows = Tensor::full([start.batch_size()], k, (Kind::Int64, start.x().device()));
            let h = Element(elements.0.iter().map(|all| all.index_select(0, &rows)).collect());
            let there = run(&symmetry.act(&h, start)?)?;
            error = worse(error, relative(there.x(), symmetry.act(&h, &here)?.x()));
        }
        let single = start.x().kind() != Kind::Double;
        Ok(Found::Error(error, if single { 1e-5 } else { 1e-9 }))
    });
    table.results.remove(0)
}
