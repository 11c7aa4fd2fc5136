//! Quality of images against a truth: mean square error, PSNR, SSIM, LPIPS.

use super::features::load_script;
use super::{finite, named};
use isotropy_core::{Error, Evaluation, Measured, Metric, MetricConfig, Result, component, config};
use tch::{Kind, Tensor};

/// `mse`, `psnr` (dB) and `ssim` of samples against a truth, image by image, averaged; with a network also
/// `lpips`. Images are compared at their own size and in their own range, from -1 to 1.
#[config]
#[derive(Clone)]
pub struct ImageQualityConfig {
    /// Context field with the truth; null for the test images in their order, which are the truth of samples
    /// that start from what the test split gives (`sampling.start`, a bridge).
    #[serde(default)]
    pub against: Option<String>,
    /// A TorchScript file that maps two batches of images from -1 to 1 (three channels) to a distance for
    /// each pair: LPIPS (Zhang et al. 2018). Relative names start at the data folder; null for none.
    #[serde(default)]
    pub lpips: Option<String>,
    /// Put before the names of the numbers.
    #[serde(default)]
    pub name: Option<String>,
}

#[component(
    "image-quality",
    "mean square error, PSNR, SSIM and LPIPS against a truth",
    r#"{"type": "image-quality"}"#
)]
impl MetricConfig for ImageQualityConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        Ok(Box::new(self.clone()))
    }
}

/// Width of the range from -1 to 1.
const RANGE: f64 = 2.0;

/// `10 log10(range^2 / mean square error)` of each pair of images `[N, C, H, W]`, decibels: `[N]`; infinite
/// for equal images.
pub fn psnr(a: &Tensor, b: &Tensor, range: f64) -> Tensor {
    let error = (a - b).to_kind(Kind::Double).square().flatten(1, -1);
    (error.mean_dim(1, false, None) / (range * range)).log10() * -10.0
}

/// Structural similarity (Wang et al. 2004) of each pair of images `[N, C, H, W]`, `[N]`: the mean over all
/// places and channels of `(2 m_a m_b + c_1) (2 s_ab + c_2) / ((m_a^2 + m_b^2 + c_1) (s_a^2 + s_b^2 +
/// c_2))`, with moments under a normal window of 11x11 pixels and standard deviation 1.5 that lies
/// within the image, `c_1 = (0.01 range)^2`, `c_2 = (0.03 range)^2`. In images smaller than 11 pixels
/// the window is the largest odd one that fits.
pub fn ssim(a: &Tensor, b: &Tensor, range: f64) -> Tensor {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let size = a.size();
    let channels = size[1];
    let fits = size[2].min(size[3]);
    let width = 11.min(fits - (fits + 1) % 2);
    let offsets = Tensor::arange(width, (Kind::Double, a.device())) - (width - 1) as f64 / 2.0;
    let line = (offsets.square() / (-2.0 * 1.5 * 1.5)).exp();
    let line = &line / line.sum(Kind::Double);
    let window = line.outer(&line).reshape([1, 1, width, width]).repeat([channels, 1, 1, 1]);
    let mean = |x: &Tensor| x.conv2d(&window, None::<&Tensor>, [1, 1], [0, 0], [1, 1], channels);
    let (ma, mb) = (mean(&a), mean(&b));
    let (va, vb) = (mean(&a.square()) - ma.square(), mean(&b.square()) - mb.square());
    let covariance = mean(&(&a * &b)) - &ma * &mb;
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let above = (&ma * &mb * 2.0 + c1) * (covariance * 2.0 + c2);
    let below = (ma.square() + mb.square() + c1) * (va + vb + c2);
    (above / below).flatten(1, -1).mean_dim(1, false, None)
}

impl Metric for ImageQualityConfig {
    fn reports(&self) -> Vec<String> {
        ["mse", "psnr", "ssim", "lpips"].map(|name| named(self.name.as_ref(), name)).to_vec()
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let samples = evaluation.samples.x();
        finite("samples", samples)?;
        let truth = match &self.against {
            Some(field) => evaluation.samples.given(field)?.tensor.shallow_clone(),
            None => evaluation.reference.x().shallow_clone(),
        };
        if truth.size()[1..] != samples.size()[1..] || truth.size()[0] < samples.size()[0] {
            return Err(Error::Unsupported(format!(
                "samples {:?} cannot be compared with a truth {:?} image by image",
                samples.size(),
                truth.size()
            )));
        }
        let truth = truth.narrow(0, 0, samples.size()[0]);
        let name = |name: &str| named(self.name.as_ref(), name);
        let mean = |a: Tensor| a.mean(Kind::Double).double_value(&[]);
        let mut measured = vec![
            Measured::lower(name("mse"), mean((samples - &truth).square())),
            Measured::higher(name("psnr"), mean(psnr(samples, &truth, RANGE))),
            Measured::higher(name("ssim"), mean(ssim(samples, &truth, RANGE))),
        ];
        if let Some(file) = &self.lpips {
            let module = load_script(file, evaluation)?;
            let three = |a: &Tensor| {
                let a = a.to_kind(Kind::Float);
                if a.size()[1] == 1 { a.repeat([1, 3, 1, 1]) } else { a }
            };
            let mut sum = 0.0;
            let count = samples.size()[0];
            for start in (0..count).step_by(50) {
                let part = |a: &Tensor| three(&a.narrow(0, start, 50.min(count - start)));
                let distance = module.forward_ts(&[part(samples), part(&truth)])?;
                sum += distance.sum(Kind::Double).double_value(&[]);
            }
            measured.push(Measured::lower(name("lpips"), sum / count as f64));
        }
        Ok(measured)
    }
}
