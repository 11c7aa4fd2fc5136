//! SE(2) on images: a turn about the centre, then a shift, by bilinear interpolation with zero fill.
//!
//! As with [rotations](super::image_rotation), interpolated motions do not compose. A state carries
//! the *total motion* `g = (theta, p)` and the *original* image as its lift; every action and every
//! flow composes motions and renders the original once. On lifted states the action is exact.
//!
//! Conventions: `g` moves the point `x` of the picture to `R(theta) x + p`. Points are in pixels from
//! the centre, the first component to the right, the second *upwards* (rows run downwards), so that
//! a positive angle turns counter-clockwise as it is seen. Angles are in radians, shifts in pixels.
//!
//! The frame has two factors, the angular velocity `omega` `[1]` (radians) and the velocity `v` `[2]`
//! (pixels). It is made of algebra generators, and there are two of them ([`MotionFrame`]):
//!
//! * space: `g <- exp(xi) g`. The fields of the action itself, fixed in the canvas: a turn is about
//!   the centre of the canvas and takes the shift along.
//! * body: `g <- g exp(xi)`. The fields move along with the image: a turn is about the centre of the
//!   *moved* original and leaves the shift alone.
//!
//! Neither has coordinates whose fields these are: they do not commute. But white noise has some that
//! it is white in. A Brownian motion by body fields has `d theta = d omega` and `dp = R(theta) dv`,
//! and turning an isotropic `dv` by what happened before leaves it white and independent: `(theta, p)`
//! is a Brownian motion of R^3, its law the *product* of those of angle and shift. By space fields the
//! same holds for the inverse motion, hence for `(theta, R(-theta) p)`: the law of `p` is centred at
//! the old shift *turned along*. [`ImageMotion::straight`] gives these coordinates.

use super::image_rotation::{ANGLE, ImageRotation, ORIGINAL};
use super::motion::{Motion, quarter, turn};
use isotropy_core::representation::as_type;
use isotropy_core::{
    Drive, Element, Error, Field, Group, Moves, Representation, RepresentationConfig, Result,
    State, StateSpec, Stream, Xi, broadcast, component, config,
};
use isotropy_groups::group::Se2;
use isotropy_groups::representation::Trivial;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Lift field: the total shift `p`, `[B, 2]`, pixels to the right and upwards.
pub const SHIFT: &str = "shift";

/// Half the distances of the central differences in [`Drive::push`]: radians, pixels. See
/// [`super::image_rotation`] for the size.
const PUSH_STEPS: [f64; 2] = [1e-6, 1e-5];
/// Half the distances of the second differences in [`Drive::ito`]: radians, pixels. Bilinear
/// interpolation has a second derivative on the scale of a pixel only.
const ITO_STEPS: [f64; 2] = [0.05, 0.5];

/// Where the fields of the frame are fixed.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum MotionFrame {
    /// In the moved image: `g <- g exp(xi)`. White noise is the product of noise in angle and shift.
    #[default]
    Body,
    /// In the canvas: `g <- exp(xi) g`. White noise turns the shift along.
    Space,
}

/// The action of SE(2) on square or oblong images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageMotion {
    frame: MotionFrame,
}

impl ImageMotion {
    /// The action, with a frame to drive by.
    pub fn new(frame: MotionFrame) -> Self {
        Self { frame }
    }

    /// Where its fields are fixed.
    pub fn fixed_in(&self) -> MotionFrame {
        self.frame
    }

    /// The total motion of a state and its original; a state without lift is its own original.
    pub fn lifted(state: &State) -> (Motion, Tensor) {
        let mut motion = Motion::identity(state.batch_size(), state.options());
        let (Ok(angle), Ok(original)) = (state.lifted(ANGLE), state.lifted(ORIGINAL)) else {
            return (motion, state.x().shallow_clone());
        };
        motion.angle = angle.tensor.shallow_clone();
        if let Ok(shift) = state.lifted(SHIFT) {
            motion.shift = shift.tensor.shallow_clone();
        }
        (motion, original.tensor.shallow_clone())
    }

