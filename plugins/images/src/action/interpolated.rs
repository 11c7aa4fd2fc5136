//! SO(2) and SE(2) on images by interpolation: what a network that sees pixels can be asked to commute with.
//!
//! An element moves the point `p` of the picture to `R p + s`; points are in pixels from the centre, the first
//! component to the right, the second upwards, so that a positive angle turns counter-clockwise as it is seen. What
//! comes in from outside has the value `fill`: `h x = I_h (x - fill) + fill` with a linear `I_h`, which is
//! affine, as noise needs it ([`isotropy_core::Drive::transport`] of translations).
//!
//! Interpolation makes this an action up to an error only. The representations `image-rotation` and `image-motion`
//! keep the original image and have none, but they move an orbit, not free pixels: a symmetry of pixel diffusion has
//! no original.
//!
//! **White noise under interpolation.** A pixel of `I_h z` is a weighted mean of white pixels: its variance is the sum
//! of the squared weights (1 for the nearest neighbour, between 1/4 and 1 for bilinear ones, and 4/9 in the mean
//! over the offset), and pixels that share a neighbour are correlated. So coupled noise is moved by the nearest
//! neighbour unless `noise` says otherwise, with the picture reflected at its border: every pixel keeps its law, and
//! only pairs that come from one pixel are not independent.

use super::pose::{Canonical, pose};
use isotropy_core::{
    Element, Error, Field, Group, Moves, Representation, RepresentationConfig, Result, State,
    StateSpec, Stream, component, config,
};
use isotropy_groups::group::{Se2, So2};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Which group.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum PlaneGroup {
    /// SO(2): turns about the centre of the picture.
    #[default]
    Rotations,
    /// SE(2): turns and shifts, in pixels.
    Motions,
}

/// How a value between pixels is found.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// The value of the nearest pixel.
    Nearest,
    /// Of the four around it.
    #[default]
    Bilinear,
    /// Of the sixteen around it (Keys 1981, a = -0.75).
    Bicubic,
}

impl Interpolation {
    /// libtorch's number for it.
    fn mode(self) -> i64 {
        match self {
            Self::Bilinear => 0,
            Self::Nearest => 1,
            Self::Bicubic => 2,
        }
    }
}

/// Which pixels the action keeps.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Mask {
    /// All.
    #[default]
    None,
    /// Those whose centre lies in the disk inscribed in the picture; the others become `fill`. A turn brings no corner
    /// into the disk, so it is an action on what is shown there, whatever stands in the corners.
    Disk,
}

/// libtorch's numbers for what lies outside.
const ZEROS: i64 = 0;
const REFLECTION: i64 = 2;

/// SO(2) or SE(2) on images by interpolation, without a lift. As the symmetry of an experiment it is refused
/// (interpolated noise is not white); metrics can ask for it.
#[config(default)]
#[derive(Clone)]
pub struct ImageInterpolationConfig {
    /// The group.
    pub group: PlaneGroup,
    /// How images are interpolated.
    pub interpolation: Interpolation,
    /// How noise that is coupled to the pose of its input is interpolated.
    pub noise: Interpolation,
    /// The value outside of the picture: -1 is black.
    pub fill: f64,
    /// Which pixels are kept: `none` masks nothing, `disk` all but the inscribed disk. Noise is moved without a mask.
    pub mask: Mask,
}

impl Default for ImageInterpolationConfig {
    fn default() -> Self {
        Self {
            group: PlaneGroup::Rotations,
            interpolation: Interpolation::Bilinear,
            noise: Interpolation::Nearest,
            fill: -1.0,
            mask: Mask::None,
        }
    }
}

#[component(
    "image-interpolation",
    "turns and shifts of images by interpolation, pixels as they are",
    r#"{"type": "image-interpolation", "group": "rotations", "mask": "disk"}"#
)]
impl RepresentationConfig for ImageInterpolationConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        if !self.fill.is_finite() {
            return Err(Error::config("/fill", "it must be a finite number"));
        }
        Ok(Arc::new(ImageInterpolation::new(self)))
    }
}

