//! Plain data: ids, names, states, documents. Parsing and printing only, no IO.
//!
//! Promises: every value of these types is well formed (a `BranchName` can be handed to git, a `TaskId`
//! can be part of a path), because the only way to make one is to parse it. Uses no other room.

/// Gives a closed enum its words: `FromStr`, `Display` and `WORDS`.
macro_rules! text_enum {
    ($kind:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $kind {
            /// Every word, in the order of the help text.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
        }
        impl std::str::FromStr for $kind {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    other => Err(format!("`{}` is none of {}", other.escape_debug(), Self::WORDS.join(", "))),
                }
            }
        }
        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}
use text_enum;

pub mod admission;
pub mod agent;
pub mod bounds;
pub mod cause;
pub mod commit;
pub mod conflict;
pub mod freshness;
pub mod health;
pub mod hooks;
pub mod ids;
pub mod mail;
pub mod names;
pub mod network;
pub mod operation;
pub mod process;
pub mod queue;
pub mod reason;
pub mod record;
pub mod retry;
pub mod sensitive;
pub mod setup;
pub mod share;
pub mod sparse;

pub mod spec;
pub mod state;
pub mod submodules;
pub mod time;
pub mod variable;

pub use admission::{AdmissionPolicy, Free, OverlapPolicy, ProfileSlots};
pub use bounds::{Bounds, Confinement};
pub use commit::CommitId;
pub use freshness::{BaseReport, Freshness, Proof, StalePolicy, TaskFreshness, UpdateBy};
pub use hooks::Hooks;
pub use ids::{RunId, TaskId, TaskRef, Token};
pub use names::{BranchName, WorkspaceName};
pub use network::{HostPort, Network};
pub use process::{ProcId, Standing};
pub use queue::{PushTarget, QueueEntry, QueuePause};
pub use reason::{Reason, ReasonKind};
pub use retry::{Delay, FailureClass, RetryPolicy};
pub use sensitive::{Handling, Sensitive};
pub use setup::{SetupRecord, SetupStep};
pub use share::Share;
pub use sparse::{Directory, Sparse};

pub use spec::{GateSpec, MergePolicy, RunSpec, Strategy, TaskSpec};
pub use state::{RunState, TaskEvent, TaskState};
pub use submodules::Submodules;
pub use time::{ByteSize, Reading, Span, Timestamp};
pub use variable::{Variable, VariableName};
