//! Functions that are drawn: the running dataset behind every synthetic set of this plugin.

use super::counts::{CountPer, CountsConfig, Range, mask};
use super::law::Law;
use super::points::{IndexSet, chosen, pick};
use super::task::{TaskConfig, known_first};
use isotropy_core::dataset::shuffled_rows;
use isotropy_core::{
    Dataset, Error, Field, FieldSpec, LoadContext, Moves, Result, Split, State, StateSpec, Stream,
    Streams, upload,
};
use isotropy_diffusion::observed;
use tch::{Device, Kind, Tensor};

/// Functions of a fixed training set that are drawn together: a smaller set is the beginning of a larger one.
const CHUNK: i64 = 500;
/// Functions of the test split that are drawn together, so that a function does not depend on the batch it comes in.
const BLOCK: i64 = 32;

/// What a synthetic set is, beside its law and its points.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// Points of a training function.
    pub counts: CountsConfig,
    /// Whether the batch or each function has such a number.
    pub count_per: CountPer,
    /// Known points beside them, for conditional training.
    pub training_context: Option<Range>,
    /// Functions of a fixed training set; `None` draws new ones for every batch.
    pub functions: Option<i64>,
    /// Functions for validation.
    pub validation: i64,
    /// Functions for testing.
    pub test: i64,
    /// What is asked in the test; `None` gives functions of which nothing is known.
    pub task: Option<TaskConfig>,
    /// How groups move values.
    pub moves: Moves,
    /// Seed of everything that is fixed: test and validation functions, a fixed training set.
    pub seed: u64,
}

impl Protocol {
    /// Points that a training function has at most, known ones included.
    fn most(&self) -> i64 {
        self.counts.max() + self.training_context.map_or(0, |range| range.max)
    }

    /// Whether the protocol can be followed at these points.
    ///
    /// # Errors
    /// `Config` with a pointer to what is wrong.
    pub fn check(&self, points: &IndexSet) -> Result<()> {
        let available = points.size();
        self.counts.check("/counts", available)?;
        if let Some(range) = &self.training_context {
            range.check("/training_context", 0)?;
            if let Some(available) = available.filter(|&available| self.most() > available) {
                let message = format!(
                    "up to {} known points beside {} others are more than the {available} that there are",
                    range.max,
                    self.counts.max()
                );
                return Err(Error::config("/training_context/max", message));
            }
        }
        if let Some(task) = &self.task {
            task.check("/task", available)?;
            // Whether the region means anything for these points.
            let mut stream = Stream::probe();
            points
                .draw_task(task.region, 1, (1, 1), Device::Cpu, &mut stream)
                .map(|_| ())
                .map_err(|error| error.under("/task/region"))?;
        }
        if self.functions == Some(0) {
            let message = "a fixed training set has at least one function; null draws new ones";
            return Err(Error::config("/functions", message));
        }
        Ok(())
    }

    /// The shapes of states; the known values are among them where any split has some.
    pub fn spec(&self, p: i64, outputs: i64) -> StateSpec {
        let mut spec = StateSpec::new(FieldSpec::new(&[-1, outputs], self.moves).indexed(1))
            .with_context(State::INDEX, FieldSpec::new(&[-1, p], Moves::Point).indexed(1));
        if self.count_per == CountPer::Function {
            spec = spec.with_context(State::MASK, FieldSpec::new(&[-1], Moves::Fixed).indexed(1));
        }
        if self.task.is_some() || self.training_context.is_some() {
            observed::spec(&spec)
        } else {
            spec
        }
    }
}

/// Values at points.
struct Seen {
    /// `[B, N, p]`, double precision.
    index: Tensor,
    /// `[B, N, d]`, double precision.
    values: Tensor,
}

/// A fixed training set.
#[derive(Debug)]
struct Fixed {
    /// `[F, n, p]`; a view that repeats a lattice where the functions share one.
    index: Tensor,
    /// `[F, n, d]`, in the kind of the run.
    values: Tensor,
}

/// Drawn functions.
#[derive(Debug)]
pub struct Synthetic {
    law: Box<dyn Law>,
    points: IndexSet,
    protocol: Protocol,
    /// The same points on the CPU, where everything that is fixed is drawn: it is the same on every device.
    fixed_points: IndexSet,
    fixed: Option<Fixed>,
    options: (Kind, Device),
}

