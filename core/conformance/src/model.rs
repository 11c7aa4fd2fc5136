//! Checks of score models: shapes, kinds, gradients, independence of the batch, equivariance.

use super::CheckResult;
use super::measure::{Found, Table, broken, cpu, relative, relative_xi, worse};
use isotropy_core::{
    Linearised, ModelConfig, ModelContext, Prediction, PredictionKind, Result, ScoreModel, State,
    Streams,
};
use tch::{Device, Kind, Tensor, nn::VarStore};

/// Points of the batch that a model is tried on.
const BATCH: i64 = 6;

/// Checks a model: it is built twice, and its weights turned to double precision where digits count.
pub fn check_model(
    config: &dyn ModelConfig,
    context: &ModelContext,
    streams: &Streams,
) -> Vec<CheckResult> {
    let mut table = Table::default();
    let subject = Subject { config, context, streams };
    table.check("prediction has the declared shape and kind", || subject.shapes());
    table.check("f32 agrees with f64", || subject.kinds());
    table.check("a point does not depend on its batch", || subject.batch());
    table.check("evaluation repeats itself", || subject.repeats());
    table.check("predictions are finite at the ends of time", || subject.ends());
    table.check("padding has no influence", || subject.padding());
    table.check("gradients are finite", || subject.gradients());
    if subject.has_products() {
        table.check("products with the Jacobian are those of a graph", || subject.products());
    }
    table.check("equivariance under the claimed symmetry", || subject.equivariance());
    table.results
}

struct Subject<'a> {
    config: &'a dyn ModelConfig,
    context: &'a ModelContext<'a>,
    streams: &'a Streams,
}

