//! How one action of `clean` came out: plain data.
//! What it does to whatever it is about is with that.

use super::error::Result;

/// How an action came out.
pub enum Done {
    /// It is done.
    Yes {
        /// Refs that hold what was saved.
        salvage: Vec<String>,
        /// What is noteworthy.
        note: Option<String>,
    },
    /// It is gone for good, and gave back so many bytes of the disk.
    Freed(u64),
    /// Something was not as expected.
    Skipped(String),
}

impl Done {
    /// Without anything to say.
    pub fn plain() -> Done {
        Done::Yes { salvage: Vec::new(), note: None }
    }

    /// Left as it is, with the reason.
    pub fn skipped(why: impl Into<String>) -> Result<Done> {
        Ok(Done::Skipped(why.into()))
    }
}
