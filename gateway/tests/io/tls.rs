//! TLS: who gets in by it, how its files are replaced, and how its ends are told apart.

use crate::support::{Gateway, Scratch, block_on, command, eventually, failure, figure, hello, shell};
use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};
use webtun_stack::aio::{self, ConnectOptions};
use webtun_wire::{Capsule, Resume, Session, capsules};

/// An authority, and a folder for what it signs.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().expect("a key");
        std::fs::write(folder.join("ca.pem"), params.self_signed(&key).expect("a certificate").pem()).expect("a file");
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a pair `NAME.crt` and `NAME.key` for this machine, signed in the year given.
    fn sign(&self, name: &str, year: i32) {
        let mut params = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).expect("parameters");
        params.not_before = date_time_ymd(year, 1, 1);
        params.not_after = date_time_ymd(if year < 2020 { year + 1 } else { 4000 }, 1, 1);
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.file(&format!("{name}.crt")), certificate.pem()).expect("a file");
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).expect("a file");
    }

    /// The certificate of a pair, as the other end sees it.
    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.file(&format!("{name}.crt"))).expect("a certificate")
    }

    /// Opens TLS as a client of this authority.
    async fn connect(
        &self,
        address: SocketAddr,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("ca.pem")).expect("a certificate")).expect("an authority");
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(address).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
    }

    /// The certificate that the gateway shows.
    fn shown(&self, address: SocketAddr) -> CertificateDer<'static> {
        block_on(async {
            let stream = self.connect(address, &[&TLS13]).await;
            stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
        })
    }

    /// Opens a WebSocket.
    async fn websocket(&self, address: SocketAddr) -> WebSocketStream<TlsStream<TcpStream>> {
        let mut request = format!("wss://{address}/").into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", "webtun.v1".parse().expect("a header value"));
        let stream = self.connect(address, &[&TLS13]).await;
        client_async(request, stream).await.expect("a WebSocket").0
    }

    /// Opens a session, or goes on with one.
    async fn open(
        &self,
        address: SocketAddr,
        resume: Option<Resume>,
    ) -> (WebSocketStream<TlsStream<TcpStream>>, Session) {
        let mut socket = self.websocket(address).await;
        socket.send(Message::Binary(hello(b"", resume).into())).await.expect("sending");
        let Some(Ok(Message::Binary(message))) = socket.next().await else { panic!("no SESSION") };
        let Some(Ok(Capsule::Session(session))) = capsules(&message).next() else { panic!("no SESSION") };
        (socket, session)
    }

    fn flags(&self, certificate: &str, key: &str) -> Vec<String> {
        let (certificate, key) = (self.file(certificate).display().to_string(), self.file(key).display().to_string());
        ["--listen", "127.0.0.1:0", "--tls-certificate", &certificate, "--tls-key", &key].map(str::to_owned).to_vec()
    }

    fn start(&self, scratch: &Scratch, pair: &str, more: &[&str]) -> Gateway {
        let flags = self.flags(&format!("{pair}.crt"), &format!("{pair}.key"));
        let gateway = Gateway::start(
            &scratch.0,
            &flags.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>(),
        );
        assert!(gateway.printed.iter().any(|line| line.starts_with("listening on https://")), "{:?}", gateway.printed);
        gateway
    }
}

fn prepare(name: &str) -> (Scratch, Authority) {
    let scratch = Scratch::new(name);
    let authority = Authority::new(&scratch.0);
    authority.sign("first", 2020);
    (scratch, authority)
}

/// Makes the authority one of this machine's, in this test's view of the file system.
fn trust(authority: &Authority) {
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    shell(&format!("mount --bind {} {bundle}", authority.file("ca.pem").display()));
}

/// A PING is answered.
async fn assert_alive(socket: &mut WebSocketStream<TlsStream<TcpStream>>) {
    let mut message = Vec::new();
    Capsule::Ping { opaque: 77 }.encode(&mut message);
    socket.send(Message::Binary(message.into())).await.expect("sending");
    assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))), "the session has ended");
}

