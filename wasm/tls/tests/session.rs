//! A session against rustls's own server, without a network: what is accepted, and by which words the rest is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::PrivateKeyDer;
use webtun_tls::{Clock, Code, Failure, Session, client_config};

/// 1 January 2026.
const NOW: f64 = 1_767_225_600_000.0;
const YEAR: f64 = 365.25 * 86_400_000.0;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

/// A server for `www.example.test` and 192.0.2.1, whose certificate holds for the year 2026 only.
fn server(authority: &Authority, protocols: &[&str]) -> ServerConnection {
    let names = vec!["www.example.test".to_owned(), "192.0.2.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2025, 12, 31);
    params.not_after = date_time_ymd(2026, 12, 31);
    let key = KeyPair::generate().unwrap();
    let chain = vec![params.signed_by(&key, &authority.issuer).unwrap().der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    ServerConnection::new(Arc::new(config)).unwrap()
}

fn client(roots: &str, name: &str, protocols: &[&str], now: f64) -> Session {
    let clock = Clock::default();
    clock.set(now);
    let config = client_config(roots, protocols, clock).unwrap();
    Session::new(Arc::new(config), name).unwrap()
}

/// Moves octets until none are left. The server may refuse; then its alert is moved, too.
fn exchange(client: &mut Session, server: &mut ServerConnection) {
    loop {
        let outgoing = client.take_outgoing().to_vec();
        let mut at = &outgoing[..];
        while !at.is_empty() && server.read_tls(&mut at).is_ok() {
            let _ = server.process_new_packets();
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        if outgoing.is_empty() && answer.is_empty() {
            return;
        }
        client.handle_data(&answer);
    }
}

fn outcome(roots: &str, name: &str, now: f64, authority: &Authority) -> Result<(), Failure> {
    let mut client = client(roots, name, &[], now);
    exchange(&mut client, &mut server(authority, &[]));
    match client.failure() {
        Some(failure) => Err(failure.clone()),
        None => {
            assert!(!client.is_handshaking());
            Ok(())
        }
    }
}

#[test]
fn names_and_addresses_of_the_certificate_are_accepted() {
    let authority = authority("one");
    outcome(&authority.pem, "www.example.test", NOW, &authority).unwrap();
    outcome(&authority.pem, "192.0.2.1", NOW, &authority).unwrap();
}

#[test]
fn each_fault_of_a_certificate_has_a_code_of_its_own() {
    let authority = authority("one");
    let code = |roots: &str, name: &str, now| outcome(roots, name, now, &authority).unwrap_err().code;
    assert_eq!(code(&authority.pem, "www.example.test", NOW + 2.0 * YEAR), Code::Expired);
    assert_eq!(code(&authority.pem, "www.example.test", NOW - YEAR), Code::NotYetValid);
    assert_eq!(code(&authority.pem, "other.example.test", NOW), Code::WrongName);
    assert_eq!(code(&authority.pem, "192.0.2.2", NOW), Code::WrongName);
    assert_eq!(code("", "www.example.test", NOW), Code::UnknownIssuer);
    assert_eq!(code(&self::authority("another").pem, "www.example.test", NOW), Code::UnknownIssuer);
    let words = outcome(&authority.pem, "other.example.test", NOW, &authority).unwrap_err().message;
    assert!(words.contains(" for www.example.test, "), "{words}");
    assert!(words.ends_with(", not for other.example.test"), "{words}");
}

#[test]
fn data_crosses_both_ways_and_the_end_is_told_from_a_cut() {
    let authority = authority("one");
    let mut server = server(&authority, &[]);
    let mut client = client(&authority.pem, "www.example.test", &[], NOW);
    // Kept until there are keys.
    client.write(b"early");
    exchange(&mut client, &mut server);
    let large: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    client.write(&large);
    server.writer().write_all(b"answer").unwrap();
    let outgoing = client.take_outgoing().to_vec();
    let mut received = Vec::new();
    let mut at = &outgoing[..];
    while !at.is_empty() {
        server.read_tls(&mut at).unwrap();
        server.process_new_packets().unwrap();
        let _ = server.reader().read_to_end(&mut received);
    }
    exchange(&mut client, &mut server);
    let _ = server.reader().read_to_end(&mut received);
    assert_eq!(&received[..5], b"early");
    assert_eq!(&received[5..], large);
    assert_eq!(client.incoming(), b"answer");

    server.send_close_notify();
    exchange(&mut client, &mut server);
    client.handle_end();
    assert!(client.is_finished() && client.failure().is_none());
}

#[test]
fn an_end_without_a_closure_alert_is_a_failure() {
    let authority = authority("one");
    let mut client = client(&authority.pem, "www.example.test", &[], NOW);
    exchange(&mut client, &mut server(&authority, &[]));
    client.handle_end();
    assert_eq!(client.failure(), Some(&Failure::truncated()));
}

#[test]
fn the_server_chooses_a_protocol_or_refuses() {
    let authority = authority("one");
    let mut chosen = client(&authority.pem, "www.example.test", &["h2", "http/1.1"], NOW);
    exchange(&mut chosen, &mut server(&authority, &["http/1.1"]));
    assert_eq!(chosen.protocol(), Some("http/1.1"));
    let mut refused = client(&authority.pem, "www.example.test", &["h2"], NOW);
    exchange(&mut refused, &mut server(&authority, &["http/1.1"]));
    let failure = refused.failure().unwrap();
    assert_eq!(failure.code, Code::Protocol);
    assert!(failure.message.contains("protocols"), "{}", failure.message);
}

#[test]
fn what_is_not_tls_is_a_failure_and_never_a_panic() {
    let garbage: [&[u8]; 4] = [
        b"220 mail.example.test ESMTP\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0xff; 70_000],
        &[22, 3, 3, 0xff, 0xff],
    ];
    for octets in garbage {
        let mut client = client("", "www.example.test", &[], NOW);
        client.handle_data(octets);
        client.handle_end();
        assert!(client.failure().is_some());
        client.write(b"more");
        client.handle_data(octets);
        assert!(client.incoming().is_empty());
    }
}

#[test]
fn every_cut_and_every_flipped_octet_of_a_handshake_ends_in_a_failure() {
    let authority = authority("one");
    let mut first = client(&authority.pem, "www.example.test", &[], NOW);
    let hello = first.take_outgoing().to_vec();
    let mut server = server(&authority, &[]);
    server.read_tls(&mut &hello[..]).unwrap();
    server.process_new_packets().unwrap();
    let mut answer = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut answer).unwrap();
    }
    for at in (0..answer.len()).step_by(7) {
        let mut cut = client(&authority.pem, "www.example.test", &[], NOW);
        cut.handle_data(&answer[..at]);
        cut.handle_end();
        assert!(cut.failure().is_some());
        let mut flipped = answer.clone();
        flipped[at] ^= 0x20;
        let mut wrong = client(&authority.pem, "www.example.test", &[], NOW);
        wrong.handle_data(&flipped);
        wrong.handle_end();
        assert!(wrong.failure().is_some());
    }
}

#[test]
fn a_name_that_no_certificate_can_have_is_refused() {
    let config = Arc::new(client_config("", &[], Clock::default()).unwrap());
    for name in ["", "two words", "a..b", "[::1]"] {
        assert!(Session::new(config.clone(), name).is_err(), "{name}");
    }
}
