//! What is read from and written to the files of cgroups (version 2): which one is ours, which limits a leaf of it gets, what ended it.
//!
//! Decision file: text in, values out; `leaf` reads and writes.

use super::limits::Limits;

/// The file in a cgroup that names its processes; what is written to it moves.
pub const PROCESSES: &str = "cgroup.procs";

/// What the kernel can bound in the leaves of a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Memory.
    pub memory: bool,
    /// The number of processes.
    pub processes: bool,
}

impl Controllers {
    /// What a file `cgroup.controllers` offers.
    pub fn offered(text: &str) -> Controllers {
        let has = |name: &str| text.split_ascii_whitespace().any(|offered| offered == name);
        Controllers { memory: has("memory"), processes: has("pids") }
    }

    /// What hands them on to the leaves, one write each.
    pub fn enable(self) -> impl Iterator<Item = &'static str> {
        let words = [(self.memory, "+memory"), (self.processes, "+pids")];
        words.into_iter().filter_map(|(offered, word)| offered.then_some(word))
    }
}

/// The leaf of a scope in which the supervisor is.
pub const SUPERVISOR: &str = "supervisor";

/// The path of the scope of this name that a `/proc/PID/cgroup` says one is in; `None` in any other place. Only a scope that was
/// made for us may be divided by us.
pub fn scope_in(text: &str, unit: &str) -> Option<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // One that begins anew is in its leaf already.
    let path = path.strip_suffix(SUPERVISOR).and_then(|path| path.strip_suffix('/')).unwrap_or(path);
    let mut parts = path.rsplit('/');
    let ours = parts.next() == Some(unit) && !unit.is_empty() && !unit.starts_with('.');
    (ours && parts.all(|part| !part.is_empty() && part != "..")).then(|| path.to_owned())
}

/// One file of a leaf and what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The file.
    pub file: &'static str,
    /// What is written.
    pub value: String,
    /// A kernel without swap has no such file, and needs none.
    pub optional: bool,
}

/// What bounds a leaf to these limits, as far as the kernel can.
pub fn settings(limits: &Limits, has: Controllers) -> Vec<Setting> {
    let setting = |file, value: String, optional| Setting { file, value, optional };
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory.filter(|_| has.memory) {
        all.push(setting("memory.max", bytes.to_string(), false));
        all.push(setting("memory.swap.max", "0".into(), true));
        all.push(setting("memory.oom.group", "1".into(), false));
    }
    if let Some(count) = limits.processes.filter(|_| has.processes) {
        all.push(setting("pids.max", count.to_string(), false));
    }
    all
}

/// Whether a `memory.events` says that the leaf was ended for its own limit. A machine that has no memory left ends processes,
/// too; then the leaf's limit was not met.
pub fn went_beyond(events: &str) -> bool {
    let count = |key: &str| -> u64 {
        let value = events.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    count("oom") > 0 && (count("oom_kill") > 0 || count("oom_group_kill") > 0)
}

/// Whether a `cgroup.events` says that there is something in it.
pub fn is_populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_scope_that_was_made_for_us_is_ours() {
        let unit = "treehand-r1-ab.scope";
        let inside = "0::/user.slice/user-1.slice/user@1.service/app.slice/treehand-r1-ab.scope\n";
        let path = "user.slice/user-1.slice/user@1.service/app.slice/treehand-r1-ab.scope";
        assert_eq!(scope_in(inside, unit).as_deref(), Some(path));
        let mixed = format!("9:name=systemd:/\n1:cpu:/{unit}\n{inside}");
        assert_eq!(scope_in(&mixed, unit).as_deref(), Some(path), "a machine with both versions");
        let elsewhere = [
            "",
            "0::/",
            "0::/user.slice/session-3.scope",
            "0::/treehand-r1-ab.scope/other",
            "0::/treehand-r1-cd.scope",
            "0::/../treehand-r1-ab.scope",
            "1:memory:/treehand-r1-ab.scope",
        ];
        for text in elsewhere {
            assert_eq!(scope_in(text, unit), None, "{text}");
        }
        let within = format!("{}/supervisor\n", inside.trim_end());
        assert_eq!(scope_in(&within, unit).as_deref(), Some(path), "one that begins anew");
        assert_eq!(scope_in("0::/", ""), None);
        assert_eq!(scope_in("0::/a/..", ".."), None);
    }

    #[test]
    fn what_is_written_follows_from_the_limits_and_from_what_can_be_had() {
        let limits = |memory, processes| Limits { memory, processes, ..Limits::default() };
        let all = Controllers { memory: true, processes: true };
        let lines = |limits: &Limits, has| -> Vec<String> {
            settings(limits, has)
                .iter()
                .map(|set| format!("{}={}{}", set.file, set.value, if set.optional { "?" } else { "" }))
                .collect()
        };
        let memory = ["memory.max=7", "memory.swap.max=0?", "memory.oom.group=1"];
        assert_eq!(lines(&limits(Some(7), None), all), memory);
        assert_eq!(lines(&limits(Some(7), Some(9)), all), [&memory[..], &["pids.max=9"]].concat());
        assert_eq!(lines(&limits(Some(7), Some(9)), Controllers { memory: false, processes: true }), ["pids.max=9"]);
        assert_eq!(lines(&limits(Some(7), Some(9)), Controllers::default()), [""; 0]);
        assert_eq!(lines(&limits(None, None), all), [""; 0]);
    }

    #[test]
    fn what_can_be_had_is_what_is_offered_by_its_whole_name() {
        let offered = |text| Controllers::offered(text).enable().collect::<Vec<_>>();
        assert_eq!(offered("cpuset cpu io memory hugetlb pids\n"), ["+memory", "+pids"]);
        assert_eq!(offered("pids"), ["+pids"]);
        assert_eq!(offered("memory.x mypids"), [""; 0]);
    }

    #[test]
    fn a_leaf_that_its_own_limit_ended_is_told_from_a_machine_without_memory() {
        assert!(went_beyond("low 0\nhigh 0\nmax 30\noom 1\noom_kill 4\noom_group_kill 1\n"));
        assert!(went_beyond("max 30\noom 2\noom_kill 1\n"), "before Linux 5.17");
        assert!(!went_beyond("max 30\noom 0\noom_kill 1\noom_group_kill 1\n"), "the machine's");
        assert!(!went_beyond("max 30\noom 1\noom_kill 0\noom_group_kill 0\n"), "an allocation failed");
        assert!(!went_beyond(""));
        assert!(is_populated("populated 1\nfrozen 0\n") && !is_populated("populated 0\nfrozen 1\n"));
    }
}
