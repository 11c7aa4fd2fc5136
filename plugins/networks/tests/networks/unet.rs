//! The U-Net: its size, its symmetry, and what must be noticed when that is broken.

use isotropy_conformance::{CheckResult, Status, model::check_model};
use isotropy_core::{
    Element, Error, Field, FieldSpec, ModelConfig, ModelContext, Moves, NoisingProcess, Prediction,
    PredictionKind, ProcessConfig, Representation, RepresentationConfig, Result, ScoreModel, State,
    StateSpec, Streams, registry,
};
use isotropy_images::action::{ImagePermutation, ImageShift, PixelGroup};
use isotropy_networks::symmetric::{Channels, Conv, ConvShape, Symmetry};
use isotropy_networks::unet_model::{UnetConfig, UnetModel};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use tch::nn::{Path, VarStore};
use tch::{Device, Kind, Tensor};

fn process(schedule: Value) -> Box<dyn NoisingProcess> {
    tch::set_num_threads(1);
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "translations"})).unwrap();
    let config = json!({"type": "vp", "schedule": schedule, "steps": Value::Null});
    let process: Box<dyn ProcessConfig> = serde_json::from_value(config).unwrap();
    process.build(drive.build().unwrap()).unwrap()
}

fn cosine() -> Box<dyn NoisingProcess> {
    process(json!({"type": "ddim-cosine"}))
}

fn images(channels: i64, side: i64) -> StateSpec {
    StateSpec::new(FieldSpec::new(&[channels, side, side], Moves::Image))
}

fn config(json: Value) -> UnetConfig {
    serde_json::from_value(json).unwrap()
}

/// Under the lock of the generator, as the runner builds.
fn built(json: Value, store: &VarStore, context: &ModelContext) -> Result<UnetModel> {
    Streams::new(5).scope("unet", 0, || UnetModel::new(&config(json), &store.root(), context))
}

fn parameters(json: Value, spec: &StateSpec) -> usize {
    let process = cosine();
    let context = ModelContext { spec, process: Some(process.as_ref()), symmetry: None };
    let store = VarStore::new(Device::Cpu);
    let _model = built(json, &store, &context).unwrap();
    store.trainable_variables().iter().map(Tensor::numel).sum()
}

fn labelled(spec: StateSpec) -> StateSpec {
    spec.with_context(State::LABEL, FieldSpec::new(&[], Moves::Fixed))
}

/// spdm.md 4: rotated MNIST at 28x28 in three channels, and bridges of 32x32 with six input channels.
#[test]
fn the_published_networks_have_their_number_of_parameters() {
    let spec = labelled(images(3, 28));
    assert_eq!(parameters(json!({"classes": 1000}), &spec), 12_130_627);
    assert_eq!(parameters(json!({}), &spec), 11_874_627);
    let tied = json!({"classes": 1000, "symmetry_by": "tied-k", "group": "square"});
    assert_eq!(parameters(tied, &spec), 12_130_627);
    let pairs = images(3, 32).with_context("end", FieldSpec::new(&[3, 32, 32], Moves::Image));
    let bridge = json!({"multipliers": [1, 2, 3, 4]});
    assert_eq!(parameters(bridge, &pairs), 17_310_147);
    let large =
        json!({"channels": 128, "blocks": 3, "multipliers": [1, 2, 3, 4], "head_channels": 64});
    assert_eq!(parameters(large.clone(), &pairs), 124_332_419);
    let large_pairs = images(3, 64).with_context("end", FieldSpec::new(&[3, 64, 64], Moves::Image));
    assert_eq!(parameters(large, &large_pairs), 131_229_827);
}

