//! SO(2) on images, by bilinear interpolation with zero fill.
//!
//! Interpolated rotations do not compose: `rho(a) rho(b) x != rho(a + b) x`, since each
//! interpolation smooths. So a state carries the *total angle* and the *original* image as its
//! lift, and every action and every flow adds to the angle and renders the original once. On these
//! lifted states the action is exact, whatever the number of steps.
//!
//! A positive angle turns the picture counter-clockwise as it is seen (rows run downwards). Angles
//! are in radians. The flow coordinate is `tau = total angle`; its field is the one generator of
//! the algebra.

use isotropy_core::{
    Aliasing, Drive, Element, Error, Field, FlowCoordinates, Group, Moves, Representation,
    RepresentationConfig, Result, State, StateSpec, Stream, Xi, broadcast, component, config,
};
use isotropy_groups::group::{So2, wrap};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Lift field: the total angle, `[B, 1]`, radians.
pub const ANGLE: &str = "angle";
/// Lift field: the image before any rotation, of the value's shape.
pub const ORIGINAL: &str = "original";

/// Half the distance of the central difference in [`Drive::push`], radians. It is taken in double
/// precision: the rounding error is 1e-10, and only pixels whose sample point comes within
/// `1e-6` image widths of a pixel centre see their kink.
const PUSH_STEP: f64 = 1e-6;
/// Half the distance of the second difference in [`Drive::ito`], radians: about two thirds of a
/// pixel at the rim of a 28x28 image. Bilinear interpolation has kinks at every pixel centre, so a
/// second derivative exists only on the scale of a pixel.
const ITO_STEP: f64 = 0.05;

/// `rho(angle) x`: images `[B, .., H, W]` turned by angles `[B]` or `[B, 1]` (radians,
/// counter-clockwise) about their centre. Differentiable in both.
pub fn rotate(images: &Tensor, angles: &Tensor) -> Tensor {
    let shape = images.size();
    let (batch, rank) = (shape[0], shape.len());
    let (height, width) = (shape[rank - 2], shape[rank - 1]);
    if batch == 0 {
        return images.shallow_clone();
    }
    let angles = angles.reshape([batch]);
    let (cos, sin) = (angles.cos(), angles.sin());
    let zero = cos.zeros_like();
    // Rows of the map from output to input positions, in coordinates that run from -1 to 1; their
    // unit is half a width or half a height. Rows run downwards, hence the signs.
    let aspect = height as f64 / width as f64;
    let matrix = Tensor::stack(&[&cos, &(&sin * -aspect), &zero, &(&sin / aspect), &cos, &zero], 1)
        .reshape([batch, 2, 3]);
    let flat = images.reshape([batch, -1, height, width]);
    let grid = Tensor::affine_grid_generator(&matrix, flat.size(), false);
    // Mode 0 is bilinear, padding 0 is zeros.
    flat.grid_sampler(&grid, 0, 0, false).reshape(shape)
}

/// The action of SO(2) on square or oblong images about their centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageRotation;

impl ImageRotation {
    /// Total angle `[B, 1]` and original image; a state without lift is its own original.
    fn lifted(state: &State) -> (Tensor, Tensor) {
        match (state.lifted(ANGLE), state.lifted(ORIGINAL)) {
            (Ok(angle), Ok(original)) => {
                (angle.tensor.shallow_clone(), original.tensor.shallow_clone())
            }
            _ => {
                let zero = Tensor::zeros([state.batch_size(), 1], state.options());
                (zero, state.x().shallow_clone())
            }
        }
    }

    /// The state with that total angle, its value rendered from the original.
    fn at(state: &State, angle: Tensor) -> State {
        let (_, original) = Self::lifted(state);
        state
            .with_value(rotate(&original, &angle))
            .with_lift(ANGLE, Field::new(angle, Moves::Coordinates))
            .with_lift(ORIGINAL, Field::new(original, Moves::Fixed))
    }

    /// The original at total angle plus and minus `step`, and the original's own kind.
    fn beside(state: &State, step: f64) -> (Tensor, Tensor) {
        let (angle, original) = Self::lifted(state);
        let (angle, original) = (angle.to_kind(Kind::Double), original.to_kind(Kind::Double));
        (rotate(&original, &(&angle + step)), rotate(&original, &(&angle - step)))
    }
}

