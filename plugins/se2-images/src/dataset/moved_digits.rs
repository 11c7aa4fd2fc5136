//! The dataset `moved-digits`: digits turned by any angle and shifted on a larger canvas, to be brought
//! back.
//!
//! The canvas is so large that no pixel of a digit leaves it. A picture is moved once, from the original
//! in the middle of the canvas. What a sampler may see of a test image is the moved picture; in
//! training the lift says which motion brings it back, and the value is the picture brought back by it.
//! So training and sampling see the same two interpolations: one made the picture, the other renders it
//! at its present place.

use crate::dataset::rotated_digits::{Part, Parts, SIDE, TRUE_ANGLE, UPRIGHT, mnist_folder};
use isotropy_core::{
    Dataset, DatasetConfig, Error, Field, FieldSpec, LoadContext, Moves, Result, Split, State,
    StateSpec, Stream, Streams, component, config, dataset::shuffled_rows, upload,
};
use isotropy_images::action::image_motion::SHIFT;
use isotropy_images::action::image_rotation::{ANGLE, ORIGINAL};
use isotropy_images::action::motion::Motion;
use std::f64::consts::TAU;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Context field: the moved image, `[B, 1, N, N]` in `[0, 1]` (in `[-1, 1]` for pixels): what is to be
/// brought back.
pub const MOVED: &str = "moved";
/// Context field: the shift after the rotation by the true angle, `[B, 2]`, pixels to the right and
/// upwards. No network may look at it.
pub const TRUE_SHIFT: &str = "true_shift";

/// No pixel of MNIST that is not black has its centre farther than 16.99 pixels from the centre of the
/// image (measured over all 70,000); half a pixel more is its own width.
const REACH: f64 = 17.5;

/// Handwritten digits (MNIST) turned about their centre by uniform angles, then shifted by vectors
/// uniform in a disk, on a larger canvas.
#[config(default)]
#[derive(Clone)]
pub struct MovedDigitsConfig {
    /// What diffuses.
    pub diffuses: Diffuses,
    /// Rows and columns of the canvas, pixels; even.
    #[schemars(range(min = 28, max = 1024))]
    pub canvas: i64,
    /// Largest angle to either side, degrees.
    #[schemars(range(min = 0.0, max = 180.0))]
    pub largest_angle_degrees: f64,
    /// Radius of the disk of shifts, pixels; so small that digits stay on the canvas: up to
    /// `canvas / 2 - 17.5`.
    #[schemars(range(min = 0.0, max = 512.0))]
    pub largest_shift_pixels: f64,
    /// Test images: the first so many of each digit, in the order of the file.
    #[schemars(range(min = 1, max = 1135))]
    pub test_per_digit: usize,
    /// Images at the end of the training file that are kept for validation.
    #[schemars(range(min = 0, max = 59_999))]
    pub validation: i64,
}

/// What diffuses.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Diffuses {
    /// The motion that brings the picture back: the value is the moved picture, the lift its motion.
    #[default]
    Motion,
    /// Pixels: the value is the upright image, in `[-1, 1]`, to be drawn given the context field
    /// `moved`.
    Pixels,
}

impl Default for MovedDigitsConfig {
    fn default() -> Self {
        Self {
            diffuses: Diffuses::Motion,
            canvas: 44,
            largest_angle_degrees: 180.0,
            largest_shift_pixels: 4.5,
            test_per_digit: 800,
            validation: 5000,
        }
    }
}

#[component(
    "moved-digits",
    "MNIST, rotated and shifted on a larger canvas",
    r#"{"type": "moved-digits"}"#
)]
impl DatasetConfig for MovedDigitsConfig {
    fn spec(&self) -> Result<StateSpec> {
        self.check()?;
        let image = |moves| FieldSpec::new(&[1, self.canvas, self.canvas], moves);
        let mut spec = StateSpec::new(image(Moves::Image));
        if self.diffuses == Diffuses::Motion {
            spec = spec
                .with_lift(ANGLE, FieldSpec::new(&[1], Moves::Coordinates))
                .with_lift(SHIFT, FieldSpec::new(&[2], Moves::Coordinates))
                .with_lift(ORIGINAL, image(Moves::Fixed));
        }
        let moved = match self.diffuses {
            Diffuses::Motion => Moves::Fixed,
            Diffuses::Pixels => Moves::Image,
        };
        Ok(spec
            .with_context(MOVED, image(moved))
            .with_context(State::LABEL, FieldSpec::new(&[], Moves::Fixed))
            .with_context(TRUE_ANGLE, FieldSpec::new(&[1], Moves::Fixed))
            .with_context(TRUE_SHIFT, FieldSpec::new(&[2], Moves::Fixed))
            .with_context(UPRIGHT, image(Moves::Fixed)))
    }

