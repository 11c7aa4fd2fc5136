//! Frechet distances of images, with what they say about symmetry (spdm.md 2.4).

use super::features::Features;
use super::{finite, named};
use crate::action::{ImagePermutation, PixelGroup};
use crate::metric::frechet_distance::frechet_distance;
use isotropy_core::{Error, Evaluation, Measured, Metric, MetricConfig, Result, component, config};
use tch::Tensor;

/// `frechet`: the (squared) Frechet distance between samples and test images in the features of a network
/// (FID, where that is Inception). The scale is the network's own.
///
/// With `invariance`, two numbers more: `frechet_invariance`, the largest distance between `g` and `h`
/// applied to all samples, over pairs of elements (Inv-FID; its mean over pairs beside it); and
/// `frechet_spread`, the largest minus the smallest distance of `g` applied to the samples to the test
/// images (Delta-FID). Both are 0 for a generator whose law is symmetric, up to the finite number of
/// samples.
///
/// With `floor`, `frechet_floor`: the distance that as many real images have. It is far from 0 where the features
/// outnumber the images.
#[config]
#[derive(Clone)]
pub struct ImageFrechetConfig {
    /// The features.
    pub features: Features,
    /// Test images are taken with their whole orbit under this group, as published (samples never are);
    /// null for the images alone.
    #[serde(default)]
    pub orbit: Option<PixelGroup>,
    /// The group of `frechet_invariance` and `frechet_spread`; null leaves both out.
    #[serde(default)]
    pub invariance: Option<PixelGroup>,
    /// So many of the last test images are measured like samples, against the test images before them
    /// (`frechet_floor`), and are no reference for the samples. Take as many as there are samples, and raise
    /// `evaluate.reference` by them. Null: none.
    #[serde(default)]
    #[schemars(range(min = 2))]
    pub floor: Option<i64>,
    /// Put before the names of the numbers.
    #[serde(default)]
    pub name: Option<String>,
}

#[component(
    "image-frechet",
    "Frechet distance of images (FID), against orbits, and its invariance",
    r#"{"type": "image-frechet", "features": {"classifier": "classifier.json"}, "orbit": "quarter-turns", "invariance": "quarter-turns"}"#
)]
impl MetricConfig for ImageFrechetConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        if let Some(count) = self.floor.filter(|count| *count < 2) {
            let message = format!("a distance needs two images at least, not {count}");
            return Err(Error::config("/floor", message));
        }
        Ok(Box::new(self.clone()))
    }
}

/// Images under every element of a group; the images themselves without one.
fn orbit(group: Option<PixelGroup>, images: &Tensor) -> Vec<Tensor> {
    match group {
        None => vec![images.shallow_clone()],
        Some(group) => {
            let action = ImagePermutation::new(group);
            (0..group.order()).map(|k| action.moved(k, images)).collect()
        }
    }
}

impl Metric for ImageFrechetConfig {
    fn reports(&self) -> Vec<String> {
        vec![named(self.name.as_ref(), "frechet*")]
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let (samples, reference) = (evaluation.samples.x(), evaluation.reference.x());
        finite("samples", samples)?;
        let network = self.features.load(evaluation)?;
        let of_all = |images: Vec<Tensor>| -> Result<Vec<Tensor>> {
            images.iter().map(|images| network.of(images)).collect()
        };
        let aside = self.floor.unwrap_or(0);
        let left = reference.size()[0] - aside;
        if left < 2 {
            let message = format!("{aside} of {} test images leave none", reference.size()[0]);
            return Err(Error::config("/floor", message)
                .with_help("raise `evaluate.reference`, or give null"));
        }
        let real = orbit(self.orbit, &reference.narrow(0, 0, left));
        let real = Tensor::f_cat(&of_all(real)?, 0)?;
        let name = |name: &str| named(self.name.as_ref(), name);
        let mut measured = Vec::new();
        if aside > 0 {
            let others = network.of(&reference.narrow(0, left, aside))?;
            let floor = frechet_distance(&others, &real)?;
            measured.push(Measured::neutral(name("frechet_floor"), floor));
        }
        let Some(group) = self.invariance else {
            let distance = frechet_distance(&network.of(samples)?, &real)?;
            measured.push(Measured::lower(name("frechet"), distance));
            return Ok(measured);
        };
        let turned = of_all(orbit(Some(group), samples))?;
        let from_real: Vec<f64> = turned
            .iter()
            .map(|features| frechet_distance(features, &real))
            .collect::<Result<_>>()?;
        let mut pairs = Vec::new();
        for (k, a) in turned.iter().enumerate() {
            for b in &turned[k + 1..] {
                // Rounding makes the distance of equal sets slightly negative.
                pairs.push(frechet_distance(a, b)?.max(0.0));
            }
        }
        let largest = |all: &[f64]| all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = from_real.iter().copied().fold(f64::INFINITY, f64::min);
        measured.extend([
            // The first element is the identity.
            Measured::lower(name("frechet"), from_real[0]),
            Measured::lower(name("frechet_invariance"), largest(&pairs)),
            Measured::neutral(
                name("frechet_invariance_mean"),
                pairs.iter().sum::<f64>() / pairs.len() as f64,
            ),
            Measured::lower(name("frechet_spread"), largest(&from_real) - smallest),
        ]);
        Ok(measured)
    }
}
