//! What git says of a result, as a task could have made it say: it is read without a panic, and what is special is found.
//! `cargo fuzz run result`
#![no_main]

use libfuzzer_sys::fuzz_target;
use treehand::model::sensitive::Sensitive;
use treehand::worktree::result_policy::parse_diff;
use treehand::worktree::sensitive_paths::{Sight, judge, leads_out};

fuzz_target!(|bytes: &[u8]| {
    let changes = parse_diff(bytes);
    let links: Vec<(Vec<u8>, Vec<u8>)> = changes.raw.iter().map(|change| (change.path.clone(), bytes.to_vec())).collect();
    let patterns = [String::from_utf8_lossy(bytes).into_owned()];
    let sight = Sight { changes: &changes.raw, links: &links, hooks: Some("tools/hooks"), patterns: &patterns };
    let _verdict = judge(&sight, &Sensitive::default());
    if let Some(split) = bytes.iter().position(|byte| *byte == 0) {
        let path = String::from_utf8_lossy(&bytes[..split]);
        let out = leads_out(&path, &bytes[split + 1..]);
        assert!(out || !bytes[split + 1..].starts_with(b"/"));
    }
});
