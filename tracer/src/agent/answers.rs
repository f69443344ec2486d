//! The loop's answers to what commands ask. Each looks up no more than a question may ask for
//! (`MAX_ITEMS` in `agent_socket/protocol`).

use super::flight;
use crate::agent_socket::{AgentStatus, Answer, Question};
use crate::session::{Live, Session, now};
use tcpclose_core::routes::RecentRoutes;
use tcpclose_core::types::{Nanos, NetNs};

/// Answers a question of a command.
pub(super) fn answer(
    question: &Question,
    session: &mut Session<Live>,
    recent: &RecentRoutes,
    started: Nanos,
) -> Answer {
    match question {
        Question::Status => Answer::Status(AgentStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started,
            at: now(),
        }),
        Question::Sockets(cookies) => {
            let known = cookies.iter().map(|cookie| session.known_socket(*cookie));
            Answer::Sockets(known.collect())
        }
        Question::Minisockets(minisockets) => {
            let known = minisockets
                .iter()
                .map(|(netns, tuple)| session.known_minisocket(NetNs::new(*netns), tuple));
            Answer::Minisockets(known.collect())
        }
        Question::FlightRecorder => Answer::FlightRecorder(flight::status(session)),
        Question::Routes(routes) => {
            let at = now();
            let histories = routes.iter().map(|route| recent.history(route, at));
            Answer::Routes(histories.collect())
        }
    }
}
