//! What the layers amount to together, seen from outside: precedence, what a project may do, messages.
//!
//! Single forms and the table of keys are tested beside their code.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::keys::AGENT_KEYS;
use super::*;
use crate::model::record::ConfineLevel;
use crate::model::{Network, Span, StalePolicy};

fn sources(user: &str, project: &str, env: &[(&str, &str)], set: &[&str]) -> Sources {
    Sources {
        user: Some(("/u/config.toml".into(), user.to_owned())),
        project: Some(("/p/.treehand.toml".into(), project.to_owned())),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        set: set.iter().map(|text| (*text).to_owned()).collect(),
    }
}

fn resolved(user: &str, project: &str, env: &[(&str, &str)], set: &[&str]) -> Resolved {
    resolve(&sources(user, project, env, set)).expect("the layers can be read")
}

fn shown<'a>(resolved: &'a Resolved, key: &str) -> (&'a str, &'a str) {
    let value = resolved.origins.iter().find(|value| value.key == key).expect("every key is shown");
    (&value.value, &value.origin)
}

#[test]
fn without_layers_everything_is_the_documented_default() {
    let resolved = resolve(&Sources::default()).expect("nothing can be read");
    let expected = [
        ("worktree.path", "\"../{repo}.trees/{workspace}/{repo}\""),
        ("worktree.base", ""),
        ("worktree.stale", "\"warn\""),
        ("worktree.fetch_deadline", "\"20s\""),
        ("worktree.fetch_window", "\"0s\""),
        ("worktree.hooks", "\"confined\""),
        ("worktree.submodules", "\"local\""),
        ("worktree.copy", "[]"),
        ("worktree.setup", "[]"),
        ("worktree.ports", "1"),
        ("worktree.pool", "0"),
        ("worktree.pool_free", "\"5G\""),
        ("worktree.pool_age", "\"7d\""),
        ("confine.level", "\"strict\""),
        ("confine.network", "\"none\""),
        ("confine.read", "[]"),
        ("confine.env", "[]"),
        ("confine.limits.processes", "4096"),
        ("confine.limits.memory", "\"80%\""),
        ("confine.limits.file_size", "\"8G\""),
        ("confine.limits.open_files", "65536"),
        ("confine.limits.disk", "\"20G\""),
        ("confine.limits.output", "\"64M\""),
        ("supervise.jobs", ""),
        ("supervise.orphan_grace", "\"10m\""),
        ("supervise.idle", ""),
        ("supervise.start", ""),
        ("supervise.quiet", "\"2m\""),
        ("supervise.stalled", "\"10m\""),
        ("supervise.wall", ""),
        ("supervise.attempts", "10"),
        ("supervise.backoff", "\"1s\""),
        ("supervise.backoff_max", "\"10m\""),
        ("supervise.slots", "0"),
        ("supervise.profile_slots", "[]"),
        ("supervise.reserve_memory", "\"5%\""),
        ("supervise.reserve_disk", "\"1%\""),
        ("supervise.agent", "[]"),
        ("supervise.instructions", ""),
        ("supervise.overlap", "\"prefer\""),
        ("merge.into", ""),
        ("merge.strategy", "\"squash\""),
        ("merge.message", ""),
        ("merge.gates", "[]"),
        ("merge.push", "false"),
        ("merge.lock_wait", "\"10s\""),
        ("merge.conflicts", "\"keep\""),
        ("merge.conflict_rounds", "2"),
        ("merge.sensitive.ci", "\"needs_person\""),
        ("merge.sensitive.hooks", "\"needs_person\""),
        ("merge.sensitive.environment", "\"needs_person\""),
        ("merge.sensitive.editors", "\"needs_person\""),
        ("merge.sensitive.agents", "\"needs_person\""),
        ("merge.sensitive.git_files", "\"needs_person\""),
        ("merge.sensitive.treehand", "\"needs_person\""),
        ("merge.sensitive.links", "\"needs_person\""),
        ("clean.min_age", "\"1d\""),
        ("clean.retention", "\"14d\""),
        ("clean.protect", "[]"),
        ("clean.count_max", "0"),
        ("clean.disk_budget", ""),
        ("clean.salvage_ignored", "[]"),
        ("clean.salvage_max", "\"2G\""),
        ("clean.deadline", "\"10m\""),
        ("clean.notify", ""),
    ];
    let shown: Vec<(&str, &str)> = resolved.origins.iter().map(|v| (v.key.as_str(), v.value.as_str())).collect();
    assert_eq!(shown, expected);
    assert!(resolved.origins.iter().all(|value| value.origin == "default"));
    assert_eq!((resolved.settings, resolved.warnings), (Settings::default(), vec![]));
}

