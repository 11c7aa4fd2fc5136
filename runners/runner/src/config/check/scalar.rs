//! Types, constants, numbers and strings.

use isotropy_core::registry::PATH_KEY;
use regex::Regex;
use serde_json::Value as Json;

use super::{Checker, choice, integer};
use crate::config::diagnose::Diagnostic;
use crate::config::suggest::{self, shorten};
use crate::config::tree::{self, Node, Value};
use crate::config::view::{self, View};

impl Checker<'_> {
    /// Checks the JSON type; when it is wrong, nothing else about the value is worth saying.
    pub(super) fn type_holds(&mut self, node: &Node, view: &View<'_>, types: &[&str]) -> bool {
        if !view::type_fits(types, node) {
            let message = format!(
                "{} must be {}, found {}",
                self.place(),
                choice::expected(view),
                node.describe()
            );
            let mut diagnostic = Diagnostic::new(node.mark(), message);
            diagnostic.help = type_help(node, types);
            self.report(diagnostic);
            return false;
        }
        let Value::Number(text) = &node.value else { return true };
        let is_finite = text.parse::<f64>().is_ok_and(f64::is_finite);
        if types.is_empty()
            || types.contains(&"number")
            || tree::is_integer_literal(text)
            || !is_finite
        {
            return true;
        }
        let message = format!("{} must be an integer, found {}", self.place(), shorten(text, 40));
        let mut diagnostic = Diagnostic::new(node.origin.clone(), message);
        let value = text.parse::<f64>().unwrap_or(f64::NAN);
        // Up to 2^53 every whole f64 is the number that was written.
        if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
            diagnostic.help = Some(format!("write {value:.0}, without point and exponent"));
        }
        self.report(diagnostic);
        false
    }

    /// Checks `const` and `enum`.
    pub(super) fn constants(&mut self, node: &Node, view: &View<'_>) {
        for (part, _) in &view.parts {
            let values = view::constants(part);
            if values.is_empty() || values.iter().any(|value| view::equals(node, value)) {
                continue;
            }
            match (
                node.as_str(),
                values.iter().map(|value| value.as_str()).collect::<Option<Vec<_>>>(),
            ) {
                (Some(text), Some(names)) => self.wrong_choice(node, text, &names),
                _ => {
                    let list = values
                        .iter()
                        .map(|value| format!("`{value}`"))
                        .collect::<Vec<_>>()
                        .join(", ");
                    let message = format!(
                        "{} must be one of {list}, found {}",
                        self.place(),
                        node.describe()
                    );
                    self.report(Diagnostic::new(node.mark(), message));
                }
            }
        }
    }

    /// A string that is none of the allowed ones.
    pub(super) fn wrong_choice(&mut self, node: &Node, text: &str, names: &[&str]) {
        let message = format!("{} cannot be \"{}\"", self.place(), shorten(text, 60));
        let help = suggest::help(text, "values", names);
        self.report(Diagnostic::new(node.origin.clone(), message).with_help(help));
    }

    /// Checks the range of a number, as declared and as its format can hold.
    pub(super) fn number(&mut self, node: &Node, text: &str, view: &View<'_>) {
        let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) else {
            return;
        };
        let exact = integer(text);
        let mut lower: Option<Bound> = None;
        let mut upper: Option<Bound> = None;
        let mut format = None;
        let is_integer = view.types().contains(&"integer");
        for (part, _) in &view.parts {
            let number = |keyword: &str| part.get(keyword).filter(|bound| bound.is_number());
            lower = lower.or_else(|| Bound::of(number("minimum"), number("exclusiveMinimum")));
            upper = upper.or_else(|| Bound::of(number("maximum"), number("exclusiveMaximum")));
            format = format.or_else(|| part.get("format")?.as_str());
        }
        let (least, most) = if is_integer { integer_limits(format) } else { float_limits(format) };
        let below = lower.as_ref().is_some_and(|bound| !bound.holds(value, exact, 1));
        let above = upper.as_ref().is_some_and(|bound| !bound.holds(value, exact, -1));
        let under_format = least.as_ref().is_some_and(|bound| !bound.holds(value, exact, 1));
        let over_format = most.as_ref().is_some_and(|bound| !bound.holds(value, exact, -1));
        if !(below || above || under_format || over_format) {
            return;
        }
        // The limits of the format are only worth mentioning where they were overstepped.
        if under_format && !below {
            lower = least;
        }
        if over_format && !above {
            upper = most;
        }
        let range = match (&lower, &upper) {
            (Some(lower), Some(upper)) if !lower.exclusive && !upper.exclusive => {
                format!("from {} to {}", lower.value, upper.value)
            }
            (Some(lower), Some(upper)) => format!("{} and {}", lower.at_least(), upper.at_most()),
            (Some(lower), None) => lower.at_least(),
            (None, Some(upper)) => upper.at_most(),
            (None, None) => return,
        };
        let what = if is_integer { "an integer " } else { "" };
        let message = format!(
            "{} is out of range: it must be {what}{range}, found {}",
            self.place(),
            shorten(text, 40)
        );
        self.report(Diagnostic::new(node.origin.clone(), message));
    }

    /// Checks the pattern of a string and its length in characters.
    pub(super) fn string(&mut self, node: &Node, text: &str, view: &View<'_>) {
        self.pattern(node, text, view);
        if view.parts.iter().any(|(part, _)| part.contains_key(PATH_KEY)) {
            self.paths.push(self.path.clone());
        }
        let count = text.chars().count() as u64;
        for (part, _) in &view.parts {
            let bound = |keyword: &str| part.get(keyword).and_then(Json::as_u64);
            let message = match (bound("minLength"), bound("maxLength")) {
                (Some(1), _) if count == 0 => format!("{} must not be empty", self.place()),
                (Some(least), _) if count < least => {
                    format!("{} must have at least {least} characters, found {count}", self.place())
                }
                (_, Some(most)) if count > most => {
                    format!("{} must have at most {most} characters, found {count}", self.place())
                }
                _ => continue,
            };
            self.report(Diagnostic::new(node.origin.clone(), message));
        }
    }
}

