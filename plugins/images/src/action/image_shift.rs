//! Shifts of images by whole pixels with a periodic boundary: permutations of their pixels, hence exact.

use super::image_permutation::permuted;
use isotropy_core::{
    Element, Error, Field, FieldSpec, Group, Moves, Representation, RepresentationConfig, Result,
    State, StateSpec, Stream, component, config,
};
use isotropy_groups::group::{Cyclic, Product};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group `C_m x C_n` of shifts by multiples of `step` pixels, `m = columns / step`, `n = rows / step`. The element `(a, b)`
/// moves every image `a step` pixels to the right and `b step` upwards; what leaves at one side comes in at the other.
#[derive(Debug)]
pub struct ImageShift {
    rows: i64,
    columns: i64,
    step: i64,
    group: Product,
}

impl ImageShift {
    /// The shifts of images `[.., rows, columns]`.
    ///
    /// # Errors
    /// A configuration error where a number is not positive, or `step` does not divide the sides.
    pub fn new(rows: i64, columns: i64, step: i64) -> Result<Self> {
        for (name, value) in [("/rows", rows), ("/columns", columns), ("/step", step)] {
            if value < 1 {
                return Err(Error::config(name, format!("{value} is not positive")));
            }
        }
        if rows % step != 0 || columns % step != 0 {
            let message = format!("steps of {step} pixels do not divide {rows}x{columns} pixels");
            return Err(Error::config("/step", message));
        }
        let cyclic = |side: i64| -> Arc<dyn Group> { Arc::new(Cyclic { order: side / step }) };
        let group = Product::new(vec![cyclic(columns), cyclic(rows)])?;
        Ok(Self { rows, columns, step, group })
    }

    /// Pixels between neighbouring elements.
    pub fn step(&self) -> i64 {
        self.step
    }

    /// Rows and columns of the images.
    pub fn sides(&self) -> [i64; 2] {
        [self.rows, self.columns]
    }

    /// Images `[B, .., rows, columns]` under one element each: `out[p] = in[p - s]`.
    ///
    /// # Errors
    /// `Unsupported` where the tensor holds no images of this size.
    pub fn shift(&self, g: &Element, images: &Tensor) -> Result<Tensor> {
        let shape = images.size();
        match shape.as_slice() {
            &[batch, .., rows, columns] if [rows, columns] == self.sides() => {
                let options = (Kind::Int64, images.device());
                let pixels = |part: usize| g.0[part].reshape([batch, 1]) * self.step;
                let row = (Tensor::arange(rows, options) + pixels(1)).remainder(rows);
                let column = (Tensor::arange(columns, options) - pixels(0)).remainder(columns);
                let place = (row.unsqueeze(2) * columns + column.unsqueeze(1)).flatten(1, 2);
                let flat = images.reshape([batch, -1, rows * columns]);
                let index = place.unsqueeze(1).expand(flat.size(), false);
                Ok(flat.gather(-1, &index, false).reshape(&shape))
            }
            _ => Err(self.other_size("an image", &shape)),
        }
    }

    fn other_size(&self, what: &str, shape: &[i64]) -> Error {
        Error::Unsupported(format!(
            "shifts of {}x{} pixels cannot move {what} of shape {shape:?}",
            self.rows, self.columns
        ))
    }

    fn fits(&self, name: &str, field: &FieldSpec) -> Result<()> {
        match (field.moves, field.shape.as_slice()) {
            (Moves::Fixed | Moves::Scalar, _) => Ok(()),
            (Moves::Image, &[.., rows, columns]) if [rows, columns] == self.sides() => Ok(()),
            (Moves::Image, shape) => Err(self.other_size(&format!("'{name}'"), shape)),
            (moves, shape) => Err(Error::Unsupported(format!(
                "shifts of pixels cannot move '{name}' ({moves:?} of shape {shape:?})"
            ))),
        }
    }
}

impl Representation for ImageShift {
    fn name(&self) -> String {
        format!("{} on pixels by shifts of {}", self.group.name(), self.step)
    }

    fn group(&self) -> &dyn Group {
        &self.group
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        self.fits("value", &spec.value)?;
        spec.lift.iter().chain(&spec.context).try_for_each(|(name, field)| self.fits(name, field))
    }

    fn act(&self, g: &Element, state: &State) -> Result<State> {
        permuted(state, |images| self.shift(g, images))
    }

    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        self.shift(g, v)
    }

    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let mut image = |channels: i64| {
            let shape = [batch, channels, self.rows, self.columns];
            Field::new(stream.normal(&shape, options), Moves::Image)
        };
        let value = image(2);
        Some(State::new(value).with_context("source", image(1)))
    }
}

/// Shifts of images by whole pixels; what leaves at one side comes in at the other.
#[config]
#[derive(Clone)]
pub struct ImageShiftConfig {
    /// Rows of the images.
    #[schemars(range(min = 1))]
    pub rows: i64,
    /// Columns of the images.
    #[schemars(range(min = 1))]
    pub columns: i64,
    /// Pixels between neighbouring shifts; divides rows and columns. A U-Net that halves images `n` times commutes with
    /// multiples of `2^n` at best.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub step: i64,
}

fn one() -> i64 {
    1
}

#[component(
    "image-shift",
    "shifts of images by whole pixels, periodic, exact",
    r#"{"type": "image-shift", "rows": 6, "columns": 4, "step": 2}"#
)]
impl RepresentationConfig for ImageShiftConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(ImageShift::new(self.rows, self.columns, self.step)?))
    }
}
