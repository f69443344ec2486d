//! Which threads have opened stuck sockets, in words.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::escape::push_for_terminal;
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::types::Thread;

/// Returns which threads called connect() for these sockets of one process; `None` where that was
/// not seen, or where its first thread did for all of them.
pub(in crate::output) fn opening_threads_text(sockets: &[&StuckSocket]) -> Option<String> {
    let mut counts: BTreeMap<Thread, usize> = BTreeMap::new();
    let owners = sockets.iter().filter_map(|stuck| stuck.owner.as_ref());
    for thread in owners.filter_map(|owner| owner.further_thread()) {
        *counts.entry(*thread).or_default() += 1;
    }
    let worst = |(thread, count): &(&Thread, &usize)| (**count, Reverse(thread.id));
    let (most, count) = counts.iter().max_by_key(worst)?;
    let opened: usize = counts.values().sum();
    let mut text = String::new();
    if opened < sockets.len() {
        let _ = write!(text, "{opened} of {} ", sockets.len());
    }
    text.push_str("opened by ");
    if counts.len() > 1 {
        let _ = write!(text, "{} threads, {count} of them by ", counts.len());
    }
    text.push_str("thread ");
    push_for_terminal(&mut text, most.name());
    let _ = write!(text, " ({})", most.id);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;
    use tcpclose_core::types::{Owner, SharedOwner};

    /// A stuck socket that this thread has opened.
    fn opened_by(id: u32) -> StuckSocket {
        let mut stuck = samples::stuck();
        let thread = Thread {
            id,
            comm: *b"pool-\x1b3\0\0\0\0\0\0\0\0\0",
        };
        stuck.owner = stuck.owner.map(|owner| {
            SharedOwner::new(Owner {
                thread: Some(thread),
                ..Owner::clone(&owner)
            })
        });
        stuck
    }

    fn text(sockets: &[StuckSocket]) -> String {
        let sockets: Vec<_> = sockets.iter().collect();
        opening_threads_text(&sockets).unwrap_or_default()
    }

    #[test]
    fn one_thread_is_named_and_many_are_counted() {
        let one = [opened_by(4799), opened_by(4799)];
        assert_eq!(text(&one), r"opened by thread pool-\x1b3 (4799)");
        let some = [opened_by(4799), samples::stuck()];
        assert_eq!(text(&some), r"1 of 2 opened by thread pool-\x1b3 (4799)");
        let several = [4799, 4800, 4800].map(opened_by);
        assert_eq!(
            text(&several),
            r"opened by 2 threads, 2 of them by thread pool-\x1b3 (4800)"
        );
    }

    #[test]
    fn the_first_thread_of_a_process_is_not_named() {
        let owner = samples::stuck().owner.expect("it has one");
        assert_eq!(text(&[opened_by(owner.pid)]), "");
        assert_eq!(text(&[samples::stuck()]), "");
    }
}
