//! Kernels: the suite and what it catches, formulas by other routes, bad input.

use crate::support::{F64, number, random, streams};
use isotropy_conformance::Status;
use isotropy_conformance::covariance::check_covariance;
use isotropy_core::{
    CovarianceKernel, CovarianceKernelConfig, Error, Gram, Hyperparameter, Invariance, Result,
    Scale, registry,
};
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Kind, Tensor};

pub fn kernel(json: Value) -> Arc<dyn CovarianceKernel> {
    build(json).unwrap()
}

fn build(json: Value) -> Result<Arc<dyn CovarianceKernel>> {
    tch::set_num_threads(1);
    serde_json::from_value::<Box<dyn CovarianceKernelConfig>>(json).unwrap().build()
}

fn largest(a: &Tensor) -> f64 {
    number(&a.abs().max())
}

fn failures(kernel: &dyn CovarianceKernel) -> Vec<String> {
    let results = check_covariance(kernel, &streams());
    assert!(results.len() > 8);
    let failed = results.into_iter().filter(|r| r.status == Status::Fail);
    failed.map(|r| format!("{}: {}", r.check, r.why)).collect()
}

#[test]
fn all_kernels_and_combinations_pass_the_suite() {
    tch::set_num_threads(1);
    let mut all: Vec<Value> = registry::catalogue()
        .unwrap()
        .iter()
        .filter(|c| c.kind == "kernel")
        .map(|c| serde_json::from_str(c.example).unwrap())
        .collect();
    assert!(all.len() >= 12, "{}", all.len());
    let curl = json!({"type": "curl-free", "lengthscale": 1.3});
    let white = json!({"type": "white", "variance": 0.3});
    all.extend([
        json!({"type": "matern", "smoothness": "1/2", "lengthscale": 0.7}),
        json!({"type": "matern", "smoothness": "3/2", "lengthscale": 0.7}),
        json!({"type": "white", "repeats": "shared", "variance": 0.3}),
        json!({"type": "noisy", "kernel": curl, "variance": 2.0}),
        json!({"type": "sum", "kernels": [curl, {"type": "divergence-free"}, white]}),
        json!({"type": "sum", "kernels": [white, {"type": "scale", "factor": 2.0, "kernel": white}]}),
        json!({"type": "noisy", "kernel": white}),
        json!({"type": "product", "kernels": [{"type": "rbf"}, curl, {"type": "constant"}]}),
    ]);
    for json in all {
        let failed = failures(kernel(json.clone()).as_ref());
        assert!(failed.is_empty(), "{json}: {failed:#?}");
    }
}

#[derive(Debug, Clone, Copy)]
enum Mistake {
    /// `k(x, x')` depends on the order.
    OneSided,
    /// `exp(-r^4)`: no covariance.
    Indefinite,
    /// One axis counts twice.
    Anisotropic,
    /// The variance grows with the place.
    NotStationary,
    /// `v (1 + u u^T) exp(-|u|^2 / 2)` with one entry of the other sign: moves with no rotation.
    EntrySign,
    /// The root of the squared distance as it is.
    RootAtZero,
    /// Computed in single precision.
    Single,
    /// The derivative by the lengthscale is cut off.
    Detached,
    /// The Gram matrix has another off-diagonal than the cross-covariance.
    OtherGram,
    /// Component-major.
    ComponentMajor,
    /// The first row of the batch for all.
    FirstRow,
}

#[derive(Debug)]
struct Wrong(Mistake);

