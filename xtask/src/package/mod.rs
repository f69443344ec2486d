//! `cargo xtask package`: static programs, and the packages that carry them. docs/packaging.md says
//! what is in which.

mod contents;
mod deb;
mod host;
mod image;
mod items;
mod licences;
mod make;
mod old_root;
pub mod program;
mod release;
mod reproduce;
mod rpm;
mod sbom;
mod tarball;

pub use self::{
    make::{Package, package},
    old_root::old_root,
    reproduce::{make_from_two_checkouts, make_twice},
};
