//! Named tensors to safetensors and back.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use isotropy_core::{Error, Result, download};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Kind, Tensor};

const KINDS: [(Kind, Dtype); 10] = [
    (Kind::Bool, Dtype::BOOL),
    (Kind::Uint8, Dtype::U8),
    (Kind::Int8, Dtype::I8),
    (Kind::Int16, Dtype::I16),
    (Kind::Int, Dtype::I32),
    (Kind::Int64, Dtype::I64),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
];

/// The bytes of a safetensors file. The same tensors give the same bytes.
pub(super) fn serialize(tensors: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let mut raw = Vec::with_capacity(tensors.len());
    let on_host = download(tensors.iter().map(|(_, tensor)| tensor))?;
    for ((name, _), tensor) in tensors.iter().zip(on_host) {
        let kind = tensor.kind();
        let dtype = KINDS.iter().find(|(k, _)| *k == kind).map(|(_, d)| *d);
        let dtype = dtype
            .ok_or_else(|| Error::Other(format!("`{name}`: no safetensors type for {kind:?}")))?;
        let tensor = tensor.f_contiguous()?;
        let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
        raw.push((name, dtype, shape, bytes));
    }
    let wrong = |e: safetensors::SafeTensorError| Error::Other(format!("safetensors: {e}"));
    let views = raw.iter().map(|(name, dtype, shape, bytes)| {
        Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(wrong)?))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    // The key by which Python's safetensors.torch tells that the layout is torch's.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(wrong)
}

/// The tensors in the bytes of a safetensors file, on the CPU; `path` is named in errors.
pub(super) fn deserialize(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let wrong = |text: String| Error::data(format!("{}: {text}", path.display()), "");
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| wrong(format!("not a complete safetensors file: {e}")))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let kind = KINDS.iter().find(|(_, d)| *d == view.dtype()).map(|(k, _)| *k);
        let kind = kind.ok_or_else(|| wrong(format!("`{name}` has type {:?}", view.dtype())))?;
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        tensors.insert(name.to_owned(), Tensor::f_from_data_size(view.data(), &shape, kind)?);
    }
    Ok(tensors)
}

/// Reads a safetensors file, on the CPU.
///
/// # Errors
/// When it cannot be read or is not a complete safetensors file.
pub fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    deserialize(&std::fs::read(path).map_err(|e| Error::io(path, e))?, path)
}

/// Writes a safetensors file, whole or not at all.
///
/// # Errors
/// When it cannot be written; what was there before stays then.
pub fn write_safetensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    isotropy_data::write::write_whole(path, serialize(tensors)?)
}
