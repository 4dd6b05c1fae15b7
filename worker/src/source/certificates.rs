//! Why a TLS handshake with a database failed, and what to do about it.

use crds::Reason;
use rustls::CertificateError as Bad;
use worker_core::errors::failure::Failure;

/// Why, and what to do.
type Words = (String, &'static str);

const REISSUE: &str = "Issue another certificate for the database server.";

/// What a failed handshake means; `text` is what the driver says where it has no error of rustls.
pub(crate) fn tls_failure(error: Option<&rustls::Error>, text: &str) -> Failure {
    let (message, remedy) = match error {
        Some(rustls::Error::InvalidCertificate(bad)) => {
            let (why, remedy) = refused(bad);
            (format!("the database's certificate {why}"), remedy)
        }
        Some(rustls::Error::AlertReceived(alert)) => (
            format!("the TLS handshake with the database failed: the server ended it ({alert:?})"),
            "Check the server's log: the server may require a client certificate or another TLS version, or \
             may lack ECDHE cipher suites.",
        ),
        Some(error) => (
            format!("the TLS handshake with the database failed ({error})"),
            "Check source.tls and the CA file. The server must offer TLS 1.3, or TLS 1.2 with an ECDHE \
             cipher suite.",
        ),
        None if text.contains("does not support TLS") => (
            "the database server does not offer TLS".to_owned(),
            "Turn on TLS in the server, or set source.tls.mode: insecurePlaintext if the operator allows it.",
        ),
        None => (
            "the TLS handshake with the database failed".to_owned(),
            "Check source.tls and the CA file. The server must offer TLS 1.3, or TLS 1.2 with an ECDHE \
             cipher suite.",
        ),
    };
    Failure::permanent(Reason::TlsFailed, message, remedy)
}

/// A certificate of the file with authorities cannot be used; `number` counts from one.
pub(crate) fn authority_failure(number: usize, error: &rustls::Error) -> Failure {
    let why = match error {
        rustls::Error::InvalidCertificate(bad) => refused(bad).0,
        other => format!("cannot be used ({other})"),
    };
    Failure::permanent(
        Reason::InvalidSpec,
        format!("certificate {number} of the CA file {why}"),
        "Check source.tls.caRef: the file must contain CA certificates in PEM format.",
    )
}

/// Why a certificate is refused; the words follow its name.
fn refused(bad: &Bad) -> Words {
    let (why, remedy) = match bad {
        Bad::UnknownIssuer => (
            "is not signed by a trusted certificate authority",
            "Name the right certificate authority in source.tls.caRef (without a cluster: --ca-file), and configure the \
             server to send its intermediate certificates.",
        ),
        Bad::NotValidForName => (
            "is for another host name",
            "Set source.host to a host name in the certificate, or set source.tls.mode: verifyCa.",
        ),
        Bad::NotValidForNameContext { presented, .. } => return another_name(presented),
        Bad::Expired | Bad::ExpiredContext { .. } => (
            "has expired",
            "Renew the certificate of the database server or of its certificate authority.",
        ),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => (
            "is not valid yet",
            "Check the clocks of the pods, and the validity of the database server's \
                 certificate.",
        ),
        Bad::Revoked => ("is revoked", REISSUE),
        Bad::BadEncoding => ("cannot be parsed", REISSUE),
        Bad::BadSignature => (
            "has a signature that does not match its authority's key, or that key is too weak (RSA below \
             2048 bits)",
            "Issue the certificate again with the authority of source.tls.caRef, and use an RSA key of at \
             least 2048 bits for that authority.",
        ),
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => (
            "has an extended key usage that does not include serverAuth",
            "Issue the certificate with extendedKeyUsage serverAuth, or without extendedKeyUsage.",
        ),
        Bad::UnhandledCriticalExtension => ("has an unknown critical extension", REISSUE),
        Bad::Other(other) => return by_webpki(other.0.as_ref()),
        Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            "has a signature algorithm that does not match its authority's key, or a key that is not \
             supported",
            "Use RSA, ECDSA P-256 or P-384, or Ed25519 keys, and SHA-256 or a stronger hash.",
        ),
        other => {
            let unsupported = format!("{other:?}").starts_with("UnsupportedSignatureAlgorithm");
            if !unsupported {
                return (format!("is not accepted ({other:?})"), REISSUE);
            }
            (
                "has a signature algorithm that is not supported, such as SHA-1 or ECDSA P-521",
                "Use RSA, ECDSA P-256 or P-384, or Ed25519 keys, and SHA-256 or a stronger hash.",
            )
        }
    };
    (why.to_owned(), remedy)
}

