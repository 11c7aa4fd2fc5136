//! Streams of random numbers. Every draw comes from a stream seeded by (run seed, stream name,
//! step), so that a resumed run repeats the uninterrupted one and no batch depends on what was
//! drawn before it.
//!
//! libtorch has one generator for the whole process. A draw therefore locks, seeds, draws, and
//! unlocks; reseeding takes about a microsecond on the CPU. A thread that draws while it holds the
//! generator (a component that draws while a model is initialised, say) would wait for itself: that
//! is an error that names both streams. Constructors, which run in such places, look at their parts
//! with [`Stream::probe`], which needs no generator.

use std::cell::RefCell;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tch::{Device, Kind, Tensor};

static GENERATOR: Mutex<()> = Mutex::new(());

thread_local! {
    /// The stream for which this thread holds the generator.
    static HELD: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// The generator, held for a stream.
struct Generator {
    _guard: MutexGuard<'static, ()>,
}

impl Generator {
    /// Waits for other threads, seeds.
    ///
    /// # Panics
    /// When this thread holds the generator already; the runner makes an error of it.
    fn hold(stream: &Stream, seed: u64) -> Self {
        if let Some(outer) = HELD.with_borrow(Clone::clone) {
            panic!(
                "the random stream '{}' is drawn from while '{outer}' holds the generator; draw \
                 before, or look at a component with `Stream::probe`",
                stream.name
            );
        }
        // The generator holds no invariant that a panic elsewhere could break: it is seeded each
        // time.
        let guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        HELD.set(Some(stream.name.clone()));
        // `manual_seed` takes a signed number; the bits are kept.
        tch::manual_seed(seed as i64);
        Self { _guard: guard }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        HELD.set(None);
    }
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
        let seed = mix(mix(self.seed, hash(name)), step);
        Stream { name: name.into(), seed, draws: 0, probe: false }
    }

    /// Streams that share no draw with these: for validation, which must not disturb training.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { seed: mix(self.seed, hash(name)) }
    }

    /// Seeds libtorch's generator for code that draws by itself (dropout, initialisation) and runs
    /// it.
    ///
    /// # Panics
    /// Where `f` draws from a [`Stream`]: draw before.
    pub fn scope<T>(&self, name: &str, step: u64, f: impl FnOnce() -> T) -> T {
        let stream = self.stream(name, step);
        let _held = Generator::hold(&stream, stream.seed);
        f()
    }
}

/// One stream: a sequence of draws.
#[derive(Debug)]
pub struct Stream {
    name: Arc<str>,
    seed: u64,
    draws: u64,
    /// Whether the numbers come from no generator.
    probe: bool,
}

impl Stream {
    /// Numbers to look at a component with (is this action orthogonal?), always the same. They come
    /// from no generator, so that a constructor may use them wherever it is called.
    pub fn probe() -> Self {
        Self { name: "probe".into(), seed: 0, draws: 0, probe: true }
    }

    /// Draws with libtorch's generator, freshly seeded.
    fn draw(&mut self, f: impl FnOnce() -> Tensor) -> Tensor {
        let seed = self.seed();
        let _held = Generator::hold(self, seed);
        f()
    }

    /// `f` of independent uniform numbers in `[0, 1)`, two for each entry, without libtorch's
    /// generator.
    fn host(&mut self, shape: &[i64], f: impl Fn(f64, f64) -> f64) -> Tensor {
        let seed = self.seed();
        // The leading 53 bits.
        let unit = |k: u64| (mix(seed, k) >> 11) as f64 / (1u64 << 53) as f64;
        let count = shape.iter().product::<i64>() as u64;
        let all: Vec<f64> = (0..count).map(|k| f(unit(2 * k), unit(2 * k + 1))).collect();
        Tensor::from_slice(&all).view(shape)
    }

    /// A 64-bit seed, for generators other than libtorch's.
    pub fn seed(&mut self) -> u64 {
        self.draws += 1;
        mix(self.seed, self.draws)
    }

    /// Standard normal numbers.
    pub fn normal(&mut self, shape: &[i64], options: (Kind, Device)) -> Tensor {
        if self.probe {
            // Box and Muller 1958.
            let normal = |u: f64, v: f64| (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos();
            return self.host(shape, normal).to_device(options.1).to_kind(options.0);
        }
        self.draw(|| Tensor::randn(shape, options))
    }

    /// Uniform numbers in `[0, 1)`.
    pub fn uniform(&mut self, shape: &[i64], options: (Kind, Device)) -> Tensor {
        if self.probe {
            return self.host(shape, |u, _| u).to_device(options.1).to_kind(options.0);
        }
        self.draw(|| Tensor::rand(shape, options))
    }

    /// Uniform integers in `0 .. high`, as `Int64`.
    pub fn integers(&mut self, high: i64, shape: &[i64], device: Device) -> Tensor {
        if self.probe {
            let below = |u: f64, _| (u * high as f64).floor().min((high - 1) as f64);
            return self.host(shape, below).to_device(device).to_kind(Kind::Int64);
        }
        self.draw(|| Tensor::randint(high, shape, (Kind::Int64, device)))
    }

    /// A permutation of `0 .. n`, as `Int64` on the CPU.
    pub fn permutation(&mut self, n: i64) -> Tensor {
        if self.probe {
            return self.host(&[n], |u, _| u).argsort(0, false);
        }
        self.draw(|| Tensor::randperm(n, (Kind::Int64, Device::Cpu)))
    }
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
    fn a_draw_inside_of_a_scope_is_an_error_that_names_both_and_no_wait() {
        let nested = || {
            let draw = || Streams::new(1).stream("inner", 0).permutation(3);
            Streams::new(0).scope("outer", 0, draw)
        };
        // On other threads, too, and the generator is free again afterwards.
        for thread in [0, 1] {
            let panicked = std::thread::spawn(nested).join().expect_err("a nested draw");
            let text = panicked.downcast_ref::<String>().expect("a message");
            assert!(text.contains("'inner'") && text.contains("'outer'"), "{thread}: {text}");
            assert_eq!(Streams::new(1).stream("free", 0).permutation(5).size(), [5]);
        }
    }

    #[test]
    fn probes_need_no_generator_and_have_the_laws_of_draws() {
        let options = (Kind::Double, Device::Cpu);
        let (normal, uniform, integers, order) = Streams::new(0).scope("outer", 0, || {
            let mut probe = Stream::probe();
            let normal = probe.normal(&[100, 100], options);
            let uniform = probe.uniform(&[10_000], options);
            (normal, uniform, probe.integers(3, &[300], Device::Cpu), probe.permutation(50))
        });
        let mean = |a: &Tensor| a.mean(Kind::Double).double_value(&[]);
        assert!(mean(&normal).abs() < 0.04 && (mean(&normal.square()) - 1.0).abs() < 0.06);
        assert!((mean(&normal.square().square()) - 3.0).abs() < 0.4);
        assert!((mean(&uniform) - 0.5).abs() < 0.012 && uniform.max().double_value(&[]) < 1.0);
        let counts = Vec::<f64>::try_from(integers.bincount(None::<Tensor>, 3)).unwrap();
        assert!(counts.len() == 3 && counts.iter().all(|count| (60.0..140.0).contains(count)));
        let sorted = order.sort(0, false).0;
        assert_eq!(sorted, Tensor::arange(50, (Kind::Int64, Device::Cpu)));
        assert_ne!(order, sorted);
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
