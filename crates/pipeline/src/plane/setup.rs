//! What is known of each tenant: the mappings of its sources, compiled, and its rules. Read by the workers for each
//! batch without a lock that a change holds for longer than a pointer swap.

use super::rules::Detectors;
use api::{Problem, SourceSetup, TenantSetup};
use event::mapping::{Mapping, Mappings};
use ids::{TenantId, Text};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// How a source's records are read.
#[derive(Clone)]
pub(crate) enum Reading {
    /// By the first built-in mapping that recognises a record.
    Told,
    /// By this built-in mapping.
    BuiltIn(&'static Mapping),
    /// By mappings of the source's own, the first that recognises a record, or else the first.
    Own(Arc<Vec<Mapping>>),
}

/// One tenant.
#[derive(Clone, Default)]
pub(crate) struct Tenant {
    readings: Arc<HashMap<Text<64>, Reading>>,
    pub(crate) detectors: Option<Arc<Detectors>>,
    /// Of which setup the readings were made.
    setup: Option<Arc<TenantSetup>>,
}

impl Tenant {
    pub(crate) fn reading(&self, source: &Text<64>) -> Reading {
        self.readings.get(source).cloned().unwrap_or(Reading::Told)
    }

    /// Whether every source is read by the built-in mapping that recognises a record.
    pub(crate) fn reads_as_told(&self) -> bool {
        self.readings.values().all(|reading| matches!(reading, Reading::Told))
    }

    /// After how many seconds of silence a source is told of; none where nobody asked for that.
    pub(crate) fn silent_after(&self, source: &Text<64>) -> Option<u32> {
        self.setup()?.sources.iter().find(|own| own.name == *source)?.silent_after_secs
    }

    pub(crate) fn setup(&self) -> Option<&TenantSetup> {
        self.setup.as_deref()
    }
}

/// All tenants.
#[derive(Default)]
pub(crate) struct Tenants {
    all: RwLock<Arc<HashMap<TenantId, Tenant>>>,
}

impl Tenants {
    /// All tenants as they are now.
    pub(crate) fn now(&self) -> Arc<HashMap<TenantId, Tenant>> {
        Arc::clone(&self.all.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, tenant: TenantId, change: impl FnOnce(&mut Tenant)) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        // Copied only where somebody holds it, which nobody does for longer than a batch.
        change(Arc::make_mut(&mut all).entry(tenant).or_default());
    }

    /// Take over a tenant's sources.
    ///
    /// # Errors
    /// A mapping's name is unknown or its text does not compile; nothing has changed then.
    pub(crate) fn set_up(&self, setup: TenantSetup) -> Result<(), Problem> {
        if self.now().get(&setup.tenant).and_then(Tenant::setup) == Some(&setup) {
            return Ok(());
        }
        let mut readings = HashMap::new();
        for source in &setup.sources {
            readings.insert(source.name.clone(), reading(source)?);
        }
        self.change(setup.tenant, |tenant| {
            tenant.readings = Arc::new(readings);
            tenant.setup = Some(Arc::new(setup));
        });
        Ok(())
    }

    /// Take over a tenant's rules.
    pub(crate) fn set_detectors(&self, tenant: TenantId, detectors: Option<Arc<Detectors>>) {
        self.change(tenant, |own| own.detectors = detectors);
    }
}

fn reading(source: &SourceSetup) -> Result<Reading, Problem> {
    let name = source.mapping.as_deref().filter(|name| !name.is_empty());
    let text = source.mapping_text.as_deref().filter(|text| !text.is_empty());
    named(name, text)
}

/// A reading by name or text.
///
/// # Errors
/// A fault at `/mapping` or `/mapping_text`.
pub(crate) fn named(name: Option<&str>, text: Option<&str>) -> Result<Reading, Problem> {
    if let Some(text) = text {
        let compiled = Mapping::compile_file("mapping_text", text).map_err(|faults| {
            let told = |fault: &event::mapping::MappingFault| api::Fault {
                pointer: "/mapping_text".to_owned(),
                detail: format!("{}: {}", fault.place, fault.reason),
            };
            Problem::invalid(faults.iter().take(50).map(told).collect())
        })?;
        if compiled.is_empty() {
            return Err(Problem::fault("/mapping_text", "has no `[[forms]]`; write at least one"));
        }
        return Ok(Reading::Own(Arc::new(compiled)));
    }
    let Some(name) = name else { return Ok(Reading::Told) };
    Mappings::built_in().named(name).map(Reading::BuiltIn).ok_or_else(|| {
        let names: Vec<&str> = Mappings::built_in().iter().map(Mapping::name).collect();
        Problem::fault("/mapping", format!("is not a mapping; write one of {}", names.join(", ")))
    })
}
