//! What a training step and a step of the sampler ask of the device:
//! `tests/cuda_stand_in/counts.json`, which is also shown in the book.

use crate::machine::Counts;
use isotropy_tests::end_to_end::repository;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Mutex;

const FILE: &str = "tests/cuda_stand_in/counts.json";
const PAGE: &str = "docs/src/results/benchmarks.md";
/// Writes the table and the page instead of comparing them.
const UPDATE: &str = "ISOTROPY_UPDATE_COUNTS";
static LOCK: Mutex<()> = Mutex::new(());

/// Per step: operations, waits for the device, and copies to the device that hold up the caller.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    pub launches: f64,
    pub waits: f64,
    pub uploads: f64,
    /// Who waits or copies, for messages.
    #[serde(skip)]
    blame: Vec<String>,
}

impl Count {
    /// What `steps` more steps took, for each of them.
    pub fn between(short: &Counts, long: &Counts, steps: i64) -> Self {
        let more = |what: &str| {
            let more = (long.of(what) - short.of(what)) as f64 / steps as f64;
            (more * 100.0).round() / 100.0
        };
        let blame = ["waits", "uploads"].map(|what| long.blame(short, what)).concat();
        Self { launches: more("launches"), waits: more("waits"), uploads: more("uploads"), blame }
    }

    fn grows_over(&self, written: &Self) -> bool {
        self.launches > written.launches
            || self.waits > written.waits
            || self.uploads > written.uploads
    }
}

/// The counts of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub name: String,
    pub training: Option<Count>,
    pub sampling: Option<Count>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling: Option<Count>,
}

/// The written table.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Table(BTreeMap<String, Written>);

impl Table {
    fn read() -> Self {
        let text = std::fs::read_to_string(repository(FILE)).unwrap_or_else(|_| "{}".into());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{FILE}: {e}"))
    }

    /// Fails where a count is larger than written.
    pub fn check(rows: &[Row]) {
        let _lock = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut table = Self::read();
        if std::env::var_os(UPDATE).is_some() {
            for row in rows {
                let written =
                    Written { training: row.training.clone(), sampling: row.sampling.clone() };
                println!("{row:?}");
                table.0.insert(row.name.clone(), written);
            }
            table.write();
            return;
        }
        let mut grown = Vec::new();
        for row in rows {
            let written =
                table.0.get(&row.name).unwrap_or_else(|| panic!("{} is not in {FILE}", row.name));
            for (what, count, written) in [
                ("a training step", &row.training, &written.training),
                ("a sampler step", &row.sampling, &written.sampling),
            ] {
                let (Some(count), Some(written)) = (count, written) else {
                    assert_eq!(count.is_some(), written.is_some(), "{}: {what}", row.name);
                    continue;
                };
                if count.grows_over(written) {
                    grown.push(format!("{}, {what}: {count:?}, written are {written:?}", row.name));
                } else if count.launches < written.launches {
                    println!("{}, {what}: fewer than written, {count:?}", row.name);
                }
            }
        }
        assert!(
            grown.is_empty(),
            "{}\nIf it must be so, {UPDATE}=1 writes {FILE} anew.",
            grown.join("\n")
        );
    }

    fn write(&self) {
        let text = serde_json::to_string_pretty(self).unwrap() + "\n";
        std::fs::write(repository(FILE), text).unwrap();
        let page = std::fs::read_to_string(repository(PAGE)).unwrap();
        std::fs::write(repository(PAGE), self.shown_in(&page)).unwrap();
    }

    /// The page with this table in the place that it keeps for it.
    fn shown_in(&self, page: &str) -> String {
        let (before, rest) =
            page.split_once("<!-- counts -->\n").expect("the page has a place for it");
        let (_, after) = rest.split_once("<!-- end of counts -->").expect("the place ends");
        format!("{before}<!-- counts -->\n{}<!-- end of counts -->{after}", self.markdown())
    }

    fn markdown(&self) -> String {
        let mut text = "| configuration | training step: operations | waits | uploads | \
                        sampler step: operations | waits | uploads |\n|---|---|---|---|---|---|---|\n"
            .to_string();
        let cells = |count: &Option<Count>| match count {
            Some(count) => format!("{} | {} | {}", count.launches, count.waits, count.uploads),
            None => "| | ".to_string(),
        };
        for (name, row) in &self.0 {
            text += &format!("| {name} | {} | {} |\n", cells(&row.training), cells(&row.sampling));
        }
        text
    }
}

#[test]
fn the_page_shows_the_table() {
    let page = std::fs::read_to_string(repository(PAGE)).unwrap();
    assert_eq!(Table::read().shown_in(&page), page, "{UPDATE}=1 writes {PAGE} anew");
}

#[test]
fn a_count_that_grows_is_noticed() {
    let written = Count { launches: 40.0, waits: 0.0, uploads: 0.0, blame: Vec::new() };
    assert!(!written.grows_over(&written));
    assert!(!Count { launches: 39.0, ..written.clone() }.grows_over(&written));
    for grown in [
        Count { launches: 40.01, ..written.clone() },
        Count { waits: 0.5, ..written.clone() },
        Count { uploads: 1.0, ..written.clone() },
    ] {
        assert!(grown.grows_over(&written), "{grown:?}");
    }
}
