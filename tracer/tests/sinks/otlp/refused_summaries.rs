//! What the counts of the next summaries are after one was refused.

use super::*;

/// The values of the only point of `tcpclose.closes` with this path and initiator, in each export
/// that was taken.
fn closes_taken(collector: &Collector) -> Vec<i64> {
    let got = collector.got();
    let metrics = got.all_metrics();
    let closes = metrics
        .iter()
        .filter(|metric| metric.name == "tcpclose.closes");
    let labels = [("path", "three_way"), ("initiator", "local")];
    closes.map(|closes| whole(closes, &labels)).collect()
}

#[test]
fn a_refused_summary_loses_no_counts() {
    for protocol in BOTH {
        for (temporality, expected) in [("cumulative", [7, 15]), ("delta", [7, 8])] {
            let collector = Collector::start(protocol);
            collector.will([Answer::Take, Answer::Refuse, Answer::Take]);
            let more = format!("temporality = '{temporality}'");
            let (mut sink, _) = start(&config(protocol, collector.address, &more));
            let mut summed = Summed::new(0);
            for (to, closes) in [(60, 7), (120, 5), (180, 3)] {
                sink.offer(&summed.up_to(to, closes));
            }
            let counts = sink.finish(long());
            assert_eq!((counts.written, counts.failed), (2, 1), "{protocol:?}");
            assert_eq!(
                closes_taken(&collector),
                expected,
                "{protocol:?} {temporality}"
            );
        }
    }
}

/// A token that has expired is a usual reason for refusals.
#[test]
fn with_another_token_deltas_go_on_from_the_last_that_was_accepted() {
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        collector.will([Answer::Take, Answer::Refuse, Answer::Take]);
        let token = |token: &str| {
            let more =
                format!("temporality = 'delta'\nheaders = {{ authorization = 'Bearer {token}' }}");
            config(protocol, collector.address, &more)
        };
        let (mut sink, _) = start(&token("old"));
        let mut summed = Summed::new(0);
        sink.offer(&summed.up_to(60, 7));
        sink.offer(&summed.up_to(120, 5));
        wait_until("one is refused", || sink.counts().failed == 1);
        sink.adopt(&token("new"), || Ok(render_context()));
        sink.offer(&summed.up_to(180, 3));
        assert_eq!(sink.finish(long()).written, 2, "{protocol:?}");
        assert_eq!(collector.got().tokens[2], "Bearer new");
        assert_eq!(closes_taken(&collector), [7, 8], "{protocol:?}");
    }
}
