//! `run`: one task or a file of tasks, from the arguments to landed commits.
//!
//! Everything is checked before anything starts. The run belongs to its supervisor; this command only follows it.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::agents::in_runs;
use crate::cli::document::{self, Standings};
use crate::cli::error::CliError;
use crate::cli::output::{Paint, narrate, plain, with_schema};
use crate::cli::run_args::RunArgs;
use crate::cli::session::Session;
use crate::cli::tasks_source;
use crate::cli::verbs::show::standings;
use crate::model::record::{ConfineLevel, TaskRecord};
use crate::model::{
    Bounds, GateSpec, Network, OverlapPolicy, RunId, RunSpec, Span, Strategy, TaskId, TaskState, Variable, VariableName,
};
use crate::orchestrator::agents::ears::WARNED;
use crate::orchestrator::agents::spent::RUN_WARNED;
use crate::orchestrator::client;
use crate::orchestrator::context::{RunError, WAITING};
use crate::orchestrator::follow::{self, Choice, Followed, OnInterrupt};
use crate::orchestrator::foresight::{
    Foreseen, Meeting, Meetings, foresee, foresee_meetings, foresee_step, foresee_told,
};
use crate::orchestrator::health::{self, Looked};
use crate::orchestrator::queue::place::LEFT;
use crate::orchestrator::start::{self, RunPlan, StartSettings};
use crate::store::Store;
use crate::sys::scope;
use crate::worktree::patience::waiting_for;
use crate::worktree::pool::wanted;
use crate::worktree::quarantine::Kept;

/// Most others that a dry run names in a line.
const MEETINGS_SHOWN: usize = 5;

/// Runs tasks.
pub fn run(session: &Session, args: RunArgs) -> Result<u8, CliError> {
    let settings = settings(session, &args);
    let spec = apply_flags(session, tasks_source::load(&args, &session.settings.supervise.agent)?, &args);
    let mut plan = start::plan(&session.repo, spec, &settings)?;
    for warning in &plan.warnings {
        session.out.warn(plain(warning));
    }
    if args.dry_run {
        plan.kept.take().map(Kept::release).transpose()?;
        return dry_run(session, &plan);
    }
    let store = session.store()?;
    start::record(&session.repo, &store, &mut plan)?;
    let run = &plan.run.id;
    client::ensure_supervised(&session.repo, &store, run)?;
    // How many are wanted is the user's configuration, which no supervisor reads.
    wanted::used(&session.repo, &plan.run.base.commit);
    if !args.detach {
        let count = plan.tasks.len();
        let tasks = if count == 1 { "task" } else { "tasks" };
        session.out.say(format!("run {run}: {count} {tasks} onto {}", plan.run.into));
    }
    follow_to_end(session, &store, run, args.detach, args.events)
}

/// Follows a run to its end and reports it, or reports it as it is when it is to go on alone.
pub fn follow_to_end(
    session: &Session,
    store: &Store,
    run: &RunId,
    detach: bool,
    events: bool,
) -> Result<u8, CliError> {
    if detach {
        return report(session, store, run).map(|_| 0);
    }
    let followed = follow(session, store, run, events)?;
    let code = if events { exit_code(store, run)? } else { report(session, store, run)? };
    Ok(match followed {
        Followed::Interrupted(signal) => signal,
        _ => code,
    })
}

fn settings(session: &Session, args: &RunArgs) -> StartSettings {
    let settings = settings_for(session, args.confine, args.strategy);
    let jobs = args.jobs.unwrap_or(settings.jobs);
    let push = settings.push || args.push;
    StartSettings { lookup: session.lookup(args.offline), jobs, push, ..settings }
}

