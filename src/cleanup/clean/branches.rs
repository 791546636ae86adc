//! Decision file: which branches of people `clean --branches all` takes: those whose work is provably in the default branch or
//! its upstream, that nobody uses and that have not moved for the least age.

use super::facts::{Facts, OwnBranch};
use super::runs::{put, untouchable};
use super::types::{CleanPlan, CleanPolicy, old_enough};

/// Decides on all of them.
pub fn decide(facts: &Facts, policy: &CleanPolicy, plan: &mut CleanPlan) {
    for own in &facts.branches {
        put(plan, &own.branch, decide_one(own, policy));
    }
}

fn decide_one(own: &OwnBranch, policy: &CleanPolicy) -> Result<String, String> {
    untouchable(&own.branch)?;
    if let Some(name) = &own.alias_of {
        return Err(format!("it is another name of {name}"));
    }
    let proof = own.branch.integrated.as_ref().map_err(ToString::to_string)?;
    if let Some(why) = &own.needed_by {
        return Err(why.clone());
    }
    if !own.has_work {
        return Err("no work yet".into());
    }
    old_enough(own.moved_at, policy)?;
    Ok(proof.to_string())
}