impl CovarianceKernel for Wrong {
    fn name(&self) -> String {
        format!("{:?}", self.0)
    }
    fn outputs(&self, p: i64) -> Option<i64> {
        matches!(self.0, Mistake::EntrySign | Mistake::ComponentMajor).then_some(p)
    }
    fn invariance(&self) -> Invariance {
        Invariance::Isometries
    }
    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        vec![Hyperparameter::new("lengthscale", 0.8)]
    }
    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        let difference = values[0].divide(&(a.unsqueeze(-2) - b.unsqueeze(-3)));
        let square = difference.square().sum_dim_intlist(-1, false, a.kind());
        let first = difference.select(-1, 0);
        let rbf = (&square * -0.5).exp();
        let matrix = match self.0 {
            Mistake::OneSided => rbf + first * 0.01,
            Mistake::Indefinite => square.square().neg().exp(),
            Mistake::Anisotropic => ((&square + first.square()) * -0.5).exp(),
            Mistake::NotStationary => {
                let (x, y) = (a.select(-1, 0).unsqueeze(-1), b.select(-1, 0).unsqueeze(-2));
                rbf * (x.sin() + 2.0) * (y.sin() + 2.0)
            }
            Mistake::RootAtZero => square.sqrt().neg().exp(),
            Mistake::Single => rbf.to_kind(Kind::Float).to_kind(a.kind()),
            Mistake::Detached => rbf.detach() + &square * 0.0,
            Mistake::OtherGram => rbf,
            Mistake::FirstRow if rbf.dim() == 3 => rbf.narrow(0, 0, 1).expand_as(&rbf),
            Mistake::FirstRow => rbf,
            Mistake::EntrySign | Mistake::ComponentMajor => {
                let p = a.size()[a.dim() - 1];
                let outer = difference.unsqueeze(-1) * difference.unsqueeze(-2);
                let one = Tensor::eye(p, (a.kind(), a.device()));
                let sign = if p > 1 && matches!(self.0, Mistake::EntrySign) { 1.0 } else { -1.0 };
                let off = &outer * (&one * (-1.0 - sign) + sign);
                let block = (off + one) * rbf.unsqueeze(-1).unsqueeze(-1);
                let size = block.size();
                let lead = &size[..size.len() - 4];
                let (n, m) = (size[size.len() - 4], size[size.len() - 3]);
                let entry = match self.0 {
                    Mistake::ComponentMajor => block.transpose(-4, -2).transpose(-3, -1),
                    _ => block,
                };
                let matrix = entry.transpose(-3, -2).reshape([lead, &[n * p, m * p]].concat());
                return Gram::Matrix { matrix, outputs: p };
            }
        };
        Gram::Scalar(matrix)
    }
    fn gram_at(&self, values: &[Scale], a: &Tensor) -> Gram {
        let gram = self.cross_at(values, a, a);
        match self.0 {
            Mistake::OtherGram => gram.map(|k| k * 0.9 + 0.1),
            _ => gram,
        }
    }
}

#[test]
fn wrong_kernels_fail_the_check_named_for_them() {
    tch::set_num_threads(1);
    let table = [
        (Mistake::OneSided, "cross-covariance is symmetric"),
        (Mistake::Indefinite, "Gram matrix is positive definite"),
        (Mistake::Anisotropic, "declared invariance"),
        (Mistake::NotStationary, "declared invariance"),
        (Mistake::EntrySign, "declared invariance"),
        (Mistake::ComponentMajor, "declared invariance"),
        (Mistake::RootAtZero, "gradients are finite at coincident points"),
        (Mistake::Single, "cross-covariance is symmetric"),
        (Mistake::Detached, "derivatives by hyperparameters"),
        (Mistake::OtherGram, "Gram matrix is the cross-covariance and noise"),
        (Mistake::FirstRow, "a batch is its rows"),
    ];
    for (mistake, check) in table {
        let failed = failures(&Wrong(mistake));
        // Rounding to single precision shows in the derivative.
        let check = if matches!(mistake, Mistake::Single) { "derivatives by" } else { check };
        assert!(failed.iter().any(|f| f.starts_with(check)), "{mistake:?}: {failed:#?}");
    }
}

/// `k(r) = integral of S(w) cos(w r) dw / (2 pi)` with the spectral density of each Matern kernel of one coordinate,
/// `S(w) ~ (2 nu / l^2 + w^2)^-(nu + 1/2)` (Rasmussen and Williams 2006, equation 4.15).
#[test]
fn matern_kernels_have_their_spectral_density() {
    let l = 0.7;
    let w = Tensor::arange_start_step(-3000.0, 3000.0, 0.01, F64) + 0.005;
    let x = Tensor::from_slice(&[0.0, 0.2, 0.9, 2.0]).view([4, 1]);
    for (name, nu) in [("1/2", 0.5), ("3/2", 1.5), ("5/2", 2.5)] {
        let density = (w.square() + 2.0 * nu / (l * l)).pow_tensor_scalar(-(nu + 0.5));
        let weights = &density / density.sum(Kind::Double);
        let waves = (&w * &x).cos();
        let expected = (waves * weights).sum_dim_intlist(1, false, Kind::Double) * 1.3;
        let json = json!({"type": "matern", "smoothness": name, "lengthscale": l, "variance": 1.3});
        let found = kernel(json).cross(&x, &Tensor::zeros([1, 1], F64));
        let error = largest(&(found.tensor().squeeze_dim(1) - expected));
        // The tail that the integral leaves out is 1e-4 for nu = 1/2.
        let allowed = if nu < 1.0 { 5e-4 } else { 1e-7 };
        assert!(error < allowed, "{name}: {error:e}");
    }
}

