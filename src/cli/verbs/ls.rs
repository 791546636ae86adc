//! `ls`: every workspace, and every run task that has one: branch, state, freshness, processes, size, age.
//!
//! Asks no remote: freshness is as of what is known here. What can be known without looking at files is known at once; each
//! line is printed as soon as its files have been looked at, in order.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::args::LsArgs;
use crate::cli::error::CliError;
use crate::cli::listing::{self, Cell, Found, HEAD, LEGEND, Line};
use crate::cli::output::print;
use crate::cli::session::Session;
use crate::model::Standing;
use crate::model::cause::chain;
use crate::orchestrator::behind::Looks;
use crate::orchestrator::health;
use crate::store::Store;
use crate::sys::footprint::footprint;
use crate::sys::standing::Processes;
use crate::sys::{at_once, clock, env};
use crate::worktree::remote::Lookup;
use crate::worktree::seen::Seen;
use crate::worktree::status::Survey;
use crate::worktree::{WorktreeError, ports};

/// How long a watched list stands before it is made anew.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Lines of a screen that are not of the list: its head, how many more there are, the legend and the cursor's.
const AROUND: usize = 5;

/// Clears the screen and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Lists workspaces.
pub fn run(session: &Session, args: &LsArgs) -> Result<u8, CliError> {
    if !args.watch {
        return show(session, args).map(|()| 0);
    }
    if session.out.is_json() || !session.out.on_terminal() {
        return Err(CliError::usage("--watch needs a terminal").hint("scripts call `treehand ls --json` again instead"));
    }
    loop {
        print(CLEAR)?;
        show(session, args)?;
        std::thread::park_timeout(WATCH_EVERY);
    }
}

fn show(session: &Session, args: &LsArgs) -> Result<(), CliError> {
    let (lines, seen) = gather(session, &session.look()?, args.quick)?;
    let processes = Processes::scan().map_err(WorktreeError::from)?;
    let standing: Vec<Vec<Standing>> = lines.iter().map(|line| line.processes(&processes)).collect();
    if session.out.is_json() {
        let mut documents: Vec<Value> = Vec::new();
        let (leases, wanted) = (ports::all(&session.repo), session.settings.worktree.ports);
        each_found(seen, &lines, |at, found| {
            let ports = lines[at].ports(&leases, wanted);
            documents.extend(lines[at].document(&standing[at], &ports, &found));
            Ok(())
        })?;
        return Ok(session.out.answer("treehand/workspaces/v1", json!({"workspaces": documents}), String::new)?);
    }
    let here = session.repo.here.as_deref();
    let terminal = session.out.terminal_size();
    let from = terminal.and_then(|_| env::current_dir().ok());
    let cells = |at: usize, found: &Found| lines[at].cells(here, from.as_deref(), &standing[at], found);
    let mut table: Vec<Vec<Cell>> = vec![HEAD.map(|head| (head.to_owned(), None)).to_vec()];
    table.extend((0..lines.len()).map(|at| cells(at, &Found::widest())));
    let widths = listing::widths(&table, terminal.map(|(columns, _)| columns));
    print(&listing::line(&session.out, &table[0], &widths))?;
    let most = terminal.filter(|_| args.watch).map_or(usize::MAX, |(_, lines)| lines.saturating_sub(AROUND));
    each_found(seen, &lines, |at, found| match at.cmp(&most) {
        std::cmp::Ordering::Less => Ok(print(&listing::line(&session.out, &cells(at, &found), &widths))?),
        std::cmp::Ordering::Equal => Ok(print(&format!("… and {} more\n", lines.len() - most))?),
        std::cmp::Ordering::Greater => Ok(()),
    })?;
    if session.out.on_terminal() {
        session.out.say(LEGEND);
    }
    Ok(())
}

/// The lines, and what was found in their files the last time, unless nobody is going to look.
fn gather<'s>(session: &'s Session, store: &Store, quick: bool) -> Result<(Vec<Line>, Option<Seen<'s>>), CliError> {
    let mut lines = Vec::new();
    let lookup = Lookup { recall: true, ..session.lookup(true) };
    let records = store.workspaces()?;
    let mut survey = Survey::begin(&session.repo, &records, lookup)?;
    if !session.out.is_json() {
        lines.extend(survey.main_tree()?.map(|(branch, looked_at)| Line::Main { branch, looked_at }));
    }
    for record in records {
        // One workspace that cannot be looked at must not hide the others: its row says why.
        let looked = survey.status(&record).map_err(|error| chain(&error));
        lines.push(Line::Workspace { record: Box::new(record), looked: Box::new(looked) });
    }
    let mut looks = None;
    for run in store.runs()? {
        for task in store.tasks(&run.id)?.into_iter().filter(|task| task.workspace.is_some()) {
            let looks = match &mut looks {
                Some(looks) => looks,
                none => none.insert(Looks::begin(&session.repo, store, lookup)?),
            };
            let fresh = looks.of(&run, &task, false).map_err(|error| chain(&error));
            let seen = health::on_record(&run, std::slice::from_ref(&task)).of_task(&task).cloned();
            lines.push(Line::Task { run: Box::new(run.clone()), task: Box::new(task), seen, fresh });
        }
    }
    let seen = if quick { None } else { Some(survey.seen()?) };
    Ok((lines, seen))
}

/// Looks at the files of every line, several at once, and hands over what was found in the order of the lines.
fn each_found(
    seen: Option<Seen<'_>>,
    lines: &[Line],
    mut take: impl FnMut(usize, Found) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let Some(seen) = seen else {
        return (0..lines.len()).try_for_each(|at| take(at, Found::default()));
    };
    let look = |line: &Line| {
        let footprint = footprint(line.place());
        let dirt = line.looked_at().map(|at| seen.dirt(at, &footprint, clock::now()).map_err(|error| chain(&error)));
        Found { dirt, bytes: Some(footprint.bytes) }
    };
    at_once::each(lines, usize::MAX, look, &mut take)?;
    Ok(seen.close()?)
}
