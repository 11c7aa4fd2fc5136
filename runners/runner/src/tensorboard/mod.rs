//! TensorBoard event files: scalars, histograms, images and text in one file that a resumed run continues.
//!
//! Records are appended by us, so every error of the disk is a `Result`, a checkpoint can hold the byte offset that
//! belongs to it, and a resumed run cuts the file there: curves have no gap and no point twice. A TensorBoard that shows
//! the run while it is cut has to be reloaded.

mod histogram;
pub mod hparams;
pub mod proto;
mod read;
mod record;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use isotropy_core::{Error, Result};
use prost::Message;
use tch::Tensor;

use proto::{Content, Event};
pub use read::{EventValue, Recorded, read_events};

const SUFFIX: &str = ".isotropy";
const PREFIX: &str = "events.out.tfevents.";
/// The version that TensorBoard looks for in the first record.
const FILE_VERSION: &str = "brain.Event:2";

/// Appends to one event file.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
    /// Where the file is cut before the next bytes are written.
    written: u64,
    /// Records that are not in the file yet.
    buffer: Vec<u8>,
    flush_every: Duration,
    last_flush: Instant,
}

impl EventWriter {
    /// Continues the event file in `folder` after `offset` bytes, or creates one. With offset 0 an existing file is
    /// written anew under its name. Nothing is cut before the first records reach the disk, so opening and then calling
    /// [`resume`](Self::resume) with the path loses nothing.
    ///
    /// # Errors
    /// When the folder or the file cannot be read or written, or the file does not reach to `offset`.
    pub fn open(folder: &Path, offset: u64) -> Result<Self> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
            let name = entry.map_err(|e| Error::io(folder, e))?.file_name();
            if name.to_str().is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(SUFFIX)) {
                found.push(folder.join(name));
            }
        }
        match found.into_iter().max() {
            Some(path) => Self::resume(&path, offset),
            None => Self::create(folder),
        }
    }

    /// Creates `events.out.tfevents.<seconds>.<host>.isotropy` in `folder`, never an existing file.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(folder: &Path) -> Result<Self> {
        let host = host_name();
        let mut seconds = now() as u64;
        loop {
            let path = folder.join(format!("{PREFIX}{seconds}.{host}{SUFFIX}"));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self::start(path, file, 0)),
                // Another writer in the same second; the number only has to differ.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => seconds += 1,
                Err(error) => return Err(Error::io(path, error)),
            }
        }
    }

    /// Continues `path` after its first `offset` bytes; what comes behind them is dropped with the next flush.
    ///
    /// # Errors
    /// When the file cannot be opened, is shorter than `offset`, or `offset` is not the end of a whole record.
    pub fn resume(path: &Path, offset: u64) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|e| Error::io(path, e))?;
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let refuse = |problem: &str| {
            let message = format!("{}: {problem} at byte {offset}", path.display());
            Error::data(
                message,
                "restore the file from a copy, or start over in another run folder",
            )
        };
        let kept = usize::try_from(offset).ok().and_then(|n| bytes.get(..n));
        let kept = kept.ok_or_else(|| refuse("the event file is too short to continue"))?;
        let mut position = 0;
        loop {
            match record::next(kept, position) {
                record::Next::Record(_, next) => position = next,
                record::Next::End => break,
                _ => return Err(refuse("the event file has no whole record")),
            }
        }
        Ok(Self::start(path.to_path_buf(), file, offset))
    }

    fn start(path: PathBuf, file: File, offset: u64) -> Self {
        let flush_every = Duration::from_secs(5);
        let last_flush = Instant::now();
        let mut writer =
            Self { path, file, written: offset, buffer: Vec::new(), flush_every, last_flush };
        if offset == 0 {
            let version = Some(FILE_VERSION.to_owned());
            writer.buffer_event(&Event {
                wall_time: now(),
                file_version: version,
                ..Event::default()
            });
        }
        writer
    }

    /// How long records may wait in memory (5 s when not set). Checked at each write; there is no thread.
    #[must_use]
    pub fn flush_every(mut self, interval: Duration) -> Self {
        self.flush_every = interval;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a point of a curve.
    ///
    /// # Errors
    /// When a flush was due and failed; the records stay in memory and the next flush tries again.
    pub fn scalar(&mut self, tag: &str, step: i64, value: f32) -> Result<()> {
        self.write(tag, step, None, Content::Scalar(value))
    }

    /// Writes the histogram of all elements, in 30 buckets of equal width. Elements that are not finite are left out and
    /// counted in a scalar `<tag>/not_finite`. A tensor without finite elements writes only that count.
    ///
    /// # Errors
    /// As [`scalar`](Self::scalar), or when the tensor cannot be read.
    pub fn histogram(&mut self, tag: &str, step: i64, values: &Tensor) -> Result<()> {
        let values = values.detach().f_to_kind(tch::Kind::Double)?.f_reshape([-1])?;
        let values: Vec<f64> = Vec::try_from(values.f_to_device(tch::Device::Cpu)?)?;
        let (histogram, not_finite) = histogram::histogram(&values);
        if not_finite > 0 {
            self.scalar(&format!("{tag}/not_finite"), step, not_finite as f32)?;
        }
        match histogram {
            Some(histogram) => self.write(tag, step, None, Content::Histogram(histogram)),
            None => Ok(()),
        }
    }

    /// Writes a PNG file as an image.
    ///
    /// # Errors
    /// As [`scalar`](Self::scalar), or when the bytes are not a PNG file.
    pub fn image(&mut self, tag: &str, step: i64, png: &[u8]) -> Result<()> {
        let image = png_header(png)
            .ok_or_else(|| Error::Other(format!("image `{tag}`: the bytes are not a PNG file")))?;
        self.write(tag, step, None, Content::Image(image))
    }

    /// Writes text, shown as markdown.
    ///
    /// # Errors
    /// As [`scalar`](Self::scalar).
    pub fn text(&mut self, tag: &str, step: i64, markdown: &str) -> Result<()> {
        let plugin = proto::PluginData { plugin_name: "text".to_owned(), content: Vec::new() };
        let tensor = proto::TensorProto {
            dtype: proto::DT_STRING,
            tensor_shape: Some(proto::TensorShape { dim: vec![proto::Dimension { size: 1 }] }),
            string_val: vec![markdown.as_bytes().to_vec()],
        };
        let metadata = proto::Metadata { plugin_data: Some(plugin), data_class: 0 };
        self.write(tag, step, Some(metadata), Content::Tensor(tensor))
    }

    fn write(
        &mut self,
        tag: &str,
        step: i64,
        metadata: Option<proto::Metadata>,
        content: Content,
    ) -> Result<()> {
        let value = proto::Value { tag: tag.to_owned(), metadata, content: Some(content) };
        let summary = Some(proto::Summary { value: vec![value] });
        self.buffer_event(&Event { wall_time: now(), step, file_version: None, summary });
        if self.last_flush.elapsed() >= self.flush_every { self.flush() } else { Ok(()) }
    }

    fn buffer_event(&mut self, event: &Event) {
        record::append(&mut self.buffer, &event.encode_to_vec());
    }

    /// Writes what is in memory to the file.
    ///
    /// # Errors
    /// When the file cannot be written. What did arrive is cut off by the next attempt, so no record is doubled or torn.
    pub fn flush(&mut self) -> Result<()> {
        self.last_flush = Instant::now();
        let mut write = || -> std::io::Result<()> {
            self.file.set_len(self.written)?;
            self.file.seek(SeekFrom::Start(self.written))?;
            self.file.write_all(&self.buffer)
        };
        write().map_err(|e| {
            if e.kind() != ErrorKind::StorageFull {
                return Error::io(&self.path, e);
            }
            let text = format!(
                "the disk is full: the event file needs {} more bytes ({e})",
                self.buffer.len()
            );
            Error::io(&self.path, std::io::Error::new(e.kind(), text))
        })?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Flushes and brings the file to the disk. Afterwards [`offset`](Self::offset) may go into a checkpoint.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file.sync_all().map_err(|e| Error::io(&self.path, e))
    }

    /// Bytes in the file, without what is still in memory.
    pub fn offset(&self) -> u64 {
        self.written
    }
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        // A writer that got nothing but its own header must not cut an existing file.
        let header_only = self.written == 0
            && matches!(record::next(&self.buffer, 0),
            record::Next::Record(_, end) if end == self.buffer.len());
        if !self.buffer.is_empty() && !header_only {
            // There is nobody to report to; who needs to know calls `sync` before.
            let _ = self.flush();
        }
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The machine's name as far as it can stand in a file name.
fn host_name() -> String {
    let mut bytes = [0u8; 256];
    // SAFETY: the pointer and the length describe `bytes`, which outlives the call; the last byte stays 0.
    let failed = unsafe { libc::gethostname(bytes.as_mut_ptr().cast(), bytes.len() - 1) } != 0;
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(0);
    let host = String::from_utf8_lossy(&bytes[..end]);
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    if failed || host.is_empty() { "host".to_owned() } else { host.chars().map(keep).collect() }
}

/// Size and channels from the first chunk of a PNG file.
fn png_header(png: &[u8]) -> Option<proto::Image> {
    let rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let header = rest.get(4..16)?.strip_prefix(b"IHDR")?;
    let side = |at: usize| Some(i32::from_be_bytes(*header.get(at..)?.first_chunk()?));
    let (width, height) = (side(0)?, side(4)?);
    // PNG colour types: 0 grey, 2 RGB, 3 palette (shown as RGB), 4 grey with alpha, 6 RGBA.
    let colorspace = match rest.get(17)? {
        0 => 1,
        4 => 2,
        2 | 3 => 3,
        6 => 4,
        _ => return None,
    };
    (width > 0 && height > 0).then(|| proto::Image {
        height,
        width,
        colorspace,
        encoded: png.to_vec(),
    })
}
