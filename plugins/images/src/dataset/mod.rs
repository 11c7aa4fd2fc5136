//! Datasets of images: bytes on the device, values from -1 to 1.

mod folder;
#[cfg(feature = "hdf5")]
mod hdf5;
#[cfg(feature = "hdf5")]
mod lysto;
mod patches;
mod table;
mod turned;

pub use folder::{ImageFolderConfig, LabelsFrom};
#[cfg(feature = "hdf5")]
pub use lysto::LystoConfig;
pub use patches::{HistologyPatchesConfig, Picture};
pub use table::{Images, Part};
pub use turned::{Source, TestFrom, TurnedDigitsConfig, Turns};

use isotropy_core::{FieldSpec, Moves, State, StateSpec};

/// States of images `[C, H, W]`, with a label where there is one.
pub fn spec(shape: [i64; 3], labelled: bool) -> StateSpec {
    let spec = StateSpec::new(FieldSpec::new(&shape, Moves::Image));
    if labelled { spec.with_context(State::LABEL, FieldSpec::new(&[], Moves::Fixed)) } else { spec }
}
