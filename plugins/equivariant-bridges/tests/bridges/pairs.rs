//! Pairs: made from pictures, and read from folders.

use super::{F32, GROUPS, dataset, distance, images, number, pixels, refusal};
use isotropy_core::{
    Dataset, DatasetConfig, Element, Field, FieldSpec, LoadContext, Moves, Result, Split, State,
    StateSpec, Streams, schemars,
};
use isotropy_equivariant_bridges::dataset::OtherEnd;
use isotropy_equivariant_bridges::process::END;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};
use tempfile::{TempDir, tempdir};

/// Forty pictures of 4x4 pixels in [0, 1] with labels, in every split.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct FortyConfig {}

#[typetag::serde(name = "forty-pictures")]
impl DatasetConfig for FortyConfig {
    fn spec(&self) -> Result<StateSpec> {
        Ok(StateSpec::new(FieldSpec::new(&[1, 4, 4], Moves::Image))
            .with_lift("angle", FieldSpec::new(&[1], Moves::Coordinates))
            .with_context("label", FieldSpec::new(&[], Moves::Fixed))
            .with_context("upright", FieldSpec::new(&[1, 4, 4], Moves::Fixed)))
    }

    fn load(&self, _: &LoadContext) -> Result<Box<dyn Dataset>> {
        Ok(Box::new(Forty))
    }
}

/// Points of the plane, which are no pictures.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct PointsConfig {}

#[typetag::serde(name = "points-of-the-plane")]
impl DatasetConfig for PointsConfig {
    fn spec(&self) -> Result<StateSpec> {
        Ok(StateSpec::new(FieldSpec::new(&[2], Moves::Point)))
    }

    fn load(&self, _: &LoadContext) -> Result<Box<dyn Dataset>> {
        unreachable!("refused by its shapes")
    }
}

struct Forty;

impl Dataset for Forty {
    fn len(&self, _: Split) -> Option<u64> {
        Some(40)
    }

    fn batch(&self, _: Split, step: u64, size: i64, _: &Streams) -> Result<State> {
        let first = (step as i64 * size).min(40);
        let length = size.min(40 - first);
        let all = Streams::new(0).stream("pictures", 0).uniform(&[40, 1, 4, 4], F32);
        let labels = Tensor::arange(40, (Kind::Int64, Device::Cpu));
        let pictures = all.narrow(0, first, length);
        let fixed = |tensor| Field::new(tensor, Moves::Fixed);
        Ok(State::new(Field::new(pictures.shallow_clone(), Moves::Image))
            .with_lift("angle", Field::new(Tensor::zeros([length, 1], F32), Moves::Coordinates))
            .with_context("label", fixed(labels.narrow(0, first, length)))
            .with_context("upright", fixed(pictures)))
    }
}

fn context(folder: PathBuf) -> LoadContext {
    LoadContext {
        data_dir: folder,
        kind: Kind::Float,
        device: Device::Cpu,
        streams: Streams::new(5),
    }
}

fn load(json: Value, folder: PathBuf) -> Result<Box<dyn Dataset>> {
    tch::set_num_threads(1);
    dataset(json).load(&context(folder))
}

fn paired(other_end: Value) -> Value {
    json!({
        "type": "paired", "inner": {"type": "forty-pictures"}, "range": [0.0, 1.0],
        "other_end": other_end
    })
}

fn end(state: &State) -> Tensor {
    state.given(END).unwrap().tensor.shallow_clone()
}

#[test]
fn pairs_have_the_declared_shapes_and_keep_labels() {
    let json = paired(json!({"noise": {"std": 0.5}}));
    let spec = dataset(json.clone()).spec().unwrap();
    let data = load(json, PathBuf::new()).unwrap();
    for split in [Split::Train, Split::Validation, Split::Test] {
        let batch = data.batch(split, 0, 7, &Streams::new(5)).unwrap();
        assert_eq!(batch.spec(), spec);
        assert!(batch.given("label").is_ok() && batch.given("upright").is_err());
        assert!(batch.lift.is_empty());
        let original = Forty.batch(split, 0, 7, &Streams::new(5)).unwrap();
        assert!(distance(batch.x(), &(original.x() * 2.0 - 1.0)) < 1e-6);
    }
}

