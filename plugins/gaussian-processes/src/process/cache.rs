//! Factorised covariances of the index sets that were seen last.

use crate::linear_algebra::Factor;
use isotropy_core::Root;
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// Index sets that are kept at most: known, query and joint points of two samplers.
const ENTRIES: usize = 6;

/// Numbers that older entries may hold together.
const NUMBERS: usize = 1 << 25;

/// What is known of one index set.
#[derive(Debug)]
struct Entry {
    index: Tensor,
    mask: Option<Tensor>,
    factor: Factor,
    /// The root in the kinds that were asked for.
    roots: Vec<(Kind, Root)>,
}

/// The last factors. Samplers and likelihoods come back with one index set for hundreds of steps.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Vec<Entry>>);

/// Whether two tensors are the same. The cache holds on to the tensors it compares with, so equal addresses mean the
/// same memory (no operation of this toolkit changes the index points of a state in place). On the CPU numbers are
/// compared, too; elsewhere that would make the device wait.
fn same(a: &Tensor, b: &Tensor) -> bool {
    if (a.kind(), a.device()) != (b.kind(), b.device()) || a.size() != b.size() {
        return false;
    }
    let shared = a.data_ptr() == b.data_ptr() && a.stride() == b.stride();
    shared || (a.device() == Device::Cpu && a.equal(b))
}

fn same_mask(a: Option<&Tensor>, b: Option<&Tensor>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => same(a, b),
        _ => false,
    }
}

impl Cache {
    /// What `read` gives on the factor for these points, which `make` computes where it is not there.
    pub(super) fn with<T, E>(
        &self,
        index: &Tensor,
        mask: Option<&Tensor>,
        make: impl FnOnce() -> Result<Factor, E>,
        read: impl FnOnce(&Factor, &mut dyn FnMut(Kind) -> Root) -> T,
    ) -> Result<T, E> {
        // A poisoned lock is harmless: entries are only ever added whole.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = entries
            .iter()
            .position(|entry| same(&entry.index, index) && same_mask(entry.mask.as_ref(), mask));
        let entry = match place {
            Some(place) => entries.remove(place),
            None => Entry {
                index: index.shallow_clone(),
                mask: mask.map(Tensor::shallow_clone),
                factor: make()?,
                roots: Vec::new(),
            },
        };
        // The newest is last; the oldest go.
        entries.push(entry);
        while entries.len() > ENTRIES
            || (entries.len() > 1
                && entries[..entries.len() - 1].iter().map(|e| e.factor.numel()).sum::<usize>()
                    > NUMBERS)
        {
            entries.remove(0);
        }
        let entry = entries.last_mut().expect("one was just added");
        let Entry { factor, roots, .. } = entry;
        let mut root = |kind: Kind| {
            if let Some((_, root)) = roots.iter().find(|(k, _)| *k == kind) {
                return root.clone();
            }
            let root = factor.root(kind);
            roots.push((kind, root.clone()));
            root
        };
        Ok(read(factor, &mut root))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().map_or(0, |entries| entries.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Isotropic, Shape};
    use crate::linear_algebra::Points;
    use std::cell::Cell;

    /// Asks for the factor at points; `made` counts how often it had to be computed.
    fn ask(cache: &Cache, index: &Tensor, mask: Option<&Tensor>, made: &Cell<usize>) -> f64 {
        let kernel = Isotropic::new(Shape::Rbf, 1.0, 1.0).expect("positive numbers");
        let make = || {
            made.set(made.get() + 1);
            Factor::new(&kernel, Points::new(index, mask), 1e-6)
        };
        let found = cache.with(index, mask, make, |factor, root| {
            let _ = root(Kind::Float);
            factor.log_determinant(1).sum(Kind::Double).double_value(&[])
        });
        found.expect("a definite matrix")
    }

    #[test]
    fn a_repeated_index_set_is_factorised_once() {
        let (cache, made) = (Cache::default(), Cell::new(0));
        let index = Tensor::arange(10, (Kind::Double, Device::Cpu)).view([1, 5, 2]);
        let first = ask(&cache, &index, None, &made);
        assert_eq!(ask(&cache, &index, None, &made), first);
        assert_eq!(ask(&cache, &index.copy(), None, &made), first);
        assert_eq!(made.get(), 1);
        let other = &index * 0.1;
        assert_ne!(ask(&cache, &other, None, &made), first);
        let mask = Tensor::ones([1, 5], (Kind::Double, Device::Cpu));
        ask(&cache, &index, Some(&mask), &made);
        assert_eq!(made.get(), 3);
        // Numbers that changed in a copy are noticed.
        let changed = index.copy();
        let _ = changed.narrow(1, 0, 1).fill_(9.0);
        assert_ne!(ask(&cache, &changed, None, &made), first);
    }

    #[test]
    fn old_index_sets_are_forgotten() {
        let (cache, made) = (Cache::default(), Cell::new(0));
        for k in 0..20 {
            let index =
                Tensor::arange(10, (Kind::Double, Device::Cpu)).view([1, 5, 2]) + f64::from(k);
            ask(&cache, &(index * f64::from(k + 1)), None, &made);
        }
        assert_eq!((made.get(), cache.len()), (20, ENTRIES));
    }
}
