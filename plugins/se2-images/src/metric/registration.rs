//! How one picture has to be moved to look most like another: for methods whose samples are pixels and
//! say nothing of a motion.
//!
//! The motion of the template with the largest cosine between template and picture: over angles 4
//! degrees apart with all shifts at once by the fast Fourier transform, then over angles 1 degree apart
//! about the best. (The inner product alone would favour right angles, at which interpolation does not
//! smooth the template and its norm is largest.) Whole degrees and whole pixels.

use isotropy_core::Result;
use isotropy_images::action::motion::Motion;
use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// Pictures that are registered together; bounds the memory.
const CHUNK: i64 = 20;
/// Step of the first search over angles, degrees.
const COARSE: i64 = 4;

/// The motions of templates `[N, 1, n, n]` that bring them closest to pictures of the same shape: whole
/// degrees, whole pixels.
///
/// # Errors
/// When libtorch refuses the transform.
pub fn register(templates: &Tensor, pictures: &Tensor) -> Result<Motion> {
    let _guard = tch::no_grad_guard();
    let count = templates.size()[0];
    let (mut angles, mut shifts) = (Vec::new(), Vec::new());
    for start in (0..count).step_by(CHUNK as usize) {
        let length = CHUNK.min(count - start);
        let part = |images: &Tensor| images.narrow(0, start, length);
        let found = chunk(&part(templates), &part(pictures))?;
        angles.push(found.angle);
        shifts.push(found.shift);
    }
    Ok(Motion { angle: Tensor::f_cat(&angles, 0)?, shift: Tensor::f_cat(&shifts, 0)? })
}

fn chunk(templates: &Tensor, pictures: &Tensor) -> Result<Motion> {
    let options = (templates.kind(), templates.device());
    let degrees = |from: i64, to: i64, step: i64| {
        Tensor::arange_start_step(from, to, step, options).deg2rad().reshape([1, -1])
    };
    let coarse = degrees(-180, 180, COARSE).expand([templates.size()[0], -1], false);
    let best = search(templates, pictures, &coarse)?;
    let fine = &best.angle + degrees(1 - COARSE, COARSE, 1);
    search(templates, pictures, &fine)
}

/// The best of the angles `[N, A]` with the best whole shift.
fn search(templates: &Tensor, pictures: &Tensor, angles: &Tensor) -> Result<Motion> {
    let (count, tried) = angles.size2()?;
    let side = templates.size()[3];
    let turn = Motion {
        angle: angles.reshape([-1, 1]),
        shift: Tensor::zeros([count * tried, 2], (angles.kind(), angles.device())),
    };
    let turned = turn.render(&templates.repeat_interleave_self_int(tried, 0, None));
    // Twice the side, so that what leaves on one side does not come in on the other.
    let size = [2 * side, 2 * side];
    let transform = |images: &Tensor| images.f_fft_rfft2(&size[..], [-2, -1], "backward");
    let turned = turned.view([count, tried, side, side]);
    let norm = turned.norm_scalaropt_dim(2, [-2, -1], true).clamp_min(1e-6);
    let turned = transform(&turned)?;
    let pictures = transform(&pictures.view([count, 1, side, side]))?;
    // Entry (r, c): the inner product with the template moved down by r and to the right by c.
    let product = (pictures * turned.conj()).f_fft_irfft2(&size[..], [-2, -1], "backward")?;
    let product = product / norm;
    let best = product.flatten(1, -1).argmax(1, false);
    let (rows, columns) = (2 * side, 2 * side);
    let whole = |a: &Tensor, n: i64| a.divide_scalar_mode(n, "floor");
    let signed = |a: Tensor| {
        let wraps = a.ge(side).to_kind(Kind::Int64) * (2 * side);
        (a - wraps).to_kind(angles.kind()).unsqueeze(1)
    };
    let angle = angles.gather(1, &whole(&best, rows * columns).unsqueeze(1), false);
    let within = best.remainder(rows * columns);
    let (down, right) = (signed(whole(&within, columns)), signed(within.remainder(columns)));
    Ok(Motion { angle, shift: Tensor::cat(&[right, down.neg()], 1) })
}

/// The size of a motion: angles in degrees, `[N]`, in `[0, 180]`, and shifts in pixels, `[N]`.
pub fn size(motion: &Motion) -> (Tensor, Tensor) {
    let angle = motion.angle.to_kind(Kind::Double);
    let wrapped: Tensor = (angle + PI).remainder(2.0 * PI) - PI;
    let shift = motion.shift.to_kind(Kind::Double).norm_scalaropt_dim(2, [1], false);
    (wrapped.abs().rad2deg().squeeze_dim(1), shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::Streams;
    use tch::Device;

    #[test]
    fn a_known_motion_is_found_within_the_resolution() {
        tch::set_num_threads(1);
        let options = (Kind::Float, Device::Cpu);
        let mut stream = Streams::new(4).stream("registration", 0);
        // An L: no motion but the identity keeps it.
        let image = Tensor::zeros([1, 1, 40, 40], options);
        let _ = image.narrow(2, 12, 16).narrow(3, 16, 3).fill_(1.0);
        let _ = image.narrow(2, 25, 3).narrow(3, 16, 9).fill_(1.0);
        let images = image.repeat([30, 1, 1, 1]);
        let truth = Motion {
            angle: (stream.uniform(&[30, 1], options) * 2.0 - 1.0) * PI,
            shift: (stream.uniform(&[30, 2], options) * 2.0 - 1.0) * 5.0,
        };
        let found = register(&images, &truth.render(&images)).unwrap();
        let left =
            Motion { angle: &found.angle - &truth.angle, shift: &found.shift - &truth.shift };
        let (degrees, _) = size(&left);
        assert!(degrees.max().double_value(&[]) < 3.0, "{degrees}");
        let off = left.shift.abs().max().double_value(&[]);
        assert!(off < 1.0, "{off}");
        let whole = &found.shift - found.shift.round();
        assert_eq!(whole.abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn sizes_are_wrapped_degrees_and_pixels() {
        let motion = Motion {
            angle: Tensor::from_slice(&[1.5 * PI, -0.1]).reshape([2, 1]),
            shift: Tensor::from_slice(&[3.0, 4.0, 0.0, 0.0]).reshape([2, 2]),
        };
        let (degrees, pixels) = size(&motion);
        assert!((degrees.double_value(&[0]) - 90.0).abs() < 1e-9);
        assert!((degrees.double_value(&[1]) - 0.1_f64.to_degrees()).abs() < 1e-9);
        assert_eq!(pixels.double_value(&[0]), 5.0);
    }
}
