//! How the other end of a pair is made from a picture with values in [-1, 1].
//!
//! All relations are symmetric: the other end of a turned or mirrored picture is the turned or
//! mirrored other end (noise: in law), so the law of the pairs is that of the pictures.

use isotropy_core::{Error, Result, config, upload};
use tch::{Kind, Tensor};

/// What the other end of a picture is.
#[config]
#[derive(Clone, Copy, PartialEq)]
pub enum OtherEnd {
    /// The picture with white noise: the bridge takes noise out.
    Noise(Noise),
    /// The picture at a lower resolution, brought back to its size: the bridge sharpens.
    LowResolution(Resolution),
    /// The edges of the picture, bright on dark: the length of Sobel's gradient, clamped where a step
    /// is half as high as the range of values. The bridge paints.
    Edges,
    /// The picture (three channels) as if another stain had been used: the bridge goes back to the
    /// first.
    Stain(Stain),
}

/// Parameter of `noise`.
#[config]
#[derive(Clone, Copy, PartialEq)]
pub struct Noise {
    /// Standard deviation, in the unit of the values (whose range has length 2); positive. The sum is
    /// not clamped.
    #[schemars(range(min = 1e-9, max = 1e3))]
    pub std: f64,
}

/// Parameter of `low-resolution`.
#[config]
#[derive(Clone, Copy, PartialEq)]
pub struct Resolution {
    /// Squares of so many pixels are averaged; bilinear interpolation brings the size back. The sides of
    /// the picture must be multiples of it; at least 2.
    #[schemars(range(min = 2, max = 1024))]
    pub factor: i64,
}

/// Parameters of `stain`: optical density is linear in the amounts of the dyes (Beer and Lambert), so
/// amounts are read off with the colours of one staining and shown in those of another (Ruifrok and
/// Johnston 2001, whose vectors these are). What neither dye explains is kept.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stain {
    /// The staining of the pictures.
    pub from: Staining,
    /// The staining of the other end.
    pub to: Staining,
}

/// Two dyes.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Staining {
    /// Haematoxylin and eosin.
    HaematoxylinEosin,
    /// Haematoxylin and diaminobenzidine (immunohistochemistry).
    HaematoxylinDab,
}

type Vector = [f64; 3];

/// Optical densities in red, green and blue.
const HAEMATOXYLIN: Vector = [0.650, 0.704, 0.286];
const EOSIN: Vector = [0.072, 0.990, 0.105];
const DAB: Vector = [0.268, 0.570, 0.776];

impl Staining {
    /// The optical densities of both dyes and of a third direction at right angles to them, as unit
    /// vectors in the rows of a matrix.
    fn matrix(self) -> [Vector; 3] {
        let other = match self {
            Self::HaematoxylinEosin => EOSIN,
            Self::HaematoxylinDab => DAB,
        };
        let unit = |v: Vector| {
            let length = v.iter().map(|a| a * a).sum::<f64>().sqrt();
            v.map(|a| a / length)
        };
        let (a, b) = (unit(HAEMATOXYLIN), unit(other));
        let cross =
            [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
        [a, b, unit(cross)]
    }

    fn tensor(self) -> Tensor {
        let rows: Vec<f64> = self.matrix().concat();
        Tensor::from_slice(&rows).view([3, 3])
    }
}

impl OtherEnd {
    /// Refuses numbers out of range and pictures that do not fit, `[C, H, W]`.
    ///
    /// # Errors
    /// A configuration error that points at what is wrong.
    pub fn accepts(&self, shape: &[i64]) -> Result<()> {
        let &[channels, height, width] = shape else {
            let message = format!("pairs are made of pictures [C, H, W], not of shape {shape:?}");
            return Err(Error::config("/inner", message));
        };
        match self {
            Self::Noise(noise) if !(noise.std.is_finite() && noise.std > 0.0) => {
                Err(Error::config("/other_end/noise/std", "it must be a positive number"))
            }
            Self::LowResolution(resolution) => {
                let factor = resolution.factor;
                if factor >= 2 && height % factor == 0 && width % factor == 0 {
                    return Ok(());
                }
                let message = format!("{height}x{width} pixels are no multiples of {factor}");
                Err(Error::config("/other_end/low-resolution/factor", message))
            }
            Self::Stain(_) if channels != 3 => {
                let message = format!("stains need red, green and blue, not {channels} channels");
                Err(Error::config("/other_end/stain", message))
            }
            _ => Ok(()),
        }
    }

    /// Whether it needs random numbers.
    pub fn draws(&self) -> bool {
        matches!(self, Self::Noise(_))
    }

    /// The other end of pictures `[B, C, H, W]`, with standard normal numbers of their shape where it
    /// needs some.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn apply(&self, clean: &Tensor, z: Option<&Tensor>) -> Result<Tensor> {
        Ok(match (self, z) {
            (Self::Noise(noise), Some(z)) => clean + z * noise.std,
            (Self::Noise(_), None) => {
                return Err(Error::Other("noise is made of random numbers".into()));
            }
            (Self::LowResolution(resolution), _) => {
                let (size, factor) = (clean.size(), resolution.factor);
                let small = clean.f_avg_pool2d(
                    [factor, factor],
                    [factor, factor],
                    [0, 0],
                    false,
                    true,
                    None,
                )?;
                small.f_upsample_bilinear2d([size[2], size[3]], false, None, None)?
            }
            (Self::Edges, _) => edges(clean)?,
            (Self::Stain(stain), _) => stain.apply(clean)?,
        })
    }
}

/// Sobel's gradient of every channel; a straight step of half of the range is bright (1).
fn edges(clean: &Tensor) -> Result<Tensor> {
    let size = clean.size();
    let options = (clean.kind(), clean.device());
    // (-1, 0, 1) and (1, 2, 1), made where they are used.
    let slope = Tensor::arange_start(-1, 2, options);
    let smooth = slope.square() * -1.0 + 2.0;
    let across = smooth.unsqueeze(1) * slope.unsqueeze(0);
    let kernels = Tensor::stack(&[across.shallow_clone(), across.tr()], 0).unsqueeze(1);
    let planes = clean.reshape([-1, 1, size[2], size[3]]).f_replication_pad2d([1, 1, 1, 1])?;
    let slopes = planes.f_conv2d(&kernels, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1)?;
    // A step of height 1 has a slope of 4.
    let length = slopes.square().sum_dim_intlist(1, false, None).sqrt() / 4.0;
    Ok((length.clamp_max(1.0) * 2.0 - 1.0).reshape(&size))
}

impl Stain {
    fn apply(&self, clean: &Tensor) -> Result<Tensor> {
        let mixing = self.from.tensor().f_inverse()?.matmul(&self.to.tensor());
        let mixing = upload(&mixing.to_kind(clean.kind()), clean.device());
        // Light that passes, in (0, 1]; the darkest byte but one bounds the logarithm.
        let light = ((clean + 1.0) / 2.0).clamp(1.0 / 255.0, 1.0);
        let density = light.log().neg().permute([0, 2, 3, 1]);
        let other = density.matmul(&mixing).permute([0, 3, 1, 2]);
        Ok((other.neg().exp() * 2.0 - 1.0).clamp(-1.0, 1.0).contiguous().to_kind(clean.kind()))
    }
}

/// The kind that random numbers of a relation are drawn in, whatever the run's kind.
pub(super) const DRAWN: Kind = Kind::Float;
