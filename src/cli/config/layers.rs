//! Lays the layers over each other: defaults, the user's file, the project's file, the environment, `--set`.
//!
//! Promises: every value of the result has the origin that it came from; what was not taken is in the warnings, with
//! its place. The texts are read already; what a key accepts and what a project may do is in `keys`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::error::{BadValue, ConfigError, Place, escaped, shown};
use super::forms::{Fault, Node, Notes, found_type};
use super::keys::{AGENT_KEYS, KEYS, Named, Project, Slot, look_up, nearest_key};
use super::settings::Settings;

const ENVIRONMENT_PREFIX: &str = "TREEHAND_";
/// What stands for a dot in the name of a variable.
const ENVIRONMENT_DOT: &str = "__";

/// The texts of the layers, as they were read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// The user's file.
    pub user: Option<(PathBuf, String)>,
    /// The project's file.
    pub project: Option<(PathBuf, String)>,
    /// Variables of the environment; those that are not configuration are passed over.
    pub env: Vec<(String, String)>,
    /// The arguments of `--set`, in order.
    pub set: Vec<String>,
}

/// The settings, and what there is to say about them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// What was not taken and why, with its place; safe to print.
    pub warnings: Vec<String>,
    /// Every key with its value and origin, in the order of the documentation.
    pub origins: Vec<ShownValue>,
}

/// A value as `config show` prints it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownValue {
    /// The key, with its sections.
    pub key: String,
    /// The value as TOML; empty when there is none.
    pub value: String,
    /// The layer that it came from: `default`, `user file …`, `project file …`, `environment …` or `--set`.
    pub origin: String,
}

/// Resolves the layers; a value that cannot be read in any of them is an error.
pub fn resolve(sources: &Sources) -> Result<Resolved, ConfigError> {
    let mut layers = Layers::default();
    if let Some((path, text)) = &sources.user {
        layers.take_file(&File { path, text, owner: Owner::User })?;
    }
    if let Some((path, text)) = &sources.project {
        layers.take_file(&File { path, text, owner: Owner::Project })?;
    }
    for (name, value) in &sources.env {
        layers.take_variable(name, value)?;
    }
    for assignment in &sources.set {
        layers.take_assignment(assignment)?;
    }
    Ok(layers.finish())
}

/// Whose word a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    User,
    Project,
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
    owner: Owner,
}

impl File<'_> {
    fn place(&self, span: std::ops::Range<usize>) -> Place {
        Place::in_file(self.path, self.text, Some(span))
    }

    fn origin(&self) -> String {
        let whose = if self.owner == Owner::User { "user" } else { "project" };
        format!("{whose} file {}", escaped(&self.path.display().to_string()))
    }

    fn fault(&self, key: &Slot, node: &Node<'_>, fault: Fault) -> ConfigError {
        let place = self.place(fault.at.unwrap_or_else(|| node.span()));
        let full = key.name();
        let (section, name) = full.rsplit_once('.').unwrap_or_default();
        let example = format!("{name} = {} under [{section}]", example_as_toml(key));
        BadValue { place, expected: key.expected(), key: full, reason: fault.reason, example }.into()
    }
}

/// What the layers so far amount to.
#[derive(Default)]
struct Layers {
    settings: Settings,
    warnings: Vec<String>,
    /// Of each key that a layer set; the others are defaults.
    origins: BTreeMap<String, String>,
}

impl Layers {
    fn finish(self) -> Resolved {
        let shown = |slot: &Slot| ShownValue {
            key: slot.name(),
            value: slot.value(&self.settings).map(|value| value.to_string()).unwrap_or_default(),
            origin: self.origins.get(&slot.name()).cloned().unwrap_or_else(|| "default".to_owned()),
        };
        let of = |agent: &String| AGENT_KEYS.iter().map(|key| Slot::OfAgent(agent.clone(), key)).collect::<Vec<_>>();
        let of_agents = self.settings.agents.keys().flat_map(of);
        // There are as many agents as one likes: only what is said of them is shown.
        let of_agents = of_agents.filter(|slot| self.origins.contains_key(&slot.name()));
        let origins = KEYS.iter().map(Slot::Own).chain(of_agents).map(|slot| shown(&slot)).collect();
        Resolved { settings: self.settings, warnings: self.warnings, origins }
    }

    fn warn(&mut self, place: &Place, message: &str) {
        self.warnings.push(format!("{place}: {message}"));
    }

    fn take_file(&mut self, file: &File<'_>) -> Result<(), ConfigError> {
        let document = DeTable::parse(file.text).map_err(|error| ConfigError::Syntax {
            place: Place::in_file(file.path, file.text, error.span()),
            message: escaped(error.message()),
        })?;
        self.take_table(file, "", document.get_ref())
    }

