//! SCRAM-SHA-256 as libpq does it. The driver refuses passwords that SASLprep does not take; libpq, and the
//! server, use the bytes of such a password as they are.

use std::borrow::Cow;

use aws_smithy_types::base64;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

type Digest = [u8; 32];

/// Maximum number of rounds. Servers ask for 4,096 by default; ten million take longer than connecting may.
const ROUNDS_MAX: u32 = 10_000_000;

/// A password as libpq prepares it.
fn prepared(password: &str) -> Cow<'_, str> {
    if password.is_ascii() {
        return Cow::Borrowed(password);
    }
    match stringprep::saslprep(password) {
        Ok(text) if !text.is_empty() => text,
        _ => Cow::Borrowed(password),
    }
}

/// Whether the driver prepares this user and password as libpq does.
pub(super) fn driver_takes(username: &str, password: &str) -> bool {
    let user = stringprep::saslprep(&format!("n={username}")).is_ok() && !username.contains(',');
    user && stringprep::saslprep(password).is_ok_and(|text| text == prepared(password))
}

/// One authentication.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    password: Cow<'a, str>,
    nonce: String,
    /// What the server must answer at the end.
    signature: Option<Digest>,
}

impl<'a> Exchange<'a> {
    /// `nonce` is printable, without commas, and never used twice.
    pub(super) fn new(password: &'a str, nonce: String) -> Self {
        Self { password: prepared(password), nonce, signature: None }
    }

    /// The first message; the server knows the user already.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// The answer to the server's first message; none where that makes no sense.
    pub(super) fn answer(&mut self, server_first: &str) -> Option<String> {
        let mut parts = server_first.split(',');
        let nonce = parts.next()?.strip_prefix("r=")?;
        let salt = base64::decode(parts.next()?.strip_prefix("s=")?).ok()?;
        let rounds: u32 = parts.next()?.strip_prefix("i=")?.parse().ok()?;
        let is_ours = nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce);
        if !is_ours || !(1..=ROUNDS_MAX).contains(&rounds) {
            return None;
        }
        let salted = salted(self.password.as_bytes(), &salt, rounds);
        let without_proof = format!("c=biws,r={nonce}");
        let all = format!("{},{server_first},{without_proof}", self.first_bare());
        let client = hmac(&salted, &[b"Client Key"]);
        let mut proof = hmac(&Sha256::digest(client), &[all.as_bytes()]);
        for (byte, key) in proof.iter_mut().zip(client) {
            *byte ^= key;
        }
        self.signature = Some(hmac(&hmac(&salted, &[b"Server Key"]), &[all.as_bytes()]));
        Some(format!("{without_proof},p={}", base64::encode(proof)))
    }

    /// Whether the server has proved that it knows the password.
    pub(super) fn is_proved(&self, server_final: &str) -> bool {
        let said =
            server_final.strip_prefix("v=").and_then(|text| base64::decode(text.trim()).ok());
        said.is_some() && said.as_deref() == self.signature.as_ref().map(<[u8; 32]>::as_slice)
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// PBKDF2 with one block.
fn salted(password: &[u8], salt: &[u8], rounds: u32) -> Digest {
    let keyed = Hmac::<Sha256>::new_from_slice(password).expect("HMAC takes keys of any length");
    let mut last = hmac(password, &[salt, &1_u32.to_be_bytes()]);
    let mut all = last;
    for _ in 1..rounds {
        let mut mac = keyed.clone();
        mac.update(&last);
        last = mac.finalize().into_bytes().into();
        for (byte, other) in all.iter_mut().zip(last) {
            *byte ^= other;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, whose user is in the message.
    #[test]
    fn the_proof_follows_the_standard_and_that_of_another_server_is_refused() {
        let mut exchange = Exchange::new("pencil", "rOprNGfwEbeRWgbNEkqO".to_owned());
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let salt = base64::decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        // its salted password, from which all else follows
        let key = salted(b"pencil", &salt, 4096);
        let all = format!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,{server},c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        );
        let signature = hmac(&hmac(&key, &[b"Server Key"]), &[all.as_bytes()]);
        assert_eq!(base64::encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let answer = exchange.answer(server).expect("it makes sense");
        assert!(
            answer.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=")
        );
        let mine = format!("v={}", base64::encode(exchange.signature.expect("one")));
        assert!(exchange.is_proved(&mine));
        assert!(!exchange.is_proved("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        for bad in ["", "v=", "e=invalid-proof"] {
            assert!(!exchange.is_proved(bad), "{bad}");
        }
    }

    #[test]
    fn a_first_message_that_makes_no_sense_is_not_answered() {
        for bad in [
            "",
            "r=x",
            "r=abc,s=AAAA,i=1",
            "r=abcd,s=?,i=1",
            "r=abcd,s=AAAA,i=0",
            "r=xbcd,s=AAAA,i=1",
        ] {
            assert_eq!(Exchange::new("p", "abc".to_owned()).answer(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_password_is_prepared_as_libpq_does_it() {
        for (password, prepared_to, takes) in [
            ("plain", "plain", true),
            ("caf\u{e9}", "caf\u{e9}", true),
            ("cafe\u{301}", "caf\u{e9}", true),
            ("a\u{a0}b", "a b", true),
            ("a\u{ad}b", "ab", true),
            ("\u{2168}", "IX", true),
            // what SASLprep does not take stays as it is
            ("\u{1f600}", "\u{1f600}", false),
            ("a\u{e000}", "a\u{e000}", false),
            ("\u{ad}", "\u{ad}", false),
            ("tab\tin it", "tab\tin it", false),
            ("\u{627}1", "\u{627}1", false),
            ("caf\u{e9}\u{7}", "caf\u{e9}\u{7}", false),
        ] {
            assert_eq!(prepared(password), prepared_to, "{password:?}");
            assert_eq!(driver_takes("user", password), takes, "{password:?}");
        }
        for (user, takes) in
            [("user", true), ("\u{1f600}", false), ("a,b", false), ("caf\u{e9}", true)]
        {
            assert_eq!(driver_takes(user, "plain"), takes, "{user:?}");
        }
    }
}
