//! The dataset `rotated-digits`: upright digits to learn from, rotated ones to turn back.
//!
//! Images stay on the device as bytes; a batch is converted when it is asked for.

use isotropy_core::{
    Dataset, DatasetConfig, Error, Field, FieldSpec, LoadContext, Moves, Result, Split, State,
    StateSpec, Streams, component, config, dataset::shuffled_rows, upload,
};
use isotropy_data::known_file::KnownFile;
use isotropy_data::source as data_source;
use isotropy_images::action::image_rotation::{ANGLE, ORIGINAL, rotate};
use isotropy_images::reader::idx;
use isotropy_images::source::mnist as source;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// Context field: the angle by which the value was rotated, `[B, 1]`, radians, counter-clockwise;
/// zero outside the test split. No network may look at it.
pub const TRUE_ANGLE: &str = "true_angle";
/// Context field: the image before that rotation, `[B, 1, 28, 28]`. No network may look at it.
pub const UPRIGHT: &str = "upright";

/// Rows and columns of an image.
pub const SIDE: i64 = 28;

/// Handwritten digits (MNIST). Training and validation images are upright; test images are rotated
/// about their centre by angles from a normal law.
#[config]
#[derive(Clone)]
pub struct RotatedDigitsConfig {
    /// Standard deviation of the test angles, degrees; 0 leaves the test images upright (for a
    /// classifier).
    #[serde(default = "ninety")]
    #[schemars(range(min = 0.0, max = 3600.0))]
    pub test_angle_std_degrees: f64,
    /// What becomes of test angles below `smallest_test_angle_degrees`.
    #[serde(default)]
    pub small_angles: SmallAngles,
    /// The size below which a test angle counts as small, degrees.
    #[serde(default = "published_floor")]
    #[schemars(range(min = 0.0, max = 180.0))]
    pub smallest_test_angle_degrees: f64,
    /// Test images: the first so many of each digit, in the order of the file.
    #[serde(default = "eight_hundred")]
    #[schemars(range(min = 1, max = 1135))]
    pub test_per_digit: usize,
    /// Images at the end of the training file that are kept for validation.
    #[serde(default = "five_thousand")]
    #[schemars(range(min = 0, max = 59_999))]
    pub validation: i64,
}

/// What becomes of small test angles.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum SmallAngles {
    /// They are enlarged to the smallest angle and keep their sign.
    #[default]
    Enlarge,
    /// They become plus the smallest angle whatever their sign, as in the published code.
    PublishedLoseSign,
    /// They stay as they are.
    Keep,
}

fn ninety() -> f64 {
    90.0
}

fn published_floor() -> f64 {
    22.5
}

fn eight_hundred() -> usize {
    800
}

fn five_thousand() -> i64 {
    5000
}

#[component(
    "rotated-digits",
    "MNIST: upright digits for training, rotated ones for testing",
    r#"{"type": "rotated-digits"}"#
)]
impl DatasetConfig for RotatedDigitsConfig {
    fn spec(&self) -> Result<StateSpec> {
        let image = |moves| FieldSpec::new(&[1, SIDE, SIDE], moves);
        Ok(StateSpec::new(image(Moves::Image))
            .with_lift(ANGLE, FieldSpec::new(&[1], Moves::Coordinates))
            .with_lift(ORIGINAL, image(Moves::Fixed))
            .with_context(State::LABEL, FieldSpec::new(&[], Moves::Fixed))
            .with_context(TRUE_ANGLE, FieldSpec::new(&[1], Moves::Fixed))
            .with_context(UPRIGHT, image(Moves::Fixed)))
    }

    fn split_size(&self, split: Split) -> Option<u64> {
        u64::try_from(self.validation).ok().filter(|_| split == Split::Validation)
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        let folder = mnist_folder(context)?;
        Ok(Box::new(RotatedDigits::read(self, &folder, context)?))
    }
}

