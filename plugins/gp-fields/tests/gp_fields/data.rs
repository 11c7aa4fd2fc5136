//! Drawn functions and fields: their laws, the protocols of geomndp.md 2.1 and 2.2, and what is refused.

use isotropy_core::{Dataset, DatasetConfig, Error, LoadContext, Moves, Split, State, Streams};
use isotropy_diffusion::observed;
use isotropy_gp_fields::dataset::points::PointsConfig;
use isotropy_gp_fields::dataset::{FunctionFamily, sawtooth};
use tch::{Device, Kind, Tensor};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

fn config(json: &str) -> Box<dyn DatasetConfig> {
    tch::set_num_threads(1);
    serde_json::from_str(json).unwrap()
}

fn load(json: &str) -> Box<dyn Dataset> {
    let context = LoadContext {
        data_dir: std::env::temp_dir(),
        kind: Kind::Double,
        device: Device::Cpu,
        streams: Streams::new(5),
    };
    config(json).load(&context).unwrap()
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

fn same(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && (a.numel() == 0 || number(&(a - b).abs().max()) == 0.0)
}

/// Largest distance of a covariance that was estimated from `draws` functions, in standard errors: the variance of an
/// estimated entry of the covariance `C` of Gaussian numbers is `(C_ii C_jj + C_ij^2) / draws`.
fn standard_errors(found: &Tensor, expected: &Tensor, draws: f64) -> f64 {
    let diagonal = expected.diagonal(0, 0, 1);
    let variance = diagonal.outer(&diagonal) + expected.square();
    number(&((found - expected) / (variance / draws).sqrt()).abs().max())
}

fn covariance(values: &Tensor) -> Tensor {
    let flat = values.flatten(1, -1);
    flat.transpose(0, 1).matmul(&flat) / values.size()[0] as f64
}

#[test]
fn the_sawtooth_is_the_series_of_the_notes() {
    let x = Tensor::from_slice(&[-1.3, -0.2, 0.05, 0.9]);
    let scalar = |value: f64| Tensor::from_slice(&[value]);
    let y = sawtooth::sawtooth(&x, &scalar(3.7), &scalar(1.2), &scalar(15.0), 20);
    let expected =
        [0.2613116057540319, 0.1884862155738357, 0.27004715148248826, 0.11666643616674055];
    assert!(number(&(&y - Tensor::from_slice(&expected)).abs().max()) < 1e-12);
    // With endlessly many terms the series is a line of slope -f between jumps of height 1.
    let line = sawtooth::sawtooth(&x, &scalar(0.2), &scalar(0.0), &scalar(4001.0), 4001);
    assert!(number(&(line + x * 0.2).abs().max()) < 1e-3);
}

#[test]
fn sawtooths_have_the_published_variance() {
    tch::set_num_threads(1);
    assert!((sawtooth::variance() - 0.07965).abs() < 2e-5, "{}", sawtooth::variance());
    let x = Tensor::from_slice(&[-1.1, 0.0, 0.7]).view([3, 1]);
    let mut stream = Streams::new(1).stream("test", 0);
    let y = FunctionFamily::Sawtooth.law(0.0).unwrap().draw(&x, 40_000, &mut stream).unwrap();
    let squares = y.square();
    let error = number(&squares.std(true)) / 40_000_f64.sqrt();
    let means = squares.mean_dim([0].as_slice(), false, None);
    let off = number(&(means - sawtooth::variance()).abs().max());
    assert!(off < 4.0 * error, "off by {} standard errors", off / error);
}

/// `k(r)` as the notes write it, not as the kernels compute it.
fn covariances(family: FunctionFamily, x: &[f64]) -> Tensor {
    let k = |r: f64| match family {
        FunctionFamily::Se => (-0.5 * (r / 0.25).powi(2)).exp(),
        FunctionFamily::Matern52 => {
            let s = 5_f64.sqrt() * r.abs() / 0.25;
            (1.0 + s + s * s / 3.0) * (-s).exp()
        }
        FunctionFamily::Periodic => (-0.5 * ((std::f64::consts::PI * r).sin() / 0.5).powi(2)).exp(),
        FunctionFamily::WeaklyPeriodic => {
            (-0.5 * (r / 0.5).powi(2)).exp()
                * (-0.5 * ((std::f64::consts::PI * r).sin() / 0.25).powi(2)).exp()
        }
        FunctionFamily::Sawtooth | FunctionFamily::Mixture => unreachable!("they are not Gaussian"),
    };
    let rows: Vec<f64> = x
        .iter()
        .flat_map(|a| x.iter().map(move |b| k(a - b) + if a == b { 0.0025 } else { 0.0 }))
        .collect();
    Tensor::from_slice(&rows).view([x.len() as i64, x.len() as i64])
}

#[test]
fn gaussian_families_have_the_covariance_of_the_notes_and_noise() {
    tch::set_num_threads(1);
    let x = [-1.4, -1.2, -0.9, 0.1, 1.1, 1.15];
    let index = Tensor::from_slice(&x).view([6, 1]);
    for family in [
        FunctionFamily::Se,
        FunctionFamily::Matern52,
        FunctionFamily::Periodic,
        FunctionFamily::WeaklyPeriodic,
    ] {
        let law = family.law(0.0025).unwrap();
        for (seed, index) in [(1, index.shallow_clone()), (2, index.expand([20_000, 6, 1], false))]
        {
            let mut stream = Streams::new(seed).stream("test", 0);
            let y = law.draw(&index, 20_000, &mut stream).unwrap();
            assert_eq!(y.size(), [20_000, 6, 1]);
            let off = standard_errors(&covariance(&y), &covariances(family, &x), 20_000.0);
            assert!(off < 4.5, "{family:?}: off by {off} standard errors");
        }
    }
}

#[test]
fn a_mixture_takes_each_law_as_often_and_scales_the_sawtooth() {
    tch::set_num_threads(1);
    let law = FunctionFamily::Mixture.law(0.0025).unwrap();
    let x = Tensor::from_slice(&[0.3, 0.300001]).view([2, 1]);
    let y = law.draw(&x, 40_000, &mut Streams::new(3).stream("test", 0)).unwrap();
    // Only sawtooths have no noise: two values side by side are equal.
    let sawtooth = (y.select(1, 0) - y.select(1, 1)).abs().lt(1e-3).to_kind(Kind::Double);
    // A difference of noise is below 1e-3 with probability .0113.
    let share = number(&sawtooth.mean(Kind::Double));
    let expected = 0.25 + 0.75 * 0.0113;
    assert!((share - expected).abs() < 4.0 * (0.1875_f64 / 40_000.0).sqrt(), "{share}");
    let first = y.select(1, 0);
    let variance = number(&(first.square() * &sawtooth).sum(Kind::Double))
        / number(&sawtooth.sum(Kind::Double));
    assert!((variance - 1.0).abs() < 0.06, "{variance}");
}

#[test]
fn training_batches_are_new_and_depend_on_seed_and_step_alone() {
    let data = load(r#"{"type": "functions-1d", "family": "se"}"#);
    assert_eq!(data.len(Split::Train), None);
    let first = batch(data.as_ref(), Split::Train, 3, 8);
    batch(data.as_ref(), Split::Train, 9, 2);
    let again = batch(data.as_ref(), Split::Train, 3, 8);
    assert!(same(first.x(), again.x()) && same(given(&first, "index"), given(&again, "index")));
    let other = data.batch(Split::Train, 3, 8, &Streams::new(6)).unwrap();
    assert!(!same(first.x(), other.x()), "the seed of the run changes nothing");
    let counts: Vec<i64> =
        (0..200).map(|step| batch(data.as_ref(), Split::Train, step, 2).x().size()[1]).collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!((1..=4).contains(least) && (57..=60).contains(most), "{least} to {most} points");
    let mean = counts.iter().sum::<i64>() as f64 / 200.0;
    assert!((mean - 30.5).abs() < 4.0 * 17.3 / 200_f64.sqrt(), "{mean}");
    let x = given(&first, "index");
    assert!(number(&x.min()) >= -2.0 && number(&x.max()) <= 2.0);
}

#[test]
fn functions_of_a_batch_with_their_own_counts_are_padded_and_masked() {
    let json = r#"{"type": "functions-1d", "family": "matern52", "count_per": "function"}"#;
    let data = load(json);
    let state = batch(data.as_ref(), Split::Train, 0, 300);
    assert_eq!(state.x().size(), [300, 60, 1]);
    let mask = state.mask().unwrap();
    let counts = mask.sum_dim_intlist(1, false, Kind::Double);
    assert!(number(&counts.min()) >= 1.0 && number(&counts.min()) <= 3.0);
    assert!(number(&counts.max()) >= 58.0 && number(&counts.max()) <= 60.0);
    let padding = state.x().squeeze_dim(-1) * (mask.ones_like() - mask);
    assert_eq!(number(&padding.abs().max()), 0.0, "padding carries values");
    assert!(config(json).spec().unwrap().given("mask").is_some());
    assert!(
        config(r#"{"type": "functions-1d", "family": "se"}"#)
            .spec()
            .unwrap()
            .given("mask")
            .is_none()
    );
}

#[test]
fn states_have_the_shapes_that_are_declared() {
    for json in [
        r#"{"type": "functions-1d", "family": "mixture"}"#,
        r#"{"type": "functions-1d", "family": "se", "count_per": "function"}"#,
        r#"{"type": "functions-1d", "family": "se", "training_context": {"min": 0, "max": 5}}"#,
        r#"{"type": "functions-1d", "family": "se", "count_per": "function", "training_context": {"min": 0, "max": 5}}"#,
        r#"{"type": "functions-1d", "family": "se", "task": "none"}"#,
        r#"{"type": "functions-1d", "family": "se", "task": "none", "count_per": "function"}"#,
        r#"{"type": "functions-1d", "family": "sawtooth", "functions": 30}"#,
        r#"{"type": "gaussian-fields", "kernel": {"type": "rbf"}, "counts": {"type": "choices", "of": [7]}}"#,
    ] {
        let (spec, data) = (config(json).spec().unwrap(), load(json));
        for split in [Split::Train, Split::Validation, Split::Test] {
            let found = batch(data.as_ref(), split, 1, 5).spec();
            assert!(spec.value.admits(&found.value), "{json}: {found:?}");
            for (name, field) in &found.context {
                let declared =
                    spec.given(name).unwrap_or_else(|| panic!("{json}: {name} is not declared"));
                assert!(declared.admits(field), "{json}: {name}: {field:?}");
            }
        }
    }
}

#[test]
fn tasks_lie_where_the_notes_say() {
    let ranges = |task: &str| {
        let data =
            load(&format!(r#"{{"type": "functions-1d", "family": "se", "task": "{task}"}}"#));
        let state = batch(data.as_ref(), Split::Test, 0, 200);
        assert_eq!(state.x().size(), [200, 50, 1]);
        assert!(state.mask().is_none());
        let counts = given(&state, "observed_mask").sum_dim_intlist(1, false, Kind::Double);
        for count in 1..=10 {
            let often = number(&counts.eq(f64::from(count)).sum(Kind::Double));
            assert!((6.0..40.0).contains(&often), "{count} known points {often} times in 200");
        }
        let padding = given(&state, "observed_value").squeeze_dim(-1)
            * given(&state, "observed_mask").eq(0.0);
        assert_eq!(number(&padding.abs().max()), 0.0, "padding tells values");
        let known = given(&state, "observed_index").shallow_clone();
        let known = (number(&known.min()), number(&known.max()));
        (known, given(&state, "index").shallow_clone())
    };
    let within = |(low, high): (f64, f64), (least, most): (f64, f64)| {
        low >= least && low < least + 0.02 && high <= most && high > most - 0.02
    };
    let extent = |x: &Tensor| (number(&x.min()), number(&x.max()));
    let (known, asked) = ranges("interpolation");
    assert!(within(known, (-2.0, 2.0)) && within(extent(&asked), (-2.0, 2.0)));
    let (known, asked) = ranges("generalisation");
    assert!(within(known, (2.0, 6.0)) && within(extent(&asked), (2.0, 6.0)));
    let (known, asked) = ranges("extrapolation");
    assert!(within(known, (-2.0, 2.0)) && within(extent(&asked), (-4.0, 4.0)));
    let inside = asked.abs().lt(2.0).sum(Kind::Int64);
    assert_eq!(inside.int64_value(&[]), 0, "asked points inside the training interval");
    let below = number(&asked.lt(0.0).to_kind(Kind::Double).mean(Kind::Double));
    assert!((below - 0.5).abs() < 0.03, "{below} of the points lie below");
}

#[test]
fn a_test_function_is_the_same_in_every_batch_and_run() {
    let data = load(r#"{"type": "functions-1d", "family": "sawtooth"}"#);
    let long = batch(data.as_ref(), Split::Test, 0, 80);
    let short = data.batch(Split::Test, 4, 9, &Streams::new(77)).unwrap();
    assert!(same(&long.x().narrow(0, 36, 9), short.x()));
    assert!(same(
        &given(&long, "observed_value").narrow(0, 36, 9),
        given(&short, "observed_value")
    ));
    assert_eq!(data.len(Split::Test), Some(4096));
    assert_eq!(batch(data.as_ref(), Split::Test, 40, 100).batch_size(), 96);
    assert_eq!(batch(data.as_ref(), Split::Test, 41, 100).batch_size(), 0);
    assert_eq!(batch(data.as_ref(), Split::Test, u64::MAX, 100).batch_size(), 0);
    assert_eq!(long.x().size(), [80, 100, 1], "sawtooths are asked for at 100 points");
}

#[test]
fn nothing_known_is_a_task_too() {
    let json = r#"{"type": "functions-1d", "family": "se", "context": {"min": 0, "max": 0}}"#;
    let state = batch(load(json).as_ref(), Split::Test, 0, 3);
    assert_eq!(observed::count(&state), 0);
    assert!(observed::observed(&state).unwrap().is_none());
    assert_eq!(observed::joint(&state).unwrap().x().size(), [3, 50, 1]);
    let some = r#"{"type": "functions-1d", "family": "se", "context": {"min": 0, "max": 1}}"#;
    let state = batch(load(some).as_ref(), Split::Test, 0, 40);
    let there = given(&state, "observed_mask").sum(Kind::Double);
    assert!((5.0..35.0).contains(&number(&there)), "{there:?}");
}

#[test]
fn conditional_training_knows_points_beside_those_that_it_asks_for() {
    let json = r#"{"type": "functions-1d", "family": "se", "counts": {"type": "choices", "of": [20]},
        "training_context": {"min": 2, "max": 4}}"#;
    let data = load(json);
    let known: Vec<i64> = (0..30)
        .map(|step| {
            let state = batch(data.as_ref(), Split::Train, step, 3);
            assert_eq!(state.x().size(), [3, 20, 1]);
            assert_eq!(number(&given(&state, "observed_mask").min()), 1.0);
            observed::count(&state)
        })
        .collect();
    assert!(
        known.iter().all(|n| (2..=4).contains(n)) && [2, 3, 4].iter().all(|n| known.contains(n))
    );
    // The known values are of the same function: with the asked ones they have the joint covariance.
    let state = observed::joint(&batch(data.as_ref(), Split::Train, 0, 4000)).unwrap();
    let (x, y) = (given(&state, "index").squeeze_dim(-1), state.x().squeeze_dim(-1));
    let apart = x.select(1, 0) - x.select(1, 10);
    let expected = ((apart / 0.25).square() * -0.5).exp();
    let residual = y.select(1, 0) * y.select(1, 10) - expected;
    let off =
        number(&residual.mean(Kind::Double)) / (number(&residual.std(true)) / 4000_f64.sqrt());
    assert!(off.abs() < 4.0, "off by {off} standard errors");
}

#[test]
fn the_disk_has_its_648_points() {
    let points = PointsConfig::DiskGrid { side: 30, radius: 10.0 }.build(2, "").unwrap();
    let all = points.all().unwrap();
    assert_eq!(all.size(), [648, 2]);
    let first = [-9.310344827586206, -3.1034482758620685];
    assert!(number(&(all.get(0) - Tensor::from_slice(&first)).abs().max()) < 1e-12);
    let spacing = number(&(all.get(1) - all.get(0)).select(0, 1));
    assert!((spacing - 0.6896551724137931).abs() < 1e-12);
    let cube = PointsConfig::Grid { side: 3, low: -1.0, high: 1.0 }.build(3, "").unwrap();
    assert_eq!(cube.all().unwrap().size(), [27, 3]);
}

/// Curl-free and divergence-free kernels as the notes write them, `[N d, N d]`.
fn vector_covariance(kind: &str, x: &Tensor, lengthscale: f64, noise: f64) -> Tensor {
    let (n, d) = x.size2().unwrap();
    let result = Tensor::zeros([n * d, n * d], F64);
    for i in 0..n {
        for j in 0..n {
            let u = (x.get(i) - x.get(j)) / lengthscale;
            let r2 = number(&u.square().sum(Kind::Double));
            let (eye, outer) = (Tensor::eye(d, F64), u.outer(&u));
            let block = match kind {
                "curl-free" => eye - outer,
                "divergence-free" => outer + eye * (d as f64 - 1.0 - r2),
                _ => eye,
            } * (-0.5 * r2).exp();
            result.narrow(0, i * d, d).narrow(1, j * d, d).copy_(&block);
        }
    }
    result + Tensor::eye(n * d, F64) * noise
}

#[test]
fn vector_fields_have_the_covariance_of_the_notes() {
    for kind in ["rbf", "curl-free", "divergence-free"] {
        let data = load(&format!(
            r#"{{"type": "gaussian-fields", "kernel": {{"type": "{kind}", "lengthscale": 1.5}},
                "points": {{"type": "grid", "side": 2, "low": -1.0, "high": 1.0}},
                "counts": {{"type": "choices", "of": [4]}}, "task": null}}"#
        ));
        let state = batch(data.as_ref(), Split::Train, 0, 20_000);
        assert_eq!(state.value.moves, Moves::Vector);
        let expected = vector_covariance(kind, &given(&state, "index").get(0), 1.5, 0.02);
        let off = standard_errors(&covariance(state.x()), &expected, 20_000.0);
        assert!(off < 4.5, "{kind}: off by {off} standard errors");
    }
}

#[test]
fn fields_are_seen_at_25_or_all_points_of_the_disk_without_repetition() {
    let data = load(
        r#"{"type": "gaussian-fields", "kernel": {"type": "rbf", "lengthscale": 2.2360679775}}"#,
    );
    let mut counts = Vec::new();
    for step in 0..12 {
        let state = batch(data.as_ref(), Split::Train, step, 2);
        counts.push(state.x().size()[1]);
        let x = given(&state, "index");
        let apart =
            (x.unsqueeze(2) - x.unsqueeze(1)).square().sum_dim_intlist(-1, false, Kind::Double);
        let met = apart.lt(1e-9).sum(Kind::Int64).int64_value(&[]);
        assert_eq!(met, 2 * x.size()[1], "a point comes twice");
    }
    assert!(counts.contains(&25) && counts.contains(&648), "{counts:?}");
    assert!(counts.iter().all(|n| [25, 648].contains(n)));
    let test = batch(data.as_ref(), Split::Test, 0, 3);
    assert_eq!((test.x().size()[1], observed::count(&test)), (100, 25));
    assert_eq!(data.len(Split::Test), Some(10_000));
}

#[test]
fn known_points_lie_anywhere_even_where_all_points_are_used() {
    for (json, split) in [
        (r#""task": {"context": {"min": 25, "max": 25}, "targets": 623}"#, Split::Test),
        (
            r#""counts": {"type": "choices", "of": [623]}, "training_context": {"min": 25, "max": 25}"#,
            Split::Train,
        ),
        (
            r#""counts": {"type": "choices", "of": [623]}, "training_context": {"min": 25, "max": 25}, "fields": 20"#,
            Split::Train,
        ),
    ] {
        let data = load(&format!(
            r#"{{"type": "gaussian-fields", "kernel": {{"type": "rbf", "lengthscale": 2.2360679775}}, {json}}}"#
        ));
        let state = batch(data.as_ref(), split, 0, 20);
        assert_eq!((observed::count(&state), state.x().size()[1]), (25, 623));
        let known = given(&state, "observed_index");
        // The mean square of a coordinate over a disk of radius 10 is 25; the first points of the lattice lie at its edge.
        let spread = number(&known.square().mean(Kind::Double));
        assert!((spread - 25.0).abs() < 2.0, "{json}: {spread}");
        assert!(
            !same(&known.get(0), &known.get(1)),
            "{json}: all fields are known at the same points"
        );
    }
}

#[test]
fn a_fixed_set_is_shown_once_an_epoch_and_a_smaller_one_is_its_beginning() {
    let json = |fields: i64| {
        format!(
            r#"{{"type": "gaussian-fields", "kernel": {{"type": "rbf"}}, "fields": {fields}, "task": null,
                "points": {{"type": "grid", "side": 3, "low": -1.0, "high": 1.0}},
                "counts": {{"type": "choices", "of": [9]}}}}"#
        )
    };
    let rows = |data: &dyn Dataset, step, size| {
        let x = batch(data, Split::Train, step, size).x().select(1, 0).select(1, 0);
        Vec::<f64>::try_from(x.sort(0, false).0).unwrap()
    };
    let small = load(&json(12));
    assert_eq!(small.len(Split::Train), Some(12));
    let first = rows(small.as_ref(), 0, 12);
    assert_eq!(first, rows(small.as_ref(), 1, 12));
    let large = rows(load(&json(700)).as_ref(), 0, 700);
    assert!(first.iter().all(|x| large.contains(x)), "not a beginning");
    assert_eq!(
        large.windows(2).filter(|pair| pair[0] == pair[1]).count(),
        0,
        "a field comes twice"
    );
    // Seen at some of its points, a field keeps its values.
    let some = json(12).replace("\"of\": [9]", "\"of\": [2]");
    let state = batch(load(&some).as_ref(), Split::Train, 0, 12);
    assert_eq!(state.x().size(), [12, 2, 2]);
    let all = batch(small.as_ref(), Split::Train, 0, 12);
    let same_point = given(&state, "index").unsqueeze(2) - given(&all, "index").unsqueeze(1);
    let at = same_point.abs().sum_dim_intlist(-1, false, Kind::Double).argmin(2, false);
    let kept = all.x().gather(1, &at.unsqueeze(-1).expand([-1, -1, 2], false), false);
    assert!(same(&kept, state.x()), "values changed");
}

#[test]
fn scalars_and_vectors_in_one_two_and_three_dimensions() {
    for p in 1..=3 {
        for (values, components, moves) in
            [("vectors", p, Moves::Vector), ("scalars", 1, Moves::Scalar)]
        {
            let data = load(&format!(
                r#"{{"type": "gaussian-fields", "kernel": {{"type": "rbf"}}, "dimension": {p}, "values": "{values}",
                    "points": {{"type": "uniform", "low": -2.0, "high": 2.0}},
                    "counts": {{"type": "range", "min": 3, "max": 8}},
                    "task": {{"region": "extrapolation", "context": {{"min": 1, "max": 4}}, "targets": 30}}}}"#
            ));
            let state = batch(data.as_ref(), Split::Train, 0, 4);
            assert_eq!(state.x().size()[2], components);
            assert_eq!((given(&state, "index").size()[2], state.value.moves), (p, moves));
            let test = batch(data.as_ref(), Split::Test, 0, 20);
            let outside = given(&test, "index").abs().ge(2.0).to_kind(Kind::Double);
            let outside = outside.sum_dim_intlist(-1, false, Kind::Double);
            assert!(number(&outside.min()) == 1.0 && number(&outside.max()) == 1.0);
        }
    }
}