#[test]
fn the_later_layer_wins() {
    let user = "[merge]\nlock_wait = '1s'";
    let project = "[merge]\nlock_wait = '2s'";
    let env = [("TREEHAND_MERGE__LOCK_WAIT", "3s")];
    let set = ["merge.lock_wait=4s", "merge.lock_wait = 5s"];
    let check = |resolved: Resolved, value: &str, origin: &str| {
        assert_eq!(shown(&resolved, "merge.lock_wait"), (value, origin));
        assert_eq!(resolved.warnings, [] as [&str; 0]);
    };
    check(resolved("", "", &[], &[]), "\"10s\"", "default");
    check(resolved(user, "", &[], &[]), "\"1s\"", "user file /u/config.toml");
    check(resolved(user, project, &[], &[]), "\"2s\"", "project file /p/.treehand.toml");
    check(resolved(user, project, &env, &[]), "\"3s\"", "environment TREEHAND_MERGE__LOCK_WAIT");
    check(resolved(user, project, &env, &set), "\"5s\"", "--set");
}

#[test]
fn an_empty_text_takes_an_optional_value_away() {
    let user = "[merge]\ngates = ['make']\ninto = 'dev'\n[worktree]\nbase = 'dev'\n[supervise]\nwall = '1h'\njobs = 2";
    let set = ["merge.gates=", "merge.into=", "worktree.base=", "supervise.wall=", "supervise.jobs="];
    assert_eq!(resolved(user, "", &[], &set).settings, Settings::default());
}

