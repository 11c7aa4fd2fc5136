//! Networks as models of fields: conformance, claims of symmetry, reparametrisations, masks, refusals.

use super::support::{F64, fields, number, process, random};
use isotropy_conformance::{Status, model::check_model};
use isotropy_core::{
    Error, Field, ModelConfig, ModelContext, Moves, NoisingProcess, Prediction, PredictionKind,
    Representation, RepresentationConfig, Result, ScoreModel, State, Streams,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use tch::nn::{Path, VarStore};
use tch::{Device, Tensor};

/// Small ones of every registered network.
fn networks() -> Vec<Value> {
    vec![
        json!({"type": "bi-dimensional-attention", "layers": 2, "width": 8, "heads": 2,
               "frequencies": [1.0, 3.0], "windows": [0.6]}),
        json!({"type": "point-attention", "layers": 2, "width": 8, "heads": 2, "centred": true,
               "windows": [0.6]}),
        json!({"type": "tensor-field", "layers": 2, "scalars": 3, "vectors": 2, "width": 8,
               "radial": 6, "time_width": 4, "cutoff": 3.0, "gated": true}),
        json!({"type": "egnn", "layers": 2, "width": 8}),
    ]
}

fn config(json: &Value) -> Box<dyn ModelConfig> {
    serde_json::from_value(json.clone()).unwrap()
}

fn white() -> Value {
    json!({"type": "white"})
}

/// Fields with a mask that hides nothing, as a dataset of varying counts gives them.
fn masked_fields(d: i64, p: i64) -> State {
    let state = fields("networks", 6, 5, d, p);
    let mask = Tensor::ones([6, 5], F64);
    state.with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1))
}

fn symmetry(json: &Value) -> Arc<dyn Representation> {
    let config: Box<dyn RepresentationConfig> = serde_json::from_value(json.clone()).unwrap();
    config.build().unwrap()
}

fn defining(group: &Value) -> Arc<dyn Representation> {
    symmetry(&json!({"type": "defining", "group": group}))
}

/// Builds a network in double precision with every weight drawn anew: last layers start at zero and would hide what
/// comes before them.
pub fn awake(
    json: &Value,
    process: &dyn NoisingProcess,
    state: &State,
) -> (VarStore, Box<dyn ScoreModel>) {
    let (mut store, model) = asleep(json, process, state, None);
    store.double();
    let mut variables: Vec<_> = store.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, mut variable) in variables {
        let noise = random(&name, &variable.size()) * 0.4;
        tch::no_grad(|| variable.copy_(&noise));
    }
    (store, model)
}

/// As it starts, in single precision.
fn asleep(
    json: &Value,
    process: &dyn NoisingProcess,
    state: &State,
    symmetry: Option<&Arc<dyn Representation>>,
) -> (VarStore, Box<dyn ScoreModel>) {
    tch::set_num_threads(1);
    let store = VarStore::new(Device::Cpu);
    let spec = state.spec();
    let context = ModelContext { spec: &spec, process: Some(process), symmetry };
    let config = config(json);
    let model = Streams::new(2)
        .scope("networks", 0, || config.build(&store.root(), &context))
        .unwrap_or_else(|error| panic!("{json}: {error}"));
    (store, model)
}

fn head(model: &dyn ScoreModel, state: &State, t: &Tensor) -> Tensor {
    tch::no_grad(|| model.predict(state, t, false)).unwrap().heads[0].single().shallow_clone()
}

#[track_caller]
fn assert_close(what: &str, a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.size(), b.size(), "{what}");
    let error = number(&(a - b).abs().max());
    assert!(error <= tolerance * number(&b.abs().max()).max(1e-9), "{what}: {error:e}");
}

/// The symmetries that each network has on fields of `d` components at points of `p` coordinates.
fn had(network: &str, p: i64) -> Vec<Arc<dyn Representation>> {
    let translations = defining(&json!({"type": "translations", "dimension": p}));
    if network.ends_with("attention") {
        return vec![translations];
    }
    match p {
        2 => vec![
            translations,
            defining(&json!({"type": "se2"})),
            defining(&json!({"type": "euclidean", "dimension": 2})),
            defining(&json!({"type": "dihedral", "rotations": 5})),
            symmetry(&json!({"type": "rotation", "dimension": 2})),
        ],
        3 => vec![
            translations,
            defining(&json!({"type": "se3"})),
            defining(&json!({"type": "euclidean", "dimension": 3})),
            symmetry(&json!({"type": "rotation", "dimension": 3})),
        ],
        _ => vec![translations],
    }
}

