//! The `[sign_in.NAME]` sections: OpenID providers that people sign in through. Reads files of secrets, asks nobody.

use crate::data_dir::read_secret;
use anyhow::Context as _;
use control::{ClaimRole, OidcProvider};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A provider, as it is written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    /// Its issuer, exactly as it writes it, for example `https://login.example.com`.
    issuer: String,
    /// This installation's name there.
    client_id: String,
    /// File with the secret that goes with it; none for a public client.
    client_secret_file: Option<PathBuf>,
    /// What is asked for.
    #[serde(default = "scopes")]
    scopes: Vec<String>,
    /// Addresses of further hosts that its metadata names, for example of its token endpoint.
    #[serde(default)]
    hosts: Vec<String>,
    /// Where codes may go besides a person's own machine.
    #[serde(default)]
    redirect_uris: Vec<String>,
    /// Where its people belong; the provider where nothing is said.
    tenant: Option<ids::TenantId>,
    /// Whether who is not known yet is made.
    #[serde(default)]
    create: bool,
    /// Whether it may lie inside, and without TLS.
    #[serde(default)]
    private_network: bool,
    /// The roles that its claims give and take.
    #[serde(default)]
    roles: Vec<RoleSection>,
}

/// A role that a claim gives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleSection {
    /// The claim's name, or a JSON pointer into the claims.
    claim: String,
    /// What it must be, or have among its values.
    value: String,
    /// The role.
    role: String,
    /// Where it is held; the provider and all of its tenants where nothing is said.
    tenant: Option<ids::TenantId>,
}

fn scopes() -> Vec<String> {
    ["openid", "email", "profile"].map(str::to_owned).to_vec()
}

/// The providers of a configuration, with their secrets.
pub(crate) fn providers(sections: &BTreeMap<String, Section>) -> anyhow::Result<Vec<OidcProvider>> {
    sections.iter().map(|(name, section)| provider(name, section)).collect()
}

fn provider(name: &str, section: &Section) -> anyhow::Result<OidcProvider> {
    let read = |file: &PathBuf| {
        let text = read_secret(file)?;
        seal::SecretText::new(text).with_context(|| format!("`{}` is too long", file.display()))
    };
    let Section { issuer, client_id, scopes, hosts, redirect_uris, tenant, create, private_network, .. } =
        section.clone();
    let roles = section.roles.iter().cloned().map(|one| ClaimRole {
        claim: one.claim,
        value: one.value,
        role: one.role,
        tenant: one.tenant,
    });
    Ok(OidcProvider {
        name: name.to_owned(),
        issuer,
        client_id,
        client_secret: section.client_secret_file.as_ref().map(read).transpose()?,
        scopes,
        hosts,
        redirect_uris,
        tenant,
        create,
        private_network,
        roles: roles.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_whole_or_not_at_all() {
        let text = "[corp]\nissuer = \"https://login.example.com\"\nclient_id = \"posse\"\ncreate = true\n\
            [[corp.roles]]\nclaim = \"groups\"\nvalue = \"soc\"\nrole = \"analyst\"\n";
        let sections: BTreeMap<String, Section> = toml::from_str(text).unwrap();
        let all = providers(&sections).unwrap();
        assert_eq!((all[0].name.as_str(), all[0].scopes.len(), all[0].roles.len()), ("corp", 3, 1));
        assert!(!all[0].private_network && all[0].client_secret.is_none());
        for odd in ["client_secret = \"x\"", "issuers = []"] {
            assert!(
                toml::from_str::<BTreeMap<String, Section>>(&text.replacen("create = true", odd, 1)).is_err(),
                "{odd}"
            );
        }
        let missing = text.replacen("create = true", "client_secret_file = \"/nowhere/secret\"", 1);
        assert!(providers(&toml::from_str(&missing).unwrap()).is_err());
    }
}
