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
            Ok(parameters) => say!("{}: ok ({parameters} parameters)", file.display()),
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

fn check(file: &std::path::Path, sets: &[String]) -> Result<i64, Refusal> {
    let resolved = resolve(file, sets)?;
    let kind = resolved.experiment.kind.torch();
    let built = crate::build::build(&resolved.experiment, kind, tch::Device::Cpu)
        .map_err(|error| resolved.locate(error))?;
    let trainable = built.store.trainable_variables();
    Ok(trainable.iter().map(|tensor| tensor.numel() as i64).sum())
}
