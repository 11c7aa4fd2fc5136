//! The objective: against the loss that the exact denoiser must have, and its options.

use super::{distance, images, model, number, oracle, process, refusal};
use isotropy_core::{
    LossContext, NoisingProcess, ObjectiveConfig, Scale, ScoreModel, State, Streams, sampler::times,
};
use isotropy_equivariant_bridges::model::{BridgeScales, DataMoments};
use isotropy_equivariant_bridges::process::END;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

fn loss(
    objective: &Value,
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    batch: &State,
) -> f64 {
    let config: Box<dyn ObjectiveConfig> = serde_json::from_value(objective.clone()).unwrap();
    let objective = config.build().unwrap();
    objective.accepts(Some(process), model).unwrap();
    let streams = Streams::new(2);
    let context = LossContext { process: Some(process), streams: &streams, step: 0, train: false };
    let loss = objective.loss(model, batch, &context).unwrap();
    assert_eq!(loss.parts.len(), 1);
    number(&loss.total)
}

/// Pairs with `x_0 ~ N(0.1 + 0.2 x_T, 0.3^2)`.
fn pairs(batch: i64) -> State {
    let state = images(batch, 2);
    let clean = &state.given(END).unwrap().tensor * 0.2 + 0.1 + state.x() * 0.3;
    state.with_value(clean)
}

/// The exact denoiser is left with the posterior variance `v c / (b^2 v + c)`.
#[test]
fn the_loss_of_the_exact_denoiser_is_the_posterior_variance() {
    for bridge in [
        json!({"type": "ve-bridge", "sigma_max": 2.0}),
        json!({"type": "vp-bridge"}),
        json!({"type": "brownian-bridge", "steps": 50}),
    ] {
        let process = process(&bridge);
        let batch = pairs(20_000);
        let oracle = oracle(process.as_ref(), &batch);
        let time = process.time();
        let nodes = 4000;
        let at = |k: i64| match time.discrete {
            true => 1.0 + k as f64 * 49.0 / (nodes - 1) as f64,
            false => time.start + (time.end - time.start) * (k as f64 + 0.5) / nodes as f64,
        };
        let t: Vec<f64> =
            (0..nodes).map(at).map(|t| if time.discrete { t.round() } else { t }).collect();
        let t = Tensor::from_slice(&t);
        let kernel = process.kernel().unwrap().tensors(&t.unsqueeze(1));
        let (Scale::Each(b), Scale::Each(std)) = (&kernel.mean[0], &kernel.std[0]) else {
            panic!()
        };
        let (c, v) = (std.square(), 0.09);
        let variance = &c * v / (b.square() * v + &c);
        let plain = number(&variance.mean(Kind::Double));
        let weight = BridgeScales::new(&kernel, &DataMoments::default()).unwrap().weight();
        let weighted = number(&(variance * weight).mean(Kind::Double));
        for (weighting, expected) in [(json!("unit"), plain), (json!({"bridge": {}}), weighted)] {
            let objective = json!({"type": "bridge-denoising", "weighting": weighting});
            let found = loss(&objective, process.as_ref(), oracle.as_ref(), &batch);
            println!("{bridge} {weighting}: {found:.5} {expected:.5}");
            assert!(
                (found / expected - 1.0).abs() < 0.03,
                "{bridge} {weighting}: {found} {expected}"
            );
        }
    }
}

/// Log-normal times: the loss at them is the mean under that law.
#[test]
fn log_normal_times_have_their_law() {
    let process = process(&json!({"type": "ve-bridge", "sigma_min": 1e-4, "sigma_max": 100.0}));
    let batch = pairs(4000);
    /// Predicts the noise level, so that the error tells the times.
    struct Times;
    impl ScoreModel for Times {
        fn predicts(&self) -> isotropy_core::PredictionKind {
            isotropy_core::PredictionKind::Clean
        }
        fn predict(
            &self,
            state: &State,
            t: &Tensor,
            _: bool,
        ) -> isotropy_core::Result<isotropy_core::Prediction> {
            let log = t.log().view([-1, 1, 1, 1]) + state.x().zeros_like();
            Ok(isotropy_core::Prediction::one(isotropy_core::PredictionKind::Clean, log))
        }
    }
    let zero = batch.with_value(batch.x().zeros_like());
    let objective = json!({
        "type": "bridge-denoising", "weighting": "unit",
        "times": {"log-normal": {"mean": -1.2, "std": 1.2}}
    });
    let found = loss(&objective, process.as_ref(), &Times, &zero);
    // E[(ln t)^2].
    let expected = 1.2 * 1.2 + 1.2 * 1.2;
    assert!((found / expected - 1.0).abs() < 0.01, "{found} {expected}");
}

