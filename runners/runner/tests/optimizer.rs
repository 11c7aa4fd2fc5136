//! Flat parameters, optimizers and averages against torch's definitions.

use std::collections::BTreeMap;
use std::time::Instant;

use runner::train::ema::Ema;
use runner::train::flat::{FlatError, FlatParameters};
use runner::train::optimizer::{Optimizer, OptimizerConfig, clip_by_norm, gradient_norm};
use tch::nn::{self, Module, ModuleT};
use tch::{Device, Kind, Tensor};

const RADAM: OptimizerConfig = OptimizerConfig::Radam {
    learning_rate: 0.01,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.0,
};
const ADAM: OptimizerConfig =
    OptimizerConfig::Adam { learning_rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

#[rustfmt::skip]
const GRADIENTS: [f64; 24] = [
    1.288, 1.449, 0.066,
    -0.765, -1.092, 0.031,
    -1.022, -1.437, 0.199,
    0.133, 0.546, -0.914,
    0.005, -0.065, -1.506,
    0.538, 0.321, 2.389,
    0.203, -0.145, 1.233,
    0.199, 0.909, -0.366,
];
const TORCH_ADAM: [f64; 3] = [0.9737960567458626, -2.0122924822791037, 0.4323296948541376];
const TORCH_ADAMW: [f64; 3] = [0.9505181413726899, -1.9644511860324603, 0.42162250115867395];
const TORCH_RADAM: [f64; 3] = [0.955446323670063, -1.9836239499704253, 0.5054596443651922];

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).reshape([-1])).expect("doubles")
}

fn close(got: &[f64], expected: &[f64], relative: f64, absolute: f64) {
    assert_eq!(got.len(), expected.len());
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() <= absolute + relative * e.abs(), "{got:?}\n{expected:?}");
    }
}

/// The expected values come from running `_single_tensor_adam` and `_single_tensor_radam` of torch 2.13.0 (its own
/// Python source, torch/optim) on numpy arrays in double precision.
#[test]
fn eight_steps_agree_with_torch() {
    let gradients = Tensor::from_slice(&GRADIENTS).view([8, 3]);
    let (learning_rate, beta1, beta2, epsilon, weight_decay) = (0.03, 0.8, 0.95, 1e-3, 0.1);
    let cases = [
        (OptimizerConfig::Adam { learning_rate, beta1, beta2, epsilon }, TORCH_ADAM),
        (
            OptimizerConfig::AdamW { learning_rate, beta1, beta2, epsilon, weight_decay },
            TORCH_ADAMW,
        ),
        (
            OptimizerConfig::Radam { learning_rate, beta1, beta2, epsilon, weight_decay },
            TORCH_RADAM,
        ),
    ];
    for (config, expected) in cases {
        let parameters = Tensor::from_slice(&[1.0, -2.0, 0.5]);
        let mut optimizer = config.build(&parameters).expect("build");
        for step in 0..8 {
            optimizer.step(&parameters, &gradients.get(step), 1.0).expect("step");
        }
        close(&numbers(&parameters), &expected, 1e-12, 1e-12);
    }
}

#[test]
fn saved_moments_continue_in_the_same_bits() {
    for config in [ADAM, RADAM] {
        let gradient = |step: i64| {
            (Tensor::arange(100, (Kind::Float, Device::Cpu)) * (step as f64 + 0.3)).sin()
        };
        let run = |optimizer: &mut Optimizer, p: &Tensor, steps: std::ops::Range<i64>| {
            steps.for_each(|s| optimizer.step(p, &gradient(s), 0.7).expect("step"));
        };
        let straight = Tensor::ones([100], (Kind::Float, Device::Cpu));
        let mut optimizer = config.build(&straight).expect("build");
        run(&mut optimizer, &straight, 0..4);
        let resumed = straight.copy();
        let state: BTreeMap<_, _> =
            optimizer.named().into_iter().map(|(n, t)| (n, t.copy())).collect();
        run(&mut optimizer, &straight, 4..12);
        let mut other = config.build(&resumed).expect("build");
        other.load(&state).expect("load");
        run(&mut other, &resumed, 4..12);
        assert_eq!(numbers(&straight), numbers(&resumed));
        assert!(
            matches!(other.load(&BTreeMap::new()), Err(FlatError::Mismatch { problems }) if problems.len() == 3)
        );
    }
}

