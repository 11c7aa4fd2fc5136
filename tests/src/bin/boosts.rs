//! A plugin outside of the runner's list, whole in one file: a Lie group, the frame in which it
//! drives points, and a dataset. With the last function it is also a runner of its own:
//!
//!     cargo run --release --bin boosts -- --config tests/configs/boosts.json
//!
//! The group: Lorentz boosts and dilations of the plane, which act on the wedge `x > |y|`. A point
//! there is `e^r (cosh eta, sinh eta)`; the flow coordinates are `tau = (r, eta)`, and unlike the
//! angle of a rotation the rapidity `eta` never aliases.

use isotropy_core::{
    Dataset, DatasetConfig, Drive, Element, Error, Field, FieldSpec, FlowCoordinates, Group,
    GroupConfig, LieGroup, LoadContext, Moves, Representation, RepresentationConfig, Result, Split,
    State, StateSpec, Stream, Streams, Xi, component, config, dataset::shuffled_rows,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

// ---- the group: elements are (log scale, rapidity), and adding them composes them ----

#[derive(Debug)]
struct Boosts;

impl Group for Boosts {
    fn name(&self) -> String {
        "SO+(1,1)xR+".into()
    }
    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(vec![[lead, &[2]].concat()])
    }
    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        Tensor::zeros(&xi_shape[0], options).into()
    }
    fn compose(&self, a: &Element, b: &Element) -> Element {
        (a.single() + b.single()).into()
    }
    fn inverse(&self, a: &Element) -> Element {
        (-a.single()).into()
    }
    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        stream.normal(&xi_shape[0], options).into()
    }
    fn law(&self) -> &'static str {
        "standard normal in (log scale, rapidity): the Haar measure is infinite"
    }
    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        (a.single() - b.single()).square().sum_dim_intlist(-1, false, None).sqrt()
    }
    fn violation(&self, a: &Element) -> Tensor {
        // Every pair of real numbers is an element.
        a.single().select(-1, 0).zeros_like()
    }
    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }
}

impl LieGroup for Boosts {
    fn exp(&self, xi: &Xi) -> Element {
        Element(xi.clone().0)
    }
    fn log(&self, g: &Element) -> Result<Xi> {
        Ok(Xi(g.clone().0))
    }
    fn injectivity_radius(&self) -> f64 {
        f64::INFINITY
    }
    fn bracket(&self, a: &Xi, _b: &Xi) -> Xi {
        // Boosts and dilations of the plane commute.
        a.zeros_like()
    }
    fn adjoint(&self, _g: &Element, xi: &Xi) -> Xi {
        xi.clone()
    }
}

// ---- how it moves points: x <- e^r [[cosh, sinh], [sinh, cosh]](eta) x ----

#[derive(Debug)]
struct Wedge;

/// `v_1 (x, y) + v_2 (y, x)`: the fields of the frame are `Pi_r = x` and `Pi_eta = (y, x)`.
fn along(x: &Tensor, v: &Tensor) -> Tensor {
    x * v.narrow(-1, 0, 1) + x.flip([-1]) * v.narrow(-1, 1, 1)
}

impl Representation for Wedge {
    fn name(&self) -> String {
        "wedge".into()
    }
    fn group(&self) -> &dyn Group {
        &Boosts
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        if spec.value.shape == [2] && spec.value.moves == Moves::Point {
            return Ok(());
        }
        Err(Error::Unsupported(format!("points of the plane are needed, not {:?}", spec.value)))
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(self.flow(state, &Xi(g.clone().0)))
    }
    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        Ok(boost(v, g.single()))
    }
    fn sample_state(&self, n: i64, options: (Kind, Device), stream: &mut Stream) -> Option<State> {
        let tau = stream.normal(&[n, 2], options);
        Some(State::new(Field::new(from_tau(&tau), Moves::Point)))
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

fn boost(x: &Tensor, g: &Tensor) -> Tensor {
    let (scale, eta) = (g.narrow(-1, 0, 1).exp(), g.narrow(-1, 1, 1));
    scale * (x * eta.cosh() + x.flip([-1]) * eta.sinh())
}

fn from_tau(tau: &Tensor) -> Tensor {
    let eta = tau.narrow(-1, 1, 1);
    tau.narrow(-1, 0, 1).exp() * Tensor::cat(&[eta.cosh(), eta.sinh()], -1)
}

impl Drive for Wedge {
    fn frame(&self) -> String {
        "flow coordinates (r, eta)".into()
    }
    fn xi_shape(&self, _spec: &StateSpec) -> Vec<Vec<i64>> {
        vec![vec![2]]
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        state.with_value(boost(state.x(), xi.single()))
    }
    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        along(state.x(), xi.single())
    }
    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        let x = state.x();
        let dot = |field: &Tensor| (field * covector).sum_dim_intlist(-1, true, None);
        Tensor::cat(&[dot(x), dot(&x.flip([-1]))], -1).into()
    }
    fn divergences(&self, state: &State) -> Xi {
        let ones = state.x().narrow(-1, 0, 1).ones_like();
        Tensor::cat(&[&ones * 2.0, ones.zeros_like()], -1).into()
    }
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        // Both fields are linear with A^2 = 1, so (Pi . grad) Pi = x for each.
        state.x() * (2.0 * variance[0])
    }
    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        Some(self)
    }
    fn transport(
        &self,
        symmetry: &dyn Representation,
        _: &Element,
        _: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        if symmetry.group().name() == self.group().name() {
            return Ok(xi.clone());
        }
        Err(Error::Unsupported(format!("boosts know no transport under {}", symmetry.name())))
    }
}