impl Checker<'_> {
    /// Checks `pattern`; what is allowed is said by the description of the field.
    fn pattern(&mut self, node: &Node, text: &str, view: &View<'_>) {
        let of =
            |keyword: &str| view.parts.iter().find_map(|(part, _)| part.get(keyword)?.as_str());
        let Some(pattern) = of("pattern") else { return };
        // Schemas are our own and those of plugins; one that is no regular expression allows
        // everything.
        if Regex::new(pattern).map_or(true, |pattern| pattern.is_match(text)) {
            return;
        }
        let message = format!("{} cannot be \"{}\"", self.place(), shorten(text, 60));
        let description = of("description").unwrap_or_default();
        let first = description.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let help = if first.is_empty() { format!("it must match {pattern}") } else { first };
        self.report(Diagnostic::new(node.origin.clone(), message).with_help(help));
    }
}

/// One end of a range.
struct Bound {
    value: String,
    float: f64,
    exact: Option<i128>,
    exclusive: bool,
}

impl Bound {
    fn of(inclusive: Option<&Json>, exclusive: Option<&Json>) -> Option<Self> {
        let number = exclusive.or(inclusive)?;
        let text = number.to_string();
        let float = number.as_f64()?;
        // Bounds of integers are often written as floats: 1.0 is the same bound as 1.
        let value = if float.fract() == 0.0 && float.abs() < 1e15 {
            format!("{float:.0}")
        } else {
            text.clone()
        };
        Some(Self { exact: integer(&text), float, value, exclusive: exclusive.is_some() })
    }

    fn whole(value: i128) -> Self {
        Self { value: value.to_string(), float: value as f64, exact: Some(value), exclusive: false }
    }

    /// Whether a value lies on the right side: above for `side` 1, below for -1. Integers are compared exactly.
    fn holds(&self, value: f64, exact: Option<i128>, side: i32) -> bool {
        let order = match (exact, self.exact) {
            (Some(value), Some(bound)) => Some(value.cmp(&bound)),
            _ => value.partial_cmp(&self.float),
        };
        order.is_some_and(|order| {
            let order = order as i32 * side;
            if self.exclusive { order > 0 } else { order >= 0 }
        })
    }

    fn at_least(&self) -> String {
        format!("{} {}", if self.exclusive { "greater than" } else { "at least" }, self.value)
    }

    fn at_most(&self) -> String {
        format!("{} {}", if self.exclusive { "less than" } else { "at most" }, self.value)
    }
}

/// What an integer format can hold. JSON numbers reach serde as 64-bit integers, so that is the most of all.
fn integer_limits(format: Option<&str>) -> (Option<Bound>, Option<Bound>) {
    let (least, most): (i128, i128) = match format {
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("int64" | "int") => (i64::MIN.into(), i64::MAX.into()),
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint64" | "uint" | "uint128") => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), u64::MAX.into()),
    };
    (Some(Bound::whole(least)), Some(Bound::whole(most)))
}

/// What a float format can hold; larger numbers would become infinite.
fn float_limits(format: Option<&str>) -> (Option<Bound>, Option<Bound>) {
    if format != Some("float") {
        return (None, None);
    }
    let bound =
        |float: f64| Bound { value: format!("{float:e}"), float, exact: None, exclusive: false };
    (Some(bound(f64::from(f32::MIN))), Some(bound(f64::from(f32::MAX))))
}

/// What was probably meant by a value of the wrong type.
fn type_help(node: &Node, types: &[&str]) -> Option<String> {
    let takes = |name: &str| types.contains(&name);
    match &node.value {
        Value::String(text) if node.origin.source.is_flag() => {
            Some(format!("`{}` is not JSON, so it was taken as a string", shorten(text, 40)))
                .filter(|_| !node.origin.text().starts_with('"'))
        }
        Value::String(text)
            if (takes("number") || takes("integer")) && text.trim().parse::<f64>().is_ok() =>
        {
            Some(format!("write {} without quotes", shorten(text.trim(), 40)))
        }
        Value::String(text) if takes("boolean") && matches!(text.as_str(), "true" | "false") => {
            Some(format!("write {text} without quotes"))
        }
        Value::Number(text) if takes("string") => Some(format!("write \"{}\"", shorten(text, 40))),
        // An index into a list that is not there has made an object.
        Value::Object(_) if takes("array") && node.origin.source.is_flag() => Some(
            "there is no array with this element yet: set the whole array, path=[ ... ]".into(),
        ),
        Value::Number(_) | Value::String(_) | Value::Object(_) if takes("array") => {
            Some("put it in brackets: [ ... ]".into())
        }
        Value::Null => Some("give a value, or leave the field out if it has a default".into()),
        _ => None,
    }
}
