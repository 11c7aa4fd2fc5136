//! Checks of covariance kernels: symmetry, positive definiteness, the declared invariance, kinds,
//! gradients.

use super::CheckResult;
use super::measure::{Found, Table, broken, cpu, largest, relative, worse};
use isotropy_core::{CovarianceKernel, Gram, Invariance, Result, Scale, Stream, Streams};
use tch::{Kind, Tensor};

/// Points in each list.
const POINTS: i64 = 7;

/// Checks a kernel on points of 1, 2 and 3 coordinates, as many as it accepts.
pub fn check_covariance(kernel: &dyn CovarianceKernel, streams: &Streams) -> Vec<CheckResult> {
    let mut table = Table::default();
    let accepted: Vec<i64> = (1..=3).filter(|p| kernel.accepts(*p).is_ok()).collect();
    if accepted.is_empty() {
        let why = "it accepts points of neither 1, 2 nor 3 coordinates";
        table.results.push(CheckResult::fail("points", why));
        return table.results;
    }
    for p in accepted {
        let subject = Subject { kernel, streams, p };
        let label = format!("p = {p}");
        table.check_in("shapes are point-major", &label, || subject.shapes());
        table.check_in("cross-covariance is symmetric", &label, || subject.symmetric());
        table.check_in("Gram matrix is the cross-covariance and noise", &label, || subject.gram());
        table.check_in("Gram matrix is positive definite", &label, || subject.definite());
        table.check_in("a batch is its rows", &label, || subject.batch());
        table.check_in("declared invariance", &label, || subject.invariance());
        table.check_in("f32 agrees with f64", &label, || subject.kinds());
        table.check_in("gradients are finite at coincident points", &label, || subject.gradients());
        table.check_in("derivatives by hyperparameters", &label, || subject.derivatives());
    }
    table.results
}

struct Subject<'a> {
    kernel: &'a dyn CovarianceKernel,
    streams: &'a Streams,
    p: i64,
}

