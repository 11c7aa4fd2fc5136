//! Edges between near points of a batch of sets: the nearest of each point, or all within a radius, without loops.

use isotropy_core::{Error, Result};
use tch::{Kind, Tensor};

/// Which points send messages to a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbours {
    /// At most so many, the nearest. Of points at equal distances any may be taken; on a regular grid that breaks the
    /// symmetry of the choice. Weights that fade to zero at [`Edges::reaches`] keep it, and so does `None`, all points.
    pub count: Option<i64>,
    /// Only those nearer than this, in units of the index.
    pub cutoff: Option<f64>,
}

impl Neighbours {
    /// Checks the numbers.
    ///
    /// # Errors
    /// `Config` with pointer `/neighbours` or `/cutoff`.
    pub fn check(&self) -> Result<()> {
        if self.count.is_some_and(|count| count < 1) {
            return Err(Error::config("/neighbours", "a point needs at least one neighbour")
                .with_help("leave `neighbours` out to take all within the cutoff"));
        }
        if self.cutoff.is_some_and(|cutoff| cutoff.is_nan() || cutoff <= 0.0) {
            return Err(Error::config("/cutoff", "a cutoff is a positive length"));
        }
        Ok(())
    }
}

/// Directed edges between points of the same set. Points are numbered through the batch: point `n` of set `b` is row
/// `b N + n` of features `[B N, ..]`.
#[derive(Debug)]
pub struct Edges {
    /// Row of the point that sends, `[E]`, `Int64`.
    pub senders: Tensor,
    /// Row of the point that receives, `[E]`, `Int64`, ascending.
    pub receivers: Tensor,
    /// Number of the set, `[E]`, `Int64`.
    pub sets: Tensor,
    /// From sender to receiver, `[E, p]`.
    pub vectors: Tensor,
    /// The length that edges to the same receiver stay below, `[E]`: the distance of the nearest point that does not send
    /// to it, or the cutoff if that is less; infinite without either.
    pub reaches: Tensor,
    /// 1 for the edges that are there, `[E]`; `None` when all are. The others lead from a point to itself, and whoever sums
    /// over edges leaves them out ([`Edges::weights`]).
    pub there: Option<Tensor>,
    /// Number of points `B N`.
    rows: i64,
}

impl Edges {
    /// The edges of points `index` `[B, N, p]`; those that `mask` `[B, N]` (1 = there) hides have none. No point sends to
    /// itself; points at the same place send to one another.
    ///
    /// On the CPU the work that follows is proportional to their number. A device would have to be waited for to know it, so
    /// there every point has a fixed number of edges ([`Edges::there`]).
    pub fn find(index: &Tensor, mask: Option<&Tensor>, neighbours: &Neighbours) -> Self {
        let size = index.size();
        let (batch, points) = (size[0], size[1]);
        let rows = batch * points;
        let limit = neighbours.cutoff.map_or(f64::INFINITY, |cutoff| cutoff * cutoff);
        let (senders, receivers, reaches, there) = tch::no_grad(|| {
            let square = squares(index, mask);
            let count = neighbours.count.unwrap_or(points).min(points);
            // The point itself is no neighbour, so that N - 1 neighbours are all of them.
            let (square, sender, next) = if count < points - 1 {
                // One more: the first that does not send.
                let (square, sender) = square.topk(count + 1, -1, false, true);
                let next = square.narrow(-1, count, 1).flatten(0, -1).clamp_max(limit).sqrt();
                let sender = sender.narrow(-1, 0, count).flatten(0, -1);
                (square.narrow(-1, 0, count), Some(sender), Some(next))
            } else {
                (square, None, None)
            };
            let width = square.size()[2];
            let near = square.flatten(0, -1).lt(limit);
            let (edges, near) = if index.device().is_cuda() {
                let all = Tensor::arange(rows * width, (Kind::Int64, index.device()));
                (all, Some(near))
            } else {
                (near.nonzero().squeeze_dim(1), None)
            };
            let receivers = edges.divide_scalar_mode(width, "floor");
            let within = match sender {
                Some(sender) => sender.index_select(0, &edges),
                None => edges.remainder(width),
            };
            let first = receivers.divide_scalar_mode(points, "floor") * points;
            let reaches = match next {
                Some(next) => next.index_select(0, &receivers),
                None => Tensor::full(
                    [receivers.size()[0]],
                    limit.sqrt(),
                    (index.kind(), index.device()),
                ),
            };
            let senders = within + first;
            let (senders, there) = match near {
                Some(near) => {
                    (senders.where_self(&near, &receivers), Some(near.to_kind(index.kind())))
                }
                None => (senders, None),
            };
            (senders, receivers, reaches, there)
        });
        let flat = index.reshape([rows, size[2]]);
        let vectors = flat.index_select(0, &receivers) - flat.index_select(0, &senders);
        let sets = receivers.divide_scalar_mode(points, "floor");
        Self { senders, receivers, sets, vectors, reaches, there, rows }
    }

    /// Number of edges, those that are not there included.
    pub fn len(&self) -> i64 {
        self.senders.size()[0]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lengths `[E]`, with a derivative that is finite at zero.
    pub fn lengths(&self) -> Tensor {
        let square = self.vectors.square().sum_dim_intlist(-1, false, None);
        let lost = square.le(0.0);
        square.masked_fill(&lost, 1.0).sqrt().masked_fill(&lost, 0.0)
    }

    /// Weights of edges `[E]` with zeros where there is no edge; `None` stands for weights of 1.
    pub fn weights(&self, weight: Option<Tensor>) -> Option<Tensor> {
        match (weight, &self.there) {
            (Some(weight), Some(there)) => Some(weight * there),
            (weight, there) => weight.or_else(|| there.as_ref().map(Tensor::shallow_clone)),
        }
    }

    /// Features `[B N, ..]` of the senders, `[E, ..]`.
    pub fn from_senders(&self, features: &Tensor) -> Tensor {
        features.index_select(0, &self.senders)
    }

    /// The sum `[B N, ..]` of messages `[E, ..]` over the edges that arrive at each point.
    pub fn sum(&self, messages: &Tensor) -> Tensor {
        let mut size = messages.size();
        size[0] = self.rows;
        let zeros = Tensor::zeros(&size, (messages.kind(), messages.device()));
        zeros.index_add(0, &self.receivers, messages)
    }
}

/// Squared distances `[B, N, N]`, infinite from a point to itself and to hidden points.
fn squares(index: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let coordinates = index.unbind(2);
    let square = |x: &Tensor| (x.unsqueeze(2) - x.unsqueeze(1)).square_();
    let (first, rest) = coordinates.split_first().expect("points have coordinates");
    let mut sum = square(first);
    for x in rest {
        let _ = sum.g_add_(&square(x));
    }
    let _ = sum.diagonal(0, 1, 2).fill_(f64::INFINITY);
    if let Some(mask) = mask {
        let hidden = mask.lt(0.5);
        let pair = hidden.unsqueeze(1).logical_or(&hidden.unsqueeze(2));
        let _ = sum.masked_fill_(&pair, f64::INFINITY);
    }
    debug_assert!(sum.kind() != Kind::Int64, "points are real numbers");
    sum
}
