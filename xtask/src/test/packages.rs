//! The stages about packages.

use anyhow::Result;

use super::tasks::Context;
use crate::{
    command::announce,
    package,
    test_runner::{Counts, is_ci},
};

/// Makes the packages twice, which must give the same bytes, and tests them.
pub fn package(context: &Context) -> Result<Counts> {
    let workspace = context.workspace;
    let (folder, is_reproducible) = package::make_twice(workspace)?;
    let mut counts = Counts::from_check(is_reproducible);
    let old_root = match package::old_root(workspace) {
        Ok(root) => Some(root),
        Err(error) if is_ci() => return Err(error),
        Err(error) => {
            announce(format_args!(
                "skipping the tests in an old userland: {error:#}"
            ));
            None
        }
    };
    for mut program in context.programs()? {
        program.set_variable("TCPCLOSE_PACKAGES", &folder);
        if let Some(root) = &old_root {
            program.set_variable("TCPCLOSE_OLD_ROOT", root);
        }
        counts += program.run(context.privilege(), context.args)?;
    }
    Ok(counts)
}

/// Makes the packages for all architectures from two checkouts, which must give the same bytes.
pub fn package_full(context: &Context) -> Result<Counts> {
    let is_reproducible = package::make_from_two_checkouts(context.workspace)?;
    Ok(Counts::from_check(is_reproducible))
}
