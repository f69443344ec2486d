//! Receivers that say more than anybody wants to know.

use super::*;

#[test]
fn an_answer_is_read_and_shown_in_part() {
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        // The second is more than is read: the request counts as not answered.
        collector.will([
            Answer::Chatter(40_000),
            Answer::Chatter(3 << 20),
            Answer::Take,
        ]);
        let (mut sink, messages) = start(&config(protocol, collector.address, ""));
        sink.offer(&close(1));
        messages.wait_for("refused 1 record");
        sink.offer(&close(2));
        messages.wait_for("is down: ");
        wait_until("the second is taken", || sink.counts().written == 1);
        let counts = sink.finish(long());
        assert_eq!((counts.written, counts.failed), (1, 1), "{protocol:?}");
        let messages = messages.all();
        assert!(messages[0].contains("\\u{1b}\\u{1b}"), "{messages:?}");
        for message in messages {
            assert!(message.len() < 500, "{protocol:?}: {message}");
        }
    }
}
