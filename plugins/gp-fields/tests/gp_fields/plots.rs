//! Pictures of fields: what is drawn shows, and what cannot be drawn is refused.

use crate::support::{conditioned, model, process, random, with_evaluation};
use isotropy_core::{Field, Moves, PlotConfig, Result, State};
use isotropy_diffusion::observed;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

fn repeated(state: &State, repeats: i64) -> State {
    state.map_batched(|tensor| tensor.repeat_interleave_self_int(repeats, 0, None))
}

/// Draws samples that scatter about the truth with the spread `spread`; the picture as `[3, H, W]`.
fn picture(config: &Value, truth: &State, repeats: i64, spread: f64) -> Result<Tensor> {
    tch::set_num_threads(1);
    let samples = repeated(truth, repeats);
    let noise = random("scatter", &samples.x().size()) * spread;
    let samples = samples.with_value(samples.x() + noise);
    draw(config, truth, &samples)
}

fn draw(config: &Value, truth: &State, samples: &State) -> Result<Tensor> {
    let data = json!({"type": "rbf"});
    let process = process(json!({"type": "white"}));
    let oracle = model(data, process.as_ref(), &observed::query(truth));
    let config: Box<dyn PlotConfig> = serde_json::from_value(config.clone()).unwrap();
    let plot = config.build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fields.png");
    with_evaluation(process.as_ref(), oracle.as_ref(), samples, truth, |e| plot.draw(e, &path))?;
    let image = tch::vision::image::load(&path).unwrap();
    Ok(image)
}

/// Pixels that are bluer than red (truth), redder than blue (samples) or dark (what is known).
fn pixels(image: &Tensor) -> (i64, i64, i64) {
    let image = image.to_kind(Kind::Int64);
    let (red, blue) = (image.select(0, 0), image.select(0, 2));
    let count = |mask: Tensor| mask.sum(Kind::Int64).int64_value(&[]);
    let dark = image.amax([0].as_slice(), false).lt(70);
    (count((&blue - &red).gt(60)), count((&red - &blue).gt(60)), count(dark))
}

#[test]
fn functions_show_truth_known_values_samples_and_a_band_as_wide_as_they_scatter() {
    let truth = conditioned("functions", 3, 4, 30, &json!({"type": "rbf", "lengthscale": 1.0}));
    let config = json!({"type": "field-functions", "functions": 3});
    let narrow = picture(&config, &truth, 6, 0.05).unwrap();
    assert_eq!(narrow.size(), [3, 800, 1520]);
    let (blue, orange, dark) = pixels(&narrow);
    assert!(blue > 500 && orange > 2000 && dark > 200, "{blue} {orange} {dark}");
    let wide = picture(&config, &truth, 6, 0.5).unwrap();
    // A band is pale: count what is not paper.
    let inked = |image: &Tensor| {
        let image = image.to_kind(Kind::Int64);
        let pale = (image.select(0, 0) - image.select(0, 2)).gt(15).sum(Kind::Int64);
        pale.int64_value(&[])
    };
    assert!(inked(&wide) > 2 * inked(&narrow), "{} {}", inked(&wide), inked(&narrow));
}

#[test]
fn vector_fields_show_arrows_on_the_plane() {
    let kernel = json!({"type": "curl-free", "lengthscale": 1.0});
    let truth = conditioned("vectors", 2, 5, 40, &kernel);
    let config = json!({"type": "vector-field", "field": 1, "x_label": "east", "y_label": "north"});
    let image = picture(&config, &truth, 4, 0.2).unwrap();
    let (blue, orange, dark) = pixels(&image);
    assert!(blue > 800 && orange > 4000 && dark > 300, "{blue} {orange} {dark}");
    // Arrows twice as long have more ink; the scale is that of the truth.
    let long = truth.with_value(truth.x() * 2.0);
    let samples = repeated(&truth, 4);
    let doubled = samples.with_value(samples.x() * 2.0);
    let (_, same, _) = pixels(&draw(&config, &truth, &samples).unwrap());
    let (_, more, _) = pixels(&draw(&config, &truth, &doubled).unwrap());
    assert!(more as f64 > 1.3 * same as f64, "{same} {more}");
    let (_, scaled, _) = pixels(&picture(&config, &long, 4, 0.0).unwrap());
    assert!((scaled as f64 / same as f64 - 1.0).abs() < 0.05, "{same} {scaled}");
}

#[test]
fn fields_on_the_sphere_are_drawn_over_longitude_and_latitude() {
    // Points about the date line: they must not be torn apart.
    let lon = random("lon", &[1, 30]) * 0.2 + std::f64::consts::PI;
    let lat = random("lat", &[1, 30]) * 0.2;
    let frame = isotropy_gp_fields::dataset::globe::Frame::at(&lat, &lon);
    let wind = frame.tangent(&random("wind", &[1, 30, 2]));
    let truth = State::new(Field::new(wind, Moves::Vector).indexed(1))
        .with_context("index", Field::new(frame.point, Moves::Point).indexed(1));
    let (given, query) = truth.split_index(5);
    let truth = observed::with_observed(&query, &given).unwrap();
    let image = picture(&json!({"type": "vector-field"}), &truth, 3, 0.1).unwrap();
    let (blue, orange, _) = pixels(&image);
    assert!(blue > 500 && orange > 2000, "{blue} {orange}");
    // Torn apart, the box would be as flat as a line and as wide as the globe: nearly all in two narrow strips.
    let columns =
        (image.select(0, 2).to_kind(Kind::Int64) - image.select(0, 0).to_kind(Kind::Int64)).gt(60);
    let used = columns.any_dim(0, false).narrow(0, 60, 390).sum(Kind::Int64).int64_value(&[]);
    assert!(used > 120, "arrows in {used} columns of the first panel");
}

#[test]
fn broken_samples_are_left_out_and_counted_and_other_shapes_refused() {
    let truth = conditioned("broken", 2, 3, 10, &json!({"type": "rbf"}));
    let samples = repeated(&truth, 3);
    let broken = samples.x().shallow_clone();
    let _ = broken.get(1).fill_(f64::NAN);
    let config = json!({"type": "field-functions"});
    let image = draw(&config, &truth, &samples.with_value(broken)).unwrap();
    assert!(pixels(&image).1 > 200);
    let all = samples.with_value(samples.x() * f64::NAN);
    assert!(pixels(&draw(&config, &truth, &all).unwrap()).0 > 50);
    let error = picture(&json!({"type": "vector-field"}), &truth, 2, 0.1).unwrap_err();
    assert!(error.to_string().contains("coordinates"), "{error}");
    let vectors = conditioned("v", 1, 3, 10, &json!({"type": "curl-free"}));
    let error = picture(&config, &vectors, 2, 0.1).unwrap_err();
    assert!(error.to_string().contains("one coordinate"), "{error}");
    let error =
        picture(&json!({"type": "vector-field", "field": 7}), &vectors, 2, 0.1).unwrap_err();
    assert!(error.to_string().contains("field 7"), "{error}");
    let named: Box<dyn PlotConfig> =
        serde_json::from_value(json!({"type": "vector-field", "file": "a/b"})).unwrap();
    assert!(named.build().is_err());
}