#[test]
fn a_learning_rate_that_has_all_but_vanished_makes_no_number_infinite() {
    // A parameter without gradient (a gap in the flat layout is one) has moments of zero, and zero
    // times an overflow is not a number.
    for config in [ADAM, RADAM] {
        let parameters = Tensor::from_slice(&[1.0f32, 2.0, 0.0]);
        let gradient = Tensor::from_slice(&[0.5f32, -1.0, 0.0]);
        let mut optimizer = config.build(&parameters).expect("builds");
        for exponent in 0..60 {
            let factor = 10f64.powi(-exponent);
            optimizer.step(&parameters, &gradient, factor).expect("a step");
            assert!(numbers(&parameters).iter().all(|x| x.is_finite()), "factor {factor}");
        }
    }
}

#[test]
fn a_learning_rate_of_zero_moves_nothing() {
    for config in [ADAM, RADAM] {
        let parameters = Tensor::ones([4], (Kind::Float, Device::Cpu));
        let mut optimizer = config.build(&parameters).expect("build");
        let gradient = Tensor::from_slice(&[0f32, 1.0, -1.0, 1e-20]);
        (0..8).for_each(|_| optimizer.step(&parameters, &gradient, 0.0).expect("step"));
        assert_eq!(numbers(&parameters), [1.0; 4]);
        assert!(
            optimizer
                .step(&parameters, &Tensor::zeros([5], (Kind::Float, Device::Cpu)), 1.0)
                .is_err()
        );
    }
}

#[test]
fn clipping_returns_the_norm_before_and_bounds_the_norm_after() {
    let mut gradient = Tensor::from_slice(&[3.0, 4.0]);
    assert_eq!(numbers(&clip_by_norm(&mut gradient, 1.0).expect("clip")), [5.0]);
    close(&numbers(&gradient), &[3.0 / (5.0 + 1e-6), 4.0 / (5.0 + 1e-6)], 1e-14, 0.0);
    let mut small = Tensor::from_slice(&[0.3, 0.4]);
    let _ = clip_by_norm(&mut small, 1.0).expect("clip");
    assert_eq!(numbers(&small), [0.3, 0.4], "a short gradient is left alone");
    assert_eq!(numbers(&gradient_norm(&small).expect("norm")), [0.5]);
}

fn mlp(store: &nn::VarStore) -> nn::Sequential {
    let root = store.root();
    let mut network = nn::seq();
    for (index, (i, o)) in [(3, 32), (32, 32), (32, 2)].into_iter().enumerate() {
        network = network.add(nn::linear(&root / index.to_string(), i, o, Default::default()));
        if index < 2 {
            network = network.add_fn(|x| x.silu());
        }
    }
    network
}

#[test]
fn the_model_follows_the_flat_buffer() {
    let store = nn::VarStore::new(Device::Cpu);
    let network = mlp(&store);
    let x = Tensor::randn([5, 3], (Kind::Float, Device::Cpu));
    let before = network.forward(&x);
    let flat = FlatParameters::new(&store).expect("flat");
    assert_eq!(flat.count(), 1250);
    assert_eq!(numbers(&network.forward(&x)), numbers(&before), "moving changes no value");
    let names: Vec<_> = flat.named().expect("views").into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["0.bias", "0.weight", "1.bias", "1.weight", "2.bias", "2.weight"]);
    let _ = tch::no_grad(|| flat.buffer().shallow_clone().zero_());
    assert_eq!(numbers(&network.forward(&x)), [0.0; 10]);
}

#[test]
fn flat_gradients_are_the_gradients_and_zero_where_unused() {
    let store = nn::VarStore::new(Device::Cpu);
    let root = store.root();
    let a = root.var("a", &[3, 5], nn::Init::Randn { mean: 0.0, stdev: 1.0 });
    let unused = root.var("b", &[7], nn::Init::Const(1.0));
    let c = root.var("c", &[5], nn::Init::Const(2.0));
    let flat = FlatParameters::new(&store).expect("flat");
    assert_eq!(unused.size(), [7]);
    for _ in 0..2 {
        // Twice: nothing may accumulate from one call to the next.
        let loss = (a.matmul(&c).square()).sum(Kind::Float);
        let gradient = flat.gradients(&loss).expect("gradients");
        assert_eq!(gradient.size(), flat.buffer().size());
        let by_name: BTreeMap<_, _> = flat.views(&gradient).expect("views").into_iter().collect();
        let ac = a.matmul(&c).detach();
        close(&numbers(&by_name["a"]), &numbers(&(ac.outer(&c.detach()) * 2.0)), 1e-5, 1e-6);
        close(&numbers(&by_name["c"]), &numbers(&(a.detach().tr().matmul(&ac) * 2.0)), 1e-5, 1e-6);
        assert_eq!(numbers(&by_name["b"]), [0.0; 7]);
        let total: f64 = by_name.values().map(|t| numbers(&t.square().sum(Kind::Double))[0]).sum();
        let whole = numbers(&gradient.square().sum(Kind::Double))[0];
        assert!((total - whole).abs() <= 1e-6 * whole, "the gaps have no gradient");
    }
    assert!(matches!(flat.gradients(&c), Err(FlatError::LossShape(_))));
    assert!(
        flat.gradients(&Tensor::from(1.0f32)).is_err(),
        "a constant loss is an error, not a crash"
    );
}

