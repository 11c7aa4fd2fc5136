//! A training step from JSON: toy data, perceptron and denoising objective on every drive they fit.

#![allow(clippy::unwrap_used)]

use isotropy_brownian as _;
use isotropy_core::{
    Dataset, DatasetConfig, Error, Field, FieldSpec, LoadContext, LossContext, ModelConfig,
    ModelContext, Moves, NoisingProcess, Objective, ObjectiveConfig, Prediction, PredictionKind,
    ProcessConfig, RepresentationConfig, Result, ScoreModel, Split, State, StateSpec, Streams, Xi,
};
use isotropy_diffusion as _;
use isotropy_groups as _;
use isotropy_networks as _;
use isotropy_toys as _;
use tch::nn::{OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor};

const VP: &str = r#"{"type": "vp", "schedule": {"type": "cosine"}, "steps": 100}"#;
const POLAR: &str = r#"{"type": "polar"}"#;
const TRANSLATIONS: &str = r#"{"type": "translations"}"#;
const SPHERICAL: &str = r#"{"type": "spherical"}"#;

fn process(on: &str) -> Box<dyn NoisingProcess> {
    let drive: Box<dyn RepresentationConfig> = serde_json::from_str(on).unwrap();
    let process: Box<dyn ProcessConfig> = serde_json::from_str(VP).unwrap();
    process.build(drive.build().unwrap()).unwrap()
}

