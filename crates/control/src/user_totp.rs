//! The second factor of a person: a key that their authenticator shares. Sealed at rest, shown once, of effect only after a first
//! code was right. Must never be made for somebody else, who would then know it, and no code may be guessed at leisure: at every
//! door wrong ones count against the person.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::sign_in::Second;
use crate::target::Target;
use api::{NewTotp, Problem, ProblemKind, Secret, UserConfirmTotp, UserEnrolTotp, UserRemoveTotp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{Principal, Timestamp, UserId};
use seal::TotpKey;
use store::{Changes, Stored, Totp, User};

async fn own_account(look: &Look<'_>, user: UserId) -> Result<Target, Refusal> {
    let stored: Stored<User> = look.one("user", &user.to_string()).await?;
    Ok(Target::new("User", user.to_string(), stored.value.tenant.into()).named(stored.value.display_name))
}

/// Where somebody signs in who has a second factor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Door {
    /// With a password.
    Password,
    /// Through an OpenID provider.
    Provider,
}

fn sealed_for(user: UserId) -> Vec<u8> {
    format!("totp/{user}").into_bytes()
}

fn check_own(admitted: &Admitted<'_>, user: UserId) -> Result<(), Refusal> {
    if admitted.identity.principal == Principal::User(user) {
        return Ok(());
    }
    Err(Refusal::conflict("a second factor belongs to its person, so only that person can set it up"))
}

/// A name as it may stand in an authenticator's address.
fn label(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~@".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Control {
    fn totp_key(&self, user: &User, totp: &Totp) -> Result<TotpKey, Refusal> {
        let bytes =
            STANDARD.decode(&totp.sealed).map_err(|error| Refusal::bug("a sealed key is not base64", &error))?;
        let opened = self.keys.open(user.tenant.into(), &sealed_for(user.id), &bytes);
        let opened = opened.map_err(|error| Refusal::bug("a sealed key does not open", &error))?;
        TotpKey::from_bytes(opened.expose()).ok_or_else(|| Refusal::bug("a sealed key is too short", &user.id))
    }

    /// The person as they are once this code was taken; none where it is not good, or was taken before.
    pub(crate) fn after_code(&self, user: &User, code: &str, now: Timestamp) -> Result<Option<User>, Refusal> {
        let Some(totp) = &user.totp else { return Ok(None) };
        let step = self.totp_key(user, totp)?.accepts(code, now, totp.last_step);
        Ok(step.map(|last_step| User { totp: Some(Totp { last_step, ..totp.clone() }), ..user.clone() }))
    }

    /// The person as they are once this code was taken; none where it is not good. Wrong ones count: after a few nobody may try
    /// for a while.
    fn after_counted_code(&self, user: &User, code: &str) -> Result<Option<User>, Refusal> {
        self.code_turn(user.id)?;
        let after = self.after_code(user, code, self.now())?;
        if after.is_some() {
            self.give_code_back(user.id);
        }
        Ok(after)
    }

    /// That a person who has a second factor gave it.
    pub(crate) fn check_second_factor(&self, user: &User, code: Option<&str>, door: Door) -> Result<(), Refusal> {
        if !user.totp.as_ref().is_some_and(|totp| totp.confirmed) {
            return Ok(());
        }
        let good = match code {
            Some(code) => self.after_counted_code(user, code)?.is_some(),
            None => false,
        };
        if good {
            return Ok(());
        }
        let detail = match door {
            Door::Password => {
                "the password is right, and a second factor is needed: send `totp`, the code that your authenticator shows now; each is good once"
            }
            Door::Provider => {
                "the provider vouches for you, and a second factor is needed: sign in there again, and send `totp` with what comes back, the code that your authenticator shows then; each is good once"
            }
        };
        Err(Problem::new(ProblemKind::Unauthenticated, detail).into())
    }
}

