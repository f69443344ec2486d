//! Segments and records, written by hand, and what the comparison makes of them.

mod closing;
mod compare;
mod delivered;
mod half_close;
mod segments;