/// Second derivatives of `exp(-|x|^2 / (2 l^2))` by autodiff: `-l^2 grad grad^T` and `l^2 (grad grad^T - 1 laplace)`.
#[test]
fn vector_kernels_are_second_derivatives() {
    for p in [2, 3] {
        let (l, v) = (1.4, 0.6);
        let x = random("vector", &[p]).set_requires_grad(true);
        let phi = (x.square().sum(Kind::Double) * (-0.5 / (l * l))).exp();
        let gradient = Tensor::run_backward(&[phi], &[&x], true, true).remove(0);
        let rows: Vec<Tensor> = (0..p)
            .map(|k| Tensor::run_backward(&[gradient.get(k)], &[&x], true, false).remove(0))
            .collect();
        let hessian = Tensor::stack(&rows, 0);
        let one = Tensor::eye(p, F64);
        let curl = &hessian * (-l * l * v);
        let divergence = (&hessian - one * hessian.trace()) * (l * l * v);
        for (name, expected) in [("curl-free", curl), ("divergence-free", divergence)] {
            let kernel = kernel(json!({"type": name, "lengthscale": l, "variance": v}));
            let point = x.detach().view([1, p]);
            let found = kernel.cross(&point, &point.zeros_like());
            assert!(largest(&(found.tensor() - expected)) < 1e-13, "{name} in {p} dimensions");
        }
    }
}

/// The field `sum_m k(x, x_m) c_m` has no divergence, or a symmetric derivative.
#[test]
fn combinations_of_vector_kernels_have_neither_divergence_nor_curl() {
    for p in [2, 3] {
        for name in ["curl-free", "divergence-free"] {
            let kernel = kernel(json!({"type": name, "lengthscale": 1.1}));
            let (nodes, weights) = (random("nodes", &[5, p]), random("weights", &[5 * p, 1]));
            let x = random("here", &[1, p]).set_requires_grad(true);
            let field = kernel.cross(&x, &nodes).tensor().matmul(&weights).view([p]);
            let rows: Vec<Tensor> = (0..p)
                .map(|k| Tensor::run_backward(&[field.get(k)], &[&x], true, false).remove(0))
                .collect();
            let jacobian = Tensor::cat(&rows, 0);
            let error = match name {
                "curl-free" => largest(&(&jacobian - jacobian.transpose(0, 1))),
                _ => number(&jacobian.trace().abs()),
            };
            assert!(error < 1e-13, "{name} in {p} dimensions: {error:e}");
            assert!(largest(&jacobian) > 0.1);
        }
    }
}

#[test]
fn periodic_kernels_repeat_and_the_weakly_periodic_one_is_a_product() {
    let (a, b) = (random("a", &[4, 2]), random("b", &[3, 2]));
    let json = json!({"type": "periodic", "lengthscale": 0.6, "period": 0.7, "variance": 1.2});
    let periodic = kernel(json.clone());
    let here = periodic.cross(&a, &b);
    let there = periodic.cross(&(&a + Tensor::from_slice(&[0.7, -1.4])), &b);
    assert!(largest(&(here.tensor() - there.tensor())) < 1e-13);
    // exp(-(1/2) sin^2(pi / 2 / 1) / l^2) at half a period in one coordinate.
    let half = periodic.cross(&(&b + Tensor::from_slice(&[0.35, 0.0])), &b);
    let expected = 1.2 * (-0.5 / 0.36f64).exp();
    assert!(largest(&(half.tensor().diagonal(0, 0, 1) - expected)) < 1e-13);
    let weak = kernel(json!({"type": "weakly-periodic", "rbf_lengthscale": 0.9,
        "periodic_lengthscale": 0.6, "period": 0.7, "variance": 1.2}));
    let product =
        kernel(json!({"type": "product", "kernels": [{"type": "rbf", "lengthscale": 0.9}, json]}));
    let error = weak.cross(&a, &b).tensor() - product.cross(&a, &b).tensor();
    assert!(largest(&error) < 1e-14);
}

