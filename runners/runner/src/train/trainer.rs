//! The training loop: batches, gradients, logging, validation, checkpoints.
//!
//! Everything that a step uses is a pure function of the seed, the step and what the checkpoint
//! holds; a resumed run therefore ends in the same bits as an uninterrupted one on the CPU.

use super::columns::ColumnTraining;
use super::early_stop::EarlyStopping;
use super::ema::Ema;
use super::equivariance::equivariance_error;
use super::flat::{FlatError, FlatParameters, Weights};
use super::learning_rate::LearningRate;
use super::numbers;
use super::optimizer::{Optimizer, clip_by_norm, gradient_norm};
use super::window::Window;
use crate::checkpoint::{self, Snapshot};
use crate::evaluation::Report;
use crate::execute::{Prepared, Surroundings};
use crate::experiment::Experiment;
use crate::guard::guard;
use crate::output::note;
use crate::progress::Progress;
use crate::run::{JsonLog, RunFolder};
use crate::tensorboard::EventWriter;
use isotropy_core::{Error, Loss, LossContext, Result, Split, dataset, late_errors};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch::{Kind, Tensor};

/// A trained model: its weights and averages, and how training went.
pub struct Trained {
    parameters: FlatParameters,
    ema: Ema,
    step: u64,
    stopped_early: bool,
    validation: Option<f64>,
    best: Option<f64>,
    equivariance: Option<f64>,
    /// The event file and where training ended in it; none of a run that is only read.
    events: Option<(PathBuf, u64)>,
}

impl Trained {
    /// Runs `f` with the weights that the configuration names for sampling in the model.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn with_sampling_weights<T>(
        &self,
        experiment: &Experiment,
        f: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        match sampling_weights(&self.ema, experiment)? {
            Some(weights) => self.parameters.with_weights(weights, f),
            None => f(),
        }
    }

    /// The part of `metrics.json` about training; equal for equal runs.
    pub fn to_json(&self) -> Value {
        json!({
            "steps": self.step,
            "stopped_early": self.stopped_early,
            "parameters": self.parameters.count(),
            "validation_loss": self.validation,
            "best_validation_loss": self.best,
            "equivariance_error": self.equivariance,
        })
    }
}

fn sampling_weights<'a>(ema: &'a Ema, experiment: &Experiment) -> Result<Option<&'a Weights>> {
    let Some(rate) = experiment.sampling.ema else { return Ok(None) };
    let weights = ema.weights(rate).ok_or_else(|| {
        Error::config("/sampling/ema", format!("no average of rate {rate} is trained"))
    })?;
    Ok(Some(weights))
}

/// The averages of a run, as objectives see them.
struct TrainedAverages<'a> {
    ema: &'a Ema,
    parameters: &'a FlatParameters,
}

impl isotropy_core::Averages for TrainedAverages<'_> {
    fn with(&self, rate: f64, f: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let weights = self.ema.weights(rate).ok_or_else(|| {
            Error::config("/train/ema", format!("no average of rate {rate} is trained"))
        })?;
        let _no_grad = tch::no_grad_guard();
        self.parameters.with_weights(weights, f)
    }
}

/// Everything that changes while training.
struct Loop<'a> {
    experiment: &'a Experiment,
    prepared: &'a Prepared,
    folder: &'a RunFolder,
    columns: Option<ColumnTraining<'a>>,
    parameters: FlatParameters,
    optimizer: Optimizer,
    rate: LearningRate,
    ema: Ema,
    early: EarlyStopping,
    step: u64,
    validation: Option<f64>,
    equivariance: Option<f64>,
    window: Window,
    events: EventWriter,
    log: JsonLog,
}

/// What one optimiser step leaves for the log.
struct Update {
    /// Named parts of the loss.
    parts: Vec<(String, Tensor)>,
    /// The clipped gradient.
    gradient: Tensor,
    /// The factor on the learning rate.
    factor: f64,
}

