//! Names and values of attributes. Facts have the names of OpenTelemetry's conventions where those
//! have one for the same fact, and names below `tcpclose.` otherwise.

use std::collections::BTreeMap;
use std::fs;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value as Json;

use crate::output::sink::config::OtlpConfig;

/// Facts of the JSON record that OpenTelemetry's conventions have a name for.
pub(super) const CONVENTIONS: [(&str, &str); 12] = [
    ("conn.local.addr", "network.local.address"),
    ("conn.local.port", "network.local.port"),
    ("conn.peer.addr", "network.peer.address"),
    ("conn.peer.port", "network.peer.port"),
    ("conn.family", "network.type"),
    ("owner.pid", "process.pid"),
    ("owner.comm", "process.title"),
    ("owner.container.id", "container.id"),
    ("owner.container.runtime", "container.runtime.name"),
    ("owner.container.pod", "k8s.pod.uid"),
    ("process.exe", "process.executable.path"),
    ("process.command_line", "process.command_args"),
];

/// Returns the attribute's name for a fact: `tcpclose.conn.id` for `conn.id`.
pub(super) fn name(path: &str) -> String {
    let known = CONVENTIONS.iter().find(|(ours, _)| *ours == path);
    known.map_or_else(
        || format!("tcpclose.{path}"),
        |(_, theirs)| (*theirs).to_owned(),
    )
}

pub(super) fn attribute(key: impl Into<String>, value: impl Into<Value>) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(any(value.into())),
        ..KeyValue::default()
    }
}

pub(super) fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

/// Makes a text an attribute's value.
pub(super) fn text(text: impl Into<String>) -> Value {
    Value::StringValue(text.into())
}

/// Converts a JSON value. Numbers that do not fit 63 bits become floating-point numbers.
pub(super) fn of_json(value: Json) -> AnyValue {
    let value = match value {
        Json::Null => return AnyValue::default(),
        Json::Bool(is) => Value::BoolValue(is),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::IntValue(whole),
            None => Value::DoubleValue(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::StringValue(text),
        Json::Array(items) => Value::ArrayValue(ArrayValue {
            values: items.into_iter().map(of_json).collect(),
        }),
        Json::Object(members) => Value::KvlistValue(KeyValueList {
            values: members
                .into_iter()
                .map(|(key, value)| KeyValue {
                    key,
                    value: Some(of_json(value)),
                    ..KeyValue::default()
                })
                .collect(),
        }),
    };
    any(value)
}

/// Describes who sends: this program on this host, with the operator's own attributes.
pub(super) fn resource(config: &OtlpConfig) -> Resource {
    let mut attributes: BTreeMap<&str, String> = BTreeMap::new();
    attributes.insert("service.name", env!("CARGO_PKG_NAME").to_owned());
    attributes.insert("service.version", env!("CARGO_PKG_VERSION").to_owned());
    if let Ok(host) = fs::read_to_string("/proc/sys/kernel/hostname") {
        attributes.insert("host.name", host.trim().to_owned());
    }
    for (name, value) in &config.resource {
        attributes.insert(name, value.clone());
    }
    let attributes = attributes.into_iter();
    Resource {
        attributes: attributes
            .map(|(name, value)| attribute(name, text(value)))
            .collect(),
        ..Resource::default()
    }
}