#[test]
fn networks_conform_and_have_the_symmetries_they_claim() {
    tch::set_num_threads(1);
    for json in networks() {
        let name = json["type"].as_str().unwrap();
        for (d, p) in [(1, 1), (1, 2), (2, 2), (3, 3), (2, 3)] {
            let state = masked_fields(d, p);
            let spec = state.spec();
            let process = process(white());
            for symmetry in had(name, p) {
                let context = ModelContext {
                    spec: &spec,
                    process: Some(process.as_ref()),
                    symmetry: Some(&symmetry),
                };
                let what = format!("{name} on {d} of {p} under {}", symmetry.name());
                let results = check_model(config(&json).as_ref(), &context, &Streams::new(1));
                let own_products = results.iter().any(|r| r.check.contains("Jacobian"));
                assert_eq!(own_products, name.ends_with("attention"), "{what}");
                for r in &results {
                    assert!(
                        r.status != Status::Fail,
                        "{what}: {}: {} {:?}",
                        r.check,
                        r.why,
                        r.error
                    );
                    assert!(r.status == Status::Pass, "{what}: {} did not run: {}", r.check, r.why);
                }
            }
        }
    }
}

#[test]
fn what_a_network_has_not_is_not_claimed() {
    let (plane, space) = (masked_fields(2, 2), masked_fields(3, 3));
    let process = process(white());
    let claims = |json: &Value, state: &State, symmetry: Arc<dyn Representation>| {
        asleep(json, process.as_ref(), state, Some(&symmetry)).1.claims_symmetry()
    };
    for json in networks() {
        let name = json["type"].as_str().unwrap();
        let equivariant = !name.ends_with("attention");
        assert_eq!(claims(&json, &plane, defining(&json!({"type": "se2"}))), equivariant, "{name}");
        assert_eq!(claims(&json, &space, defining(&json!({"type": "so3"}))), equivariant, "{name}");
        // Stretching keeps no length.
        assert!(
            !claims(&json, &plane, defining(&json!({"type": "gl-n", "dimension": 2}))),
            "{name}"
        );
    }
    let not_centred = json!({"type": "point-attention", "layers": 1, "width": 8, "heads": 2});
    let translations = defining(&json!({"type": "translations", "dimension": 2}));
    assert!(!claims(&not_centred, &plane, translations));
    // The representation turns the points and leaves the two columns of scalars: a network that takes them for a vector
    // would turn them.
    let scalars = State::new(Field::new(random("s", &[6, 5, 2]), Moves::Scalar).indexed(1))
        .with_context("index", Field::new(random("i", &[6, 5, 2]), Moves::Point).indexed(1));
    let mut json = networks().remove(2);
    assert!(claims(&json, &scalars, defining(&json!({"type": "se2"}))));
    json["values"] = json!("1x1o");
    assert!(!claims(&json, &scalars, defining(&json!({"type": "se2"}))));
    assert!(claims(&json, &scalars, defining(&json!({"type": "translations", "dimension": 2}))));
}

/// Claims whatever it is asked.
#[derive(Debug, Serialize, Deserialize)]
struct Boaster {
    inner: Box<dyn ModelConfig>,
}

#[typetag::serde(name = "test-boaster")]
impl ModelConfig for Boaster {
    fn build(&self, path: &Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        Ok(Box::new(Boasting(self.inner.build(path, context)?)))
    }
}

struct Boasting(Box<dyn ScoreModel>);

impl ScoreModel for Boasting {
    fn predicts(&self) -> PredictionKind {
        self.0.predicts()
    }
    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        self.0.predict(state, t, train)
    }
    fn claims_symmetry(&self) -> bool {
        true
    }
}

#[test]
fn a_false_claim_fails_the_suite() {
    tch::set_num_threads(1);
    let state = masked_fields(2, 2);
    let spec = state.spec();
    let process = process(white());
    let off_centre = json!({"type": "point-attention", "layers": 1, "width": 8, "heads": 2});
    for (json, group) in [
        (networks().remove(0), json!({"type": "se2"})),
        (networks().remove(1), json!({"type": "so2"})),
        (off_centre, json!({"type": "translations", "dimension": 2})),
        (networks().remove(3), json!({"type": "gl-n", "dimension": 2})),
    ] {
        let symmetry = defining(&group);
        let context = ModelContext {
            spec: &spec,
            process: Some(process.as_ref()),
            symmetry: Some(&symmetry),
        };
        let boaster = Boaster { inner: config(&json) };
        let results = check_model(&boaster, &context, &Streams::new(1));
        let failed: Vec<&str> =
            results.iter().filter(|r| r.status == Status::Fail).map(|r| r.check.as_str()).collect();
        assert_eq!(failed.len(), 1, "{json} under {group}: {failed:?}");
        assert!(failed[0].contains("equivariance"), "{failed:?}");
    }
}

