//! Checks of noise schedules: the law of their family, tables, and the rates of the steps of a
//! [`Clock`].

use crate::clock::Clock;
use isotropy_conformance::measure::{Found, Table, broken, worse};
use isotropy_conformance::{CheckResult, ExtraCheck};
use isotropy_core::schedule::{Family, Schedule};
use isotropy_core::{Component, Result, ScheduleConfig, Step};
use std::sync::Arc;

/// Checks a schedule.
pub fn check_schedule(schedule: &Arc<dyn Schedule>) -> Vec<CheckResult> {
    let mut table = Table::default();
    table.check("mean and std obey the family's law", || Ok(law(schedule)));
    table.check("the noise never falls", || Ok(monotone(schedule)));
    table.check("the tables obey the law too", || tables(schedule));
    table.check("time of a noise level", || Ok(inverse(schedule)));
    for (label, steps) in [("discrete", Some(100)), ("continuous", None)] {
        let clock = Clock::new(schedule.clone(), steps, 1e-3);
        table.check_in("steps remove what was added", label, || Ok(removed(&clock)));
        table
            .check_in("the two ends of a step average to its integral", label, || Ok(ends(&clock)));
    }
    table.check("the rate of the instant is that of a short step", || Ok(instant(schedule)));
    table.check("discrete rates approach continuous ones", || Ok(limit(schedule)));
    table.results
}

fn deviation(family: Family, (mean, std): (f64, f64)) -> f64 {
    match family {
        Family::VariancePreserving => (mean * mean + std * std - 1.0).abs(),
        Family::VarianceExploding => (mean - 1.0).abs(),
    }
}

fn values(schedule: &Arc<dyn Schedule>) -> Vec<(f64, f64)> {
    (1..=200).map(|k| schedule.at(f64::from(k) / 200.0)).collect()
}

fn law(schedule: &Arc<dyn Schedule>) -> Found {
    let all = values(schedule).into_iter().map(|pair| deviation(schedule.family(), pair));
    Found::Error(all.fold(0.0, worse), 1e-12)
}

fn monotone(schedule: &Arc<dyn Schedule>) -> Found {
    let values = values(schedule);
    Found::Error(values.windows(2).map(|pair| pair[0].1 - pair[1].1).fold(0.0, worse), 0.0)
}

fn tables(schedule: &Arc<dyn Schedule>) -> Result<Found> {
    let table = schedule.table(100);
    let lengths = [table.beta.len(), table.mean.len(), table.std.len()];
    if lengths != [101; 3] {
        return broken(format!("tables for 100 steps have {lengths:?} entries instead of 101"));
    }
    let entries = table.mean.iter().zip(&table.std);
    let mut error = entries.map(|(m, s)| deviation(schedule.family(), (*m, *s))).fold(0.0, worse);
    for t in 1..=100 {
        let (noisy, less) = ((table.mean[t], table.std[t]), (table.mean[t - 1], table.std[t - 1]));
        let added = match schedule.family() {
            Family::VariancePreserving => 1.0 - (noisy.0 / less.0).powi(2),
            Family::VarianceExploding => noisy.1.powi(2) - less.1.powi(2),
        };
        error = worse(error, (table.beta[t] - added).abs() / (1.0 + added.abs()));
    }
    Ok(Found::Error(error, 1e-12))
}

fn inverse(schedule: &Arc<dyn Schedule>) -> Found {
    let errors = [0.2, 0.5, 0.8].into_iter().map(|u| {
        let (mean, std) = schedule.at(u);
        (schedule.time_of_noise(std / mean) - u).abs()
    });
    Found::Error(errors.fold(0.0, worse), 1e-6)
}

/// Times from a fifth to four fifths of the axis, whole numbers in discrete time.
fn times(clock: &Clock) -> Vec<f64> {
    let time = &clock.time;
    (4..=16)
        .map(|k| time.end * f64::from(k) / 20.0)
        .map(|t| if time.discrete { t.round() } else { t })
        .collect()
}

