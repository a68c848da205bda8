//! TLS to the server, as libpq's `sslmode` means it.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresError;

/// What the URL says of TLS.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsOptions {
    pub(super) mode: Option<String>,
    /// A file of certificates that alone may vouch for the server.
    pub(super) root: Option<String>,
    /// The certificate that this client shows, and its key.
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

/// What is looked at in the server's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    Nothing,
    Authority,
    AuthorityAndName,
}

impl TlsOptions {
    /// Returns whether the connection is encrypted, and what makes it so.
    ///
    /// # Errors
    /// There is no such mode, or a file cannot be used.
    pub(super) fn connector(&self) -> Result<(SslMode, MakeRustlsConnect), PostgresError> {
        let (mode, check) = match (self.mode.as_deref(), &self.root) {
            (Some("disable"), _) => (SslMode::Disable, Check::Nothing),
            (None | Some("prefer"), _) => (SslMode::Prefer, Check::Nothing),
            // As libpq does where it has a root certificate.
            (Some("require"), None) => (SslMode::Require, Check::Nothing),
            (Some("require" | "verify-ca"), _) => (SslMode::Require, Check::Authority),
            (Some("verify-full"), _) => (SslMode::Require, Check::AuthorityAndName),
            (Some(_), _) => {
                return Err(PostgresError::Url {
                    problem: "has an `sslmode` that is not known".to_owned(),
                    expected: "one of disable, prefer, require, verify-ca, verify-full".to_owned(),
                });
            }
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has the versions that are on by default");
        let roots = Arc::new(match self.root.as_deref() {
            None | Some("system") => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("sslrootcert", path)? {
                    let added = roots.add(certificate);
                    added.map_err(|error| unusable("sslrootcert", path, CERTIFICATES, error))?;
                }
                roots
            }
        });
        let builder = if check == Check::AuthorityAndName {
            builder.with_root_certificates(roots)
        } else {
            let authority = (check == Check::Authority).then(|| {
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .expect("neither list of roots is empty, and there are no lists of revoked certificates")
            });
            builder.dangerous().with_custom_certificate_verifier(Arc::new(NoName { authority, provider }))
        };
        let config = match (&self.certificate, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates("sslcert", certificate)?;
                let private = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unusable("sslkey", key, "a private key in PEM without a passphrase", error))?;
                let config = builder.with_client_auth_cert(chain, private);
                config.map_err(|error| unusable("sslcert", certificate, "the certificate of the sslkey", error))?
            }
            _ => {
                return Err(PostgresError::Url {
                    problem: "has one of `sslcert` and `sslkey`".to_owned(),
                    expected: "both or neither".to_owned(),
                });
            }
        };
        Ok((mode, MakeRustlsConnect::new(config)))
    }
}

const CERTIFICATES: &str = "certificates in PEM";

fn certificates(option: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, PostgresError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unusable(option, path, CERTIFICATES, "there is none in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(option, path, CERTIFICATES, error)),
    }
}

fn unusable(
    option: &'static str,
    path: &str,
    expected: &'static str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> PostgresError {
    PostgresError::Certificates { option, path: Path::new(path).to_owned(), expected, source: error.into() }
}

/// Takes the server's certificate for any name. Where no authority is given, it takes one of any signer.
#[derive(Debug)]
struct NoName {
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NoName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            // The name is looked at last, when all else has been found right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
