//! What a running sweep shows: a line for every running cell on a terminal, plain lines in a pipe.

use super::cell::{CellFolder, Failure};
use super::local::Tally;
use super::plan::Cell;
use crate::output::note;
use crate::progress::duration;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::{HashMap, HashSet};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between two lines about the whole sweep where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows how a sweep stands; written to standard error.
pub struct Overview {
    screen: Option<Screen>,
    total: usize,
    jobs: usize,
    started: Instant,
    last_line: Instant,
    /// Seconds of the cells that were run to their end here.
    durations: Vec<f64>,
    elsewhere: HashSet<String>,
}

struct Screen {
    all: MultiProgress,
    whole: ProgressBar,
    cells: HashMap<String, ProgressBar>,
}

impl Overview {
    /// For `total` cells, `jobs` at once.
    pub fn new(total: usize, jobs: usize) -> Self {
        let screen = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(4));
            let whole = all.add(ProgressBar::new(total as u64));
            whole.set_style(style("{prefix} {bar:32} {pos}/{len}  {msg}"));
            whole.set_prefix("sweep");
            Screen { all, whole, cells: HashMap::new() }
        });
        let now = Instant::now();
        Self {
            screen,
            total,
            jobs,
            started: now,
            last_line: now,
            durations: Vec::new(),
            elsewhere: HashSet::new(),
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        match &self.screen {
            // What cannot be drawn is lost: the sweep must not die with the terminal.
            Some(screen) => drop(screen.all.println(text)),
            None => note!("{text}"),
        }
    }

    /// A cell has begun.
    pub fn started(&mut self, cell: &Cell) {
        match &mut self.screen {
            Some(screen) => {
                let bar = screen.all.add(ProgressBar::new(cell.steps.max(1)));
                bar.set_style(style("  {bar:20} {pos}/{len}  {prefix}  {msg}"));
                bar.set_prefix(cell.name.clone());
                screen.cells.insert(cell.key.clone(), bar);
            }
            None => note!("started   {}", cell.name),
        }
    }

    /// How far a running cell is: its last logged step and loss, and the seconds that it has run.
    pub fn at(&mut self, cell: &Cell, progress: Option<(u64, Option<f64>)>, seconds: f64) {
        let Some(bar) = self.screen.as_ref().and_then(|screen| screen.cells.get(&cell.key)) else {
            return;
        };
        let Some((step, loss)) = progress else { return };
        bar.set_position(step);
        let loss = loss.map(|loss| format!("loss {loss:.4}  ")).unwrap_or_default();
        let left = seconds / step.max(1) as f64 * cell.steps.saturating_sub(step) as f64;
        bar.set_message(format!("{loss}ETA {}", duration(left)));
    }

    /// The whole sweep.
    pub fn beat(&mut self, tally: &Tally, running: usize, elsewhere: usize) {
        let ended = tally.finished + tally.failed + tally.interrupted;
        let mut text = format!("{running} running");
        if tally.failed > 0 {
            text += &format!(", {} failed", tally.failed);
        }
        if elsewhere > 0 {
            text += &format!(", {elsewhere} in other processes");
        }
        if !self.durations.is_empty() {
            let mean = self.durations.iter().sum::<f64>() / self.durations.len() as f64;
            let left = self.total.saturating_sub(ended) as f64;
            text += &format!(", ETA {}", duration(mean * left / self.jobs as f64));
        }
        if let Some(screen) = &self.screen {
            screen.whole.set_position(ended as u64);
            screen.whole.set_message(text);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let elapsed = duration(self.started.elapsed().as_secs_f64());
            note!("sweep {ended}/{} after {elapsed}: {text}", self.total);
        }
    }

    fn end_cell(&mut self, cell: &Cell) {
        if let Some(bar) = self.screen.as_mut().and_then(|screen| screen.cells.remove(&cell.key)) {
            bar.finish_and_clear();
        }
    }

    /// A cell is finished; `seconds` is how long it ran now, none when it was finished before.
    pub fn finished(&mut self, cell: &Cell, folder: &CellFolder, seconds: Option<f64>) {
        self.end_cell(cell);
        let mut text = format!("finished  {}", cell.name);
        let metrics = folder.metrics().unwrap_or_default();
        for (name, value) in metrics["metrics"].as_object().into_iter().flatten().take(2) {
            if let Some(value) = value.as_f64() {
                text += &format!("  {name} {}", super::report::number(value));
            }
        }
        match seconds {
            Some(seconds) => {
                self.durations.push(seconds);
                text += &format!("  ({})", duration(seconds));
            }
            None => text += "  (before)",
        }
        self.line(&text);
    }

    /// A signal has stopped a cell.
    pub fn interrupted(&mut self, cell: &Cell) {
        self.end_cell(cell);
        self.line(&format!("stopped   {}  (checkpoint written)", cell.name));
    }

    /// A cell has failed.
    pub fn failed(&mut self, cell: &Cell, failure: &Failure) {
        self.end_cell(cell);
        self.line(&format!("FAILED    {}  {}: {}", cell.name, failure.ended, failure.error));
    }

    /// Another process works on a cell; said once.
    pub fn elsewhere(&mut self, cell: &Cell) {
        if self.elsewhere.insert(cell.key.clone()) {
            self.line(&format!("elsewhere {}  (another process works on it)", cell.name));
        }
    }

    /// The sweep has ended.
    pub fn end(&mut self) {
        if let Some(screen) = &self.screen {
            screen.whole.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}
