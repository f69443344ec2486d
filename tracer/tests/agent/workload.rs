//! Closes whose number is known.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{self, Read as _};
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
pub struct Server {
    listener: TcpListener,
    /// Ports of the clients whose server is in TIME_WAIT.
    waiting: RefCell<HashSet<u16>>,
    recycled: Cell<usize>,
}

impl Server {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind("127.0.0.1:0")?,
            waiting: RefCell::default(),
            recycled: Cell::new(0),
        })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Server's ends that are in TIME_WAIT.
    pub fn in_time_wait(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// How many TIME_WAITs of the server a new connection has ended. The kernel gives a client a
    /// port that is free for clients, so that happens by chance, too.
    pub fn recycled(&self) -> usize {
        self.recycled.get()
    }

    /// Both endpoints of a new connection: the client's, and the server's.
    pub fn connect(&self) -> io::Result<(TcpStream, TcpStream)> {
        let client = TcpStream::connect(self.address()?)?;
        self.accept(client)
    }

    fn accept(&self, client: TcpStream) -> io::Result<(TcpStream, TcpStream)> {
        if self
            .waiting
            .borrow_mut()
            .remove(&client.local_addr()?.port())
        {
            self.recycled.set(self.recycled.get() + 1);
        }
        Ok((client, self.listener.accept()?.0))
    }

    /// The server closes first.
    fn close_server(&self, client: TcpStream, server: TcpStream) -> io::Result<()> {
        self.waiting
            .borrow_mut()
            .insert(client.local_addr()?.port());
        close(server, client)
    }

    /// Closes so many, each after the one before.
    pub fn play(&self, plan: Plan) -> io::Result<()> {
        for _ in 0..plan.by_client {
            let (client, server) = self.connect()?;
            close(client, server)?;
        }
        for _ in 0..plan.by_server {
            let (client, server) = self.connect()?;
            self.close_server(client, server)?;
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
    /// The server closes first, and the same port connects again: that ends the server's TIME_WAIT,
    /// so often. The last one stays.
    pub fn recycle(&self, times: usize) -> io::Result<()> {
        let mut from = SocketAddr::from(([127, 0, 0, 1], 0));
        for _ in 0..=times {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            client.set_reuse_address(true)?;
            client.bind(&from.into())?;
            client.connect(&self.address()?.into())?;
            let client = TcpStream::from(client);
            from = client.local_addr()?;
            let (client, server) = self.accept(client)?;
            self.close_server(client, server)?;
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
