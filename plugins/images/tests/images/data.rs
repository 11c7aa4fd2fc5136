//! Datasets on small files in the real formats, and their errors.

use isotropy_core::{
    Dataset, DatasetConfig, Error, LoadContext, Result, Split, State, Streams, dataset,
};
use isotropy_images::dataset::HistologyPatchesConfig;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::{TempDir, tempdir};

/// A folder that goes away with its owner.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempdir().unwrap())
    }

    pub fn load(&self, json: Value) -> Result<Box<dyn Dataset>> {
        let config: Box<dyn DatasetConfig> = serde_json::from_value(json).unwrap();
        let context = LoadContext {
            data_dir: self.0.path().to_path_buf(),
            kind: Kind::Float,
            device: Device::Cpu,
            streams: Streams::new(5),
        };
        let loaded = config.load(&context)?;
        let spec = config.spec().unwrap();
        for split in [Split::Train, Split::Validation, Split::Test] {
            assert_eq!(loaded.batch(split, 0, 3, &Streams::new(1)).unwrap().spec(), spec);
        }
        Ok(loaded)
    }

    /// A data error, which names a file or says how to go on.
    pub fn refuse(&self, json: Value) -> String {
        let error = self.load(json).err().unwrap();
        assert_eq!(error.exit_code(), 3, "{error}");
        error.to_string()
    }
}

pub fn all(data: &dyn Dataset, split: Split) -> State {
    dataset::first(data, split, i64::MAX, &Streams::new(0)).unwrap()
}

fn idx_file(sizes: &[usize], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|&size| bytes.extend((size as u32).to_be_bytes()));
    bytes.extend(data);
    bytes
}

