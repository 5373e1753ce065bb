//! Webhooks: who is told outside that something waits for people, and the courier that tells. What is told is committed with what
//! it tells of, and leaves through the outbox like any other effect. Must never send a call's input or a secret: ids and words only.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::courier::{Courier, Dispatch, Parcel, of_platform};
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use action::{NoAnswer, Reads, Wire};
use api::{
    Future, Gone, NewWebhook, NoticeKind, Page, Secret, WebhookCreate, WebhookDelete, WebhookDelivery, WebhookList,
    WebhookTest,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Uri;
use ids::{ActionId, CallId, Owner, Scope, Text, Timestamp, WebhookId};
use serde_json::{Value, json};
use std::time::Duration;
use store::{
    Approval, AuditEntry, Changes, Commit, Credential, CredentialKind, MessageState, Outcome as Sent, Stored, Webhook,
};

/// The channel of the outbox.
const CHANNEL: &str = "webhook";
/// The name under which the platform tells, and the operation that it records then.
const NAME: &str = "notifier";
const TELL: &str = "webhook.tell";
/// Webhooks of one place at most.
const WEBHOOKS_MAX: u32 = 20;
/// How often one message is tried.
const ATTEMPTS_MAX: u32 = 6;
/// How long before its end a credential is told of.
const EXPIRY_NEAR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes of a signing secret that is made here.
const SECRET_BYTES: usize = 32;

/// An address for people: many carry a secret in their path or query, so its origin only.
fn shown(url: &str) -> String {
    let uri: Option<Uri> = url.parse().ok();
    let parts = uri.as_ref().and_then(|uri| {
        Some((uri.scheme_str()?, uri.authority()?, uri.path_and_query().map_or("", |rest| rest.as_str())))
    });
    match parts {
        Some((scheme, authority, rest)) if rest.len() > 1 => format!("{scheme}://{authority}/…"),
        Some((scheme, authority, _)) => format!("{scheme}://{authority}/"),
        None => String::new(),
    }
}

fn wire(stored: Stored<Webhook>) -> Result<api::Webhook, Refusal> {
    let Stored { value, created_at, .. } = stored;
    let kinds = value.kinds.iter().map(|kind| serde_json::from_value(Value::from(kind.as_str())));
    Ok(api::Webhook {
        id: value.id,
        tenant: value.tenant,
        name: Text::truncated(&value.name),
        url: Text::truncated(&shown(&value.url)),
        kinds: kinds.collect::<Result<_, _>>().map_err(|error| Refusal::bug("a stored kind of notice", &error))?,
        created_by: value.created_by,
        last: value.last.map(|last| WebhookDelivery {
            state: last.state,
            detail: Text::truncated(&last.detail),
            at: last.at,
        }),
        sent: value.sent,
        failed: value.failed,
        created_at,
    })
}

/// What a sealed signing secret is bound to.
fn context(webhook: WebhookId) -> Vec<u8> {
    format!("webhook/{webhook}").into_bytes()
}

async fn target(look: &Look<'_>, webhook: WebhookId) -> Result<Target, Refusal> {
    let stored: Stored<Webhook> = look.one("webhook", &webhook.to_string()).await?;
    Ok(Target::new("Webhook", webhook.to_string(), stored.value.tenant.into()).named(stored.value.name))
}

impl Handle<WebhookCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &WebhookCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: WebhookCreate) -> Result<Outcome<NewWebhook>, Refusal> {
        let mut kinds: Vec<NoticeKind> = input.kinds.iter().copied().collect();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.is_empty() {
            return Err(Refusal::fault("/kinds", "names nothing to be told of"));
        }
        if let Err(why) = self.way(&input.url) {
            return Err(Refusal::fault("/url", why));
        }
        let page = store::Page { owner: Some(admitted.target.owner), limit: WEBHOOKS_MAX, ..store::Page::default() };
        let there: Vec<Stored<Webhook>> = admitted.snapshot.list(&page).await?;
        if there.len() >= usize::try_from(WEBHOOKS_MAX).unwrap_or(usize::MAX) {
            return Err(Refusal::conflict(format!("there are {WEBHOOKS_MAX} webhooks; delete one first")));
        }
        let secret = match input.secret {
            Some(secret) if action::standard_webhooks_key(secret.reveal()).is_some() => secret.reveal().to_owned(),
            Some(_) => return Err(Refusal::fault("/secret", "is not `whsec_` and base64 of 16 to 128 bytes")),
            None => {
                let mut bytes = [0_u8; SECRET_BYTES];
                self.inner.entropy.fill(&mut bytes);
                format!("whsec_{}", STANDARD.encode(bytes))
            }
        };
        let id = WebhookId::generate(self.clock.as_ref(), self.entropy.as_ref());
        let owner = admitted.target.owner;
        let sealed = self.keys.seal(owner, &context(id), secret.as_bytes(), self.inner.entropy.as_ref());
        let webhook = Webhook {
            id,
            tenant: owner.tenant(),
            name: input.name.into_string(),
            url: input.url.into_string(),
            sealed: STANDARD.encode(sealed),
            kinds: kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
            created_by: admitted.identity.principal.clone(),
            last: None,
            sent: 0,
            failed: 0,
        };
        let mut changes = Changes::new();
        changes.create(&webhook);
        let stored = Stored { value: webhook, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(NewWebhook { webhook: wire(stored)?, secret: Secret::new(secret) }, changes))
    }
}

