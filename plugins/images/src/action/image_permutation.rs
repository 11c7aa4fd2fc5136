//! Flips and quarter turns of images: permutations of their pixels, hence exact.

use isotropy_core::{
    Element, Error, Field, FieldSpec, Group, Moves, Representation, RepresentationConfig, Result,
    State, StateSpec, Stream, component, config,
};
use isotropy_groups::group::{Cyclic, Dihedral};
use isotropy_groups::representation::linear::batched;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Which permutations.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PixelGroup {
    /// Mirror left and right (C_2).
    HorizontalFlip,
    /// Mirror top and bottom (C_2).
    VerticalFlip,
    /// Both mirrors and the half turn (D_2).
    Flips,
    /// Quarter turns, counter-clockwise (C_4); images must be square.
    QuarterTurns,
    /// Quarter turns and mirrors (D_4); images must be square.
    Square,
}

impl PixelGroup {
    /// Number of elements.
    pub fn order(self) -> i64 {
        match self {
            Self::HorizontalFlip | Self::VerticalFlip => 2,
            Self::Flips | Self::QuarterTurns => 4,
            Self::Square => 8,
        }
    }

    /// Whether every permutation of `other` is one of this group's too.
    pub fn contains(self, other: Self) -> bool {
        self == other
            || self == Self::Square
            || self == Self::Flips && matches!(other, Self::HorizontalFlip | Self::VerticalFlip)
    }

    /// Whether images must be square.
    pub fn needs_square(self) -> bool {
        matches!(self, Self::QuarterTurns | Self::Square)
    }
}

/// A group of pixel permutations on every field that is an image.
///
/// In the dihedral groups the rotation is counter-clockwise (the half turn in D_2) and the
/// reflection is the horizontal flip.
#[derive(Debug)]
pub struct ImagePermutation {
    pixels: PixelGroup,
    group: Arc<dyn Group>,
}

impl ImagePermutation {
    /// The action of that group.
    pub fn new(pixels: PixelGroup) -> Self {
        let group: Arc<dyn Group> = match pixels {
            PixelGroup::HorizontalFlip | PixelGroup::VerticalFlip => Arc::new(Cyclic { order: 2 }),
            PixelGroup::QuarterTurns => Arc::new(Cyclic { order: 4 }),
            PixelGroup::Flips => Arc::new(Dihedral { rotations: 2 }),
            PixelGroup::Square => Arc::new(Dihedral { rotations: 4 }),
        };
        Self { pixels, group }
    }

    /// Which permutations.
    pub fn pixels(&self) -> PixelGroup {
        self.pixels
    }

    fn needs_square(&self) -> bool {
        self.pixels.needs_square()
    }

    /// The images `[.., H, W]` under element `k` of `0 .. order`. Kernels of convolutions move alike.
    pub fn moved(&self, k: i64, image: &Tensor) -> Tensor {
        let turn = |quarters: i64, flipped: bool| {
            let image = if flipped { image.flip([-1]) } else { image.shallow_clone() };
            image.rot90(quarters, [-2, -1])
        };
        match self.pixels {
            PixelGroup::HorizontalFlip => turn(0, k == 1),
            PixelGroup::VerticalFlip if k == 1 => image.flip([-2]),
            PixelGroup::VerticalFlip => turn(0, false),
            PixelGroup::QuarterTurns => turn(k, false),
            PixelGroup::Flips => turn(2 * (k % 2), k >= 2),
            PixelGroup::Square => turn(k % 4, k >= 4),
        }
    }

    /// `out[p] = in[table[g, p]]` for all elements, `[order, H W]`.
    fn table(&self, height: i64, width: i64, device: Device) -> Tensor {
        let order = self.group.finite().map_or(1, |g| g.order());
        let pixels = Tensor::arange(height * width, (Kind::Int64, device)).reshape([height, width]);
        let rows: Vec<Tensor> =
            (0..order).map(|k| self.moved(k, &pixels).reshape([height * width])).collect();
        Tensor::stack(&rows, 0)
    }

    /// Images `[B, .., H, W]`, of any kind, under one element each.
    ///
    /// # Errors
    /// `Unsupported` where the tensor holds no images, or quarter turns meet images that are not square.
    pub fn permute(&self, g: &Element, images: &Tensor) -> Result<Tensor> {
        let shape = images.size();
        let &[batch, .., height, width] = shape.as_slice() else {
            return Err(Error::Unsupported(format!("no images of shape {shape:?}")));
        };
        if self.needs_square() && height != width {
            return Err(not_square(height, width));
        }
        let table = self.table(height, width, images.device()).index_select(0, g.single());
        let flat = images.reshape([batch, -1, height * width]);
        let index = table.unsqueeze(1).expand(flat.size(), false);
        Ok(flat.gather(-1, &index, false).reshape(&shape))
    }

    fn fits(&self, name: &str, field: &FieldSpec) -> Result<()> {
        match (field.moves, field.shape.as_slice()) {
            (Moves::Fixed | Moves::Scalar, _) => Ok(()),
            (Moves::Image, &[.., h, w]) if self.needs_square() && h != w => Err(not_square(h, w)),
            (Moves::Image, &[.., _, _]) => Ok(()),
            (moves, shape) => Err(Error::Unsupported(format!(
                "permutations of pixels cannot move '{name}' ({moves:?} of shape {shape:?})"
            ))),
        }
    }
}

fn not_square(height: i64, width: i64) -> Error {
    Error::Unsupported(format!("quarter turns need square images, not {height}x{width}"))
}

/// A state whose images are moved by a permutation of their pixels.
pub(super) fn permuted(
    state: &State,
    permute: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<State> {
    let batch = state.batch_size();
    state.try_map(|name, field| match field.moves {
        Moves::Fixed | Moves::Scalar => Ok(field.clone()),
        Moves::Image => {
            let field = batched(field, batch);
            Ok(field.with(permute(&field.tensor)?))
        }
        moves => Err(Error::Unsupported(format!(
            "permutations of pixels cannot move '{name}' ({moves:?})"
        ))),
    })
}

impl Representation for ImagePermutation {
    fn name(&self) -> String {
        format!("{} on pixels", self.group.name())
    }

    fn group(&self) -> &dyn Group {
        self.group.as_ref()
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        self.fits("value", &spec.value)?;
        spec.lift.iter().chain(&spec.context).try_for_each(|(name, field)| self.fits(name, field))
    }

    fn act(&self, g: &Element, state: &State) -> Result<State> {
        permuted(state, |images| self.permute(g, images))
    }

    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        self.permute(g, v)
    }

    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let width = if self.needs_square() { 5 } else { 4 };
        let value = Field::new(stream.normal(&[batch, 2, 5, width], options), Moves::Image);
        let source = Field::new(stream.normal(&[batch, 1, 5, width], options), Moves::Image);
        Some(State::new(value).with_context("source", source))
    }
}

/// Flips and quarter turns of images, by permuting their pixels.
#[config]
#[derive(Clone)]
pub struct ImagePermutationConfig {
    /// Which permutations: horizontal-flip, vertical-flip, flips (both), quarter-turns, or square
    /// (quarter turns and flips).
    pub group: PixelGroup,
}

#[component(
    "image-permutation",
    "flips and quarter turns of images, exact",
    r#"{"type": "image-permutation", "group": "square"}"#
)]
impl RepresentationConfig for ImagePermutationConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(ImagePermutation::new(self.group)))
    }
}
