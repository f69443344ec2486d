//! docs/json.md against docs/tcpclose.schema.json: the examples are valid, and the schema lets no
//! error through.

#![expect(clippy::panic, reason = "a test that cannot go on panics")]

mod refusals;

use jsonschema::Validator;
use serde_json::{Value, json};

const DOCS: &str = include_str!("../../../docs/json.md");
const SCHEMA: &str = include_str!("../../../docs/tcpclose.schema.json");

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
    for kind in [
        "close",
        "loss",
        "summary",
        "transition",
        "stuck",
        "route",
        "triage",
        "compare",
    ] {
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
    let leaks = examples_of("stuck");
    for pointer in [
        "/owner/container",
        "/process/growth",
        "/process/growth/exhausted_in_ms",
        "/holders/1",
        "/stuck/age_at_most_ms",
        "/stuck/cgroup",
    ] {
        let used = |leak: &Value| leak.pointer(pointer).is_some_and(|value| !value.is_null());
        assert!(leaks.iter().any(used), "{pointer}");
    }
}

#[test]
fn possibly_unknown_fields_may_be_null() {
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
        "/stuck/age_at_most_ms",
        "/stuck/cgroup",
    ];
    for mut leak in examples_of("stuck") {
        for pointer in nullable {
            leak = replaced(&leak, pointer, Value::Null);
            assert!(schema.is_valid(&leak), "{pointer}: {leak}");
        }
        // And then nobody holds it.
        for pointer in ["/holders", "/stuck/fds"] {
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
fn an_invalid_record_is_refused() {
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
