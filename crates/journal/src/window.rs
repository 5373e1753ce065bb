//! Which batches were taken lately: a bounded window of batch ids, first in first out. It is written whole at the
//! start of each segment, so that it survives restart and retention. Holds durable batches only.

use crate::entry::{BatchId, Position};
use std::collections::{HashMap, VecDeque};

const RECORD_BYTES: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Window {
    positions: HashMap<BatchId, Position>,
    order: VecDeque<BatchId>,
    max: usize,
}

impl Window {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    pub(crate) fn find(&self, batch: BatchId) -> Option<Position> {
        self.positions.get(&batch).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn insert(&mut self, batch: BatchId, position: Position) {
        if self.max == 0 || self.positions.insert(batch, position).is_some() {
            return;
        }
        self.order.push_back(batch);
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.positions.remove(&oldest);
            }
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.order.len() * RECORD_BYTES);
        for batch in &self.order {
            let position = self.find(*batch).unwrap_or(Position::START);
            bytes.extend_from_slice(&batch.bytes());
            bytes.extend_from_slice(&position.segment.to_le_bytes());
            bytes.extend_from_slice(&position.offset.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn absorb(&mut self, bytes: &[u8]) {
        let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
        for record in records {
            let (batch, rest) = record.split_at(16);
            let (segment, offset) = rest.split_at(8);
            if let (Ok(batch), Ok(segment), Ok(offset)) = (batch.try_into(), segment.try_into(), offset.try_into()) {
                let position = Position { segment: u64::from_le_bytes(segment), offset: u64::from_le_bytes(offset) };
                self.insert(BatchId::new(batch), position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leaves_first_and_the_text_form_keeps_all() {
        let mut window = Window::new(2);
        for number in 0..3_u8 {
            window.insert(BatchId::new([number; 16]), Position { segment: 1, offset: u64::from(number) });
        }
        let mut copy = Window::new(2);
        copy.absorb(&window.encode());
        for window in [&window, &copy] {
            assert_eq!(window.find(BatchId::new([0; 16])), None);
            assert_eq!(window.find(BatchId::new([2; 16])), Some(Position { segment: 1, offset: 2 }));
            assert_eq!(window.len(), 2);
        }
    }
}
