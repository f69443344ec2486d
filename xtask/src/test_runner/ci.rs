//! Whether this is CI, where everything is required.

use std::env;

/// Returns whether everything is required, as in CI.
pub fn is_ci() -> bool {
    env::var("CI").is_ok_and(|ci| is_true(&ci))
}

fn is_true(value: &str) -> bool {
    !matches!(value.trim(), "" | "0" | "false" | "False" | "FALSE")
}

#[cfg(test)]
mod tests {
    use super::is_true;

    #[test]
    fn only_a_true_value_means_ci() {
        assert!(is_true("true"));
        assert!(is_true("1"));
        assert!(!is_true("false"));
        assert!(!is_true(""));
    }
}
