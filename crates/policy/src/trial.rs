//! Policy tests: facts and the decision that is expected of them, as data.
//!
//! The form of the cases under `spec/policy` and of the tests that a document carries. Never changes a policy.

use crate::{
    decision::{Obligations, Outcome},
    engine::Engine,
    facts::Request,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One test.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// Says what is shown; unique among the tests run together.
    pub name: String,
    /// The facts.
    pub request: Request,
    /// What must come out.
    pub expect: Expectation,
}

/// What a test expects. A part that is left out is not looked at.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expectation {
    /// `allow`, `modify`, `step_up`, `defer` or `deny`.
    pub outcome: String,
    /// The rung that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
    /// The deciding policies, all of them, each as `document/id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<String>>,
    /// The forbids that hold the call back for now, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<Vec<String>>,
    /// The evidence that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<String>>,
    /// The obligations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obligations: Option<Obligations>,
    /// Whether people alone may do this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub human_only: Option<bool>,
}

/// How one test went.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TestResult {
    /// The test's name.
    pub name: String,
    /// What came out otherwise than expected; empty where it passed.
    pub differences: Vec<String>,
}

impl TestResult {
    /// Whether everything came out as expected.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Engine {
    /// Run tests, and look whether those that policies name in `@tests` are among them.
    #[must_use]
    pub fn run_tests(&self, tests: &[PolicyTest]) -> Vec<TestResult> {
        let mut results: Vec<_> = tests.iter().map(|test| self.run_test(test)).collect();
        for clause in &self.clauses {
            for name in clause.tests.iter().filter(|name| !tests.iter().any(|test| test.name == **name)) {
                let why = format!("`{}` names this test in `@tests`, and there is none of that name", clause.reference);
                results.push(TestResult { name: name.clone(), differences: vec![why] });
            }
        }
        results
    }

    fn run_test(&self, test: &PolicyTest) -> TestResult {
        let decision = self.decide(&test.request);
        let expect = &test.expect;
        let mut differences = Vec::new();
        let mut compare = |what: &str, wanted: Option<String>, came: String| {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != came) {
                differences.push(format!("{what}: expected `{wanted}`, came `{came}`"));
            }
        };
        compare("outcome", Some(expect.outcome.clone()), decision.outcome.as_str().to_owned());
        let step = match &decision.outcome {
            Outcome::StepUp(step) => Some(step),
            Outcome::Defer(defer) => defer.or.as_ref().or(defer.then.as_ref()),
            _ => None,
        };
        compare("rung", expect.rung.clone(), step.map_or_else(String::new, |step| step.rung.to_string()));
        compare("policies", expect.policies.as_deref().map(sorted), list(&decision.policies));
        compare("held by", expect.held_by.as_deref().map(sorted), list(&decision.held_by));
        let missing = match &decision.outcome {
            Outcome::Defer(defer) => list(&defer.missing),
            _ => String::new(),
        };
        compare("missing evidence", expect.missing.as_deref().map(sorted), missing);
        let human_only = matches!(&decision.outcome, Outcome::Deny(deny) if deny.human_only);
        compare("human only", expect.human_only.map(|wanted| wanted.to_string()), human_only.to_string());
        let obligations = match &decision.outcome {
            Outcome::Modify { obligations } => obligations.clone(),
            _ => Obligations::default(),
        };
        compare(
            "obligations",
            expect.obligations.as_ref().map(|wanted| format!("{wanted:?}")),
            format!("{obligations:?}"),
        );
        TestResult { name: test.name.clone(), differences }
    }
}

fn sorted(names: &[String]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.join(", ")
}

fn list(names: &[Arc<str>]) -> String {
    names.join(", ")
}