fn brownian(on: &str) -> Box<dyn NoisingProcess> {
    let drive: Box<dyn RepresentationConfig> = serde_json::from_str(on).unwrap();
    let process: Box<dyn ProcessConfig> =
        serde_json::from_str(r#"{"type": "brownian", "steps": 100}"#).unwrap();
    process.build(drive.build().unwrap()).unwrap()
}

fn data(json: &str) -> (StateSpec, Box<dyn Dataset>) {
    let config: Box<dyn DatasetConfig> = serde_json::from_str(json).unwrap();
    let context = LoadContext {
        data_dir: std::path::PathBuf::new(),
        kind: Kind::Float,
        device: Device::Cpu,
        streams: Streams::new(0),
    };
    (config.spec().unwrap(), config.load(&context).unwrap())
}

fn model(
    json: &str,
    store: &VarStore,
    spec: &StateSpec,
    process: &dyn NoisingProcess,
) -> Result<Box<dyn ScoreModel>> {
    let config: Box<dyn ModelConfig> = serde_json::from_str(json).unwrap();
    let context = ModelContext { spec, process: Some(process), symmetry: None };
    Streams::new(1).scope("model", 0, || config.build(&store.root(), &context))
}

fn objective(json: &str) -> Box<dyn Objective> {
    serde_json::from_str::<Box<dyn ObjectiveConfig>>(json).unwrap().build().unwrap()
}

fn loss(
    objective: &dyn Objective,
    model: &dyn ScoreModel,
    process: &dyn NoisingProcess,
    batch: &State,
    step: u64,
) -> Tensor {
    let streams = Streams::new(2);
    let context = LossContext { process: Some(process), streams: &streams, step, train: true };
    objective.accepts(Some(process), model).unwrap();
    objective.loss(model, batch, &context).unwrap().total
}

#[test]
fn the_published_network_has_1250_parameters_and_the_published_loss_when_it_predicts_zero() {
    let (spec, dataset) = data(r#"{"type": "gaussian-mixture-2d"}"#);
    let process = process(POLAR);
    let store = VarStore::new(Device::Cpu);
    let json = r#"{"type": "mlp", "inputs": ["x", "time"], "predicts": "score"}"#;
    let model = model(json, &store, &spec, process.as_ref()).unwrap();
    let parameters = store.trainable_variables();
    assert_eq!(parameters.iter().map(Tensor::numel).sum::<usize>(), 1250);
    tch::no_grad(|| {
        for mut parameter in parameters {
            let _ = parameter.zero_();
        }
        let batch = dataset.batch(Split::Train, 0, 100_000, &Streams::new(1)).unwrap();
        // The target is -z / sigma: E of its square is 1 / sigma^2 for each of two coefficients.
        let expected: f64 = (1..=100)
            .map(|t| {
                let kernel = process.kernel().unwrap().scales(f64::from(t));
                let isotropy_core::Scale::Same(std) = kernel.std[0] else { panic!() };
                2.0 / (std * std) / 100.0
            })
            .sum();
        let unit = objective(r#"{"type": "denoising", "weighting": "unit"}"#);
        let found = loss(unit.as_ref(), model.as_ref(), process.as_ref(), &batch, 0);
        assert!((found.double_value(&[]) / expected - 1.0).abs() < 0.05, "{found:?} {expected}");
        let scaled = objective(r#"{"type": "denoising"}"#);
        let found = loss(scaled.as_ref(), model.as_ref(), process.as_ref(), &batch, 0);
        assert!((found.double_value(&[]) - 2.0).abs() < 0.03, "{found:?}");
        let absolute = objective(r#"{"type": "denoising", "error": "absolute"}"#);
        let found = loss(absolute.as_ref(), model.as_ref(), process.as_ref(), &batch, 0);
        let expected = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
        assert!((found.double_value(&[]) - expected).abs() < 0.02, "{found:?}");
    });
}

#[test]
fn training_makes_the_loss_smaller_for_every_prediction_and_input() {
    // Tensors this small gain nothing from threads, which wait for each other on a busy machine.
    tch::set_num_threads(1);
    let cases = [
        (POLAR, "gaussian-mixture-2d", r#"["log-r-unit", "time"]"#, "field"),
        (POLAR, "concentric-circles", r#"["log-r-unit", "time"]"#, "field-sum"),
        (POLAR, "line-rays", r#"["tau", "time"]"#, "noise"),
        (POLAR, "c4-gaussians", r#"["x", "log-r-unit", "tau", "time"]"#, "preconditioned-score"),
        (TRANSLATIONS, "gaussian-mixture-4d", r#"["x", "time"]"#, "clean"),
        (TRANSLATIONS, "moebius", r#"["x", "time"]"#, "noise"),
        (SPHERICAL, "torus", r#"["log-r-unit", "time"]"#, "field"),
        (SPHERICAL, "gaussian-mixture-3d", r#"["tau", "time"]"#, "noise"),
    ];
    let objective = objective(r#"{"type": "denoising"}"#);
    for (on, name, inputs, predicts) in cases {
        let (spec, dataset) = data(&format!(r#"{{"type": "{name}", "points": 2000}}"#));
        let process = process(on);
        let store = VarStore::new(Device::Cpu);
        let json = format!(r#"{{"type": "mlp", "inputs": {inputs}, "predicts": "{predicts}"}}"#);
        let model = model(&json, &store, &spec, process.as_ref()).unwrap();
        let mut adam = tch::nn::Adam::default().build(&store, 3e-3).unwrap();
        let (mut first, mut last) = (0.0, 0.0);
        for step in 0..400 {
            let batch = dataset.batch(Split::Train, step, 127, &Streams::new(1)).unwrap();
            let loss = loss(objective.as_ref(), model.as_ref(), process.as_ref(), &batch, step);
            adam.backward_step(&loss);
            let value = loss.double_value(&[]) / 50.0;
            assert!(value.is_finite(), "{name} {predicts}: step {step}");
            match step {
                0..50 => first += value,
                350.. => last += value,
                _ => {}
            }
        }
        assert!(last < 0.9 * first, "{name} {predicts} {inputs}: {first} -> {last}");
    }
}

#[test]
fn what_does_not_fit_is_refused_at_its_place() {
    let (spec, _) = data(r#"{"type": "torus"}"#);
    let spherical = process(SPHERICAL);
    let refusal = |json: &str| {
        let store = VarStore::new(Device::Cpu);
        match model(json, &store, &spec, spherical.as_ref()).err().unwrap() {
            Error::Config { pointer, .. } => pointer,
            other => panic!("{other}"),
        }
    };
    assert_eq!(refusal(r#"{"type": "mlp", "inputs": []}"#), "/inputs");
    assert_eq!(refusal(r#"{"type": "mlp", "inputs": ["x", "x"]}"#), "/inputs/1");
    assert_eq!(refusal(r#"{"type": "mlp", "predicts": "logits"}"#), "/predicts");
}

#[test]
fn columns_give_the_loss_and_the_gradient_of_the_objective() {
    let generators = |dimension: i64| {
        brownian(&format!(r#"{{"type": "generators", "dimension": {dimension}}}"#))
    };
    let cases = [
        (process(POLAR), "gaussian-mixture-2d", "fourier-tau", "field"),
        (process(SPHERICAL), "torus", "fourier-tau", "field-sum"),
        (process(TRANSLATIONS), "moebius", "fourier-tau", "noise"),
        // Drives that hide a part of the coefficients.
        (generators(3), "torus", "fourier-log-r-unit", "preconditioned-score"),
        (generators(4), "gaussian-mixture-4d", "fourier-log-r-unit", "noise"),
    ];
    let objective = objective(r#"{"type": "denoising"}"#);
    for (process, name, inputs, predicts) in cases {
        let (spec, dataset) = data(&format!(r#"{{"type": "{name}", "points": 500}}"#));
        let mut store = VarStore::new(Device::Cpu);
        let json = format!(
            r#"{{"type": "mlp", "inputs": ["{inputs}", "time"], "predicts": "{predicts}"}}"#
        );
        let model = model(&json, &store, &spec, process.as_ref()).unwrap();
        store.double();
        let batch = dataset.batch(Split::Train, 0, 60, &Streams::new(1)).unwrap();
        let batch = batch.to(Kind::Double, Device::Cpu);
        let expected = loss(objective.as_ref(), model.as_ref(), process.as_ref(), &batch, 5);

        let network = model.regression().unwrap();
        let streams = Streams::new(2);
        let process = Some(process.as_ref());
        let context = LossContext { process, streams: &streams, step: 5, train: true };
        let columns =
            objective.columns(network, model.predicts(), &batch, 1, &context).unwrap().unwrap();
        let variables = network.variables();
        let found: Vec<Tensor> = variables.iter().map(Tensor::zeros_like).collect();
        let mut total = 0.0;
        let mut by_outputs = |outputs: &Tensor| {
            let (loss, slope) = columns.loss(outputs)?;
            total = loss.double_value(&[]);
            Ok(slope)
        };
        network.differentiate(&columns.inputs, &mut by_outputs, &found).unwrap();
        assert!((total / expected.double_value(&[]) - 1.0).abs() < 1e-12, "{name}: {total}");
        let gradients = Tensor::run_backward(&[expected], &variables, false, false);
        for (a, b) in gradients.iter().zip(&found) {
            let error = ((a - b).norm() / a.norm()).double_value(&[]);
            assert!(error < 1e-10, "{name}: {error}");
        }
    }
}

#[test]
fn an_objective_that_weighs_its_errors_gives_no_columns() {
    let (spec, dataset) = data(r#"{"type": "gaussian-mixture-2d", "points": 100}"#);
    let process = process(POLAR);
    let store = VarStore::new(Device::Cpu);
    let json = r#"{"type": "mlp", "predicts": "score"}"#;
    let model = model(json, &store, &spec, process.as_ref()).unwrap();
    let batch = dataset.batch(Split::Train, 0, 10, &Streams::new(1)).unwrap();
    let streams = Streams::new(2);
    let process = Some(process.as_ref());
    let context = LossContext { process, streams: &streams, step: 0, train: true };
    for config in [
        r#"{"type": "denoising"}"#,
        r#"{"type": "denoising", "weighting": "unit", "error": "absolute"}"#,
        r#"{"type": "denoising", "weighting": {"edm": {"sigma_data": 1.0}}}"#,
    ] {
        let objective = objective(config);
        let network = model.regression().unwrap();
        let columns = objective.columns(network, model.predicts(), &batch, 2, &context).unwrap();
        assert!(columns.is_none(), "{config}");
    }
}

/// Predicts what it is given.
struct Constant(Tensor);

impl ScoreModel for Constant {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Noise
    }

    fn predict(&self, _: &State, _: &Tensor, _: bool) -> Result<Prediction> {
        Ok(Prediction::one(PredictionKind::Noise, Xi::from(self.0.shallow_clone())))
    }
}

#[test]
fn padded_points_do_not_count() {
    let process = process(TRANSLATIONS);
    let objective = objective(r#"{"type": "denoising"}"#);
    let options = (Kind::Double, Device::Cpu);
    let spec = StateSpec::new(FieldSpec::new(&[3, 2], Moves::Point).indexed(1));
    let state = State::random(&spec, 4, options, &mut Streams::new(3).stream("test", 0));
    let mask = Tensor::ones([4, 3], options);
    let _ = mask.select(1, 2).fill_(0.0);
    let masked = state.clone().with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1));
    let prediction = |padding: f64| {
        let prediction = Tensor::zeros([4, 3, 2], options);
        let _ = prediction.select(1, 2).fill_(padding);
        Constant(prediction)
    };
    let value = |state: &State, padding: f64| {
        loss(objective.as_ref(), &prediction(padding), process.as_ref(), state, 0).double_value(&[])
    };
    assert!((value(&masked, 0.0) - value(&masked, 100.0)).abs() < 1e-9);
    assert!((value(&state, 0.0) - value(&state, 100.0)).abs() > 1e3);
}

#[test]
fn a_mean_over_points_counts_every_set_alike() {
    let process = process(TRANSLATIONS);
    let options = (Kind::Double, Device::Cpu);
    let spec = StateSpec::new(FieldSpec::new(&[3, 2], Moves::Point).indexed(1));
    let state = State::random(&spec, 4, options, &mut Streams::new(3).stream("test", 0));
    let mask = Tensor::ones([4, 3], options);
    let _ = mask.select(0, 0).narrow(0, 1, 2).fill_(0.0);
    let masked = state.with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1));
    // The error of a set whose prediction is far off: for 1e6 everywhere it is (2 components) 2e12 a
    // point but for the noise.
    let of = |json: &str, set: i64| {
        let prediction = Tensor::zeros([4, 3, 2], options);
        let _ = prediction.select(0, set).fill_(1e6);
        let model = Constant(prediction);
        loss(objective(json).as_ref(), &model, process.as_ref(), &masked, 0).double_value(&[])
    };
    let near =
        |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-4, "{found}");
    for (set, points) in [(0, 1.0), (1, 3.0)] {
        near(of(r#"{"type": "denoising"}"#, set), points * 2e12 / 4.0);
        near(of(r#"{"type": "denoising", "points": "mean"}"#, set), 2e12 / 4.0);
        near(of(r#"{"type": "denoising", "points": "mean", "error": "absolute"}"#, set), 2e6 / 4.0);
    }
}

/// A target without a part along the point, and predictions with one: the error is the same, and the
/// gradient has no such part either.
#[test]
fn what_the_stabiliser_hides_does_not_count() {
    struct Fixed(Xi);
    impl ScoreModel for Fixed {
        fn predicts(&self) -> PredictionKind {
            PredictionKind::PreconditionedScore
        }
        fn predict(&self, state: &State, _: &Tensor, _: bool) -> Result<Prediction> {
            // The rotation about the point itself, on top.
            let unit = state.x() / state.x().norm_scalaropt_dim(2, [-1], true);
            let turn = self.0.factor(0).narrow(1, 0, 1) * unit;
            let xi = Xi(vec![turn + self.0.factor(0).narrow(1, 1, 3), self.0.0[1].shallow_clone()]);
            Ok(Prediction::one(PredictionKind::PreconditionedScore, xi))
        }
    }
    let (_, dataset) = data(r#"{"type": "torus", "points": 500}"#);
    let batch = dataset.batch(Split::Train, 0, 40, &Streams::new(1)).unwrap();
    let batch = batch.to(Kind::Double, Device::Cpu);
    let process = brownian(r#"{"type": "generators", "dimension": 3}"#);
    let objective = objective(r#"{"type": "denoising"}"#);
    let options = batch.options();
    let w = Tensor::full([40, 4], 0.3, options).set_requires_grad(true);
    let value = |about: f64| {
        let part = Tensor::cat(&[w.narrow(1, 0, 1) + about, w.narrow(1, 1, 3)], 1);
        let model = Fixed(Xi(vec![part, Tensor::zeros([40, 1], options)]));
        loss(objective.as_ref(), &model, process.as_ref(), &batch, 0)
    };
    let (plain, turned) = (value(0.0), value(100.0));
    let far = (&plain - &turned).abs().double_value(&[]);
    assert!(far < 1e-10 * plain.double_value(&[]), "{plain:?} {turned:?}");
    let slope = Tensor::run_backward(&[turned], &[&w], false, false).remove(0);
    let size = |first, count| slope.narrow(1, first, count).abs().max().double_value(&[]);
    assert!(size(0, 1) < 1e-12 && size(1, 3) > 1e-4, "{} {}", size(0, 1), size(1, 3));
}

/// Not a check: prints what the parts of a training step cost. Run with `--ignored --nocapture`.
#[test]
#[ignore = "prints times for a person to compare; it judges nothing"]
fn times_of_the_parts_of_a_step() {
    tch::set_num_threads(1);
    let (spec, dataset) = data(r#"{"type": "gaussian-mixture-2d"}"#);
    let process = process(POLAR);
    let objective = objective(r#"{"type": "denoising"}"#);
    let streams = Streams::new(1);
    let time = |name: &str, f: &mut dyn FnMut(u64)| {
        // The fastest of many short stretches: other programs disturb the rest.
        let stretch = (0..60).map(|k| {
            let start = std::time::Instant::now();
            (100 * k..100 * (k + 1)).for_each(&mut *f);
            start.elapsed().as_secs_f64() / 100.0
        });
        println!("{name}: {:.1} us", stretch.fold(f64::INFINITY, f64::min) * 1e6);
    };
    time("batch", &mut |step| drop(dataset.batch(Split::Train, step, 127, &streams).unwrap()));
    let batch = dataset.batch(Split::Train, 0, 127, &streams).unwrap();
    let times =
        |step| process.time().sample(127, true, batch.options(), &mut streams.stream("a", step));
    time("times", &mut |step| drop(times(step)));
    let t = times(0);
    time("perturb", &mut |step| {
        drop(process.perturb(&batch, &t, &mut streams.stream("b", step)).unwrap());
    });
    for (inputs, predicts) in [
        (r#"["x", "time"]"#, "noise"),
        (r#"["log-r-unit", "time"]"#, "field-sum"),
        (r#"["log-r-unit", "time"]"#, "field"),
    ] {
        let store = VarStore::new(Device::Cpu);
        let json = format!(r#"{{"type": "mlp", "inputs": {inputs}, "predicts": "{predicts}"}}"#);
        let model = model(&json, &store, &spec, process.as_ref()).unwrap();
        let noisy = process.perturb(&batch, &t, &mut streams.stream("b", 0)).unwrap().noisy;
        time(&format!("{json}\n  predict"), &mut |_| {
            drop(model.predict(&noisy, &t, true).unwrap())
        });
        let run = |backward: bool, step| {
            let loss = loss(objective.as_ref(), model.as_ref(), process.as_ref(), &batch, step);
            if backward {
                loss.backward();
            }
        };
        time("  loss", &mut |step| run(false, step));
        time("  loss and backward", &mut |step| run(true, step));
    }
}
