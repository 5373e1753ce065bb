//! The registry: every operation with its handler. An operation without a handler does not compile, because
//! [`Registry::platform`] asks for `Control: Handle<O>` for each line of the register.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::identity::Identity;
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::target::Target;
use api::{Operation, Spec};
use ids::Owner;
use serde_json::Value;
use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use store::{AuditEntry, Changes};

/// The work of one operation.
pub trait Handle<O: Operation>: Send + Sync {
    /// The target of a call with nothing special about it, made at a place: what the access matrix asks about. None takes
    /// a target of the operation's type at that place.
    fn plain(&self, _place: Owner, _identity: &Identity) -> Option<Target> {
        None
    }

    /// What the call acts on. Reads only; a thing that the caller cannot reach is `not found`.
    fn resolve(&self, look: &Look<'_>, input: &O) -> impl Future<Output = Result<Target, Refusal>> + Send;

    /// The answer and what should change. Reads from the snapshot in `admitted`; it cannot write.
    fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: O,
    ) -> impl Future<Output = Result<Outcome<O::Output>, Refusal>> + Send;
}

/// An outcome with its type erased.
pub(crate) struct Handled {
    pub(crate) output: Value,
    pub(crate) changes: Changes,
    pub(crate) leaves: Vec<AuditEntry>,
    pub(crate) after: After,
}

pub(crate) type Parsed = Box<dyn Any + Send + Sync>;

/// An operation's handler with its types erased.
pub(crate) trait Erased: Send + Sync {
    fn parse(&self, spec: &Spec, input: &Value) -> Result<Parsed, Refusal>;
    fn plain(&self, control: &Control, place: Owner, identity: &Identity) -> Option<Target>;
    fn resolve<'a>(&'a self, look: &'a Look<'a>, parsed: &'a Parsed) -> api::Future<'a, Result<Target, Refusal>>;
    fn handle<'a>(&'a self, admitted: &'a Admitted<'a>, parsed: Parsed) -> api::Future<'a, Result<Handled, Refusal>>;
}

struct Handler<O>(PhantomData<fn() -> O>);

const MISMATCH: &str = "a parsed input has the type that its own handler gave it";

impl<O: Operation> Erased for Handler<O>
where
    Control: Handle<O>,
{
    fn parse(&self, spec: &Spec, input: &Value) -> Result<Parsed, Refusal> {
        Ok(Box::new(spec.read::<O>(input)?))
    }

    fn plain(&self, control: &Control, place: Owner, identity: &Identity) -> Option<Target> {
        <Control as Handle<O>>::plain(control, place, identity)
    }

    fn resolve<'a>(&'a self, look: &'a Look<'a>, parsed: &'a Parsed) -> api::Future<'a, Result<Target, Refusal>> {
        Box::pin(async move {
            let input = parsed.downcast_ref::<O>().ok_or_else(|| Refusal::bug("resolve", &MISMATCH))?;
            look.control.resolve(look, input).await
        })
    }

    fn handle<'a>(&'a self, admitted: &'a Admitted<'a>, parsed: Parsed) -> api::Future<'a, Result<Handled, Refusal>> {
        Box::pin(async move {
            let input = parsed.downcast::<O>().map_err(|_| Refusal::bug("handle", &MISMATCH))?;
            let outcome: Outcome<O::Output> = admitted.control.handle(admitted, *input).await?;
            let output = serde_json::to_value(outcome.output)
                .map_err(|error| Refusal::bug("an output does not serialise", &error))?;
            Ok(Handled { output, changes: outcome.changes, leaves: outcome.leaves, after: outcome.after })
        })
    }
}

/// Every operation with its handler, in the order of declaration.
pub struct Registry {
    specs: Vec<Spec>,
    handlers: Vec<Box<dyn Erased>>,
    places: HashMap<&'static str, usize>,
}

impl Registry {
    /// The platform's own operations.
    #[must_use]
    pub fn platform() -> Self {
        let mut registry = Self { specs: Vec::new(), handlers: Vec::new(), places: HashMap::new() };
        macro_rules! register {
            ($($operation:path,)*) => { $(registry.add::<$operation>();)* };
        }
        api::for_each_operation!(register);
        registry
    }

    /// One more operation: for another crate's, implemented for [`Control`] there.
    pub fn add<O: Operation>(&mut self)
    where
        Control: Handle<O>,
    {
        let spec = Spec::of::<O>();
        self.places.insert(spec.meta.id, self.specs.len());
        self.specs.push(spec);
        self.handlers.push(Box::new(Handler::<O>(PhantomData)));
    }

    /// All declarations.
    #[must_use]
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// The declaration of this id.
    #[must_use]
    pub fn spec(&self, operation: &str) -> Option<&Spec> {
        self.specs.get(*self.places.get(operation)?)
    }

    pub(crate) fn find(&self, operation: &str) -> Option<(&Spec, &dyn Erased)> {
        let place = *self.places.get(operation)?;
        Some((self.specs.get(place)?, self.handlers.get(place)?.as_ref()))
    }
}
