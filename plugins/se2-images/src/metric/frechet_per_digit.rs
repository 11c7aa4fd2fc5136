//! The Frechet distance between the digits' images in a classifier's features, digit by digit.

use super::judged::{Judged, features, rows_by_digit};
use super::mean_and_std;
use isotropy_core::{Evaluation, Measured, Metric, MetricConfig, Result, component, config};
use isotropy_data::known_file::KnownFile;
use isotropy_data::source as data_source;
use isotropy_images::source::mnist as source;
use isotropy_images::{metric::frechet_distance::frechet_distance, reader::idx};
use tch::{Device, Kind, Tensor};

/// Squared Frechet distance between the samples and the upright test images in the features of a
/// classifier, digit by digit; mean and population standard deviation over the ten digits. The
/// scale is the classifier's own, so three more are given: other real images (training images)
/// against the upright test images, the input turned back by the true angle, and the input as it is.
#[config]
#[derive(Clone)]
pub struct FrechetPerDigitConfig {
    /// Configuration of the classifier, relative to this file; trained on first use.
    #[schemars(extend("x-isotropy-path" = true))]
    pub classifier: String,
}

#[component(
    "frechet-per-digit",
    "Frechet distance per digit in a classifier's features, with its floors",
    r#"{"type": "frechet-per-digit", "classifier": "classifier.json"}"#
)]
impl MetricConfig for FrechetPerDigitConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        Ok(Box::new(self.clone()))
    }
}

impl Metric for FrechetPerDigitConfig {
    fn reports(&self) -> Vec<String> {
        vec!["frechet_per_digit*".into()]
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let judged = Judged::of(evaluation)?;
        let classifier = evaluation.services.trained_model(&self.classifier)?;
        let classifier = classifier.as_ref();
        let folder = data_source::folder(&evaluation.load.data_dir, "mnist")?;
        let others = training_images(&folder)?;
        // Digit by digit: all features at once would be 8,000 x 3,136 doubles for each set.
        let rows = rows_by_digit(&judged.labels);
        let options = (judged.samples.kind(), judged.samples.device());
        let mut columns: [Vec<f64>; 4] = Default::default();
        for (digit, rows) in rows.iter().enumerate() {
            let count = rows.size()[0];
            if count < 2 {
                columns.iter_mut().for_each(|column| column.push(f64::NAN));
                continue;
            }
            let real = features(classifier, &judged.upright.index_select(0, rows))?;
            let other = others.of(digit as u8, count, options);
            let sets = [
                judged.samples.index_select(0, rows),
                other,
                judged.derotated.index_select(0, rows),
                judged.input.index_select(0, rows),
            ];
            for (column, images) in columns.iter_mut().zip(&sets) {
                column.push(frechet_distance(&features(classifier, images)?, &real)?);
            }
        }
        let names = ["", "_real_against_real", "_derotated", "_input"];
        let mut measured = Vec::new();
        for (k, (column, suffix)) in columns.iter().zip(names).enumerate() {
            let (mean, std) = mean_and_std(column);
            let name = format!("frechet_per_digit{suffix}");
            measured.push(match k {
                0 => Measured::lower(name, mean),
                _ => Measured::neutral(name, mean),
            });
            measured.push(Measured::neutral(format!("frechet_per_digit{suffix}_std"), std));
        }
        Ok(measured)
    }
}

/// Training images and their labels, as bytes.
struct Others {
    images: idx::Images,
    labels: Vec<u8>,
}

fn training_images(folder: &std::path::Path) -> Result<Others> {
    let read = |file: &KnownFile| -> Result<_> {
        let path = idx::find(folder, file.name)?;
        let bytes = idx::read_bytes(&path)?;
        Ok((path, bytes))
    };
    let (path, bytes) = read(&source::TRAIN_IMAGES)?;
    let images = idx::images(&path, &bytes)?;
    let (path, bytes) = read(&source::TRAIN_LABELS)?;
    Ok(Others { images, labels: idx::labels(&path, &bytes)? })
}

impl Others {
    /// The first `count` images of a digit, `[count, 1, rows, columns]` in `[0, 1]`.
    fn of(&self, digit: u8, count: i64, (kind, device): (Kind, Device)) -> Tensor {
        let size = self.images.rows * self.images.columns;
        let chosen: Vec<u8> = (self.images.pixels.chunks_exact(size).zip(&self.labels))
            .filter(|(_, label)| **label == digit)
            .take(count as usize)
            .flat_map(|(pixels, _)| pixels.iter().copied())
            .collect();
        Tensor::from_slice(&chosen)
            .reshape([-1, 1, self.images.rows as i64, self.images.columns as i64])
            .to_device(device)
            .to_kind(kind)
            / 255.0
    }
}
