//! The check of the stand-in itself: operations and their gradients against the CPU, calls that a
//! GPU refuses, random numbers, and what is counted. The tests called `child_` run in a process of
//! their own with the stand-in's libraries.

use crate::machine::{Cuda, cuda};
use isotropy_tests::end_to_end::{Ended, Scratch, read_json};
use std::process::Command;
use tch::{Device, IndexOp, Kind, Reduction, TchError, Tensor};

pub const DEVICE: Device = Device::Cuda(0);

type Operation = (&'static str, fn(&[Tensor]) -> Tensor);

/// Inputs: two 4x6 matrices, a positive one, images 2x4x5x5 with a kernel 6x4x3x3, three sequences
/// 2x2x7x8.
fn inputs() -> Vec<Tensor> {
    tch::manual_seed(4);
    let normal = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
    vec![
        normal(&[4, 6]),
        normal(&[4, 6]),
        normal(&[4, 6]).abs() + 0.5,
        normal(&[2, 4, 5, 5]),
        normal(&[6, 4, 3, 3]),
        normal(&[2, 2, 7, 8]),
        normal(&[2, 2, 7, 8]),
        normal(&[2, 2, 7, 8]),
    ]
}

fn rows(of: &Tensor) -> Tensor {
    Tensor::arange(3, (Kind::Int64, of.device()))
}

fn positive_definite(x: &Tensor) -> Tensor {
    x.matmul(&x.tr()) + Tensor::eye(4, (Kind::Float, x.device())) * 6.0
}

const NONE: Option<Tensor> = None;

fn operations() -> Vec<Operation> {
    vec![
        ("add", |t| &t[0] + &t[1] * 0.5),
        ("sub", |t| &t[0] - t[1].select(0, 0)),
        ("mul", |t| &t[0] * &t[1]),
        ("div", |t| &t[0] / &t[2]),
        ("pow", |t| t[2].pow_tensor_scalar(1.7)),
        ("exp", |t| t[0].exp()),
        ("log", |t| t[2].log()),
        ("log1p and expm1", |t| t[2].log1p() + t[0].expm1()),
        ("sin and cos", |t| t[0].sin() * t[1].cos()),
        ("tanh", |t| t[0].tanh()),
        ("erf", |t| t[0].erf()),
        ("sigmoid", |t| t[0].sigmoid()),
        ("silu", |t| t[0].silu()),
        ("gelu", |t| t[0].gelu("none")),
        ("relu", |t| t[0].relu()),
        ("softplus", |t| t[0].softplus()),
        ("sqrt", |t| t[2].sqrt()),
        ("abs and sign", |t| t[0].abs() * t[1].sign()),
        ("clamp", |t| t[0].clamp(-0.5, 0.7)),
        ("atan2", |t| t[0].atan2(&t[1])),
        ("hypot", |t| t[0].hypot(&t[1])),
        ("maximum", |t| t[0].maximum(&t[1])),
        ("where", |t| t[0].where_self(&t[1].gt(0.0), &t[2])),
        ("masked_fill", |t| t[0].masked_fill(&t[1].gt(0.0), 2.0)),
        ("lerp", |t| t[0].lerp(&t[1], 0.3)),
        ("addcmul", |t| t[0].addcmul(&t[1], &t[2])),
        ("remainder", |t| t[0].remainder(0.7)),
        ("sum", |t| t[0].sum_dim_intlist(1, true, None)),
        ("mean", |t| t[0].mean_dim(0, false, None)),
        ("max", |t| t[0].amax(1, false)),
        ("logsumexp", |t| t[0].logsumexp(1, false)),
        ("norm", |t| t[0].norm_scalaropt_dim(2.0, 1, false)),
        ("prod", |t| t[2].prod_dim_int(1, false, None)),
        ("var", |t| t[0].var_dim(1, true, false)),
        ("cumsum", |t| t[0].cumsum(1, None)),
        ("cumprod", |t| t[2].cumprod(1, None)),
        ("softmax", |t| t[0].softmax(1, None)),
        ("log_softmax", |t| t[0].log_softmax(1, None)),
        ("matmul", |t| t[0].matmul(&t[1].tr())),
        ("bmm", |t| t[5].matmul(&t[6].transpose(2, 3))),
        ("linear", |t| t[0].linear(&t[1], Some(t[2].select(1, 0)))),
        ("einsum", |t| Tensor::einsum("ij,kj->ik", &[&t[0], &t[1]], None::<&[i64]>)),
        ("cholesky", |t| positive_definite(&t[0]).linalg_cholesky(false)),
        ("solve_triangular", |t| {
            let root = positive_definite(&t[0]).linalg_cholesky(false);
            root.linalg_solve_triangular(&t[1], false, true, false)
        }),
        ("inverse", |t| Tensor::linalg_inv(&positive_definite(&t[0]))),
        ("cdist", |t| Tensor::cdist(&t[0], &t[1], 2.0, None)),
        ("index_select", |t| t[0].index_select(0, &rows(&t[0]))),
        ("index", |t| t[0].index(&[Some(rows(&t[0]))])),
        ("gather", |t| t[0].gather(0, &(t[1].gt(0.0).to_kind(Kind::Int64)), false)),
        ("index_add", |t| t[0].index_add(0, &rows(&t[0]), &t[1].narrow(0, 0, 3))),
        ("scatter_add", |t| t[0].scatter_add(0, &(t[1].gt(0.0).to_kind(Kind::Int64)), &t[2])),
        ("cat and stack", |t| Tensor::stack(&[Tensor::cat(&[&t[0], &t[1]], 1)], 0)),
        ("narrow and flip", |t| t[0].narrow(1, 1, 3).flip([1]) * t[1].i((.., 2..5))),
        ("roll and pad", |t| t[0].roll(2, 1).constant_pad_nd([1, 2])),
        ("transpose, expand, reshape", |t| {
            t[0].tr().unsqueeze(0).expand([3, 6, 4], true).reshape([9, 8])
        }),
        ("sort", |t| t[0].sort(1, true).0),
        ("topk", |t| t[0].topk(2, 1, true, true).0),
        ("conv2d", |t| t[3].conv2d(&t[4], NONE, [1, 1], [1, 1], [1, 1], 1)),
        ("conv2d, strides", |t| t[3].conv2d(&t[4], NONE, [2, 2], [1, 1], [1, 1], 1)),
        ("group_norm", |t| t[3].group_norm(2, NONE, NONE, 1e-5, false)),
        ("layer_norm", |t| t[0].layer_norm([6], Some(t[1].select(0, 0)), NONE, 1e-5, false)),
        ("batch_norm", |t| t[3].batch_norm(NONE, NONE, NONE, NONE, true, 0.1, 1e-5, false)),
        ("attention", |t| {
            Tensor::scaled_dot_product_attention(&t[5], &t[6], &t[7], NONE, 0.0, false, None, false)
        }),
        ("embedding", |t| Tensor::embedding(&t[0], &rows(&t[0]), -1, false, false)),
        ("nearest", |t| t[3].upsample_nearest2d([10, 10], None, None)),
        ("bilinear", |t| t[3].upsample_bilinear2d([8, 8], false, None, None)),
        ("max_pool", |t| t[3].max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)),
        ("avg_pool", |t| t[3].avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)),
        ("mse_loss", |t| t[0].mse_loss(&t[1], Reduction::Mean)),
        ("cross_entropy", |t| t[0].cross_entropy_for_logits(&t[1].argmax(1, false))),
    ]
}

