//! Takes the symbols out of the released program: they are a fifth of it, for function names in a
//! panic's backtrace; file and line are in its message anyway. Not by the profile's `strip`: what
//! measures the core needs the names of its functions.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
}
