//! What people keep beside their pictures, and the kinds of numbers that files hold.

use super::data::{Folder, all};
use isotropy_core::{Dataset, Error, Split, State};
use serde_json::{Value, json};
use tch::Kind;

/// The facts of a dataset by name.
fn facts(data: &dyn Dataset) -> std::collections::BTreeMap<String, f64> {
    data.facts().into_iter().collect()
}

/// A folder of 8x8 pictures in classes: `(class, red, how many)`.
fn classes(folder: &Folder, classes: &[(&str, u8, u8)]) {
    for (class, red, count) in classes {
        std::fs::create_dir_all(folder.0.path().join("pets").join(class)).unwrap();
        for k in 0..*count {
            image::RgbImage::from_pixel(8, 8, image::Rgb([*red, k, 255]))
                .save(folder.0.path().join(format!("pets/{class}/{k}.png")))
                .unwrap();
        }
    }
}

#[test]
fn classes_are_folders_that_are_seen_and_can_be_given() {
    let folder = Folder::new();
    classes(&folder, &[("cat", 10, 3), ("dog", 20, 3)]);
    // What file managers leave behind is no class and no picture.
    for hidden in [".ipynb_checkpoints", "__MACOSX", "cat/.thumbnails"] {
        let inside = folder.0.path().join("pets").join(hidden);
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::copy(folder.0.path().join("pets/cat/0.png"), inside.join("0.png")).unwrap();
    }
    std::fs::write(folder.0.path().join("pets/dog/._0.png"), "a Mac's").unwrap();
    std::fs::write(folder.0.path().join("pets/Thumbs.db"), "Windows'").unwrap();
    let json = json!({
        "type": "image-folder", "path": "pets", "size": [8, 8], "labels": "folders",
        "validation": 1, "test": 1
    });
    // Red, and the label that belongs to it.
    let labels = |json: &Value| {
        let data = folder.load(json.clone()).unwrap();
        let parts = [Split::Train, Split::Validation, Split::Test].map(|s| all(data.as_ref(), s));
        let every = State::cat(&parts).unwrap();
        assert_eq!(every.batch_size(), 6);
        let red = (every.x().select(1, 0).select(1, 0).select(1, 0) + 1.0) * 12.75 - 1.0;
        let label = every.given(State::LABEL).unwrap().tensor.shallow_clone();
        (red.round().to_kind(Kind::Int64), label, facts(data.as_ref()))
    };
    let (red, label, found) = labels(&json);
    assert_eq!(label, red);
    assert_eq!(found["label of the folder 'cat'"], 0.0);
    assert_eq!(found["label of the folder 'dog'"], 1.0);
    assert_eq!(found.len(), 2, "{found:?}");
    let with = |key: &str, value: Value| {
        let mut json = json.clone();
        json[key] = value;
        json
    };
    let (red, label, found) = labels(&with("classes", json!(["dog", "cat"])));
    assert_eq!(label, 1 - red);
    assert_eq!(found["label of the folder 'dog'"], 0.0);
    // Lists that do not fit.
    assert!(folder.refuse(with("classes", json!(["dog", "cow", "cat"]))).contains("'cow'"));
    assert!(folder.refuse(with("classes", json!(["dog"]))).contains("cat: it is none of"));
    for (key, value, place) in [
        ("classes", json!([]), "/classes"),
        ("classes", json!(["cat", "dog", "cat"]), "/classes/2"),
        ("bits", json!(17), "/bits"),
    ] {
        let error = folder.load(with(key, value)).err().unwrap();
        assert!(matches!(&error, Error::Config { pointer, .. } if pointer == place), "{error}");
    }
    let mut unused = with("classes", json!(["cat", "dog"]));
    unused["labels"] = json!("none");
    assert_eq!(folder.load(unused).err().unwrap().exit_code(), 2);
    // A class without a picture.
    std::fs::create_dir(folder.0.path().join("pets/bird")).unwrap();
    assert!(folder.refuse(json.clone()).contains("bird: the class has no picture"));
    std::fs::remove_dir(folder.0.path().join("pets/bird")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        // A class may be a link; a loop is not followed, a link that leads nowhere is named.
        std::fs::rename(folder.0.path().join("pets/dog"), folder.0.path().join("dogs")).unwrap();
        symlink(folder.0.path().join("dogs"), folder.0.path().join("pets/dog")).unwrap();
        symlink("..", folder.0.path().join("pets/cat/loop")).unwrap();
        let (red, label, _) = labels(&json);
        assert_eq!(label, red);
        symlink("nowhere", folder.0.path().join("pets/eel")).unwrap();
        assert!(folder.refuse(json).contains("eel: the link leads nowhere"));
    }
}

