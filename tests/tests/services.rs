//! Models of other experiments: trained on first use, inside of a metric, and kept.

#![allow(clippy::unwrap_used)]

use isotropy_core::{LoadContext, Services, Streams};
use isotropy_data::digest::sha256;
use isotropy_tests::end_to_end::{Scratch, repository};
use runner::execute::Surroundings;
use runner::services::TrainedModels;
use runner::signals::StopFlag;
use tch::{Device, Kind};

#[test]
fn a_metric_can_train_the_model_it_needs_and_finds_it_again() {
    let scratch = Scratch::new("services");
    // SAFETY: this is the only test of its process, and no thread has been started.
    unsafe { std::env::set_var("ISOTROPY_CACHE", scratch.path()) };
    let surroundings = Surroundings {
        data_dir: scratch.path().to_path_buf(),
        config_folder: repository("tests/configs"),
        stop: StopFlag::listen().unwrap(),
        accept_changed_data: false,
    };
    let load = LoadContext {
        data_dir: scratch.path().to_path_buf(),
        kind: Kind::Float,
        device: Device::Cpu,
        streams: Streams::new(0),
    };
    let services = TrainedModels::new(&surroundings, &load);
    // Metrics are measured without gradients.
    let _no_grad = tch::no_grad_guard();
    services.trained_model("tiny.json").unwrap();
    let trained: Vec<_> = std::fs::read_dir(scratch.join("trained")).unwrap().collect();
    assert_eq!(trained.len(), 1);
    let log = trained[0].as_ref().unwrap().path().join("log.jsonl");
    let before = std::fs::metadata(&log).unwrap().modified().unwrap();
    services.trained_model("tiny.json").unwrap();
    assert_eq!(std::fs::metadata(&log).unwrap().modified().unwrap(), before, "trained twice");
    // Which judge judged: the folder and the digest of its weights.
    let judge = &services.judges()["tiny.json"];
    let folder = trained[0].as_ref().unwrap().file_name().into_string().unwrap();
    assert_eq!(judge["folder"], folder);
    let weights = std::fs::read(log.with_file_name("weights.safetensors")).unwrap();
    let digest = sha256(weights);
    assert_eq!(judge["weights_sha256"], digest);
    assert!(folder.len() > "tiny-".len() && folder.starts_with("tiny-"), "{folder}");
}
