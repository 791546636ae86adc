//! Decision file: which repository on which forge the address of a remote means.
//!
//! By the name of the host: nothing else tells the kind of a forge without asking it.

/// Whose kind a forge is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// GitHub, or one of its own that a company runs.
    GitHub,
    /// GitLab.
    GitLab,
}

/// A repository on a forge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The kind of forge.
    pub kind: Kind,
    /// Its host.
    pub host: String,
    /// The repository there, such as `owner/name`.
    pub path: String,
}

/// The repository that an address means, if its host is that of a known kind.
pub fn place(address: &str) -> Option<Place> {
    let (host, path) = split(address)?;
    let host = host.strip_prefix("ssh.").filter(|rest| *rest == "github.com").unwrap_or(host).to_ascii_lowercase();
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('-') && part.chars().all(is_plain);
    let parts = path.split('/').count();
    let kind = match host.split('.').find_map(kind)? {
        Kind::GitHub if parts != 2 => return None,
        Kind::GitLab if parts < 2 => return None,
        kind => kind,
    };
    path.split('/').all(is_part).then(|| Place { kind, host, path: path.to_owned() })
}

fn kind(label: &str) -> Option<Kind> {
    match label {
        _ if label.contains("github") => Some(Kind::GitHub),
        _ if label.contains("gitlab") => Some(Kind::GitLab),
        _ => None,
    }
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_.~".contains(letter)
}

/// Host and path of `SCHEME://[USER@]HOST[:PORT]/PATH` and of `[USER@]HOST:PATH`.
fn split(address: &str) -> Option<(&str, &str)> {
    let (host, path) = match address.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => {
            let (host, path) = rest.split_once('/')?;
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            (host.split_once(':').map_or(host, |(host, _)| host), path)
        }
        None => {
            let (host, path) = address.split_once(':').filter(|(host, _)| !host.contains('/'))?;
            (host.rsplit_once('@').map_or(host, |(_, host)| host), path)
        }
    };
    (!host.is_empty() && !host.starts_with('-') && host.chars().all(is_plain)).then_some((host, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_repository_on_a_forge_or_none() {
        let table = [
            ("https://github.com/o/r.git", Some((Kind::GitHub, "github.com", "o/r"))),
            ("https://user:secret@github.com/o/r/", Some((Kind::GitHub, "github.com", "o/r"))),
            ("git@github.com:o/r.git", Some((Kind::GitHub, "github.com", "o/r"))),
            ("ssh://git@ssh.github.com:443/o/r.git", Some((Kind::GitHub, "github.com", "o/r"))),
            ("https://github.example.com/o/r", Some((Kind::GitHub, "github.example.com", "o/r"))),
            ("git@gitlab.com:group/sub/r.git", Some((Kind::GitLab, "gitlab.com", "group/sub/r"))),
            ("https://github.com/o", None),
            ("https://github.com/o/r/x", None),
            ("https://github.com/o/--r", None),
            ("https://github.com/o/r r", None),
            ("https://-github.com/o/r", None),
            ("https://example.com/github/r", None),
            ("/srv/github/r.git", None),
            ("../github:o/r", None),
            ("file:///github.com/o/r", None),
            ("", None),
        ];
        for (address, expected) in table {
            let found = place(address);
            let found = found.as_ref().map(|place| (place.kind, place.host.as_str(), place.path.as_str()));
            assert_eq!(found, expected, "{address}");
        }
    }
}
