//! `runner validate FILE...`.

use crate::output::say;
use crate::resolve::{Refusal, resolve};
use isotropy_core::Error;
use std::path::PathBuf;

/// Checks every file, and that everything it names can be built on the CPU without data.
///
/// # Errors
/// After the last file, when one of them is wrong.
pub fn validate(files: &[PathBuf], sets: &[String]) -> Result<(), Refusal> {
    let mut wrong = 0;
    for file in files {
        match check(file, sets) {
            Ok(cost) => say!("{}: ok ({cost})", file.display()),
            Err(refusal) => {
                wrong += 1;
                crate::report(&refusal);
            }
        }
    }
    if wrong > 0 {
        let message = format!("{wrong} of {} files cannot be run", files.len());
        return Err(Error::config("", message).into());
    }
    Ok(())
}

/// Builds what a file names; returns what it costs, in words.
fn check(file: &std::path::Path, sets: &[String]) -> Result<String, Refusal> {
    let resolved = resolve(file, sets)?;
    let kind = resolved.experiment.kind.torch();
    let built = crate::build::build(&resolved.experiment, kind, tch::Device::Cpu)
        .map_err(|error| resolved.locate(error))?;
    let trainable = built.store.trainable_variables();
    let parameters: usize = trainable.iter().map(tch::Tensor::numel).sum();
    Ok(match built.process.map_or(0, |process| process.simulated_steps()) {
        0 => format!("{parameters} parameters"),
        steps => format!("{parameters} parameters; noise is simulated in {steps} steps"),
    })
}