/// What the configuration says, where these flags do not.
pub fn settings_for(session: &Session, confine: Option<ConfineLevel>, strategy: Option<Strategy>) -> StartSettings {
    let config = &session.settings;
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    StartSettings {
        lookup: session.lookup(false),
        stale: config.worktree.stale,
        confine: confine.unwrap_or(config.confine.level),
        jobs: config.supervise.jobs.on(cores),
        strategy: strategy.unwrap_or(config.merge.strategy),
        message_template: config.merge.message.clone(),
        push: config.merge.push,
        lock_wait: config.merge.lock_wait,
        orphan_grace: config.supervise.orphan_grace,
        retry: config.supervise.retry,
        admission: config.supervise.admission.clone(),
        idle: config.supervise.idle,
        start_up: config.supervise.start,
        health: config.supervise.health,
        submodules: config.worktree.submodules,
        setup: config.worktree.setup.clone(),
        ports: config.worktree.ports,
        template: config.worktree.path.clone(),
        output_limit: config.confine.limits.output,
        bounds: config.confine.bounds(),
        sensitive: config.merge.sensitive.clone(),
        conflict_rounds: config.merge.conflict_rounds(),
        agents: config.agents.clone(),
        instructions: config.supervise.instructions.clone(),
    }
}

/// Flags stand over the file, the file over the configuration.
fn apply_flags(session: &Session, mut spec: RunSpec, args: &RunArgs) -> RunSpec {
    let config = &session.settings;
    spec.base = args.base.clone().or(spec.base).or(config.worktree.base.clone());
    spec.into = args.into.clone().or(spec.into).or(config.merge.into.clone());
    spec.merge = args.merge.or(spec.merge);
    spec.stale = args.stale.or(spec.stale);
    spec.strategy = args.strategy.or(spec.strategy);
    spec.jobs = args.jobs.or(spec.jobs);
    if !args.gates.is_empty() {
        spec.gates = args.gates.iter().map(GateSpec::plain).collect();
    } else if spec.gates.is_empty() {
        spec.gates = config.merge.gates.clone();
    }
    for task in &mut spec.tasks {
        task.stale = task.stale.filter(|_| args.stale.is_none());
        task.timeout = task.timeout.or(args.timeout).or(config.supervise.wall);
        task.net = task.net.take().or(args.net.clone());
        task.env.extend(args.env.iter().cloned());
        task.secrets.extend(args.secrets.iter().cloned());
    }
    spec
}

fn dry_run(session: &Session, plan: &RunPlan) -> Result<u8, CliError> {
    let mut document = document::run(&plan.run, &plan.tasks, &Looked::default(), &Standings::new());
    document["dry_run"] = json!(true);
    let mut foreseen = Vec::new();
    for task in &plan.tasks {
        foreseen.push((task.id.to_string(), foresee(&session.repo, plan, task)?));
    }
    let policies: serde_json::Map<String, Value> =
        foreseen.iter().map(|(id, policy)| (id.clone(), json!(policy))).collect();
    let scope = scope::manager().map_err(|why| why.to_string());
    let scoped = json!({"possible": scope.is_ok(), "why": scope.as_ref().err()});
    let setup = foresee_setup(session, plan)?;
    let told = told(session, plan)?;
    document["told"] = json!(told);
    document["confinement"] = json!({
        "level": plan.run.confine, "bounds": plan.run.bounds, "scope": scoped, "tasks": policies, "setup": setup.documents,
    });
    let meetings = foresee_meetings(plan);
    document["overlap"] = meetings_document(plan, &meetings);
    session.out.answer("treehand/run/v1", document, || {
        let base = &plan.run.base;
        let mut text =
            format!("would run from {} ({}) onto {}\n", plain(&base.reference), base.commit.short(), plan.run.into);
        text.push_str(&setup.lines);
        for task in &plan.tasks {
            let needs: Vec<&str> = task.spec.needs.iter().map(|need| need.as_str()).collect();
            let after = if needs.is_empty() { String::new() } else { format!(" after {}", needs.join(", ")) };
            let net = network(task.spec.net.as_ref());
            text.push_str(&format!(
                "  {}{after}: {}{net}{}\n",
                task.id,
                does(task),
                given(&task.spec.env, &task.spec.secrets)
            ));
        }
        for gate in &plan.run.spec.gates {
            let (net, given) = (network(gate.net.as_ref()), given(&gate.env, &gate.secrets));
            text.push_str(&format!("  gate: {}{net}{given}\n", plain(&gate.run)));
        }
        for (task, told) in &told {
            let lines: String = told.lines().map(|line| format!("  | {}\n", plain(line))).collect();
            text.push_str(&format!("{task} is told:\n{lines}"));
        }
        text.push_str(&meetings_text(plan, &meetings));
        text.push_str(&confinement(plan));
        text.push_str(&setup.seen);
        text.push_str(&match &scope {
            Ok(_) => "each command in a cgroup of its own\n".to_owned(),
            Err(why) => format!("no cgroups: {}\n", plain(why)),
        });
        foreseen.iter().for_each(|(id, policy)| text.push_str(&seen_by(id, policy)));
        text
    })?;
    Ok(0)
}