impl Representation for ImageRotation {
    fn name(&self) -> String {
        "rotations of images (bilinear, zero fill)".into()
    }

    fn group(&self) -> &dyn Group {
        &So2
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        if spec.value.moves == Moves::Image && spec.value.shape.len() >= 2 {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "rotations of images need a value that is an image, [.., rows, columns]; this one is {:?} of shape {:?}",
            spec.value.moves, spec.value.shape
        )))
    }

    /// Adds to the total angle and renders the original once. Images in the context have no
    /// original and are interpolated each time.
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        let (angle, _) = Self::lifted(state);
        let mut moved = Self::at(state, angle + g.single());
        for (name, field) in &mut moved.context {
            match field.moves {
                Moves::Fixed | Moves::Scalar => {}
                Moves::Image if field.batched => {
                    *field = field.with(rotate(&field.tensor, g.single()));
                }
                moves => {
                    return Err(Error::Unsupported(format!(
                        "rotations of images cannot move the context field '{name}' ({moves:?})"
                    )));
                }
            }
        }
        Ok(moved)
    }

    /// Rotates a tangent image. The action is linear in the image, so this is the action itself.
    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        Ok(rotate(v, g.single()))
    }

    /// Zero: [`Representation::act`] goes through the lift, so nothing is interpolated twice. (An
    /// image that *is* interpolated twice deviates by a fifth of its norm on strokes as thin as
    /// those of MNIST; a test measures it.)
    fn approximation_error(&self) -> f64 {
        0.0
    }

    /// Smooth blobs on a 16x16 grid that vanish towards the rim, so that nothing is cut off.
    fn sample_state(
        &self,
        batch: i64,
        (kind, device): (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let options = (Kind::Double, device);
        let axis = Tensor::linspace(-1.0, 1.0, 16, options);
        let (x, y) = (axis.reshape([1, 1, 16]), axis.reshape([1, 16, 1]));
        let blobs = (0..3).map(|_| {
            let centre = stream.uniform(&[2, batch, 1, 1], options) - 0.5;
            let (dx, dy) = (&x - centre.get(0), &y - centre.get(1));
            ((dx.square() + dy.square()) * -12.0).exp()
        });
        let image = blobs.reduce(|a, b| a + b)?.unsqueeze(1).to_kind(kind);
        Some(State::new(Field::new(image, Moves::Image)))
    }

    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

/// The one field of the frame turns the image: `Pi(x) = d/dtau rho(tau) original`. The space that
/// points move in is the orbit of the original, a line with the coordinate tau.
impl Drive for ImageRotation {
    fn frame(&self) -> String {
        "flow coordinate (total angle)".into()
    }

    fn xi_shape(&self, _spec: &StateSpec) -> Vec<Vec<i64>> {
        vec![vec![1]]
    }

    fn lift(&self, state: State) -> Result<State> {
        let (angle, original) = Self::lifted(&state);
        Ok(state
            .with_lift(ANGLE, Field::new(angle, Moves::Coordinates))
            .with_lift(ORIGINAL, Field::new(original, Moves::Fixed)))
    }

    fn flow(&self, state: &State, xi: &Xi) -> State {
        let (angle, _) = Self::lifted(state);
        Self::at(state, angle + xi.single())
    }

    /// The derivative of the rendered image by the angle. At pixel centres, where bilinear
    /// interpolation has a kink, the mean of both sides.
    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        let (ahead, behind) = Self::beside(state, PUSH_STEP);
        let field = ((ahead - behind) / (2.0 * PUSH_STEP)).to_kind(state.x().kind());
        field * broadcast(xi.single(), state.x().dim())
    }

    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        let ones = Tensor::ones([state.batch_size(), 1], state.options());
        let field = self.push(state, &Xi::from(ones));
        Xi::from((field * covector).flatten(1, -1).sum_dim_intlist(1, true, None))
    }

    /// Zero: the field is the coordinate field of the angle, and the base measure is the angle's.
    fn divergences(&self, state: &State) -> Xi {
        Xi::from(Tensor::zeros([state.batch_size(), 1], state.options()))
    }

    fn base_measure(&self) -> &'static str {
        "the angle along the orbit of the original"
    }

    /// The second derivative of the rendered image by the angle, as a second difference on the
    /// scale of a pixel: bilinear interpolation has none on a finer one. The flow needs no such
    /// term; prefer it.
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        let (ahead, behind) = Self::beside(state, ITO_STEP);
        let (here, _) = Self::beside(state, 0.0);
        let second = (ahead + behind - here * 2.0) / (ITO_STEP * ITO_STEP);
        second.to_kind(state.x().kind()) * variance.first().copied().unwrap_or(0.0)
    }

    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        Some(self)
    }

    /// The identity for rotations of images: SO(2) is commutative.
    fn transport(
        &self,
        symmetry: &dyn Representation,
        _h: &Element,
        _state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        if isotropy_core::representation::as_type::<Self>(symmetry).is_some() {
            return Ok(xi.clone());
        }
        Err(Error::Unsupported(format!(
            "rotations of images know no transport of noise under {}",
            symmetry.name()
        )))
    }
}

