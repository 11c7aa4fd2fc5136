//! Rotated digits: SO(2) on images, VE in the angle. The lift is the total angle and the original
//! image: an image is always rotated once from the original, so that turns compose exactly.

use crate::groups::Additive;
use crate::harness::{Oracle, Row, assert_close, normal, transport_moves_the_flow};
use crate::ou::{Noise, Ou};
use isotropy_core::{
    Drive, Element, Error, Field, FlowCoordinates, Group, Moves, PredictionKind, Representation,
    Result, State, StateSpec, Xi,
};
use tch::{Kind, Tensor};

/// Bilinear rotation about the centre, zero outside; angles `[B, 1]` in radians.
fn turned(image: &Tensor, angle: &Tensor) -> Tensor {
    let (cos, sin) = (angle.cos(), angle.sin());
    let zero = cos.zeros_like();
    let matrix = Tensor::cat(&[&cos, &-&sin, &zero, &sin, &cos, &zero], 1).reshape([-1, 2, 3]);
    let grid = Tensor::affine_grid_generator(&matrix, image.size(), false);
    image.grid_sampler(&grid, 0, 0, false)
}

#[derive(Debug)]
struct Turns;

impl Turns {
    fn angle(state: &State) -> Tensor {
        let zero = || Tensor::zeros([state.batch_size(), 1], state.options());
        state.lifted("angle").map_or_else(|_| zero(), |field| field.tensor.shallow_clone())
    }
    fn original(state: &State) -> Tensor {
        state.lifted("original").unwrap_or(&state.value).tensor.shallow_clone()
    }
}

impl Representation for Turns {
    fn name(&self) -> String {
        "rotations of images".into()
    }
    fn group(&self) -> &dyn Group {
        &Additive("SO(2)", Some(1))
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        if spec.value.moves == Moves::Image && spec.value.shape.len() == 3 {
            return Ok(());
        }
        Err(Error::Unsupported("values must be images".into()))
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(self.flow(&self.lift(state.clone())?, &g.single().shallow_clone().into()))
    }
    fn act_tangent(&self, _: &Element, _: &State, _: &Tensor) -> Result<Tensor> {
        Err(Error::Unsupported("interpolation has no exact derivative action".into()))
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Turns {
    fn frame(&self) -> String {
        "angle".into()
    }
    fn xi_shape(&self, _: &StateSpec) -> Vec<Vec<i64>> {
        vec![vec![1]]
    }
    fn lift(&self, state: State) -> Result<State> {
        let tau: Xi = Self::angle(&state).into();
        Ok(self.point(&state, &tau))
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        self.point(state, &self.unwrapped(state).add(xi))
    }
    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        // No closed form: the derivative of the interpolation, by a central difference.
        let h: Xi = Tensor::full([state.batch_size(), 1], 1e-5, state.options()).into();
        let (ahead, behind) = (self.flow(state, &h), self.flow(state, &h.scale(-1.0)));
        (ahead.x() - behind.x()) / 2e-5 * xi.single().reshape([-1, 1, 1, 1])
    }
    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        let one = Tensor::ones([state.batch_size(), 1], state.options());
        let field = self.push(state, &one.into());
        (field * covector).flatten(1, -1).sum_dim_intlist(1, true, Kind::Double).into()
    }
    fn divergences(&self, state: &State) -> Xi {
        Tensor::zeros([state.batch_size(), 1], state.options()).into()
    }
    fn base_measure(&self) -> &'static str {
        "angle along the orbit (radians)"
    }
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        let h: Xi = Tensor::full([state.batch_size(), 1], 1e-3, state.options()).into();
        let (ahead, behind) = (self.flow(state, &h), self.flow(state, &h.scale(-1.0)));
        (ahead.x() + behind.x() - state.x() * 2.0) * (variance[0] / 1e-6)
    }
    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        Some(self)
    }
    fn transport(&self, h: &dyn Representation, _: &Element, _: &State, xi: &Xi) -> Result<Xi> {
        match h.group().name().as_str() {
            "SO(2)" => Ok(xi.clone()),
            other => Err(Error::Unsupported(format!("{other} does not commute with turns"))),
        }
    }
}

impl FlowCoordinates for Turns {
    fn names(&self) -> Vec<Vec<String>> {
        vec![vec!["angle".into()]]
    }
    fn tau(&self, state: &State) -> Xi {
        Self::angle(state).into()
    }
    fn point(&self, like: &State, tau: &Xi) -> State {
        let original = Self::original(like);
        like.with_value(turned(&original, tau.single()))
            .with_lift("angle", Field::new(tau.single().shallow_clone(), Moves::Coordinates))
            .with_lift("original", Field::new(original, Moves::Fixed))
    }
    fn orientation(&self, _: &Xi) -> Option<Xi> {
        None
    }
    fn log_abs_det(&self, state: &State) -> Tensor {
        Tensor::zeros([state.batch_size()], state.options())
    }
    fn regularity(&self, state: &State) -> Tensor {
        // An image that no turn changes has no angle.
        let one = Tensor::ones([state.batch_size(), 1], state.options());
        self.push(state, &one.into()).flatten(1, -1).norm_scalaropt_dim(2.0, [1], false)
    }
}

#[test]
fn rotated_digits_find_their_angle() {
    // Test images are turned by a known angle; the dataset gives them as values, the drive lifts.
    let upright = normal("digits", &[8, 1, 7, 7]);
    let angle = normal("angles", &[8, 1]) * 0.5;
    let clean = State::new(Field::new(turned(&upright, &angle), Moves::Image))
        .with_context("angle", Field::new(angle.shallow_clone(), Moves::Fixed));
    let model = Oracle(
        PredictionKind::Clean,
        Box::new(|state, _| Ok(state.given("angle")?.tensor.neg().into())),
    );
    let row = Row {
        process: Box::new(Ou::new(Turns, &[Noise::Ve(1.5)])),
        model,
        clean,
        symmetry: None,
        // Bilinear interpolation has kinks where pixels fall on pixels, as they do unturned.
        push_tolerance: 1e-3,
        refused: vec![(std::sync::Arc::new(crate::groups::QuarterTurns), "commute")],
    };
    let samples = row.check(400);
    let total = samples.lifted("angle").unwrap().tensor.shallow_clone();
    assert_close("total angle", &total, &-&angle, 0.2);
    // One rotation by the total angle, whatever the number of steps was.
    assert_close("image", samples.x(), &turned(row.clean.x(), &total), 1e-12);
    transport_moves_the_flow(row.process.fields(), row.process.drive().as_ref(), &row.clean);
}
