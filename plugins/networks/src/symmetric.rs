//! Convolutions and norms for images whose features move as scalars, or as regular fields of a group
//! of flips and quarter turns. Each is one dense convolution, whatever the symmetry: the kernel is
//! made of the free weights first.

use crate::symmetric_kernel::{Lift, Tying};
use isotropy_core::{Error, Result, config};
use isotropy_images::action::PixelGroup;
use std::cell::RefCell;
use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

/// How a network of convolutions is made equivariant.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum SymmetryBy {
    /// Not at all.
    #[default]
    None,
    /// Tied kernels (`_S`): the cells of an orbit share one weight. Features are scalars.
    TiedS,
    /// Summed kernels (`_K`): the free kernel is summed over the group. Features are scalars.
    TiedK,
    /// Features are regular fields: a channel for each element of the group (p4, p4m, ..). Widths count
    /// all channels, so the network has about `1 / order` of the parameters and the same cost.
    Lifted,
    /// `tied-k` of the group `square` as the released code sums it: reflections count half and the
    /// bias twice. Equivariant for kernels of 3x3 only.
    PublishedTiedK,
    /// `tied-s` of a mirror as the released code trains it: layers that start at zero have lost their
    /// mask and are free. Not equivariant.
    PublishedTiedS,
}

/// The scale of initial weights.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum InitialScale {
    /// The entries of the kernel have, root mean square, the size of a free kernel's.
    #[default]
    Matched,
    /// The free weights have the size of a free kernel's. Sums over the group are then larger: for
    /// `tied-k` twofold (C_4, corners and edges) to fourfold (C_4, centre).
    Published,
}

/// What a convolution sees beyond the border of an image.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Boundary {
    /// Zeros.
    #[default]
    Zeros,
    /// The other side of the image, as if it were on a torus: convolutions then commute with shifts.
    Periodic,
}

/// A group and how a network is equivariant under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symmetry {
    by: SymmetryBy,
    group: Option<PixelGroup>,
    scale: InitialScale,
}

impl Symmetry {
    /// No symmetry.
    pub fn none() -> Self {
        Self { by: SymmetryBy::None, group: None, scale: InitialScale::Matched }
    }

    /// Equivariance under a group.
    ///
    /// # Errors
    /// A configuration error where the way needs a group and has none, or does not exist for it.
    pub fn new(by: SymmetryBy, group: Option<PixelGroup>, scale: InitialScale) -> Result<Self> {
        if by == SymmetryBy::None {
            return Ok(Self { by, group: None, scale });
        }
        let Some(group) = group else {
            return Err(Error::config("/group", "an equivariant network needs a `group`")
                .with_help("name one, or give the experiment a `symmetry` of pixels"));
        };
        let mirror = matches!(group, PixelGroup::HorizontalFlip | PixelGroup::VerticalFlip);
        match by {
            SymmetryBy::PublishedTiedK if group != PixelGroup::Square => {
                let message = "`published-tied-k` differs from `tied-k` for the group square only";
                Err(Error::config("/symmetry_by", message))
            }
            SymmetryBy::PublishedTiedS if !mirror => {
                let message = "`published-tied-s` differs from `tied-s` for a single mirror only";
                Err(Error::config("/symmetry_by", message))
            }
            _ => Ok(Self { by, group: Some(group), scale }),
        }
    }

    /// The group, if there is one.
    pub fn group(&self) -> Option<PixelGroup> {
        self.group
    }

    /// The group under which convolutions with kernels of this side commute.
    pub fn commutes(&self, side: i64) -> Option<PixelGroup> {
        match self.by {
            SymmetryBy::None | SymmetryBy::PublishedTiedS => None,
            SymmetryBy::PublishedTiedK if side > 3 => Some(PixelGroup::QuarterTurns),
            // A 3x3 kernel with one corner, one edge and one centre is that of the square.
            SymmetryBy::TiedS | SymmetryBy::TiedK
                if self.group == Some(PixelGroup::QuarterTurns) && side <= 3 =>
            {
                Some(PixelGroup::Square)
            }
            _ => self.group,
        }
    }

    /// Channels of one field of features.
    pub fn orientations(&self) -> i64 {
        match (self.by, self.group) {
            (SymmetryBy::Lifted, Some(group)) => group.order(),
            _ => 1,
        }
    }

