//! SOCKS version 5 (RFC 1928) with user and password (RFC 1929), server side. Octets in, octets and questions out.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use webtun_stack::{ConnectError, StreamHost};

const VERSION: u8 = 5;
/// Of the negotiation of RFC 1929.
const PASSWORD_VERSION: u8 = 1;

mod method {
    pub const NONE: u8 = 0;
    pub const PASSWORD: u8 = 2;
    pub const UNACCEPTABLE: u8 = 0xff;
}

mod kind {
    pub const IPV4: u8 = 1;
    pub const NAME: u8 = 3;
    pub const IPV6: u8 = 4;
}

/// REP of RFC 1928 section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Succeeded = 0,
    Failure = 1,
    NotAllowed = 2,
    NetUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    /// TTL expired: the nearest to a time that ran out.
    TimedOut = 6,
    UnknownCommand = 7,
    UnknownAddress = 8,
}

impl From<ConnectError> for Reply {
    fn from(error: ConnectError) -> Self {
        use ConnectError as Error;
        match error {
            Error::Refused => Self::Refused,
            Error::HostUnreachable | Error::NameNotFound => Self::HostUnreachable,
            Error::NetUnreachable | Error::AddressNotAvailable => Self::NetUnreachable,
            Error::TimedOut => Self::TimedOut,
            Error::Denied | Error::Unaddressable => Self::NotAllowed,
            _ => Self::Failure,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Connect,
    UdpAssociate,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More octets are needed.
    More,
    /// These octets go to the client.
    Say(Bytes),
    /// Whether this password is right is to be told by [`Negotiation::judge`].
    Password { name: Bytes, password: Bytes },
    /// What the client wants. [`reply`] answers it, and the negotiation is over: what [`Negotiation::into_rest`] has is data.
    Request { command: Command, host: StreamHost, port: u16 },
    /// These octets go to the client, and then the connection ends.
    End(Bytes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Methods,
    Password,
    Request,
}

/// The part before data.
#[derive(Debug)]
pub(super) struct Negotiation {
    state: State,
    /// Whether who asks has said already who it is.
    is_known: bool,
    received: BytesMut,
}

impl Negotiation {
    pub(super) fn new(is_known: bool) -> Self {
        Self { state: State::Methods, is_known, received: BytesMut::new() }
    }

    /// Octets of the client's. What is longer than any request ends the negotiation at the next step.
    pub(super) fn receive(&mut self, octets: &[u8]) {
        self.received.extend_from_slice(octets);
    }

    /// Octets that came behind the request.
    pub(super) fn into_rest(self) -> Bytes {
        self.received.freeze()
    }

    /// Takes one step with what has come.
    pub(super) fn step(&mut self) -> Step {
        let step = match self.state {
            State::Methods => self.methods(),
            State::Password => self.password(),
            State::Request => self.request(),
        };
        step.unwrap_or(Step::More)
    }

    /// The answer to [`Step::Password`].
    pub(super) fn judge(&mut self, is_right: bool) -> Step {
        let answer = Bytes::copy_from_slice(&[PASSWORD_VERSION, u8::from(!is_right)]);
        if !is_right {
            return Step::End(answer);
        }
        self.state = State::Request;
        Step::Say(answer)
    }

    /// RFC 1928 section 3. `None`: more is needed, here and below.
    fn methods(&mut self) -> Option<Step> {
        if *self.received.first()? != VERSION {
            return Some(Step::End(Bytes::new()));
        }
        let end = 2 + usize::from(*self.received.get(1)?);
        let offered = self.received.get(2..end)?;
        let has = |method| offered.contains(&method);
        let chosen = match (self.is_known, has(method::NONE), has(method::PASSWORD)) {
            (true, true, _) => method::NONE,
            (_, _, true) => method::PASSWORD,
            _ => method::UNACCEPTABLE,
        };
        self.received.advance(end);
        let answer = Bytes::copy_from_slice(&[VERSION, chosen]);
        self.state = if chosen == method::NONE { State::Request } else { State::Password };
        Some(if chosen == method::UNACCEPTABLE { Step::End(answer) } else { Step::Say(answer) })
    }

    /// RFC 1929 section 2.
    fn password(&mut self) -> Option<Step> {
        if *self.received.first()? != PASSWORD_VERSION {
            return Some(self.judge(false));
        }
        let name_end = 2 + usize::from(*self.received.get(1)?);
        let end = name_end + 1 + usize::from(*self.received.get(name_end)?);
        self.received.get(..end)?;
        let all = self.received.split_to(end).freeze();
        Some(Step::Password { name: all.slice(2..name_end), password: all.slice(name_end + 1..) })
    }

    /// RFC 1928 section 4.
    fn request(&mut self) -> Option<Step> {
        if *self.received.first()? != VERSION {
            return Some(Step::End(Bytes::new()));
        }
        let (code, kind) = (*self.received.get(1)?, *self.received.get(3)?);
        let (host, port, end) = match endpoint(kind, self.received.get(4..)?) {
            Ok(found) => found?,
            Err(UnknownAddress) => return Some(Step::End(reply(Reply::UnknownAddress, None))),
        };
        self.received.advance(4 + end);
        let command = match code {
            1 => Command::Connect,
            3 => Command::UdpAssociate,
            _ => return Some(Step::End(reply(Reply::UnknownCommand, None))),
        };
        if command == Command::Connect && port == 0 {
            return Some(Step::End(reply(Reply::NotAllowed, None)));
        }
        Some(Step::Request { command, host, port })
    }
}

/// Neither an address nor a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnknownAddress;

/// Reads an address of this kind and the port behind it, and says how long they are; `None` where they are not all there.
fn endpoint(kind: u8, octets: &[u8]) -> Result<Option<(StreamHost, u16, usize)>, UnknownAddress> {
    let found = match kind {
        kind::IPV4 => octets.first_chunk::<4>().map(|address| (address_of(Ipv4Addr::from(*address)), 4)),
        kind::IPV6 => octets.first_chunk::<16>().map(|address| (address_of(Ipv6Addr::from(*address)), 16)),
        kind::NAME => match octets.split_first() {
            Some((0, _)) => return Err(UnknownAddress),
            Some((&len, rest)) => match rest.get(..usize::from(len)) {
                Some(name) => Some((host(name).ok_or(UnknownAddress)?, 1 + usize::from(len))),
                None => None,
            },
            None => None,
        },
        _ => return Err(UnknownAddress),
    };
    let Some((host, end)) = found else { return Ok(None) };
    let port = octets.get(end..).and_then(|rest| rest.first_chunk());
    Ok(port.map(|port| (host, u16::from_be_bytes(*port), end + 2)))
}

fn address_of(address: impl Into<IpAddr>) -> StreamHost {
    StreamHost::Address(address.into())
}

/// A name, which may be an address in text: some clients make no difference.
fn host(name: &[u8]) -> Option<StreamHost> {
    let name = std::str::from_utf8(name).ok()?;
    let address = name.trim_matches(['[', ']']).parse().map(StreamHost::Address);
    Some(address.unwrap_or_else(|_| StreamHost::Name(name.to_owned())))
}

/// The answer to a request (RFC 1928 section 6), with the address that the destination sees.
pub(super) fn reply(reply: Reply, bound: Option<SocketAddr>) -> Bytes {
    let mut answer = BytesMut::from(&[VERSION, reply as u8, 0][..]);
    put_endpoint(&mut answer, bound.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))));
    answer.freeze()
}