fn small(extra: Value) -> Value {
    let mut all = json!({
        "channels": 16, "multipliers": [1, 2], "attention": [1], "head_channels": 8,
        "zero_init": false, "dropout": 0.0
    });
    for (key, value) in extra.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

/// Predictions of a small network for two images, in double precision, as a function of the images.
fn predictor(json: Value, group: PixelGroup, kind: Kind) -> (Tensor, impl Fn(&Tensor) -> Tensor) {
    let (spec, process) = (images(3, 8), cosine());
    let symmetry: Arc<dyn Representation> = Arc::new(ImagePermutation::new(group));
    let context =
        ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: Some(&symmetry) };
    let mut store = VarStore::new(Device::Cpu);
    let model = built(json, &store, &context).unwrap();
    if kind == Kind::Double {
        store.double();
    }
    let x = Streams::new(5).stream("x", 0).normal(&[2, 3, 8, 8], (kind, Device::Cpu));
    let t = Tensor::from_slice(&[0.2, 0.9]).to_kind(kind);
    let predict = move |x: &Tensor| {
        let state = State::new(Field::new(x.shallow_clone(), Moves::Image));
        let prediction = tch::no_grad(|| model.predict(&state, &t, false)).unwrap();
        let _keeps_alive = &store;
        prediction.heads[0].single().to_kind(Kind::Double)
    };
    (x, predict)
}

/// `max |g F(x) - F(g x)| / mean |F|` over a group, as spdm.md 4 measures it.
fn violation(json: Value, group: PixelGroup, kind: Kind) -> f64 {
    let (x, predict) = predictor(json, group, kind);
    let symmetry = ImagePermutation::new(group);
    let here = predict(&x);
    let errors = (0..group.order()).map(|k| {
        let there = predict(&symmetry.moved(k, &x));
        (there - symmetry.moved(k, &here)).abs().max().double_value(&[])
    });
    errors.fold(0.0, f64::max) / here.abs().mean(Kind::Double).double_value(&[])
}

#[test]
fn tied_and_lifted_networks_are_equivariant_and_plain_ones_are_not() {
    let groups = [
        ("horizontal-flip", PixelGroup::HorizontalFlip),
        ("vertical-flip", PixelGroup::VerticalFlip),
        ("flips", PixelGroup::Flips),
        ("quarter-turns", PixelGroup::QuarterTurns),
        ("square", PixelGroup::Square),
    ];
    for (name, group) in groups {
        let plain = violation(small(json!({})), group, Kind::Float);
        assert!(plain > 0.1, "a plain network looks equivariant under {name}: {plain}");
        for by in ["tied-s", "tied-k", "lifted"] {
            let json = small(json!({"symmetry_by": by, "group": name}));
            let (single, double) =
                (violation(json.clone(), group, Kind::Float), violation(json, group, Kind::Double));
            println!("{by} {name}: f32 {single:.1e}, f64 {double:.1e}, plain {plain:.2}");
            assert!(single < 5e-5, "{by} {name}: {single}");
            assert!(double < 1e-12, "{by} {name}: {double}");
        }
    }
}

/// A network on a torus commutes with shifts by what a pixel of its coarsest level covers, and with no others; zeros beyond
/// the border break even those. Its kernels may be tied as well.
#[test]
fn a_periodic_network_commutes_with_shifts() {
    let violation = |extra: Value, step: i64, kind: Kind| {
        let (x, predict) = predictor(small(extra), PixelGroup::Square, kind);
        let shifts = ImageShift::new(8, 8, step).unwrap();
        let moved = |a: &Tensor| {
            let index = |k: i64| Tensor::from_slice(&[k, 1]);
            shifts.shift(&Element(vec![index(1), index(0)]), a).unwrap()
        };
        let here = predict(&x);
        let error = (predict(&moved(&x)) - moved(&here)).abs().max().double_value(&[]);
        error / here.abs().mean(Kind::Double).double_value(&[])
    };
    for by in ["none", "tied-s", "lifted"] {
        let periodic = json!({"boundary": "periodic", "symmetry_by": by, "group": "square"});
        let (single, double) = (
            violation(periodic.clone(), 2, Kind::Float),
            violation(periodic.clone(), 2, Kind::Double),
        );
        println!("{by}: f32 {single:.1e}, f64 {double:.1e}");
        assert!(single < 5e-5, "{by}: {single}");
        assert!(double < 1e-12, "{by}: {double}");
        assert!(violation(periodic.clone(), 1, Kind::Float) > 0.01, "{by}");
        let turned = self::violation(small(periodic), PixelGroup::Square, Kind::Double);
        assert!((turned < 1e-12) == (by != "none"), "{by}: {turned}");
    }
    assert!(violation(json!({"boundary": "zeros"}), 2, Kind::Float) > 0.01);
}

