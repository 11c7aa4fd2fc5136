//! Metrics against closed forms, and on a model whose symmetry is known.

use crate::process;
use isotropy_core::{
    Error, Evaluation, Field, LoadContext, Measured, MetricConfig, Moves, PlotConfig, Prediction,
    PredictionKind, Result, ScoreModel, Services, State, Streams,
};
use isotropy_images::metric::{psnr, ssim};
use serde_json::{Value, json};
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

fn normal(name: &str, shape: &[i64]) -> Tensor {
    Streams::new(9).stream(name, 0).normal(shape, F64)
}

#[test]
fn psnr_and_ssim_of_constant_images_are_closed_forms() {
    let constant = |value: f64| Tensor::full([2, 3, 16, 16], value, F64);
    let (a, b) = (constant(0.5), constant(0.3));
    let found = psnr(&a, &b, 2.0).double_value(&[1]);
    assert!((found - 10.0 * (4.0_f64 / 0.04).log10()).abs() < 1e-9, "{found}");
    let c1 = 0.02_f64.powi(2);
    let expected = (2.0 * 0.5 * 0.3 + c1) / (0.25 + 0.09 + c1);
    let found = ssim(&a, &b, 2.0).double_value(&[0]);
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    let x = normal("x", &[2, 1, 20, 20]);
    assert!((ssim(&x, &x, 2.0) - 1.0).abs().max().double_value(&[]) < 1e-12);
}

/// The definition, place by place and pixel by pixel.
#[test]
fn ssim_is_its_definition() {
    let (a, b) = (normal("a", &[1, 1, 14, 13]) * 0.3, normal("b", &[1, 1, 14, 13]) * 0.3);
    let b = &a * 0.7 + b * 0.5 + 0.1;
    let at = |x: &Tensor, row: i64, column: i64| x.double_value(&[0, 0, row, column]);
    let weight = |k: i64| (-((k - 5) * (k - 5)) as f64 / 4.5).exp();
    let total: f64 = (0..11).map(weight).sum();
    let (mut sum, mut count) = (0.0, 0.0);
    for row in 0..4 {
        for column in 0..3 {
            let mut moments = [0.0; 5];
            for i in 0..11 {
                for j in 0..11 {
                    let w = weight(i) * weight(j) / (total * total);
                    let (x, y) = (at(&a, row + i, column + j), at(&b, row + i, column + j));
                    for (k, value) in [x, y, x * x, y * y, x * y].into_iter().enumerate() {
                        moments[k] += w * value;
                    }
                }
            }
            let [mx, my, xx, yy, xy] = moments;
            let (c1, c2) = (0.0004, 0.0036);
            sum += (2.0 * mx * my + c1) * (2.0 * (xy - mx * my) + c2)
                / ((mx * mx + my * my + c1) * (xx - mx * mx + yy - my * my + c2));
            count += 1.0;
        }
    }
    let found = ssim(&a, &b, 2.0).double_value(&[0]);
    assert!((found - sum / count).abs() < 1e-10, "{found} {}", sum / count);
}

/// A clean estimate that shrinks pixels by a map: equivariant where the map is symmetric.
struct Shrink(Tensor);

impl ScoreModel for Shrink {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, _t: &Tensor, _train: bool) -> Result<Prediction> {
        Ok(Prediction::one(PredictionKind::Clean, (state.x() * &self.0).tanh()))
    }
}

/// Features: the mean of each row.
struct RowMeans;

impl ScoreModel for RowMeans {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Logits
    }

    fn predict(&self, _state: &State, _t: &Tensor, _train: bool) -> Result<Prediction> {
        Err(Error::Unsupported("only features".into()))
    }

    fn features(&self, state: &State) -> Result<Option<Tensor>> {
        Ok(Some(state.x().mean_dim([1_i64, 3].as_slice(), false, None)))
    }
}

struct Trained;

impl Services for Trained {
    fn trained_model(&self, _config: &str) -> Result<Box<dyn ScoreModel>> {
        Ok(Box::new(RowMeans))
    }
}

fn images(x: Tensor) -> State {
    State::new(Field::new(x, Moves::Image))
}