/// Trains from the last checkpoint, or from the start.
///
/// # Errors
/// `Numbers` when a loss is not finite; `Interrupted` after a signal and a checkpoint.
pub fn train(
    experiment: &Experiment,
    prepared: &Prepared,
    folder: &RunFolder,
    surroundings: &Surroundings,
) -> Result<Trained> {
    let mut training = Loop::open(experiment, prepared, folder, surroundings)?;
    if experiment.train.steps > 0 {
        training.run(surroundings)?;
    }
    training.close()
}

/// Reads the last checkpoint of a run (of one without training its weights) into the model of
/// `prepared`. Nothing in the folder is changed.
///
/// # Errors
/// When there is none, or it does not fit.
pub fn restore(experiment: &Experiment, prepared: &Prepared, run: &Path) -> Result<Trained> {
    let parameters = FlatParameters::new(&prepared.built.store)?;
    let mut trained = Trained {
        ema: Ema::new(&parameters, &experiment.train.ema, true)?,
        parameters,
        step: 0,
        stopped_early: false,
        validation: None,
        best: None,
        equivariance: None,
        events: None,
    };
    let found = checkpoint::latest_valid(&run.join("checkpoints"))?;
    for warning in &found.warnings {
        note!("warning: {warning}");
    }
    let Some(loaded) = found.checkpoint else {
        if experiment.train.steps > 0 {
            let message = format!("{} holds no checkpoint", run.display());
            return Err(Error::data(
                message,
                "train it first: runner --config FILE --resume --out DIR",
            ));
        }
        load_sampling_weights(experiment, prepared, run)?;
        trained.ema = Ema::new(&trained.parameters, &experiment.train.ema, true)?;
        return Ok(trained);
    };
    let of = |error: FlatError| in_checkpoint(error.into(), &loaded);
    trained.parameters.load(&loaded.model).map_err(of)?;
    trained.ema.load(&trained.parameters, &loaded.state).map_err(of)?;
    let early: EarlyStopping = read_extra(&loaded, "early_stop")?;
    trained.step = loaded.step;
    trained.stopped_early = early.stopped;
    trained.best = early.best;
    trained.validation = loaded.extra["validation_loss"].as_f64();
    trained.equivariance = loaded.extra["equivariance_error"].as_f64();
    Ok(trained)
}

/// Names the checkpoint in an error about its numbers.
fn in_checkpoint(error: Error, loaded: &checkpoint::Loaded) -> Error {
    match error {
        Error::Numbers(what) => Error::Numbers(format!("{}: {what}", loaded.folder.display())),
        Error::Data { message, help } => {
            Error::data(format!("{}: {message}", loaded.folder.display()), help)
        }
        other => other,
    }
}

fn read_extra<T: serde::de::DeserializeOwned>(loaded: &checkpoint::Loaded, key: &str) -> Result<T> {
    serde_json::from_value(loaded.extra[key].clone())
        .map_err(|error| Error::data(format!("{}: {key}: {error}", loaded.folder.display()), ""))
}

/// Puts the weights that samples are drawn with into the model of `prepared`, for good.
///
/// # Errors
/// When the run holds no weights, or they do not fit the model or are not finite.
pub fn load_sampling_weights(
    experiment: &Experiment,
    prepared: &Prepared,
    run: &Path,
) -> Result<()> {
    let parameters = FlatParameters::new(&prepared.built.store)?;
    if parameters.count() == 0 && parameters.buffers().is_empty() {
        return Ok(());
    }
    let path = run.join("weights.safetensors");
    let tensors = checkpoint::read_safetensors(&path).map_err(|error| {
        Error::data(error.to_string(), format!("finish the run '{}' first", experiment.name))
    })?;
    parameters.load(&tensors).map_err(|error| match Error::from(error) {
        Error::Numbers(what) => Error::Numbers(format!("{}: {what}", path.display())),
        Error::Data { message, help } => {
            Error::data(format!("{}: {message}", path.display()), help)
        }
        other => other,
    })
}

