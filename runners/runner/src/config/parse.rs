//! From text to tree. Small mistakes are reported and stepped over, so that one reading finds several.
//!
//! Written here rather than taken from a library because of what the messages need: both places of a duplicate key, the
//! opening bracket of what is never closed, a nesting limit with its position, and going on after a mistake.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::diagnose::{Diagnostic, Label};
use super::source::{Source, Span};
use super::suggest::{printable, shorten};
use super::tree::{MAX_DEPTH, MAX_VALUES, Member, Node, Value};

mod literals;

/// After this many mistakes in the grammar the rest of the file is not read.
const MOST_PROBLEMS: usize = 20;

/// The result of [`parse`].
#[derive(Debug)]
pub struct Parsed {
    /// The tree, unless the text is beyond repair.
    pub root: Option<Node>,
    /// Mistakes in the grammar; with a root, those that could be stepped over.
    pub problems: Vec<Diagnostic>,
}

/// Parses a whole file (see the module `config` for the dialect).
pub fn parse(source: &Arc<Source>) -> Parsed {
    let start = if source.text().starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    Parser::new(source, start, true).run()
}

/// Parses the bytes from `start` to the end of `source` as one JSON value without comments: the value of a flag.
pub(crate) fn parse_value(source: &Arc<Source>, start: usize) -> Parsed {
    Parser::new(source, start, false).run()
}

/// The text cannot be read any further; the reason has been noted.
struct Fatal;

struct Parser<'a> {
    source: &'a Arc<Source>,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    values: usize,
    comments: bool,
    problems: Vec<Diagnostic>,
}

impl<'a> Parser<'a> {
    fn new(source: &'a Arc<Source>, start: usize, comments: bool) -> Self {
        Self {
            source,
            bytes: source.text().as_bytes(),
            at: start,
            depth: 0,
            values: 0,
            comments,
            problems: Vec::new(),
        }
    }

    fn run(mut self) -> Parsed {
        let root = self.document().ok();
        Parsed { root, problems: self.problems }
    }

