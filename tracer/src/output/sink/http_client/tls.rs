//! TLS: which authorities to trust, and what is wrong with a receiver's certificate.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hyper::Uri;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::output::sink::destination_error::DestinationError;

/// Connects with TLS if the address begins with https://.
pub(in crate::output::sink) type Connector = HttpsConnector<HttpConnector>;

/// The version of HTTP that a receiver must speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::output::sink) enum HttpVersion {
    Http1,
    #[cfg_attr(
        not(feature = "otlp"),
        expect(dead_code, reason = "gRPC alone needs it")
    )]
    Http2,
}

/// Makes a connector to an address. With TLS, it reads the certificates of the trusted authorities.
///
/// # Errors
/// There are no such certificates.
pub(in crate::output::sink) fn connector(
    uri: &Uri,
    ca_file: Option<&Path>,
    version: HttpVersion,
) -> Result<Connector, DestinationError> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions");
    let tls = match ca_file {
        _ if uri.scheme_str() != Some("https") => {
            tls.with_root_certificates(RootCertStore::empty())
        }
        Some(file) => tls.with_root_certificates(authorities(file)?),
        None => tls
            .with_native_roots()
            .map_err(DestinationError::NoAuthorities)?,
    };
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls.with_no_client_auth())
        .https_or_http();
    Ok(match version {
        HttpVersion::Http1 => builder.enable_http1().build(),
        HttpVersion::Http2 => builder.enable_http2().build(),
    })
}

/// Checks that `ca_file`, if there is one, can be used.
///
/// # Errors
/// The file cannot be read, or has no certificates.
pub(in crate::output::sink) fn check(ca_file: Option<&Path>) -> Result<(), DestinationError> {
    match ca_file {
        Some(file) => authorities(file).map(drop),
        None => Ok(()),
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, DestinationError> {
    let roots = read_authorities(file).map_err(|error| DestinationError::CaFile {
        file: file.to_owned(),
        error,
    })?;
    if roots.is_empty() {
        return Err(DestinationError::NoCertificate(file.to_owned()));
    }
    Ok(roots)
}

fn read_authorities(file: &Path) -> Result<RootCertStore, Box<dyn Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

/// Explains an error that comes from TLS; `None` for other errors.
pub(super) fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    use rustls::Error::{InvalidCertificate, InvalidMessage};
    Some(match cause(error)? {
        // The signature is bad if the right authority has the name of a trusted one.
        InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate is not signed by a trusted authority: name the file with the right \
             authority in `ca_file`"
                .to_owned()
        }
        InvalidCertificate(why) => format!("its certificate cannot be trusted: {why}"),
        InvalidMessage(_) => {
            "its answer is not TLS: the right endpoint may begin with http://".to_owned()
        }
        error => format!("TLS failed: {error}"),
    })
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        // The source of an io::Error that wraps another error skips that error.
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