impl RotatedDigitsConfig {
    /// Test angles in radians, `[count]`: one for each image of the test file, so that an image's
    /// angle does not depend on how many are used.
    fn test_angles(&self, count: i64, streams: &Streams) -> Tensor {
        let options = (Kind::Double, Device::Cpu);
        let drawn = streams.stream("test-angles", 0).normal(&[count], options);
        let degrees = drawn * self.test_angle_std_degrees;
        let least = self.smallest_test_angle_degrees;
        let small = degrees.abs().lt(least);
        let degrees = match self.small_angles {
            _ if self.test_angle_std_degrees == 0.0 => degrees,
            SmallAngles::Keep => degrees,
            SmallAngles::Enlarge => {
                // Not sign(), which is 0 at 0.
                let sign = degrees.ge(0.0).to_kind(Kind::Double) * 2.0 - 1.0;
                (sign * least).where_self(&small, &degrees)
            }
            SmallAngles::PublishedLoseSign => degrees.masked_fill(&small, least),
        };
        degrees.deg2rad()
    }
}

/// Images of one file and the labels that belong to them, on the device.
#[derive(Debug)]
pub(crate) struct Part {
    /// `[N, 1, 28, 28]`, bytes.
    pub(crate) images: Tensor,
    /// `[N]`, `Int64`.
    pub(crate) labels: Tensor,
}

impl Part {
    pub(crate) fn len(&self) -> i64 {
        self.labels.size()[0]
    }

    pub(crate) fn select(&self, rows: &Tensor) -> Self {
        Self {
            images: self.images.index_select(0, rows),
            labels: self.labels.index_select(0, rows),
        }
    }

    pub(crate) fn narrow(&self, start: i64, length: i64) -> Self {
        Self {
            images: self.images.narrow(0, start, length),
            labels: self.labels.narrow(0, start, length),
        }
    }
}

/// MNIST in three splits.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) train: Part,
    pub(crate) validation: Part,
    pub(crate) test: Part,
    /// Rows of the test file that are used.
    pub(crate) test_rows: Tensor,
    /// Images in the test file.
    pub(crate) in_test_file: i64,
    pub(crate) digests: Vec<(String, String)>,
}

impl Parts {
    /// Reads the four files in the folder; the last `validation` training images are kept apart.
    ///
    /// # Errors
    /// As for [`RotatedDigits::read`].
    pub(crate) fn read(
        folder: &Path,
        validation: i64,
        test_per_digit: usize,
        device: Device,
    ) -> Result<Self> {
        let mut digests = Vec::new();
        let mut pair = |images: &KnownFile, labels: &KnownFile| {
            read_pair(folder, images, labels, device, &mut digests)
        };
        let all = pair(&source::TRAIN_IMAGES, &source::TRAIN_LABELS)?;
        let tests = pair(&source::TEST_IMAGES, &source::TEST_LABELS)?;
        let left = all.len() - validation;
        if left <= 0 {
            return Err(Error::config(
                "/validation",
                format!("{validation} validation images leave none of {} for training", all.len()),
            ));
        }
        let test_rows = first_of_each_digit(&tests.labels, test_per_digit)?.to_device(device);
        Ok(Self {
            train: all.narrow(0, left),
            validation: all.narrow(left, validation),
            test: tests.select(&test_rows),
            test_rows,
            in_test_file: tests.len(),
            digests,
        })
    }
}

/// The folder of MNIST, if there is something in it.
///
/// # Errors
/// A data error that names the command. A damaged file is named by reading.
pub(crate) fn mnist_folder(context: &LoadContext) -> Result<PathBuf> {
    let folder = context.data_dir.join("mnist");
    if idx::find(&folder, source::TRAIN_IMAGES.name).is_err() {
        data_source::folder(&context.data_dir, "mnist")?;
    }
    Ok(folder)
}

/// The loaded dataset.
#[derive(Debug)]
pub struct RotatedDigits {
    train: Part,
    validation: Part,
    test: Part,
    /// Radians, `[N]`, in double precision.
    test_angles: Tensor,
    digests: Vec<(String, String)>,
    options: (Kind, Device),
}

