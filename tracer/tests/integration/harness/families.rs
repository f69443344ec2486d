//! A scenario as one test for each kind of socket.

/// Runs a scenario, a `fn(Family)`, as one test for each kind of socket.
macro_rules! for_each_family {
    ($($scenario:ident),+ $(,)?) => {
        $(mod $scenario {
            use crate::harness::sockets::Family;

            #[test]
            fn ipv4() {
                super::$scenario(Family::V4);
            }

            #[test]
            fn ipv6() {
                super::$scenario(Family::V6);
            }

            #[test]
            fn v4_mapped() {
                super::$scenario(Family::Mapped);
            }
        })+
    };
}

/// As [`for_each_family`], for scenarios in which the v4-mapped kind teaches nothing new.
macro_rules! for_ipv4_and_ipv6 {
    ($($scenario:ident),+ $(,)?) => {
        $(mod $scenario {
            use crate::harness::sockets::Family;

            #[test]
            fn ipv4() {
                super::$scenario(Family::V4);
            }

            #[test]
            fn ipv6() {
                super::$scenario(Family::V6);
            }
        })+
    };
}

pub(crate) use {for_each_family, for_ipv4_and_ipv6};
