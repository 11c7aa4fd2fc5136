//! What NetCDF files say of their axes, times, units and missing values is used, or refused by
//! name.

use isotropy_core::{Dataset, LoadContext, Split, Streams};
use isotropy_gp_fields::dataset::fields::Fields;
use isotropy_gp_fields::dataset::{Era5Config, WindsConfig};
use netcdf3::{DataSet, FileWriter, Version};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};
use tempfile::{TempDir, tempdir};

/// A folder that goes away with its owner.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempdir().unwrap())
    }

    fn write(&self, name: &str, file: &File) -> PathBuf {
        let path = self.0.path().join(name);
        file.write(&path);
        path
    }

    fn refuse(&self, file: &File) -> String {
        let path = self.write("refused.nc", file);
        let error = Fields::read(&path, &[&["t2m"]]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("refused.nc"), "{error}");
        error.to_string()
    }
}

/// A coordinate: its numbers, and its attributes.
#[derive(Clone)]
struct Axis {
    name: String,
    values: Vec<f64>,
    attributes: Vec<(String, String)>,
}

fn axis(name: &str, values: &[f64], attributes: &[(&str, &str)]) -> Axis {
    let attributes = attributes.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    Axis { name: name.into(), values: values.to_vec(), attributes }
}

/// A classic file of the variables `t2m`, `sp`, `u10` and `v10`. A value is 1000 times + 10
/// latitudes + longitudes (of the numbers that `meant` makes of the coordinates), so that it tells
/// its place.
#[derive(Clone)]
struct File {
    axes: Vec<Axis>,
    /// Which of the axes are time, latitude and longitude.
    roles: [usize; 3],
    units: Vec<(String, String)>,
}

const TIMES: [f64; 3] = [0.0, 1.0, 2.0];
const NORTH: [f64; 3] = [10.0, 5.0, 0.0];
const EAST: [f64; 3] = [20.0, 21.0, 22.0];

fn plain() -> File {
    File {
        axes: vec![axis("time", &TIMES, &[]), axis("lat", &NORTH, &[]), axis("lon", &EAST, &[])],
        roles: [0, 1, 2],
        units: Vec::new(),
    }
}

fn value(time: f64, latitude: f64, longitude: f64) -> f64 {
    1000.0 * time + 10.0 * latitude + longitude
}

impl File {
    fn with(mut self, number: usize, axis: Axis) -> Self {
        self.axes[number] = axis;
        self
    }

    fn time(self, values: &[f64], units: &str, calendar: &str) -> Self {
        let attributes = [("units", units), ("calendar", calendar)];
        let kept = attributes.into_iter().filter(|(_, value)| !value.is_empty());
        self.with(0, axis("time", values, &kept.collect::<Vec<_>>()))
    }

    fn write(&self, path: &Path) {
        let mut set = DataSet::new();
        for axis in &self.axes {
            set.add_fixed_dim(&axis.name, axis.values.len()).unwrap();
            set.add_var_f64(&axis.name, &[&axis.name]).unwrap();
            for (name, value) in &axis.attributes {
                set.add_var_attr_string(&axis.name, name, value).unwrap();
            }
        }
        let names: Vec<&str> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
        let mut values = vec![vec![]];
        for axis in &self.axes {
            let longer = |place: &Vec<f64>| {
                let place = place.clone();
                let with = move |&x: &f64| [place.clone(), vec![x]].concat();
                axis.values.iter().map(with).collect::<Vec<_>>()
            };
            values = values.iter().flat_map(longer).collect();
        }
        let [t, y, x] = self.roles;
        let numbers: Vec<f64> =
            values.iter().map(|at| value(at[t], at[y], (at[x] + 720.0) % 360.0)).collect();
        for name in ["t2m", "sp", "u10", "v10"] {
            set.add_var_f64(name, &names).unwrap();
        }
        for (name, unit) in &self.units {
            set.add_var_attr_string(name, "units", unit).unwrap();
        }
        let _ = std::fs::remove_file(path);
        let mut writer = FileWriter::create_new(path).unwrap();
        writer.set_def(&set, Version::Classic, 0).unwrap();
        for axis in &self.axes {
            writer.write_var_f64(&axis.name, &axis.values).unwrap();
        }
        for name in ["t2m", "sp", "u10", "v10"] {
            writer.write_var_f64(name, &numbers).unwrap();
        }
        writer.close().unwrap();
    }
}

