//! Passwords as argon2id hashes in PHC text. Must never tell an unknown user from a wrong password by its cost: callers
//! without a stored hash call [`PasswordHash::decoy_verify`].

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc};
use argon2::{Algorithm, Argon2, Params, Version};
use ids::Entropy;
use thiserror::Error;

use crate::SecretText;

/// What one password check costs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PasswordCost {
    /// Memory in KiB, at least 8 per lane.
    pub memory_kib: u32,
    /// Passes over the memory, at least 1.
    pub passes: u32,
    /// Lanes, at least 1.
    pub lanes: u32,
}

impl PasswordCost {
    /// OWASP Password Storage Cheat Sheet (2024): argon2id, 19 MiB, 2 passes, 1 lane.
    pub const OWASP: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

    fn hasher(self) -> Result<Argon2<'static>, PasswordError> {
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, None).map_err(|_| PasswordError::Cost(self))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self::OWASP
    }
}

/// Why a password hash cannot be made or read.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
pub enum PasswordError {
    /// The cost is out of argon2's range.
    #[error(
        "{} KiB, {} passes and {} lanes are no cost argon2 knows; give at least 8 KiB per lane, 1 pass and 1 lane",
        .0.memory_kib, .0.passes, .0.lanes
    )]
    Cost(PasswordCost),
    /// A stored text is not an argon2id hash.
    #[error("the stored password hash is not an argon2id hash in PHC text")]
    Stored,
}

/// The stored form of a password: `$argon2id$v=19$m=...,t=...,p=...$salt$hash`.
#[derive(Clone, Eq, PartialEq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hash a password with 16 bytes of fresh salt. Takes tens of milliseconds at the default cost: not on an async thread.
    ///
    /// # Errors
    /// [`PasswordError::Cost`] where argon2 does not know the cost.
    pub fn create(password: &SecretText, entropy: &dyn Entropy, cost: PasswordCost) -> Result<Self, PasswordError> {
        let mut salt = [0_u8; 16];
        entropy.fill(&mut salt);
        Self::with_salt(password, &salt, cost)
    }

    fn with_salt(password: &SecretText, salt: &[u8; 16], cost: PasswordCost) -> Result<Self, PasswordError> {
        let hash = cost.hasher()?.hash_password_with_salt(password.expose().as_bytes(), salt);
        hash.map(|hash: phc::PasswordHash| Self(hash.to_string())).map_err(|_| PasswordError::Cost(cost))
    }

    /// The hash that was stored as this text.
    ///
    /// # Errors
    /// [`PasswordError::Stored`] for any other text.
    pub fn parse(text: &str) -> Result<Self, PasswordError> {
        let hash = phc::PasswordHash::new(text).map_err(|_| PasswordError::Stored)?;
        if hash.algorithm.as_str() == "argon2id" && hash.hash.is_some() && hash.salt.is_some() {
            Ok(Self(text.to_owned()))
        } else {
            Err(PasswordError::Stored)
        }
    }

    /// The text to store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the password. Costs what the hash cost when it was made.
    #[must_use]
    pub fn verify(&self, password: &SecretText) -> bool {
        phc::PasswordHash::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok())
    }

    /// Whether the hash was made at another cost than is asked for now: make a new one at the next good login.
    #[must_use]
    pub fn outdated(&self, cost: PasswordCost) -> bool {
        let expected = format!("$argon2id$v=19$m={},t={},p={}$", cost.memory_kib, cost.passes, cost.lanes);
        !self.0.starts_with(&expected)
    }

    /// Spend what a check would cost, for a user that does not exist. Always false.
    #[must_use]
    pub fn decoy_verify(password: &SecretText, cost: PasswordCost) -> bool {
        let hash = Self::with_salt(password, b"posse-decoy-salt", cost);
        // The result is of no interest, the work is: it must not be optimised away.
        drop(std::hint::black_box(hash));
        false
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    const CHEAP: PasswordCost = PasswordCost { memory_kib: 16, passes: 1, lanes: 1 };

    fn secret(text: &str) -> SecretText {
        SecretText::new(text).unwrap()
    }

    #[test]
    fn only_the_password_verifies() {
        let entropy = SeededEntropy::new(1);
        let hash = PasswordHash::create(&secret("correct horse"), &entropy, CHEAP).unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=16,t=1,p=1$"), "{}", hash.as_str());
        assert!(hash.verify(&secret("correct horse")));
        assert!(!hash.verify(&secret("correct horsf")));
        assert!(!hash.verify(&secret("")));
        assert_eq!(PasswordHash::parse(hash.as_str()).unwrap(), hash);
        assert_ne!(PasswordHash::create(&secret("correct horse"), &entropy, CHEAP).unwrap(), hash, "salted");
        assert!(!PasswordHash::decoy_verify(&secret("correct horse"), CHEAP));
    }

    #[test]
    fn the_default_cost_is_that_of_owasp() {
        let hash = PasswordHash::create(&secret("x"), &SeededEntropy::new(1), PasswordCost::default()).unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(hash.outdated(CHEAP) && !hash.outdated(PasswordCost::OWASP));
    }

    #[test]
    fn what_is_no_argon2id_hash_is_refused() {
        for text in
            ["", "plain", "$argon2i$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "$argon2id$v=19$m=16,t=1,p=1"]
        {
            assert_eq!(PasswordHash::parse(text), Err(PasswordError::Stored), "{text}");
        }
        let cost = PasswordCost { memory_kib: 1, passes: 0, lanes: 0 };
        assert!(PasswordHash::create(&secret("x"), &SeededEntropy::new(1), cost).is_err());
    }
}
