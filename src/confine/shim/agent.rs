//! The agent in a child: what it says of itself as it comes, what it asks for, and its budget.
//! For a child that is none there is nothing of this.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until};

use super::endpoint::{Incoming, Requests};
use super::wire::{Report, Stopped};
use crate::agent::digest::Digest;
use crate::confine::policy::AgentWatch;
use crate::model::agent::{AgentReport, AgentRequest, Budget, Reply};

/// How often what an agent said of itself is looked at: what it says comes in many small pieces.
const PACE: Duration = Duration::from_millis(200);

/// What an agent says on its output, read by one and looked at by another.
#[derive(Debug)]
pub struct Words {
    digest: Mutex<Digest>,
    news: Notify,
}

impl Words {
    fn digest(&self) -> MutexGuard<'_, Digest> {
        // A panic elsewhere leaves at worst a piece that is not counted.
        self.digest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next piece of its output, or the last one; `keep` hears what is to be kept.
    pub fn feed(&self, bytes: &[u8], is_end: bool, keep: &mut impl FnMut(&[u8])) {
        let mut digest = self.digest();
        digest.feed(bytes, keep);
        if is_end {
            digest.finish(keep);
        }
        self.news.notify_one();
    }

    /// Takes the next piece of what it writes where errors go.
    pub fn feed_aside(&self, bytes: &[u8]) {
        self.digest().feed_aside(bytes);
    }
}

/// The agent of a child.
pub struct Agent {
    words: Arc<Words>,
    budget: Budget,
    told: AgentReport,
    looked: Instant,
    incoming: Receiver<Incoming>,
    requests: Requests,
    /// Requests that could not be passed on yet, and when that is tried again.
    again: VecDeque<u64>,
    again_at: Instant,
    over: bool,
}

/// What an agent has to say.
#[derive(Debug)]
pub enum Said {
    /// Something of itself that is new.
    News(Box<AgentReport>, Option<Stopped>),
    /// It asks for something.
    Asks(AgentRequest),
    /// Nothing that anybody has to hear.
    Nothing,
}

impl Agent {
    /// The agent of a policy; what it asks for comes in here.
    pub fn new(watch: &AgentWatch, incoming: Receiver<Incoming>) -> Agent {
        let words = Words { digest: Mutex::new(Digest::new(watch.output.clone())), news: Notify::new() };
        Agent {
            words: Arc::new(words),
            budget: watch.budget,
            told: AgentReport::default(),
            looked: Instant::now(),
            incoming,
            requests: Requests::default(),
            again: VecDeque::new(),
            again_at: Instant::now(),
            over: false,
        }
    }

    /// What reads its output.
    pub fn words(&self) -> Arc<Words> {
        Arc::clone(&self.words)
    }

    /// The next thing that it has to say. A wait that is given up loses nothing.
    pub async fn next(&mut self) -> Said {
        tokio::select! {
            Some(incoming) = self.incoming.recv() => self.requests.take(incoming).map_or(Said::Nothing, Said::Asks),
            () = news(&self.words, self.looked + PACE) => self.look(),
            () = sleep_until(self.again_at), if !self.again.is_empty() => self.next_again(),
        }
    }

    fn next_again(&mut self) -> Said {
        let known = self.again.pop_front().and_then(|n| self.requests.get(n));
        known.map_or(Said::Nothing, Said::Asks)
    }

    /// A request could not be passed on: whoever supervises does not listen just now.
    pub fn keep(&mut self, request: &AgentRequest) {
        self.again.push_back(request.n);
        // Counted from here: whatever else the agent says meanwhile does not put it off.
        self.again_at = Instant::now() + PACE;
    }

    /// Everything that is to be said to a supervisor that comes anew.
    pub fn everything(&mut self) -> Vec<Report> {
        self.again.clear();
        let asked = self.requests.unanswered().into_iter().map(Report::Asks);
        Some(Report::Agent(Box::new(self.report()))).into_iter().chain(asked).collect()
    }

    fn look(&mut self) -> Said {
        self.looked = Instant::now();
        let report = self.report();
        if report == self.told {
            return Said::Nothing;
        }
        let used = self.budget.reached(&report, 100).filter(|_| !self.over);
        self.over |= used.is_some();
        self.told = report.clone();
        Said::News(Box::new(report), used.map(Stopped::Budget))
    }

    /// What it said of itself so far.
    pub fn report(&self) -> AgentReport {
        self.words.digest().report().clone()
    }

    /// Gives it an answer.
    pub fn answer(&mut self, n: u64, reply: &Reply) {
        self.requests.answer(n, reply);
    }

    /// What it asked for, and nobody has answered: also what is not looked at yet.
    pub fn unanswered(&mut self) -> Vec<AgentRequest> {
        while let Ok(incoming) = self.incoming.try_recv() {
            let _counted = self.requests.take(incoming);
        }
        self.requests.unanswered()
    }
}

async fn news(words: &Words, not_before: Instant) {
    sleep_until(not_before).await;
    words.news.notified().await;
}
