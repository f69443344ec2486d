//! What may be asked, and what is answered. Each question asks for so many things at most that the
//! agent's loop is kept for less than a millisecond.

#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::frame::{FrameError, HEADER_LEN, Header};
use tcpclose_core::routes::RouteHistory;
use tcpclose_core::summary::Route;
use tcpclose_core::types::{EndpointId, Nanos, Tuple};
use tcpclose_core::{KnownMinisocket, KnownSocket};

/// The version of questions and answers. A change of any of their fields is a new version: a test
/// compares their bytes.
pub(super) const VERSION: u32 = 2;

/// The most things that one question may ask for.
pub(super) const MAX_ITEMS: usize = 1_024;

/// The most bytes of a question; the longest has 60 KiB.
const MAX_QUESTION_LEN: usize = 128 * 1024;

/// The most bytes of an answer; the longest has half of that.
const MAX_ANSWER_LEN: usize = 1024 * 1024;

/// What a command asks the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// Who answers?
    Status,
    /// What is known of these live sockets, by their cookies?
    Sockets(Vec<EndpointId>),
    /// What is known of these minisockets, by the number of the network namespace (0 where that is
    /// not known), addresses and ports?
    Minisockets(Vec<(u32, Tuple)>),
    /// What have recent closes shown of these routes?
    Routes(Vec<Route>),
    /// What does the flight recorder have?
    FlightRecorder,
}

/// The answer to the question of the same name, with one value for each thing that was asked for,
/// in the same order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Status(AgentStatus),
    Sockets(Vec<Option<KnownSocket>>),
    Minisockets(Vec<Option<KnownMinisocket>>),
    Routes(Vec<RouteHistory>),
    /// `None`: there is no flight recorder.
    FlightRecorder(Option<FlightStatus>),
}

/// Where the flight recorder's segments are, which the command reads by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlightStatus {
    /// Where the segments are, as bytes of a path.
    pub folder: Vec<u8>,
    /// The host's boot.
    pub boot: String,
    /// When the agent began to record.
    pub began: Nanos,
    /// The time of the answer.
    pub at: Nanos,
    /// Whether everything is on disk that was recorded by then.
    pub is_written: bool,
}

/// The agent that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentStatus {
    /// The version of the agent's program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started: Nanos,
    /// The time of the answer.
    pub at: Nanos,
}

impl Question {
    /// Returns how many things it asks for.
    pub fn len(&self) -> usize {
        match self {
            Self::Status | Self::FlightRecorder => 1,
            Self::Sockets(ids) => ids.len(),
            Self::Minisockets(minisockets) => minisockets.len(),
            Self::Routes(routes) => routes.len(),
        }
    }

    /// Returns its frame.
    pub fn to_frame(&self) -> Vec<u8> {
        to_frame(self)
    }

    /// Reads what follows a header.
    ///
    /// # Errors
    /// It is no question, or it asks for too much.
    pub fn from_content(content: &[u8]) -> Result<Self, FrameError> {
        let question: Self = from_content(content)?;
        match question.len() <= MAX_ITEMS {
            true => Ok(question),
            false => Err(FrameError::Content),
        }
    }

    /// Returns how long the content of a question is whose header this is.
    ///
    /// # Errors
    /// As [`Header::content_len`].
    pub fn content_len(header: [u8; HEADER_LEN]) -> Result<usize, FrameError> {
        Header::content_len(header, VERSION, MAX_QUESTION_LEN)
    }
}

impl Answer {
    /// Returns its frame.
    pub fn to_frame(&self) -> Vec<u8> {
        to_frame(self)
    }

    /// Returns the frame that answers a question of another version: this version, and nothing.
    pub fn other_version() -> [u8; HEADER_LEN] {
        let version = VERSION;
        Header { version, len: 0 }.to_bytes()
    }

    /// Reads what follows a header.
    ///
    /// # Errors
    /// It is no answer.
    pub fn from_content(content: &[u8]) -> Result<Self, FrameError> {
        from_content(content)
    }

    /// Returns how long the content of an answer is whose header this is.
    ///
    /// # Errors
    /// As [`Header::content_len`].
    pub fn content_len(header: [u8; HEADER_LEN]) -> Result<usize, FrameError> {
        Header::content_len(header, VERSION, MAX_ANSWER_LEN)
    }
}

fn to_frame(content: &impl Serialize) -> Vec<u8> {
    // Writing to memory fails for no value that these types have.
    let content = postcard::to_stdvec(content).unwrap_or_default();
    let header = Header {
        version: VERSION,
        len: content.len() as u32,
    };
    [&header.to_bytes()[..], &content].concat()
}

fn from_content<T: DeserializeOwned>(content: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(content) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(FrameError::Content),
    }
}
