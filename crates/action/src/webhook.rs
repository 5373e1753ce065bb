//! Signatures of the Standard Webhooks specification 1.0, symmetric (`v1`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seal::hmac_sha256;

/// The key in a signing secret: base64, with or without `whsec_` before it; 16 to 128 bytes. None where it is not one.
#[must_use]
pub fn standard_webhooks_key(secret: &str) -> Option<Vec<u8>> {
    let text = secret.strip_prefix("whsec_").unwrap_or(secret);
    STANDARD.decode(text).ok().filter(|key| (16..=128).contains(&key.len()))
}

/// The value of `webhook-signature`: over the message's id, its time in seconds since 1970 and the body.
#[must_use]
pub fn standard_webhooks_signature(key: &[u8], id: &str, at_secs: i64, body: &[u8]) -> String {
    let content = [format!("{id}.{at_secs}.").as_bytes(), body].concat();
    format!("v1,{}", STANDARD.encode(hmac_sha256(key, &content)))
}
