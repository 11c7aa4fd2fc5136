//! Picture files (PNG, JPEG) as bytes: decoded once, in parallel, checked, with errors that name the file.

mod reading;

pub use reading::{BACKGROUND, Reading};

use image::imageops::FilterType;
use image::{DynamicImage, GenericImageView, RgbImage};
use isotropy_core::{Error, Result};
use isotropy_data::digest::sha256;
use isotropy_data::files::{self, Listing};
use reading::Seen;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What pictures are made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureFormat {
    /// 1 (grey; colours are weighed as the eye sees them) or 3 (red, green, blue).
    pub channels: usize,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Whether pictures of another size are scaled (Lanczos, after cutting the longer side to the right
    /// proportions around the middle) rather than refused.
    pub resize: bool,
    /// How files are read.
    pub reading: Reading,
}

impl PictureFormat {
    /// Bytes of one picture.
    pub fn bytes(&self) -> usize {
        self.channels * self.height as usize * self.width as usize
    }
}

/// Decoded files.
#[derive(Debug)]
pub struct Pictures {
    /// `[files, channels, rows, columns]`, in the order of the files.
    pub bytes: Vec<u8>,
    /// SHA-256 of the names and contents of the files in their order.
    pub digest: String,
    /// What a reader of a run should know of them, for [`isotropy_core::Dataset::facts`].
    pub facts: Vec<(String, f64)>,
}

/// Endings of picture files, in lower case.
const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "jpe", "jfif"];

/// The picture files of a folder and, with `deep`, of the folders in it, sorted by name (see
/// [`files::list`]).
///
/// # Errors
/// A data error when there is no such folder, or no picture in it.
pub fn find(folder: &Path, deep: bool) -> Result<Listing> {
    let found = files::list(folder, deep, &ENDINGS)?;
    if found.files.is_empty() {
        let inside = match found.folders.as_slice() {
            [first, ..] if !deep => format!(", but there are folders ('{first}')"),
            _ => String::new(),
        };
        let message = format!("{}: no .png, .jpg or .jpeg file is in it{inside}", folder.display());
        return Err(Error::data(message, "name a folder that holds pictures"));
    }
    Ok(found)
}

/// Decodes files below `root` on all processors.
///
/// # Errors
/// A data error that names the first file (in order) that cannot be decoded or has another size.
pub fn decode(root: &Path, files: &[PathBuf], format: PictureFormat) -> Result<Pictures> {
    let size = format.bytes();
    let mut bytes = vec![0; size * files.len()];
    let workers =
        std::thread::available_parallelism().map_or(1, usize::from).min(files.len()).max(1);
    let next = AtomicUsize::new(0);
    // Each place is written by whoever takes its number.
    let places: Vec<Mutex<&mut [u8]>> = bytes.chunks_mut(size.max(1)).map(Mutex::new).collect();
    let found: Vec<Mutex<(String, Seen)>> = files.iter().map(|_| Mutex::default()).collect();
    let mut faults: Vec<(usize, Error)> = Vec::new();
    let one = |file: &Path| -> Result<_> {
        let whole = contents(file)?;
        let (picture, seen) = reading::read(file, &whole, format.reading)?;
        Ok((fitted(file, picture, format)?, (sha256(&whole), seen)))
    };
    std::thread::scope(|scope| {
        let work = || {
            let mut fault = None;
            loop {
                let k = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = files.get(k) else { return fault };
                match one(file) {
                    Ok((decoded, about)) => {
                        let mut place = places[k].lock().unwrap_or_else(|e| e.into_inner());
                        place.copy_from_slice(&decoded);
                        *found[k].lock().unwrap_or_else(|e| e.into_inner()) = about;
                    }
                    Err(error) => fault = Some(first(fault, (k, error))),
                }
            }
        };
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for handle in handles {
            match handle.join() {
                Ok(fault) => faults.extend(fault),
                Err(_) => faults.push((usize::MAX, Error::Other("a decoder panicked".into()))),
            }
        }
    });
    drop(places);
    if let Some((_, error)) = faults.into_iter().min_by_key(|(k, _)| *k) {
        return Err(error);
    }
    let found = found.into_iter().map(|one| one.into_inner().unwrap_or_else(|e| e.into_inner()));
    let (sums, seen): (Vec<String>, Vec<Seen>) = found.unzip();
    let deepest = seen.iter().filter_map(|seen| seen.deepest).max();
    reading::check_depth(root, deepest, format.reading)?;
    Ok(Pictures {
        bytes,
        digest: files::digest(root, files.iter().zip(&sums)),
        facts: facts(&seen, format.reading),
    })
}

/// What was done to how many pictures, where anything was.
fn facts(seen: &[Seen], reading: Reading) -> Vec<(String, f64)> {
    let count = |f: fn(&Seen) -> bool| seen.iter().filter(|seen| f(seen)).count() as f64;
    let mut facts = Vec::new();
    let mut add = |name: &str, number: f64| facts.push((name.to_string(), number));
    let turned = count(|seen| seen.turned);
    if turned > 0.0 {
        add("pictures turned by their EXIF orientation", turned);
    }
    let transparent = count(|seen| seen.transparent);
    if transparent > 0.0 {
        add("pictures laid over the background", transparent);
        for (channel, number) in ["red", "green", "blue"].iter().zip(reading.background) {
            add(&format!("background {channel}"), f64::from(number));
        }
    }
    if seen.iter().any(|seen| seen.deepest.is_some()) {
        add("bits of pictures of 16 bits", f64::from(reading.bits.unwrap_or(16)));
    }
    facts
}

