//! The score network for turn and shift.

use isotropy_core::{
    Error, KernelLaw, ModelConfig, ModelContext, Moves, Prediction, PredictionKind, Result, Scale,
    ScoreModel, State, TimeDomain, Xi, component, config, representation::as_type,
};
use isotropy_images::action::image_motion::{ImageMotion, MotionFrame};
use isotropy_images::action::motion::{quarter, turn};
use isotropy_images::classifier::{convolution, normalised};
use std::sync::Arc;
use tch::nn::{self, ModuleT};
use tch::{Kind, Tensor};

/// The score network for motions of an image: convolutions as in `digit-score-net`, wider. It sees the
/// moved image, the total motion of the lift and the time, and predicts the preconditioned score of
/// turn and shift in the frame of the drive.
#[config(default)]
#[derive(Clone)]
pub struct MotionScoreNetConfig {
    /// Channels of the first convolution; the others have 2, 4 and 8 times as many.
    #[schemars(range(min = 1, max = 512))]
    pub channels: i64,
    /// Units of the first layer behind the convolutions; the second has half as many.
    #[schemars(range(min = 2, max = 8192))]
    pub hidden: i64,
}

impl Default for MotionScoreNetConfig {
    fn default() -> Self {
        Self { channels: 8, hidden: 128 }
    }
}

#[component(
    "motion-score-net",
    "convolutional score network for turn and shift of an image",
    r#"{"type": "motion-score-net", "channels": 4, "hidden": 32}"#
)]
impl ModelConfig for MotionScoreNetConfig {
    fn build(&self, path: &nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        Ok(Box::new(MotionScoreNet::new(self, path, context)?))
    }
}

/// Halvings of the image.
const POOLINGS: u32 = 3;
/// Numbers beside the image: time, cosine and sine of the total angle, total shift.
const BESIDE: i64 = 5;

/// Four convolutions (3x3, batch norm, ReLU; pooling after all but the last), then two layers (batch
/// norm, ReLU) and a linear one.
///
/// What the picture shows is the motion `m = (beta, q)` between the upright digit and the canvas. In the
/// space frame the noise `(beta / sigma_a, q / sigma_s)` is a function of it alone, and the network's
/// three outputs are that. In the body frame the noise of the shift is
/// `R(-theta) (p - p_0) / sigma_s`, with `p_0 = R(-beta) (p - q)` and the total motion `(theta, p)` of
/// the lift:
/// `p - p_0 = (1 - cos beta) p + sin(beta) J p + R(-beta) q`. This is linear in five conditional means,
/// which are the outputs there: those of `beta`, `1 - cos beta` and `sin beta` over `sigma_a`, and of
/// `R(-beta) q` over `sigma_s`.
pub struct MotionScoreNet {
    convolutions: Vec<(nn::Conv2D, nn::BatchNorm)>,
    layers: Vec<(nn::Linear, nn::BatchNorm)>,
    last: nn::Linear,
    frame: MotionFrame,
    time: TimeDomain,
    kernel: Arc<dyn KernelLaw>,
    /// Half the shorter side, pixels.
    half: f64,
}