/// Loads the weights that `train.init_from` names; returns whether it names any.
///
/// # Errors
/// A configuration error when the file cannot be read or does not fit the model, `Numbers` when it
/// holds weights that are not finite.
pub fn load_initial_weights(
    experiment: &Experiment,
    surroundings: &Surroundings,
    parameters: &FlatParameters,
) -> Result<bool> {
    let Some(file) = &experiment.train.init_from else { return Ok(false) };
    let path = surroundings.config_folder.join(file);
    let refuse = |error: Error| match error {
        Error::Numbers(what) => Error::Numbers(format!("{}: {what}", path.display())),
        other => {
            let text = other.to_string();
            let place = path.display().to_string();
            let named = if text.contains(&place) { text } else { format!("{place}: {text}") };
            Error::config("/train/init_from", named)
                .with_help("name a weights.safetensors of a run with the same model")
        }
    };
    let tensors = checkpoint::read_safetensors(&path).map_err(refuse)?;
    parameters.load(&tensors).map_err(|error| refuse(error.into()))?;
    Ok(true)
}

/// Adds the metrics of the evaluation to the curves.
///
/// # Errors
/// When the event file cannot be written.
pub fn log_metrics(folder: &RunFolder, trained: &Trained, report: &Report) -> Result<()> {
    let Some((file, offset)) = &trained.events else { return Ok(()) };
    // The offset after training: an evaluation that was cut off is replaced, not repeated.
    let mut events = EventWriter::resume(file, *offset)?;
    for m in report.measured.iter().filter(|m| m.value.is_finite()) {
        events.scalar(&format!("metrics/{}", m.name), trained.step as i64, m.value as f32)?;
    }
    let plots = folder.join("plots");
    if plots.exists() {
        let entries = std::fs::read_dir(&plots).map_err(|e| Error::io(&plots, e))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        files.sort();
        for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "png")) {
            let png = std::fs::read(file).map_err(|e| Error::io(file, e))?;
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            events.image(&format!("plots/{stem}"), trained.step as i64, &png)?;
        }
    }
    events.sync()?;
    Ok(())
}

impl<'a> Loop<'a> {
    fn open(
        experiment: &'a Experiment,
        prepared: &'a Prepared,
        folder: &'a RunFolder,
        surroundings: &Surroundings,
    ) -> Result<Self> {
        let options = &experiment.train;
        let parameters = FlatParameters::new(&prepared.built.store)?;
        let found = checkpoint::latest_valid(&folder.join("checkpoints"))?;
        for warning in &found.warnings {
            note!("warning: {warning}");
        }
        let columns = if options.steps > 0 {
            ColumnTraining::new(prepared, &parameters, options.batch, options.batches_at_once)?
        } else {
            None
        };
        let mut new = Self {
            columns,
            optimizer: options.optimizer.build(parameters.buffer())?,
            rate: options.learning_rate.build(options.steps),
            ema: Ema::new(&parameters, &options.ema, true)?,
            early: EarlyStopping::default(),
            step: 0,
            validation: None,
            equivariance: None,
            window: Window::new(
                options.log_every as usize,
                (experiment.kind.torch(), prepared.load.device),
            ),
            events: EventWriter::open(&folder.subfolder("tensorboard")?, 0)?,
            log: JsonLog::open(&folder.join("log.jsonl"), found.step().unwrap_or(0))?,
            experiment,
            prepared,
            folder,
            parameters,
        };
        match found.checkpoint {
            Some(loaded) => new.restore(&loaded)?,
            None => {
                if load_initial_weights(experiment, surroundings, &new.parameters)? {
                    new.ema = Ema::new(&new.parameters, &options.ema, true)?;
                }
                let text = serde_json::to_string_pretty(&crate::resolve::to_json(experiment)?)
                    .map_err(|e| Error::Other(e.to_string()))?;
                new.events.text("configuration", 0, &format!("```json\n{text}\n```"))?;
            }
        }
        Ok(new)
    }

