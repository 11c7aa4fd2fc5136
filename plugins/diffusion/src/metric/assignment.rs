//! The linear assignment problem: the cheapest one-to-one match of rows and columns.
//!
//! Shortest augmenting paths with dual variables, as Crouse (2016, "On implementing 2D rectangular
//! assignment algorithms") describes the method of Jonker and Volgenant (1987). Cubic in the worst
//! case; measured at 0.17 s for 1,000 points in the plane, one thread of a busy machine.

use isotropy_core::{Error, Result};

/// The column matched to each row, with the smallest sum of costs. `cost` is `[n, n]`, row by row.
///
/// # Errors
/// `Numbers` when a cost is not finite; `Other` when `cost` does not have `n * n` entries.
pub fn assignment(cost: &[f64], n: usize) -> Result<Vec<usize>> {
    if cost.len() != n * n {
        return Err(Error::Other(format!("{} costs are not a {n} x {n} matrix", cost.len())));
    }
    if cost.iter().any(|c| !c.is_finite()) {
        return Err(Error::Numbers("a cost of the assignment problem is not finite".into()));
    }
    let mut search = Search {
        cost,
        n,
        row_dual: vec![0.0; n],
        column_dual: vec![0.0; n],
        column_of: vec![FREE; n],
        row_of: vec![FREE; n],
        distance: vec![0.0; n],
        before: vec![FREE; n],
        open: Vec::with_capacity(n),
        rows_seen: Vec::with_capacity(n),
        columns_seen: Vec::with_capacity(n),
    };
    for row in 0..n {
        let end = search.shortest_path(row);
        search.augment(row, end);
    }
    Ok(search.column_of)
}

/// Marks a row or column without a partner.
const FREE: usize = usize::MAX;

struct Search<'a> {
    cost: &'a [f64],
    n: usize,
    row_dual: Vec<f64>,
    column_dual: Vec<f64>,
    column_of: Vec<usize>,
    row_of: Vec<usize>,
    /// Length of the shortest alternating path to each column, in reduced costs.
    distance: Vec<f64>,
    /// The row before each column on that path.
    before: Vec<usize>,
    /// Columns that the search has not settled.
    open: Vec<usize>,
    rows_seen: Vec<usize>,
    columns_seen: Vec<usize>,
}

impl Search<'_> {
    /// The free column nearest to a free row, by Dijkstra's algorithm; updates the duals so that the
    /// reduced costs along the path vanish and none becomes negative.
    fn shortest_path(&mut self, start: usize) -> usize {
        self.distance.fill(f64::INFINITY);
        self.open.clear();
        self.open.extend(0..self.n);
        self.rows_seen.clear();
        self.columns_seen.clear();
        let (mut row, mut length) = (start, 0.0);
        let end = loop {
            self.rows_seen.push(row);
            let costs = &self.cost[row * self.n..(row + 1) * self.n];
            let base = length - self.row_dual[row];
            let (mut nearest, mut at) = (f64::INFINITY, 0);
            for (k, &column) in self.open.iter().enumerate() {
                let through = base + costs[column] - self.column_dual[column];
                if through < self.distance[column] {
                    self.distance[column] = through;
                    self.before[column] = row;
                }
                let distance = self.distance[column];
                // Of equally near columns a free one ends the search at once.
                if distance < nearest || (distance == nearest && self.row_of[column] == FREE) {
                    (nearest, at) = (distance, k);
                }
            }
            length = nearest;
            let column = self.open.swap_remove(at);
            self.columns_seen.push(column);
            match self.row_of[column] {
                FREE => break column,
                next => row = next,
            }
        };
        self.row_dual[start] += length;
        for &row in &self.rows_seen[1..] {
            self.row_dual[row] += length - self.distance[self.column_of[row]];
        }
        for &column in &self.columns_seen {
            self.column_dual[column] -= length - self.distance[column];
        }
        end
    }

    /// Matches along the path that was found.
    fn augment(&mut self, start: usize, end: usize) {
        let mut column = end;
        loop {
            let row = self.before[column];
            self.row_of[column] = row;
            std::mem::swap(&mut self.column_of[row], &mut column);
            if row == start {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::normal;
    use super::*;

    fn total(cost: &[f64], n: usize, columns: &[usize]) -> f64 {
        columns.iter().enumerate().map(|(row, column)| cost[row * n + column]).sum()
    }

    /// The smallest cost over all permutations of the columns from `row` on.
    fn brute_force(cost: &[f64], n: usize, row: usize, columns: &mut Vec<usize>) -> f64 {
        if row == n {
            return total(cost, n, columns);
        }
        let mut best = f64::INFINITY;
        for k in row..n {
            columns.swap(row, k);
            best = best.min(brute_force(cost, n, row + 1, columns));
            columns.swap(row, k);
        }
        best
    }

    #[test]
    fn no_permutation_is_cheaper() {
        for n in 0..=7 {
            for seed in 0..20 {
                let numbers = normal(&[(n * n) as i64], seed * 10 + n as u64);
                let mut cost = Vec::<f64>::try_from(numbers).unwrap();
                if seed % 2 == 0 {
                    // Many ties.
                    cost.iter_mut().for_each(|c| *c = c.round());
                }
                let columns = assignment(&cost, n).unwrap();
                let mut sorted = columns.clone();
                sorted.sort_unstable();
                assert!(sorted.into_iter().eq(0..n), "not a permutation: {columns:?}");
                let best = brute_force(&cost, n, 0, &mut (0..n).collect());
                assert!((total(&cost, n, &columns) - best).abs() < 1e-12, "n = {n}, seed {seed}");
            }
        }
    }

    #[test]
    fn on_a_line_the_sorted_match_is_the_cheapest() {
        let n = 300;
        let sorted = |seed| {
            let mut numbers = Vec::<f64>::try_from(normal(&[n as i64], seed)).unwrap();
            numbers.sort_unstable_by(f64::total_cmp);
            numbers
        };
        let (a, b) = (sorted(1), sorted(2));
        let cost: Vec<f64> =
            a.iter().flat_map(|x| b.iter().map(move |y| (x - y).powi(2))).collect();
        let columns = assignment(&cost, n).unwrap();
        let expected: f64 = a.iter().zip(&b).map(|(x, y)| (x - y).powi(2)).sum();
        assert!((total(&cost, n, &columns) - expected).abs() < 1e-9 * expected);
    }

    #[test]
    fn costs_that_are_not_finite_are_refused() {
        assert!(assignment(&[f64::NAN], 1).is_err());
        assert!(assignment(&[1.0, 2.0], 2).is_err());
    }
}
