//! Building test programs, running them, and counting what passed, failed and skipped itself.

mod ci;
mod counts;
pub mod isolated;
mod output;
mod programs;

pub use self::ci::is_ci;
pub use self::counts::Counts;
pub use self::output::TestOutput;
pub use self::programs::{
    REQUIRE_VARIABLE, TestProgram, build, build_with, cargo, observe, privilege_for_tests,
};
