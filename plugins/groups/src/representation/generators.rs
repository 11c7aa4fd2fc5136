//! SO(n)xR+ on R^n without the origin, in the frame of algebra generators (n = 2, 3, 4).
//!
//! Two factors: `w` in so(n), with `n (n - 1) / 2` coefficients, and `s`, the rate of `log r`. The
//! flow is `x <- e^s exp(w) x`. For n >= 3 the rotations that fix `x` form the stabiliser SO(n - 1);
//! what it hides is vertical, and `horizontal` keeps `w = u ^ v` for the tangent vector `v = w u` at
//! the unit vector `u`. The fields of so(n) have no divergence, that of `log r` has `n`.
//!
//! Bases of so(n) are those of the groups: for n = 2 the angle, for n = 3 rotation vectors, for n = 4
//! the planes of [`SoN`].

use crate::group::{Dilations, Product, So2, So3, SoN, rotation_math as math};
use isotropy_core::representation::{as_type, vector_matrix};
use isotropy_core::{
    Drive, Element, Error, Field, Group, Homogeneous, Moves, Representation, RepresentationConfig,
    Result, Space, State, StateSpec, Stream, Xi, component, config,
};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Norms below this are treated as this, so that no quotient is 0/0.
const TINY: f64 = 1e-30;

/// The planes of the basis of so(4) with the sign of their generators ([`SoN::planes`]).
const PLANES: [(usize, usize, f64); 6] =
    [(2, 3, 1.0), (1, 3, -1.0), (1, 2, 1.0), (0, 3, 1.0), (0, 2, -1.0), (0, 1, 1.0)];

/// Rotations and dilations of R^n by their generators.
#[derive(Debug)]
pub struct Generators {
    dimension: i64,
    group: Product,
}

impl Generators {
    /// The drive of R^n.
    ///
    /// # Errors
    /// When `n` is not 2, 3 or 4.
    pub fn new(dimension: i64) -> Result<Self> {
        let rotations: Arc<dyn Group> = match dimension {
            2 => Arc::new(So2),
            3 => Arc::new(So3),
            4 => Arc::new(SoN { dimension }),
            n => {
                let message = format!("generators drive 2, 3 or 4 dimensions, not {n}");
                return Err(Error::config("/dimension", message));
            }
        };
        Ok(Self { dimension, group: Product::new(vec![rotations, Arc::new(Dilations)])? })
    }

    /// Number of coefficients of so(n).
    fn planes(&self) -> i64 {
        self.dimension * (self.dimension - 1) / 2
    }

    fn split(shape: &[i64]) -> Vec<i64> {
        shape[..shape.len().saturating_sub(1)].to_vec()
    }

    /// Shapes of the coefficients of points `[.., n]`.
    fn shapes(&self, shape: &[i64]) -> Vec<Vec<i64>> {
        let lead = Self::split(shape);
        vec![[lead.as_slice(), &[self.planes()]].concat(), [lead.as_slice(), &[1]].concat()]
    }

    /// `w x`, for `w` `[.., n (n - 1) / 2]` and `x` `[.., n]`.
    fn apply(&self, w: &Tensor, x: &Tensor) -> Tensor {
        match self.dimension {
            2 => {
                let quarter = Tensor::cat(&[&x.narrow(-1, 1, 1).neg(), &x.narrow(-1, 0, 1)], -1);
                w * quarter
            }
            3 => w.linalg_cross(x, -1),
            _ => math::apply(&self.matrix(w), x),
        }
    }

    /// The bivector `a ^ b` with `(u ^ v) u = v` for orthogonal `u`, `v` and `|u| = 1`.
    fn wedge(&self, a: &Tensor, b: &Tensor) -> Tensor {
        let at = |x: &Tensor, k: i64| x.narrow(-1, k, 1);
        match self.dimension {
            2 => at(a, 0) * at(b, 1) - at(a, 1) * at(b, 0),
            3 => a.linalg_cross(b, -1),
            _ => {
                let product = b.unsqueeze(-1) * a.unsqueeze(-2);
                product.flatten(-2, -1).matmul(&basis4((a.kind(), a.device())).transpose(0, 1))
            }
        }
    }

