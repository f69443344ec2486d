//! The courses that connections take, from the first SYN to the last record of both endpoints.

use tcpclose_core::types::Nanos;

use crate::endpoint::Endpoint;

/// How a connection goes and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// A request, an answer, and the client closes; the server does so at once or a moment later.
    Short { at_once: bool },
    /// As `Short`, but the client's FIN gets lost once.
    FinLostOnce,
    /// The client closes a connection that was idle so long.
    ClientGivesUp(Nanos),
    /// The server closes a connection that was idle so long, and the client follows.
    ServerGivesUp(Nanos),
    /// As `ServerGivesUp`, but the client sends a request after the FIN.
    UsedTooLate(Nanos),
    /// Used again after so long, and closed by the client.
    Long(Nanos),
    /// As `Long`, but a firewall has forgotten the connection, and rejects what both endpoints
    /// send.
    CutByFirewall(Nanos),
    /// The client's FINs get lost.
    FinsLost,
    /// The server does not close.
    Leaked,
    /// The server closes late.
    ClosedLate(Nanos),
    /// Nothing listens.
    Refused,
    /// Nothing answers the SYN.
    NoAnswer,
    /// There is no local port.
    NoPort,
    /// The client closes with SO_LINGER and a time of zero.
    Lingered,
    /// The server closes with data that it has not read.
    Unread,
}

/// How long a segment takes from one host to the other.
const WAY: Nanos = Nanos::from_micros(150);
/// When the server of a connection that the firewall has forgotten sends its keepalive probe.
pub const KEEPALIVE: Nanos = Nanos::from_secs(1800);
/// The longest time that a connection on which FINs get lost is idle at the server.
const FINS_LOST_IDLE: Nanos = Nanos::from_secs(150);
/// When the kernel gives up a FIN that nobody acknowledges.
const FIN_TIMEOUT: Nanos = Nanos::from_secs(102);
/// When the kernel gives up a SYN that nobody answers.
const SYN_TIMEOUT: Nanos = Nanos::from_secs(127);
/// How long a minisocket waits, up to two seconds more.
pub const MINISOCKET: Nanos = Nanos::from_secs(60);
/// When a probe has found a socket to be stuck at the latest.
const STUCK: Nanos = Nanos::from_secs(180);

impl Course {
    /// Returns after how long all is over, and found out.
    pub fn lasts(self) -> Nanos {
        let idle = match self {
            Self::ClientGivesUp(idle)
            | Self::ServerGivesUp(idle)
            | Self::UsedTooLate(idle)
            | Self::Long(idle)
            | Self::ClosedLate(idle) => idle,
            Self::CutByFirewall(_) => KEEPALIVE,
            Self::FinsLost => FINS_LOST_IDLE,
            Self::NoAnswer => SYN_TIMEOUT,
            _ => Nanos(0),
        };
        idle + STUCK
    }

    /// Plays both endpoints, from `at` on.
    pub fn play(
        self,
        client: &mut Endpoint,
        server: &mut Endpoint,
        at: Nanos,
        random: &mut fastrand::Rng,
    ) {
        client.connects(at);
        match self {
            Self::NoPort => return client.finds_no_port(at),
            Self::Refused => return client.is_reset(at + WAY + WAY),
            Self::NoAnswer => return client.times_out(at + SYN_TIMEOUT),
            _ => {}
        }
        let open = at + WAY + WAY;
        client.is_connected(open);
        server.is_accepted(open + WAY);
        let mut play = Play {
            client,
            server,
            random,
        };
        let answered = play.exchange(open + WAY);
        play.end(self, answered);
    }
}

/// A connection that is open.
struct Play<'a> {
    client: &'a mut Endpoint,
    server: &'a mut Endpoint,
    random: &'a mut fastrand::Rng,
}

