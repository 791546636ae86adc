//! What becomes of a result that changes files which run something for whoever takes it: the classes of such paths, and what the
//! configuration says of each. Which paths these are is decided by `worktree::sensitive_paths`.

use serde::{Deserialize, Serialize};

/// What becomes of it; the later is the stricter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handling {
    /// It lands like any other.
    Allow,
    /// It waits for a person.
    NeedsPerson,
    /// It is rejected.
    Refuse,
}

super::text_enum!(Handling { Allow = "allow", NeedsPerson = "needs_person", Refuse = "refuse" });

/// A class of such paths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PathClass {
    /// What servers run on a push.
    Ci,
    /// What git runs on a commit, a merge, a push.
    Hooks,
    /// What a shell or a container runs on entering the directory.
    Environment,
    /// What an editor runs on opening it.
    Editors,
    /// What configures coding agents.
    Agents,
    /// What git itself reads.
    GitFiles,
    /// What treehand reads.
    Treehand,
    /// Links that lead out of the repository, or into its git dir.
    Links,
}

/// What becomes of each class.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Sensitive {
    /// See [`PathClass::Ci`].
    pub ci: Handling,
    /// See [`PathClass::Hooks`].
    pub hooks: Handling,
    /// See [`PathClass::Environment`].
    pub environment: Handling,
    /// See [`PathClass::Editors`].
    pub editors: Handling,
    /// See [`PathClass::Agents`].
    pub agents: Handling,
    /// See [`PathClass::GitFiles`].
    pub git_files: Handling,
    /// See [`PathClass::Treehand`].
    pub treehand: Handling,
    /// See [`PathClass::Links`].
    pub links: Handling,
}

impl Default for Sensitive {
    fn default() -> Self {
        let [ci, hooks, environment, editors, agents, git_files, treehand, links] = [Handling::NeedsPerson; 8];
        Sensitive { ci, hooks, environment, editors, agents, git_files, treehand, links }
    }
}

impl PathClass {
    /// The key of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ci => "ci",
            Self::Hooks => "hooks",
            Self::Environment => "environment",
            Self::Editors => "editors",
            Self::Agents => "agents",
            Self::GitFiles => "git_files",
            Self::Treehand => "treehand",
            Self::Links => "links",
        }
    }
}

impl Sensitive {
    /// What becomes of a class.
    pub fn of(&self, class: PathClass) -> Handling {
        match class {
            PathClass::Ci => self.ci,
            PathClass::Hooks => self.hooks,
            PathClass::Environment => self.environment,
            PathClass::Editors => self.editors,
            PathClass::Agents => self.agents,
            PathClass::GitFiles => self.git_files,
            PathClass::Treehand => self.treehand,
            PathClass::Links => self.links,
        }
    }

    /// True when no class is handled less strictly than in the other.
    pub fn is_no_looser_than(&self, other: &Sensitive) -> bool {
        use PathClass as C;
        let all = [C::Ci, C::Hooks, C::Environment, C::Editors, C::Agents, C::GitFiles, C::Treehand, C::Links];
        all.into_iter().all(|class| self.of(class) >= other.of(class))
    }
}
