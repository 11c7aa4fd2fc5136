//! The U-Net as a score model: what it is given, what it predicts, what it claims.

use crate::symmetric::{Boundary, InitialScale, Symmetry, SymmetryBy};
use crate::unet::{Unet, UnetSizes, published_attention, published_multipliers};
use isotropy_core::{
    Error, ModelConfig, ModelContext, Moves, Prediction, PredictionKind, Representation, Result,
    ScoreModel, State, TimeDomain, component, config, representation::as_type,
};
use isotropy_images::action::{ImagePermutation, ImageShift, PixelGroup};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

/// Context field with the other end of a bridge, which a network sees where there is one.
const END: &str = "end";

/// A U-Net for images (Dhariwal and Nichol 2021): residual blocks with scale and shift by time and
/// class, attention, averages on the way down and copies on the way up. Optionally equivariant under
/// flips and quarter turns.
#[config(default)]
#[derive(Clone)]
pub struct UnetConfig {
    /// Channels of the first level, orientations included.
    #[schemars(range(min = 1, max = 4096))]
    pub channels: i64,
    /// Channels of each level over those of the first; the image is halved between levels. Null: by the
    /// size of the images, as published (1, 2, 4 up to 32 pixels; 1, 2, 3, 4 up to 64; then deeper).
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 64)))]
    pub multipliers: Option<Vec<i64>>,
    /// Residual blocks of a level; one more on the way up.
    #[schemars(range(min = 1, max = 16))]
    pub blocks: i64,
    /// Levels whose blocks are followed by attention, by the factor by which their images are smaller
    /// (1, 2, 4, ..); there is always one in the middle. Null: as published, `side / 32`, `side / 16` and
    /// `side / 8`, rounded down.
    #[schemars(inner(range(min = 1, max = 1024)))]
    pub attention: Option<Vec<i64>>,
    /// Channels of an attention head, orientations included.
    #[schemars(range(min = 1, max = 4096))]
    pub head_channels: i64,
    /// Probability with which features are dropped while training.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// Rows and columns of the kernels; odd. Tied kernels of 3x3 cannot tell quarter turns from the full
    /// symmetry of the square: take 5, or `lifted`.
    #[schemars(range(min = 1, max = 15))]
    pub kernel: i64,
    /// What convolutions see beyond the border: `zeros`, or `periodic`, the other side of the image. A periodic network commutes
    /// with shifts (`image-shift`) by the pixels that one of its coarsest level covers.
    pub boundary: Boundary,
    /// Rows of the class table (the context field `label` counts from 0); null for no classes. The
    /// released code has 1000 whatever the data.
    #[schemars(inner(range(min = 1, max = 1_000_000)))]
    pub classes: Option<i64>,
    /// Whether the network sees an earlier estimate of the clean image (the context field `estimate`;
    /// zeros where there is none), in front of the image.
    pub self_conditioning: bool,
    /// Context fields, images of the size of the value, that the network sees behind the image. Null:
    /// the other end of a bridge (`end`), where there is one.
    pub condition_on: Option<Vec<String>>,
    /// How the network is made equivariant.
    pub symmetry_by: SymmetryBy,
    /// The group; null for that of the configured `symmetry`.
    pub group: Option<PixelGroup>,
    /// The scale of initial weights.
    pub initial_scale: InitialScale,
    /// What it predicts.
    pub predicts: PredictionKind,
    /// Precision of the features; weights, embeddings and the prediction are of the run's kind.
    pub precision: Precision,
    /// Whether the last layer of every residual branch and of the network starts at zero, as published.
    /// A fresh network then predicts zero, which is equivariant whatever its kernels.
    pub zero_init: bool,
}

/// Precision of features.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// The run's own.
    #[default]
    Full,
    /// 16 bits, 8 of them for the mantissa: about half the time where the processor supports it, and
    /// rounding errors of about one in 200.
    Bf16,
}

impl Default for UnetConfig {
    fn default() -> Self {
        Self {
            channels: 64,
            multipliers: None,
            blocks: 1,
            attention: None,
            head_channels: 32,
            dropout: 0.1,
            kernel: 3,
            boundary: Boundary::Zeros,
            classes: None,
            self_conditioning: false,
            condition_on: None,
            symmetry_by: SymmetryBy::None,
            group: None,
            initial_scale: InitialScale::Matched,
            predicts: PredictionKind::Clean,
            precision: Precision::Full,
            zero_init: true,
        }
    }
}

