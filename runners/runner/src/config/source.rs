//! Where a piece of a configuration was written: a file or a `--set` flag, and the bytes in it.

use std::fmt;
use std::sync::Arc;

/// One text that configuration is read from: a file, or one `--set` flag.
#[derive(Debug)]
pub struct Source {
    name: String,
    text: String,
    order: usize,
    is_flag: bool,
    is_ascii: bool,
    line_starts: Vec<usize>,
}

impl Source {
    /// A file with its name as it is shown to the user; `order` sorts the diagnostics of several sources.
    pub fn file(name: impl Into<String>, text: impl Into<String>, order: usize) -> Arc<Self> {
        Self::new(name.into(), text.into(), order, false)
    }

    /// One `--set` flag; the text that is shown is `--set ` followed by its argument.
    pub fn flag(argument: &str, order: usize) -> Arc<Self> {
        let text = format!("{}{argument}", Self::FLAG_PREFIX);
        let name = super::suggest::shorten(&text, 72);
        Self::new(name, text, order, true)
    }

    /// What the text of a flag begins with.
    pub const FLAG_PREFIX: &'static str = "--set ";

    fn new(name: String, text: String, order: usize, is_flag: bool) -> Arc<Self> {
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(i, _)| i + 1))
            .collect();
        Arc::new(Self { name, is_ascii: text.is_ascii(), text, order, is_flag, line_starts })
    }

    /// The file name as the user gave it, or the flag.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The place of this source among all: the configuration, the files it extends, the flags.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Whether this is a `--set` flag.
    pub fn is_flag(&self) -> bool {
        self.is_flag
    }

    /// Line and column of a byte offset, both counted from 1, columns in characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.floor(offset);
        let line = self.line_starts.partition_point(|&start| start <= offset).max(1);
        let start = self.line_starts[line - 1];
        let column =
            if self.is_ascii { offset - start } else { self.text[start..offset].chars().count() };
        (line, column + 1)
    }

    /// The bytes of a line (counted from 1) without its line end; `None` beyond the last line.
    pub fn line(&self, number: usize) -> Option<(usize, &str)> {
        let start = *self.line_starts.get(number.checked_sub(1)?)?;
        let end = self.line_starts.get(number).map_or(self.text.len(), |next| next - 1);
        let line = &self.text[start..end];
        Some((start, line.strip_suffix('\r').unwrap_or(line)))
    }

    /// The largest character boundary at or below `offset`.
    pub(crate) fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// A range of bytes in a [`Source`]. Cheap to clone.
#[derive(Clone)]
pub struct Span {
    /// The text that the range points into.
    pub source: Arc<Source>,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes `start..end` of `source`.
    pub fn new(source: &Arc<Source>, start: usize, end: usize) -> Self {
        Self { source: Arc::clone(source), start, end: end.max(start) }
    }

    /// The same source from its first byte: for mistakes that concern the whole file.
    pub fn beginning(source: &Arc<Source>) -> Self {
        Self::new(source, 0, 0)
    }

    /// Only the first byte: the bracket of an object or array.
    pub fn first(&self) -> Self {
        Self::new(&self.source, self.start, (self.start + 1).min(self.end))
    }

    /// `file:line:column`, line and column counted from 1.
    pub fn location(&self) -> String {
        let (line, column) = self.source.position(self.start);
        format!("{}:{line}:{column}", self.source.name())
    }

    /// The text in the range.
    pub fn text(&self) -> &str {
        &self.source.text()[self.source.floor(self.start)..self.source.floor(self.end)]
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.location())
    }
}