impl Play<'_> {
    fn end(&mut self, course: Course, answered: Nanos) {
        match course {
            Course::Short { at_once } => {
                self.is_idle(Nanos::from_millis(1));
                self.client_closes(answered + WAY, at_once);
            }
            Course::FinLostOnce => {
                self.is_idle(Nanos::from_millis(1));
                self.client.closes(answered);
                let again = answered + Nanos::from_millis(204);
                self.client.sends_fin_again(again);
                self.server_follows(again, true);
            }
            Course::ClientGivesUp(idle) => {
                self.is_idle(idle);
                self.client_closes(answered + idle, true);
            }
            Course::ServerGivesUp(idle) => {
                self.is_idle(idle);
                self.server_closes(answered + idle);
            }
            Course::UsedTooLate(idle) => self.is_used_too_late(answered, idle),
            Course::Long(idle) => {
                let again = self.exchange(answered + idle);
                self.is_idle(Nanos::from_millis(1));
                self.client_closes(again, true);
            }
            Course::CutByFirewall(idle) => {
                self.is_idle(idle);
                self.client.writes(200);
                let answer = answered + idle + WAY;
                self.client.is_silent(0, milliseconds(idle));
                self.client.is_reset(answer);
                self.server
                    .is_silent(milliseconds(KEEPALIVE), milliseconds(KEEPALIVE));
                self.server.is_reset(answered + KEEPALIVE + WAY);
            }
            Course::FinsLost => self.fins_get_lost(answered),
            Course::Leaked => self.server_stays_open(answered),
            Course::ClosedLate(late) => {
                self.server_stays_open(answered);
                self.server.closes(answered + late);
                self.server.is_reset(answered + late + WAY + WAY);
            }
            Course::Lingered => {
                self.is_idle(Nanos::from_millis(1));
                self.client.flags().linger_zero = true;
                self.client.aborts(answered, "TCP_ABORT_ON_CLOSE");
                self.server.is_reset(answered + WAY);
            }
            Course::Unread => {
                self.client.sends(500);
                self.server.receives(500);
                self.is_idle(Nanos::from_millis(1));
                self.server.flags().unread = true;
                self.server.aborts(answered, "TCP_ABORT_ON_CLOSE");
                self.client.is_reset(answered + WAY);
            }
            Course::Refused | Course::NoAnswer | Course::NoPort => {}
        }
    }

    /// A request and its answer; returns when the client has it.
    fn exchange(&mut self, at: Nanos) -> Nanos {
        let (request, answer) = (self.random.u32(80..1_200), self.random.u32(100..40_000));
        self.client.sends(request);
        self.server.receives(request);
        self.server.sends(answer);
        self.client.receives(answer);
        at + Nanos::from_micros(self.random.u64(500..80_000))
    }

    fn is_idle(&mut self, idle: Nanos) {
        let idle = milliseconds(idle);
        self.client.is_silent(idle + 2, idle);
        self.server.is_silent(idle, idle + 2);
    }

    fn client_closes(&mut self, at: Nanos, at_once: bool) {
        self.client.closes(at);
        self.server_follows(at, at_once);
    }

    /// The client closes, and the server does not.
    fn server_stays_open(&mut self, at: Nanos) {
        self.is_idle(Nanos::from_millis(1));
        self.client.closes(at);
        self.server.is_closed_by_peer(at + WAY, true);
        self.client.is_acknowledged(at + WAY + WAY);
        let timer = self.minisocket();
        self.client.minisocket_expires(at + timer);
    }

    /// The server gets the client's FIN of `at`.
    fn server_follows(&mut self, at: Nanos, at_once: bool) {
        let Self {
            client,
            server,
            random,
        } = self;
        follow(client, server, random, at, at_once);
    }

    fn server_closes(&mut self, at: Nanos) {
        let Self {
            client,
            server,
            random,
        } = self;
        server.closes(at);
        follow(server, client, random, at, false);
    }

    fn is_used_too_late(&mut self, answered: Nanos, idle: Nanos) {
        self.is_idle(idle);
        let fin = answered + idle;
        self.server.closes(fin);
        self.client.is_closed_by_peer(fin + WAY, true);
        self.server.is_acknowledged(fin + WAY + WAY);
        let late = Nanos::from_millis(self.random.u64(300..4_000));
        self.client.writes(200);
        self.server.minisocket_refuses_data(fin + late + WAY, 200);
        self.client.is_reset(fin + late + WAY + WAY);
    }

    fn fins_get_lost(&mut self, answered: Nanos) {
        self.is_idle(Nanos::from_millis(1));
        self.client.closes(answered);
        let mut pause = Nanos::from_millis(204);
        let mut at = answered;
        for _ in 0..8 {
            at = at + pause;
            pause = pause + pause;
            self.client.sends_fin_again(at);
        }
        self.client.times_out(answered + FIN_TIMEOUT);
        let idle = Nanos::from_secs(self.random.u64(110..FINS_LOST_IDLE.0 / 1_000_000_000));
        let idle_ms = milliseconds(idle);
        self.server.is_silent(idle_ms, idle_ms + 2);
        self.server.closes(answered + idle);
        self.server.is_reset(answered + idle + WAY + WAY);
    }

    fn minisocket(&mut self) -> Nanos {
        minisocket(self.random)
    }
}

/// The second endpoint gets the first one's FIN of `at`, and closes at once or a moment later.
fn follow(
    first: &mut Endpoint,
    second: &mut Endpoint,
    random: &mut fastrand::Rng,
    at: Nanos,
    at_once: bool,
) {
    let time_wait = minisocket(random);
    let arrived = at + WAY;
    second.is_closed_by_peer(arrived, !at_once);
    let closed = if at_once {
        second.closes(arrived);
        first.takes_ack_and_fin(arrived + WAY, time_wait);
        arrived
    } else {
        first.is_acknowledged(arrived + WAY);
        let closed = arrived + WAY + Nanos::from_micros(random.u64(300..50_000));
        second.closes(closed);
        first.minisocket_takes_fin(closed + WAY, time_wait);
        closed
    };
    second.is_acknowledged(closed + WAY + WAY);
}

fn minisocket(random: &mut fastrand::Rng) -> Nanos {
    MINISOCKET + Nanos::from_millis(random.u64(0..2_000))
}

fn milliseconds(span: Nanos) -> u32 {
    u32::try_from(span.0 / 1_000_000).unwrap_or(u32::MAX)
}