#[test]
fn endings_in_capitals_are_pictures_and_other_files_are_counted() {
    let folder = Folder::new();
    for (k, name) in ["a.PNG", "b.JPEG", "c.Jpg", "d.png"].iter().enumerate() {
        let format = if name.to_lowercase().ends_with("png") { "png" } else { "jpg" };
        let path = folder.0.path().join(format!("{k}.{format}"));
        image::GrayImage::from_pixel(8, 8, image::Luma([9])).save(&path).unwrap();
        std::fs::rename(path, folder.0.path().join(name)).unwrap();
    }
    std::fs::write(folder.0.path().join("e.tif"), "another format").unwrap();
    let json = json!({"type": "image-folder", "path": ".", "size": [8, 8], "channels": 1});
    let data = folder.load(json).unwrap();
    // A tenth is kept for each, and at least one.
    let sizes = [Split::Train, Split::Validation, Split::Test].map(|split| data.len(split));
    assert_eq!(sizes, [Some(2), Some(1), Some(1)]);
    let left = &facts(data.as_ref())["files left out that are no PNG or JPEG"];
    assert_eq!(*left, 1.0);
}

#[test]
fn digests_change_with_content_names_and_order() {
    let folder = Folder::new();
    let write = |name: &str, value: u8| {
        let picture = image::GrayImage::from_pixel(8, 8, image::Luma([value]));
        picture.save(folder.0.path().join(name)).unwrap();
    };
    let digests = || {
        let json = json!({"type": "image-folder", "path": ".", "size": [8, 8], "channels": 1});
        folder.load(json).unwrap().digests()
    };
    for (name, value) in [("a.png", 1), ("b.png", 2), ("c.png", 3)] {
        write(name, value);
    }
    let before = digests();
    assert_eq!(before.len(), 2);
    assert_eq!(digests(), before);
    write("b.png", 4);
    let changed = digests();
    assert!(changed[0].1 != before[0].1 && changed[1].1 != before[1].1);
    write("b.png", 2);
    assert_eq!(digests(), before);
    // The same pictures in the same order under another name.
    std::fs::rename(folder.0.path().join("c.png"), folder.0.path().join("d.png")).unwrap();
    let renamed = digests();
    assert_eq!(renamed[0], before[0]);
    assert_ne!(renamed[1].1, before[1].1);
    // The same names and contents, exchanged.
    write("a.png", 2);
    write("b.png", 1);
    let exchanged = digests();
    assert!(exchanged[0].1 != renamed[0].1 && exchanged[1].1 != renamed[1].1);
}

#[test]
fn transparency_and_depth_are_options_of_a_folder() {
    let folder = Folder::new();
    for (k, alpha) in [0, 255, 51].into_iter().enumerate() {
        let pixel = image::Rgba([10, 20, 30, alpha]);
        let name = folder.0.path().join(format!("{k}.png"));
        image::RgbaImage::from_pixel(8, 8, pixel).save(name).unwrap();
    }
    let mut json = json!({"type": "image-folder", "path": ".", "size": [8, 8], "seed": 3});
    let greens = |json: &Value| {
        let data = folder.load(json.clone()).unwrap();
        let parts = [Split::Train, Split::Validation, Split::Test].map(|s| all(data.as_ref(), s));
        let every = State::cat(&parts).unwrap();
        let green = (every.x().select(1, 1).select(1, 0).select(1, 0) + 1.0) * 127.5;
        let mut green = Vec::<i64>::try_from(green.round().to_kind(Kind::Int64)).unwrap();
        green.sort_unstable();
        (green, facts(data.as_ref()))
    };
    let (green, found) = greens(&json);
    assert_eq!(green, [20, 208, 255]);
    assert_eq!(found["pictures laid over the background"], 2.0);
    assert_eq!(found["background green"], 255.0);
    json["background"] = json!([0, 120, 0]);
    let (green, found) = greens(&json);
    assert_eq!(green, [20, 100, 120]);
    assert_eq!(found["background green"], 120.0);
    // Twelve bits in sixteen.
    for k in 0..3_u16 {
        let name = folder.0.path().join(format!("{k}.png"));
        image::ImageBuffer::from_pixel(8, 8, image::Luma([2047 * k])).save(name).unwrap();
    }
    let text = folder.refuse(json.clone());
    assert!(text.contains("12 bits"), "{text}");
    json["bits"] = json!(12);
    let (green, found) = greens(&json);
    assert_eq!(green, [0, 127, 255]);
    assert_eq!(found["bits of pictures of 16 bits"], 12.0);
}

