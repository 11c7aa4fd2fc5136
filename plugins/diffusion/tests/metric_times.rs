//! What distances between sets of points cost.

#![allow(clippy::unwrap_used)]

use isotropy_diffusion::metric::{mmd, mmd_multi_scale, wasserstein};
use tch::Tensor;

/// Not a check: prints what distances between sets of usual sizes cost. Run with `--ignored
/// --nocapture`.
#[test]
#[ignore = "prints times for a person to compare; it judges nothing"]
fn times_of_metrics() {
    let options = (tch::Kind::Float, tch::Device::Cpu);
    let points = |count| Tensor::randn([count, 2], options) * 5.0;
    let (samples, data) = (points(1000), points(10_000));
    let time = |name: &str, f: &dyn Fn()| {
        let start = std::time::Instant::now();
        f();
        println!("{name}: {:.3} s", start.elapsed().as_secs_f64());
    };
    time("W1 and W2, 1,000 points", &|| {
        wasserstein(&samples, &data.narrow(0, 0, 1000)).unwrap();
    });
    time("MMD, 1,000 and 10,000 points", &|| {
        mmd(&samples, &data, 1.0).double_value(&[]);
    });
    time("multi-scale MMD, 1,000 and 10,000 points", &|| {
        mmd_multi_scale(&samples, &data).double_value(&[]);
    });
    time("MMD, 1,000 and 50,000 points", &|| {
        mmd(&samples, &points(50_000), 1.0).double_value(&[]);
    });
}
