//! Which cells are run: those of the first rung, and of each later one those that were best before.

use super::cell::State;
use super::file::{Direction, Search};
use super::plan::Plan;
use super::report::results::{CellResult, Results, direction};
use isotropy_core::{Error, Result};
use std::path::Path;

/// The cells of a rung, by their place in the plan; of successive halving those whose combination did
/// well in the rung before, which must have ended.
///
/// # Errors
/// When the metric that decides has no direction or was measured nowhere.
pub fn cells(plan: &Plan, folder: &Path, rung: usize) -> Result<Vec<usize>> {
    let mut chosen: Option<Vec<Vec<usize>>> = None;
    if rung > 0 {
        let results = Results::of(plan.clone(), folder);
        for before in 0..rung {
            let mine = chosen.unwrap_or_else(|| results.combinations(before));
            chosen = Some(promoted(&results, before, mine)?);
        }
    }
    let in_rung = plan.cells.iter().enumerate().filter(|(_, cell)| cell.rung == rung);
    let wanted = in_rung
        .filter(|(_, cell)| chosen.as_ref().is_none_or(|chosen| chosen.contains(&cell.choices)));
    Ok(wanted.map(|(k, _)| k).collect())
}

/// The cells that will not be run, by their place in the plan: their combination was not among the
/// best of a rung that has ended.
pub fn dropped(results: &Results) -> Vec<usize> {
    let mut chosen = results.combinations(0);
    let mut left: Vec<usize> = Vec::new();
    for rung in 1..results.plan.rungs() {
        let ended = chosen.iter().flat_map(|choices| results.of_combination(choices, rung - 1));
        let open = |c: &&CellResult| !matches!(c.state, State::Finished | State::Failed(_));
        if ended.filter(open).count() > 0 {
            break;
        }
        let Ok(best) = promoted(results, rung - 1, chosen) else { break };
        let places = results.cells.iter().enumerate();
        let behind = places.filter(|(_, c)| c.cell.rung >= rung && !best.contains(&c.cell.choices));
        left.extend(behind.map(|(k, _)| k));
        chosen = best;
    }
    left.sort_unstable();
    left.dedup();
    left
}

/// The best of the combinations that ran in a rung. One that is not finished for every seed is not
/// among them.
fn promoted(results: &Results, rung: usize, mine: Vec<Vec<usize>>) -> Result<Vec<Vec<usize>>> {
    let Search::SuccessiveHalving { metric, better, factor, .. } = &results.plan.search else {
        return Ok(mine);
    };
    let own = || results.cells.iter().find_map(|c| direction(c.metrics.as_ref()?, metric));
    let Some(better) = better.or_else(own) else {
        let message =
            format!("`{metric}` decides who goes on, and it is not known which way is better");
        return Err(Error::config("", message)
            .with_help("write \"better\": \"lower\" or \"higher\" in the search; names are those of metrics.json"));
    };
    let keep = mine.len().div_ceil(*factor as usize);
    let seeds = results.plan.seeds.len();
    let mut ranked: Vec<(f64, Vec<usize>)> = mine
        .into_iter()
        .filter_map(|choices| {
            let mean = results.mean(&choices, rung, metric).filter(|mean| mean.count == seeds)?;
            Some((mean.mean, choices))
        })
        .collect();
    if ranked.is_empty() {
        let message = format!("no combination has `{metric}` for every seed, so none can go on");
        return Err(Error::Other(message));
    }
    // Stable: of equal ones the first in the plan goes on.
    ranked.sort_by(|a, b| match better {
        Direction::Lower => a.0.total_cmp(&b.0),
        Direction::Higher => b.0.total_cmp(&a.0),
    });
    Ok(ranked.into_iter().take(keep).map(|(_, choices)| choices).collect())
}

/// Whether a name matches a pattern: `*` stands for any text; a pattern without it matches any part
/// of the name.
pub fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        return name.contains(pattern);
    }
    matches_whole(pattern, name)
}

/// Whether a whole name matches a pattern, in which `*` stands for any text.
pub fn matches_whole(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        return name == pattern;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            match rest.find(middle) {
                Some(at) => rest = &rest[at + middle.len()..],
                None => return false,
            }
        }
    }
    last.is_none_or(|last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use crate::sweep::rungs::matches;

    #[test]
    fn patterns_match_parts_or_the_whole_name() {
        let name = "sampler=group-step,steps=10,seed=0";
        for pattern in
            ["steps=10", "seed=0", "*", "sampler=*", "*seed=0", "s*steps=10*0", "*=*=*=*"]
        {
            assert!(matches(pattern, name), "{pattern}");
        }
        for pattern in ["steps=11", "steps=10*", "*steps=10", "sampler=x*", "*seed=0*seed=0"] {
            assert!(!matches(pattern, name), "{pattern}");
        }
    }
}
