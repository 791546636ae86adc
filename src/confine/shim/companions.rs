//! Decision file: which processes of an agent are its own (what wraps it, its servers of tools), and which are programs that it
//! waits for.
//!
//! Before its model has answered once it cannot have started a tool: nothing is waited for. Once a tool must have ended between two
//! answers, the fewest processes that it had while it spoke are its own. In between, and of one that does not tell of answers, all count
//! as programs that it waits for: who is at work is not to be taken for one that hangs.

use crate::model::health::Work;

/// From this answer on it is noted how many processes there are.
const NOTED: u64 = 2;

/// From this answer on what was noted counts: a tool was used and has ended since.
const KNOWN: u64 = 3;

/// The processes that are an agent's own.
#[derive(Debug)]
pub struct Companions {
    tells: bool,
    answers: u64,
    fewest: Option<usize>,
}

impl Companions {
    /// Those of a child, which tells of its model's answers or does not.
    pub fn new(tells: bool) -> Companions {
        Companions { tells, answers: 0, fewest: None }
    }

    /// It has said something, and its model has answered so often; `processes` are those that there are now.
    pub fn note(&mut self, answers: u64, processes: impl FnOnce() -> Option<usize>) {
        self.answers = self.answers.max(answers);
        if self.tells && self.answers >= NOTED {
            self.fewest = [self.fewest, processes()].into_iter().flatten().min();
        }
    }

    /// The same work, with the child and what it waits for as its processes.
    pub fn without(&self, work: Work) -> Work {
        let own = match (self.tells, self.answers) {
            (false, _) => return work,
            (true, 0) => return Work { processes: work.processes.min(1), ..work },
            (true, KNOWN..) => self.fewest,
            (true, _) => None,
        };
        match own {
            Some(own) => Work { processes: work.processes.saturating_sub(own.saturating_sub(1)), ..work },
            None => work,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(companions: &Companions, processes: usize) -> usize {
        companions.without(Work { processes, ..Work::default() }).processes
    }

    #[test]
    fn helpers_of_an_agent_are_told_from_the_tools_that_it_waits_for() {
        let mut agent = Companions::new(true);
        assert_eq!(left(&agent, 3), 1, "no tool can have been started");
        agent.note(1, || panic!("too early to tell"));
        assert_eq!([left(&agent, 3), left(&agent, 5)], [3, 5], "nobody knows");
        agent.note(2, || Some(5));
        assert_eq!(left(&agent, 5), 5, "a tool may be among them");
        agent.note(2, || Some(3));
        agent.note(3, || Some(4));
        assert_eq!([left(&agent, 3), left(&agent, 5), left(&agent, 2)], [1, 3, 0]);
        agent.note(4, || None);
        assert_eq!(left(&agent, 4), 2, "what cannot be seen says nothing");
    }

    #[test]
    fn of_a_command_and_of_who_tells_nothing_all_count() {
        let mut silent = Companions::new(false);
        silent.note(5, || panic!("nobody asks"));
        assert_eq!(left(&silent, 3), 3);
    }
}