#[test]
fn a_project_tightens_and_never_loosens() {
    // User's file, project's file, key, what it is then, taken without a warning.
    let table = [
        ("worktree.stale='warn'", "worktree.stale='block'", "worktree.stale", "\"block\"", true),
        ("worktree.stale='block'", "worktree.stale='warn'", "worktree.stale", "\"block\"", false),
        ("confine.level='off'", "confine.level='strict'", "confine.level", "\"strict\"", true),
        ("", "confine.level='strict'", "confine.level", "\"strict\"", true),
        ("", "confine.level='off'", "confine.level", "\"strict\"", false),
        ("confine.level='landlock'", "confine.level='external'", "confine.level", "\"landlock\"", false),
        ("supervise.jobs=8", "supervise.jobs=2", "supervise.jobs", "2", true),
        ("supervise.jobs=8", "supervise.jobs=9", "supervise.jobs", "8", false),
        ("confine.network='full'", "confine.network='none'", "confine.network", "\"none\"", true),
        ("", "confine.network='full'", "confine.network", "\"none\"", false),
        ("", "confine.read=['/etc']", "confine.read", "[]", false),
        ("", "confine.env=['HOME']", "confine.env", "[]", false),
        ("", "merge.gates=[{run='a', net='none'}]", "merge.gates", "[{ net = \"none\", run = \"a\" }]", true),
        ("", "merge.gates=[{run='a', net='full'}]", "merge.gates", "[]", false),
        ("", "merge.gates=[{run='a', env=['HOME']}]", "merge.gates", "[]", false),
        ("", "merge.gates=[{run='a', secrets=['TOKEN']}]", "merge.gates", "[]", false),
        ("", "confine.limits.output='1K'", "confine.limits.output", "\"64M\"", false),
        ("", "supervise.agent=['codex']", "supervise.agent", "[]", false),
        ("", "supervise.wall='1s'", "supervise.wall", "", false),
        ("", "worktree.path='/x/{workspace}'", "worktree.path", "\"../{repo}.trees/{workspace}/{repo}\"", false),
        ("", "worktree.path=5", "worktree.path", "\"../{repo}.trees/{workspace}/{repo}\"", false),
        ("", "worktree.fetch_deadline='1s'", "worktree.fetch_deadline", "\"20s\"", false),
        ("", "clean.min_age='0s'", "clean.min_age", "\"1d\"", false),
        ("", "clean.retention='0s'", "clean.retention", "\"14d\"", false),
        ("", "clean.notify='rm -rf ~'", "clean.notify", "", false),
        ("", "worktree.base='dev'", "worktree.base", "\"dev\"", true),
        ("", "merge.into='dev'", "merge.into", "\"dev\"", true),
        ("", "merge.strategy='ff'", "merge.strategy", "\"ff\"", true),
        ("merge.gates=['a']", "merge.gates=['b']", "merge.gates", "[\"a\", \"b\"]", true),
        ("worktree.setup=['a']", "worktree.setup=['b', 'a']", "worktree.setup", "[\"a\", \"b\"]", true),
        ("worktree.setup=['a']", "worktree.setup=[]", "worktree.setup", "[\"a\"]", true),
        ("", "worktree.setup=[{run='a', net='none'}]", "worktree.setup", "[{ net = \"none\", run = \"a\" }]", true),
        ("", "worktree.setup=[{run='a', timeout='1m'}]", "worktree.setup", "[{ run = \"a\", timeout = \"1m\" }]", true),
        ("", "worktree.setup=['b', {run='a', net='full'}]", "worktree.setup", "[]", false),
        ("", "worktree.setup=[{run='a', net=['a.b:1']}]", "worktree.setup", "[]", false),
        ("", "worktree.setup=[{run='a', env=['HOME']}]", "worktree.setup", "[]", false),
        ("worktree.setup=['b']", "worktree.setup=[{run='a', secrets=['T']}]", "worktree.setup", "[\"b\"]", false),
        ("", "merge.sensitive.ci='refuse'", "merge.sensitive.ci", "\"refuse\"", true),
        ("", "merge.sensitive.ci='allow'", "merge.sensitive.ci", "\"needs_person\"", false),
        ("clean.protect=['a']", "clean.protect=['b', 'a']", "clean.protect", "[\"a\", \"b\"]", true),
        ("clean.protect=['a']", "clean.protect=[]", "clean.protect", "[\"a\"]", true),
        ("worktree.copy=['a']", "worktree.copy=['b', 'a']", "worktree.copy", "[\"a\", \"b\"]", true),
    ];
    for (user, project, key, value, taken) in table {
        let resolved = resolved(user, project, &[], &[]);
        assert_eq!(shown(&resolved, key).0, value, "{user} + {project}");
        assert_eq!(resolved.warnings.is_empty(), taken, "{user} + {project}: {:?}", resolved.warnings);
        let of_project = shown(&resolved, key).1.ends_with("project file /p/.treehand.toml");
        assert_eq!(of_project, taken, "the origin of {key} after {user} + {project}");
    }
}

#[test]
fn nothing_of_an_agent_is_a_projects_to_say() {
    let of_agents = ACCEPTED.iter().filter(|(key, _)| key.starts_with("agent."));
    let mut seen = BTreeSet::new();
    for (key, values) in of_agents {
        seen.insert(key);
        for value in *values {
            let resolved = resolved("", &format!("{key} = {value}"), &[], &[]);
            assert_eq!(resolved.settings, Settings::default(), "{key} = {value}");
            assert!(
                matches!(&resolved.warnings[..], [one] if one.contains("is the user's")),
                "{:?}",
                resolved.warnings
            );
        }
    }
    assert_eq!(seen.len(), AGENT_KEYS.len(), "each key is tried: {seen:?}");
}

#[test]
fn the_number_of_jobs_of_a_project_stays_bound_to_the_cores_until_the_user_says_otherwise() {
    let project = "supervise.jobs = 1000";
    assert_eq!(resolved("", project, &[], &[]).settings.supervise.jobs, Jobs::AtMost(1000));
    assert_eq!(resolved("", project, &[], &["supervise.jobs=9"]).settings.supervise.jobs, Jobs::Exactly(9));
}

#[test]
fn patterns_that_both_files_give_have_both_origins() {
    let resolved = resolved("clean.protect=['a']", "clean.protect=['b']", &[], &[]);
    let both = "user file /u/config.toml, project file /p/.treehand.toml";
    assert_eq!(shown(&resolved, "clean.protect"), ("[\"a\", \"b\"]", both));
}