    /// The skew matrices `[.., n, n]` of coefficients.
    fn matrix(&self, w: &Tensor) -> Tensor {
        match self.dimension {
            2 => {
                let zero = w.zeros_like();
                let rows = [Tensor::cat(&[&zero, &w.neg()], -1), Tensor::cat(&[w, &zero], -1)];
                Tensor::stack(&rows, -2)
            }
            3 => math::hat(w),
            n => {
                let flat = w.matmul(&basis4((w.kind(), w.device())));
                flat.view([Self::split(&w.size()).as_slice(), &[n, n]].concat().as_slice())
            }
        }
    }

    /// The coefficients of skew matrices.
    fn coefficients(&self, m: &Tensor) -> Tensor {
        let at = |i: i64, j: i64| m.select(-2, i).select(-1, j);
        let parts: Vec<Tensor> = match self.dimension {
            2 => vec![at(1, 0)],
            3 => vec![at(2, 1), at(0, 2), at(1, 0)],
            _ => PLANES.iter().map(|&(i, j, sign)| at(j as i64, i as i64) * sign).collect(),
        };
        Tensor::stack(&parts, -1)
    }

    /// `exp(w) x`.
    fn rotate(&self, w: &Tensor, x: &Tensor) -> Tensor {
        match self.dimension {
            2 => {
                let quarter = Tensor::cat(&[&x.narrow(-1, 1, 1).neg(), &x.narrow(-1, 0, 1)], -1);
                x * w.cos() + quarter * w.sin()
            }
            3 => math::rotate(w, x, -1),
            _ => rotate4(w, x),
        }
    }

    fn radius(x: &Tensor) -> Tensor {
        x.norm_scalaropt_dim(2, [-1], true).clamp_min(TINY)
    }

    /// Matrices `[.., n, n]` and dilations `[.., 1]` of group elements.
    fn parts(&self, g: &Element) -> (Tensor, Tensor) {
        let rotation = match self.dimension {
            2 => So2::matrix(&g.0[0]),
            _ => g.0[0].shallow_clone(),
        };
        (rotation, g.0[1].exp())
    }
}

/// Basis of so(4), `[6, 16]`: row `(i, j)` holds the matrix that turns axis `i` towards axis `j`,
/// times its sign.
fn basis4(options: (Kind, Device)) -> Tensor {
    let mut rows = [0.0_f64; 96];
    for (k, (i, j, sign)) in PLANES.into_iter().enumerate() {
        rows[16 * k + 4 * j + i] = sign;
        rows[16 * k + 4 * i + j] = -sign;
    }
    Tensor::from_slice(&rows).view([6, 16]).to_kind(options.0).to_device(options.1)
}

/// `exp(w) x` in four dimensions: with `x` as a quaternion the rotation is `x <- p x q`, with
/// `p = exp((s + d) / 2)` and `q = exp((d - s) / 2)` for the parts `d` (the planes with the real axis)
/// and `s` (those without, a rotation vector) of `w`.
fn rotate4(w: &Tensor, x: &Tensor) -> Tensor {
    let s = w.narrow(-1, 0, 3);
    let part = |k: i64| w.narrow(-1, k, 1);
    let d = Tensor::cat(&[part(5), part(4).neg(), part(3)], -1);
    let exp = |a: Tensor| {
        let square = math::square_norm(&a);
        // cos |a| = 1 - |a|^2 (1 - cos |a|) / |a|^2, smooth at 0.
        (1.0 - &square * math::one_minus_cos(&square), a * math::sinc(&square))
    };
    let (p, q) = (exp((&s + &d) * 0.5), exp((d - s) * 0.5));
    let x = (x.narrow(-1, 0, 1), x.narrow(-1, 1, 3));
    let moved = multiply(&multiply(&p, &x), &q);
    Tensor::cat(&[moved.0, moved.1], -1)
}

/// The product of quaternions, each a real and a vector part.
fn multiply(a: &(Tensor, Tensor), b: &(Tensor, Tensor)) -> (Tensor, Tensor) {
    let inner = (&a.1 * &b.1).sum_dim_intlist([-1].as_slice(), true, None);
    (&a.0 * &b.0 - inner, &a.0 * &b.1 + &b.0 * &a.1 + a.1.linalg_cross(&b.1, -1))
}

