//! A person at the terminal: shown exactly what is asked, and heard, here or wherever else they answer. Never decides by
//! itself: no answer is no.

use super::platform::text;
use super::story::World;
use anyhow::bail;
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often the approval is looked at while the person thinks.
const LOOK: Duration = Duration::from_millis(200);

/// Show what is asked and wait for a yes: Enter here, the printed command in another terminal, or a call of the API. When
/// the yes was given.
pub(crate) async fn decide(world: &World, approval: &Value, patience: Duration) -> anyhow::Result<Instant> {
    let (id, digest) = (text(approval, "/id"), text(approval, "/digest"));
    let token = world.stage.folder.join("rae.token");
    let mut open = std::fs::OpenOptions::new();
    writeln!(open.write(true).create(true).truncate(true).mode(0o600).open(&token)?, "{}", world.cast.rae.token)?;
    let mut out = std::io::stdout();
    writeln!(out, "\n      {} asks for `{}`", text(approval, "/proposer"), text(approval, "/operation"))?;
    writeln!(out, "      {}", approval.get("input").cloned().unwrap_or_default())?;
    writeln!(
        out,
        "      You are rae, a responder. Say yes with `y` and Enter, no with `n` and Enter, or from elsewhere:"
    )?;
    writeln!(
        out,
        "      POSSE_URL={} POSSE_TOKEN=\"$(cat {})\" posse approval approve --approval {id} --digest {digest}",
        world.platform.url,
        token.display()
    )?;
    write!(out, "      approve? [y/n] ")?;
    out.flush()?;
    let (said, mut heard) = mpsc::channel(4);
    // Ends with the process: a blocked read cannot be called off.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if said.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let (path, until) = (format!("/v1/approvals/{id}"), Instant::now() + patience);
    loop {
        let line = tokio::time::timeout(LOOK, heard.recv()).await;
        match line.ok().flatten().as_deref().map(str::trim) {
            Some("y" | "yes") => {
                let begun = Instant::now();
                let yes = json!({ "digest": digest, "comment": "read and agreed" });
                world.platform.post(&world.cast.rae.token, &format!("{path}/approve"), &yes).await?;
                return Ok(begun);
            }
            Some("n" | "no") => {
                let no = json!({ "comment": "not now" });
                world.platform.post(&world.cast.rae.token, &format!("{path}/deny"), &no).await?;
                bail!("you said no, and that is on the record; nothing was cut off");
            }
            _ => {}
        }
        let now = world.platform.get(&world.cast.rae.token, &path).await?;
        match text(&now, "/state") {
            "pending" if Instant::now() < until => tokio::time::sleep(LOOK / 4).await,
            "approved" | "executed" => return Ok(Instant::now()),
            state => bail!("the approval is `{state}`; nothing was cut off"),
        }
    }
}