    fn split_size(&self, split: Split) -> Option<u64> {
        u64::try_from(self.validation).ok().filter(|_| split == Split::Validation)
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        self.check()?;
        Ok(Box::new(MovedDigits::read(self, &mnist_folder(context)?, context)?))
    }
}

impl MovedDigitsConfig {
    fn check(&self) -> Result<()> {
        let wrong = |pointer: &str, message: String| Err(Error::config(pointer, message));
        if self.canvas < SIDE || self.canvas % 2 != 0 {
            let message =
                format!("{} is no canvas for digits of 28 pixels: even, 28 or more", self.canvas);
            return wrong("/canvas", message);
        }
        if !(0.0..=180.0).contains(&self.largest_angle_degrees) {
            let message = format!("{} degrees are not in [0, 180]", self.largest_angle_degrees);
            return wrong("/largest_angle_degrees", message);
        }
        let room = (0.5 * self.canvas as f64 - REACH).max(0.0);
        if !(0.0..=room).contains(&self.largest_shift_pixels) {
            let message = format!(
                "digits shifted by up to {} pixels leave a canvas of {}; there is room for {room}",
                self.largest_shift_pixels, self.canvas
            );
            return Err(Error::config("/largest_shift_pixels", message)
                .with_help("enlarge the canvas, or shift by less"));
        }
        Ok(())
    }

    /// Independent motions from the law of this data set, in double precision on the CPU.
    fn draw(&self, count: i64, stream: &mut Stream) -> Motion {
        let options = (Kind::Double, Device::Cpu);
        let largest = self.largest_angle_degrees.to_radians();
        let angle = (stream.uniform(&[count, 1], options) * 2.0 - 1.0) * largest;
        let radius = stream.uniform(&[count, 1], options).sqrt() * self.largest_shift_pixels;
        let direction = stream.uniform(&[count, 1], options) * TAU;
        let shift = Tensor::cat(&[direction.cos() * &radius, direction.sin() * radius], 1);
        Motion { angle, shift }
    }
}

fn to(motion: &Motion, kind: Kind, device: Device) -> Motion {
    let to = |a: &Tensor| upload(a, device).to_kind(kind);
    Motion { angle: to(&motion.angle), shift: to(&motion.shift) }
}

fn rows(motion: &Motion, start: i64, length: i64) -> Motion {
    Motion {
        angle: motion.angle.narrow(0, start, length),
        shift: motion.shift.narrow(0, start, length),
    }
}

/// The loaded dataset.
#[derive(Debug)]
pub struct MovedDigits {
    config: MovedDigitsConfig,
    parts: Parts,
    /// One for each validation image, in double precision.
    validation: Motion,
    /// One for each test image, in double precision; that of an image does not depend on how many are
    /// used.
    test: Motion,
    options: (Kind, Device),
}

impl MovedDigits {
    /// Reads the four files in the folder (plain or `.gz`).
    ///
    /// # Errors
    /// As for [`RotatedDigits::read`](crate::dataset::rotated_digits::RotatedDigits::read).
    pub fn read(config: &MovedDigitsConfig, folder: &Path, context: &LoadContext) -> Result<Self> {
        let (kind, device) = (context.kind, context.device);
        let parts = Parts::read(folder, config.validation, config.test_per_digit, device)?;
        let draw = |name, count| {
            let motion = config.draw(count, &mut context.streams.stream(name, 0));
            to(&motion, Kind::Double, device)
        };
        let all = draw("test-motions", parts.in_test_file);
        let chosen = |a: &Tensor| a.index_select(0, &parts.test_rows);
        Ok(Self {
            test: Motion { angle: chosen(&all.angle), shift: chosen(&all.shift) },
            validation: draw("validation-motions", parts.validation.len()),
            config: config.clone(),
            parts,
            options: (kind, device),
        })
    }

    fn part(&self, split: Split) -> &Part {
        match split {
            Split::Train => &self.parts.train,
            Split::Validation => &self.parts.validation,
            Split::Test => &self.parts.test,
        }
    }
}

impl Dataset for MovedDigits {
    fn len(&self, split: Split) -> Option<u64> {
        u64::try_from(self.part(split).len()).ok()
    }

