//! Whether a token is one that RDS would take.

use anyhow::{Context, Result, bail, ensure};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use url::Url;

/// Who must have signed, for which server of 127.0.0.1.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) region: String,
    pub(super) key: (String, String),
    pub(super) port: u16,
}

impl Signer {
    /// When the token was signed, as `20230131T100000Z`.
    pub(super) fn check(&self, token: &str) -> Result<String> {
        let url = Url::parse(&format!("https://{token}"))?;
        ensure!(
            url.host_str() == Some("127.0.0.1") && url.port() == Some(self.port),
            "another server"
        );
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let get = |name: &str| {
            let found = pairs.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).with_context(|| format!("no {name}"))
        };
        ensure!(get("Action")? == "connect" && get("X-Amz-Expires")? == "900", "of another kind");
        let at = get("X-Amz-Date")?;
        let scope = format!("{}/{}/rds-db/aws4_request", &at[..8], self.region);
        ensure!(get("X-Amz-Credential")? == format!("{}/{scope}", self.key.0), "another signer");
        if get("X-Amz-Signature")? != self.signature(&url, &pairs, &at, &scope)? {
            bail!("a wrong signature");
        }
        Ok(at)
    }

    /// Signature version 4, as AWS documents it.
    fn signature(
        &self,
        url: &Url,
        pairs: &[(String, String)],
        at: &str,
        scope: &str,
    ) -> Result<String> {
        let mut query: Vec<String> = pairs
            .iter()
            .filter(|(name, _)| name != "X-Amz-Signature")
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        query.sort();
        let host = format!("{}:{}", url.host_str().context("host")?, url.port().context("port")?);
        let canonical = format!(
            "GET\n/\n{}\nhost:{host}\n\nhost\n{}",
            query.join("&"),
            hex(&Sha256::digest(b""))
        );
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let mut key = format!("AWS4{}", self.key.1).into_bytes();
        for part in scope.split('/') {
            key = mac(&key, part.as_bytes())?;
        }
        Ok(hex(&mac(&key, text.as_bytes())?))
    }
}

fn mac(key: &[u8], text: &[u8]) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(text);
    Ok(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text + &char::from(byte).to_string()
        } else {
            text + &format!("%{byte:02X}")
        }
    })
}
