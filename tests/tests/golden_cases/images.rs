//! Images under flips and quarter turns: kernels, convolutions, actions, the regulariser, DDIM.

use super::case::{Case, tensor};
use super::words;
use isotropy_core::{
    Element, Field, FreshNoise, Moves, NoisingProcess, Prediction, PredictionKind, ProcessConfig,
    Representation, RepresentationConfig, Result, SamplerConfig, ScheduleConfig, ScoreModel, State,
    Streams, Xi, sampler::unobserved,
};
use isotropy_diffusion::model::EdmScales;
use isotropy_diffusion::sampler::{PairsOfTimes, pairs};
use isotropy_equivariant_images::objective::{mean_square, turned_back};
use isotropy_images::action::{ImagePermutation, PixelGroup};
use isotropy_networks::embedding::{Layout, sinusoidal};
use isotropy_networks::symmetric::{Channels, Conv, ConvShape, InitialScale, Symmetry, SymmetryBy};
use isotropy_networks::symmetric_kernel::Tying;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, nn::VarStore};

/// Runs a case; `None` for a kind that is not covered, or a case of another family.
pub fn cover(case: &Case) -> Option<()> {
    match case.kind() {
        "kernel_tying" => kernel_tying(case),
        "conv" => conv(case),
        // Of fields are those with `max_positions`, and those that move a Gram matrix.
        "embedding" if !case.0["params"]["max_period"].is_null() => embedding(case),
        "group_action" if case.0["expected"].get("gram_transformed").is_none() => {
            group_action(case);
        }
        "regulariser" => regulariser(case),
        "ddim_gamma" => ddim_gamma(case),
        "ddim_time_pairs" => ddim_time_pairs(case),
        "ddim_sample" => ddim_sample(case),
        "edm_scalings" => edm_scalings(case),
        _ => return None,
    }
    Some(())
}

fn input(case: &Case, key: &str) -> Tensor {
    tensor(&case.0["inputs"][key])
}

/// Compares one of the expected tensors under the case's tolerance.
#[track_caller]
fn expect(case: &Case, key: &str, found: &Tensor) {
    let inner = case.expected();
    let inner = Case(&inner);
    assert_eq!(inner.tensor(key).size(), found.size(), "{key}");
    inner.assert_close(key, found);
}

/// The group of that name in the file.
pub fn group(name: &str) -> PixelGroup {
    match name {
        "H" => PixelGroup::HorizontalFlip,
        "V" => PixelGroup::VerticalFlip,
        "C4" => PixelGroup::QuarterTurns,
        "D4" => PixelGroup::Square,
        other => panic!("no group is called {other}"),
    }
}

/// The kernel that a tying makes of weights `[O, I, h, w]`.
fn tied(tying: Tying, group: PixelGroup, weight: &Tensor) -> Tensor {
    let size = weight.size();
    let matrix = tying.matrix(group, size[2], size[3]);
    weight.reshape([-1, size[2] * size[3]]).matmul(&matrix.tr()).reshape(&size)
}

/// A convolution with these weights and this bias.
fn with_weights(by: SymmetryBy, group: PixelGroup, weight: &Tensor, bias: f64) -> (VarStore, Conv) {
    let mut store = VarStore::new(Device::Cpu);
    let symmetry = Symmetry::new(by, Some(group), InitialScale::Matched).unwrap();
    let size = weight.size();
    let shape = ConvShape {
        from: Channels::scalar(size[1]),
        to: Channels::scalar(size[0]),
        side: size[2],
        zero: false,
    };
    let conv = Conv::new(&store.root(), &symmetry, shape);
    store.double();
    tch::no_grad(|| {
        let mut variables = store.variables();
        variables.get_mut("weight").unwrap().copy_(weight);
        let _ = variables.get_mut("bias").unwrap().fill_(bias);
    });
    (store, conv)
}

fn kernel_tying(case: &Case) {
    let weight = input(case, "W");
    let parameters = &case.0["params"];
    let scheme = parameters["scheme"].as_str().unwrap();
    let Some(name) = parameters["group"].as_str() else {
        // One kernel under every group that the case has a result of.
        for name in case.0["expected"].as_object().expect("a kernel for each group").keys() {
            expect(case, name, &tied(Tying::Orbits, group(name), &weight));
            let (_store, conv) = with_weights(SymmetryBy::TiedS, group(name), &weight, 0.0);
            expect(case, name, &tch::no_grad(|| conv.kernel()));
        }
        return;
    };
    if scheme == "S" {
        expect(case, "kernel", &tied(Tying::Orbits, group(name), &weight));
        if weight.size()[2] % 2 == 1 {
            let (_store, conv) = with_weights(SymmetryBy::TiedS, group(name), &weight, 0.0);
            expect(case, "kernel", &tch::no_grad(|| conv.kernel()));
        }
        return;
    }
    assert_eq!(scheme, "K", "the schemes are S and K");
    let bias = parameters["bias"].as_f64().unwrap();
    // The quirk of the released code is one of the square's only.
    let published = group(name) == PixelGroup::Square;
    let by = if published { SymmetryBy::PublishedTiedK } else { SymmetryBy::TiedK };
    let (_store, conv) = with_weights(by, group(name), &weight, bias);
    tch::no_grad(|| {
        expect(case, "effective_kernel", &conv.kernel());
        expect(case, "output", &conv.forward(&input(case, "image")));
        if published {
            let (_store, conv) = with_weights(SymmetryBy::TiedK, group(name), &weight, bias);
            expect(case, "effective_kernel_unbugged", &conv.kernel());
        }
    });
}