    fn batch(&self, split: Split, step: u64, size: i64, streams: &Streams) -> Result<State> {
        let (kind, device) = self.options;
        let part = self.part(split);
        let start = i64::try_from(step).unwrap_or(i64::MAX).saturating_mul(size).min(part.len());
        let length = size.min(part.len() - start);
        let (chosen, motion) = match split {
            Split::Train => {
                let order = upload(&shuffled_rows(part.len(), step, size, streams), device);
                let motion = self.config.draw(size, &mut streams.stream("motions", step));
                (part.select(&order), motion)
            }
            Split::Validation => {
                (part.narrow(start, length), rows(&self.validation, start, length))
            }
            Split::Test => (part.narrow(start, length), rows(&self.test, start, length)),
        };
        let motion = to(&motion, kind, device);
        let pad = (self.config.canvas - SIDE) / 2;
        let upright = (chosen.images.to_kind(kind) / 255.0).constant_pad_nd([pad; 4]);
        let moved = motion.render(&upright);
        let fixed = |tensor| Field::new(tensor, Moves::Fixed);
        let state = match self.config.diffuses {
            Diffuses::Pixels => State::new(Field::new(&upright * 2.0 - 1.0, Moves::Image))
                .with_context(MOVED, Field::new(moved * 2.0 - 1.0, Moves::Image)),
            Diffuses::Motion => {
                // A test image comes as it is: what brings it back is to be found.
                let (value, back) = match split {
                    Split::Test => {
                        (moved.shallow_clone(), Motion::identity(chosen.len(), self.options))
                    }
                    Split::Train | Split::Validation => {
                        let back = motion.inverse();
                        (back.render(&moved), back)
                    }
                };
                State::new(Field::new(value, Moves::Image))
                    .with_lift(ANGLE, Field::new(back.angle, Moves::Coordinates))
                    .with_lift(SHIFT, Field::new(back.shift, Moves::Coordinates))
                    .with_lift(ORIGINAL, fixed(moved.shallow_clone()))
                    .with_context(MOVED, fixed(moved))
            }
        };
        Ok(state
            .with_context(State::LABEL, fixed(chosen.labels))
            .with_context(TRUE_ANGLE, fixed(motion.angle))
            .with_context(TRUE_SHIFT, fixed(motion.shift))
            .with_context(UPRIGHT, fixed(upright)))
    }

    fn digests(&self) -> Vec<(String, String)> {
        self.parts.digests.clone()
    }
}

/// The motion that a state's picture was moved by.
///
/// # Errors
/// When the state does not come from this dataset.
pub fn true_motion(state: &State) -> Result<Motion> {
    Ok(Motion {
        angle: state.given(TRUE_ANGLE)?.tensor.shallow_clone(),
        shift: state.given(TRUE_SHIFT)?.tensor.shallow_clone(),
    })
}