#[test]
fn what_is_not_taken_is_said_with_its_place() {
    let check = |user: &str, project: &str, env: &[(&str, &str)], set: &[&str], expected: &str| {
        let resolved = resolved(user, project, env, set);
        assert_eq!(resolved.warnings, [expected]);
        assert_eq!(resolved.settings, Settings::default(), "{expected}");
    };
    let near = "/u/config.toml:2:1: unknown key `worktree.stael`, did you mean `worktree.stale`";
    check("[worktree]\nstael = 'block'", "", &[], &[], near);
    check("[worktre]\nx = 1", "", &[], &[], "/u/config.toml:1:2: unknown key `worktre`, did you mean `worktree`");
    let quoted = "/u/config.toml:1:1: unknown key `\"merge.into\"`, did you mean `merge.into`";
    check("'merge.into' = 1", "", &[], &[], quoted);
    check("[zzzzzz]", "", &[], &[], "/u/config.toml:1:2: unknown key `zzzzzz`");
    check("\"a\\u001b\" = 1", "", &[], &[], "/u/config.toml:1:1: unknown key `a\\u{1b}`");
    let slip = "/u/config.toml:2:1: unknown key `agent.x.modle`, did you mean `agent.x.model`";
    check("[agent.x]\nmodle = 'x'", "", &[], &[], slip);
    let later = "/u/config.toml:1:10: `worktree.branch` is not supported by this version and has no effect";
    check("worktree.branch = 1", "", &[], &[], later);
    let theirs = "/p/.treehand.toml:1:23: `agent.codex.command` is the user's, a project file cannot set it: ignored";
    check("", "agent.codex.command = '/tmp/x'", &[], &[], theirs);
    let ignored = "/p/.treehand.toml:2:9: `confine.level` is the user's, a project file can only tighten it: ignored, it stays \"strict\"";
    check("", "[confine]\nlevel = 'off'", &[], &[], ignored);
    let refused = "is the user's, a project file cannot set it: ignored";
    check("", "merge.push = true", &[], &[], &format!("/p/.treehand.toml:1:14: `merge.push` {refused}"));
    check("", "clean.min_age = '1s'", &[], &[], &format!("/p/.treehand.toml:1:17: `clean.min_age` {refused}"));
    let variable =
        "environment TREEHAND_WORKTREE__STAEL: unknown key `worktree.stael`, did you mean `TREEHAND_WORKTREE__STALE`";
    check("", "", &[("TREEHAND_WORKTREE__STAEL", "block")], &[], variable);
    let case =
        "environment TREEHAND_worktree__base: unknown key `worktree.base`, did you mean `TREEHAND_WORKTREE__BASE`";
    check("", "", &[("TREEHAND_worktree__base", "x")], &[], case);
    check("", "", &[], &["confine.limits=1"], "--set: `confine.limits` is a section: name a key in it");
    check(
        "",
        "",
        &[],
        &["worktree.branch=true"],
        "--set: `worktree.branch` is not supported by this version and has no effect",
    );
}

#[test]
fn notes_on_gates_have_their_place() {
    let resolved = resolved("merge.gates = [{ run = 'x', flakey = true }]", "", &[], &[]);
    assert_eq!(resolved.warnings, ["/u/config.toml:1:29: a gate has no key `flakey`, did you mean `flaky`"]);
    assert_eq!(resolved.settings.merge.gates.len(), 1);
}

#[test]
fn names_of_variables_map_to_keys() {
    let env = [
        ("TREEHAND_WORKTREE__FETCH_DEADLINE", "5s"),
        ("TREEHAND_CONFINE__LEVEL", "off"),
        ("TREEHAND_CONFINE__LIMITS__OUTPUT", "1G"),
        ("TREEHAND_MERGE__GATES", "cargo test -q"),
        ("TREEHAND_RUN", "not configuration"),
        ("PATH", "/bin"),
    ];
    let resolved = resolved("", "", &env, &[]);
    assert_eq!(resolved.warnings, [] as [&str; 0]);
    assert_eq!(resolved.settings.confine.level, ConfineLevel::Off);
    assert_eq!(resolved.settings.worktree.fetch_deadline, "5s".parse::<Span>().expect("a span"));
    assert_eq!(shown(&resolved, "confine.limits.output"), ("\"1G\"", "environment TREEHAND_CONFINE__LIMITS__OUTPUT"));
    assert_eq!(shown(&resolved, "merge.gates").0, "[\"cargo test -q\"]");
}

