//! Legal holds: rows that nothing may drop until the hold is released.

use crate::change::check_name;
use crate::{Day, Refused};
use ids::TenantId;

/// Rows of a tenant that must stay.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hold {
    /// Its name, at most 128 bytes; placing one of the same name replaces it.
    pub id: String,
    /// Whose rows.
    pub tenant: TenantId,
    /// Of this class; of all where none is named.
    pub class_uid: Option<u32>,
    /// From this day on; from the first where none is named.
    pub from: Option<Day>,
    /// To this day, which is held as well; to the last where none is named.
    pub to: Option<Day>,
}

impl Hold {
    /// Whether it can be placed.
    ///
    /// # Errors
    /// Its name cannot be stored.
    pub fn check(&self) -> Result<(), Refused> {
        check_name(&self.id)
    }

    /// Whether it covers rows of this tenant, class and day.
    #[must_use]
    pub fn covers(&self, tenant: TenantId, class_uid: u32, day: Day) -> bool {
        self.tenant == tenant
            && self.class_uid.is_none_or(|class| class == class_uid)
            && self.from.is_none_or(|from| from <= day)
            && self.to.is_none_or(|to| day <= to)
    }
}
