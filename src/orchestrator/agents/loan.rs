//! Apply: what an agent is lent of the user's: copies of credentials and settings in its home, readable by nobody else, which are
//! taken away at every end of its attempt. What it may refresh comes back, where the user's own is still as it was lent.
//!
//! What comes back was in the hands of an agent: it has to have the shape of what was lent, and nothing else of it is believed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::equip;
use crate::agent::command::{self, Surroundings};
use crate::agent::profile::Profile;
use crate::model::agent::{AgentSetup, Loan};
use crate::orchestrator::error::RunError;
use crate::sys::{env, fs, small};

/// Most bytes of a file that is lent.
const LENT_MAX: u64 = 4 << 20;

/// A text in a file of credentials that is at least so long may be a secret, and so many of them are kept out of logs.
const SECRET_MIN: usize = 16;
const SECRETS_MAX: usize = 200;

/// What is lent, and what of it is kept out of logs.
#[derive(Debug, Default)]
pub struct Lent {
    /// Each file, as it is written down.
    pub loans: Vec<Loan>,
    /// The texts.
    pub secrets: Vec<String>,
    contents: Vec<(PathBuf, Vec<u8>)>,
}

/// What an agent is to be lent; nothing is copied yet.
pub fn choose(profile: &Profile, known: &Surroundings) -> Result<Lent, RunError> {
    let mut lent = Lent::default();
    for bring in command::brings(profile, known) {
        let Some(from) = bring.from.iter().filter_map(|from| place_of(from)).find(|from| from.is_file()) else {
            continue;
        };
        // First what it is like, then what is in it: what changes in between is no longer as it was lent.
        let seen = stamp(&from)?;
        let content = small::read_small(&from, LENT_MAX)?;
        let profile = |source| RunError::Profile { name: profile.program.clone(), source };
        let to = command::place_of(&bring.to, known).map_err(profile)?;
        if bring.login {
            lent.secrets.extend(secrets_in(&content));
        }
        lent.loans.push(Loan { from, to: to.clone(), refresh: bring.refresh, seen });
        lent.contents.push((to, content));
    }
    Ok(lent)
}

/// The texts in files that an agent of a run may be lent that may be secrets; of one that cannot be read there are none to keep.
pub fn secrets_of(setup: &AgentSetup) -> Vec<String> {
    let brings = equip::profile(setup).map(|profile| profile.bring).unwrap_or_default();
    let files =
        brings.iter().filter(|bring| bring.login).flat_map(|bring| &bring.from).filter_map(|from| place_of(from));
    files.filter_map(|file| small::read_small(&file, LENT_MAX).ok()).flat_map(|content| secrets_in(&content)).collect()
}

/// True when one of the files that let an agent in is there.
pub fn can_log_in(profile: &Profile, known: &Surroundings) -> bool {
    login_file(profile, known).is_some()
}

/// The first of the files that let an agent in that is there, as its profile writes it.
pub fn login_file<'p>(profile: &'p Profile, known: &Surroundings) -> Option<&'p str> {
    let mut files = login_files(profile, known);
    files.find(|from| is_there(from))
}

/// Every file that would let an agent in, as its profile writes it.
pub fn login_files<'p>(profile: &'p Profile, known: &Surroundings) -> impl Iterator<Item = &'p str> {
    let login = command::brings(profile, known).filter(|bring| bring.login);
    login.flat_map(|bring| &bring.from).map(String::as_str)
}

/// True when a file of the user's that a profile names is there.
pub fn is_there(written: &str) -> bool {
    place_of(written).is_some_and(|place| place.is_file())
}

/// Where a file of the user's is that a profile names.
fn place_of(written: &str) -> Option<PathBuf> {
    if let Some(rest) = written.strip_prefix("~/") {
        return Some(env::home()?.join(rest));
    }
    let (variable, rest) = written.strip_prefix('$')?.split_once('/')?;
    let directory = env::var_os(variable).map(PathBuf::from).filter(|directory| directory.is_absolute())?;
    Some(directory.join(rest))
}

impl Lent {
    /// Copies it into a home.
    pub fn hand_out(&self, home: &Path) -> Result<(), RunError> {
        for (to, content) in &self.contents {
            // What an earlier agent left there would lend it its permissions.
            fs::remove_beneath(home, to)?;
            fs::write_beneath(home, to, content, None)?;
        }
        Ok(())
    }
}

