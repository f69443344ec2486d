//! Records that the schema refuses: examples with one error each.

use super::*;

#[test]
fn a_record_that_lacks_any_one_field_is_refused() {
    let schema = schema();
    for example in examples() {
        for pointer in pointers(&example) {
            let Some((parent, name)) = pointer.rsplit_once('/') else {
                continue;
            };
            // The records of agents that do not sample lack it.
            if pointer == "/sample" {
                continue;
            }
            let mut cut = example.clone();
            let Some(Value::Object(members)) = cut.pointer_mut(parent) else {
                continue;
            };
            members.remove(name);
            assert_refused(&schema, &cut, &format!("a record without {pointer}"));
        }
    }
}

#[test]
fn a_value_of_another_type_is_refused_everywhere() {
    let schema = schema();
    for example in examples() {
        for pointer in pointers(&example) {
            let wrong = replaced(&example, &pointer, json!({"of another": "type"}));
            assert_refused(&schema, &wrong, &format!("an object at {pointer}"));
            let wrong = replaced(&example, &pointer, json!([[]]));
            assert_refused(&schema, &wrong, &format!("an array at {pointer}"));
        }
    }
}

#[test]
fn a_word_that_is_none_of_ours_is_refused() {
    // Free text, in which any word is right.
    const FREE: [&str; 8] = [
        "/comm",
        "/file",
        "/name",
        "/container/id",
        "/container/runtime",
        "/kernel_reason",
        "/stuck/advice",
        "/down/reason",
    ];
    // Of a verdict most are sentences.
    let is_sentence = |pointer: &str| {
        let is_word = ["/about", "/at", "/command"]
            .iter()
            .any(|it| pointer.ends_with(it));
        pointer.starts_with("/verdicts/") && !is_word && !pointer.contains("/examples/")
    };
    let is_free = |pointer: &str| {
        pointer.starts_with("/process/command_line/")
            || is_sentence(pointer)
            || FREE.iter().any(|free| pointer.ends_with(free))
    };
    let schema = schema();
    for example in examples() {
        for pointer in pointers(&example) {
            let is_word = example.pointer(&pointer).is_some_and(Value::is_string);
            if is_word && !is_free(&pointer) {
                let wrong = replaced(&example, &pointer, json!("nonsense"));
                assert_refused(&schema, &wrong, &format!("nonsense at {pointer}"));
            }
        }
    }
}

#[test]
fn a_number_out_of_its_range_is_refused() {
    let schema = schema();
    for example in examples() {
        for pointer in pointers(&example) {
            // A slope may fall, and a clock be behind another.
            if pointer.ends_with("/growth/per_second") || pointer.starts_with("/clocks/") {
                continue;
            }
            if example.pointer(&pointer).is_some_and(Value::is_number) {
                let wrong = replaced(&example, &pointer, json!(-1));
                assert_refused(&schema, &wrong, &format!("-1 at {pointer}"));
            }
        }
    }
    for close in examples_of("close") {
        for (pointer, number) in [
            ("/v", json!(2)),
            ("/netns", json!(0)),
            ("/conn/id", json!(1.5)),
            ("/conn/peer/port", json!(65_536)),
            ("/close/segments", json!(2.5)),
            ("/close/steps/0/seq", json!(1_u64 << 32)),
            ("/bytes/sent", json!(0.5)),
        ] {
            assert_refused(&schema, &replaced(&close, pointer, number), pointer);
        }
    }
    for leak in examples_of("stuck") {
        for (pointer, number) in [
            ("/holders/0/pid", json!(0)),
            ("/holders/0/fds/0", json!(1_u64 << 32)),
            ("/process/stuck", json!(0.5)),
            ("/process/descriptors/open", json!(0.5)),
            ("/stuck/unread_bytes", json!(0.5)),
        ] {
            assert_refused(&schema, &replaced(&leak, pointer, number), pointer);
        }
    }
}

#[test]
fn particular_errors_are_refused() {
    let schema = schema();
    for (kind, pointer, wrong) in [
        ("close", "/kind", json!("closed")),
        // A loss is no close, whatever else it has.
        ("close", "/kind", json!("loss")),
        ("close", "/ts", json!("2026-01-31T12:00:00Z")),
        ("close", "/ts", json!("2026-01-31T12:00:00.000000+01:00")),
        ("close", "/ts", json!("2026-02-31T12:00:00.000000Z")),
        ("close", "/ts", json!(1_769_860_800)),
        ("close", "/conn/local/addr", json!("::ffff:127.0.0.256")),
        ("close", "/conn/local/addr", json!("localhost")),
        ("close", "/conn/family", json!("inet")),
        ("close", "/conn/seen_from_start", json!(null)),
        ("close", "/close/path", json!("4_way")),
        ("close", "/close/path", json!(null)),
        ("close", "/close/initiator", json!("remote")),
        ("close", "/close/steps", json!(null)),
        ("close", "/close/steps/0/flags", json!("ACK,FIN")),
        ("close", "/states/0/state", json!("FIN_WAIT_1")),
        ("close", "/states/0/state", json!("TIME_WAIT")),
        ("close", "/bytes", json!(null)),
        (
            "close",
            "/reset",
            json!({"by": "kernel", "reason": null, "kernel_reason": null}),
        ),
        (
            "close",
            "/reset",
            json!({"by": "peer", "reason": "rst", "kernel_reason": null}),
        ),
        (
            "close",
            "/half_close",
            json!({"by": "both", "ms": 1, "bytes_sent": 0, "bytes_received": 0}),
        ),
        ("close", "/time_wait", json!({})),
        ("loss", "/lost", json!(0)),
        ("loss", "/where", json!("kernel")),
        ("loss", "/repaired", json!(null)),
        ("transition", "/skaddr", json!("0xffff8881057b2a80")),
        ("transition", "/new", json!("CLOSED")),
        (
            "transition",
            "/task",
            json!({"pid": 0, "comm": "swapper/0", "uid": 0}),
        ),
        ("stuck", "/kind", json!("close")),
        ("stuck", "/event", json!("closed")),
        ("stuck", "/event", json!(null)),
        (
            "stuck",
            "/process/command_line",
            json!("/usr/bin/api --port"),
        ),
        ("stuck", "/process/unit", json!("api")),
        (
            "stuck",
            "/process/growth",
            json!({"per_second": 1, "samples": 2, "span_ms": 5, "r_squared": 1, "exhausted_in_ms": null}),
        ),
        ("stuck", "/holders", json!(null)),
        ("stuck", "/holders/0/fds", json!([])),
        ("stuck", "/stuck/since", json!(null)),
        ("stuck", "/stuck/age_ms", json!(null)),
        ("stuck", "/stuck/age_known", json!("inferred")),
        ("stuck", "/stuck/verdict", json!("leaked")),
        ("stuck", "/stuck/verdict", json!(null)),
        ("stuck", "/stuck/fds", json!(null)),
        ("stuck", "/stuck/resolved_by", json!("exit")),
    ] {
        for example in examples_of(kind) {
            let record = replaced(&example, pointer, wrong.clone());
            assert_refused(&schema, &record, pointer);
        }
    }
}

#[test]
fn addresses_are_of_the_connections_family() {
    let schema = schema();
    for close in examples_of("close") {
        let other = if close["conn"]["family"] == "ipv4" {
            "ipv6"
        } else {
            "ipv4"
        };
        assert_refused(
            &schema,
            &replaced(&close, "/conn/family", json!(other)),
            other,
        );
    }
}