impl Handle<WebhookList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &WebhookList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: WebhookList,
    ) -> Result<Outcome<Page<api::Webhook>>, Refusal> {
        let owner = Some(admitted.target.owner);
        Ok(Outcome::answer(admitted.page(owner, None, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

impl Handle<WebhookDelete> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &WebhookDelete) -> Result<Target, Refusal> {
        target(look, input.webhook).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: WebhookDelete) -> Result<Outcome<Gone>, Refusal> {
        let id = input.webhook.to_string();
        let before: Stored<Webhook> = admitted.one("webhook", &id).await?;
        let mut changes = Changes::new();
        changes.delete::<Webhook>(&id, admitted.target.owner, before.version);
        Ok(Outcome::changed(Gone { id }, changes))
    }
}

impl Handle<WebhookTest> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &WebhookTest) -> Result<Target, Refusal> {
        target(look, input.webhook).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: WebhookTest) -> Result<Outcome<api::Webhook>, Refusal> {
        let before: Stored<Webhook> = admitted.one("webhook", &input.webhook.to_string()).await?;
        let mut changes = Changes::new();
        let data = json!({ "message": "a test that somebody asked for", "by": admitted.identity.principal });
        admitted.send(&mut changes, vec![dispatch(&before.value, "test", &data)])?;
        Ok(Outcome::changed(wire(before)?, changes))
    }
}

/// A message to one webhook.
fn dispatch(webhook: &Webhook, kind: &str, data: &Value) -> Dispatch {
    Dispatch {
        channel: CHANNEL,
        lane: format!("webhook/{}", webhook.id),
        body: json!({ "webhook": webhook.id, "type": kind, "data": data }),
        // The receiver knows a repetition by its id.
        idempotent: true,
        attempts_max: ATTEMPTS_MAX,
    }
}

impl Control {
    /// What tells the webhooks that want to hear of this: messages, and the records that they leave under. To be committed with what
    /// it tells of; nothing where nobody listens.
    pub(crate) async fn tell_webhooks(
        &self,
        kind: NoticeKind,
        owner: Owner,
        seed: Option<&[u8]>,
        data: &Value,
    ) -> Result<(Changes, Vec<AuditEntry>), Refusal> {
        let (mut changes, mut records) = (Changes::new(), Vec::new());
        let snapshot = self.store.snapshot(Scope::Provider);
        let mut places = vec![owner];
        if owner != Owner::Provider {
            places.push(Owner::Provider);
        }
        for place in places {
            let page = store::Page { owner: Some(place), limit: WEBHOOKS_MAX, ..store::Page::default() };
            let listening: Vec<Stored<Webhook>> = snapshot.list(&page).await?;
            for webhook in listening.into_iter().filter(|one| one.value.kinds.iter().any(|own| own == kind.as_str())) {
                let id = webhook.value.id.to_string();
                let call = match seed {
                    // Once for each thing that is told of, whenever it is looked at again.
                    Some(seed) => CallId::derive(&[seed, id.as_bytes()]),
                    None => CallId::generate(self.clock.as_ref(), self.entropy.as_ref()),
                };
                if seed.is_some() && !snapshot.leaves_of(call).await?.is_empty() {
                    continue;
                }
                let entry = self.leaf_as(call, NAME, TELL, place, Some(id.clone()), None, 200, None)?;
                let sent = dispatch(&webhook.value, kind.as_str(), data);
                changes.send(of_platform(entry.call, NAME, TELL, place, ("Webhook", id), self.now(), sent)?);
                records.push(entry);
            }
        }
        Ok((changes, records))
    }

