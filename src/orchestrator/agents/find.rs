//! Scan: the agents that there are on this machine: the user's profiles, where a program is, what it says that its version is, and
//! which files belong to it. Found once for a run, when that is planned.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::equip;
use crate::agent::profile::{COMMAND, Profile};
use crate::agent::registry::Registry;
use crate::model::RunSpec;
use crate::model::agent::{AgentChoice, AgentOptions, AgentSetup};
use crate::orchestrator::error::RunError;
use crate::sys::{env, proc, small};

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of a profile, and of a version.
const PROFILE_MAX: u64 = 1 << 20;
const VERSION_MAX: usize = 200;

/// What the user says of agents, by their names.
pub type Options = BTreeMap<String, AgentOptions>;

/// A program that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// It itself, as it is started.
    pub program: PathBuf,
    /// What it says that its version is.
    pub version: Option<String>,
    /// Files and directories that belong to it.
    pub reads: Vec<PathBuf>,
}

/// Where the user's own profiles are: `NAME.toml` each.
pub fn own_profiles() -> Option<PathBuf> {
    env::config_home().map(|config| config.join("treehand/agents"))
}

/// Every profile, the user's own over the embedded ones.
pub fn registry() -> Result<Registry, RunError> {
    let (mut own, directory) = (Vec::new(), own_profiles());
    if let Some(directory) = &directory {
        for name in small::names_in(directory)? {
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".toml")) else { continue };
            if stem.parse::<AgentChoice>().is_err() || stem == COMMAND {
                return Err(usage(format!("{} cannot be the name of an agent", directory.join(&name).display())));
            }
            let path = directory.join(&name);
            let text = small::read_small(&path, PROFILE_MAX)?;
            let text = String::from_utf8(text).map_err(|_| usage(format!("{} is not UTF-8", path.display())))?;
            own.push((stem.to_owned(), text));
        }
    }
    Registry::new(&own).map_err(|(name, error)| {
        let file = directory.filter(|_| own.iter().any(|(own, _)| *own == name));
        let file = file.map(|directory| format!(" ({}/{name}.toml)", directory.display())).unwrap_or_default();
        usage(format!("the profile of the agent `{name}`{file}: {error}"))
    })
}

fn usage(message: String) -> RunError {
    RunError::Usage { message }
}

/// Gives each task its agents whole (who is tried after the one that it names, models), and finds all of them.
pub fn resolve(spec: &mut RunSpec, options: &Options) -> Result<Vec<AgentSetup>, RunError> {
    if spec.tasks.iter().all(|task| task.agents.is_empty()) {
        return Ok(Vec::new());
    }
    let known = registry()?;
    for task in &mut spec.tasks {
        if let [only] = &task.agents[..] {
            let after = options.get(&only.profile).map(|one| &one.fallback[..]).unwrap_or_default();
            let after = after.iter().map(|name| name.parse::<AgentChoice>()).collect::<Result<Vec<_>, _>>();
            let after = after.map_err(|why| usage(format!("agent.{}.fallback: {why}", only.profile)))?;
            let new: Vec<AgentChoice> = after.into_iter().filter(|one| one != only).collect();
            task.agents.extend(new);
        }
    }
    let names: BTreeSet<String> =
        spec.tasks.iter().flat_map(|task| &task.agents).map(|choice| choice.profile.clone()).collect();
    let setups = names.iter().map(|name| set_up(&known, name, options)).collect::<Result<Vec<_>, _>>()?;
    for task in &spec.tasks {
        let of = |choice: &AgentChoice| setups.iter().find(|setup| setup.name == choice.profile);
        let mut all = task.agents.iter().filter_map(of).peekable();
        if all.peek().is_some() && all.clone().all(|setup| setup.program.is_none()) {
            let named: Vec<&str> = all.map(|setup| setup.name.as_str()).collect();
            return Err(RunError::NoAgent { names: named.join(", "), hint: how_to_get(&known, &named) });
        }
    }
    Ok(setups)
}

/// How a person gets the programs of these agents.
fn how_to_get(known: &Registry, names: &[&str]) -> String {
    let installs = names.iter().filter_map(|name| known.get(name).ok()).map(|profile| profile.install);
    let installs: Vec<String> = installs.filter(|install| !install.is_empty()).collect();
    match installs.is_empty() {
        true => "see which there are: treehand agents".to_owned(),
        false => installs.join(", or "),
    }
}

