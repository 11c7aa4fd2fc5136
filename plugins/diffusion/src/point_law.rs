//! Datasets of single positions: a law, and the points drawn from it.

use isotropy_core::{
    Dataset, Error, Field, FieldSpec, LoadContext, Moves, Result, Split, State, StateSpec, Stream,
    Streams, upload,
};
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

/// A law of positions that can be drawn from without end.
pub trait PointLaw {
    /// Dimension of the space.
    fn dimension(&self) -> i64;

    /// `count` independent points, `[count, dimension]`, of the given kind and device.
    fn draw(&self, count: i64, options: (Kind, Device), stream: &mut Stream) -> Tensor;

    /// Whether the parameters describe a law.
    ///
    /// # Errors
    /// `Config` with a pointer to the parameter that does not.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// How many points of each split, and which.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Training points.
    pub train: u64,
    /// Validation points.
    pub validation: u64,
    /// Test points.
    pub test: u64,
    /// What they are drawn from.
    pub seed: u64,
}

/// The shape of states of a law.
pub fn spec(law: &impl PointLaw) -> Result<StateSpec> {
    law.check()?;
    Ok(StateSpec::new(FieldSpec::new(&[law.dimension()], Moves::Point)))
}

/// Points in memory, on the device where they are used.
#[derive(Debug)]
pub struct PointDataset {
    train: Tensor,
    validation: Tensor,
    test: Tensor,
    /// The training points in the order of one epoch, for the epochs used last. Only saves time:
    /// what it holds is a function of (seed, epoch).
    shuffled: RefCell<Vec<Epoch>>,
}

/// The training points in the order of an epoch.
#[derive(Debug)]
struct Epoch {
    streams: Streams,
    number: u64,
    points: Tensor,
}

/// A batch may cross from one epoch into the next; both are kept.
const EPOCHS_KEPT: usize = 2;

impl PointDataset {
    /// Draws the points of all splits. They are drawn in double precision on the CPU, so that all
    /// kinds and devices see the same points.
    ///
    /// # Errors
    /// As [`PointLaw::check`], and when there are no training points.
    pub fn draw(law: &impl PointLaw, sizes: Sizes, context: &LoadContext) -> Result<Self> {
        law.check()?;
        if sizes.train == 0 {
            return Err(Error::config("/points", "there must be at least one training point"));
        }
        let streams = Streams::new(sizes.seed);
        let draw = |name: &str, count: u64| {
            law.draw(count as i64, (Kind::Double, Device::Cpu), &mut streams.stream(name, 0))
                .to_kind(context.kind)
                .to_device(context.device)
        };
        Ok(Self {
            train: draw("train", sizes.train),
            validation: draw("validation", sizes.validation),
            test: draw("test", sizes.test),
            shuffled: RefCell::new(Vec::new()),
        })
    }

    fn points(&self, split: Split) -> &Tensor {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    /// Rows `offset .. offset + count` of the training points in the order of an epoch.
    fn rows_of_epoch(&self, number: u64, offset: i64, count: i64, streams: &Streams) -> Tensor {
        let mut kept = self.shuffled.borrow_mut();
        let at = kept.iter().position(|epoch| epoch.number == number && epoch.streams == *streams);
        let at = at.unwrap_or_else(|| {
            // The order is the one of `isotropy_core::dataset::shuffled_rows`.
            let length = self.train.size()[0];
            let rows = isotropy_core::dataset::shuffled_rows(length, number, length, streams);
            let points = self.train.index_select(0, &upload(&rows, self.train.device()));
            kept.truncate(EPOCHS_KEPT - 1);
            kept.insert(0, Epoch { streams: streams.clone(), number, points });
            0
        });
        kept[at].points.narrow(0, offset, count)
    }

    /// Training batch `step`: every point once an epoch.
    fn shuffled_batch(&self, step: u64, size: i64, streams: &Streams) -> Tensor {
        let length = i128::from(self.train.size()[0]);
        let first = i128::from(step) * i128::from(size);
        let (mut epoch, mut offset) = ((first / length) as u64, (first % length) as i64);
        let mut parts = Vec::with_capacity(2);
        let mut left = size;
        while left > 0 {
            let take = left.min(length as i64 - offset);
            parts.push(self.rows_of_epoch(epoch, offset, take, streams));
            (epoch, offset, left) = (epoch + 1, 0, left - take);
        }
        if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) }
    }
}

impl Dataset for PointDataset {
    fn len(&self, split: Split) -> Option<u64> {
        Some(self.points(split).size()[0] as u64)
    }