/// A test pair is the same whatever the batch that it comes in; a training pair gets new noise.
#[test]
fn noise_belongs_to_the_picture_in_tests_and_to_the_step_in_training() {
    let data = load(paired(json!({"noise": {"std": 0.5}})), PathBuf::new()).unwrap();
    let streams = Streams::new(5);
    let all = data.batch(Split::Test, 0, 40, &streams).unwrap();
    for size in [7, 13] {
        let part = data.batch(Split::Test, 2, size, &streams).unwrap();
        let rows = part.batch_size();
        assert_eq!(distance(&end(&part), &end(&all).narrow(0, 2 * size, rows)), 0.0);
    }
    assert_eq!(data.batch(Split::Test, 40, 7, &streams).unwrap().batch_size(), 0);
    let noise = |split, step| {
        let batch = data.batch(split, step, 40, &streams).unwrap();
        end(&batch) - batch.x()
    };
    let (test, train) = (noise(Split::Test, 0), noise(Split::Train, 0));
    assert!(distance(&test, &train) > 0.1);
    assert!(distance(&test, &noise(Split::Validation, 0)) > 0.1);
    assert_eq!(distance(&train, &noise(Split::Train, 0)), 0.0);
    assert!((number(&test.std(true)) - 0.5).abs() < 0.05);
}

/// What is made of a picture moves with it, so pairs have the symmetry of the pictures.
#[test]
fn relations_commute_with_flips_and_quarter_turns() {
    let field = Field::new(images(3, 8).x().tanh().repeat([1, 3, 1, 1]), Moves::Image);
    let state = State::new(field);
    for json in [
        json!("edges"),
        json!({"low-resolution": {"factor": 2}}),
        json!({"low-resolution": {"factor": 4}}),
        json!({"stain": {"from": "haematoxylin-eosin", "to": "haematoxylin-dab"}}),
    ] {
        let relation: OtherEnd = serde_json::from_value(json.clone()).unwrap();
        let made = |state: &State| relation.apply(state.x(), None).unwrap();
        let here = made(&state);
        assert!(distance(&here, state.x()) > 0.05, "{json} changes the picture");
        assert!(number(&here.abs().max()) <= 1.0 + 1e-12, "{json}");
        for group in GROUPS {
            let symmetry = pixels(group);
            for k in 0..symmetry.group().finite().unwrap().order() {
                let h: Element = Tensor::full([3], k, (Kind::Int64, Device::Cpu)).into();
                let moved = made(&symmetry.act(&h, &state).unwrap());
                let expected = symmetry.act_tangent(&h, &state, &here).unwrap();
                assert!(distance(&moved, &expected) < 1e-12, "{json} {group} {k}");
            }
        }
    }
}

#[test]
fn relations_are_what_they_say() {
    let apply = |json: Value, x: &Tensor| {
        serde_json::from_value::<OtherEnd>(json).unwrap().apply(x, None).unwrap()
    };
    // A straight step of half of the range is bright along both sides, the rest is dark.
    let step = Tensor::from_slice(&[-1.0, -1.0, 0.0, 0.0]).expand([1, 1, 4, 4], false);
    let expected = Tensor::from_slice(&[-1.0, 1.0, 1.0, -1.0]).expand([1, 1, 4, 4], false);
    assert!(distance(&apply(json!("edges"), &step), &expected) < 1e-12);
    // Constant pictures keep their value at a lower resolution.
    let flat = Tensor::full([1, 1, 8, 8], 0.3, super::F64);
    assert!(distance(&apply(json!({"low-resolution": {"factor": 4}}), &flat), &flat) < 1e-12);
    // Beer and Lambert: a pixel with one unit of eosin shows one unit of DAB.
    let pixel = |v: [f64; 3], amount: f64| {
        let length = v.iter().map(|a| a * a).sum::<f64>().sqrt();
        let light = v.map(|a| (-amount * a / length).exp() * 2.0 - 1.0);
        Tensor::from_slice(&light).view([1, 3, 1, 1])
    };
    let (eosin, dab, both) = ([0.072, 0.990, 0.105], [0.268, 0.570, 0.776], [0.650, 0.704, 0.286]);
    let to_dab = json!({"stain": {"from": "haematoxylin-eosin", "to": "haematoxylin-dab"}});
    assert!(distance(&apply(to_dab.clone(), &pixel(eosin, 0.8)), &pixel(dab, 0.8)) < 1e-12);
    assert!(distance(&apply(to_dab.clone(), &pixel(both, 1.3)), &pixel(both, 1.3)) < 1e-12);
    let back = json!({"stain": {"from": "haematoxylin-dab", "to": "haematoxylin-eosin"}});
    assert!(distance(&apply(back, &apply(to_dab, &pixel(eosin, 0.5))), &pixel(eosin, 0.5)) < 1e-12);
}