fn set_up(known: &Registry, name: &str, options: &Options) -> Result<AgentSetup, RunError> {
    if !known.has(name) {
        return Err(RunError::UnknownAgent { name: name.to_owned(), known: known.names() });
    }
    let profile = known.get(name).map_err(|error| usage(format!("the profile of the agent `{name}`: {error}")))?;
    let options = options.get(name).cloned().unwrap_or_default();
    let found = find(&profile, &options);
    let (program, version, reads) = match found {
        Some(Found { program, version, reads }) => (Some(program), version, reads),
        None => (None, None, Vec::new()),
    };
    let profile = serde_json::to_value(&profile).map_err(|error| usage(format!("the profile of `{name}`: {error}")))?;
    Ok(AgentSetup { name: name.to_owned(), profile, program, version, reads, options })
}

/// The same agents as they are here and now, by what was said of them when their run was planned.
pub fn again(agents: &[AgentSetup]) -> Vec<AgentSetup> {
    let one = |setup: &AgentSetup| {
        let Found { program, version, reads } = find(&equip::profile(setup)?, &setup.options)?;
        Some(AgentSetup { program: Some(program), version, reads, ..setup.clone() })
    };
    agents.iter().map(|setup| one(setup).unwrap_or_else(|| AgentSetup { program: None, ..setup.clone() })).collect()
}

/// Where an agent's program is, if it is there.
pub fn find(profile: &Profile, options: &AgentOptions) -> Option<Found> {
    let program = program(profile, options)?;
    let mut reads = belongings(&program);
    let shown = profile.reads.iter().filter_map(|written| below_home(written));
    reads.extend(shown.filter(|path| path.exists()));
    Some(Found { version: version(&program, &profile.version), program, reads })
}

/// The program of an agent, if it is there; it is not started.
pub fn program(profile: &Profile, options: &AgentOptions) -> Option<PathBuf> {
    on_path(options.command.as_deref().unwrap_or(&profile.program))
}

/// True when the program of a profile is there.
pub fn is_there(profile: &Profile) -> bool {
    on_path(&profile.program).is_some()
}

/// A directory of the user's, as a profile writes it: `~/x`, or whole.
fn below_home(written: &str) -> Option<PathBuf> {
    match written.strip_prefix("~/") {
        Some(rest) => Some(env::home()?.join(rest)),
        None => Some(PathBuf::from(written)).filter(|path| path.is_absolute()),
    }
}

/// A program by its name, or by its whole path; never one that lies where one happens to stand.
fn on_path(program: &str) -> Option<PathBuf> {
    if let Some(path) = below_home(program) {
        return small::is_program(&path).then_some(path);
    }
    if program.contains('/') {
        return None;
    }
    let path = env::var("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let places = path.split(':').map(Path::new).filter(|directory| directory.is_absolute());
    places.map(|directory| directory.join(program)).find(|path| small::is_program(path))
}

/// What a program says that its version is: its first line, as far as that is a line of text.
fn version(program: &Path, args: &[String]) -> Option<String> {
    if args.is_empty() {
        return None;
    }
    let argv: Vec<&OsStr> = std::iter::once(program.as_os_str()).chain(args.iter().map(OsStr::new)).collect();
    // Not where somebody's files are: it may read what it finds there.
    match proc::run_within(&argv, Path::new("/"), PATIENCE) {
        Ok(proc::InTime::Ended { code: 0, output, errors }) => {
            // Some say it where others say what is wrong.
            let texts = [String::from_utf8_lossy(&output), String::from_utf8_lossy(&errors)];
            let line = texts.iter().flat_map(|text| text.lines()).map(str::trim).find(|line| !line.is_empty())?;
            Some(line.chars().filter(|letter| !letter.is_control()).take(VERSION_MAX).collect())
        }
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%error, program = %program.display(), "it does not say its version");
            None
        }
    }
}

/// What a program needs beside the machine's own directories: the package that it is in, what reads it, and what that is in.
fn belongings(program: &Path) -> Vec<PathBuf> {
    let mut found = BTreeSet::from([program.to_owned()]);
    let real = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    found.insert(package(&real));
    if let Some(reader) = reader(&real) {
        found.insert(reader.clone());
        let real = std::fs::canonicalize(&reader).unwrap_or_else(|_| reader.clone());
        found.insert(package(&real));
        // An environment of Python's says which Python it is made of.
        for environment in [package(&reader), package(program)] {
            found.extend(python_of(&environment));
            found.insert(environment);
        }
    }
    found.into_iter().filter(|path| !is_shown_anyway(path)).collect()
}

/// True for what is below a directory of the system, all of which every child sees.
fn is_shown_anyway(path: &Path) -> bool {
    ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"].iter().any(|system| path.starts_with(system))
}