    fn restore(&mut self, loaded: &checkpoint::Loaded) -> Result<()> {
        self.step = loaded.step;
        let of = |error: FlatError| in_checkpoint(error.into(), loaded);
        self.parameters.load(&loaded.model).map_err(of)?;
        // Averages are checked where they are read; the rest of the state is checked here.
        numbers::check_tensors(&loaded.state).map_err(|error| in_checkpoint(error, loaded))?;
        self.optimizer.load(&loaded.state)?;
        self.ema.load(&self.parameters, &loaded.state).map_err(of)?;
        self.window.load(&loaded.state)?;
        self.rate.restore(read_extra(loaded, "learning_rate")?);
        self.early = read_extra(loaded, "early_stop")?;
        self.validation = loaded.extra["validation_loss"].as_f64();
        self.equivariance = loaded.extra["equivariance_error"].as_f64();
        let path = self.events.path().to_path_buf();
        self.events = EventWriter::resume(&path, loaded.events_offset)?;
        Ok(())
    }

    fn run(&mut self, surroundings: &Surroundings) -> Result<()> {
        let train = &self.experiment.train;
        let mut progress = Progress::new("train", train.steps, self.step);
        let mut shown = String::from("loss ...");
        let mut since = (Instant::now(), self.step);
        while self.step < train.steps && !self.early.stopped {
            let update = self.advance()?;
            let step = self.step;
            let last = step == train.steps;
            let due = |every: u64| every > 0 && step.is_multiple_of(every);
            if due(train.histogram_every) {
                self.log_histograms(&update.gradient)?;
            }
            if last || due(train.validate_every) {
                self.validate(&update.parts)?;
            }
            if last || self.early.stopped || due(train.log_every) {
                let speed =
                    (self.step - since.1) as f64 / since.0.elapsed().as_secs_f64().max(1e-9);
                since = (Instant::now(), self.step);
                shown = format!("loss {:.4}", self.log_window(&update, speed)?);
            }
            let signal = surroundings.stop.received().is_some();
            if signal || last || self.early.stopped || due(train.checkpoint.every) {
                self.check_numbers(&update.parts)?;
                self.save()?;
            }
            if signal && !last {
                progress.finish(self.step, "stopped by a signal, checkpoint written");
                surroundings.stop.check()?;
            }
            progress.at(self.step, || shown.clone());
        }
        progress.finish(self.step, &shown);
        Ok(())
    }

    /// One optimiser step.
    fn advance(&mut self) -> Result<Update> {
        let train = &self.experiment.train;
        let (loss, mut gradient) = self.gradient()?;
        let norm = match train.clip_norm {
            Some(max) => clip_by_norm(&mut gradient, max)?,
            None => gradient_norm(&gradient)?,
        };
        let factor = self.rate.factor(self.step);
        self.optimizer.step(self.parameters.buffer(), &gradient, factor)?;
        self.step += 1;
        self.ema.update(&self.parameters, self.step)?;
        self.window.push(&loss.total, &norm)?;
        Ok(Update { parts: loss.parts, gradient, factor })
    }

