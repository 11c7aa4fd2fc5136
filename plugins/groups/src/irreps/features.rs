//! Features made of irreps: `"16x0e + 8x1o + 4x2e"`.

use super::Wigner;
use isotropy_core::{Error, Result};
use std::fmt;
use std::str::FromStr;
use tch::Tensor;

/// What inversion `v -> -v` does to an irrep of O(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Parity {
    /// It stays: scalars, axial vectors. Written `e`.
    Even,
    /// It changes its sign: vectors, pseudoscalars. Written `o`.
    Odd,
}

impl Parity {
    /// The parity of the harmonics of degree `l`: `(-1)^l`.
    pub fn of_degree(l: i64) -> Self {
        if l % 2 == 0 { Self::Even } else { Self::Odd }
    }

    /// The parity of a product.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        if self == other { Self::Even } else { Self::Odd }
    }

    /// +1 or -1.
    pub fn sign(self) -> f64 {
        match self {
            Self::Even => 1.0,
            Self::Odd => -1.0,
        }
    }
}

/// An irrep of O(3); of SO(3) when the parity is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Irrep {
    /// The degree.
    pub l: i64,
    /// What inversion does.
    pub parity: Parity,
}

impl Irrep {
    /// The irrep of the harmonics of degree `l`.
    pub fn natural(l: i64) -> Self {
        Self { l, parity: Parity::of_degree(l) }
    }

    /// `2l + 1`.
    pub fn dimension(self) -> i64 {
        2 * self.l + 1
    }

    /// The irreps that the tensor product contains, each once.
    pub fn product(self, other: Self) -> impl Iterator<Item = Self> {
        let parity = self.parity.times(other.parity);
        ((self.l - other.l).abs()..=self.l + other.l).map(move |l| Self { l, parity })
    }
}

impl fmt::Display for Irrep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = if self.parity == Parity::Even { 'e' } else { 'o' };
        write!(f, "{}{parity}", self.l)
    }
}

impl FromStr for Irrep {
    type Err = Error;

    /// `"1o"`, `"2e"`; without a letter (`"2"`) the parity is that of the harmonics.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let (digits, parity) = match text.strip_suffix(['e', 'o']) {
            Some(digits) if text.ends_with('e') => (digits, Some(Parity::Even)),
            Some(digits) => (digits, Some(Parity::Odd)),
            None => (text, None),
        };
        let l = digits.parse::<u32>().ok().filter(|&l| l <= MAX_DEGREE).ok_or_else(|| {
            Error::config(
                "",
                format!(
                    "`{text}` is no irrep: expected a degree up to {MAX_DEGREE}, as in `2`, `1o`"
                ),
            )
        })?;
        let l = i64::from(l);
        Ok(parity.map_or_else(|| Self::natural(l), |parity| Self { l, parity }))
    }
}

/// Largest degree that text may ask for: up to here the coefficients are accurate to rounding.
const MAX_DEGREE: u32 = 10;

/// Equal irreps side by side, `[multiplicity, 2l + 1]` in a row of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// How many.
    pub multiplicity: i64,
    /// Which.
    pub irrep: Irrep,
    /// Where the block starts on the feature axis.
    pub start: i64,
}

impl Block {
    /// Its length on the feature axis.
    pub fn width(&self) -> i64 {
        self.multiplicity * self.irrep.dimension()
    }
}

/// The irreps that a row of features is made of, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Irreps {
    blocks: Vec<Block>,
}

impl Irreps {
    /// Blocks of (multiplicity, irrep) in this order; empty ones are left out.
    pub fn new(parts: impl IntoIterator<Item = (i64, Irrep)>) -> Self {
        let mut start = 0;
        let blocks = parts
            .into_iter()
            .filter(|&(multiplicity, _)| multiplicity > 0)
            .map(|(multiplicity, irrep)| {
                let block = Block { multiplicity, irrep, start };
                start += block.width();
                block
            })
            .collect();
        Self { blocks }
    }

    /// Spherical harmonics up to a degree, `0e + 1o + 2e + ..`: what
    /// [`spherical_harmonics`](super::spherical_harmonics) returns.
    pub fn spherical_harmonics(l_max: i64) -> Self {
        Self::new((0..=l_max).map(|l| (1, Irrep::natural(l))))
    }

    /// The blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Length of the feature axis.
    pub fn width(&self) -> i64 {
        self.blocks.iter().map(Block::width).sum()
    }

    /// Number of irreps, multiplicities counted.
    pub fn count(&self) -> i64 {
        self.blocks.iter().map(|b| b.multiplicity).sum()
    }

    /// The largest degree; 0 for no irreps.
    pub fn l_max(&self) -> i64 {
        self.blocks.iter().map(|b| b.irrep.l).max().unwrap_or(0)
    }

    /// How often an irrep occurs.
    pub fn multiplicity(&self, irrep: Irrep) -> i64 {
        self.blocks.iter().filter(|b| b.irrep == irrep).map(|b| b.multiplicity).sum()
    }

