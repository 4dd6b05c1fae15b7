//! Why a TLS handshake with a database failed, and what to do about it.

use crds::Reason;
use rustls::CertificateError as Bad;
use worker_core::errors::failure::Failure;

/// Why, and what to do.
type Words = (String, &'static str);

const REISSUE: &str = "issue another certificate for the database server";

/// What a failed handshake means; `text` is what the driver says where it has no error of rustls.
pub(crate) fn tls_failure(error: Option<&rustls::Error>, text: &str) -> Failure {
    let (message, remedy) = match error {
        Some(rustls::Error::InvalidCertificate(bad)) => {
            let (why, remedy) = refused(bad);
            (format!("the database's certificate {why}"), remedy)
        }
        Some(rustls::Error::AlertReceived(alert)) => (
            format!("the TLS handshake with the database failed: the server ended it ({alert:?})"),
            "look at the server's log: it may ask for a client certificate, or for another version of TLS, or lack ECDHE cipher suites",
        ),
        Some(error) => (
            format!("the TLS handshake with the database failed ({error})"),
            "check source.tls and the CA file; the server must offer TLS 1.3, or TLS 1.2 with an ECDHE cipher suite",
        ),
        None if text.contains("does not support TLS") => (
            "the database server does not offer TLS".to_owned(),
            "turn TLS on in the server, or use source.tls.mode: insecurePlaintext where the operator allows it",
        ),
        None => (
            "the TLS handshake with the database failed".to_owned(),
            "check source.tls and the CA file; the server must offer TLS 1.3, or TLS 1.2 with an ECDHE cipher suite",
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
        format!("certificate {number} of the file with certificate authorities {why}"),
        "check source.tls.caRef: it must hold certificates of authorities in PEM",
    )
}

/// Why a certificate is refused; the words follow its name.
fn refused(bad: &Bad) -> Words {
    let (why, remedy) = match bad {
        Bad::UnknownIssuer => (
            "is not signed by an authority that is trusted",
            "name the right certificate authority in source.tls.caRef, and let the server send its intermediate \
             certificates",
        ),
        Bad::NotValidForName => (
            "is for another host name",
            "set source.host to a name that the certificate has, or source.tls.mode: verifyCa",
        ),
        Bad::NotValidForNameContext { presented, .. } => return another_name(presented),
        Bad::Expired | Bad::ExpiredContext { .. } => {
            ("has expired", "renew the certificate of the database server, or of its authority")
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            ("is not valid yet", "check the clocks, and the certificate of the database server")
        }
        Bad::Revoked => ("is revoked", REISSUE),
        Bad::BadEncoding => ("is not a certificate that can be read", REISSUE),
        Bad::BadSignature => (
            "has a signature that does not fit its authority's key, or that key is too weak (RSA below 2048 bits)",
            "issue the certificate anew with the authority of source.tls.caRef, whose RSA key has 2048 bits or more",
        ),
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => (
            "has an extended key usage that does not include serverAuth",
            "issue the certificate with extendedKeyUsage serverAuth, or without extendedKeyUsage",
        ),
        Bad::UnhandledCriticalExtension => ("has a critical extension that is not known", REISSUE),
        Bad::Other(other) => return by_webpki(other.0.as_ref()),
        Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            "is signed with an algorithm that does not fit the key of its authority, or with a key that is not supported",
            "use keys of RSA, ECDSA P-256 or P-384, or Ed25519, and SHA-256 or better",
        ),
        other => {
            let unsupported = format!("{other:?}").starts_with("UnsupportedSignatureAlgorithm");
            if !unsupported {
                return (format!("is not accepted ({other:?})"), REISSUE);
            }
            (
                "is signed with an algorithm that is not supported, such as SHA-1 or ECDSA P-521",
                "use keys of RSA, ECDSA P-256 or P-384, or Ed25519, and SHA-256 or better",
            )
        }
    };
    (why.to_owned(), remedy)
}

fn another_name(presented: &[String]) -> Words {
    const ANOTHER: &str =
        "set source.host to a name that the certificate has, or source.tls.mode: verifyCa";
    if presented.is_empty() {
        return (
            "names no host: it has no subject alternative name, and Tidemark ignores the common name".to_owned(),
            "issue the certificate with a subjectAltName for source.host, or set source.tls.mode: verifyCa",
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
            "is the certificate of an authority (basicConstraints CA:TRUE), which a server may not use",
            "issue a certificate with CA:FALSE for the server, or a self-signed one with -addext \
             basicConstraints=critical,CA:FALSE",
        ),
        Some(Cause::EndEntityUsedAsCa) => (
            "is signed by a certificate that is not that of an authority (its CA flag is missing)",
            "issue the intermediate certificate with basicConstraints CA:TRUE",
        ),
        Some(Cause::UnsupportedCertVersion) => (
            "is of X.509 version 1 or 2, and version 3 is needed",
            "issue the certificate with extensions, such as subjectAltName (openssl x509 -req -extfile)",
        ),
        Some(Cause::NameConstraintViolation) => (
            "has a name that the name constraints of its authority do not allow",
            "issue the certificate with an authority that may issue it",
        ),
        Some(Cause::PathLenConstraintViolated | Cause::MaximumPathDepthExceeded) => (
            "has more authorities above it than they allow (pathLenConstraint)",
            "issue the certificate with a shorter chain of authorities",
        ),
        Some(Cause::EmptyEkuExtension) => (
            "has an extended key usage that is empty",
            "issue the certificate with extendedKeyUsage serverAuth",
        ),
        Some(Cause::InvalidSerialNumber) => ("has a serial number that is not valid", REISSUE),
        Some(Cause::UnsupportedCriticalExtension) => {
            ("has a critical extension that is not known", REISSUE)
        }
        _ => return (format!("is not accepted ({error})"), REISSUE),
    };
    (why.to_owned(), remedy)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_fault_of_a_certificate_has_words_and_a_remedy_of_its_own() {
        use webpki::Error as Cause;
        let other = |cause: Cause| Bad::Other(rustls::OtherError(Arc::new(cause)));
        let faults = [
            (Bad::UnknownIssuer, "authority that is trusted", "caRef"),
            (Bad::NotValidForName, "another host name", "source.host"),
            (Bad::Expired, "expired", "renew"),
            (Bad::NotValidYet, "not valid yet", "clocks"),
            (Bad::BadSignature, "signature", "2048"),
            (Bad::InvalidPurpose, "extended key usage", "serverAuth"),
            (other(Cause::CaUsedAsEndEntity), "CA:TRUE", "CA:FALSE"),
            (other(Cause::EndEntityUsedAsCa), "CA flag", "CA:TRUE"),
            (other(Cause::UnsupportedCertVersion), "version 1", "subjectAltName"),
            (other(Cause::NameConstraintViolation), "name constraints", "may issue"),
            (other(Cause::PathLenConstraintViolated), "pathLen", "shorter"),
        ];
        for (bad, words, remedy) in faults {
            let failure = tls_failure(Some(&rustls::Error::InvalidCertificate(bad)), "");
            assert!(failure.report.message.contains(words), "{failure}");
            assert!(failure.report.remedy.contains(remedy), "{failure}");
        }
    }

    #[test]
    fn a_certificate_without_names_is_told_from_one_with_others() {
        assert!(another_name(&[]).0.contains("subject alternative name"));
        let names = ["DnsName(\"elsewhere.test\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()];
        assert!(another_name(&names).0.contains("(elsewhere.test, 10.0.0.1)"));
    }
}