impl Handle<UserEnrolTotp> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserEnrolTotp) -> Result<Target, Refusal> {
        own_account(look, input.user).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserEnrolTotp) -> Result<Outcome<NewTotp>, Refusal> {
        check_own(admitted, input.user)?;
        let before: Stored<User> = admitted.one("user", &input.user.to_string()).await?;
        if before.value.totp.as_ref().is_some_and(|totp| totp.confirmed) {
            return Err(Refusal::conflict("you have a second factor; remove it first, with a code of it"));
        }
        if before.value.password.is_some() {
            // Who finds an open session could otherwise lock its person out.
            let Some(password) = &input.password else {
                let detail = "is missing; who has a password sets up a second factor with it";
                return Err(Refusal::fault("/password", detail));
            };
            match self.sign_in(&before.value.email, password.reveal(), Second::Waived, None).await {
                Ok(_) => {}
                Err(Refusal::Problem(problem)) if problem.status == 401 => {
                    return Err(Refusal::fault("/password", "is not your password"));
                }
                Err(refusal) => return Err(refusal),
            }
        }
        let key = TotpKey::generate(self.inner.entropy.as_ref());
        let bytes = key.to_bytes();
        let (owner, entropy) = (before.value.tenant.into(), self.inner.entropy.as_ref());
        let sealed = self.keys.seal(owner, &sealed_for(input.user), bytes.as_slice(), entropy);
        let totp = Totp { sealed: STANDARD.encode(sealed), confirmed: false, last_step: 0 };
        let email = label(&before.value.email);
        let user = User { totp: Some(totp), ..before.value };
        let mut changes = Changes::new();
        changes.replace(&user, before.version);
        let secret = key.base32();
        let uri = format!("otpauth://totp/Posse:{email}?secret={secret}&issuer=Posse");
        Ok(Outcome::changed(NewTotp { secret: Secret::new(secret), uri: Secret::new(uri) }, changes))
    }
}

impl Handle<UserConfirmTotp> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserConfirmTotp) -> Result<Target, Refusal> {
        own_account(look, input.user).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserConfirmTotp) -> Result<Outcome<api::User>, Refusal> {
        check_own(admitted, input.user)?;
        let before: Stored<User> = admitted.one("user", &input.user.to_string()).await?;
        if before.value.totp.is_none() {
            return Err(Refusal::conflict("no second factor waits to be confirmed; enrol one first"));
        }
        let Some(user) = self.after_counted_code(&before.value, input.code.reveal())? else {
            return Err(Refusal::fault(
                "/code",
                "is not what your authenticator shows now, or was used; wait for the next",
            ));
        };
        let totp = user.totp.map(|totp| Totp { confirmed: true, ..totp });
        self.with_totp(admitted, &before, totp)
    }
}

impl Handle<UserRemoveTotp> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserRemoveTotp) -> Result<Target, Refusal> {
        own_account(look, input.user).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserRemoveTotp) -> Result<Outcome<api::User>, Refusal> {
        let before: Stored<User> = admitted.one("user", &input.user.to_string()).await?;
        let Some(totp) = &before.value.totp else {
            return Err(Refusal::conflict("this person has no second factor"));
        };
        // A session that somebody left open does not take the factor away; an administrator may, for who lost it.
        if admitted.identity.principal == Principal::User(input.user) && totp.confirmed {
            let Some(code) = &input.code else {
                return Err(Refusal::fault("/code", "is missing; your own second factor goes only with a code of it"));
            };
            if self.after_counted_code(&before.value, code.reveal())?.is_none() {
                return Err(Refusal::fault(
                    "/code",
                    "is not what your authenticator shows now, or was used; wait for the next",
                ));
            }
        }
        self.with_totp(admitted, &before, None)
    }
}

impl Control {
    fn with_totp(
        &self,
        admitted: &Admitted<'_>,
        before: &Stored<User>,
        totp: Option<Totp>,
    ) -> Result<Outcome<api::User>, Refusal> {
        let user = User { totp, ..before.value.clone() };
        let mut changes = Changes::new();
        changes.replace(&user, before.version);
        let after = crate::user::replaced(before, user, admitted.now);
        Ok(Outcome::changed(crate::user::wire(after)?, changes))
    }
}
