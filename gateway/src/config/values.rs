use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A range of ports, written `first-last` or as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PortRangeForm", into = "String")]
pub struct PortRange {
    /// First port, inclusive.
    pub first: u16,
    /// Last port, inclusive; not below `first`.
    pub last: u16,
}

/// Both ways in which a range can stand in TOML.
#[derive(Deserialize)]
#[serde(untagged)]
enum PortRangeForm {
    Number(u16),
    Text(String),
}

impl TryFrom<PortRangeForm> for PortRange {
    type Error = String;

    fn try_from(form: PortRangeForm) -> Result<Self, String> {
        match form {
            PortRangeForm::Number(port) => Ok(Self { first: port, last: port }),
            PortRangeForm::Text(text) => text.parse(),
        }
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!("`{text}` is not a range of ports; write it as \"16384-65535\"")),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(out, "{}", self.first)
        } else {
            write!(out, "{}-{}", self.first, self.last)
        }
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

impl PortRange {
    /// True where `port` is in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// How many ports the range has.
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

/// A value, or `"off"`: TOML has no null, and an absent key means the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Switch<T: Clone + FromStr + fmt::Display> {
    /// Not wanted.
    Off,
    /// Wanted, with this value.
    On(T),
}

impl<T: Clone + FromStr + fmt::Display> Switch<T> {
    /// The value, where there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

impl<T: Clone + FromStr + fmt::Display> TryFrom<String> for Switch<T> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::On)
            .map_err(|_| format!("`{text}` is neither an address (or prefix) of this family nor \"off\""))
    }
}

impl<T: Clone + FromStr + fmt::Display> From<Switch<T>> for String {
    fn from(switch: Switch<T>) -> Self {
        match switch {
            Switch::Off => "off".to_owned(),
            Switch::On(value) => value.to_string(),
        }
    }
}

/// True where `text` can be a bearer token: a `token` of RFC 9110 section 5.6.2 (it is part of a subprotocol name) of at
/// most 256 characters.
pub fn is_token(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet))
}
