//! Decision file: from a profile and what is known of a task to what is started: arguments, variables, files, standard input.
//!
//! A placeholder `{name}` is replaced within one argument, never through a shell; `{name:json}` gives it as a JSON string. What has
//! no value takes its argument, group or variable with it. Whatever else has braces stays as it is.

use std::path::{Path, PathBuf};

use super::profile::{Arg, Bring, Case, Delivery, Profile, ProfileError};

/// What is known when an agent is to be started.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The working tree.
    pub tree: PathBuf,
    /// Its home, which nobody else uses.
    pub home: PathBuf,
    /// Its directory for temporary files.
    pub tmp: PathBuf,
    /// What it is told.
    pub prompt: String,
    /// The model, where one was asked for.
    pub model: Option<String>,
    /// How hard it is to think, in the agent's own word.
    pub effort: Option<String>,
    /// The address of a model's server.
    pub base_url: Option<String>,
    /// The conversation that it goes on with.
    pub session: Option<String>,
    /// Where its tools reach treehand.
    pub endpoint: PathBuf,
    /// treehand's own program.
    pub treehand: PathBuf,
    /// The task, `RUN/TASK`.
    pub task: String,
    /// treehand's sandbox is around it.
    pub confined: bool,
}

/// What is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The arguments, without the program.
    pub args: Vec<String>,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// Files that are written before: paths below the home, and what is in them.
    pub files: Vec<(PathBuf, String)>,
    /// What it gets on its standard input; nothing, at once at its end, where it is `None`.
    pub stdin: Option<String>,
}

/// Where the prompt is, below the home.
const PROMPT_FILE: &str = ".treehand/prompt.md";

/// What the argument says of a prompt that is in a file.
fn pointer(file: &Path) -> String {
    format!("Your task is described in the file {}. Read all of it, then do what it says.", file.display())
}

/// What is started for a profile.
pub fn start(profile: &Profile, known: &Surroundings) -> Result<Start, ProfileError> {
    let file = known.home.join(PROMPT_FILE);
    let in_file = profile.prompt.delivery == Delivery::File
        || (profile.prompt.delivery == Delivery::Arg && known.prompt.len() > profile.prompt.arg_max);
    let words = Words {
        prompt: if in_file { pointer(&file) } else { known.prompt.clone() },
        prompt_file: in_file.then(|| file.to_string_lossy().into_owned()),
        known,
    };
    let mut start = Start::default();
    for arg in &profile.args {
        match arg {
            Arg::One(text) => start.args.extend(words.fill(text)?),
            Arg::Group(texts) => start.args.extend(words.all(texts)?.into_iter().flatten()),
            Arg::Case { when, args } if words.is(*when) => start.args.extend(words.all(args)?.into_iter().flatten()),
            Arg::Case { .. } => {}
        }
    }
    for (name, value) in &profile.env.set {
        start.env.extend(words.fill(value)?.map(|value| (name.to_string(), value)));
    }
    for one in profile.files.iter().filter(|one| one.when.is_none_or(|when| words.is(when))) {
        if let (Some(path), Some(content)) = (words.fill(&one.path)?, words.fill(&one.content)?) {
            start.files.push((below(&known.home, &path)?, content));
        }
    }
    if in_file {
        start.files.push((PathBuf::from(PROMPT_FILE), known.prompt.clone()));
    }
    start.stdin = (profile.prompt.delivery == Delivery::Stdin).then(|| known.prompt.clone());
    Ok(start)
}

/// The files of the user's that it gets copies of.
pub fn brings<'p>(profile: &'p Profile, known: &Surroundings) -> impl Iterator<Item = &'p Bring> {
    let words = Words { prompt: String::new(), prompt_file: None, known };
    profile.bring.iter().filter(move |one| one.when.is_none_or(|when| words.is(when)))
}

