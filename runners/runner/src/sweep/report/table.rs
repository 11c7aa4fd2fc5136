//! Tables as aligned text, Markdown and LaTeX.

use super::statistics::Mean;
use isotropy_plots::chart::number;

/// Confidence of all intervals.
pub const CONFIDENCE: f64 = 0.95;

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned text for a terminal.
    Table,
    /// One line for every cell, for other programs.
    Csv,
    /// Markdown.
    Markdown,
    /// LaTeX, with the package `booktabs`.
    Latex,
}

/// One entry of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Text.
    Text(String),
    /// A mean with its standard error, and how many values there should be.
    Mean(Option<Mean>, usize),
    /// A difference with its confidence interval, and how many values there should be.
    Difference(Option<Mean>, usize),
}

impl Entry {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn write(&self, format: Format) -> String {
        let missing = |mean: &Mean, expected: usize| {
            // A mean over fewer seeds than asked for must not pass for a complete one.
            if mean.count < expected {
                format!(" ({} of {expected})", mean.count)
            } else {
                String::new()
            }
        };
        match self {
            Self::Mean(Some(mean), expected) | Self::Difference(Some(mean), expected) => {
                self.value(format) + &missing(mean, *expected)
            }
            _ => self.value(format),
        }
    }

    fn value(&self, format: Format) -> String {
        let latex = format == Format::Latex;
        let math = |text: String| if latex { format!("${text}$") } else { text };
        let pm = if latex { r" \pm " } else { " ± " };
        match self {
            Self::Text(text) if latex => escape_latex(text),
            Self::Text(text) if format == Format::Markdown => text.replace('|', "\\|"),
            Self::Text(text) => text.clone(),
            Self::Mean(None, _) | Self::Difference(None, _) => "-".into(),
            Self::Mean(Some(mean), _) => match mean.error {
                Some(0.0) => math(format!("{}{pm}0", number(mean.mean))),
                Some(error) => {
                    let digits = decimals(error);
                    math(format!("{:.digits$}{pm}{error:.digits$}", mean.mean))
                }
                None => math(number(mean.mean)),
            },
            Self::Difference(Some(mean), _) => match mean.half_width(CONFIDENCE) {
                // The same difference for every seed: there is nothing to estimate.
                Some(0.0) => math(number(mean.mean)),
                Some(half) => {
                    let digits = decimals(half);
                    let (low, high) = (mean.mean - half, mean.mean + half);
                    math(format!("{:+.digits$} [{low:+.digits$}, {high:+.digits$}]", mean.mean))
                }
                None => math(format!(
                    "{}{}",
                    if mean.mean >= 0.0 { "+" } else { "" },
                    number(mean.mean)
                )),
            },
        }
    }
}

/// Decimals that show two digits of an uncertainty.
fn decimals(uncertainty: f64) -> usize {
    if uncertainty <= 0.0 || !uncertainty.is_finite() {
        return 4;
    }
    (1.0 - uncertainty.log10().floor()).clamp(0.0, 9.0) as usize
}

/// A table with a title.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Names of the columns.
    pub header: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Entry>>,
}

impl Table {
    /// The table as text; it ends with a line end.
    pub fn write(&self, format: Format) -> String {
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|entry| entry.write(format)).collect())
            .collect();
        match format {
            Format::Latex => self.latex(&rows),
            Format::Markdown => self.markdown(&rows),
            Format::Table | Format::Csv => self.aligned(&rows),
        }
    }

    fn aligned(&self, rows: &[Vec<String>]) -> String {
        let widths = self.widths(rows);
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("  {}", padded.collect::<Vec<_>>().join("  ")).trim_end().to_owned() + "\n"
        };
        let mut text = format!("{}\n", self.title);
        text += &line(&self.header);
        rows.iter().for_each(|row| text += &line(row));
        text
    }

    fn widths(&self, rows: &[Vec<String>]) -> Vec<usize> {
        let width = |k: usize| {
            let column = rows.iter().filter_map(|row| row.get(k)).chain([&self.header[k]]);
            column.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.header.len()).map(width).collect()
    }

    fn markdown(&self, rows: &[Vec<String>]) -> String {
        let widths = self.widths(rows);
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width.max(&3))).collect();
        let mut text = format!("### {}\n\n", self.title);
        text += &line(&self.header);
        text += &line(&rule);
        rows.iter().for_each(|row| text += &line(row));
        text
    }

    fn latex(&self, rows: &[Vec<String>]) -> String {
        let line = |cells: &[String]| format!("    {} \\\\\n", cells.join(" & "));
        let header: Vec<String> = self.header.iter().map(|cell| escape_latex(cell)).collect();
        let mut text = String::from("\\begin{table}\n  \\centering\n");
        text += &format!("  \\caption{{{}}}\n", escape_latex(&self.title));
        text += &format!("  \\begin{{tabular}}{{{}}}\n    \\toprule\n", "l".repeat(header.len()));
        text += &line(&header);
        text += "    \\midrule\n";
        rows.iter().for_each(|row| text += &line(row));
        text + "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n"
    }
}

fn escape_latex(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            '\\' => out += r"\textbackslash{}",
            '~' => out += r"\textasciitilde{}",
            '^' => out += r"\textasciicircum{}",
            '±' => out += r"$\pm$",
            c => out.push(c),
        }
    }
    out
}

/// A field of a CSV file (RFC 4180).
pub fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_follow_the_uncertainty() {
        let mean = |mean, error| Entry::Mean(Some(Mean { mean, error: Some(error), count: 3 }), 3);
        assert_eq!(mean(0.123_456, 0.004_5).write(Format::Table), "0.1235 ± 0.0045");
        assert_eq!(mean(1234.5, 67.0).write(Format::Table), "1234 ± 67");
        assert_eq!(mean(0.5, 0.01).write(Format::Latex), r"$0.500 \pm 0.010$");
        let mean = Mean { mean: 1.0, error: Some(0.1), count: 2 };
        let difference = Entry::Difference(Some(mean), 2);
        assert_eq!(difference.write(Format::Table), "+1.0 [-0.3, +2.3]");
        assert_eq!(Entry::Mean(Some(mean), 3).write(Format::Table), "1.00 ± 0.10 (2 of 3)");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 0.1, 12.0, 1234.56, 1e-9, 2.5e7].map(number),
            ["0", "0.1", "12", "1235", "1.000e-9", "2.500e7"]
        );
    }

    #[test]
    fn special_characters_survive_every_format() {
        let table = Table {
            title: "a_b & c".into(),
            header: vec!["x_1".into()],
            rows: vec![vec![Entry::text("50 % | {}")]],
        };
        assert!(table.write(Format::Latex).contains(r"50 \% | \{\}"));
        assert!(table.write(Format::Latex).contains(r"a\_b \& c"));
        assert!(table.write(Format::Markdown).contains(r"50 % \| {}"));
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