impl MotionScoreNet {
    /// Creates the variables under `path`.
    ///
    /// # Errors
    /// When values are no images of one channel that can be halved three times, or the drive is not
    /// `image-motion`.
    pub fn new(
        config: &MotionScoreNetConfig,
        path: &nn::Path,
        context: &ModelContext,
    ) -> Result<Self> {
        let value = &context.spec.value;
        let (Moves::Image, &[1, height, width]) = (value.moves, value.shape.as_slice()) else {
            let message = format!(
                "this network sees images of one channel; the dataset's values are {:?} of shape {:?}",
                value.moves, value.shape
            );
            return Err(Error::config("/type", message));
        };
        let least = 1 << POOLINGS;
        if height < least || width < least {
            let message = format!("images of {height}x{width} pixels cannot be halved three times");
            return Err(Error::config("/type", message));
        }
        let process = context.denoised()?;
        let drive = as_type::<ImageMotion>(process.drive().as_ref());
        let (Some(drive), Some(kernel)) = (drive, process.kernel()) else {
            let message = format!(
                "this network predicts a turn and a shift; the drive is {}",
                process.drive().name()
            );
            return Err(Error::config("/type", message).with_help("take the drive `image-motion`"));
        };
        if config.channels < 1 || config.hidden < 2 {
            return Err(Error::config("/hidden", "a layer has at least one unit"));
        }
        // PyTorch starts batch norm at weight 1; tch's default is a uniform draw.
        let norm = nn::BatchNormConfig { ws_init: nn::Init::Const(1.0), ..Default::default() };
        let c = config.channels;
        let convolutions = [(1, c), (c, 2 * c), (2 * c, 4 * c), (4 * c, 8 * c)];
        let features = 8 * c * (height >> POOLINGS) * (width >> POOLINGS) + BESIDE;
        let layers = [(features, config.hidden), (config.hidden, config.hidden / 2)];
        let outputs = match drive.fixed_in() {
            MotionFrame::Body => 5,
            MotionFrame::Space => 3,
        };
        Ok(Self {
            convolutions: convolutions
                .into_iter()
                .enumerate()
                .map(|(k, (inputs, outputs))| {
                    let block = path / format!("convolution_{k}");
                    let conv = convolution(&block / "conv", inputs, outputs);
                    (conv, nn::batch_norm2d(&block / "norm", outputs, norm))
                })
                .collect(),
            layers: layers
                .into_iter()
                .enumerate()
                .map(|(k, (inputs, outputs))| {
                    let block = path / format!("layer_{k}");
                    let linear = nn::linear(&block / "linear", inputs, outputs, Default::default());
                    (linear, nn::batch_norm1d(&block / "norm", outputs, norm))
                })
                .collect(),
            last: nn::linear(path / "last", config.hidden / 2, outputs, Default::default()),
            frame: drive.fixed_in(),
            time: process.time().clone(),
            kernel,
            half: 0.5 * height.min(width) as f64,
        })
    }

    fn outputs(&self, images: &Tensor, beside: &Tensor, train: bool) -> Tensor {
        let mut x = normalised(images);
        for (k, (conv, norm)) in self.convolutions.iter().enumerate() {
            x = norm.forward_t(&x.apply(conv), train).relu();
            if k < POOLINGS as usize {
                x = x.max_pool2d_default(2);
            }
        }
        let mut x = Tensor::cat(&[&x.flatten(1, -1), beside], 1);
        for (linear, norm) in &self.layers {
            x = norm.forward_t(&x.apply(linear), train).relu();
        }
        x.apply(&self.last)
    }

    /// Standard deviations `[B, 1]` of angle and shift.
    fn std(&self, t: &Tensor, kind: Kind) -> [Tensor; 2] {
        let t = t.to_kind(kind).reshape([-1, 1]);
        let kernel = self.kernel.tensors(&t);
        let of = |k: usize| match &kernel.std[k] {
            Scale::Same(std) => t.full_like(*std),
            Scale::Each(std) => std.reshape([-1, 1]),
        };
        [of(0), of(1)]
    }
}

impl ScoreModel for MotionScoreNet {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::PreconditionedScore
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        let kind = state.x().kind();
        let (motion, _) = ImageMotion::lifted(state);
        let label = self.time.label(t).to_kind(kind).reshape([-1, 1]);
        let (cos, sin) = (motion.angle.cos(), motion.angle.sin());
        let beside = Tensor::cat(&[label, cos, sin, &motion.shift / self.half], 1);
        let out = self.outputs(state.x(), &beside, train);
        let (angle, shift) = match self.frame {
            MotionFrame::Space => (out.narrow(1, 0, 1), out.narrow(1, 1, 2)),
            MotionFrame::Body => {
                let [of_angle, of_shift] = self.std(t, kind);
                let p = &motion.shift;
                let along = out.narrow(1, 1, 1) * p + out.narrow(1, 2, 1) * quarter(p);
                let moved = along * (of_angle / of_shift) + out.narrow(1, 3, 2);
                (out.narrow(1, 0, 1), turn(&motion.angle.neg(), &moved))
            }
        };
        let score = Xi(vec![angle.neg(), shift.neg()]);
        Ok(Prediction::one(PredictionKind::PreconditionedScore, score))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::{Field, FieldSpec, NoisingProcess, ProcessConfig, StateSpec, Streams};
    use isotropy_images::action::motion::Motion;
    use std::sync::Arc;
    use tch::Device;

