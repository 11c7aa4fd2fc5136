//! Mistakes as data, and how they are shown: drawn on a terminal, plain in a pipe, or as records for `--json`.

use std::fmt::{self, Write as _};
use std::io::IsTerminal;

use miette::{
    LabeledSpan, MietteError, MietteHandlerOpts, MietteSpanContents, ReportHandler, SourceCode,
    SourceSpan, SpanContents,
};
use serde::Serialize;

use super::source::Span;
use super::suggest::printable;

/// No more mistakes than this are shown; the rest are counted.
pub const MOST_SHOWN: usize = 50;

/// One mistake in a configuration.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// What is wrong, in one sentence.
    pub message: String,
    /// The text that is underlined.
    pub origin: Span,
    /// Other places that belong to it.
    pub labels: Vec<Label>,
    /// How to mend it: the valid names, the nearest one, the line to add.
    pub help: Option<String>,
}

/// A second place that a [`Diagnostic`] points to.
#[derive(Clone, Debug)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// A few words about it.
    pub text: String,
}

/// A [`Diagnostic`] as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlainDiagnostic {
    /// The file name as it was given, or the `--set` flag.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// All mistakes of a configuration, sorted by position. There is always at least one.
#[derive(Clone)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    omitted: usize,
}

/// How diagnostics are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines of plain text for a pipe or a log.
    Plain,
    /// miette's drawing with colours, for a terminal.
    Drawn,
}

impl Style {
    /// What suits standard error: drawn on a terminal, plain in a pipe, under `NO_COLOR` and where `TERM` is `dumb`.
    pub fn for_stderr() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        if std::io::stderr().is_terminal() && !set("NO_COLOR") && !dumb {
            Self::Drawn
        } else {
            Self::Plain
        }
    }
}

impl Diagnostic {
    /// A mistake at a place, without labels and help.
    pub fn new(origin: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), origin, labels: Vec::new(), help: None }
    }

    /// The same with a help text.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a sentence to the help text.
    pub(crate) fn add_help(&mut self, more: &str) {
        match &mut self.help {
            Some(help) => {
                help.push_str("; ");
                help.push_str(more);
            }
            None => self.help = Some(more.to_owned()),
        }
    }

    /// The mistake as plain data.
    pub fn plain(&self) -> PlainDiagnostic {
        let (line, column) = self.origin.source.position(self.origin.start);
        PlainDiagnostic {
            file: self.origin.source.name().to_owned(),
            line,
            column,
            message: self.message.clone(),
            help: self.help.clone(),
        }
    }

    fn write_plain(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "{}: {}", self.origin.location(), self.message)?;
        Excerpt::of(&self.origin).write_plain(out)?;
        for label in &self.labels {
            writeln!(out, "  {}: {}", label.span.location(), label.text)?;
            Excerpt::of(&label.span).write_plain(out)?;
        }
        if let Some(help) = &self.help {
            writeln!(out, "  help: {help}")?;
        }
        Ok(())
    }

    fn write_drawn(&self, out: &mut String) -> fmt::Result {
        let drawing = Drawing {
            message: self.message.clone(),
            help: self.help.clone(),
            excerpt: Excerpt::of(&self.origin),
            related: self
                .labels
                .iter()
                .map(|label| Drawing {
                    message: label.text.clone(),
                    help: None,
                    excerpt: Excerpt::of(&label.span),
                    related: Vec::new(),
                    is_note: true,
                })
                .collect(),
            is_note: false,
        };
        if drawing.excerpt.is_empty() {
            // There is no text to show, so miette draws no header with the position.
            writeln!(out, "{}", self.origin.location())?;
        }
        write!(out, "{}", Drawn(&drawing))
    }
}

impl Diagnostics {
    /// Sorts the mistakes by position and keeps the first [`MOST_SHOWN`]; `None` if there are none.
    pub fn new(mut list: Vec<Diagnostic>) -> Option<Self> {
        if list.is_empty() {
            return None;
        }
        list.sort_by_key(|d| (d.origin.source.order(), d.origin.start));
        let omitted = list.len().saturating_sub(MOST_SHOWN);
        list.truncate(MOST_SHOWN);
        Some(Self { list, omitted })
    }

    /// A single mistake.
    pub fn one(diagnostic: Diagnostic) -> Self {
        Self { list: vec![diagnostic], omitted: 0 }
    }

    /// The mistakes, sorted by position: the configuration, the files it extends, the flags.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The mistakes as plain data.
    pub fn plain(&self) -> Vec<PlainDiagnostic> {
        self.list.iter().map(Diagnostic::plain).collect()
    }

    /// The text to print; it ends with a line end.
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        for (i, diagnostic) in self.list.iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            // Writing to a String fails only if a Display does, and then the plain form still says it all.
            let before = out.len();
            if style == Style::Plain || diagnostic.write_drawn(&mut out).is_err() {
                out.truncate(before);
                let _ = diagnostic.write_plain(&mut out);
            }
        }
        if self.omitted > 0 {
            let _ = writeln!(out, "\n... and at least {} more mistakes", self.omitted);
        }
        out
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Diagnostics {}

/// The lines around a mistake, cut to a width that fits a screen, without control characters.
#[derive(Debug)]
struct Excerpt {
    file: String,
    /// The shown lines; no text at all if the source has none.
    text: String,
    /// Number of the first line of `text`, counted from 1.
    first: usize,
    /// Which line of `text` holds the mistake, counted from 0.
    focus: usize,
    /// The underlined characters of that line.
    start: usize,
    length: usize,
    /// The true position, before lines were cut.
    line: usize,
    column: usize,
}

