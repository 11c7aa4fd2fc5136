//! Networks on fields (embeddings, first weights, attention, tensor-field networks) and on images
//! (kernels with a symmetry, U-Nets).

#![allow(clippy::unwrap_used)]

mod attention;
mod egnn;
mod embedding;
mod kernels;
mod neighbours;
mod tensor_field;
mod unet;

use isotropy_diffusion as _;
use isotropy_groups as _;
use tch::{Device, Kind, Tensor, nn::VarStore};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

/// A network in double precision with weights drawn from a seed; one thread, since tests run side by side.
fn network<T>(seed: u64, build: impl FnOnce(&tch::nn::Path) -> T) -> (VarStore, T) {
    tch::set_num_threads(1);
    let mut store = VarStore::new(Device::Cpu);
    let built = isotropy_core::Streams::new(seed).scope("weights", 0, || build(&store.root()));
    store.double();
    (store, built)
}

/// Fills every variable with normal numbers of that standard deviation: last layers that start at zero show nothing.
fn disturb(store: &VarStore, std: f64) {
    let mut stream = isotropy_core::Streams::new(9).stream("disturb", 0);
    let mut variables: Vec<_> = store.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (_, mut variable) in variables {
        let noise = stream.normal(&variable.size(), F64) * std;
        tch::no_grad(|| variable.copy_(&noise));
    }
}

fn parameters(store: &VarStore) -> usize {
    store.trainable_variables().iter().map(Tensor::numel).sum()
}

fn normal(name: &str, shape: &[i64]) -> Tensor {
    isotropy_core::Streams::new(3).stream(name, 0).normal(shape, F64)
}

#[track_caller]
fn assert_close(what: &str, a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.size(), b.size(), "{what}");
    let error = (a - b).abs().max().double_value(&[]);
    let size = b.abs().max().double_value(&[]).max(1e-30);
    assert!(error / size <= tolerance, "{what}: {error:e} of {size:e}");
}