/// The kernel at the end of a chain of reverse steps is that of one step, and of the schedule:
/// `1 - g^2 dt` is the ratio of `alpha_bar`, or `g^2 dt` the difference of `std^2`.
fn removed(clock: &Clock) -> Found {
    let times = times(clock);
    let (first, last) = (clock.at(times[0]), clock.at(times[times.len() - 1]));
    let steps = times.windows(2).map(|pair| Step { from: pair[1], to: pair[0] });
    let variances = steps.map(|step| clock.rate(step) * step.length());
    let error = match clock.family() {
        Family::VariancePreserving => {
            let kept: f64 = variances.map(|variance| 1.0 - variance).product();
            (kept / (last.0 / first.0).powi(2) - 1.0).abs()
        }
        Family::VarianceExploding => {
            let added = last.1.powi(2) - first.1.powi(2);
            (variances.sum::<f64>() / added - 1.0).abs()
        }
    };
    Found::Error(error, 1e-9)
}

/// The rates of a step and of the step with swapped ends average to the integral of the rate:
/// `log alpha_bar(to) - log alpha_bar(from)`, or the difference of `std^2`.
fn ends(clock: &Clock) -> Found {
    let times = times(clock);
    let errors = times.windows(2).map(|pair| {
        let (low, high) = (clock.at(pair[0]), clock.at(pair[1]));
        let integral = match clock.family() {
            Family::VariancePreserving => 2.0 * (low.0 / high.0).ln(),
            Family::VarianceExploding => high.1.powi(2) - low.1.powi(2),
        };
        let step = Step { from: pair[1], to: pair[0] };
        let back = Step { from: pair[0], to: pair[1] };
        let average = 0.5 * (clock.rate(step) + clock.rate(back)) * step.length();
        (average / integral - 1.0).abs()
    });
    Found::Error(errors.fold(0.0, worse), 1e-9)
}

fn instant(schedule: &Arc<dyn Schedule>) -> Found {
    let clock = Clock::new(schedule.clone(), None, 1e-3);
    let errors = [0.2, 0.5, 0.8].into_iter().map(|t| {
        let short = clock.rate(Step { from: t + 1e-5, to: t - 1e-5 });
        (short / clock.rate(Step::at(t)) - 1.0).abs()
    });
    Found::Error(errors.fold(0.0, worse), 1e-3)
}

/// The `beta` of fine steps is the rate of the closed form at the same kernel, times the step: of
/// order `1 / T` for `T` steps.
fn limit(schedule: &Arc<dyn Schedule>) -> Found {
    let errors = |steps: u32| {
        let clock = Clock::new(schedule.clone(), None, 1e-3);
        let table = schedule.table(steps as usize);
        let errors = [0.2, 0.5, 0.8].into_iter().map(|u| {
            let t = (u * f64::from(steps)).round() as usize;
            let level = |mean: f64, std: f64| std / mean;
            let middle = 0.5
                * (schedule.time_of_noise(level(table.mean[t], table.std[t]))
                    + schedule.time_of_noise(level(table.mean[t - 1], table.std[t - 1])));
            (table.beta[t] * f64::from(steps) / clock.rate(Step::at(middle)) - 1.0).abs()
        });
        errors.fold(0.0, worse)
    };
    Found::Error(errors(1000), 0.03)
}

/// Every registered schedule, on its example.
fn registered(component: &Component) -> Vec<CheckResult> {
    let config = serde_json::from_str::<Box<dyn ScheduleConfig>>(component.example);
    let built =
        config.map_err(|e| e.to_string()).and_then(|c| c.build().map_err(|e| e.to_string()));
    match built {
        Ok(schedule) => check_schedule(&schedule),
        Err(error) => vec![CheckResult::fail("the example builds", error)],
    }
}

#[isotropy_core::linkme::distributed_slice(isotropy_conformance::CHECKS)]
#[linkme(crate = isotropy_core::linkme)]
static SCHEDULES: ExtraCheck = ExtraCheck { kind: "schedule", name: None, run: registered };
