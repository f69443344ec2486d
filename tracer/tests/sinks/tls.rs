//! Outputs of type `otlp` with TLS, over both protocols.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tcpclose::output::sink::SinkConfig;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::collector::{BOTH, Collector, Protocol};
use crate::findings::{assert_adds_up, close, long, start, try_start, wait_until};
use tcpclose_kit::scratch::Scratch;

/// An authority of our own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Stands before a receiver, and has a certificate for `name`. Runs as long as the test's
    /// process.
    pub fn guard(&self, protocol: Protocol, receiver: SocketAddr, name: &str) -> SocketAddr {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("they fit");
        // gRPC is refused by real receivers where it is not agreed on like this.
        config.alpn_protocols = vec![match protocol {
            Protocol::Http => b"http/1.1".to_vec(),
            Protocol::Grpc => b"h2".to_vec(),
        }];
        let (acceptor, behind) = (TlsAcceptor::from(Arc::new(config)), receiver);
        let (tell, reported) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut runtime = runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("an address"))
                    .expect("the test waits");
                loop {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        // A client that trusts nobody goes away.
                        let Ok(mut outside) = acceptor.accept(stream).await else {
                            return;
                        };
                        let inside = TcpStream::connect(behind).await;
                        let mut inside = inside.expect("the receiver listens");
                        let _ = copy_bidirectional(&mut outside, &mut inside).await;
                    });
                }
            });
        });
        reported.recv().expect("it listens")
    }
}

fn config(protocol: Protocol, endpoint: &str, ca_file: Option<&str>) -> SinkConfig {
    let ca_file = ca_file.map(|file| format!("ca_file = '{file}'\n"));
    toml::from_str(&format!(
        "type = 'otlp'\nprotocol = '{}'\nendpoint = '{endpoint}'\n{}",
        protocol.name(),
        ca_file.unwrap_or_default()
    ))
    .expect("right")
}

#[test]
fn records_get_through_to_whom_the_authority_has_signed() {
    let (scratch, authority) = (Scratch::new(), Authority::new());
    let file = scratch.path("ca.pem");
    fs::write(&file, authority.pem()).expect("a file");
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        let address = authority.guard(protocol, collector.address, "127.0.0.1");
        let endpoint = format!("https://{address}");
        let (mut sink, messages) = start(&config(protocol, &endpoint, file.to_str()));
        for id in 0..100 {
            sink.offer(&close(id));
        }
        let counts = sink.finish(long());
        assert_eq!(
            (counts.offered, counts.written),
            (100, 100),
            "{:?}",
            messages.all()
        );
        assert_eq!(collector.got().log_records().len(), 100);
        assert!(messages.all().is_empty(), "{:?}", messages.all());
    }
}

#[test]
fn an_untrusted_certificate_is_reported_and_nothing_is_sent() {
    let (scratch, right, other) = (Scratch::new(), Authority::new(), Authority::new());
    let file = scratch.path("ca.pem");
    fs::write(&file, right.pem()).expect("a file");
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        for (address, file, why) in [
            (
                other.guard(protocol, collector.address, "127.0.0.1"),
                file.to_str(),
                "its certificate is not signed by a trusted authority",
            ),
            // The host's own authorities did not sign it.
            (
                right.guard(protocol, collector.address, "127.0.0.1"),
                None,
                "its certificate is not signed by a trusted authority",
            ),
            (
                right.guard(protocol, collector.address, "collector.example"),
                file.to_str(),
                "its certificate cannot be trusted: certificate not valid for name \"127.0.0.1\"",
            ),
            (
                collector.address,
                file.to_str(),
                "its answer is not TLS: the right endpoint may begin with http://",
            ),
        ] {
            let endpoint = format!("https://{address}");
            let (mut sink, messages) = start(&config(protocol, &endpoint, file));
            sink.offer(&close(1));
            messages.wait_for("is down: ");
            assert!(
                messages.all()[0].contains(why),
                "{protocol:?}: {:?}",
                messages.all()
            );
            let counts = sink.finish(std::time::Instant::now());
            assert_adds_up(counts);
            assert_eq!((counts.written, counts.queued), (0, 1));
        }
        assert!(collector.got().log_records().is_empty());
    }
}

/// Authorities are exchanged from time to time: SIGHUP is enough.
#[test]
fn certificates_are_read_anew_with_the_configuration() {
    let (scratch, old, new) = (Scratch::new(), Authority::new(), Authority::new());
    let file = scratch.path("ca.pem");
    fs::write(&file, old.pem()).expect("a file");
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        let address = new.guard(protocol, collector.address, "127.0.0.1");
        fs::write(&file, old.pem()).expect("a file");
        let endpoint = format!("https://{address}");
        let (mut sink, messages) = start(&config(protocol, &endpoint, file.to_str()));
        sink.offer(&close(1));
        messages.wait_for("not signed by a trusted authority");
        fs::write(&file, "").expect("a file");
        sink.reopen();
        messages.wait_for("could not be reopened, and goes on as before: ca_file ");
        fs::write(&file, new.pem()).expect("a file");
        sink.reopen();
        messages.wait_for("is up again");
        wait_until("it is taken", || sink.counts().written == 1);
    }
}

#[test]
fn a_file_without_certificates_is_refused_at_the_start() {
    let scratch = Scratch::new();
    let file = scratch.path("ca.pem");
    for (text, why) in [
        (None, "No such file"),
        (Some("nothing\n"), "has no certificate in PEM"),
    ] {
        if let Some(text) = text {
            fs::write(&file, text).expect("a file");
        }
        let config = config(Protocol::Http, "https://127.0.0.1:1", file.to_str());
        let error = format!("{:#}", try_start(&config).0.expect_err("no authority"));
        let begin = format!(
            "output otlp:https://127.0.0.1:1 cannot be used: ca_file {}",
            file.display()
        );
        assert!(error.starts_with(&begin) && error.contains(why), "{error}");
    }
}
