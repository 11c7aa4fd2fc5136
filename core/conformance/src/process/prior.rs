//! The prior: its density, and the law at the end of the process against it.

use super::{NO_COORDINATES, SIGMAS, Subject, need};
use crate::measure::{Found, broken, worse};
use isotropy_core::{Result, Xi};
use tch::{Kind, Tensor};

/// By how much the end of a process that does not report its mismatch may miss the prior, in units
/// of the prior's standard deviation.
const UNREPORTED: f64 = 0.05;

/// The narrowness of the test density against the prior: its variance over the prior's.
const NARROW: f64 = 0.4;

fn all_rows(xi: &Xi) -> Tensor {
    let flat: Vec<Tensor> = xi.0.iter().map(|a| a.flatten(1, -1).to_kind(Kind::Double)).collect();
    Tensor::cat(&flat, 1)
}

impl Subject<'_> {
    /// `E_prior[q / p] = 1` for a narrower normal density `q` of the coordinates around their means.
    pub(super) fn prior(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), NO_COORDINATES);
        let template = self.many()?;
        let tau = coordinates.unwrapped(&template);
        let count: i64 = tau.0.iter().map(|a| a.size()[1..].iter().product::<i64>()).sum();
        if count > 6 {
            return Ok(Found::Skip(format!("{count} coordinates are too many to integrate over")));
        }
        let state = self.process.prior(&template, &mut self.streams.stream("check prior", 0))?;
        let log_p =
            need!(self.process.prior_log_prob(&state)?, "the prior of this process has no density");
        let log_p = log_p + coordinates.log_abs_det(&state);
        let tau = coordinates.unwrapped(&state);
        // What the stabiliser hides is no degree of freedom.
        let visible = self.normal(&tau, &state, 7).square_norm().mean(Kind::Double);
        let degrees = visible.double_value(&[]).round();
        let rows = all_rows(&tau);
        let rows = &rows - rows.mean_dim(0, true, Kind::Double);
        let mut variance = rows.square().mean_dim(0, false, Kind::Double);
        if degrees < count as f64 {
            // Hidden directions need not be along the coordinates: one variance for all.
            let shared = variance.sum(Kind::Double).double_value(&[]) / degrees;
            variance = variance.full_like(shared);
        }
        let per_coordinate = variance.log().sum(Kind::Double).double_value(&[]) / count as f64;
        let constant =
            0.5 * degrees * ((2.0 * std::f64::consts::PI * NARROW).ln() + per_coordinate);
        let quadratic = (rows.square() / variance).sum_dim_intlist(1, false, None);
        let log_q = quadratic * (-0.5 / NARROW) - constant;
        let weight: Tensor = (log_q - log_p).exp();
        let mean = weight.mean(Kind::Double).double_value(&[]);
        let spread = weight.std(true).double_value(&[]) / (weight.numel() as f64).sqrt();
        // Of an angle on the circle the test density loses its tails.
        Ok(Found::Error((mean - 1.0).abs(), SIGMAS * spread + 0.007))
    }

    /// Noisy states at the time at which samplers start against the prior, coordinate by coordinate.
    /// A process that reports its mismatch is held to it: what is left of the clean coordinates is
    /// taken out, and the rest must have the prior's mean and the reported ratio of its standard
    /// deviation. Of any other process the means of `tau`, its square, cosine and sine are compared.
    pub(super) fn terminal(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), NO_COORDINATES);
        let clean = self.many()?;
        let mut stream = self.streams.stream("check terminal", 0);
        let t = self.process.time().prior;
        let times = Tensor::full([clean.batch_size()], t, clean.options());
        let noisy = self.process.perturb(&clean, &times, &mut stream)?;
        let prior = self.process.prior(&clean, &mut stream)?;
        let number = clean.batch_size() as f64;
        if let (Some(mismatch), Some(kernel)) =
            (self.process.kernel().and_then(|law| law.terminal_mismatch()), self.gauss(&clean, t)?)
        {
            if (mismatch.mean - kernel.mean).abs() > 1e-9 * (1.0 + kernel.mean) {
                return broken("the reported mean factor is not that of the kernel");
            }
            let (Some(tau_0), Some(tau)) = (noisy.clean, noisy.coordinates) else {
                return broken("a Gaussian kernel, but perturb returns no coordinates");
            };
            let memory = match self.process.known_end(&clean)? {
                Some(end) => tau_0.sub(&end),
                None => tau_0,
            };
            let rest = all_rows(&tau.add_scaled(&memory, -kernel.mean));
            let expected = all_rows(&coordinates.unwrapped(&prior));
            let number = rest.numel() as f64 / rest.size()[1] as f64;
            let std = expected.std_dim(Some([0i64].as_slice()), true, false);
            let mean = |a: &Tensor| a.mean_dim(0, false, Kind::Double);
            let shift = (mean(&rest) - mean(&expected)) / &std;
            let ratio = rest.std_dim(Some([0i64].as_slice()), true, false) / &std;
            let largest = |a: Tensor| a.abs().nan_to_num(0.0, None, None).max().double_value(&[]);
            // Coordinates without any spread are those that padding hides.
            let ratio = largest((ratio - mismatch.std) / mismatch.std);
            let error = worse(largest(shift), ratio);
            return Ok(Found::Error(error, SIGMAS * (2.0 / number).sqrt()));
        }
        let features = |xi: Xi, size: Option<&Tensor>| {
            let tau = all_rows(&xi);
            let size = size.map_or_else(
                || tau.std_dim(Some([0i64].as_slice()), true, true).clamp_min(1e-12),
                Tensor::shallow_clone,
            );
            let unit = &tau / &size;
            (Tensor::cat(&[unit.shallow_clone(), unit.square(), tau.cos(), tau.sin()], 1), size)
        };
        let (expected, size) = features(coordinates.tau(&prior), None);
        let (found, _) = features(coordinates.tau(&noisy.noisy), Some(&size));
        let difference =
            found.mean_dim(0, false, Kind::Double) - expected.mean_dim(0, false, Kind::Double);
        // Squares of standard normal numbers have variance 2.
        let missed = match self.process.simulated_steps() {
            0 => UNREPORTED,
            // A law that is simulated is off by about one of its steps.
            steps => UNREPORTED.max(1.0 / steps as f64),
        };
        let allowed = SIGMAS * (4.0 / number).sqrt() + missed;
        Ok(Found::Error(difference.abs().max().double_value(&[]), allowed))
    }
}
