//! Calls that were read and are not under way yet: so long the end of input waits, that nothing which was asked for is lost with it.
//!
//! Holds names of calls and nothing else; how long somebody waits for them to be under way is said by who waits.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

/// The calls.
#[derive(Clone, Debug)]
pub struct Unsent(watch::Sender<BTreeSet<String>>);

/// One of them; it counts until this goes.
#[derive(Debug)]
pub struct NotYet {
    unsent: Unsent,
    call: String,
}

impl Default for Unsent {
    fn default() -> Unsent {
        Unsent(watch::Sender::new(BTreeSet::new()))
    }
}

impl Unsent {
    /// One was read.
    pub fn add(&self, call: String) {
        self.0.send_modify(|calls| calls.extend([call]));
    }

    /// The same one, in the hands of who brings it under way.
    pub fn taken(&self, call: String) -> NotYet {
        NotYet { unsent: self.clone(), call }
    }

    /// Waits until all are under way; false when they are not in time.
    pub async fn all_gone(&self, limit: Duration) -> bool {
        let mut calls = self.0.subscribe();
        let gone = tokio::time::timeout(limit, calls.wait_for(BTreeSet::is_empty)).await;
        gone.is_ok_and(|gone| gone.is_ok())
    }
}

impl Drop for NotYet {
    fn drop(&mut self) {
        self.unsent.0.send_modify(|calls| calls.retain(|call| *call != self.call));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_what_is_not_under_way_and_not_for_ever() {
        let unsent = Unsent::default();
        assert!(unsent.all_gone(Duration::ZERO).await);
        unsent.add("1".into());
        let taken = unsent.taken("1".into());
        assert!(!unsent.all_gone(Duration::from_millis(1)).await);
        drop(taken);
        assert!(unsent.all_gone(Duration::from_secs(60)).await);
    }
}
