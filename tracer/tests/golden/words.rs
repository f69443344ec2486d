//! The kept outputs have all that the schema allows: every word, `null` where something may be
//! unknown, both values of each boolean, and in summaries a number other than 0 at every place.
//! What is in none of them could be lost unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::kept::{directory, recordings};

const SCHEMA: &str = include_str!("../../../docs/tcpclose.schema.json");

/// Any value but `null`.
const VALUE: &str = "(a value)";
/// Any number but 0.
const NUMBER: &str = "(a number)";

/// What may stand, or stands, where. A place is the names of the members that lead there, from the
/// record's kind on; the items of an array stand where the array does.
type Words = BTreeMap<String, BTreeSet<String>>;

/// Kinds that no recording alone brings into an output: scans of the running host write them, or
/// two recordings together. Their tests compare them with the schema.
const NEVER_REPLAYED_KINDS: &[&str] = &["compare", "rollup", "route", "triage"];

/// What no recording brings into an output, with the reason.
const NEVER_REPLAYED: &[(&str, &[&str], &str)] = &[
    (
        "loss.where",
        &["output"],
        "an output loses after the core, and a replay waits for its reader",
    ),
    (
        "close.reset.reason",
        &["timeout"],
        "no rule gives it: the kernel sends no RST when it gives up",
    ),
    (
        "summary.resets.reason.timeout",
        &[NUMBER],
        "as close.reset.reason",
    ),
    (
        "close.close.cause",
        &["no_local_port"],
        "the kept recordings are older; a real connect() has it in integration/refused.rs",
    ),
    (
        "close.close.cause",
        &["from_path"],
        "it takes a firewall between two ends; a real one has it in integration/peers.rs",
    ),
    (
        "close.close.cause",
        &["dropped_here"],
        "the kept recordings are older; a real firewall has it in integration/firewall.rs",
    ),
    (
        "close.close.peer_cause",
        &["keepalive_timeout", "peer_never_closed"],
        "a peer that gave up long before; the core's scenarios have lent causes",
    ),
    ("close.conn.peer_owner.cgroup", &["null"], AS_OWNER),
    ("close.conn.peer_owner.container", &[VALUE], AS_OWNER),
    (
        "close.conn.peer_owner.container.pod",
        &["null", VALUE],
        AS_OWNER,
    ),
    ("close.conn.peer_owner.source", &["proc"], AS_OWNER),
    ("stuck.conn.peer_owner.cgroup", &["null"], AS_OWNER),
    ("stuck.conn.peer_owner.container", &[VALUE], AS_OWNER),
    (
        "stuck.conn.peer_owner.container.pod",
        &["null", VALUE],
        AS_OWNER,
    ),
    ("stuck.conn.peer_owner.source", &["proc"], AS_OWNER),
    ("time_wait.conn.peer_owner.cgroup", &["null"], AS_OWNER),
    ("time_wait.conn.peer_owner.container", &[VALUE], AS_OWNER),
    (
        "time_wait.conn.peer_owner.container.pod",
        &["null", VALUE],
        AS_OWNER,
    ),
    (
        "time_wait.conn.peer_owner.source",
        &["listen", "proc"],
        AS_OWNER,
    ),
    (
        "stuck.stuck.verdict",
        &["still_sending", "still_receiving", "silent"],
        "the core reports what is stuck; a live `leaks --all` lists others too",
    ),
    (
        "stuck.stuck.state",
        &["LAST_ACK", "FIN_WAIT1", "CLOSING", "ESTABLISHED"],
        FORMAT_5,
    ),
    (
        "stuck.stuck.verdict",
        &["unanswered", "peer_not_reading"],
        FORMAT_5,
    ),
    ("stuck.stuck.resolved_by", &["acknowledged"], FORMAT_5),
    ("stuck.stuck.owner_unknown", &["closed"], FORMAT_5),
    ("stuck.stuck.unanswered", &[VALUE], FORMAT_5),
    (
        "stuck.stuck.unanswered.kind",
        &["retransmissions", "window_probes", "keepalive_probes"],
        FORMAT_5,
    ),
    ("summary.stuck.states.FIN_WAIT2", &[NUMBER], FORMAT_5),
    ("summary.stuck.states.LAST_ACK", &[NUMBER], FORMAT_5),
    ("summary.stuck.states.FIN_WAIT1", &[NUMBER], FORMAT_5),
    ("summary.stuck.states.CLOSING", &[NUMBER], FORMAT_5),
    ("summary.stuck.verdicts.half_closed", &[NUMBER], FORMAT_5),
    ("summary.stuck.verdicts.unanswered", &[NUMBER], FORMAT_5),
    (
        "summary.stuck.verdicts.peer_not_reading",
        &[NUMBER],
        FORMAT_5,
    ),
    (
        "summary.stuck.owners.growth.exhausted_in_ms",
        &["null"],
        "the processes that summaries name have a limit; unit tests have one without",
    ),
    (
        "stuck.stuck.owner_unknown",
        &["no_holder", "not_inspectable"],
        "recordings before format 4 do not tell; a live `watch` and `leaks` do",
    ),
    ("summary.time_wait.pressure.used", &["null"], FORMAT_4),
    ("summary.time_wait.pressure.share", &["null"], FORMAT_4),
    ("stuck.stuck.protocol", &["mptcp"], MPTCP),
    ("stuck.stuck.unread_bytes", &["null"], MPTCP),
    ("stuck.stuck.verdict", &["not_closed"], MPTCP),
    (
        "stuck.owner.source",
        &["close"],
        "who closes a stuck socket ends that",
    ),
    (
        "stuck.conn.lifetime_ms",
        &[VALUE],
        "it lives, or its close reports its end",
    ),
    (
        "summary.closes.cause.from_path",
        &[NUMBER],
        "the recordings of agents are older than this cause",
    ),
    (
        "summary.closes.cause.dropped_here",
        &[NUMBER],
        "the recordings of agents are older than this cause",
    ),
    (
        "summary.closes.cause.no_local_port",
        &[NUMBER],
        "no agent was recorded while ports were missing",
    ),
    (
        "summary.outputs.uncertain",
        &[NUMBER],
        "recordings do not hold it; tests/sinks/http/lost_answers.rs has it",
    ),
    ("summary.processes.closes.exact", &["false"], MANY),
    ("summary.processes.resets.exact", &["false"], MANY),
    ("summary.peers.closes.exact", &["false"], MANY),
    ("summary.peers.resets.exact", &["false"], MANY),
    ("summary.stuck.peers.exact", &["false"], MANY),
];
/// Parts of records that no kept output has, and why.
const NEVER_REPLAYED_PARTS: [(&str, &str); 2] = [
    (
        "summary.idle_timeouts.",
        "a timeout shows after eight closes of a service; that of nginx is in leaks/idle_timeout.rs",
    ),
    (
        "stuck.stuck.why.",
        "only a live scan looks at what holders do; leaks/why.rs has it",
    ),
];
const AS_OWNER: &str =
    "it is written as the owner is, which the kept outputs have in all its forms";