/// A convolution with a given kernel, which commutes with every action that leaves the kernel as it
/// is: with as many as the case says (`commutes with all 8 actions`).
fn conv(case: &Case) {
    let (kernel, image) = (input(case, "kernel"), input(case, "image"));
    let (_store, conv) = with_weights(SymmetryBy::None, PixelGroup::Square, &kernel, 0.0);
    tch::no_grad(|| {
        expect(case, "out", &conv.forward(&image));
        let action = ImagePermutation::new(PixelGroup::Square);
        let largest = |a: Tensor| a.abs().max().double_value(&[]);
        let tied = |k: &i64| largest(action.moved(*k, &kernel) - &kernel) < 1e-12;
        let elements: Vec<i64> = (0..8).filter(tied).collect();
        let stated = words::after(&case.words(), "all").expect("`all N actions` in the words");
        assert_eq!(elements.len() as f64, stated, "the kernel is tied by {elements:?}");
        let scale = largest(conv.forward(&image)).max(1.0);
        for k in elements {
            let (a, b) =
                (conv.forward(&action.moved(k, &image)), action.moved(k, &conv.forward(&image)));
            let error = largest(a - b);
            assert!(error < 1e-12 * scale, "element {k}: {error}");
        }
    });
}

fn embedding(case: &Case) {
    let parameters = &case.0["params"];
    let (dim, period) = (parameters["dim"].as_i64().unwrap(), parameters["max_period"].as_f64());
    let found = sinusoidal(&input(case, "t"), dim, period.unwrap(), Layout::CosSin);
    expect(case, "emb", &found);
}

/// An action by its published name on tensors: `rot1` (a quarter turn, clockwise), `H` (the columns
/// reversed), `V` (the rows reversed), `transpose`, and `A_after_B`.
pub fn published(name: &str, x: &Tensor) -> Tensor {
    if let Some((last, first)) = name.split_once("_after_") {
        return published(last, &published(first, x));
    }
    match name {
        "H" => x.flip([-1]),
        "V" => x.flip([-2]),
        "transpose" => x.transpose(-1, -2),
        turn => {
            let turns = turn.strip_prefix("rot").and_then(|k| k.parse().ok());
            x.rot90(turns.unwrap_or_else(|| panic!("no action is called {turn}")), [-1, -2])
        }
    }
}

/// The element of a group that acts on pictures of this size as the published action does.
pub fn element(group: PixelGroup, name: &str, like: &Tensor) -> i64 {
    let size = [&[1, 1], &like.size()[like.dim() - 2..]].concat();
    let pixels = Tensor::arange(size[2] * size[3], tch::kind::DOUBLE_CPU).view(size.as_slice());
    let wanted = published(name, &pixels);
    let action = ImagePermutation::new(group);
    (0..group.order())
        .find(|k| action.moved(*k, &pixels) == wanted)
        .unwrap_or_else(|| panic!("{name} is no element of {group:?}"))
}

fn act(group: PixelGroup, k: i64, x: &Tensor) -> Tensor {
    let state = State::new(Field::new(x.shallow_clone(), Moves::Image));
    let g = Element::from(Tensor::full([x.size()[0]], k, (Kind::Int64, Device::Cpu)));
    ImagePermutation::new(group).act(&g, &state).unwrap().x().shallow_clone()
}

fn group_action(case: &Case) {
    let x = input(case, "x");
    let square = x.size()[2] == x.size()[3];
    for name in case.0["expected"].as_object().expect("what is expected").keys() {
        // By the smallest group that has it, and as an element of the whole one.
        let whole = if square { PixelGroup::Square } else { PixelGroup::Flips };
        let turn = name.starts_with("rot") && !name.contains('_');
        let own = match name.as_str() {
            "H" | "V" => group(name),
            _ if turn && square => PixelGroup::QuarterTurns,
            _ => whole,
        };
        for group in [own, whole] {
            expect(case, name, &act(group, element(group, name, &x), &x));
        }
    }
}

/// The shift `ns` and stretch `ds` of a case's schedule; where it has none, the published ones.
fn shift_and_stretch(case: &Case) -> (f64, f64) {
    let of = |key: &str, default| case.0["params"][key].as_f64().unwrap_or(default);
    (of("ns", 0.0002), of("ds", 0.000_25))
}

fn process((shift, stretch): (f64, f64)) -> Box<dyn NoisingProcess> {
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "translations"})).unwrap();
    let process: Box<dyn ProcessConfig> = serde_json::from_value(json!({
        "type": "vp",
        "schedule": {"type": "ddim-cosine", "shift": shift, "stretch": stretch},
        "steps": Value::Null
    }))
    .unwrap();
    process.build(drive.build().unwrap()).unwrap()
}

