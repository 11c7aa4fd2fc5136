//! Cases of heat kernels.

use super::case::Case;
use super::words;
use isotropy_brownian::heat_kernel::HeatKernel;
use isotropy_core::{ScheduleConfig, Space};
use serde_json::json;
use std::f64::consts::PI;
use tch::Tensor;

/// Runs a case; `None` for a kind that is not covered.
pub fn cover(case: &Case) -> Option<()> {
    match case.kind() {
        "igso3" => igso3(case),
        "rsgm_sigma_schedule" => rsgm_sigma_schedule(case),
        "heat_kernel_S2" => heat_kernel_s2(case),
        _ => return None,
    }
    Some(())
}

fn igso3(case: &Case) {
    let kernel = HeatKernel::new(Space::Rotations).unwrap();
    let (omega, eps) = (case.tensor("omega"), Tensor::from(case.number("eps")));
    // Where the reference series is cancellation noise, its values say nothing.
    let reliable: Vec<usize> = case.0["reliable"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .filter(|(_, flag)| flag.as_bool().unwrap())
        .map(|(k, _)| k)
        .collect();
    assert!(!reliable.is_empty());
    let density = kernel.density(&omega, &eps);
    // The case has the marginal f (1 - cos w) / pi.
    let marginal = &density * (1.0 - omega.cos()) / PI;
    let score = kernel.score(&omega, &eps);
    for (key, found) in
        [("expansion", density), ("marginal_density_0_pi", marginal), ("dlogf_domega", score)]
    {
        for &k in &reliable {
            let inner = json!({"expected": [case.0[key][k]], "tolerance": case.0["tolerance"]});
            Case(&inner).assert_close("expected", &found.narrow(0, k as i64, 1));
        }
    }
}

fn rsgm_sigma_schedule(case: &Case) {
    // The released function ignores its own least value: the schedule starts at 0.001.
    let args = case.text("args");
    let low = match args.contains("min ignored") {
        true => 0.001,
        false => words::after(args, "min").expect("`min` among the args"),
    };
    let high = words::after(args, "max").expect("`max` among the args");
    let json = json!({"type": "ve-geometric", "sigma_min": low, "sigma_max": high});
    let config: Box<dyn ScheduleConfig> = serde_json::from_value(json).unwrap();
    let std = config.build().unwrap().table(case.number("T") as usize).std;
    let times = case.0["t"].as_array().unwrap();
    let found: Vec<f64> = times.iter().map(|t| std[t.as_u64().unwrap() as usize]).collect();
    case.assert_close("sigma", &Tensor::from_slice(&found));
}

/// Densities of this file are per steradian.
fn heat_kernel_s2(case: &Case) {
    let kernel = HeatKernel::new(Space::Sphere(2)).unwrap();
    let (inputs, expected) = (&case.0["inputs"], &case.0["expected"]);
    if let Some(points) = inputs["n_points"].as_f64() {
        let uniform = -kernel.log_volume();
        let inner = json!({
            "each": expected["log_density_per_point"], "all": expected["log_density_total"],
            "tolerance": case.0["tolerance"],
        });
        Case(&inner).assert_close("each", &Tensor::from(uniform));
        Case(&inner).assert_close("all", &Tensor::from(uniform * points));
        return;
    }
    let mut inner = expected.clone();
    inner["theta"] = inputs["theta"].clone();
    inner["tolerance"] = case.0["tolerance"].clone();
    let inner = Case(&inner);
    let (theta, eps) = (inner.tensor("theta"), Tensor::from(inputs["s"].as_f64().unwrap().sqrt()));
    let log = kernel.log_density(&theta, &eps) - kernel.log_volume();
    inner.assert_close("log_density", &log);
    inner.assert_close("density", &log.exp());
    inner.assert_close("dlog_dtheta", &kernel.score(&theta, &eps));
}
