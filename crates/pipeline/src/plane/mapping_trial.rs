//! A mapping tried on samples: what each becomes, what stays unmapped, what the schema says to it. Stores nothing.

use super::setup::{self, Reading};
use super::transform::{choose, line};
use api::{MappedSample, MappingTest, Problem};
use event::mapping::{Normalised, Normaliser};
use event::ocsf::Schema;
use event::{Leaves, Parser};
use ids::Timestamp;
use std::ops::ControlFlow;

/// Faults of one sample that are told.
const FAULTS_MAX: usize = 50;

/// Try a mapping.
///
/// # Errors
/// The mapping's name is unknown or its text does not compile.
pub(crate) fn run(
    name: Option<&str>,
    text: Option<&str>,
    samples: &[String],
    received: Timestamp,
) -> Result<MappingTest, Problem> {
    let reading = setup::named(name.filter(|name| !name.is_empty()), text.filter(|text| !text.is_empty()))?;
    let (mut leaves, mut unmapped) = (0_u64, 0_u64);
    let items = samples.iter().map(|sample| one(&reading, sample, received, &mut leaves, &mut unmapped)).collect();
    #[expect(clippy::cast_precision_loss, reason = "a share for people, of at most 50 samples")]
    let unmapped_share = unmapped as f64 / leaves.max(1) as f64;
    Ok(MappingTest { items, unmapped_share })
}

fn one(reading: &Reading, sample: &str, received: Timestamp, leaves: &mut u64, unmapped: &mut u64) -> MappedSample {
    let made;
    let json = if sample.trim_start().starts_with('{') {
        sample.as_bytes()
    } else {
        made = line(sample, received);
        &made
    };
    let mut parser = Parser::new();
    let view = match parser.parse(json) {
        Ok(view) => view,
        Err(fault) => return MappedSample { faults: vec![fault.to_string()], ..MappedSample::default() },
    };
    let Some(mapping) = choose(reading, &view) else { return MappedSample::default() };
    let mut event = Normalised::default();
    Normaliser::new().normalise(mapping, &view, received, &mut event);
    view.leaves(&mut Leaves::default(), |_, _| {
        *leaves = leaves.saturating_add(1);
        ControlFlow::Continue(())
    });
    *unmapped = unmapped.saturating_add(u64::try_from(event.unmapped.len()).unwrap_or(u64::MAX));
    let mut second = Parser::new();
    let faults = match second.parse(event.json.as_bytes()) {
        Ok(ocsf) => Schema::built_in().validate(&ocsf).iter().take(FAULTS_MAX).map(ToString::to_string).collect(),
        Err(fault) => vec![fault.to_string()],
    };
    MappedSample {
        mapping: Some(mapping.name().to_owned()),
        ocsf: serde_json::from_str(&event.json).ok(),
        unmapped: event.unmapped,
        faults,
    }
}
