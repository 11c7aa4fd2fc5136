//! The sampler that knows no geometry, oracles, and the checks that every row passes.

use isotropy_core::{
    Drive, FreshNoise, Noise, NoisingProcess, Observer, Prediction, PredictionKind, Purpose,
    RecordingNoise, Representation, Result, Sampled, Sampler, ScoreModel, State, Streams, Xi,
    sampler,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

pub const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

/// Lie-Euler: one flow step along the reversed terms. The only sampler of all rows.
#[derive(Debug)]
pub struct Euler {
    pub steps: usize,
    /// Guidance weight of the h-term; no effect where there is none.
    pub weight: f64,
}

impl Sampler for Euler {
    fn name(&self) -> String {
        "Lie-Euler".into()
    }
    fn purpose(&self) -> Purpose {
        Purpose::ReverseSde
    }
    fn run(
        &self,
        process: &dyn NoisingProcess,
        model: &dyn ScoreModel,
        start: State,
        noise: &mut dyn Noise,
        observer: &mut Observer,
    ) -> Result<Sampled> {
        let drive = process.fields();
        let mut state = start;
        for (k, step) in process.time().grid(self.steps)?.into_iter().enumerate() {
            let prediction = model.predict(&state, &sampler::times(&state, step), false)?;
            let terms = process.terms(&state, step, &prediction)?;
            let mut back = terms.preconditioned.sub(&terms.drift);
            if let Some(h) = &terms.h {
                back = back.add_scaled(h, -self.weight);
            }
            let z = noise.draw(k as u64, &state, &terms.drift, &terms.noise, drive)?;
            let xi = back.scale(step.length()).add_scaled(&z, step.length().sqrt());
            state = drive.flow(&state, &xi);
            observer(k, self.steps, &state)?;
        }
        Ok(Sampled { state, evaluations: self.steps })
    }
}

type OracleFn = Box<dyn Fn(&State, f64) -> Result<Xi> + Send>;

/// A model whose answer is known; all points of a batch share the time.
pub struct Oracle(pub PredictionKind, pub OracleFn);

impl ScoreModel for Oracle {
    fn predicts(&self) -> PredictionKind {
        self.0
    }
    fn predict(&self, state: &State, t: &Tensor, _train: bool) -> Result<Prediction> {
        Ok(Prediction::one(self.0, (self.1)(state, t.double_value(&[0]))?))
    }
}

/// A row of the table.
pub struct Row {
    pub process: Box<dyn NoisingProcess>,
    pub model: Oracle,
    /// Clean states with their context, as a dataset gives them.
    pub clean: State,
    /// The symmetry that the row claims.
    pub symmetry: Option<Arc<dyn Representation>>,
    /// Smoothness of the flow: how near push comes to a difference of the flow over 1e-5.
    pub push_tolerance: f64,
    /// Actions that the process must refuse, and a word of the reason.
    pub refused: Vec<(Arc<dyn Representation>, &'static str)>,
}

pub fn stream(name: &str) -> isotropy_core::Stream {
    Streams::new(11).stream(name, 0)
}

pub fn normal(name: &str, shape: &[i64]) -> Tensor {
    stream(name).normal(shape, F64)
}

pub fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

pub fn assert_close(what: &str, a: &Tensor, b: &Tensor, tolerance: f64) {
    let error = difference(a, b);
    assert!(error <= tolerance, "{what}: {error:.3e} > {tolerance:.1e}");
}

pub fn random_xi(drive: &dyn Drive, state: &State, name: &str) -> Xi {
    drive.normal(state, &mut stream(name))
}

impl Row {
    /// Everything that must hold whatever the geometry; returns the samples.
    pub fn check(&self, steps: usize) -> State {
        let drive = self.process.fields();
        drive.accepts(&self.clean.spec()).unwrap();
        self.fields_are_derivatives_of_the_flow(drive);
        self.targets_have_the_shapes_of_coefficients(drive);
        if let Some(symmetry) = &self.symmetry {
            self.process.symmetric_under(symmetry.as_ref(), &self.clean.spec()).unwrap();
            transport_moves_the_flow(drive, symmetry.as_ref(), &self.clean);
        }
        for (symmetry, word) in &self.refused {
            let refusal = self.process.symmetric_under(symmetry.as_ref(), &self.clean.spec());
            let reason = refusal.expect_err("an asymmetric process accepted").to_string();
            assert!(reason.contains(word), "{reason}");
        }
        self.samples(steps)
    }

    fn fields_are_derivatives_of_the_flow(&self, drive: &dyn Drive) {
        let state = drive.lift(self.clean.clone()).unwrap();
        let xi = drive.horizontal(&state, &random_xi(drive, &state, "direction"));
        let h = 1e-5;
        let (ahead, behind) = (drive.flow(&state, &xi.scale(h)), drive.flow(&state, &xi.scale(-h)));
        assert_eq!(ahead.spec(), state.spec());
        let push = drive.push(&state, &xi);
        assert_close("push", &((ahead.x() - behind.x()) / (2.0 * h)), &push, self.push_tolerance);
        let covector = normal("covector", &state.x().size());
        let pulled = drive.pull(&state, &covector);
        let pairing = xi.zip(&pulled, |a, b| (a * b).sum(Kind::Double));
        let pairing: f64 = pairing.0.iter().map(|a| a.double_value(&[])).sum();
        let expected = (&push * &covector).sum(Kind::Double).double_value(&[]);
        assert!((pairing - expected).abs() < 1e-9 * (1.0 + expected.abs()), "pull is not push^T");
    }

    fn targets_have_the_shapes_of_coefficients(&self, drive: &dyn Drive) {
        let time = self.process.time();
        let t = time.sample(self.clean.batch_size(), true, F64, &mut stream("times"));
        let perturbed = self.process.perturb(&self.clean, &t, &mut stream("noise")).unwrap();
        assert_eq!(perturbed.noisy.value.moves, self.clean.value.moves);
        for kind in [self.model.0, PredictionKind::Noise, PredictionKind::Score] {
            for target in perturbed.target(kind).unwrap() {
                let shapes: Vec<Vec<i64>> =
                    target.shapes().iter().map(|shape| shape[1..].to_vec()).collect();
                assert_eq!(shapes, drive.xi_shape(&self.clean.spec()));
                for a in &target.0 {
                    assert!(a.isfinite().all().int64_value(&[]) == 1, "{kind:?}");
                }
            }
        }
    }

    /// Runs the sampler; with a claimed symmetry, runs it again from the moved start with the moved
    /// noise and compares the ends.
    fn samples(&self, steps: usize) -> State {
        let process = self.process.as_ref();
        let euler = Euler { steps, weight: 1.0 };
        let fresh = FreshNoise::new(&Streams::new(3), "sampler");
        let mut recording = RecordingNoise::new(fresh);
        let start = process.prior(&self.clean, &mut stream("prior")).unwrap();
        let run = |start: State, noise: &mut dyn Noise| {
            euler
                .run(process, &self.model, start, noise, &mut isotropy_core::sampler::unobserved)
                .unwrap()
                .state
        };
        let end = run(start.clone(), &mut recording);
        assert_eq!(end.spec(), start.spec());
        assert!(end.x().isfinite().all().int64_value(&[]) == 1, "samples are not finite");
        if let Some(symmetry) = &self.symmetry {
            let h = element(symmetry.as_ref(), &start);
            let moved = symmetry.act(&h, &start).unwrap();
            let mut noise = recording.transported(symmetry.as_ref(), &h);
            let other = run(moved, &mut noise);
            let expected = symmetry.act(&h, &end).unwrap();
            assert_close("the sampler's equivariance", other.x(), expected.x(), 1e-8);
        }
        end
    }
}

pub fn element(symmetry: &dyn Representation, state: &State) -> isotropy_core::Element {
    let shape = symmetry.element_shape(state).unwrap();
    symmetry.group().sample(&shape, F64, &mut stream("element"))
}

/// `h flow(x, xi) = flow(h x, transport(h, xi))`.
pub fn transport_moves_the_flow(drive: &dyn Drive, symmetry: &dyn Representation, clean: &State) {
    let state = drive.lift(clean.clone()).unwrap();
    let h = element(symmetry, &state);
    let xi = drive.horizontal(&state, &random_xi(drive, &state, "transport"));
    let left = symmetry.act(&h, &drive.flow(&state, &xi)).unwrap();
    let moved = drive.transport(symmetry, &h, &state, &xi).unwrap();
    let right = drive.flow(&symmetry.act(&h, &state).unwrap(), &moved);
    assert_close("transport", left.x(), right.x(), 1e-10);
    for ((name, a), (_, b)) in left.lift.iter().zip(&right.lift) {
        assert_close(name, &a.tensor, &b.tensor, 1e-10);
    }
}