/// Image `k` has a mark of brightness `k + 1` left of the middle; label `k % 10`.
fn digits(folder: &Folder) {
    let inside = folder.0.path().join("mnist");
    std::fs::create_dir_all(&inside).unwrap();
    for (count, name) in [(40_usize, "train"), (20, "t10k")] {
        let mut pixels = vec![0_u8; count * 784];
        for k in 0..count {
            for row in 13..15 {
                for column in 2..6 {
                    pixels[k * 784 + row * 28 + column] = k as u8 + 1;
                }
            }
        }
        let labels: Vec<u8> = (0..count).map(|k| (k % 10) as u8).collect();
        let images = idx_file(&[count, 28, 28], &pixels);
        std::fs::write(inside.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        let labels = idx_file(&[count], &labels);
        std::fs::write(inside.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
}

#[test]
fn digits_are_turned_once_whatever_their_number() {
    let folder = Folder::new();
    digits(&folder);
    let base = json!({"type": "turned-digits", "validation": 8, "test": 20});
    let load = |extra: Value| {
        let mut json = base.clone();
        for (key, value) in extra.as_object().unwrap() {
            json[key] = value.clone();
        }
        folder.load(json).unwrap()
    };
    let few = load(json!({"count": 10}));
    assert_eq!(few.len(Split::Train), Some(10));
    assert_eq!(few.len(Split::Validation), Some(8));
    assert_eq!(few.len(Split::Test), Some(20));
    assert_eq!(few.digests().len(), 4);
    // The same image is turned alike in a larger subset.
    let many = load(json!({}));
    assert_eq!(many.len(Split::Train), Some(32));
    let by_brightness = |data: &dyn Dataset, count: i64| {
        let state = data.batch(Split::Train, 0, count, &Streams::new(0)).unwrap();
        let order = state.x().flatten(1, -1).amax(1, false).argsort(0, false);
        state.x().index_select(0, &order)
    };
    let (a, b) = (by_brightness(few.as_ref(), 10), by_brightness(many.as_ref(), 32));
    assert_eq!(a, b.narrow(0, 0, 10));
    // Right angles: every mark lies on one of the four sides, and all four occur.
    let test = all(many.as_ref(), Split::Test);
    let bright = (test.x() + 1.0).gt(1e-6).to_kind(Kind::Float);
    let sides = [(13, 2), (22, 13), (13, 22), (2, 13)].map(|(row, column)| {
        let seen = bright.narrow(2, row, 2).narrow(3, column, 2);
        seen.flatten(1, -1).amax(1, false).sum(Kind::Float).double_value(&[])
    });
    assert_eq!(sides.iter().sum::<f64>(), 20.0);
    assert!(sides.iter().all(|&count| count > 0.0), "{sides:?}");
    let upright = all(load(json!({"turns": "none"})).as_ref(), Split::Test);
    let mark = (upright.x().double_value(&[0, 0, 13, 2]) + 1.0) * 127.5;
    assert!((mark - 1.0).abs() < 1e-4, "{mark}");
    let labels = &upright.given(State::LABEL).unwrap().tensor;
    assert_eq!(*labels, Tensor::arange(20, (Kind::Int64, Device::Cpu)).remainder(10));
    // Any angle keeps the brightness of the mark up to interpolation, and its distance from the middle.
    let any = all(load(json!({"turns": "any"})).as_ref(), Split::Test);
    let mass = |x: &Tensor| (x + 1.0).sum(Kind::Float).double_value(&[]);
    assert!((mass(any.x()) / mass(upright.x()) - 1.0).abs() < 0.1);
    let large = load(json!({"padding": 2, "channels": 3, "test_from": "training-file"}));
    assert_eq!(all(large.as_ref(), Split::Test).x().size(), [20, 3, 32, 32]);
}

#[test]
fn bad_digits_are_named() {
    let folder = Folder::new();
    let json = json!({"type": "turned-digits", "validation": 8, "test": 20});
    let config: Box<dyn DatasetConfig> = serde_json::from_value(json.clone()).unwrap();
    let context = LoadContext {
        data_dir: folder.0.path().to_path_buf(),
        kind: Kind::Float,
        device: Device::Cpu,
        streams: Streams::new(0),
    };
    assert!(config.load(&context).is_err(), "there is nothing to load");
    digits(&folder);
    let images = folder.0.path().join("mnist/train-images-idx3-ubyte");
    let whole = std::fs::read(&images).unwrap();
    std::fs::write(&images, &whole[..5000]).unwrap();
    assert!(folder.refuse(json.clone()).contains("train-images-idx3-ubyte"));
    std::fs::write(&images, idx_file(&[40, 20, 20], &[0; 16_000])).unwrap();
    assert!(folder.refuse(json.clone()).contains("20x20"));
    std::fs::write(&images, &whole).unwrap();
    let mut many = json.clone();
    many["count"] = json!(33);
    let error = folder.load(many).err().unwrap();
    assert!(matches!(&error, Error::Config { pointer, .. } if pointer == "/count"), "{error}");
    let mut tests = json;
    tests["test"] = json!(21);
    let error = folder.load(tests).err().unwrap();
    assert!(matches!(&error, Error::Config { pointer, .. } if pointer == "/test"), "{error}");
}

#[test]
fn folders_are_split_labelled_and_checked() {
    let folder = Folder::new();
    for (class, name) in ["cat", "dog"].into_iter().enumerate() {
        std::fs::create_dir_all(folder.0.path().join("pets").join(name)).unwrap();
        for k in 0..6_u8 {
            let value = 10 * k + 100 * class as u8;
            image::RgbImage::from_pixel(8, 8, image::Rgb([value, 0, 255]))
                .save(folder.0.path().join(format!("pets/{name}/{k}.png")))
                .unwrap();
        }
    }
    let json = json!({
        "type": "image-folder", "path": "pets", "size": [8, 8], "labels": "folders",
        "validation": 3, "test": 4
    });
    let data = folder.load(json.clone()).unwrap();
    let (train, test) = (all(data.as_ref(), Split::Train), all(data.as_ref(), Split::Test));
    assert_eq!((train.batch_size(), test.batch_size()), (5, 4));
    let both = State::cat(&[train, test, all(data.as_ref(), Split::Validation)]).unwrap();
    let red = (both.x().select(1, 0).select(1, 0).select(1, 0) + 1.0) * 127.5;
    let class = red.ge(99.0).to_kind(Kind::Int64);
    assert_eq!(both.given(State::LABEL).unwrap().tensor, class);
    assert_eq!(red.round().to_kind(Kind::Int64).unique_dim(0, true, false, false).0.size(), [12]);
    assert_eq!(both.x().select(1, 2).min().double_value(&[]), 1.0);
    // Flat, with labels in the names.
    image::GrayImage::from_pixel(8, 8, image::Luma([9]))
        .save(folder.0.path().join("3_17.png"))
        .unwrap();
    image::GrayImage::from_pixel(8, 8, image::Luma([9]))
        .save(folder.0.path().join("5_18.jpg"))
        .unwrap();
    let flat = json!({
        "type": "image-folder", "path": ".", "size": [8, 8], "labels": "prefix", "channels": 1, "validation": 0,
        "test": 1
    });
    let data = folder.load(flat.clone()).unwrap();
    let labels = [Split::Train, Split::Test].map(|split| {
        all(data.as_ref(), split).given(State::LABEL).unwrap().tensor.int64_value(&[0])
    });
    assert!(labels == [3, 5] || labels == [5, 3], "{labels:?}");
    // What is wrong is named.
    image::GrayImage::from_pixel(6, 8, image::Luma([9]))
        .save(folder.0.path().join("odd.png"))
        .unwrap();
    assert!(folder.refuse(flat.clone()).contains("odd.png"));
    std::fs::rename(folder.0.path().join("odd.png"), folder.0.path().join("7_19.png")).unwrap();
    let text = folder.refuse(flat);
    assert!(text.contains("7_19.png: 6x8 pixels"), "{text}");
    let mut cut = std::fs::read(folder.0.path().join("pets/cat/0.png")).unwrap();
    cut.truncate(40);
    std::fs::write(folder.0.path().join("pets/cat/0.png"), cut).unwrap();
    assert!(folder.refuse(json.clone()).contains("0.png"));
    let mut nowhere = json;
    nowhere["path"] = json!("nowhere");
    assert!(folder.refuse(nowhere).contains("nowhere"));
}

#[test]
fn patches_of_different_splits_share_no_pixel() {
    // Every pixel has a number of its own in two of its channels.
    let numbers = Tensor::arange(40 * 60, (Kind::Int64, Device::Cpu)).reshape([40, 60]);
    let high = numbers.divide_scalar_mode(256, "floor");
    let low = numbers.remainder(256);
    let picture = Tensor::stack(&[&low, &high, &low], 0).to_kind(Kind::Uint8);
    let config: HistologyPatchesConfig = serde_json::from_value(json!({
        "size": 12, "count": 200, "validation": 50, "test": 100, "training_width": 0.6
    }))
    .unwrap();
    let parts = config.cut(&picture).unwrap();
    let columns = |images: &Tensor| {
        let images = images.to_kind(Kind::Int64);
        (images.select(1, 0) + images.select(1, 1) * 256).remainder(60)
    };
    assert!(columns(&parts[0].images).max().int64_value(&[]) == 35);
    for part in &parts[1..] {
        assert!(columns(&part.images).min().int64_value(&[]) == 36);
    }
    // Patches are contiguous squares of the picture.
    let first = parts[0].images.get(0).to_kind(Kind::Int64);
    let place = first.get(0) + first.get(1) * 256;
    let across = place.narrow(1, 1, 11) - place.narrow(1, 0, 11);
    let down = place.narrow(0, 1, 11) - place.narrow(0, 0, 11);
    assert!(across.eq(1).all().int64_value(&[]) == 1 && down.eq(60).all().int64_value(&[]) == 1);
    let large: HistologyPatchesConfig =
        serde_json::from_value(json!({"size": 30, "training_width": 0.6})).unwrap();
    assert!(large.cut(&picture).unwrap_err().to_string().contains("do not fit"));
}

/// Written by another library than the one that reads.
fn lysto(folder: &Folder, organs: &[&str]) {
    let (count, side) = (12_usize, 20_usize);
    let mut pixels = Vec::new();
    for k in 0..count {
        for _ in 0..side * side {
            pixels.extend([k as u8 * 20, 100, 255 - k as u8 * 20]);
        }
    }
    let mut file = hdf5_pure::FileBuilder::new();
    let shape = [count as u64, side as u64, side as u64, 3];
    file.create_dataset("x").with_u8_data(&pixels).with_shape(&shape);
    file.create_dataset("organ").with_ascii_strings(organs).unwrap();
    let codes: Vec<i64> = (0..count as i64).map(|k| k % 3).collect();
    file.create_dataset("code").with_i64_data(&codes).with_shape(&[count as u64]);
    file.create_dataset("y").with_u8_data(&[1; 12]).with_shape(&[12]);
    file.write(folder.0.path().join("training.h5")).unwrap();
}

#[test]
fn lysto_is_read_scaled_and_cut() {
    let folder = Folder::new();
    let names = ["colon", "prostate", "breast"].repeat(4);
    lysto(&folder, &names);
    let json = json!({
        "type": "lysto", "path": "training.h5", "scale": 10, "size": 6, "validation": 2, "test": 4
    });
    for organs in ["organ", "code"] {
        let mut json = json.clone();
        json["organs"] = json!(organs);
        let data = folder.load(json).unwrap();
        let parts = [Split::Train, Split::Validation, Split::Test].map(|s| all(data.as_ref(), s));
        let every = State::cat(&parts).unwrap();
        assert_eq!(every.x().size(), [12, 3, 6, 6]);
        let red = ((every.x().select(1, 0).select(1, 0).select(1, 0) + 1.0) * 127.5).round();
        let number = red.to_kind(Kind::Int64).divide_scalar_mode(20, "floor");
        assert_eq!(every.given(State::LABEL).unwrap().tensor, number.remainder(3), "{organs}");
    }
    let with = |key: &str, value: Value| {
        let mut json = json.clone();
        json[key] = value;
        json
    };
    let text = folder.refuse(with("images", json!("pictures")));
    assert!(text.contains("training.h5") && text.contains("pictures"), "{text}");
    assert!(folder.refuse(with("images", json!("y"))).contains("shape"));
    assert!(folder.refuse(with("path", json!("other.h5"))).contains("other.h5"));
    assert!(folder.refuse(with("names", json!(["colon"]))).contains("none of"));
    std::fs::write(folder.0.path().join("text.h5"), "no HDF5").unwrap();
    assert!(folder.refuse(with("path", json!("text.h5"))).contains("text.h5"));
}