    /// `channels` channels of features as fields.
    ///
    /// # Errors
    /// When the orientations do not divide them.
    pub fn features(&self, channels: i64) -> Result<Channels> {
        let order = self.orientations();
        if channels % order != 0 {
            let message =
                format!("{channels} channels cannot hold fields of {order} orientations each");
            return Err(Error::config("/channels", message)
                .with_help(format!("take a multiple of {order}")));
        }
        Ok(Channels { fields: channels / order, orientations: order })
    }

    fn tying(&self, zero: bool) -> Option<Tying> {
        match self.by {
            SymmetryBy::None | SymmetryBy::Lifted => None,
            SymmetryBy::TiedS => Some(Tying::Orbits),
            SymmetryBy::TiedK => Some(Tying::Sum),
            SymmetryBy::PublishedTiedK => Some(Tying::PublishedSquareSum),
            SymmetryBy::PublishedTiedS if zero => Some(Tying::PublishedLostMask),
            SymmetryBy::PublishedTiedS => Some(Tying::Orbits),
        }
    }
}

/// The channels of an image of features: fields, each with its orientations beside one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// Number of fields.
    pub fields: i64,
    /// Channels of a field; 1 for scalars.
    pub orientations: i64,
}

impl Channels {
    /// Scalar channels: pixels, and features without orientations.
    pub fn scalar(channels: i64) -> Self {
        Self { fields: channels, orientations: 1 }
    }

    /// All channels.
    pub fn total(self) -> i64 {
        self.fields * self.orientations
    }

    /// Both behind one another.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { fields: self.fields + other.fields, orientations: self.orientations }
    }
}

/// How the dense kernel is made of the weights.
#[derive(Debug)]
enum Expansion {
    /// It is the weights.
    Dense,
    /// One factor: tied kernels of one cell.
    Scaled(f64),
    /// A matrix on the cells; a table in double precision, and its copy in the kind and on the device
    /// of the weights.
    Tied { matrix: Tensor, copy: RefCell<Option<Tensor>> },
    /// A table of places ([`Lift::index`]), and its copy on the device of the weights.
    Lifted { index: Tensor, copy: RefCell<Option<Tensor>> },
}

/// A convolution of stride 1 that keeps the size of the image, with an odd kernel and a bias.
#[derive(Debug)]
pub struct Conv {
    weight: Tensor,
    bias: Tensor,
    /// Factor of the bias; 1 but for a published variant.
    bias_factor: f64,
    from: Channels,
    to: Channels,
    side: i64,
    boundary: Boundary,
    expansion: Expansion,
    /// The dense kernel and bias while the weights are held.
    kept: RefCell<Option<(Tensor, Tensor)>>,
    held: std::cell::Cell<bool>,
}

/// What a convolution is built from.
#[derive(Debug, Clone, Copy)]
pub struct ConvShape {
    /// Channels of the source.
    pub from: Channels,
    /// Channels of the result.
    pub to: Channels,
    /// Rows and columns of the kernel; odd.
    pub side: i64,
    /// Whether weights and bias start at zero.
    pub zero: bool,
}

impl Conv {
    /// Creates `weight` (`[to, from, side, side]`; `[to, from, orientations, side, side]` in fields
    /// where the source has orientations) and `bias` (one for each field of the result) under `path`,
    /// drawn as PyTorch draws them: from `U(-a, a)` with `a = 1 / sqrt(channels of the source times
    /// cells)`, the weights times the factor of [`InitialScale`].
    pub fn new(path: &Path, symmetry: &Symmetry, shape: ConvShape) -> Self {
        let ConvShape { from, to, side, zero } = shape;
        let bound = 1.0 / ((from.total() * side * side) as f64).sqrt();
        let (expansion, weight_shape, factor) = match symmetry.group {
            Some(group) if symmetry.by == SymmetryBy::Lifted => {
                let lift = match (from.orientations, to.orientations) {
                    (1, _) => Lift::In,
                    (_, 1) => Lift::Out,
                    _ => Lift::Group,
                };
                let (_, _, free) = lift.orientations(group);
                let index = lift.index(group, side);
                let shape = vec![to.fields, from.fields, free, side, side];
                (Expansion::Lifted { index, copy: RefCell::default() }, shape, 1.0)
            }
            _ => {
                let shape = vec![to.total(), from.total(), side, side];
                match symmetry.tying(zero).zip(symmetry.group) {
                    None => (Expansion::Dense, shape, 1.0),
                    Some((tying, group)) => {
                        let matrix = tying.matrix(group, side, side);
                        let size = matrix.square().sum(Kind::Double).double_value(&[]);
                        let matched = ((side * side) as f64 / size).sqrt();
                        (tied(matrix, side), shape, matched)
                    }
                }
            }
        };
        let doubled = symmetry.by == SymmetryBy::PublishedTiedK;
        let factor = if symmetry.scale == InitialScale::Matched { factor } else { 1.0 };
        let draw = |bound: f64| {
            if zero { Init::Const(0.0) } else { Init::Uniform { lo: -bound, up: bound } }
        };
        Self {
            weight: path.var("weight", &weight_shape, draw(bound * factor)),
            bias: path.var("bias", &[to.fields], draw(bound)),
            bias_factor: if doubled { 2.0 } else { 1.0 },
            from,
            to,
            side,
            boundary: Boundary::Zeros,
            expansion,
            kept: RefCell::default(),
            held: std::cell::Cell::new(false),
        }
    }

