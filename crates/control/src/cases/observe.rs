//! `case.observe`: detections go into cases. Policy lets nobody but the platform call it.

use super::desk::Desk;
use super::told;
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{CaseObserve, CaseObserved};
use ids::Owner;
use store::{CaseMark, Stored};

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Handle<CaseObserve> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseObserve) -> Result<Target, Refusal> {
        look.tenant(input.tenant).await?;
        Ok(Target::place(Owner::Tenant(input.tenant)))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseObserve) -> Result<Outcome<CaseObserved>, Refusal> {
        let tenant = input.tenant;
        let mut detections = Vec::with_capacity(input.detections.len());
        for (number, one) in input.detections.into_iter().enumerate() {
            detections.push(told::detection_of(tenant, one, &format!("/detections/{number}"))?);
        }
        let told = detections.len();
        let mut desk = Desk::new(admitted, tenant, &self.cases.linking);
        let unknown = desk.unknown(detections).await?;
        let placed = unknown.len();
        desk.load(&unknown).await?;
        for detection in unknown {
            desk.place(detection)?;
        }
        let (mut changes, moved) = desk.changes(0).await?;
        self.wake_for_cases(admitted, tenant, &moved.stirred, &mut changes).await?;
        if let Some(found_until) = input.found_until {
            let before: Option<Stored<CaseMark>> = admitted.snapshot.read(&tenant.to_string()).await?;
            match before {
                None => {
                    changes.create(&CaseMark { tenant, found_until });
                }
                Some(mark) if mark.value.found_until < found_until => {
                    changes.replace(&CaseMark { tenant, found_until }, mark.version);
                }
                Some(_) => {}
            }
        }
        let observed = CaseObserved {
            placed: count(placed),
            known: count(told.saturating_sub(placed)),
            opened: moved.opened,
            extended: moved.extended,
            merged: moved.merged,
        };
        Ok(Outcome::changed(observed, changes))
    }
}