impl Synthetic {
    /// Draws what is fixed.
    ///
    /// # Errors
    /// As for [`Protocol::check`] and [`Law::draw`].
    pub fn new(
        law: Box<dyn Law>,
        points: impl Fn() -> Result<IndexSet>,
        protocol: Protocol,
        context: &LoadContext,
    ) -> Result<Self> {
        let (mut on_device, fixed_points) = (points()?, points()?);
        protocol.check(&fixed_points)?;
        on_device.to_device(context.device);
        let options = (context.kind, context.device);
        let mut set = Self { law, points: on_device, protocol, fixed_points, fixed: None, options };
        if let Some(count) = set.protocol.functions {
            set.fixed = Some(set.draw_fixed(count)?);
        }
        Ok(set)
    }

    /// Draws `count` functions at all points of a lattice, or at as many points as training sees at most.
    fn draw_fixed(&self, count: i64) -> Result<Fixed> {
        let (kind, device) = self.options;
        let streams = Streams::new(self.protocol.seed);
        let (mut values, mut index) = (Vec::new(), Vec::new());
        for chunk in 0..(count + CHUNK - 1) / CHUNK {
            let mut stream = streams.stream("functions", chunk as u64);
            let seen = self.at_all(CHUNK, &self.fixed_points, Device::Cpu, &mut stream)?;
            let kept = CHUNK.min(count - chunk * CHUNK);
            values.push(seen.values.narrow(0, 0, kept).to_kind(kind).to_device(device));
            index.push(seen.index.narrow(0, 0, kept).to_device(device));
        }
        let index = match self.points.all() {
            Some(lattice) => lattice.unsqueeze(0).expand([count, -1, -1], false),
            None => Tensor::cat(&index, 0),
        };
        Ok(Fixed { index, values: Tensor::cat(&values, 0) })
    }

    /// New functions at all points of a lattice, or at as many points as training sees at most.
    fn at_all(
        &self,
        batch: i64,
        points: &IndexSet,
        device: Device,
        stream: &mut Stream,
    ) -> Result<Seen> {
        match points.all() {
            Some(lattice) => {
                let values = self.law.draw(lattice, batch, stream)?;
                Ok(Seen { index: lattice.unsqueeze(0).expand([batch, -1, -1], false), values })
            }
            None => {
                let index = points.draw(batch, self.protocol.most(), device, stream);
                let values = self.law.draw(&index, batch, stream)?;
                Ok(Seen { index, values })
            }
        }
    }

    /// New functions at `count` points. Where some of them will be known, all points come in random order.
    fn at_some(
        &self,
        batch: i64,
        count: i64,
        points: &IndexSet,
        device: Device,
        stream: &mut Stream,
    ) -> Result<Seen> {
        if self.protocol.training_context.is_none() && points.size() == Some(count) {
            return self.at_all(batch, points, device, stream);
        }
        let index = points.anywhere(batch, count, device, stream);
        let values = self.law.draw(&index, batch, stream)?;
        Ok(Seen { index, values })
    }

    /// A state of what was seen.
    fn state(&self, seen: Seen) -> State {
        let to = |tensor: Tensor| upload(&tensor.to_kind(self.options.0), self.options.1);
        let index = Field::new(to(seen.index), Moves::Point).indexed(1);
        State::new(Field::new(to(seen.values), self.protocol.moves).indexed(1))
            .with_context(State::INDEX, index)
    }

    /// A batch as training sees it; `see` gives values at a number of points.
    fn training_batch(
        &self,
        batch: i64,
        stream: &mut Stream,
        see: impl FnOnce(i64, &mut Stream) -> Result<Seen>,
    ) -> Result<State> {
        let protocol = &self.protocol;
        let context = protocol.training_context;
        let (asked, counts) = match protocol.count_per {
            CountPer::Batch => (protocol.counts.draw(&[], stream).int64_value(&[]), None),
            CountPer::Function => {
                (protocol.counts.max(), Some(protocol.counts.draw(&[batch], stream)))
            }
        };
        // Numbers of known points: one for the batch, or padded like the others.
        let (known, known_counts) = match (context, protocol.count_per) {
            (None, _) => (0, None),
            (Some(range), CountPer::Batch) => {
                let known = range.draw_one(stream);
                (known, Some(Tensor::full([batch], known, (Kind::Int64, Device::Cpu))))
            }
            (Some(range), CountPer::Function) => (range.max, Some(range.draw(&[batch], stream))),
        };
        let mut state = self.state(see(known + asked, stream)?);
        if let Some(known_counts) = &known_counts {
            state = known_first(&state, known, known_counts)?;
        }
        if let Some(counts) = &counts {
            let there = mask(counts, asked, self.options);
            state = state.with_value(state.x() * there.unsqueeze(-1));
            state = state.with_context(State::MASK, Field::new(there, Moves::Fixed).indexed(1));
        }
        Ok(state)
    }

