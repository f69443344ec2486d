//! A client for either protocol.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use tokio::runtime::Runtime;

use crate::output::sink::config::{OtlpConfig, OtlpProtocol};
use crate::output::sink::destination_error::DestinationError;
use crate::output::sink::http_client::Failure;
use crate::output::sink::http_client::header_files::read_headers;
use crate::output::sink::http_client::tls::{self, HttpVersion};

use super::answer::Answer;
use super::grpc::Grpc;
use super::http::Http;

/// Sends requests over HTTP or gRPC.
pub(super) enum Client {
    Http(Http),
    Grpc(Grpc),
}

impl Client {
    /// Prepares a client; the first request connects it.
    ///
    /// # Errors
    /// Certificates or headers cannot be read.
    pub(super) fn new(config: &OtlpConfig, runtime: &Runtime) -> Result<Self, DestinationError> {
        // Connections are bound to a runtime.
        let _guard = runtime.enter();
        let headers = read_headers(&config.headers)?;
        let version = match config.protocol {
            OtlpProtocol::HttpProtobuf => HttpVersion::Http1,
            OtlpProtocol::Grpc => HttpVersion::Http2,
        };
        let ca_file = config.ca_file.as_deref();
        let connector = tls::connector(config.endpoint.base(), ca_file, version)?;
        Ok(match config.protocol {
            OtlpProtocol::HttpProtobuf => Self::Http(Http::new(config, connector, headers)),
            OtlpProtocol::Grpc => Self::Grpc(Grpc::new(config, connector, headers)),
        })
    }

    pub(super) async fn logs(
        &mut self,
        request: &ExportLogsServiceRequest,
    ) -> Result<Answer, Failure> {
        match self {
            Self::Http(client) => client.logs(request).await,
            Self::Grpc(client) => client.logs(request).await,
        }
    }

    pub(super) async fn metrics(
        &mut self,
        request: &ExportMetricsServiceRequest,
    ) -> Result<Answer, Failure> {
        match self {
            Self::Http(client) => client.metrics(request).await,
            Self::Grpc(client) => client.metrics(request).await,
        }
    }
}