fn another_name(presented: &[String]) -> Words {
    const ANOTHER: &str =
        "Set source.host to a host name in the certificate, or set source.tls.mode: verifyCa.";
    if presented.is_empty() {
        return (
            "contains no host name: it has no subject alternative name, and Tidemark ignores the common name".to_owned(),
            "Issue the certificate with a subjectAltName for source.host, or set source.tls.mode: verifyCa.",
        );
    }
    let bare = |name: &String| {
        let open = name.find('(').map_or(0, |at| at + 1);
        name[open..].trim_end_matches(')').trim_matches('"').to_owned()
    };
    let names: Vec<String> = presented.iter().take(5).map(bare).collect();
    (format!("is for another host name ({})", names.join(", ")), ANOTHER)
}

/// Causes that rustls passes on as they are.
fn by_webpki(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Words {
    use webpki::Error as Cause;
    let (why, remedy) = match error.downcast_ref::<Cause>() {
        Some(Cause::CaUsedAsEndEntity) => (
            "is a CA certificate (basicConstraints CA:TRUE), which a server may not use",
            "Issue a certificate with CA:FALSE for the server, or a self-signed certificate with -addext \
             basicConstraints=critical,CA:FALSE.",
        ),
        Some(Cause::EndEntityUsedAsCa) => (
            "is signed by a certificate without the CA flag",
            "Issue the intermediate certificate with basicConstraints CA:TRUE.",
        ),
        Some(Cause::UnsupportedCertVersion) => (
            "is of X.509 version 1 or 2, but version 3 is required",
            "Issue the certificate with extensions, such as subjectAltName (openssl x509 -req -extfile).",
        ),
        Some(Cause::NameConstraintViolation) => (
            "has a name that the name constraints of its authority do not allow",
            "Issue the certificate with an authority that allows this name.",
        ),
        Some(Cause::PathLenConstraintViolated | Cause::MaximumPathDepthExceeded) => (
            "has a longer chain of authorities than they allow (pathLenConstraint)",
            "Issue the certificate with a shorter chain of authorities.",
        ),
        Some(Cause::EmptyEkuExtension) => (
            "has an empty extended key usage",
            "Issue the certificate with extendedKeyUsage serverAuth.",
        ),
        Some(Cause::InvalidSerialNumber) => ("has an invalid serial number", REISSUE),
        Some(Cause::UnsupportedCriticalExtension) => ("has an unknown critical extension", REISSUE),
        _ => return (format!("is not accepted ({error})"), REISSUE),
    };
    (why.to_owned(), remedy)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_certificate_error_has_its_own_message_and_remedy() {
        use webpki::Error as Cause;
        let other = |cause: Cause| Bad::Other(rustls::OtherError(Arc::new(cause)));
        let faults = [
            (Bad::UnknownIssuer, "signed by a trusted certificate authority", "caRef"),
            (Bad::NotValidForName, "another host name", "source.host"),
            (Bad::Expired, "expired", "Renew"),
            (Bad::NotValidYet, "not valid yet", "clocks"),
            (Bad::BadSignature, "signature", "2048"),
            (Bad::InvalidPurpose, "extended key usage", "serverAuth"),
            (other(Cause::CaUsedAsEndEntity), "CA:TRUE", "CA:FALSE"),
            (other(Cause::EndEntityUsedAsCa), "CA flag", "CA:TRUE"),
            (other(Cause::UnsupportedCertVersion), "version 1", "subjectAltName"),
            (other(Cause::NameConstraintViolation), "name constraints", "allows this name"),
            (other(Cause::PathLenConstraintViolated), "pathLen", "shorter"),
        ];
        for (bad, words, remedy) in faults {
            let failure = tls_failure(Some(&rustls::Error::InvalidCertificate(bad)), "");
            assert!(failure.report.message.contains(words), "{failure}");
            assert!(failure.report.remedy.contains(remedy), "{failure}");
        }
    }

    #[test]
    fn a_certificate_without_names_is_distinguished_from_one_with_other_names() {
        assert!(another_name(&[]).0.contains("subject alternative name"));
        let names = ["DnsName(\"elsewhere.test\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()];
        assert!(another_name(&names).0.contains("(elsewhere.test, 10.0.0.1)"));
    }
}
