//! `tcpclose report`: what a recording has, as one page for a browser.

mod facts;
mod histogram;
mod page;
mod plot;
mod time_series;

pub(crate) use facts::Facts;
pub(crate) use page::{Recorded, Source, page};