    /// Every irrep in one block, sorted by degree, even before odd. Says what features hold, not
    /// where: features have to be reordered with it.
    #[must_use]
    pub fn simplified(&self) -> Self {
        let mut irreps: Vec<Irrep> = self.blocks.iter().map(|b| b.irrep).collect();
        irreps.sort_unstable();
        irreps.dedup();
        Self::new(irreps.into_iter().map(|irrep| (self.multiplicity(irrep), irrep)))
    }

    /// A block of features `[.., width]`, as `[.., multiplicity, 2l + 1]`.
    pub fn part(&self, features: &Tensor, block: &Block) -> Tensor {
        let size = features.size();
        let lead = &size[..size.len() - 1];
        let shape = [lead, &[block.multiplicity, block.irrep.dimension()]].concat();
        features.narrow(-1, block.start, block.width()).reshape(shape)
    }

    /// All blocks of features, as by [`Irreps::part`].
    pub fn split(&self, features: &Tensor) -> Vec<Tensor> {
        self.blocks.iter().map(|block| self.part(features, block)).collect()
    }

    /// Features `[.., width]` of their blocks: the inverse of [`Irreps::split`].
    ///
    /// # Panics
    /// When there is no block.
    pub fn join(&self, parts: &[Tensor]) -> Tensor {
        debug_assert_eq!(parts.len(), self.blocks.len(), "one tensor for each block");
        let rows: Vec<Tensor> = parts.iter().map(|part| part.flatten(-2, -1)).collect();
        Tensor::cat(&rows, -1)
    }

    /// Features `[B, .., width]` turned by rotations `[B, 3, 3]`, one for each point of the batch.
    pub fn rotate(&self, wigner: &Wigner, r: &Tensor, features: &Tensor) -> Tensor {
        let matrices = wigner.matrices(r);
        let batch = features.size()[0];
        let parts: Vec<Tensor> = self
            .blocks
            .iter()
            .map(|block| {
                let part = self.part(features, block);
                let flat = part.reshape([batch, -1, block.irrep.dimension()]);
                let d = &matrices[block.irrep.l as usize];
                flat.matmul(&d.transpose(-1, -2)).reshape(part.size())
            })
            .collect();
        self.join(&parts)
    }

    /// Features under the inversion `v -> -v`: odd irreps change their sign.
    pub fn invert(&self, features: &Tensor) -> Tensor {
        let parts: Vec<Tensor> = self
            .blocks
            .iter()
            .map(|block| self.part(features, block) * block.irrep.parity.sign())
            .collect();
        self.join(&parts)
    }

    /// The matrices `[.., width, width]` of rotations `[.., 3, 3]`; for tests and small widths,
    /// [`Irreps::rotate`] never forms them.
    pub fn matrix(&self, wigner: &Wigner, r: &Tensor) -> Tensor {
        let matrices = wigner.matrices(r);
        let width = self.width();
        let mut rows = Vec::new();
        for block in &self.blocks {
            let (d, n) = (&matrices[block.irrep.l as usize], block.irrep.dimension());
            for copy in 0..block.multiplicity {
                let before = block.start + copy * n;
                rows.push(d.constant_pad_nd([before, width - before - n]));
            }
        }
        Tensor::cat(&rows, -2)
    }

    /// Lengths of all irreps of features `[.., width]`, `[.., count]`: invariant under rotations.
    /// The derivative at length zero is zero.
    pub fn lengths(&self, features: &Tensor) -> Tensor {
        let lengths: Vec<Tensor> = self
            .split(features)
            .iter()
            .map(|part| {
                let square = (part * part).sum_dim_intlist(-1, false, None);
                let lost = square.le(0.0);
                square.ones_like().where_self(&lost, &square).sqrt().masked_fill(&lost, 0.0)
            })
            .collect();
        Tensor::cat(&lengths, -1)
    }
}

impl fmt::Display for Irreps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, block) in self.blocks.iter().enumerate() {
            let plus = if k == 0 { "" } else { " + " };
            write!(f, "{plus}{}x{}", block.multiplicity, block.irrep)?;
        }
        Ok(())
    }
}

impl FromStr for Irreps {
    type Err = Error;

    /// `"16x0e + 8x1o + 2e"`: terms joined by `+`, each a multiplicity, `x` and an irrep; the
    /// multiplicity 1 may be left out, and so may the letter (`"8x1"` is `8x1o`).
    fn from_str(text: &str) -> Result<Self> {
        let term = |term: &str| -> Result<(i64, Irrep)> {
            let Some((count, irrep)) = term.split_once('x') else {
                return Ok((1, term.parse()?));
            };
            let count = count.trim().parse::<u32>().map_err(|_| {
                Error::config(
                    "",
                    format!("`{}` is no multiplicity in `{}`", count.trim(), term.trim()),
                )
            })?;
            Ok((i64::from(count), irrep.parse()?))
        };
        let irreps = Self::new(text.split('+').map(term).collect::<Result<Vec<_>>>()?);
        if irreps.blocks.is_empty() {
            return Err(Error::config("", format!("`{text}` holds no irrep")));
        }
        Ok(irreps)
    }
}