#[test]
fn the_residual_trick_starts_at_the_score_of_the_prior() {
    let state = fields("residual", 6, 5, 2, 2);
    let t = Tensor::from_slice(&[0.01, 0.1, 0.3, 0.5, 0.8, 1.0]);
    for (limit, mean) in [
        (json!({"type": "gaussian-process", "kernel": white()}), 0.0),
        (json!({"type": "gaussian-process", "kernel": white(), "mean": [0.7, 0.7]}), 0.7),
    ] {
        let process = super::support::process_on(limit);
        let kernel = process.kernel().unwrap().tensors(&t.reshape([-1, 1, 1]));
        let std = kernel.std[0].times(&Tensor::ones([1], F64));
        for mut json in networks() {
            json["residual_trick"] = json!(true);
            for (predicts, expected) in [
                ("covariance-score", (state.x() - mean) * &std * -1.0),
                ("score", (state.x() - mean) * -1.0),
            ] {
                json["predicts"] = json!(predicts);
                let (mut store, model) = asleep(&json, process.as_ref(), &state, None);
                store.double();
                assert_close(
                    &format!("{json}"),
                    &head(model.as_ref(), &state, &t),
                    &expected,
                    1e-6,
                );
            }
        }
    }
}

#[test]
fn the_std_trick_divides_and_scales_multiply() {
    let state = fields("std", 6, 5, 2, 2);
    let t = Tensor::from_slice(&[0.01, 0.1, 0.3, 0.5, 0.8, 1.0]);
    let process = process(white());
    let kernel = process.kernel().unwrap().tensors(&t.reshape([-1, 1, 1]));
    let std = kernel.std[0].times(&Tensor::ones([1], F64));
    for base in networks() {
        let with = |key: &str, value: Value| {
            let mut json = base.clone();
            json["residual_trick"] = json!(false);
            json["std_trick"] = json!(false);
            json[key] = value;
            let (_store, model) = awake(&json, process.as_ref(), &state);
            head(model.as_ref(), &state, &t)
        };
        let plain = with("std_trick", json!(false));
        assert_close("std", &with("std_trick", json!(true)), &(&plain / (&std + 1e-3)), 1e-12);
        assert_close("output", &with("output_scale", json!(3.0)), &(&plain * 3.0), 1e-12);
        // `covariance-score` is std times the output, `score` is the output itself.
        assert_close("kinds", &(with("predicts", json!("score")) * &std), &plain, 1e-12);
        assert_close("kinds", &with("predicts", json!("preconditioned-score")), &plain, 1e-12);
        // Twice the values over twice the scale look the same.
        let mut json = base.clone();
        json["residual_trick"] = json!(false);
        json["value_scale"] = json!(2.0);
        let (_store, model) = awake(&json, process.as_ref(), &state);
        let doubled = head(model.as_ref(), &state.with_value(state.x() * 2.0), &t);
        json["value_scale"] = json!(1.0);
        let (_store, model) = awake(&json, process.as_ref(), &state);
        assert_close("values", &doubled, &head(model.as_ref(), &state, &t), 1e-12);
    }
}

#[test]
fn the_time_scale_multiplies_the_time_that_the_network_sees() {
    let state = fields("time", 6, 5, 2, 2);
    let t = Tensor::from_slice(&[0.01, 0.1, 0.2, 0.3, 0.4, 0.5]);
    let process = process(white());
    for mut json in networks() {
        // The output itself: nothing but the network depends on time.
        json["predicts"] = json!("score");
        json["std_trick"] = json!(false);
        json["residual_trick"] = json!(false);
        let (_store, model) = awake(&json, process.as_ref(), &state);
        let later = head(model.as_ref(), &state, &(&t * 2.0));
        json["time_scale"] = json!(2.0);
        let (_store, model) = awake(&json, process.as_ref(), &state);
        assert_close("time", &head(model.as_ref(), &state, &t), &later, 1e-12);
    }
}

