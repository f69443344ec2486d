//! Names and values of attributes. Facts have the names of OpenTelemetry's conventions where those
//! have one for the same fact, and names below `tcpclose.` otherwise.

use std::collections::BTreeMap;
use std::env;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value as Json;

use crate::output::sink::config::OtlpConfig;
use crate::output::sink::host_name::host_name;

/// Facts of the JSON record that OpenTelemetry's conventions have a name for.
pub(super) const CONVENTIONS: [(&str, &str); 15] = [
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
    ("owner.container.name", "container.name"),
    ("owner.container.pod_name", "k8s.pod.name"),
    ("owner.container.pod_namespace", "k8s.namespace.name"),
    ("process.exe", "process.executable.path"),
    ("process.command_line", "process.command_args"),
];

/// The name of a container in the specification of its pod. The conventions tell it from
/// `container.name`, which is the runtime's own name for a container.
pub(super) const NAME_IN_POD: &str = "k8s.container.name";

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
pub(super) fn from_json(value: Json) -> AnyValue {
    let value = match value {
        Json::Null => return AnyValue::default(),
        Json::Bool(is) => Value::BoolValue(is),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::IntValue(whole),
            None => Value::DoubleValue(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::StringValue(text),
        Json::Array(items) => Value::ArrayValue(ArrayValue {
            values: items.into_iter().map(from_json).collect(),
        }),
        Json::Object(members) => Value::KvlistValue(KeyValueList {
            values: members
                .into_iter()
                .map(|(key, value)| KeyValue {
                    key,
                    value: Some(from_json(value)),
                    ..KeyValue::default()
                })
                .collect(),
        }),
    };
    any(value)
}

/// OpenTelemetry's own variable with attributes of the resource. In a pod it has what no file there
/// has: the node's name.
const RESOURCE_VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Describes who sends: this program on this host, with the attributes of its environment and the
/// operator's own, each of which replaces what comes before it.
pub(super) fn resource(config: &OtlpConfig) -> Resource {
    let mut attributes: BTreeMap<String, String> = BTreeMap::new();
    let mut insert = |name: &str, value: &str| {
        attributes.insert(name.to_owned(), value.to_owned());
    };
    insert("service.name", env!("CARGO_PKG_NAME"));
    insert("service.version", env!("CARGO_PKG_VERSION"));
    if let Some(host) = host_name() {
        insert("host.name", &host);
    }
    let environment = env::var(RESOURCE_VARIABLE).unwrap_or_default();
    for (name, value) in from_environment(&environment) {
        insert(name, &value);
    }
    for (name, value) in &config.resource {
        insert(name, value);
    }
    let attributes = attributes.into_iter();
    Resource {
        attributes: attributes
            .map(|(name, value)| attribute(name, text(value)))
            .collect(),
        ..Resource::default()
    }
}

/// Reads `NAME=VALUE,…` with percent-encoded values, as OpenTelemetry's SDKs do. What is not of
/// this form is left out.
pub(super) fn from_environment(variable: &str) -> impl Iterator<Item = (&str, String)> {
    variable.split(',').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decoded(value.trim())?;
        Some((name.trim(), value)).filter(|(name, _)| !name.is_empty())
    })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}