#[test]
fn training_pairs_are_moved_together() {
    let mut json = paired(json!("edges"));
    json["augment"] = json!({"type": "image-permutation", "group": "square"});
    let moved = load(json, PathBuf::new()).unwrap();
    let still = load(paired(json!("edges")), PathBuf::new()).unwrap();
    let batch = |data: &dyn Dataset, split| data.batch(split, 0, 40, &Streams::new(5)).unwrap();
    let (a, b) = (batch(moved.as_ref(), Split::Train), batch(still.as_ref(), Split::Train));
    assert!(distance(a.x(), b.x()) > 0.1);
    // Still pairs: the edges are those of the picture.
    let edges: OtherEnd = serde_json::from_value(json!("edges")).unwrap();
    assert!(distance(&edges.apply(a.x(), None).unwrap(), &end(&a)) < 1e-5);
    let (a, b) = (batch(moved.as_ref(), Split::Test), batch(still.as_ref(), Split::Test));
    assert_eq!(distance(a.x(), b.x()), 0.0);
}

#[test]
fn pairs_that_cannot_be_made_are_refused() {
    for (json, word) in [
        (paired(json!({"noise": {"std": 0.0}})), "/other_end/noise/std"),
        (paired(json!({"low-resolution": {"factor": 3}})), "/other_end/low-resolution/factor"),
        (
            paired(json!({"stain": {"from": "haematoxylin-dab", "to": "haematoxylin-dab"}})),
            "/other_end/stain",
        ),
    ] {
        let error = dataset(json.clone()).spec().unwrap_err();
        assert!(format!("{error:?}").contains(word), "{json}: {error:?}");
    }
    let mut json = paired(json!("edges"));
    json["range"] = json!([1.0, 1.0]);
    assert!(refusal(dataset(json).spec()).contains("range"));
    let mut json = paired(json!("edges"));
    json["augment"] = json!({"type": "rotation", "dimension": 2});
    assert!(dataset(json).spec().is_err());
    let points = json!({
        "type": "paired", "inner": {"type": "points-of-the-plane"}, "other_end": "edges"
    });
    assert!(refusal(dataset(points).spec()).contains("pictures"));
}

/// A folder that goes away with its owner.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        for inner in ["a", "b", "both"] {
            std::fs::create_dir(folder.path().join(inner)).unwrap();
        }
        Self(folder)
    }

    /// A grey PNG whose pixels are `value`, `value + 1`, ...
    fn picture(&self, name: &str, [height, width]: [i64; 2], value: i64) {
        let pixels = Tensor::arange(height * width, (Kind::Int64, Device::Cpu)) + value;
        let pixels = pixels.view([1, height, width]).expand([3, height, width], false);
        tch::vision::image::save(
            &pixels.to_kind(Kind::Uint8).contiguous(),
            self.0.path().join(name),
        )
        .unwrap();
    }
}

fn folders() -> Value {
    json!({
        "type": "paired-folders", "pairs": {"folders": {"clean": "a", "end": "b"}},
        "size": [2, 3], "channels": 1, "validation": 2, "test": 3
    })
}

#[test]
fn folders_give_pairs_by_name() {
    let folder = Folder::new();
    for k in 0..10 {
        folder.picture(&format!("a/{k}.png"), [2, 3], 10 * k);
        folder.picture(&format!("b/{k}.png"), [2, 3], 10 * k + 100);
    }
    let data = load(folders(), folder.0.path().to_path_buf()).unwrap();
    assert_eq!(data.digests().len(), 3);
    let mut seen = Vec::new();
    for (split, count) in [(Split::Train, 5), (Split::Validation, 2), (Split::Test, 3)] {
        assert_eq!(data.len(split), Some(count));
        let batch = data.batch(split, 0, count as i64, &Streams::new(5)).unwrap();
        assert_eq!(batch.spec(), dataset(folders()).spec().unwrap());
        // Bytes come back from [-1, 1], and both ends belong together.
        let bytes = |x: &Tensor| ((x + 1.0) * 127.5).round();
        assert!(distance(&bytes(&end(&batch)), &(bytes(batch.x()) + 100.0)) < 1e-6);
        let first = bytes(batch.x()).select(3, 0).select(2, 0).view([-1]);
        seen.extend(Vec::<f64>::try_from(first.to_kind(Kind::Double)).unwrap());
    }
    seen.sort_by(f64::total_cmp);
    assert_eq!(seen, (0..10).map(|k| 10.0 * f64::from(k)).collect::<Vec<_>>());
}

#[test]
fn halves_of_a_picture_are_a_pair() {
    let folder = Folder::new();
    for k in 0..3 {
        folder.picture(&format!("both/{k}.png"), [2, 6], 50 * k);
    }
    let json = |left: bool| {
        json!({
            "type": "paired-folders",
            "pairs": {"side-by-side": {"path": "both", "clean_left": left}},
            "size": [2, 3], "channels": 1
        })
    };
    for left in [false, true] {
        let data = load(json(left), folder.0.path().to_path_buf()).unwrap();
        let batch = data.batch(Split::Train, 0, 3, &Streams::new(5)).unwrap();
        let step = if left { 3.0 } else { -3.0 };
        let difference = (end(&batch) - batch.x()) * 127.5;
        assert!(distance(&difference, &difference.full_like(step)) < 1e-3);
    }
}

