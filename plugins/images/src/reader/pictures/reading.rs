//! From a file to the colours that a viewer shows: turned as its EXIF orientation says, laid over a
//! background where it is transparent, with the depth that it was written with.

use image::{DynamicImage, GenericImageView, ImageBuffer, Luma, Rgb};
use isotropy_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::path::Path;

/// How the numbers of a file become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// Red, green and blue that transparent pictures are laid over.
    pub background: [u8; 3],
    /// Bits that pictures of 16 bits use; `None` for all, which is refused where most of them are
    /// never used.
    pub bits: Option<u8>,
}

/// White.
pub const BACKGROUND: [u8; 3] = [255; 3];

impl Default for Reading {
    fn default() -> Self {
        Self { background: BACKGROUND, bits: None }
    }
}

/// What a file held beside its colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether a pixel is not opaque.
    pub transparent: bool,
    /// Whether the file says that it is to be turned or mirrored.
    pub turned: bool,
    /// The largest number of a picture of 16 bits.
    pub deepest: Option<u16>,
}

/// One picture from the bytes of `file` (which only serves messages): upright and opaque.
///
/// # Errors
/// A data error that names the file when it is truncated, no PNG or JPEG, of inks (CMYK), or holds
/// numbers beyond `bits`.
pub fn read(file: &Path, bytes: &[u8], reading: Reading) -> Result<(DynamicImage, Seen)> {
    let fault = |what: String, help: &str| {
        Error::data(format!("{}: {what}", file.display()), help.to_string())
    };
    if has_inks(bytes) {
        let what = "it has four inks (CMYK), whose colours depend on the printer".into();
        return Err(fault(what, "convert it to RGB"));
    }
    let picture = image::load_from_memory(bytes).map_err(|reason| {
        let help = "the file is damaged or is no PNG or JPEG; bring it anew or take it out";
        fault(format!("it cannot be decoded: {reason}"), help)
    })?;
    let orientation = orientation(bytes);
    let picture = upright(picture, orientation);
    let (picture, transparent) = over(picture, reading.background);
    let deepest = deepest(&picture);
    let picture = match reading.bits {
        Some(bits) if deepest.is_some() => stretched(picture, bits).map_err(|largest| {
            let what = format!("it holds {largest}, more than {bits} bits");
            fault(what, "set `bits` to the bits that the pictures use, or null for all 16")
        })?,
        _ => picture,
    };
    Ok((picture, Seen { transparent, turned: orientation != 1, deepest }))
}

/// A refusal where pictures of 16 bits, taken together, leave at least the upper two bits unused:
/// written in 12 bits or so, they would be almost black.
///
/// # Errors
/// A data error that says which bits are used.
pub fn check_depth(folder: &Path, deepest: Option<u16>, reading: Reading) -> Result<()> {
    let Some(largest @ 1..) = deepest.filter(|_| reading.bits.is_none()) else { return Ok(()) };
    match [8, 10, 12, 14].into_iter().find(|bits| u32::from(largest) < 1 << bits) {
        None => Ok(()),
        Some(bits) => Err(Error::data(
            format!(
                "{}: no picture of 16 bits in it holds more than {largest}: they seem to be written in {bits} bits",
                folder.display()
            ),
            format!("set `bits` to {bits}, or to 16 when they are meant to be that dark"),
        )),
    }
}

fn has_inks(bytes: &[u8]) -> bool {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    // What is no JPEG, or a damaged one, is for the decoding to tell.
    decoder.read_info().is_ok()
        && decoder.info().is_some_and(|info| info.pixel_format == jpeg_decoder::PixelFormat::CMYK32)
}

/// The EXIF orientation, 1 to 8; 1 where the file has none or one that says nothing, as viewers
/// take it.
fn orientation(bytes: &[u8]) -> u32 {
    let read = exif::Reader::new()
        .continue_on_error(true)
        .read_from_container(&mut Cursor::new(bytes))
        .or_else(|error| error.distill_partial_result(|_| ()));
    let found = read.ok().and_then(|exif| {
        exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)?.value.get_uint(0)
    });
    found.filter(|value| (1..=8).contains(value)).unwrap_or(1)
}

fn upright(picture: DynamicImage, orientation: u32) -> DynamicImage {
    match orientation {
        2 => picture.fliph(),
        3 => picture.rotate180(),
        4 => picture.flipv(),
        // Mirrored at the diagonal from the top left.
        5 => picture.rotate90().fliph(),
        6 => picture.rotate90(),
        // Mirrored at the other diagonal.
        7 => picture.rotate270().fliph(),
        8 => picture.rotate270(),
        _ => picture,
    }
}