/// A prediction of the noise counts by the clean point that it implies.
#[test]
fn other_predictions_count_by_their_clean_point() {
    let process = process(&json!({"type": "vp-bridge"}));
    let batch = pairs(64);
    struct AsNoise<'a>(&'a dyn ScoreModel, std::sync::Arc<dyn isotropy_core::KernelLaw>);
    impl ScoreModel for AsNoise<'_> {
        fn predicts(&self) -> isotropy_core::PredictionKind {
            isotropy_core::PredictionKind::Noise
        }
        fn predict(
            &self,
            state: &State,
            t: &Tensor,
            train: bool,
        ) -> isotropy_core::Result<isotropy_core::Prediction> {
            let clean = self.0.predict(state, t, train)?;
            let kernel = self.1.tensors(&t.view([-1, 1, 1, 1]));
            let end = state.given(END)?.tensor.shallow_clone().into();
            let tau = kernel.centred(&state.x().shallow_clone().into(), Some(&end));
            let noise = kernel.noise(&clean, Some(&tau))?;
            Ok(isotropy_core::Prediction::one(isotropy_core::PredictionKind::Noise, noise))
        }
    }
    let oracle = oracle(process.as_ref(), &batch);
    let noise = AsNoise(oracle.as_ref(), process.kernel().unwrap());
    let objective = json!({"type": "bridge-denoising"});
    let direct = loss(&objective, process.as_ref(), oracle.as_ref(), &batch);
    let implied = loss(&objective, process.as_ref(), &noise, &batch);
    assert!((direct / implied - 1.0).abs() < 1e-6, "{direct} {implied}");
}

/// Scaled network and weighting cancel: the loss is that of the raw network, `|F - F*|^2`.
#[test]
fn the_weighted_loss_is_that_of_the_raw_network() {
    let process = process(&json!({"type": "ve-bridge"}));
    let batch = pairs(32);
    let json = json!({
        "type": "bridge-preconditioned",
        "moments": {"sigma_data": 0.4, "sigma_end": 0.9, "covariance": 0.2},
        "inner": {"type": "mlp", "hidden": [8], "inputs": ["x", "end", "time"], "predicts": "clean"}
    });
    let (_store, model) = model(&json, process.as_ref(), None, &batch.spec(), Kind::Double);
    let moments = DataMoments { sigma_data: 0.4, sigma_end: 0.9, covariance: 0.2 };
    for t in [0.002, 1.0, 40.0, 79.9999] {
        let times = times(&batch, isotropy_core::Step::at(t));
        let perturbed =
            process.perturb(&batch, &times, &mut Streams::new(1).stream("p", 0)).unwrap();
        let prediction = model.predict(&perturbed.noisy, &times, false).unwrap();
        let config = serde_json::from_value(json!({"weighting": {"bridge": moments}})).unwrap();
        let objective = isotropy_equivariant_bridges::objective::BridgeDenoising::new(&config);
        let errors = objective.errors(process.as_ref(), &perturbed, &prediction).unwrap();
        let kernel = process.kernel().unwrap().tensors(&times.view([-1, 1, 1, 1]));
        let scales = BridgeScales::new(&kernel, &moments).unwrap();
        let raw = |clean: &Tensor| (clean - perturbed.noisy.x() * &scales.skip) / &scales.out;
        let difference = raw(prediction.heads[0].single()) - raw(batch.x());
        let expected = difference.square().flatten(1, -1).mean_dim(1, false, None);
        let error = distance(&(errors.weighted / &expected), &expected.ones_like());
        assert!(error < 1e-6, "{t}: {error}");
        let out = model.raw_scale(&perturbed.noisy, &times).unwrap().unwrap();
        assert_eq!(distance(out.single(), &scales.out), 0.0);
    }
}

#[test]
fn what_it_cannot_train_is_refused() {
    let batch = pairs(2);
    let build =
        |json: Value| serde_json::from_value::<Box<dyn ObjectiveConfig>>(json).unwrap().build();
    let objective = build(json!({"type": "bridge-denoising"})).unwrap();
    let ordinary =
        process(&json!({"type": "ve", "schedule": {"type": "ve-linear", "sigma_max": 2.0}}));
    let gaussian = json!({"type": "gaussian-tau-oracle", "mean": [0.0], "std": [1.0]});
    let (_store, gaussian) = model(&gaussian, ordinary.as_ref(), None, &batch.spec(), Kind::Double);
    let why = refusal(objective.accepts(Some(ordinary.as_ref()), gaussian.as_ref()));
    assert!(why.contains("for bridges"), "{why}");
    let discrete = process(&json!({"type": "brownian-bridge"}));
    let oracle = oracle(discrete.as_ref(), &batch);
    let times = build(json!({"type": "bridge-denoising", "times": {"log-normal": {}}})).unwrap();
    let why = refusal(times.accepts(Some(discrete.as_ref()), oracle.as_ref()));
    assert!(why.contains("whole times"), "{why}");
    for wrong in [
        json!({"type": "bridge-denoising", "weighting": {"bridge": {"sigma_data": 0.0}}}),
        json!({"type": "bridge-denoising", "weighting": {"bridge": {"covariance": 0.3}}}),
        json!({"type": "bridge-denoising", "times": {"log-normal": {"std": 0.0}}}),
    ] {
        assert!(build(wrong.clone()).is_err(), "{wrong}");
    }
}
