//! Every grid of every process, with every number of steps, begins at the prior, falls, and ends
//! exactly where the time axis ends.

#![allow(clippy::unwrap_used)]

mod support;

use isotropy_diffusion::integrate::grid::{Grid, Spacing};
use serde_json::{Value, json};
use support::process;

fn processes() -> Vec<Value> {
    let schedules = ["linear-beta", "cosine", "ddpm"];
    let mut all = vec![
        support::ve(3.0),
        json!({"type": "ve", "schedule": {"type": "ve-linear", "sigma_max": 3.0}}),
        json!({"type": "ve", "schedule": {"type": "karras"}, "steps": null}),
        json!({"type": "langevin", "schedule": {"type": "linear-beta"}, "steps": null}),
        json!({"type": "langevin", "schedule": {"type": "cosine"}, "steps": 500}),
    ];
    for schedule in schedules {
        for steps in [Value::Null, json!(500)] {
            for kind in ["vp", "sub-vp"] {
                let schedule = json!({"type": schedule});
                all.push(json!({"type": kind, "schedule": schedule, "steps": steps}));
            }
        }
    }
    let known = |json: &Value| {
        serde_json::from_value::<Box<dyn isotropy_core::ProcessConfig>>(json.clone())
            .is_ok_and(|config| config.build(support::drive(json!({"type": "polar"}))).is_ok())
    };
    let all: Vec<Value> = all.into_iter().filter(known).collect();
    assert!(all.len() >= 12, "{all:?}");
    all
}

#[test]
fn grids_end_exactly_at_the_end_of_the_axis() {
    for config in processes() {
        let process = process(config.clone(), "polar");
        let time = process.time();
        let end = if time.discrete { 0.0 } else { time.start };
        for grid in [Grid::Uniform, Grid::Quadratic, Grid::LogSnr, Grid::Karras, Grid::Auto] {
            // Grids in the noise level look every time up by bisection.
            let stride = if matches!(grid, Grid::LogSnr | Grid::Karras) { 23 } else { 1 };
            for count in (1..=time.all_steps().unwrap_or(500).min(500)).step_by(stride) {
                let spacing = Spacing::new(Some(count as u32), grid, 7.0).unwrap();
                let Ok(steps) = spacing.steps(process.as_ref()) else {
                    assert!(process.level(time.start).is_none(), "{config} {grid:?}");
                    break;
                };
                assert_eq!(steps.len(), count, "{config} {grid:?}");
                assert_eq!(steps[0].from, time.prior, "{config} {grid:?} {count}");
                assert_eq!(steps[count - 1].to, end, "{config} {grid:?} {count}");
                for (k, step) in steps.iter().enumerate() {
                    assert!(step.to < step.from, "{config} {grid:?} {count}: {step:?}");
                    assert!(k == 0 || step.from == steps[k - 1].to);
                }
            }
        }
    }
}
