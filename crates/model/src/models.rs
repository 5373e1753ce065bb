//! The models of an installation by alias: who is asked, how often, and who is asked instead. Within the request's allowance
//! of tokens, money and time, tries and fall-backs together.

use crate::attempt::Endpoint;
use crate::config::{Checked, ConfigError, Section, Surroundings, check};
use crate::openai::Manner;
use crate::retry::{Miss, wait};
use agent::{Budget, ChatRequest, Model, ModelError, Piece, Pieces, Usage, tokens_estimate};
use egress::{Client, Policy};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use ids::{Clock, Entropy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// The longest that one question may take, whatever its run's budget is.
const QUESTION_MAX: Duration = Duration::from_secs(24 * 3600);
/// The most characters of the reasons of all aliases together.
const REASON_CHARS_MAX: usize = 800;

/// How the time between two tries passes. Passed in, so that a test need not wait.
pub trait Pause: Send + Sync {
    /// Come back after so long.
    fn pause(&self, time: Duration) -> BoxFuture<'_, ()>;
}

/// The runtime's own time.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioPause;

impl Pause for TokioPause {
    fn pause(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

struct Entry {
    endpoint: Endpoint,
    fallback: Vec<String>,
    permits: Semaphore,
    tries: u32,
    output_tokens_max: Option<u32>,
    retry_after_max: Duration,
}

/// Why an alias gave no answer.
enum Lack {
    Budget(Budget),
    Miss(Miss),
}

/// The models that are configured.
pub struct Models {
    entries: BTreeMap<String, Entry>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pause: Arc<dyn Pause>,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models").field("aliases", &self.entries.keys()).finish_non_exhaustive()
    }
}

impl Models {
    /// The models of these sections.
    ///
    /// # Errors
    /// The first section that cannot be.
    pub fn open(
        sections: &BTreeMap<String, Section>,
        surroundings: &Surroundings<'_>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, ConfigError> {
        let mut entries = BTreeMap::new();
        for (alias, section) in sections {
            let checked = check(alias, section, sections, surroundings)?;
            entries.insert(alias.clone(), Entry::of(alias, section, checked)?);
        }
        Ok(Self { entries, clock, entropy, pause: Arc::new(TokioPause) })
    }

    /// The same, with another way for time to pass between tries.
    #[must_use]
    pub fn with_pause(self, pause: Arc<dyn Pause>) -> Self {
        Self { pause, ..self }
    }

    /// The aliases, in order.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    async fn answer(&self, request: &ChatRequest, spent: &mut Usage) -> Result<Vec<Piece>, ModelError> {
        let first = self.entries.get(&request.model).ok_or_else(|| ModelError::NoSuchModel(request.model.clone()))?;
        let now = Instant::now();
        let deadline = now.checked_add(request.allowance.time.min(QUESTION_MAX)).unwrap_or(now);
        let (mut reasons, mut lasting) = (Vec::new(), true);
        for alias in std::iter::once(&request.model).chain(&first.fallback) {
            let Some(entry) = self.entries.get(alias) else { continue };
            match timeout_at(deadline, self.ask(entry, request, spent, deadline)).await {
                Err(_) => return Err(ModelError::OverBudget(Budget::Seconds)),
                Ok(Ok(pieces)) => return Ok(pieces),
                Ok(Err(Lack::Budget(budget))) => return Err(ModelError::OverBudget(budget)),
                Ok(Err(Lack::Miss(miss))) => {
                    tracing::warn!(alias, reason = miss.reason(), "a model gave no answer");
                    lasting &= matches!(miss, Miss::Never { .. });
                    reasons.push(format!("`{alias}`: {}", miss.reason()));
                }
            }
        }
        let reason: String = reasons.join("; ").chars().take(REASON_CHARS_MAX).collect();
        Err(if lasting { ModelError::Refused(reason) } else { ModelError::Unreachable(reason) })
    }

    /// Ask one alias, as often as it may be tried.
    async fn ask(
        &self,
        entry: &Entry,
        request: &ChatRequest,
        spent: &mut Usage,
        deadline: Instant,
    ) -> Result<Vec<Piece>, Lack> {
        let input = tokens_estimate(request.bytes());
        let mut tries = 0;
        loop {
            let output = entry.affordable(request, input, *spent).map_err(Lack::Budget)?;
            let Ok(permit) = entry.permits.acquire().await else {
                return Err(Lack::Miss(Miss::never("it is closed")));
            };
            // Held against the budget while it is under way: whoever breaks off here has asked all the same.
            let before = *spent;
            *spent = sum(before, entry.endpoint.priced(input, 0));
            let tried = entry.endpoint.attempt(request, output, self.clock.as_ref()).await;
            *spent = sum(before, tried.usage);
            drop(permit);
            let miss = match tried.result {
                Ok(pieces) => return Ok(pieces),
                Err(miss) => miss,
            };
            let Miss::Again { reason, after } = &miss else { return Err(Lack::Miss(miss)) };
            tries += 1;
            tracing::debug!(tries, reason, "a try at a model failed");
            if tries >= entry.tries {
                return Err(Lack::Miss(miss));
            }
            if let Some(asked) = after.filter(|asked| *asked > entry.retry_after_max) {
                let reason = format!("{reason} (asks to wait {} s)", asked.as_secs());
                return Err(Lack::Miss(Miss::again(reason)));
            }
            let time = wait(tries - 1, *after, self.entropy.as_ref());
            if Instant::now().checked_add(time).is_none_or(|at| at >= deadline) {
                return Err(Lack::Miss(Miss::again(format!("{reason} (no time is left for another try)"))));
            }
            self.pause.pause(time).await;
        }
    }
}

impl Entry {
    fn of(alias: &str, section: &Section, checked: Checked) -> Result<Self, ConfigError> {
        let times = section.timeouts;
        let mut policy = Policy::to(vec![checked.destination]);
        policy.connect_timeout = times.connect();
        // The attempt keeps its own, sharper times; this one is the last resort.
        policy.pause_timeout = times.first_byte().max(times.idle()).saturating_add(Duration::from_secs(1));
        let client = Client::new(policy).map_err(|source| ConfigError::Client { alias: alias.to_owned(), source })?;
        let endpoint = Endpoint {
            kind: section.kind,
            url: checked.url,
            client,
            key: checked.key,
            manner: Manner {
                model: section.model.clone(),
                tools: section.tools,
                output_limit: section.output_limit,
                temperature: section.temperature,
            },
            prices: section.prices,
            timeouts: times,
        };
        Ok(Self {
            endpoint,
            fallback: section.fallback.clone(),
            permits: Semaphore::new(checked.concurrency),
            tries: checked.tries,
            output_tokens_max: section.output_tokens_max,
            retry_after_max: times.retry_after(),
        })
    }

    /// The most tokens of an answer that what is left pays for; the budget that pays for none.
    fn affordable(&self, request: &ChatRequest, input: u64, spent: Usage) -> Result<u64, Budget> {
        let used = spent.input_tokens.saturating_add(spent.output_tokens).saturating_add(input);
        let mut output = request.allowance.tokens.saturating_sub(used);
        if output == 0 {
            return Err(Budget::Tokens);
        }
        let asking = spent.money_micros.saturating_add(self.endpoint.prices.of(input, 0));
        if asking > request.allowance.money_micros && asking > 0 {
            return Err(Budget::Money);
        }
        let money = request.allowance.money_micros.saturating_sub(asking);
        let words = u128::from(money) * 1_000_000;
        if let Some(affordable) = words.checked_div(u128::from(self.endpoint.prices.output_micros)) {
            output = output.min(u64::try_from(affordable).unwrap_or(u64::MAX));
            if output == 0 {
                return Err(Budget::Money);
            }
        }
        let own = u64::from(self.output_tokens_max.unwrap_or(u32::MAX).min(request.output_tokens_max));
        Ok(output.min(own).max(1))
    }
}

fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        input_tokens: one.input_tokens.saturating_add(other.input_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
        money_micros: one.money_micros.saturating_add(other.money_micros),
    }
}

impl Model for Models {
    /// A run acts on whole answers only, so the pieces come when the answer is whole; a try that breaks in the middle leaves
    /// no trace but its cost.
    fn chat<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<Pieces<'a>, ModelError>> {
        Box::pin(async move {
            let mut spent = Usage::default();
            let answer = self.answer(request, &mut spent).await;
            let cost = std::iter::once(Ok(Piece::Usage(spent)));
            Ok(match answer {
                Ok(pieces) => stream::iter(cost.chain(pieces.into_iter().map(Ok)).collect::<Vec<_>>()).boxed(),
                Err(error) => stream::iter(cost.chain(std::iter::once(Err(error))).collect::<Vec<_>>()).boxed(),
            })
        })
    }
}
