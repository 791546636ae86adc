//! The forms of single values: how each is read from TOML, how from a plain text, and how it is shown.
//!
//! In the environment and after `--set` a value is its bare text; the empty text there means "no value" for a key that
//! may have none. Lists are in `lists`. A form knows neither its key nor its layer: faults say what was found, and the
//! caller adds where.

use std::marker::PhantomData;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::Value;
use toml::de::DeValue;

use super::error::{escaped, shown};
use super::settings::Jobs;
use crate::model::agent::{dollars, shown_dollars};
use crate::model::conflict::ConflictPolicy;
use crate::model::record::ConfineLevel;
use crate::model::{
    BranchName, ByteSize, Handling, Hooks, HostPort, Network, OverlapPolicy, Share, Span, StalePolicy, Strategy,
    Submodules,
};
use crate::orchestrator::template;
use crate::worktree::ports::decide::MOST;

/// A value in a file, with where it stands.
pub(super) type Node<'i> = Spanned<DeValue<'i>>;

/// What a value is warned about although it was taken, with where it stands.
pub(super) type Notes = Vec<(Range<usize>, String)>;

/// Why a value could not be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where, when it came from a file.
    pub at: Option<Range<usize>>,
    /// What was found, or what is wrong with it.
    pub reason: String,
}

impl Fault {
    pub(super) fn at(node: &Node<'_>, reason: String) -> Fault {
        Fault { at: Some(node.span()), reason }
    }
}

/// How one kind of value is read and shown.
pub(super) trait Form {
    /// The type in the settings.
    type Value;
    /// A text that it accepts, for hints.
    const EXAMPLE: &'static str;

    /// What it accepts, in words that follow "must be".
    fn expected() -> String;

    /// Reads a bare text; the error says what is wrong.
    fn from_text(text: &str) -> Result<Self::Value, String>;

    /// Reads a TOML value; unless a form says otherwise, that is a string which holds the text.
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<Self::Value, Fault> {
        let text = node.get_ref().as_str().ok_or_else(|| Fault::at(node, found_type(node)))?;
        Self::from_text(text).map_err(|reason| Fault::at(node, reason))
    }

    /// The TOML value that it would be read from; `None` when there is no value.
    fn to_toml(value: &Self::Value) -> Option<Value>;
}

/// Says which type a value has that should have another.
pub(super) fn found_type(node: &Node<'_>) -> String {
    match node.get_ref().type_str() {
        kind if kind.starts_with(['a', 'i']) => format!("found an {kind}"),
        kind => format!("found a {kind}"),
    }
}

fn found(text: &str) -> String {
    format!("found `{}`", shown(text))
}

fn whole_number<N: TryFrom<i128>>(node: &Node<'_>) -> Option<N> {
    let integer = node.get_ref().as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()?.try_into().ok()
}

/// How many of something, within bounds.
fn number<N: TryFrom<i128> + PartialOrd>(node: &Node<'_>, bounds: RangeInclusive<N>) -> Result<N, Fault> {
    let integer = node.get_ref().as_integer().ok_or_else(|| Fault::at(node, found_type(node)))?;
    let number = whole_number(node).filter(|number| bounds.contains(number));
    number.ok_or_else(|| Fault::at(node, found(&integer.to_string())))
}

macro_rules! word_form {
    ($kind:ident, $example:literal) => {
        impl Form for $kind {
            type Value = $kind;
            const EXAMPLE: &'static str = $example;
            fn expected() -> String {
                format!("one of {}", $kind::WORDS.join(", "))
            }
            fn from_text(text: &str) -> Result<$kind, String> {
                text.parse().map_err(|_| found(text))
            }
            fn to_toml(value: &$kind) -> Option<Value> {
                Some(Value::String(value.to_string()))
            }
        }
    };
}
word_form!(StalePolicy, "block");
word_form!(Hooks, "unconfined");
word_form!(Handling, "refuse");
word_form!(Submodules, "never");
word_form!(ConflictPolicy, "agent");
word_form!(ConfineLevel, "strict");
word_form!(Strategy, "squash");
word_form!(OverlapPolicy, "wait");

