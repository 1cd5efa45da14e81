//! Reads the configuration and explains what is wrong with it.

use super::cli::Cli;
use super::{Config, Invalid};
use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, Source, error::Kind};
use std::fmt::Write;
use std::path::Path;

/// Why there is no usable configuration. Each text names the key, the place and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not there or cannot be read.
    #[error("the configuration file {path} cannot be read: {error}")]
    Unreadable {
        /// As given.
        path: String,
        /// The system's word.
        error: std::io::Error,
    },
    /// A key or a value is wrong.
    #[error("{0}")]
    Wrong(String),
    /// A value is well-formed but cannot be used.
    #[error("configuration: {0}")]
    Invalid(#[from] Invalid),
}

/// Variables that begin with WEBTUN_ and are not keys: clients read the first, the command line reads the others.
const NOT_KEYS: &[&str] = &["url", "config", "token"];

/// Merges defaults, file, variables and flags.
///
/// # Errors
/// See [`LoadError`].
pub fn load(cli: &Cli) -> Result<Config, LoadError> {
    let mut figment = Figment::new();
    let mut text = String::new();
    if let Some(path) = &cli.config {
        text = std::fs::read_to_string(path)
            .map_err(|error| LoadError::Unreadable { path: path.display().to_string(), error })?;
        // As a file and not as a string, so that figment knows the name for its errors.
        figment = figment.merge(Toml::file_exact(path));
    }
    let variables = Env::prefixed("WEBTUN_").ignore(NOT_KEYS).split("__");
    let figment = figment.merge(variables).merge(Serialized::defaults(cli.overrides()));
    let config: Config = figment.extract().map_err(|error| LoadError::Wrong(explain(error, &text)))?;
    config.validate()?;
    Ok(config)
}

/// What is in force, as a file that [`load`] would read.
///
/// # Errors
/// None in practice: every value of [`Config`] has a form in TOML.
pub fn print(config: &Config) -> Result<String, toml::ser::Error> {
    toml::to_string_pretty(config)
}

fn explain(errors: figment::Error, file_text: &str) -> String {
    let mut out = String::new();
    for error in errors {
        if !out.is_empty() {
            out.push('\n');
        }
        let mut path = error.path.clone();
        if let Kind::UnknownField(field, _) = &error.kind
            && path.last() != Some(field)
        {
            path.push(field.clone());
        }
        let key = path.join(".");
        let place = place(&error, &path, file_text);
        let written = match &error.kind {
            Kind::UnknownField(field, known) => {
                let near = nearest(field, known).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                let list = known.join(", ");
                write!(out, "configuration: unknown key `{key}` in {place}; {near}known here: {list}")
            }
            kind => {
                let key = if key.is_empty() { String::new() } else { format!("`{key}`: ") };
                write!(out, "configuration: {key}{kind} in {place}")
            }
        };
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    out
}

/// Where the key was given: file and line, variable, or flag.
fn place(error: &figment::Error, path: &[String], file_text: &str) -> String {
    let Some(metadata) = &error.metadata else { return "the defaults".to_owned() };
    match &metadata.source {
        Some(Source::File(file)) => match line_of(file_text, path) {
            Some(line) => format!("{}, line {line}", display(file)),
            None => display(file),
        },
        _ if metadata.name.contains("environment") => {
            format!("the variable WEBTUN_{}", path.join("__").to_uppercase())
        }
        _ => "the command line".to_owned(),
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

/// The line, counted from 1, on which the key `path` stands, or its nearest parent that has one.
fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let document = toml::de::DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for part in path {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == part) else { break };
        found = Some(key.span().start);
        match value.get_ref() {
            toml::de::DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    Some(text.get(..found?)?.matches('\n').count() + 1)
}

/// The known key that a typo most likely meant: at most two edits away.
fn nearest<'a>(typo: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().map(|key| (distance(typo, key), *key)).filter(|(edits, _)| *edits <= 2).min().map(|(_, key)| key)
}

/// Levenshtein's distance, in octets.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
