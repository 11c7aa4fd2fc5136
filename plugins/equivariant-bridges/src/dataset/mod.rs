//! Data for bridges: pairs of a clean point, the value, and its other end, the context field
//! [`END`].

mod folders;
mod paired;
mod relation;

pub use folders::{PairLayout, PairedFoldersConfig};
pub use paired::PairedConfig;
pub use relation::{Noise, OtherEnd, Resolution, Stain, Staining};

use crate::process::END;
use isotropy_core::{
    Error, Field, FieldSpec, Moves, Representation, RepresentationConfig, Result, Split, State,
    StateSpec, Streams,
};
use std::sync::Arc;
use tch::Tensor;

/// Shapes of pairs of images.
fn pair_spec(shape: &[i64]) -> StateSpec {
    let image = FieldSpec::new(shape, Moves::Image);
    StateSpec::new(image.clone()).with_context(END, image)
}

/// A pair of images that move together.
fn pair(clean: Tensor, end: Tensor) -> State {
    State::new(Field::new(clean, Moves::Image)).with_context(END, Field::new(end, Moves::Image))
}

/// Moves training pairs by random elements, both ends alike.
#[derive(Debug)]
struct Augmentation(Option<Arc<dyn Representation>>);

impl Augmentation {
    /// From a configuration at `/augment`.
    fn new(config: Option<&dyn RepresentationConfig>, spec: &StateSpec) -> Result<Self> {
        let Some(config) = config else { return Ok(Self(None)) };
        let action = config.build().map_err(|error| error.under("/augment"))?;
        action.accepts(spec).map_err(|error| error.under("/augment"))?;
        if action.group().finite().is_none() {
            let message = format!("{} is no action of a finite group", action.name());
            return Err(Error::config("/augment", message)
                .with_help("use \"image-permutation\", whose elements move pixels without loss"));
        }
        Ok(Self(Some(action)))
    }

    /// The batch with number `step`.
    fn apply(&self, batch: State, split: Split, step: u64, streams: &Streams) -> Result<State> {
        let (Some(action), Split::Train) = (&self.0, split) else { return Ok(batch) };
        let mut stream = streams.stream("augment", step);
        let shape = action.element_shape(&batch)?;
        let g = action.group().sample(&shape, batch.options(), &mut stream);
        action.act(&g, &batch)
    }
}
