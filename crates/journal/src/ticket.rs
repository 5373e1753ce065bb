//! The promise of one acknowledgement. Resolves once, to threads and to async tasks alike; a promise that is
//! dropped resolves to `Closed`, so nobody waits for a writer that is gone.

use crate::cause::AppendError;
use crate::entry::Receipt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

type Answer = Result<Receipt, AppendError>;

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct State {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves when the entry is durable, or when it is clear that it will not be acknowledged. Await it or
/// [`wait`](Ticket::wait) for it; dropping it does not take the entry back.
#[derive(Debug)]
#[must_use = "an entry is acknowledged only when its ticket says so"]
pub struct Ticket(Arc<Slot>);

/// The writer's half.
#[derive(Debug)]
pub(crate) struct Promise(Arc<Slot>);

pub(crate) fn pair() -> (Promise, Ticket) {
    let slot = Arc::new(Slot::default());
    (Promise(Arc::clone(&slot)), Ticket(slot))
}

impl Promise {
    pub(crate) fn resolve(self, answer: Answer) {
        self.set(answer);
    }

    fn set(&self, answer: Answer) {
        let waker = {
            let mut state = self.0.state();
            if state.answer.is_some() {
                return;
            }
            state.answer = Some(answer);
            state.waker.take()
        };
        self.0.ready.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.set(Err(AppendError::Closed));
    }
}

impl Ticket {
    /// Block until it resolves.
    ///
    /// # Errors
    /// Why the entry is not acknowledged.
    pub fn wait(self) -> Result<Receipt, AppendError> {
        let mut state = self.0.state();
        loop {
            if let Some(answer) = &state.answer {
                return answer.clone();
            }
            state = self.0.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The answer, where it is there already.
    #[must_use]
    pub fn peek(&self) -> Option<Result<Receipt, AppendError>> {
        self.0.state().answer.clone()
    }
}

impl Future for Ticket {
    type Output = Answer;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.0.state();
        if let Some(answer) = &state.answer {
            return Poll::Ready(answer.clone());
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_promise_answers_closed() {
        let (promise, ticket) = pair();
        assert_eq!(ticket.peek(), None);
        drop(promise);
        assert_eq!(ticket.wait(), Err(AppendError::Closed));
    }
}
