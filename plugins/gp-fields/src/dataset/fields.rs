//! Variables over time, latitude and longitude, from one file or several: axes by name and
//! attribute, times in their order, nothing twice.

use super::axes::{Role, coordinate, latitudes, longitudes};
use super::netcdf::{NetCdf, text};
use super::times::{Clock, Stamp, stamps};
use isotropy_core::{Error, Result};
use netcdf_reader::NcVariable;
use std::path::Path;
use tch::Tensor;

/// Variables over the same axes.
#[derive(Debug)]
pub struct Fields {
    /// `[T, L, W, c]`, NaN where a value is missing.
    pub values: Tensor,
    /// Latitudes in degrees, rising or falling.
    pub latitudes: Vec<f64>,
    /// Longitudes in degrees, rising or falling; beyond 180 or 360 where they have to be.
    pub longitudes: Vec<f64>,
    /// Units of the variables, as they are written.
    pub units: Vec<Option<String>>,
    clock: Clock,
    /// Times, and the number of the file that each comes from.
    times: Vec<(Stamp, usize)>,
    /// Name and SHA-256 of the files in the order of their first times.
    pub digests: Vec<(String, String)>,
    /// The first file, for messages.
    file: String,
}

impl Fields {
    /// Reads variables of a file; each is given by the names that it may have.
    ///
    /// # Errors
    /// A data error that names the file: unreadable, a variable missing, an axis that nothing says
    /// anything about, axes that differ between variables, coordinates that repeat, turn back or
    /// are of another unit, a time twice.
    pub fn read(path: &Path, channels: &[&[&str]]) -> Result<Self> {
        let file = NetCdf::open(path)?;
        let mut axes: Option<[&NcVariable; 3]> = None;
        let (mut parts, mut units) = (Vec::new(), Vec::new());
        for names in channels {
            let variable = file.find(names)?;
            let (found, order) = arrangement(&file, variable)?;
            let same = |axes: &[&NcVariable; 3]| {
                axes.iter().zip(&found).all(|(a, b)| a.name() == b.name())
            };
            if axes.as_ref().is_some_and(|axes| !same(axes)) {
                let message = format!("'{}' lies over other axes than the others", variable.name());
                return Err(file.wrong(message));
            }
            axes = Some(found);
            let shape: Vec<i64> = variable.shape().iter().map(|&n| n as i64).collect();
            let values = Tensor::from_slice(&file.values(variable)?).view(shape.as_slice());
            // Axes of one node go last, and then away.
            let mut all: Vec<i64> = order.to_vec();
            all.extend((0..shape.len() as i64).filter(|axis| !order.contains(axis)));
            let sizes = order.map(|axis| shape[axis as usize]);
            parts.push(values.permute(all.as_slice()).reshape(sizes));
            units.push(text(variable, "units"));
        }
        let [time, latitude, longitude] =
            axes.ok_or_else(|| file.wrong("nothing was asked of this file"))?;
        let (clock, stamps) = stamps(&file, time)?;
        let (longitudes, columns) = longitudes(&file, longitude)?;
        let values = Tensor::stack(&parts, -1).index_select(2, &Tensor::from_slice(&columns));
        let fields = Self {
            values,
            latitudes: latitudes(&file, latitude)?,
            longitudes,
            units,
            clock,
            times: stamps.into_iter().map(|stamp| (stamp, 0)).collect(),
            digests: vec![file.digest()],
            file: path.display().to_string(),
        };
        fields.in_order()
    }

    /// Number of times.
    pub fn len(&self) -> i64 {
        self.times.len() as i64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// An error about these fields.
    pub fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::data(format!("{}: {what}", self.file), "check the file with `ncdump -h`")
    }

    /// Several files of one grid as one, in the order of their times whatever they are called.
    ///
    /// # Errors
    /// A data error that names a file: another grid, other units, another calendar, a time that
    /// another file has too.
    pub fn join(mut files: Vec<Self>) -> Result<Self> {
        files.sort_by(|a, b| a.times[0].0.compare(&b.times[0].0));
        let mut rest = files.into_iter();
        let Some(mut all) = rest.next() else {
            return Err(Error::data("no files", "put NetCDF files into the folder"));
        };
        for (number, other) in rest.enumerate() {
            if other.clock != all.clock {
                return Err(other.wrong(format!(
                    "its times are {}, those of {} are {}",
                    other.clock, all.file, all.clock
                )));
            }
            for (own, before) in other.units.iter().zip(&all.units) {
                if !same_unit(own.as_deref(), before.as_deref()) {
                    let unit = |unit: &Option<String>| unit.clone().unwrap_or_default();
                    return Err(other.wrong(format!(
                        "it has the unit '{}' where {} has '{}'",
                        unit(own),
                        all.file,
                        unit(before)
                    )));
                }
            }
            let rows = places(&all.latitudes, &other.latitudes, false);
            let columns = places(&all.longitudes, &other.longitudes, true);
            let (Some(rows), Some(columns)) = (rows, columns) else {
                return Err(other.wrong(format!("its grid differs from that of {}", all.file)));
            };
            let values = other.values.index_select(1, &Tensor::from_slice(&rows));
            let values = values.index_select(2, &Tensor::from_slice(&columns));
            all.values = Tensor::cat(&[all.values, values], 0);
            all.times.extend(other.times.into_iter().map(|(stamp, _)| (stamp, number + 1)));
            all.digests.extend(other.digests);
        }
        all.in_order()
    }

