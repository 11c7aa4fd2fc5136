//! Fields measured on a grid at many times: the running dataset behind winds and reanalyses.

use super::counts::{CountsConfig, Range as CountRange};
use super::points::{chosen, pick};
use super::snapshots::{Boxes, Snapshots, Surface, Window, arc_in};
use super::synthetic::rows_of;
use super::task::known_first;
use isotropy_core::{
    Dataset, Error, Field, FieldSpec, LoadContext, Moves, Result, Split, State, StateSpec, Stream,
    Streams, config, upload,
};
use isotropy_diffusion::observed;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Test boxes that are drawn together, so that a box does not depend on the batch it comes in.
const BLOCK: i64 = 16;

/// What is asked of the test boxes.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BoxTask {
    /// How many nodes of a box are known, drawn for each box; 0 is allowed.
    pub context: CountRange,
    /// At how many other nodes the field is asked for; null for all the others.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub targets: Option<i64>,
}

/// How boxes are drawn.
#[derive(Debug, Clone)]
pub struct BoxProtocol {
    /// Size of a box in nodes.
    pub window: Window,
    /// Plane or sphere.
    pub surface: Surface,
    /// The plane's unit of length in km.
    pub unit_km: f64,
    /// At how many nodes of a box training sees it; `None` for all.
    pub counts: Option<CountsConfig>,
    /// Known nodes beside them, for conditional training.
    pub training_context: Option<CountRange>,
    /// The test task; `None` gives boxes of which nothing is known.
    pub task: Option<BoxTask>,
    /// Times for training, validation and testing.
    pub times: [Range<i64>; 3],
    /// Boxes for validation.
    pub validation: i64,
    /// Boxes for testing.
    pub test: i64,
    /// Seed of validation and test boxes.
    pub seed: u64,
}

impl BoxProtocol {
    fn nodes(&self) -> i64 {
        self.window.rows * self.window.columns
    }

