//! `merge NAME`: lands what is committed in workspaces of a person's, or on branches.
//!
//! The workspaces stay as they are. Of a sealed one all that it holds comes onto its branch first, as `diff` does it; in a
//! plain one nothing may be uncommitted but files that git does not know.

use super::merge::{Named, report, tip};
use super::run;
use crate::cli::error::CliError;
use crate::cli::merge_args::MergeArgs;
use crate::cli::output::plain;
use crate::cli::session::Session;
use crate::model::record::{WorkspaceRecord, WorkspaceState};
use crate::model::{BranchName, CommitId, GateSpec, RunSpec};
use crate::orchestrator::client;
use crate::orchestrator::follow::{self, Followed, OnInterrupt};
use crate::orchestrator::offer::{self, Offer};
use crate::orchestrator::start::{self, RunPlan, StartSettings};
use crate::store::Store;
use crate::worktree::index_copy;
use crate::worktree::{WorktreeError, base, changes, checkouts, own_work};

/// Plans to land them.
pub(super) fn plan(
    session: &Session,
    store: &Store,
    args: &MergeArgs,
    named: &[(&str, Named)],
) -> Result<RunPlan, CliError> {
    let into = target(session, args, named)?;
    let tip = match tip(session, &into)? {
        Some(tip) => tip,
        None => {
            return Err(CliError::not_found(format!("there is no branch `{into}`")).hint("name another: --into BRANCH"));
        }
    };
    let mut offers = Vec::new();
    for (text, one) in named {
        offers.push(offer(session, store, (text, one), (&into, &tip))?);
    }
    let config = &session.settings;
    let gates = match args.gates.is_empty() {
        true => config.merge.gates.clone(),
        false => args.gates.iter().map(GateSpec::plain).collect(),
    };
    let goal = offers.iter().map(|offer| offer.label.as_str()).collect::<Vec<_>>().join(", ");
    let spec = offer::spec(format!("merge {goal}"), &into, gates, args.strategy);
    let settings = run::settings_for(session, args.confine, args.strategy);
    let settings = StartSettings { push: settings.push || args.push, ..settings };
    planned(session, &offers, (&into, &tip), spec, &settings)
}

/// Plans the landing of these, with a word where nothing confines the gates.
pub(super) fn planned(
    session: &Session,
    offers: &[Offer],
    into: (&BranchName, &CommitId),
    spec: RunSpec,
    settings: &StartSettings,
) -> Result<RunPlan, CliError> {
    let plan = offer::plan(&session.repo, offers, into, spec, settings)?;
    if !plan.run.spec.gates.is_empty()
        && let Some(caution) = crate::confine::level::caution(plan.run.confine)
    {
        session.out.warn(caution);
    }
    Ok(plan)
}

/// From here on a run has them, whatever becomes of this process.
pub(super) fn record(session: &Session, store: &Store, plan: &mut RunPlan) -> Result<(), CliError> {
    start::record(&session.repo, store, plan)?;
    Ok(offer::hold(&session.repo, &plan.tasks)?)
}

/// Lands them, and waits until each has or has not.
pub(super) fn land(session: &Session, store: &Store, mut plan: RunPlan) -> Result<u8, CliError> {
    let before = plan.run.before.clone();
    record(session, store, &mut plan)?;
    let run = &plan.run;
    client::ensure_supervised(&session.repo, store, &run.id)?;
    let followed = follow::follow(&session.repo, store, &run.id, None, OnInterrupt::Cancel, |_| Ok(()))?;
    let code = report(session, store, (run, Some(before)), |_| true)?;
    Ok(match followed {
        Followed::Interrupted(signal) => signal,
        _ => code,
    })
}

/// The branch to land on: as said, else the local branch of what each is based on, which has to be one.
fn target(session: &Session, args: &MergeArgs, named: &[(&str, Named)]) -> Result<BranchName, CliError> {
    if let Some(into) = args.into.clone().or(session.settings.merge.into.clone()) {
        return Ok(into);
    }
    let mut found: Vec<(&str, BranchName)> = Vec::new();
    for (text, one) in named {
        let reference = match one {
            Named::Workspace(record) => Some(record.base.reference.as_str()),
            _ => None,
        };
        let base = match base::resolve(&session.repo, reference, session.lookup(true)) {
            // What it was based on is gone: then what finished work comes to.
            Err(WorktreeError::NotFound { .. }) => base::resolve(&session.repo, None, session.lookup(true))?,
            base => base?,
        };
        let target = start::target(&session.repo, None, false, &base)?;
        if let Some((other, _)) = found.iter().find(|(_, known)| *known != target) {
            let message = format!("`{}` and `{}` are based on different branches", plain(other), plain(text));
            return Err(CliError::usage(message).hint("say where they land: --into BRANCH"));
        }
        found.push((text, target));
    }
    found.pop().map(|(_, target)| target).ok_or_else(|| CliError::usage("nothing is named"))
}

fn offer(
    session: &Session,
    store: &Store,
    (text, named): (&str, &Named),
    (into, target): (&BranchName, &CommitId),
) -> Result<Offer, CliError> {
    let (label, branch, based_on, commit) = match named {
        Named::Workspace(record) => {
            let commit = work_of(session, store, record)?;
            (record.name.to_string(), record.branch.full_ref(), Some(&record.base.commit), commit)
        }
        Named::Branch(name) => {
            let commit = session.repo.reader().ref_commit(name).map_err(WorktreeError::from)?;
            let gone = || CliError::not_found(format!("there is no branch `{}`", text.escape_debug()));
            (text.to_owned(), name.clone(), None, commit.ok_or_else(gone)?)
        }
        Named::Result(..) => return Err(CliError::usage("a result is no workspace")),
    };
    if branch == into.full_ref() {
        return Err(CliError::refused(format!("`{into}` cannot land on itself")).hint("say where: --into BRANCH"));
    }
    match own_work::base(&session.repo, based_on, &commit, target)? {
        Some(base) => Ok(Offer { label, base, commit, reverts: None }),
        None => Err(CliError::refused(format!("`{}` and `{into}` have no history in common", plain(&label)))),
    }
}

/// The commit with the work of a workspace; refused where something would be left out that a person may think is in it.
fn work_of(session: &Session, store: &Store, record: &WorkspaceRecord) -> Result<CommitId, CliError> {
    let name = &record.name;
    if record.state != WorkspaceState::Ready {
        return Err(CliError::refused(format!("`{name}` is being made or removed")));
    }
    if record.sealed {
        return Ok(changes::bring_onto_branch(&session.repo, store, record, &session.settings.worktree.path)?);
    }
    let Some(tip) = tip(session, &record.branch)? else {
        return Err(CliError::not_found(format!("the branch `{}` of `{name}` is gone", record.branch)));
    };
    if let Some(checkout) = checkouts::at(&session.repo, &record.path)? {
        let dirt = index_copy::look(&session.repo, &checkout.git_dir, &record.path)?;
        if dirt.staged || dirt.modified || dirt.conflicted {
            return Err(CliError::refused(format!("`{name}` has changes that are not committed"))
                .hint(format!("commit them, or put them aside: git -C {} stash", record.path.display())));
        }
        if dirt.untracked {
            session.out.warn(format!("`{name}` has files that git does not know: they stay there, and do not land"));
        }
    }
    Ok(tip)
}