fn first(before: Option<(usize, Error)>, now: (usize, Error)) -> (usize, Error) {
    match before {
        Some(before) if before.0 < now.0 => before,
        _ => now,
    }
}

fn contents(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|reason| {
        Error::data(format!("{}: {reason}", file.display()), "mend it or take it out")
    })
}

/// One picture, upright and opaque, with the SHA-256 of its file.
///
/// # Errors
/// A data error that names the file when it cannot be read or decoded.
pub fn open(file: &Path) -> Result<(DynamicImage, String)> {
    let whole = contents(file)?;
    let (picture, _) = reading::read(file, &whole, Reading::default())?;
    Ok((picture, sha256(&whole)))
}

/// The bytes `[channels, rows, columns]` of a picture in a format.
///
/// # Errors
/// A data error that names the file when the size differs and is not to be changed.
pub fn fitted(file: &Path, picture: DynamicImage, format: PictureFormat) -> Result<Vec<u8>> {
    let (width, height) = picture.dimensions();
    let picture = if (width, height) == (format.width, format.height) {
        picture
    } else if format.resize {
        picture.resize_to_fill(format.width, format.height, FilterType::Lanczos3)
    } else {
        let message = format!(
            "{}: {width}x{height} pixels (width by height), not {}x{}",
            file.display(),
            format.width,
            format.height
        );
        return Err(Error::data(
            message,
            "set `resize` to true, or bring all pictures to one size",
        ));
    };
    Ok(planes(picture, format.channels))
}

/// The channels of a picture behind one another, `[channels, rows, columns]`: one of grey, or three of
/// red, green and blue.
pub fn planes(picture: DynamicImage, channels: usize) -> Vec<u8> {
    if channels == 1 {
        return picture.into_luma8().into_raw();
    }
    let pixels: RgbImage = picture.into_rgb8();
    let plane = |channel: usize| pixels.pixels().map(move |pixel| pixel.0[channel]);
    (0..3).flat_map(plane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageFormat, Luma, Rgb};
    use tempfile::tempdir;

    const SMALL: PictureFormat = PictureFormat {
        channels: 3,
        height: 2,
        width: 3,
        resize: false,
        reading: Reading { background: BACKGROUND, bits: None },
    };

    #[test]
    fn planes_are_red_green_and_blue_by_rows() {
        let folder = tempdir().unwrap();
        let picture = RgbImage::from_fn(3, 2, |x, y| {
            let k = (3 * y + x) as u8;
            Rgb([k, 100 + k, 200 + k])
        });
        for k in 0..40 {
            picture.save(folder.path().join(format!("{k:02}.png"))).unwrap();
        }
        let files = find(folder.path(), false).unwrap().files;
        assert_eq!(files.len(), 40);
        let bytes = decode(folder.path(), &files, SMALL).unwrap().bytes;
        let one: Vec<u8> = (0..6).chain(100..106).chain(200..206).collect();
        assert_eq!(bytes, one.repeat(40));
        let grey = PictureFormat { channels: 1, ..SMALL };
        GrayImage::from_fn(3, 2, |x, y| Luma([(3 * y + x) as u8 * 40]))
            .save(folder.path().join("grey.png"))
            .unwrap();
        let bytes = decode(folder.path(), &[folder.path().join("grey.png")], grey).unwrap().bytes;
        assert_eq!(bytes, [0, 40, 80, 120, 160, 200]);
    }

    #[test]
    fn the_first_bad_file_is_named() {
        let folder = tempdir().unwrap();
        let picture = RgbImage::from_pixel(3, 2, Rgb([9, 9, 9]));
        for name in ["a.png", "b.png", "d.png"] {
            picture.save(folder.path().join(name)).unwrap();
        }
        let mut whole = std::io::Cursor::new(Vec::new());
        RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 7]))
            .write_to(&mut whole, ImageFormat::Png)
            .unwrap();
        let whole = whole.into_inner();
        std::fs::write(folder.path().join("c.png"), &whole[..whole.len() / 2]).unwrap();
        std::fs::write(folder.path().join("e.png"), "no picture").unwrap();
        let message = |error: Error| {
            assert_eq!(error.exit_code(), 3);
            error.to_string()
        };
        let files = find(folder.path(), false).unwrap().files;
        let text = message(decode(folder.path(), &files, SMALL).unwrap_err());
        assert!(text.contains("c.png") && text.contains("decoded"), "{text}");
        std::fs::remove_file(folder.path().join("c.png")).unwrap();
        std::fs::remove_file(folder.path().join("e.png")).unwrap();
        RgbImage::from_pixel(2, 2, Rgb([9, 9, 9])).save(folder.path().join("b.png")).unwrap();
        let files = find(folder.path(), false).unwrap().files;
        let text = message(decode(folder.path(), &files, SMALL).unwrap_err());
        assert!(text.contains("b.png: 2x2 pixels"), "{text}");
        let resized =
            decode(folder.path(), &files, PictureFormat { resize: true, ..SMALL }).unwrap().bytes;
        assert!(resized.iter().all(|&byte| byte == 9));
        assert!(
            message(find(&folder.path().join("nowhere"), true).unwrap_err()).contains("nowhere")
        );
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        assert!(message(find(&folder.path().join("empty"), true).unwrap_err()).contains("no .png"));
    }
}