    /// The same with rising times.
    fn in_order(mut self) -> Result<Self> {
        let mut order: Vec<i64> = (0..self.len()).collect();
        order.sort_by(|&a, &b| self.times[a as usize].0.compare(&self.times[b as usize].0));
        let times: Vec<(Stamp, usize)> = order.iter().map(|&k| self.times[k as usize]).collect();
        for pair in times.windows(2) {
            let [(stamp, first), (next, second)] = pair else { continue };
            if stamp.compare(next).is_eq() {
                let (first, second) = (&self.digests[*first].0, &self.digests[*second].0);
                let message = match first == second {
                    true => format!("the time {stamp} comes twice in it"),
                    false => format!("the time {stamp} is in {first} and in {second}"),
                };
                return Err(self.wrong(message).with_help("take one of the two out"));
            }
        }
        if !order.is_sorted() {
            self.values = self.values.index_select(0, &Tensor::from_slice(&order));
        }
        self.times = times;
        Ok(self)
    }
}

/// The coordinates of time, latitude and longitude of a variable, and which of its axes they are.
fn arrangement<'a>(
    file: &'a NetCdf,
    variable: &NcVariable,
) -> Result<([&'a NcVariable; 3], [i64; 3])> {
    let name = variable.name();
    let mut found: [Option<(&NcVariable, i64)>; 3] = [None; 3];
    for (axis, dimension) in variable.dimensions().iter().enumerate() {
        let place = match coordinate(file, &dimension.name)? {
            Some((coordinate, Role::Time)) => Some((0, coordinate)),
            Some((coordinate, Role::Latitude)) => Some((1, coordinate)),
            Some((coordinate, Role::Longitude)) => Some((2, coordinate)),
            Some((_, Role::Other)) | None => None,
        };
        match place {
            Some((place, coordinate)) => {
                if let Some((other, _)) = found[place].replace((coordinate, axis as i64)) {
                    return Err(file.wrong(format!(
                        "'{name}' has two axes of one kind: {} and {}",
                        other.name(),
                        coordinate.name()
                    )));
                }
            }
            None if dimension.size == 1 => {}
            None => {
                return Err(file.wrong(format!(
                    "nothing says that the axis '{}' of '{name}' ({} nodes) is time, latitude or longitude",
                    dimension.name, dimension.size
                )));
            }
        }
    }
    let [Some(time), Some(latitude), Some(longitude)] = found else {
        let kinds = ["time", "latitude", "longitude"].iter().zip(&found);
        let lacking: Vec<&str> =
            kinds.filter(|(_, found)| found.is_none()).map(|(kind, _)| *kind).collect();
        return Err(file.wrong(format!("'{name}' has no axis of {}", lacking.join(" or "))));
    };
    Ok(([time.0, latitude.0, longitude.0], [time.1, latitude.1, longitude.1]))
}

/// Where the coordinates `wanted` are among those `there`, whole turns apart with `cyclic`; `None`
/// when they are not the same ones.
fn places(wanted: &[f64], there: &[f64], cyclic: bool) -> Option<Vec<i64>> {
    if wanted.len() != there.len() {
        return None;
    }
    let step = wanted.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(360.0, f64::min);
    let apart = |a: f64, b: f64| match (a - b, cyclic) {
        (difference, false) => difference.abs(),
        (difference, true) => (difference - 360.0 * (difference / 360.0).round()).abs(),
    };
    let place = |x: &f64| there.iter().position(|y| apart(*x, *y) < 1e-3 * step);
    wanted.iter().map(|x| place(x).map(|k| k as i64)).collect()
}

/// Whether two units are one, however they are spelt; a file that names none agrees with every
/// other.
pub fn same_unit(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => plain_unit(a) == plain_unit(b),
        _ => true,
    }
}

/// A unit without the variety of its spelling.
pub fn plain_unit(unit: &str) -> String {
    let kept = |c: &char| !c.is_whitespace() && !['*', '^', '.', '_'].contains(c);
    let unit: String = unit.to_lowercase().chars().filter(kept).collect();
    let unit = unit.replace("metre", "meter").replace("meters", "m").replace("meter", "m");
    let unit = unit.replace("seconds", "s").replace("second", "s").replace("sec", "s");
    unit.replace("/s", "s-1")
}
