//! A receiver of records with a name, and the name server that knows it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tcpclose_kit::wait::eventually;

use crate::agent;
use crate::root::Root;

/// The receiver's name.
pub const NAME: &str = "receiver.test";

/// A receiver of OTLP over HTTP that reads the first line of each request and refuses it.
pub struct Receiver {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

impl Receiver {
    pub fn plain() -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
            tls: None,
        })
    }

    /// With a certificate that the file /ca.pem of the root vouches for.
    pub fn with_tls(root: &Root) -> io::Result<Self> {
        let own = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        root.write("/ca.pem", &own.cert.pem())?;
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("they fit");
        Ok(Self {
            tls: Some(Arc::new(config)),
            ..Self::plain()?
        })
    }

    /// Runs an agent in a root that knows this receiver by its name, and waits for a request.
    pub fn gets_records_of(self, root: &Root, program: &str) {
        let port = self.listener.local_addr().expect("it is bound").port();
        let (scheme, ca_file) = match self.tls {
            Some(_) => ("https", "ca_file = \"/ca.pem\"\n"),
            None => ("http", ""),
        };
        let config = format!(
            "interval = \"1s\"\n[[output]]\ntype = \"stdout\"\nkinds = [\"summary\"]\n\
             [[output]]\ntype = \"otlp\"\nendpoint = \"{scheme}://{NAME}:{port}\"\n{ca_file}"
        );
        root.write("/agent.toml", &config).expect("our own root");
        let has_come = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&has_come);
        thread::spawn(move || {
            loop {
                if self
                    .take_request()
                    .is_ok_and(|line| line.starts_with("POST /v1/"))
                {
                    tell.store(true, Ordering::Relaxed);
                }
            }
        });
        let mut command = root.command(program);
        let agent = agent::start(command.args(["agent", "--config", "/agent.toml"]));
        let came = eventually(|| has_come.load(Ordering::Relaxed).then_some(()));
        assert!(came.is_some(), "{}", agent.stderr.text());
        agent::stop(agent);
    }

    fn take_request(&self) -> io::Result<String> {
        let (stream, _) = self.listener.accept()?;
        match &self.tls {
            None => answer(stream),
            Some(config) => {
                let connection =
                    ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                answer(StreamOwned::new(connection, stream))
            }
        }
    }
}

fn answer(mut stream: impl Read + Write) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    stream
        .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// A name server on loopback that knows one name.
pub struct NameServer(Arc<AtomicBool>);

impl NameServer {
    pub fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53))?;
        let asked = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&asked);
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if let Some(reply) = reply(&query[..length]) {
                    tell.store(true, Ordering::Relaxed);
                    drop(socket.send_to(&reply, from));
                }
            }
        });
        Ok(Self(asked))
    }

    pub fn was_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The reply to a query for our name: its IPv4 address, and that it has no other (RFC 1035, 4.1).
fn reply(query: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const A: &[u8] = &[0, 1];
    let mut name: Vec<u8> = Vec::new();
    for label in NAME.split('.') {
        name.push(u8::try_from(label.len()).ok()?);
        name.extend(label.as_bytes());
    }
    name.push(0);
    let question = query.get(HEADER..HEADER + name.len() + 4)?;
    if !question.starts_with(&name) {
        return None;
    }
    let kind = &question[name.len()..name.len() + 2];
    let answers = u8::from(kind == A);
    let mut reply = query.get(..2)?.to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(question);
    if kind == A {
        // The name is that of the question; class IN, a minute, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(Ipv4Addr::LOCALHOST.octets());
    }
    Some(reply)
}
