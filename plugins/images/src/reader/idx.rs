//! IDX files, the format of MNIST: a magic number that says kind of numbers and number of axes, the
//! sizes, then the numbers, all big-endian. Plain or gzip-compressed.

use isotropy_core::{Error, Result};
use isotropy_data::digest::sha256;
use std::io::Read;
use std::path::{Path, PathBuf};

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
    let raw = std::fs::read(path).map_err(|reason| damaged(path, reason.to_string()))?;
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

/// Reads images from the bytes of the file at `path` (which only serves messages). Any kind of
/// number will do as long as it holds whole numbers from 0 to 255.
///
/// # Errors
/// A data error for a wrong magic number or size, no images, or a pixel that is no byte.
pub fn images(path: &Path, bytes: &[u8]) -> Result<Images> {
    let (sizes, pixels) = numbers::<3>(path, bytes, "images")?;
    let [count, rows, columns] = sizes;
    if pixels.len() == 0 {
        return Err(damaged(path, format!("it holds no images (sizes {sizes:?})")));
    }
    let pixels = pixels.enumerate().map(|(k, pixel)| {
        byte(pixel).ok_or_else(|| {
            let image = k / (rows * columns);
            damaged(
                path,
                format!("a pixel of image {image} is {pixel}, no whole number of 0 to 255"),
            )
        })
    });
    Ok(Images { count, rows, columns, pixels: pixels.collect::<Result<_>>()? })
}

/// Reads labels from the bytes of the file at `path` (which only serves messages).
///
/// # Errors
/// A data error for a wrong magic number or size, or a label that is no digit.
pub fn labels(path: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let (_, labels) = numbers::<1>(path, bytes, "labels")?;
    let labels = labels.enumerate().map(|(k, label)| {
        let digit = byte(label).filter(|&digit| digit <= 9);
        digit.ok_or_else(|| damaged(path, format!("label {k} is {label}, not a digit")))
    });
    labels.collect()
}

fn byte(number: f64) -> Option<u8> {
    (number.fract() == 0.0 && (0.0..=255.0).contains(&number)).then_some(number as u8)
}

/// The sizes of `N` axes and all numbers; every kind of number that the format has fits into double
/// precision.
fn numbers<'a, const N: usize>(
    path: &Path,
    bytes: &'a [u8],
    what: &str,
) -> Result<([usize; N], impl ExactSizeIterator<Item = f64> + 'a)> {
    let word = |k: usize| -> Result<u32> {
        let four = bytes.get(4 * k..4 * k + 4).ok_or_else(|| {
            damaged(path, format!("it is cut off inside its header ({} bytes)", bytes.len()))
        })?;
        Ok(four.iter().fold(0, |word, &byte| (word << 8) | u32::from(byte)))
    };
    let magic = word(0)?;
    let [zero, zero_too, code, axes] = magic.to_be_bytes();
    let width = match (zero, zero_too, code) {
        (0, 0, 0x08 | 0x09) => 1,
        (0, 0, 0x0b) => 2,
        (0, 0, 0x0c | 0x0d) => 4,
        (0, 0, 0x0e) => 8,
        _ => return Err(damaged(path, format!("its magic number is {magic:#010x}: no IDX file"))),
    };
    if usize::from(axes) != N {
        let holds = match axes {
            1 => "labels".into(),
            3 => "images".into(),
            _ => format!("numbers over {axes} axes"),
        };
        return Err(damaged(path, format!("it holds {holds} where {what} are expected")));
    }
    let mut sizes = [0; N];
    for (k, size) in sizes.iter_mut().enumerate() {
        *size = word(k + 1)? as usize;
    }
    let data = &bytes[4 * (N + 1)..];
    let expected = sizes.iter().try_fold(width, |product: usize, &size| product.checked_mul(size));
    if expected != Some(data.len()) {
        let expected = expected.map_or("more than fits".to_string(), |n| n.to_string());
        let message = format!(
            "its header {sizes:?} asks for {expected} bytes of data, it has {}",
            data.len()
        );
        return Err(damaged(path, message));
    }
    Ok((sizes, data.chunks_exact(width).map(move |raw| number(code, raw))))
}

/// One number of the kind `code`.
fn number(code: u8, raw: &[u8]) -> f64 {
    match (code, raw) {
        (0x08, &[a]) => f64::from(a),
        (0x09, &[a]) => f64::from(i8::from_be_bytes([a])),
        (0x0b, &[a, b]) => f64::from(i16::from_be_bytes([a, b])),
        (0x0c, &[a, b, c, d]) => f64::from(i32::from_be_bytes([a, b, c, d])),
        (0x0d, &[a, b, c, d]) => f64::from(f32::from_be_bytes([a, b, c, d])),
        (_, &[a, b, c, d, e, f, g, h]) => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("the width belongs to the code"),
    }
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

    const LABELS: u32 = 0x0801;
    const IMAGES: u32 = 0x0803;

    #[test]
    fn every_kind_of_number_is_read() {
        let values = [0_i16, 1, 7, 9];
        let kinds: [(u32, Vec<u8>); 6] = [
            (0x08, values.iter().map(|&v| v as u8).collect()),
            (0x09, values.iter().map(|&v| v as u8).collect()),
            (0x0b, values.iter().flat_map(|&v| v.to_be_bytes()).collect()),
            (0x0c, values.iter().flat_map(|&v| i32::from(v).to_be_bytes()).collect()),
            (0x0d, values.iter().flat_map(|&v| f32::from(v).to_be_bytes()).collect()),
            (0x0e, values.iter().flat_map(|&v| f64::from(v).to_be_bytes()).collect()),
        ];
        for (code, data) in kinds {
            let path = Path::new("some-file");
            assert_eq!(labels(path, &file(code << 8 | 1, &[4], &data)).unwrap(), [0, 1, 7, 9]);
            let read = images(path, &file(code << 8 | 3, &[1, 2, 2], &data)).unwrap();
            assert_eq!((read.pixels, read.rows), (vec![0, 1, 7, 9], 2), "{code:#x}");
        }
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
        assert!(message(labels(path, &file(0x0901, &[1], &[255]))).contains("is -1, not a digit"));
        let half = 0.5_f32.to_be_bytes();
        assert!(
            message(images(path, &file(0x0d03, &[1, 1, 1], &half))).contains("is 0.5, no whole")
        );
        assert!(message(images(path, &file(IMAGES, &[0, 28, 28], &[]))).contains("no images"));
        assert!(message(images(path, &file(0x0802, &[1, 1], &[1]))).contains("2 axes"));
        assert!(message(images(path, &file(0x0a03, &[1], &[]))).contains("magic number"));
        let huge = file(IMAGES, &[u32::MAX, u32::MAX, u32::MAX], &[]);
        assert!(message(images(path, &huge)).contains("more than fits"));
    }
}
