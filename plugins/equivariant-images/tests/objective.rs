//! The regulariser and the pass of self-conditioning.

#![allow(clippy::unwrap_used)]

use isotropy_core::{
    Averages, Field, FieldSpec, LossContext, ModelContext, Moves, NoisingProcess, Objective,
    ObjectiveConfig, Prediction, PredictionKind, ProcessConfig, RepresentationConfig, Result,
    ScoreModel, State, StateSpec, Streams,
};
use isotropy_equivariant_images as _;
use isotropy_groups as _;
use isotropy_networks::unet_model::{UnetConfig, UnetModel};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

/// The variance-preserving process of images in continuous time.
fn process(schedule: Value) -> Box<dyn NoisingProcess> {
    tch::set_num_threads(1);
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "translations"})).unwrap();
    let config = json!({"type": "vp", "schedule": schedule, "steps": Value::Null});
    let process: Box<dyn ProcessConfig> = serde_json::from_value(config).unwrap();
    process.build(drive.build().unwrap()).unwrap()
}

fn images(channels: i64, side: i64) -> StateSpec {
    StateSpec::new(FieldSpec::new(&[channels, side, side], Moves::Image))
}

fn objective(json: Value) -> Box<dyn Objective> {
    let config: Box<dyn ObjectiveConfig> = serde_json::from_value(json).unwrap();
    config.build().unwrap()
}

fn turns(extra: Value) -> Value {
    let mut regulariser =
        json!({"symmetry": {"type": "image-permutation", "group": "quarter-turns"}});
    for (key, value) in extra.as_object().unwrap() {
        regulariser[key] = value.clone();
    }
    json!({"type": "regularised", "inner": {"type": "denoising"}, "regulariser": regulariser})
}

fn batch() -> State {
    let options = (Kind::Float, Device::Cpu);
    let x = Streams::new(0).stream("batch", 0).normal(&[6, 1, 8, 8], options);
    State::new(Field::new(x, Moves::Image))
}

/// `F(x) = factor M x`, pixel by pixel.
struct Map {
    map: Tensor,
    factor: Cell<f64>,
    asked: RefCell<Vec<(f64, bool)>>,
}

impl Map {
    fn new(map: Tensor) -> Self {
        Self { map, factor: Cell::new(1.0), asked: RefCell::default() }
    }
}

impl ScoreModel for Map {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, _t: &Tensor, _train: bool) -> Result<Prediction> {
        let seen = state.given(State::ESTIMATE).is_ok();
        self.asked.borrow_mut().push((self.factor.get(), seen));
        let head = state.x() * &self.map * self.factor.get();
        Ok(Prediction::one(PredictionKind::Clean, head))
    }
}

/// The average of the map: the factor for a while.
struct Average<'a>(&'a Map);

impl Averages for Average<'_> {
    fn with(&self, rate: f64, f: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.0.factor.set(rate);
        f()?;
        self.0.factor.set(1.0);
        Ok(())
    }
}

fn parts(json: Value, model: &Map, step: u64) -> (f64, Vec<(String, f64)>) {
    let process = process(json!({"type": "cosine"}));
    let streams = Streams::new(3);
    let context =
        LossContext { process: Some(process.as_ref()), streams: &streams, step, train: true };
    let loss = objective(json).loss_with(model, &batch(), &context, &Average(model)).unwrap();
    let parts = loss.parts.into_iter().map(|(name, part)| (name, part.double_value(&[])));
    (loss.total.double_value(&[]), parts.collect())
}

#[test]
fn the_penalty_is_added_to_the_loss_and_vanishes_for_an_equivariant_map() {
    let model = Map::new(Tensor::full([1], 0.7, (Kind::Float, Device::Cpu)));
    let plain = parts(json!({"type": "denoising"}), &model, 4).0;
    let (total, named) = parts(turns(json!({})), &model, 4);
    assert_eq!(named[0].0, "denoising");
    assert_eq!(named[1], ("regulariser".to_string(), 0.0));
    // The mean over 64 pixels.
    assert!((total - plain / 64.0).abs() < 1e-4 * total, "{total} {plain}");
    let mut sum = turns(json!({}));
    sum["mean"] = json!(false);
    let total = parts(sum, &model, 4).0;
    assert!((total - plain).abs() < 1e-4 * plain, "{total} {plain}");
    // Another map: the penalty counts with its weight.
    let model = Map::new(Tensor::arange(64, (Kind::Float, Device::Cpu)).reshape([8, 8]) / 64.0);
    let (once, first) = parts(turns(json!({})), &model, 4);
    let (twice, second) = parts(turns(json!({"weight": 2.0})), &model, 4);
    assert!(first[1].1 > 0.01);
    assert!((first[0].1 + first[1].1 - once).abs() < 1e-4 * once, "{first:?} {once}");
    assert_eq!(first[1], second[1]);
    assert!((twice - once - first[1].1).abs() < 1e-4 * once);
}

