//! IDX files, the format of MNIST: a big-endian magic number, the sizes, then one byte per pixel or
//! label. Plain or gzip-compressed.

use crate::data_source::sha256;
use crate::{Error, Result};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Magic number of a file of labels: unsigned bytes, one axis.
const LABELS: u32 = 0x0000_0801;
/// Magic number of a file of images: unsigned bytes, three axes.
const IMAGES: u32 = 0x0000_0803;
/// A compressed file that claims more than this is refused (MNIST's largest has 47 MB).
const MOST_BYTES: u64 = 1 << 30;

/// Images as bytes, row by row.
#[derive(Debug)]
pub struct Images {
    /// Number of images.
    pub count: usize,
    /// Rows of an image.
    pub rows: usize,
    /// Columns of an image.
    pub columns: usize,
    /// `count * rows * columns` bytes.
    pub pixels: Vec<u8>,
}

/// The file's bytes, unpacked when it is gzip (by its first two bytes, whatever its name).
///
/// # Errors
/// When it cannot be read, or its compressed stream is damaged.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let raw = std::fs::read(path).map_err(|source| Error::io(path, source))?;
    if !raw.starts_with(&[0x1f, 0x8b]) {
        return Ok(raw);
    }
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(raw.as_slice())
        .take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|reason| damaged(path, format!("its gzip stream is damaged: {reason}")))?;
    Ok(bytes)
}

/// `name` in the folder, or `name.gz` where that is what there is.
///
/// # Errors
/// A data error when neither exists.
pub fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [folder.join(name), folder.join(format!("{name}.gz"))];
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Error::data(
            format!("neither {name} nor {name}.gz is in {}", folder.display()),
            bring_anew(&folder.join(name)),
        )
    })
}

/// The images of one file, `side` pixels high and wide, and the labels of another that belong to them,
/// from a folder; names and SHA-256 of both (unpacked) are added to `digests`.
///
/// # Errors
/// A data error that names the file: missing, damaged, images of another size, or images and labels of
/// different number.
pub fn pair(
    folder: &Path,
    (images_name, labels_name): (&str, &str),
    side: usize,
    digests: &mut Vec<(String, String)>,
) -> Result<(Images, Vec<u8>)> {
    let mut bytes = |name: &str| -> Result<_> {
        let path = find(folder, name)?;
        let bytes = read_bytes(&path)?;
        digests.push((name.to_string(), sha256(&bytes)));
        Ok((path, bytes))
    };
    let (images_path, image_bytes) = bytes(images_name)?;
    let (labels_path, label_bytes) = bytes(labels_name)?;
    let images = images(&images_path, &image_bytes)?;
    if (images.rows, images.columns) != (side, side) {
        let (rows, columns) = (images.rows, images.columns);
        let what = format!("images of {rows}x{columns} pixels, not {side}x{side}");
        return Err(damaged(&images_path, what));
    }
    let labels = labels(&labels_path, &label_bytes)?;
    if images.count != labels.len() {
        let message = format!(
            "{} holds {} images, but {} holds {} labels: they are not of one set",
            images_path.display(),
            images.count,
            labels_path.display(),
            labels.len()
        );
        return Err(Error::data(message, bring_anew(&images_path)));
    }
    Ok((images, labels))
}

/// Reads images from the bytes of the file at `path` (which only serves messages).
///
/// # Errors
/// A data error for a wrong magic number or size.
pub fn images(path: &Path, bytes: &[u8]) -> Result<Images> {
    let sizes = header::<3>(path, bytes, IMAGES)?;
    let [count, rows, columns] = sizes;
    Ok(Images { count, rows, columns, pixels: body(path, bytes, &sizes)? })
}

/// Reads labels from the bytes of the file at `path` (which only serves messages).
///
/// # Errors
/// A data error for a wrong magic number or size, or a label above 9.
pub fn labels(path: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let sizes = header::<1>(path, bytes, LABELS)?;
    let labels = body(path, bytes, &sizes)?;
    match labels.iter().position(|&label| label > 9) {
        Some(at) => Err(damaged(path, format!("label {at} is {}, not a digit", labels[at]))),
        None => Ok(labels),
    }
}

fn header<const N: usize>(path: &Path, bytes: &[u8], magic: u32) -> Result<[usize; N]> {
    let word = |k: usize| -> Result<u32> {
        let four = bytes.get(4 * k..4 * k + 4).ok_or_else(|| {
            damaged(path, format!("it is cut off inside its header ({} bytes)", bytes.len()))
        })?;
        Ok(four.iter().fold(0, |word, &byte| (word << 8) | u32::from(byte)))
    };
    match word(0)? {
        found if found == magic => {}
        LABELS => return Err(damaged(path, "it holds labels where images are expected".into())),
        IMAGES => return Err(damaged(path, "it holds images where labels are expected".into())),
        found => {
            return Err(damaged(
                path,
                format!(
                    "its magic number is {found:#010x} instead of {magic:#010x}: no IDX file of bytes"
                ),
            ));
        }
    }
    let mut sizes = [0; N];
    for (k, size) in sizes.iter_mut().enumerate() {
        *size = word(k + 1)? as usize;
    }
    Ok(sizes)
}

fn body(path: &Path, bytes: &[u8], sizes: &[usize]) -> Result<Vec<u8>> {
    let header = 4 * (sizes.len() + 1);
    let expected = sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let found = bytes.len() - header;
    if expected != Some(found) {
        let expected = expected.map_or("more than fits".to_string(), |n| n.to_string());
        return Err(damaged(
            path,
            format!("its header {sizes:?} asks for {expected} bytes of data, it has {found}"),
        ));
    }
    Ok(bytes[header..].to_vec())
}

fn damaged(path: &Path, what: String) -> Error {
    Error::data(format!("{}: {what}", path.display()), bring_anew(path))
}

/// Data lie in a folder that has the name of their source.
fn bring_anew(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    format!("bring the data with: runner data fetch {}", folder.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(magic: u32, sizes: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = magic.to_be_bytes().to_vec();
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.to_string().contains("some-file"), "the file is not named: {error}");
        error.to_string()
    }

    #[test]
    fn a_good_file_is_read() {
        let read = images(Path::new("f"), &file(IMAGES, &[2, 1, 3], &[1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!((read.count, read.rows, read.columns), (2, 1, 3));
        assert_eq!(read.pixels, [1, 2, 3, 4, 5, 6]);
        assert_eq!(labels(Path::new("f"), &file(LABELS, &[2], &[9, 0])).unwrap(), [9, 0]);
    }

    #[test]
    fn damage_is_named() {
        let path = Path::new("some-file");
        let cut = file(IMAGES, &[2, 1, 3], &[1, 2, 3, 4, 5]);
        assert!(message(images(path, &cut)).contains("6 bytes of data, it has 5"));
        assert!(message(images(path, &cut[..9])).contains("cut off inside its header"));
        assert!(message(images(path, &[])).contains("cut off"));
        assert!(message(images(path, &file(77, &[1], &[]))).contains("magic number"));
        assert!(message(images(path, &file(LABELS, &[1], &[3]))).contains("holds labels"));
        assert!(message(labels(path, &file(IMAGES, &[1, 1, 1], &[3]))).contains("holds images"));
        assert!(message(labels(path, &file(LABELS, &[1], &[10]))).contains("not a digit"));
        let huge = file(IMAGES, &[u32::MAX, u32::MAX, u32::MAX], &[]);
        assert!(message(images(path, &huge)).contains("more than fits"));
    }
}
