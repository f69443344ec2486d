//! The steps of one connection, drawn at random after its kind.

use std::net::Shutdown;
use std::time::Duration;

use tcpclose_parity::segment::Endpoint;

use crate::random::Random;
use crate::steps::{Action, CloseKind, Step};

/// What the two processes do after the client has connected.
pub fn draw(kind: CloseKind, random: &mut Random) -> Vec<Step> {
    Script::draw(kind, random).closed()
}

/// The steps of one connection, as they are drawn.
pub struct Script<'a> {
    /// The connection's own generator.
    pub random: &'a mut Random,
    /// The steps so far.
    pub steps: Vec<Step>,
}

impl<'a> Script<'a> {
    /// Begins with nothing.
    pub fn new(random: &'a mut Random) -> Self {
        let steps = Vec::new();
        Self { random, steps }
    }

    /// Begins with a connection that the server has accepted, and the endpoints have talked over.
    pub fn of_connected(random: &'a mut Random, one: Endpoint) -> Self {
        let mut script = Self::new(random);
        script.at_once(Endpoint::Server, Action::Accept);
        script.converse(one);
        script
    }

    /// Ends with both endpoints closed.
    pub fn closed(mut self) -> Vec<Step> {
        self.close(Endpoint::Client);
        self.close(Endpoint::Server);
        self.steps
    }

    fn draw(kind: CloseKind, random: &'a mut Random) -> Self {
        let one = random.pick(&[Endpoint::Client, Endpoint::Server]);
        let other = one.other();
        let mut script = match kind {
            CloseKind::AcceptQueue | CloseKind::Refused => Self::new(random),
            _ => Self::of_connected(random, one),
        };
        match kind {
            CloseKind::OneThenOther => script.close(one).later(other, Action::Drain).close(other),
            CloseKind::HalfClose => script.half_close(one),
            CloseKind::UnreadData => script.unread_data(one),
            CloseKind::LingerZero => script.linger_zero(one),
            CloseKind::ShutdownOrders => script.shutdown_orders(),
            CloseKind::AcceptQueue => script.accept_queue(),
            CloseKind::Simultaneous => {
                let action = script
                    .random
                    .pick(&[Action::BothClose, Action::BothShutdown]);
                script.later(one, action)
            }
            CloseKind::FinWithData => script.fin_with_data(one),
            CloseKind::DataAfterClose => {
                let (bytes, more) = (script.bytes(), script.bytes());
                script
                    .close(one)
                    .later(other, Action::Send(bytes))
                    .later(other, Action::Send(more))
            }
            CloseKind::PortReuse => script.abort_without_time_wait(),
            CloseKind::HeldSocket => script.held_socket(one),
            // What goes over the queue has scripts of its own.
            _ => &mut script,
        };
        script
    }

    pub fn at_once(&mut self, endpoint: Endpoint, action: Action) -> &mut Self {
        let after = Duration::ZERO;
        self.steps.push(Step {
            after,
            endpoint,
            action,
        });
        self
    }

    pub fn later(&mut self, endpoint: Endpoint, action: Action) -> &mut Self {
        let after = self.delay();
        self.steps.push(Step {
            after,
            endpoint,
            action,
        });
        self
    }

    /// From none to 300 ms: often none or as short as a way through the kernel, else anything.
    fn delay(&mut self) -> Duration {
        match self.random.below(100) {
            0..30 => Duration::ZERO,
            30..55 => Duration::from_micros(self.random.below(2_000)),
            55..75 => Duration::from_micros(self.random.below(50_000)),
            _ => Duration::from_micros(self.random.below(300_000)),
        }
    }

    /// From a letter to more than fits into one segment or a first window.
    pub fn bytes(&mut self) -> usize {
        let most = self.random.pick(&[1, 100, 1_000, 3_000, 20_000, 60_000]);
        1 + self.random.below(most) as usize
    }

    pub fn close(&mut self, endpoint: Endpoint) -> &mut Self {
        self.later(endpoint, Action::Close)
    }

    /// Questions and answers, read or not.
    fn converse(&mut self, first: Endpoint) -> &mut Self {
        for _ in 0..self.random.below(3) {
            for endpoint in [first, first.other()] {
                let bytes = self.bytes();
                self.later(endpoint, Action::Send(bytes))
                    .later(endpoint.other(), Action::Drain);
            }
        }
        self
    }

    pub fn half_close(&mut self, one: Endpoint) -> &mut Self {
        let other = one.other();
        if self.random.chance(50) {
            let last = self.bytes();
            self.later(one, Action::Send(last));
        }
        self.later(one, Action::Shutdown(Shutdown::Write));
        for _ in 0..=self.random.below(3) {
            let bytes = self.bytes();
            self.later(other, Action::Drain)
                .later(other, Action::Send(bytes));
            if self.random.chance(80) {
                self.later(one, Action::Drain);
            }
        }
        if self.random.chance(50) {
            self.later(other, Action::Shutdown(Shutdown::Write));
            self.later(one, Action::Drain);
        }
        self.close(other).later(one, Action::Drain).close(one)
    }

