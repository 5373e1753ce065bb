//! Who takes part: a provider with three tenants, the people of the one that is attacked, and agents under charters that the
//! provider wrote once. All of it made over the API, as an administrator would.

use super::platform::{Platform, text};
use anyhow::Context as _;
use serde_json::{Value, json};

/// The tenants; the first is attacked.
pub(crate) const TENANTS: [&str; 3] = ["harbour", "meadow", "summit"];

/// People, agents and what they may do.
pub(crate) struct Cast {
    /// The first administrator's token.
    pub(crate) first: String,
    /// The tenants' ids, in the order of [`TENANTS`].
    pub(crate) tenants: Vec<String>,
    /// Who answers for the agents: an analyst and administrator of the attacked tenant.
    pub(crate) ada: Person,
    /// Who approves: a responder of the attacked tenant.
    pub(crate) rae: Person,
}

/// A person.
pub(crate) struct Person {
    /// The id.
    pub(crate) id: String,
    /// A token.
    pub(crate) token: String,
}

impl Cast {
    /// Make tenants and people.
    pub(crate) async fn make(platform: &Platform, first: String) -> anyhow::Result<Self> {
        let mut tenants = Vec::new();
        for name in TENANTS {
            let made = platform.post(&first, "/v1/tenants", &json!({ "name": name, "tags": ["env=demo"] })).await?;
            tenants.push(text(&made, "/id").to_owned());
        }
        let own = tenants.first().context("a tenant was made")?.clone();
        let ada = person(platform, &first, &own, "ada", &["tenant_admin", "analyst"]).await?;
        let rae = person(platform, &first, &own, "rae", &["responder"]).await?;
        Ok(Self { first, tenants, ada, rae })
    }

    /// The attacked tenant.
    pub(crate) fn tenant(&self) -> &str {
        self.tenants.first().map_or("", String::as_str)
    }

    /// A tenant that nothing happens in.
    pub(crate) fn other_tenant(&self) -> &str {
        self.tenants.get(1).map_or("", String::as_str)
    }

    /// A further administrator of the provider; a token.
    pub(crate) async fn administrator(&self, platform: &Platform, name: &str) -> anyhow::Result<String> {
        let (email, password) = (format!("{name}@example.com"), password());
        let made = json!({ "email": email, "display_name": name, "password": password });
        let made = platform.post(&self.first, "/v1/users", &made).await?;
        let path = format!("/v1/users/{}/roles", text(&made, "/id"));
        platform.put(&self.first, &path, &json!({ "roles": ["provider_admin"] })).await?;
        platform.login(&email, &password).await
    }

    /// Register an agent of the provider with a definition, or the one that ships under its name, and roles in the tenants
    /// given; active from then on.
    pub(crate) async fn agent(
        &self,
        platform: &Platform,
        name: &str,
        definition: Option<&str>,
        roles: &[&str],
        tenants: &[String],
    ) -> anyhow::Result<String> {
        let me = platform.get(&self.first, "/v1/me").await?;
        let owner = text(&me, "/principal");
        let made = json!({ "name": name, "purpose": format!("{name} of the demo"), "owner": owner });
        let made = platform.post(&self.first, "/v1/agents", &made).await?;
        let agent = text(&made, "/id").to_owned();
        let charter = definition.map_or_else(|| json!({}), |text| json!({ "text": text }));
        platform.put(&self.first, &format!("/v1/agents/{agent}/charter"), &charter).await?;
        platform.post(&self.first, &format!("/v1/agents/{agent}/activate"), &json!({})).await?;
        for tenant in tenants {
            for role in roles {
                let assigned = json!({ "principal": agent, "role": role, "tenant": tenant });
                platform.post(&self.first, "/v1/assignments", &assigned).await?;
            }
        }
        Ok(agent)
    }
}

async fn person(platform: &Platform, first: &str, tenant: &str, name: &str, roles: &[&str]) -> anyhow::Result<Person> {
    let (email, password) = (format!("{name}@example.com"), password());
    let made = json!({ "email": email, "display_name": name, "password": password, "tenant": tenant });
    let made: Value = platform.post(first, "/v1/users", &made).await?;
    let id = text(&made, "/id").to_owned();
    platform.put(first, &format!("/v1/users/{id}/roles"), &json!({ "roles": roles, "tenant": tenant })).await?;
    let token = platform.login(&email, &password).await?;
    Ok(Person { id, token })
}

/// A password that nobody needs to know.
fn password() -> String {
    let mut bytes = [0_u8; 24];
    ids::Entropy::fill(&seal::SystemEntropy, &mut bytes);
    seal::Digest::of(&bytes).to_hex()
}