impl FlowCoordinates for ImageRotation {
    fn names(&self) -> Vec<Vec<String>> {
        vec![vec!["total angle".into()]]
    }

    /// The total angle brought into `[-pi, pi]`.
    fn tau(&self, state: &State) -> Xi {
        Xi::from(wrap(self.unwrapped(state).single()))
    }

    fn unwrapped(&self, state: &State) -> Xi {
        Xi::from(Self::lifted(state).0)
    }

    /// Renders the original of `like` at the angle.
    fn point(&self, like: &State, tau: &Xi) -> State {
        Self::at(like, tau.single().shallow_clone())
    }

    fn orientation(&self, _tau: &Xi) -> Option<Xi> {
        None
    }

    /// Whole turns more or less.
    fn branches(&self, state: &State, turns: i64) -> Vec<Xi> {
        let order = std::iter::once(0).chain((1..=turns).flat_map(|turn| [turn, -turn]));
        let tau = self.tau(state);
        order
            .map(|turn| tau.map(|angle| angle + 2.0 * std::f64::consts::PI * turn as f64))
            .collect()
    }

    fn aliasing(&self) -> Aliasing {
        Aliasing::Carried
    }

    /// Zero: the base measure is the coordinate's own.
    fn log_abs_det(&self, state: &State) -> Tensor {
        Tensor::zeros([state.batch_size()], state.options())
    }

    /// Infinite: every image may be turned. (The orbit of an image without any anisotropy, a blank
    /// one, is a point; its angle still is a coordinate of the lift.)
    fn regularity(&self, state: &State) -> Tensor {
        Tensor::full([state.batch_size()], f64::INFINITY, state.options())
    }
}

/// SO(2) on images by bilinear interpolation with zero fill; angles in radians, positive
/// counter-clockwise. Drives points in the total angle.
#[config]
#[derive(Clone)]
pub struct ImageRotationConfig {}

