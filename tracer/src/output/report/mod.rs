//! `tcpclose report`: what a recording has, as one page for a browser.

mod facts;
mod over_time;
mod page;
mod plot;
mod spread;

pub(crate) use facts::Facts;
pub(crate) use page::{Recorded, Source, page};
