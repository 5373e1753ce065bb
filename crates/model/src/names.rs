//! Names of tools on wires that allow no dots: `case.get` is `case_get` there, and the way back is a table, since `_` also
//! stands in names of operations.

use agent::ToolSpec;
use std::collections::BTreeMap;

/// The longest name that every provider takes.
const NAME_BYTES_MAX: usize = 64;

/// Both ways between operations and their names on the wire, for the tools of one request.
#[derive(Debug, Default)]
pub(crate) struct WireNames {
    wire: BTreeMap<String, String>,
    operation: BTreeMap<String, String>,
}

impl WireNames {
    pub(crate) fn of(tools: &[ToolSpec]) -> Self {
        let mut names = Self::default();
        for (place, tool) in tools.iter().enumerate() {
            let mut wire = allowed(&tool.operation);
            if names.operation.contains_key(&wire) {
                let number = format!("-{place}");
                wire.truncate(NAME_BYTES_MAX.saturating_sub(number.len()));
                wire.push_str(&number);
            }
            names.operation.insert(wire.clone(), tool.operation.clone());
            names.wire.insert(tool.operation.clone(), wire);
        }
        names
    }

    /// The name on the wire; also for a name that is no tool's, since a model may have invented one.
    pub(crate) fn wire(&self, operation: &str) -> String {
        self.wire.get(operation).cloned().unwrap_or_else(|| allowed(operation))
    }

    /// The operation that is meant; a name that is no tool's stays as it is.
    pub(crate) fn operation(&self, wire: &str) -> String {
        self.operation.get(wire).cloned().unwrap_or_else(|| wire.to_owned())
    }
}

/// A text with what no provider allows in a name put aside.
fn allowed(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.chars().take(NAME_BYTES_MAX).map(letter).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use agent::Effect;
    use serde_json::json;

    pub(crate) fn tools(operations: &[&str]) -> Vec<ToolSpec> {
        let tool = |operation: &&str| ToolSpec {
            operation: (*operation).to_owned(),
            effect: Effect::Read,
            outsider_text: true,
            description: format!("does {operation}"),
            input_schema: json!({ "type": "object", "properties": { "case": { "type": "string" } } }),
        };
        operations.iter().map(tool).collect()
    }

    #[test]
    fn every_name_comes_back() {
        let long = format!("{}.get", "x".repeat(80));
        let operations = ["case.get", "service_key.list", "service.key_list", "finish", &long, "kill_switch.engage"];
        let names = WireNames::of(&tools(&operations));
        for operation in operations {
            let wire = names.wire(operation);
            assert!(wire.len() <= 64 && wire.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)), "{wire}");
            assert_eq!(names.operation(&wire), operation);
        }
        assert_eq!(names.wire("case.get"), "case_get");
        assert_eq!(names.wire("rm -rf /"), "rm_-rf__");
        assert_eq!(names.operation("no_such"), "no_such");
    }
}
