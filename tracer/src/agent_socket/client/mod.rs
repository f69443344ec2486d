//! The side that asks: one connection for the questions of one scan. However the other side
//! behaves, all of them take a bounded time.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use super::error::{AgentError, AgentErrorReason};
use super::frame::{FrameError, HEADER_LEN};
use super::protocol::{AgentStatus, Answer, FlightStatus, MAX_ITEMS, Question};
use crate::safe_path::ResolvedPath;
use tcpclose_core::routes::RouteHistory;
use tcpclose_core::summary::Route;
use tcpclose_core::types::{EndpointId, NetNs, Tuple};
use tcpclose_core::{KnownMinisocket, KnownSocket};

/// The time for connecting and all questions.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A connection to a running agent.
#[derive(Debug)]
pub(crate) struct AgentClient<'a> {
    path: &'a Path,
    stream: UnixStream,
    deadline: Instant,
}

/// How long the agent's flight recorder may take to write what it has, and how often it is asked.
const WRITING_TIMEOUT: Duration = Duration::from_secs(1);
const WRITING_POLL_INTERVAL: Duration = Duration::from_millis(20);

type Reason = AgentErrorReason;

impl<'a> AgentClient<'a> {
    /// Connects to the agent whose socket this is.
    ///
    /// # Errors
    /// There is none, or it may not be asked, or it is not trusted.
    pub fn connect(path: &'a Path) -> Result<Self, AgentError> {
        Self::connect_for(path, TIMEOUT)
    }

    /// As [`Self::connect`], with so much time for everything.
    fn connect_for(path: &'a Path, time: Duration) -> Result<Self, AgentError> {
        let failed = |reason| AgentError {
            path: path.to_owned(),
            reason,
        };
        let deadline = Instant::now() + time;
        let (stream, place) = ResolvedPath::find(path)
            .and_then(|place| Ok((place.connect(time)?, place)))
            .map_err(|error| failed(connect_reason(error)))?;
        let server = socket_peercred(&stream).map_err(|error| failed(Reason::Failed(error.into())));
        let uid = server?.uid.as_raw();
        let is_trusted = uid == 0
            || uid == geteuid().as_raw()
            || place
                .is_given_to(uid)
                .map_err(|error| failed(Reason::Failed(error)))?;
        if !is_trusted {
            return Err(failed(Reason::Stranger(uid)));
        }
        Ok(Self {
            path,
            stream,
            deadline,
        })
    }

    /// Asks who answers.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&mut self) -> Result<AgentStatus, AgentError> {
        match self.ask(&Question::Status)? {
            Answer::Status(status) => Ok(status),
            _ => Err(self.error(Reason::Invalid)),
        }
    }

    /// Asks where the flight recorder's segments are, once everything is on disk, or after a while.
    /// Returns `None` if the agent has no flight recorder.
    ///
    /// # Errors
    /// It does not answer.
    pub fn flight_recorder(&mut self) -> Result<Option<FlightStatus>, AgentError> {
        let deadline = Instant::now() + WRITING_TIMEOUT;
        // What the first question has passed on to the disk, a later one confirms.
        let mut is_first = true;
        loop {
            match self.ask(&Question::FlightRecorder)? {
                Answer::FlightRecorder(Some(status))
                    if (is_first || !status.is_written) && Instant::now() < deadline =>
                {
                    is_first = false;
                    thread::sleep(WRITING_POLL_INTERVAL);
                }
                Answer::FlightRecorder(status) => return Ok(status),
                _ => return Err(self.error(Reason::Invalid)),
            }
        }
    }

    /// Asks what is known of live sockets, by their cookies.
    ///
    /// # Errors
    /// It does not answer.
    pub fn sockets(
        &mut self,
        ids: &[EndpointId],
    ) -> Result<HashMap<EndpointId, KnownSocket>, AgentError> {
        let mut known = HashMap::new();
        for ids in ids.chunks(MAX_ITEMS) {
            match self.ask(&Question::Sockets(ids.to_vec()))? {
                Answer::Sockets(sockets) if sockets.len() == ids.len() => {
                    let sockets = ids.iter().copied().zip(sockets);
                    known.extend(sockets.filter_map(|(id, socket)| Some((id, socket?))));
                }
                _ => return Err(self.error(Reason::Invalid)),
            }
        }
        Ok(known)
    }

    /// Asks what is known of minisockets. Returns it in their order.
    ///
    /// # Errors
    /// It does not answer.
    pub fn minisockets(
        &mut self,
        minisockets: &[(Option<NetNs>, Tuple)],
    ) -> Result<Vec<Option<KnownMinisocket>>, AgentError> {
        let mut known = Vec::with_capacity(minisockets.len());
        for asked in minisockets.chunks(MAX_ITEMS) {
            let wire = asked
                .iter()
                .map(|(netns, tuple)| (netns.map_or(0, NetNs::get), *tuple));
            match self.ask(&Question::Minisockets(wire.collect()))? {
                Answer::Minisockets(answered) if answered.len() == asked.len() => {
                    known.extend(answered);
                }
                _ => return Err(self.error(Reason::Invalid)),
            }
        }
        Ok(known)
    }

    /// Asks what recent closes have shown of routes.
    ///
    /// # Errors
    /// It does not answer.
    pub fn routes(&mut self, routes: &[Route]) -> Result<Vec<RouteHistory>, AgentError> {
        let mut histories = Vec::with_capacity(routes.len());
        for routes in routes.chunks(MAX_ITEMS) {
            match self.ask(&Question::Routes(routes.to_vec()))? {
                Answer::Routes(answered) if answered.len() == routes.len() => {
                    histories.extend(answered);
                }
                _ => return Err(self.error(Reason::Invalid)),
            }
        }
        Ok(histories)
    }

    fn ask(&mut self, question: &Question) -> Result<Answer, AgentError> {
        let answer = self.exchange(&question.to_frame());
        answer.map_err(|reason| self.error(reason))
    }

    fn error(&self, reason: Reason) -> AgentError {
        AgentError {
            path: self.path.to_owned(),
            reason,
        }
    }

    fn exchange(&mut self, question: &[u8]) -> Result<Answer, Reason> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(question)?;
        let mut header = [0; HEADER_LEN];
        self.read(&mut header)?;
        let mut content = vec![0; Answer::content_len(header)?];
        self.read(&mut content)?;
        Ok(Answer::from_content(&content)?)
    }

    fn read(&mut self, mut into: &mut [u8]) -> Result<(), Reason> {
        while !into.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(into) {
                Ok(0) => return Err(Reason::Cut),
                Ok(read) => into = &mut into[read..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Returns the time that is left.
    fn left(&self) -> Result<Duration, Reason> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(Reason::Timeout),
            false => Ok(left),
        }
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Cut,
            _ => Self::Failed(error),
        }
    }
}

impl From<FrameError> for Reason {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Version(theirs) => Self::Version(theirs),
            FrameError::Magic | FrameError::TooLong(_) | FrameError::Content => Self::Invalid,
        }
    }
}

/// Returns why connecting has failed.
fn connect_reason(error: io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::ConnectionRefused => Reason::NoAgent,
        // A stranger's link or file has a sentence of its own.
        io::ErrorKind::PermissionDenied if error.get_ref().is_none() => Reason::NotPermitted,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Reason::Timeout,
        _ => Reason::Failed(error),
    }
}
