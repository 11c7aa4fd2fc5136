//! SHA-256 in hexadecimal.

use isotropy_core::{Error, Result};
use sha2::{Digest, Sha256};
use std::path::Path;

fn hexadecimal(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of bytes, 64 characters.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hexadecimal(Sha256::digest(bytes))
}

/// SHA-256 of a file, in hexadecimal; it is never held whole.
///
/// # Errors
/// A data error when it cannot be read.
pub fn file_sha256(path: &Path) -> Result<String> {
    let digest = || -> std::io::Result<Sha256> {
        let mut digest = Sha256::new();
        std::io::copy(&mut std::fs::File::open(path)?, &mut digest)?;
        Ok(digest)
    };
    let digest = digest().map_err(|reason| {
        Error::data(format!("{}: {reason}", path.display()), "give a file that can be read")
    })?;
    Ok(hexadecimal(digest.finalize()))
}
