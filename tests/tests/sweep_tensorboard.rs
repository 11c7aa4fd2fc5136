//! The HParams table of a sweep, read through TensorBoard's own HTTP interface.

#![allow(clippy::unwrap_used)]

mod sweep_support;

use isotropy_tests::end_to_end::{Scratch, command, python};
use serde_json::{Value, json};
use sweep_support::{sweep, sweep_file};

/// Starts TensorBoard on a folder and prints what the HParams plugin answers.
const ASK: &str = r#"
import json, re, subprocess, sys, time, urllib.request
server = subprocess.Popen(
    [sys.executable, "-m", "tensorboard.main", "--logdir", sys.argv[1], "--port", "0",
     "--host", "127.0.0.1", "--reload_interval", "1"] + sys.argv[3:],
    stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
try:
    url = None
    for line in server.stderr:
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            url = found.group(0)
            break
    def ask(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
        return json.loads(urllib.request.urlopen(request, timeout=30).read())
    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    answer = {}
    for attempt in range(120):
        try:
            experiment = ask("/data/plugin/hparams/experiment", {})
            columns = [{"hparam": h["name"]} for h in experiment["hparamInfos"]]
            columns += [{"metric": m["name"]} for m in experiment["metricInfos"]]
            groups = ask("/data/plugin/hparams/session_groups", {
                "startIndex": 0, "sliceSize": 100, "colParams": columns, "allowedStatuses": statuses})
            answer = {"experiment": experiment, "groups": groups["sessionGroups"],
                      "scalars": ask("/data/plugin/scalars/tags")}
            # Reading goes on in the background.
            values = sum(len(g.get("metricValues", [])) for g in answer["groups"])
            if len(answer["groups"]) == int(sys.argv[2]) and len(answer["scalars"]) >= int(sys.argv[2]) - 1 and values >= 4:
                break
        except Exception as error:
            answer = {"error": repr(error)}
        time.sleep(0.5)
    print(json.dumps(answer))
finally:
    server.terminate()
    server.wait()
"#;

#[test]
fn tensorboard_shows_the_table_of_hyperparameters() {
    let Some(python) = python("the HParams table in TensorBoard") else { return };
    let scratch = Scratch::new("sweep-hparams");
    sweep_file(
        &scratch,
        "table",
        r#""description": "Which rate?",
        "set": {"train.steps": 30, "evaluate.metrics": [{"type": "mmd"}]},
        "axes": [
            {"name": "rate", "path": "train.optimizer.learning_rate", "values": [0.001, 1e30]},
            {"name": "target", "path": "model.predicts", "values": ["field", "noise"]}
        ],
        "exclude": [{"rate": "1e30", "target": "noise"}],
        "metrics": ["mmd", "samples.evaluations_per_sample"]"#,
    );
    sweep(&scratch, "table", &["--jobs", "2"]).with_code(1);
    scratch.write("ask.py", ASK);
    // The reader in Python, and the one in Rust that is the default where it is installed.
    for reader in [&["--load_fast=false"][..], &[]] {
        let output = command(python.to_str().unwrap(), &scratch)
            .args(["ask.py", "table/tensorboard", "3"])
            .args(reader)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        check(&answer);
    }
}

fn check(answer: &Value) {
    let experiment = &answer["experiment"];
    assert_eq!(experiment["name"], "table", "{answer}");
    assert_eq!(experiment["description"], "Which rate?");
    let mut infos: Vec<(String, String, Value)> = experiment["hparamInfos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|info| {
            let text = |key: &str| info[key].as_str().unwrap().to_string();
            (text("name"), text("type"), info["domainDiscrete"].clone())
        })
        .collect();
    infos.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("rate", "DATA_TYPE_FLOAT64", json!([0.001, 1e30])),
        ("seed", "DATA_TYPE_FLOAT64", json!([0.0])),
        ("target", "DATA_TYPE_STRING", json!(["field", "noise"])),
    ];
    for (found, expected) in infos.iter().zip(&expected) {
        assert_eq!(
            (found.0.as_str(), found.1.as_str(), &found.2),
            (expected.0, expected.1, &expected.2)
        );
    }
    let tags: Vec<&str> = experiment["metricInfos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|info| info["name"]["tag"].as_str().unwrap())
        .collect();
    for tag in ["metrics/mmd", "samples/evaluations_per_sample"] {
        assert!(tags.contains(&tag), "{tags:?}");
    }
    let groups = answer["groups"].as_array().unwrap();
    let names: Vec<&str> = groups.iter().map(|group| group["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "000-rate=0.001,target=field,seed=0",
            "001-rate=0.001,target=noise,seed=0",
            "002-rate=1e30,target=field,seed=0"
        ]
    );
    let (good, bad) = (&groups[0], &groups[2]);
    assert_eq!(good["hparams"]["rate"], json!(0.001));
    assert_eq!(good["hparams"]["target"], json!("field"));
    assert_eq!(good["sessions"][0]["status"], "STATUS_SUCCESS");
    assert_eq!(bad["sessions"][0]["status"], "STATUS_FAILURE");
    let value = |tag: &str| {
        let values = good["metricValues"].as_array().unwrap();
        let found = values.iter().find(|value| value["name"]["tag"] == tag);
        found.map(|value| value["value"].as_f64().unwrap())
    };
    assert!(value("metrics/mmd").is_some_and(|mmd| mmd > 0.0), "{good}");
    assert!(value("samples/evaluations_per_sample").is_some_and(|n| n >= 10.0), "{good}");
    assert!(bad["metricValues"].as_array().is_none_or(Vec::is_empty), "{bad}");
    // The curves of the cell are in the same run.
    let scalars = &answer["scalars"]["000-rate=0.001,target=field,seed=0"];
    assert!(scalars.get("train/loss").is_some(), "{}", answer["scalars"]);
}
