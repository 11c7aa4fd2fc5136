//! Streams of random numbers. Every draw comes from a stream seeded by (run seed, stream name,
//! step), so that a resumed run repeats the uninterrupted one and no batch depends on what was
//! drawn before it.
//!
//! libtorch has one generator for the whole process. A draw therefore locks, seeds, draws, and
//! unlocks; reseeding takes about a microsecond on the CPU.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tch::{Device, Kind, Tensor};

static GENERATOR: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    // The generator holds no invariant that a panic elsewhere could break: it is seeded each time.
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The streams of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// Streams under a run seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream of that name at that step.
    pub fn stream(&self, name: &str, step: u64) -> Stream {
        Stream { seed: mix(mix(self.seed, hash(name)), step), draws: 0 }
    }

    /// Streams that share no draw with these: for validation, which must not disturb training.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { seed: mix(self.seed, hash(name)) }
    }

    /// Seeds libtorch's generator for code that draws by itself (dropout, initialisation) and runs
    /// it. Draws from a [`Stream`] inside `f` would deadlock: draw before.
    pub fn scope<T>(&self, name: &str, step: u64, f: impl FnOnce() -> T) -> T {
        let guard = lock();
        seed_generator(self.stream(name, step).seed);
        let result = f();
        drop(guard);
        result
    }
}

/// One stream: a sequence of draws.
#[derive(Debug)]
pub struct Stream {
    seed: u64,
    draws: u64,
}

impl Stream {
    /// Draws with libtorch's generator, freshly seeded.
    fn draw(&mut self, f: impl FnOnce() -> Tensor) -> Tensor {
        let seed = self.seed();
        let guard = lock();
        seed_generator(seed);
        let tensor = f();
        drop(guard);
        tensor
    }

    /// A 64-bit seed, for generators other than libtorch's.
    pub fn seed(&mut self) -> u64 {
        self.draws += 1;
        mix(self.seed, self.draws)
    }

    /// Standard normal numbers.
    pub fn normal(&mut self, shape: &[i64], options: (Kind, Device)) -> Tensor {
        self.draw(|| Tensor::randn(shape, options))
    }

    /// Uniform numbers in `[0, 1)`.
    pub fn uniform(&mut self, shape: &[i64], options: (Kind, Device)) -> Tensor {
        self.draw(|| Tensor::rand(shape, options))
    }

    /// Uniform integers in `0 .. high`, as `Int64`.
    pub fn integers(&mut self, high: i64, shape: &[i64], device: Device) -> Tensor {
        self.draw(|| Tensor::randint(high, shape, (Kind::Int64, device)))
    }

    /// A permutation of `0 .. n`, as `Int64` on the CPU.
    pub fn permutation(&mut self, n: i64) -> Tensor {
        self.draw(|| Tensor::randperm(n, (Kind::Int64, Device::Cpu)))
    }
}

/// `manual_seed` takes a signed number; the bits are kept.
fn seed_generator(seed: u64) {
    tch::manual_seed(seed as i64);
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): stable across versions, unlike the standard library's hash.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, byte| {
        (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014) over both words.
fn mix(a: u64, b: u64) -> u64 {
    let mut z =
        a.wrapping_add(b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_does_not_depend_on_what_was_drawn_before() {
        let options = (Kind::Double, Device::Cpu);
        let streams = Streams::new(7);
        let expected = streams.stream("noise", 3).normal(&[4], options);
        let _ = streams.stream("other", 0).normal(&[100], options);
        let again = streams.stream("noise", 3).normal(&[4], options);
        assert_eq!(Vec::<f64>::try_from(&expected).unwrap(), Vec::<f64>::try_from(&again).unwrap());
    }

    #[test]
    fn streams_differ_by_seed_name_step_and_draw() {
        let first = |seed, name: &str, step| Streams::new(seed).stream(name, step).seed();
        let base = first(1, "a", 0);
        assert_ne!(base, first(2, "a", 0));
        assert_ne!(base, first(1, "b", 0));
        assert_ne!(base, first(1, "a", 1));
        let mut stream = Streams::new(1).stream("a", 0);
        assert_ne!(stream.seed(), stream.seed());
    }
}