    /// The same convolution with something else beyond the border than zeros.
    #[must_use]
    pub fn with_boundary(self, boundary: Boundary) -> Self {
        Self { boundary, ..self }
    }

    /// The dense kernel, `[to, from, side, side]` in channels.
    pub fn kernel(&self) -> Tensor {
        let size = [self.to.total(), self.from.total(), self.side, self.side];
        let cells = self.side * self.side;
        match &self.expansion {
            Expansion::Dense => self.weight.shallow_clone(),
            Expansion::Scaled(factor) => &self.weight * *factor,
            Expansion::Tied { matrix, copy } => {
                let matrix = self.copy_of(matrix, copy, self.weight.kind());
                self.weight.reshape([-1, cells]).matmul(&matrix.tr()).reshape(size)
            }
            Expansion::Lifted { index, copy } => {
                let index = self.copy_of(index, copy, Kind::Int64);
                let (o, i) = (self.to.fields, self.from.fields);
                let (r, s) = (self.to.orientations, self.from.orientations);
                let all = self.weight.reshape([o * i, -1]).index_select(1, &index);
                // [o, i, r, s, cells] to [o, r, i, s, cells].
                all.reshape([o, i, r, s, cells]).permute([0, 2, 1, 3, 4]).reshape(size)
            }
        }
    }

    /// One number for each channel of the result.
    fn dense_bias(&self) -> Tensor {
        let bias = if self.bias_factor == 1.0 {
            self.bias.shallow_clone()
        } else {
            &self.bias * self.bias_factor
        };
        repeated(&bias, self.to.orientations)
    }

    fn copy_of(&self, table: &Tensor, copy: &RefCell<Option<Tensor>>, kind: Kind) -> Tensor {
        let device = self.weight.device();
        let mut copy = copy.borrow_mut();
        match copy.as_ref().filter(|c| c.kind() == kind && c.device() == device) {
            Some(found) => found.shallow_clone(),
            None => {
                let new = tch::no_grad(|| table.to_kind(kind).to_device(device));
                *copy = Some(new.shallow_clone());
                new
            }
        }
    }

    /// Promises that the weights stay as they are until the promise is taken back: the kernel is made
    /// once, at the next evaluation without gradients.
    pub fn hold(&self, held: bool) {
        self.held.set(held);
        *self.kept.borrow_mut() = None;
    }

    /// Images `[B, from, H, W]` to `[B, to, H, W]`. The kernel follows the kind of the images, which
    /// may be of lower precision than the weights.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (kernel, bias) = self.kernel_in(x.kind());
        let padding = self.side / 2;
        if self.boundary == Boundary::Periodic && padding > 0 {
            let around = channels_last(&x.pad([padding; 4], "circular", None));
            return around.conv2d(&kernel, Some(bias), [1, 1], [0, 0], [1, 1], 1);
        }
        x.conv2d(&kernel, Some(bias), [1, 1], [padding, padding], [1, 1], 1)
    }

    fn kernel_in(&self, kind: Kind) -> (Tensor, Tensor) {
        let keep = self.held.get() && !records_gradients(&self.bias);
        let mut kept = self.kept.borrow_mut();
        match kept.as_ref().filter(|(kernel, _)| keep && kernel.kind() == kind) {
            Some((kernel, bias)) => (kernel.shallow_clone(), bias.shallow_clone()),
            None => {
                let (kernel, bias) = (self.kernel().to_kind(kind), self.dense_bias().to_kind(kind));
                if keep {
                    *kept = Some((kernel.shallow_clone(), bias.shallow_clone()));
                }
                (kernel, bias)
            }
        }
    }
}

/// The same images with their channels beside one another in memory.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Whether operations on this variable are recorded for gradients at the moment.
fn records_gradients(variable: &Tensor) -> bool {
    variable.requires_grad() && variable.narrow(0, 0, 1).neg().requires_grad()
}

