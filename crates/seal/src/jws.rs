//! Verifying JSON Web Signatures in compact form (RFC 7515) with the keys of a set (RFC 7517). Knows EdDSA (Ed25519), ES256 and
//! RS256, and takes the algorithm from the key, never from the token alone: a token cannot choose how it is verified. Must never
//! take `none` or a symmetric algorithm, and never look at a payload whose signature does not verify.

use crate::{SigningKeyError, VerifyingKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Keys of a set that are read.
const KEYS_MAX: usize = 64;

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
pub enum JwsError {
    /// Not three parts of base64url with a JSON header.
    #[error("is not a signed token in compact form")]
    Format,
    /// No key of the set has its id and algorithm; a fresh set may.
    #[error("names a key that is not in the set")]
    UnknownKey,
    /// The signature is not that key's.
    #[error("has a signature that does not verify")]
    Signature,
}

/// What a key verifies with.
#[derive(Clone, Debug)]
enum Material {
    EdDsa(VerifyingKey),
    Es256(Vec<u8>),
    Rs256 { n: Vec<u8>, e: Vec<u8> },
}

/// One public key.
#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    material: Material,
}

/// The public keys of an issuer.
#[derive(Clone, Debug, Default)]
pub struct JwkSet(Vec<Key>);

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515 section 4.1.11): none are.
    crit: Option<serde::de::IgnoredAny>,
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn material(jwk: &Jwk) -> Option<Material> {
    let alg = jwk.alg.as_deref();
    let field = |field: &Option<String>| decoded(field.as_deref()?);
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) if alg.is_none_or(|alg| alg == "RS256") => {
            let (n, e) = (field(&jwk.n)?, field(&jwk.e)?);
            // ring wants numbers without leading zeros, which some issuers write.
            let strip = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            Some(Material::Rs256 { n: strip(n), e: strip(e) })
        }
        ("EC", Some("P-256")) if alg.is_none_or(|alg| alg == "ES256") => {
            let (x, y) = (field(&jwk.x)?, field(&jwk.y)?);
            let whole = x.len() == 32 && y.len() == 32;
            whole.then(|| Material::Es256([vec![4], x, y].concat()))
        }
        ("OKP", Some("Ed25519")) if alg.is_none_or(|alg| alg == "EdDSA") => {
            let bytes = <[u8; 32]>::try_from(field(&jwk.x)?).ok()?;
            let key: Result<VerifyingKey, SigningKeyError> = VerifyingKey::from_bytes(&bytes);
            key.ok().map(Material::EdDsa)
        }
        _ => None,
    }
}

impl JwkSet {
    /// The keys of a set that sign, in the algorithms that are known; others are left out. At most 64.
    #[must_use]
    pub fn parse(set: &Value) -> Self {
        let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let read = keys.iter().take(KEYS_MAX).filter_map(|key| Jwk::deserialize(key).ok());
        let signing = read.filter(|jwk| jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig"));
        Self(signing.filter_map(|jwk| Some(Key { material: material(&jwk)?, id: jwk.kid })).collect())
    }

    /// The claims of a token that one of the keys signed.
    ///
    /// # Errors
    /// [`JwsError`]; nothing of the token may be used then.
    pub fn verify(&self, token: &str) -> Result<Value, JwsError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwsError::Format);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Format)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Format)?;
        let header = decoded(header).ok_or(JwsError::Format)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| JwsError::Format)?;
        if header.crit.is_some() || payload.contains('.') {
            return Err(JwsError::Format);
        }
        let signature = decoded(signature).ok_or(JwsError::Format)?;
        let mut fitting = self.0.iter().filter(|key| {
            header.kid.as_ref().is_none_or(|id| key.id.as_ref() == Some(id)) && key.material.name() == header.alg
        });
        let mut any = false;
        let good = fitting.any(|key| {
            any = true;
            key.material.verifies(signed.as_bytes(), &signature)
        });
        if !good {
            return Err(if any { JwsError::Signature } else { JwsError::UnknownKey });
        }
        let payload = decoded(payload).ok_or(JwsError::Format)?;
        serde_json::from_slice(&payload).map_err(|_| JwsError::Format)
    }
}

