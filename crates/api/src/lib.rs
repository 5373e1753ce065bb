//! The contract: every function of the platform, declared once as an [`Operation`], with its wire types.
//!
//! REST routes, the OpenAPI document, MCP tools, CLI commands, the tools of built-in agents, the policy actions,
//! the audit actions and the metrics all derive from these declarations. Sole owner of JSON Schema. No logic:
//! what an operation does is written in `control`, who may call it only in policy.

mod action;
mod agent;
mod approval;
mod audit;
mod backtest;
mod break_glass;
mod call;
mod case;
mod case_work;
mod catalogue;
mod config;
mod connector;
mod detection;
mod entity;
mod event;
mod external_table;
mod grant;
mod intake;
mod job;
mod json;
mod kill_switch;
mod lake;
mod lockdown;
mod me;
pub mod openapi;
mod openapi_bounds;
mod operation;
mod operations;
mod pack;
mod page;
mod plane;
mod policy;
mod problem;
mod proof;
mod recertification;
mod role;
mod rule;
mod rule_metrics;
mod run;
mod saved_query;
mod secret;
mod sensor;
mod service_key;
mod simulation;
mod skill;
mod source;
mod source_bucket;
mod spec;
mod system;
mod tenant;
mod user;
mod webhook;

pub use call::{
    Attempt, Call, Credential, Deferred, Done, Door, Face, Future, Listing, Origin, Pending, Reply, SignInAsk,
};
pub use intake::{BodyFault, IngestBody, IngestRequest, Intake};
pub use json::{JsonLimits, parse as parse_json};
pub use operation::{Effect, Meta, Method, Obligation, Operation};
pub use operations::specs;
pub use page::{Etag, Limit, Page};
pub use plane::{
    Acted, BacktestAsk, Bounds, DataPlane, Delivered, Delivery, ExceptionHits, ExternalSetup, Keep, LogSourceName,
    Protocol, Pushback, RuleFault, RulePack, RuleReport, RuleSet, RuleText, SourceSetup, SyslogStream, TenantSetup,
    Told, TurnedAway,
};
pub use problem::{Fault, Problem, ProblemKind};
pub use secret::Secret;
pub use spec::{FieldKind, PathSegment, Spec};

// The wire types of every resource, by name.
pub use action::*;
pub use agent::*;
pub use approval::*;
pub use audit::*;
pub use backtest::*;
pub use break_glass::*;
pub use case::*;
pub use case_work::*;
pub use catalogue::*;
pub use config::*;
pub use connector::*;
pub use detection::*;
pub use entity::*;
pub use event::*;
pub use external_table::*;
pub use grant::*;
pub use job::*;
pub use kill_switch::*;
pub use lake::*;
pub use lockdown::*;
pub use me::*;
pub use pack::*;
pub use policy::*;
pub use proof::*;
pub use recertification::*;
pub use role::*;
pub use rule::*;
pub use rule_metrics::*;
pub use run::*;
pub use saved_query::*;
pub use sensor::*;
pub use service_key::*;
pub use simulation::*;
pub use skill::*;
pub use source::*;
pub use source_bucket::*;
pub use system::*;
pub use tenant::*;
pub use user::*;
pub use webhook::*;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declaration_is_whole() {
        let specs = specs();
        let mut seen = std::collections::BTreeSet::new();
        for spec in &specs {
            let id = spec.meta.id;
            assert!(seen.insert(id), "`{id}` stands twice");
            assert!(!spec.summary.is_empty(), "`{id}` has no doc comment");
            spec.validate(&spec.example).unwrap_or_else(|problem| panic!("`{id}`: {:?}", problem.errors));
            for segment in spec.path_segments() {
                if let PathSegment::Field(field) = segment {
                    assert!(spec.requires(field), "`{id}`: the path's `{field}` is no required field");
                }
            }
            for (field, schema) in spec.fields() {
                assert!(schema.get("description").is_some(), "`{id}`: `{field}` has no doc comment");
            }
        }
        let routes: std::collections::BTreeSet<_> =
            specs.iter().map(|spec| (spec.meta.method, spec.meta.path)).collect();
        assert_eq!(routes.len(), specs.len(), "two operations share a route");
    }
}