    fn batch(&self, split: Split, step: u64, size: i64, streams: &Streams) -> Result<State> {
        let points = match split {
            Split::Train => self.shuffled_batch(step, size, streams),
            Split::Validation | Split::Test => {
                let all = self.points(split);
                let length = all.size()[0];
                let start = i128::from(step) * i128::from(size);
                let start = start.min(i128::from(length)) as i64;
                all.narrow(0, start, size.min(length - start))
            }
        };
        Ok(State::new(Field::new(points, Moves::Point)))
    }
}

/// Declares the JSON description of a law: its own fields, followed by those that all data sets of a law
/// share. Takes the name in the registry, the default number of training points, a one-line summary
/// and an example.
#[macro_export]
macro_rules! point_law {
    (
        $(#[$meta:meta])*
        $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr,)*
        }
        $tag:literal, $points:literal, $summary:literal, $example:literal
    ) => {
        $(#[$meta])*
        #[isotropy_core::config(default)]
        #[derive(Clone)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// Number of training points.
            #[schemars(range(min = 1, max = 100_000_000))]
            pub points: u64,
            /// Number of validation points.
            #[schemars(range(min = 0, max = 100_000_000))]
            pub validation_points: u64,
            /// Number of test points: what samples are compared with.
            #[schemars(range(min = 0, max = 100_000_000))]
            pub test_points: u64,
            /// Seed of the points. The seed of the run does not change them.
            pub seed: u64,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    points: $points,
                    validation_points: 1_000,
                    test_points: 10_000,
                    seed: 42,
                }
            }
        }

        #[isotropy_core::component($tag, $summary, $example)]
        impl isotropy_core::DatasetConfig for $name {
            fn spec(&self) -> isotropy_core::Result<isotropy_core::StateSpec> {
                $crate::point_law::spec(self)
            }

            fn split_size(&self, split: isotropy_core::Split) -> Option<u64> {
                Some(match split {
                    isotropy_core::Split::Train => self.points,
                    isotropy_core::Split::Validation => self.validation_points,
                    isotropy_core::Split::Test => self.test_points,
                })
            }

            fn load(
                &self,
                context: &isotropy_core::LoadContext,
            ) -> isotropy_core::Result<Box<dyn isotropy_core::Dataset>> {
                let sizes = $crate::point_law::Sizes {
                    train: self.points,
                    validation: self.validation_points,
                    test: self.test_points,
                    seed: self.seed,
                };
                Ok(Box::new($crate::point_law::PointDataset::draw(self, sizes, context)?))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::dataset::shuffled_rows;

    /// `0, 1, 2, ...`: a law that is no law, to recognise rows.
    struct Counting;

    impl PointLaw for Counting {
        fn dimension(&self) -> i64 {
            1
        }

        fn draw(&self, count: i64, options: (Kind, Device), _: &mut Stream) -> Tensor {
            Tensor::arange(count, options).unsqueeze(1)
        }
    }

    fn counting(train: u64) -> PointDataset {
        let sizes = Sizes { train, validation: 5, test: 0, seed: 1 };
        let context = LoadContext {
            data_dir: std::path::PathBuf::new(),
            kind: Kind::Float,
            device: Device::Cpu,
            streams: Streams::new(9),
        };
        PointDataset::draw(&Counting, sizes, &context).unwrap()
    }

    fn values(state: &State) -> Vec<i64> {
        Vec::try_from(state.x().flatten(0, -1).to_kind(Kind::Int64)).unwrap()
    }

    #[test]
    fn training_batches_are_those_of_shuffled_rows_in_any_order_of_asking() {
        let streams = Streams::new(3);
        let dataset = counting(10);
        for step in [0, 7, 3, 2, 100, 3, 4] {
            for size in [4, 10, 23] {
                let batch = dataset.batch(Split::Train, step, size, &streams).unwrap();
                let rows = shuffled_rows(10, step, size, &streams);
                assert_eq!(values(&batch), Vec::<i64>::try_from(rows).unwrap());
            }
        }
        let other = dataset.batch(Split::Train, 0, 10, &Streams::new(4)).unwrap();
        let first = dataset.batch(Split::Train, 0, 10, &streams).unwrap();
        assert_ne!(values(&other), values(&first), "the order depends on the run's seed");
    }

    #[test]
    fn the_other_splits_are_read_in_order_and_end() {
        let dataset = counting(1);
        let streams = Streams::new(0);
        let read = |step| values(&dataset.batch(Split::Validation, step, 2, &streams).unwrap());
        assert_eq!((read(0), read(2), read(3), read(99)), (vec![0, 1], vec![4], vec![], vec![]));
        assert!(dataset.is_empty(Split::Test));
    }
}