fn put_endpoint(out: &mut BytesMut, endpoint: SocketAddr) {
    match endpoint.ip() {
        IpAddr::V4(address) => {
            out.put_u8(kind::IPV4);
            out.put_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.put_u8(kind::IPV6);
            out.put_slice(&address.octets());
        }
    }
    out.put_u16(endpoint.port());
}

/// Reads a datagram with its header (RFC 1928 section 7). `None` where it is none, or a fragment, which may be dropped.
pub(super) fn datagram(mut message: Bytes) -> Option<(StreamHost, u16, Bytes)> {
    let &[0, 0, 0, kind] = message.first_chunk()? else { return None };
    let (host, port, end) = endpoint(kind, &message[4..]).ok()??;
    (port != 0).then(|| (host, port, message.split_off(4 + end)))
}

/// A datagram from there, with its header.
pub(super) fn datagram_from(from: SocketAddr, payload: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(22 + payload.len());
    message.put_slice(&[0, 0, 0]);
    put_endpoint(&mut message, from);
    message.put_slice(payload);
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fed(negotiation: &mut Negotiation, octets: &[u8]) -> Step {
        negotiation.receive(octets);
        negotiation.step()
    }

    fn say(octets: &'static [u8]) -> Step {
        Step::Say(Bytes::from_static(octets))
    }

    fn name(name: &str) -> StreamHost {
        StreamHost::Name(name.to_owned())
    }

    #[test]
    fn a_connection_with_a_password() {
        let mut it = Negotiation::new(false);
        assert_eq!(fed(&mut it, b"\x05\x02\x00\x02"), say(b"\x05\x02"));
        let (user, password) = (Bytes::from_static(b"me"), Bytes::from_static(b"s3cret"));
        assert_eq!(fed(&mut it, b"\x01\x02me\x06s3cret"), Step::Password { name: user, password });
        assert_eq!(it.judge(true), say(b"\x01\x00"));
        let wanted = Step::Request { command: Command::Connect, host: name("example.org"), port: 443 };
        assert_eq!(fed(&mut it, b"\x05\x01\x00\x03\x0bexample.org\x01\xbbearly"), wanted);
        assert_eq!(it.into_rest()[..], *b"early");
    }

    #[test]
    fn who_is_known_needs_no_password() {
        let mut it = Negotiation::new(true);
        assert_eq!(fed(&mut it, b"\x05\x01\x00"), say(b"\x05\x00"));
        let host = StreamHost::Address(IpAddr::from([192, 0, 2, 1]));
        let wanted = Step::Request { command: Command::UdpAssociate, host, port: 0 };
        assert_eq!(fed(&mut it, b"\x05\x03\x00\x01\xc0\x00\x02\x01\x00\x00"), wanted);
        assert_eq!(fed(&mut Negotiation::new(true), b"\x05\x01\x02"), say(b"\x05\x02"));
    }

    #[test]
    fn what_is_refused_is_refused_in_its_own_words() {
        let end = |octets: &'static [u8]| Step::End(Bytes::from_static(octets));
        assert_eq!(fed(&mut Negotiation::new(false), b"\x05\x01\x00"), end(b"\x05\xff"));
        assert_eq!(fed(&mut Negotiation::new(false), b"\x04\x01\x00\x50"), end(b""));
        let mut it = Negotiation::new(false);
        fed(&mut it, b"\x05\x01\x02");
        assert!(matches!(fed(&mut it, b"\x01\x01a\x00"), Step::Password { .. }));
        assert_eq!(it.judge(false), end(b"\x01\x01"));
        let asked = |octets: &[u8]| {
            let mut it = Negotiation::new(true);
            fed(&mut it, b"\x05\x01\x00");
            fed(&mut it, octets)
        };
        assert_eq!(asked(b"\x05\x02\x00\x01\x7f\0\0\x01\x00\x50"), end(b"\x05\x07\0\x01\0\0\0\0\0\0"));
        assert_eq!(asked(b"\x05\x01\x00\x02\x7f\0\0\x01\x00\x50"), end(b"\x05\x08\0\x01\0\0\0\0\0\0"));
        assert_eq!(asked(b"\x05\x01\x00\x03\x00\x00\x50"), end(b"\x05\x08\0\x01\0\0\0\0\0\0"));
        assert_eq!(asked(b"\x05\x01\x00\x01\x7f\0\0\x01\x00\x00"), end(b"\x05\x02\0\x01\0\0\0\0\0\0"));
    }

    #[test]
    fn addresses_are_written_as_they_are_read() {
        let there: SocketAddr = "[2001:db8::1]:53".parse().expect("an endpoint");
        assert_eq!(reply(Reply::Succeeded, Some(there))[..4], *b"\x05\x00\x00\x04");
        let message = datagram_from(there, b"payload");
        let host = StreamHost::Address(there.ip());
        assert_eq!(datagram(message), Some((host, 53, Bytes::from_static(b"payload"))));
        assert_eq!(datagram(Bytes::from_static(b"\0\0\x01\x01\x7f\0\0\x01\0\x35fragment")), None);
        assert_eq!(
            datagram(Bytes::from_static(b"\0\0\0\x03\x07::ffff1\0\x35x")),
            Some((name("::ffff1"), 53, Bytes::from_static(b"x")))
        );
    }

    proptest! {
        #[test]
        fn no_octets_are_too_strange(octets in proptest::collection::vec(any::<u8>(), 0..64), is_known: bool) {
            let mut it = Negotiation::new(is_known);
            it.receive(&octets);
            for _ in 0..4 {
                if let Step::Password { .. } = it.step() {
                    it.judge(true);
                }
            }
            let _ = datagram(octets.into());
        }

        /// It makes no difference how a stream is cut.
        #[test]
        fn pieces_are_as_good_as_the_whole(cuts in proptest::collection::vec(1usize..9, 1..40), user in "[a-z]{0,20}", host in "[a-z]{1,40}") {
            let mut stream = b"\x05\x02\x00\x02\x01".to_vec();
            stream.push(user.len() as u8);
            stream.extend_from_slice(user.as_bytes());
            stream.extend_from_slice(b"\x01p\x05\x01\x00\x03");
            stream.push(host.len() as u8);
            stream.extend_from_slice(host.as_bytes());
            stream.extend_from_slice(b"\x00\x50");
            let (mut it, mut at, mut cuts) = (Negotiation::new(false), 0, cuts.iter().cycle());
            let request = loop {
                match it.step() {
                    Step::More => {
                        prop_assert!(at < stream.len());
                        let end = (at + cuts.next().expect("it cycles")).min(stream.len());
                        it.receive(&stream[at..end]);
                        at = end;
                    }
                    Step::Password { name, password } => {
                        prop_assert_eq!((&name[..], &password[..]), (user.as_bytes(), &b"p"[..]));
                        it.judge(true);
                    }
                    Step::Say(_) => {}
                    other => break other,
                }
            };
            prop_assert_eq!(request, Step::Request { command: Command::Connect, host: name(&host), port: 80 });
        }
    }
}
