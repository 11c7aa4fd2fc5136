//! Files, `extends` and `--set`: what is read, joined and refused.

#![allow(clippy::unwrap_used, missing_docs)]

mod config_support;

use std::time::{Duration, Instant};

use config_support::{Experiment, Folder, load, load_text, mistakes, shown};
use runner::config::Style;

const GOOD: &str = r#"{
  // A comment.
  "$schema": "../schema.json",
  "schema": 1,
  "seed": 18446744073709551615, /* another */
  "sampler": { "steps": 10, "type": "euler", "schedule": { "type": "linear", "beta_min": 0.1, "beta_max": 20 } },
  "warmup": null,
  "schedules": [ { "type": "cosine" }, { "type": "cosine", "offset": 0.008 } ],
  "training": { "steps": 100, "lr": 1e-3, "betas": [0.9, 0.999], "pair": [255, "a"], "rates": [0.1], "kind": "f64",
                "device": "cuda", "name": "x\u00e4\ud83d\ude00", "offset": -9223372036854775808, "clip": null },
  "named": { "a.b": { "type": "cosine" } },
  "by_step": { "100": 0.5 },
  "noise": { "sigma": 1, "law": "gaussian" },
  "loose": [1, { "from": 0, "to": 1 }, [2]],
  "outer": { "linear": { "from": 0, "to": 1 } },
  "anything": [0.1, 1.0, 1e3, -0, null, {}]
}"#;

#[test]
fn a_good_configuration_is_refused_or_changed() {
    let loaded = load_text(GOOD, &[]).unwrap();
    assert_eq!(loaded.value["seed"], serde_json::json!(u64::MAX));
    assert_eq!(loaded.value["training"]["offset"], serde_json::json!(i64::MIN));
    assert_eq!(loaded.value["training"]["name"], "xä😀");
    assert_eq!(loaded.value["anything"].to_string(), "[0.1,1.0,1000.0,-0.0,null,{}]");
    assert!(loaded.value.get("$schema").is_none());
    let first = loaded.value["sampler"].as_object().unwrap().keys().next();
    assert_eq!(
        first.map(String::as_str),
        Some("type"),
        "typetag reports best when the tag comes first"
    );
    let experiment: Experiment = serde_json::from_value(loaded.value.clone()).unwrap();
    assert_eq!(experiment.seed, u64::MAX);
    let with_mark = format!("\u{feff}{GOOD}").replace('\n', "\r\n");
    assert_eq!(load_text(&with_mark, &[]).unwrap().value, loaded.value, "byte order mark or CRLF");
}

#[test]
fn a_later_error_has_no_position() {
    let loaded = load_text(GOOD, &["training.lr=0.5"]).unwrap();
    let place = |path: &str| loaded.diagnose(path, "m", Some("h".into())).plain()[0].clone();
    let at = |path: &str| (place(path).line, place(path).column);
    assert_eq!(at("/sampler/schedule/beta_min"), (6, 90));
    assert_eq!(at("sampler.schedule.beta_min"), (6, 90));
    assert_eq!(at("schedules[1].offset"), (8, 70));
    assert_eq!(at("/named/a.b"), (11, 31));
    assert_eq!(at("/sampler"), (6, 37), "a component is shown at its name");
    assert_eq!(at("/training/shuffle"), (9, 15), "a default is shown at the object around it");
    assert_eq!(at(""), (1, 1));
    assert_eq!(place("/training/lr").file, "--set training.lr=0.5");
    assert_eq!(place("/training/lr").column, 19);
    assert_eq!(place("/seed").help.as_deref(), Some("h"));
}

#[test]
fn overrides_are_ignored_or_misread() {
    let sets = [
        "seed=7",
        "sampler.steps=20",
        "schedules.1.offset=0.5",
        "training.name=1.2.3",
        "training.kind=f32",
        "training.device=\"cpu\"",
        "training.betas=[0.1, 0.2]",
        "warmup.type=linear",
        "warmup.beta_min=1",
        "warmup.beta_max=2",
        "named.\"a.b\".offset=3",
        "anything=a=b",
        "seed=8",
    ];
    let value = load_text(GOOD, &sets).unwrap().value;
    assert_eq!(value["seed"], 8);
    assert_eq!(value["sampler"]["steps"], 20);
    assert_eq!(value["schedules"][1]["offset"], 0.5);
    assert_eq!(value["training"]["name"], "1.2.3");
    assert_eq!(value["training"]["kind"], "f32");
    assert_eq!(value["training"]["device"], "cpu");
    assert_eq!(value["training"]["betas"], serde_json::json!([0.1, 0.2]));
    assert_eq!(
        value["warmup"],
        serde_json::json!({ "type": "linear", "beta_min": 1, "beta_max": 2 })
    );
    assert_eq!(value["named"]["a.b"]["offset"], 3);
    assert_eq!(value["anything"], "a=b");
}

