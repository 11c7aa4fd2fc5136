//! Reading NetCDF files: classic (versions 1, 2, 5) and NetCDF-4.

use isotropy_core::data_source::sha256;
use isotropy_core::{Error, Result};
use netcdf_reader::{NcFile, NcVariable};
use std::path::{Path, PathBuf};

const HELP: &str = "check the file with `ncdump -h`";

/// An open file.
pub struct NetCdf {
    path: PathBuf,
    digest: String,
    file: NcFile,
}

/// The numbers of a variable.
#[derive(Debug)]
pub struct Variable {
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    /// Names of its axes.
    pub axes: Vec<String>,
    /// Row-major; unpacked (`scale_factor`, `add_offset`), NaN where the file says that a value is missing or where it
    /// is not finite.
    pub values: Vec<f64>,
    /// Its unit, if it says so.
    pub unit: Option<String>,
}

impl NetCdf {
    /// Opens a file and takes its digest.
    ///
    /// # Errors
    /// `Io` when it cannot be read, a data error when it is not NetCDF.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        let digest = sha256(&bytes);
        let file = NcFile::from_vec(bytes).map_err(|error| {
            Error::data(
                format!("{}: no NetCDF file that can be read: {error}", path.display()),
                HELP,
            )
        })?;
        Ok(Self { path: path.to_path_buf(), digest, file })
    }

    /// Name and SHA-256 of the file.
    pub fn digest(&self) -> (String, String) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, self.digest.clone())
    }

    /// An error about this file.
    pub fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::data(format!("{}: {what}", self.path.display()), HELP)
    }

    /// The first of several names that a variable of the file has.
    ///
    /// # Errors
    /// A data error that lists the variables there are.
    pub fn find(&self, names: &[&str]) -> Result<Variable> {
        let found = names.iter().find_map(|name| self.file.variable(name).ok());
        let variable = found.ok_or_else(|| {
            let all = self
                .file
                .variables()
                .map(|all| all.iter().map(NcVariable::name).collect::<Vec<_>>());
            self.wrong(format!(
                "no variable is called {} (there are: {})",
                names.join(" or "),
                all.unwrap_or_default().join(", ")
            ))
        })?;
        let name = variable.name();
        let read = self.file.read_variable_unpacked_masked(name);
        let array =
            read.map_err(|error| self.wrong(format!("'{name}' cannot be read: {error}")))?;
        let unit = variable.attribute("units").and_then(|unit| unit.value.as_string());
        Ok(Variable {
            shape: array.shape().to_vec(),
            axes: variable.dimensions().iter().map(|axis| axis.name.clone()).collect(),
            values: array.iter().map(|&x| if x.is_finite() { x } else { f64::NAN }).collect(),
            unit,
        })
    }

    /// A coordinate: a variable of one axis whose numbers rise or fall without repetition.
    ///
    /// # Errors
    /// A data error when it has other axes, no numbers, a missing one, or repeats or turns back.
    pub fn coordinate(&self, names: &[&str]) -> Result<Vec<f64>> {
        let found = self.find(names)?;
        let name = names[0];
        if found.shape.len() != 1 || found.values.is_empty() {
            return Err(
                self.wrong(format!("the coordinate '{name}' has the shape {:?}", found.shape))
            );
        }
        if let Some(at) = found.values.iter().position(|x| x.is_nan()) {
            return Err(self.wrong(format!(
                "the coordinate '{name}' is missing or not a number at place {at}"
            )));
        }
        let rising = found.values.windows(2).all(|pair| pair[1] > pair[0]);
        let falling = found.values.windows(2).all(|pair| pair[1] < pair[0]);
        if found.values.len() > 1 && !rising && !falling {
            return Err(self.wrong(format!(
                "the coordinate '{name}' repeats or turns back: points of the grid would coincide"
            )));
        }
        Ok(found.values)
    }

    /// A variable over these coordinates, in this order.
    ///
    /// # Errors
    /// A data error when its shape is another one.
    pub fn over(&self, names: &[&str], shape: &[usize]) -> Result<Variable> {
        let found = self.find(names)?;
        if found.shape != shape {
            return Err(self.wrong(format!(
                "'{}' has the shape {:?} over {:?}; its coordinates ask for {shape:?}",
                names[0], found.shape, found.axes
            )));
        }
        Ok(found)
    }
}
