//! Words for messages: the nearest valid name, lists of names, shortened quotations.

/// Words longer than this are not compared: nobody mistypes a name by a page of text.
const LONGEST_WORD: usize = 64;

/// The candidate nearest to `word`, if one is near enough to be what was meant.
///
/// The distance counts insertions, deletions, substitutions and swaps of neighbours (optimal string alignment), without
/// regard to case; `-`, `_` and spaces are the same. Up to a third of the characters may differ. A candidate that
/// begins with the word, or the reverse, is taken when nothing is nearer.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = normalise(word);
    if word.is_empty() || word.len() > LONGEST_WORD {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = normalise(candidate);
        if other.is_empty() || other.len() > LONGEST_WORD {
            continue;
        }
        let allowed = (word.len().max(other.len()) / 3).max(1);
        let mut distance = distance(&word, &other);
        if distance > allowed {
            let shared = word.len().min(other.len());
            if shared < 3 || word[..shared] != other[..shared] {
                continue;
            }
            distance = distance.max(allowed + 1);
        }
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn normalise(word: &str) -> Vec<char> {
    let same = |c: char| if c == '-' || c == ' ' { '_' } else { c };
    word.chars().take(LONGEST_WORD + 1).flat_map(char::to_lowercase).map(same).collect()
}

/// Optimal string alignment distance of two words.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i);
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Help text for a wrong name: the nearest one, then all of them.
pub(crate) fn help(word: &str, what: &str, names: &[&str]) -> String {
    let list = list(names);
    match (nearest(word, names.iter().copied()), names.len()) {
        (_, 0) => format!("there are no {what} here"),
        (Some(near), 1) => format!("did you mean `{near}`? It is the only one of the {what}"),
        (None, 1) => format!("valid {what}: {list}"),
        (Some(near), _) => format!("did you mean `{near}`? Valid {what}: {list}"),
        (None, _) => format!("valid {what}: {list}"),
    }
}

/// `` `a`, `b`, `c` ``
pub(crate) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The text without control characters, cut to `limit` characters.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    let mut short: String = text.chars().take(limit).map(printable).collect();
    if text.chars().nth(limit).is_some() {
        short.pop();
        short.push('…');
    }
    short
}

/// The character as it may be shown on a terminal: control characters could move the cursor or change colours, and
/// the invisible direction marks could make the text read differently.
pub(crate) fn printable(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => ' ',
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_is_missed_or_far_fetched() {
        let names = ["euler", "heun", "learning_rate", "steps"];
        assert_eq!(nearest("eulr", names), Some("euler"));
        assert_eq!(nearest("uelr", names), None);
        assert_eq!(nearest("Learning-Rate", names), Some("learning_rate"));
        assert_eq!(nearest("step", names), Some("steps"));
        assert_eq!(nearest("learning", names), Some("learning_rate"));
        assert_eq!(nearest("banana", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), names), None);
    }

    #[test]
    fn control_characters_reach_the_terminal() {
        assert_eq!(shorten("a\u{1b}[31mb", 40), "a\u{fffd}[31mb");
        assert_eq!(shorten("abcdef", 3), "ab…");
    }
}
