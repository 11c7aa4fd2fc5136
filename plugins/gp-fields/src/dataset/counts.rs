//! How many points a function is seen at.

use isotropy_core::{
    Error, Result, Stream, config,
    schemars::{self, JsonSchema},
    upload,
};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Numbers of points, from `min` to `max`, all of them equally likely.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The smallest number of points.
    #[schemars(range(min = 0, max = 100_000))]
    pub min: i64,
    /// The largest number of points.
    #[schemars(range(min = 0, max = 100_000))]
    pub max: i64,
}

impl Range {
    /// Whether it holds a number that is at least `least`.
    ///
    /// # Errors
    /// `Config` at `pointer`.
    pub fn check(&self, pointer: &str, least: i64) -> Result<()> {
        if self.min < least {
            let message = format!("there must be at least {least} points, not {}", self.min);
            return Err(Error::config(format!("{pointer}/min"), message));
        }
        if self.max < self.min {
            let message = format!("`max` is {}, below `min`, which is {}", self.max, self.min);
            return Err(Error::config(format!("{pointer}/max"), message));
        }
        Ok(())
    }

    /// Independent numbers: `Int64`, on the CPU.
    pub fn draw(&self, shape: &[i64], stream: &mut Stream) -> Tensor {
        stream.integers(self.max - self.min + 1, shape, Device::Cpu) + self.min
    }

    /// One number.
    pub fn draw_one(&self, stream: &mut Stream) -> i64 {
        self.draw(&[], stream).int64_value(&[])
    }
}

/// How many points a function is seen at while training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CountsConfig {
    /// Any number from `min` to `max`, all equally likely.
    Range {
        /// The smallest number of points.
        #[schemars(range(min = 1, max = 100_000))]
        min: i64,
        /// The largest number of points.
        #[schemars(range(min = 1, max = 100_000))]
        max: i64,
    },
    /// One of the listed numbers, all equally likely (a number that is listed twice twice as likely).
    Choices {
        /// The numbers of points.
        of: Vec<i64>,
    },
}

impl CountsConfig {
    /// A range of numbers of points.
    pub fn range(min: i64, max: i64) -> Self {
        Self::Range { min, max }
    }

    /// The largest number of points.
    pub fn max(&self) -> i64 {
        match self {
            Self::Range { max, .. } => *max,
            Self::Choices { of } => of.iter().copied().max().unwrap_or(0),
        }
    }

    /// Whether it is a law of positive numbers of points, none of them above `most`.
    ///
    /// # Errors
    /// `Config` at `pointer`.
    pub fn check(&self, pointer: &str, most: Option<i64>) -> Result<()> {
        let (largest, place) = match self {
            Self::Range { min, max } => {
                Range { min: *min, max: *max }.check(pointer, 1)?;
                (*max, format!("{pointer}/max"))
            }
            Self::Choices { of } => {
                let place = format!("{pointer}/of");
                if of.is_empty() {
                    return Err(Error::config(
                        place,
                        "there must be at least one number of points",
                    ));
                }
                if let Some(at) = of.iter().position(|&count| count < 1) {
                    let message = format!("there must be at least 1 point, not {}", of[at]);
                    return Err(Error::config(format!("{place}/{at}"), message));
                }
                (self.max(), place)
            }
        };
        match most {
            Some(most) if largest > most => Err(Error::config(
                place,
                format!("a function cannot be seen at {largest} points: there are only {most}"),
            )),
            _ => Ok(()),
        }
    }

    /// Independent numbers of points: `Int64`, on the CPU.
    pub fn draw(&self, shape: &[i64], stream: &mut Stream) -> Tensor {
        match self {
            Self::Range { min, max } => Range { min: *min, max: *max }.draw(shape, stream),
            Self::Choices { of } => {
                let which = stream.integers(of.len() as i64, shape, Device::Cpu);
                Tensor::from_slice(of).index_select(0, &which.reshape([-1])).reshape(shape)
            }
        }
    }
}

/// What a number of points is drawn for.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum CountPer {
    /// One number for the whole batch: nothing is padded.
    #[default]
    Batch,
    /// One number for each function: all are padded to the largest, and a mask says which points are there.
    Function,
}

/// The mask `[B, most]` of the first `counts` (`[B]`, `Int64`) points: 1 for those that are there.
pub fn mask(counts: &Tensor, most: i64, options: (Kind, Device)) -> Tensor {
    let number = Tensor::arange(most, (Kind::Int64, options.1)).unsqueeze(0);
    number.lt_tensor(&upload(counts, options.1).unsqueeze(1)).to_kind(options.0)
}
