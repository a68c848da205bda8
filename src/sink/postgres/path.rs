//! Which way the rows of a batch go: by COPY, or by an upsert.

/// How many batches go by upsert after COPY met a row that was there: at first, and at most.
const AFTER_CONFLICT: (u32, u32) = (16, 1024);

/// A batch of fewer rows is upserted: COPY takes one exchange with the server more.
const LEAST_ROWS: usize = 32;

/// Decides for one worker. COPY is faster, but a row that is there already fails it: the whole batch has to go again, the
/// rows it wrote so far are dead ones, and the server logs an error. So it begins with upserts, which tell how many rows
/// were new, and goes over once all of a batch were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    copies: bool,
    /// Batches to be upserted yet, whatever they meet.
    upserts: u32,
    /// How many that are after the next conflict.
    penalty: u32,
}

impl Default for Path {
    fn default() -> Self {
        Self { copies: false, upserts: 0, penalty: AFTER_CONFLICT.0 }
    }
}

impl Path {
    /// Returns whether a batch of so many rows goes by COPY.
    pub(super) fn copies(&self, rows: usize) -> bool {
        self.copies && rows >= LEAST_ROWS
    }

    /// Takes in that a batch was upserted, of which so many rows were new.
    pub(super) fn upserted(&mut self, rows: usize, new: usize) {
        self.upserts = self.upserts.saturating_sub(1);
        // A small batch says too little of the next.
        if rows >= LEAST_ROWS {
            self.copies = self.upserts == 0 && rows == new;
        }
    }

    /// Takes in that a batch went by COPY.
    pub(super) fn copied(&mut self) {
        self.penalty = (self.penalty / 2).max(AFTER_CONFLICT.0);
    }

    /// Takes in that COPY met a row that was there, or was refused.
    pub(super) fn refused(&mut self) {
        self.copies = false;
        self.upserts = self.penalty;
        self.penalty = (self.penalty * 2).min(AFTER_CONFLICT.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when COPY is tried before it is known that rows are new, or again at once after a conflict.
    #[test]
    fn copy_begins_after_a_batch_of_new_rows_and_ends_for_a_while_with_a_conflict() {
        let mut path = Path::default();
        assert!(!path.copies(500));
        path.upserted(500, 499);
        assert!(!path.copies(500));
        path.upserted(500, 500);
        assert!(path.copies(500) && !path.copies(LEAST_ROWS - 1));
        for waits in [16, 32, 64] {
            path.refused();
            for upserted in 1..=waits {
                assert!(!path.copies(500), "after {upserted} of {waits}");
                path.upserted(500, 500);
            }
            assert!(path.copies(500), "after {waits}");
        }
        for _ in 0..10 {
            path.copied();
        }
        path.refused();
        assert_eq!(path.upserts, 16);
    }
}