#[test]
fn lysto_reads_integers_of_every_kind() {
    let folder = Folder::new();
    let (count, side) = (6_u64, 8_u64);
    let bytes: Vec<u8> =
        (0..count).flat_map(|k| vec![k as u8 * 20; (side * side * 3) as usize]).collect();
    let codes: Vec<i64> = (0..count as i64).map(|k| k % 3).collect();
    let shape = [count, side, side, 3];
    let mut file = hdf5_pure::FileBuilder::new();
    macro_rules! both {
        ($($name:literal $kind:ty),*) => {$(
            let pixels: Vec<$kind> = bytes.iter().map(|&b| b as $kind).collect();
            file.create_dataset(concat!("x-", $name)).with_data(&pixels).with_shape(&shape);
            let labels: Vec<$kind> = codes.iter().map(|&c| c as $kind).collect();
            file.create_dataset(concat!("y-", $name)).with_data(&labels).with_shape(&[count]);
        )*};
    }
    both!("i8" i8, "u8" u8, "i16" i16, "u16" u16, "i32" i32, "u32" u32, "i64" i64, "u64" u64);
    let chunked = file.create_dataset("x-chunked");
    chunked.with_u8_data(&bytes).with_shape(&shape);
    chunked.with_chunks(&[4, 5, 8, 3]).with_shuffle().with_deflate(6);
    file.create_dataset("y-negative").with_data(&[0_i32, 1, 2, 0, -1, 2]).with_shape(&[count]);
    file.create_dataset("x-wide").with_data(&vec![256_i32; 6 * 8 * 8 * 3]).with_shape(&shape);
    file.create_dataset("x-float").with_data(&vec![0.5_f32; 6 * 8 * 8 * 3]).with_shape(&shape);
    file.create_dataset("y-float").with_data(&[0.5_f32; 6]).with_shape(&[count]);
    let organs = ["colon", "prostate", "breast", "colon", "prostate", "breast"];
    file.create_dataset("y-fixed").with_ascii_strings(&organs).unwrap();
    file.write(folder.0.path().join("training.h5")).unwrap();
    let json = |x: &str, y: &str| {
        json!({
            "type": "lysto", "path": "training.h5", "images": x, "organs": y, "scale": 8,
            "size": 4, "validation": 1, "test": 1
        })
    };
    let read = |x: &str, y: &str| {
        let data = folder.load(json(x, y)).unwrap();
        let parts = [Split::Train, Split::Validation, Split::Test].map(|s| all(data.as_ref(), s));
        let every = State::cat(&parts).unwrap();
        (every.x().shallow_clone(), every.given(State::LABEL).unwrap().tensor.shallow_clone())
    };
    let (pixels, labels) = read("x-u8", "y-i64");
    for kind in ["i8", "i16", "u16", "i32", "u32", "i64", "u64"] {
        let found = read(&format!("x-{kind}"), &format!("y-{kind}"));
        assert!(found.0 == pixels && found.1 == labels, "{kind}");
    }
    assert_eq!(read("x-chunked", "y-fixed"), (pixels, labels));
    for (x, y, what) in [
        ("x-u8", "y-negative", "'y-negative' holds the label -1"),
        ("x-wide", "y-u8", "holds 256, which is no byte"),
        ("x-float", "y-u8", "not integers"),
        ("x-u8", "y-float", "not integers"),
    ] {
        let text = folder.refuse(json(x, y));
        assert!(text.contains(what) && text.contains("training.h5"), "{text}");
    }
    // Names and contents: patches and file.
    assert_eq!(folder.load(json("x-u8", "y-u8")).unwrap().digests().len(), 2);
}