#[test]
fn a_network_claims_the_shifts_that_it_commutes_with() {
    let (spec, process) = (images(1, 8), cosine());
    let claims = |boundary: &str, step: i64| {
        let symmetry: Arc<dyn Representation> = Arc::new(ImageShift::new(8, 8, step).unwrap());
        let context = ModelContext {
            spec: &spec,
            process: Some(process.as_ref()),
            symmetry: Some(&symmetry),
        };
        process.symmetric_under(symmetry.as_ref(), &spec).unwrap();
        let json = config(small(json!({"boundary": boundary})));
        let store = VarStore::new(Device::Cpu);
        let claims = UnetModel::new(&json, &store.root(), &context).unwrap().claims_symmetry();
        // What is claimed is checked.
        assert_eq!(failed(&check_model(&json, &context, &Streams::new(2))), [""; 0]);
        claims
    };
    // Two levels: a pixel of the second one covers two.
    assert!(claims("periodic", 2) && claims("periodic", 4));
    assert!(!claims("periodic", 1) && !claims("zeros", 2));
}

#[test]
fn half_precision_breaks_the_symmetry_by_its_rounding_alone() {
    let group = PixelGroup::Square;
    for by in ["tied-s", "lifted"] {
        let json = small(json!({"symmetry_by": by, "group": "square"}));
        let mut half = json.clone();
        half["precision"] = json!("bf16");
        let (x, full) = predictor(json, group, Kind::Float);
        let (_, rounded) = predictor(half.clone(), group, Kind::Float);
        let (a, b) = (full(&x), rounded(&x));
        let rounding = ((&a - b).abs().max() / a.abs().mean(Kind::Double)).double_value(&[]);
        let found = violation(half, group, Kind::Float);
        println!("{by} in bf16: rounding {rounding:.1e}, symmetry {found:.1e}");
        assert!(rounding > 1e-4 && rounding < 0.15, "{by}: {rounding}");
        assert!(found <= rounding, "{by}: {found} {rounding}");
    }
}

fn failed(results: &[CheckResult]) -> Vec<&str> {
    let failed = results.iter().filter(|r| r.status == Status::Fail);
    failed.map(|r| r.check.as_str()).collect()
}

const EQUIVARIANCE: &str = "equivariance under the claimed symmetry";

#[test]
fn the_suite_passes_for_every_way_and_group() {
    let spec = labelled(images(3, 8));
    let process = cosine();
    for group in ["flips", "quarter-turns", "square"] {
        let symmetry: Box<dyn RepresentationConfig> =
            serde_json::from_value(json!({"type": "image-permutation", "group": group})).unwrap();
        let symmetry = symmetry.build().unwrap();
        let context = ModelContext {
            spec: &spec,
            process: Some(process.as_ref()),
            symmetry: Some(&symmetry),
        };
        for by in ["none", "tied-s", "tied-k", "lifted"] {
            let more = json!({"symmetry_by": by, "self_conditioning": true, "classes": 3});
            let config = config(small(more));
            let results = check_model(&config, &context, &Streams::new(2));
            assert!(failed(&results).is_empty(), "{by} {group}: {results:?}");
            let equivariant = results.iter().find(|r| r.check == EQUIVARIANCE).unwrap();
            let expected = if by == "none" { Status::Skip } else { Status::Pass };
            assert_eq!(equivariant.status, expected, "{by} {group}");
        }
    }
}

