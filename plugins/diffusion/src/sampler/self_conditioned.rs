//! Self-conditioning (Chen, Zhang, Hinton 2022): the model sees its previous estimate of the clean
//! image.

use crate::estimate::{beside, clean, estimable};
use isotropy_core::{
    Noise, NoisingProcess, Observer, Prediction, PredictionKind, Purpose, Result, Sampled, Sampler,
    SamplerConfig, ScoreModel, State, component, config,
};
use std::cell::RefCell;
use tch::Tensor;

/// Any sampler, with the model's last estimate of the clean image put beside the state (context field
/// `estimate`) at each evaluation; at the first there is none, and a network with `self_conditioning`
/// sees zeros.
#[config]
pub struct SelfConditionedConfig {
    /// The sampler.
    pub inner: Box<dyn SamplerConfig>,
}

#[component(
    "self-conditioned",
    "a sampler whose model sees its previous estimate of the clean image",
    r#"{"type": "self-conditioned", "inner": {"type": "ddim", "steps": 50}}"#
)]
impl SamplerConfig for SelfConditionedConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        let inner = self.inner.build().map_err(|error| error.under("/inner"))?;
        Ok(Box::new(SelfConditioned { inner }))
    }
}

#[derive(Debug)]
struct SelfConditioned {
    inner: Box<dyn Sampler>,
}

impl Sampler for SelfConditioned {
    fn name(&self) -> String {
        format!("{}, self-conditioned", self.inner.name())
    }

    fn purpose(&self) -> Purpose {
        self.inner.purpose()
    }

    fn inner(&self) -> Option<(&'static str, &dyn Sampler)> {
        Some(("/inner", self.inner.as_ref()))
    }

    fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        self.inner.accepts(process, model).map_err(|error| error.under("/inner"))?;
        estimable(process, model.predicts())
    }

    fn run(
        &self,
        process: &dyn NoisingProcess,
        model: &dyn ScoreModel,
        start: State,
        noise: &mut dyn Noise,
        observer: &mut Observer,
    ) -> Result<Sampled> {
        self.accepts(process, model)?;
        let remembering = Remembering { model, process, last: RefCell::default() };
        self.inner.run(process, &remembering, start, noise, observer)
    }
}

/// A model that is shown its last estimate.
struct Remembering<'a> {
    model: &'a dyn ScoreModel,
    process: &'a dyn NoisingProcess,
    last: RefCell<Option<Tensor>>,
}

impl ScoreModel for Remembering<'_> {
    fn predicts(&self) -> PredictionKind {
        self.model.predicts()
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        let last = self.last.borrow_mut().take();
        let prediction = match last.filter(|last| last.size() == state.x().size()) {
            Some(last) => self.model.predict(&beside(state, State::ESTIMATE, last), t, train)?,
            None => self.model.predict(state, t, train)?,
        };
        let estimate = clean(self.process, state, t, &prediction)?;
        *self.last.borrow_mut() = Some(estimate.x().detach());
        Ok(prediction)
    }

    fn inner(&self) -> Option<&dyn ScoreModel> {
        Some(self.model)
    }
}