    fn process(frame: MotionFrame) -> Box<dyn NoisingProcess> {
        let json = r#"{"type": "motion-ve", "steps": 20}"#;
        let config: Box<dyn ProcessConfig> = serde_json::from_str(json).unwrap();
        config.build(Arc::new(ImageMotion::new(frame))).unwrap()
    }

    fn build(
        process: &dyn NoisingProcess,
        shape: &[i64],
    ) -> Result<(nn::VarStore, MotionScoreNet)> {
        let store = nn::VarStore::new(Device::Cpu);
        let spec = StateSpec::new(FieldSpec::new(shape, Moves::Image));
        let context = ModelContext { spec: &spec, process: Some(process), symmetry: None };
        let config = MotionScoreNetConfig { channels: 2, hidden: 8 };
        let net = MotionScoreNet::new(&config, &store.root(), &context)?;
        Ok((store, net))
    }

    /// With outputs that know what the picture shows, the prediction is the noise of the process.
    #[test]
    fn the_outputs_make_up_the_noise_of_the_process() {
        for frame in [MotionFrame::Body, MotionFrame::Space] {
            let process = process(frame);
            let mut stream = Streams::new(6).stream("noise", 0);
            let options = (Kind::Double, Device::Cpu);
            let image = Tensor::zeros([1, 1, 16, 16], options);
            let start = Motion {
                angle: Tensor::from_slice(&[0.8]).reshape([1, 1]),
                shift: Tensor::from_slice(&[3.0, -2.0]).reshape([1, 2]),
            };
            let clean =
                ImageMotion::at(&State::new(Field::new(image, Moves::Image)), start.clone());
            let t = Tensor::full([1], 12.0, options);
            let perturbed = process.perturb(&clean, &t, &mut stream).unwrap();
            let (total, _) = ImageMotion::lifted(&perturbed.noisy);
            let shown = total.after(&start.inverse());

            let (mut store, mut net) = build(process.as_ref(), &[1, 16, 16]).unwrap();
            store.double();
            let [a, s] = net.std(&t, Kind::Double);
            let beta = &shown.angle;
            let known = match frame {
                MotionFrame::Space => Tensor::cat(&[beta / a, &shown.shift / s], 1),
                MotionFrame::Body => Tensor::cat(
                    &[
                        beta / &a,
                        (1.0 - beta.cos()) / &a,
                        beta.sin() / a,
                        turn(&beta.neg(), &shown.shift) / s,
                    ],
                    1,
                ),
            };
            tch::no_grad(|| {
                let _ = net.last.ws.zero_();
                net.last.bs.as_mut().unwrap().copy_(&known.squeeze_dim(0));
            });
            let predicted = tch::no_grad(|| net.predict(&perturbed.noisy, &t, false)).unwrap();
            for (head, noise) in predicted.heads[0].0.iter().zip(&perturbed.noise().unwrap().0) {
                assert!((head + noise).abs().max().double_value(&[]) < 1e-10, "{frame:?}");
            }
        }
    }

    #[test]
    fn images_that_are_too_small_or_coloured_are_refused() {
        let process = process(MotionFrame::Body);
        for (shape, word) in [([1, 4, 40], "halved"), ([3, 40, 40], "one channel")] {
            let error = build(process.as_ref(), &shape).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
