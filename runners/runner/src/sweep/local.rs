//! Cells as processes on this machine: as many at once as asked, each in its folder.

use super::cell::{CellFolder, Failure, State};
use super::overview::Overview;
use super::plan::{Cell, Plan};
use super::sessions::Sessions;
use crate::device;
use crate::signals::StopFlag;
use isotropy_core::{Error, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often ended processes are looked for.
const TICK: Duration = Duration::from_millis(5);
/// How often cells that other processes work on are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often the overview is drawn.
const DRAW: Duration = Duration::from_millis(500);

/// How a sweep is run here.
pub struct Local<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The sweep's folder.
    pub folder: &'a Path,
    /// Processes at once.
    pub jobs: usize,
    /// Where data sets lie.
    pub data_dir: &'a Path,
    /// Signals.
    pub stop: &'a StopFlag,
}

/// What became of the cells that were to be run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Finished, now or before.
    pub finished: usize,
    /// Failed in this attempt.
    pub failed: usize,
    /// Stopped by a signal, or not begun because of one.
    pub interrupted: usize,
}

struct Running<'a> {
    cell: &'a Cell,
    folder: CellFolder,
    child: Child,
    slot: usize,
    log_start: u64,
    started: Instant,
}

/// As many processes as there are cores for, unless the user says.
pub fn default_jobs(plan: &Plan) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = plan.cells.iter().map(|cell| cell.threads as usize).max().unwrap_or(1);
    if plan.cells.iter().any(|cell| cell.cuda) {
        return device_names().len().max(1);
    }
    (cores / threads).max(1)
}

/// The CUDA devices as a child's `CUDA_VISIBLE_DEVICES` names them.
fn device_names() -> Vec<String> {
    match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(list) => list.split(',').map(|name| name.trim().to_string()).collect(),
        Err(_) => (0..device::cuda().devices.max(0)).map(|k| k.to_string()).collect(),
    }
}

impl<'a> Local<'a> {
    /// Runs the given cells; a failing one never stops the others.
    ///
    /// # Errors
    /// When processes cannot be started at all or a folder cannot be written. Signals are no error
    /// here: what they stopped is counted.
    pub fn run(&self, cells: &[usize], sessions: &mut Sessions) -> Result<Tally> {
        let mut scheduler = Scheduler {
            launch: self,
            queue: cells.iter().map(|&k| &self.plan.cells[k]).collect(),
            elsewhere: Vec::new(),
            running: Vec::new(),
            free: (0..self.jobs).rev().collect(),
            devices: Vec::new(),
            tally: Tally::default(),
            overview: Overview::new(cells.len(), self.jobs),
            forwarded: false,
            program: std::env::current_exe().map_err(|e| Error::Other(e.to_string()))?,
        };
        if scheduler.queue.iter().any(|cell| cell.cuda) {
            scheduler.devices = device_names();
        }
        let outcome = scheduler.work(sessions);
        if outcome.is_err() {
            scheduler.stop_all();
        }
        outcome?;
        scheduler.overview.end();
        Ok(scheduler.tally)
    }
}

struct Scheduler<'a> {
    launch: &'a Local<'a>,
    queue: VecDeque<&'a Cell>,
    elsewhere: Vec<&'a Cell>,
    running: Vec<Running<'a>>,
    free: Vec<usize>,
    devices: Vec<String>,
    tally: Tally,
    overview: Overview,
    forwarded: bool,
    program: PathBuf,
}

