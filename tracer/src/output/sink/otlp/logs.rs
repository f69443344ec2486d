//! Findings as OTLP's log records.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::output::sink::kind::{RecordKind, Severity};
use crate::output::sink::log_record;

use super::attributes::{NAME_IN_POD, any, attribute, from_json, name, text};
use super::request::SCHEMA_URL;

/// Converts a log record. Its message becomes the body, its fields become attributes.
pub(super) fn record(log_record: log_record::LogRecord) -> LogRecord {
    let (severity, severity_text) = match log_record.severity {
        Severity::Warning => (SeverityNumber::Warn, "warning"),
        // As OpenTelemetry maps syslog's severities.
        Severity::Notice => (SeverityNumber::Info2, "notice"),
        Severity::Info => (SeverityNumber::Info, "info"),
        Severity::Debug => (SeverityNumber::Debug, "debug"),
    };
    let time = u64::try_from(log_record.at.as_nanosecond()).unwrap_or_default();
    let is_in_pod = (log_record.fields.iter()).any(|(path, _)| path == "owner.container.pod_name");
    let facts = log_record.fields.into_iter().map(|(path, value)| KeyValue {
        key: match &*path {
            "owner.container.name" if is_in_pod => NAME_IN_POD.to_owned(),
            path => name(path),
        },
        value: Some(from_json(value)),
        ..KeyValue::default()
    });
    let mut attributes: Vec<KeyValue> = facts.collect();
    if log_record.kind != RecordKind::Loss {
        attributes.push(attribute("network.transport", text("tcp")));
    }
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: severity.into(),
        severity_text: severity_text.to_owned(),
        body: Some(any(text(log_record.message))),
        attributes,
        event_name: format!("tcpclose.{}", log_record.kind),
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