#[test]
fn waves_of_the_index_repeat_after_their_period() {
    let state = fields("waves", 2, 5, 2, 2);
    let t = Tensor::from_slice(&[0.1, 0.6]);
    let process = process(white());
    for name in ["bi-dimensional-attention", "point-attention"] {
        let json = json!({"type": name, "layers": 2, "width": 8, "heads": 2, "centred": false,
                          "frequencies": [std::f64::consts::TAU, 2.0 * std::f64::consts::TAU]});
        let (store, model) = awake(&json, process.as_ref(), &state);
        // Without the columns of the index itself, only its waves are seen.
        let weights = store.variables();
        let first = weights.get("input.weight").expect("the first layer");
        let columns = if name == "point-attention" { 2 } else { 1 };
        let _ = tch::no_grad(|| first.narrow(1, 0, columns).zero_());
        let moved = |by: f64| {
            let shift = Tensor::zeros([1, 5, 2], F64);
            let _ = shift.get(0).get(3).narrow(0, 1, 1).fill_(by);
            let index = Field::new(&state.given("index").unwrap().tensor + shift, Moves::Point);
            let state = state.clone().with_context("index", index.indexed(1));
            head(model.as_ref(), &state, &t)
        };
        let here = moved(0.0);
        assert_close(name, &moved(1.0), &here, 1e-9);
        assert!((moved(0.3) - here).abs().max().double_value(&[]) > 1e-3, "{name}");
    }
}

#[test]
fn windows_make_far_points_invisible_to_their_heads() {
    let state = fields("windows", 2, 5, 2, 2);
    let t = Tensor::from_slice(&[0.1, 0.6]);
    let process = process(white());
    for name in ["bi-dimensional-attention", "point-attention"] {
        let far_away = |windows: Value| {
            let json = json!({"type": name, "layers": 2, "width": 8, "heads": 2, "centred": false,
                              "windows": windows});
            let (_store, model) = awake(&json, process.as_ref(), &state);
            // The last point goes far off in both dimensions; what it says must not matter to the others.
            let at = |value: f64| {
                let index = state.given("index").unwrap().tensor.copy();
                let _ = index.select(1, 4).fill_(100.0);
                let x = state.x().copy();
                let _ = x.select(1, 4).fill_(value);
                let index = Field::new(index, Moves::Point).indexed(1);
                let state = state.clone().with_context("index", index).with_value(x);
                head(model.as_ref(), &state, &t).narrow(1, 0, 4)
            };
            (at(3.0) - at(-3.0)).abs().max().double_value(&[])
        };
        assert_eq!(far_away(json!([1.0, 2.0])), 0.0, "{name}");
        assert!(far_away(json!([1.0])) > 1e-4, "{name}: the other head sees it");
    }
}

#[test]
fn frequencies_and_windows_are_positive_and_no_more_than_heads() {
    let state = fields("refused", 2, 5, 2, 2);
    let process = process(white());
    let spec = state.spec();
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    for (wrong, place) in [
        (json!({"type": "point-attention", "frequencies": [1.0, 0.0]}), "/frequencies/1"),
        (json!({"type": "point-attention", "windows": [1.0, -0.1]}), "/windows/1"),
        (json!({"type": "point-attention", "heads": 2, "windows": [1.0, 2.0, 3.0]}), "/windows"),
        (json!({"type": "bi-dimensional-attention", "windows": [0.0]}), "/windows/0"),
    ] {
        let store = VarStore::new(Device::Cpu);
        let error = config(&wrong).build(&store.root(), &context).err().expect("it is refused");
        assert!(format!("{error:?}").contains(place), "{error:?}");
    }
}

#[test]
fn padding_may_hold_anything_and_nothing_may_be_there() {
    let process = process(white());
    let t = Tensor::from_slice(&[0.01, 0.1, 0.3, 0.5, 0.8, 1.0]);
    for json in networks() {
        for (d, p) in [(1, 1), (2, 2), (3, 3)] {
            let state = fields("padding", 6, 5, d, p);
            let mask = Tensor::ones([6, 5], F64);
            let _ = mask.narrow(0, 0, 3).narrow(1, 3, 2).zero_();
            let _ = mask.get(5).zero_();
            let with_mask = |state: &State| {
                let mask = Field::new(mask.shallow_clone(), Moves::Fixed).indexed(1);
                state.clone().with_context(State::MASK, mask)
            };
            let spoilt = {
                let (y, x) = (state.x().copy(), state.given("index").unwrap().tensor.copy());
                let _ = y.narrow(0, 0, 3).narrow(1, 3, 2).fill_(f64::NAN);
                let _ = x.narrow(0, 0, 3).narrow(1, 3, 2).fill_(f64::INFINITY);
                let index = Field::new(x, Moves::Point).indexed(1);
                state.with_value(y).with_context("index", index)
            };
            let (_store, model) = awake(&json, process.as_ref(), &with_mask(&state));
            let clean = head(model.as_ref(), &with_mask(&state), &t);
            let dirty = head(model.as_ref(), &with_mask(&spoilt), &t);
            assert_close("padding", &dirty, &clean, 1e-12);
            // The same as a batch without the hidden points; zero where nothing is.
            let short =
                head(model.as_ref(), &state.narrow(0, 3).narrow_index(0, 3), &t.narrow(0, 0, 3));
            assert_close("short", &clean.narrow(0, 0, 3).narrow(1, 0, 3), &short, 1e-10);
            assert_eq!(number(&clean.narrow(0, 0, 3).narrow(1, 3, 2).abs().max()), 0.0);
            assert_eq!(number(&clean.get(5).abs().max()), 0.0);
            assert!(number(&clean.narrow(0, 3, 2).abs().min()) > 0.0);
        }
    }
}