/// The directory of the package that a file belongs to; the file itself where it stands alone.
fn package(file: &Path) -> PathBuf {
    let modules = file.ancestors().filter(|path| path.file_name() == Some(OsStr::new("node_modules"))).last();
    let environment = file.ancestors().find(|path| path.join("pyvenv.cfg").is_file());
    // A Python, or a node, by itself: `PREFIX/bin/program` with its library in `PREFIX/lib`.
    let prefix = file.parent().filter(|parent| parent.file_name() == Some(OsStr::new("bin"))).and_then(Path::parent);
    let prefix = prefix.filter(|prefix| has_library(prefix));
    modules.or(environment).or(prefix).unwrap_or(file).to_owned()
}

/// True for the place of one program with its library; not for one that all of the user's programs share.
fn has_library(prefix: &Path) -> bool {
    let shared = ["/", "/usr", "/usr/local"].map(Path::new);
    let own = env::home().is_some_and(|home| home.starts_with(prefix) || prefix == home.join(".local"));
    !shared.contains(&prefix) && !own && prefix.join("lib").is_dir()
}

/// The program that reads a script, as its first line says.
fn reader(script: &Path) -> Option<PathBuf> {
    let start = small::read_start(script, 512).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    match first.ends_with("/env") {
        true => on_path(words.find(|word| !word.starts_with('-') && !word.contains('='))?),
        false => Some(PathBuf::from(first)).filter(|path| path.is_absolute()),
    }
}

/// The Python that an environment is made of.
fn python_of(environment: &Path) -> Option<PathBuf> {
    let text = small::read_small(&environment.join("pyvenv.cfg"), 64 << 10).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (_, home) = text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "home")?;
    let prefix = Path::new(home.trim()).parent()?;
    has_library(prefix).then(|| prefix.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn program(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set");
    }

    #[test]
    fn what_belongs_to_a_program_is_its_package_and_what_reads_it() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        program(&at("node/bin/node"), "\x7fELF");
        std::fs::create_dir_all(at("node/lib")).expect("made");
        let reader = format!("#!{}\n", at("node/bin/node").display());
        program(&at("global/node_modules/@a/agent/bin/agent.js"), &reader);
        std::fs::create_dir_all(at("bin")).expect("made");
        symlink(at("global/node_modules/@a/agent/bin/agent.js"), at("bin/agent")).expect("linked");
        let belongs = belongings(&at("bin/agent"));
        for path in ["bin/agent", "global/node_modules", "node", "node/bin/node"] {
            assert!(belongs.contains(&at(path)), "{path}: {belongs:?}");
        }
        assert!(!belongs.contains(&place.path().to_owned()) && !belongs.contains(&at("bin")), "{belongs:?}");
    }

    #[test]
    fn an_environment_of_python_comes_with_the_python_that_it_is_made_of() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        program(&at("python/bin/python3.12"), "\x7fELF");
        std::fs::create_dir_all(at("python/lib")).expect("made");
        std::fs::create_dir_all(at("venv/bin")).expect("made");
        let config = format!("home = {}\nversion = 3.12\n", at("python/bin").display());
        std::fs::write(at("venv/pyvenv.cfg"), config).expect("written");
        symlink(at("python/bin/python3.12"), at("venv/bin/python")).expect("linked");
        program(&at("venv/bin/agent"), &format!("#!{}\n", at("venv/bin/python").display()));
        let belongs = belongings(&at("venv/bin/agent"));
        for path in ["venv", "venv/bin/agent", "python"] {
            assert!(belongs.contains(&at(path)), "{path}: {belongs:?}");
        }
    }

    #[test]
    fn pi_says_its_version_where_others_say_what_is_wrong() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("agent");
        let asked = |does: &str| {
            program(&path, &format!("#!/bin/sh\n{does}\n"));
            version(&path, &["--version".to_owned()])
        };
        assert_eq!(asked("echo >&2; echo ' 0.73.1' >&2").as_deref(), Some("0.73.1"));
        assert_eq!(asked("echo 'a warning' >&2; echo 2.0").as_deref(), Some("2.0"));
        assert_eq!((asked("echo 2.0; exit 1"), asked("true")), (None, None));
    }

    #[test]
    fn a_program_by_itself_is_all_that_there_is_of_it() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("agent");
        program(&path, "\x7fELF");
        assert_eq!(belongings(&path), [path]);
        assert!(on_path("no/such").is_none() && on_path("").is_none());
    }
}
