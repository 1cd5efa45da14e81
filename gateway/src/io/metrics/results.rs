//! What comes of what is asked of the gateway, as counters by result.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::marker::PhantomData;
use webtun_wire::CloseCode;

type Label = [(&'static str, &'static str); 1];

/// A set of results that are counted.
pub trait Outcome: Copy + 'static {
    /// Each of them.
    const ALL: &'static [Self];

    /// A stable name in snake case.
    fn label(self) -> &'static str;
}

/// Counters by result; clones count together.
#[derive(Clone, Debug)]
pub struct Results<R> {
    pub(super) family: Family<Label, Counter>,
    of: PhantomData<R>,
}

/// Handshakes by result.
pub type Handshakes = Results<HandshakeResult>;
/// Tickets by what has become of them, or of the request for one.
pub type TicketResults = Results<TicketResult>;

impl<R: Outcome> Default for Results<R> {
    /// All results begin at zero, so that a rate can be had from the first one on.
    fn default() -> Self {
        let family = Family::<Label, Counter>::default();
        for result in R::ALL {
            drop(family.get_or_create(&[("result", result.label())]));
        }
        Self { family, of: PhantomData }
    }
}

impl<R: Outcome> Results<R> {
    /// Counts one.
    pub fn count(&self, result: R) {
        self.family.get_or_create(&[("result", result.label())]).inc();
    }
}

/// How a handshake has ended: TLS, HTTP, or the WebSocket's up to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeResult {
    /// With a session, new or resumed.
    Accepted,
    /// By CLOSE.
    Refused(CloseCode),
    /// The client has not done its part in time.
    Timeout,
    /// The client has gone.
    Gone,
    /// A newcomer has taken its place.
    Displaced,
    /// The page was of a foreign origin.
    Origin,
    /// Too many wrong credentials had come from that address.
    Throttled,
    /// TLS has failed.
    Tls,
}

impl Outcome for HandshakeResult {
    const ALL: &'static [Self] = &[
        Self::Accepted,
        Self::Timeout,
        Self::Gone,
        Self::Displaced,
        Self::Origin,
        Self::Throttled,
        Self::Tls,
        Self::Refused(CloseCode::Normal),
        Self::Refused(CloseCode::Shutdown),
        Self::Refused(CloseCode::Version),
        Self::Refused(CloseCode::Protocol),
        Self::Refused(CloseCode::Internal),
        Self::Refused(CloseCode::Exhausted),
        Self::Refused(CloseCode::Limit),
        Self::Refused(CloseCode::Unauthorized),
        Self::Refused(CloseCode::UnknownSession),
        Self::Refused(CloseCode::Replaced),
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::Displaced => "displaced",
            Self::Origin => "origin",
            Self::Throttled => "throttled",
            Self::Tls => "tls",
            Self::Refused(CloseCode::Normal) => "normal",
            Self::Refused(CloseCode::Shutdown) => "shutdown",
            Self::Refused(CloseCode::Version) => "version",
            Self::Refused(CloseCode::Protocol) => "protocol",
            Self::Refused(CloseCode::Internal) => "internal",
            Self::Refused(CloseCode::Exhausted) => "exhausted",
            Self::Refused(CloseCode::Limit) => "limit",
            Self::Refused(CloseCode::Unauthorized) => "unauthorized",
            Self::Refused(CloseCode::UnknownSession) => "unknown_session",
            Self::Refused(CloseCode::Replaced) => "replaced",
        }
    }
}

/// What has become of a ticket, or of a request for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketResult {
    /// It was given out.
    Issued,
    /// It has let its client in, and is spent.
    Redeemed,
    /// It was shown, and is spent, too old, or none.
    Invalid,
    /// None was given out: the credential was missing or wrong.
    Unauthorized,
    /// None was given out: too many wrong credentials had come from that address.
    Throttled,
    /// None was given out: too many are not spent.
    Full,
    /// None was given out: the page was of a foreign origin.
    Origin,
    /// None was given out: nobody needs one.
    NotNeeded,
    /// None was given out, by a fault of the gateway's machine.
    Internal,
}

impl Outcome for TicketResult {
    const ALL: &'static [Self] = &[
        Self::Issued,
        Self::Redeemed,
        Self::Invalid,
        Self::Unauthorized,
        Self::Throttled,
        Self::Full,
        Self::Origin,
        Self::NotNeeded,
        Self::Internal,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Redeemed => "redeemed",
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::Throttled => "throttled",
            Self::Full => "full",
            Self::Origin => "origin",
            Self::NotNeeded => "not_needed",
            Self::Internal => "internal",
        }
    }
}