impl Material {
    const fn name(&self) -> &'static str {
        match self {
            Self::EdDsa(_) => "EdDSA",
            Self::Es256(_) => "ES256",
            Self::Rs256 { .. } => "RS256",
        }
    }

    fn verifies(&self, message: &[u8], given: &[u8]) -> bool {
        match self {
            Self::EdDsa(key) => key.verify(message, given),
            Self::Es256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, given).is_ok()
            }
            Self::Rs256 { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, given).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;
    use serde_json::json;

    /// RFC 7515 appendix A.2 and A.3: the key and the token.
    fn vectors() -> [(Value, String); 2] {
        let rsa = json!({ "kty": "RSA", "e": "AQAB",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" });
        let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let by_rsa = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let ec = json!({ "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
        let by_ec = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        [
            (rsa, format!("eyJhbGciOiJSUzI1NiJ9.{payload}.{by_rsa}")),
            (ec, format!("eyJhbGciOiJFUzI1NiJ9.{payload}.{by_ec}")),
        ]
    }

    #[test]
    fn the_vectors_of_rfc_7515_verify_and_no_other_byte_does() {
        for (key, token) in vectors() {
            let set = JwkSet::parse(&json!({ "keys": [key] }));
            assert_eq!(set.verify(&token).unwrap()["iss"], "joe");
            for place in [token.find('.').unwrap() + 3, token.len() - 6] {
                let mut other = token.clone().into_bytes();
                other[place] = if other[place] == b'A' { b'B' } else { b'A' };
                assert_eq!(set.verify(&String::from_utf8(other).unwrap()), Err(JwsError::Signature), "{place}");
            }
        }
    }

    #[test]
    fn a_token_cannot_choose_how_it_is_verified() {
        let [(rsa, by_rsa), (ec, by_ec)] = vectors();
        let set = |key: &Value| JwkSet::parse(&json!({ "keys": [key] }));
        assert_eq!(set(&ec).verify(&by_rsa), Err(JwsError::UnknownKey));
        assert_eq!(set(&rsa).verify(&by_ec), Err(JwsError::UnknownKey));
        let payload = by_rsa.split('.').nth(1).unwrap();
        let header = |alg: &str| URL_SAFE_NO_PAD.encode(json!({ "alg": alg }).to_string());
        for alg in ["none", "HS256", "RS384", "rs256"] {
            assert_eq!(
                set(&rsa).verify(&format!("{}.{payload}.AAAA", header(alg))),
                Err(JwsError::UnknownKey),
                "{alg}"
            );
        }
        let critical = URL_SAFE_NO_PAD.encode(json!({ "alg": "RS256", "crit": ["x"] }).to_string());
        for odd in [String::new(), "a.b".to_owned(), format!("{critical}.{payload}.AAAA"), format!("{by_rsa}.x")] {
            assert_eq!(set(&rsa).verify(&odd), Err(JwsError::Format), "{odd}");
        }
        assert_eq!(set(&json!({ "kty": "oct", "k": "AAAA" })).verify(&by_rsa), Err(JwsError::UnknownKey));
    }

    #[test]
    fn an_edwards_key_is_found_by_its_id() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let x = URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes());
        let set = JwkSet::parse(&json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "one", "use": "enc" },
            { "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "two" },
        ] }));
        let token = |kid: &str| {
            let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "EdDSA", "kid": kid }).to_string());
            let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(json!({ "sub": "x" }).to_string()));
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())))
        };
        assert_eq!(set.verify(&token("two")).unwrap()["sub"], "x");
        assert_eq!(set.verify(&token("one")), Err(JwsError::UnknownKey), "a key for encryption signs nothing");
    }
}
