//! Reading NetCDF files: classic (versions 1, 2, 5) and NetCDF-4.

use isotropy_core::{Error, Result};
use isotropy_data::digest::sha256;
use netcdf_reader::masked::MaskParams;
use netcdf_reader::unpack::{SignParams, UnpackParams};
use netcdf_reader::{NcFile, NcType, NcVariable};
use std::path::{Path, PathBuf};

const HELP: &str = "check the file with `ncdump -h`";

/// An open file.
pub struct NetCdf {
    path: PathBuf,
    digest: String,
    file: NcFile,
}

impl NetCdf {
    /// Opens a file and takes its digest.
    ///
    /// # Errors
    /// A data error when it cannot be read or is not NetCDF.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|reason| {
            let message = format!("{}: {reason}", path.display());
            Error::data(message, "give a file that can be read, or take it out")
        })?;
        let digest = sha256(&bytes);
        let file = NcFile::from_vec(bytes).map_err(|error| {
            Error::data(
                format!("{}: no NetCDF file that can be read: {error}", path.display()),
                HELP,
            )
        })?;
        Ok(Self { path: path.to_path_buf(), digest, file })
    }

    /// Name of the file without its folder.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Name and SHA-256 of the file.
    pub fn digest(&self) -> (String, String) {
        (self.name(), self.digest.clone())
    }

    /// An error about this file.
    pub fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::data(format!("{}: {what}", self.path.display()), HELP)
    }

    /// All variables.
    ///
    /// # Errors
    /// A data error when they cannot be listed.
    pub fn variables(&self) -> Result<&[NcVariable]> {
        self.file
            .variables()
            .map_err(|error| self.wrong(format!("its variables cannot be read: {error}")))
    }

    /// The first of several names that a variable of the file has.
    ///
    /// # Errors
    /// A data error that lists the variables there are.
    pub fn find(&self, names: &[&str]) -> Result<&NcVariable> {
        let variables = self.variables()?;
        let found = names.iter().find_map(|name| variables.iter().find(|v| v.name() == *name));
        found.ok_or_else(|| {
            let all: Vec<&str> = variables.iter().map(NcVariable::name).collect();
            self.wrong(format!(
                "no variable is called {} (there are: {})",
                names.join(" or "),
                all.join(", ")
            ))
        })
    }

    /// The numbers of a variable, row-major: unpacked (`_Unsigned`, `scale_factor`, `add_offset`),
    /// NaN where the file says that one is missing (`_FillValue`, `missing_value`, the fill value
    /// of the format, `valid_range` and its kin) or where it is not finite.
    ///
    /// # Errors
    /// A data error when it cannot be read, or when what it says of its packing is no number.
    pub fn values(&self, variable: &NcVariable) -> Result<Vec<f64>> {
        let name = variable.name();
        for attribute in NUMERIC {
            if variable.attribute(attribute).is_some_and(|found| found.value.as_f64().is_none()) {
                return Err(self.wrong(format!("'{name}': its {attribute} is no number")));
            }
        }
        let mut data = self
            .file
            .read_variable_as_f64(name)
            .map_err(|error| self.wrong(format!("'{name}' cannot be read: {error}")))?;
        if let Some(sign) = SignParams::from_variable(variable) {
            sign.apply(&mut data);
        }
        let mut mask = MaskParams::from_variable(variable);
        let bounds =
            mask.as_mut().filter(|_| bounds_are_unpacked(variable)).map(|mask| MaskParams {
                fill_value: None,
                missing_values: Vec::new(),
                valid_min: mask.valid_min.take(),
                valid_max: mask.valid_max.take(),
            });
        if let Some(mask) = mask {
            mask.apply(&mut data);
        }
        if let (None, Some(fill)) = (variable.attribute("_FillValue"), fill(variable.dtype())) {
            data.mapv_inplace(|x| if x == fill { f64::NAN } else { x });
        }
        if let Some(packing) = UnpackParams::from_variable(variable) {
            packing.apply(&mut data);
        }
        if let Some(bounds) = bounds {
            bounds.apply(&mut data);
        }
        Ok(data.iter().map(|&x| if x.is_finite() { x } else { f64::NAN }).collect())
    }
}

/// Attributes whose value is a number.
const NUMERIC: [&str; 7] = [
    "scale_factor",
    "add_offset",
    "_FillValue",
    "missing_value",
    "valid_min",
    "valid_max",
    "valid_range",
];

/// A text attribute.
pub fn text(variable: &NcVariable, name: &str) -> Option<String> {
    let text = variable.attribute(name)?.value.as_string()?;
    Some(text.trim_end_matches('\0').trim().to_string())
}

/// Whether `valid_range` and its kin speak of the unpacked numbers: where they are of the kind of
/// the packing and not of the packed integers (NetCDF Users Guide, attribute conventions).
fn bounds_are_unpacked(variable: &NcVariable) -> bool {
    use netcdf_reader::NcAttrValue::{Doubles, Floats};
    let float = |name: &str| {
        let found = variable.attribute(name);
        found.is_some_and(|found| matches!(found.value, Floats(_) | Doubles(_)))
    };
    let packed = !matches!(variable.dtype(), NcType::Float | NcType::Double);
    packed && ["valid_range", "valid_min", "valid_max"].into_iter().any(float)
}

/// What the format fills places with that were never written.
fn fill(dtype: &NcType) -> Option<f64> {
    match dtype {
        NcType::Float | NcType::Double => Some(9.969_209_968_386_869e36),
        NcType::Short => Some(-32_767.0),
        NcType::UShort => Some(65_535.0),
        NcType::Int => Some(-2_147_483_647.0),
        NcType::UInt => Some(4_294_967_295.0),
        NcType::Int64 => Some(-9_223_372_036_854_775_806.0),
        NcType::UInt64 => Some(18_446_744_073_709_551_614.0),
        _ => None,
    }
}