fn regulariser(case: &Case) {
    let (x, map) = (input(case, "x"), input(case, "M"));
    let parameters = &case.0["params"];
    let name = parameters["group"].as_str().expect("a group");
    let symmetry = ImagePermutation::new(group(name));
    // `k` turns, for the square after `f` flips up-down; the other groups have one flip.
    let turns = format!("rot{}", parameters["k"].as_i64().unwrap_or(0));
    let flips = parameters["f"].as_i64().unwrap_or(0);
    let action = match name {
        "H" | "V" => name.to_owned(),
        _ if flips % 2 == 1 => format!("{turns}_after_V"),
        _ => turns,
    };
    let k = element(group(name), &action, &x);
    let g = Element::from(Tensor::full([x.size()[0]], k, (Kind::Int64, Device::Cpu)));
    let state = State::new(Field::new(x.shallow_clone(), Moves::Image));
    let target =
        turned_back(process(shift_and_stretch(case)).as_ref(), &symmetry, &g, &state, |moved| {
            Ok(vec![Xi::from(moved.x() * &map * 0.9)])
        });
    let found = mean_square(&[Xi::from(&x * &map)], &target.unwrap(), None);
    expect(case, "mse_inv", &found);
}

fn ddim_gamma(case: &Case) {
    let schedule: Box<dyn ScheduleConfig> = serde_json::from_value(json!({
        "type": "ddim-cosine", "shift": case.0["params"]["ns"], "stretch": case.0["params"]["ds"]
    }))
    .unwrap();
    let schedule = schedule.build().unwrap();
    let t = input(case, "t");
    let (mean, std) = schedule.mean_std(&t);
    expect(case, "gamma", &mean.square());
    expect(case, "gamma", &(1.0_f64 - std.square()));
    let host: Vec<f64> = Vec::<f64>::try_from(&t).unwrap();
    let host: Vec<f64> = host.into_iter().map(|t| schedule.at(t).0.powi(2)).collect();
    expect(case, "gamma", &Tensor::from_slice(&host));
}

fn ddim_time_pairs(case: &Case) {
    let steps = case.0["params"]["steps"].as_u64().unwrap() as usize;
    let steps = pairs(1.0, steps, PairsOfTimes::PublishedOverlapping);
    let rows: Vec<f64> = steps.iter().flat_map(|step| [step.from, step.to]).collect();
    expect(case, "pairs", &Tensor::from_slice(&rows).reshape([-1, 2]));
}

/// The clamped posterior mean for data `N(m, v)`.
struct Posterior {
    mean: Tensor,
    variance: f64,
    shift: f64,
    stretch: f64,
}

impl ScoreModel for Posterior {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, t: &Tensor, _train: bool) -> Result<Prediction> {
        let angle = (t + self.shift) / (1.0 + self.stretch) * std::f64::consts::FRAC_PI_2;
        let gamma = angle.cos().square();
        let gamma = gamma.reshape([-1, 1, 1, 1]);
        let gain = gamma.sqrt() * self.variance / (&gamma * (self.variance - 1.0) + 1.0);
        let clean = &self.mean + gain * (state.x() - gamma.sqrt() * &self.mean);
        Ok(Prediction::one(PredictionKind::Clean, clean.clamp(-1.0, 1.0)))
    }
}

fn ddim_sample(case: &Case) {
    let parameters = &case.0["params"];
    let (shift, stretch) = shift_and_stretch(case);
    let variance = parameters["v"].as_f64().unwrap();
    let model = Posterior { mean: input(case, "m"), variance, shift, stretch };
    let sampler: Box<dyn SamplerConfig> = serde_json::from_value(json!({
        "type": "image-ddim", "steps": parameters["steps"], "times": "published-overlapping"
    }))
    .unwrap();
    let start = State::new(Field::new(input(case, "x_T"), Moves::Image));
    let mut noise = FreshNoise::new(&Streams::new(0), "golden");
    let sampler = sampler.build().unwrap();
    let sampled = sampler
        .run(process((shift, stretch)).as_ref(), &model, start, &mut noise, &mut unobserved)
        .unwrap();
    expect(case, "x_0", sampled.state.x());
}

fn edm_scalings(case: &Case) {
    let sigma = input(case, "sigma");
    let data = case.0["params"]["sigma_data"].as_f64().unwrap();
    let scales = EdmScales::new(&sigma, &Tensor::from_slice(&[data]));
    expect(case, "c_skip", &scales.skip);
    expect(case, "c_out", &scales.out);
    expect(case, "c_in", &scales.input);
    // The label of the wrapper is log(sigma) / 4; the U-Net embeds a thousand times that.
    expect(case, "c_noise", &(sigma.log() * 0.25 * 1000.0));
    // The weight `edm` makes that of the network's own output 1.
    let weight = (sigma.square() + data * data) / (&sigma * data).square();
    expect(case, "weight_karras", &weight);
    let own = weight * scales.out.square();
    assert!((own - 1.0).abs().max().double_value(&[]) < 1e-12);
}
