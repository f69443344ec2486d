//! docs/json.md against docs/tcpclose.schema.json: the examples are valid, and the schema lets no error through.

use jsonschema::Validator;
use serde_json::{Value, json};

const DOCS: &str = include_str!("../../docs/json.md");
const SCHEMA: &str = include_str!("../../docs/tcpclose.schema.json");

fn schema() -> Validator {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    jsonschema::meta::validate(&schema).expect("the schema is a JSON Schema");
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("the schema can be used")
}

/// The ```` ```json ```` blocks of docs/json.md.
fn examples() -> Vec<Value> {
    DOCS.split("```json\n")
        .skip(1)
        .map(|after| {
            let (block, _) = after.split_once("\n```").expect("the block ends");
            serde_json::from_str(block).unwrap_or_else(|error| panic!("{error} in\n{block}"))
        })
        .collect()
}

fn examples_of(kind: &str) -> Vec<Value> {
    let mut all = examples();
    all.retain(|example| example["kind"] == kind);
    all
}

/// Calls `seen` with the JSON pointer of each value in `value`, the outermost (`""`) first.
fn each_pointer(value: &Value, pointer: &str, seen: &mut impl FnMut(&str)) {
    seen(pointer);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                each_pointer(member, &format!("{pointer}/{name}"), seen);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                each_pointer(item, &format!("{pointer}/{index}"), seen);
            }
        }
        _ => {}
    }
}

fn pointers(value: &Value) -> Vec<String> {
    let mut all = vec![];
    each_pointer(value, "", &mut |pointer| all.push(pointer.to_owned()));
    all
}

fn replaced(example: &Value, pointer: &str, new: Value) -> Value {
    let mut changed = example.clone();
    *changed
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("nothing at {pointer}: {example}")) = new;
    changed
}

#[track_caller]
fn assert_refused(schema: &Validator, record: &Value, what: &str) {
    assert!(!schema.is_valid(record), "accepted {what}: {record}");
}

#[test]
fn every_example_of_the_docs_is_valid() {
    let schema = schema();
    for example in examples() {
        let errors: Vec<String> = schema
            .iter_errors(&example)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?} in {example}");
    }
}

#[test]
fn every_kind_has_an_example() {
    for kind in ["close", "loss", "summary", "transition", "leak"] {
        assert!(!examples_of(kind).is_empty(), "{kind}");
    }
}

#[test]
fn the_examples_use_every_part_of_a_close() {
    let closes = examples_of("close");
    for pointer in [
        "/owner",
        "/owner/container",
        "/owner/container/pod",
        "/reset",
        "/half_close",
    ] {
        let used = |close: &Value| close.pointer(pointer).is_some_and(|value| !value.is_null());
        assert!(closes.iter().any(used), "{pointer}");
    }
}

#[test]
fn the_examples_use_every_part_of_a_leak() {
    let leaks = examples_of("leak");
    for pointer in [
        "/owner/container",
        "/process/growth",
        "/process/growth/exhausted_in_ms",
        "/holders/1",
        "/leak/age_at_most_ms",
        "/leak/cgroup",
    ] {
        let used = |leak: &Value| leak.pointer(pointer).is_some_and(|value| !value.is_null());
        assert!(leaks.iter().any(used), "{pointer}");
    }
}

#[test]
fn a_record_that_lacks_any_one_field_is_refused() {
    let schema = schema();
    for example in examples() {
        for pointer in pointers(&example) {
            let Some((parent, name)) = pointer.rsplit_once('/') else {
                continue;
            };
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
    const FREE: [&str; 7] = [
        "/comm",
        "/name",
        "/container/id",
        "/container/runtime",
        "/kernel_reason",
        "/leak/advice",
        "/down/reason",
    ];
    let is_free = |pointer: &str| {
        pointer.starts_with("/process/command_line/")
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
            // A slope may fall.
            if pointer.ends_with("/growth/per_second") {
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
    for leak in examples_of("leak") {
        for (pointer, number) in [
            ("/holders/0/pid", json!(0)),
            ("/holders/0/fds/0", json!(1_u64 << 32)),
            ("/process/stuck", json!(0.5)),
            ("/process/descriptors/open", json!(0.5)),
            ("/leak/unread_bytes", json!(0.5)),
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
        ("leak", "/kind", json!("close")),
        ("leak", "/event", json!("closed")),
        ("leak", "/event", json!(null)),
        (
            "leak",
            "/process/command_line",
            json!("/usr/bin/api --port"),
        ),
        ("leak", "/process/unit", json!("api")),
        (
            "leak",
            "/process/growth",
            json!({"per_second": 1, "samples": 2, "span_ms": 5, "r_squared": 1, "exhausted_in_ms": null}),
        ),
        ("leak", "/holders", json!(null)),
        ("leak", "/holders/0/fds", json!([])),
        ("leak", "/leak/since", json!(null)),
        ("leak", "/leak/age_ms", json!(null)),
        ("leak", "/leak/age_known", json!("inferred")),
        ("leak", "/leak/verdict", json!("leaked")),
        ("leak", "/leak/verdict", json!(null)),
        ("leak", "/leak/fds", json!(null)),
        ("leak", "/leak/resolved_by", json!("exit")),
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

#[test]
fn what_may_be_unknown_may_be_null() {
    let schema = schema();
    let nullable = [
        "/netns",
        "/conn/opened",
        "/conn/lifetime_ms",
        "/owner",
        "/close/segments",
        "/close/steps/0/seq",
        "/close/steps/0/ack",
        "/close/steps/0/at_ms",
        "/states/0/ms",
        "/bytes/sent",
        "/bytes/received",
        "/retransmits",
        "/reset",
        "/half_close",
    ];
    for mut close in examples_of("close") {
        for pointer in nullable {
            close = replaced(&close, pointer, Value::Null);
            assert!(schema.is_valid(&close), "{pointer}: {close}");
        }
    }
    for mut transition in examples_of("transition") {
        for pointer in ["/netns", "/skaddr", "/ms", "/task"] {
            transition = replaced(&transition, pointer, Value::Null);
            assert!(schema.is_valid(&transition), "{pointer}: {transition}");
        }
    }
    let nullable = [
        "/netns",
        "/owner/cgroup",
        "/owner/container",
        "/owner",
        "/process/exe",
        "/process/unit",
        "/process/user_unit",
        "/process/descriptors/limit",
        "/process/growth",
        "/process",
        "/leak/age_at_most_ms",
        "/leak/cgroup",
    ];
    for mut leak in examples_of("leak") {
        for pointer in nullable {
            leak = replaced(&leak, pointer, Value::Null);
            assert!(schema.is_valid(&leak), "{pointer}: {leak}");
        }
        // And then nobody holds it.
        for pointer in ["/holders", "/leak/fds"] {
            leak = replaced(&leak, pointer, json!([]));
            assert!(schema.is_valid(&leak), "{pointer}: {leak}");
        }
    }
}

#[test]
fn a_field_may_be_added_to_every_object() {
    let schema = schema();
    for example in examples() {
        for pointer in pointers(&example) {
            let mut more = example.clone();
            let Some(Value::Object(members)) = more.pointer_mut(&pointer) else {
                continue;
            };
            members.insert("added_later".to_owned(), json!([1, "two", null]));
            assert!(
                schema.is_valid(&more),
                "a field more in {pointer:?}: {more}"
            );
        }
    }
}

#[test]
fn what_is_no_record_is_refused() {
    let schema = schema();
    for value in [
        json!(null),
        json!([]),
        json!({}),
        json!("close"),
        json!({"v": 1}),
    ] {
        assert_refused(&schema, &value, "no record");
    }
}
