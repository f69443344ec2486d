//! Findings as OTLP's log records.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::output::sink::kind::{Kind, Severity};
use crate::output::sink::log_record;

use super::attributes::{any, attribute, name, of_json, text};
use super::request::SCHEMA_URL;

/// Converts a log record. Its message becomes the body, its fields become attributes.
pub(super) fn record(entry: log_record::LogRecord) -> LogRecord {
    let (severity, severity_text) = match entry.severity {
        Severity::Warning => (SeverityNumber::Warn, "warning"),
        // As OpenTelemetry maps syslog's severities.
        Severity::Notice => (SeverityNumber::Info2, "notice"),
        Severity::Info => (SeverityNumber::Info, "info"),
        Severity::Debug => (SeverityNumber::Debug, "debug"),
    };
    let time = u64::try_from(entry.at.as_nanosecond()).unwrap_or_default();
    let facts = entry.fields.into_iter().map(|(path, value)| KeyValue {
        key: name(&path),
        value: Some(of_json(value)),
        ..KeyValue::default()
    });
    let mut attributes: Vec<KeyValue> = facts.collect();
    if entry.kind != Kind::Loss {
        attributes.push(attribute("network.transport", text("tcp")));
    }
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: severity.into(),
        severity_text: severity_text.to_owned(),
        body: Some(any(text(entry.message))),
        attributes,
        event_name: format!("tcpclose.{}", entry.kind),
        ..LogRecord::default()
    }
}

pub(super) fn request(
    log_records: Vec<LogRecord>,
    resource: &Resource,
    scope: &InstrumentationScope,
) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource.clone()),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope.clone()),
                log_records,
                schema_url: SCHEMA_URL.to_owned(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        }],
    }
}