impl FlowCoordinates for Wedge {
    fn names(&self) -> Vec<Vec<String>> {
        vec![vec!["r".into(), "eta".into()]]
    }
    fn tau(&self, state: &State) -> Xi {
        let (x, y) = (state.x().narrow(-1, 0, 1), state.x().narrow(-1, 1, 1));
        let (plus, minus) = ((&x + &y).log(), (&x - &y).log());
        Tensor::cat(&[(&plus + &minus) * 0.5, (plus - minus) * 0.5], -1).into()
    }
    fn point(&self, like: &State, tau: &Xi) -> State {
        like.with_value(from_tau(tau.single()))
    }
    fn orientation(&self, _tau: &Xi) -> Option<Xi> {
        None
    }
    fn log_abs_det(&self, state: &State) -> Tensor {
        // det [[x, y], [y, x]] = x^2 - y^2 = e^{2r}.
        self.tau(state).single().select(-1, 0) * 2.0
    }
    fn regularity(&self, state: &State) -> Tensor {
        state.x().select(-1, 0) - state.x().select(-1, 1).abs()
    }
}

// ---- a dataset: a ring in the coordinates (r, eta), folded into the wedge ----

#[derive(Debug)]
struct Ring {
    train: Tensor,
    test: Tensor,
}

impl Dataset for Ring {
    fn len(&self, split: Split) -> Option<u64> {
        Some(if split == Split::Train { &self.train } else { &self.test }.size()[0] as u64)
    }
    fn batch(&self, split: Split, step: u64, size: i64, streams: &Streams) -> Result<State> {
        let points = if split == Split::Train {
            let rows = shuffled_rows(self.train.size()[0], step, size, streams);
            self.train.index_select(0, &rows.to_device(self.train.device()))
        } else {
            let len = self.test.size()[0];
            let first = (step as i64 * size).min(len);
            self.test.narrow(0, first, size.min(len - first))
        };
        Ok(State::new(Field::new(points, Moves::Point)))
    }
}

// ---- what JSON says, and the registration ----

/// Lorentz boosts and dilations of the plane.
#[config]
#[derive(Clone)]
struct BoostsConfig {}

#[component("boosts", "boosts and dilations", r#"{"type": "boosts"}"#)]
impl GroupConfig for BoostsConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(Boosts))
    }
}

/// Boosts and dilations acting on the wedge `x > |y|`.
#[config]
#[derive(Clone)]
struct WedgeConfig {}

#[component("wedge", "boosts of the wedge", r#"{"type": "wedge"}"#)]
impl RepresentationConfig for WedgeConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(Wedge))
    }
}

/// A ring in rapidity and logarithmic radius.
#[config]
#[derive(Clone)]
struct RingConfig {
    /// Points in the training split, and in the test split.
    #[schemars(range(min = 1, max = 1_000_000))]
    points: i64,
}

#[component("rapidity-ring", "a ring in the wedge", r#"{"type": "rapidity-ring", "points": 100}"#)]
impl DatasetConfig for RingConfig {
    fn spec(&self) -> Result<StateSpec> {
        Ok(StateSpec::new(FieldSpec::new(&[2], Moves::Point)))
    }
    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        let draw = |name: &str| {
            let mut stream = context.streams.stream(name, 0);
            let options = (context.kind, context.device);
            let angle = stream.uniform(&[self.points, 1], options) * std::f64::consts::TAU;
            let ring = Tensor::cat(&[angle.cos(), angle.sin()], -1);
            from_tau(&(ring + stream.normal(&[self.points, 2], options) * 0.05))
        };
        Ok(Box::new(Ring { train: draw("ring"), test: draw("ring test") }))
    }
}

isotropy_core::plugin!("boosts of the plane, as an example");

fn main() -> std::process::ExitCode {
    runner::main()
}
