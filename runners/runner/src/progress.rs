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
                let _ = write!(out, "{:.0}/s", state.per_sec());
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

    /// Ends the task.
    pub fn finish(&mut self, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(message.to_string());
                bar.abandon();
            }
            None => self.line(self.total, message),
        }
    }

    fn line(&self, position: u64, message: &str) {
        let elapsed = self.started.elapsed().as_secs_f64();
        let rate = (position - self.first.min(position)) as f64 / elapsed.max(1e-9);
        let left = (self.total.saturating_sub(position)) as f64 / rate.max(1e-9);
        let eta = if rate > 0.0 { duration(left) } else { "?".to_string() };
        note!("{} {position}/{}  {rate:.0}/s  ETA {eta}  {message}", self.task, self.total);
    }
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