#[component(
    "unet",
    "a U-Net for images, optionally equivariant under flips and quarter turns",
    r#"{"type": "unet", "channels": 16, "multipliers": [1, 2], "attention": [2], "head_channels": 8, "symmetry_by": "lifted", "group": "quarter-turns"}"#
)]
impl ModelConfig for UnetConfig {
    fn build(&self, path: &Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        Ok(Box::new(UnetModel::new(self, path, context)?))
    }
}

/// The time that the embedding sees over the label of the process.
const TIME_SCALE: f64 = 1000.0;

/// The network with what it needs to read a state.
#[derive(Debug)]
pub struct UnetModel {
    network: Unet,
    time: TimeDomain,
    predicts: PredictionKind,
    precision: Precision,
    self_conditioning: bool,
    beside: Vec<String>,
    classes: Option<i64>,
    claims: bool,
}

impl UnetModel {
    /// Builds the network for the shapes of the context.
    ///
    /// # Errors
    /// A configuration error where values are no images that the network can halve, or fields that it is
    /// to see are missing.
    pub fn new(config: &UnetConfig, path: &Path, context: &ModelContext) -> Result<Self> {
        let (channels, side) = config.image(context)?;
        if config.predicts.heads() != 1 || config.predicts == PredictionKind::Logits {
            return Err(Error::config(
                "/predicts",
                "a U-Net has one head with the shape of the image",
            ));
        }
        let acting =
            context.symmetry.and_then(|symmetry| as_type::<ImagePermutation>(symmetry.as_ref()));
        let group = config.group.or(acting.map(ImagePermutation::pixels));
        let symmetry = Symmetry::new(config.symmetry_by, group, config.initial_scale)?;
        if let (Some(group), [height, width]) = (symmetry.group(), side)
            && group.needs_square()
            && height != width
        {
            let message = format!("quarter turns need square images, not {height}x{width}");
            return Err(Error::config("/group", message));
        }
        let beside = config.beside(context)?;
        let copies = 1 + i64::from(config.self_conditioning);
        let sizes = config.sizes(channels, channels * copies + beside.1, side)?;
        if config.classes.is_some() && context.spec.given(State::LABEL).is_none() {
            return Err(Error::config("/classes", "the dataset gives no context field `label`"));
        }
        // Tied features are scalars, so the network commutes with whatever its kernels commute with.
        let commutes = symmetry.commutes(config.kernel);
        let turns = acting.zip(commutes).is_some_and(|(action, ours)| {
            ours.contains(action.pixels()) && action.accepts(context.spec).is_ok()
        });
        let shifting =
            context.symmetry.and_then(|symmetry| as_type::<ImageShift>(symmetry.as_ref()));
        let shifts = shifting.is_some_and(|action| {
            config.boundary == Boundary::Periodic
                && action.step() % sizes.factor() == 0
                && action.accepts(context.spec).is_ok()
        });
        Ok(Self {
            network: Unet::new(path, &sizes, &symmetry)?,
            time: context.denoised()?.time().clone(),
            predicts: config.predicts,
            precision: config.precision,
            self_conditioning: config.self_conditioning,
            beside: beside.0,
            classes: config.classes,
            claims: turns || shifts,
        })
    }

    /// The network inside.
    pub fn network_mut(&mut self) -> &mut Unet {
        &mut self.network
    }

    fn labels(&self, state: &State) -> Result<Option<Tensor>> {
        let Some(classes) = self.classes else { return Ok(None) };
        let labels = &state.given(State::LABEL)?.tensor;
        // Reading back from an accelerator would stop it at every step; it checks indices itself.
        if labels.device() == Device::Cpu && labels.numel() > 0 {
            let (low, high) = (labels.min().double_value(&[]), labels.max().double_value(&[]));
            if labels.kind() != Kind::Int64 || low < 0.0 || high >= classes as f64 {
                return Err(Error::Unsupported(format!(
                    "labels from {low} to {high} ({:?}) where the network knows the classes 0 to {}",
                    labels.kind(),
                    classes - 1
                )));
            }
        }
        Ok(Some(labels.shallow_clone()))
    }
}

impl UnetConfig {
    /// Channels and sides of the images, checked.
    fn image(&self, context: &ModelContext) -> Result<(i64, [i64; 2])> {
        let value = &context.spec.value;
        let (Moves::Image, &[channels, height, width]) = (value.moves, value.shape.as_slice())
        else {
            let message = format!(
                "a U-Net sees images [C, H, W]; the dataset's values are {:?} of shape {:?}",
                value.moves, value.shape
            );
            return Err(Error::config("/type", message));
        };
        if context.xi_shape()? != [value.shape.clone()] {
            let message =
                "a U-Net predicts one number for each pixel; the drive has other coefficients";
            return Err(Error::config("/type", message).with_help("take the drive `translations`"));
        }
        Ok((channels, [height, width]))
    }

