//! The moves of one connection, drawn at random after its kind.

use std::net::Shutdown;
use std::time::Duration;

use tcpclose_parity::segment::Endpoint;

use crate::moves::{Act, Kind, Move};
use crate::random::Random;

/// What the two processes do after the client has connected.
pub fn draw(kind: Kind, random: &mut Random) -> Vec<Move> {
    Script::draw(kind, random).moves
}

/// The moves of one connection, as they are drawn.
struct Script<'a> {
    random: &'a mut Random,
    moves: Vec<Move>,
}

impl<'a> Script<'a> {
    fn draw(kind: Kind, random: &'a mut Random) -> Self {
        let mut script = Self {
            random,
            moves: Vec::new(),
        };
        let one = script.random.pick(&[Endpoint::Client, Endpoint::Server]);
        let other = one.other();
        if !matches!(kind, Kind::AcceptQueue | Kind::Refused) {
            script.at_once(Endpoint::Server, Act::Accept);
            script.converse(one);
        }
        match kind {
            Kind::OneThenOther => script.close(one).later(other, Act::Drain).close(other),
            Kind::HalfClose => script.half_close(one),
            Kind::UnreadData => script.unread_data(one),
            Kind::LingerZero => script.linger_zero(one),
            Kind::ShutdownOrders => script.shutdown_orders(),
            Kind::AcceptQueue => script.accept_queue(),
            Kind::Simultaneous => {
                let act = script.random.pick(&[Act::BothClose, Act::BothShutdown]);
                script.later(one, act)
            }
            Kind::FinWithData => script.fin_with_data(one),
            Kind::DataAfterClose => {
                let (bytes, more) = (script.bytes(), script.bytes());
                script
                    .close(one)
                    .later(other, Act::Send(bytes))
                    .later(other, Act::Send(more))
            }
            Kind::PortReuse => script.leave_no_trace_at_the_client(),
            Kind::Refused => &mut script,
        };
        script.close(Endpoint::Client);
        script.close(Endpoint::Server);
        script
    }

    fn at_once(&mut self, end: Endpoint, act: Act) -> &mut Self {
        let after = Duration::ZERO;
        self.moves.push(Move { after, end, act });
        self
    }

    fn later(&mut self, end: Endpoint, act: Act) -> &mut Self {
        let after = self.delay();
        self.moves.push(Move { after, end, act });
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
    fn bytes(&mut self) -> usize {
        let most = self.random.pick(&[1, 100, 1_000, 3_000, 20_000, 60_000]);
        1 + self.random.below(most) as usize
    }

    fn close(&mut self, end: Endpoint) -> &mut Self {
        self.later(end, Act::Close)
    }

    /// Questions and answers, read or not.
    fn converse(&mut self, first: Endpoint) -> &mut Self {
        for _ in 0..self.random.below(3) {
            for end in [first, first.other()] {
                let bytes = self.bytes();
                self.later(end, Act::Send(bytes))
                    .later(end.other(), Act::Drain);
            }
        }
        self
    }

    fn half_close(&mut self, one: Endpoint) -> &mut Self {
        let other = one.other();
        if self.random.chance(50) {
            let last = self.bytes();
            self.later(one, Act::Send(last));
        }
        self.later(one, Act::Shutdown(Shutdown::Write));
        for _ in 0..=self.random.below(3) {
            let bytes = self.bytes();
            self.later(other, Act::Drain).later(other, Act::Send(bytes));
            if self.random.chance(80) {
                self.later(one, Act::Drain);
            }
        }
        if self.random.chance(50) {
            self.later(other, Act::Shutdown(Shutdown::Write));
            self.later(one, Act::Drain);
        }
        self.close(other).later(one, Act::Drain).close(one)
    }

    fn unread_data(&mut self, one: Endpoint) -> &mut Self {
        if self.random.chance(25) {
            self.later(one, Act::Shutdown(Shutdown::Write));
        }
        let bytes = self.bytes();
        self.later(one.other(), Act::Send(bytes));
        if self.random.chance(25) {
            self.later(one.other(), Act::Shutdown(Shutdown::Write));
        }
        self.close(one)
    }

    fn linger_zero(&mut self, one: Endpoint) -> &mut Self {
        match self.random.below(4) {
            0 => self.later(one, Act::Shutdown(Shutdown::Write)),
            1 => self.later(one.other(), Act::Shutdown(Shutdown::Write)),
            2 => {
                let bytes = self.bytes();
                self.later(one, Act::Send(bytes))
            }
            _ => self,
        };
        self.later(one, Act::LingerZero).close(one)
    }

    fn shutdown_orders(&mut self) -> &mut Self {
        for _ in 0..1 + self.random.below(4) {
            let end = self.random.pick(&[Endpoint::Client, Endpoint::Server]);
            let how = self
                .random
                .pick(&[Shutdown::Read, Shutdown::Write, Shutdown::Both]);
            self.later(end, Act::Shutdown(how));
            if self.random.chance(30) {
                let bytes = self.bytes();
                self.later(end.other(), Act::Send(bytes));
            }
            if self.random.chance(50) {
                self.later(end, Act::Drain);
            }
        }
        let first = self.random.pick(&[Endpoint::Client, Endpoint::Server]);
        self.close(first)
    }

    fn accept_queue(&mut self) -> &mut Self {
        if self.random.chance(60) {
            let bytes = self.bytes();
            self.later(Endpoint::Client, Act::Send(bytes));
        }
        match self.random.below(4) {
            0 => {
                self.later(Endpoint::Client, Act::LingerZero)
                    .close(Endpoint::Client);
            }
            1 => {
                self.close(Endpoint::Client);
            }
            2 => {
                self.later(Endpoint::Client, Act::Shutdown(Shutdown::Write));
            }
            _ => {}
        }
        if self.random.chance(50) {
            self.later(Endpoint::Server, Act::StopListening)
        } else {
            self.later(Endpoint::Server, Act::Accept)
                .later(Endpoint::Server, Act::Drain)
        }
    }

    /// The FIN rides on data that a full window, Nagle's algorithm or a cork held back.
    fn fin_with_data(&mut self, one: Endpoint) -> &mut Self {
        let bytes = self.bytes();
        if self.random.chance(50) {
            self.later(one, Act::Cork).at_once(one, Act::Send(bytes));
        } else {
            let more = self.bytes();
            self.later(one, Act::Send(bytes))
                .at_once(one, Act::Send(more));
        }
        if self.random.chance(50) {
            self.at_once(one, Act::Shutdown(Shutdown::Write))
        } else {
            self.at_once(one, Act::Close)
        };
        self.later(one.other(), Act::Drain);
        if self.random.chance(30) {
            self.at_once(one.other(), Act::Cork)
                .at_once(one.other(), Act::Send(100));
        }
        self.close(one.other())
    }

    /// The client can use its port again at once: a reset, or TIME_WAIT at the server.
    fn leave_no_trace_at_the_client(&mut self) -> &mut Self {
        match self.random.below(3) {
            0 => self
                .later(Endpoint::Client, Act::LingerZero)
                .close(Endpoint::Client),
            1 => self
                .later(Endpoint::Server, Act::LingerZero)
                .close(Endpoint::Server),
            _ => {
                self.close(Endpoint::Server);
                let after = Duration::from_millis(5 + self.random.below(20));
                let (end, act) = (Endpoint::Client, Act::Drain);
                self.moves.push(Move { after, end, act });
                self.close(Endpoint::Client)
            }
        }
    }
}