const MPTCP: &str = "a live `leaks` lists MPTCP connections; the tracer follows TCP alone";
const FORMAT_4: &str = "the kept recordings of agents are older; a live agent is asked";
const FORMAT_5: &str =
    "the kept recordings have stuck sockets in CLOSE_WAIT alone; live ones are in leaks/states.rs";
const MANY: &str = "it takes more than 4,096 in an interval, which unit tests have";

#[test]
fn all_that_the_schema_allows_is_in_the_kept_outputs() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let kinds = schema["properties"]["kind"]["enum"].as_array();
    let mut allowed = Words::new();
    let kinds = kinds.into_iter().flatten().filter_map(Value::as_str);
    for kind in kinds.filter(|kind| !NEVER_REPLAYED_KINDS.contains(kind)) {
        let definition = &schema["$defs"][kind];
        assert!(definition.is_object(), "the schema defines {kind}");
        allow(&mut allowed, definition, kind, &schema);
    }
    let kept = kept_words();
    let is_kept = |place: &str, word: &str| {
        let words = kept.get(place);
        words.is_some_and(|words| words.contains(word))
    };
    let is_excepted = |place: &str, word: &str| {
        let mut parts = NEVER_REPLAYED_PARTS.iter();
        if parts.any(|(part, _)| place.starts_with(part)) {
            return true;
        }
        let mut exceptions = NEVER_REPLAYED.iter();
        exceptions.any(|(at, words, _)| *at == place && words.contains(&word))
    };
    let mut faults = Vec::new();
    for (place, word) in each(&allowed) {
        if !is_kept(place, word) && !is_excepted(place, word) {
            faults.push(format!("{place}: {word} is in no kept output"));
        }
    }
    for (place, words, why) in NEVER_REPLAYED {
        for word in *words {
            let is_allowed = each(&allowed).any(|allowed| allowed == (place, word));
            if is_kept(place, word) || !is_allowed {
                faults.push(format!("{place}: {word} needs no exception ({why})"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn each(words: &Words) -> impl Iterator<Item = (&str, &str)> {
    let places = words.iter();
    places.flat_map(|(place, words)| words.iter().map(move |word| (&**place, &**word)))
}

/// Takes in what a part of the schema allows at a place.
fn allow(allowed: &mut Words, schema: &Value, place: &str, root: &Value) {
    if let Some(reference) = schema["$ref"].as_str() {
        let definition = root.pointer(reference.trim_start_matches('#'));
        allow(allowed, definition.expect("it is defined"), place, root);
    }
    let parts = |name: &str| schema[name].as_array().into_iter().flatten();
    let mut add = |word: &str| {
        let words = allowed.entry(place.to_owned()).or_default();
        words.insert(word.to_owned());
    };
    for word in parts("enum") {
        add(word.as_str().unwrap_or("null"));
    }
    let kind = schema["type"].as_str().into_iter();
    let kinds: Vec<&str> = kind
        .chain(parts("type").filter_map(Value::as_str))
        .collect();
    let is_known = parts("enum").next().is_some();
    if kinds.contains(&"null") && kinds.len() > 1 && !is_known {
        add("null");
        add(VALUE);
    }
    if kinds == ["null"] {
        add("null");
    }
    if kinds.contains(&"boolean") {
        add("true");
        add("false");
    }
    let in_summary = place.starts_with("summary.");
    if in_summary && (kinds.contains(&"integer") || kinds.contains(&"number")) {
        add(NUMBER);
    }
    if parts("anyOf").next().is_some() {
        add(VALUE);
    }
    for part in parts("anyOf") {
        allow(allowed, part, place, root);
    }
    allow_items(allowed, schema, place, root);
}

/// Takes in what it allows below a place.
fn allow_items(allowed: &mut Words, schema: &Value, place: &str, root: &Value) {
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        allow(allowed, member, &format!("{place}.{name}"), root);
    }
    if schema["items"].is_object() {
        allow(allowed, &schema["items"], place, root);
    }
}

/// What the kept outputs have.
fn kept_words() -> Words {
    let mut words = Words::new();
    for recording in recordings() {
        let files = fs::read_dir(directory().join(recording)).expect("outputs are kept");
        let files = files.map(|file| file.expect("a directory can be listed").path());
        for file in files.filter(|file| file.extension().is_some_and(|it| it == "jsonl")) {
            let lines = fs::read_to_string(&file).expect("an output can be read");
            for line in lines.lines() {
                let record: Value = serde_json::from_str(line).expect("lines are JSON");
                let kind = record["kind"].as_str().expect("a record has its kind");
                note(&mut words, &record, kind);
            }
        }
    }
    words
}

fn note(kept: &mut Words, value: &Value, place: &str) {
    let words = kept.entry(place.to_owned()).or_default();
    words.extend(match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => (number.as_f64() != Some(0.0)).then(|| NUMBER.to_owned()),
        Value::String(word) => Some(word.clone()),
        Value::Array(_) | Value::Object(_) => None,
    });
    if !value.is_null() {
        words.insert(VALUE.to_owned());
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| note(kept, item, place)),
        Value::Object(members) => {
            for (name, member) in members {
                note(kept, member, &format!("{place}.{name}"));
            }
        }
        _ => {}
    }
}
