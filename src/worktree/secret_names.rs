//! Decision file: which files are secrets by their names: keys, passwords, credentials, tokens, and files of settings that
//! hold them.
//!
//! By classes of names, not by a list of programs. In doubt it is one: what stays behind can be named, what was given away
//! cannot be taken back. Source code of dependencies and builds is none, whatever it is called.

use std::ffi::OsStr;
use std::path::Path;

/// Files that are meant in full.
const NAMES: &[&str] =
    &[".boto", ".dockercfg", ".git-credentials", ".my.cnf", ".mylogin.cnf", ".npmrc", ".pypirc", ".s3cfg", "auth.json"];
/// How names of keys and settings begin.
const STARTS: &[&str] = &[".dev.vars", "id_dsa", "id_ecdsa", "id_ed25519", "id_rsa", "ssh_host_"];
/// Containers of keys: an ending, or one before the ending (`server.key.bak`).
const CONTAINERS: &[&str] = &[
    "age", "asc", "bks", "der", "gpg", "jks", "kdb", "kdbx", "key", "keystore", "keytab", "ovpn", "p12", "p8", "pem",
    "pfx", "pgp", "ppk", "tfstate", "tfvars",
];
/// Parts of names that mean it wherever they are.
const PARTS: &[&str] = &[
    "accesskey",
    "apikey",
    "credential",
    "deploykey",
    "htpasswd",
    "kubeconfig",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "privkey",
    "secret",
    "sshkey",
];
/// Words that mean it by themselves.
const WORDS: &[&str] = &["authinfo", "creds", "keychain", "netrc", "pgpass", "vault"];
/// What a key is for, when the word before says it.
const KEYS: &[&str] = &[
    "access",
    "account",
    "api",
    "auth",
    "deploy",
    "dsa",
    "ecdsa",
    "ed25519",
    "encryption",
    "host",
    "master",
    "private",
    "rsa",
    "signing",
    "ssh",
];
/// Directories of programs that keep such things.
const DIRECTORIES: &[&str] = &[
    ".aws",
    ".azure",
    ".credentials",
    ".gcloud",
    ".gnupg",
    ".kube",
    ".oci",
    ".password-store",
    ".secret",
    ".secrets",
    ".ssh",
    ".vault",
];
/// The same below a directory of settings, and files that are known by the directory they are in.
const BELOW: &[(&str, &[&str])] = &[
    (".config", &["containers", "gcloud", "gh", "glab-cli", "hub", "op", "rclone", "sops"]),
    (".docker", &["config.json"]),
    (".m2", &["settings.xml", "settings-security.xml"]),
];
/// Directories that people put such things into; a package may call its modules so.
const PLAIN_DIRECTORIES: &[&str] = &["credentials", "creds", "passwords", "secret", "secrets"];

/// Directories of installed packages.
const PACKAGES: &[&str] = &[
    ".bundle",
    ".nox",
    ".pnpm-store",
    ".tox",
    ".venv",
    ".yarn",
    "bower_components",
    "dist-packages",
    "node_modules",
    "pods",
    "site-packages",
    "vendor",
    "venv",
];
/// Directories of what was built.
const BUILDS: &[&str] = &[
    ".angular",
    ".build",
    ".cache",
    ".gradle",
    ".next",
    ".nuxt",
    ".output",
    ".parcel-cache",
    ".svelte-kit",
    ".turbo",
    "__pycache__",
    "_build",
    "build",
    "coverage",
    "dist",
    "dist-newstyle",
    "obj",
    "out",
    "target",
];
/// Endings of programs and what is made of them.
const PROGRAMS: &[&str] = &[
    "a", "c", "cc", "cjs", "class", "cpp", "cs", "css", "cts", "d", "dart", "dll", "dylib", "ex", "exs", "go", "h",
    "hpp", "hs", "html", "java", "js", "jsx", "kt", "lua", "map", "md", "mjs", "mts", "node", "o", "php", "pm", "py",
    "pyc", "pyi", "rb", "rlib", "rmeta", "rs", "rst", "scala", "scss", "snap", "so", "svelte", "svg", "swift", "ts",
    "tsx", "vue", "wasm",
];

/// True when a file's name, or a directory above it, says that it is a secret. Upper and lower case are the same.
pub fn looks_secret(path: &Path) -> bool {
    let plain = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let above: Vec<String> = path.parent().into_iter().flat_map(Path::iter).map(lower).collect();
    let name = plain.to_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending.trim_end_matches('~'));
    let is_program = PROGRAMS.contains(&ending);
    let (in_packages, in_build) = (is_among_packages(&above), above.iter().any(|part| is_one_of(BUILDS, part)));
    if in_tool_directory(&above, &name) || in_settings(&above, &name) {
        return true;
    }
    if is_program && (in_packages || in_build) {
        return false;
    }
    let is_environment = is_environment(&name) || (name == "env" || name.starts_with("env.")) && !is_program;
    if is_environment && !in_packages || is_one_of(NAMES, &name) || STARTS.iter().any(|start| name.starts_with(start)) {
        return true;
    }
    let says_token = says_token(&plain) && !is_program && (!in_packages || ending.is_empty());
    let in_plain_directory = above.iter().any(|part| is_one_of(PLAIN_DIRECTORIES, part));
    says_token || says_secret(&plain, ending) || (in_plain_directory && !is_program && !in_packages)
}