/// Takes one HTTP request and gives back its path.
fn told(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut buffer = [0; 4096];
    let len = stream.read(&mut buffer).expect("a request");
    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n\r\n");
    String::from_utf8_lossy(&buffer[..len]).split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Opens a WebSocket at `URL` and tells what comes of it.
const SCRIPT: &str = r#"
const socket = new WebSocket(URL, ["webtun.v1"]);
socket.binaryType = "arraybuffer";
socket.onopen = () => socket.send(new Uint8Array(HELLO));
socket.onmessage = ({ data }) => tell(`message-${data.byteLength > 60}`);
socket.onerror = () => tell("error");
"#;

fn script(url: &str) -> String {
    SCRIPT.replace("URL", url).replace("HELLO", &format!("{:?}", hello(b"", None)))
}

isolated! {
    fn sessions_open_by_either_version_of_tls() {
        let (scratch, authority) = prepare("versions");
        let gateway = authority.start(&scratch, "first", &[]);
        block_on(async {
            for version in [&TLS12, &TLS13] {
                let stream = authority.connect(gateway.address, &[version]).await;
                let connection = stream.get_ref().1;
                assert_eq!(connection.protocol_version(), Some(version.version));
                assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
            }
            let (mut socket, _) = authority.open(gateway.address, None).await;
            assert_alive(&mut socket).await;
        });
        // Who speaks no TLS gets nothing.
        assert!(!crate::support::get(gateway.address, "/healthz").contains("200"));
        let health = format!("curl -sS --max-time 20 --cacert {} https://{}/healthz", authority.file("ca.pem").display(), gateway.address);
        assert_eq!(shell(&health), "ok\n");
        assert!(figure("webtun_handshakes_total{result=\"tls\"}") >= 1);
        gateway.stop();
    }

    fn the_native_client_connects_and_names_an_expired_certificate() {
        let (scratch, authority) = prepare("native");
        authority.sign("old", 2010);
        trust(&authority);
        for (pair, good) in [("first", true), ("old", false)] {
            let gateway = authority.start(&scratch, pair, &[]);
            let opened = block_on(aio::connect(&format!("wss://localhost:{}/", gateway.address.port()), ConnectOptions::default()));
            match opened {
                Ok(_) => assert!(good),
                Err(error) => assert!(!good && error.to_string().contains("expired"), "{error}"),
            }
            gateway.stop();
        }
    }

    fn node_connects() {
        let (scratch, authority) = prepare("node");
        let gateway = authority.start(&scratch, "first", &[]);
        let url = format!("\"wss://localhost:{}/\"", gateway.address.port());
        let text = format!("const tell = (text) => {{ console.log(text); process.exit(); }};{}", script(&url));
        let output = Command::new("node")
            .args(["--experimental-websocket", "--no-warnings", "-e", &text])
            .env("NODE_EXTRA_CA_CERTS", authority.file("ca.pem"))
            .output()
            .expect("node runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "message-true\n", "{}", String::from_utf8_lossy(&output.stderr));
        gateway.stop();
    }

    fn a_page_connects_from_its_own_host() {
        let (scratch, authority) = prepare("page");
        let reports = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let report = format!("http://{}/", reports.local_addr().expect("an address"));
        let page = format!(
            "<script>const tell = (text) => fetch({report:?} + text);{}</script>",
            script("`wss://${location.host}/`")
        );
        let www = scratch.0.join("www");
        std::fs::create_dir(&www).expect("a folder");
        std::fs::write(www.join("index.html"), page).expect("a file");
        let gateway = authority.start(&scratch, "first", &["--static-dir", &www.display().to_string()]);
        // What the browser takes for good is the hash of the certificate's public key (RFC 7469 section 2.4).
        let pin = shell(&format!(
            "openssl x509 -in {} -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64",
            authority.file("first.crt").display()
        ));
        let mut browser = Command::new(std::env::var_os("CHROMIUM").unwrap_or("chromium".into()))
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .arg(format!("--user-data-dir={}", scratch.0.join("profile").display()))
            .arg(format!("--ignore-certificate-errors-spki-list={}", pin.trim()))
            .arg(format!("https://{}/", gateway.address))
            .env("HOME", &scratch.0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium runs");
        assert_eq!(told(&reports), "/message-true");
        let _ = browser.kill();
        let _ = browser.wait();
        gateway.stop();
    }

    fn files_that_change_are_read_again_and_sessions_go_on() {
        let (scratch, authority) = prepare("reload");
        authority.sign("second", 2021);
        authority.sign("third", 2022);
        // As Kubernetes has it: links to a link to a folder, which is replaced by rename.
        for name in ["first", "second", "third"] {
            let folder = authority.file(&format!("folder-{name}"));
            std::fs::create_dir(&folder).expect("a folder");
            for (file, kind) in [("tls.crt", "crt"), ("tls.key", "key")] {
                std::fs::copy(authority.file(&format!("{name}.{kind}")), folder.join(file)).expect("a file");
            }
        }
        let lead = |to: &str| shell(&format!("cd {} && ln -sfn folder-{to} ..new && mv -T ..new ..data", authority.folder.display()));
        lead("first");
        shell(&format!("cd {} && ln -s ..data/tls.crt live.crt && ln -s ..data/tls.key live.key", authority.folder.display()));
        let gateway = authority.start(&scratch, "live", &[]);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (mut socket, _) = runtime.block_on(authority.open(gateway.address, None));
        lead("second");
        eventually("the second", || (authority.shown(gateway.address) == authority.certificate("second")).then_some(()));
        runtime.block_on(assert_alive(&mut socket));
        // A pair that does not fit changes nothing.
        shell(&format!("cd {} && rm ..data && mkdir ..data && cp third.crt ..data/tls.crt && cp second.key ..data/tls.key", authority.folder.display()));
        gateway.signal("HUP");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(authority.shown(gateway.address), authority.certificate("second"));
        // And once it fits it counts, at once when asked for.
        std::fs::copy(authority.file("third.key"), authority.file("..data/tls.key")).expect("a file");
        gateway.signal("HUP");
        eventually("the third", || (authority.shown(gateway.address) == authority.certificate("third")).then_some(()));
        let log = gateway.stop();
        assert!(log.contains("is not that of the first certificate") && log.contains("stays in use"), "{log}");
    }

    fn what_is_wrong_with_the_files_is_told_at_the_start() {
        let (scratch, authority) = prepare("wrong");
        authority.sign("second", 2021);
        std::fs::write(authority.file("empty"), "").expect("a file");
        std::fs::write(authority.file("broken"), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").expect("a file");
        for (certificate, key, words) in [
            ("nowhere", "first.key", "tls.certificate: "),
            ("first.crt", "nowhere", "tls.key: "),
            ("empty", "first.key", "fullchain.pem"),
            ("broken", "first.key", "not well-formed PEM"),
            ("first.crt", "first.crt", "has no private key"),
            ("first.crt", "second.key", "is not that of the first certificate"),
        ] {
            let flags = authority.flags(certificate, key);
            let error = failure(command(&scratch.0, &flags.iter().map(String::as_str).collect::<Vec<_>>()));
            assert!(error.contains(words) && error.contains(&scratch.0.display().to_string()), "{certificate} {key}: {error}");
        }
        let error = failure(command(&scratch.0, &["--tls-key", "first.key"]));
        assert!(error.contains("`tls`") && error.contains("both"), "{error}");
    }

    fn an_end_without_close_notify_is_a_cut_and_the_session_comes_back() {
        let (scratch, authority) = prepare("cut");
        let gateway = authority.start(&scratch, "first", &[]);
        block_on(async {
            let (socket, session) = authority.open(gateway.address, None).await;
            // The TCP connection below ends, and TLS says nothing.
            let (stream, _) = socket.into_inner().into_inner();
            drop(stream);
            eventually("the cut", || (figure("webtun_sessions{state=\"detached\"}") == 1).then_some(()));
            assert_eq!(figure("webtun_protocol_errors_total"), 0);
            let resume = Resume { session_id: session.session_id, secret: session.secret, next: 0 };
            let (_, again) = authority.open(gateway.address, Some(resume)).await;
            assert!(again.resumed);
        });
        gateway.stop();
    }

    fn a_handshake_that_dribbles_is_cut_in_time_and_disturbs_nobody() {
        let (scratch, authority) = prepare("slow");
        let gateway = authority.start(&scratch, "first", &["--set", "limits.handshake_timeout_s=1"]);
        block_on(async {
            let (mut socket, _) = authority.open(gateway.address, None).await;
            let dribbling = async {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
                // The header of a record with a ClientHello, and then its octets, one at a time.
                stream.write_all(&[22, 3, 1, 1, 0, 1, 0, 0, 252]).await.expect("sending");
                loop {
                    let _ = stream.write_all(&[3]).await;
                    let read = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
                    if matches!(read, Ok(Err(_))) {
                        return;
                    }
                }
            };
            dribbling.await;
            assert_alive(&mut socket).await;
        });
        assert_eq!(figure("webtun_handshakes_total{result=\"timeout\"}"), 1);
        gateway.stop();
    }
    fn what_waits_takes_no_more_memory_than_is_documented() {
        let (scratch, authority) = prepare("memory");
        let settings = ["--set", "limits.handshakes_per_address=256", "--set", "limits.handshake_timeout_s=600"];
        let gateway = authority.start(&scratch, "first", &settings);
        let before = figure("process_resident_memory_bytes");
        block_on(async {
            use tokio::io::AsyncWriteExt;
            // The beginning of a frame of 1 MiB, and as much of it as is read before there is a session.
            let mut part = vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4];
            part.resize(64 * 1024, 0);
            let mut waiting = Vec::new();
            for _ in 0..256 {
                let mut socket = authority.websocket(gateway.address).await;
                socket.get_mut().write_all(&part).await.expect("sending");
                socket.get_mut().flush().await.expect("sending");
                waiting.push(socket);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let grown = figure("process_resident_memory_bytes").saturating_sub(before);
            println!("256 connections without a session take {} KiB each", grown / 256 / 1024);
            assert!(grown < 256 * 288 * 1024, "{grown} octets");
            assert!(grown > 256 * 64 * 1024, "{grown} octets: it has not been read");
            assert_eq!(figure("webtun_handshakes_total{result=\"displaced\"}"), 0);
        });
        gateway.stop();
    }
}
