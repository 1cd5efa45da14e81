use core::fmt;

/// Why octets are not what the protocol allows. Each of them ends the session with CLOSE `Protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// The message is longer than [`MAX_MESSAGE_LEN`](crate::MAX_MESSAGE_LEN).
    MessageTooLong,
    /// The message ends within a capsule's type or length, or before the end of its value.
    Truncated,
    /// The value of a capsule breaks the rules of its type.
    Malformed {
        /// The capsule type.
        kind: u64,
        /// The rule.
        problem: Problem,
    },
}

/// The rule that a capsule's value breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The value ends within a field.
    Short,
    /// Octets follow the last field.
    Trailing,
    /// An IP version other than 4 and 6, or one that does not belong here.
    IpVersion,
    /// A prefix length that the family or the capsule does not allow.
    PrefixLength,
    /// Ranges that overlap, are out of order, or end before they begin.
    Range,
    /// Text that is not UTF-8.
    Text,
    /// A number that the field does not allow.
    Value,
    /// A list that must not be empty is.
    Empty,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "the value ends within a field",
            Self::Trailing => "octets follow the last field",
            Self::IpVersion => "bad IP version",
            Self::PrefixLength => "bad prefix length",
            Self::Range => "ranges overlap or are out of order",
            Self::Text => "text is not UTF-8",
            Self::Value => "a number is not allowed in its field",
            Self::Empty => "a list is empty",
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageTooLong => f.write_str("message too long"),
            Self::Truncated => f.write_str("message ends within a capsule"),
            Self::Malformed { kind, problem } => write!(f, "capsule 0x{kind:x}: {problem}"),
        }
    }
}

impl core::error::Error for DecodeError {}
