//! Where figures go: a JSON file, and the page that shows them.

use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::bench::chart;
use crate::bench::machine::Machine;
use crate::bench::summary::Summary;
use crate::files::root;

const PAGE: &str = "docs/performance.md";
const CHARTS: &str = "docs/performance";

/// All that one run has measured.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    /// In the order of measuring.
    pub families: Vec<Summary>,
}

impl Report {
    /// Nothing yet, here and today.
    pub fn begin() -> Result<Self> {
        Ok(Self { machine: Machine::here()?, families: Vec::new() })
    }

    /// Writes everything to `file`.
    pub fn write_json(&self, file: &Path) -> Result {
        std::fs::write(file, serde_json::to_string_pretty(self)? + "\n")
            .map_err(|error| format!("cannot write {}: {error}", file.display()).into())
    }

    /// Replaces, in the page, what earlier runs have measured of the same families, and draws their charts.
    pub fn write_docs(&self) -> Result {
        let (page, charts) = (root().join(PAGE), root().join(CHARTS));
        std::fs::create_dir_all(&charts)?;
        let mut text = std::fs::read_to_string(&page).map_err(|error| format!("cannot read {PAGE}: {error}"))?;
        for family in &self.families {
            std::fs::write(charts.join(format!("{}.svg", family.name)), chart::draw(family)?)?;
            text = with_section(&text, family.name, &self.section(family));
        }
        Ok(std::fs::write(page, text)?)
    }

    fn section(&self, family: &Summary) -> String {
        let Summary { name, about, rounds, .. } = family;
        let (machine, table) = (&self.machine, family.table());
        let said = sentence(about);
        format!("## `{name}`\n\n{said}\n\n![{name}](performance/{name}.svg)\n\n{machine}; {rounds} rounds.\n\n{table}")
    }
}

/// As a sentence: what is said of a family is part of one elsewhere.
fn sentence(about: &str) -> String {
    let mut letters = about.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// `text` with `section` between the markers of `name`, or at its end where there are none.
fn with_section(text: &str, name: &str, section: &str) -> String {
    let (begin, end) = (format!("<!-- bench {name} -->\n"), format!("<!-- end of bench {name} -->\n"));
    let place = text.find(&begin).and_then(|from| Some((from, from + text[from..].find(&end)? + end.len())));
    match place {
        Some((from, to)) => format!("{}{begin}{section}{end}{}", &text[..from], &text[to..]),
        None => format!("{}\n\n{begin}{section}{end}", text.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_family_becomes_a_sentence() {
        assert_eq!(sentence("one flow, at once"), "One flow, at once.");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let once = with_section("# Page\n", "nat", "one\n");
        assert_eq!(once, "# Page\n\n<!-- bench nat -->\none\n<!-- end of bench nat -->\n");
        let both = with_section(&once, "flow", "two\n");
        let again = with_section(&both, "nat", "three\n");
        assert_eq!(again, both.replace("one", "three"));
    }
}