    fn unread_data(&mut self, one: Endpoint) -> &mut Self {
        if self.random.chance(25) {
            self.later(one, Action::Shutdown(Shutdown::Write));
        }
        let bytes = self.bytes();
        self.later(one.other(), Action::Send(bytes));
        if self.random.chance(25) {
            self.later(one.other(), Action::Shutdown(Shutdown::Write));
        }
        self.close(one)
    }

    pub fn linger_zero(&mut self, one: Endpoint) -> &mut Self {
        match self.random.below(4) {
            0 => self.later(one, Action::Shutdown(Shutdown::Write)),
            1 => self.later(one.other(), Action::Shutdown(Shutdown::Write)),
            2 => {
                let bytes = self.bytes();
                self.later(one, Action::Send(bytes))
            }
            _ => self,
        };
        self.later(one, Action::LingerZero).close(one)
    }

    pub fn shutdown_orders(&mut self) -> &mut Self {
        for _ in 0..1 + self.random.below(4) {
            let endpoint = self.random.pick(&[Endpoint::Client, Endpoint::Server]);
            let how = self
                .random
                .pick(&[Shutdown::Read, Shutdown::Write, Shutdown::Both]);
            self.later(endpoint, Action::Shutdown(how));
            if self.random.chance(30) {
                let bytes = self.bytes();
                self.later(endpoint.other(), Action::Send(bytes));
            }
            if self.random.chance(50) {
                self.later(endpoint, Action::Drain);
            }
        }
        let first = self.random.pick(&[Endpoint::Client, Endpoint::Server]);
        self.close(first)
    }

    fn accept_queue(&mut self) -> &mut Self {
        if self.random.chance(60) {
            let bytes = self.bytes();
            self.later(Endpoint::Client, Action::Send(bytes));
        }
        match self.random.below(4) {
            0 => {
                self.later(Endpoint::Client, Action::LingerZero)
                    .close(Endpoint::Client);
            }
            1 => {
                self.close(Endpoint::Client);
            }
            2 => {
                self.later(Endpoint::Client, Action::Shutdown(Shutdown::Write));
            }
            _ => {}
        }
        if self.random.chance(50) {
            self.later(Endpoint::Server, Action::StopListening)
        } else {
            self.later(Endpoint::Server, Action::Accept)
                .later(Endpoint::Server, Action::Drain)
        }
    }

    /// The FIN rides on data that a full window, Nagle's algorithm or a cork held back.
    fn fin_with_data(&mut self, one: Endpoint) -> &mut Self {
        let bytes = self.bytes();
        if self.random.chance(50) {
            self.later(one, Action::Cork)
                .at_once(one, Action::Send(bytes));
        } else {
            let more = self.bytes();
            self.later(one, Action::Send(bytes))
                .at_once(one, Action::Send(more));
        }
        if self.random.chance(50) {
            self.at_once(one, Action::Shutdown(Shutdown::Write))
        } else {
            self.at_once(one, Action::Close)
        };
        self.later(one.other(), Action::Drain);
        if self.random.chance(30) {
            self.at_once(one.other(), Action::Cork)
                .at_once(one.other(), Action::Send(100));
        }
        self.close(one.other())
    }

    /// The FIN or RST of one endpoint reaches the other about when that closes, too.
    fn held_socket(&mut self, one: Endpoint) -> &mut Self {
        if self.random.chance(70) {
            self.later(one.other(), Action::Fill);
        }
        match self.random.below(4) {
            0 => self.later(one.other(), Action::LingerZero),
            1 => self.later(one, Action::Shutdown(Shutdown::Write)),
            2 => self.later(one.other(), Action::Shutdown(Shutdown::Write)),
            _ => self,
        };
        let head_start = Duration::from_nanos(self.random.below(60_000));
        self.later(one, Action::CloseTogether(head_start))
    }

    /// The client can use its port again at once: a reset, or TIME_WAIT at the server.
    fn abort_without_time_wait(&mut self) -> &mut Self {
        match self.random.below(3) {
            0 => self
                .later(Endpoint::Client, Action::LingerZero)
                .close(Endpoint::Client),
            1 => self
                .later(Endpoint::Server, Action::LingerZero)
                .close(Endpoint::Server),
            _ => {
                self.close(Endpoint::Server);
                let after = Duration::from_millis(5 + self.random.below(20));
                let (endpoint, action) = (Endpoint::Client, Action::Drain);
                self.steps.push(Step {
                    after,
                    endpoint,
                    action,
                });
                self.close(Endpoint::Client)
            }
        }
    }
}