#[test]
fn values_that_cannot_be_read_are_errors_with_place_and_remedy() {
    let check = |user: &str, env: &[(&str, &str)], set: &[&str], message: &str, hint: &str| {
        let error = resolve(&sources(user, "", env, set)).expect_err(message);
        assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (message, Some(hint)));
    };
    check(
        "[worktree]\nstale = 'sometimes'",
        &[],
        &[],
        "/u/config.toml:2:9: `worktree.stale` must be one of warn, block, update: found `sometimes`",
        "for example: stale = \"block\" under [worktree]",
    );
    check(
        "merge.message = \"\"\"\nfirst\n{{ task\"\"\"",
        &[],
        &[],
        "/u/config.toml:1:17: `merge.message` must be a template of messages: line 2 of it: syntax error: unexpected end of input, expected end of variable block",
        "for example: message = \"{{ subject }}\" under [merge]",
    );
    check(
        "supervise.jobs = 'many'",
        &[],
        &[],
        "/u/config.toml:1:18: `supervise.jobs` must be a whole number from 1: found a string",
        "for example: jobs = 4 under [supervise]",
    );
    check(
        "worktree.ports = 101",
        &[],
        &[],
        "/u/config.toml:1:18: `worktree.ports` must be a whole number up to 100, 0 for none: found `101`",
        "for example: ports = 2 under [worktree]",
    );
    check(
        "worktree = 5",
        &[],
        &[],
        "/u/config.toml:1:12: `worktree` must be a section: found an integer",
        "for example: [worktree], and its keys in the lines below",
    );
    check(
        "",
        &[("TREEHAND_MERGE__LOCK_WAIT", "5")],
        &[],
        "environment TREEHAND_MERGE__LOCK_WAIT: `merge.lock_wait` must be a duration such as 90s, 15m or 1d: found `5`",
        "for example: TREEHAND_MERGE__LOCK_WAIT=90s",
    );
    check(
        "",
        &[],
        &["confine.level=none"],
        "--set: `confine.level` must be one of strict, landlock, external, off: found `none`",
        "for example: --set confine.level=strict",
    );
    check("", &[], &["worktree.stale"], "`--set worktree.stale` assigns nothing", "write --set SECTION.KEY=VALUE");
}

#[test]
fn a_file_that_is_not_toml_is_an_error_with_position() {
    let error = resolve(&sources("", "a = 1\nb = = 2", &[], &[])).expect_err("this is no TOML");
    assert!(error.to_string().starts_with("/p/.treehand.toml:2:5: this is not TOML: "), "{error}");
}