#[test]
fn folders_that_do_not_match_are_refused_with_the_file() {
    let folder = Folder::new();
    for k in 0..6 {
        folder.picture(&format!("a/{k}.png"), [2, 3], 0);
        folder.picture(&format!("b/{k}.png"), [2, 3], 0);
    }
    let failed = |json: Value| {
        let error = load(json, folder.0.path().to_path_buf()).err().unwrap();
        (error.exit_code(), error.to_string())
    };
    folder.picture("a/lonely.png", [2, 3], 0);
    let (code, text) = failed(folders());
    assert!(code == 3 && text.contains("lonely.png has no partner"), "{text}");
    folder.picture("b/lonely.png", [3, 3], 0);
    let (code, text) = failed(folders());
    assert!(code == 3 && text.contains("lonely.png") && text.contains("3x3"), "{text}");
    std::fs::write(folder.0.path().join("b/lonely.png"), "nothing").unwrap();
    let (code, text) = failed(folders());
    assert!(code == 3 && text.contains("lonely.png") && text.contains("decoded"), "{text}");
    std::fs::remove_file(folder.0.path().join("b/lonely.png")).unwrap();
    folder.picture("a/lonely.jpg", [2, 3], 0);
    let (code, text) = failed(folders());
    assert!(code == 3 && text.contains("one name"), "{text}");
    std::fs::remove_file(folder.0.path().join("a/lonely.jpg")).unwrap();
    std::fs::remove_file(folder.0.path().join("a/lonely.png")).unwrap();
    let mut many = folders();
    many["test"] = json!(10);
    let (code, text) = failed(many);
    assert!(code == 2 && text.contains("leave none"), "{text}");
    let mut nowhere = folders();
    nowhere["pairs"]["folders"]["end"] = json!("nowhere");
    let (code, text) = failed(nowhere);
    assert!(code == 3 && text.contains("nowhere"), "{text}");
    let mut channels = folders();
    channels["channels"] = json!(4);
    assert!(refusal(dataset(channels).spec()).contains("channels"));
}

/// The PNG at `path`, with an EXIF block that asks for a quarter turn (orientation 6).
fn turn(path: &Path) {
    let whole = std::fs::read(path).unwrap();
    let block = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let named = [b"eXIf".as_slice(), block].concat();
    let mut sum = flate2::Crc::new();
    sum.update(&named);
    let size = (block.len() as u32).to_be_bytes();
    let (head, tail) = whole.split_at(33);
    std::fs::write(path, [head, &size, &named, &sum.sum().to_be_bytes(), tail].concat()).unwrap();
}

#[test]
fn ends_are_turned_as_their_files_say_and_hidden_files_are_none() {
    let folder = Folder::new();
    for k in 0..4 {
        folder.picture(&format!("a/{k}.png"), [2, 3], 10 * k);
        // Stored lying on its side: three rows of two.
        folder.picture(&format!("b/{k}.png"), [3, 2], 10 * k);
        turn(&folder.0.path().join(format!("b/{k}.png")));
    }
    for file in ["a/._0.png", "b/.1.png", "b/Thumbs.db"] {
        std::fs::write(folder.0.path().join(file), "no picture").unwrap();
    }
    let mut json = folders();
    (json["validation"], json["test"]) = (Value::Null, json!(1));
    let data = load(json.clone(), folder.0.path().to_path_buf()).unwrap();
    assert_eq!(data.len(Split::Validation), Some(1), "a tenth, and at least one");
    let batch = data.batch(Split::Train, 0, 2, &Streams::new(5)).unwrap();
    let bytes = |x: &Tensor| ((x + 1.0) * 127.5).round();
    let (clean, turned) = (bytes(batch.x()), bytes(&end(&batch)));
    // 0 1 / 2 3 / 4 5, clockwise.
    let expected = Tensor::from_slice(&[4.0, 2.0, 0.0, 5.0, 3.0, 1.0]).view([1, 1, 2, 3]);
    let first = clean.amin([1, 2, 3].as_slice(), true);
    assert!(distance(&turned, &(first + expected)) < 1e-6);
    let facts: std::collections::BTreeMap<String, f64> = data.facts().into_iter().collect();
    assert_eq!(facts["end: pictures turned by their EXIF orientation"], 4.0);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere.png", folder.0.path().join("a/9.png")).unwrap();
        let error = load(json, folder.0.path().to_path_buf()).err().unwrap();
        assert!(error.exit_code() == 3 && error.to_string().contains("9.png"), "{error}");
    }
}