    /// The loss and its flat gradient, averaged over `accumulate` batches.
    fn gradient(&mut self) -> Result<(Loss, Tensor)> {
        let train = &self.experiment.train;
        let share = 1.0 / train.accumulate as f64;
        let mut sum: Option<(Loss, Tensor)> = None;
        for part in 0..train.accumulate {
            let index = self.step * train.accumulate + part;
            let (loss, gradient) = match &mut self.columns {
                Some(columns) => {
                    let (total, gradient) = columns.gradient(index)?;
                    // The next batch writes into the same tensor.
                    let gradient =
                        if train.accumulate > 1 { gradient.f_add_scalar(0.0)? } else { gradient };
                    (Loss { total, parts: Vec::new() }, gradient)
                }
                None => {
                    let loss = self.loss(Split::Train, index, true)?;
                    let gradient =
                        guard("model", || Ok(self.parameters.gradients(&loss.total)?))?;
                    (loss, gradient)
                }
            };
            sum = Some(match sum {
                None => (loss, gradient),
                Some((before, total)) => {
                    let total = total + gradient;
                    let mean = before.total.detach() + loss.total.detach();
                    (Loss { total: mean, parts: loss.parts }, total)
                }
            });
        }
        let (loss, gradient) = sum.expect("at least one batch is accumulated");
        if train.accumulate == 1 {
            return Ok((loss, gradient));
        }
        Ok((Loss { total: loss.total * share, parts: loss.parts }, gradient * share))
    }

    fn loss(&self, split: Split, index: u64, train: bool) -> Result<Loss> {
        let streams = &self.prepared.load.streams;
        let built = &self.prepared.built;
        let objective = built.objective.as_deref().ok_or_else(|| {
            Error::config("/objective", "training and validation need an `objective`")
        })?;
        let batch = guard("dataset", || {
            self.prepared.dataset.batch(split, index, self.experiment.train.batch, streams)
        })?;
        let process = built.process.as_deref();
        let streams = if train { streams.clone() } else { streams.named("validation") };
        let context = LossContext { process, streams: &streams, step: index, train };
        let averages = TrainedAverages { ema: &self.ema, parameters: &self.parameters };
        guard("objective", || {
            objective.loss_with(built.model.as_ref(), &batch, &context, &averages)
        })
    }

    /// The loss on the validation split, with the weights that samples are drawn with.
    fn validate(&mut self, parts: &[(String, Tensor)]) -> Result<()> {
        if self.prepared.built.objective.is_none()
            || self.prepared.dataset.is_empty(Split::Validation)
        {
            return Ok(());
        }
        let (loss, error) = {
            let measure = || -> Result<(f64, Option<f64>)> {
                let _no_grad = tch::no_grad_guard();
                Ok((self.validation_loss()?, self.equivariance_error()?))
            };
            match sampling_weights(&self.ema, self.experiment)? {
                Some(weights) => self.parameters.with_weights(weights, measure)?,
                None => measure()?,
            }
        };
        if !loss.is_finite() {
            self.check_numbers(parts)?;
            let text = format!("the validation loss is not finite at step {}: {loss}", self.step);
            return Err(Error::Numbers(text));
        }
        self.validation = Some(loss);
        self.equivariance = error;
        self.rate.observe(loss);
        self.early.observe(loss, self.experiment.train.early_stop.as_ref());
        let step = self.step as i64;
        self.events.scalar("validation/loss", step, loss as f32)?;
        if let Some(error) = error {
            self.events.scalar("validation/equivariance_error", step, error as f32)?;
        }
        self.log.write(&json!({
            "step": self.step, "validation_loss": loss, "equivariance_error": error,
        }))
    }

    fn validation_loss(&self) -> Result<f64> {
        let train = &self.experiment.train;
        let available = self.prepared.dataset.len(Split::Validation);
        let batches = available.map_or(train.validation_batches, |points| {
            train.validation_batches.min(points.div_ceil(train.batch as u64))
        });
        // Read together, so that the device is waited for once.
        let mut losses = Vec::new();
        for k in 0..batches {
            losses.push(self.loss(Split::Validation, k, false)?.total.reshape([1]));
        }
        if losses.is_empty() {
            return Ok(f64::NAN);
        }
        let losses = Vec::<f64>::try_from(Tensor::f_cat(&losses, 0)?.to_kind(Kind::Double))?;
        late_errors()?;
        Ok(losses.iter().sum::<f64>() / batches as f64)
    }

