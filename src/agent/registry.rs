//! Decision file: the profiles that there are: those that are embedded, and a user's own, which stand over them.
//!
//! A user's document that `extends` a profile says only what is different: tables are joined, anything else is replaced.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::profile::{Profile, ProfileError};

/// The profiles that come with treehand, in the order in which they are listed.
const EMBEDDED: &[(&str, &str)] = &[
    ("codex", include_str!("profiles/codex.toml")),
    ("claude", include_str!("profiles/claude.toml")),
    ("pi", include_str!("profiles/pi.toml")),
    ("opencode", include_str!("profiles/opencode.toml")),
    ("gemini", include_str!("profiles/gemini.toml")),
    ("qwen", include_str!("profiles/qwen.toml")),
    ("aider", include_str!("profiles/aider.toml")),
    ("mini-swe-agent", include_str!("profiles/mini-swe-agent.toml")),
];

/// Longest chain of documents that extend each other.
const DEPTH_MAX: usize = 8;

/// The profiles that there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    documents: BTreeMap<String, Table>,
    own: Vec<String>,
}

impl Registry {
    /// The embedded ones, and these of the user's, name and document each.
    pub fn new(own: &[(String, String)]) -> Result<Registry, (String, ProfileError)> {
        let read = |name: &str, text: &str| {
            text.parse::<Table>().map_err(|error| (name.to_owned(), ProfileError::Format(error.to_string())))
        };
        let mut registry = Registry::default();
        for (name, text) in EMBEDDED {
            registry.documents.insert((*name).to_owned(), read(name, text)?);
        }
        let embedded = registry.documents.clone();
        for (name, text) in own {
            let mut document = read(name, text)?;
            if let (Some(Value::String(base)), Some(under)) = (document.get("extends"), embedded.get(name))
                && base == name
            {
                document.remove("extends");
                document = join(under.clone(), document);
            }
            registry.documents.insert(name.clone(), document);
            registry.own.push(name.clone());
        }
        for name in registry.names() {
            registry.get(&name).map_err(|error| registry.at_fault(name, error))?;
        }
        Ok(registry)
    }

    /// Every name: the embedded ones in their order, then the user's.
    pub fn names(&self) -> Vec<String> {
        let embedded = EMBEDDED.iter().map(|(name, _)| (*name).to_owned());
        let own = self.own.iter().filter(|name| !EMBEDDED.iter().any(|(known, _)| known == name)).cloned();
        embedded.chain(own).collect()
    }

    /// True for one that the user has a document of.
    pub fn is_own(&self, name: &str) -> bool {
        self.own.iter().any(|own| own == name)
    }

    /// True for one that there is.
    pub fn has(&self, name: &str) -> bool {
        self.documents.contains_key(name)
    }

    /// A profile; it is there when [`Self::has`] says so.
    pub fn get(&self, name: &str) -> Result<Profile, ProfileError> {
        let document = self.whole(name, DEPTH_MAX)?;
        let profile: Profile =
            document.try_into().map_err(|error: toml::de::Error| ProfileError::Format(error.message().to_owned()))?;
        profile.check()?;
        Ok(profile)
    }

    /// The one that an error is of: the one that is extended, where that cannot be gone by either.
    fn at_fault(&self, name: String, error: ProfileError) -> (String, ProfileError) {
        let mut fault = (name, error);
        for _ in 0..DEPTH_MAX {
            let base = self.documents.get(&fault.0).and_then(|document| document.get("extends"));
            let Some(base) = base.and_then(Value::as_str).filter(|base| self.has(base)) else { break };
            let Err(error) = self.get(base) else { break };
            fault = (base.to_owned(), error);
        }
        fault
    }

    fn whole(&self, name: &str, depth: usize) -> Result<Table, ProfileError> {
        let missing = || ProfileError::Extends(name.to_owned());
        let mut document = self.documents.get(name).filter(|_| depth > 0).cloned().ok_or_else(missing)?;
        match document.remove("extends") {
            None => Ok(document),
            Some(Value::String(base)) => Ok(join(self.whole(&base, depth - 1)?, document)),
            Some(_) => Err(ProfileError::Format("`extends` is the name of a profile".into())),
        }
    }
}

fn join(mut under: Table, over: Table) -> Table {
    for (key, value) in over {
        match (under.remove(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => under.insert(key, Value::Table(join(below, above))),
            (_, value) => under.insert(key, value),
        };
    }
    under
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(own: &[(&str, &str)]) -> Result<Registry, (String, ProfileError)> {
        Registry::new(&own.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn a_document_of_the_users_says_only_what_is_different() {
        let over = "extends = \"codex\"\nprogram = \"/opt/codex\"\n[limits]\nidle = \"1m\"\n";
        let known = registry(&[("mine", over), ("codex", "extends = \"codex\"\ninstall = \"x\"\n")]).expect("profiles");
        let (codex, mine) = (known.get("codex").expect("codex"), known.get("mine").expect("mine"));
        assert_eq!((codex.install.as_str(), codex.program.as_str(), mine.install.as_str()), ("x", "codex", "x"));
        assert_eq!((mine.program.as_str(), mine.limits.wall), ("/opt/codex", codex.limits.wall));
        assert_ne!(mine.limits.idle, codex.limits.idle);
        assert_eq!(
            (known.names().first(), known.names().last()),
            (Some(&"codex".to_owned()), Some(&"mine".to_owned()))
        );
        assert!(known.is_own("codex") && known.is_own("mine") && !known.is_own("claude") && !known.has("other"));
    }

    #[test]
    fn what_is_wrong_with_the_one_that_is_extended_is_none_of_the_others() {
        let broken = ("z", "extends = \"codex\"\nwhatever = 1");
        let (name, error) = registry(&[("a", "extends = \"b\""), ("b", "extends = \"z\""), broken]).expect_err("z");
        assert_eq!((name.as_str(), error.to_string().contains("whatever")), ("z", true));
    }

    #[test]
    fn what_cannot_be_is_an_error_of_its_document() {
        let whole = "schema = 1\nsummary = \"x\"\nprogram = \"x\"\nargs = []\n";
        for (text, part) in [
            ("extends = \"nobody\"", "nobody"),
            ("extends = \"mine\"", "mine"),
            ("extends = 5", "the name of a profile"),
            ("schema = ", ""),
            ("extends = \"codex\"\nwhatever = 1", "whatever"),
            ("extends = \"codex\"\nargs = [\"{whatever}\"]", "whatever"),
            (&whole.replace("= 1", "= 2"), "schema"),
            (&format!("{whole}[[output.rule]]\nevent = \"turn\"\nonce = \"id\""), "pointer"),
        ] {
            let (name, error) = registry(&[("mine", text)]).expect_err(text);
            assert!(name == "mine" && error.to_string().contains(part), "{text}: {error}");
        }
        assert!(registry(&[("mine", whole)]).is_ok());
    }
}
