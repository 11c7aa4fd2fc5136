//! Mean factor, standard deviation and rates of a kernel as functions of the time of a process.

use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{Step, TimeDomain};
use std::sync::{Arc, Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// A last step above this takes nearly everything that is left of the data.
const CLIPPED: f64 = 0.9;

/// A mean factor below this is the prior: the terminal law is off by 5e-13 nats a coordinate at a
/// distance of one standard deviation.
const FORGOTTEN: f64 = 1e-6;

/// The time axis with its schedule: a discrete table, or a closed form.
#[derive(Debug)]
pub struct Clock {
    /// The time axis.
    pub time: TimeDomain,
    schedule: Arc<dyn Schedule>,
    table: Option<Tabulated>,
}

/// A schedule at the whole times `0 ..= T`.
#[derive(Debug)]
struct Tabulated {
    beta: Vec<f64>,
    mean_std: Rows,
}

/// Two numbers at each of the whole times `0 ..= T`, for the host and for every kind and device that
/// asks for them.
#[derive(Debug)]
pub struct Rows {
    rows: Vec<[f64; 2]>,
    /// `[T + 1, 2]`, one for each kind and device that was asked for.
    copies: Mutex<Vec<Tensor>>,
}

impl Rows {
    /// Of the numbers at each time.
    pub fn new(rows: Vec<[f64; 2]>) -> Self {
        Self { rows, copies: Mutex::new(Vec::new()) }
    }

    /// The numbers at a time, rounded.
    pub fn at(&self, t: f64) -> [f64; 2] {
        self.rows[row(t, self.rows.len())]
    }

    /// Both numbers, `[n, 1]` each, at whole times of any shape with `n` elements; nothing is read on
    /// the host.
    pub fn gather(&self, t: &Tensor, options: (Kind, Device)) -> (Tensor, Tensor) {
        let index = t.to_kind(Kind::Int64);
        let index = if index.dim() == 1 { index } else { index.flatten(0, -1) };
        // One gather for both columns, then two views.
        let rows = self.copy(options).index_select(0, &index);
        (rows.narrow(1, 0, 1), rows.narrow(1, 1, 1))
    }

    fn copy(&self, options: (Kind, Device)) -> Tensor {
        // A poisoned lock is harmless: copies are only ever added whole.
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(copy) = copies.iter().find(|c| (c.kind(), c.device()) == options) {
            return copy.shallow_clone();
        }
        let copy = Tensor::from_slice(self.rows.as_flattened()).view([-1, 2]);
        let copy = copy.to_kind(options.0).to_device(options.1);
        copies.push(copy.shallow_clone());
        copy
    }
}

/// The row of a time in a table of `count` whole times.
fn row(t: f64, count: usize) -> usize {
    (t.round().max(0.0) as usize).min(count - 1)
}

impl Clock {
    /// `steps` discrete steps, or continuous time from `start` to 1.
    pub fn new(schedule: Arc<dyn Schedule>, steps: Option<u32>, start: f64) -> Self {
        let mut time = match steps {
            Some(steps) => TimeDomain::steps(i64::from(steps)),
            None => TimeDomain::continuous(start, 1.0),
        };
        let table = steps.map(|steps| schedule.table(steps as usize));
        // The last beta of the cosine schedule is clipped at 0.999. A reverse step over it would
        // multiply the error of the score by 1/sqrt(1 - beta) = 32, while the kernel before it is
        // already the prior (alpha_bar_99 = 2.4e-4): as published, it is trained but not sampled.
        if let Some(table) = &table
            && schedule.family() == Family::VariancePreserving
            && table.beta.len() > 2
            && table.beta[table.beta.len() - 1] > CLIPPED
        {
            time.prior -= 1.0;
        }
        // Where a closed form leaves nothing of the data its rate has no bound, and where it is
        // clipped there is none: samplers start where the noise is that of the end.
        if table.is_none() && schedule.family() == Family::VariancePreserving {
            time.prior = saturation(schedule.as_ref()).clamp(start, time.end);
        }
        let table = table.map(|Table { mean, std, beta, .. }| {
            let rows = mean.iter().zip(&std).map(|(mean, std)| [*mean, *std]);
            Tabulated { beta, mean_std: Rows::new(rows.collect()) }
        });
        Self { time, schedule, table }
    }

    /// Whether the schedule preserves or explodes the variance.
    pub fn family(&self) -> Family {
        self.schedule.family()
    }

    /// `(mean, std)` of the schedule at a time; discrete times are rounded.
    pub fn at(&self, t: f64) -> (f64, f64) {
        match &self.table {
            Some(table) => table.mean_std.at(t).into(),
            None => self.schedule.at((t / self.time.end).clamp(0.0, 1.0)),
        }
    }

    /// `(mean, std)` at times `[B]` or `[B, 1, ..]`, each of the shape `[B, 1, ..]` (at least two
    /// axes), without reading anything on the host. Discrete times are whole numbers.
    pub fn gather(&self, t: &Tensor, options: (Kind, Device)) -> (Tensor, Tensor) {
        if let Some(table) = &self.table {
            let (mean, std) = table.mean_std.gather(t, options);
            let shaped = |a: Tensor| if t.dim() > 2 { a.view_as(t) } else { a };
            return (shaped(mean), shaped(std));
        }
        // The closed form is evaluated in the kind of the times, and the end of the axis is 1.
        let t = if t.dim() == 1 { t.unsqueeze(1) } else { t.shallow_clone() };
        let (mean, std) = self.schedule.mean_std(&t);
        (mean.to_kind(options.0), std.to_kind(options.0))
    }

    /// Rate per unit of time, averaged over a step, such that one Euler step removes exactly what
    /// the schedule added: `1 - alpha_bar(from) / alpha_bar(to)` for a preserving process, the
    /// increment of `std^2` for an exploding one. For the instant it is the derivative (continuous
    /// time) or the rate of the step that ends there (discrete time). A step whose ends are swapped
    /// gives the rate that, averaged with the one of the step itself, is the exact integral of the
    /// rate: with it Heun's rule is of second order.
    pub fn rate(&self, step: Step) -> f64 {
        if step.from != step.to {
            return self.added(step.from, step.to) / step.length();
        }
        if let Some(table) = &self.table {
            return table.beta[row(step.from, table.beta.len())];
        }
        let h = 1e-4 * self.time.end;
        let last = self.time.prior.max(step.from);
        let (low, high) = ((step.from - h).max(0.0), (step.from + h).min(last));
        match self.family() {
            Family::VariancePreserving => {
                2.0 * (self.at(low).0.ln() - self.at(high).0.ln()) / (high - low)
            }
            Family::VarianceExploding => self.added(high, low) / (high - low),
        }
    }

    /// The variance that the schedule adds between `to` and `from`.
    fn added(&self, from: f64, to: f64) -> f64 {
        if from < to && self.family() == Family::VariancePreserving {
            let integral = 2.0 * (self.at(from).0 / self.at(to).0).ln();
            return self.added(to, from) - 2.0 * integral;
        }
        let (noisy, less) = (self.at(from), self.at(to));
        match self.family() {
            Family::VariancePreserving => 1.0 - (noisy.0 / less.0).powi(2),
            Family::VarianceExploding => noisy.1.powi(2) - less.1.powi(2),
        }
    }
}

/// The time in [0, 1] from which on a schedule adds nothing: its end, unless its mean factor is
/// clipped before (cosine) or below [`FORGOTTEN`]. By bisection.
fn saturation(schedule: &dyn Schedule) -> f64 {
    let least = (schedule.at(1.0).0 * (1.0 + 1e-9)).max(FORGOTTEN);
    let adds = |u: f64| schedule.at(u).0 > least;
    if adds(1.0 - 1e-6) {
        return 1.0;
    }
    isotropy_core::bisect(0.0, 1.0, adds).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule as schedules;
    use isotropy_core::ScheduleConfig;

    fn cosine() -> Arc<dyn Schedule> {
        let config: schedules::CosineConfig = serde_json::from_str("{}").unwrap();
        config.build().unwrap()
    }

    #[test]
    fn a_discrete_step_has_the_published_beta() {
        let clock = Clock::new(cosine(), Some(100), 1e-3);
        let table = cosine().table(100);
        for t in 1..=100_usize {
            let step = Step { from: t as f64, to: t as f64 - 1.0 };
            assert!((clock.rate(step) - table.beta[t]).abs() < 1e-12, "t = {t}");
        }
    }

    #[test]
    fn gathered_rows_are_those_of_the_table() {
        for steps in [Some(50), None] {
            let clock = Clock::new(cosine(), steps, 1e-3);
            let options = (Kind::Double, Device::Cpu);
            let t = Tensor::from_slice(&[1.0, 1.0, 0.0]) * clock.time.end;
            let (mean, std) = clock.gather(&t, options);
            assert_eq!((mean.size(), std.size()), (vec![3, 1], vec![3, 1]));
            for (row, t) in [(0, clock.time.end), (2, 0.0)] {
                let (m, s) = clock.at(t);
                assert!((mean.double_value(&[row, 0]) - m).abs() < 1e-12);
                assert!((std.double_value(&[row, 0]) - s).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_instant_is_the_limit_of_short_steps() {
        let clock = Clock::new(cosine(), None, 1e-3);
        for t in [0.1, 0.5, 0.9] {
            let short = clock.rate(Step { from: t + 1e-5, to: t - 1e-5 });
            let instant = clock.rate(Step::at(t));
            assert!((short / instant - 1.0).abs() < 1e-3, "{t}: {short} {instant}");
        }
    }
}
