//! Two groups and an action that several rows share.

use isotropy_core::{
    Element, Error, Group, Moves, Representation, Result, State, StateSpec, Stream, Xi,
};
use tch::{Device, Kind, Tensor};

type Options = (Kind, Device);

/// Numbers under addition: translations, and in mocks angles and logarithms of radii.
#[derive(Debug)]
pub struct Additive(pub &'static str, pub Option<i64>);

impl Group for Additive {
    fn name(&self) -> String {
        self.0.into()
    }
    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        self.1.map(|dimension| vec![[lead, &[dimension]].concat()])
    }
    fn identity(&self, xi_shape: &[Vec<i64>], options: Options) -> Element {
        Element(xi_shape.iter().map(|shape| Tensor::zeros(shape, options)).collect())
    }
    fn compose(&self, a: &Element, b: &Element) -> Element {
        Element(a.0.iter().zip(&b.0).map(|(a, b)| a + b).collect())
    }
    fn inverse(&self, a: &Element) -> Element {
        Element(a.0.iter().map(|a| -a).collect())
    }
    fn sample(&self, xi_shape: &[Vec<i64>], options: Options, stream: &mut Stream) -> Element {
        Element(xi_shape.iter().map(|shape| stream.normal(shape, options)).collect())
    }
    fn law(&self) -> &'static str {
        "standard normal"
    }
    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        Xi(vec![a.single() - b.single()]).square_norm().sqrt()
    }
    fn violation(&self, a: &Element) -> Tensor {
        a.single().select(-1, 0).zeros_like()
    }
}

/// Isometries of R^n that may translate and may reflect: one factor `[B, n, n]`, or with
/// translations a second one `[B, n]`, acting as `Q x + t`.
#[derive(Debug, Clone, Copy)]
pub struct Euclid {
    pub n: i64,
    pub translate: bool,
    pub reflect: bool,
}

impl Group for Euclid {
    fn name(&self) -> String {
        let letter = if self.translate { "E" } else { "O" };
        format!("{}{letter}({})", if self.reflect { "" } else { "S" }, self.n)
    }
    fn factors(&self) -> usize {
        1 + usize::from(self.translate)
    }
    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        let mut shapes = vec![[lead, &[self.n * (self.n - 1) / 2]].concat()];
        if self.translate {
            shapes.push([lead, &[self.n]].concat());
        }
        Some(shapes)
    }
    fn identity(&self, xi_shape: &[Vec<i64>], options: Options) -> Element {
        let q = Tensor::eye(self.n, options).expand([xi_shape[0][0], self.n, self.n], false);
        let t = xi_shape.get(1).map(|shape| Tensor::zeros(shape, options));
        Element(std::iter::once(q).chain(t).collect())
    }
    fn compose(&self, a: &Element, b: &Element) -> Element {
        let q = a.0[0].matmul(&b.0[0]);
        let t = self.translate.then(|| rotate(&a.0[0], &b.0[1]) + &a.0[1]);
        Element(std::iter::once(q).chain(t).collect())
    }
    fn inverse(&self, a: &Element) -> Element {
        let q = a.0[0].transpose(-2, -1);
        let t = self.translate.then(|| -rotate(&q, &a.0[1]));
        Element(std::iter::once(q).chain(t).collect())
    }
    fn sample(&self, xi_shape: &[Vec<i64>], options: Options, stream: &mut Stream) -> Element {
        let q = random_orthogonal(xi_shape[0][0], self.n, options, stream);
        let q = if self.reflect { q } else { special(&q) };
        let t = xi_shape.get(1).map(|shape| stream.normal(shape, options));
        Element(std::iter::once(q).chain(t).collect())
    }
    fn law(&self) -> &'static str {
        "Haar on rotations, standard normal translations"
    }
    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        Xi(a.0.iter().zip(&b.0).map(|(a, b)| a - b).collect()).square_norm().sqrt()
    }
    fn violation(&self, a: &Element) -> Tensor {
        let q = &a.0[0];
        let one = Tensor::eye(self.n, (q.kind(), q.device()));
        Xi(vec![q.transpose(-2, -1).matmul(q) - one]).square_norm().sqrt()
    }
}

/// Haar on O(n): the Q of a normal matrix with the signs of R's diagonal (Mezzadri 2007).
pub fn random_orthogonal(batch: i64, n: i64, options: Options, stream: &mut Stream) -> Tensor {
    let (q, r) = Tensor::linalg_qr(&stream.normal(&[batch, n, n], options), "reduced");
    q * r.diagonal(0, -2, -1).sign().unsqueeze(-2)
}

/// Makes determinants positive by turning the first column.
pub fn special(q: &Tensor) -> Tensor {
    let sign = q.det().reshape([-1, 1, 1]);
    Tensor::cat(&[q.narrow(2, 0, 1) * sign, q.narrow(2, 1, q.size()[2] - 1)], 2)
}

/// `Q x` on the last axis of `x`, whatever lies between it and the batch.
pub fn rotate(q: &Tensor, x: &Tensor) -> Tensor {
    let (batch, n) = (x.size()[0], q.size()[1]);
    x.reshape([batch, -1, n]).matmul(&q.transpose(1, 2)).reshape(x.size())
}

/// A group of isometries acting on every field by its tag.
#[derive(Debug)]
pub struct ByTags(pub Euclid);

impl Representation for ByTags {
    fn name(&self) -> String {
        format!("{} by tags", self.0.name())
    }
    fn group(&self) -> &dyn Group {
        &self.0
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        match spec.value.shape.last() {
            Some(n) if *n == self.0.n => Ok(()),
            _ => Err(Error::Unsupported(format!("values have not {} components", self.0.n))),
        }
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        state.try_map(|name, field| {
            let x = &field.tensor;
            Ok(match field.moves {
                Moves::Fixed | Moves::Scalar => field.clone(),
                Moves::Vector => field.with(rotate(&g.0[0], x)),
                Moves::Point => {
                    let lead = vec![1; x.dim() - 2];
                    let t = g.0.get(1).map(|t| {
                        t.reshape([&[x.size()[0]], lead.as_slice(), &[self.0.n]].concat())
                    });
                    let moved = rotate(&g.0[0], x);
                    field.with(t.map_or(moved.shallow_clone(), |t| moved + t))
                }
                _ => {
                    return Err(Error::Unsupported(format!(
                        "{} cannot move '{name}'",
                        self.name()
                    )));
                }
            })
        })
    }
    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        Ok(rotate(&g.0[0], v))
    }
}
