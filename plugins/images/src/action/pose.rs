//! Where an image lies and which way it points: a pose that moves with the image.

use isotropy_core::Element;
use tch::{Kind, Tensor};

/// Canonical elements of a batch.
#[derive(Debug)]
pub struct Canonical {
    /// `c(y)` of each point.
    pub element: Element,
    /// How many elements bring each point into its canonical form, `[B]`, `Int64`: 1, or the order of
    /// its stabiliser; 0 for a point without a pose under a continuous group.
    pub ties: Tensor,
}

/// Poses of a batch.
pub struct Pose {
    /// The angle of the first angular moment, `[B]`, radians counter-clockwise.
    pub angle: Tensor,
    /// The centre of mass, `[B, 2]`, pixels from the centre to the right and upwards; zero where it is not asked for.
    pub shift: Tensor,
    /// Whether the moment is more than rounding, `[B]`: a round image has no angle (0 is given), a blank one no
    /// centre.
    pub defined: Tensor,
}

/// Moments below this part of what they could be are rounding.
const LEAST: f64 = 1e-5;

/// The pose of images `[B, .., H, W]` that are 0 where there is nothing; with `shifted` about their own centre of mass,
/// else about the centre of the picture.
///
/// With the mass `m = max(x, 0)` (a function of the pixel alone, so it moves with the image):
///
/// * the centre is `c = sum m p / sum m`;
/// * the angle is that of `M = sum m(p) (1 - |p - c|^2/R^2)^2 (p - c)` over the disk of radius `R`, half the shorter
///   side, about `c`. So nothing that is cut off at the rim counts much, and `M` does not vanish for images whose
///   centre of mass is the centre (as digits of MNIST have it): without the weight it would.
///
/// Exact in the plane, up to interpolation and the pixels' grid on images. Where `|M|` is small, an error `e` of `M`
/// turns the angle by `e/|M|`.
pub fn pose(images: &Tensor, shifted: bool) -> Pose {
    let size = images.size();
    let (batch, height, width) = (size[0], size[size.len() - 2], size[size.len() - 1]);
    let options = (Kind::Double, images.device());
    let mass = images.to_kind(Kind::Double).clamp_min(0.0).reshape([batch, -1, height, width]);
    let mass = mass.sum_dim_intlist([1_i64].as_slice(), false, None);
    let axis = |n: i64| Tensor::arange(n, options) - 0.5 * (n - 1) as f64;
    let (right, up) = (axis(width).unsqueeze(0), axis(height).neg().unsqueeze(1));
    let sum = |a: Tensor| a.sum_dim_intlist([1_i64, 2].as_slice(), false, None);
    let total = sum(mass.shallow_clone());
    let some = total.clamp_min(f64::MIN_POSITIVE);
    let (cx, cy) = if shifted {
        (sum(&mass * &right) / &some, sum(&mass * &up) / &some)
    } else {
        (total.zeros_like(), total.zeros_like())
    };
    let column = |a: &Tensor| a.reshape([batch, 1, 1]);
    let (dx, dy) = (right - column(&cx), up - column(&cy));
    let radius = 0.5 * height.min(width) as f64;
    let within = ((dx.square() + dy.square()) / -(radius * radius) + 1.0).clamp_min(0.0);
    let weighted = mass * within.square() / radius;
    let (mx, my) = (sum(&weighted * dx), sum(&weighted * dy));
    let length = (mx.square() + my.square()).sqrt();
    let defined = length.gt_tensor(&(&total * LEAST));
    let angle = my.atan2(&mx).where_self(&defined, &length.zeros_like());
    let kind = images.kind();
    Pose { angle: angle.to_kind(kind), shift: Tensor::stack(&[cx, cy], 1).to_kind(kind), defined }
}
