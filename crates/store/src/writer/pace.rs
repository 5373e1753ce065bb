//! How many rows one transaction may write, so that it stays short on this machine: under 50 ms, aiming at half of that.

use std::time::Duration;

/// The longest that a transaction should hold the database before its sync.
const HELD_AIM: Duration = Duration::from_millis(25);
const ROWS_LEAST: usize = 64;
const ROWS_MOST: usize = 2048;

/// Learns from how long batches took: halves at once, grows slowly.
#[derive(Debug)]
pub(super) struct Pace {
    rows: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rows: 512 }
    }
}

impl Pace {
    /// Rows that the next batch may write; a single larger call goes alone.
    pub(super) const fn rows_max(&self) -> usize {
        self.rows
    }

    /// A batch held the database for so long.
    pub(super) fn took(&mut self, held: Duration) {
        self.rows = if held > HELD_AIM { (self.rows / 2).max(ROWS_LEAST) } else { (self.rows + 16).min(ROWS_MOST) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_machine_gets_short_batches() {
        let mut pace = Pace::default();
        for _ in 0..9 {
            pace.took(Duration::from_millis(40));
        }
        assert_eq!(pace.rows_max(), ROWS_LEAST);
        for _ in 0..999 {
            pace.took(Duration::from_millis(2));
        }
        assert_eq!(pace.rows_max(), ROWS_MOST);
    }
}