/// Value and gradients of an operation on a device, on the CPU.
fn result(operation: &Operation, inputs: &[Tensor], device: Device) -> Vec<Tensor> {
    let inputs: Vec<Tensor> =
        inputs.iter().map(|t| t.to_device(device).detach().set_requires_grad(true)).collect();
    let value = operation.1(&inputs);
    assert_eq!(value.device(), device, "{}", operation.0);
    let weights = Tensor::arange(value.numel() as i64, (Kind::Float, device)).cos();
    (value.reshape([-1]) * weights).sum(Kind::Float).backward();
    let gradients = inputs.iter().map(Tensor::grad).filter(Tensor::defined);
    std::iter::once(value.detach()).chain(gradients).map(|t| t.to_device(Device::Cpu)).collect()
}

/// Opens CUDA in this process; whether it is the stand-in.
pub fn opened() -> bool {
    let state = runner::device::cuda();
    assert!(state.devices > 0, "{state:?}");
    std::env::var_os("ISOTROPY_GPU").is_none()
}

#[test]
#[ignore = "a process that another test starts"]
fn child_operations() {
    let on_stand_in = opened();
    let inputs = inputs();
    let operations = operations();
    for operation in &operations {
        let host = result(operation, &inputs, Device::Cpu);
        let device = result(operation, &inputs, DEVICE);
        assert_eq!(host.len(), device.len(), "{}: gradients", operation.0);
        for (host, device) in host.iter().zip(&device) {
            if on_stand_in {
                assert!(host.equal(device), "{}: {host} and {device}", operation.0);
            } else {
                assert!(host.allclose(device, 1e-3, 1e-4, false), "{}", operation.0);
            }
        }
    }
    println!("{} operations agree", operations.len());
}

