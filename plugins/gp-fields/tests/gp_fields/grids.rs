//! Winds and ERA5: files in their formats, boxes on plane and sphere, what is held out, missing or wrong.

use isotropy_core::{
    Dataset, DatasetConfig, Error, LoadContext, Moves, Result, Split, State, Streams,
};
use isotropy_diffusion::observed;
use isotropy_gp_fields::dataset::globe::EARTH_RADIUS_KM;
use isotropy_gp_fields::dataset::grid_fields::GridFields;
use isotropy_gp_fields::dataset::{Era5Config, WindsConfig};
use netcdf3::{DataSet, FileWriter, Version};
use std::path::Path;
use tch::{Device, Kind, Tensor};
use tempfile::{TempDir, tempdir};

fn context() -> LoadContext {
    tch::set_num_threads(1);
    LoadContext {
        data_dir: std::env::temp_dir().join("isotropy-no-such-folder"),
        kind: Kind::Double,
        device: Device::Cpu,
        streams: Streams::new(5),
    }
}

/// Times, rows and columns of a test file.
const SHAPE: (usize, usize, usize) = (10, 37, 72);

/// A wind at a time, latitude and longitude (degrees).
type Wind = dyn Fn(usize, f64, f64) -> (f32, f32);

/// A file laid out like that of the package, on a grid of 5 degrees that starts at 20 degrees east.
fn write_winds(path: &Path, wind: &Wind) {
    let (times, rows, columns) = SHAPE;
    let latitudes: Vec<f64> = (0..rows).map(|k| -90.0 + 5.0 * k as f64).collect();
    let longitudes: Vec<f64> = (0..columns).map(|k| 20.0 + 5.0 * k as f64).collect();
    write_over(path, times, &latitudes, &longitudes, wind);
}

fn write_over(path: &Path, times: usize, latitudes: &[f64], longitudes: &[f64], wind: &Wind) {
    let mut set = DataSet::new();
    set.add_fixed_dim("FNOCX", longitudes.len()).unwrap();
    set.add_fixed_dim("FNOCY", latitudes.len()).unwrap();
    set.set_unlimited_dim("TIME", times).unwrap();
    for axis in ["FNOCX", "FNOCY", "TIME"] {
        set.add_var_f64(axis, &[axis]).unwrap();
    }
    for name in ["UWND", "VWND"] {
        set.add_var_f32(name, &["TIME", "FNOCY", "FNOCX"]).unwrap();
        set.add_var_attr_f32(name, "missing_value", vec![-99.9]).unwrap();
        set.add_var_attr_string(name, "units", "M/S").unwrap();
    }
    let (mut u, mut v) = (Vec::new(), Vec::new());
    for time in 0..times {
        for latitude in latitudes {
            for longitude in longitudes {
                let (east, north) = wind(time, *latitude, *longitude);
                u.push(east);
                v.push(north);
            }
        }
    }
    let _ = std::fs::remove_file(path);
    let mut writer = FileWriter::create_new(path).unwrap();
    writer.set_def(&set, Version::Classic, 0).unwrap();
    writer.write_var_f64("FNOCX", longitudes).unwrap();
    writer.write_var_f64("FNOCY", latitudes).unwrap();
    let hours: Vec<f64> = (0..times).map(|k| 730.5 * k as f64).collect();
    writer.write_var_f64("TIME", &hours).unwrap();
    writer.write_var_f32("UWND", &u).unwrap();
    writer.write_var_f32("VWND", &v).unwrap();
    writer.close().unwrap();
}

const SMALL: &str = r#""validation_months": 2, "test_months": 3, "box": {"rows": 5, "columns": 7},
    "task": {"context": {"min": 2, "max": 4}}, "unit_m_per_s": 2.0"#;

