//! Host data on the device of a run, without holding it up: constants are copied once, other
//! tensors from pinned memory.

use crate::Result;
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// Numbers that are known once and for all, as a tensor of whatever kind and device is asked for.
/// Each kind and device is converted once.
#[derive(Debug)]
pub struct Constant {
    values: Vec<f64>,
    shape: Vec<i64>,
    made: Mutex<Vec<Tensor>>,
}

impl Clone for Constant {
    fn clone(&self) -> Self {
        Self::new(self.values.clone(), &self.shape)
    }
}

impl Constant {
    /// Numbers row by row, and their shape.
    pub fn new(values: Vec<f64>, shape: &[i64]) -> Self {
        debug_assert_eq!(values.len() as i64, shape.iter().product::<i64>());
        Self { values, shape: shape.to_vec(), made: Mutex::new(Vec::new()) }
    }

    /// Numbers along one axis.
    pub fn row(values: Vec<f64>) -> Self {
        let shape = [values.len() as i64];
        Self::new(values, &shape)
    }

    /// The tensor of that kind on that device.
    pub fn tensor(&self, (kind, device): (Kind, Device)) -> Tensor {
        // A thread that panicked while it held the lock left a list that is still good.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = made.iter().find(|t| t.kind() == kind && t.device() == device) {
            return tensor.shallow_clone();
        }
        let tensor =
            Tensor::from_slice(&self.values).reshape(&self.shape).to_kind(kind).to_device(device);
        made.push(tensor.shallow_clone());
        tensor
    }
}

/// A tensor on a device. What comes from the host goes by pinned memory, so that nobody waits for
/// the copy: libtorch keeps that memory until the device has read it.
pub fn upload(tensor: &Tensor, device: Device) -> Tensor {
    if tensor.device() != Device::Cpu || !device.is_cuda() {
        return tensor.to_device(device);
    }
    // `pin_memory` itself warns about the device that tch always gives it.
    tensor.internal_pin_memory(device).to_device_(device, tensor.kind(), true, false)
}

/// Tensors on the CPU, without gradients. All copies are under way before the one wait.
///
/// # Errors
/// When memory runs out.
pub fn download<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<Vec<Tensor>> {
    let mut waits = Vec::new();
    let mut copies = Vec::new();
    for tensor in tensors {
        if let Device::Cuda(index) = tensor.device()
            && !waits.contains(&index)
        {
            waits.push(index);
        }
        copies.push(tensor.detach().f_to_device_(Device::Cpu, tensor.kind(), true, false)?);
    }
    for index in waits {
        tch::Cuda::synchronize(index as i64);
    }
    Ok(copies)
}