/// Who does a task: a command, or agents in the order in which they are tried.
fn does(task: &TaskRecord) -> String {
    match &task.spec.agents[..] {
        [] => plain(&task.spec.command.join(" ")),
        agents => plain(&agents.iter().map(ToString::to_string).collect::<Vec<_>>().join(", then ")),
    }
}

/// What agents would be told, by their tasks.
fn told(session: &Session, plan: &RunPlan) -> Result<BTreeMap<String, String>, CliError> {
    let mut all = BTreeMap::new();
    for task in &plan.tasks {
        all.extend(foresee_told(&session.repo, plan, task)?.map(|told| (task.id.to_string(), told)));
    }
    Ok(all)
}

/// What the policy does about tasks that change the same files.
fn meaning(policy: OverlapPolicy) -> &'static str {
    match policy {
        OverlapPolicy::Ignore => "they start like any others",
        OverlapPolicy::Prefer => "others start first, while there are others",
        OverlapPolicy::Wait => "each starts when none of the others is at work or about to land",
    }
}

fn meetings_document(plan: &RunPlan, meetings: &[(TaskId, Meetings)]) -> Value {
    let policy = plan.run.overlap();
    let tasks: serde_json::Map<String, Value> =
        meetings.iter().map(|(task, meetings)| (task.to_string(), json!(meetings))).collect();
    json!({"policy": policy, "meaning": meaning(policy), "tasks": tasks})
}

fn meetings_text(plan: &RunPlan, meetings: &[(TaskId, Meetings)]) -> String {
    if meetings.is_empty() {
        return String::new();
    }
    let policy = plan.run.overlap();
    let mut text = format!(
        "tasks that may change the same files (supervise.overlap {policy}): {}
",
        meaning(policy)
    );
    for (task, meetings) in meetings {
        let named = |meeting: &Meeting| match meeting.paths.first() {
            Some((mine, theirs)) if mine == theirs => format!("{} by {}", meeting.task, plain(mine)),
            Some((mine, theirs)) => format!("{} by {} and {}", meeting.task, plain(mine), plain(theirs)),
            None => meeting.task.to_string(),
        };
        let mut shown: Vec<String> = meetings.with.iter().take(MEETINGS_SHOWN).map(named).collect();
        let more = meetings.count.saturating_sub(shown.len());
        shown.extend((more > 0).then(|| format!("{more} more")));
        text.push_str(&format!("  {task} meets {}\n", shown.join(", ")));
    }
    text
}

/// What a dry run says of the setup steps, which are the same before every task.
#[derive(Default)]
struct SetupForeseen {
    documents: Vec<Value>,
    lines: String,
    seen: String,
}

fn foresee_setup(session: &Session, plan: &RunPlan) -> Result<SetupForeseen, CliError> {
    let mut all = SetupForeseen::default();
    let Some(first) = plan.tasks.first() else { return Ok(all) };
    for (number, step) in (1..).zip(&plan.run.setup) {
        let policy = foresee_step(&session.repo, plan, first, step)?;
        let (run, net, given) = (plain(&step.run), network(step.net.as_ref()), given(&step.env, &step.secrets));
        let deadline = Span(step.deadline());
        all.lines.push_str(&format!("  setup {number}: {run}{net}{given}, in at most {deadline}\n"));
        let environment = plain(&policy.environment.join(" "));
        let sees = format!("setup {number} sees what each task sees; network {}\n", shown(&policy.network));
        all.seen.push_str(&format!("{sees}  environment: {environment}\n"));
        let mut document = json!(policy);
        document["command"] = json!(step.run);
        all.documents.push(document);
    }
    Ok(all)
}