fn with_evaluation<T>(
    samples: &State,
    reference: &State,
    model: &dyn ScoreModel,
    f: impl FnOnce(&Evaluation) -> T,
) -> T {
    let process = process(json!({"type": "cosine"}));
    let load = LoadContext {
        data_dir: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        kind: Kind::Double,
        device: Device::Cpu,
        streams: Streams::new(0),
    };
    f(&Evaluation {
        samples,
        start: samples,
        trajectory: &[],
        reference,
        process: Some(process.as_ref()),
        model,
        streams: &Streams::new(3),
        load: &load,
        services: &Trained,
    })
}

fn measure(
    json: Value,
    samples: &State,
    reference: &State,
    model: &dyn ScoreModel,
) -> Vec<Measured> {
    let config: Box<dyn MetricConfig> = serde_json::from_value(json).unwrap();
    let metric = config.build().unwrap();
    with_evaluation(samples, reference, model, |evaluation| metric.measure(evaluation)).unwrap()
}

fn value(all: &[Measured], name: &str) -> f64 {
    all.iter().find(|m| m.name == name).unwrap_or_else(|| panic!("{name} is missing")).value
}

#[test]
fn frechet_distances_see_orbits() {
    // Samples are brighter at the top; features are means of rows.
    let ramp = Tensor::linspace(1.0, -1.0, 4, F64).reshape([1, 1, 4, 1]);
    let samples = images(normal("s", &[400, 1, 4, 4]) * 0.2 + &ramp);
    let plain = json!({"type": "image-frechet", "features": {"classifier": "c.json"}});
    let zero = measure(plain.clone(), &samples, &samples, &RowMeans);
    assert!(value(&zero, "frechet").abs() < 1e-9);
    let mut flips = plain;
    flips["invariance"] = json!("vertical-flip");
    let found = measure(flips.clone(), &samples, &samples, &RowMeans);
    // The flipped means differ by twice the ramp: 4 (1 + 1/9 + 1/9 + 1).
    let expected = 4.0 * (2.0 + 2.0 / 9.0);
    let distance = value(&found, "frechet_invariance");
    assert!((distance / expected - 1.0).abs() < 0.02, "{distance} {expected}");
    assert!((value(&found, "frechet_spread") / expected - 1.0).abs() < 0.02);
    // Mirrors of columns change no mean of rows.
    flips["invariance"] = json!("horizontal-flip");
    let found = measure(flips.clone(), &samples, &samples, &RowMeans);
    assert!(value(&found, "frechet_invariance") < 1e-9);
    // Against the orbit the samples are as far as their mirror images.
    flips["invariance"] = json!("vertical-flip");
    flips["orbit"] = json!("vertical-flip");
    let found = measure(flips, &samples, &samples, &RowMeans);
    assert!(value(&found, "frechet") > 0.5);
    assert!(value(&found, "frechet_spread") < 1e-6);
}

#[test]
fn the_floor_of_a_frechet_distance_is_that_of_real_images_set_aside() {
    let of = |images: &State| {
        let json =
            json!({"type": "image-frechet", "features": {"classifier": "c.json"}, "floor": 30});
        measure(json, images, images, &RowMeans)
    };
    // The last 30 images are brighter by 1 in each of four rows: their means differ by 1 in each of four features.
    let (dark, noise) = (normal("dark", &[30, 1, 4, 4]) * 0.1, Tensor::ones([30, 1, 4, 4], F64));
    let both = images(Tensor::cat(&[&dark, &(&dark + noise)], 0));
    let found = of(&both);
    assert!((value(&found, "frechet_floor") - 4.0).abs() < 1e-9);
    // All 60 samples lie between, with their variance around a mean that is off by a half.
    assert!(value(&found, "frechet") > 0.9);
    let config = |floor: i64| -> Box<dyn MetricConfig> {
        let json =
            json!({"type": "image-frechet", "features": {"classifier": "c"}, "floor": floor});
        serde_json::from_value(json).unwrap()
    };
    assert!(config(1).build().is_err());
    let metric = config(59).build().unwrap();
    let error = with_evaluation(&both, &both, &RowMeans, |evaluation| metric.measure(evaluation));
    assert!(format!("{:?}", error.err()).contains("59 of 60"));
}