impl Subject<'_> {
    /// The model with weights of that kind; the store keeps them alive.
    fn build(&self, kind: Kind) -> Result<(VarStore, Box<dyn ScoreModel>)> {
        let mut store = VarStore::new(Device::Cpu);
        let model = self
            .streams
            .scope("check model", 0, || self.config.build(&store.root(), self.context))?;
        self.wake(&store);
        if kind == Kind::Double {
            store.double();
        }
        Ok((store, model))
    }

    /// Weights that start at zero (last layers) would hide everything before them: they get small normal
    /// numbers, the same in every build.
    fn wake(&self, store: &VarStore) {
        let mut stream = self.streams.stream("check model", 3);
        let mut variables: Vec<(String, Tensor)> = store.variables().into_iter().collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        for (_, mut variable) in variables {
            let learns = variable.requires_grad() && variable.numel() > 0;
            if learns && variable.abs().max().double_value(&[]) == 0.0 {
                let inputs =
                    variable.numel() as f64 / variable.size().first().map_or(1.0, |&n| n as f64);
                let noise =
                    stream.normal(&variable.size(), cpu(Kind::Double)) * (0.3 / inputs.sqrt());
                tch::no_grad(|| variable.copy_(&noise));
            }
        }
    }

    /// A noisy state and times: from the process where there is one, else random numbers.
    fn state(&self, kind: Kind) -> Result<(State, Tensor)> {
        let mut stream = self.streams.stream("check model", 1);
        // Drawn in double precision, so that both kinds see the same numbers.
        let random = |stream: &mut isotropy_core::Stream| {
            State::random(self.context.spec, BATCH, cpu(Kind::Double), stream)
        };
        let Some(process) = self.context.process else {
            let t = Tensor::ones([BATCH], cpu(kind));
            return Ok((random(&mut stream).to(kind, Device::Cpu), t));
        };
        let clean = process.fields().lift(random(&mut stream))?;
        let t = process.time().sample(BATCH, true, cpu(Kind::Double), &mut stream);
        let noisy = process.perturb(&clean, &t, &mut stream)?.noisy;
        Ok((noisy.to(kind, Device::Cpu), t.to_kind(kind)))
    }

    fn shapes(&self) -> Result<Found> {
        let (_store, model) = self.build(Kind::Float)?;
        let (state, t) = self.state(Kind::Float)?;
        let prediction = tch::no_grad(|| model.predict(&state, &t, false))?;
        if prediction.kind != model.predicts() {
            return broken(format!(
                "it declares {:?}, returns {:?}",
                model.predicts(),
                prediction.kind
            ));
        }
        if prediction.heads.len() as i64 != prediction.kind.heads() {
            return broken(format!("{} heads for {:?}", prediction.heads.len(), prediction.kind));
        }
        if prediction.kind == PredictionKind::Logits {
            return Ok(Found::Error(0.0, 0.0));
        }
        let expected: Vec<Vec<i64>> = self.context.denoised()?.fields().xi_shape(&state.spec());
        for head in &prediction.heads {
            for (tensor, shape) in head.0.iter().zip(&expected) {
                let size = tensor.size();
                if size[0] != BATCH || size[1..] != shape[..] {
                    return broken(format!("a head has shape {size:?}, coefficients {shape:?}"));
                }
                if tensor.kind() != Kind::Float {
                    return broken(format!("f32 states give a head of {:?}", tensor.kind()));
                }
            }
        }
        Ok(Found::Error(0.0, 0.0))
    }

    fn predict(&self, kind: Kind) -> Result<Prediction> {
        let (_store, model) = self.build(kind)?;
        let (state, t) = self.state(kind)?;
        tch::no_grad(|| model.predict(&state, &t, false))
    }

    fn kinds(&self) -> Result<Found> {
        let error = distance(&self.predict(Kind::Float)?, &self.predict(Kind::Double)?);
        Ok(Found::Error(error, 2e-3))
    }

    fn batch(&self) -> Result<Found> {
        let (_store, model) = self.build(Kind::Double)?;
        let (state, t) = self.state(Kind::Double)?;
        let all = tch::no_grad(|| model.predict(&state, &t, false))?;
        let part = tch::no_grad(|| model.predict(&state.narrow(2, 2), &t.narrow(0, 2, 2), false))?;
        let heads = all.heads.iter().map(|head| head.map(|a| a.narrow(0, 2, 2))).collect();
        Ok(Found::Error(distance(&part, &Prediction { kind: all.kind, heads }), 1e-9))
    }

    /// Without training, the same question has the same answer: no dropout, no statistics of what
    /// was seen before, no draw of its own.
    fn repeats(&self) -> Result<Found> {
        let (_store, model) = self.build(Kind::Double)?;
        let (state, t) = self.state(Kind::Double)?;
        let first = tch::no_grad(|| model.predict(&state, &t, false))?;
        let other = state.with_value(state.x() * 0.5);
        tch::no_grad(|| model.predict(&other, &t, false))?;
        let again = tch::no_grad(|| model.predict(&state, &t, false))?;
        Ok(Found::Error(distance(&first, &again), 0.0))
    }

    /// In single precision, at the first and the last time, and where samplers start.
    fn ends(&self) -> Result<Found> {
        let Some(process) = self.context.process else {
            return Ok(Found::Skip("there is no process and no time".into()));
        };
        let (_store, model) = self.build(Kind::Float)?;
        let (state, t) = self.state(Kind::Float)?;
        let time = process.time();
        for end in [time.start, time.prior, time.end] {
            let here = t.full_like(end);
            let prediction = tch::no_grad(|| model.predict(&state, &here, false))?;
            let numbers = prediction.heads.iter().flat_map(|head| &head.0);
            if numbers.into_iter().any(|a| a.isfinite().all().int64_value(&[]) == 0) {
                return broken(format!("a prediction at time {end} is not finite"));
            }
        }
        Ok(Found::Error(0.0, 0.0))
    }

    /// Points of a set that the mask hides change nothing for those that it shows.
    fn padding(&self) -> Result<Found> {
        let (_store, model) = self.build(Kind::Double)?;
        let (state, t) = self.state(Kind::Double)?;
        let (Some(mask), Some(axis)) = (state.mask(), state.value.index_axis) else {
            return Ok(Found::Skip("the states have no mask".into()));
        };
        let shown = mask.size()[1] - 1;
        if shown < 1 {
            return Ok(Found::Skip("there is one point".into()));
        }
        let mask = mask.copy();
        let _ = mask.narrow(1, shown, 1).zero_();
        let mut masked = state.clone();
        for (name, field) in &mut masked.context {
            if name == State::MASK {
                field.tensor = mask.shallow_clone();
            }
        }
        let x = masked.x().copy();
        let _ = x.narrow(axis as i64, shown, 1).fill_(3.0);
        let other = masked.with_value(x);
        let (a, b) = tch::no_grad(|| -> Result<_> {
            Ok((model.predict(&masked, &t, false)?, model.predict(&other, &t, false)?))
        })?;
        let seen = |prediction: Prediction| {
            let part = |head: &isotropy_core::Xi| head.map(|a| shown_points(a, axis, shown));
            Prediction { kind: prediction.kind, heads: prediction.heads.iter().map(part).collect() }
        };
        Ok(Found::Error(distance(&seen(a), &seen(b)), 1e-9))
    }

    fn gradients(&self) -> Result<Found> {
        let (store, model) = self.build(Kind::Float)?;
        let (state, t) = self.state(Kind::Float)?;
        let x = state.x().detach().set_requires_grad(true);
        let prediction = model.predict(&state.with_value(x.shallow_clone()), &t, true)?;
        let squares =
            prediction.heads.iter().flat_map(|head| &head.0).map(|a| a.square().sum(Kind::Float));
        let Some(loss) = squares.reduce(|a, b| a + b) else { return broken("no heads") };
        if !loss.requires_grad() {
            return Ok(Found::Skip("neither weights nor value take part in the prediction".into()));
        }
        loss.backward();
        let mut tensors = store.trainable_variables();
        tensors.push(x);
        for tensor in tensors {
            let gradient = tensor.grad();
            if gradient.defined() && gradient.isfinite().all().int64_value(&[]) == 0 {
                return broken("a gradient is not finite");
            }
        }
        Ok(Found::Error(0.0, 0.0))
    }

    /// Whether there are products of vectors and the Jacobian that the model has of its own; an error counts as one.
    fn has_products(&self) -> bool {
        let found = || -> Result<bool> {
            let (_store, model) = self.build(Kind::Double)?;
            let (state, t) = self.state(Kind::Double)?;
            Ok(model.linearised(&state, &t)?.is_some())
        };
        found().unwrap_or(true)
    }

    fn products(&self) -> Result<Found> {
        let (_store, model) = self.build(Kind::Double)?;
        let (state, t) = self.state(Kind::Double)?;
        let Some(Linearised { prediction, pull_back }) = model.linearised(&state, &t)? else {
            return broken("it has them only sometimes");
        };
        let x = state.x().detach().set_requires_grad(true);
        let by_graph = model.predict(&state.with_value(x.shallow_clone()), &t, false)?;
        let mut error = distance(&prediction, &by_graph);
        let head = by_graph.heads[0].single();
        let mut stream = self.streams.stream("check model", 4);
        let size: Vec<i64> = std::iter::once(3).chain(head.size()).collect();
        let vectors = stream.normal(&size, state.options());
        let found = pull_back(&vectors)?;
        for k in 0..size[0] {
            let along = (head * vectors.get(k)).sum(Kind::Double);
            let expected = Tensor::f_run_backward(&[along], &[&x], true, false)?.remove(0);
            error = worse(error, relative(&found.get(k), &expected));
        }
        Ok(Found::Error(error, 1e-9))
    }

    /// `model(h x) = transport(h, model(x))`; clean coordinates and field heads move as
    /// coefficients too, under the linear actions that a process accepts.
    fn equivariance(&self) -> Result<Found> {
        let (_store, model) = self.build(Kind::Double)?;
        let Some(symmetry) = self.context.symmetry.filter(|_| model.claims_symmetry()) else {
            return Ok(Found::Skip("the model claims no symmetry".into()));
        };
        let (state, t) = self.state(Kind::Double)?;
        let mut stream = self.streams.stream("check model", 2);
        let shape = symmetry.element_shape(&state)?;
        let h = symmetry.group().sample(&shape, state.options(), &mut stream);
        let moved = symmetry.act(&h, &state)?;
        let (here, there) = tch::no_grad(|| -> Result<_> {
            Ok((model.predict(&state, &t, false)?, model.predict(&moved, &t, false)?))
        })?;
        if here.kind == PredictionKind::Logits {
            return Ok(Found::Error(
                distance(&there, &here),
                1e-8 + symmetry.approximation_error(),
            ));
        }
        let fields = self.context.denoised()?.fields();
        let mut error = 0.0;
        for (here, there) in here.heads.iter().zip(&there.heads) {
            let expected = fields.transport(symmetry.as_ref(), &h, &state, here)?;
            error = worse(error, relative_xi(there, &expected));
        }
        Ok(Found::Error(error, 1e-8 + symmetry.approximation_error()))
    }
}

/// The points that the mask shows, of coefficients that have the index axis of the value; others
/// (one coefficient for the whole set) as they are.
fn shown_points(a: &Tensor, axis: usize, shown: i64) -> Tensor {
    match a.size().get(axis) {
        Some(&size) if size == shown + 1 => a.narrow(axis as i64, 0, shown),
        _ => a.shallow_clone(),
    }
}

fn distance(a: &Prediction, b: &Prediction) -> f64 {
    let pairs = a.heads.iter().zip(&b.heads);
    pairs.flat_map(|(a, b)| a.0.iter().zip(&b.0)).map(|(a, b)| relative(a, b)).fold(0.0, worse)
}