#[test]
fn exchanging_points_exchanges_predictions_and_grids_may_be_shared() {
    let process = process(white());
    let t = Tensor::from_slice(&[0.01, 0.1, 0.3, 0.5, 0.8, 1.0]);
    for json in networks() {
        let state = fields("exchange", 6, 5, 2, 2);
        let (_store, model) = awake(&json, process.as_ref(), &state);
        let order = Tensor::from_slice(&[3i64, 0, 4, 1, 2]);
        let pick = |a: &Tensor| a.index_select(1, &order);
        let moved = state.with_value(pick(state.x())).with_context(
            "index",
            Field::new(pick(&state.given("index").unwrap().tensor), Moves::Point).indexed(1),
        );
        let here = head(model.as_ref(), &state, &t);
        assert_close("exchanged", &head(model.as_ref(), &moved, &t), &pick(&here), 1e-10);
        let grid = state.given("index").unwrap().tensor.get(0);
        let shared = state.clone().with_context(
            "index",
            Field::new(grid.shallow_clone(), Moves::Point).shared().indexed(0),
        );
        let own = grid.unsqueeze(0).expand([6, -1, -1], true);
        let own = state.clone().with_context("index", Field::new(own, Moves::Point).indexed(1));
        let same = head(model.as_ref(), &own, &t);
        assert_close("shared", &head(model.as_ref(), &shared, &t), &same, 1e-13);
    }
}

#[test]
fn impossible_settings_are_refused_where_they_stand() {
    let process = process(white());
    let (line, plane, space) =
        (fields("l", 2, 3, 1, 1), fields("p", 2, 3, 2, 2), fields("s", 2, 3, 3, 3));
    let bare = State::new(Field::new(random("b", &[2, 3, 2]), Moves::Vector).indexed(1));
    let point = State::new(Field::new(random("b", &[2, 2]), Moves::Point));
    let refusal = |json: Value, state: &State| {
        let (spec, store) = (state.spec(), VarStore::new(Device::Cpu));
        let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
        match config(&json).build(&store.root(), &context).map(|_| ()) {
            Err(Error::Config { pointer, .. }) => pointer,
            Err(other) => panic!("{json}: {other}"),
            Ok(()) => panic!("{json} was not refused"),
        }
    };
    for json in networks() {
        let with = |key: &str, value: Value| {
            let mut json = json.clone();
            json[key] = value;
            json
        };
        assert_eq!(refusal(with("predicts", json!("noise")), &plane), "/predicts");
        assert_eq!(refusal(with("predicts", json!("logits")), &plane), "/predicts");
        assert_eq!(refusal(with("layers", json!(0)), &plane), "/layers");
        assert_eq!(refusal(with("width", json!(0)), &plane), "/width");
        assert_eq!(refusal(with("value_scale", json!(0.0)), &plane), "/value_scale");
        let mut clean = with("predicts", json!("clean"));
        clean["residual_trick"] = json!(true);
        assert_eq!(refusal(clean, &plane), "/residual_trick");
        assert_eq!(refusal(json.clone(), &bare), "");
        assert_eq!(refusal(json.clone(), &point), "");
    }
    let attention = json!({"type": "point-attention", "width": 8, "heads": 3});
    assert_eq!(refusal(attention, &plane), "/heads");
    let field = |values: &str| json!({"type": "tensor-field", "values": values});
    assert_eq!(refusal(field("3x0e"), &plane), "/values");
    assert_eq!(refusal(field("1x2e"), &plane), "/values");
    assert_eq!(refusal(field("1x1o"), &line), "/values");
    assert_eq!(refusal(field("1x1e"), &space), "/values");
    assert_eq!(refusal(field("nothing"), &plane), "/values");
    assert_eq!(refusal(json!({"type": "tensor-field", "cutoff": -1.0}), &plane), "/cutoff");
    assert_eq!(refusal(json!({"type": "egnn", "neighbours": 0}), &plane), "/neighbours");
}