    fn take_table(&mut self, file: &File<'_>, section: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (part, node) in table {
            // A dot within quotes makes no section.
            let quoted = part.get_ref().contains('.');
            let last = if quoted { format!("\"{}\"", part.get_ref()) } else { part.get_ref().to_string() };
            let name = if section.is_empty() { last } else { format!("{section}.{last}") };
            let named = if quoted { Named::Unknown } else { look_up(&name) };
            match (named, node.get_ref().as_table()) {
                (Named::Key(slot), _) => self.take_value(file, &slot, node)?,
                (Named::Section, Some(inner)) => self.take_table(file, &name, inner)?,
                (Named::Section, None) => return Err(no_section(file, &name, node)),
                (Named::Unsupported, _) if file.owner == Owner::Project => {
                    self.warn(&file.place(part.span()), &refused(&name));
                }
                (Named::Unsupported, _) => self.warn(&file.place(part.span()), &unsupported(&name)),
                (Named::Unknown, _) => self.warn(&file.place(part.span()), &unknown(&name, |near| near.to_owned())),
            }
        }
        Ok(())
    }

    fn take_value(&mut self, file: &File<'_>, slot: &Slot, node: &Node<'_>) -> Result<(), ConfigError> {
        let project = match slot {
            Slot::Own(key) => &key.project,
            Slot::OfAgent(..) => &Project::Refused,
        };
        if let (Owner::Project, Project::Refused) = (file.owner, project) {
            self.warn(&file.place(node.span()), &refused(&slot.name()));
            return Ok(());
        }
        let mut proposed = self.settings.clone();
        let mut notes = Notes::new();
        slot.set_toml(&mut proposed, node, &mut notes).map_err(|fault| file.fault(slot, node, fault))?;
        for (span, note) in notes {
            self.warn(&file.place(span), &note);
        }
        match (file.owner, project) {
            (Owner::Project, Project::Tighten(is_no_looser)) if !is_no_looser(&self.settings, &mut proposed) => {
                self.warn(&file.place(node.span()), &looser(slot, &self.settings));
            }
            (Owner::Project, Project::Add(join)) => {
                join(&self.settings, &mut proposed);
                let earlier = self.origins.get(&slot.name()).map(|origin| format!("{origin}, ")).unwrap_or_default();
                self.accept(slot, proposed, earlier + &file.origin());
            }
            _ => self.accept(slot, proposed, file.origin()),
        }
        Ok(())
    }

    fn accept(&mut self, slot: &Slot, settings: Settings, origin: String) {
        self.settings = settings;
        self.origins.insert(slot.name(), origin);
    }

    fn take_variable(&mut self, variable: &str, value: &str) -> Result<(), ConfigError> {
        let Some(name) = key_of_variable(variable) else { return Ok(()) };
        let place = Place::Environment(variable.to_owned());
        // Were other spellings taken too, it would be left to chance which of two wins.
        if variable.contains(char::is_lowercase) {
            self.warn(&place, &unknown(&name, variable_of_key));
            return Ok(());
        }
        let example = |slot: &Slot| format!("{variable}={}", slot.example());
        self.take_text(&name, &Text { place, value, example: &example }, variable_of_key)
    }

    fn take_assignment(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let nothing = || ConfigError::Assignment { text: shown(assignment) };
        let (name, value) = assignment.split_once('=').ok_or_else(nothing)?;
        let name = name.trim();
        if name.is_empty() {
            return Err(nothing());
        }
        let example = |slot: &Slot| format!("--set {}={}", slot.name(), slot.example());
        let text = Text { place: Place::Set, value: value.trim(), example: &example };
        self.take_text(name, &text, |near| near.to_owned())
    }

    fn take_text(&mut self, name: &str, text: &Text<'_>, spelled: fn(&str) -> String) -> Result<(), ConfigError> {
        match look_up(name) {
            Named::Key(slot) => {
                slot.set_text(&mut self.settings, text.value).map_err(|reason| text.fault(&slot, reason))?;
                self.origins.insert(slot.name(), text.place.to_string());
            }
            Named::Section => self.warn(&text.place, &format!("`{name}` is a section: name a key in it")),
            Named::Unsupported => self.warn(&text.place, &unsupported(name)),
            Named::Unknown => self.warn(&text.place, &unknown(name, spelled)),
        }
        Ok(())
    }
}

/// A bare text for a key.
struct Text<'a> {
    place: Place,
    value: &'a str,
    /// How the key could be given there.
    example: &'a dyn Fn(&Slot) -> String,
}

impl Text<'_> {
    fn fault(&self, slot: &Slot, reason: String) -> ConfigError {
        let (place, example) = (self.place.clone(), (self.example)(slot));
        BadValue { place, key: slot.name(), expected: slot.expected(), reason, example }.into()
    }
}

/// The name that a variable sets; `None` when it is not about the configuration.
fn key_of_variable(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(ENVIRONMENT_PREFIX).filter(|name| name.contains(ENVIRONMENT_DOT))?;
    Some(name.to_lowercase().replace(ENVIRONMENT_DOT, "."))
}

fn variable_of_key(name: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", name.to_uppercase().replace('.', ENVIRONMENT_DOT))
}

fn example_as_toml(slot: &Slot) -> String {
    let mut settings = Settings::default();
    let taken = slot.set_text(&mut settings, slot.example());
    let value = taken.ok().and_then(|()| slot.value(&settings));
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn no_section(file: &File<'_>, name: &str, node: &Node<'_>) -> ConfigError {
    BadValue {
        place: file.place(node.span()),
        key: name.to_owned(),
        expected: "a section".to_owned(),
        reason: found_type(node),
        example: format!("[{name}], and its keys in the lines below"),
    }
    .into()
}

fn refused(name: &str) -> String {
    format!("`{}` is the user's, a project file cannot set it: ignored", shown(name))
}

fn looser(slot: &Slot, settings: &Settings) -> String {
    let users = slot.value(settings).map(|value| value.to_string()).unwrap_or_default();
    format!("`{}` is the user's, a project file can only tighten it: ignored, it stays {users}", slot.name())
}

fn unsupported(name: &str) -> String {
    format!("`{}` is not supported by this version and has no effect", shown(name))
}

fn unknown(name: &str, spelled: impl Fn(&str) -> String) -> String {
    let near = nearest_key(name).map(|near| format!(", did you mean `{}`", spelled(&near))).unwrap_or_default();
    format!("unknown key `{}`{near}", shown(name))
}
