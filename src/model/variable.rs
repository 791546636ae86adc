//! Variables that a child is given by name, beyond what every child has: as they are set where the run was asked for, or with a
//! value of their own. A secret is always named, never written down.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A variable: `NAME`, as it is set here, or `NAME=VALUE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    name: VariableName,
    value: Option<String>,
}

/// The name of a variable that a child may be given.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariableName(String);

/// A text that is no variable.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` {why}")]
pub struct VariableError {
    text: String,
    why: &'static str,
}

impl VariableName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Variable {
    /// The one of this name, as it is set where a child is started.
    pub fn passed(name: VariableName) -> Variable {
        Variable { name, value: None }
    }

    /// Its name.
    pub fn name(&self) -> &VariableName {
        &self.name
    }

    /// The value that was written with it.
    pub fn written(&self) -> Option<&String> {
        self.value.as_ref()
    }

    /// Its value; `None` where it is not set here either.
    pub fn value(&self, here: impl FnOnce(&str) -> Option<String>) -> Option<String> {
        self.value.clone().or_else(|| here(self.name.as_str()))
    }
}

impl FromStr for VariableName {
    type Err = VariableError;

    fn from_str(text: &str) -> Result<Self, VariableError> {
        let wrong = |why| Err(VariableError { text: text.escape_debug().to_string(), why });
        let first = text.chars().next();
        if !first.is_some_and(|first| first.is_ascii_alphabetic() || first == '_') {
            return wrong("is no name of a variable: it starts with neither a letter nor `_`");
        }
        if !text.chars().all(|each| each.is_ascii_alphanumeric() || each == '_') {
            return wrong("is no name of a variable: only letters, digits and `_` are allowed");
        }
        if text.starts_with("TREEHAND_") {
            return wrong("is treehand's own: names that start with `TREEHAND_` are set by it alone");
        }
        Ok(VariableName(text.to_owned()))
    }
}

impl TryFrom<String> for VariableName {
    type Error = VariableError;

    fn try_from(text: String) -> Result<Self, VariableError> {
        text.parse()
    }
}

impl From<VariableName> for String {
    fn from(name: VariableName) -> String {
        name.0
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Variable {
    type Err = VariableError;

    fn from_str(text: &str) -> Result<Self, VariableError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            return Err(VariableError { text: name.to_owned(), why: "has a value with a NUL byte" });
        }
        Ok(Variable { name: name.parse()?, value })
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

impl Serialize for Variable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        let here = |name: &str| (name == "SET").then(|| "here".to_owned());
        let value = |text: &str| text.parse::<Variable>().map(|variable| variable.value(here));
        assert_eq!(value("SET"), Ok(Some("here".into())));
        assert_eq!(value("UNSET"), Ok(None));
        assert_eq!(value("SET=own=x"), Ok(Some("own=x".into())));
        assert_eq!(value("_a1="), Ok(Some(String::new())));
        for wrong in ["", "=x", "1A", "A-B", "A B", "TREEHAND_RUN", "TREEHAND_RUN=x", "É", "A=\0"] {
            assert!(value(wrong).is_err(), "{wrong:?}");
        }
    }
}
