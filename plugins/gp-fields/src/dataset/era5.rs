//! The dataset `era5`: hourly surface pressure, temperature and wind from ERA5 files (geomndp.md 2.3).

use super::counts::{CountsConfig, Range as CountRange};
use super::fields::{Fields, same_unit};
use super::functions::default_seed;
use super::grid_fields::{BoxProtocol, BoxTask, GridFields};
use super::snapshots::{Snapshots, Surface, Window};
use super::winds::{WindowConfig, boxes};
use isotropy_core::{
    Dataset, DatasetConfig, Error, LoadContext, Moves, Result, StateSpec, component, config,
};
use isotropy_data::files::list;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Snapshots of a region from ERA5 files (NetCDF, classic or version 4) as the Climate Data Store
/// delivers them: variables `sp`, `t2m`, `u10`, `v10` over time, latitude and longitude, in any
/// order: axes are known by their names and attributes (CF conventions). Files are not downloaded:
/// put those of one region into a folder below the data folder. Their times are put in order,
/// whatever the files are called; a time that comes twice is refused.
///
/// The first times are for training, those after them for validation, the rest for testing.
#[config]
#[derive(Clone)]
pub struct Era5Config {
    /// The folder with the files (`*.nc`, `*.nc4`, `*.cdf`), below the data folder.
    #[serde(default = "era5")]
    pub folder: String,
    /// What the values are.
    #[serde(default)]
    pub variables: Variables,
    /// How they are scaled.
    #[serde(default)]
    pub standardisation: Standardisation,
    /// On the plane, in units of length, or on the unit sphere; unused with the published standardisation.
    #[serde(default)]
    pub surface: Surface,
    /// Size of a box, in nodes of the grid; null for the whole grid.
    #[serde(default, rename = "box")]
    pub window: Option<WindowConfig>,
    /// The unit of length on the plane, km.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1e-3, max = 1e6))]
    pub unit_km: f64,
    /// At how many nodes training sees a box; null for all of them.
    #[serde(default)]
    pub counts: Option<CountsConfig>,
    /// Known nodes beside them, for conditional training; null for training on the joint law alone.
    #[serde(default)]
    pub training_context: Option<CountRange>,
    /// What is asked of the test boxes; null for boxes of which nothing is known, as published.
    #[serde(default)]
    pub task: Option<BoxTask>,
    /// Times for training, from the first.
    #[serde(default = "published_times")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub train_times: i64,
    /// Times after them for the validation loss.
    #[serde(default = "ten_days")]
    #[schemars(range(min = 0, max = 100_000_000))]
    pub validation_times: i64,
    /// Boxes for the validation loss.
    #[serde(default = "boxes")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub validation: i64,
    /// Test boxes.
    #[serde(default = "boxes")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub test: i64,
    /// Seed of the validation and test boxes. The seed of the run does not change them.
    #[serde(default = "default_seed")]
    pub seed: u64,
}

/// What the values at a node are.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Variables {
    /// Pressure, temperature, then the wind. Groups leave the columns of such a mixture as they are: a network that
    /// turns the wind with the space (`"values": "2x0e + 1x1o"`) can be used, but no symmetry can be claimed for it.
    #[default]
    All,
    /// The wind, a vector.
    Wind,
    /// Pressure and temperature, numbers.
    Numbers,
}

/// How values and points are scaled.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Standardisation {
    /// Pressure and temperature by their mean and standard deviation over the training times; both components of the
    /// wind by the root of their mean square, and not centred; points in units of length. Turning a field gives a field
    /// of the same kind.
    #[default]
    Equivariant,
    /// Each of the four channels, and each of longitude and latitude, by its own mean and standard deviation, winds not
    /// turned to the frame of the box: as published. No rotation acts on such fields.
    PublishedPerChannel,
}

fn era5() -> String {
    "era5".into()
}

fn hundred() -> f64 {
    100.0
}

fn published_times() -> i64 {
    3500
}

/// Hours.
fn ten_days() -> i64 {
    240
}

/// Names of a channel in files of different age.
const CHANNELS: [&[&str]; 4] = [&["sp"], &["t2m", "2t"], &["u10", "10u"], &["v10", "10v"]];

impl Era5Config {
    fn surface(&self) -> Surface {
        match self.standardisation {
            Standardisation::Equivariant => self.surface,
            Standardisation::PublishedPerChannel => Surface::PublishedDegrees,
        }
    }

    fn channels(&self) -> i64 {
        match self.variables {
            Variables::All => 2 + self.surface().components(),
            Variables::Wind => self.surface().components(),
            Variables::Numbers => 2,
        }
    }

    fn moves(&self) -> Moves {
        match (self.variables, self.standardisation) {
            (Variables::Wind, Standardisation::Equivariant) => Moves::Vector,
            _ => Moves::Scalar,
        }
    }

