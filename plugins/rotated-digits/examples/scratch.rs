//! scratch
#![allow(missing_docs, clippy::unwrap_used)]
use isotropy_core::*;
use isotropy_groups::representation::image_rotation::rotate;
use isotropy_rotated_digits::dataset::*;
use isotropy_rotated_digits::model::*;
use std::path::Path;
use std::time::Instant;
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};

fn env<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn main() {
    tch::set_num_threads(env("THREADS", 1));
    let options = (Kind::Float, Device::Cpu);
    let streams = Streams::new(env("SEED", 0));
    let load = LoadContext { data_dir: "/tmp".into(), kind: Kind::Float, device: Device::Cpu, streams: streams.clone() };
    let mut json = String::from("{}");
    if std::env::var("UPRIGHT").is_ok() { json = r#"{"test_angle_std_degrees":0.0}"#.into(); }
    let config: RotatedDigitsConfig = serde_json::from_str(&json).unwrap();
    let data = RotatedDigits::read(&config, Path::new("/tmp/mnistdl/package/data"), &load).unwrap();
    let mode = std::env::args().nth(1).unwrap();
    let batch: i64 = env("BATCH", 256);
    let steps: u64 = env("STEPS", 3000);
    let lr: f64 = env("LR", 2e-3);
    let warm = env("WARM", 100u64);
    let lr_at = |k: u64| if k < warm { lr * (k + 1) as f64 / warm as f64 } else {
        let u = (k - warm) as f64 / (steps - warm) as f64;
        lr * (0.01 + 0.99 * 0.5 * (1.0 + (std::f64::consts::PI * u).cos())) };
    let test = data.batch(Split::Test, 0, 8000, &streams).unwrap();
    let labels = test.given(LABEL).unwrap().tensor.shallow_clone();
    if mode == "classifier" {
        let vs = nn::VarStore::new(Device::Cpu);
        let net = DigitClassifier::new(&vs.root(), 0.1);
        let mut opt = nn::Adam::default().build(&vs, lr).unwrap();
        let t0 = Instant::now();
        for k in 0..steps {
            let b = data.batch(Split::Train, k, batch, &streams).unwrap();
            let loss = net.logits(b.x(), true).cross_entropy_for_logits(&b.given(LABEL).unwrap().tensor);
            opt.set_lr(lr_at(k));
            opt.backward_step(&loss);
            if k % 100 == 0 { println!("{k} {:.4} {:.1}s", f64::try_from(&loss).unwrap(), t0.elapsed().as_secs_f64()); }
        }
        let up = &test.given(UPRIGHT).unwrap().tensor;
        let acc = tch::no_grad(|| (0..8).map(|i| net.logits(&up.narrow(0, i*1000, 1000), false).argmax(1, false).eq_tensor(&labels.narrow(0, i*1000, 1000)).sum(Kind::Double).double_value(&[])).sum::<f64>()) / 8000.0;
        println!("test accuracy {acc} {:.1}s", t0.elapsed().as_secs_f64());
        vs.save(env("CLF", "/tmp/clf.safetensors".to_string())).unwrap();
        return;
    }
    let mut cvs = nn::VarStore::new(Device::Cpu);
    let clf = DigitClassifier::new(&cvs.root(), 0.1);
    if mode != "train" { cvs.load(env("CLF", "/tmp/clf.safetensors".to_string())).unwrap(); }
    let accuracy = |x: &Tensor| -> f64 { tch::no_grad(|| (0..8).map(|i| clf.logits(&x.narrow(0, i*1000, 1000), false).argmax(1, false).eq_tensor(&labels.narrow(0, i*1000, 1000)).sum(Kind::Double).double_value(&[])).sum::<f64>()) / 8000.0 };
    let smax: f64 = env("SMAX", 90f64).to_radians();
    let smin: f64 = env("SMIN", 1.0f64).to_radians();
    let vs = nn::VarStore::new(Device::Cpu);
    let net = DigitScoreNet::new(&vs.root(), TimeDomain::steps(100));
    let out = env("NET", "/tmp/score.safetensors".to_string());
    let sigma = |t: &Tensor| (t * smax).clamp_min(smin);
    if mode == "train" {
        let mut opt = nn::Adam::default().build(&vs, lr).unwrap();
        let t0 = Instant::now();
        let rate: f64 = env("EMA", 0.998);
        let mut names: Vec<(String, Tensor)> = vs.variables().into_iter().collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        let ema: Vec<Tensor> = names.iter().map(|(_, v)| v.detach().copy()).collect();
        let mut running = 0.0;
        let rank: f64 = env("TPOW", 1.0);
        for k in 0..steps {
            let b = data.batch(Split::Train, k, batch, &streams).unwrap();
            let mut s = streams.stream("train", k);
            let u = (s.uniform(&[batch], options) + Tensor::arange(batch, options)) / batch as f64;
            let t = u.pow_tensor_scalar(rank);
            let t = if env("GRID", 1) == 1 { (t * 100.0).ceil().clamp_min(1.0) / 100.0 } else { t };
            let z = s.normal(&[batch, 1], options);
            let x = rotate(b.x(), &(sigma(&t).unsqueeze(1) * &z));
            let loss = (net.forward(&x, &t, true) + z).square().mean(Kind::Float);
            opt.set_lr(lr_at(k));
            opt.zero_grad(); loss.backward(); opt.clip_grad_norm(10.0); opt.step();
            tch::no_grad(|| for (e, (_, v)) in ema.iter().zip(&names) {
                let r = rate.min((1.0 + k as f64) / (10.0 + k as f64));
                let mut e = e.shallow_clone(); let _ = e.lerp_(&v.detach(), 1.0 - r);
            });
            running += f64::try_from(&loss).unwrap();
            if (k+1) % 500 == 0 { println!("{} {:.4} {:.1}s", k+1, running / 500.0, t0.elapsed().as_secs_f64()); running = 0.0; }
        }
        tch::no_grad(|| for (e, (_, v)) in ema.iter().zip(&names) { v.shallow_clone().copy_(e) });
        vs.save(&out).unwrap();
        return;
    } else {
        let mut vs = vs; vs.load(&out).unwrap();
        evaluate(&net, &test, smax, smin, &streams, &accuracy);
    }
}

fn evaluate(net: &DigitScoreNet, test: &State, smax: f64, smin: f64, streams: &Streams, accuracy: &dyn Fn(&Tensor) -> f64) {
    let options = (Kind::Float, Device::Cpu);
    let truth = &test.given(TRUE_ANGLE).unwrap().tensor;
    let input = test.x();
    println!("upright {:.4} derotated {:.4} input {:.4}", accuracy(&test.given(UPRIGHT).unwrap().tensor), accuracy(&rotate(input, &-truth)), accuracy(input));
    let _g = tch::no_grad_guard();
    let run = |n: usize, noise: f64, seed: u64| {
        let t0 = Instant::now();
        let mut theta = Tensor::zeros([8000, 1], options);
        let mut s = streams.stream("sample", seed);
        for k in 0..n {
            let t = 1.0 - k as f64 / n as f64;
            let to = 1.0 - (k + 1) as f64 / n as f64;
            let sf = (smax * t).max(smin);
            let st = if k + 1 == n { 0.0 } else { (smax * to).max(smin) };
            let x = rotate(input, &theta);
            let head = Tensor::cat(&(0..8).map(|i| net.forward(&x.narrow(0, i * 1000, 1000), &Tensor::full([1000], t, options), false)).collect::<Vec<_>>(), 0);
            // noise=0: probability flow; noise=1: reverse SDE; between: DDIM's eta
            let var = sf * sf - st * st;
            let ddim = noise < 0.0;
            let eta = noise.abs();
            let (drift, std) = if ddim {
                // posterior/ddim: keep st^2 - s^2 and re-noise
                let std = eta * st * (var.max(0.0)).sqrt() / sf;
                (sf - (st * st - std * std).max(0.0).sqrt(), std)
            } else {
                let pf = sf - st;
                let sde = var / sf;
                (pf * (1.0 - eta * eta) + sde * eta * eta, if k + 1 == n { 0.0 } else { eta * var.sqrt() })
            };
            theta = theta + head * drift;
            if std > 0.0 { theta = theta + s.normal(&[8000, 1], options) * std; }
        }
        let acc = accuracy(&rotate(input, &theta));
        let err = &theta + truth;
        let err = (&err - (&err / std::f64::consts::TAU).round() * std::f64::consts::TAU).abs().rad2deg();
        println!("steps {n} noise {noise} acc {acc:.4} angle error median {:.2} mean {:.2} {:.1}s", err.median().double_value(&[]), err.mean(Kind::Double).double_value(&[]), t0.elapsed().as_secs_f64());
    };
    let list = std::env::var("EVAL").unwrap_or("10:-1,100:-1".into());
    for item in list.split(',') { let (n, noise) = item.split_once(':').unwrap(); run(n.parse().unwrap(), noise.parse().unwrap(), env("SSEED", 0)); }
}