    fn document(&mut self) -> Result<Node, Fatal> {
        self.skip_blank()?;
        if self.peek().is_none() {
            let message = if self.bytes.is_empty() {
                "the file is empty"
            } else {
                "there is nothing but blanks and comments"
            };
            return self.fatal_at(
                0,
                0,
                message,
                Some("a configuration is a JSON object: { \"schema\": 1, ... }"),
            );
        }
        let root = self.value()?;
        self.skip_blank()?;
        if self.peek().is_some() {
            let (start, end) = self.token_here();
            return self.fatal_at(
                start,
                end,
                "there is more text after the end of the configuration",
                None,
            );
        }
        Ok(root)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.source, start, end)
    }

    fn node(&self, start: usize, value: Value) -> Node {
        Node { value, origin: self.span(start, self.at) }
    }

    /// Notes a mistake that can be stepped over.
    fn problem(
        &mut self,
        start: usize,
        end: usize,
        message: impl Into<String>,
        help: Option<&str>,
    ) -> Result<(), Fatal> {
        let mut diagnostic = Diagnostic::new(self.span(start, end), message);
        diagnostic.help = help.map(Into::into);
        self.note(diagnostic)
    }

    fn note(&mut self, diagnostic: Diagnostic) -> Result<(), Fatal> {
        self.problems.push(diagnostic);
        if self.problems.len() >= MOST_PROBLEMS { Err(Fatal) } else { Ok(()) }
    }

    fn fatal_at<T>(
        &mut self,
        start: usize,
        end: usize,
        message: impl Into<String>,
        help: Option<&str>,
    ) -> Result<T, Fatal> {
        let _ = self.problem(start, end, message, help);
        Err(Fatal)
    }

    /// Something at the current position that does not belong there.
    fn unexpected<T>(&mut self, expected: &str) -> Result<T, Fatal> {
        let (start, end) = self.token_here();
        let found = match self.source.text()[start..].chars().next() {
            None => "the end of the text".to_owned(),
            Some(c) if c.is_control() || printable(c) != c => {
                format!("the character U+{:04X}", u32::from(c))
            }
            Some(c) => format!("`{c}`"),
        };
        self.fatal_at(start, end, format!("expected {expected}, found {found}"), None)
    }

    /// The character, or the run of letters, at the current position.
    fn token_here(&self) -> (usize, usize) {
        let end = self.word_end(self.at);
        if end > self.at {
            return (self.at, end);
        }
        let length = self.source.text()[self.at..].chars().next().map_or(0, char::len_utf8);
        (self.at, self.at + length)
    }

    fn word_end(&self, start: usize) -> usize {
        let rest = &self.bytes[start..];
        let is_word = |b: &u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+') || *b >= 0x80
        };
        start + rest.iter().position(|b| !is_word(b)).unwrap_or(rest.len())
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) -> Result<(), Fatal> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'/') if self.comments => {
                    let rest = &self.bytes[self.at..];
                    if rest.starts_with(b"//") {
                        self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                    } else if rest.starts_with(b"/*") {
                        match rest[2..].windows(2).position(|pair| pair == b"*/") {
                            Some(length) => self.at += length + 4,
                            None => {
                                return self.fatal_at(
                                    self.at,
                                    self.at + 2,
                                    "this comment is never closed",
                                    Some("add */"),
                                );
                            }
                        }
                    } else {
                        return Ok(());
                    }
                }
                Some(b'#') if self.comments => {
                    let start = self.at;
                    self.problem(
                        start,
                        start + 1,
                        "`#` does not begin a comment here",
                        Some("comments begin with //"),
                    )?;
                    let rest = &self.bytes[start..];
                    self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                }
                _ => return Ok(()),
            }
        }
    }

    fn value(&mut self) -> Result<Node, Fatal> {
        let start = self.at;
        self.values += 1;
        if self.values > MAX_VALUES {
            let message = format!("the configuration holds more than {MAX_VALUES} values");
            return self.fatal_at(
                start,
                start + 1,
                message,
                Some("put long lists into a data file"),
            );
        }
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => {
                let text = self.string()?;
                Ok(self.node(start, Value::String(text)))
            }
            Some(b'\'') => {
                let text = self.single_quoted()?;
                Ok(self.node(start, Value::String(text)))
            }
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(),
            Some(b) if b.is_ascii_alphabetic() || b == b'_' => self.word(),
            _ => self.unexpected("a value"),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Node, Fatal>) -> Result<Node, Fatal> {
        if self.depth >= MAX_DEPTH {
            let message = format!("objects and arrays are nested more than {MAX_DEPTH} deep here");
            return self.fatal_at(self.at, self.at + 1, message, None);
        }
        self.depth += 1;
        let node = read(self);
        self.depth -= 1;
        node
    }

    fn object(&mut self) -> Result<Node, Fatal> {
        let open = self.at;
        self.at += 1;
        let mut members: Vec<Member> = Vec::new();
        let mut seen: HashMap<Cow<'a, str>, usize> = HashMap::new();
        let mut comma: Option<usize> = None;
        loop {
            self.skip_blank()?;
            let key_start = self.at;
            let key = match self.peek() {
                None => return self.never_closed(open),
                Some(b'}') => {
                    self.trailing_comma(comma)?;
                    self.at += 1;
                    return Ok(self.node(open, Value::Object(members)));
                }
                Some(b'"') => self.string()?,
                Some(b'\'') => self.single_quoted()?,
                Some(b',') => {
                    self.problem(key_start, key_start + 1, "there is a comma too many", None)?;
                    self.at += 1;
                    continue;
                }
                Some(b) if b.is_ascii_alphanumeric() || b == b'_' => self.unquoted_key()?,
                Some(b']') => return self.closed_by_the_other(open),
                _ => return self.unexpected("a field name in double quotes, or `}`"),
            };
            let key_origin = self.span(key_start, self.at);
            self.skip_blank()?;
            match self.peek() {
                Some(b':') => self.at += 1,
                Some(b'=') => {
                    self.problem(
                        self.at,
                        self.at + 1,
                        "expected `:` after the field name, found `=`",
                        None,
                    )?;
                    self.at += 1;
                }
                None => return self.never_closed(open),
                _ => {
                    return self.unexpected(&format!(
                        "`:` after the field name \"{}\"",
                        shorten(&key, 40)
                    ));
                }
            }
            self.skip_blank()?;
            let node = match self.peek() {
                Some(b',' | b'}') => {
                    let message = format!("the field `{}` has no value", shorten(&key, 40));
                    self.problem(key_origin.start, key_origin.end, message, None)?;
                    self.node(self.at, Value::Invalid)
                }
                None => return self.never_closed(open),
                _ => self.value()?,
            };
            match seen.get(key.as_str()) {
                Some(&first) => {
                    let first = members[first].key_origin.clone();
                    let message = format!(
                        "`{}` is given twice, first at {}",
                        shorten(&key, 40),
                        first.location()
                    );
                    let mut diagnostic = Diagnostic::new(key_origin, message);
                    diagnostic.labels.push(Label { span: first, text: "first given here".into() });
                    diagnostic.help = Some("remove one of the two".into());
                    self.note(diagnostic)?;
                }
                None => {
                    seen.insert(self.borrowed(&key, &key_origin), members.len());
                    members.push(Member { key, key_origin, node });
                }
            }
            comma = self.separator(open, b'}')?;
        }
    }

    /// The key as a part of the source where it has no escapes, so that it need not be copied.
    fn borrowed(&self, key: &str, origin: &Span) -> Cow<'a, str> {
        match self.source.text().get(origin.start + 1..origin.end - 1) {
            Some(written) if written == key => Cow::Borrowed(written),
            _ => Cow::Owned(key.to_owned()),
        }
    }

    fn array(&mut self) -> Result<Node, Fatal> {
        let open = self.at;
        self.at += 1;
        let mut items = Vec::new();
        let mut comma = None;
        loop {
            self.skip_blank()?;
            match self.peek() {
                None => return self.never_closed(open),
                Some(b']') => {
                    self.trailing_comma(comma)?;
                    self.at += 1;
                    return Ok(self.node(open, Value::Array(items)));
                }
                Some(b'}') => return self.closed_by_the_other(open),
                Some(b',') => {
                    self.problem(self.at, self.at + 1, "there is a comma too many", None)?;
                    self.at += 1;
                    continue;
                }
                _ => items.push(self.value()?),
            }
            comma = self.separator(open, b']')?;
        }
    }

    /// Reads the comma after a value and says where it stood; leaves the closing bracket alone.
    fn separator(&mut self, open: usize, close: u8) -> Result<Option<usize>, Fatal> {
        let value_end = self.at;
        self.skip_blank()?;
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(Some(self.at - 1))
            }
            Some(b) if b == close => Ok(None),
            None => self.never_closed(open),
            Some(b'}' | b']') => self.closed_by_the_other(open),
            Some(
                b'"' | b'\'' | b'{' | b'[' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z',
            ) => {
                let last = self.source.floor(value_end.saturating_sub(1));
                self.problem(last, value_end, "a comma is missing after this", None)?;
                Ok(None)
            }
            _ => self.unexpected(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" }),
        }
    }

    fn trailing_comma(&mut self, comma: Option<usize>) -> Result<(), Fatal> {
        match comma {
            Some(at) => self.problem(
                at,
                at + 1,
                "a comma stands after the last element",
                Some("remove this comma"),
            ),
            None => Ok(()),
        }
    }

    fn never_closed<T>(&mut self, open: usize) -> Result<T, Fatal> {
        let bracket = char::from(self.bytes[open]);
        let close = if bracket == '{' { '}' } else { ']' };
        let message = format!("the text ends, but this `{bracket}` is never closed");
        self.fatal_at(open, open + 1, message, Some(&format!("add the missing `{close}`")))
    }

    fn closed_by_the_other<T>(&mut self, open: usize) -> Result<T, Fatal> {
        let opening = self.span(open, open + 1);
        let message = format!(
            "`{}` does not match the `{}` at {}",
            char::from(self.bytes[self.at]),
            char::from(self.bytes[open]),
            opening.location()
        );
        let mut diagnostic = Diagnostic::new(self.span(self.at, self.at + 1), message);
        diagnostic.labels.push(Label { span: opening, text: "opened here".into() });
        let _ = self.note(diagnostic);
        Err(Fatal)
    }

    fn unquoted_key(&mut self) -> Result<String, Fatal> {
        let start = self.at;
        self.at = self.word_end(start);
        let word = self.source.text()[start..self.at].to_owned();
        let help = format!("write \"{}\"", shorten(&word, 40));
        self.problem(start, self.at, "a field name needs double quotes", Some(&help))?;
        Ok(word)
    }
}
