//! Runs whose numbers go wrong.

#![allow(clippy::unwrap_used)]

use isotropy_tests::end_to_end::{Scratch, checkpoints, event_file, run_tiny};
use runner::checkpoint::latest_valid;
use runner::tensorboard::read_events;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

#[test]
fn a_loss_that_is_not_finite_ends_with_code_4_and_keeps_the_checkpoints_before_it() {
    let scratch = Scratch::new("numbers");
    // The learning rate jumps after step 103, so the loss of step 105 is the first that is wrong;
    // the next log entry is due at 105, checkpoints at every fifth step.
    let jump = r#"train.learning_rate={"type": "steps", "milestones": [103], "factor": 1e33}"#;
    let set = ["--set", jump, "--set", "train.checkpoint.every=5", "--set", "train.log_every=100"];
    let ended = run_tiny(RUNNER, &scratch, "run", &set).with_code(4);
    assert!(ended.stderr.contains("not finite"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("at step 105") || ended.stderr.contains("after step 10"),
        "{}",
        ended.stderr
    );
    // One of the tensors of the network is named.
    assert!(
        ended.stderr.contains("0.weight") || ended.stderr.contains("0.bias"),
        "{}",
        ended.stderr
    );
    let run = scratch.join("run");
    let kept = checkpoints(&run);
    assert!(kept.last().is_some_and(|step| (100..105).contains(step)), "{kept:?}");
    let loaded = latest_valid(&run.join("checkpoints")).unwrap().checkpoint.unwrap();
    for (name, tensor) in &loaded.model {
        assert!(tensor.isfinite().all().int64_value(&[]) == 1, "{name} was saved with NaN");
    }
    assert!(!read_events(&event_file(&run)).unwrap().is_empty());
    // Going on from there meets the same number again, and says so again.
    run_tiny(RUNNER, &scratch, "run", &[&set[..], &["--resume"]].concat()).with_code(4);
}

#[test]
fn a_learning_rate_that_is_far_too_large_ends_with_code_4_and_leaves_no_broken_checkpoint() {
    let scratch = Scratch::new("explosion");
    let set = ["--set", "train.optimizer.learning_rate=1e30"];
    let ended = run_tiny(RUNNER, &scratch, "run", &set).with_code(4);
    assert!(
        ended.stderr.contains("at step") || ended.stderr.contains("after step"),
        "{}",
        ended.stderr
    );
    assert_eq!(checkpoints(&scratch.join("run")), Vec::<u64>::new());
    assert!(!scratch.join("run/metrics.json").exists());
}