/// A tied network with one convolution that is not.
#[derive(Debug, Serialize, Deserialize)]
struct OneUntied(UnetConfig);

#[typetag::serde(name = "test-one-untied")]
impl ModelConfig for OneUntied {
    fn build(&self, path: &Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let mut model = UnetModel::new(&self.0, path, context)?;
        let shape =
            ConvShape { from: Channels::scalar(3), to: Channels::scalar(16), side: 3, zero: false };
        *model.network_mut().stem_mut() = Conv::new(&(path / "free"), &Symmetry::none(), shape);
        Ok(Box::new(model))
    }
}

#[test]
fn one_untied_convolution_fails_the_check_of_equivariance() {
    let (spec, process) = (images(3, 8), cosine());
    let symmetry: Arc<dyn Representation> =
        Arc::new(ImagePermutation::new(PixelGroup::QuarterTurns));
    let context =
        ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: Some(&symmetry) };
    let wrong = OneUntied(config(small(json!({"symmetry_by": "tied-s"}))));
    let results = check_model(&wrong, &context, &Streams::new(2));
    assert_eq!(failed(&results), [EQUIVARIANCE]);
}

#[test]
fn a_network_claims_what_its_kernels_have() {
    let (spec, process) = (images(1, 8), cosine());
    let claims = |by: &str, group: &str, kernel: i64, under: PixelGroup| {
        let symmetry: Arc<dyn Representation> = Arc::new(ImagePermutation::new(under));
        let context = ModelContext {
            spec: &spec,
            process: Some(process.as_ref()),
            symmetry: Some(&symmetry),
        };
        let json = small(json!({"symmetry_by": by, "group": group, "kernel": kernel}));
        let store = VarStore::new(Device::Cpu);
        built(json, &store, &context).unwrap().claims_symmetry()
    };
    use PixelGroup::{Flips, HorizontalFlip, QuarterTurns, Square};
    assert!(claims("tied-s", "square", 3, Flips));
    // Kernels of 3x3 cannot tell.
    assert!(claims("tied-s", "quarter-turns", 3, Square));
    assert!(!claims("tied-s", "quarter-turns", 5, Square));
    assert!(!claims("lifted", "quarter-turns", 3, Square));
    assert!(claims("lifted", "quarter-turns", 3, QuarterTurns));
    assert!(!claims("tied-k", "vertical-flip", 3, HorizontalFlip));
    assert!(!claims("none", "square", 3, QuarterTurns));
    assert!(!claims("published-tied-s", "horizontal-flip", 3, HorizontalFlip));
    assert!(!claims("published-tied-k", "square", 5, Square));
}

#[test]
fn classes_and_times_are_seen() {
    let (spec, process) = (labelled(images(1, 8)), cosine());
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let store = VarStore::new(Device::Cpu);
    let model = built(small(json!({"classes": 10})), &store, &context).unwrap();
    let options = (Kind::Float, Device::Cpu);
    let x = Streams::new(1).stream("x", 0).normal(&[1, 1, 8, 8], options);
    let at = |label: i64, t: f64| {
        let label = Field::new(Tensor::from_slice(&[label]), Moves::Fixed);
        let state = State::new(Field::new(x.shallow_clone(), Moves::Image));
        let state = state.with_context(State::LABEL, label);
        let t = Tensor::from_slice(&[t]).to_kind(Kind::Float);
        tch::no_grad(|| model.predict(&state, &t, false))
    };
    let apart = |a: Prediction, b: Prediction| {
        (a.heads[0].single() - b.heads[0].single()).abs().max().double_value(&[])
    };
    assert!(apart(at(3, 0.5).unwrap(), at(4, 0.5).unwrap()) > 1e-3);
    assert!(apart(at(3, 0.5).unwrap(), at(3, 0.6).unwrap()) > 1e-3);
    assert_eq!(apart(at(3, 0.5).unwrap(), at(3, 0.5).unwrap()), 0.0);
    for label in [-1, 10] {
        let message = at(label, 0.5).unwrap_err().to_string();
        assert!(message.contains("classes 0 to 9"), "{message}");
    }
}

