use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses of one family that a list can name: each is a pool of ports in the NAT.
const MOST: usize = 256;

/// Addresses of one family, in order: one as a string, a prefix (all of its addresses), a list of both, or `"off"` for none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Addresses<A: Family>(Vec<A>);

/// An address of IPv4 or IPv6.
pub trait Family: Copy + Ord + FromStr + fmt::Display + Into<IpAddr> {
    /// The addresses of the prefix that `text` is, at most so many; `None` where it is no prefix of this family.
    fn prefix(text: &str, most: usize) -> Option<Vec<Self>>;

    /// The address after this one.
    #[must_use]
    fn next(self) -> Self;
}

impl Family for Ipv4Addr {
    fn prefix(text: &str, most: usize) -> Option<Vec<Self>> {
        let net: Ipv4Net = text.parse().ok()?;
        Some((net.network().to_bits()..=net.broadcast().to_bits()).map(Self::from_bits).take(most).collect())
    }

    fn next(self) -> Self {
        Self::from_bits(self.to_bits().wrapping_add(1))
    }
}

impl Family for Ipv6Addr {
    fn prefix(text: &str, most: usize) -> Option<Vec<Self>> {
        let net: Ipv6Net = text.parse().ok()?;
        Some((net.network().to_bits()..=net.broadcast().to_bits()).map(Self::from_bits).take(most).collect())
    }

    fn next(self) -> Self {
        Self::from_bits(self.to_bits().wrapping_add(1))
    }
}

impl<A: Family> Addresses<A> {
    /// No address: `"off"`.
    pub const OFF: Self = Self(Vec::new());

    /// A single address.
    pub fn one(address: A) -> Self {
        Self(vec![address])
    }

    /// In order.
    pub fn as_slice(&self) -> &[A] {
        &self.0
    }

    /// True where there is none.
    pub fn is_off(&self) -> bool {
        self.0.is_empty()
    }

    /// The first address that stands twice.
    pub fn repeated(&self) -> Option<A> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }
}

/// The ways in which addresses can stand in TOML.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    One(String),
    List(Vec<String>),
}

impl<A: Family> TryFrom<Form> for Addresses<A> {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        let texts = match form {
            Form::One(text) if text == "off" => return Ok(Self::OFF),
            Form::One(text) => vec![text],
            Form::List(texts) if texts.is_empty() => return Err("an empty list; for none write \"off\"".to_owned()),
            Form::List(texts) => texts,
        };
        let mut all = Vec::new();
        for text in &texts {
            match text.parse() {
                Ok(address) => all.push(address),
                Err(_) => all.extend(A::prefix(text, MOST + 1).ok_or_else(|| wrong(text))?),
            }
            if all.len() > MOST {
                return Err(format!("more than {MOST} addresses"));
            }
        }
        Ok(Self(all))
    }
}

fn wrong(text: &str) -> String {
    format!("`{text}` is neither an address or prefix of this family, nor a list of them, nor \"off\"")
}

impl<A: Family> From<Addresses<A>> for Form {
    fn from(addresses: Addresses<A>) -> Self {
        match addresses.0.as_slice() {
            [] => Self::One("off".to_owned()),
            [one] => Self::One(one.to_string()),
            more => Self::List(more.iter().map(A::to_string).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Vec<Ipv4Addr>, String> {
        #[derive(Deserialize)]
        struct Table {
            key: Addresses<Ipv4Addr>,
        }
        let table: Result<Table, _> = toml::from_str(&format!("key = {value}"));
        table.map(|table| table.key.0).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_a_prefix_a_list_and_off_are_read() {
        let [one, two] = [Ipv4Addr::new(198, 51, 100, 8), Ipv4Addr::new(198, 51, 100, 9)];
        assert_eq!(read("\"198.51.100.8\""), Ok(vec![one]));
        assert_eq!(read("\"198.51.100.9/31\""), Ok(vec![one, two]));
        assert_eq!(read("[\"198.51.100.9\", \"198.51.100.8/32\"]"), Ok(vec![two, one]));
        assert_eq!(read("\"off\""), Ok(Vec::new()));
        assert_eq!(read("\"10.0.0.0/24\"").map(|all| all.len()), Ok(256));
    }

    #[test]
    fn what_else_stands_there_is_explained() {
        for (value, word) in [
            ("\"2001:db8::1\"", "this family"),
            ("[\"198.51.100.1\", \"off\"]", "`off` is neither"),
            ("[]", "\"off\""),
            ("[\"10.0.0.0/24\", \"10.0.1.0\"]", "more than 256"),
            ("\"0.0.0.0/0\"", "more than 256"),
        ] {
            let error = read(value).expect_err("it is wrong");
            assert!(error.contains(word), "{value}: {error}");
        }
    }
}