/// The action.
#[derive(Debug)]
pub struct ImageInterpolation {
    group: PlaneGroup,
    interpolation: Interpolation,
    fill: f64,
    mask: Mask,
    /// Value of libtorch's `padding_mode`.
    outside: i64,
    noise: Option<Box<Self>>,
}

impl ImageInterpolation {
    /// The action that a configuration describes.
    pub fn new(config: &ImageInterpolationConfig) -> Self {
        let noise = Self {
            group: config.group,
            interpolation: config.noise,
            fill: 0.0,
            mask: Mask::None,
            outside: REFLECTION,
            noise: None,
        };
        Self {
            group: config.group,
            interpolation: config.interpolation,
            fill: config.fill,
            mask: config.mask,
            outside: ZEROS,
            noise: Some(Box::new(noise)),
        }
    }

    /// Angles `[B]` and shifts `[B, 2]` (pixels to the right and upwards) of elements.
    fn motion(&self, g: &Element) -> (Tensor, Tensor) {
        match self.group {
            PlaneGroup::Rotations => {
                let angle = g.single().reshape([-1]);
                let shift = Tensor::zeros([angle.size()[0], 2], (angle.kind(), angle.device()));
                (angle, shift)
            }
            PlaneGroup::Motions => {
                // The columns of [[R, s], [0, 1]].
                let column = g.single().select(-1, 0);
                let shift = g.single().select(-1, 2).narrow(-1, 0, 2);
                (column.select(-1, 1).atan2(&column.select(-1, 0)), shift)
            }
        }
    }

    /// The element with these angles and shifts.
    fn element(&self, angle: &Tensor, shift: &Tensor) -> Element {
        match self.group {
            PlaneGroup::Rotations => angle.unsqueeze(1).into(),
            PlaneGroup::Motions => {
                let rotation = So2::matrix(&angle.unsqueeze(1));
                let rows = Tensor::cat(&[rotation, shift.unsqueeze(-1)], -1);
                let last = Tensor::from_slice(&[0.0, 0.0, 1.0]).to_kind(angle.kind());
                let last = last.to_device(angle.device()).expand([angle.size()[0], 1, 3], false);
                Tensor::cat(&[rows, last], 1).into()
            }
        }
    }

    /// `I_h` on images `[B, .., H, W]`.
    fn moved(&self, g: &Element, images: &Tensor) -> Tensor {
        let shape = images.size();
        let (batch, rank) = (shape[0], shape.len());
        let (height, width) = (shape[rank - 2], shape[rank - 1]);
        if batch == 0 {
            return images.shallow_clone();
        }
        let (angle, shift) = self.motion(g);
        let (cos, sin) = (angle.cos(), angle.sin());
        let (right, up) = (shift.select(1, 0), shift.select(1, 1));
        // Rows of the map p -> R^-1 (p - s) from output to input, in coordinates that run from -1 to 1 to the right
        // and downwards; their unit is half a width or half a height.
        let (half_width, half_height) = (0.5 * width as f64, 0.5 * height as f64);
        let aspect = half_height / half_width;
        let across = (&cos * &right + &sin * &up) / -half_width;
        let down = (&cos * up - &sin * right) / half_height;
        let rows = [&cos, &(&sin * -aspect), &across, &(&sin / aspect), &cos, &down];
        let matrix = Tensor::stack(&rows, 1).reshape([batch, 2, 3]).to_kind(images.kind());
        let flat = images.reshape([batch, -1, height, width]);
        let grid = Tensor::affine_grid_generator(&matrix, flat.size(), false);
        let moved = flat.grid_sampler(&grid, self.interpolation.mode(), self.outside, false);
        match self.mask {
            Mask::None => moved,
            Mask::Disk => moved * disk(height, width, (images.kind(), images.device())),
        }
        .reshape(shape)
    }

    fn act_on(&self, g: &Element, images: &Tensor) -> Tensor {
        self.moved(g, &(images - self.fill)) + self.fill
    }
}

