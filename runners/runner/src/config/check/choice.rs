//! `anyOf` and `oneOf`: which alternative was meant.

use super::Checker;
use crate::config::diagnose::Diagnostic;
use crate::config::suggest::{self, shorten};
use crate::config::tree::{Node, Value};
use crate::config::view::{self, View};

impl Checker<'_> {
    /// Checks a value against the alternatives of the first group of a view, and reports the mistakes of the one that
    /// was most probably meant.
    pub(super) fn alternatives(&mut self, node: &Node, view: &View<'_>) {
        view.groups[0].iter().for_each(|_| self.spend_alternative());
        let all: Vec<View<'_>> =
            view.groups[0].iter().map(|alternative| view.choose(*alternative)).collect();
        let fits =
            |view: &&View<'_>| !view.groups.is_empty() || view::type_fits(&view.types(), node);
        let fitting: Vec<&View<'_>> = all.iter().filter(fits).collect();
        match fitting.as_slice() {
            [] => {
                // An optional component says more about itself than its JSON type does.
                if let Some(slot) = all.iter().find(|view| view.kind.is_some()) {
                    return self.node(node, slot);
                }
                let message = format!(
                    "{} must be {}, found {}",
                    self.place(),
                    expected(view),
                    node.describe()
                );
                self.report(Diagnostic::new(node.mark(), message));
            }
            [one] => self.node(node, one),
            several => {
                if !self.string_of(node, several)
                    && !self.tagged(node, several)
                    && !self.keyed(node, several)
                {
                    self.best(node, several);
                }
            }
        }
    }

    /// Unit variants: strings of which each alternative allows some.
    fn string_of(&mut self, node: &Node, views: &[&View<'_>]) -> bool {
        let (Some(text), Some(lists)) =
            (node.as_str(), views.iter().map(|v| v.strings()).collect::<Option<Vec<_>>>())
        else {
            return false;
        };
        let names = lists.concat();
        if !names.contains(&text) {
            self.wrong_choice(node, text, &names);
        }
        true
    }

    /// Variants that are told apart by a field with a fixed string.
    fn tagged(&mut self, node: &Node, views: &[&View<'_>]) -> bool {
        if !matches!(node.value, Value::Object(_)) {
            return false;
        }
        let variants =
            |tag: &str| views.iter().map(|v| v.constant(tag)).collect::<Option<Vec<_>>>();
        let candidates = views[0].required();
        let Some((tag, names)) = candidates.into_iter().find_map(|tag| Some((tag, variants(tag)?)))
        else {
            return false;
        };
        let Some(member) = node.get(tag) else {
            let message = format!("missing \"{tag}\" in {}", self.place());
            let help = format!("add \"{tag}\": one of {}", suggest::list(&names));
            self.report(Diagnostic::new(node.mark(), message).with_help(help));
            return true;
        };
        match member.node.as_str() {
            Some(name) => match names.iter().position(|n| *n == name) {
                Some(at) => self.node(node, views[at]),
                None => {
                    let message = format!(
                        "\"{tag}\" in {} cannot be \"{}\"",
                        self.place(),
                        shorten(name, 60)
                    );
                    let help = suggest::help(name, "values", &names);
                    self.report(
                        Diagnostic::new(member.node.origin.clone(), message).with_help(help),
                    );
                }
            },
            None if matches!(member.node.value, Value::Invalid) => {}
            None => {
                let message =
                    format!("\"{tag}\" must be a string, found {}", member.node.describe());
                let help = format!("valid values: {}", suggest::list(&names));
                self.report(Diagnostic::new(member.node.mark(), message).with_help(help));
            }
        }
        true
    }

    /// Externally tagged variants: objects with a single field, whose name is the variant's.
    fn keyed(&mut self, node: &Node, views: &[&View<'_>]) -> bool {
        let Some(members) = node.members() else { return false };
        let Some(names) = views.iter().map(|view| only_key(view)).collect::<Option<Vec<_>>>()
        else {
            return false;
        };
        let place = self.place();
        match members.iter().find_map(|member| names.iter().position(|name| *name == member.key)) {
            Some(at) => self.node(node, views[at]),
            None => match members.first() {
                Some(member) => {
                    let message =
                        format!("unknown variant `{}` in {place}", shorten(&member.key, 60));
                    let help = suggest::help(&member.key, "variants", &names);
                    self.report(
                        Diagnostic::new(member.key_origin.clone(), message).with_help(help),
                    );
                }
                None => {
                    let message = format!("{place} is empty");
                    let help = format!("valid variants: {}", suggest::list(&names));
                    self.report(Diagnostic::new(node.mark(), message).with_help(help));
                }
            },
        }
        true
    }

    /// Untagged variants: the one with the fewest mistakes.
    fn best(&mut self, node: &Node, views: &[&View<'_>]) {
        let before = std::mem::take(&mut self.found);
        let mut best: Option<Vec<Diagnostic>> = None;
        for view in views {
            self.spend_alternative();
            self.node(node, view);
            let found = std::mem::take(&mut self.found);
            let perfect = found.is_empty();
            if best.as_ref().is_none_or(|least| found.len() < least.len()) {
                best = Some(found);
            }
            if perfect {
                break;
            }
        }
        self.found = before;
        self.found.extend(best.unwrap_or_default());
    }
}

/// The only field that a view allows, if it also requires it.
fn only_key<'s>(view: &View<'s>) -> Option<&'s str> {
    match (view.required().as_slice(), view.field_names().as_slice()) {
        ([required], [only]) if required == only && view.undeclared("").is_none() => Some(*only),
        _ => None,
    }
}

/// What a view takes, in words: "an integer", "a string or null", "one of `a`, `b`". Empty if it takes anything.
pub(super) fn expected(view: &View<'_>) -> String {
    let mut words = Vec::new();
    collect(view, &mut words, 0);
    words.dedup();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

fn collect(view: &View<'_>, words: &mut Vec<String>, depth: usize) {
    let mut add = |word: String| {
        if !words.contains(&word) {
            words.push(word);
        }
    };
    if let Some(kind) = view.kind {
        add(format!("a {kind} (an object with a \"type\")"));
        if view.nullable {
            add("null".into());
        }
        return;
    }
    if let (Some(group), true) = (view.groups.first(), depth < 4) {
        for alternative in group {
            collect(&view.choose(*alternative), words, depth + 1);
        }
        return;
    }
    for name in view.types() {
        match (name, view.strings()) {
            ("string", Some(strings)) => add(format!("one of {}", suggest::list(&strings))),
            ("null", _) => add("null".into()),
            ("string" | "number" | "boolean", _) => add(format!("a {name}")),
            _ => add(format!("an {name}")),
        }
    }
}
