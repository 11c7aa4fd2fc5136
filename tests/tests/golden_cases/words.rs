//! What the words of a case say: numbers behind a name, and covariance kernels.
//!
//! A kernel is a sum of terms joined by `+`. A term is `FAMILY [(remark)] [NAME value ..]`, such as
//! `rbf l=.25 var 1` or `div_free l=sqrt5 var=1`; `white .05` and `0.05 I` are white noise of that
//! variance. What a description leaves out stands in the case, else it is 1.

use serde_json::{Map, Value, json};

/// `.25`, `1e-3`, `sqrt5`, `sqrt(5)`, `1/2`.
pub fn number(word: &str) -> Option<f64> {
    if let Some(root) = word.strip_prefix("sqrt") {
        return Some(number(root.trim_matches(['(', ')']))?.sqrt());
    }
    if let Some((above, below)) = word.split_once('/') {
        return Some(number(above)? / number(below)?);
    }
    // `nan` and `inf` are words here.
    word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        .then(|| word.parse().ok())?
}

/// The number behind a name: `T=100`, `max 2`, `eps 1e-8`.
pub fn after(text: &str, name: &str) -> Option<f64> {
    list_after(text, name).and_then(|list| list.first().copied())
}

/// The numbers behind a name: `mu=[0.7,0.4]`, `betas (0.9,0.999)`.
pub fn list_after(text: &str, name: &str) -> Option<Vec<f64>> {
    let whole = |c: char| !c.is_alphanumeric() && c != '_';
    let start = text.match_indices(name).map(|(at, _)| at).find(|at| {
        text[..*at].chars().next_back().is_none_or(whole)
            && text[at + name.len()..].chars().next().is_none_or(whole)
    })?;
    let rest = text[start + name.len()..].trim_start_matches([' ', '=', ':']);
    let list = match rest.strip_prefix(['[', '(']) {
        Some(inside) => inside.split([']', ')']).next()?,
        None => rest.split([' ', ',', ';', ')']).next()?,
    };
    list.split(',').map(|word| number(word.trim().trim_end_matches('.'))).collect()
}

/// Whether a word stands in a text, case and separators aside.
pub fn says(text: &str, word: &str) -> bool {
    let text = text.to_lowercase().replace('-', "_");
    let word = word.replace('-', "_");
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.match_indices(&word).any(|(at, _)| {
        !letter(text[..at].chars().next_back()) && !letter(text[at + word.len()..].chars().next())
    })
}

/// The JSON of the kernel that a text describes. `given(family, name)` are numbers of the case.
pub fn kernel(text: &str, given: &dyn Fn(&str, &str) -> Option<f64>) -> Result<Value, String> {
    let terms = text.split('+').map(|text| term(text, given)).collect::<Result<Vec<_>, _>>()?;
    Ok(match <[Value; 1]>::try_from(terms) {
        Ok([one]) => one,
        Err(terms) => json!({"type": "sum", "kernels": terms}),
    })
}

/// A kernel that a text describes in full.
pub fn stated(text: &str) -> Value {
    kernel(text, &|_, _| None).unwrap_or_else(|error| panic!("{error}"))
}

/// The name of the family without its decoration: `RBF_vec` and `rbf` are one.
fn family(word: &str) -> Option<&'static str> {
    let plain = word.to_lowercase().replace(['_', '-'], "");
    let plain = plain.trim_end_matches("scaled").trim_end_matches("vec");
    Some(match plain {
        "rbf" | "se" => "rbf",
        "matern12" => "matern12",
        "matern32" => "matern32",
        "matern52" | "matern" => "matern52",
        "periodic" => "periodic",
        "weaklyperiodic" => "weakly-periodic",
        "white" | "i" => "white",
        "divfree" | "divergencefree" => "divergence-free",
        "curlfree" => "curl-free",
        "constant" => "constant",
        _ => return None,
    })
}

/// The numbers of a family under the names that ours has, each with other names for it.
fn parameters(family: &str) -> &'static [(&'static str, &'static [&'static str])] {
    const LENGTH: (&str, &[&str]) = ("lengthscale", &["l"]);
    const VARIANCE: (&str, &[&str]) = ("variance", &["var", "v"]);
    const PERIOD: (&str, &[&str]) = ("period", &["p"]);
    match family {
        "white" | "constant" => &[VARIANCE],
        "periodic" => &[LENGTH, PERIOD, VARIANCE],
        "weakly-periodic" => &[
            ("rbf_lengthscale", &[]),
            ("periodic_lengthscale", &["per_lengthscale"]),
            PERIOD,
            VARIANCE,
        ],
        _ => &[LENGTH, VARIANCE],
    }
}

/// The kernels of the data in geomndp.md 2.1, of variance 1.
fn regression_data(family: &str, name: &str) -> f64 {
    match (family, name) {
        ("rbf" | "matern12" | "matern32" | "matern52", "lengthscale") => 0.25,
        ("periodic", "lengthscale") | ("weakly-periodic", "rbf_lengthscale") => 0.5,
        ("weakly-periodic", "periodic_lengthscale") => 0.25,
        _ => 1.0,
    }
}

