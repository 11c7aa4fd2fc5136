//! Runge-Kutta rules live in core; their order on an algebra is tested here, where there are algebras.

pub(crate) use crate::integrate::runge_kutta::*;

#[cfg(test)]
mod tests {
    use crate::integrate::runge_kutta::{
        DORMAND_PRINCE, EULER, HEUN, RK4, Slope, Tableau, algebra, combine, stages,
    };
    use isotropy_core::{Field, Moves, RepresentationConfig, State, Step, Xi};
    use isotropy_groups as _;
    use tch::{Device, Kind, Tensor};

    /// Coefficients that change with time and point on a non-Abelian algebra: without the brackets
    /// rules above order 2 would fall back to it.
    #[test]
    fn rules_keep_their_order_on_an_algebra() {
        let json = r#"{"type": "generators", "dimension": 3}"#;
        let config: Box<dyn RepresentationConfig> =
            serde_json::from_str(json).expect("the drive is linked");
        let representation = config.build().expect("it builds");
        let drive = representation.drive().expect("it drives");
        let x = Tensor::from_slice(&[1.0, 0.2, -0.4, 0.3, -0.8, 0.5]).view([2, 3]);
        let start = State::new(Field::new(x, Moves::Point));
        assert!(algebra(drive, &start).is_some(), "the frame is the algebra's");
        let velocity = |state: &State, t: f64| {
            let x = state.x();
            let turn = Tensor::stack(
                &[
                    x.select(1, 1) + t,
                    x.select(1, 0) * (2.0 * t).cos() + 0.7,
                    x.select(1, 2).sin() * 2.0 - t,
                ],
                1,
            );
            let grow = x.narrow(1, 0, 1) * -0.2;
            Ok(Slope::from(Xi(vec![turn, grow])))
        };
        let solve = |tableau: &Tableau, steps: usize| {
            let mut state = start.clone();
            for k in 0..steps {
                let length = 1.5 / steps as f64;
                let step = Step::at(k as f64 * length);
                let mut slope = |s: &State, node: f64| velocity(s, step.from + node * length);
                let slopes = stages(tableau, drive, &state, length, None, &mut slope)
                    .expect("there is a slope");
                state = drive.flow(&state, &combine(tableau.weights, &slopes, length).xi);
            }
            state.x().shallow_clone()
        };
        let exact = solve(&DORMAND_PRINCE, 400);
        for (name, tableau, order) in [
            ("euler", EULER, 1.0),
            ("heun", HEUN, 2.0),
            ("rk4", RK4, 4.0),
            ("dormand-prince", DORMAND_PRINCE, 5.0),
        ] {
            let error = |steps| {
                (solve(&tableau, steps) - &exact)
                    .abs()
                    .max()
                    .to_kind(Kind::Double)
                    .double_value(&[])
            };
            let found = (error(16) / error(32)).log2();
            println!("{name} on so(3): {:.1e}, {:.1e}, order {found:.2}", error(16), error(32));
            assert!((found - order).abs() < 0.5, "{name} has order {found}");
        }
        assert_eq!(exact.device(), Device::Cpu);
    }
}