#[test]
fn white_noise_is_shared_by_repeated_points_only_where_asked() {
    let x = Tensor::from_slice(&[0.1, 0.2, 0.1]).view([3, 1]);
    let other = Tensor::from_slice(&[0.1, 0.3]).view([2, 1]);
    let of = |repeats: &str| kernel(json!({"type": "white", "variance": 0.5, "repeats": repeats}));
    let (shared, independent) = (of("shared"), of("independent"));
    assert_eq!((shared.white(), independent.white()), (None, Some(0.5)));
    assert_eq!(number(&shared.gram(&x).tensor().sum(Kind::Double)), 2.5);
    assert_eq!(number(&independent.gram(&x).tensor().sum(Kind::Double)), 1.5);
    assert_eq!(number(&shared.cross(&x, &other).tensor().sum(Kind::Double)), 1.0);
    assert_eq!(number(&independent.cross(&x, &other).tensor().sum(Kind::Double)), 0.0);
    let noisy = kernel(json!({"type": "noisy", "kernel": {"type": "rbf"}, "variance": 2.0}));
    assert!(largest(&(noisy.gram(&x).tensor().diagonal(0, 0, 1) - 2.0)) < 1e-15);
    let smooth = noisy.cross(&x, &x);
    assert!(largest(&(smooth.tensor().diagonal(0, 0, 1) - 1.9)) < 1e-15);
    let sum =
        json!({"type": "sum", "kernels": [{"type": "white"}, {"type": "white", "variance": 2.0}]});
    let white = kernel(json!({"type": "scale", "factor": 0.5, "kernel": sum}));
    assert_eq!(white.white(), Some(1.5));
    assert_eq!(kernel(json!({"type": "noisy", "kernel": {"type": "rbf"}})).white(), None);
}

#[test]
fn hyperparameters_are_named_by_their_place_in_json() {
    let json = json!({"type": "sum", "kernels": [
        {"type": "noisy", "variance": 3.0, "kernel": {"type": "periodic", "period": 0.5}},
        {"type": "scale", "factor": 0.2, "kernel": {"type": "product", "kernels": [{"type": "constant"}]}},
    ]});
    let config: Box<dyn CovarianceKernelConfig> = serde_json::from_value(json).unwrap();
    let written = serde_json::to_value(&config).unwrap();
    let numbers = config.build().unwrap().hyperparameters();
    assert_eq!(numbers.len(), 6);
    for number in numbers {
        let found = written.pointer(&number.pointer).and_then(Value::as_f64);
        assert_eq!(found, Some(number.value), "{}", number.pointer);
    }
}

#[track_caller]
fn refused(json: Value, pointer: &str, words: &str) {
    match build(json.clone()) {
        Err(Error::Config { message, pointer: found, .. }) => {
            assert_eq!(found, pointer, "{message}");
            assert!(message.contains(words), "{message}");
        }
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn bad_numbers_and_combinations_are_refused_where_they_stand() {
    for (name, key) in [
        ("rbf", "lengthscale"),
        ("matern", "variance"),
        ("periodic", "period"),
        ("weakly-periodic", "rbf_lengthscale"),
        ("white", "variance"),
        ("constant", "variance"),
        ("curl-free", "lengthscale"),
        ("divergence-free", "variance"),
    ] {
        for bad in [0.0, -1.0] {
            let mut json = json!({"type": name});
            json[key] = bad.into();
            refused(json, &format!("/{key}"), "must be positive");
        }
    }
    refused(json!({"type": "sum", "kernels": []}), "/kernels", "at least one");
    let deep = json!({"type": "sum", "kernels": [{"type": "rbf"},
        {"type": "scale", "factor": 1.0, "kernel": {"type": "rbf", "lengthscale": -2.0}}]});
    refused(deep, "/kernels/1/kernel/lengthscale", "-2");
    let both = json!([{"type": "curl-free"}, {"type": "divergence-free"}]);
    refused(json!({"type": "product", "kernels": both}), "/kernels", "at most one");
    let noisy = json!({"type": "noisy", "kernel": {"type": "rbf"}, "fraction": 1.0});
    refused(noisy, "/fraction", "between 0 and 1");
    let plane = kernel(json!({"type": "divergence-free"}));
    assert!(plane.accepts(1).is_err() && plane.accepts(2).is_ok());
}
