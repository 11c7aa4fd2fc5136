//! What an axis of a file is, by the names and attributes of its coordinate (CF conventions,
//! chapter 4), and the latitudes and longitudes that it holds.

use super::netcdf::{NetCdf, text};
use isotropy_core::Result;
use netcdf_reader::NcVariable;

/// What an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Times.
    Time,
    /// Latitudes.
    Latitude,
    /// Longitudes.
    Longitude,
    /// Something else: heights, members of an ensemble, coordinates of a projection.
    Other,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Time => "a time",
            Self::Latitude => "a latitude",
            Self::Longitude => "a longitude",
            Self::Other => "something else",
        }
    }
}

const NORTH: [&str; 6] =
    ["degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"];
const EAST: [&str; 6] =
    ["degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"];
const DEGREES: [&str; 4] = ["degrees", "degree", "deg", "arc_degree"];

fn by_name(name: &str) -> Option<Role> {
    match name.to_ascii_lowercase().as_str() {
        "time" | "valid_time" | "t" => Some(Role::Time),
        "latitude" | "lat" | "nav_lat" | "fnocy" => Some(Role::Latitude),
        "longitude" | "lon" | "long" | "nav_lon" | "fnocx" => Some(Role::Longitude),
        _ => None,
    }
}

fn by_standard_name(name: &str) -> Option<Role> {
    match name {
        "time" => Some(Role::Time),
        "latitude" => Some(Role::Latitude),
        "longitude" => Some(Role::Longitude),
        "unknown" | "" => None,
        // Of a rotated pole, a projection, a height.
        _ => Some(Role::Other),
    }
}

fn by_units(units: &str) -> Option<Role> {
    let units = units.to_ascii_lowercase();
    match units.as_str() {
        _ if NORTH.contains(&units.as_str()) => Some(Role::Latitude),
        _ if EAST.contains(&units.as_str()) => Some(Role::Longitude),
        _ if units.contains(" since ") => Some(Role::Time),
        _ => None,
    }
}

fn by_axis(axis: &str) -> Option<Role> {
    match axis.to_ascii_uppercase().as_str() {
        "T" => Some(Role::Time),
        "Y" => Some(Role::Latitude),
        "X" => Some(Role::Longitude),
        "Z" => Some(Role::Other),
        _ => None,
    }
}

/// What a coordinate is; `None` where nothing says so.
///
/// # Errors
/// A data error when its name and attributes contradict each other.
pub fn role(file: &NetCdf, coordinate: &NcVariable) -> Result<Option<Role>> {
    let attribute = |name: &str| text(coordinate, name);
    let said = [
        ("standard_name", attribute("standard_name").and_then(|name| by_standard_name(&name))),
        ("units", attribute("units").and_then(|units| by_units(&units))),
        ("axis", attribute("axis").and_then(|axis| by_axis(&axis))),
        ("name", by_name(coordinate.name())),
    ];
    let mut found: Option<(&str, Role)> = None;
    for (what, role) in said {
        let Some(role) = role else { continue };
        match found {
            None => found = Some((what, role)),
            Some((other, before)) if before != role => {
                return Err(file.wrong(format!(
                    "'{}' is {} by its {other} and {} by its {what}",
                    coordinate.name(),
                    before.word(),
                    role.word()
                )));
            }
            Some(_) => {}
        }
    }
    Ok(found.map(|(_, role)| role))
}

/// The coordinate of an axis: the variable with its name, else one over this axis alone that says
/// what it is.
///
/// # Errors
/// As [`role`].
pub fn coordinate<'a>(file: &'a NetCdf, axis: &str) -> Result<Option<(&'a NcVariable, Role)>> {
    let over: Vec<&NcVariable> = file
        .variables()?
        .iter()
        .filter(|v| matches!(v.dimensions(), [only] if only.name == axis))
        .collect();
    let own = over.iter().find(|v| v.name() == axis);
    for variable in own.into_iter().chain(over.iter().filter(|v| v.name() != axis)) {
        if let Some(role) = role(file, variable)? {
            return Ok(Some((variable, role)));
        }
    }
    Ok(None)
}