fn lower(part: &OsStr) -> String {
    part.to_string_lossy().to_lowercase()
}

fn is_one_of(list: &[&str], name: &str) -> bool {
    list.contains(&name)
}

/// `.env`, `.env.local`, `.envrc`, `prod.env`.
fn is_environment(part: &str) -> bool {
    part.starts_with(".env") || part.trim_end_matches('~').ends_with(".env")
}

/// Among installed packages; a virtual environment of Python may be called `.env`.
fn is_among_packages(above: &[String]) -> bool {
    let in_library = |pair: &[String]| pair[0] == "lib" && pair[1].starts_with("python");
    above.iter().any(|part| is_one_of(PACKAGES, part))
        || above.windows(2).any(in_library)
        || virtual_root(above).is_some()
}

/// Which directory above is a virtual environment of Python with a name like that of a file of variables.
fn virtual_root(above: &[String]) -> Option<usize> {
    let inside = |part: &String| is_one_of(&["bin", "include", "lib", "lib64", "scripts", "share"], part);
    above.windows(2).position(|pair| matches!(pair[0].as_str(), ".env" | "env") && inside(&pair[1]))
}

/// In a directory in which a program keeps secrets, whatever they are called.
fn in_tool_directory(above: &[String], name: &str) -> bool {
    let parts = || above.iter().map(String::as_str).chain([name]);
    let known = |(directory, inside): &(&str, &[&str])| {
        parts().zip(parts().skip(1)).any(|(around, part)| around == *directory && is_one_of(inside, part))
    };
    above.iter().any(|part| is_one_of(DIRECTORIES, part)) || BELOW.iter().any(known)
}

/// In a directory of files of variables (`.env.d/`, `.envs/`), but for a virtual environment.
fn in_settings(above: &[String], name: &str) -> bool {
    let virtual_root = virtual_root(above);
    let is_marker = name == "pyvenv.cfg";
    above.iter().enumerate().any(|(at, part)| is_environment(part) && Some(at) != virtual_root && !is_marker)
}

/// A token, if not what makes tokens of a text.
fn says_token(name: &str) -> bool {
    words(name).iter().any(|word| word.ends_with("token") || word.ends_with("tokens"))
}

/// A name that says what is in it.
fn says_secret(name: &str, ending: &str) -> bool {
    let lower = name.to_lowercase();
    let words = words(name);
    let pairs = || words.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
    let is_key = |(what, key): (&str, &str)| matches!(key, "key" | "keys") && is_one_of(KEYS, what);
    let contained = lower.split('.').skip(1).any(|part| is_one_of(CONTAINERS, part.trim_end_matches('~')));
    // `deploy_key`, `key.txt`, `.sudo_pass`.
    let stem = lower.trim_start_matches('.').strip_suffix(".txt").unwrap_or(lower.trim_start_matches('.'));
    let last = words.iter().rfind(|word| *word != "txt").map(String::as_str);
    let by_last_word = !stem.contains('.') && matches!(last, Some("key" | "pass"));
    contained
        || by_last_word
        || PARTS.iter().any(|part| lower.contains(part))
        || words.iter().any(|word| is_one_of(WORDS, word))
        || pairs().any(is_key)
        || pairs().any(|pair| pair == ("kube", "config"))
        || (pairs().any(|pair| pair == ("service", "account")) && matches!(ending, "" | "json"))
}

