//! The U-Net of Dhariwal and Nichol (2021, ADM) as spdm.md 2.1 describes it, on convolutions that may
//! be tied or lifted.
//!
//! Features are channels-last in memory: convolutions, norms and attention all like that better.

use crate::embedding::{Layout, sinusoidal};
use crate::layers::Linear;
use crate::symmetric::{Boundary, Channels, Conv, ConvShape, Norm, Symmetry, channels_last};
use isotropy_core::{Error, Result};
use tch::Tensor;
use tch::nn::{Init, Path};

/// Sizes of the network.
#[derive(Debug, Clone)]
pub struct UnetSizes {
    /// Channels of the input (image, and what is put beside it).
    pub inputs: i64,
    /// Channels of the output.
    pub outputs: i64,
    /// Channels of the first level.
    pub channels: i64,
    /// Channels of each level over those of the first; the image is halved between levels.
    pub multipliers: Vec<i64>,
    /// Residual blocks of a level (one more on the way up).
    pub blocks: i64,
    /// Levels (by the factor by which their images are smaller) whose blocks are followed by attention.
    pub attention: Vec<i64>,
    /// Channels of an attention head.
    pub head_channels: i64,
    /// Probability with which features are dropped while training.
    pub dropout: f64,
    /// Rows and columns of the kernels; odd.
    pub kernel: i64,
    /// What convolutions see beyond the border.
    pub boundary: Boundary,
    /// Rows of the class table; none without classes.
    pub classes: Option<i64>,
    /// Whether the last layer of every residual branch and of the network starts at zero.
    pub zero_init: bool,
}

impl UnetSizes {
    /// Pixels that one of the coarsest level covers, in a row.
    pub fn factor(&self) -> i64 {
        1 << (self.multipliers.len() - 1)
    }
}

/// The period of the slowest frequency of the time embedding.
const PERIOD: f64 = 10_000.0;

/// Size of the image of a block's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resample {
    Keep,
    Halve,
    Double,
}

impl Resample {
    fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Self::Keep => x.shallow_clone(),
            // Averages and copies of 2x2 pixels commute with flips and quarter turns; a convolution
            // of stride 2 would not.
            Self::Halve => x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
            Self::Double => {
                let size = x.size();
                x.upsample_nearest2d([2 * size[2], 2 * size[3]], None, None)
            }
        }
    }
}

/// What the parts of a network share while it is built.
#[derive(Debug, Clone, Copy)]
struct Builder<'a> {
    sizes: &'a UnetSizes,
    symmetry: &'a Symmetry,
}

impl Builder<'_> {
    fn conv(&self, path: &Path, from: Channels, to: Channels, side: i64, last: bool) -> Conv {
        let zero = last && self.sizes.zero_init;
        Conv::new(path, self.symmetry, ConvShape { from, to, side, zero })
            .with_boundary(self.sizes.boundary)
    }
}

/// Norm, SiLU, (resampling,) convolution, norm with scale and shift by time and class, SiLU, dropout,
/// convolution; and the input (by a 1x1 convolution where the channels differ) added.
#[derive(Debug)]
struct Block {
    first_norm: Norm,
    first: Conv,
    embedding: Linear,
    second_norm: Norm,
    second: Conv,
    skip: Option<Conv>,
    resample: Resample,
    dropout: f64,
}

impl Block {
    fn new(
        path: &Path,
        with: Builder,
        (from, to): (Channels, Channels),
        resample: Resample,
    ) -> Self {
        let side = with.sizes.kernel;
        let skip = (from != to).then(|| with.conv(&(path / "skip"), from, to, 1, false));
        Self {
            first_norm: Norm::new(&(path / "first_norm"), from),
            first: with.conv(&(path / "first"), from, to, side, false),
            embedding: Linear::new(&(path / "embedding"), 4 * with.sizes.channels, 2 * to.fields),
            second_norm: Norm::new(&(path / "second_norm"), to),
            second: with.conv(&(path / "second"), to, to, side, true),
            skip,
            resample,
            dropout: with.sizes.dropout,
        }
    }

    /// `embedded` is SiLU of the embedding, `[B, 4 channels]`.
    fn forward(&self, x: &Tensor, embedded: &Tensor, train: bool) -> Tensor {
        let h = self.resample.apply(&self.first_norm.forward(x).silu());
        let x = self.resample.apply(x);
        let h = self.first.forward(&h);
        let modulation = self.embedding.forward(embedded).chunk(2, 1);
        let mut h = self.second_norm.modulated(&h, &modulation[0], &modulation[1]).silu();
        if train && self.dropout > 0.0 {
            h = h.dropout(self.dropout, true);
        }
        let h = self.second.forward(&h);
        match &self.skip {
            Some(skip) => skip.forward(&x) + h,
            None => x + h,
        }
    }

