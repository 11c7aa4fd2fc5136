//! What a model is asked: the function at some points, given its values at others.

use super::counts::{Range, mask};
use isotropy_core::{Error, Field, Moves, Result, State, Stream, config};
use isotropy_diffusion::observed;
use tch::Tensor;

/// Where the known and the asked points lie (geomndp.md 2.1). The training box is `(low, high)`, its width `w`.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Region {
    /// Both in the training box.
    #[default]
    Interpolation,
    /// Both in the training box shifted by `w` along every axis: from (-2, 2) to (2, 6).
    Generalisation,
    /// Known points in the training box, asked points outside, within `w/2`: (-4, -2) and (2, 4).
    Extrapolation,
}

/// A task for the test split.
#[config]
#[derive(Clone, PartialEq, Eq)]
pub struct TaskConfig {
    /// Where the points lie.
    #[serde(default)]
    pub region: Region,
    /// How many points the function is known at, drawn for each function; 0 is allowed.
    pub context: Range,
    /// At how many other points it is asked for.
    #[schemars(range(min = 1, max = 100_000))]
    pub targets: i64,
}

impl TaskConfig {
    /// Whether the task can be set with `points` points (`None`: as many as one likes).
    ///
    /// # Errors
    /// `Config` at `pointer`.
    pub fn check(&self, pointer: &str, points: Option<i64>) -> Result<()> {
        self.context.check(&format!("{pointer}/context"), 0)?;
        if self.targets < 1 {
            let message = "the function must be asked for at one point at least";
            return Err(Error::config(format!("{pointer}/targets"), message));
        }
        match points {
            Some(points) if self.context.max + self.targets > points => Err(Error::config(
                format!("{pointer}/context/max"),
                format!(
                    "up to {} known and {} asked points are more than the {points} that there are",
                    self.context.max, self.targets
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Splits functions that were seen at `context.max + targets` points into what is known (the first points, as many
    /// as are drawn for each function; the rest is padding) and what is asked.
    ///
    /// # Errors
    /// None for states with an index axis.
    pub fn split(&self, seen: &State, stream: &mut Stream) -> Result<State> {
        let counts = self.context.draw(&[seen.batch_size()], stream);
        known_first(seen, self.context.max, &counts)
    }
}

/// Makes the first `most` points of each function known, of which the first `counts` (`[B]`, `Int64`) are there (unless
/// the mask of the function says otherwise) and the rest is padding with the value 0.
///
/// # Errors
/// None for states with an index axis.
pub fn known_first(seen: &State, most: i64, counts: &Tensor) -> Result<State> {
    let (known, asked) = seen.split_index(most);
    let there = mask(counts, most, seen.options());
    let there = known.mask().map_or(there.shallow_clone(), |own| own * &there);
    let known = known.with_value(known.x() * there.unsqueeze(-1));
    let known = known.with_context(State::MASK, Field::new(there, Moves::Fixed).indexed(1));
    observed::with_observed(&asked, &known)
}