#[test]
fn runs_are_equivariant_where_model_and_noise_are() {
    let input = images(normal("i", &[4, 1, 6, 6]));
    let even = Shrink(Tensor::full([1], 0.7, F64));
    let uneven = Shrink(Tensor::linspace(0.1, 0.9, 36, F64).reshape([6, 6]));
    let run = |model: &dyn ScoreModel, sampler: Value, noise: &str| {
        let json = json!({
            "type": "sampler-equivariance", "sampler": sampler, "noise": noise,
            "symmetry": {"type": "image-permutation", "group": "square"}, "name": "n"
        });
        value(&measure(json, &input, &input, model), "n_delta_x0_max")
    };
    let ancestral = || json!({"type": "ancestral", "steps": 8});
    let ddim = || json!({"type": "ddim", "steps": 8});
    for noise in ["transported", "coupled"] {
        let found = run(&even, ancestral(), noise);
        assert!(found < 1e-10, "{noise}: {found}");
        let found = run(&uneven, ancestral(), noise);
        assert!(found > 0.05, "{noise}: {found}");
    }
    // Equal seeds are not enough, unless nothing is drawn on the way.
    assert!(run(&even, ancestral(), "same") > 0.1);
    assert!(run(&even, ddim(), "same") < 1e-10);
}

#[test]
fn quality_is_measured_image_by_image() {
    let truth = images(normal("t", &[6, 1, 12, 12]).clamp(-1.0, 1.0));
    let samples = images(truth.x().narrow(0, 0, 3) + 0.1);
    let found = measure(json!({"type": "image-quality"}), &samples, &truth, &RowMeans);
    assert!((value(&found, "mse") - 0.01).abs() < 1e-12);
    assert!((value(&found, "psnr") - 10.0 * 400.0_f64.log10()).abs() < 1e-9);
    let each = ssim(samples.x(), &truth.x().narrow(0, 0, 3), 2.0);
    let expected = each.mean(Kind::Double).double_value(&[]);
    assert!((value(&found, "ssim") - expected).abs() < 1e-12 && expected < 0.99, "{expected}");
    let config: Box<dyn MetricConfig> =
        serde_json::from_value(json!({"type": "image-quality", "lpips": "nowhere.pt"})).unwrap();
    let metric = config.build().unwrap();
    let error = with_evaluation(&samples, &truth, &RowMeans, |e| metric.measure(e)).unwrap_err();
    assert!(error.to_string().contains("nowhere.pt") && error.exit_code() == 3, "{error}");
    let bad = images(samples.x() * f64::NAN);
    let error = with_evaluation(&bad, &truth, &RowMeans, |e| metric.measure(e)).unwrap_err();
    assert_eq!(error.exit_code(), 4);
}

#[test]
fn networks_in_files_give_features() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.pt");
    let example = Tensor::zeros([2, 3, 8, 8], (Kind::Float, Device::Cpu));
    let mut closure =
        |inputs: &[Tensor]| vec![inputs[0].mean_dim([2_i64, 3].as_slice(), false, None)];
    let module =
        tch::CModule::create_by_tracing("Means", "forward", &[example], &mut closure).unwrap();
    module.save(&path).unwrap();
    let reference = images(normal("r", &[150, 1, 4, 4]));
    let samples = images(reference.x() + 1.0);
    let json = json!({
        "type": "image-frechet",
        "features": {"torch-script": {"file": path.to_string_lossy(), "side": 8, "range": "unit"}}
    });
    let found = measure(json, &samples, &reference, &RowMeans);
    // Three equal channels, each shifted by a half.
    assert!((value(&found, "frechet") - 0.75).abs() < 1e-4, "{found:?}");
}

#[test]
fn a_grid_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grid.png");
    let samples = images(normal("g", &[5, 3, 6, 6]));
    let config: Box<dyn PlotConfig> =
        serde_json::from_value(json!({"type": "image-grid", "columns": 3, "rows": 2})).unwrap();
    let plot = config.build().unwrap();
    with_evaluation(&samples, &samples, &RowMeans, |e| plot.draw(e, &path)).unwrap();
    let drawn = image::open(&path).unwrap();
    // Three columns of 12 + 4 pixels; two grids of two rows.
    assert_eq!((drawn.width(), drawn.height()), (52, 2 * (24 + 2 * 16) + 4));
}
