//! Finds how full the routes of this host are: which ports connect() may choose, and scans that
//! count those that are taken.

mod agent_answers;
mod collect;
mod ephemeral_ports;
mod scanner;

pub(crate) use ephemeral_ports::EphemeralPorts;
pub(crate) use scanner::{PortScanOptions, PortScanner};
