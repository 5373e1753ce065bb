//! A call that waits, as a task (SEP-2663), for clients that declare the extension. A task is an approval under
//! another name: it keeps no state here, is read and cancelled through the door like anything else, and a client that
//! knows nothing of tasks loses nothing.

use super::tools;
use rmcp::ErrorData;
use rmcp::model::{DetailedTask, Task, TaskPayload, TaskStatus};
use serde_json::{Value, json};

/// How often a client may ask, in milliseconds: people decide in minutes.
const POLL_INTERVAL_MS: u64 = 5_000;

/// The task of a call that has just begun to wait. `waiting` is the document of the wait.
pub(crate) fn begun(waiting: &Value, now: ids::Timestamp) -> Option<Task> {
    let approval = waiting.get("approval").and_then(Value::as_str)?;
    let expires_at = waiting.get("expires_at").and_then(Value::as_str).unwrap_or_default();
    let created_at = now.to_string();
    let task = Task::new(approval, TaskStatus::Working, created_at.clone(), created_at)
        .with_poll_interval_ms(POLL_INTERVAL_MS)
        .with_status_message(format!("waits for approval until {expires_at}; after that the answer is no"));
    Some(task)
}

/// The task that this approval is.
pub(crate) fn of_approval(approval: &Value, bytes_max: usize) -> Result<DetailedTask, ErrorData> {
    let text = |field: &str| approval.get(field).and_then(Value::as_str).unwrap_or_default();
    let state = text("state");
    let created_at = text("created_at");
    let task = Task::new(text("id"), TaskStatus::Working, created_at, created_at)
        .with_poll_interval_ms(POLL_INTERVAL_MS)
        .with_status_message(format!("the approval is {state}"));
    let payload = match state {
        "cancelled" => TaskPayload::Cancelled,
        "executed" => {
            let output = approval.get("result").cloned().unwrap_or_else(|| json!({}));
            completed(tools::carried_out(output, bytes_max))?
        }
        "denied" | "expired" | "failed" | "uncertain" => {
            let detail = match approval.get("problem").and_then(Value::as_str) {
                Some(problem) => format!("the call was not carried out: {problem}"),
                None => format!("the call was not carried out: the approval is {state}"),
            };
            completed(tools::refused(&api::Problem::new(api::ProblemKind::Denied, detail)))?
        }
        _ => TaskPayload::Working,
    };
    Ok(DetailedTask::new(task, payload))
}

fn completed(result: rmcp::model::CallToolResult) -> Result<TaskPayload, ErrorData> {
    match serde_json::to_value(result) {
        Ok(Value::Object(result)) => Ok(TaskPayload::Completed { result }),
        _ => Err(ErrorData::internal_error("the result cannot be written", None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_an_approval_is_a_state_of_a_task() {
        for (state, wanted) in [
            ("pending", TaskStatus::Working),
            ("deferred", TaskStatus::Working),
            ("approved", TaskStatus::Working),
            ("executed", TaskStatus::Completed),
            ("denied", TaskStatus::Completed),
            ("expired", TaskStatus::Completed),
            ("failed", TaskStatus::Completed),
            ("uncertain", TaskStatus::Completed),
            ("cancelled", TaskStatus::Cancelled),
        ] {
            let approval = json!({ "id": "approval_1", "state": state, "created_at": "2026-11-22T10:00:00Z" });
            let task = of_approval(&approval, 1000).unwrap();
            assert_eq!(task.status(), wanted, "{state}");
            if let TaskPayload::Completed { result } = task.payload {
                assert_eq!(result["isError"], json!(state != "executed"), "{state}");
            }
        }
    }
}