impl Form for bool {
    type Value = bool;
    const EXAMPLE: &'static str = "true";
    fn expected() -> String {
        "true or false".to_owned()
    }
    fn from_text(text: &str) -> Result<bool, String> {
        text.parse().map_err(|_| found(text))
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<bool, Fault> {
        node.get_ref().as_bool().ok_or_else(|| Fault::at(node, found_type(node)))
    }
    fn to_toml(value: &bool) -> Option<Value> {
        Some(Value::Boolean(*value))
    }
}

impl Form for Span {
    type Value = Span;
    const EXAMPLE: &'static str = "90s";
    fn expected() -> String {
        "a duration such as 90s, 15m or 1d".to_owned()
    }
    fn from_text(text: &str) -> Result<Span, String> {
        text.parse().map_err(|_| found(text))
    }
    fn to_toml(value: &Span) -> Option<Value> {
        Some(Value::String(value.to_string()))
    }
}

/// A size is a string with a unit, or a whole number of bytes.
impl Form for ByteSize {
    type Value = ByteSize;
    const EXAMPLE: &'static str = "64M";
    fn expected() -> String {
        "a size such as 512K, 64M or 20G".to_owned()
    }
    fn from_text(text: &str) -> Result<ByteSize, String> {
        text.parse().map_err(|_| found(text))
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<ByteSize, Fault> {
        match node.get_ref() {
            DeValue::String(text) => Self::from_text(text).map_err(|reason| Fault::at(node, reason)),
            DeValue::Integer(number) => {
                whole_number(node).map(ByteSize).ok_or_else(|| Fault::at(node, found(&number.to_string())))
            }
            _ => Err(Fault::at(node, found_type(node))),
        }
    }
    fn to_toml(value: &ByteSize) -> Option<Value> {
        Some(Value::String(value.to_string()))
    }
}

/// How many of something; 0 is no limit.
pub(super) struct Count;

impl Form for Count {
    type Value = u64;
    const EXAMPLE: &'static str = "4096";
    fn expected() -> String {
        "a whole number, 0 for no limit".to_owned()
    }
    fn from_text(text: &str) -> Result<u64, String> {
        text.parse::<u32>().map(u64::from).map_err(|_| found(text))
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<u64, Fault> {
        number(node, 0..=u32::MAX).map(u64::from)
    }
    fn to_toml(value: &u64) -> Option<Value> {
        i64::try_from(*value).ok().map(Value::Integer)
    }
}

macro_rules! number_form {
    ($(#[$what:meta])* $name:ident, $number:ty, $bounds:expr, $expected:expr) => {
        $(#[$what])*
        pub(super) struct $name;

        impl Form for $name {
            type Value = $number;
            const EXAMPLE: &'static str = "2";
            fn expected() -> String {
                $expected
            }
            fn from_text(text: &str) -> Result<$number, String> {
                text.parse().ok().filter(|number| $bounds.contains(number)).ok_or_else(|| found(text))
            }
            fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<$number, Fault> {
                number(node, $bounds)
            }
            fn to_toml(value: &$number) -> Option<Value> {
                Some(Value::Integer(i64::from(*value)))
            }
        }
    };
}
number_form!(
    /// How many worktrees are kept ready; 0 is none.
    Slots, u32, 0..=u32::MAX, "a whole number, 0 for none".to_owned()
);
number_form!(
    /// How many ports a workspace has; 0 is none.
    Ports, u16, 0..=MOST, format!("a whole number up to {MOST}, 0 for none")
);
number_form!(
    /// How often something is tried.
    Rounds, u32, 1..=u32::MAX, "a whole number, at least 1".to_owned()
);

/// A size, or a share of what the machine has.
impl Form for Share {
    type Value = Share;
    const EXAMPLE: &'static str = "80%";
    fn expected() -> String {
        "a size such as 8G or a share such as 80%, 0 for no limit".to_owned()
    }
    fn from_text(text: &str) -> Result<Share, String> {
        text.parse().map_err(|_| found(text))
    }
    fn from_toml(node: &Node<'_>, notes: &mut Notes) -> Result<Share, Fault> {
        match node.get_ref() {
            DeValue::String(text) => Self::from_text(text).map_err(|reason| Fault::at(node, reason)),
            _ => ByteSize::from_toml(node, notes).map(Share::Bytes),
        }
    }
    fn to_toml(value: &Share) -> Option<Value> {
        match value {
            Share::Percent(percent) => Some(Value::String(format!("{percent}%"))),
            Share::Bytes(bytes) => ByteSize::to_toml(bytes),
        }
    }
}

/// A word, or hosts with their ports.
impl Form for Network {
    type Value = Network;
    const EXAMPLE: &'static str = "none";
    fn expected() -> String {
        "none, full, or hosts with ports such as api.example.com:443".to_owned()
    }
    fn from_text(text: &str) -> Result<Network, String> {
        text.parse().map_err(|_| found(text))
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<Network, Fault> {
        if let Some(text) = node.get_ref().as_str() {
            return Self::from_text(text).map_err(|reason| Fault::at(node, reason));
        }
        let hosts = node.get_ref().as_array().ok_or_else(|| Fault::at(node, found_type(node)))?;
        let host = |node: &Node<'_>| {
            let text = node.get_ref().as_str().ok_or_else(|| Fault::at(node, found_type(node)))?;
            text.parse::<HostPort>().map_err(|_| Fault::at(node, found(text)))
        };
        Ok(Network::Hosts(hosts.iter().map(host).collect::<Result<_, _>>()?))
    }
    fn to_toml(value: &Network) -> Option<Value> {
        Some(match value {
            Network::None => Value::String("none".to_owned()),
            Network::Full => Value::String("full".to_owned()),
            Network::Hosts(hosts) => Value::Array(hosts.iter().map(|host| Value::String(host.to_string())).collect()),
        })
    }
}

impl Form for Jobs {
    type Value = Jobs;
    const EXAMPLE: &'static str = "4";
    fn expected() -> String {
        "a whole number from 1".to_owned()
    }
    fn from_text(text: &str) -> Result<Jobs, String> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Jobs::Exactly(number)),
            Err(_) if text.is_empty() => Ok(Jobs::Cores),
            _ => Err(found(text)),
        }
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<Jobs, Fault> {
        let integer = node.get_ref().as_integer().ok_or_else(|| Fault::at(node, found_type(node)))?;
        match whole_number(node) {
            Some(number) if number > 0 => Ok(Jobs::Exactly(number)),
            _ => Err(Fault::at(node, found(&integer.to_string()))),
        }
    }
    fn to_toml(value: &Jobs) -> Option<Value> {
        match value {
            Jobs::Cores => None,
            Jobs::AtMost(number) | Jobs::Exactly(number) => Some(Value::Integer(i64::from(*number))),
        }
    }
}

impl Form for BranchName {
    type Value = BranchName;
    const EXAMPLE: &'static str = "main";
    fn expected() -> String {
        "the name of a branch".to_owned()
    }
    fn from_text(text: &str) -> Result<BranchName, String> {
        BranchName::parse(text).map_err(|error| format!("{}, {}", found(text), error.why))
    }
    fn to_toml(value: &BranchName) -> Option<Value> {
        Some(Value::String(value.to_string()))
    }
}

/// A branch, a tag or a commit, as git resolves it.
pub(super) struct Reference;

impl Form for Reference {
    type Value = String;
    const EXAMPLE: &'static str = "main";
    fn expected() -> String {
        "a branch, a tag or a commit".to_owned()
    }
    fn from_text(text: &str) -> Result<String, String> {
        // A leading `-` would reach git as an option.
        let fault = text.is_empty() || text.starts_with('-') || text.contains(char::is_control);
        if fault { Err(found(text)) } else { Ok(text.to_owned()) }
    }
    fn to_toml(value: &String) -> Option<Value> {
        Some(Value::String(value.clone()))
    }
}

/// A command, as a shell takes it.
pub(super) struct ShellCommand;

impl Form for ShellCommand {
    type Value = String;
    const EXAMPLE: &'static str = "mail -s cleaned me@example.com";
    fn expected() -> String {
        "a command for the shell".to_owned()
    }
    fn from_text(text: &str) -> Result<String, String> {
        let fault = text.trim().is_empty() || text.contains('\0');
        if fault { Err(found(text)) } else { Ok(text.to_owned()) }
    }
    fn to_toml(value: &String) -> Option<Value> {
        Some(Value::String(value.clone()))
    }
}

/// The template of workspace paths.
pub(super) struct Template;

impl Form for Template {
    type Value = String;
    const EXAMPLE: &'static str = "../{repo}.trees/{workspace}/{repo}";
    fn expected() -> String {
        "a path with {workspace} and perhaps {repo} in it".to_owned()
    }
    fn from_text(text: &str) -> Result<String, String> {
        template_fault(text).map_or_else(|| Ok(text.to_owned()), |fault| Err(format!("{}, {fault}", found(text))))
    }
    fn to_toml(value: &String) -> Option<Value> {
        Some(Value::String(value.clone()))
    }
}

/// The template of a commit's message.
pub(super) struct MessageTemplate;

impl Form for MessageTemplate {
    type Value = String;
    const EXAMPLE: &'static str = "{{ subject }}";
    fn expected() -> String {
        "a template of messages".to_owned()
    }
    fn from_text(text: &str) -> Result<String, String> {
        template::check(text).map_or_else(|fault| Err(escaped(&fault.to_string())), |()| Ok(text.to_owned()))
    }
    fn to_toml(value: &String) -> Option<Value> {
        Some(Value::String(value.clone()))
    }
}

/// The template of what agents are told.
pub(super) struct Instructions;

impl Form for Instructions {
    type Value = String;
    const EXAMPLE: &'static str = "{{ prompt }}";
    fn expected() -> String {
        "a template of what agents are told".to_owned()
    }
    fn from_text(text: &str) -> Result<String, String> {
        MessageTemplate::from_text(text)
    }
    fn to_toml(value: &String) -> Option<Value> {
        MessageTemplate::to_toml(value)
    }
}

macro_rules! text_form {
    ($(#[$what:meta])* $name:ident, $example:literal, $expected:literal, $is_one:expr) => {
        $(#[$what])*
        pub(super) struct $name;

        impl Form for $name {
            type Value = String;
            const EXAMPLE: &'static str = $example;
            fn expected() -> String {
                $expected.to_owned()
            }
            fn from_text(text: &str) -> Result<String, String> {
                let is_one: fn(&str) -> bool = $is_one;
                let is_plain = !text.trim().is_empty() && !text.contains(char::is_control);
                if is_plain && is_one(text) { Ok(text.to_owned()) } else { Err(found(text)) }
            }
            fn to_toml(value: &String) -> Option<Value> {
                Some(Value::String(value.clone()))
            }
        }
    };
}
text_form!(
    /// A word that becomes an argument of its own.
    Word, "fast", "a name", |text| !text.starts_with('-')
);
text_form!(
    /// A program.
    Program, "/opt/bin/codex", "a name that is looked for on PATH, or a path that begins with / or ~/",
    |text| !text.starts_with('-') && (text.starts_with(['/', '~']) || !text.contains('/'))
);
text_form!(
    /// The address of a server.
    Address, "http://127.0.0.1:8080/v1", "an address that begins with http:// or https://",
    |text| ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
);

/// An amount of dollars, kept in millionths.
pub(super) struct Dollars;

impl Form for Dollars {
    type Value = u64;
    const EXAMPLE: &'static str = "2.50";
    fn expected() -> String {
        "an amount of dollars above 0".to_owned()
    }
    fn from_text(text: &str) -> Result<u64, String> {
        dollars(text).ok_or_else(|| found(text))
    }
    fn from_toml(node: &Node<'_>, _notes: &mut Notes) -> Result<u64, Fault> {
        let value = node.get_ref();
        let text = match (value.as_str(), value.as_integer(), value.as_float()) {
            (Some(text), ..) => text.to_owned(),
            (_, Some(number), _) if number.radix() == 10 => number.as_str().to_owned(),
            (.., Some(number)) => number.as_str().to_owned(),
            _ => return Err(Fault::at(node, found_type(node))),
        };
        Self::from_text(&text).map_err(|reason| Fault::at(node, reason))
    }
    fn to_toml(value: &u64) -> Option<Value> {
        Some(Value::String(shown_dollars(*value).trim_start_matches('$').to_owned()))
    }
}

const PLACEHOLDERS: [&str; 2] = ["{repo}", "{workspace}"];

fn template_fault(text: &str) -> Option<&'static str> {
    let bare = PLACEHOLDERS.iter().fold(text.to_owned(), |text, placeholder| text.replace(placeholder, "x"));
    let last = text.rsplit('/').next().unwrap_or_default();
    if text.contains(char::is_control) {
        Some("control characters are not allowed")
    } else if bare.contains(['{', '}']) {
        Some("only {repo} and {workspace} may stand in braces")
    } else if text == "~" || text.starts_with("~/") {
        Some("`~` is not expanded")
    } else if matches!(last, "" | "." | "..") {
        Some("it must end in the name of a directory")
    } else if !stays_apart(text) {
        Some("it is the same for every workspace")
    } else {
        None
    }
}

/// True when `{workspace}` is left after every `..` took away the part before it.
fn stays_apart(template: &str) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    for part in template.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.iter().any(|part| part.contains("{workspace}"))
}

/// A value that may be missing.
pub(super) struct Maybe<F>(PhantomData<F>);

impl<F: Form> Form for Maybe<F> {
    type Value = Option<F::Value>;
    const EXAMPLE: &'static str = F::EXAMPLE;
    fn expected() -> String {
        F::expected()
    }
    fn from_text(text: &str) -> Result<Self::Value, String> {
        if text.is_empty() { Ok(None) } else { F::from_text(text).map(Some) }
    }
    fn from_toml(node: &Node<'_>, notes: &mut Notes) -> Result<Self::Value, Fault> {
        F::from_toml(node, notes).map(Some)
    }
    fn to_toml(value: &Self::Value) -> Option<Value> {
        value.as_ref().and_then(F::to_toml)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_lead_every_workspace_to_a_directory_of_its_own() {
        for good in
            ["../{repo}.trees/{workspace}/{repo}", "/var/trees/{workspace}", "../{workspace}.{repo}", "../é{workspace}"]
        {
            assert_eq!(template_fault(good), None, "{good}");
        }
        let bad = [
            "",
            "../trees",
            "{workspace}/",
            "{workspace}/..",
            "../{workspace}/../x",
            "~/{workspace}",
            "{branch}/{workspace}",
            "{{workspace}}",
            "{workspace",
            "a\0/{workspace}",
            "{workspace}/.",
        ];
        for bad in bad {
            assert!(template_fault(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_base_cannot_become_an_option_of_git() {
        assert!(Reference::from_text("--upload-pack=x").is_err());
        assert!(Reference::from_text("main\n").is_err());
        assert_eq!(Reference::from_text("origin/main~3"), Ok("origin/main~3".to_owned()));
    }

    #[test]
    fn jobs_are_numbers_from_one_and_an_empty_text_means_the_cores() {
        assert_eq!(Jobs::from_text("3"), Ok(Jobs::Exactly(3)));
        assert_eq!(Jobs::from_text(""), Ok(Jobs::Cores));
        for bad in ["0", "-1", "many", "4294967296"] {
            assert!(Jobs::from_text(bad).is_err(), "{bad}");
        }
    }
}
