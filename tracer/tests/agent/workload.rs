//! Closes whose number is known.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, SockRef, Socket, Type};
use std::time::Duration;

/// How many closes of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// The client closes first, then the server.
    pub by_client: usize,
    /// The server closes first.
    pub by_server: usize,
    /// The client resets.
    pub reset: usize,
}

impl Plan {
    pub fn total(self) -> usize {
        self.by_client + self.by_server + self.reset
    }
}

/// A server that the workload connects to.
pub struct Server(TcpListener);

impl Server {
    pub fn new() -> io::Result<Self> {
        TcpListener::bind("127.0.0.1:0").map(Self)
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Both ends of a new connection: the client's, and the server's.
    pub fn connect(&self) -> io::Result<(TcpStream, TcpStream)> {
        let client = TcpStream::connect(self.address()?)?;
        Ok((client, self.0.accept()?.0))
    }

    /// Closes so many, each after the one before.
    pub fn play(&self, plan: Plan) -> io::Result<()> {
        for _ in 0..plan.by_client {
            let (client, server) = self.connect()?;
            close(client, server)?;
        }
        for _ in 0..plan.by_server {
            let (client, server) = self.connect()?;
            close(server, client)?;
        }
        for _ in 0..plan.reset {
            let (client, mut server) = self.connect()?;
            SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
            drop(client);
            // The RST has come when reading fails.
            let error = server.read(&mut [0]).expect_err("it was reset");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        Ok(())
    }
}

impl Server {
    /// The server closes first, and the same port connects again: that ends the server's TIME_WAIT, so often. The last one
    /// stays.
    pub fn recycle(&self, times: usize) -> io::Result<()> {
        let mut from = SocketAddr::from(([127, 0, 0, 1], 0));
        for _ in 0..=times {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            client.set_reuse_address(true)?;
            client.bind(&from.into())?;
            client.connect(&self.address()?.into())?;
            let client = TcpStream::from(client);
            from = client.local_addr()?;
            close(self.0.accept()?.0, client)?;
        }
        Ok(())
    }
}

/// The second waits for the first's FIN.
fn close(first: TcpStream, mut second: TcpStream) -> io::Result<()> {
    drop(first);
    second.read_exact(&mut [0]).expect_err("it ends");
    Ok(())
}