impl RotatedDigits {
    /// Reads the four files in the folder (plain or `.gz`).
    ///
    /// # Errors
    /// A data error that names the file: missing, truncated, of another kind, images and labels of
    /// different number, or too few images for the configured splits.
    pub fn read(
        config: &RotatedDigitsConfig,
        folder: &Path,
        context: &LoadContext,
    ) -> Result<Self> {
        let parts = Parts::read(folder, config.validation, config.test_per_digit, context.device)?;
        let angles = config.test_angles(parts.in_test_file, &context.streams);
        Ok(Self {
            test_angles: angles.to_device(context.device).index_select(0, &parts.test_rows),
            train: parts.train,
            validation: parts.validation,
            test: parts.test,
            digests: parts.digests,
            options: (context.kind, context.device),
        })
    }

    fn part(&self, split: Split) -> &Part {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

impl Dataset for RotatedDigits {
    fn len(&self, split: Split) -> Option<u64> {
        u64::try_from(self.part(split).len()).ok()
    }

    fn batch(&self, split: Split, step: u64, size: i64, streams: &Streams) -> Result<State> {
        let (kind, device) = self.options;
        let part = self.part(split);
        let start = i64::try_from(step).unwrap_or(i64::MAX).saturating_mul(size).min(part.len());
        let length = size.min(part.len() - start);
        let chosen = match split {
            Split::Train => {
                let rows = shuffled_rows(part.len(), step, size, streams);
                part.select(&upload(&rows, device))
            }
            Split::Validation | Split::Test => part.narrow(start, length),
        };
        let upright = chosen.images.to_kind(kind) / 255.0;
        let count = chosen.len();
        let angle = match split {
            Split::Test => self.test_angles.narrow(0, start, length).to_kind(kind).unsqueeze(1),
            Split::Train | Split::Validation => Tensor::zeros([count, 1], self.options),
        };
        let value = match split {
            Split::Test => rotate(&upright, &angle),
            Split::Train | Split::Validation => upright.shallow_clone(),
        };
        let fixed = |tensor| Field::new(tensor, Moves::Fixed);
        // What the sampler is given is the rotated image: its original, at an angle that counts
        // from there.
        Ok(State::new(Field::new(value.shallow_clone(), Moves::Image))
            .with_lift(ANGLE, Field::new(angle.zeros_like(), Moves::Coordinates))
            .with_lift(ORIGINAL, fixed(value))
            .with_context(State::LABEL, fixed(chosen.labels))
            .with_context(TRUE_ANGLE, fixed(angle))
            .with_context(UPRIGHT, fixed(upright)))
    }

    fn digests(&self) -> Vec<(String, String)> {
        self.digests.clone()
    }
}

fn read_pair(
    folder: &Path,
    images: &KnownFile,
    labels: &KnownFile,
    device: Device,
    digests: &mut Vec<(String, String)>,
) -> Result<Part> {
    let names = (images.name, labels.name);
    let (images, labels) = idx::pair(folder, names, SIDE as usize, digests)?;
    Ok(Part {
        images: Tensor::from_slice(&images.pixels)
            .reshape([images.count as i64, 1, SIDE, SIDE])
            .to_device(device),
        labels: Tensor::from_slice(&labels).to_kind(Kind::Int64).to_device(device),
    })
}

/// Rows of the first `count` images of each digit, in the order of the file.
fn first_of_each_digit(labels: &Tensor, count: usize) -> Result<Tensor> {
    let labels: Vec<i64> = Vec::try_from(labels)?;
    let mut seen = [0_usize; 10];
    let mut rows = Vec::new();
    for (row, &label) in labels.iter().enumerate() {
        let seen = &mut seen[label as usize];
        if *seen < count {
            *seen += 1;
            rows.push(row as i64);
        }
    }
    match seen.iter().position(|&seen| seen < count) {
        None => Ok(Tensor::from_slice(&rows)),
        Some(digit) => Err(Error::config(
            "/test_per_digit",
            format!("the test file has only {} images of the digit {digit}", seen[digit]),
        )),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tempfile::{TempDir, tempdir};

    const TRAIN: usize = 40;
    const TEST: usize = 50;

    fn idx_file(sizes: &[usize], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        sizes.iter().for_each(|&size| bytes.extend((size as u32).to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    /// Image `k` is a bar of brightness `k + 1`, label `k % 10`.
    pub(crate) fn small_set() -> TempDir {
        let folder = tempdir().unwrap();
        for (count, images, labels) in [
            (TRAIN, source::TRAIN_IMAGES, source::TRAIN_LABELS),
            (TEST, source::TEST_IMAGES, source::TEST_LABELS),
        ] {
            let pixels: Vec<u8> = (0..count * 784)
                .map(|p| if p % 28 == 14 && p % 784 < 392 { (p / 784) as u8 + 1 } else { 0 })
                .collect();
            let digits: Vec<u8> = (0..count).map(|k| (k % 10) as u8).collect();
            std::fs::write(folder.path().join(images.name), idx_file(&[count, 28, 28], &pixels))
                .unwrap();
            std::fs::write(folder.path().join(labels.name), idx_file(&[count], &digits)).unwrap();
        }
        folder
    }

    fn config(json: &str) -> RotatedDigitsConfig {
        serde_json::from_str(json).unwrap()
    }

    pub(crate) fn context() -> LoadContext {
        LoadContext {
            data_dir: std::env::temp_dir(),
            kind: Kind::Float,
            device: Device::Cpu,
            streams: Streams::new(5),
        }
    }

    fn read(folder: &TempDir, json: &str) -> Result<RotatedDigits> {
        RotatedDigits::read(&config(json), folder.path(), &context())
    }

    const SMALL: &str = r#"{"validation": 10, "test_per_digit": 3}"#;

    #[test]
    fn states_have_the_shapes_that_the_spec_declares() {
        let folder = small_set();
        let data = read(&folder, SMALL).unwrap();
        let streams = Streams::new(5);
        let sizes = [(Split::Train, 30), (Split::Validation, 10), (Split::Test, 30)];
        for (split, len) in sizes {
            assert_eq!(data.len(split), Some(len));
            let batch = data.batch(split, 0, 4, &streams).unwrap();
            assert_eq!(batch.spec(), config(SMALL).spec().unwrap());
            assert_eq!(batch.batch_size(), 4);
        }
        assert_eq!(data.batch(Split::Test, 7, 4, &streams).unwrap().batch_size(), 2);
        assert_eq!(data.batch(Split::Test, 8, 4, &streams).unwrap().batch_size(), 0);
        assert_eq!(data.digests().len(), 4);
    }

    #[test]
    fn a_test_image_is_its_upright_one_turned_by_the_true_angle() {
        let folder = small_set();
        let data = read(&folder, SMALL).unwrap();
        let batch = data.batch(Split::Test, 0, 30, &Streams::new(5)).unwrap();
        let angle = &batch.given(TRUE_ANGLE).unwrap().tensor;
        let upright = &batch.given(UPRIGHT).unwrap().tensor;
        let error = (rotate(upright, angle) - batch.x()).abs().max().double_value(&[]);
        assert_eq!(error, 0.0);
        assert!(angle.abs().min().double_value(&[]) >= 22.5_f64.to_radians() - 1e-6);
        // The sampler may not see it: the lift starts at zero from the rotated image.
        assert_eq!(batch.lifted(ANGLE).unwrap().tensor.abs().max().double_value(&[]), 0.0);
        assert_eq!(&batch.lifted(ORIGINAL).unwrap().tensor, batch.x());
    }

    #[test]
    fn small_test_angles_are_treated_as_the_configuration_says() {
        let angles = |json: &str| config(json).test_angles(4000, &Streams::new(1)).rad2deg();
        let drawn = angles(r#"{"small_angles": "keep"}"#);
        let enlarged = angles("{}");
        let published = angles(r#"{"small_angles": "published-lose-sign"}"#);
        assert!((drawn.std(true).double_value(&[]) - 90.0).abs() < 4.0);
        let same_sign = (&drawn * &enlarged).ge(0.0).all();
        assert!(bool::try_from(same_sign).unwrap());
        let at =
            |a: &Tensor, value: f64| (a - value).abs().lt(1e-9).sum(Kind::Int64).int64_value(&[]);
        // P(|N(0, 90^2)| < 22.5) = .197.
        let small = at(&published, 22.5);
        assert!((700..880).contains(&small), "{small}");
        assert_eq!(at(&enlarged, 22.5) + at(&enlarged, -22.5), small);
        assert!(at(&enlarged, -22.5) > small / 3);
        assert_eq!(at(&published, -22.5), 0);
        let upright = angles(r#"{"test_angle_std_degrees": 0.0}"#);
        assert_eq!(upright.abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn an_epoch_shows_every_training_image_once() {
        let folder = small_set();
        let data = read(&folder, SMALL).unwrap();
        let streams = Streams::new(9);
        let mut seen: Vec<i64> = (0..3)
            .flat_map(|step| {
                let batch = data.batch(Split::Train, step, 10, &streams).unwrap();
                let brightest = (batch.x() * 255.0).round().amax([1, 2, 3].as_slice(), false);
                Vec::<i64>::try_from(brightest.to_kind(Kind::Int64)).unwrap()
            })
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (1..=30).collect::<Vec<_>>());
    }

    #[test]
    fn damaged_files_are_data_errors_that_name_the_file() {
        let damage = |file: &str, bytes: &dyn Fn(Vec<u8>) -> Vec<u8>| {
            let folder = small_set();
            let path = folder.path().join(file);
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, bytes(whole)).unwrap();
            let error = read(&folder, SMALL).unwrap_err();
            assert_eq!(error.exit_code(), 3, "{error}");
            assert!(error.to_string().contains(file), "{error}");
            error.to_string()
        };
        let images = source::TRAIN_IMAGES.name;
        let labels = source::TEST_LABELS.name;
        assert!(damage(images, &|b| b[..b.len() - 1].to_vec()).contains("bytes of data"));
        assert!(
            damage(images, &|mut b| {
                b[0] = 9;
                b
            })
            .contains("magic")
        );
        assert!(damage(images, &|_| idx_file(&[3], &[1, 2, 3])).contains("holds labels"));
        assert!(damage(labels, &|_| idx_file(&[3], &[1, 2, 3])).contains("3 labels"));
        assert!(damage(images, &|_| idx_file(&[1, 2, 2], &[0; 4])).contains("2x2"));
        assert!(damage(images, &|_| vec![0x1f, 0x8b, 8, 0, 1]).contains("gzip"));
    }

    #[test]
    fn too_few_images_are_configuration_errors() {
        let folder = small_set();
        assert_eq!(
            read(&folder, r#"{"validation": 40, "test_per_digit": 3}"#).unwrap_err().exit_code(),
            2
        );
        let error = read(&folder, r#"{"validation": 10, "test_per_digit": 6}"#).unwrap_err();
        assert!(error.to_string().contains("only 5 images of the digit 0"), "{error}");
    }

    #[test]
    fn compressed_files_are_read() {
        use std::io::Write;
        let folder = small_set();
        for file in [source::TRAIN_IMAGES.name, source::TEST_LABELS.name] {
            let bytes = std::fs::read(folder.path().join(file)).unwrap();
            let target = std::fs::File::create(folder.path().join(format!("{file}.gz"))).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(target, flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap();
            std::fs::remove_file(folder.path().join(file)).unwrap();
        }
        assert_eq!(read(&folder, SMALL).unwrap().len(Split::Test), Some(30));
    }

    #[test]
    fn missing_data_name_the_command() {
        let mut context = context();
        context.data_dir = std::env::temp_dir().join("isotropy-no-such-folder");
        let error = config("{}").load(&context).map(|_| ()).unwrap_err();
        assert!(error.help().unwrap_or_default().contains("runner data fetch mnist"), "{error}");
    }
}
