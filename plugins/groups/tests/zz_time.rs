use isotropy_core::{Drive, Field, Moves, State, Streams, Xi};
use isotropy_groups::representation::*;
use tch::{Device, Kind};
#[test]
fn time() {
    tch::set_num_threads(1);
    let _g = tch::no_grad_guard();
    for n in [2i64, 3, 4] {
        let drive: Box<dyn Drive> = match n { 2 => Box::new(Polar::new(PolarChart)), 3 => Box::new(Spherical::new(SphericalChart)), _ => Box::new(Hyperspherical::new(HypersphericalChart::new(4).unwrap())) };
        let mut st = Streams::new(0).stream("a", 0);
        let x = drive.lift(State::new(Field::new(st.normal(&[1000, n], (Kind::Float, Device::Cpu)), Moves::Point))).unwrap();
        let plain = State::new(x.value.clone());
        let xi: Xi = st.normal(&[1000, n], (Kind::Float, Device::Cpu)).into();
        for s in [&x, &plain] {
            let mut best = f64::MAX;
            for _ in 0..20 { let t = std::time::Instant::now(); for _ in 0..200 { let _ = drive.flow(s, &xi); } best = best.min(t.elapsed().as_secs_f64()/200.0); }
            println!("n={n} {:.1} us", best*1e6);
        }
    }
}