#[component(
    "image-rotation",
    "rotations of images about their centre, by the total angle on the original",
    r#"{"type": "image-rotation"}"#
)]
impl RepresentationConfig for ImageRotationConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(ImageRotation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::Streams;
    use std::f64::consts::PI;

    fn blobs(kind: Kind) -> State {
        let mut stream = Streams::new(3).stream("blobs", 0);
        ImageRotation.sample_state(4, (kind, Device::Cpu), &mut stream).unwrap()
    }

    fn angles(values: [f64; 4], kind: Kind) -> Tensor {
        Tensor::from_slice(&values).to_kind(kind).reshape([4, 1])
    }

    fn worst(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn a_quarter_turn_is_counter_clockwise_and_exact() {
        let image = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0]).reshape([1, 1, 2, 2]);
        let turned = rotate(&image, &Tensor::from_slice(&[PI / 2.0]));
        // 1 2 seen from the side: the right column becomes the upper row.
        let expected = Tensor::from_slice(&[2.0, 4.0, 1.0, 3.0]).reshape([1, 1, 2, 2]);
        assert!(worst(&turned, &expected) < 1e-12);
    }

    #[test]
    fn oblong_images_are_not_sheared() {
        // A dot right of the centre of a wide image moves up by as many pixels.
        let image = Tensor::zeros([1, 1, 5, 9], (Kind::Double, Device::Cpu));
        let _ = image.get(0).get(0).get(2).get(6).fill_(1.0);
        let turned = rotate(&image, &Tensor::from_slice(&[PI / 2.0]));
        assert!((turned.double_value(&[0, 0, 0, 4]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn composed_actions_interpolate_once() {
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-4)] {
            let x = blobs(kind);
            let (a, b) = (angles([0.3, 1.0, -2.0, 3.0], kind), angles([0.2, 2.5, 2.0, 3.1], kind));
            let twice = ImageRotation
                .act(
                    &b.shallow_clone().into(),
                    &ImageRotation.act(&a.shallow_clone().into(), &x).unwrap(),
                )
                .unwrap();
            let once = ImageRotation.act(&So2.compose(&b.into(), &a.into()), &x).unwrap();
            assert!(worst(twice.x(), once.x()) < tolerance);
            let back = ImageRotation.at_zero(&twice);
            assert!(worst(back.x(), x.x()) < tolerance);
        }
    }

    impl ImageRotation {
        fn at_zero(self, state: &State) -> State {
            Self::at(state, Tensor::zeros([state.batch_size(), 1], state.options()))
        }
    }

    #[test]
    fn a_second_interpolation_would_cost_what_the_documentation_says() {
        // Strokes two pixels wide, as in MNIST.
        let image = Tensor::zeros([1, 1, 28, 28], (Kind::Double, Device::Cpu));
        let _ = image.narrow(2, 5, 18).narrow(3, 13, 2).fill_(1.0);
        let _ = image.narrow(2, 5, 2).narrow(3, 8, 12).fill_(1.0);
        let angle = |a: f64| Tensor::from_slice(&[a]);
        let once = rotate(&image, &angle(0.9));
        let twice = rotate(&rotate(&image, &angle(0.5)), &angle(0.4));
        let error = f64::try_from((&once - twice).norm() / once.norm()).unwrap();
        assert!((0.1..0.3).contains(&error), "{error}");
    }

    #[test]
    fn push_is_the_derivative_of_the_flow() {
        let x = ImageRotation.at_angle(&blobs(Kind::Double), [0.31, 1.2, -2.7, 5.0]);
        let xi = angles([1.0, -0.5, 2.0, 0.1], Kind::Double);
        let h = 1e-5;
        let moved = |s: f64| ImageRotation.flow(&x, &Xi::from(&xi * s)).x().copy();
        let difference = (moved(h) - moved(-h)) / (2.0 * h);
        assert!(worst(&difference, &ImageRotation.push(&x, &Xi::from(xi.shallow_clone()))) < 1e-3);
        let xi = xi.set_requires_grad(true);
        let zero = &xi * 0.0;
        let image = ImageRotation.flow(&x, &Xi::from(zero.shallow_clone()));
        let weights = Tensor::randn_like(image.x());
        let slope = Tensor::run_backward(
            &[(image.x() * &weights).sum(Kind::Double)],
            &[zero],
            false,
            false,
        );
        let pulled = ImageRotation.pull(&x, &weights);
        assert!(worst(&slope[0], pulled.single()) < 1e-5);
    }

    impl ImageRotation {
        fn at_angle(self, state: &State, values: [f64; 4]) -> State {
            Self::at(state, angles(values, state.x().kind()))
        }
    }

    #[test]
    fn coordinates_are_followed_beyond_a_full_turn() {
        let x = ImageRotation.lift(blobs(Kind::Double)).unwrap();
        let moved = ImageRotation.flow(&x, &Xi::from(angles([7.0, -7.0, 0.0, 3.0], Kind::Double)));
        let tau = ImageRotation.unwrapped(&moved);
        assert!((tau.single().double_value(&[0, 0]) - 7.0).abs() < 1e-12);
        assert!(
            (ImageRotation.tau(&moved).single().double_value(&[0, 0]) - (7.0 - 2.0 * PI)).abs()
                < 1e-12
        );
        let same = ImageRotation.point(&x, &tau);
        assert!(worst(same.x(), moved.x()) == 0.0);
    }

    #[test]
    fn other_values_are_refused() {
        use isotropy_core::FieldSpec;
        let spec = StateSpec::new(FieldSpec::new(&[2], Moves::Point));
        assert!(ImageRotation.accepts(&spec).is_err());
    }
}
