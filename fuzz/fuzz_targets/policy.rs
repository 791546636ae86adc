//! The document that a shim gets: whatever bytes it is made of, it is a whole policy or refused.
//! `cargo fuzz run policy`
#![no_main]

use libfuzzer_sys::fuzz_target;
use treehand::confine::policy::{Policy, is_plain};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::decode(bytes) {
        assert!(!policy.argv.is_empty() && policy.view.mounts.iter().all(|mount| is_plain(&mount.target)));
        let again = policy.encode().expect("what was read can be written");
        assert_eq!(Policy::decode(&again).as_ref(), Ok(&policy));
    }
});
