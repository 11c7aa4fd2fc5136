//! The dataset `winds`: monthly surface winds on the globe, 1982 to 1992.

use super::counts::{CountsConfig, Range as CountRange};
use super::fields::{Fields, plain_unit};
use super::functions::default_seed;
use super::grid_fields::{BoxProtocol, BoxTask, GridFields, held_out};
use super::snapshots::{Snapshots, Surface, Window};
use crate::source;
use isotropy_core::{
    Dataset, DatasetConfig, Error, LoadContext, Moves, Result, StateSpec, component, config,
};
use isotropy_data::source as data_source;
use std::path::Path;

/// Monthly mean surface winds (FNOC analysis, 132 months on a grid of 2.5 degrees), in boxes of the grid at random
/// places; `runner data fetch winds` brings them. The last months are held out. Winds are divided by one number for both
/// components and not centred, so that turning a field gives a field of the same kind.
#[config]
#[derive(Clone)]
pub struct WindsConfig {
    /// On the plane, in units of length and speed, or on the unit sphere.
    #[serde(default)]
    pub surface: Surface,
    /// Size of a box, in nodes of 2.5 degrees.
    #[serde(default, rename = "box")]
    pub window: WindowConfig,
    /// The southernmost latitude of a box, degrees. The poles are never part of one.
    #[serde(default = "south")]
    #[schemars(range(min = -90.0, max = 90.0))]
    pub south_degrees: f64,
    /// The northernmost latitude of a box, degrees.
    #[serde(default = "north")]
    #[schemars(range(min = -90.0, max = 90.0))]
    pub north_degrees: f64,
    /// The unit of length on the plane, km.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1e-3, max = 1e6))]
    pub unit_km: f64,
    /// The unit of speed, m/s. 3.78 is the root of the mean square of a component in the training months between 60 S
    /// and 60 N, weighted by area.
    #[serde(default = "speed")]
    #[schemars(range(min = 1e-3, max = 1e3))]
    pub unit_m_per_s: f64,
    /// At how many nodes training sees a box; null for all of them.
    #[serde(default)]
    pub counts: Option<CountsConfig>,
    /// Known nodes beside them, for conditional training; null for training on the joint law alone.
    #[serde(default)]
    pub training_context: Option<CountRange>,
    /// What is asked of the test boxes; null for boxes of which nothing is known.
    #[serde(default = "five_percent")]
    pub task: Option<BoxTask>,
    /// Months held out for the validation loss, before those for testing.
    #[serde(default = "year")]
    #[schemars(range(min = 0, max = 131))]
    pub validation_months: i64,
    /// Months at the end held out for testing.
    #[serde(default = "two_years")]
    #[schemars(range(min = 0, max = 131))]
    pub test_months: i64,
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

/// Size of a box in nodes of the grid.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WindowConfig {
    /// Latitudes.
    #[schemars(range(min = 1, max = 10_000))]
    pub rows: i64,
    /// Longitudes.
    #[schemars(range(min = 1, max = 10_000))]
    pub columns: i64,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self { rows: 13, columns: 13 }
    }
}

impl WindowConfig {
    pub(super) fn window(self) -> Window {
        Window { rows: self.rows, columns: self.columns }
    }
}

fn south() -> f64 {
    -60.0
}

fn north() -> f64 {
    60.0
}

fn thousand() -> f64 {
    1000.0
}

fn speed() -> f64 {
    3.78
}

fn year() -> i64 {
    12
}

fn two_years() -> i64 {
    24
}

pub(super) fn boxes() -> i64 {
    256
}

/// 8 of 169 nodes.
fn five_percent() -> Option<BoxTask> {
    Some(BoxTask { context: CountRange { min: 8, max: 8 }, targets: None })
}

/// Months in the file.
const MONTHS: i64 = 132;

impl WindsConfig {
    fn moves(&self) -> Moves {
        match self.surface {
            Surface::Plane | Surface::Sphere => Moves::Vector,
            Surface::PublishedDegrees => Moves::Scalar,
        }
    }

    fn protocol(&self, months: i64) -> Result<BoxProtocol> {
        let held_out = held_out(
            months,
            (self.validation_months, "/validation_months"),
            (self.test_months, "/test_months"),
        )?;
        let protocol = BoxProtocol {
            window: self.window.window(),
            surface: self.surface,
            unit_km: self.unit_km,
            counts: self.counts.clone(),
            training_context: self.training_context,
            task: self.task,
            times: held_out,
            validation: self.validation,
            test: self.test,
            seed: self.seed,
        };
        protocol.check()?;
        if !(self.unit_m_per_s.is_finite() && self.unit_m_per_s > 0.0) {
            return Err(Error::config("/unit_m_per_s", "the unit of speed must be positive"));
        }
        Ok(protocol)
    }

    /// Reads a file laid out like that of the package: `UWND` and `VWND` in m/s over time, latitude
    /// and longitude.
    ///
    /// # Errors
    /// A data error that names the file and what is wrong with it; `Config` when boxes do not fit.
    pub fn read(&self, path: &Path, context: &LoadContext) -> Result<GridFields> {
        let fields = Fields::read(path, &[&["UWND"], &["VWND"]])?;
        let others = fields.units.iter().flatten().filter(|unit| plain_unit(unit) != "ms-1");
        if let Some(unit) = others.into_iter().next() {
            return Err(fields.wrong(format!("the wind has the unit '{unit}', not m/s")));
        }
        let protocol = self.protocol(fields.len())?;
        let Fields { values, latitudes, longitudes, digests, .. } = fields;
        let snapshots = Snapshots::new(values / self.unit_m_per_s, &latitudes, &longitudes, true);
        let rows =
            snapshots.rows_between(self.south_degrees, self.north_degrees, "/south_degrees")?;
        GridFields::new(snapshots, rows, protocol, self.moves(), digests, context)
    }
}

#[component(
    "winds",
    "monthly surface winds on the globe, in boxes of the plane or on the sphere",
    r#"{"type": "winds"}"#
)]
impl DatasetConfig for WindsConfig {
    fn spec(&self) -> Result<StateSpec> {
        Ok(self.protocol(MONTHS)?.spec(self.surface.components(), self.moves()))
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        let folder = context.data_dir.join(source::WINDS);
        let path = folder.join(source::FILE.name);
        if !path.is_file() {
            // The error that names the command. A damaged file is named by reading it.
            data_source::folder(&context.data_dir, source::WINDS)?;
        }
        Ok(Box::new(self.read(&path, context)?))
    }
}