/// Where a copy of a file of the user's goes, below the home.
pub fn place_of(to: &str, known: &Surroundings) -> Result<PathBuf, ProfileError> {
    let words = Words { prompt: String::new(), prompt_file: None, known };
    below(&known.home, &words.fill(to)?.unwrap_or_default())
}

/// An error for a text with a placeholder that does not exist.
pub fn check(text: &str) -> Result<(), ProfileError> {
    pieces(text).try_for_each(|piece| match piece {
        Piece::Placeholder { name, .. } if !NAMES.contains(&name) => {
            Err(ProfileError::Format(format!("there is no placeholder `{{{name}}}`: there are {}", NAMES.join(", "))))
        }
        _ => Ok(()),
    })
}

fn below(home: &Path, path: &str) -> Result<PathBuf, ProfileError> {
    let inside = Path::new(path).strip_prefix(home).ok().filter(|inside| {
        let mut parts = inside.components();
        parts.next().is_some() && inside.components().all(|part| matches!(part, std::path::Component::Normal(_)))
    });
    inside.map(Path::to_owned).ok_or_else(|| ProfileError::Format(format!("`{path}` is not below `{{home}}`")))
}

/// Every placeholder.
const NAMES: [&str; 12] = [
    "tree",
    "home",
    "tmp",
    "prompt",
    "prompt_file",
    "model",
    "effort",
    "base_url",
    "session",
    "endpoint",
    "treehand",
    "task",
];

struct Words<'a> {
    prompt: String,
    prompt_file: Option<String>,
    known: &'a Surroundings,
}

impl Words<'_> {
    fn is(&self, case: Case) -> bool {
        match case {
            Case::Confined => self.known.confined,
            Case::Unconfined => !self.known.confined,
            Case::Resumed => self.known.session.is_some(),
            Case::Begun => self.known.session.is_none(),
            Case::Address => self.known.base_url.is_some(),
            Case::NoAddress => self.known.base_url.is_none(),
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        let path = |path: &Path| Some(path.to_string_lossy().into_owned());
        let known = self.known;
        match name {
            "tree" => path(&known.tree),
            "home" => path(&known.home),
            "tmp" => path(&known.tmp),
            "prompt" => Some(self.prompt.clone()),
            "prompt_file" => self.prompt_file.clone(),
            "model" => known.model.clone(),
            "effort" => known.effort.clone(),
            "base_url" => known.base_url.clone(),
            "session" => known.session.clone(),
            "endpoint" => path(&known.endpoint),
            "treehand" => path(&known.treehand),
            "task" => Some(known.task.clone()),
            _ => None,
        }
    }

    /// The text with its placeholders filled in; `None` where one of them has no value.
    fn fill(&self, text: &str) -> Result<Option<String>, ProfileError> {
        check(text)?;
        let mut filled = String::with_capacity(text.len());
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder { name, json } => match self.value(name) {
                    None => return Ok(None),
                    Some(value) if json => filled.push_str(&serde_json::Value::String(value).to_string()),
                    Some(value) => filled.push_str(&value),
                },
            }
        }
        Ok(Some(filled))
    }

    fn all(&self, texts: &[String]) -> Result<Option<Vec<String>>, ProfileError> {
        texts.iter().map(|text| self.fill(text)).collect()
    }
}

/// The host and the port of an address, without a path.
pub fn host(address: &str) -> Option<&str> {
    let rest = address.split_once("://")?.1;
    rest.split(['/', '?']).next().filter(|host| !host.is_empty())
}

enum Piece<'t> {
    Text(&'t str),
    Placeholder { name: &'t str, json: bool },
}

/// A placeholder is a lower-case name in braces; anything else with braces is text.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, json, length)) = placeholder(rest) {
            rest = &rest[length..];
            return Some(Piece::Placeholder { name, json });
        }
        let end = rest.char_indices().skip(1).find(|(_, letter)| *letter == '{').map_or(rest.len(), |(at, _)| at);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Text(text))
    })
}