#[test]
fn what_cannot_work_is_refused_with_the_place() {
    let process = cosine();
    let refuse = |json: Value, spec: &StateSpec| {
        let context = ModelContext { spec, process: Some(process.as_ref()), symmetry: None };
        let store = VarStore::new(Device::Cpu);
        match built(json, &store, &context) {
            Err(Error::Config { pointer, message, .. }) => format!("{pointer}: {message}"),
            other => panic!("{other:?}"),
        }
    };
    let square = images(1, 8);
    let long = StateSpec::new(FieldSpec::new(&[1, 8, 4], Moves::Image));
    let points = StateSpec::new(FieldSpec::new(&[2], Moves::Point));
    let turns = small(json!({"symmetry_by": "tied-s", "group": "quarter-turns"}));
    assert!(refuse(turns, &long).starts_with("/group: quarter turns need square images"));
    assert!(refuse(small(json!({})), &points).starts_with("/type: a U-Net sees images"));
    assert!(refuse(small(json!({"multipliers": [1, 2, 2, 2, 2]})), &square).starts_with("/multip"));
    assert!(refuse(small(json!({"kernel": 4})), &square).starts_with("/kernel"));
    let wide = small(json!({"kernel": 11, "boundary": "periodic"}));
    assert!(refuse(wide, &square).starts_with("/kernel: kernels of 11 rows go more than once"));
    assert!(refuse(small(json!({"attention": [3]})), &square).starts_with("/attention/0"));
    assert!(refuse(small(json!({"head_channels": 7})), &square).starts_with("/head_channels"));
    assert!(refuse(small(json!({"classes": 10})), &square).starts_with("/classes"));
    assert!(
        refuse(small(json!({"condition_on": ["end"]})), &square).starts_with("/condition_on/0")
    );
    assert!(refuse(small(json!({"symmetry_by": "lifted"})), &square).starts_with("/group"));
    assert!(refuse(small(json!({"predicts": "field"})), &square).starts_with("/predicts"));
    let lifted = small(json!({"symmetry_by": "lifted", "group": "square", "channels": 12}));
    assert!(refuse(lifted, &square).starts_with("/channels"));
}

#[test]
fn the_network_of_the_other_end_moves_with_it() {
    let spec = images(1, 8).with_context("end", FieldSpec::new(&[1, 8, 8], Moves::Image));
    let process = cosine();
    let symmetry: Arc<dyn Representation> = Arc::new(ImagePermutation::new(PixelGroup::Square));
    let context =
        ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: Some(&symmetry) };
    for by in ["tied-s", "lifted"] {
        let config = config(small(json!({"symmetry_by": by})));
        let results = check_model(&config, &context, &Streams::new(4));
        assert!(failed(&results).is_empty(), "{by}: {results:?}");
    }
    // An end that stays where it is cannot belong to an equivariant network.
    let fixed = images(1, 8).with_context("end", FieldSpec::new(&[1, 8, 8], Moves::Fixed));
    let context = ModelContext { spec: &fixed, ..context };
    let store = VarStore::new(Device::Cpu);
    assert!(built(small(json!({})), &store, &context).is_err());
}

#[test]
fn registered_models_build_from_their_examples() {
    let all = registry::catalogue().unwrap();
    let found = all.iter().find(|c| (c.kind, c.name) == ("model", "unet")).unwrap();
    let model: Box<dyn ModelConfig> = serde_json::from_str(found.example).unwrap();
    let (spec, process) = (images(1, 28), cosine());
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let store = VarStore::new(Device::Cpu);
    let model = Streams::new(0).scope("init", 0, || model.build(&store.root(), &context));
    assert_eq!(model.unwrap().predicts(), PredictionKind::Clean);
}