fn read(path: &Path) -> Fields {
    Fields::read(path, &[&["t2m"]]).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether every value stands where its coordinates say, for times 0, 1, 2, ... or those given.
fn in_place(fields: &Fields, times: &[f64]) {
    let numbers: Vec<f64> = Vec::try_from(fields.values.reshape([-1])).unwrap();
    let mut expected = Vec::new();
    for time in times {
        for latitude in &fields.latitudes {
            let at = |x: &f64| value(*time, *latitude, (x + 720.0) % 360.0);
            expected.extend(fields.longitudes.iter().map(at));
        }
    }
    assert_eq!(numbers, expected);
}

#[test]
fn axes_are_known_by_name_and_attribute_in_any_order() {
    let folder = Folder::new();
    let plain_axes = plain().axes;
    for roles in [[0, 1, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1], [1, 0, 2]] {
        // Axis `roles[k]` of the file is time, latitude, longitude for k = 0, 1, 2.
        let mut axes = vec![plain_axes[0].clone(); 3];
        for (k, &place) in roles.iter().enumerate() {
            axes[place] = plain_axes[k].clone();
        }
        let path = folder.write("a.nc", &File { axes, roles, ..plain() });
        let fields = read(&path);
        assert_eq!(
            (fields.latitudes.as_slice(), fields.longitudes.as_slice()),
            (&NORTH[..], &EAST[..])
        );
        in_place(&fields, &TIMES);
    }
    // Names that say nothing, attributes that do, one kind at a time.
    for attributes in [
        [("axis", "T"), ("axis", "Y"), ("axis", "X")],
        [("standard_name", "time"), ("standard_name", "latitude"), ("standard_name", "longitude")],
        [("units", "days since 2000-01-01"), ("units", "degrees_north"), ("units", "degreesE")],
    ] {
        let named = |k: usize, name: &str| axis(name, &plain_axes[k].values, &attributes[k..=k]);
        let axes = vec![named(2, "a"), named(0, "b"), named(1, "c")];
        in_place(&read(&folder.write("a.nc", &File { axes, roles: [1, 2, 0], ..plain() })), &TIMES);
    }
    // An axis of one node more is no harm, one of two nodes is.
    let mut file = plain();
    file.axes.insert(1, axis("number", &[0.0], &[]));
    file.roles = [0, 2, 3];
    in_place(&read(&folder.write("a.nc", &file)), &TIMES);
    file.axes[1].values.push(1.0);
    assert!(folder.refuse(&file).contains("the axis 'number' of 't2m' (2 nodes)"));
}

#[test]
fn axes_that_contradict_themselves_or_say_nothing_are_refused() {
    let folder = Folder::new();
    let latitude = |attributes: &[(&str, &str)]| plain().with(1, axis("lat", &NORTH, attributes));
    for (attributes, what) in [
        ([("units", "degrees_east")], "a longitude by its units and a latitude by its name"),
        ([("axis", "X")], "a longitude by its axis and a latitude by its name"),
        ([("standard_name", "grid_latitude")], "something else by its standard_name"),
        ([("units", "radians")], "has the unit 'radians', not degrees"),
    ] {
        let text = folder.refuse(&latitude(&attributes));
        assert!(text.contains(what), "{text}");
    }
    let beyond = plain().with(1, axis("lat", &[89.0, 90.0, 91.0], &[]));
    assert!(folder.refuse(&beyond).contains("91, beyond a pole"));
    let nameless = plain().with(2, axis("i", &EAST, &[]));
    assert!(folder.refuse(&nameless).contains("the axis 'i'"));
    let two = plain().with(2, axis("longitude", &EAST, &[("units", "degrees_north")]));
    assert!(folder.refuse(&two).contains("'longitude' is a latitude by its units"));
    let twice = plain().with(2, axis("b", &EAST, &[("axis", "Y")]));
    assert!(folder.refuse(&twice).contains("two axes of one kind: lat and b"));
}

#[test]
fn longitudes_go_on_counting_over_the_seam() {
    let folder = Folder::new();
    let read = |longitudes: &[f64]| {
        read(&folder.write("a.nc", &plain().with(2, axis("lon", longitudes, &[]))))
    };
    for (stored, meant) in [
        (&[350.0, 355.0, 0.0, 5.0][..], &[350.0, 355.0, 360.0, 365.0][..]),
        (&[175.0, 180.0, -175.0], &[175.0, 180.0, 185.0]),
        (&[5.0, 0.0, 355.0], &[5.0, 0.0, -5.0]),
        (&[22.0, 21.0, 20.0], &[22.0, 21.0, 20.0]),
        // A region on both sides of Greenwich, sorted from 0 to 360.
        (&[0.0, 5.0, 350.0, 355.0], &[350.0 - 360.0, 355.0 - 360.0, 0.0, 5.0]),
        // The whole globe is left as it is.
        (&[0.0, 90.0, 180.0, 270.0], &[0.0, 90.0, 180.0, 270.0]),
    ] {
        let fields = read(stored);
        assert_eq!(fields.longitudes, meant, "{stored:?}");
        in_place(&fields, &TIMES);
    }
    let refuse = |longitudes: &[f64]| folder.refuse(&plain().with(2, axis("lon", longitudes, &[])));
    assert!(refuse(&[0.0, 120.0, 240.0, 360.0]).contains("a meridian comes twice"));
    assert!(refuse(&[0.0, 20.0, 10.0]).contains("repeats or turns back"));
    assert!(refuse(&[10.0, 10.0, 20.0]).contains("repeats or turns back"));
    assert!(refuse(&[0.0, 1e30, 2e30]).contains("no longitude"));
}

/// The files of a folder, by name, as one.
fn joined(folder: &Folder, files: &[(&str, File)]) -> isotropy_core::Result<Fields> {
    let read =
        |(name, file): &(&str, File)| Fields::read(&folder.write(name, file), &[&["t2m"]]).unwrap();
    Fields::join(files.iter().map(read).collect())
}

#[test]
fn several_files_are_ordered_by_their_time_stamps() {
    let folder = Folder::new();
    let hours = |values: &[f64], base: &str| plain().time(values, base, "");
    // Whatever the names, the units and the order in a file.
    let fields = joined(
        &folder,
        &[
            ("a.nc", hours(&[48.0, 72.0], "hours since 2000-01-01 00:00:00.0")),
            ("b.nc", hours(&[1.0, 0.0], "days since 2000-01-01")),
            ("c.nc", hours(&[345_600.0], "seconds since 2000-01-01T00:00:00Z")),
        ],
    )
    .unwrap();
    in_place(&fields, &[0.0, 1.0, 48.0, 72.0, 345_600.0]);
    let names: Vec<&str> = fields.digests.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["b.nc", "a.nc", "c.nc"]);
    // Times that interleave are put between one another.
    let day = "days since 2000-01-01";
    let files = [("a.nc", hours(&[0.0, 2.0], day)), ("b.nc", hours(&[1.0, 3.0], day))];
    in_place(&joined(&folder, &files).unwrap(), &[0.0, 1.0, 2.0, 3.0]);
    // Calendars with days that others lack.
    let odd = |calendar: &str, first: f64, second: f64| {
        let a = plain().time(&[first], "days since 2001-02-01", calendar);
        let b = plain().time(&[second], "days since 2001-03-01", calendar);
        joined(&folder, &[("b.nc", b), ("a.nc", a)])
    };
    in_place(&odd("360_day", 29.0, 0.0).unwrap(), &[29.0, 0.0]);
    in_place(&odd("noleap", 27.0, 0.0).unwrap(), &[27.0, 0.0]);
    let error = odd("noleap", 28.0, 0.0).unwrap_err().to_string();
    assert!(error.contains("the time 2001-03-01 00:00:00 is in"), "{error}");
    // Days as digits have no date, and an order all the same.
    let digits = |value: f64| plain().time(&[value], "day as %Y%m%d.%f", "");
    let files = [("a.nc", digits(20_000_102.0)), ("b.nc", digits(20_000_101.5))];
    in_place(&joined(&folder, &files).unwrap(), &[20_000_101.5, 20_000_102.0]);
}