    fn convolutions(&self) -> impl Iterator<Item = &Conv> {
        [&self.first, &self.second].into_iter().chain(&self.skip)
    }
}

/// Self-attention over the pixels, without positions, hence equivariant. A head holds whole fields:
/// where orientations change places, products of queries and keys do not change.
#[derive(Debug)]
struct Attention {
    norm: Norm,
    qkv: Conv,
    projection: Conv,
    heads: i64,
}

impl Attention {
    fn new(path: &Path, with: Builder, channels: Channels) -> Result<Self> {
        let (total, of_head) = (channels.total(), with.sizes.head_channels);
        if total % of_head != 0 || of_head % channels.orientations != 0 {
            let message = format!(
                "heads of {of_head} channels do not divide {total} channels in fields of {}",
                channels.orientations
            );
            return Err(Error::config("/head_channels", message));
        }
        let three = Channels { fields: 3 * channels.fields, ..channels };
        Ok(Self {
            norm: Norm::new(&(path / "norm"), channels),
            qkv: with.conv(&(path / "qkv"), channels, three, 1, false),
            projection: with.conv(&(path / "projection"), channels, channels, 1, true),
            heads: total / of_head,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let (batch, pixels) = (size[0], size[2] * size[3]);
        let qkv = self.qkv.forward(&self.norm.forward(x));
        // [B, 3, heads, d, pixels] to three of [B, heads, pixels, d].
        let parts = qkv.reshape([batch, 3, self.heads, -1, pixels]).permute([1, 0, 2, 4, 3]);
        let part = |k: i64| parts.get(k);
        let mixed = Tensor::scaled_dot_product_attention(
            &part(0),
            &part(1),
            &part(2),
            None::<&Tensor>,
            0.0,
            false,
            None,
            false,
        );
        // Pixels before channels: channels-last.
        let mixed = mixed.transpose(1, 2).reshape([batch, size[2], size[3], size[1]]);
        x + self.projection.forward(&mixed.permute([0, 3, 1, 2]))
    }
}

/// A block with the attention behind it.
#[derive(Debug)]
struct Stage {
    block: Block,
    attention: Option<Attention>,
}

impl Stage {
    fn forward(&self, x: &Tensor, embedded: &Tensor, train: bool) -> Tensor {
        let h = self.block.forward(x, embedded, train);
        match &self.attention {
            Some(attention) => attention.forward(&h),
            None => h,
        }
    }
}

/// The network.
#[derive(Debug)]
pub struct Unet {
    time: [Linear; 2],
    classes: Option<Tensor>,
    stem: Conv,
    down: Vec<Stage>,
    middle: (Block, Attention, Block),
    /// Stages that take a kept image each, and the doubling behind some of them.
    up: Vec<(Stage, Option<Block>)>,
    last_norm: Norm,
    last: Conv,
    channels: i64,
}

impl Unet {
    /// Creates the variables under `path`.
    ///
    /// # Errors
    /// A configuration error where channels do not divide into fields or heads.
    pub fn new(path: &Path, sizes: &UnetSizes, symmetry: &Symmetry) -> Result<Self> {
        let with = Builder { sizes, symmetry };
        let levels: Vec<Channels> = sizes
            .multipliers
            .iter()
            .map(|multiplier| symmetry.features(multiplier * sizes.channels))
            .collect::<Result<_>>()?;
        let (Some(&first), Some(&deepest)) = (levels.first(), levels.last()) else {
            return Err(Error::config("/multipliers", "a U-Net has at least one level"));
        };
        let attention = |path: &Path, level: usize, channels: Channels| {
            let here = sizes.attention.contains(&(1 << level));
            here.then(|| Attention::new(path, with, channels)).transpose()
        };
        let stem_to = symmetry.features(sizes.channels)?;
        let stem = with.conv(
            &(path / "stem"),
            Channels::scalar(sizes.inputs),
            stem_to,
            sizes.kernel,
            false,
        );

        // The way down keeps an image after the stem and after every stage.
        let (mut kept, mut now) = (vec![stem_to], stem_to);
        let mut down = Vec::new();
        for (level, &channels) in levels.iter().enumerate() {
            for _ in 0..sizes.blocks {
                let at = path / "down" / down.len();
                let block = Block::new(&(&at / "block"), with, (now, channels), Resample::Keep);
                let attention = attention(&(&at / "attention"), level, channels)?;
                down.push(Stage { block, attention });
                now = channels;
                kept.push(now);
            }
            if level + 1 < levels.len() {
                let at = path / "down" / down.len();
                let block = Block::new(&(&at / "block"), with, (now, now), Resample::Halve);
                down.push(Stage { block, attention: None });
                kept.push(now);
            }
        }
        let middle = path / "middle";
        let inside = |name: &str| Block::new(&(&middle / name), with, (now, now), Resample::Keep);
        let middle = (
            inside("first"),
            Attention::new(&(&middle / "attention"), with, deepest)?,
            inside("second"),
        );
        let mut up = Vec::new();
        for (level, &channels) in levels.iter().enumerate().rev() {
            for k in 0..=sizes.blocks {
                let at = path / "up" / up.len();
                let taken = kept.pop().expect("as many images were kept as the way up takes");
                let ends = (now.and(taken), channels);
                let block = Block::new(&(&at / "block"), with, ends, Resample::Keep);
                let attention = attention(&(&at / "attention"), level, channels)?;
                now = channels;
                let double = (level > 0 && k == sizes.blocks)
                    .then(|| Block::new(&(&at / "double"), with, (now, now), Resample::Double));
                up.push((Stage { block, attention }, double));
            }
        }
        let width = 4 * sizes.channels;
        let outputs = Channels::scalar(sizes.outputs);
        Ok(Self {
            time: [
                Linear::new(&(path / "time_0"), sizes.channels, width),
                Linear::new(&(path / "time_1"), width, width),
            ],
            classes: sizes.classes.map(|rows| {
                let normal = Init::Randn { mean: 0.0, stdev: 1.0 };
                path.var("classes", &[rows, width], normal)
            }),
            stem,
            down,
            middle,
            up,
            last_norm: Norm::new(&(path / "last_norm"), first),
            last: with.conv(&(path / "last"), first, outputs, sizes.kernel, true),
            channels: sizes.channels,
        })
    }

    /// Images `[B, inputs, H, W]`, times `[B]` as the embedding sees them, and classes `[B]` (`Int64`)
    /// where the network has some, to `[B, outputs, H, W]`. Features have the kind of `x`; time and
    /// class are embedded in the kind of the weights.
    pub fn forward(&self, x: &Tensor, t: &Tensor, labels: Option<&Tensor>, train: bool) -> Tensor {
        let [first, second] = &self.time;
        let t = sinusoidal(t, self.channels, PERIOD, Layout::CosSin);
        let t = t.to_kind(first.variables()[0].kind());
        let mut embedding = second.forward(&first.forward(&t).silu());
        if let Some((table, labels)) = self.classes.as_ref().zip(labels) {
            embedding += table.index_select(0, labels);
        }
        let embedded = embedding.silu();

        let mut h = self.stem.forward(&channels_last(x));
        let mut kept = vec![h.shallow_clone()];
        for stage in &self.down {
            h = stage.forward(&h, &embedded, train);
            kept.push(h.shallow_clone());
        }
        let (before, attention, after) = &self.middle;
        h = attention.forward(&before.forward(&h, &embedded, train));
        h = after.forward(&h, &embedded, train);
        for (stage, double) in &self.up {
            let taken = kept.pop().expect("as many images were kept as the way up takes");
            h = stage.forward(&Tensor::cat(&[h, taken], 1), &embedded, train);
            if let Some(double) = double {
                h = double.forward(&h, &embedded, train);
            }
        }
        self.last.forward(&self.last_norm.forward(&h).silu())
    }

    /// Promises that the weights stay as they are, or takes the promise back ([`Conv::hold`]).
    pub fn hold(&self, held: bool) {
        self.convolutions().for_each(|conv| conv.hold(held));
    }

    /// The first convolution, to put another in its place: what tests of equivariance must notice.
    pub fn stem_mut(&mut self) -> &mut Conv {
        &mut self.stem
    }

    fn convolutions(&self) -> impl Iterator<Item = &Conv> {
        let (before, attention, after) = &self.middle;
        let stages = self.down.iter().chain(self.up.iter().map(|(stage, _)| stage));
        let attentions = stages.clone().filter_map(|stage| stage.attention.as_ref());
        let blocks = stages.map(|stage| &stage.block).chain([before, after]);
        let blocks = blocks.chain(self.up.iter().filter_map(|(_, double)| double.as_ref()));
        let attentions = attentions.chain([attention]);
        [&self.stem, &self.last]
            .into_iter()
            .chain(blocks.flat_map(Block::convolutions))
            .chain(attentions.flat_map(|attention| [&attention.qkv, &attention.projection]))
    }
}

/// Numbers of the published default for `attention`: levels whose image is 32, 16 or 8 pixels wide
/// where the side is a power of two; in general `side / 32`, `side / 16` and `side / 8`, rounded down,
/// as far as there are such levels (at 28 pixels the first level alone).
pub fn published_attention(side: i64) -> Vec<i64> {
    [32, 16, 8].iter().map(|n| side / n).filter(|&factor| factor >= 1).collect()
}

/// Multipliers of the levels for images of this side, as published.
pub fn published_multipliers(side: i64) -> Vec<i64> {
    match side {
        ..=32 => vec![1, 2, 4],
        33..=64 => vec![1, 2, 3, 4],
        65..=128 => vec![1, 1, 2, 3, 4],
        _ => vec![1, 1, 2, 2, 4, 4],
    }
}