/// The picture without transparency, and whether it had any. Colours are mixed as they are stored,
/// as browsers do.
fn over(picture: DynamicImage, background: [u8; 3]) -> (DynamicImage, bool) {
    if !picture.color().has_alpha() {
        return (picture, false);
    }
    let deep = picture.color().bytes_per_pixel() / picture.color().channel_count() > 1;
    let colours = picture.color().has_color() || !grey(background);
    let (width, height) = picture.dimensions();
    let wide = picture.into_rgba16();
    let transparent = wide.pixels().any(|pixel| pixel.0[3] < u16::MAX);
    let mixed = |pixel: &image::Rgba<u16>, channel: usize| -> u16 {
        let alpha = u64::from(pixel.0[3]);
        let under = u64::from(background[channel]) * 257;
        let full = u64::from(u16::MAX);
        let sum = u64::from(pixel.0[channel]) * alpha + under * (full - alpha);
        ((sum + full / 2) / full) as u16
    };
    let opaque: DynamicImage = if colours {
        ImageBuffer::from_fn(width, height, |x, y| {
            let pixel = wide.get_pixel(x, y);
            Rgb([0, 1, 2].map(|channel| mixed(pixel, channel)))
        })
        .into()
    } else {
        ImageBuffer::from_fn(width, height, |x, y| Luma([mixed(wide.get_pixel(x, y), 0)])).into()
    };
    let opaque = match (deep, colours) {
        (true, _) => opaque,
        (false, true) => opaque.into_rgb8().into(),
        (false, false) => opaque.into_luma8().into(),
    };
    (opaque, transparent)
}

fn grey([red, green, blue]: [u8; 3]) -> bool {
    red == green && green == blue
}

fn deepest(picture: &DynamicImage) -> Option<u16> {
    match picture {
        DynamicImage::ImageLuma16(pixels) => pixels.as_raw().iter().copied().max(),
        DynamicImage::ImageRgb16(pixels) => pixels.as_raw().iter().copied().max(),
        _ => None,
    }
}