fn term(text: &str, given: &dyn Fn(&str, &str) -> Option<f64>) -> Result<Value, String> {
    let fail = |why: String| format!("the kernel '{}': {why}", text.trim());
    let (plain, remark) = match text.split_once(" (") {
        Some((before, rest)) => {
            let (remark, after) = rest.split_once(')').ok_or_else(|| fail("no `)`".into()))?;
            (format!("{before} {after}"), Some(remark))
        }
        None => (text.to_owned(), None),
    };
    if remark.is_some_and(|remark| remark != "regression data kernel") {
        return Err(fail(format!("what is a '{}'?", remark.unwrap_or_default())));
    }
    let plain = plain.replace(['=', ',', ':'], " ");
    let mut words = plain.split_whitespace().peekable();
    let factor = words.peek().and_then(|word| number(word));
    if factor.is_some() {
        words.next();
    }
    let word = words.next().ok_or_else(|| fail("it is empty".into()))?;
    let family = family(word).ok_or_else(|| fail(format!("no family is called '{word}'")))?;
    let known = parameters(family);
    let mut found = Map::new();
    while let Some(word) = words.next() {
        let (name, value) = match number(word) {
            Some(value) if family == "white" => ("variance", value),
            Some(_) => return Err(fail(format!("what is {word} of it?"))),
            None => {
                let name = known
                    .iter()
                    .find(|(name, others)| *name == word || others.contains(&word))
                    .ok_or_else(|| fail(format!("{family} has no '{word}'")))?
                    .0;
                let value = words.next().and_then(number);
                (name, value.ok_or_else(|| fail(format!("no number behind '{word}'")))?)
            }
        };
        if found.insert(name.to_owned(), value.into()).is_some() {
            return Err(fail(format!("{name} twice")));
        }
    }
    for (name, others) in known {
        let value = found
            .get(*name)
            .and_then(Value::as_f64)
            .or_else(|| std::iter::once(name).chain(*others).find_map(|name| given(family, name)));
        let default = if remark.is_some() { regression_data(family, name) } else { 1.0 };
        let scale = factor.filter(|_| *name == "variance").unwrap_or(1.0);
        found.insert((*name).to_owned(), (value.unwrap_or(default) * scale).into());
    }
    let kind = if family.starts_with("matern") { "matern" } else { family };
    found.insert("type".into(), kind.into());
    if let Some(half) = family.strip_prefix("matern") {
        let smoothness = format!("{}/{}", &half[..1], &half[1..]);
        found.insert("smoothness".into(), smoothness.into());
    }
    if family == "white" {
        // Points at one place share it, as the files have it.
        found.insert("repeats".into(), "shared".into());
    }
    Ok(found.into())
}

/// The entry of a list in the notes (`kernels: white var 1; rbf l=1,var 1; ..`) that is of the same
/// family as `text`, or `text` itself where it says more than a family.
pub fn defined<'a>(text: &'a str, notes: &'a str) -> &'a str {
    let of = |text: &str| family(text.split([' ', '=', ',']).next().unwrap_or_default());
    if text.split_whitespace().count() > 1 {
        return text;
    }
    let list = notes.split_once("kernels:").map_or("", |(_, list)| list);
    let same = |entry: &&str| of(entry).is_some() && of(entry) == of(text);
    list.split(';').map(str::trim).find(same).unwrap_or(text)
}

/// What stands behind `introduction` in a text, up to the end of the sentence.
pub fn sentence_after<'a>(text: &'a str, introduction: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(introduction)?;
    Some(rest.split(". ").next().unwrap_or(rest).trim_end_matches('.').trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_read_by_rule() {
        let white = |v: f64| json!({"variance": v, "type": "white", "repeats": "shared"});
        let of =
            |kind: &str, l: f64, v: f64| json!({"lengthscale": l, "variance": v, "type": kind});
        let mut matern = of("matern", 0.25, 0.7);
        matern["smoothness"] = "5/2".into();
        for (text, expected) in [
            ("white var .3", white(0.3)),
            ("white .3", white(0.3)),
            ("0.3 I", white(0.3)),
            ("white_vec var 2", white(2.0)),
            ("RBF l=1.5", of("rbf", 1.5, 1.0)),
            ("se (regression data kernel)", of("rbf", 0.25, 1.0)),
            ("0.5 rbf var 4", of("rbf", 1.0, 2.0)),
            ("matern52_scaled l=.25,var .7", matern),
            ("div_free l=sqrt5 var=1", of("divergence-free", 5f64.sqrt(), 1.0)),
            ("curlfree l 2", of("curl-free", 2.0, 1.0)),
        ] {
            assert_eq!(stated(text), expected, "{text}");
        }
        let sum = stated("rbf l=1 var=.95 + white .05");
        assert_eq!(sum["kernels"][0], of("rbf", 1.0, 0.95));
        assert_eq!(sum["kernels"][1], white(0.05));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["spectral l=1", "rbf l", "rbf 3", "rbf p=2", "rbf l=1 l=2", "rbf (new)", ""] {
            assert!(kernel(text, &|_, _| None).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_stand_behind_their_names() {
        let text = "min 0.01 max 2 n 101, mu=[0.7,0.4], T=100, betas (0.9,0.999) eps 1e-8; x.";
        assert_eq!(after(text, "max"), Some(2.0));
        assert_eq!(after(text, "T"), Some(100.0));
        assert_eq!(after(text, "eps"), Some(1e-8));
        assert_eq!(list_after(text, "mu"), Some(vec![0.7, 0.4]));
        assert_eq!(list_after(text, "betas"), Some(vec![0.9, 0.999]));
        assert_eq!(after(text, "a"), None);
        assert!(says("schedule_linear-time_T50", "linear-time") && !says("singular", "sin"));
        let notes = "all: kernels: white var 2; rbf l=3,var 4; schedule=(t0)";
        assert_eq!(defined("rbf_vec", notes), "rbf l=3,var 4");
        assert_eq!(defined("rbf l=1", notes), "rbf l=1");
        assert_eq!(sentence_after("a. data kernel rbf l=.2. B", "data kernel "), Some("rbf l=.2"));
    }
}