impl Subject<'_> {
    fn stream(&self, name: &str) -> Stream {
        self.streams.stream(&format!("check kernel/{name}"), self.p as u64)
    }

    /// Two lists of points that lie close together and have one point in common.
    fn points(&self) -> (Tensor, Tensor) {
        let mut stream = self.stream("points");
        let mut draw = |n: i64| stream.normal(&[n, self.p], cpu(Kind::Double)) * 0.7;
        let (a, b) = (draw(POINTS), draw(POINTS - 3));
        let b = Tensor::cat(&[b, a.narrow(0, 2, 1)], 0);
        (a, b)
    }

    fn dimension(&self) -> i64 {
        self.kernel.outputs(self.p).unwrap_or(1)
    }

    fn shapes(&self) -> Result<Found> {
        let (a, b) = self.points();
        let (cross, gram) = (self.kernel.cross(&a, &b), self.kernel.gram(&a));
        let d = self.dimension();
        for (found, columns) in [(&cross, b.size()[0]), (&gram, POINTS)] {
            if found.outputs() != self.kernel.outputs(self.p) {
                return broken(format!(
                    "it declares {:?} outputs, a result has {:?}",
                    self.kernel.outputs(self.p),
                    found.outputs()
                ));
            }
            let (size, expected) = (found.tensor().size(), [POINTS * d, columns * d]);
            if size != expected {
                return broken(format!("a result has shape {size:?} instead of {expected:?}"));
            }
            if largest(found.tensor()).is_nan() {
                return broken("a covariance is NaN");
            }
        }
        Ok(Found::Error(0.0, 0.0))
    }

    fn symmetric(&self) -> Result<Found> {
        let (a, b) = self.points();
        let (ab, ba) = (self.kernel.cross(&a, &b), self.kernel.cross(&b, &a));
        Ok(Found::Error(relative(ab.tensor(), &ba.tensor().transpose(-2, -1)), 1e-14))
    }

    /// Up to noise of each entry of a list: the same non-negative number along the diagonal. A kernel
    /// that says it is white is nothing else.
    fn gram(&self) -> Result<Found> {
        let (a, _) = self.points();
        let (gram, cross) = (self.kernel.gram(&a), self.kernel.cross(&a, &a));
        let noise = gram.tensor() - cross.tensor();
        let one = Tensor::eye(noise.size()[0], options(&a));
        let each = noise.diagonal(0, 0, 1).mean(Kind::Double).double_value(&[]);
        let mut error = largest(&(noise - &one * each)) / (1.0 + largest(gram.tensor()));
        error = worse(error, -each);
        if let Some(v) = self.kernel.white() {
            error = worse(error, relative(gram.tensor(), &(one * v)));
        }
        Ok(Found::Error(error, 1e-14))
    }

    /// Of points near and far, up to rounding: the smallest eigenvalue against the largest.
    fn definite(&self) -> Result<Found> {
        let mut stream = self.stream("definite");
        let mut error: f64 = 0.0;
        for spread in [0.1, 1.0, 10.0] {
            let points = stream.normal(&[12, self.p], cpu(Kind::Double)) * spread;
            let values = self.kernel.gram(&points).tensor().linalg_eigvalsh("L");
            let (low, high) = (values.min().double_value(&[]), values.max().double_value(&[]));
            if high <= 0.0 {
                return broken(format!("the largest eigenvalue is {high:e}"));
            }
            error = worse(error, -low / high);
        }
        Ok(Found::Error(error, 1e-12))
    }

    fn batch(&self) -> Result<Found> {
        let (a, b) = self.points();
        let batch = Tensor::stack(&[&a, &(&a * 0.5)], 0);
        let all = self.kernel.cross(&batch, &b);
        let mut error = 0.0;
        for row in 0..2 {
            let one = self.kernel.cross(&batch.get(row), &b);
            error = worse(error, relative(&all.tensor().get(row), one.tensor()));
            let (all, one) = (self.kernel.gram(&batch), self.kernel.gram(&batch.get(row)));
            error = worse(error, relative(&all.tensor().get(row), one.tensor()));
        }
        Ok(Found::Error(error, 1e-14))
    }

    /// `k(g x, g x') = rho(h) k(x, x') rho(h)^T`, with a reflection among the isometries.
    fn invariance(&self) -> Result<Found> {
        let declared = self.kernel.invariance();
        if declared == Invariance::Nothing {
            return Ok(Found::Skip("it declares none".into()));
        }
        let (a, b) = self.points();
        let mut stream = self.stream("motion");
        let shift = stream.normal(&[self.p], options(&a)) * 2.0;
        let motions = match declared {
            Invariance::Isometries => {
                let matrix = stream.normal(&[self.p, self.p], options(&a));
                let (rotation, _) = Tensor::linalg_qr(&matrix, "reduced");
                // Q from QR has either sign of determinant: with its mirror image both are tried.
                let mirror = Tensor::eye(self.p, options(&a));
                let _ = mirror.narrow(0, 0, 1).neg_();
                vec![rotation.matmul(&mirror), rotation]
            }
            _ => vec![Tensor::eye(self.p, options(&a))],
        };
        let mut error = 0.0;
        for h in motions {
            let moved = |x: &Tensor| x.matmul(&h.transpose(0, 1)) + &shift;
            let (here, there) = (self.kernel.gram(&a), self.kernel.gram(&moved(&a)));
            error = worse(error, relative(there.tensor(), &turned(&here, &h)));
            // The point that both lists share is moved twice, to numbers that may differ in the last
            // digit; noise that asks for equality would tell them apart.
            let b = b.narrow(0, 0, b.size()[0] - 1);
            let (here, there) =
                (self.kernel.cross(&a, &b), self.kernel.cross(&moved(&a), &moved(&b)));
            error = worse(error, relative(there.tensor(), &turned(&here, &h)));
        }
        Ok(Found::Error(error, 1e-11))
    }

    fn kinds(&self) -> Result<Found> {
        let (a, b) = self.points();
        // Rounded first, so that both kinds see the same numbers.
        let (a, b) = (a.to_kind(Kind::Float), b.to_kind(Kind::Float));
        let single = self.kernel.cross(&a, &b);
        if single.tensor().kind() != Kind::Float {
            return broken(format!("f32 points give {:?}", single.tensor().kind()));
        }
        let double = self.kernel.cross(&a.to_kind(Kind::Double), &b.to_kind(Kind::Double));
        Ok(Found::Error(relative(single.tensor(), double.tensor()), 2e-5))
    }

    /// By the points and by the hyperparameters, in both kinds.
    fn gradients(&self) -> Result<Found> {
        for kind in [Kind::Double, Kind::Float] {
            let (a, _) = self.points();
            let a = Tensor::cat(&[&a, &a.narrow(0, 0, 2)], 0).to_kind(kind);
            let a = a.detach().set_requires_grad(true);
            let values = self.tensors(kind);
            let scales: Vec<Scale> =
                values.iter().map(|v| Scale::Each(v.shallow_clone())).collect();
            let gram = self.kernel.gram_at(&scales, &a);
            let weights = self.stream("weights").normal(&gram.tensor().size(), cpu(kind));
            let loss = (gram.tensor() * weights).sum(kind);
            if !loss.requires_grad() {
                return Ok(Found::Skip("neither points nor numbers take part".into()));
            }
            loss.backward();
            for tensor in values.iter().chain([&a]) {
                let gradient = tensor.grad();
                if gradient.defined() && gradient.isfinite().all().int64_value(&[]) == 0 {
                    return broken(format!("a gradient is not finite ({kind:?})"));
                }
            }
        }
        Ok(Found::Error(0.0, 0.0))
    }

    /// The hyperparameters as leaves that ask for gradients.
    fn tensors(&self, kind: Kind) -> Vec<Tensor> {
        let numbers = self.kernel.hyperparameters();
        let leaf = |value: f64| Tensor::full([], value, cpu(kind)).set_requires_grad(true);
        numbers.iter().map(|h| leaf(h.value)).collect()
    }

    /// Central differences of a random linear functional of the covariances.
    fn derivatives(&self) -> Result<Found> {
        let numbers = self.kernel.hyperparameters();
        if numbers.is_empty() {
            return Ok(Found::Skip("it has no hyperparameters".into()));
        }
        if let Some(bad) = numbers.iter().find(|h| !(h.value > 0.0 && h.value.is_finite())) {
            return broken(format!("{} = {} is not positive", bad.pointer, bad.value));
        }
        let (a, b) = self.points();
        let mut stream = self.stream("weights");
        let mut like = |gram: Gram| stream.normal(&gram.tensor().size(), cpu(Kind::Double));
        let (of_cross, of_gram) = (like(self.kernel.cross(&a, &b)), like(self.kernel.gram(&a)));
        let value = |values: &[Scale]| {
            let (cross, gram) =
                (self.kernel.cross_at(values, &a, &b), self.kernel.gram_at(values, &a));
            (cross.tensor() * &of_cross).sum(Kind::Double)
                + (gram.tensor() * &of_gram).sum(Kind::Double)
        };
        let leaves = self.tensors(Kind::Double);
        let scales: Vec<Scale> = leaves.iter().map(|v| Scale::Each(v.shallow_clone())).collect();
        let at_leaves = value(&scales);
        if !at_leaves.requires_grad() {
            return broken("the hyperparameters do not take part in the covariance");
        }
        at_leaves.backward();
        let plain = value(&self.kernel.values());
        let mut error = relative(&at_leaves.detach(), &plain);
        for (k, number) in numbers.iter().enumerate() {
            let step = 1e-5 * number.value;
            let moved = |by: f64| {
                let mut values = self.kernel.values();
                values[k] = Scale::Same(number.value + by);
                value(&values).double_value(&[])
            };
            let expected = (moved(step) - moved(-step)) / (2.0 * step);
            let gradient = leaves[k].grad();
            let found = if gradient.defined() { gradient.double_value(&[]) } else { 0.0 };
            error = worse(error, (found - expected).abs() / (1.0 + expected.abs()));
        }
        Ok(Found::Error(error, 1e-7))
    }
}

fn options(a: &Tensor) -> (Kind, tch::Device) {
    (a.kind(), a.device())
}

/// `(I kron h) k (I kron h)^T` for matrix-valued covariances; scalar ones stay.
fn turned(gram: &Gram, h: &Tensor) -> Tensor {
    match gram {
        Gram::Scalar(matrix) => matrix.shallow_clone(),
        Gram::Matrix { matrix, outputs } => {
            let size = matrix.size();
            let over = |n: i64| Tensor::eye(n / outputs, options(h)).kron(&h.contiguous());
            over(size[0]).matmul(matrix).matmul(&over(size[1]).transpose(0, 1))
        }
    }
}
