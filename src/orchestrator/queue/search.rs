//! Decision file: which of the results that were judged together is the one that fails, found with as few trials as can be.
//!
//! All of them were red. First a binary search for the shortest beginning that is red: its last is the culprit, and what is
//! before it has been green as a whole, so that it can land. Then whether the culprit is green without it: if so, the two do
//! not go together, and another binary search finds with which of those before. Takes for granted that what is red stays red
//! when more is put on it; where that is not so (a flaky gate), what lands was green all the same.

/// A search under way among so many results, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The longest beginning that is known to be green; 0 for none of them, which nobody judged.
    green: usize,
    /// The shortest beginning that is known to be red.
    red: usize,
    pair: Pair,
}

/// What is known of the culprit without what is before it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pair {
    Unknown,
    /// It fails alone.
    Alone,
    /// It is green behind the first so many, and red behind the first so many.
    Between {
        green: usize,
        red: usize,
    },
}

/// What has to be judged next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// The first so many together.
    Beginning(usize),
    /// The culprit behind the first so many of those before it; behind none it is alone.
    CulpritBehind(usize),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The one that fails.
    pub culprit: usize,
    /// The one that it does not go together with; `None` when it fails alone.
    pub with: Option<usize>,
}

impl Search {
    /// Begins to search among so many, which are red together.
    pub fn among(count: usize) -> Search {
        Search { green: 0, red: count.max(1), pair: Pair::Unknown }
    }

    /// How many can land: the longest beginning that is known to be green.
    pub fn green(&self) -> usize {
        self.green
    }

    /// The culprit, once there is only one that it can be.
    pub fn culprit(&self) -> Option<usize> {
        (self.red - self.green == 1).then_some(self.red)
    }

    /// What to judge next, or what was found.
    pub fn next(&self) -> Result<Found, Trial> {
        let Some(culprit) = self.culprit() else { return Err(Trial::Beginning((self.green + self.red) / 2)) };
        match self.pair {
            // The first of them was judged alone.
            _ if self.green == 0 => Ok(Found { culprit, with: None }),
            Pair::Unknown => Err(Trial::CulpritBehind(0)),
            Pair::Alone => Ok(Found { culprit, with: None }),
            Pair::Between { green, red } if red - green == 1 => Ok(Found { culprit, with: Some(red) }),
            Pair::Between { green, red } => Err(Trial::CulpritBehind((green + red) / 2)),
        }
    }

    /// Takes in how a trial went.
    pub fn learn(self, trial: Trial, passed: bool) -> Search {
        match (trial, passed) {
            (Trial::Beginning(count), true) => Search { green: self.green.max(count), ..self },
            (Trial::Beginning(count), false) => Search { red: self.red.min(count), ..self },
            (Trial::CulpritBehind(0), false) => Search { pair: Pair::Alone, ..self },
            (Trial::CulpritBehind(0), true) => {
                let pair = Pair::Between { green: 0, red: self.green };
                Search { pair, ..self }
            }
            (Trial::CulpritBehind(count), passed) => {
                let Pair::Between { green, red } = self.pair else { return self };
                let pair = match passed {
                    true => Pair::Between { green: green.max(count), red },
                    false => Pair::Between { green, red: red.min(count) },
                };
                Search { pair, ..self }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches where `is_red` says which results are red together; what was found, what could land, and how many trials it took.
    fn search(count: usize, is_red: impl Fn(&[usize]) -> bool) -> (Found, usize, usize) {
        let (mut search, mut trials) = (Search::among(count), 0);
        loop {
            match search.next() {
                Ok(found) => return (found, search.green(), trials),
                Err(trial) => {
                    let together: Vec<usize> = match trial {
                        Trial::Beginning(count) => (1..=count).collect(),
                        Trial::CulpritBehind(count) => (1..=count).chain(search.culprit()).collect(),
                    };
                    search = search.learn(trial, !is_red(&together));
                    trials += 1;
                }
            }
            assert!(trials <= 2 * count + 2, "it comes to an end");
        }
    }

    fn trials_at_most(count: usize) -> usize {
        count.next_power_of_two().ilog2() as usize
    }

    #[test]
    fn a_culprit_is_found_wherever_it_is_and_what_is_before_it_can_land() {
        for count in 1..=33 {
            for culprit in 1..=count {
                let (found, green, trials) = search(count, |together| together.contains(&culprit));
                assert_eq!((found, green), (Found { culprit, with: None }, culprit - 1));
                assert!(trials <= trials_at_most(count) + 1, "{trials} of {count}");
            }
        }
    }

    #[test]
    fn of_two_that_do_not_go_together_the_later_is_the_culprit_and_the_earlier_is_named() {
        for count in 2..=17 {
            for late in 2..=count {
                for early in 1..late {
                    let is_red = |together: &[usize]| together.contains(&early) && together.contains(&late);
                    let (found, green, trials) = search(count, is_red);
                    assert_eq!((found, green), (Found { culprit: late, with: Some(early) }, late - 1));
                    assert!(trials <= 2 * trials_at_most(count) + 1, "{trials} of {count}");
                }
            }
        }
    }

    #[test]
    fn a_gate_that_fails_by_chance_ends_the_search_too() {
        for seed in 0_u64..500 {
            let mut state = seed;
            let dice = std::cell::RefCell::new(move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 40 & 1 == 0
            });
            let (found, green, _) = search(9, |_| (*dice.borrow_mut())());
            assert!(found.culprit == green + 1 && found.with.is_none_or(|with| with <= green));
        }
    }
}