/// Numbers of `bits` bits over the whole range of 16; the largest number where it has more.
fn stretched(mut picture: DynamicImage, bits: u8) -> std::result::Result<DynamicImage, u16> {
    let most = (1_u64 << bits) - 1;
    let stretch = |numbers: &mut [u16]| {
        for number in numbers {
            if u64::from(*number) > most {
                return Err(*number);
            }
            *number = ((u64::from(*number) * u64::from(u16::MAX) + most / 2) / most) as u16;
        }
        Ok(())
    };
    match &mut picture {
        DynamicImage::ImageLuma16(pixels) => stretch(pixels)?,
        DynamicImage::ImageRgb16(pixels) => stretch(pixels)?,
        _ => {}
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, GrayImage, ImageFormat, Rgba, RgbaImage};
    use std::io::Write;

    /// An EXIF block whose only entry is the orientation, in either byte order.
    fn exif(orientation: u16, big: bool) -> Vec<u8> {
        let two = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let four = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut block = if big { b"MM".to_vec() } else { b"II".to_vec() };
        block.extend(two(42));
        block.extend(four(8));
        block.extend(two(1));
        block.extend([two(0x0112), two(3)].concat());
        block.extend(four(1));
        block.extend([two(orientation), two(0)].concat());
        block.extend(four(0));
        block
    }

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut sum = flate2::Crc::new();
        sum.update(name);
        sum.update(data);
        let size = (data.len() as u32).to_be_bytes();
        [&size, name.as_slice(), data, &sum.sum().to_be_bytes()].concat()
    }

    /// A PNG of `width` pixels a row from its rows, each with its filter byte.
    fn png(width: u32, height: u32, kind: [u8; 2], extra: &[Vec<u8>], rows: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(rows).unwrap();
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let header = [size.as_slice(), &kind, &[0, 0, 0]].concat();
        let data = packed.finish().unwrap();
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        file.extend(chunk(b"IHDR", &header));
        extra.iter().for_each(|chunk| file.extend(chunk));
        file.extend(chunk(b"IDAT", &data));
        file.extend(chunk(b"IEND", &[]));
        file
    }

    fn decoded(bytes: &[u8], reading: Reading) -> (DynamicImage, Seen) {
        read(Path::new("some-file"), bytes, reading).unwrap()
    }

    /// The brightness of three rows of two pixels as a viewer shows it, and the same as it is
    /// stored.
    const SHOWN: [[u8; 2]; 3] = [[0, 50], [100, 150], [200, 250]];

    fn stored(orientation: u32) -> DynamicImage {
        // Row and column that the stored ones stand for, as the standard puts it: what the 0th row
        // and column are.
        let (height, width) = if orientation < 5 { (3, 2) } else { (2, 3) };
        let picture = GrayImage::from_fn(width, height, |x, y| {
            let (x, y) = (x as usize, y as usize);
            let (row, column) = match orientation {
                1 => (y, x),
                2 => (y, 1 - x),
                3 => (2 - y, 1 - x),
                4 => (2 - y, x),
                5 => (x, y),
                6 => (x, 1 - y),
                7 => (2 - x, 1 - y),
                _ => (2 - x, y),
            };
            Luma([SHOWN[row][column]])
        });
        picture.into()
    }

    #[test]
    fn every_orientation_is_shown_as_viewers_show_it() {
        for orientation in 0..=9 {
            let picture =
                stored(if orientation == 9 || orientation == 0 { 1 } else { orientation });
            for big in [false, true] {
                let block = exif(orientation as u16, big);
                let file = encoded(&picture, ImageFormat::Png);
                // Behind the header of 33 bytes, and behind the picture.
                for place in [33, file.len() - 12] {
                    let (head, tail) = file.split_at(place);
                    let file = [head, &chunk(b"eXIf", &block), tail].concat();
                    let (read, seen) = decoded(&file, Reading::default());
                    assert_eq!(read.into_luma8().into_raw(), SHOWN.concat(), "{orientation}");
                    assert_eq!(seen.turned, (2..9).contains(&orientation));
                }
                // A JPEG of blocks of 8x8 pixels keeps its brightness.
                let (width, height) = picture.dimensions();
                let large = picture.resize_exact(
                    8 * width,
                    8 * height,
                    image::imageops::FilterType::Nearest,
                );
                let file = encoded(&large, ImageFormat::Jpeg);
                let segment = [b"Exif\0\0".as_slice(), &block].concat();
                let size = (segment.len() as u16 + 2).to_be_bytes();
                let (head, tail) = file.split_at(2);
                let file = [head, &[0xff, 0xe1], &size, &segment, tail].concat();
                let read = decoded(&file, Reading::default()).0.into_luma8();
                assert_eq!(read.dimensions(), (16, 24));
                for (k, shown) in SHOWN.concat().into_iter().enumerate() {
                    let found = read.get_pixel(k as u32 % 2 * 8 + 4, k as u32 / 2 * 8 + 4).0[0];
                    assert!(found.abs_diff(shown) < 4, "{orientation}: {found} for {shown}");
                }
            }
        }
    }

    #[test]
    fn a_damaged_exif_block_is_not_looked_at() {
        let file = encoded(&stored(1), ImageFormat::Png);
        let (head, tail) = file.split_at(33);
        for block in [b"".as_slice(), b"MM", &exif(6, true)[..12], b"nothing at all"] {
            let file = [head, &chunk(b"eXIf", block), tail].concat();
            let read = decoded(&file, Reading::default()).0.into_luma8();
            assert_eq!(read.into_raw(), SHOWN.concat());
        }
    }

    #[test]
    fn transparent_pixels_show_the_background_and_not_what_is_under_them() {
        let red = Reading { background: [200, 0, 100], bits: None };
        let pixels = [[9, 8, 7, 255], [9, 8, 7, 0], [0, 0, 0, 51]];
        let picture = RgbaImage::from_fn(3, 1, |x, _| Rgba(pixels[x as usize]));
        let file = encoded(&picture.into(), ImageFormat::Png);
        let (read, seen) = decoded(&file, red);
        assert_eq!(read.into_rgb8().into_raw(), [9, 8, 7, 200, 0, 100, 160, 0, 80]);
        assert!(seen.transparent);
        let (read, _) = decoded(&file, Reading::default());
        assert_eq!(read.into_rgb8().into_raw(), [9, 8, 7, 255, 255, 255, 204, 204, 204]);
        // Grey with alpha, in 8 and 16 bits.
        let picture = GrayAlphaImage::from_fn(2, 1, |x, _| image::LumaA([77, 255 * x as u8]));
        let picture = DynamicImage::from(picture);
        let deep = DynamicImage::from(picture.to_luma_alpha16());
        for picture in [picture, deep] {
            let file = encoded(&picture, ImageFormat::Png);
            let read = decoded(&file, Reading::default()).0;
            assert!(!read.color().has_color() && !read.color().has_alpha());
            assert_eq!(read.into_luma8().into_raw(), [255, 77]);
            let read = decoded(&file, red).0.into_rgb8();
            assert_eq!(read.into_raw(), [200, 0, 100, 77, 77, 77]);
        }
        // An opaque picture with an alpha channel is not changed.
        let picture = RgbaImage::from_pixel(1, 1, Rgba([1, 2, 3, 255]));
        let (read, seen) = decoded(&encoded(&picture.into(), ImageFormat::Png), red);
        assert_eq!((read.into_rgb8().into_raw(), seen.transparent), (vec![1, 2, 3], false));
    }

    #[test]
    fn palettes_and_colour_keys_are_transparency_too() {
        let red = Reading { background: [200, 0, 100], bits: None };
        let palette = chunk(b"PLTE", &[1, 2, 3, 40, 50, 60, 0, 0, 0]);
        let alphas = chunk(b"tRNS", &[255, 0, 51]);
        let file = png(3, 1, [8, 3], &[palette, alphas], &[0, 0, 1, 2]);
        let (read, seen) = decoded(&file, red);
        assert_eq!(read.into_rgb8().into_raw(), [1, 2, 3, 200, 0, 100, 160, 0, 80]);
        assert!(seen.transparent);
        let key = chunk(b"tRNS", &[0, 7]);
        let read = decoded(&png(2, 1, [8, 0], &[key], &[0, 7, 8]), red).0;
        assert_eq!(read.into_rgb8().into_raw(), [200, 0, 100, 8, 8, 8]);
        let key = chunk(b"tRNS", &[0, 1, 0, 2, 0, 3]);
        let read = decoded(&png(2, 1, [8, 2], &[key], &[0, 1, 2, 3, 1, 2, 4]), red).0;
        assert_eq!(read.into_rgb8().into_raw(), [200, 0, 100, 1, 2, 4]);
        let key = chunk(b"tRNS", &[1, 0]);
        let read = decoded(&png(2, 1, [16, 0], &[key], &[0, 1, 0, 255, 255]), red).0;
        assert_eq!(read.into_rgb8().into_raw(), [200, 0, 100, 255, 255, 255]);
        // One bit a pixel.
        let read = decoded(&png(3, 1, [1, 0], &[], &[0, 0b1010_0000]), red).0;
        assert_eq!(read.into_luma8().into_raw(), [255, 0, 255]);
    }

    #[test]
    fn depth_is_what_was_written() {
        let file = |values: [u16; 3]| {
            let rows: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
            png(3, 1, [16, 0], &[], &[&[0], rows.as_slice()].concat())
        };
        let twelve = file([0, 2048, 4095]);
        let reading = |bits| Reading { bits, ..Reading::default() };
        let (read, seen) = decoded(&twelve, reading(Some(12)));
        assert_eq!(read.into_luma8().into_raw(), [0, 128, 255]);
        assert_eq!(seen.deepest, Some(4095));
        let refused = |deepest, bits| {
            let checked = check_depth(Path::new("some-folder"), deepest, reading(bits));
            checked.err().map(|error| {
                assert_eq!(error.exit_code(), 3);
                format!("{error} ({})", error.help().unwrap())
            })
        };
        let text = refused(Some(4095), None).unwrap();
        assert!(text.contains("some-folder") && text.contains("set `bits` to 12"), "{text}");
        assert!(refused(Some(16_383), None).unwrap().contains("to 14"));
        assert!(refused(Some(255), None).unwrap().contains("to 8"));
        for (deepest, bits) in [(Some(16_384), None), (Some(4095), Some(16)), (Some(0), None)] {
            assert_eq!(refused(deepest, bits), None);
        }
        assert_eq!(refused(None, None), None);
        let error = super::read(Path::new("some-file"), &file([0, 1, 4096]), reading(Some(12)));
        assert!(error.unwrap_err().to_string().contains("some-file: it holds 4096"));
        let full = decoded(&file([0, 32_896, 65_535]), Reading::default()).0;
        assert_eq!(full.into_luma8().into_raw(), [0, 128, 255]);
    }

    #[test]
    fn inks_are_refused_by_name() {
        // The header of a frame with four components is enough to tell.
        let frame = [8, 0, 8, 0, 8, 4, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0];
        let size = (frame.len() as u16 + 2).to_be_bytes();
        let scan = [0xff, 0xda, 0, 14, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0];
        let file = [&[0xff, 0xd8, 0xff, 0xc0], size.as_slice(), &frame, &scan].concat();
        let error = read(Path::new("some-file"), &file, Reading::default()).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("some-file: it has four inks"), "{error}");
    }
}