impl Excerpt {
    /// Characters shown of a line, and how many of them at most stand before the mistake when the line is cut.
    const WIDTH: usize = 120;
    const BEFORE: usize = 40;

    fn of(span: &Span) -> Self {
        let source = &span.source;
        let (line, column) = source.position(span.start);
        let mut excerpt = Self {
            file: source.name().to_owned(),
            text: String::new(),
            first: line,
            focus: 0,
            start: 0,
            length: 1,
            line,
            column,
        };
        let Some((line_start, text)) = source.line(line).filter(|_| !source.text().is_empty())
        else {
            return excerpt;
        };
        let offset = source.floor(span.start).saturating_sub(line_start).min(text.len());
        let end = source.floor(span.end).saturating_sub(line_start).clamp(offset, text.len());
        let (shown, cut) = window(text, offset, column - 1);
        excerpt.start = column - 1 - cut + usize::from(cut > 0);
        let room = shown.chars().count().saturating_sub(excerpt.start).max(1);
        excerpt.length = text[offset..end].chars().take(Self::WIDTH).count().clamp(1, room);
        let mut lines = Vec::with_capacity(3);
        // Around a cut line its neighbours would not line up.
        if cut == 0
            && let Some((_, above)) = source.line(line - 1)
        {
            lines.push(window(above, 0, 0).0);
            excerpt.first = line - 1;
            excerpt.focus = 1;
        }
        lines.push(shown);
        if cut == 0
            && let Some((_, below)) = source.line(line + 1).filter(|(_, text)| !text.is_empty())
        {
            lines.push(window(below, 0, 0).0);
        }
        excerpt.text = lines.join("\n");
        excerpt
    }

    /// Whether there is nothing to show.
    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn write_plain(&self, out: &mut String) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        let width = (self.first + 2).to_string().len();
        for (i, line) in self.lines().enumerate() {
            writeln!(out, "{:>width$} | {line}", self.first + i)?;
            if i == self.focus {
                writeln!(
                    out,
                    "{:>width$} | {:start$}{}",
                    "",
                    "",
                    "^".repeat(self.length),
                    start = self.start
                )?;
            }
        }
        Ok(())
    }

    /// The underlined bytes of `text`.
    fn bytes(&self) -> SourceSpan {
        let before: usize = self.lines().take(self.focus).map(|line| line.len() + 1).sum();
        let line = self.lines().nth(self.focus).unwrap_or("");
        let byte = |n: usize| line.char_indices().nth(n).map_or(line.len(), |(at, _)| at);
        let (start, end) = (byte(self.start), byte(self.start + self.length));
        (before + start, end - start).into()
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }
}

/// A printable part of a line around a byte offset and the column it has (counted from 0), and how many characters
/// were cut from the left. A line may be as long as a file, so only the shown part of it is looked at.
fn window(line: &str, offset: usize, column: usize) -> (String, usize) {
    let (start, cut) = if column < Excerpt::WIDTH - Excerpt::BEFORE {
        (0, 0)
    } else {
        let start =
            line[..offset].char_indices().rev().nth(Excerpt::BEFORE - 1).map_or(0, |(at, _)| at);
        (start, column - Excerpt::BEFORE)
    };
    let mut rest = line[start..].chars();
    let mut shown = String::from(if cut > 0 { "…" } else { "" });
    shown.extend(rest.by_ref().take(Excerpt::WIDTH).map(printable));
    if rest.next().is_some() {
        shown.push('…');
    }
    (shown, cut)
}

/// A mistake in the form that miette draws.
#[derive(Debug)]
struct Drawing {
    message: String,
    help: Option<String>,
    excerpt: Excerpt,
    related: Vec<Drawing>,
    is_note: bool,
}

impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Drawing {}

impl miette::Diagnostic for Drawing {
    fn severity(&self) -> Option<miette::Severity> {
        Some(if self.is_note { miette::Severity::Advice } else { miette::Severity::Error })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        if self.excerpt.is_empty() { None } else { Some(&self.excerpt) }
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.excerpt.is_empty() {
            return None;
        }
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(
            None,
            self.excerpt.bytes(),
        ))))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|d| d as &dyn miette::Diagnostic)))
    }
}

/// miette asks for the lines around a label and takes line and column from the answer. It gets the cut lines with the
/// true position (its own columns count bytes).
impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.as_bytes().read_span(span, before, after)?;
        let header_only = before == 0 && after == 0;
        let line = if header_only { self.line - 1 } else { self.first - 1 + contents.line() };
        let column = if header_only { self.column - 1 } else { contents.column() };
        let bytes = contents.span().offset()..contents.span().offset() + contents.span().len();
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.clone(),
            self.text.as_bytes().get(bytes).ok_or(MietteError::OutOfBounds)?,
            *contents.span(),
            line,
            column,
            contents.line_count(),
        )))
    }
}

struct Drawn<'a>(&'a Drawing);

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handler = MietteHandlerOpts::new()
            .force_graphical(true)
            .terminal_links(false)
            .color(true)
            .without_syntax_highlighting()
            .context_lines(1)
            .break_words(false)
            .build();
        handler.debug(self.0, f)
    }
}