#[test]
fn the_target_is_the_average_that_the_configuration_names() {
    let model = Map::new(Tensor::full([1], 1.0, (Kind::Float, Device::Cpu)));
    let json = turns(json!({"target": 0.5}));
    assert_eq!(objective(json.clone()).averages(), [0.5]);
    let (_, named) = parts(json, &model, 1);
    // F is the identity, the target half of it: the penalty is the mean of x^2 / 4, about 1/4.
    assert!((named[1].1 - 0.25).abs() < 0.05, "{named:?}");
    assert_eq!(*model.asked.borrow(), [(0.5, false), (1.0, false)]);
    let process = process(json!({"type": "cosine"}));
    let streams = Streams::new(0);
    let context =
        LossContext { process: Some(process.as_ref()), streams: &streams, step: 0, train: true };
    let lone = objective(turns(json!({"target": 0.5}))).loss(&model, &batch(), &context);
    assert!(lone.err().unwrap().to_string().contains("0.5"));
}

#[test]
fn a_part_of_the_batches_sees_an_estimate() {
    let model = Map::new(Tensor::full([1], 1.0, (Kind::Float, Device::Cpu)));
    let json = json!({
        "type": "regularised", "inner": {"type": "denoising"}, "self_conditioning": {}
    });
    let mut seen = 0;
    for step in 0..200 {
        model.asked.borrow_mut().clear();
        parts(json.clone(), &model, step);
        let asked = model.asked.borrow();
        let last = asked.last().unwrap().1;
        assert_eq!(asked.len(), 1 + usize::from(last), "one evaluation more, and only then");
        seen += i32::from(last);
    }
    // 200 fair coins: five standard deviations are 35.
    assert!((seen - 100).abs() < 35, "{seen} of 200");
}

#[test]
fn the_penalty_of_a_preconditioned_network_is_that_of_the_network_inside() {
    let process = process(json!({"type": "cosine"}));
    let spec = images(1, 8);
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let store = VarStore::new(Device::Cpu);
    let inner = json!({"type": "unet", "channels": 8, "multipliers": [1], "head_channels": 8,
                       "attention": [], "zero_init": false, "dropout": 0.0});
    let config: Box<dyn isotropy_core::ModelConfig> = serde_json::from_value(
        json!({"type": "edm-preconditioned", "sigma_data": [0.5], "inner": inner}),
    )
    .unwrap();
    let model = Streams::new(1).scope("init", 0, || config.build(&store.root(), &context)).unwrap();
    let state = batch();
    let t = Tensor::from_slice(&[0.1, 0.2, 0.4, 0.6, 0.8, 0.9]).to_kind(Kind::Float);
    let g = isotropy_core::Element::from(Tensor::from_slice(&[1_i64, 2, 3, 1, 2, 3]));
    let symmetry = isotropy_images::action::ImagePermutation::new(
        isotropy_images::action::PixelGroup::QuarterTurns,
    );
    let _no_grad = tch::no_grad_guard();
    let outer = |s: &State| Ok(model.predict(s, &t, false)?.heads);
    let back = isotropy_equivariant_images::objective::turned_back(
        process.as_ref(),
        &symmetry,
        &g,
        &state,
        outer,
    )
    .unwrap();
    let scale = model.raw_scale(&state, &t).unwrap();
    let here = outer(&state).unwrap();
    let found = isotropy_equivariant_images::objective::mean_square(&here, &back, scale.as_ref());
    // The network itself, at the scaled image and the label of the wrapper.
    let kernel = process.kernel().unwrap().tensors(&t.reshape([-1, 1, 1, 1]));
    let (isotropy_core::Scale::Each(mean), isotropy_core::Scale::Each(std)) =
        (&kernel.mean[0], &kernel.std[0])
    else {
        panic!("one for each image")
    };
    let sigma = std / mean;
    let input = (sigma.square() + 0.25).rsqrt();
    let scaled = |s: &State| s.with_value(s.x() / mean * &input);
    let label = sigma.log().flatten(0, -1) * (0.25 / process.time().label_scale);
    let raw = |s: &State| Ok(model.inner().unwrap().predict(&scaled(s), &label, false)?.heads);
    let back = isotropy_equivariant_images::objective::turned_back(
        process.as_ref(),
        &symmetry,
        &g,
        &state,
        raw,
    )
    .unwrap();
    let expected =
        isotropy_equivariant_images::objective::mean_square(&raw(&state).unwrap(), &back, None);
    let error = ((found - &expected).abs() / expected).max().double_value(&[]);
    assert!(error < 1e-3, "{error}");
}

/// Gradients of a whole step are those of the sum, and reach the weights.
#[test]
fn a_unet_learns_from_the_penalty() {
    let process = process(json!({"type": "ddim-cosine"}));
    let spec = images(1, 8);
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let store = VarStore::new(Device::Cpu);
    let config: UnetConfig = serde_json::from_value(json!({
        "channels": 8, "multipliers": [1], "head_channels": 8, "attention": [], "zero_init": false,
        "self_conditioning": true
    }))
    .unwrap();
    let build = || UnetModel::new(&config, &store.root(), &context);
    let model = Streams::new(1).scope("init", 0, build).unwrap();
    let streams = Streams::new(3);
    let context =
        LossContext { process: Some(process.as_ref()), streams: &streams, step: 0, train: true };
    let mut json = turns(json!({"target_noise": 0.1}));
    json["self_conditioning"] = json!({"probability": 1.0});
    let loss = objective(json).loss(&model, &batch(), &context).unwrap();
    assert!(loss.total.requires_grad());
    loss.total.backward();
    for (name, variable) in store.variables() {
        assert!(variable.grad().defined(), "{name} has no gradient");
        assert!(variable.grad().isfinite().all().int64_value(&[]) == 1, "{name}");
    }
}