    /// How boxes are drawn from a grid of this size; without files a box of 2 x 2 nodes stands for the whole grid.
    fn protocol(&self, window: Window, times: i64) -> Result<BoxProtocol> {
        let (train, validation) = (self.train_times, self.train_times + self.validation_times);
        let protocol = BoxProtocol {
            window,
            surface: self.surface(),
            unit_km: self.unit_km,
            counts: self.counts.clone(),
            training_context: self.training_context,
            task: self.task,
            times: [0..train, train..validation, validation..times.max(validation)],
            validation: self.validation,
            test: self.test,
            seed: self.seed,
        };
        Ok(protocol)
    }

    /// Reads all files of a folder.
    ///
    /// # Errors
    /// A data error that names the file: none there, unreadable, a variable missing or over other
    /// axes, coordinates that repeat or differ between files, a time twice; `Config` when boxes or
    /// times do not fit.
    pub fn read(&self, folder: &Path, context: &LoadContext) -> Result<GridFields> {
        let files = files(folder)?;
        let files = files.iter().map(|path| Fields::read(path, &CHANNELS));
        let fields = Fields::join(files.collect::<Result<_>>()?)?;
        if !same_unit(fields.units[2].as_deref(), fields.units[3].as_deref()) {
            return Err(fields.wrong("the two components of the wind have different units"));
        }
        let Fields { values, latitudes, longitudes, digests, .. } = fields;
        let all = values.size()[0];
        if self.train_times + self.validation_times >= all {
            return Err(Error::config(
                "/train_times",
                format!(
                    "{} training and {} validation times leave none of {all} for testing",
                    self.train_times, self.validation_times
                ),
            ));
        }
        let wind = self.variables != Variables::Numbers;
        let snapshots = Snapshots::new(self.scaled(&values), &latitudes, &longitudes, wind);
        let rows = snapshots.rows_between(-90.0, 90.0, "/box")?;
        let whole = WindowConfig { rows: rows.end - rows.start, columns: snapshots.grid().1 };
        let protocol = self.protocol(self.window.unwrap_or(whole).window(), all)?;
        GridFields::new(snapshots, rows, protocol, self.moves(), digests, context)
    }

    /// The chosen channels, standardised by the training times; the wind last.
    fn scaled(&self, values: &Tensor) -> Tensor {
        let training = values.narrow(0, 0, self.train_times);
        let there = training.isnan().logical_not().to_kind(Kind::Double);
        let count = there.sum_dim_intlist([0, 1, 2].as_slice(), false, Kind::Double).clamp_min(1.0);
        let mean_of = |x: Tensor| {
            x.nan_to_num(0.0, None, None).sum_dim_intlist([0, 1, 2].as_slice(), false, Kind::Double)
                / &count
        };
        let mean = mean_of(training.shallow_clone());
        let std = mean_of((&training - &mean).square()).sqrt();
        let (mean, std) = match self.standardisation {
            Standardisation::PublishedPerChannel => (mean, std),
            Standardisation::Equivariant => {
                let square = mean_of(training.square()).narrow(0, 2, 2).mean(Kind::Double);
                let wind = square.sqrt().view([1]).expand([2], false);
                let zero = wind.zeros_like();
                (
                    Tensor::cat(&[mean.narrow(0, 0, 2), zero], 0),
                    Tensor::cat(&[std.narrow(0, 0, 2), wind], 0),
                )
            }
        };
        // A channel that never changes keeps its unit.
        let std = std.where_self(&std.gt(0.0), &std.ones_like());
        let scaled = (values - mean) / std;
        match self.variables {
            Variables::All => scaled,
            Variables::Wind => scaled.narrow(3, 2, 2),
            Variables::Numbers => scaled.narrow(3, 0, 2),
        }
    }
}

/// The NetCDF files of a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let help = format!("put ERA5 files of one region (`*.nc`) into {}", folder.display());
    if !folder.is_dir() {
        return Err(Error::data(format!("no ERA5 files: {} is no folder", folder.display()), help));
    }
    let found = list(folder, false, &["nc", "nc4", "cdf"])?;
    if found.files.is_empty() {
        return Err(Error::data(format!("no ERA5 files in {}", folder.display()), help));
    }
    Ok(found.files)
}

#[component(
    "era5",
    "surface pressure, temperature and wind from ERA5 files that the user has",
    r#"{"type": "era5"}"#
)]
impl DatasetConfig for Era5Config {
    fn spec(&self) -> Result<StateSpec> {
        let window = self.window.map(WindowConfig::window);
        let protocol = self.protocol(window.unwrap_or(Window { rows: 2, columns: 2 }), 0)?;
        if window.is_some() {
            protocol.check()?;
        }
        Ok(protocol.spec(self.channels(), self.moves()))
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        self.spec()?;
        Ok(Box::new(self.read(&context.data_dir.join(&self.folder), context)?))
    }
}
