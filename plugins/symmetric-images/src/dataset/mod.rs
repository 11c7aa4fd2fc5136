//! Datasets of images: bytes on the device, values from -1 to 1.

mod folder;
mod hdf5;
mod lysto;
mod patches;
mod table;
mod toys;
mod turned;

pub use folder::{ImageFolderConfig, LabelsFrom};
pub use lysto::LystoConfig;
pub use patches::{HistologyPatchesConfig, Picture};
pub use table::{Images, Part};
pub use toys::{ToyImage, ToyImagesConfig};
pub use turned::{Source, TestFrom, TurnedDigitsConfig, Turns};

use isotropy_core::{FieldSpec, Moves, StateSpec};
use isotropy_networks::unet_model::LABEL;

/// States of images `[C, H, W]`, with a label where there is one.
fn spec(shape: [i64; 3], labelled: bool) -> StateSpec {
    let spec = StateSpec::new(FieldSpec::new(&shape, Moves::Image));
    if labelled { spec.with_context(LABEL, FieldSpec::new(&[], Moves::Fixed)) } else { spec }
}