    /// The state with that total motion, its value rendered from the original.
    pub fn at(state: &State, motion: Motion) -> State {
        let (_, original) = Self::lifted(state);
        Self::carrying(state.with_value(motion.render(&original)), motion, original)
    }

    fn carrying(state: State, motion: Motion, original: Tensor) -> State {
        state
            .with_lift(ANGLE, Field::new(motion.angle, Moves::Coordinates))
            .with_lift(SHIFT, Field::new(motion.shift, Moves::Coordinates))
            .with_lift(ORIGINAL, Field::new(original, Moves::Fixed))
    }

    /// The shift part, `[B, 2]`, of coordinates in which white noise of the frame is white (the other
    /// one is the angle): `p` for body fields, `R(-theta) p` for space fields.
    pub fn straight(&self, motion: &Motion) -> Tensor {
        match self.frame {
            MotionFrame::Body => motion.shift.shallow_clone(),
            MotionFrame::Space => turn(&motion.angle.neg(), &motion.shift),
        }
    }

    /// The motion with these coordinates ([`ImageMotion::straight`]).
    pub fn from_straight(&self, angle: Tensor, straight: &Tensor) -> Motion {
        let shift = match self.frame {
            MotionFrame::Body => straight.shallow_clone(),
            MotionFrame::Space => turn(&angle, straight),
        };
        Motion { angle, shift }
    }

    /// Velocities `v` of the frame at a motion with the angles `[B, 1]` as velocities of the
    /// straight coordinates at constant angle: `R(theta) v` for body fields, `R(-theta) v` for space
    /// fields.
    pub fn to_straight(&self, angle: &Tensor, v: &Tensor) -> Tensor {
        match self.frame {
            MotionFrame::Body => turn(angle, v),
            MotionFrame::Space => turn(&angle.neg(), v),
        }
    }

    /// The inverse of [`ImageMotion::to_straight`], which is its transpose.
    pub fn to_frame(&self, angle: &Tensor, w: &Tensor) -> Tensor {
        self.to_straight(&angle.neg(), w)
    }

    fn moved(&self, motion: &Motion, omega: &Tensor, v: &Tensor) -> Motion {
        let step = Motion::exp(omega, v);
        match self.frame {
            MotionFrame::Body => motion.after(&step),
            MotionFrame::Space => step.after(motion),
        }
    }

    /// The original where field `k` (turn, right, up) leads ahead and behind, in double precision.
    fn beside(&self, state: &State, k: i64, steps: [f64; 2]) -> (Tensor, Tensor) {
        let (motion, original) = Self::lifted(state);
        let (motion, original) = (motion.double(), original.to_kind(Kind::Double));
        let at = |step: f64| {
            let (omega, v) = (motion.angle.zeros_like(), motion.shift.zeros_like());
            let _ = match k {
                0 => omega.shallow_clone().fill_(step),
                k => v.narrow(1, k - 1, 1).fill_(step),
            };
            self.moved(&motion, &omega, &v).render(&original)
        };
        let step = steps[usize::from(k > 0)];
        (at(step), at(-step))
    }

    /// Field `k` at a state, of the value's shape and kind.
    fn field(&self, state: &State, k: i64) -> Tensor {
        let (ahead, behind) = self.beside(state, k, PUSH_STEPS);
        let step = PUSH_STEPS[usize::from(k > 0)];
        ((ahead - behind) / (2.0 * step)).to_kind(state.x().kind())
    }
}

impl Representation for ImageMotion {
    fn name(&self) -> String {
        let frame = match self.frame {
            MotionFrame::Body => "body",
            MotionFrame::Space => "space",
        };
        format!("motions of images (bilinear, zero fill), {frame} frame")
    }