/// Takes back what was lent. What cannot be given back is told, and is none of the attempt's failures; nor is what an agent has put in
/// the place of what it was lent, or on the way to it: that is its own, and stays with the rest of its home.
pub fn take_back(loans: &[Loan], home: &Path) {
    for loan in loans {
        if loan.refresh
            && let Err(why) = give_back(loan, home)
        {
            tracing::warn!(file = %loan.from.display(), why, "what an agent made of it does not come back");
        }
        if let Err(error) = fs::remove_beneath(home, &loan.to) {
            tracing::warn!(
                error = crate::model::cause::chain(&error),
                "an agent has something else where it was lent a file"
            );
        }
    }
}

/// One after the other: two agents that refreshed the same file are not to take turns between a look and a write.
static GIVING: Mutex<()> = Mutex::new(());

/// Writes a refreshed file over the user's own, where a link leads to that.
fn give_back(loan: &Loan, home: &Path) -> Result<(), String> {
    let text = |error: fs::FsError| crate::model::cause::chain(&error);
    let Some(content) = fs::read_beneath(home, &loan.to, LENT_MAX).map_err(text)? else { return Ok(()) };
    let _alone = GIVING.lock().unwrap_or_else(PoisonError::into_inner);
    if stamp(&loan.from).map_err(text)? != loan.seen {
        return Err("it was changed meanwhile, and stays as it is".into());
    }
    let own = small::read_small(&loan.from, LENT_MAX).map_err(text)?;
    if own == content {
        return Ok(());
    }
    if !is_alike(&own, &content) {
        return Err("it has another shape than before".into());
    }
    let kept = std::fs::canonicalize(&loan.from).map_err(|error| error.to_string())?;
    let permissions = std::fs::metadata(&kept).map_err(|error| error.to_string())?.permissions();
    // One that the disk does not take leaves nothing beside the user's own.
    fs::write_atomic(&kept, &content).map_err(text)?;
    std::fs::set_permissions(&kept, permissions).map_err(|error| error.to_string())
}

/// True when both are objects of JSON with the same keys and kinds of values: another token in the place of the old one. What a token
/// is sent to stays the same: the user's own agent would follow it elsewhere.
fn is_alike(before: &[u8], after: &[u8]) -> bool {
    fn same(before: &Value, after: &Value) -> bool {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => {
                let is_same = |key: &String, value: &Value, other: &Value| {
                    value == other
                        || (!leads_somewhere(key, value) && !leads_somewhere(key, other) && same(value, other))
                };
                before.len() == after.len()
                    && before.iter().all(|(key, value)| after.get(key).is_some_and(|other| is_same(key, value, other)))
            }
            (Value::Array(_), Value::Array(items)) => items.iter().all(is_word),
            (Value::Null, other) | (other, Value::Null) => is_word(other),
            (before, after) => std::mem::discriminant(before) == std::mem::discriminant(after),
        }
    }
    fn is_word(value: &Value) -> bool {
        !value.is_object() && !value.is_array() && !leads_somewhere("", value)
    }
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok().filter(Value::is_object);
    matches!((read(before), read(after)), (Some(before), Some(after)) if same(&before, &after))
}

/// True for an address, or what is called one.
fn leads_somewhere(key: &str, value: &Value) -> bool {
    let key = key.to_lowercase();
    let says_so = ["url", "uri", "host", "endpoint", "issuer", "server", "proxy"].iter().any(|word| key.contains(word));
    value.as_str().is_some_and(|text| says_so || text.contains("://"))
}

/// The texts in a file of credentials that may be secrets.
fn secrets_in(content: &[u8]) -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) if text.len() >= SECRET_MIN && found.len() < SECRETS_MAX => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_slice(content) {
        collect(&value, &mut found);
    }
    found
}