/// Every key with values that it accepts.
const ACCEPTED: [(&str, &[&str]); 64] = [
    ("supervise.agent", &["[]", "['codex', 'claude:opus']"]),
    ("supervise.instructions", &["'{{ prompt }}'"]),
    ("agent.x.command", &["'codex'", "'/opt/codex'"]),
    ("agent.x.model", &["'m'"]),
    ("agent.x.effort", &["'high'"]),
    ("agent.x.base_url", &["'http://127.0.0.1:1/v1'"]),
    ("agent.x.fallback", &["[]", "['claude:m']"]),
    ("agent.x.env", &["[]", "['A=b', 'HOME']"]),
    ("agent.x.secrets", &["['KEY']"]),
    ("agent.x.network", &["'full'", "['a:1']"]),
    ("agent.x.budget.cost", &["'2.50'", "3", "0.5"]),
    ("agent.x.budget.tokens", &["1000"]),
    ("agent.x.budget.turns", &["1"]),
    ("worktree.path", &["'/x/{workspace}'", "'../{workspace}/{repo}'"]),
    ("worktree.base", &["'main'", "'origin/\u{e9}~3'"]),
    ("worktree.stale", &["'warn'", "'block'"]),
    ("worktree.fetch_deadline", &["'0s'", "'2w'", "'17ms'"]),
    ("worktree.copy", &["[]", "['node_modules/', '!x', '[']"]),
    ("worktree.setup", &["[]", "['npm ci']", "[{ run = 'x', timeout = '5m', net = 'full', env = ['A'] }]"]),
    ("worktree.ports", &["0", "1", "100"]),
    ("worktree.pool", &["0", "3"]),
    ("worktree.pool_free", &["0", "'2G'"]),
    ("worktree.pool_age", &["'1d'"]),
    ("confine.level", &["'strict'", "'landlock'", "'external'", "'off'"]),
    ("confine.network", &["'none'", "'full'", "'a.b:443, [::1]:80'", "['a.b:443']"]),
    ("confine.read", &["[]", "['/opt/x', '/srv/a b']"]),
    ("confine.env", &["[]", "['CI=true', 'LANGUAGE', 'A=b=c ']"]),
    ("confine.limits.processes", &["0", "4096", "4294967295"]),
    ("confine.limits.memory", &["'80%'", "'8G'", "0"]),
    ("confine.limits.open_files", &["0", "17"]),
    ("confine.limits.disk", &["0", "'20G'"]),
    ("confine.limits.output", &["0", "0xf_f", "'1T'", "'17'"]),
    ("supervise.jobs", &["1", "3", "4", "4294967295"]),
    ("supervise.orphan_grace", &["'0s'", "'10m'"]),
    ("supervise.idle", &["'90s'", "'1d'"]),
    ("supervise.start", &["'30s'"]),
    ("supervise.quiet", &["'0s'", "'2m'"]),
    ("supervise.stalled", &["'10m'"]),
    ("supervise.wall", &["'0s'", "'1d'"]),
    ("supervise.attempts", &["0", "10", "4294967295"]),
    ("supervise.backoff", &["'0s'", "'90s'"]),
    ("supervise.backoff_max", &["'0s'", "'1d'"]),
    ("supervise.slots", &["0", "8"]),
    ("supervise.profile_slots", &["[]", "['codex=4', 'command=1']"]),
    ("supervise.reserve_memory", &["'5%'", "'8G'", "0"]),
    ("supervise.reserve_disk", &["'1%'", "'500M'", "0"]),
    ("supervise.overlap", &["'ignore'", "'prefer'", "'wait'"]),
    ("merge.into", &["'dev'"]),
    ("merge.strategy", &["'squash'", "'merge'", "'rebase'", "'ff'"]),
    (
        "merge.message",
        &["'{{ default }}'", "\"\"\"{{ subject }}\n\n{% for one in commits %}{{ one.id }}{% endfor %}\"\"\""],
    ),
    ("merge.gates", &["[]", "['x', \"a'b\\n\\u001b\"]", "[{ run = 'x', flaky = true, timeout = '5m', net = 'none' }]"]),
    ("merge.push", &["true", "false"]),
    ("merge.lock_wait", &["'0s'", "'1h'"]),
    ("merge.conflicts", &["'keep'", "'agent'"]),
    ("merge.conflict_rounds", &["1", "2"]),
    ("clean.min_age", &["'0s'", "'90d'"]),
    ("clean.retention", &["'0s'", "'90d'"]),
    ("clean.protect", &["[]", "['mine', 'release/*']", "['{a,b}/[!c]']"]),
    ("clean.deadline", &["'1s'", "'1h'"]),
    ("clean.salvage_ignored", &["[]", "['.env*', 'local/**']"]),
    ("clean.salvage_max", &["0", "'64K'", "'2G'"]),
    ("clean.count_max", &["0", "8"]),
    ("clean.disk_budget", &["'20G'", "'64M'"]),
    ("clean.notify", &["'true'", "\"mail -s 'a b' me\\n\""]),
];

/// A file of some keys with values that they accept.
fn files() -> impl Strategy<Value = String> {
    let picks = proptest::collection::vec(any::<proptest::sample::Index>(), ACCEPTED.len());
    (proptest::sample::subsequence(ACCEPTED.to_vec(), 0..=ACCEPTED.len()), picks).prop_map(|(keys, picks)| {
        let line = |((key, values), pick): (&(&str, &[&str]), &proptest::sample::Index)| {
            format!("{key} = {}\n", pick.get(values))
        };
        keys.iter().zip(&picks).map(line).collect()
    })
}

