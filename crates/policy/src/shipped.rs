//! The policies, roles and rungs that ship, embedded from `content/policies`.
//!
//! Text only: they pass through the same compilation as everyone's. No rule is written in this file.

use crate::{
    document::Document,
    rung::{Rung, RungError, parse_rungs},
};
use ids::PrincipalKind;

/// A role that ships.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShippedRole {
    /// Its name in policies, for example `viewer`.
    pub id: &'static str,
    /// What it is for, in one sentence without a full stop.
    pub summary: &'static str,
    /// The kinds of principal it is meant for.
    pub principals: &'static [PrincipalKind],
}

const PEOPLE: &[PrincipalKind] = &[PrincipalKind::Service, PrincipalKind::User];
const AGENTS: &[PrincipalKind] = &[PrincipalKind::Agent];

/// All shipped roles, those of people first.
pub const ROLES: [ShippedRole; 11] = [
    ShippedRole {
        id: "viewer",
        summary: "reads the operational data of the tenant",
        principals: &[PrincipalKind::Agent, PrincipalKind::Service, PrincipalKind::User],
    },
    ShippedRole { id: "analyst", summary: "works on cases and what belongs to them", principals: PEOPLE },
    ShippedRole { id: "responder", summary: "works on cases and takes response actions", principals: PEOPLE },
    ShippedRole { id: "detection_engineer", summary: "writes rules, sources and indicators", principals: PEOPLE },
    ShippedRole { id: "tenant_admin", summary: "governs the own tenant", principals: PEOPLE },
    ShippedRole {
        id: "provider_admin",
        summary: "governs everything, tenants and policies included",
        principals: PEOPLE,
    },
    ShippedRole {
        id: "auditor",
        summary: "reads the audit log, roles and approvals; at the provider policies too",
        principals: PEOPLE,
    },
    ShippedRole { id: "investigator", summary: "reads, and works on cases", principals: AGENTS },
    ShippedRole { id: "detection_author", summary: "reads, and writes rules and their tests", principals: AGENTS },
    ShippedRole {
        id: "responder_with_approval",
        summary: "reads, works on cases, and takes response actions that were approved",
        principals: &[PrincipalKind::Agent, PrincipalKind::Rule],
    },
    ShippedRole {
        id: "responder_within_case",
        summary: "ends by itself what its concluded case is about, on hosts that are not tagged critical",
        principals: AGENTS,
    },
];

/// Documents that are active in a new install, as (name, text).
pub const ACTIVE: [(&str, &str); 4] = [
    ("agents", include_str!("../../../content/policies/agents.cedar")),
    ("everyone", include_str!("../../../content/policies/everyone.cedar")),
    ("guardrails", include_str!("../../../content/policies/guardrails.cedar")),
    ("roles", include_str!("../../../content/policies/roles.cedar")),
];

/// Documents that ship and are not active, as (name, text).
pub const OPTIONAL: [(&str, &str); 2] = [
    ("case-verdict-first", include_str!("../../../content/policies/optional/case-verdict-first.cedar")),
    ("four-eyes", include_str!("../../../content/policies/optional/four-eyes.cedar")),
];

/// The text of the shipped rungs.
pub const RUNGS: &str = include_str!("../../../content/policies/rungs.json");

/// The active documents, as version 1; their id is `shipped-` and the name.
#[must_use]
pub fn documents() -> Vec<Document> {
    ACTIVE.iter().map(document).collect()
}

/// The documents that ship and are not active.
#[must_use]
pub fn optional_documents() -> Vec<Document> {
    OPTIONAL.iter().map(document).collect()
}

fn document((name, text): &(&str, &str)) -> Document {
    Document {
        id: format!("shipped-{name}"),
        name: (*name).to_owned(),
        version: 1,
        text: (*text).to_owned(),
        tenant: None,
    }
}

/// The shipped rungs.
///
/// # Errors
/// [`RungError`] where the shipped file is broken; a test keeps it whole.
pub fn rungs() -> Result<Vec<Rung>, RungError> {
    parse_rungs(RUNGS)
}
