//! Strings, numbers and words.

use super::{Fatal, Parser};
use crate::config::suggest::shorten;
use crate::config::tree::{Node, Value};

impl Parser<'_> {
    pub(super) fn word(&mut self) -> Result<Node, Fatal> {
        let start = self.at;
        self.at = self.word_end(start);
        let word = &self.source.text()[start..self.at];
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ => {
                let shown = shorten(word, 40);
                let help = match word.to_ascii_lowercase().as_str() {
                    "true" | "false" | "null" => format!("write {}", word.to_ascii_lowercase()),
                    "none" | "nil" | "undefined" => "write null".to_owned(),
                    "nan" | "inf" | "infinity" => "JSON has no such number".to_owned(),
                    _ => format!("write \"{shown}\" if it is a string"),
                };
                let end = self.at;
                self.problem(start, end, format!("`{shown}` is not a JSON value"), Some(&help))?;
                Value::Invalid
            }
        };
        Ok(self.node(start, value))
    }

    pub(super) fn number(&mut self) -> Result<Node, Fatal> {
        let start = self.at;
        self.at = self.word_end(start);
        let text = &self.source.text()[start..self.at];
        if is_number(text.as_bytes()) {
            return Ok(self.node(start, Value::Number(text.to_owned())));
        }
        let shown = shorten(text, 40);
        let help = match text.trim_start_matches(['-', '+']).to_ascii_lowercase().as_str() {
            "inf" | "infinity" | "nan" => "JSON has no such number",
            _ => {
                "numbers look like 3, -0.5 or 1e-3: a digit on both sides of the point, no leading + or 0, no _ or unit"
            }
        };
        let end = self.at;
        self.problem(start, end, format!("`{shown}` is not a JSON number"), Some(help))?;
        Ok(self.node(start, Value::Invalid))
    }

    pub(super) fn single_quoted(&mut self) -> Result<String, Fatal> {
        let start = self.at;
        let rest = &self.bytes[start + 1..];
        match rest.iter().position(|&b| matches!(b, b'\'' | b'\n')) {
            Some(length) if rest[length] == b'\'' => {
                self.at = start + length + 2;
                let end = self.at;
                self.problem(start, end, "strings need double quotes", None)?;
                Ok(self.source.text()[start + 1..end - 1].to_owned())
            }
            _ => self.unexpected("a value"),
        }
    }

    pub(super) fn string(&mut self) -> Result<String, Fatal> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.bytes[self.at..];
            let run = rest
                .iter()
                .position(|&b| matches!(b, b'"' | b'\\') || b < 0x20)
                .unwrap_or(rest.len());
            text.push_str(&self.source.text()[self.at..self.at + run]);
            self.at += run;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape(start)?),
                None | Some(b'\n' | b'\r') => {
                    let end = self.at;
                    return self.fatal_at(
                        start,
                        end,
                        "this string is not closed on its line",
                        Some("add the closing \""),
                    );
                }
                Some(b) => {
                    let message =
                        format!("a string may not hold the bare control character U+{b:04X}");
                    let help = format!("write \\u{b:04x}");
                    self.problem(self.at, self.at + 1, message, Some(&help))?;
                    text.push(char::from(b));
                    self.at += 1;
                }
            }
        }
    }

    /// Reads an escape sequence; the current byte is the backslash.
    fn escape(&mut self, string_start: usize) -> Result<char, Fatal> {
        let start = self.at;
        self.at += 1;
        let Some(code) = self.peek() else {
            return self.fatal_at(
                string_start,
                start,
                "this string is not closed on its line",
                Some("add the closing \""),
            );
        };
        self.at += 1;
        Ok(match code {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => match self.unicode_escape() {
                Some(c) => c,
                None => {
                    let end = self.at;
                    let help = "\\u takes four hexadecimal digits; characters beyond U+FFFF take a pair of them";
                    self.problem(start, end, "this is not a character", Some(help))?;
                    char::REPLACEMENT_CHARACTER
                }
            },
            _ => {
                self.at = start + 1;
                let (_, end) = self.token_first_char();
                let help = "to write a backslash, double it: \\\\";
                self.problem(start, end, "there is no such escape in JSON strings", Some(help))?;
                '\\'
            }
        })
    }

    fn token_first_char(&self) -> (usize, usize) {
        let length = self.source.text()[self.at..].chars().next().map_or(0, char::len_utf8);
        (self.at, self.at + length)
    }

    /// The character of `\uXXXX` or of a surrogate pair, the `u` being behind us.
    fn unicode_escape(&mut self) -> Option<char> {
        let high = self.four_digits()?;
        if !(0xD800..0xDC00).contains(&high) {
            return char::from_u32(high);
        }
        if !self.bytes[self.at..].starts_with(b"\\u") {
            return None;
        }
        self.at += 2;
        let low = self.four_digits()?;
        let low = low.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
        char::from_u32(0x10000 + ((high - 0xD800) << 10) + low)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let value =
            digits.iter().fold(0, |sum, &b| sum * 16 + char::from(b).to_digit(16).unwrap_or(0));
        self.at += 4;
        Some(value)
    }
}

/// Whether the text is a number in the grammar of JSON.
fn is_number(text: &[u8]) -> bool {
    let digits = |from: usize| text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && text[at] == b'0') {
        return false;
    }
    at += whole;
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return false;
        }
        at += 1 + fraction;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == text.len()
}