    /// The fields beside the image, and their channels.
    fn beside(&self, context: &ModelContext) -> Result<(Vec<String>, i64)> {
        let names = match &self.condition_on {
            Some(names) => names.clone(),
            None => context.spec.given(END).map(|_| END.to_string()).into_iter().collect(),
        };
        let mut channels = 0;
        for (k, name) in names.iter().enumerate() {
            let pointer = || format!("/condition_on/{k}");
            let field = context.spec.given(name).ok_or_else(|| {
                Error::config(pointer(), format!("the dataset gives no context field `{name}`"))
            })?;
            let value = &context.spec.value.shape;
            match (field.moves, field.shape.as_slice()) {
                (Moves::Image, &[own, h, w]) if value[1..] == [h, w] => channels += own,
                (moves, shape) => {
                    let message =
                        format!("`{name}` is no image of the value's size: {moves:?} {shape:?}");
                    return Err(Error::config(pointer(), message));
                }
            }
        }
        Ok((names, channels))
    }

    fn sizes(&self, outputs: i64, inputs: i64, side: [i64; 2]) -> Result<UnetSizes> {
        let longest = side[0].max(side[1]);
        let multipliers =
            self.multipliers.clone().unwrap_or_else(|| published_multipliers(longest));
        let halvings = multipliers.len().saturating_sub(1) as u32;
        let factor = 2_i64.checked_pow(halvings).unwrap_or(i64::MAX);
        if side.iter().any(|n| n % factor != 0) {
            let message = format!(
                "{} levels halve the image {halvings} times, and {}x{} pixels do not divide by {factor}",
                multipliers.len(),
                side[0],
                side[1]
            );
            return Err(Error::config("/multipliers", message));
        }
        if self.kernel % 2 == 0 {
            return Err(Error::config("/kernel", "kernels have an odd number of rows"));
        }
        let coarsest = side.iter().map(|n| n / factor).min().unwrap_or(0);
        if self.boundary == Boundary::Periodic && self.kernel / 2 > coarsest {
            let message = format!(
                "kernels of {} rows go more than once around images of {coarsest} pixels, the coarsest level's",
                self.kernel
            );
            return Err(Error::config("/kernel", message));
        }
        if self.channels % 2 != 0 {
            return Err(Error::config("/channels", "the time embedding needs an even number"));
        }
        let attention = match &self.attention {
            None => published_attention(longest),
            Some(factors) => {
                let known = |f: &i64| (0..multipliers.len()).any(|level| *f == 1 << level);
                if let Some(k) = factors.iter().position(|f| !known(f)) {
                    let message = format!("no level has images smaller by {}", factors[k]);
                    return Err(Error::config(format!("/attention/{k}"), message));
                }
                factors.clone()
            }
        };
        Ok(UnetSizes {
            inputs,
            outputs,
            channels: self.channels,
            multipliers,
            blocks: self.blocks,
            attention,
            head_channels: self.head_channels,
            dropout: self.dropout,
            kernel: self.kernel,
            boundary: self.boundary,
            classes: self.classes,
            zero_init: self.zero_init,
        })
    }
}

impl ScoreModel for UnetModel {
    fn predicts(&self) -> PredictionKind {
        self.predicts
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        let x = state.x();
        let mut images = Vec::with_capacity(2 + self.beside.len());
        if self.self_conditioning {
            images.push(match state.given(State::ESTIMATE) {
                Ok(field) => field.tensor.shallow_clone(),
                Err(_) => x.zeros_like(),
            });
        }
        images.push(x.shallow_clone());
        for name in &self.beside {
            images.push(state.given(name)?.tensor.shallow_clone());
        }
        let seen = if images.len() == 1 { images.remove(0) } else { Tensor::f_cat(&images, 1)? };
        let seen = match self.precision {
            Precision::Full => seen,
            Precision::Bf16 => seen.to_kind(Kind::BFloat16),
        };
        let t = self.time.label(t) * TIME_SCALE;
        let out = self.network.forward(&seen, &t, self.labels(state)?.as_ref(), train);
        // Contiguous as other coefficients are.
        Ok(Prediction::one(self.predicts, out.to_kind(x.kind()).contiguous()))
    }

    fn claims_symmetry(&self) -> bool {
        self.claims
    }

    fn hold(&self, held: bool) {
        self.network.hold(held);
    }
}