#[test]
fn times_that_come_twice_or_cannot_be_compared_are_refused() {
    let folder = Folder::new();
    let day = "days since 2000-01-01";
    let file = |values: &[f64], units: &str, calendar: &str| plain().time(values, units, calendar);
    let refused = |first: File, second: File| {
        let error = joined(&folder, &[("a.nc", first), ("b.nc", second)]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        error.to_string()
    };
    let text = refused(file(&[0.0, 1.0], day, ""), file(&[24.0], "hours since 2000-01-01", ""));
    assert!(text.contains("2000-01-02 00:00:00 is in a.nc and in b.nc"), "{text}");
    let text = refused(file(&[0.0], day, ""), file(&[40.0], day, "360_day"));
    assert!(text.contains("calendar"), "{text}");
    let text = refused(file(&[0.0], day, ""), file(&[1.0], "", ""));
    assert!(text.contains("numbers of the unit ''"), "{text}");
    let text = folder.refuse(&file(&[0.0, 1.0, 0.0], day, ""));
    assert!(text.contains("2000-01-01 00:00:00 comes twice"), "{text}");
    assert!(folder.refuse(&file(&[0.0], day, "lunar")).contains("unknown calendar 'lunar'"));
    assert!(folder.refuse(&file(&[0.0, f64::NAN], day, "")).contains("not a number at place 1"));
    let celsius = |unit: &str, time: f64| File {
        units: vec![("t2m".into(), unit.into())],
        ..file(&[time], day, "")
    };
    let text = refused(celsius("K", 0.0), celsius("degC", 1.0));
    assert!(text.contains("the unit 'degC' where"), "{text}");
}

#[test]
fn grids_that_are_one_are_put_together_and_others_are_refused() {
    let folder = Folder::new();
    let at = |time: f64, latitudes: &[f64], longitudes: &[f64]| {
        let file = plain().time(&[time], "days since 2000-01-01", "");
        file.with(1, axis("lat", latitudes, &[])).with(2, axis("lon", longitudes, &[]))
    };
    let first = || ("a.nc", at(0.0, &NORTH, &[350.0, 355.0, 0.0]));
    for (latitudes, longitudes) in [
        (&[10.0, 5.0, 0.0], &[-10.0, -5.0, 0.0]),
        (&[0.0, 5.0, 10.0], &[0.0, 355.0, 350.0]),
        (&[0.0, 5.0, 10.0], &[0.0, -5.0, -10.0]),
    ] {
        let second = ("b.nc", at(1.0, latitudes, longitudes));
        let fields = joined(&folder, &[second, first()]).unwrap();
        assert_eq!(fields.longitudes, [350.0, 355.0, 360.0]);
        in_place(&fields, &[0.0, 1.0]);
    }
    for (latitudes, longitudes) in
        [(&[10.0, 5.0, 1.0], &[350.0, 355.0, 0.0]), (&[10.0, 5.0, 0.0], &[351.0, 356.0, 1.0])]
    {
        let second = ("b.nc", at(1.0, latitudes, longitudes));
        let error = joined(&folder, &[first(), second]).unwrap_err().to_string();
        assert!(error.contains("b.nc: its grid differs"), "{error}");
    }
}

/// A file whose `t2m` holds 16-bit integers with attributes.
fn packed(path: &Path, values: &[i16; 4], attributes: &dyn Fn(&mut DataSet)) {
    let mut set = DataSet::new();
    for (name, size) in [("time", 1), ("lat", 2), ("lon", 2)] {
        set.add_fixed_dim(name, size).unwrap();
        set.add_var_f64(name, &[name]).unwrap();
    }
    set.add_var_i16("t2m", &["time", "lat", "lon"]).unwrap();
    attributes(&mut set);
    let _ = std::fs::remove_file(path);
    let mut writer = FileWriter::create_new(path).unwrap();
    writer.set_def(&set, Version::Classic, 0).unwrap();
    writer.write_var_f64("time", &[0.0]).unwrap();
    writer.write_var_f64("lat", &[0.0, 1.0]).unwrap();
    writer.write_var_f64("lon", &[0.0, 1.0]).unwrap();
    writer.write_var_i16("t2m", values).unwrap();
    writer.close().unwrap();
}

#[test]
fn missing_and_packed_values_are_what_the_file_says() {
    let folder = Folder::new();
    let path = folder.0.path().join("a.nc");
    let values = |stored: [i16; 4], attributes: &dyn Fn(&mut DataSet)| -> Vec<Option<f64>> {
        packed(&path, &stored, attributes);
        let numbers: Vec<f64> = Vec::try_from(read(&path).values.reshape([-1])).unwrap();
        numbers.into_iter().map(|x| (!x.is_nan()).then_some(x)).collect()
    };
    let scaled = |set: &mut DataSet| {
        set.add_var_attr_f64("t2m", "scale_factor", vec![0.5]).unwrap();
        set.add_var_attr_f64("t2m", "add_offset", vec![100.0]).unwrap();
    };
    assert_eq!(
        values([0, 1, 2, -9], &|set| {
            scaled(set);
            set.add_var_attr_i16("t2m", "_FillValue", vec![-9]).unwrap();
        }),
        [Some(100.0), Some(100.5), Some(101.0), None]
    );
    assert_eq!(
        values([0, -7, 2, -9], &|set| {
            set.add_var_attr_i16("t2m", "missing_value", vec![-9, -7]).unwrap();
        }),
        [Some(0.0), None, Some(2.0), None]
    );
    // A range in the kind of the integers speaks of them, one in the kind of the packing of what
    // comes out.
    assert_eq!(
        values([0, 1, 2, 3], &|set| {
            scaled(set);
            set.add_var_attr_i16("t2m", "valid_range", vec![1, 2]).unwrap();
        }),
        [None, Some(100.5), Some(101.0), None]
    );
    assert_eq!(
        values([0, 1, 2, 3], &|set| {
            scaled(set);
            set.add_var_attr_f64("t2m", "valid_min", vec![100.5]).unwrap();
            set.add_var_attr_f64("t2m", "valid_max", vec![101.0]).unwrap();
        }),
        [None, Some(100.5), Some(101.0), None]
    );
    assert_eq!(
        values([0, 1, 2, -1], &|set| {
            set.add_var_attr_string("t2m", "_Unsigned", "true").unwrap();
        }),
        [Some(0.0), Some(1.0), Some(2.0), Some(65_535.0)]
    );
    // What was never written.
    assert_eq!(values([0, 1, 2, -32_767], &|_| {}), [Some(0.0), Some(1.0), Some(2.0), None]);
    packed(&path, &[0, 1, 2, 3], &|set| {
        set.add_var_attr_string("t2m", "scale_factor", "0.5").unwrap();
    });
    let error = Fields::read(&path, &[&["t2m"]]).unwrap_err();
    assert!(error.to_string().contains("'t2m': its scale_factor is no number"), "{error}");
}

fn context() -> LoadContext {
    tch::set_num_threads(1);
    LoadContext {
        data_dir: std::env::temp_dir(),
        kind: Kind::Double,
        device: Device::Cpu,
        streams: Streams::new(5),
    }
}

/// Covariance of two lists over the product of their spreads.
fn correlation(a: &Tensor, b: &Tensor) -> f64 {
    let centred = |x: &Tensor| x - x.mean(Kind::Double);
    let (a, b) = (centred(a), centred(b));
    let spread = (a.square().sum(Kind::Double) * b.square().sum(Kind::Double)).sqrt();
    ((a * b).sum(Kind::Double) / spread).double_value(&[])
}

#[test]
fn era5_and_winds_read_transposed_files_as_the_others() {
    let folder = Folder::new();
    let times: Vec<f64> = (0..6).map(|k| k as f64 * 1e-3).collect();
    let axes = vec![
        axis("lon", &EAST, &[]),
        axis("lat", &NORTH, &[]),
        axis("time", &times, &[("units", "days since 2000-01-01")]),
    ];
    let file = File { axes, roles: [2, 1, 0], ..plain() };
    folder.write("a.nc", &file);
    let config = r#"{"train_times": 3, "validation_times": 1, "variables": "numbers",
        "standardisation": "published-per-channel"}"#;
    let config: Era5Config = serde_json::from_str(config).unwrap();
    let data = config.read(folder.0.path(), &context()).unwrap();
    let state = data.batch(Split::Train, 0, 1, &Streams::new(5)).unwrap();
    let index = &state.given("index").unwrap().tensor;
    // Ten times the latitude and once the longitude.
    let along = index.select(2, 1) * 10.0 * 5.0 + index.select(2, 0);
    assert!(correlation(&along, &state.x().select(2, 1)) > 0.999_999);
    // The wind's components must have one unit, and the winds' be m/s.
    let winds = |unit: &str| File {
        units: vec![("u10".into(), "m s**-1".into()), ("v10".into(), unit.into())],
        ..file.clone()
    };
    folder.write("a.nc", &winds("m/s"));
    config.read(folder.0.path(), &context()).unwrap();
    folder.write("a.nc", &winds("km/h"));
    let error = config.read(folder.0.path(), &context()).unwrap_err();
    assert!(error.exit_code() == 3 && error.to_string().contains("different units"), "{error}");
    // Hidden files are no data, links that lead nowhere are refused.
    folder.write("a.nc", &file);
    std::fs::write(folder.0.path().join("._a.nc"), "a Mac's").unwrap();
    config.read(folder.0.path(), &context()).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere.nc", folder.0.path().join("b.nc")).unwrap();
        let error = config.read(folder.0.path(), &context()).unwrap_err();
        assert!(error.exit_code() == 3 && error.to_string().contains("b.nc"), "{error}");
    }
}

