//! Names of users, from `/etc/passwd`, read again when the file changes. Directories behind NSS are not asked: a sensor
//! must not wait for the network.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const FILE: &str = "/etc/passwd";
/// How long names are believed before the file's time is looked at.
const FRESH: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Users {
    names: HashMap<u32, Arc<str>>,
    modified: Option<SystemTime>,
    looked: Option<Instant>,
}

impl Users {
    /// The name of a user, or its number as text.
    pub(crate) fn name(&mut self, uid: u32) -> Arc<str> {
        self.refresh();
        let named = self.names.get(&uid).cloned();
        named.unwrap_or_else(|| Arc::from(uid.to_string()))
    }

    fn refresh(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < FRESH) {
            return;
        }
        self.looked = Some(Instant::now());
        let modified = fs::metadata(FILE).and_then(|meta| meta.modified()).ok();
        if modified.is_none() || modified == self.modified {
            return;
        }
        self.modified = modified;
        self.names = parse(&fs::read_to_string(FILE).unwrap_or_default());
    }
}

fn parse(text: &str) -> HashMap<u32, Arc<str>> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((fields.nth(1)?.parse().ok()?, Arc::from(name)))
    };
    // The first entry of a number counts, as in the C library.
    let mut names = HashMap::new();
    for (uid, name) in text.lines().filter_map(entry) {
        names.entry(uid).or_insert(name);
    }
    names
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_name_of_a_number_counts() {
        let names = super::parse("root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n#bad\nbob:x:1000:1000::/:/bin/sh\n");
        assert_eq!((&*names[&0], &*names[&1000], names.len()), ("root", "bob", 2));
    }
}
