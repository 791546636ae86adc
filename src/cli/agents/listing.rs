//! The lines of `agents`: what each says in a table and in the document.
//!
//! Decision file: what is known of an agent in, words out.

use serde_json::{Value, json};

use super::seen::{Login, Seen};
use crate::cli::fit::{self, Column};
use crate::cli::listing::Cell;
use crate::cli::output::{Paint, plain};
use crate::model::{HostPort, Network};
use crate::orchestrator::agents::equip;

/// The columns.
pub const HEAD: [&str; 4] = ["NAME", "VERSION", "LOGIN", "ABOUT"];

/// The document of an agent.
pub fn document(seen: &Seen) -> Value {
    let Seen { name, profile, file, options, found, login, files } = seen;
    let files: Vec<Value> = files.iter().map(|(from, is_there)| json!({"file": from, "present": is_there})).collect();
    json!({
        "name": name,
        "summary": profile.summary,
        "own": file.is_some(),
        "profile": file,
        "installed": found.is_some(),
        "program": found.as_ref().map(|found| &found.program),
        "version": found.as_ref().and_then(|found| found.version.as_ref()),
        "login": {"found": login.is_there(), "by": login.by},
        "needs": {"network": network(seen), "secrets": login.variables, "files": files},
        "model": options.model,
        "base_url": options.base_url,
        "install": Some(&profile.install).filter(|install| !install.is_empty()),
        "tools": profile.has_tools(),
        "resumes": profile.can_resume(),
    })
}

/// What of the network it reaches, the server that the user names included.
fn network(seen: &Seen) -> Network {
    let own = seen.options.network.as_ref().unwrap_or(&seen.profile.network);
    let mut hosts: Vec<HostPort> = match own {
        Network::Full => return Network::Full,
        Network::Hosts(hosts) => hosts.clone(),
        Network::None => Vec::new(),
    };
    let server = seen.options.base_url.as_deref().and_then(equip::server);
    hosts.extend(server.filter(|server| !hosts.contains(server)));
    if hosts.is_empty() { Network::None } else { Network::Hosts(hosts) }
}

/// Its line of the table.
pub fn cells(seen: &Seen) -> Vec<Cell> {
    let login = match seen.login.is_there() {
        Some(true) => (plain(&seen.login.by.join(", ")), Some(Paint::Green)),
        Some(false) if seen.found.is_some() => ("none found".to_owned(), Some(Paint::Yellow)),
        Some(false) | None => ("-".to_owned(), Some(Paint::Dim)),
    };
    let version = match &seen.found {
        None => ("not installed".to_owned(), Some(Paint::Dim)),
        Some(found) => (found.version.as_deref().map_or_else(|| "installed".to_owned(), plain), None),
    };
    vec![(seen.name.clone(), None), version, login, (plain(&about(seen)), None)]
}

fn about(seen: &Seen) -> String {
    let install = Some(&seen.profile.install).filter(|install| seen.found.is_none() && !install.is_empty());
    let mut text = install.unwrap_or(&seen.profile.summary).clone();
    if seen.found.is_some() && seen.login.is_there() == Some(false) {
        text = log_in(&seen.profile.program, &seen.login);
    }
    let model = seen.options.model.as_ref().map(|model| format!("model {model}"));
    let server = seen.options.base_url.as_ref().map(|url| format!("at {url}"));
    let own = seen.file.is_some().then(|| "your profile".to_owned());
    for part in model.into_iter().chain(server).chain(own) {
        text.push_str(&format!("; {part}"));
    }
    text
}

/// How a person lets an agent in.
pub fn log_in(program: &str, login: &Login) -> String {
    let names: Vec<&str> = login.variables.iter().map(|name| name.as_str()).collect();
    let set = names.join(" or ");
    match (login.has_files, names.is_empty()) {
        (true, true) => format!("log in with `{program}`"),
        (true, false) => format!("log in with `{program}`, or set {set}"),
        (false, false) => format!("set {set}"),
        (false, true) => format!("see how `{program}` is logged in"),
    }
}

/// How wide each column is, on a terminal so that all of them fit: what one would do about it goes first.
pub fn widths(rows: &[Vec<Cell>], terminal: Option<usize>) -> Vec<usize> {
    let width = |at: usize| rows.iter().map(|row| row[at].0.chars().count()).max().unwrap_or(0);
    let full: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let Some(terminal) = terminal else { return full };
    let column = |(at, width): (usize, usize)| {
        let (leaves, least) = match HEAD[at] {
            "ABOUT" => (Some(0), 16),
            "LOGIN" => (Some(1), 10),
            "VERSION" => (None, 9),
            _ => (None, width),
        };
        Column { width, leaves, least }
    };
    fit::fit(&full.into_iter().enumerate().map(column).collect::<Vec<_>>(), terminal, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::registry::Registry;
    use crate::model::agent::AgentOptions;
    use crate::orchestrator::agents::find::Found;

    fn seen(name: &str) -> Seen {
        let profile = Registry::new(&[]).expect("profiles").get(name).expect("a profile");
        let login = Login { variables: profile.env.secrets.clone(), has_files: true, by: Vec::new() };
        let options = AgentOptions::default();
        Seen { name: name.into(), profile, file: None, options, found: None, login, files: Vec::new() }
    }

    fn texts(seen: &Seen) -> Vec<String> {
        cells(seen).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn a_line_says_what_is_missing_and_what_to_do_about_it() {
        let mut codex = seen("codex");
        assert_eq!(texts(&codex), ["codex", "not installed", "-", "npm install -g @openai/codex"]);
        codex.found = Some(Found::default());
        let log_in = "log in with `codex`, or set CODEX_API_KEY or OPENAI_API_KEY";
        assert_eq!(texts(&codex), ["codex", "installed", "none found", log_in]);
        codex.found = Some(Found { version: Some("codex 1.0\u{1b}".into()), ..Found::default() });
        codex.login.by = vec!["~/.codex/auth.json".into()];
        codex.options.model = Some("gpt".into());
        assert_eq!(texts(&codex), ["codex", "codex 1.0\\u{1b}", "~/.codex/auth.json", "OpenAI Codex CLI; model gpt"]);
    }

    #[test]
    fn a_document_names_every_host_once_and_the_users_server_with_them() {
        let mut codex = seen("codex");
        codex.options.network = Some("a.example:443,b.example:1".parse().expect("a network"));
        codex.options.base_url = Some("https://a.example/v1".into());
        assert_eq!(document(&codex)["needs"]["network"], json!(["a.example:443", "b.example:1"]));
        codex.options.base_url = Some("http://127.0.0.1:8080/v1".into());
        assert_eq!(document(&codex)["needs"]["network"][2], "127.0.0.1:8080");
        let document = document(&codex);
        assert_eq!((&document["tools"], &document["resumes"]), (&json!(true), &json!(true)));
        assert_eq!(document["login"], json!({"found": false, "by": []}));
        codex.login = Login::default();
        assert_eq!(super::document(&codex)["login"]["found"], Value::Null, "nobody knows what would do");
    }

    #[test]
    fn on_a_narrow_terminal_the_remark_goes_first() {
        let rows = [HEAD.map(|head| (head.to_owned(), None)).to_vec(), cells(&seen("mini-swe-agent"))];
        let full = widths(&rows, None);
        assert_eq!(widths(&rows, Some(200)), full);
        let narrow = widths(&rows, Some(40));
        assert_eq!((narrow[0], narrow[3]), (full[0], 0));
    }
}