type Call = (&'static str, fn(&Tensor, &Tensor) -> Result<Tensor, TchError>);

/// Calls with tensors of two devices, `c` on the CPU and `d` on CUDA, both 4x6.
fn mixed() -> Vec<Call> {
    vec![
        ("add", |c, d| d.f_add(c)),
        ("add, the other way", |c, d| c.f_add(d)),
        ("add_", |c, d| d.copy().f_add_(c)),
        ("mul", |c, d| d.f_mul(c)),
        ("div", |c, d| c.f_div(d)),
        ("atan2", |c, d| d.f_atan2(c)),
        ("maximum", |c, d| d.f_maximum(c)),
        ("lerp", |c, d| d.f_lerp_tensor(c, d)),
        ("where", |c, d| d.f_where_self(&c.gt(0.0), d)),
        ("masked_fill", |c, d| d.f_masked_fill_tensor(&c.gt(0.0), &d.sum(Kind::Float))),
        ("matmul", |c, d| d.f_matmul(&c.tr())),
        ("matmul with a vector", |c, d| d.f_matmul(&c.select(0, 0))),
        ("linear", |c, d| d.f_linear(c, NONE)),
        ("linear with a bias", |c, d| d.f_linear(d, Some(c.select(1, 0)))),
        ("cat", |c, d| Tensor::f_cat(&[c, d], 0)),
        ("stack", |c, d| Tensor::f_stack(&[d, c], 0)),
        ("index_select", |c, d| d.f_index_select(0, &rows(c))),
        ("gather", |c, d| d.f_gather(0, &c.gt(0.0).to_kind(Kind::Int64), false)),
        ("index_add", |c, d| d.f_index_add(0, &rows(c), &d.narrow(0, 0, 3))),
        ("scatter_add", |c, d| d.f_scatter_add(0, &d.gt(0.0).to_kind(Kind::Int64), c)),
        ("embedding", |c, d| Tensor::f_embedding(d, &rows(c), -1, false, false)),
        ("cdist", |c, d| Tensor::f_cdist(d, c, 2.0, None)),
        ("layer_norm", |c, d| d.f_layer_norm([6], Some(c.select(0, 0)), NONE, 1e-5, false)),
        ("group_norm", |c, d| d.f_group_norm(2, Some(c.select(0, 0)), NONE, 1e-5, false)),
        ("conv1d", |c, d| {
            let kernel = c.reshape([4, 3, 2]);
            d.reshape([2, 3, 4]).f_conv1d(&kernel, NONE, 1, 0, 1, 1)
        }),
        ("mse_loss", |c, d| d.f_mse_loss(c, Reduction::Mean)),
        ("nll_loss", |c, d| d.f_nll_loss(&c.argmax(1, false), NONE, Reduction::Mean, -100)),
        ("attention", |c, d| {
            let (c, d) = (c.reshape([1, 1, 4, 6]), d.reshape([1, 1, 4, 6]));
            Tensor::f_scaled_dot_product_attention(&d, &c, &d, NONE, 0.0, false, None, false)
        }),
        ("solve_triangular", |c, d| {
            let root = positive_definite(c).linalg_cholesky(false);
            root.f_linalg_solve_triangular(d, false, true, false)
        }),
    ]
}

#[test]
#[ignore = "a process that another test starts"]
fn child_refusals() {
    opened();
    let host = &inputs()[0];
    let device = host.to_device(DEVICE);
    let calls = mixed();
    for (name, call) in &calls {
        // The call itself is right: on one device it works.
        let _ = call(&device, &device).unwrap_or_else(|e| panic!("{name} on one device: {e}"));
        let error = call(host, &device).expect_err(name).to_string();
        assert!(error.contains("device"), "{name}: {error}");
    }
    // Numbers without dimensions, and rows to look up, pass.
    let number = Tensor::from(2.0f32);
    assert_eq!((&device * &number).device(), DEVICE);
    assert_eq!(device.index(&[Some(rows(host))]).device(), DEVICE);
    println!("{} calls are refused", calls.len());
}

#[test]
#[ignore = "a process that another test starts"]
fn child_memory_and_numbers() {
    let on_stand_in = opened();
    let draw = |device| {
        tch::manual_seed(7);
        Tensor::randn([64], (Kind::Float, device)).to_device(Device::Cpu)
    };
    assert!(draw(DEVICE).equal(&draw(DEVICE)), "a seed gives the same numbers again");
    if on_stand_in {
        let own = std::env::var_os("ISOTROPY_CUDA_STAND_IN_OWN_GENERATOR").is_some();
        assert_eq!(draw(DEVICE).equal(&draw(Device::Cpu)), !own);
        let memory = Tensor::empty([100], (Kind::Float, DEVICE)).to_device(Device::Cpu);
        assert!(bool::try_from(memory.isnan().all()).unwrap(), "new memory is not a number");
    }
}

#[test]
#[ignore = "a process that another test starts"]
fn child_counted() {
    opened();
    let x = Tensor::ones([3, 3], (Kind::Float, DEVICE)); // 1 launch
    let y = &x + &x; // 1 launch
    let _ = y.tr().narrow(0, 0, 2).reshape([6]).unsqueeze(0).shallow_clone(); // 1: a copy
    let _ = y.sum(Kind::Float).double_value(&[]); // 1 launch, 1 wait
    let _ = y.nonzero(); // 1 launch, 1 wait
    let _ = y.to_device(Device::Cpu); // 1 wait
    let host = Tensor::ones([3], (Kind::Float, Device::Cpu));
    let _ = host.to_device(DEVICE); // 1 upload
    let _ = host.pin_memory(DEVICE).to_device_(DEVICE, Kind::Float, true, false); // none that waits
    let _ = host.to_device_(DEVICE, Kind::Float, true, false); // 1 upload: the memory is not pinned
}

/// Runs a test called `child_` in a process of its own.
pub fn child(cuda: &Cuda, name: &str, variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", name]);
    command.envs(variables.iter().copied());
    cuda.give_to(&mut command);
    let ended = Ended::from(command.output().unwrap()).with_code(0);
    assert!(ended.stdout.contains("1 passed"), "{}", ended.stdout);
    ended
}

#[test]
fn operations_and_their_gradients_are_those_of_the_cpu() {
    let Some(cuda) = cuda("operations on CUDA") else { return };
    let ended = child(&cuda, "operations::child_operations", &[]);
    assert!(ended.stdout.contains("70 operations agree"), "{}", ended.stdout);
}

#[test]
fn tensors_of_two_devices_are_refused() {
    let Some(cuda) = cuda("refusals of CUDA") else { return };
    let ended = child(&cuda, "operations::child_refusals", &[]);
    assert!(ended.stdout.contains("29 calls are refused"), "{}", ended.stdout);
}

#[test]
fn new_memory_is_not_a_number_and_the_generator_is_as_asked() {
    let Some(cuda) = cuda("memory and random numbers of CUDA") else { return };
    child(&cuda, "operations::child_memory_and_numbers", &[]);
    let own = [("ISOTROPY_CUDA_STAND_IN_OWN_GENERATOR", "1")];
    child(&cuda, "operations::child_memory_and_numbers", &own);
}

#[test]
fn operations_waits_and_uploads_are_counted() {
    let Some(cuda) = cuda("counts of the stand-in") else { return };
    if cuda == Cuda::Gpu {
        println!("SKIPPED: a GPU does not count");
        return;
    }
    let scratch = Scratch::new("cuda-counted");
    let file = scratch.join("counts.json");
    let path = file.to_str().unwrap();
    child(&cuda, "operations::child_counted", &[("ISOTROPY_CUDA_STAND_IN_COUNTS", path)]);
    let counts = read_json(&file);
    let found = ["launches", "waits", "uploads", "quiet_uploads"].map(|what| counts[what].clone());
    assert_eq!(found, [5, 3, 2, 1].map(serde_json::Value::from), "{counts}");
}