    fn equivariance_error(&self) -> Result<Option<f64>> {
        let built = &self.prepared.built;
        let (Some(process), Some(symmetry)) = (&built.process, &built.symmetry) else {
            return Ok(None);
        };
        let streams = &self.prepared.load.streams;
        let count = self.experiment.train.batch.min(64);
        let clean =
            dataset::first(self.prepared.dataset.as_ref(), Split::Validation, count, streams)?;
        let model = built.model.as_ref();
        equivariance_error(process.as_ref(), symmetry.as_ref(), model, &clean, streams).map(Some)
    }

    /// Reads the window, stops on numbers that are not finite, and logs. Returns the mean loss.
    fn log_window(&mut self, update: &Update, speed: f64) -> Result<f64> {
        late_errors()?;
        let Some(summary) = self.window.read()? else { return Ok(f64::NAN) };
        numbers::check_steps(&summary, self.step, &update.parts, &self.parameters)?;
        let step = self.step as i64;
        let rate = update.factor * self.optimizer.learning_rate();
        let mut entry = json!({
            "step": self.step, "loss": summary.loss, "gradient_norm": summary.gradient_norm,
            "learning_rate": rate, "steps_per_second": speed,
        });
        self.events.scalar("train/loss", step, summary.loss as f32)?;
        self.events.scalar("train/gradient_norm", step, summary.gradient_norm as f32)?;
        self.events.scalar("train/learning_rate", step, rate as f32)?;
        self.events.scalar("time/steps_per_second", step, speed as f32)?;
        for (name, value) in &update.parts {
            let value = value.double_value(&[]);
            self.events.scalar(&format!("train/{name}"), step, value as f32)?;
            entry[name] = json!(value);
        }
        self.log.write(&entry)?;
        Ok(summary.loss)
    }

    /// Stops where a number since the last log entry, or a weight, is not finite: such weights must
    /// not become a checkpoint. Waits for the device.
    fn check_numbers(&self, parts: &[(String, Tensor)]) -> Result<()> {
        late_errors()?;
        if let Some(summary) = self.window.peek()? {
            numbers::check_steps(&summary, self.step, parts, &self.parameters)?;
        }
        numbers::check_weights(self.step, &self.parameters)
    }

    fn log_histograms(&mut self, gradient: &Tensor) -> Result<()> {
        let step = self.step as i64;
        let weights = self.parameters.named()?;
        let gradients = self.parameters.views(gradient)?;
        for (prefix, tensors) in [("weights", &weights), ("gradients", &gradients)] {
            for (name, tensor) in tensors {
                self.events.histogram(&format!("{prefix}/{name}"), step, tensor)?;
            }
        }
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        self.events.sync()?;
        let mut state = self.optimizer.named();
        state.extend(self.ema.named(&self.parameters)?);
        state.extend(self.window.named());
        let json = |value: Result<Value, serde_json::Error>| {
            value.map_err(|e| Error::Other(format!("checkpoint: {e}")))
        };
        let snapshot = Snapshot {
            step: self.step,
            model: self.parameters.named_weights()?,
            state,
            events_offset: self.events.offset(),
            metric: self.validation,
            extra: json!({
                "learning_rate": json(serde_json::to_value(self.rate.state()))?,
                "early_stop": json(serde_json::to_value(&self.early))?,
                "validation_loss": self.validation,
                "equivariance_error": self.equivariance,
            }),
        };
        let keep = self.experiment.train.checkpoint.keep;
        checkpoint::save(&self.folder.subfolder("checkpoints")?, &snapshot, keep)
    }

    fn close(mut self) -> Result<Trained> {
        self.events.sync()?;
        Ok(Trained {
            step: self.step,
            stopped_early: self.early.stopped,
            validation: self.validation,
            best: self.early.best,
            equivariance: self.equivariance,
            events: Some((self.events.path().to_path_buf(), self.events.offset())),
            parameters: self.parameters,
            ema: self.ema,
        })
    }
}