fn winds(folder: &TempDir, rest: &str) -> Result<GridFields> {
    let json = format!("{{{SMALL}{}{rest}}}", if rest.is_empty() { "" } else { ", " });
    let config: WindsConfig = serde_json::from_str(&json).unwrap();
    config.read(&folder.path().join("winds.cdf"), &context())
}

fn with_winds(wind: &Wind) -> TempDir {
    let folder = tempdir().unwrap();
    write_winds(&folder.path().join("winds.cdf"), wind);
    folder
}

fn batch(data: &dyn Dataset, split: Split, step: u64, size: i64) -> State {
    data.batch(split, step, size, &Streams::new(5)).unwrap()
}

fn given<'a>(state: &'a State, name: &str) -> &'a Tensor {
    &state.given(name).unwrap().tensor
}

fn number(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

fn largest(tensor: &Tensor) -> f64 {
    number(&tensor.abs().max())
}

/// The Earth turning about its axis: `z x p`, east everywhere, with the speed `cos(latitude)`.
fn turning(_: usize, latitude: f64, _: f64) -> (f32, f32) {
    (latitude.to_radians().cos() as f32, 0.0)
}

#[test]
fn on_the_sphere_winds_are_tangent_vectors_of_space() {
    let folder = with_winds(&turning);
    let data = winds(&folder, r#""surface": "sphere""#).unwrap();
    let state = batch(&data, Split::Train, 0, 50);
    assert_eq!(state.x().size(), [50, 35, 3]);
    let p = given(&state, "index");
    assert!(largest(&(p.square().sum_dim_intlist(-1, false, Kind::Double) - 1.0)) < 1e-12);
    assert!(largest(&(state.x() * p).sum_dim_intlist(-1, false, Kind::Double)) < 1e-12);
    let axis = Tensor::from_slice(&[0.0, 0.0, 1.0]).view([1, 1, 3]).expand_as(p);
    // Single precision in the file; a unit of 2 m/s.
    assert!(largest(&(axis.cross(p, -1) / 2.0 - state.x())) < 1e-7);
}

#[test]
fn on_the_plane_distances_are_lengths_and_winds_keep_their_speed() {
    let folder = with_winds(&turning);
    let data = winds(&folder, r#""unit_km": 250.0"#).unwrap();
    let sphere = winds(&folder, r#""surface": "sphere""#).unwrap();
    let (state, globe) = (batch(&data, Split::Train, 3, 40), batch(&sphere, Split::Train, 3, 40));
    assert_eq!(state.x().size(), [40, 35, 2]);
    // The middle node of an odd box is the centre of the chart, up to the curvature of the parallel: rows are symmetric.
    let (x, p) = (given(&state, "index"), given(&globe, "index"));
    let middle = 17;
    assert!(largest(&x.select(1, middle)) < 1e-9);
    let cos = (p * p.narrow(1, middle, 1)).sum_dim_intlist(-1, false, Kind::Double);
    let km = cos.clamp(-1.0, 1.0).acos() * EARTH_RADIUS_KM;
    let length = x.square().sum_dim_intlist(-1, false, Kind::Double).sqrt() * 250.0;
    assert!(largest(&(length - km)) < 1e-3, "distances from the centre in km");
    let speed = |y: &Tensor| y.square().sum_dim_intlist(-1, false, Kind::Double).sqrt();
    assert!(largest(&(speed(state.x()) - speed(globe.x()))) < 1e-12);
    // East is to the right and north is up: a node east of the centre in the same row, one north in the same column.
    assert!(number(&x.select(1, middle + 1).select(1, 0).min()) > 0.0);
    assert!(number(&x.select(1, middle + 7).select(1, 1).min()) > 0.0);
    assert!(largest(&x.select(1, middle + 7).select(1, 0)) < 1e-9);
    // At the centre the wind blows east with the speed cos(latitude) / 2.
    let centre = state.x().select(1, middle);
    assert!(largest(&centre.select(1, 1)) < 1e-12 && number(&centre.select(1, 0).min()) > 0.0);
}

#[test]
fn a_box_may_cross_the_last_longitude() {
    let folder = with_winds(&|_, _, longitude| (longitude as f32, 0.0));
    let data = winds(&folder, r#""surface": "sphere""#).unwrap();
    let plane = winds(&folder, "").unwrap();
    let (state, flat) = (batch(&data, Split::Train, 1, 400), batch(&plane, Split::Train, 1, 400));
    let p = given(&state, "index").view([400, 5, 7, 3]);
    let step = (p.narrow(2, 1, 6) - p.narrow(2, 0, 6))
        .square()
        .sum_dim_intlist(-1, false, Kind::Double)
        .sqrt();
    assert!(number(&step.max()) < 5_f64.to_radians() + 1e-9, "a box is torn apart");
    let x = given(&flat, "index").view([400, 5, 7, 2]).select(3, 0);
    assert!(number(&(x.narrow(2, 1, 6) - x.narrow(2, 0, 6)).min()) > 0.0, "a chart is torn apart");
    // The wind's speed tells the longitude: some boxes do cross.
    let speed = state.x().square().sum_dim_intlist(-1, false, Kind::Double).sqrt() * 2.0;
    let jumps = (speed.amax([1].as_slice(), false) - speed.amin([1].as_slice(), false)).gt(200.0);
    assert!(jumps.sum(Kind::Int64).int64_value(&[]) > 10);
}

#[test]
fn the_last_months_are_held_out() {
    let folder = with_winds(&|time, _, _| (0.0, time as f32));
    let data = winds(&folder, r#""surface": "sphere""#).unwrap();
    let months = |split, size| {
        let state = batch(&data, split, 0, size);
        let speed = state.x().square().sum_dim_intlist(-1, false, Kind::Double).sqrt() * 2.0;
        let month = speed.select(1, 0).round();
        assert!(largest(&(speed - month.unsqueeze(1))) < 1e-6);
        let mut months: Vec<i64> = Vec::try_from(month.to_kind(Kind::Int64)).unwrap();
        months.sort_unstable();
        months.dedup();
        months
    };
    assert_eq!(months(Split::Train, 300), [0, 1, 2, 3, 4]);
    assert_eq!(months(Split::Validation, 200), [5, 6]);
    assert_eq!(months(Split::Test, 200), [7, 8, 9]);
    assert_eq!(data.len(Split::Train), None);
    assert_eq!(data.len(Split::Test), Some(256));
}

#[test]
fn known_and_asked_nodes_make_up_the_box_and_do_not_depend_on_the_batch() {
    let folder = with_winds(&|time, latitude, longitude| {
        ((latitude + time as f64) as f32, (longitude / 100.0) as f32)
    });
    let data = winds(&folder, "").unwrap();
    let state = batch(&data, Split::Test, 0, 40);
    assert_eq!((observed::count(&state), state.x().size()[1]), (4, 31));
    let counts = given(&state, "observed_mask").sum_dim_intlist(1, false, Kind::Double);
    assert!(number(&counts.min()) == 2.0 && number(&counts.max()) == 4.0);
    let all = Tensor::cat(&[given(&state, "observed_index"), given(&state, "index")], 1);
    let apart =
        (all.unsqueeze(1) - all.unsqueeze(2)).square().sum_dim_intlist(-1, false, Kind::Double);
    let met = apart.lt(1e-9).sum(Kind::Int64).int64_value(&[]);
    assert_eq!(met, 40 * 35, "a node comes twice");
    let short = data.batch(Split::Test, 3, 7, &Streams::new(99)).unwrap();
    assert_eq!(largest(&(state.x().narrow(0, 21, 7) - short.x())), 0.0);
    assert_eq!(batch(&data, Split::Test, 4, 64).batch_size(), 0);
    // Fewer targets, and conditional training.
    let json =
        r#""counts": {"type": "choices", "of": [9]}, "training_context": {"min": 3, "max": 3}"#;
    let train = batch(&winds(&folder, json).unwrap(), Split::Train, 0, 6);
    assert_eq!((observed::count(&train), train.x().size()[1]), (3, 9));
    assert!(train.mask().is_none());
}

#[test]
fn missing_values_are_masked_and_carry_nothing() {
    let folder = with_winds(&|time, latitude, longitude| {
        let gap = (longitude as i64 / 5 + latitude as i64 / 5 + time as i64) % 4 == 0;
        if gap { (-99.9, 1.0) } else { (2.0, f32::INFINITY.min(3.0)) }
    });
    let data = winds(&folder, "").unwrap();
    let state = batch(&data, Split::Train, 0, 60);
    let mask = state.mask().unwrap();
    let share = number(&mask.mean(Kind::Double));
    assert!((share - 0.75).abs() < 0.02, "{share} of the nodes are there");
    let facts: std::collections::BTreeMap<String, f64> = data.facts().into_iter().collect();
    let counted = facts["missing values"] / facts["values"];
    assert!((counted - 0.25).abs() < 0.01, "{facts:?}");
    let speed = state.x().square().sum_dim_intlist(-1, false, Kind::Double).sqrt();
    assert_eq!(largest(&(&speed * mask.eq(0.0))), 0.0, "a missing value shows");
    let expected = 13_f64.sqrt() / 2.0;
    assert!(largest(&((&speed - expected) * mask)) < 1e-6);
    let test = batch(&data, Split::Test, 0, 40);
    let (known, value) = (given(&test, "observed_mask"), given(&test, "observed_value"));
    assert_eq!(
        largest(&(value.square().sum_dim_intlist(-1, false, Kind::Double) * known.eq(0.0))),
        0.0
    );
    assert!(
        number(&known.sum_dim_intlist(1, false, Kind::Double).min()) < 2.0,
        "known nodes can be missing"
    );
    let folder = with_winds(&|_, _, _| (-99.9, 1.0));
    let error = winds(&folder, "").unwrap_err();
    assert!(
        error.to_string().contains("every value is missing") && error.exit_code() == 3,
        "{error}"
    );
}

#[test]
fn poles_are_left_out_and_latitudes_can_be_chosen() {
    let folder = with_winds(&|_, latitude, _| (0.0, latitude as f32));
    let data =
        winds(&folder, r#""surface": "sphere", "south_degrees": -90.0, "north_degrees": 90.0"#)
            .unwrap();
    let z = given(&batch(&data, Split::Train, 0, 500), "index").select(2, 2).asin()
        * (180.0 / std::f64::consts::PI);
    assert!((number(&z.max()) - 85.0).abs() < 1e-9 && (number(&z.min()) + 85.0).abs() < 1e-9);
    let data =
        winds(&folder, r#""surface": "sphere", "south_degrees": 10.0, "north_degrees": 30.0"#)
            .unwrap();
    let z = given(&batch(&data, Split::Train, 0, 500), "index").select(2, 2).asin()
        * (180.0 / std::f64::consts::PI);
    assert!((number(&z.max()) - 30.0).abs() < 1e-9 && (number(&z.min()) - 10.0).abs() < 1e-9);
}

#[test]
fn wrong_wind_files_are_data_errors_that_name_the_file() {
    let folder = with_winds(&turning);
    let path = folder.path().join("winds.cdf");
    let whole = std::fs::read(&path).unwrap();
    let fails = |what: &str| {
        let error = winds(&folder, "").unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error}");
        assert!(
            error.to_string().contains("winds.cdf") && error.to_string().contains(what),
            "{error}"
        );
    };
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    fails("the file has only");
    std::fs::write(&path, b"no NetCDF at all").unwrap();
    fails("no NetCDF file");
    let mut renamed = whole.clone();
    let at = renamed.windows(4).position(|w| w == b"VWND").unwrap();
    renamed[at] = b'W';
    std::fs::write(&path, &renamed).unwrap();
    fails("VWND");
    let grid = |latitudes: &[f64]| write_over(&path, 10, latitudes, &[20.0, 25.0, 30.0], &turning);
    grid(&[0.0, 5.0, 5.0, 10.0]);
    fails("repeats or turns back");
    grid(&[0.0, 5.0, 3.0, 10.0]);
    fails("repeats or turns back");
    grid(&[0.0, f64::NAN, 5.0, 10.0]);
    fails("not a number");
}

#[test]
fn wrong_box_settings_are_refused_where_they_stand() {
    let folder = with_winds(&turning);
    for (rest, place) in [
        (r#""test_months": 9"#, "/validation_months"),
        (r#""test_months": 10"#, "/test_months"),
        (r#""box": {"rows": 40, "columns": 2}"#, "/box/rows"),
        (r#""box": {"rows": 2, "columns": 80}"#, "/box/columns"),
        (r#""task": {"context": {"min": 35, "max": 35}}"#, "/task/context/max"),
        (r#""task": {"context": {"min": 5, "max": 5}, "targets": 31}"#, "/task/context/max"),
        (r#""task": {"context": {"min": 0, "max": 5}, "targets": 0}"#, "/task/targets"),
        (r#""counts": {"type": "choices", "of": [36]}"#, "/counts/of"),
        (r#""training_context": {"min": 0, "max": 35}"#, "/training_context/max"),
        (r#""south_degrees": 11.0, "north_degrees": 14.0"#, "/south_degrees"),
        (r#""unit_km": 0.0"#, "/unit_km"),
        (r#""unit_m_per_s": -1.0"#, "/unit_m_per_s"),
    ] {
        // A later key replaces an earlier one in the text, not in JSON: take the earlier out.
        let key = rest.split('"').nth(1).unwrap();
        let mut config =
            serde_json::from_str::<serde_json::Value>(&format!("{{{SMALL}}}")).unwrap();
        config.as_object_mut().unwrap().remove(key);
        for (key, value) in serde_json::from_str::<serde_json::Value>(&format!("{{{rest}}}"))
            .unwrap()
            .as_object()
            .unwrap()
        {
            config[key] = value.clone();
        }
        let config: WindsConfig = serde_json::from_value(config).unwrap();
        match config.read(&folder.path().join("winds.cdf"), &context()).unwrap_err() {
            Error::Config { pointer, .. } => assert_eq!(pointer, place, "{rest}"),
            other => panic!("{rest}: {other}"),
        }
    }
}

#[test]
fn missing_files_name_what_brings_them() {
    let error = |json: &str| {
        let config: Box<dyn DatasetConfig> = serde_json::from_str(json).unwrap();
        config.load(&context()).map(|_| ()).unwrap_err()
    };
    let winds = error(r#"{"type": "winds"}"#);
    assert!(winds.help().unwrap_or_default().contains("runner data fetch winds"), "{winds}");
    let era5 = error(r#"{"type": "era5"}"#);
    assert!(era5.help().unwrap_or_default().contains("*.nc"), "{era5}");
}

/// The numbers of `era5-small.nc`: `sp`, `t2m`, `u10`, `v10` at place `k` of 6 x 5 x 4.
fn small(k: usize) -> [f64; 4] {
    let x = k as f64;
    [100_000.0 + 10.0 * x, 280.0 + 0.125 * x, 3.0 + x.sin(), (2.0 * x).cos()]
}

/// A folder with the small file, in NetCDF-4 as the Climate Data Store has delivered since 2024 (written by the netCDF
/// library: compressed in chunks, pressure packed in 16 bits).
fn era5_folder() -> TempDir {
    let folder = tempdir().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/era5-small.nc");
    std::fs::copy(file, folder.path().join("b.nc")).unwrap();
    folder
}

/// The same numbers as classic NetCDF with packed integers, as delivered before 2024.
fn write_classic(path: &Path, times: usize) {
    let mut set = DataSet::new();
    set.add_fixed_dim("longitude", 4).unwrap();
    set.add_fixed_dim("latitude", 5).unwrap();
    set.set_unlimited_dim("time", times).unwrap();
    set.add_var_f32("longitude", &["longitude"]).unwrap();
    set.add_var_f32("latitude", &["latitude"]).unwrap();
    set.add_var_i32("time", &["time"]).unwrap();
    set.add_var_attr_string("time", "units", "hours since 1900-01-01 00:00:00.0").unwrap();
    // Ranges of the four channels, packed into 16 bits.
    let packing = [(0.05, 100_600.0), (0.001, 287.0), (1e-4, 3.0), (1e-4, 0.0)];
    let names = ["sp", "t2m", "u10", "v10"];
    for (name, (scale, offset)) in names.iter().zip(packing) {
        set.add_var_i16(name, &["time", "latitude", "longitude"]).unwrap();
        set.add_var_attr_f64(name, "scale_factor", vec![scale]).unwrap();
        set.add_var_attr_f64(name, "add_offset", vec![offset]).unwrap();
        set.add_var_attr_i16(name, "_FillValue", vec![-32767]).unwrap();
    }
    let mut writer = FileWriter::create_new(path).unwrap();
    writer.set_def(&set, Version::Offset64Bit, 0).unwrap();
    let longitudes: Vec<f32> = (0..4).map(|k| -96.0 + 0.25 * k as f32).collect();
    let latitudes: Vec<f32> = (0..5).map(|k| 40.0 - 0.25 * k as f32).collect();
    writer.write_var_f32("longitude", &longitudes).unwrap();
    writer.write_var_f32("latitude", &latitudes).unwrap();
    let hours: Vec<i32> = (0..times as i32).collect();
    writer.write_var_i32("time", &hours).unwrap();
    for (channel, (name, (scale, offset))) in names.iter().zip(packing).enumerate() {
        let packed: Vec<i16> = (0..times * 20)
            .map(|k| {
                if (channel, k) == (3, 86) {
                    -32767
                } else {
                    ((small(k)[channel] - offset) / scale).round() as i16
                }
            })
            .collect();
        writer.write_var_i16(name, &packed).unwrap();
    }
    writer.close().unwrap();
}

fn era5(folder: &TempDir, rest: &str) -> Result<GridFields> {
    let mut config: Era5Config =
        serde_json::from_str(&format!(r#"{{"train_times": 3{rest}}}"#)).unwrap();
    if !rest.contains("validation_times") {
        config.validation_times = 0;
    }
    config.read(folder.path(), &context())
}

#[test]
fn era5_is_standardised_so_that_rotations_survive() {
    let folder = era5_folder();
    let data = era5(&folder, "").unwrap();
    let state = batch(&data, Split::Train, 0, 200);
    assert_eq!(state.x().size(), [200, 20, 4]);
    // Independent statistics over the first three times.
    let rows: Vec<[f64; 4]> = (0..60).map(small).collect();
    let mean = |f: &dyn Fn(&[f64; 4]) -> f64| rows.iter().map(f).sum::<f64>() / 60.0;
    let moments = |c: usize| {
        let m = mean(&|r| r[c]);
        (m, mean(&|r| (r[c] - m).powi(2)).sqrt())
    };
    let wind = (mean(&|r| r[2] * r[2] + r[3] * r[3]) / 2.0).sqrt();
    let x = state.x();
    for c in 0..2 {
        let (m, s) = moments(c);
        // The first node identifies the time: its pressure grows by 200 a time.
        let pressure = x.select(2, c as i64) * s + m;
        let step = if c == 0 { 10.0 } else { 0.125 };
        let along = &pressure - pressure.narrow(1, 0, 1);
        let expected = Tensor::arange(20, (Kind::Double, Device::Cpu)) * step;
        assert!(largest(&(along - expected)) < 2e-2 * step.max(1.0), "channel {c}");
        assert!(number(&x.select(2, c as i64).mean(Kind::Double)).abs() < 0.3);
    }
    // One scale for the wind and no centring: speeds are those of the file over the scale.
    let speed = x.narrow(2, 2, 2).square().sum_dim_intlist(-1, false, Kind::Double).sqrt() * wind;
    let k = ((x.select(2, 0) * moments(0).1 + moments(0).0 - 100_000.0) / 10.0).round();
    let expected = ((k.sin() + 3.0).square() + (&k * 2.0).cos().square()).sqrt();
    assert!(largest(&(speed - expected)) < 1e-5);
    // A degree of latitude is 111.19 km; the unit is 100 km.
    let y = given(&state, "index").select(2, 1).view([200, 5, 4]);
    let height = y.select(1, 0).select(1, 1) - y.select(1, 4).select(1, 1);
    assert!(largest(&(&height - 1.1119)) < 1e-3, "{height}");
    assert_eq!(state.value.moves, Moves::Scalar);
    let vectors = era5(&folder, r#", "variables": "wind""#).unwrap();
    let vectors = batch(&vectors, Split::Train, 0, 3);
    assert_eq!((vectors.x().size()[2], vectors.value.moves), (2, Moves::Vector));
    // The value missing at time 4 is masked in the test split alone.
    assert_eq!(number(&state.mask().unwrap().min()), 1.0);
    let test = batch(&data, Split::Test, 0, 100);
    let missing = test.mask().unwrap().eq(0.0).sum_dim_intlist(1, false, Kind::Double);
    assert!(number(&missing.max()) == 1.0 && number(&missing.min()) == 0.0);
}

#[test]
fn the_published_standardisation_takes_each_channel_by_itself() {
    let folder = era5_folder();
    let data = era5(&folder, r#", "standardisation": "published-per-channel""#).unwrap();
    let state = batch(&data, Split::Train, 0, 600);
    let x = state.x().reshape([-1, 4]);
    // Each of three times comes 200 times in 600, up to chance.
    assert!(largest(&x.mean_dim([0].as_slice(), false, None)) < 0.15);
    assert!(largest(&(x.std_dim([0].as_slice(), true, false) - 1.0)) < 0.1);
    let index = given(&state, "index").get(0);
    assert!(largest(&index.mean_dim([0].as_slice(), false, None)) < 1e-9);
    assert!(largest(&(index.std_dim([0].as_slice(), false, false) - 1.0)) < 1e-9);
}

#[test]
fn classic_and_new_era5_files_hold_the_same_and_can_be_mixed() {
    let new = era5_folder();
    let old = tempdir().unwrap();
    write_classic(&old.path().join("a.nc"), 6);
    let (a, b) = (era5(&new, "").unwrap(), era5(&old, "").unwrap());
    for split in [Split::Train, Split::Test] {
        let (a, b) = (batch(&a, split, 0, 30), batch(&b, split, 0, 30));
        // What 16 bits leave of the numbers, in standard deviations.
        assert!(largest(&(a.x() - b.x())) < 2e-3);
        assert!(largest(&(given(&a, "index") - given(&b, "index"))) < 1e-5);
        assert_eq!(largest(&(a.mask().unwrap() - b.mask().unwrap())), 0.0);
    }
    std::fs::copy(old.path().join("a.nc"), new.path().join("a.nc")).unwrap();
    let both = era5(&new, r#", "validation_times": 8"#);
    let both = both.unwrap();
    assert_eq!(both.digests().iter().map(|d| d.0.as_str()).collect::<Vec<_>>(), ["a.nc", "b.nc"]);
    let error = era5(&new, r#", "validation_times": 9"#).unwrap_err();
    assert!(error.to_string().contains("12"), "{error}");
}
