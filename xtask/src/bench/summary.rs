//! From samples to medians and ratios.

use serde::Serialize;

use crate::bench::family::{Family, Sample};

/// A median with the least and the greatest value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number, the mean of both in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, min, max })
    }
}

/// One figure of one variant.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The figure.
    pub figure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The variant.
    pub variant: String,
    /// Over all rounds.
    pub value: Spread,
    /// Over all rounds: what it is to the reference's in the same round.
    pub ratio: Option<Spread>,
}

/// A family's figures.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The family.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    /// The variant that the others are divided by.
    pub reference: &'static str,
    /// How many rounds there were.
    pub rounds: u32,
    /// By figure, then by variant.
    pub rows: Vec<Row>,
    /// What all of it is made of.
    pub samples: Vec<Sample>,
}

impl Summary {
    /// The variants keep the order in which they were first measured.
    pub fn new(family: &Family, samples: Vec<Sample>) -> Self {
        let mut variants: Vec<&str> = Vec::new();
        for sample in &samples {
            if !variants.contains(&sample.variant.as_str()) {
                variants.push(&sample.variant);
            }
        }
        let cells = family.figures.iter().flat_map(|figure| variants.iter().map(move |variant| (figure, *variant)));
        let rows = cells.filter_map(|(figure, variant)| {
            let of = |variant: &str| -> Vec<&Sample> {
                samples.iter().filter(|sample| sample.variant == variant && sample.figure == figure.name).collect()
            };
            let (own, reference) = (of(variant), of(family.reference));
            let ratios = own.iter().filter_map(|sample| {
                let other = reference.iter().find(|other| other.round == sample.round && other.value != 0.0)?;
                Some(sample.value / other.value)
            });
            Some(Row {
                figure: figure.name,
                unit: figure.unit,
                variant: variant.to_owned(),
                ratio: Spread::of(ratios.collect()),
                value: Spread::of(own.iter().map(|sample| sample.value).collect())?,
            })
        });
        let rounds = samples.iter().map(|sample| sample.round + 1).max().unwrap_or(0);
        let rows = rows.collect();
        Self { name: family.name, about: family.about, reference: family.reference, rounds, rows, samples }
    }

    /// A Markdown table, aligned so that it reads as plain text too.
    pub fn table(&self) -> String {
        let head = ["figure", "variant", "unit", "median", "min - max", &format!("to {}", self.reference), "min - max"]
            .map(str::to_owned);
        let body = self.rows.iter().map(|row| {
            let [ratio, span] = match row.ratio {
                Some(ratio) => [format!("{:.2}", ratio.median), format!("{:.2} - {:.2}", ratio.min, ratio.max)],
                None => [String::new(), String::new()],
            };
            let Spread { median, min, max } = row.value;
            let (median, values) = (number(median), format!("{} - {}", number(min), number(max)));
            [row.figure.to_owned(), row.variant.clone(), row.unit.to_owned(), median, values, ratio, span]
        });
        let lines: Vec<[String; 7]> = std::iter::once(head).chain(body).collect();
        let widths: Vec<usize> =
            (0..7).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)).collect();
        let mut table = String::new();
        for (index, line) in lines.iter().enumerate() {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
            table += &format!("|{}|\n", cells.collect::<Vec<_>>().join("|"));
            if index == 0 {
                let rule = widths.iter().map(|width| "-".repeat(width + 2));
                table += &format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
            }
        }
        table
    }
}

/// Three digits that say something, and thousands apart.
pub fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 || value == 0.0 { 0 } else { 2 - value.abs().log10().floor() as i32 };
    let text = format!("{value:.*}", digits.clamp(0, 6) as usize);
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left % 3 == 0 && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::family::Figure;

    fn sample(round: u32, variant: &str, value: f64) -> Sample {
        Sample { round, variant: variant.to_owned(), figure: "speed".to_owned(), value }
    }

    #[test]
    fn ratios_are_those_within_a_round() {
        static FIGURES: [Figure; 1] = [Figure { name: "speed", unit: "MB/s" }];
        let family = Family { name: "x", about: "", reference: "bare", figures: &FIGURES, measure: |_| Ok(Vec::new()) };
        let rounds = [(100.0, 50.0), (10.0, 9.0), (1.0, 0.7)];
        let samples = (0..)
            .zip(rounds)
            .flat_map(|(round, (bare, ours))| [sample(round, "bare", bare), sample(round, "ours", ours)]);
        let summary = Summary::new(&family, samples.collect());
        assert_eq!(summary.rows.len(), 2);
        let ours = &summary.rows[1];
        assert_eq!(ours.value, Spread { median: 9.0, min: 0.7, max: 50.0 });
        assert_eq!(ours.ratio, Some(Spread { median: 0.7, min: 0.5, max: 0.9 }));
        assert_eq!(summary.rounds, 3);
        assert!(summary.table().contains("| 0.70"));
    }

    #[test]
    fn the_middle_of_an_even_number_is_a_mean() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 8.0]), Some(Spread { median: 3.0, min: 1.0, max: 8.0 }));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 0.0123, 1.234, 98.76, 1234.5, 4_837_981.9, -1234.0];
        assert_eq!(all.map(number), ["0", "0.0123", "1.23", "98.8", "1,234", "4,837,982", "-1,234"]);
    }
}