#[test]
fn wrong_settings_are_refused_where_they_stand() {
    let functions = |rest: &str| format!(r#"{{"type": "functions-1d", "family": "se", {rest}}}"#);
    let fields = |rest: &str| {
        format!(r#"{{"type": "gaussian-fields", "kernel": {{"type": "rbf"}}, {rest}}}"#)
    };
    for (json, place) in [
        (functions(r#""counts": {"type": "range", "min": 5, "max": 4}"#), "/counts/max"),
        (functions(r#""counts": {"type": "range", "min": 0, "max": 4}"#), "/counts/min"),
        (functions(r#""counts": {"type": "choices", "of": []}"#), "/counts/of"),
        (functions(r#""counts": {"type": "choices", "of": [4, -1]}"#), "/counts/of/1"),
        (functions(r#""context": {"min": 3, "max": 2}"#), "/context/max"),
        (functions(r#""context": {"min": -1, "max": 2}"#), "/context/min"),
        (functions(r#""targets": 0"#), "/targets"),
        (functions(r#""functions": 0"#), "/functions"),
        (functions(r#""noise_variance": -1.0"#), "/noise_variance"),
        (functions(r#""training_context": {"min": 3, "max": 2}"#), "/training_context/max"),
        (fields(r#""counts": {"type": "choices", "of": [25, 649]}"#), "/counts/of"),
        (
            fields(r#""task": {"context": {"min": 25, "max": 25}, "targets": 624}"#),
            "/task/context/max",
        ),
        (
            fields(r#""task": {"context": {"min": 700, "max": 700}, "targets": 1}"#),
            "/task/context/max",
        ),
        (
            fields(
                r#""task": {"region": "extrapolation", "context": {"min": 1, "max": 2}, "targets": 5}"#,
            ),
            "/task/region",
        ),
        (fields(r#""training_context": {"min": 1, "max": 1}"#), "/training_context/max"),
        (fields(r#""fields": 0"#), "/fields"),
        (fields(r#""components": 2"#), "/components"),
        (fields(r#""points": {"type": "uniform", "low": 1.0, "high": 1.0}"#), "/points/high"),
        (
            fields(r#""points": {"type": "disk-grid", "side": 30, "radius": -1.0}"#),
            "/points/radius",
        ),
        (
            fields(r#""points": {"type": "grid", "side": 1, "low": 0.0, "high": 1.0}"#),
            "/points/side",
        ),
        (
            fields(
                r#""dimension": 6, "points": {"type": "grid", "side": 30, "low": 0.0, "high": 1.0}"#,
            ),
            "/points/side",
        ),
        (
            r#"{"type": "gaussian-fields", "kernel": {"type": "curl-free"}, "values": "scalars"}"#
                .into(),
            "/values",
        ),
        (
            r#"{"type": "gaussian-fields", "kernel": {"type": "rbf", "lengthscale": -1.0}}"#.into(),
            "/kernel/lengthscale",
        ),
    ] {
        match config(&json).spec().unwrap_err() {
            Error::Config { pointer, .. } => assert_eq!(pointer, place, "{json}"),
            other => panic!("{json}: {other}"),
        }
    }
}