    /// Whether boxes of this size can be asked so.
    ///
    /// # Errors
    /// `Config` with a pointer to what is wrong.
    pub fn check(&self) -> Result<()> {
        let nodes = self.nodes();
        if self.window.rows < 1 || self.window.columns < 1 {
            return Err(Error::config("/box", "a box has at least one row and one column"));
        }
        if !(self.unit_km.is_finite() && self.unit_km > 0.0) {
            return Err(Error::config("/unit_km", "the unit of length must be positive"));
        }
        let known = self.training_context.map_or(0, |range| range.max);
        if let Some(range) = &self.training_context {
            range.check("/training_context", 0)?;
            if known >= nodes {
                let message = format!("{known} known nodes leave none of {nodes} to ask for");
                return Err(Error::config("/training_context/max", message));
            }
        }
        if let Some(counts) = &self.counts {
            counts.check("/counts", Some(nodes - known))?;
        }
        if let Some(task) = &self.task {
            task.context.check("/task/context", 0)?;
            let asked = task.targets.unwrap_or(1);
            if asked < 1 {
                return Err(Error::config(
                    "/task/targets",
                    "the field must be asked for at one node at least",
                ));
            }
            if task.context.max + asked > nodes {
                return Err(Error::config(
                    "/task/context/max",
                    format!(
                        "up to {} known and {asked} asked nodes are more than the {nodes} of a box",
                        task.context.max
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The points of a box as the state holds them.
    fn points(&self, index: Tensor) -> Tensor {
        match self.surface {
            Surface::Plane => index * arc_in(self.unit_km),
            Surface::Sphere | Surface::PublishedDegrees => index,
        }
    }

    /// Whether the points of boxes are numbers that differ, in the kind of the run: in boxes at the
    /// first and last rows, where meridians are closest.
    fn check_points(&self, of: &Snapshots, rows: &Range<i64>, kind: Kind) -> Result<()> {
        let integers = |numbers: &[i64]| Tensor::from_slice(numbers);
        let first = integers(&[rows.start, rows.end - self.window.rows]);
        let zeros = integers(&[0, 0]);
        let boxes = of.boxes(self.window, &zeros, &first, &zeros, self.surface);
        let Window { rows, columns } = self.window;
        let index = self.points(boxes.index).to_kind(kind);
        let index = index.view([2, rows, columns, self.surface.dimension()]);
        let wrong = |what: &str| {
            let message = format!("a box of {rows}x{columns} nodes has {what} ({kind:?})");
            Error::data(message, "choose another `box`, `surface` or `unit_km`, or use f64")
        };
        if index.isfinite().all().int64_value(&[]) == 0 {
            return Err(wrong("points without coordinates that are numbers"));
        }
        for (axis, size) in [(1, rows), (2, columns)] {
            let step = index.narrow(axis, 1, size - 1) - index.narrow(axis, 0, size - 1);
            if step.eq(0.0).all_dim(-1, false).any().int64_value(&[]) == 1 {
                return Err(wrong("neighbours whose coordinates are the same numbers"));
            }
        }
        Ok(())
    }

    /// The shapes of states with values of `channels` components moved by `moves`.
    pub fn spec(&self, channels: i64, moves: Moves) -> StateSpec {
        let spec = StateSpec::new(FieldSpec::new(&[-1, channels], moves).indexed(1)).with_context(
            State::INDEX,
            FieldSpec::new(&[-1, self.surface.dimension()], Moves::Point).indexed(1),
        );
        if self.task.is_some() || self.training_context.is_some() {
            observed::spec(&spec)
        } else {
            spec
        }
    }
}

/// The loaded dataset. Where values are missing, states have a mask and the value 0.
#[derive(Debug)]
pub struct GridFields {
    snapshots: Snapshots,
    /// The same on the CPU, where test boxes are drawn: they are the same on every device.
    fixed: Snapshots,
    /// First latitudes and beyond the last, of the rows that boxes may use.
    rows: Range<i64>,
    protocol: BoxProtocol,
    moves: Moves,
    digests: Vec<(String, String)>,
    options: (Kind, Device),
    /// Whether anything is missing anywhere.
    gaps: bool,
    /// Nodes and times that boxes may use, and how many of them lack a value.
    counted: (i64, i64),
}

impl GridFields {
    /// `snapshots` on the CPU, their values as the state holds them.
    ///
    /// # Errors
    /// `Config` when the rows are fewer than those of a box, or a split has no times.
    pub fn new(
        snapshots: Snapshots,
        rows: Range<i64>,
        protocol: BoxProtocol,
        moves: Moves,
        digests: Vec<(String, String)>,
        context: &LoadContext,
    ) -> Result<Self> {
        protocol.check()?;
        let window = protocol.window;
        let (available, columns) = (rows.end - rows.start, snapshots.grid().1);
        if window.rows > available {
            let message =
                format!("a box of {} rows does not fit into {available} latitudes", window.rows);
            return Err(Error::config("/box/rows", message));
        }
        if window.columns > columns {
            let message = format!(
                "a box of {} columns does not fit into {columns} longitudes",
                window.columns
            );
            return Err(Error::config("/box/columns", message));
        }
        if protocol.times[0].is_empty() {
            let message = format!("no time is left for training of {}", snapshots.times());
            return Err(Error::config("/test_times", message));
        }
        let missing = snapshots.missing();
        let gaps = missing.any().int64_value(&[]) == 1;
        let used = missing.narrow(1, rows.start, available);
        let lacking = used.sum(Kind::Int64).int64_value(&[]);
        let counted = (used.numel() as i64, lacking);
        if missing.all().int64_value(&[]) == 1 {
            return Err(Error::data("every value is missing", "check the files"));
        }
        let options = (context.kind, context.device);
        let on_device = snapshots.to(context.kind, context.device);
        let fixed = snapshots.to(context.kind, Device::Cpu);
        if fixed.values.isinf().any().int64_value(&[]) == 1 {
            let message = format!("a value is too large for {:?}", context.kind);
            return Err(Error::data(message, "check the files"));
        }
        protocol.check_points(&fixed, &rows, context.kind)?;
        Ok(Self {
            snapshots: on_device,
            fixed,
            rows,
            protocol,
            moves,
            digests,
            options,
            gaps,
            counted,
        })
    }

    /// Random boxes at random times of a split.
    fn draw(&self, of: &Snapshots, split: usize, batch: i64, stream: &mut Stream) -> State {
        let protocol = &self.protocol;
        let times = &protocol.times[split];
        let device = of.values.device();
        let time = stream.integers(times.end - times.start, &[batch], device) + times.start;
        let (row, column) = of.places(protocol.window, &self.rows, batch, stream);
        self.state(of.boxes(protocol.window, &time, &row, &column, protocol.surface))
    }

    fn state(&self, boxes: Boxes) -> State {
        let protocol = &self.protocol;
        let index = protocol.points(boxes.index);
        let to = |tensor: Tensor| upload(&tensor.to_kind(self.options.0), self.options.1);
        let state = State::new(Field::new(to(boxes.values), self.moves).indexed(1))
            .with_context(State::INDEX, Field::new(to(index), Moves::Point).indexed(1));
        if !self.gaps {
            return state;
        }
        state.with_context(State::MASK, Field::new(to(boxes.there), Moves::Fixed).indexed(1))
    }

    /// The same field at `count` nodes of each box, chosen at random and in random order.
    fn thinned(&self, state: State, count: i64, drawn_on: Device, stream: &mut Stream) -> State {
        let rows = chosen(state.batch_size(), self.protocol.nodes(), count, drawn_on, stream);
        let rows = upload(&rows, state.x().device());
        let thin = |tensor: &Tensor| match tensor.dim() {
            2 => tensor.gather(1, &rows, false),
            _ => pick(tensor, &rows),
        };
        let mut thinned = state.with_value(thin(state.x()));
        for (_, field) in &mut thinned.context {
            *field = field.with(thin(&field.tensor));
        }
        thinned
    }

    fn training_batch(
        &self,
        of: &Snapshots,
        split: usize,
        batch: i64,
        stream: &mut Stream,
    ) -> Result<State> {
        let protocol = &self.protocol;
        let known = protocol.training_context.map(|range| range.draw_one(stream));
        let asked = match &protocol.counts {
            Some(counts) => counts.draw(&[], stream).int64_value(&[]),
            None => protocol.nodes() - known.unwrap_or(0),
        };
        let state = self.draw(of, split, batch, stream);
        let count = asked + known.unwrap_or(0);
        let state = match known {
            None if count == protocol.nodes() => state,
            _ => self.thinned(state, count, of.values.device(), stream),
        };
        match known {
            None => Ok(state),
            Some(known) => {
                let counts = Tensor::full([batch], known, (Kind::Int64, Device::Cpu));
                known_first(&state, known, &counts)
            }
        }
    }

    /// Block `number` of the test boxes.
    fn block(&self, number: i64) -> Result<State> {
        let mut stream = Streams::new(self.protocol.seed).stream("test", number as u64);
        let state = self.draw(&self.fixed, 2, BLOCK, &mut stream);
        let Some(task) = &self.protocol.task else { return Ok(state) };
        let nodes = self.protocol.nodes();
        let count = task.targets.map_or(nodes, |targets| targets + task.context.max);
        let state = self.thinned(state, count, Device::Cpu, &mut stream);
        let counts = task.context.draw(&[BLOCK], &mut stream);
        known_first(&state, task.context.max, &counts)
    }
}

impl Dataset for GridFields {
    fn len(&self, split: Split) -> Option<u64> {
        let drawn =
            |count: i64, times: &Range<i64>| if times.is_empty() { 0 } else { count as u64 };
        let protocol = &self.protocol;
        match split {
            Split::Train => None,
            Split::Validation => Some(drawn(protocol.validation, &protocol.times[1])),
            Split::Test => Some(drawn(protocol.test, &protocol.times[2])),
        }
    }

    fn batch(&self, split: Split, step: u64, size: i64, streams: &Streams) -> Result<State> {
        let len = self.len(split).map_or(i64::MAX, |len| len as i64);
        match split {
            Split::Train => {
                let mut stream = streams.stream("boxes", step);
                self.training_batch(&self.snapshots, 0, size, &mut stream)
            }
            Split::Validation => {
                let (_, count) = rows_of(step, size, len);
                let mut stream = Streams::new(self.protocol.seed).stream("validation", step);
                // A split without times still gives an empty batch its shapes.
                let split = if self.protocol.times[1].is_empty() { 0 } else { 1 };
                Ok(self
                    .training_batch(&self.fixed, split, count.max(1), &mut stream)?
                    .narrow(0, count))
            }
            Split::Test => {
                let (start, count) = rows_of(step, size, len);
                if self.protocol.times[2].is_empty() {
                    let mut stream = streams.stream("boxes", 0);
                    return Ok(self.draw(&self.fixed, 0, 1, &mut stream).narrow(0, 0));
                }
                let (first, last) = (start / BLOCK, (start + count.max(1) - 1) / BLOCK);
                let blocks =
                    (first..=last).map(|number| self.block(number)).collect::<Result<Vec<_>>>()?;
                Ok(State::cat(&blocks)?.narrow(start - first * BLOCK, count))
            }
        }
    }

    /// Values at nodes and times that boxes may use (the components of one wind are one value), and those that are
    /// missing and masked.
    fn facts(&self) -> Vec<(String, f64)> {
        let (values, missing) = self.counted;
        vec![("values".into(), values as f64), ("missing values".into(), missing as f64)]
    }

    fn digests(&self) -> Vec<(String, String)> {
        self.digests.clone()
    }
}

/// The last `test` of `all` times for testing, the `validation` before them for validation, the rest for training.
///
/// # Errors
/// `Config` at the pointers of the two numbers when nothing is left.
pub fn held_out(all: i64, validation: (i64, &str), test: (i64, &str)) -> Result<[Range<i64>; 3]> {
    for (count, pointer) in [validation, test] {
        if count < 0 || count >= all {
            let message = format!("{count} of {all} times cannot be held out");
            return Err(Error::config(pointer, message));
        }
    }
    let first_test = all - test.0;
    let first_validation = first_test - validation.0;
    if first_validation < 1 {
        let message = format!(
            "{} and {} held-out times leave none of {all} for training",
            validation.0, test.0
        );
        return Err(Error::config(validation.1, message));
    }
    Ok([0..first_validation, first_validation..first_test, first_test..all])
}
