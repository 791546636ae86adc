//! One watcher for the mail of all tasks of a run: when something happens in a directory, its bell rings.
//!
//! What cannot be watched is looked at each second by who waits for it ([`Post::watch`] says so).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::sys::watch::{self, Events, Watched, Watcher};

/// The watcher of a run.
#[derive(Debug)]
pub struct Post {
    watcher: Watcher,
    bells: Mutex<BTreeMap<Watched, Arc<Notify>>>,
}

/// A directory whose bell rings until this is dropped.
#[derive(Debug)]
pub struct Rung {
    post: Arc<Post>,
    watched: Watched,
}

impl Post {
    /// Begins; `None` where no watcher is to be had. Needs a runtime that is entered.
    pub fn open() -> Option<Arc<Post>> {
        let (watcher, events) = watch::begin()
            .inspect_err(|error| tracing::warn!(%error, "the mail of tasks is looked at each second"))
            .ok()?;
        let post = Arc::new(Post { watcher, bells: Mutex::default() });
        tokio::spawn(ring(events, Arc::downgrade(&post)));
        Some(post)
    }

    /// Rings this bell from now on when something happens there; `None` where that cannot be.
    pub fn watch(self: &Arc<Post>, directory: &Path, bell: &Arc<Notify>) -> Option<Rung> {
        let mut bells = self.bells();
        let watched = self
            .watcher
            .add(directory)
            .inspect_err(|error| tracing::debug!(%error, directory = %directory.display(), "not watched"))
            .ok()?;
        bells.insert(watched, Arc::clone(bell));
        Some(Rung { post: Arc::clone(self), watched })
    }

    fn bells(&self) -> MutexGuard<'_, BTreeMap<Watched, Arc<Notify>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Rung {
    fn drop(&mut self) {
        self.post.bells().remove(&self.watched);
        self.post.watcher.remove(self.watched);
    }
}

async fn ring(mut events: Events, post: std::sync::Weak<Post>) {
    loop {
        let places = match events.next().await {
            Ok(places) => places,
            Err(error) => return tracing::warn!(%error, "the mail of tasks is not watched any more"),
        };
        let Some(post) = post.upgrade() else { return };
        let bells = post.bells();
        places.iter().filter_map(|place| bells.get(place)).for_each(|bell| bell.notify_one());
    }
}