    fn group(&self) -> &dyn Group {
        &Se2
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        if spec.value.moves == Moves::Image && spec.value.shape.len() >= 2 {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "motions of images need a value that is an image, [.., rows, columns]; this one is {:?} of shape {:?}",
            spec.value.moves, spec.value.shape
        )))
    }

    /// Composes with the total motion and renders the original once. Images in the context have no
    /// original and are interpolated each time.
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        let g = Motion::of(g);
        let mut moved = Self::at(state, g.after(&Self::lifted(state).0));
        for (name, field) in &mut moved.context {
            match field.moves {
                Moves::Fixed | Moves::Scalar => {}
                Moves::Image if field.batched => *field = field.with(g.render(&field.tensor)),
                moves => {
                    return Err(Error::Unsupported(format!(
                        "motions of images cannot move the context field '{name}' ({moves:?})"
                    )));
                }
            }
        }
        Ok(moved)
    }

    /// Moves a tangent image. The action is linear in the image, so this is the action itself.
    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        Ok(Motion::of(g).render(v))
    }

    /// The smooth blobs of [`ImageRotation`].
    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        ImageRotation.sample_state(batch, options, stream)
    }

    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

/// The space that points move in is the orbit of the original, a copy of SE(2).
impl Drive for ImageMotion {
    fn frame(&self) -> String {
        let fixed = match self.frame {
            MotionFrame::Body => "moved image",
            MotionFrame::Space => "canvas",
        };
        format!("turn and shift fixed in the {fixed}")
    }

    fn xi_shape(&self, _spec: &StateSpec) -> Vec<Vec<i64>> {
        vec![vec![1], vec![2]]
    }

    fn lift(&self, state: State) -> Result<State> {
        let (motion, original) = Self::lifted(&state);
        Ok(Self::carrying(state, motion, original))
    }

    fn flow(&self, state: &State, xi: &Xi) -> State {
        let (motion, _) = Self::lifted(state);
        Self::at(state, self.moved(&motion, xi.factor(0), xi.factor(1)))
    }

    /// The derivative of the rendered image. At pixel centres, where bilinear interpolation has a
    /// kink, the mean of both sides.
    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        let coefficient = |k: i64| match k {
            0 => xi.factor(0).shallow_clone(),
            k => xi.factor(1).narrow(1, k - 1, 1),
        };
        let part = |k: i64| self.field(state, k) * broadcast(&coefficient(k), state.x().dim());
        part(0) + part(1) + part(2)
    }

    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        let along = |k: i64| {
            let products = self.field(state, k) * covector;
            products.flatten(1, -1).sum_dim_intlist(1, true, None)
        };
        Xi(vec![along(0), Tensor::cat(&[along(1), along(2)], 1)])
    }

    /// Zero: SE(2) is unimodular, so both kinds of fields keep `d theta dp`.
    fn divergences(&self, state: &State) -> Xi {
        let motion = Motion::identity(state.batch_size(), state.options());
        Xi(vec![motion.angle, motion.shift])
    }

    fn base_measure(&self) -> &'static str {
        "Haar measure of SE(2) (radians times square pixels) along the orbit of the original"
    }

    /// Second differences of the rendered image on the scale of a pixel. The flow needs no such term;
    /// prefer it.
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        let (motion, original) = Self::lifted(state);
        let here = motion.double().render(&original.to_kind(Kind::Double));
        let second = |k: i64| {
            let (ahead, behind) = self.beside(state, k, ITO_STEPS);
            let factor = usize::from(k > 0);
            let weight = variance.get(factor).copied().unwrap_or(0.0);
            (ahead + behind - &here * 2.0) * (weight / ITO_STEPS[factor].powi(2))
        };
        (second(0) + second(1) + second(2)).to_kind(state.x().kind())
    }

    /// `h g exp(xi)` moves by the same `xi`, `h exp(xi) g = exp(Ad_h xi) h g`: nothing to do for body
    /// fields, the adjoint for space fields.
    fn transport(
        &self,
        symmetry: &dyn Representation,
        h: &Element,
        _state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        if as_type::<Trivial>(symmetry).is_some() {
            return Ok(xi.clone());
        }
        if as_type::<Self>(symmetry).is_none() {
            return Err(Error::Unsupported(format!(
                "motions of images know no transport of noise under {}",
                symmetry.name()
            )));
        }
        if self.frame == MotionFrame::Body {
            return Ok(xi.clone());
        }
        let (h, omega) = (Motion::of(h), xi.factor(0));
        let v = turn(&h.angle, xi.factor(1)) - omega * quarter(&h.shift);
        Ok(Xi(vec![omega.shallow_clone(), v]))
    }
}

