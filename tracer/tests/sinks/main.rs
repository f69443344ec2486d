//! The agent's outputs against real receivers.

mod disk;
mod files;
mod findings;
mod scratch;
mod sys;