    /// New functions for training or validation.
    fn fresh(
        &self,
        batch: i64,
        points: &IndexSet,
        device: Device,
        stream: &mut Stream,
    ) -> Result<State> {
        self.training_batch(batch, stream, |count, stream| {
            self.at_some(batch, count, points, device, stream)
        })
    }

    /// Training batch `step` of a fixed set: every function once an epoch, at points that are chosen anew.
    fn revisited(&self, fixed: &Fixed, step: u64, size: i64, streams: &Streams) -> Result<State> {
        let rows = shuffled_rows(fixed.values.size()[0], step, size, streams);
        let rows = upload(&rows, self.options.1);
        let mut stream = streams.stream("points", step);
        self.training_batch(size, &mut stream, |count, stream| {
            let (index, values) =
                (fixed.index.index_select(0, &rows), fixed.values.index_select(0, &rows));
            let all = index.size()[1];
            if self.protocol.training_context.is_none() && count == all {
                return Ok(Seen { index, values });
            }
            let points = chosen(size, all, count, index.device(), stream);
            Ok(Seen { index: pick(&index, &points), values: pick(&values, &points) })
        })
    }

    /// Block `number` of the test functions.
    fn block(&self, number: i64) -> Result<State> {
        let mut stream = Streams::new(self.protocol.seed).stream("test", number as u64);
        let Some(task) = &self.protocol.task else {
            let count = self.protocol.counts.max();
            let seen = self.at_some(BLOCK, count, &self.fixed_points, Device::Cpu, &mut stream)?;
            let state = self.state(seen);
            let all = Tensor::full([BLOCK], count, (Kind::Int64, Device::Cpu));
            return Ok(match self.protocol.count_per {
                CountPer::Batch => state,
                CountPer::Function => state.with_context(
                    State::MASK,
                    Field::new(mask(&all, count, self.options), Moves::Fixed).indexed(1),
                ),
            });
        };
        let sizes = (task.context.max, task.targets);
        let index =
            self.fixed_points.draw_task(task.region, BLOCK, sizes, Device::Cpu, &mut stream)?;
        let values = self.law.draw(&index, BLOCK, &mut stream)?;
        task.split(&self.state(Seen { index, values }), &mut stream)
    }
}

impl Dataset for Synthetic {
    fn len(&self, split: Split) -> Option<u64> {
        match split {
            Split::Train => self.protocol.functions.map(|count| count as u64),
            Split::Validation => Some(self.protocol.validation as u64),
            Split::Test => Some(self.protocol.test as u64),
        }
    }

    fn batch(&self, split: Split, step: u64, size: i64, streams: &Streams) -> Result<State> {
        let (start, count) = match split {
            Split::Train => (0, size),
            Split::Validation => rows_of(step, size, self.protocol.validation),
            Split::Test => rows_of(step, size, self.protocol.test),
        };
        match (split, &self.fixed) {
            (Split::Train, Some(fixed)) => self.revisited(fixed, step, size, streams),
            (Split::Train, None) => {
                let mut stream = streams.stream("functions", step);
                self.fresh(size, &self.points, self.options.1, &mut stream)
            }
            (Split::Validation, _) => {
                let mut stream = Streams::new(self.protocol.seed).stream("validation", step);
                let drawn =
                    self.fresh(count.max(1), &self.fixed_points, Device::Cpu, &mut stream)?;
                Ok(drawn.narrow(0, count))
            }
            (Split::Test, _) => {
                let first = start / BLOCK;
                let last = (start + count.max(1) - 1) / BLOCK;
                let blocks =
                    (first..=last).map(|number| self.block(number)).collect::<Result<Vec<_>>>()?;
                Ok(State::cat(&blocks)?.narrow(start - first * BLOCK, count))
            }
        }
    }
}

/// The first row and the number of rows of batch `step` of a split of `len` rows; none beyond its end.
pub fn rows_of(step: u64, size: i64, len: i64) -> (i64, i64) {
    let start = (i128::from(step) * i128::from(size)).min(i128::from(len)) as i64;
    (start, size.min(len - start))
}