fn batch_norm_model(store: &nn::VarStore) -> nn::SequentialT {
    let root = store.root();
    nn::seq_t().add(nn::linear(&root / "in", 3, 4, Default::default())).add(nn::batch_norm1d(
        &root / "norm",
        4,
        Default::default(),
    ))
}

#[test]
fn weights_are_put_back_after_success_error_and_panic() {
    let store = nn::VarStore::new(Device::Cpu);
    let model = batch_norm_model(&store);
    let flat = FlatParameters::new(&store).expect("flat");
    let x = Tensor::randn([6, 3], (Kind::Float, Device::Cpu));
    let output = || numbers(&model.forward_t(&x, false));
    let before = output();
    let mut zero = flat.copy().expect("copy");
    let _ = tch::no_grad(|| zero.parameters.zero_());

    let inside = flat.with_weights(&zero, || Ok::<_, FlatError>(output())).expect("evaluates");
    assert_eq!(inside, [0.0; 24]);
    assert_eq!(output(), before);

    let failed: Result<(), FlatError> = flat.with_weights(&zero, || {
        let _ = model.forward_t(&x, true); // changes the running statistics
        Err(FlatError::LossShape(vec![2]))
    });
    assert!(matches!(failed, Err(FlatError::LossShape(_))));
    assert_eq!(output(), before);

    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        flat.with_weights(&zero, || -> Result<(), FlatError> { panic!("on purpose") })
    }));
    assert!(panicked.is_err());
    assert_eq!(output(), before);
}

#[test]
fn named_weights_load_into_another_model_and_bad_ones_are_all_named() {
    let (first, second) = (nn::VarStore::new(Device::Cpu), nn::VarStore::new(Device::Cpu));
    let (a, b) = (batch_norm_model(&first), batch_norm_model(&second));
    let x = Tensor::randn([6, 3], (Kind::Float, Device::Cpu));
    let _ = a.forward_t(&x, true);
    let (from, to) =
        (FlatParameters::new(&first).expect("flat"), FlatParameters::new(&second).expect("flat"));
    assert_eq!(
        from.buffers().iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(),
        ["norm.running_mean", "norm.running_var"]
    );
    let mut named: BTreeMap<_, _> = from.named_weights().expect("named").into_iter().collect();
    to.load(&named).expect("fits");
    assert_eq!(numbers(&a.forward_t(&x, false)), numbers(&b.forward_t(&x, false)));

    named.remove("in.bias");
    named.insert("in.weight".to_owned(), Tensor::zeros([3, 4], (Kind::Float, Device::Cpu)));
    named.insert("other".to_owned(), Tensor::from(1.0));
    let Err(FlatError::Mismatch { problems }) = to.load(&named) else { panic!("must not fit") };
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert_eq!(
        numbers(&a.forward_t(&x, false)),
        numbers(&b.forward_t(&x, false)),
        "and nothing was changed"
    );
}

