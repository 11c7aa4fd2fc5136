//! Progress: a bar on a terminal, one plain line every few seconds in a pipe.

use crate::output::note;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Seconds between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far a task is. Written to standard error.
pub struct Progress {
    task: String,
    bar: Option<ProgressBar>,
    total: u64,
    first: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts a task of `total` units of which `done` are behind us (a resumed run).
    pub fn new(task: &str, total: u64, done: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = terminal.then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let colour = if plain { "" } else { ".cyan" };
            let template = format!(
                "{{prefix}} {{bar:32{colour}}} {{pos}}/{{len}}  {{per_sec}}  ETA {{eta}}  {{msg}}"
            );
            let style = ProgressStyle::with_template(&template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let style = style.with_key("per_sec", |state: &ProgressState, out: &mut dyn Write| {
                // A style has nowhere to report an error to.
                let _ = write!(out, "{}", rate(state.per_sec()));
            });
            bar.set_style(style.progress_chars("=> "));
            bar.set_prefix(task.to_string());
            bar.set_position(done);
            bar.reset_eta();
            bar
        });
        let now = Instant::now();
        Self { task: task.to_string(), bar, total, first: done, started: now, last_line: now }
    }

    /// Reports the position; `message` is only built when it is shown.
    pub fn at(&mut self, position: u64, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.set_message(message());
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            self.line(position, &message());
        }
    }

    /// Ends the task where it stands: at its end, or earlier where it was stopped.
    pub fn finish(&mut self, position: u64, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(position);
                bar.set_message(message.to_string());
                bar.abandon();
            }
            None => self.line(position, message),
        }
    }

    fn line(&self, position: u64, message: &str) {
        let elapsed = self.started.elapsed().as_secs_f64();
        let speed = (position - self.first.min(position)) as f64 / elapsed.max(1e-9);
        let left = (self.total.saturating_sub(position)) as f64 / speed.max(1e-9);
        let eta = if speed > 0.0 { duration(left) } else { "?".to_string() };
        let (task, total, speed) = (&self.task, self.total, rate(speed));
        note!("{task} {position}/{total}  {speed}  ETA {eta}  {message}");
    }
}

/// Units in a second, two digits of them where they are few: `0.31/s`, `4.2/s`, `310/s`.
fn rate(per_second: f64) -> String {
    let digits = match per_second {
        ..1.0 => 2,
        ..10.0 => 1,
        _ => 0,
    };
    format!("{per_second:.digits$}/s")
}

/// A duration for people: `41s`, `3m12s`, `2h05m`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.round().max(0.0) as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_show_two_digits_where_they_are_few() {
        let shown = [0.0, 0.314, 4.21, 42.1, 3141.5].map(rate);
        assert_eq!(shown, ["0.00/s", "0.31/s", "4.2/s", "42/s", "3142/s"]);
    }

    #[test]
    fn durations_are_for_people() {
        let shown = [-1.0, 41.2, 192.0, 7500.0].map(duration);
        assert_eq!(shown, ["0s", "41s", "3m12s", "2h05m"]);
    }
}