#[test]
fn another_type_by_flag_keeps_fields_of_the_old_one() {
    let value = load_text(GOOD, &["sampler.type=exact"]).unwrap().value;
    assert_eq!(value["sampler"], serde_json::json!({ "type": "exact" }));
    // What a flag said is never dropped without a word.
    let found = mistakes(GOOD, &["sampler.steps=5", "sampler.type=exact"]);
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("unknown field `steps` in sampler `exact`"), "{found:#?}");
    // The same name again changes nothing.
    let value = load_text(GOOD, &["sampler.type=euler"]).unwrap().value;
    assert_eq!(value["sampler"]["steps"], 10);
}

#[test]
fn a_bad_override_is_not_named() {
    // The flag, the column in its text (after `--set `), a part of the message.
    let cases = [
        ("seed", 7, "has no `=`"),
        ("", 7, "has no `=`"),
        ("=5", 7, "no path"),
        (".seed=5", 7, "empty name"),
        ("sampler..steps=5", 15, "empty name"),
        ("sampler.=5", 15, "empty name"),
        ("named.\"a.b=5", 13, "not closed"),
        ("named.\"a\"b=5", 13, "after the quoted name"),
        ("seed.x=5", 12, "`seed` is the number 18446744073709551615 and has no field `x`"),
        ("training.kind.x.y=5", 21, "`training.kind` is the string \"f64\""),
        ("schedules.2.offset=5", 17, "index 0 to 1; there is no index 2"),
        ("schedules.-1.offset=5", 17, "not an index"),
        ("schedules.x=5", 17, "not an index"),
        ("extends=a.json", 7, "cannot be set by a flag"),
        ("named=[]", 13, "`named` must be an object"),
        ("rates.0=1", 7, "unknown field `rates`"),
        ("training.lr=fast", 19, "must be a number"),
        ("training.lr=1e999", 19, "too large"),
        ("training.lrr=1", 16, "unknown field `lrr`"),
        ("sampler.type=eulr", 20, "unknown sampler `eulr`"),
        ("training.betas=[1,", 22, "must be an array"),
        ("training.betas=[1,2,]", 26, "comma"),
        ("anything={\"a\":1,\"a\":2}", 23, "given twice"),
        ("anything={\"type\" \"a\"}", 16, ""),
        ("schema=2", 14, "reads up to 1"),
    ];
    for (flag, column, message) in cases {
        let Err(problems) = load_text(GOOD, &[flag]) else {
            assert!(message.is_empty(), "{flag} was taken");
            continue;
        };
        let found = shown(&problems);
        assert_eq!(found.len(), 1, "{flag}: {found:#?}");
        let one = &found[0];
        assert_eq!(one.file, format!("--set {flag}"));
        assert_eq!((one.line, one.column), (1, column), "{one:#?}");
        assert!(one.message.contains(message), "{one:#?}");
        let plain = problems.render(Style::Plain);
        assert!(plain.contains(&format!("--set {flag}")) && plain.contains('^'), "{plain}");
    }
    let small = r#"{ "schema": 1, "seed": 1, "sampler": { "type": "exact" } }"#;
    let found = mistakes(small, &["schedules.0.type=cosine"]);
    assert!(found[0].help.as_ref().unwrap().contains("set the whole array"), "{found:#?}");
    let deep = format!("anything.{}=1", vec!["a"; 10_000].join("."));
    assert!(mistakes(GOOD, &[&deep])[0].message.contains("nested more than 128 deep"));
    let deep = format!("anything={}", "[".repeat(10_000));
    assert!(load_text(GOOD, &[&deep]).is_ok(), "what is not JSON is a string");
}