/// Images of a state from this dataset in `[0, 1]`: pixels that diffuse are scaled back and cut off.
pub fn pictures(state: &State, images: &Tensor) -> Tensor {
    if state.lifted(ANGLE).is_ok() {
        return images.shallow_clone();
    }
    ((images + 1.0) * 0.5).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::rotated_digits::tests::{context, small_set};
    use tempfile::TempDir;

    const SMALL: &str = r#"{"validation": 10, "test_per_digit": 3}"#;

    fn config(json: &str) -> MovedDigitsConfig {
        serde_json::from_str(json).unwrap()
    }

    fn read(folder: &TempDir, json: &str) -> MovedDigits {
        MovedDigits::read(&config(json), folder.path(), &context()).unwrap()
    }

    fn worst(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn states_have_the_shapes_that_the_spec_declares() {
        let folder = small_set();
        let pixels = r#"{"validation": 10, "test_per_digit": 3, "diffuses": "pixels"}"#;
        for json in [SMALL, pixels] {
            let data = read(&folder, json);
            for split in [Split::Train, Split::Validation, Split::Test] {
                let batch = data.batch(split, 1, 4, &Streams::new(5)).unwrap();
                assert_eq!(batch.spec(), config(json).spec().unwrap());
            }
            let last = data.batch(Split::Test, 7, 4, &Streams::new(5)).unwrap();
            assert_eq!(last.batch_size(), 2);
            let beyond = data.batch(Split::Validation, 9, 4, &Streams::new(5)).unwrap();
            assert_eq!(beyond.batch_size(), 0);
        }
    }

    #[test]
    fn a_picture_is_its_upright_one_moved_by_the_true_motion_and_the_lift_brings_it_back() {
        let folder = small_set();
        let data = read(&folder, SMALL);
        for split in [Split::Train, Split::Validation, Split::Test] {
            let batch = data.batch(split, 0, 10, &Streams::new(5)).unwrap();
            let (truth, upright) =
                (true_motion(&batch).unwrap(), &batch.given(UPRIGHT).unwrap().tensor);
            let moved = &batch.given(MOVED).unwrap().tensor;
            assert!(worst(&truth.render(upright), moved) < 1e-6);
            assert_eq!(worst(&batch.lifted(ORIGINAL).unwrap().tensor, moved), 0.0);
            let lift = Motion {
                angle: batch.lifted(ANGLE).unwrap().tensor.shallow_clone(),
                shift: batch.lifted(SHIFT).unwrap().tensor.shallow_clone(),
            };
            assert!(worst(&lift.render(moved), batch.x()) < 1e-6);
            let left = if split == Split::Test { lift } else { lift.after(&truth) };
            // The sampler may not see the answer; training starts at it.
            assert!(left.angle.abs().max().double_value(&[]) < 1e-6);
            assert!(left.shift.abs().max().double_value(&[]) < 1e-5);
        }
    }

    #[test]
    fn motions_have_the_law_that_the_configuration_says() {
        let config = config(r#"{"largest_angle_degrees": 90.0, "largest_shift_pixels": 4.0}"#);
        let motion = config.draw(20_000, &mut Streams::new(2).stream("law", 0));
        let degrees = motion.angle.rad2deg();
        assert!(degrees.abs().max().double_value(&[]) <= 90.0);
        // A uniform law on [-90, 90] has the standard deviation 51.96, a uniform disk of radius 4 a mean
        // square of 16 / 4 a component.
        assert!((degrees.std(true).double_value(&[]) - 51.96).abs() < 0.8);
        let radius = motion.shift.norm_scalaropt_dim(2, [1], false);
        assert!(radius.max().double_value(&[]) <= 4.0);
        let square = motion.shift.square().mean_dim([0i64].as_slice(), false, Kind::Double);
        assert!((square - 4.0).abs().max().double_value(&[]) < 0.12);
    }

    #[test]
    fn motions_of_a_test_image_do_not_depend_on_how_many_are_used_or_on_what_diffuses() {
        let folder = small_set();
        let few = read(&folder, r#"{"validation": 10, "test_per_digit": 1}"#);
        let many =
            read(&folder, r#"{"validation": 10, "test_per_digit": 3, "diffuses": "pixels"}"#);
        let first = |data: &MovedDigits| data.batch(Split::Test, 0, 10, &Streams::new(5)).unwrap();
        let (few, many) = (first(&few), first(&many));
        let moved = |state: &State| pictures(state, &state.given(MOVED).unwrap().tensor);
        assert!(worst(&moved(&few), &moved(&many)) < 1e-6);
        assert!(worst(&pictures(&many, many.x()), &many.given(UPRIGHT).unwrap().tensor) < 1e-6);
    }

    #[test]
    fn training_pictures_are_moved_anew_each_time() {
        let folder = small_set();
        let data = read(&folder, SMALL);
        let angle = |step| {
            let batch = data.batch(Split::Train, step, 10, &Streams::new(5)).unwrap();
            batch.given(TRUE_ANGLE).unwrap().tensor.shallow_clone()
        };
        assert_eq!(worst(&angle(4), &angle(4)), 0.0);
        assert!(worst(&angle(4), &angle(7)) > 0.1);
    }

    #[test]
    fn digits_that_would_leave_the_canvas_are_refused() {
        for (json, pointer) in [
            (r#"{"canvas": 26}"#, "/canvas"),
            (r#"{"canvas": 45}"#, "/canvas"),
            (r#"{"largest_shift_pixels": 4.6}"#, "/largest_shift_pixels"),
            (r#"{"canvas": 28}"#, "/largest_shift_pixels"),
            (r#"{"largest_angle_degrees": 200.0}"#, "/largest_angle_degrees"),
            (r#"{"largest_shift_pixels": -1.0}"#, "/largest_shift_pixels"),
        ] {
            let error = config(json).spec().unwrap_err();
            assert!(
                matches!(&error, Error::Config { pointer: p, .. } if p == pointer),
                "{error:?}"
            );
        }
        assert!(config(r#"{"canvas": 28, "largest_shift_pixels": 0.0}"#).spec().is_ok());
    }
}
