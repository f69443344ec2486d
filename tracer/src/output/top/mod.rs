//! The screens of `tcpclose top`. All of it is pure: findings and scans are counted, counts become
//! a view, keys change the state of the screen, and a view with that state becomes characters.

mod block;
mod causes;
mod cells;
mod columns;
mod draw;
mod list;
mod rate;
mod screen_state;
mod service;
mod story;
mod tally;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use block::block_text;
pub(crate) use draw::{Theme, draw};
pub(crate) use list::ListKind;
pub(crate) use screen_state::{Effect, Key, ScreenState};
pub(crate) use service::Service;
pub(crate) use tally::{OriginKey, ServiceNames, Tally};
pub(crate) use view::{HostScan, ReplayPosition, Sources, View};