/// What tells one state of a file from another.
fn stamp(file: &Path) -> Result<String, fs::FsError> {
    let meta = std::fs::metadata(file).map_err(fs::at("look at", file))?;
    let (size, inode) = (meta.size(), meta.ino());
    Ok(format!("{inode}:{size}:{}.{:09}:{}.{:09}", meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct World {
        place: tempfile::TempDir,
        loan: Loan,
    }

    fn world(lent: &str) -> World {
        let place = tempfile::tempdir().expect("a directory");
        let home = place.path().join("home");
        std::fs::create_dir(&home).expect("made");
        let from = place.path().join("auth.json");
        std::fs::write(&from, lent).expect("written");
        std::fs::set_permissions(&from, std::fs::Permissions::from_mode(0o600)).expect("set");
        let loan = Loan { from, to: ".x/auth.json".into(), refresh: true, seen: String::new() };
        let loan = Loan { seen: stamp(&loan.from).expect("there"), ..loan };
        let contents = vec![(loan.to.clone(), lent.as_bytes().to_vec())];
        Lent { loans: vec![loan.clone()], secrets: Vec::new(), contents }.hand_out(&home).expect("handed out");
        World { place, loan }
    }

    impl World {
        fn home(&self) -> PathBuf {
            self.place.path().join("home")
        }

        fn after(&self, made_of_it: &str) -> String {
            std::fs::write(self.home().join(&self.loan.to), made_of_it).expect("written");
            take_back(std::slice::from_ref(&self.loan), &self.home());
            assert!(!self.home().join(&self.loan.to).exists());
            std::fs::read_to_string(&self.loan.from).expect("there")
        }
    }

    const OLD: &str = r#"{"tokens":{"access":"aaaaaaaaaaaaaaaaaaaa"},"at":1}"#;
    const NEW: &str = r#"{"tokens":{"access":"bbbbbbbbbbbbbbbbbbbb"},"at":2}"#;

    #[test]
    fn what_was_refreshed_comes_back_where_nobody_changed_it_meanwhile_and_it_has_the_same_shape() {
        assert_eq!(world(OLD).after(NEW), NEW);
        assert_eq!(world(OLD).after(OLD), OLD);
        for other in ["", "[]", r#"{"tokens":{"access":1},"at":2}"#, r#"{"tokens":{"access":"b","url":"x"},"at":2}"#] {
            assert_eq!(world(OLD).after(other), OLD, "{other}");
        }
        let world = world(OLD);
        std::fs::write(&world.loan.from, r#"{"mine":1}"#).expect("written");
        assert_eq!(world.after(NEW), r#"{"mine":1}"#);
    }

    #[test]
    fn what_was_lent_is_readable_by_nobody_else_and_no_link_is_followed() {
        let world = world(OLD);
        let lent = world.home().join(&world.loan.to);
        assert_eq!(std::fs::metadata(&lent).expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&lent).expect("removed");
        let elsewhere = world.place.path().join("elsewhere");
        std::fs::write(&elsewhere, NEW).expect("written");
        std::os::unix::fs::symlink(&elsewhere, &lent).expect("linked");
        take_back(std::slice::from_ref(&world.loan), &world.home());
        assert!(elsewhere.exists());
        assert_eq!(std::fs::read_to_string(&world.loan.from).expect("there"), OLD);
    }

    #[test]
    fn a_refreshed_token_leads_to_no_other_server() {
        let before = r#"{"t":"a","resource_url":"x.example.com","none":null,"list":["a"],"deep":{"base":"https://x"}}"#;
        assert!(is_alike(before.as_bytes(), before.replace(r#""t":"a""#, r#""t":"b""#).as_bytes()));
        assert!(is_alike(before.as_bytes(), before.replace("null", "\"2026\"").replace(r#"["a"]"#, "[]").as_bytes()));
        let others = [
            ("x.example.com", "evil.example.com"),
            ("https://x", "https://y"),
            ("https://x", "y"),
            ("null", r#"{"url":"x"}"#),
            ("null", r#""http://y""#),
            (r#"["a"]"#, r#"[{"url":"x"}]"#),
        ];
        for (old, new) in others {
            assert!(!is_alike(before.as_bytes(), before.replace(old, new).as_bytes()), "{old}: {new}");
        }
    }

    #[test]
    fn what_is_in_the_place_of_what_was_lent_is_left_and_ends_nothing() {
        let world = world(OLD);
        let lent = world.home().join(&world.loan.to);
        std::fs::remove_file(&lent).expect("removed");
        std::fs::create_dir_all(lent.join("mine")).expect("made");
        take_back(std::slice::from_ref(&world.loan), &world.home());
        assert!(lent.join("mine").is_dir());
        assert_eq!(std::fs::read_to_string(&world.loan.from).expect("there"), OLD);
    }

    #[test]
    fn what_comes_back_goes_where_the_users_own_link_leads_and_is_readable_by_as_many_as_before() {
        let mut world = world(OLD);
        let link = world.place.path().join("link.json");
        std::os::unix::fs::symlink(&world.loan.from, &link).expect("linked");
        let kept = std::mem::replace(&mut world.loan.from, link.clone());
        assert_eq!(world.after(NEW), NEW);
        assert!(link.is_symlink());
        assert_eq!(std::fs::metadata(&kept).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn texts_that_may_be_secrets_are_known() {
        assert_eq!(secrets_in(OLD.as_bytes()), ["aaaaaaaaaaaaaaaaaaaa"]);
        assert!(secrets_in(b"no json").is_empty());
    }
}
