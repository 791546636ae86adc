//! Scan: what is known of agents on this machine: their profiles, what the user says of them, where their programs are and of which
//! version, and whether they can log in. No secret is read: that one is there is enough.

use std::convert::Infallible;
use std::path::PathBuf;

use crate::agent::command::Surroundings;
use crate::agent::profile::Profile;
use crate::agent::registry::Registry;
use crate::cli::error::CliError;
use crate::model::VariableName;
use crate::model::agent::AgentOptions;
use crate::orchestrator::agents::find::{self, Found, Options};
use crate::orchestrator::agents::loan;
use crate::orchestrator::error::RunError;
use crate::sys::{at_once, env};

/// An agent, as it is here.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its profile, whole.
    pub profile: Profile,
    /// The user's own profile of it.
    pub file: Option<PathBuf>,
    /// What the user says of it.
    pub options: AgentOptions,
    /// Its program, where that is there.
    pub found: Option<Found>,
    /// What lets it in.
    pub login: Login,
    /// The files of the user's that it gets copies of: as its profile writes them, and whether they are there.
    pub files: Vec<(String, bool)>,
}

/// What lets an agent in at the service that it uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// What of it is there: `$NAME` of a variable, a file.
    pub by: Vec<String>,
    /// Variables that would do.
    pub variables: Vec<VariableName>,
    /// It has files that would do, which its own program makes.
    pub has_files: bool,
}

impl Login {
    /// Whether it is there; `None` where nobody knows what would do.
    pub fn is_there(&self) -> Option<bool> {
        let is_known = self.has_files || !self.variables.is_empty();
        is_known.then_some(!self.by.is_empty())
    }
}

/// Every agent that there is. Their programs are asked for their versions several at a time.
pub fn all(known: &Registry, options: &Options) -> Result<Vec<Seen>, CliError> {
    let names = known.names();
    let looked = |name: &String| one(known, name, options);
    let mut seen = Vec::new();
    let take = |_, found: Result<Seen, CliError>| {
        seen.push(found);
        Ok::<(), Infallible>(())
    };
    let Ok(()) = at_once::each(&names, usize::MAX, looked, take);
    seen.into_iter().collect()
}

/// One of them, by its name.
pub fn one(known: &Registry, name: &str, options: &Options) -> Result<Seen, CliError> {
    let profile = profile(known, name)?;
    let options = options.get(name).cloned().unwrap_or_default();
    let file = find::own_profiles().filter(|_| known.is_own(name)).map(|own| own.join(format!("{name}.toml")));
    let found = find::find(&profile, &options);
    let surroundings = Surroundings { base_url: options.base_url.clone(), ..Surroundings::default() };
    let brought = crate::agent::command::brings(&profile, &surroundings).flat_map(|bring| &bring.from);
    let files = brought.map(|from| (from.clone(), loan::is_there(from))).collect();
    let login = login(&profile, &options, &surroundings);
    Ok(Seen { name: name.to_owned(), profile, file, options, found, login, files })
}

/// The names of those whose program is there; none of these is started.
pub fn installed(known: &Registry, options: &Options) -> Result<Vec<String>, CliError> {
    let mut names = Vec::new();
    for name in known.names() {
        let profile = profile(known, &name)?;
        let here = find::program(&profile, &options.get(&name).cloned().unwrap_or_default());
        names.extend(here.map(|_| name));
    }
    Ok(names)
}

fn profile(known: &Registry, name: &str) -> Result<Profile, CliError> {
    if !known.has(name) {
        return Err(RunError::UnknownAgent { name: name.to_owned(), known: known.names() }.into());
    }
    let wrong = |source| RunError::Profile { name: name.to_owned(), source };
    Ok(known.get(name).map_err(wrong)?)
}

fn login(profile: &Profile, options: &AgentOptions, surroundings: &Surroundings) -> Login {
    let named = profile.env.secrets.iter().chain(&options.secrets);
    let written = |name: &VariableName| {
        let own = options.env.iter().find(|variable| variable.name() == name);
        own.and_then(|variable| variable.value(env::var)).is_some_and(|value| !value.is_empty())
    };
    let mut login = Login { has_files: loan::login_files(profile, surroundings).next().is_some(), ..Login::default() };
    for name in named {
        if !login.variables.contains(name) {
            login.variables.push(name.clone());
        }
    }
    let is_set = |name: &&VariableName| env::var(name.as_str()).is_some() || written(name);
    let set = login.variables.iter().filter(is_set).map(|name| format!("${}", name.as_str()));
    login.by = set.chain(loan::login_file(profile, surroundings).map(str::to_owned)).collect();
    login
}