/// What of the network a task or a gate asks for by itself.
fn network(asked: Option<&Network>) -> String {
    asked.map(|network| format!(" (net {})", shown(network))).unwrap_or_default()
}

fn shown(network: &Network) -> String {
    match network {
        Network::None => "none".to_owned(),
        Network::Full => "full".to_owned(),
        Network::Hosts(hosts) => hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// What every child of the run is kept within, unless its task or gate says.
fn confinement(plan: &RunPlan) -> String {
    let bounds = &plan.run.bounds;
    let mut text = format!("confined: {}, network {}\n", plan.run.confine, shown(&bounds.network));
    if matches!(plan.run.confine, ConfineLevel::Strict | ConfineLevel::Landlock) {
        let Bounds { processes, memory, file_size, open_files, disk, .. } = bounds;
        text.push_str(&format!(
            "limits: {processes} processes, {memory} of memory, {file_size} a file, {open_files} open files, {disk} on disk\n"
        ));
        for path in &bounds.read {
            text.push_str(&format!("reads: {}\n", plain(&path.display().to_string())));
        }
    }
    text
}

/// What a task would see, and the names of its variables.
fn seen_by(id: &str, policy: &Foreseen) -> String {
    let mut text = format!("{id} sees:\n");
    for mount in &policy.mounts {
        text.push_str(&format!("{:>7} {}\n", mount.access.word(), plain(&mount.target.display().to_string())));
    }
    if policy.mounts.is_empty() {
        text.push_str("        everything that you can\n");
    }
    text + &format!("  environment: {}\n", plain(&policy.environment.join(" ")))
}

/// Follows a run, telling its progress as lines or its events as JSON.
pub fn follow(session: &Session, store: &Store, run: &RunId, events: bool) -> Result<Followed, CliError> {
    let mut seq = 0;
    let mut told: Vec<(String, TaskState)> = Vec::new();
    let news = |store: &Store| -> Result<(), RunError> {
        if events {
            for entry in store.entries_after(seq, Some(run))? {
                seq = entry.seq;
                let document = serde_json::to_value(&entry).unwrap_or_default();
                session
                    .out
                    .event(&with_schema("treehand/event/v1", document))
                    .map_err(RunError::io("cannot write events"))?;
            }
            return Ok(());
        }
        for entry in store.entries_after(seq, Some(run))? {
            seq = entry.seq;
            if let (WAITING, Some(lock)) = (entry.kind.as_str(), entry.data["lock"].as_str()) {
                session.out.warn(plain(&waiting_for(Path::new(lock))));
            }
            if let ("queue.entered", Some(task), Some(target)) =
                (entry.kind.as_str(), &entry.task, entry.data["target"].as_str())
                && let Some(pause) = store.queue_pauses()?.iter().find(|pause| pause.target.as_str() == target)
            {
                session.out.say(format!("  {task} waits: {}", plain(&pause.to_string())));
            }
            if let (LEFT, Some(pushed), Some(why)) =
                (entry.kind.as_str(), entry.data["pushed"].as_str(), entry.data["why"].as_str())
            {
                session.out.warn(left(pushed, why));
            }
            if let (WARNED, Some(task), Some(part)) =
                (entry.kind.as_str(), &entry.task, entry.data["nearly_used_up"].as_str())
            {
                session.out.warn(format!("{task}: its agent has used nearly all of its budget: {part}"));
            }
            if let (RUN_WARNED, Some(part)) = (entry.kind.as_str(), entry.data["nearly_used_up"].as_str()) {
                session.out.warn(format!("nearly all of the budget of the run is used: {part}"));
            }
            if let ("attempt.progress", Some(task), Some(said)) =
                (entry.kind.as_str(), &entry.task, entry.data["message"].as_str())
            {
                session.out.say(format!("  {task}: {}", in_runs::one_line(said)));
            }
            if let ("setup.started", Some(task), Some(step)) =
                (entry.kind.as_str(), &entry.task, entry.data["command"].as_str())
            {
                tracing::info!(%task, "setup step: {step}");
            }
        }
        for task in store.tasks(run)? {
            let now = (task.id.to_string(), task.state);
            if !told.contains(&now) && task.state != TaskState::Queued {
                told.retain(|(id, _)| *id != now.0);
                told.push(now);
                progress(session, &task);
            }
        }
        Ok(())
    };
    Ok(follow::follow(&session.repo, store, run, None, on_interrupt(), news)?)
}

/// Says that the branch here did not follow the one of a remote.
pub fn left(pushed: &str, why: &str) -> String {
    format!("it has landed on {}, and the branch here stays: {}", plain(pushed), plain(why))
}

/// Ctrl-C asks who is there to answer; without a terminal it cancels.
fn on_interrupt() -> OnInterrupt {
    let person = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if person { OnInterrupt::Ask(ask) } else { OnInterrupt::Cancel }
}

/// Asks what is to become of the run. Who says nothing, or closes the terminal, wants nothing done to it.
fn ask() -> Choice {
    narrate("\ncancel the run, or leave it to itself? [c]ancel, [d]etach, anything else goes on (Ctrl-C cancels): ");
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => Choice::Leave,
        Ok(_) => match line.trim() {
            "c" | "cancel" => Choice::Cancel,
            "d" | "detach" => Choice::Leave,
            _ => Choice::Stay,
        },
    }
}

fn progress(session: &Session, task: &TaskRecord) {
    let paint = match task.state {
        TaskState::Landed | TaskState::NoChange => Paint::Green,
        TaskState::Rejected | TaskState::Failed => Paint::Red,
        TaskState::Cancelled | TaskState::Skipped | TaskState::NeedsAttention => Paint::Yellow,
        TaskState::Running => Paint::Dim,
        TaskState::Waiting => Paint::Yellow,
        _ => return,
    };
    let asks = task.question.as_ref().filter(|_| task.state == TaskState::Waiting);
    let says = task.reason.as_ref().map(|reason| &reason.message).or(asks.map(|question| &question.text));
    let resolves = task.resolving.as_ref().map(|resolving| &resolving.reason.message);
    let why = match (says, resolves) {
        (None, None) if task.state == TaskState::Running => in_runs::begins(task),
        (None, Some(conflict)) => format!(", to resolve a {}", plain(conflict)),
        (says, _) => says.map(|says| format!(": {}", plain(says))).unwrap_or_default(),
    };
    session.out.say(format!("  {} {}{why}", session.out.paint(paint, task.state.word()), task.id));
}

/// Prints a run and gives its exit code.
pub fn report(session: &Session, store: &Store, run: &RunId) -> Result<u8, CliError> {
    let (record, tasks) = (store.run(run)?, store.tasks(run)?);
    let looked = health::on_record(&record, &tasks);
    let fresh = standings(session, store, &record, &tasks)?;
    let text = || document::run_text(&record, &tasks, &looked, &fresh);
    session.out.answer("treehand/run/v1", document::run(&record, &tasks, &looked, &fresh), text)?;
    Ok(document::run_exit_code(&record, &tasks))
}

/// The exit code of a run that is over.
pub fn exit_code(store: &Store, run: &RunId) -> Result<u8, CliError> {
    Ok(document::run_exit_code(&store.run(run)?, &store.tasks(run)?))
}

/// The names of what a command is given; the values are nobody's business.
fn given(variables: &[Variable], secrets: &[VariableName]) -> String {
    let names: Vec<&str> = variables.iter().map(Variable::name).chain(secrets).map(VariableName::as_str).collect();
    if names.is_empty() { String::new() } else { format!(" [{}]", names.join(" ")) }
}