fn placeholder(text: &str) -> Option<(&str, bool, usize)> {
    let inner = text.strip_prefix('{')?;
    let inner = &inner[..inner.find('}')?];
    let (name, json) = inner.strip_suffix(":json").map_or((inner, false), |name| (name, true));
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_name.then_some((name, json, inner.len() + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Surroundings {
        Surroundings {
            tree: "/box/tree".into(),
            home: "/box/home".into(),
            tmp: "/box/tmp".into(),
            prompt: "do {model} \"it\"; $(rm)".into(),
            endpoint: "/box/home/.treehand/endpoint".into(),
            treehand: "/usr/bin/treehand".into(),
            confined: true,
            ..Surroundings::default()
        }
    }

    fn profile(text: &str) -> Profile {
        toml::from_str(&format!("schema = 1\nsummary = \"x\"\nprogram = \"x\"\n{text}")).expect("a profile")
    }

    fn args(text: &str, known: &Surroundings) -> Vec<String> {
        start(&profile(&format!("args = {text}")), known).expect("a start").args
    }

    #[test]
    fn what_a_prompt_says_is_one_argument_and_nothing_in_it_is_a_placeholder() {
        assert_eq!(args(r#"["run", "{prompt}"]"#, &known()), ["run", "do {model} \"it\"; $(rm)"]);
        assert_eq!(args(r#"["{endpoint:json}"]"#, &known()), ["\"/box/home/.treehand/endpoint\""]);
        assert_eq!(args(r#"['{"a":{"b":1}}', "{", "a{B}"]"#, &known()), ["{\"a\":{\"b\":1}}", "{", "a{B}"]);
    }

    #[test]
    fn what_has_no_value_takes_its_group_with_it_and_cases_are_told_apart() {
        let text = r#"["x", ["-m", "{model}"], "{effort}", { when = "confined", args = ["--yes"] }, { when = "resumed", args = ["-r", "{session}"] }]"#;
        assert_eq!(args(text, &known()), ["x", "--yes"]);
        let with = Surroundings {
            model: Some("m".into()),
            effort: Some("high".into()),
            session: Some("s".into()),
            confined: false,
            ..known()
        };
        assert_eq!(args(text, &with), ["x", "-m", "m", "high", "-r", "s"]);
    }

    #[test]
    fn a_prompt_that_is_too_long_for_an_argument_is_in_a_file() {
        let known = Surroundings { prompt: "x".repeat(200_000), ..known() };
        let start = start(&profile("args = [\"{prompt}\"]"), &known).expect("a start");
        assert!(start.args[0].contains("/box/home/.treehand/prompt.md") && start.args[0].len() < 200);
        assert_eq!(start.files, [(PathBuf::from(".treehand/prompt.md"), known.prompt.clone())]);
        let on_stdin = profile("args = [\"-p\"]\nprompt = { delivery = \"stdin\" }");
        assert_eq!(super::start(&on_stdin, &known).expect("a start").stdin, Some(known.prompt));
    }

    #[test]
    fn a_file_is_below_the_home_and_a_placeholder_exists() {
        let file = |path: &str| {
            start(&profile(&format!("args = []\n[[files]]\npath = \"{path}\"\ncontent = \"{{task:json}}\"")), &known())
        };
        assert_eq!(file("{home}/.x/y").expect("a start").files, [(PathBuf::from(".x/y"), "\"\"".to_owned())]);
        for path in ["/etc/passwd", "{home}/../x", "{home}", "{tree}/x"] {
            assert!(file(path).is_err(), "{path}");
        }
        assert!(start(&profile("args = [\"{nothing}\"]"), &known()).is_err());
    }

    #[test]
    fn the_host_of_an_address() {
        assert_eq!(host("http://127.0.0.1:80/s/ok"), Some("127.0.0.1:80"));
        assert_eq!((host("https://x.y"), host("x.y"), host("http:///p")), (Some("x.y"), None, None));
    }
}
