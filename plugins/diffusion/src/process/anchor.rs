//! The invariant law of an Ornstein-Uhlenbeck process that is not `N(0, 1)`: a mean and a standard
//! deviation for each coordinate.

use isotropy_core::{Drive, Error, Result, Root, State, Xi};
use tch::{Device, Kind, Tensor};

/// `N(mean, std^2)` for each coordinate; one list a factor, with one number (for all coordinates of
/// the factor) or as many as its coefficients have on their last axis.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    pub(super) mean: Vec<Vec<f64>>,
    pub(super) std: Vec<Vec<f64>>,
}

/// Cuts a list over all coordinates (or one number for all) into lists a factor. Drives with one
/// factor may have any number of coordinates: what does not fit shows when the shapes are known.
pub(super) fn by_factor<T: Clone>(list: &[T], names: &[Vec<String>]) -> Result<Vec<Vec<T>>> {
    if let [one] = list {
        return Ok(names.iter().map(|_| vec![one.clone()]).collect());
    }
    let total: usize = names.iter().map(Vec::len).sum();
    // Translations have one name for any number of coordinates.
    if names.len() == 1 && (list.len() == total || total == 1) && !list.is_empty() {
        return Ok(vec![list.to_vec()]);
    }
    if list.len() != total {
        return Err(Error::config(
            "",
            format!("{} entries, but the drive has {total} coordinates", list.len()),
        )
        .with_help("give one entry for all coordinates, or one for each"));
    }
    let mut rest = list;
    let cut = names.iter().map(|names| {
        let (head, tail) = rest.split_at(names.len());
        rest = tail;
        head.to_vec()
    });
    Ok(cut.collect())
}

/// Refuses lists that do not fit the last axis of the coefficients.
pub(super) fn fits<T>(lists: &[Vec<T>], shapes: &[Vec<i64>]) -> Result<()> {
    for (list, shape) in lists.iter().zip(shapes) {
        let last = shape.last().copied().unwrap_or(1);
        if list.len() != 1 && list.len() as i64 != last {
            return Err(Error::config(
                "/process/invariant",
                format!("{} entries for coefficients with {last} coordinates", list.len()),
            ));
        }
    }
    Ok(())
}

impl Anchor {
    /// Whether it differs from `N(0, 1)`.
    pub(super) fn matters(&self) -> bool {
        self.has_mean() || self.std.iter().flatten().any(|std| *std != 1.0)
    }

    /// Whether some mean is not zero.
    pub(super) fn has_mean(&self) -> bool {
        self.mean.iter().flatten().any(|mean| *mean != 0.0)
    }

    /// The root of the noise covariance of each factor.
    pub(super) fn colour(&self) -> Vec<Option<Root>> {
        let root = |std: &Vec<f64>| {
            let white = std.iter().all(|std| *std == 1.0);
            (!white).then(|| Root::diagonal(Tensor::from_slice(std)))
        };
        self.std.iter().map(root).collect()
    }

    /// The means in the shape of the coefficients, in the visible directions alone.
    pub(super) fn end(&self, fields: &dyn Drive, state: &State) -> Result<Xi> {
        let shapes = fields.xi_shape(&state.spec());
        fits(&self.mean, &shapes)?;
        let factors = self.mean.iter().zip(&shapes).map(|(mean, shape)| {
            let mut size = shape.clone();
            size.insert(0, state.batch_size());
            row(mean, state.options()).expand(&size, false)
        });
        Ok(fields.horizontal(state, &Xi(factors.collect())))
    }

    /// `log std` of each coordinate, one tensor a factor that broadcasts against its coefficients.
    pub(super) fn log_std(&self, options: (Kind, Device)) -> Vec<Tensor> {
        self.std.iter().map(|std| row(std, options).log()).collect()
    }
}

/// A list as a tensor of one axis.
pub(super) fn row(list: &[f64], (kind, device): (Kind, Device)) -> Tensor {
    Tensor::from_slice(list).to_kind(kind).to_device(device)
}

/// The diagonal of the projection on visible (horizontal) coefficients, in the shape of `tau`: 1
/// everywhere unless a mean is removed or points are padding.
pub(super) fn visible(fields: &dyn Drive, state: &State, tau: &Xi) -> Xi {
    let ones = tau.map(Tensor::ones_like);
    let probe = tau.map(|tau| {
        let size = tau.size();
        let ramp = Tensor::arange(size[1..].iter().product::<i64>(), state.options());
        (ramp + 1.0).square().reshape(&size[1..]).expand(&size, false)
    });
    let removed = probe.sub(&fields.horizontal(state, &probe)).square_norm();
    if removed.max().double_value(&[]) == 0.0 {
        return ones;
    }
    let kept = ones.zeros_like();
    for (k, factor) in tau.0.iter().enumerate() {
        let columns = kept.0[k].view([state.batch_size(), -1]);
        for index in 0..factor.size()[1..].iter().product::<i64>() {
            let unit = tau.zeros_like();
            let _ = unit.0[k].view([state.batch_size(), -1]).select(1, index).fill_(1.0);
            let image = fields.horizontal(state, &unit);
            columns.select(1, index).copy_(&image.0[k].flatten(1, -1).select(1, index));
        }
    }
    kept
}