    /// What tells that a proposal waits, or waits long.
    pub(crate) async fn tell_of_approval(
        &self,
        kind: NoticeKind,
        approval: &Approval,
    ) -> Result<(Changes, Vec<AuditEntry>), Refusal> {
        let escalation = approval.escalation.as_ref();
        let data = json!({
            "approval": approval.id,
            "tenant": approval.tenant,
            "operation": approval.operation,
            "target_kind": approval.target_kind,
            "target_id": approval.target_id,
            "proposed_by": approval.caller.principal,
            "rung": escalation.map_or(&approval.rung, |further| &further.rung),
            "needs": escalation.map_or(&approval.needs, |further| &further.needs),
            "expires_at": approval.expires_at,
        });
        self.tell_webhooks(kind, approval.tenant.into(), None, &data).await
    }

    /// Whether anybody at all is told of anything.
    pub(crate) async fn anybody_listens(&self) -> Result<bool, Refusal> {
        let one = store::Page { limit: 1, ..store::Page::default() };
        Ok(!self.store.snapshot(Scope::Provider).list::<Webhook>(&one).await?.is_empty())
    }

    /// Tell each webhook that wants to hear of this once, whenever it is looked at again: the seed says what `this` is.
    pub(crate) async fn tell_once(
        &self,
        kind: NoticeKind,
        owner: Owner,
        seed: &str,
        data: &Value,
    ) -> Result<(), Refusal> {
        let (changes, records) = self.tell_webhooks(kind, owner, Some(seed.as_bytes()), data).await?;
        let mut records = records.into_iter();
        let Some(first) = records.next() else { return Ok(()) };
        let commit = Commit::new(self.now(), first).changes(changes);
        self.store.commit(records.fold(commit, Commit::record)).await?;
        Ok(())
    }

    /// Tell of credentials that end soon, each once.
    pub(crate) async fn tell_of_expiries(&self) -> Result<(), Refusal> {
        if !self.anybody_listens().await? {
            return Ok(());
        }
        let snapshot = self.store.snapshot(Scope::Provider);
        let now = self.now();
        let (mut after, soon) = (None, now.plus(EXPIRY_NEAR));
        loop {
            let page = store::Page { after, limit: 1000, ..store::Page::default() };
            let found: Vec<Stored<Credential>> = snapshot.list(&page).await?;
            let Some(last) = found.last() else { return Ok(()) };
            after = Some(last.value.id.to_string());
            for credential in found.iter().map(|stored| &stored.value) {
                let long = matches!(credential.kind, CredentialKind::Service | CredentialKind::Token);
                let alive = !credential.revoked && credential.expires_at > now;
                if long && alive && credential.expires_at <= soon {
                    self.tell_of_expiry(credential).await?;
                }
            }
        }
    }

    async fn tell_of_expiry(&self, credential: &Credential) -> Result<(), Refusal> {
        let data = json!({
            "credential": credential.id,
            "principal": credential.principal,
            "tenant": credential.tenant,
            "name": credential.name,
            "expires_at": credential.expires_at,
        });
        let seed = format!("expiry/{}/{}", credential.id, credential.expires_at.as_micros());
        self.tell_once(NoticeKind::ExpiryNear, credential.tenant.into(), &seed, &data).await
    }

