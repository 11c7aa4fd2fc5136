//! Sweeps that are killed, and what the scheduler costs.

#![allow(clippy::unwrap_used)]

mod sweep_support;

use isotropy_tests::end_to_end::{Scratch, finish, run, send, wait_until};
use std::time::{Duration, Instant};
use sweep_support::{RUNNER, Random, all_metrics, cells, start_sweep, sweep, sweep_file};

/// The processes that work on cells of the scratch folder.
fn workers(scratch: &Scratch) -> Vec<i32> {
    let place = scratch.path().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let mine = line.contains(&place) || cwd.to_string_lossy() == place;
        if mine && line.contains("--config") && line.contains("cell.json") {
            found.push(id);
        }
    }
    found
}

#[cfg(target_os = "linux")]
#[test]
fn ten_kills_of_the_sweep_and_of_cells_leave_no_trace() {
    let scratch = Scratch::new("sweep-kills");
    let rest = r#""set": {"train.steps": 400, "evaluate.metrics": [{"type": "mmd"}]},
        "axes": [{"path": "train.batch", "values": [16, 32]}], "seeds": {"count": 2}"#;
    sweep_file(&scratch, "whole", rest);
    sweep(&scratch, "whole", &["--jobs", "2"]).with_code(0);
    sweep_file(&scratch, "killed", rest);
    let mut random = Random(6);
    for moment in 0..10 {
        let mut child = start_sweep(&scratch, "killed", &["--resume", "--jobs", "2"]);
        let started = Instant::now();
        let until = Duration::from_millis(100 + random.below(1400));
        let alive = wait_until(&mut child, || started.elapsed() > until);
        if !alive {
            // Everything was finished before; the remaining moments would show nothing new.
            finish(child);
            break;
        }
        let cells = workers(&scratch);
        if moment % 2 == 1 && !cells.is_empty() {
            let victim = cells[random.below(cells.len() as u64) as usize];
            // SAFETY: kill has no memory effects; the process works on a cell of this test.
            unsafe { libc::kill(victim, libc::SIGKILL) };
            std::thread::sleep(Duration::from_millis(random.below(300)));
        }
        send(&child, libc::SIGKILL);
        finish(child);
    }
    sweep(&scratch, "killed", &["--resume", "--jobs", "2"]).with_code(0);
    assert_eq!(all_metrics(&scratch, "killed"), all_metrics(&scratch, "whole"));
    assert!(workers(&scratch).is_empty(), "no process is left");
}

#[test]
fn a_killed_cell_is_reported_and_the_others_go_on() {
    let scratch = Scratch::new("sweep-victim");
    let rest = r#""set": {"train.steps": 3000, "evaluate.metrics": [{"type": "mmd"}]},
        "axes": [{"path": "train.batch", "values": [16, 32]}], "budget": {"steps": 3000}"#;
    sweep_file(&scratch, "victim", rest);
    let mut child = start_sweep(&scratch, "victim", &["--jobs", "1"]);
    assert!(wait_until(&mut child, || !workers(&scratch).is_empty()));
    // SAFETY: as above.
    unsafe { libc::kill(workers(&scratch)[0], libc::SIGKILL) };
    let (status, errors) = finish(child);
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("FAILED    batch=16,seed=0  signal 9"), "{errors}");
    assert!(errors.contains("finished  batch=32,seed=0"), "{errors}");
}

/// Seconds that the scheduler adds to each of `count` cells, beyond the same processes started by
/// hand.
fn overhead(name: &str, count: usize, by_hand: usize) -> f64 {
    let scratch = Scratch::new(name);
    let rest = format!(
        r#""set": {{"train.steps": 1, "sampling.count": 10, "sampling.batch": 10, "sampling.trajectory": 0, "evaluate.reference": 10,
            "evaluate.metrics": [{{"type": "finite"}}], "evaluate.plots": []}}, "seeds": {{"count": {count}}}"#
    );
    sweep_file(&scratch, "many", &rest);
    // The plan with its cells, so that they can be started by hand.
    sweep(&scratch, "many", &["--only", "seed=0", "--jobs", "1"]).with_code(0);
    let all = cells(&scratch, "many");
    let alone = |k: usize, out: &str| {
        let config = all[k].1.join("cell.json");
        let config = config.to_str().unwrap();
        run(RUNNER, &scratch, &["--config", config, "--resume", "--out", out]).with_code(0);
    };
    let started = Instant::now();
    (0..by_hand / 2).for_each(|k| alone(k, &format!("before-{k}")));
    let mut single = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let ended = sweep(&scratch, "many", &["--resume", "--jobs", "1"]).with_code(0);
    let whole = started.elapsed().as_secs_f64();
    assert!(ended.stdout.contains(&format!("{count} of {count} cells finished")));
    let started = Instant::now();
    (0..by_hand / 2).for_each(|k| alone(k, &format!("after-{k}")));
    single += started.elapsed().as_secs_f64();
    let single = single / (by_hand / 2 * 2) as f64;
    // Reading the file, building the variant and looking at finished cells comes once in a sweep.
    let started = Instant::now();
    sweep(&scratch, "many", &["--resume", "--jobs", "1"]).with_code(0);
    let once = started.elapsed().as_secs_f64();
    let ran = (all.len() - 1) as f64;
    let overhead = (whole - once - ran * single) / ran;
    println!(
        "{ran} cells in {whole:.1} s, one by hand {single:.3} s, once {once:.2} s, overhead {overhead:.4} s"
    );
    overhead
}

#[test]
fn the_scheduler_adds_less_than_50_ms_to_a_cell() {
    // Whatever else the machine does disturbs the comparison, so the best of a few counts.
    let mut found = Vec::new();
    while found.len() < 4 && !found.last().is_some_and(|overhead| *overhead < 0.05) {
        found.push(overhead(&format!("sweep-overhead-{}", found.len()), 16, 10));
    }
    assert!(found.iter().any(|overhead| *overhead < 0.05), "{found:?}");
}

#[test]
#[ignore = "minutes"]
fn a_thousand_cells_cost_less_than_50_ms_each() {
    let overhead = overhead("sweep-thousand", 1000, 60);
    assert!(overhead < 0.05, "{overhead} s a cell");
}