impl Representation for Generators {
    fn name(&self) -> String {
        format!("SO({0})xR+ on R^{0}", self.dimension)
    }

    fn group(&self) -> &dyn Group {
        &self.group
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        let value = &spec.value;
        let vectors = matches!(value.moves, Moves::Point | Moves::Vector);
        if vectors && value.shape.last() == Some(&self.dimension) {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "{} needs points or vectors with {} components on the last axis; the value is {:?} of shape {:?}",
            self.name(),
            self.dimension,
            value.moves,
            value.shape
        )))
    }

    /// One element for each point.
    fn element_shape(&self, state: &State) -> Result<Vec<Vec<i64>>> {
        Ok(self.shapes(&state.x().size()))
    }

    /// Moves the value; all else stays.
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(state.with_value(self.act_tangent(g, state, state.x())?))
    }

    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        let (rotation, scale) = self.parts(g);
        Ok(math::apply(&rotation, v) * scale)
    }

    /// Normal points, moved away from the origin.
    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let x = stream.normal(&[batch, self.dimension], (Kind::Double, options.1));
        let x = &x + &x / Self::radius(&x) * 0.5;
        Some(State::new(Field::new(x.to_kind(options.0), Moves::Point)))
    }

    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Generators {
    fn frame(&self) -> String {
        format!("algebra generators of SO({}) and log r", self.dimension)
    }

    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        self.shapes(&spec.value.shape)
    }

    /// Nothing to add; the origin is refused.
    fn lift(&self, state: State) -> Result<State> {
        let smallest = state.x().norm_scalaropt_dim(2, [-1], false).min().double_value(&[]);
        if smallest.is_nan() || smallest <= 0.0 {
            return Err(Error::Unsupported(format!(
                "a point lies at the origin, which {} does not move (norm {smallest})",
                self.name()
            )));
        }
        Ok(state)
    }

    fn flow(&self, state: &State, xi: &Xi) -> State {
        state.with_value(self.rotate(xi.factor(0), state.x()) * xi.factor(1).exp())
    }

    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        self.apply(xi.factor(0), state.x()) + state.x() * xi.factor(1)
    }

    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        let along = (state.x() * covector).sum_dim_intlist([-1].as_slice(), true, None);
        Xi(vec![self.wedge(state.x(), covector), along])
    }

    fn divergences(&self, state: &State) -> Xi {
        let shapes = self.shapes(&state.x().size());
        Xi(vec![
            Tensor::zeros(&shapes[0], state.options()),
            Tensor::full(&shapes[1], self.dimension as f64, state.options()),
        ])
    }

    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        let at = |k: usize| variance.get(k).copied().unwrap_or(0.0);
        state.x() * (at(1) - at(0) * (self.dimension - 1) as f64)
    }

    fn homogeneous(&self) -> Option<&dyn Homogeneous> {
        Some(self)
    }

    fn horizontal(&self, state: &State, xi: &Xi) -> Xi {
        if self.dimension == 2 {
            return xi.clone();
        }
        let unit = state.x() / Self::radius(state.x());
        let w = xi.factor(0);
        let level = if self.dimension == 3 {
            // u x (w x u): without the turn about the point itself.
            w - (w * &unit).sum_dim_intlist([-1].as_slice(), true, None) * unit
        } else {
            self.wedge(&unit, &self.apply(w, &unit))
        };
        Xi(vec![level, xi.factor(1).shallow_clone()])
    }

    /// A conformal map `q` of vectors takes the skew matrix `W` to `q W q^-1`; `log r` is not moved.
    fn transport(
        &self,
        symmetry: &dyn Representation,
        h: &Element,
        state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        let (w, n) = (xi.factor(0), self.dimension);
        let skew = self.matrix(w);
        let moved = if as_type::<Self>(symmetry).is_some() {
            let q = self.parts(h).0;
            q.matmul(&skew).matmul(&q.transpose(-1, -2))
        } else {
            let origin = symmetry.act(h, &state.with_value(state.x().zeros_like()))?;
            if origin.x().abs().max().double_value(&[]) > 0.0 {
                return Err(Error::Unsupported(format!(
                    "{} moves the origin, about which {} turns",
                    symmetry.name(),
                    self.name()
                )));
            }
            let q = vector_matrix(symmetry, h, state, n)?;
            // q^T q = c 1 for a conformal map.
            let gram = q.transpose(1, 2).matmul(&q);
            let scale = gram.diagonal(0, 1, 2).mean_dim([-1].as_slice(), false, None);
            let scale = scale.view([-1, 1, 1]);
            let eye = Tensor::eye(n, (q.kind(), q.device()));
            let off = ((&gram - &eye * &scale) / &scale).abs().max().double_value(&[]);
            let allowed = if q.kind() == Kind::Double { 1e-9 } else { 1e-4 };
            if off.is_nan() || off > allowed {
                return Err(Error::Unsupported(format!(
                    "{} does not keep angles, so {} cannot carry noise along",
                    symmetry.name(),
                    self.name()
                )));
            }
            let size = skew.size();
            let flat = skew.reshape([size[0], -1, n, n]);
            let (q, inverse) = (q.unsqueeze(1), (q.transpose(1, 2) / scale).unsqueeze(1));
            q.matmul(&flat).matmul(&inverse).reshape(&size)
        };
        Ok(Xi(vec![self.coefficients(&moved), xi.factor(1).shallow_clone()]))
    }
}

