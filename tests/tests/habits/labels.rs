//! Several metrics or plots of one sort.

use crate::{RUNNER, says, short};
use isotropy_tests::end_to_end::{Scratch, metrics, read_json, run, tiny};
use runner::config::Lookup;

#[test]
fn two_of_one_name_are_refused_before_the_first_step() {
    let scratch = Scratch::new("same-names");
    let config = tiny();
    let config = config.to_str().unwrap();
    for (set, words) in [
        (r#"evaluate.metrics=[{"type": "mmd"}, {"type": "mmd", "bandwidth": 2.0}]"#, "mmd"),
        (
            r#"evaluate.metrics=[{"type": "mmd", "label": "a"}, {"type": "mmd", "label": "a"}]"#,
            "mmd",
        ),
        (r#"evaluate.plots=[{"type": "scatter"}, {"type": "scatter"}]"#, "scatter.png"),
    ] {
        let validated = run(RUNNER, &scratch, &["validate", config, "--set", set]).with_code(2);
        says(&validated.stderr, &[words, "\"label\""]);
        short(&scratch, "run", &["--set", set]).with_code(2);
        assert!(!scratch.join("run").exists());
    }
    for label in ["", "a/b", "..", "a b", "a\nb"] {
        let set = format!("evaluate.plots=[{{\"type\": \"scatter\", \"label\": {label:?}}}]");
        let ended = run(RUNNER, &scratch, &["validate", config, "--set", &set]).with_code(2);
        says(&ended.stderr, &["label"]);
    }
    let set = r#"evaluate.metrics=[{"type": "mmd", "label": 3}]"#;
    run(RUNNER, &scratch, &["validate", config, "--set", set]).with_code(2);
}

#[test]
fn a_label_tells_two_apart() {
    let scratch = Scratch::new("labels");
    let sets = [
        "--set",
        r#"evaluate.metrics=[{"type": "mmd"}, {"type": "mmd", "bandwidth": 2.0, "label": "wide"}]"#,
        "--set",
        r#"evaluate.plots=[{"type": "scatter"}, {"type": "scatter", "label": "second"}]"#,
    ];
    short(&scratch, "run", &sets).with_code(0);
    let folder = scratch.join("run");
    let found = metrics(&folder)["metrics"].clone();
    assert!(found["mmd"].is_number() && found["wide_mmd"].is_number(), "{found}");
    assert!(found["mmd"] != found["wide_mmd"]);
    for name in ["scatter.png", "second_scatter.png"] {
        assert!(folder.join("plots").join(name).exists(), "{name}");
    }
    // The resolved configuration says it, and runs again.
    assert_eq!(read_json(&folder.join("config.json"))["evaluate"]["metrics"][1]["label"], "wide");
    run(RUNNER, &scratch, &["--config", "run/config.json", "--out", "again"]).with_code(0);
    assert_eq!(metrics(&scratch.join("again")), metrics(&folder));
}

#[test]
fn every_metric_and_plot_takes_a_label() {
    let catalogue = runner::catalogue::Catalogue::new().unwrap();
    let mut count = 0;
    for component in catalogue.components() {
        if !["metric", "plot"].contains(&component.kind) {
            continue;
        }
        let schema = catalogue.schema(component.kind, component.name).unwrap();
        let label = schema.pointer("/properties/label");
        assert!(label.is_some(), "{} {}: {schema}", component.kind, component.name);
        count += 1;
    }
    assert!(count > 15, "{count}");
}
