//! Time stamps: what unit and calendar of a file make of its numbers, and the order that they bring
//! several files into.

use super::axes::numbers;
use super::netcdf::{NetCdf, text};
use isotropy_core::Result;
use netcdf_reader::NcVariable;
use netcdf_reader::cf::time::{CfCalendar, CfDateTime, decode_time_exact, parse_time_units};
use std::cmp::Ordering;

/// A time of a file.
#[derive(Debug, Clone, Copy)]
pub enum Stamp {
    /// A date, in a calendar that all files share.
    Date(CfDateTime),
    /// A number in a unit without a date that can be read (days as digits, months of unequal
    /// length).
    Number(f64),
}

impl Stamp {
    /// Earlier, the same or later.
    pub fn compare(&self, other: &Self) -> Ordering {
        let key =
            |d: &CfDateTime| (d.year, d.month, d.day, d.hour, d.minute, d.second, d.nanosecond);
        match (self, other) {
            (Self::Date(a), Self::Date(b)) => key(a).cmp(&key(b)),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            // Stamps of different kinds do not come together: their clocks differ.
            (Self::Date(_), Self::Number(_)) => Ordering::Less,
            (Self::Number(_), Self::Date(_)) => Ordering::Greater,
        }
    }
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Date(date) => date.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// What makes the stamps of two files comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clock {
    /// Dates of a calendar.
    Calendar(CfCalendar),
    /// Numbers of a unit.
    Unit(String),
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Calendar(calendar) => write!(f, "dates of the calendar {calendar:?}"),
            Self::Unit(unit) => write!(f, "numbers of the unit '{unit}'"),
        }
    }
}

/// The stamps of a time coordinate.
///
/// # Errors
/// A data error for a calendar that is not known, and a time that is missing.
pub fn stamps(file: &NetCdf, coordinate: &NcVariable) -> Result<(Clock, Vec<Stamp>)> {
    let (values, name) = (numbers(file, coordinate)?, coordinate.name());
    let calendar = match text(coordinate, "calendar").map(|c| c.to_lowercase()) {
        None => CfCalendar::Standard,
        Some(found) => match found.as_str() {
            "standard"
            | "gregorian"
            | "proleptic_gregorian"
            | "noleap"
            | "365_day"
            | "all_leap"
            | "366_day"
            | "360_day"
            | "julian" => CfCalendar::parse(&found),
            _ => return Err(file.wrong(format!("'{name}' has an unknown calendar '{found}'"))),
        },
    };
    let units = text(coordinate, "units").unwrap_or_default();
    let dates = parse_time_units(&plain(&units), calendar).and_then(|reference| {
        let dates = values.iter().map(|&value| decode_time_exact(value, &reference));
        dates.collect::<netcdf_reader::Result<Vec<_>>>()
    });
    Ok(match dates {
        Ok(dates) => {
            // They differ before 1582 alone.
            let calendar = match calendar {
                CfCalendar::ProlepticGregorian => CfCalendar::Standard,
                other => other,
            };
            (Clock::Calendar(calendar), dates.into_iter().map(Stamp::Date).collect())
        }
        Err(_) => (Clock::Unit(units), values.into_iter().map(Stamp::Number).collect()),
    })
}

/// A unit of time in the words that the parser knows, without the name of the zone of Greenwich.
fn plain(units: &str) -> String {
    let mut units = units.trim().to_lowercase();
    for (long, short) in
        [("hrs ", "hours "), ("secs ", "seconds "), ("sec ", "seconds "), ("mins ", "minutes ")]
    {
        if let Some(rest) = units.strip_prefix(long) {
            units = format!("{short}{rest}");
        }
    }
    for zone in ["utc", "gmt", "z", "+00:00", "-00:00", "+0:00", "+0000"] {
        if let Some(rest) = units.strip_suffix(zone) {
            units = rest.trim_end().to_string();
            break;
        }
    }
    // The parser wants 'T' where there is one.
    let dated = |c: char| c.is_ascii_digit();
    let at = units
        .find('t')
        .filter(|&at| units[..at].ends_with(dated) && units[at + 1..].starts_with(dated));
    if let Some(at) = at {
        units.replace_range(at..=at, "T");
    }
    units
}
