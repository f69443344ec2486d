//! A client for either protocol.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use tokio::runtime::Runtime;

use crate::output::sink::config::{OtlpConfig, OtlpProtocol};
use crate::output::sink::destination_error::DestinationError;

use super::answer::{Answer, Failure};
use super::grpc::Grpc;
use super::http::Http;
use super::tls;

/// Sends requests over HTTP or gRPC.
pub(super) enum Client {
    Http(Http),
    Grpc(Grpc),
}

impl Client {
    /// Prepares a client; the first request connects it.
    ///
    /// # Errors
    /// Certificates cannot be read.
    pub(super) fn new(config: &OtlpConfig, runtime: &Runtime) -> Result<Self, DestinationError> {
        // Connections are bound to a runtime.
        let _guard = runtime.enter();
        let connector = tls::connector(config)?;
        Ok(match config.protocol {
            OtlpProtocol::HttpProtobuf => Self::Http(Http::new(config, connector)),
            OtlpProtocol::Grpc => Self::Grpc(Grpc::new(config, connector)),
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