    /// Tell one webhook.
    async fn tell_one(&self, parcel: &Parcel) -> Sent {
        let failed = |detail: &str| Sent::Failed { detail: detail.to_owned() };
        let text = |name: &str| parcel.body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let read = self.store.snapshot(Scope::from(parcel.owner)).read::<Webhook>(&text("webhook")).await;
        let webhook = match read {
            Ok(Some(stored)) => stored.value,
            Ok(None) => return failed("the webhook was deleted"),
            Err(_) => return Sent::Retry { detail: "storage did not answer".to_owned() },
        };
        let opened = STANDARD.decode(&webhook.sealed).ok();
        let opened = opened.and_then(|sealed| self.keys.open(parcel.owner, &context(webhook.id), &sealed).ok());
        let Some(secret) = opened.as_ref().and_then(|opened| std::str::from_utf8(opened.expose()).ok()) else {
            return failed("the signing secret does not open");
        };
        let (wire, to) = match self.way(&webhook.url) {
            Ok(way) => way,
            Err(why) => return failed(&why),
        };
        let data = parcel.body.get("data").cloned().unwrap_or_default();
        let request = match signed(&to, &parcel.id, &text("type"), &data, secret, self.now()) {
            Some(request) => request,
            None => return failed("the message cannot be written"),
        };
        let answer = match wire.ask(request, Reads::Nothing).await {
            Ok(answer) => answer,
            Err(NoAnswer::Never(failure)) => return failed(&failure.to_string()),
            Err(NoAnswer::NotNow(failure)) => return Sent::Retry { detail: failure.to_string() },
            Err(NoAnswer::Perhaps(detail)) => return Sent::Retry { detail },
        };
        let detail = format!("answered {}", answer.status);
        match answer.status {
            200..300 => Sent::Sent { detail },
            429 | 500.. => Sent::Retry { detail },
            _ => Sent::Failed { detail },
        }
    }

    /// The way to an address, or why there is none.
    fn way(&self, url: &str) -> Result<(Wire, Uri), String> {
        let wrong =
            || "is no address to send to; write https://HOST/PATH without user, password and fragment".to_owned();
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(wrong()) };
        if authority.as_str().contains('@') || url.contains('#') || !matches!(scheme, "http" | "https") {
            return Err(wrong());
        }
        let origin = format!("{scheme}://{}", authority.as_str().to_ascii_lowercase());
        let wire = Wire::to(&[origin], &self.settings.connector_hosts_inside).map_err(|failure| match failure {
            egress::Failure::NotAllowed { destination } => format!(
                "`{destination}` is not spoken to without TLS; use https, or name the host in the server's `connector_hosts_inside`"
            ),
            other => other.to_string(),
        })?;
        Ok((wire, uri))
    }
}

/// A message, signed as Standard Webhooks 1.0 says.
fn signed(
    to: &Uri,
    parcel: &str,
    kind: &str,
    data: &Value,
    secret: &str,
    now: Timestamp,
) -> Option<http::Request<Bytes>> {
    let key = action::standard_webhooks_key(secret)?;
    let body = serde_json::to_vec(&json!({ "type": kind, "timestamp": now, "data": data })).ok()?;
    // The same for every attempt, and of no other message.
    let id = ActionId::derive(&[parcel.as_bytes()]).to_string().replace("action_", "msg_");
    let at = now.as_micros().div_euclid(1_000_000);
    http::Request::builder()
        .method(http::Method::POST)
        .uri(to.clone())
        .header(http::header::CONTENT_TYPE, "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", action::standard_webhooks_signature(&key, &id, at, &body))
        .body(Bytes::from(body))
        .ok()
}

/// Carries notices to webhooks.
pub(crate) struct WebhookCourier(pub(crate) Control);

impl Courier for WebhookCourier {
    fn channel(&self) -> &'static str {
        CHANNEL
    }

    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> Future<'a, Sent> {
        Box::pin(self.0.tell_one(parcel))
    }

    fn settled<'a>(
        &'a self,
        parcel: &'a Parcel,
        state: MessageState,
        detail: &'a str,
        changes: &'a mut Changes,
    ) -> Future<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let id = parcel.body.get("webhook").and_then(Value::as_str).unwrap_or_default();
            let stored: Option<Stored<Webhook>> = self.0.store.snapshot(Scope::from(parcel.owner)).read(id).await?;
            let Some(Stored { value: mut webhook, version, .. }) = stored else { return Ok(()) };
            match state {
                MessageState::Sent => webhook.sent = webhook.sent.saturating_add(1),
                MessageState::Failed | MessageState::Stopped | MessageState::Uncertain => {
                    webhook.failed = webhook.failed.saturating_add(1);
                }
                MessageState::Pending | MessageState::Sending => {}
            }
            let detail = match state {
                MessageState::Pending => "it did not arrive yet; it is tried again",
                _ => detail,
            };
            webhook.last = Some(store::WebhookDelivery {
                state: state.as_str().to_owned(),
                detail: detail.to_owned(),
                at: self.0.now(),
            });
            changes.replace(&webhook, version);
            Ok(())
        })
    }
}