#[test]
fn extending_joins_wrongly() {
    let folder = Folder::new();
    folder.write("base/root.json", r#"{ "schema": 1, "seed": 1, "sampler": { "type": "euler", "steps": 3 }, "training": { "lr": 0.5, "rates": [1, 2, 3] } }"#);
    folder.write("base/mid.json", r#"{ "extends": "root.json", "training": { "steps": 9, "rates": [4] }, "warmup": { "type": "linear", "beta_min": 1, "beta_max": 2 } }"#);
    let path = folder.write("exp.json", r#"{ "extends": "base/mid.json", "seed": 2, "sampler": { "steps": 4 }, "warmup": { "type": "cosine" } }"#);
    let loaded = load(&path, &[]).unwrap();
    assert_eq!(
        loaded.value,
        serde_json::json!({
            "schema": 1, "seed": 2, "sampler": { "type": "euler", "steps": 4 },
            "training": { "lr": 0.5, "rates": [4], "steps": 9 }, "warmup": { "type": "cosine" }
        })
    );
    let names: Vec<_> =
        loaded.files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["exp.json", "mid.json", "root.json"]);
    assert!(loaded.diagnose("/training/lr", "m", None).plain()[0].file.ends_with("base/root.json"));
    assert!(
        loaded.diagnose("/training/steps", "m", None).plain()[0].file.ends_with("base/mid.json")
    );
}

#[test]
fn a_mistake_in_a_parent_is_shown_in_the_child() {
    let folder = Folder::new();
    folder.write(
        "base.json",
        "{ \"schema\": 1, \"seed\": 1,\n \"sampler\": { \"type\": \"euler\", \"steps\": 0 } }",
    );
    let path = folder.write("exp.json", "{ \"extends\": \"base.json\", \"sed\": 1 }");
    let found = shown(&load(&path, &[]).unwrap_err());
    assert_eq!(found.len(), 2);
    assert!(found[0].file.ends_with("exp.json") && found[0].column == 27);
    assert!(found[1].file.ends_with("base.json"));
    assert_eq!((found[1].line, found[1].column), (2, 41));
    folder.write("base.json", "{ \"schema\": 1, \"seed\" }");
    let found = shown(&load(&path, &[]).unwrap_err());
    assert!(found[0].file.ends_with("base.json") && found[0].column == 23, "{found:#?}");
    assert!(found[0].help.as_ref().unwrap().contains("exp.json:1:14"), "{found:#?}");
}

#[test]
fn a_bad_extends_is_not_shown_where_it_stands() {
    let folder = Folder::new();
    folder.write("loop_a.json", "{ \"extends\": \"loop_b.json\" }");
    folder.write("loop_b.json", "{ \"extends\": \"./loop_a.json\" }");
    folder.write("self.json", "{\n\"extends\": \"self.json\" }");
    folder.write("list.json", "[]");
    folder.write("folder/x.json", "{}");
    for i in 0..40 {
        folder.write(
            &format!("chain{i}.json"),
            format!("{{ \"extends\": \"chain{}.json\" }}", i + 1),
        );
    }
    let check = |text: &str, file: &str, place: (usize, usize), message: &[&str]| {
        let path = folder.write("exp.json", text);
        let found = shown(&load(&path, &[]).unwrap_err());
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].file.ends_with(file), "{found:#?}");
        assert_eq!((found[0].line, found[0].column), place, "{found:#?}");
        for part in message {
            assert!(found[0].message.contains(part), "{found:#?}");
        }
        found[0].help.clone().unwrap_or_default()
    };
    let help = check(
        "{ \"extends\": \"loop_c.json\" }",
        "exp.json",
        (1, 14),
        &["cannot extend", "loop_c.json", "no such file"],
    );
    assert!(help.contains("did you mean") && help.contains("loop_"), "{help}");
    check("{ \"extends\": 3 }", "exp.json", (1, 14), &["path of a file", "the number 3"]);
    check("{ \"extends\": \"\" }", "exp.json", (1, 14), &["path of a file"]);
    check("{ \"extends\": \"folder\" }", "exp.json", (1, 14), &["folder"]);
    check("{ \"extends\": \"list.json\" }", "list.json", (1, 1), &["must be an object"]);
    check("{ \"extends\": \"self.json\" }", "self.json", (2, 12), &["extends itself"]);
    check(
        "{ \"extends\": \"loop_a.json\" }",
        "loop_b.json",
        (1, 14),
        &["circle", "loop_a.json -> ", "loop_b.json -> "],
    );
    check("{ \"extends\": \"chain0.json\" }", "chain30.json", (1, 14), &["more than 32"]);
}

#[test]
fn a_file_that_cannot_be_read_is_not_explained() {
    let folder = Folder::new();
    let of = |path: &std::path::Path| {
        let found = shown(&load(path, &[]).unwrap_err());
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].file, path.display().to_string());
        found.into_iter().next().unwrap()
    };
    folder.write("experiment.json", GOOD);
    let missing = of(&folder.0.path().join("experimant.json"));
    assert!(missing.message.contains("no such file"), "{missing:#?}");
    assert!(missing.help.unwrap().contains("experiment.json"));
    assert!(of(folder.0.path()).message.contains("it is a folder"));
    assert!(of(&folder.write("empty.json", "")).message.contains("empty"));
    let binary = of(&folder.write("binary.json", b"{\n  \"a\": \"\xff\" }"));
    assert!(binary.message.contains("byte 11 is not UTF-8"), "{binary:#?}");
    assert_eq!((binary.line, binary.column), (2, 9));
    assert!(of(&folder.write("wide.json", b"\xff\xfe{\0}\0")).help.unwrap().contains("UTF-16"));
    let start = Instant::now();
    let large = of(&folder.write("large.json", "nonsense ".repeat(1_200_000)));
    assert!(
        large.message.contains("10800000 bytes") && large.message.contains("1000000"),
        "{large:#?}"
    );
    assert!(start.elapsed() < Duration::from_secs(2));
    #[cfg(unix)]
    assert!(of(std::path::Path::new("/dev/zero")).message.contains("too large"));
}