#[test]
fn averages_follow_their_recursion_and_survive_a_checkpoint() {
    let store = nn::VarStore::new(Device::Cpu);
    let model = batch_norm_model(&store);
    let flat = FlatParameters::new(&store).expect("flat");
    let mut ema = Ema::new(&flat, &[0.5, 0.999], true).expect("ema");
    let mut expected = numbers(flat.buffer());
    let mut variance = numbers(&flat.buffers()[1].1);
    for step in 1..=20u64 {
        for (_, mut view) in flat.named().expect("views") {
            let _ = view.g_add_scalar_(step as f64);
        }
        let _ = model.forward_t(&Tensor::randn([8, 3], (Kind::Float, Device::Cpu)), true);
        ema.update(&flat, step).expect("update");
        let rate = 0.999f64.min((1.0 + step as f64) / (10.0 + step as f64));
        let mix = |old: &mut Vec<f64>, new: &Tensor| {
            old.iter_mut().zip(numbers(new)).for_each(|(o, n)| *o = rate * *o + (1.0 - rate) * n);
        };
        mix(&mut expected, flat.buffer());
        mix(&mut variance, &flat.buffers()[1].1);
    }
    let weights = ema.weights(0.999).expect("configured");
    close(&numbers(&weights.parameters), &expected, 1e-5, 1e-5);
    close(&numbers(&weights.buffers[1].1), &variance, 1e-5, 1e-5);
    assert!(ema.weights(0.9).is_none());

    let saved: BTreeMap<_, _> =
        ema.named(&flat).expect("named").into_iter().map(|(n, t)| (n, t.copy())).collect();
    assert!(
        saved.contains_key("ema.0.999.in.weight") && saved.contains_key("ema.0.5.norm.running_var")
    );
    let mut fresh = Ema::new(&flat, &[0.5, 0.999], true).expect("ema");
    fresh.load(&flat, &saved).expect("load");
    for rate in [0.5, 0.999] {
        let pair = (ema.weights(rate).expect("rate"), fresh.weights(rate).expect("rate"));
        assert_eq!(numbers(&pair.0.parameters), numbers(&pair.1.parameters));
        assert_eq!(numbers(&pair.0.buffers[0].1), numbers(&pair.1.buffers[0].1));
    }
    for bad in [&[1.0][..], &[-0.1], &[0.9, 0.9], &[f64::NAN]] {
        assert!(matches!(Ema::new(&flat, bad, false), Err(FlatError::Rate { .. })), "{bad:?}");
    }
}

/// Not a check: prints what a step costs. `cargo test --release -p isotropy-runner --test optimizer -- --ignored
/// --nocapture`
#[test]
#[ignore = "prints times for a person to compare; it judges nothing"]
fn toy_train_step_timing() {
    tch::set_num_threads(1);
    let store = nn::VarStore::new(Device::Cpu);
    let network = mlp(&store);
    let flat = FlatParameters::new(&store).expect("flat");
    let x = Tensor::randn([127, 3], (Kind::Float, Device::Cpu));
    let y = Tensor::randn([127, 2], (Kind::Float, Device::Cpu));
    let report = |name: &str, work: &mut dyn FnMut()| {
        let mut best = f64::INFINITY;
        // The fastest of many short blocks: other programs on the machine can only add time.
        for _ in 0..200 {
            let start = Instant::now();
            (0..20).for_each(|_| work());
            best = best.min(start.elapsed().as_secs_f64() / 20.0);
        }
        println!("{name:40} {:8.2} microseconds", best * 1e6);
    };
    let loss = || (network.forward(&x) - &y).square().mean(Kind::Float);
    report("forward", &mut || drop(loss()));
    report("forward + backward (libtorch alone)", &mut || {
        drop(
            Tensor::f_run_backward(&[loss()], &store.trainable_variables(), false, false)
                .expect("backward"),
        );
    });
    report("forward + flat gradient", &mut || drop(flat.gradients(&loss()).expect("gradients")));
    let mut accumulated = mlp_with_gradient_views(&store, &flat, &loss);
    report("forward + .grad views of one buffer", &mut || {
        let _ = accumulated.zero_();
        loss().backward();
    });
    let mut gradient = flat.gradients(&loss()).expect("gradients");
    report("clip", &mut || drop(clip_by_norm(&mut gradient, 1.0).expect("clip")));
    for config in [ADAM, RADAM] {
        let mut optimizer = config.build(flat.buffer()).expect("build");
        report(&format!("{config:?}")[..5], &mut || {
            optimizer.step(flat.buffer(), &gradient, 1e-6).expect("step")
        });
    }
    let mut ema = Ema::new(&flat, &[0.999], true).expect("ema");
    report("one moving average", &mut || ema.update(&flat, 5).expect("update"));
    let mut optimizer = ADAM.build(flat.buffer()).expect("build");
    report("whole step: MLP, clip, Adam", &mut || {
        let mut gradient = flat.gradients(&loss()).expect("gradients");
        let _ = clip_by_norm(&mut gradient, 1.0).expect("clip");
        optimizer.step(flat.buffer(), &gradient, 1e-3).expect("step");
    });
}

/// The alternative to [`FlatParameters::gradients`]: `.grad` of every leaf is a view of the returned buffer.
fn mlp_with_gradient_views(
    store: &nn::VarStore,
    flat: &FlatParameters,
    loss: &dyn Fn() -> Tensor,
) -> Tensor {
    loss().backward();
    let buffer = flat.buffer().zeros_like();
    let views = flat.views(&buffer).expect("views");
    let leaves = store.variables();
    for (name, view) in views {
        leaves[&name].grad().set_data(&view);
    }
    buffer
}