/// A file of winds over `axes` whose eastward component is the longitude and whose northward one
/// the latitude.
fn winds(path: &Path, axes: [(&str, &[f64]); 3], unit: &str) {
    let mut set = DataSet::new();
    for (name, values) in axes {
        set.add_fixed_dim(name, values.len()).unwrap();
        set.add_var_f64(name, &[name]).unwrap();
    }
    let names = axes.map(|(name, _)| name);
    for name in ["UWND", "VWND"] {
        set.add_var_f64(name, &names).unwrap();
        set.add_var_attr_string(name, "units", unit).unwrap();
    }
    let _ = std::fs::remove_file(path);
    let mut writer = FileWriter::create_new(path).unwrap();
    writer.set_def(&set, Version::Classic, 0).unwrap();
    for (name, values) in axes {
        writer.write_var_f64(name, values).unwrap();
    }
    for (variable, wanted) in [("UWND", "FNOCX"), ("VWND", "FNOCY")] {
        let mut numbers = Vec::new();
        for a in axes[0].1 {
            for b in axes[1].1 {
                for c in axes[2].1 {
                    let at = names.iter().position(|name| *name == wanted).unwrap();
                    numbers.push([*a, *b, *c][at]);
                }
            }
        }
        writer.write_var_f64(variable, &numbers).unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn winds_are_read_by_the_names_of_their_axes() {
    let folder = Folder::new();
    let path = folder.0.path().join("winds.cdf");
    let degrees = [10.0, 12.5, 15.0, 17.5];
    let months = [0.0, 1.0, 2.0, 3.0];
    let config = r#"{"surface": "published-degrees", "validation_months": 1, "test_months": 1,
        "box": {"rows": 4, "columns": 4}, "task": null, "unit_m_per_s": 1.0}"#;
    let config: WindsConfig = serde_json::from_str(config).unwrap();
    let axes = [("TIME", &months[..]), ("FNOCY", &degrees[..]), ("FNOCX", &degrees[..])];
    for order in [[0, 1, 2], [0, 2, 1], [2, 1, 0]] {
        winds(&path, order.map(|k| axes[k]), "M/S");
        let data = config.read(&path, &context()).unwrap();
        let state = data.batch(Split::Train, 0, 1, &Streams::new(5)).unwrap();
        let index = &state.given("index").unwrap().tensor;
        for k in 0..2 {
            let found = correlation(&index.select(2, k), &state.x().select(2, k));
            assert!(found > 0.999_999, "{order:?} {k}: {found}");
        }
    }
    winds(&path, axes, "knots");
    let error = config.read(&path, &context()).unwrap_err();
    assert!(error.exit_code() == 3 && error.to_string().contains("'knots', not m/s"), "{error}");
}
