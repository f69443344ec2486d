//! TLS: whom to trust, and what is wrong with a receiver's certificate.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::output::sink::config::{OtlpConfig, OtlpProtocol};

/// Connects with TLS where the address begins with https://.
pub(super) type Connector = HttpsConnector<HttpConnector>;

/// Reads the certificates of the authorities that are trusted, where there is to be TLS.
///
/// # Errors
/// A sentence: there are none.
pub(super) fn connector(config: &OtlpConfig) -> Result<Connector, String> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them");
    let tls = match &config.ca_file {
        _ if !config.endpoint.is_https() => tls.with_root_certificates(RootCertStore::empty()),
        Some(file) => tls.with_root_certificates(authorities(file)?),
        None => tls
            .with_native_roots()
            .map_err(|error| format!("{error}: name a file with some in `ca_file`"))?,
    };
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls.with_no_client_auth())
        .https_or_http();
    Ok(match config.protocol {
        OtlpProtocol::HttpProtobuf => builder.enable_http1().build(),
        OtlpProtocol::Grpc => builder.enable_http2().build(),
    })
}

/// Whether `ca_file`, where there is one, can be used.
///
/// # Errors
/// A sentence.
pub(in crate::output::sink) fn check(config: &OtlpConfig) -> Result<(), String> {
    match &config.ca_file {
        Some(file) => authorities(file).map(drop),
        None => Ok(()),
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let wrong = |error: &dyn Error| format!("ca_file {}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(format!(
            "ca_file {} has no certificate in PEM (-----BEGIN CERTIFICATE-----)",
            file.display()
        ));
    }
    Ok(roots)
}

/// What is wrong, where an error comes from TLS.
pub(super) fn sentence(error: &(dyn Error + 'static)) -> Option<String> {
    use rustls::Error::{InvalidCertificate, InvalidMessage};
    Some(match cause(error)? {
        // Bad is the signature where the right authority has the name of one that is trusted.
        InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate is signed by no authority that is trusted here: name the file with the right one in `ca_file`"
                .to_owned()
        }
        InvalidCertificate(why) => format!("its certificate cannot be trusted: {why}"),
        InvalidMessage(_) => {
            "its answer is no TLS: it may want an endpoint that begins with http://".to_owned()
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
        // An io::Error that wraps another passes it over in its source.
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