/// The words of a name, in lower case: between what is no letter and no digit, and where the case changes.
fn words(name: &str) -> Vec<String> {
    let characters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, character) in characters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| characters.get(before));
        let after = characters.get(at + 1);
        // `apiKey`, and `APIKey` before its `K`.
        let begins = character.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase() || (before.is_uppercase() && after.is_some_and(|after| after.is_lowercase()))
            });
        if begins || !character.is_alphanumeric() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (character.is_alphanumeric(), words.last_mut()) {
            word.extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(paths: &[&str]) {
        let missed: Vec<&&str> = paths.iter().filter(|path| !looks_secret(Path::new(path))).collect();
        assert!(missed.is_empty(), "not held back: {missed:?}");
    }

    fn plain(paths: &[&str]) {
        let held: Vec<&&str> = paths.iter().filter(|path| looks_secret(Path::new(path))).collect();
        assert!(held.is_empty(), "held back: {held:?}");
    }

    #[test]
    fn words_end_where_the_case_changes() {
        assert_eq!(words("serviceAccountKey.json"), ["service", "account", "key", "json"]);
        assert_eq!(words(".APIKey-2_old~"), ["api", "key", "2", "old"]);
        assert_eq!(words("TLS.KEY"), ["tls", "key"]);
    }

    #[test]
    fn keys_and_their_containers_are_secrets() {
        secrets(&[
            "a/b/server.pem",
            "TLS.KEY",
            "x.p12",
            "x.pfx",
            "x.p8",
            "vault.kdbx",
            "AuthKey_ABC.p8",
            "server.key.bak",
            "server.key~",
            "server.pem.bak",
            "key.age",
            "private.der",
            "home.ovpn",
            "secring.gpg",
            "backup.asc",
            "krb5.keytab",
            "id_rsa",
            "id_ed25519.pub",
            "id_ecdsa-old",
            "private_key",
            "privatekey.txt",
            "deploy_key",
            "ssh_host_rsa_key",
            "ssh_host_ed25519_key.pub",
            "signing-key",
            "key.txt",
            "serviceAccountKey.json",
            "service_account.json",
            "service-account-prod.json",
            "API_KEY.txt",
            "api-keys.yml",
            "apikey",
            "ApiKeys.json",
            "config/master.key",
            "myPrivateKey.xml",
            "login.keychain-db",
            "node_modules/a/test/server.pem",
        ]);
    }

    #[test]
    fn credentials_passwords_and_tokens_are_secrets() {
        secrets(&[
            "credentials",
            "credentials.json",
            "application_default_credentials.json",
            "aws-credentials",
            "client_secret_1.json",
            "my-secret.yml",
            "github_token",
            "mytoken",
            "token.json",
            "passwords.txt",
            ".password",
            ".passwd",
            ".creds",
            "creds.json",
            ".vault_pass",
            ".vault-token",
            ".sudo_pass",
            ".netrc",
            "_netrc",
            ".authinfo",
            ".pgpass",
            ".htpasswd",
            "secrets/db.yml",
            "config/creds/prod.yml",
            "secrets.py",
            "auth.json",
            "target/classes/secrets/db.yml",
            "build/resources/credentials.json",
        ]);
    }

    #[test]
    fn settings_that_hold_secrets_are_secrets() {
        secrets(&[
            ".env",
            ".env.local",
            ".ENVRC",
            ".env.d/prod",
            ".envs/.production/.django",
            "prod.env",
            "app.env",
            "env.prod",
            "env",
            "prod.env/x",
            "sub/.env.js",
            "terraform.tfvars",
            "terraform.tfvars.json",
            "prod.auto.tfvars",
            "terraform.tfstate",
            "terraform.tfstate.backup",
            ".my.cnf",
            ".mylogin.cnf",
            ".s3cfg",
            ".boto",
            ".dockercfg",
            ".dev.vars",
            ".dev.vars.prod",
            ".npmrc",
            ".pypirc",
            ".git-credentials",
            "kubeconfig",
            "kubeconfig.yaml",
            "prod-kube-config",
            ".kube/config",
            ".kube/cache/x.json",
            ".gnupg/pubring.kbx",
            ".aws/config",
            ".ssh/known_hosts",
            ".azure/profile.json",
            ".docker/config.json",
            ".config/gh/hosts.yml",
            ".config/gcloud/x.db",
            "x/.config/sops/age/keys.txt",
            ".m2/settings.xml",
            ".password-store/a/b",
        ]);
    }

    #[test]
    fn what_is_merely_called_so_comes_along() {
        plain(&[
            "node_modules/postcss/lib/tokenize.js",
            "node_modules/js-tokens/package.json",
            "node_modules/a/token.js",
            "node_modules/design/tokens.json",
            "node_modules/@aws/credentials/package.json",
            "node_modules/a/credentials.d.ts",
            "node_modules/a/lib/private-key.js",
            "node_modules/a/env.json",
            "lib/python3.11/secrets.py",
            ".venv/lib/python3.11/site-packages/oauthlib/tokens.py",
            "vendor/x/password.go",
            "target/debug/deps/libtoken-1.rlib",
            "target/doc/secret/index.html",
            "build/generated/Token.java",
            "src/secrets/mod.rs",
            "gen/token.go",
            "tokenizer.json",
            ".env/bin/python",
            ".env/lib/python3.11/os.py",
            ".env/pyvenv.cfg",
            "env/bin/activate",
            "environment",
            "environment.yml",
            "keys.txt",
            "service-account.yml",
            "monkey",
            "monkey.txt",
            "keyboard.json",
            "public_key.xml",
            "compass",
            ".docker/Dockerfile",
            ".config/x.toml",
            "cache/data.bin",
            "target/debug/build/x/out/env.rs",
            "next-env.d.ts",
        ]);
    }
}