/// 1 in the inscribed disk and 0 outside, `[H, W]`.
fn disk(height: i64, width: i64, options: (Kind, Device)) -> Tensor {
    let axis = |n: i64| Tensor::arange(n, options) - 0.5 * (n - 1) as f64;
    let radius = 0.5 * height.min(width) as f64;
    let squares = axis(height).square().unsqueeze(1) + axis(width).square().unsqueeze(0);
    squares.le(radius * radius).to_kind(options.0)
}

impl Representation for ImageInterpolation {
    fn name(&self) -> String {
        let group = self.group().name();
        format!("{group} on images by {:?} interpolation", self.interpolation).to_lowercase()
    }

    fn group(&self) -> &dyn Group {
        match self.group {
            PlaneGroup::Rotations => &So2,
            PlaneGroup::Motions => &Se2,
        }
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        if spec.value.moves == Moves::Image && spec.value.shape.len() >= 2 {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "interpolation needs a value that is an image, [.., rows, columns]; this one is {:?} of shape {:?}",
            spec.value.moves, spec.value.shape
        )))
    }

    fn act(&self, g: &Element, state: &State) -> Result<State> {
        if let Some((name, _)) = state.lift.first() {
            return Err(Error::Unsupported(format!(
                "{} does not move the lift '{name}'",
                self.name()
            )));
        }
        let mut moved = state.with_value(self.act_on(g, state.x()));
        for (name, field) in &mut moved.context {
            match field.moves {
                Moves::Fixed | Moves::Scalar => {}
                Moves::Image if field.batched => {
                    *field = field.with(self.act_on(g, &field.tensor));
                }
                moves => {
                    return Err(Error::Unsupported(format!(
                        "{} cannot move the context field '{name}' ({moves:?})",
                        self.name()
                    )));
                }
            }
        }
        Ok(moved)
    }

    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        Ok(self.moved(g, v))
    }

    /// For pictures as smooth as those of [`Representation::sample_state`], by bilinear interpolation. Strokes as
    /// thin as those of MNIST lose a fifth of their norm.
    fn approximation_error(&self) -> f64 {
        match self.interpolation {
            Interpolation::Nearest => 0.3,
            Interpolation::Bilinear => 0.06,
            Interpolation::Bicubic => 0.04,
        }
    }

    /// Smooth blobs on a 32x32 grid that vanish towards the rim, so that nothing is cut off.
    fn sample_state(
        &self,
        batch: i64,
        (kind, device): (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let options = (Kind::Double, device);
        let axis = Tensor::arange(32, options) - 15.5;
        let (x, y) = (axis.reshape([1, 1, 32]), axis.reshape([1, 32, 1]));
        let blobs = (0..3).map(|_| {
            let centre = stream.uniform(&[2, batch, 1, 1], options) * 6.0 - 3.0;
            let (dx, dy) = (&x - centre.get(0), &y - centre.get(1));
            // A standard deviation of three pixels.
            ((dx.square() + dy.square()) / -18.0).exp()
        });
        let image = (blobs.reduce(|a, b| a + b)? + self.fill).unsqueeze(1).to_kind(kind);
        Some(State::new(Field::new(image, Moves::Image)))
    }
}

impl ImageInterpolation {
    /// The pose of every point of a batch, `c(y)` with `c(g y) = g c(y)`: what noise is coupled to
    /// where the elements of the group cannot be gone through.
    ///
    /// # Errors
    /// When the value is not one that this group acts on.
    pub fn pose(&self, input: &State) -> Result<Canonical> {
        self.accepts(&input.spec())?;
        let shifted = self.group == PlaneGroup::Motions;
        let found = pose(&(input.x() - self.fill), shifted);
        let element = self.element(&found.angle, &found.shift);
        Ok(Canonical { element, ties: found.defined.to_kind(Kind::Int64) })
    }

    /// The action by which coupled noise is moved, where it is not this one: interpolation takes
    /// variance from white noise, and another rule than that of the points may leave it.
    pub fn noise_action(&self) -> Option<&dyn Representation> {
        self.noise.as_deref().map(|noise| noise as &dyn Representation)
    }
}
