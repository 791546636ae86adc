//! What this machine has of what children need: directories of the system, settings, toolchains and caches.
//!
//! Scan file: looks, changes nothing, decides nothing. Credentials are never among what it finds: of a toolchain's
//! directory only the parts that hold programs and packages.

use std::path::{Path, PathBuf};

use super::view::{SETTINGS, SYSTEM, System};

/// Where toolchains and package caches are: the variable that says so, the place below the home when it is not set, and
/// which parts of it hold programs and packages (none named: all of it).
const TOOLCHAINS: &[Place] = &[
    ("RUSTUP_HOME", ".rustup", &[]),
    ("CARGO_HOME", ".cargo", &["bin", "env"]),
    ("NVM_DIR", ".nvm", &["versions", "nvm.sh", "nvm-exec", "alias"]),
    ("PYENV_ROOT", ".pyenv", &["bin", "libexec", "plugins", "shims", "versions", "version", "pyenv.d"]),
    ("RBENV_ROOT", ".rbenv", &["bin", "libexec", "plugins", "shims", "versions", "version"]),
    ("VOLTA_HOME", ".volta", &["bin", "tools", "cache"]),
    ("SDKMAN_DIR", ".sdkman", &["candidates", "bin"]),
    ("DENO_INSTALL", ".deno", &["bin"]),
    ("BUN_INSTALL", ".bun", &["bin", "install"]),
    ("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python", &[]),
];

/// The same for caches of packages.
const CACHES: &[Place] = &[
    ("CARGO_HOME", ".cargo", &["registry", CARGO_CHECKOUTS]),
    ("GOMODCACHE", "go/pkg/mod", &[]),
    ("npm_config_cache", ".npm", &["_cacache"]),
    ("UV_CACHE_DIR", ".cache/uv", &[]),
    ("PIP_CACHE_DIR", ".cache/pip", &[]),
];

type Place = (&'static str, &'static str, &'static [&'static str]);

/// Where cargo keeps what it checked out: the name of the program is not meant.
const CARGO_CHECKOUTS: &str = concat!("g", "it");

/// Looks at the machine. `home` is the user's, `variables` are theirs, `named` is what they named themselves.
pub fn look(home: Option<&Path>, variables: &[(String, String)], named: &[PathBuf]) -> System {
    let mut system = System::default();
    for path in SYSTEM.iter().map(PathBuf::from) {
        match std::fs::read_link(&path) {
            Ok(says) => system.links.push((path, says)),
            Err(_) if path.is_dir() => system.directories.push(path),
            Err(_) => {}
        }
    }
    let settings = SETTINGS.iter().map(|name| Path::new("/etc").join(name));
    system.directories.extend(settings.filter(|path| path.exists()));
    system.toolchains = parts(TOOLCHAINS, home, variables);
    system.caches = parts(CACHES, home, variables);
    system.toolchains.extend(named.iter().filter(|path| path.exists()).cloned());
    system
}

/// Variables that say where the toolchains are: inside, the home is another.
pub fn environment(home: Option<&Path>, variables: &[(String, String)]) -> Vec<(String, String)> {
    let mut found = places(TOOLCHAINS, home, variables);
    found.extend(places(CACHES, home, variables).into_iter().filter(|(name, ..)| *name != "CARGO_HOME"));
    let found = found.into_iter().filter(|(_, root, _)| root.is_dir());
    found.filter_map(|(name, root, _)| Some((name.to_owned(), root.to_str()?.to_owned()))).collect()
}

/// The parts of these that are here.
fn parts(of: &[Place], home: Option<&Path>, variables: &[(String, String)]) -> Vec<PathBuf> {
    let parts = |(_, root, parts): (&str, PathBuf, &[&str])| -> Vec<PathBuf> {
        if parts.is_empty() { vec![root] } else { parts.iter().map(|part| root.join(part)).collect() }
    };
    places(of, home, variables).into_iter().flat_map(parts).filter(|part| part.exists()).collect()
}

fn places(
    of: &[Place],
    home: Option<&Path>,
    variables: &[(String, String)],
) -> Vec<(&'static str, PathBuf, &'static [&'static str])> {
    let place = |(name, usual, parts): &Place| {
        let set = variables.iter().find(|(variable, value)| variable == name && value.starts_with('/'));
        let root = set.map(|(_, value)| PathBuf::from(value)).or_else(|| home.map(|home| home.join(usual)))?;
        Some((*name, root, *parts))
    };
    of.iter().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_toolchain_only_programs_and_packages_are_shown() {
        let home = tempfile::tempdir().expect("a home");
        for part in [".cargo/bin", ".cargo/registry", ".rustup", ".ssh"] {
            std::fs::create_dir_all(home.path().join(part)).expect("made");
        }
        std::fs::write(home.path().join(".cargo/credentials.toml"), "secret").expect("written");
        let elsewhere = home.path().join("other/pyenv");
        std::fs::create_dir_all(elsewhere.join("versions")).expect("made");
        let variables = [("PYENV_ROOT".to_owned(), elsewhere.to_string_lossy().into_owned())];
        let system = look(Some(home.path()), &variables, &[home.path().join("absent")]);
        let below = |part: &str| home.path().join(part);
        assert_eq!(system.toolchains, [below(".rustup"), below(".cargo/bin"), elsewhere.join("versions")]);
        assert_eq!(system.caches, [below(".cargo/registry")]);
        let names: Vec<String> = environment(Some(home.path()), &variables).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["RUSTUP_HOME", "CARGO_HOME", "PYENV_ROOT"]);
    }
}
