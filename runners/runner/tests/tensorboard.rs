//! Event files: what is written comes back, here and in the official package; a resumed run leaves no trace.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use runner::tensorboard::{EventValue, EventWriter, read_events};
use tch::Tensor;
use tempfile::tempdir;

/// A grey PNG of 2 x 1 pixels (made with zlib).
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0xd1, 0x49, 0x20,
    0x56, 0x00, 0x00, 0x00, 0x0b, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x60, 0xf8, 0x0f, 0x00,
    0x01, 0x02, 0x01, 0x00, 0x42, 0xbe, 0xbc, 0x68, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44,
    0xae, 0x42, 0x60, 0x82,
];

fn scalars(path: &std::path::Path) -> Vec<(i64, f32)> {
    let events = read_events(path).expect("readable");
    let scalar = |value| if let EventValue::Scalar(v) = value { v } else { f32::NAN };
    events.into_iter().map(|e| (e.step, scalar(e.value))).collect()
}

fn write_all_kinds(writer: &mut EventWriter) {
    for step in 0..100 {
        writer.scalar("train/loss", step, 1.0 / (step as f32 + 1.0)).expect("scalar");
    }
    let values = Tensor::from_slice(&[0.0, 0.5, 1.0, f64::NAN]);
    writer.histogram("weights/a", 7, &values).expect("histogram");
    writer.image("plots/picture", 8, PNG).expect("image");
    writer.text("configuration", 9, "**bold** ü\n\n    code").expect("text");
    writer.sync().expect("sync");
}

#[test]
fn all_kinds_come_back() {
    let scratch = tempdir().expect("scratch folder");
    let mut writer = EventWriter::create(scratch.path()).expect("creates");
    write_all_kinds(&mut writer);
    let name = writer.path().file_name().expect("name").to_string_lossy().into_owned();
    assert!(name.starts_with("events.out.tfevents.") && name.ends_with(".isotropy"), "{name}");
    assert_eq!(writer.offset(), fs::metadata(writer.path()).expect("file").len());
    let events = read_events(writer.path()).expect("readable");
    assert_eq!(events.len(), 104);
    assert_eq!((events[99].step, &events[99].value), (99, &EventValue::Scalar(0.01)));
    assert!(events[99].wall_time > 1.6e9);
    let by_tag = |tag: &str| &events.iter().find(|e| e.tag == tag).expect("tag").value;
    assert_eq!(*by_tag("weights/a/not_finite"), EventValue::Scalar(1.0));
    let EventValue::Histogram(histogram) = by_tag("weights/a") else { panic!("a histogram") };
    assert_eq!((histogram.num, histogram.sum, histogram.sum_squares), (3.0, 1.5, 1.25));
    let image = EventValue::Image { width: 2, height: 1, png: PNG.to_vec() };
    assert_eq!(*by_tag("plots/picture"), image);
    assert_eq!(*by_tag("configuration"), EventValue::Text("**bold** ü\n\n    code".to_owned()));
    assert!(writer.image("bad", 0, b"GIF89a").is_err());
}

#[test]
fn a_resumed_run_has_every_point_once() {
    let scratch = tempdir().expect("scratch folder");
    let mut writer = EventWriter::open(scratch.path(), 0).expect("opens");
    (0..10).for_each(|s| writer.scalar("loss", s, s as f32).expect("scalar"));
    writer.sync().expect("sync");
    let offset = writer.offset();
    (10..15).for_each(|s| writer.scalar("loss", s, -1.0).expect("scalar"));
    drop(writer); // flushes
    let path =
        fs::read_dir(scratch.path()).expect("folder").next().expect("file").expect("entry").path();
    assert_eq!(scalars(&path).len(), 15);
    // A killed writer leaves half a record.
    let whole = fs::read(&path).expect("file");
    fs::write(&path, &whole[..whole.len() - 3]).expect("cut");
    assert_eq!(scalars(&path).len(), 14);

    let first = EventWriter::open(scratch.path(), 0).expect("opens");
    assert_eq!(first.path(), path);
    let mut writer = EventWriter::resume(first.path(), offset).expect("resumes");
    drop(first);
    assert_eq!(scalars(&path).len(), 14, "opening cuts nothing");
    (10..20).for_each(|s| writer.scalar("loss", s, s as f32).expect("scalar"));
    writer.sync().expect("sync");
    let expected: Vec<_> = (0..20).map(|s| (s, s as f32)).collect();
    assert_eq!(scalars(&path), expected);
    assert_eq!(fs::read_dir(scratch.path()).expect("folder").count(), 1);

    for wrong in [offset - 1, offset + 3, 1 << 40] {
        assert!(EventWriter::resume(&path, wrong).is_err(), "{wrong}");
    }
    let mut anew = EventWriter::open(scratch.path(), 0).expect("opens");
    anew.scalar("loss", 0, 5.0).expect("scalar");
    anew.sync().expect("sync");
    assert_eq!(scalars(&path), [(0, 5.0)], "offset 0 starts over");
}