impl Scheduler<'_> {
    fn work(&mut self, sessions: &mut Sessions) -> Result<()> {
        let (mut drawn, mut looked) = (Instant::now(), Instant::now());
        while !(self.queue.is_empty() && self.running.is_empty() && self.elsewhere.is_empty()) {
            if self.launch.stop.received().is_some() && !self.forwarded {
                self.forwarded = true;
                self.tally.interrupted += self.queue.len() + self.elsewhere.len();
                self.queue.clear();
                self.elsewhere.clear();
                self.stop_all();
                self.overview.line("stopping: every cell writes a checkpoint");
            }
            let began = self.start_some(sessions)?;
            let ended = self.reap(sessions)?;
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                // They go to the end of the queue, where they are claimed, found finished, or set
                // aside again.
                self.queue.extend(self.elsewhere.drain(..));
            }
            if drawn.elapsed() >= DRAW {
                drawn = Instant::now();
                for running in &self.running {
                    let seconds = running.started.elapsed().as_secs_f64();
                    sessions.link(running.cell, &running.folder)?;
                    self.overview.at(running.cell, running.folder.progress(), seconds);
                }
                self.overview.beat(&self.tally, self.running.len(), self.elsewhere.len());
            }
            if !began && !ended {
                std::thread::sleep(TICK);
            }
        }
        Ok(())
    }

    /// Fills the free slots.
    fn start_some(&mut self, sessions: &mut Sessions) -> Result<bool> {
        let mut began = false;
        while let (false, Some(&slot)) = (self.queue.is_empty(), self.free.last()) {
            let Some(cell) = self.queue.pop_front() else { break };
            let folder = self.launch.plan.cell_folder(self.launch.folder, cell);
            if folder.state() == State::Finished {
                self.tally.finished += 1;
                self.overview.finished(cell, &folder, None);
                sessions.ended(cell, &folder)?;
                began = true;
                continue;
            }
            let Some(lock) = folder.claim()? else {
                self.overview.elsewhere(cell);
                self.elsewhere.push(cell);
                continue;
            };
            folder.forget_failure()?;
            let log_start = folder.log_length();
            let child = self.spawn(cell, &folder, lock, slot)?;
            self.free.pop();
            self.overview.started(cell);
            sessions.began(cell, &folder)?;
            let started = Instant::now();
            self.running.push(Running { cell, folder, child, slot, log_start, started });
            began = true;
        }
        Ok(began)
    }

    fn spawn(&self, cell: &Cell, folder: &CellFolder, lock: File, slot: usize) -> Result<Child> {
        let log = File::options().create(true).append(true).open(folder.log());
        let log = log.map_err(|e| Error::io(folder.log(), e))?;
        let errors = log.try_clone().map_err(|e| Error::io(folder.log(), e))?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(folder.config()).arg("--resume");
        command.arg("--out").arg(folder.run()).arg("--data-dir").arg(self.launch.data_dir);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // The pools that libtorch does not size by its own setting.
        for pool in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
            command.env(pool, cell.threads.to_string());
        }
        if let (true, false) = (cell.cuda, self.devices.is_empty()) {
            command.env("CUDA_VISIBLE_DEVICES", &self.devices[slot % self.devices.len()]);
        }
        // A group of its own: Ctrl-C on the terminal reaches this process only, which forwards it
        // once. A second signal would end the cell without its checkpoint.
        command.process_group(0);
        let descriptor = lock.as_raw_fd();
        // SAFETY: between fork and exec only fcntl and prctl are called, which are safe there; the
        // descriptor stays open until `lock` is dropped below.
        unsafe {
            command.pre_exec(move || inherit(descriptor));
        }
        // The child keeps its copy of the lock; ours is closed here.
        let child = command.spawn();
        drop(lock);
        child.map_err(|e| Error::io(&self.program, e))
    }

    /// Takes note of processes that have ended.
    fn reap(&mut self, sessions: &mut Sessions) -> Result<bool> {
        let mut ended = false;
        let mut k = 0;
        while k < self.running.len() {
            let running = &mut self.running[k];
            let status = running.child.try_wait();
            let Some(status) = status.map_err(|e| Error::Other(format!("waiting: {e}")))? else {
                k += 1;
                continue;
            };
            let done = self.running.swap_remove(k);
            self.free.push(done.slot);
            self.note_end(&done, status)?;
            sessions.ended(done.cell, &done.folder)?;
            ended = true;
        }
        Ok(ended)
    }

    fn note_end(&mut self, done: &Running, status: ExitStatus) -> Result<()> {
        let seconds = done.started.elapsed().as_secs_f64();
        let finished = crate::execute::finished(&done.folder.run());
        match (status.code(), finished) {
            // 4: its metrics are written, and some are not finite, which its table shows.
            (Some(0 | 4), true) => {
                self.tally.finished += 1;
                self.overview.finished(done.cell, &done.folder, Some(seconds));
            }
            // Before its handlers stand, the signal that was forwarded ends a process by itself.
            (None, _) if self.forwarded => {
                self.tally.interrupted += 1;
                self.overview.interrupted(done.cell);
            }
            (Some(75), _) => {
                self.tally.interrupted += 1;
                self.overview.interrupted(done.cell);
            }
            (code, _) => {
                let ended = match (code, status.signal()) {
                    (Some(0), _) => "exit code 0 without metrics".to_string(),
                    (Some(code), _) => format!("exit code {code}"),
                    (None, signal) => format!("signal {}", signal.unwrap_or(0)),
                };
                let failure = Failure { ended, error: done.folder.last_words(done.log_start) };
                self.tally.failed += 1;
                self.overview.failed(done.cell, &failure);
                done.folder.note_failure(&failure)?;
            }
        }
        Ok(())
    }

    /// Asks every cell for a checkpoint and its end.
    fn stop_all(&mut self) {
        for running in &self.running {
            // SAFETY: kill has no memory effects; the process is our child and was not waited for.
            unsafe {
                libc::kill(running.child.id() as libc::pid_t, libc::SIGTERM);
            }
        }
    }
}

/// In the child before exec: keeps the lock open, and asks for a SIGUSR1 (a checkpoint) should the
/// sweep die; not the signal that is forwarded, whose repetition means "at once".
fn inherit(lock: std::os::fd::RawFd) -> std::io::Result<()> {
    // SAFETY: both calls take numbers only; the descriptor is open.
    let failed = unsafe { libc::fcntl(lock, libc::F_SETFD, 0) } == -1;
    if failed {
        return Err(std::io::Error::last_os_error());
    }
    #[cfg(target_os = "linux")]
    // SAFETY: this option takes a signal number.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR1) } == -1 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}