impl Homogeneous for Generators {
    fn spaces(&self) -> Vec<Space> {
        let sphere = match self.dimension {
            2 => Space::Circle,
            n => Space::Sphere(n - 1),
        };
        vec![sphere, Space::Flat]
    }

    /// `log r`.
    fn flat(&self, state: &State, factor: usize) -> Result<Tensor> {
        match factor {
            1 => Ok(Self::radius(state.x()).log()),
            _ => Err(Error::Unsupported(format!("factor {factor} turns points, it is not flat"))),
        }
    }

    /// `-log |S^(n-1)| - n log r` for each point: `dx = r^n d(log r) du`.
    fn log_uniform(&self, state: &State) -> Tensor {
        let area = match self.dimension {
            2 => 2.0 * PI,
            3 => 4.0 * PI,
            _ => 2.0 * PI * PI,
        };
        let each = Self::radius(state.x()).log() * -(self.dimension as f64) - area.ln();
        each.flatten(1, -1).sum_dim_intlist([1].as_slice(), false, None)
    }

    /// The rotation in the plane of both points, and the difference of `log r`. Zero rotation for
    /// antipodes of n >= 3, where no plane stands out.
    fn displacement(&self, from: &State, to: &State) -> Result<Xi> {
        let (r, s) = (Self::radius(from.x()), Self::radius(to.x()));
        let (u, v) = (from.x() / &r, to.x() / &s);
        let (plane, cos) =
            (self.wedge(&u, &v), (&u * &v).sum_dim_intlist([-1].as_slice(), true, None));
        let scale = (s / r).log();
        if self.dimension == 2 {
            return Ok(Xi(vec![plane.atan2(&cos), scale]));
        }
        let sin = plane.norm_scalaropt_dim(2, [-1], true);
        let factor = sin.atan2(&cos) / sin.clamp_min(TINY);
        // sin = 0 means factor 0 / TINY = 0 at the same point, and plane = 0 at the antipode.
        Ok(Xi(vec![plane * factor, scale]))
    }
}

/// SO(n)xR+ on R^n without the origin, by algebra generators.
#[config]
#[derive(Clone)]
pub struct GeneratorsConfig {
    /// Dimension of the vectors: 2, 3 or 4.
    #[schemars(range(min = 2, max = 4))]
    pub dimension: i64,
}

#[component(
    "generators",
    "SO(n)xR+ on R^n by algebra generators, n = 2, 3, 4",
    r#"{"type": "generators", "dimension": 3}"#
)]
impl RepresentationConfig for GeneratorsConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(Generators::new(self.dimension)?))
    }
}
