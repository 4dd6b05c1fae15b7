//! TLS of connections without a driver: the same provider and the same modes as the driver's sessions.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use crds::Reason;
use crds::source::TlsMode;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
};
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::migration::Tls;

use crate::source::certificates::{authority_failure, tls_failure};
use crate::source::errors::unreachable;
use crate::source::login::Login;

/// Maximum number of bytes of one read from the network with TLS. The reads of rustls itself have 4 KiB.
const READ_BYTES: usize = 64 * 1024;

/// A read of fewer bytes has probably emptied the socket.
const EMPTIED_BYTES: usize = 48 * 1024;
/// Time for which a reader of rows lets an empty socket fill. Without it, the kernel wakes the thread for every few KiB
/// that arrive.
const REFILL_WAIT: Duration = Duration::from_micros(250);

/// Reads from a socket, or from the layer above it. If the last read emptied the socket, it is left to fill first.
pub(crate) fn read_refilled(
    emptied: &mut bool,
    room: usize,
    read: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    if *emptied {
        std::thread::sleep(REFILL_WAIT);
    }
    let count = read()?;
    *emptied = count < EMPTIED_BYTES.min(room);
    Ok(count)
}

/// A socket with a read buffer, so that small reads of rustls do not become small reads of the socket.
#[derive(Debug)]
pub(crate) struct Buffered {
    reader: BufReader<TcpStream>,
    /// Whether a thread reads rows: then an empty socket is left to fill.
    pub(crate) reads_rows: bool,
    emptied: bool,
}

impl Buffered {
    pub(crate) fn new(socket: TcpStream) -> Self {
        let reader = BufReader::with_capacity(READ_BYTES, socket);
        Self { reader, reads_rows: false, emptied: false }
    }

    /// The socket below the buffer.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.reader.get_ref()
    }
}

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { reader, reads_rows, emptied } = self;
        if *reads_rows && reader.buffer().is_empty() {
            read_refilled(emptied, READ_BYTES, || reader.fill_buf().map(<[u8]>::len))?;
        }
        reader.read(buffer)
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.reader.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.reader.get_mut().flush()
    }
}

/// A connection under TLS.
pub(crate) type Secured = StreamOwned<ClientConnection, Buffered>;

/// What is not checked.
#[derive(Debug)]
enum Unchecked {
    /// The host name.
    Name(Arc<WebPkiServerVerifier>),
    /// Anything: the mode `prefer` of the legacy job's calls.
    Everything(Arc<CryptoProvider>),
}

/// Performs the TLS handshake.
///
/// # Errors
/// `TlsFailed`, `DatabaseUnreachable`.
pub(crate) fn secure(socket: TcpStream, login: &Login) -> Result<Secured, Failure> {
    let config = config(login)?;
    let name = name(login)?;
    let connection = ClientConnection::new(Arc::new(config), name)
        .map_err(|error| tls_failure(Some(&error), ""))?;
    let mut stream = StreamOwned::new(connection, Buffered::new(socket));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| {
            match error.get_ref().and_then(|source| source.downcast_ref::<Error>()) {
                Some(error) => tls_failure(Some(error), ""),
                None => unreachable("the TLS handshake with the database was interrupted"),
            }
        })?;
    }
    Ok(stream)
}

/// The name that the certificate must have.
///
/// # Errors
/// `InvalidSpec`.
pub(crate) fn name(login: &Login) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(login.host.clone()).map_err(|_| {
        Failure::permanent(
            Reason::InvalidSpec,
            "source.host is not a valid name for a certificate",
            "Correct source.host.",
        )
    })
}

/// The configuration of the TLS handshake.
///
/// # Errors
/// `InvalidSpec`, `TlsFailed`.
pub(crate) fn config(login: &Login) -> Result<ClientConfig, Failure> {
    let provider = CryptoProvider::get_default().cloned().ok_or_else(|| {
        Failure::permanent(Reason::Internal, "no TLS provider is installed", REPORT)
    })?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_failure(Some(&error), ""))?;
    let unchecked = match login.tls {
        Tls::Prefer => Unchecked::Everything(provider),
        Tls::Mode(TlsMode::VerifyCa) => {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots(login)?), provider);
            Unchecked::Name(verifier.build().map_err(|_| no_authority("cannot be used"))?)
        }
        Tls::Mode(TlsMode::VerifyFull | TlsMode::InsecurePlaintext) => {
            return Ok(builder.with_root_certificates(roots(login)?).with_no_client_auth());
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(unchecked));
    Ok(builder.with_no_client_auth())
}

/// Checks that the file with certificate authorities can be used.
///
/// # Errors
/// `InvalidSpec`, with the cause.
pub(crate) fn check_authorities(login: &Login) -> Result<(), Failure> {
    roots(login).map(|_| ())
}

/// The public authorities, and the given ones.
///
/// # Errors
/// `InvalidSpec`, with the cause.
fn roots(login: &Login) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let Some(file) = &login.ca else { return Ok(roots) };
    let text = std::fs::read(file)
        .map_err(|error| no_authority(&format!("is not readable ({})", error.kind())))?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        count += 1;
        let certificate =
            certificate.map_err(|_| no_authority(&format!("is not PEM in certificate {count}")))?;
        roots.add(certificate).map_err(|error| authority_failure(count, &error))?;
    }
    if count == 0 {
        return Err(no_authority("contains no PEM certificate"));
    }
    Ok(roots)
}

fn no_authority(why: &str) -> Failure {
    Failure::permanent(
        Reason::InvalidSpec,
        format!("the CA file {why}"),
        "Check source.tls.caRef: the file must contain certificates in PEM format.",
    )
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Self::Name(verifier) = self else { return Ok(ServerCertVerified::assertion()) };
        let verified =
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // the chain is checked before the name
            Err(Error::InvalidCertificate(
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
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            Self::Name(verifier) => {
                verifier.verify_tls12_signature(message, certificate, signature)
            }
            Self::Everything(provider) => rustls::crypto::verify_tls12_signature(
                message,
                certificate,
                signature,
                &provider.signature_verification_algorithms,
            ),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            Self::Name(verifier) => {
                verifier.verify_tls13_signature(message, certificate, signature)
            }
            Self::Everything(provider) => rustls::crypto::verify_tls13_signature(
                message,
                certificate,
                signature,
                &provider.signature_verification_algorithms,
            ),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::Name(verifier) => verifier.supported_verify_schemes(),
            Self::Everything(provider) => {
                provider.signature_verification_algorithms.supported_schemes()
            }
        }
    }
}