#[test]
fn two_writers_in_one_second_do_not_share_a_file() {
    let scratch = tempdir().expect("scratch folder");
    let mut writers: Vec<_> =
        (0..3).map(|_| EventWriter::create(scratch.path()).expect("creates")).collect();
    for (count, writer) in (3..).zip(&mut writers) {
        (0..count).for_each(|s| writer.scalar("loss", s, 0.0).expect("scalar"));
        writer.sync().expect("sync");
    }
    let counts: Vec<_> = writers.iter().map(|w| scalars(w.path()).len()).collect();
    assert_eq!(counts, [3, 4, 5]);
}

#[test]
fn records_reach_the_file_when_the_interval_has_passed() {
    let scratch = tempdir().expect("scratch folder");
    let mut writer = EventWriter::create(scratch.path())
        .expect("creates")
        .flush_every(Duration::from_millis(50));
    writer.scalar("loss", 0, 0.0).expect("scalar");
    assert_eq!(scalars(writer.path()).len(), 0, "not written one by one");
    std::thread::sleep(Duration::from_millis(60));
    writer.scalar("loss", 1, 0.0).expect("scalar");
    assert_eq!(scalars(writer.path()).len(), 2);
}

#[test]
fn a_failed_write_is_an_error_and_loses_no_record() {
    let scratch = tempdir().expect("scratch folder");
    let output = Command::new(std::env::current_exe().expect("test binary"))
        .args(["--exact", "child_with_a_write_limit", "--ignored", "--nocapture"])
        .env("ISOTROPY_TEST_FOLDER", scratch.path())
        .output()
        .expect("child starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by a_failed_write_is_an_error_and_loses_no_record"]
fn child_with_a_write_limit() {
    let folder = PathBuf::from(std::env::var_os("ISOTROPY_TEST_FOLDER").expect("run by a test"));
    let set = |bytes: u64| {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: a plain system call on a value of this frame; this process runs nothing else.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
    };
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let mut writer = EventWriter::create(&folder).expect("creates");
    set(1000);
    (0..100).for_each(|s| writer.scalar("loss", s, s as f32).expect("in memory"));
    let error = writer.sync().expect_err("5 kB do not fit").to_string();
    assert!(error.contains(&*writer.path().to_string_lossy()), "{error}");
    // With room again, nothing is missing and nothing is twice.
    set(1 << 20);
    writer.sync().expect("fits now");
    assert_eq!(scalars(writer.path()), (0..100).map(|s| (s, s as f32)).collect::<Vec<_>>());
}

const OFFICIAL: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0, "histograms": 0, "tensors": 0})
a.Reload()
h = a.Histograms("weights/a")[0]
i = a.Images("plots/picture")[0]
t = a.Tensors("configuration")[0]
print(json.dumps({
    "tags": {k: sorted(v) for k, v in a.Tags().items() if isinstance(v, list)},
    "loss": [[e.step, e.value] for e in a.Scalars("train/loss")],
    "histogram": [h.step, h.histogram_value.num, h.histogram_value.sum, sum(h.histogram_value.bucket),
                  len(h.histogram_value.bucket_limit)],
    "image": [i.step, i.width, i.height, len(i.encoded_image_string)],
    "text": [t.step, t.tensor_proto.string_val[0].decode(),
             a.SummaryMetadata("configuration").plugin_data.plugin_name],
    "wall": a.Scalars("train/loss")[0].wall_time,
}))
"#;

#[test]
fn the_official_package_reads_all_kinds() {
    let Some(python) = std::env::var_os("ISOTROPY_PYTHON") else {
        println!("SKIPPED: ISOTROPY_PYTHON names no interpreter with tensorboard");
        return;
    };
    let scratch = tempdir().expect("scratch folder");
    let mut writer = EventWriter::create(scratch.path()).expect("creates");
    write_all_kinds(&mut writer);
    let output =
        Command::new(python).args(["-c", OFFICIAL]).arg(scratch.path()).output().expect("python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(read["loss"].as_array().expect("list").len(), 100);
    assert_eq!(read["loss"][3], serde_json::json!([3, 0.25]));
    assert_eq!(read["histogram"], serde_json::json!([7, 3.0, 1.5, 3.0, 30]));
    assert_eq!(read["image"], serde_json::json!([8, 2, 1, PNG.len()]));
    assert_eq!(read["text"], serde_json::json!([9, "**bold** ü\n\n    code", "text"]));
    assert_eq!(read["tags"]["scalars"], serde_json::json!(["train/loss", "weights/a/not_finite"]));
    assert!(read["wall"].as_f64().expect("time") > 1.6e9);
}