/// A line that names a key, or nearly, and gives it anything.
fn lines() -> impl Strategy<Value = String> {
    let keys: Vec<&str> =
        ACCEPTED.iter().map(|(key, _)| *key).chain(["agent", "merge", "worktree.branch", "a.b"]).collect();
    let values: Vec<&str> = ACCEPTED.iter().flat_map(|(_, values)| values.iter().copied()).collect();
    let value = prop_oneof![
        proptest::sample::select(values).prop_map(str::to_owned),
        "-?[0-9]{1,25}|0x[0-9a-f]{1,20}|true|1.5|1979-05-27|\\{ x = 1 \\}|'\\PC{0,8}'",
        "\\PC{0,8}",
    ];
    (proptest::sample::select(keys), value).prop_map(|(key, value)| format!("{key} = {value}"))
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*|[\\x00-\\x7f]*", value in "\\PC*", name in "[A-Za-z_.\u{e9}]{0,20}") {
        let variable = format!("TREEHAND_{name}");
        let _ = resolve(&sources(&text, "", &[], &[]));
        let _ = resolve(&sources("", &text, &[], &[]));
        let _ = resolve(&sources("", "", &[(&variable, &value)], &[]));
        let _ = resolve(&sources("", "", &[], &[&text, &format!("{name}={value}")]));
    }

    #[test]
    fn no_value_of_any_key_panics(value in "\\PC{0,40}|[\\x00-\\x7f{}~/.]{0,12}", line in lines()) {
        for (key, _) in ACCEPTED {
            let _ = resolve(&sources("", "", &[], &[&format!("{key}={value}")]));
        }
        let _ = resolve(&sources(&line, "", &[], &[]));
        let _ = resolve(&sources("", &line, &[], &[]));
    }

    #[test]
    fn no_project_file_loosens_anything(user in files(), project in files()) {
        let mut with = resolved(&user, &project, &[], &[]).settings;
        let without = resolved(&user, "", &[], &[]).settings;
        let level = (without.confine.level, with.confine.level);
        prop_assert!(level.0 == level.1 || matches!(level, (_, ConfineLevel::Strict) | (ConfineLevel::Off, ConfineLevel::Landlock)));
        prop_assert!(without.worktree.stale == StalePolicy::Warn || with.worktree.stale == StalePolicy::Block);
        prop_assert!(with.supervise.jobs.on(4) <= without.supervise.jobs.on(4));
        prop_assert!(without.clean.protect.iter().all(|pattern| with.clean.protect.contains(pattern)));
        with.confine.level = without.confine.level;
        prop_assert!(with.confine.network == without.confine.network || with.confine.network == Network::None);
        with.confine.network = without.confine.network.clone();
        with.worktree.stale = without.worktree.stale;
        with.worktree.base = without.worktree.base.clone();
        with.worktree.ports = without.worktree.ports;
        with.supervise.jobs = without.supervise.jobs;
        with.merge = without.merge.clone();
        with.clean.protect = without.clean.protect.clone();
        prop_assert!(with.worktree.copy.starts_with(&without.worktree.copy));
        with.worktree.copy = without.worktree.copy.clone();
        prop_assert!(with.worktree.setup.starts_with(&without.worktree.setup));
        let added = &with.worktree.setup[without.worktree.setup.len()..];
        prop_assert!(added.iter().all(|step| step.env.is_empty() && !matches!(step.net, Some(Network::Full))));
        with.worktree.setup = without.worktree.setup.clone();
        prop_assert_eq!(with, without, "everything else is the user's alone");
    }

    #[test]
    fn what_is_shown_reads_back(file in files()) {
        let first = resolved(&file, "", &[], &[]);
        let with_value = first.origins.iter().filter(|shown| !shown.value.is_empty());
        let text: Vec<String> = with_value.map(|shown| format!("{} = {}", shown.key, shown.value)).collect();
        prop_assert_eq!(resolved(&text.join("\n"), "", &[], &[]).settings, first.settings);
    }
}
