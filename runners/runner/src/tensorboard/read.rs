//! Reading event files back, for tests and digests.

use std::path::Path;

use isotropy_core::{Error, Result};
use prost::Message;

use super::proto::{Content, Event, Histogram};
use super::record::{self, Next};

/// A value that was read back.
#[derive(Debug, Clone, PartialEq)]
pub enum EventValue {
    /// A point of a curve.
    Scalar(f32),
    /// A histogram.
    Histogram(Histogram),
    /// An encoded image.
    Image {
        /// Pixels.
        width: i32,
        /// Pixels.
        height: i32,
        /// The PNG file.
        png: Vec<u8>,
    },
    /// Markdown.
    Text(String),
}

/// One value of an event file.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Training step.
    pub step: i64,
    /// The curve that it belongs to.
    pub tag: String,
    /// The value.
    pub value: EventValue,
    /// Seconds since 1970; differs between equal runs.
    pub wall_time: f64,
}

/// All values of an event file in the order of writing. A last record that is incomplete, as a killed writer leaves it,
/// is left out, as TensorBoard does.
///
/// # Errors
/// When the file cannot be read, a checksum is wrong, or a record holds no message of ours.
pub fn read_events(path: &Path) -> Result<Vec<Recorded>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let damaged = |position: usize, problem: &str| {
        Error::data(format!("{}: byte {position}: {problem}", path.display()), "")
    };
    let mut all = Vec::new();
    let mut position = 0;
    loop {
        let payload = match record::next(&bytes, position) {
            Next::End | Next::Cut => return Ok(all),
            Next::Damaged => return Err(damaged(position, "the checksum is wrong")),
            Next::Record(payload, next) => {
                position = next;
                payload
            }
        };
        let event = Event::decode(payload).map_err(|e| damaged(position, &e.to_string()))?;
        for value in event.summary.into_iter().flat_map(|s| s.value) {
            let tag = value.tag;
            let value = match value.content {
                Some(Content::Scalar(value)) => EventValue::Scalar(value),
                Some(Content::Histogram(histogram)) => EventValue::Histogram(histogram),
                Some(Content::Image(image)) => EventValue::Image {
                    width: image.width,
                    height: image.height,
                    png: image.encoded,
                },
                Some(Content::Tensor(tensor)) => {
                    let text = tensor.string_val.into_iter().next().unwrap_or_default();
                    let text = String::from_utf8(text);
                    EventValue::Text(text.map_err(|e| damaged(position, &e.to_string()))?)
                }
                None => return Err(damaged(position, &format!("`{tag}` has no value"))),
            };
            all.push(Recorded { step: event.step, tag, value, wall_time: event.wall_time });
        }
    }
}