/// SE(2) on images by bilinear interpolation with zero fill: a turn about the centre (radians,
/// positive counter-clockwise), then a shift (pixels, to the right and upwards). Drives points by
/// generators.
#[config]
#[derive(Clone)]
pub struct ImageMotionConfig {
    /// Where the generators are fixed: what noise is isotropic in.
    #[serde(default)]
    pub frame: MotionFrame,
}

#[component(
    "image-motion",
    "turns and shifts of images, by the total motion on the original",
    r#"{"type": "image-motion", "frame": "space"}"#
)]
impl RepresentationConfig for ImageMotionConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(ImageMotion::new(self.frame)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::motion::examples::{F64, dot, motion, worst};
    use super::*;
    use isotropy_core::Streams;
    use std::f64::consts::PI;

    const FRAMES: [MotionFrame; 2] = [MotionFrame::Body, MotionFrame::Space];

    #[test]
    fn a_body_turn_leaves_the_shift_and_a_space_turn_takes_it_along() {
        let image = dot(9, 9, 4, 4);
        let state = State::new(Field::new(image, Moves::Image));
        let turned = |frame| {
            let drive = ImageMotion::new(frame);
            let shifted = ImageMotion::at(&state, motion(0.0, [3.0, 0.0]));
            let angle = Tensor::full([1, 1], PI / 2.0, F64);
            drive.flow(&shifted, &Xi(vec![angle, Tensor::zeros([1, 2], F64)]))
        };
        assert!(worst(turned(MotionFrame::Body).x(), &dot(9, 9, 4, 7)) < 1e-12);
        assert!(worst(turned(MotionFrame::Space).x(), &dot(9, 9, 1, 4)) < 1e-12);
    }

    #[test]
    fn many_steps_interpolate_once() {
        let mut stream = Streams::new(3).stream("steps", 0);
        for frame in FRAMES {
            let drive = ImageMotion::new(frame);
            let start = drive.sample_state(3, F64, &mut stream).unwrap();
            let start = drive.lift(start).unwrap();
            let mut state = start.clone();
            for _ in 0..20 {
                let xi = Xi(vec![stream.normal(&[3, 1], F64), stream.normal(&[3, 2], F64)]);
                state = drive.flow(&state, &xi);
            }
            let (total, original) = ImageMotion::lifted(&state);
            assert_eq!(worst(&original, start.x()), 0.0);
            assert!(worst(&total.render(start.x()), state.x()) == 0.0);
            let back = ImageMotion::at(&state, total.inverse().after(&total));
            assert!(worst(back.x(), start.x()) < 1e-11);
        }
    }

    /// Straight coordinates are a chart, and their velocities at constant angle are what they say.
    #[test]
    fn straight_coordinates_belong_to_the_frame() {
        let mut stream = Streams::new(4).stream("straight", 0);
        for frame in FRAMES {
            let drive = ImageMotion::new(frame);
            let at = Motion {
                angle: stream.normal(&[6, 1], F64) * 2.0,
                shift: stream.normal(&[6, 2], F64) * 3.0,
            };
            let again = drive.from_straight(at.angle.shallow_clone(), &drive.straight(&at));
            assert!(worst(&again.shift, &at.shift) < 1e-12);
            let (omega, v) = (stream.normal(&[6, 1], F64), stream.normal(&[6, 2], F64));
            let e = 1e-5;
            let moved = |e: f64| drive.straight(&drive.moved(&at, &(&omega * e), &(&v * e)));
            let velocity = (moved(e) - moved(-e)) / (2.0 * e);
            // The turn alone does not move them.
            assert!(worst(&velocity, &drive.to_straight(&at.angle, &v)) < 1e-8);
            let back = drive.to_frame(&at.angle, &drive.to_straight(&at.angle, &v));
            assert!(worst(&back, &v) < 1e-12);
        }
    }

    #[test]
    fn other_values_are_refused() {
        use isotropy_core::FieldSpec;
        let spec = StateSpec::new(FieldSpec::new(&[2], Moves::Point));
        assert!(ImageMotion::new(MotionFrame::Body).accepts(&spec).is_err());
    }
}