/// The cheapest way to apply a tying matrix.
fn tied(matrix: Tensor, side: i64) -> Expansion {
    let identity = Tensor::eye(side * side, (Kind::Double, tch::Device::Cpu));
    if matrix == identity {
        Expansion::Dense
    } else if side == 1 {
        Expansion::Scaled(matrix.double_value(&[0, 0]))
    } else {
        Expansion::Tied { matrix, copy: RefCell::default() }
    }
}

/// Each number of `[.., fields]` as often as a field has orientations.
pub(crate) fn repeated(values: &Tensor, orientations: i64) -> Tensor {
    if orientations == 1 {
        return values.shallow_clone();
    }
    values.repeat_interleave_self_int(orientations, -1, None)
}

/// Group normalisation (Wu and He 2018) with one weight and bias for each field. A group of channels
/// holds whole fields, so that the statistics do not change when orientations change places.
#[derive(Debug)]
pub struct Norm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
    orientations: i64,
}

/// Added to variances.
const EPSILON: f64 = 1e-5;
/// Groups of channels, as far as the fields divide into so many.
const GROUPS: i64 = 32;

impl Norm {
    /// Creates `weight` (ones) and `bias` (zeros) under `path`.
    pub fn new(path: &Path, channels: Channels) -> Self {
        Self {
            weight: path.ones("weight", &[channels.fields]),
            bias: path.zeros("bias", &[channels.fields]),
            groups: greatest_common_divisor(GROUPS, channels.fields),
            orientations: channels.orientations,
        }
    }

    /// Images `[B, C, H, W]` with mean 0 and variance 1 in each group, times weight plus bias.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let of = |a: &Tensor| repeated(a, self.orientations);
        if x.device() != Device::Cpu {
            let of = |a: &Tensor| of(a).to_kind(x.kind());
            let (weight, bias) = (of(&self.weight), of(&self.bias));
            return x.group_norm(self.groups, Some(weight), Some(bias), EPSILON, false);
        }
        self.normalised(x, &of(&self.weight).unsqueeze(0), &of(&self.bias).unsqueeze(0))
    }

    /// `norm(x) (1 + scale) + shift` with `scale` and `shift` `[B, fields]`: the weights are put
    /// together first, so that the image is gone through once.
    pub fn modulated(&self, x: &Tensor, scale: &Tensor, shift: &Tensor) -> Tensor {
        let scale = scale + 1.0;
        let factor = repeated(&(&scale * &self.weight), self.orientations);
        let offset = repeated(&(scale * &self.bias + shift), self.orientations);
        if x.device() != Device::Cpu {
            let image = |a: Tensor| a.to_kind(x.kind()).unsqueeze(-1).unsqueeze(-1);
            let unit = x.group_norm(self.groups, None::<&Tensor>, None::<&Tensor>, EPSILON, false);
            return image(offset).addcmul(&unit, &image(factor));
        }
        self.normalised(x, &factor, &offset)
    }

    /// `norm(x) factor + offset` with `[B or 1, C]`, for channels-last images on the CPU, where libtorch's own norm is
    /// slow: seven times forward and twice with the gradient in f32, eleven times in bf16. Sums are over pixels with the
    /// channels beside one another; means and variances are of the kind of `factor` and `offset`.
    fn normalised(&self, x: &Tensor, factor: &Tensor, offset: &Tensor) -> Tensor {
        let size = x.size();
        let (batch, channels) = (size[0], size[1]);
        let kind = factor.kind();
        let of_group = [batch, 1, self.groups, channels / self.groups];
        // [B, 1, C] to the mean of each group, at every channel of it.
        let shared = |a: Tensor| {
            let mean = a.reshape(of_group).mean_dim([3_i64].as_slice(), true, None);
            mean.expand(of_group, false).reshape([batch, 1, channels])
        };
        let over_pixels = |a: &Tensor| a.mean_dim([1_i64].as_slice(), true, kind);
        let flat = x.permute([0, 2, 3, 1]).reshape([batch, size[2] * size[3], channels]);
        let centred = &flat - shared(over_pixels(&flat)).to_kind(x.kind());
        let scale = (shared(over_pixels(&centred.square())) + EPSILON).rsqrt();
        let scale = (scale * factor.unsqueeze(1)).to_kind(x.kind());
        let normalised = offset.unsqueeze(1).to_kind(x.kind()).addcmul(&centred, &scale);
        normalised.reshape([batch, size[2], size[3], channels]).permute([0, 3, 1, 2])
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