/// Latitudes in degrees.
///
/// # Errors
/// A data error when they are not in degrees, beyond the poles, missing, or repeat or turn back.
pub fn latitudes(file: &NetCdf, coordinate: &NcVariable) -> Result<Vec<f64>> {
    let values = degrees(file, coordinate, &NORTH)?;
    if let Some(beyond) = values.iter().find(|x| x.abs() > 90.0 + 1e-6) {
        let message = format!("'{}' holds the latitude {beyond}, beyond a pole", coordinate.name());
        return Err(file.wrong(message));
    }
    if !monotone(&values) {
        return Err(file.wrong(turns_back(coordinate)));
    }
    Ok(values)
}

/// Longitudes in degrees that rise or fall along the axis, and the columns of the file that they
/// belong to. Where they jump by a whole turn (from 359 to 0, or from 180 to -180) they go on
/// counting; where the file begins in the middle of its region (0 to 10, then 350 to 359), the
/// columns are put side by side.
///
/// # Errors
/// A data error when they are not in degrees, missing, or repeat or turn back, a whole turn apart
/// included.
pub fn longitudes(file: &NetCdf, coordinate: &NcVariable) -> Result<(Vec<f64>, Vec<i64>)> {
    let mut values = degrees(file, coordinate, &EAST)?;
    let name = coordinate.name();
    if let Some(beyond) = values.iter().find(|x| x.abs() > 720.0) {
        return Err(file.wrong(format!("'{name}' holds {beyond}, which is no longitude")));
    }
    if !monotone(&values) {
        unwrap(&mut values);
    }
    if !monotone(&values) {
        return Err(
            file.wrong(format!("{}, also when counted on over 360", turns_back(coordinate)))
        );
    }
    let n = values.len();
    let mut columns: Vec<i64> = (0..n as i64).collect();
    let span = (values[n - 1] - values[0]).abs();
    let steps: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let smallest = steps.iter().copied().fold(f64::INFINITY, f64::min);
    if n > 1 && span > 360.0 - 0.01 * smallest {
        return Err(file.wrong(format!(
            "'{name}' goes from {} to {}: a meridian comes twice",
            values[0],
            values[n - 1]
        )));
    }
    // A region that goes over the seam of its file: the widest gap is inside.
    let widest = (0..steps.len()).max_by(|&a, &b| steps[a].total_cmp(&steps[b]));
    if let Some(at) = widest.filter(|&at| steps[at] > 1.5 * smallest && steps[at] > 360.0 - span) {
        let turn = if values[n - 1] > values[0] { 360.0 } else { -360.0 };
        values[at + 1..].iter_mut().for_each(|x| *x -= turn);
        values.rotate_left(at + 1);
        columns.rotate_left(at + 1);
    }
    Ok((values, columns))
}

fn turns_back(coordinate: &NcVariable) -> String {
    let name = coordinate.name();
    format!("the coordinate '{name}' repeats or turns back: points of the grid would coincide")
}

fn monotone(values: &[f64]) -> bool {
    let rising = values.windows(2).all(|pair| pair[1] > pair[0]);
    let falling = values.windows(2).all(|pair| pair[1] < pair[0]);
    rising || falling
}

/// Counts on where neighbours are more than half a turn apart.
fn unwrap(longitudes: &mut [f64]) {
    let mut turns = 0.0;
    for k in 1..longitudes.len() {
        longitudes[k] += turns;
        let jump = ((longitudes[k] - longitudes[k - 1]) / 360.0).round() * 360.0;
        longitudes[k] -= jump;
        turns -= jump;
    }
}

fn degrees(file: &NetCdf, coordinate: &NcVariable, units: &[&str]) -> Result<Vec<f64>> {
    if let Some(found) = text(coordinate, "units") {
        let plain = found.to_ascii_lowercase();
        if !plain.is_empty() && !units.contains(&plain.as_str()) && !DEGREES.contains(&&*plain) {
            let name = coordinate.name();
            return Err(file.wrong(format!("'{name}' has the unit '{found}', not degrees")));
        }
    }
    numbers(file, coordinate)
}

/// The numbers of a coordinate, none of them missing.
///
/// # Errors
/// A data error when there are none, or one is missing.
pub fn numbers(file: &NetCdf, coordinate: &NcVariable) -> Result<Vec<f64>> {
    let (values, name) = (file.values(coordinate)?, coordinate.name());
    if values.is_empty() {
        return Err(file.wrong(format!("the coordinate '{name}' is empty")));
    }
    match values.iter().position(|x| x.is_nan()) {
        None => Ok(values),
        Some(at) => {
            Err(file
                .wrong(format!("the coordinate '{name}' is missing or not a number at place {at}")))
        }
    }
}
