//! The loss and gradient norm of the last steps, kept on the device and read when they are logged,
//! so that nothing synchronises in between.

use isotropy_core::{Error, Result};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

const NAME: &str = "window";
/// Steps that there is room for at first, at most.
const FIRST: usize = 1024;

/// A window of scalars on the device.
#[derive(Debug)]
pub struct Window {
    values: Tensor,
    losses: Vec<Tensor>,
    norms: Vec<Tensor>,
    filled: usize,
}

/// What the window held.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How many steps it held.
    pub steps: usize,
    /// Mean loss.
    pub loss: f64,
    /// Mean gradient norm, before clipping.
    pub gradient_norm: f64,
    /// The first entry whose loss or gradient norm is not finite, counted from the last reading.
    pub first_bad: Option<usize>,
    /// Whether it was the loss at that entry; otherwise only the gradient.
    pub bad_loss: bool,
}

impl Window {
    /// A window for `size` steps; it grows when there are more between two readings.
    pub fn new(size: usize, options: (Kind, Device)) -> Self {
        // The interval of log entries may be any number.
        let size = size.clamp(1, FIRST) as i64;
        let values = Tensor::zeros([2, size], options);
        let views = |row: i64| (0..size).map(|k| values.get(row).get(k)).collect();
        Self { losses: views(0), norms: views(1), values, filled: 0 }
    }

    /// Makes room for `size` steps.
    fn grow(&mut self, size: usize) -> Result<()> {
        let have = self.losses.len();
        if size <= have {
            return Ok(());
        }
        let size = size.max(2 * have) as i64;
        let values = Tensor::f_zeros([2, size], (self.values.kind(), self.values.device()))?;
        values.narrow(1, 0, have as i64).f_copy_(&self.values)?;
        let views = |row: i64| (0..size).map(|k| values.get(row).get(k)).collect();
        (self.losses, self.norms) = (views(0), views(1));
        self.values = values;
        Ok(())
    }

    /// Takes in a step.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn push(&mut self, loss: &Tensor, gradient_norm: &Tensor) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        self.grow(self.filled + 1)?;
        self.losses[self.filled].f_copy_(loss)?;
        self.norms[self.filled].f_copy_(gradient_norm)?;
        self.filled += 1;
        Ok(())
    }

    /// Reads and empties the window. `None` when it is empty.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn read(&mut self) -> Result<Option<Summary>> {
        let summary = self.peek()?;
        self.filled = 0;
        Ok(summary)
    }

    /// Reads the window and leaves it as it is: the one place where the device is waited for.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn peek(&self) -> Result<Option<Summary>> {
        let n = self.filled;
        if n == 0 {
            return Ok(None);
        }
        let host = self.values.narrow(1, 0, n as i64).to_kind(Kind::Double).to_device(Device::Cpu);
        let rows = Vec::<Vec<f64>>::try_from(&host)?;
        let bad = |k: &usize| !rows[0][*k].is_finite() || !rows[1][*k].is_finite();
        let mean = |row: &[f64]| row.iter().sum::<f64>() / n as f64;
        Ok(Some(Summary {
            steps: n,
            loss: mean(&rows[0]),
            gradient_norm: mean(&rows[1]),
            bad_loss: (0..n).find(bad).is_some_and(|k| !rows[0][k].is_finite()),
            first_bad: (0..n).find(bad),
        }))
    }

    /// Steps since the last reading.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether no step was taken since the last reading.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// What a checkpoint between two readings must hold.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        vec![(NAME.to_string(), self.values.narrow(1, 0, self.filled as i64).contiguous())]
    }

    /// Puts back what [`Window::named`] gave.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let saved = tensors
            .get(NAME)
            .ok_or_else(|| Error::data(format!("the checkpoint has no '{NAME}'"), ""))?;
        let &[2, filled] = saved.size().as_slice() else {
            return Err(Error::data(format!("the checkpoint's '{NAME}' has another shape"), ""));
        };
        self.grow(filled as usize)?;
        self.values.narrow(1, 0, filled).f_copy_(saved)?;
        self.filled = filled as usize;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_that_is_not_finite_is_found_after_the_fact() {
        // Room for one: it grows.
        let mut window = Window::new(1, (Kind::Double, Device::Cpu));
        let one = Tensor::from(1.0f64);
        let bad = Tensor::from(f64::NAN);
        for loss in [&one, &one, &bad, &bad] {
            window.push(loss, &one).unwrap();
        }
        let summary = window.read().unwrap().unwrap();
        assert_eq!(summary.first_bad, Some(2));
        assert_eq!(window.read().unwrap(), None);
    }
}
