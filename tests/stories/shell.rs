//! Stories of the shell: `cd` goes there, everything else passes through, the key completes names; in the real shells.
//!
//! bash always; zsh and fish where they are installed (`TREEHAND_REQUIRE=zsh,fish` makes that a must).

use crate::support;

use std::time::Instant;

use support::{Answer, World};

const BASH: &[&str] = &["bash", "--norc", "--noprofile"];
const ZSH: &[&str] = &["zsh", "-f"];
const FISH: &[&str] = &["fish", "--no-config"];
const EVAL: &str = "set -eu\neval \"$(treehand shell-init SHELL)\"\n";

/// Runs a script after `shell-init` in bash and zsh, which share it.
fn each_posix(world: &World, script: &str, check: impl Fn(Answer)) {
    for shell in [BASH, ZSH] {
        let script = format!("{}{script}", EVAL.replace("SHELL", shell[0]));
        if let Some(answer) = world.in_shell(shell, &script) {
            check(answer);
        }
    }
}

fn in_fish(world: &World, script: &str) -> Option<Answer> {
    world.in_shell(FISH, &format!("treehand shell-init fish | source\n{script}"))
}

fn workspace(world: &World, name: &str) -> String {
    let made = world.treehand(&["new", name, "--json"]).expect(0).json();
    made["path"].as_str().expect("a path").to_owned()
}

#[test]
fn cd_goes_to_the_workspace_to_the_main_worktree_and_back() {
    let world = World::new();
    let path = workspace(&world, "feature/x");
    let repo = world.repo().canonicalize().expect("a path").display().to_string();
    let expected = format!("{path}\n{path}\n{repo}\n{path}\n");
    let script = "treehand cd feature; pwd; cd ..; cd repo; treehand cd @; pwd; treehand cd ^; pwd; treehand cd - >/dev/null; pwd";
    let check = |answer: Answer| assert_eq!(answer.expect(0).stdout, expected);
    each_posix(&world, script, check);
    if let Some(answer) = in_fish(&world, script) {
        check(answer);
    }
}

#[test]
fn a_path_with_blanks_quotes_and_dollars_is_gone_to_as_it_is() {
    let world = World::new();
    let odd = world.path().join("it's \"a\"\t$HOME * repo");
    std::fs::create_dir(&odd).expect("a directory");
    world.git_in(&odd, &["init", "-q"]);
    world.git_in(&odd, &["commit", "-q", "--allow-empty", "-m", "first"]);
    let made = world.command(&["new", "w", "--json"]).current_dir(&odd).output().expect("started");
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("a document");
    let path = made["path"].as_str().expect("a path").to_owned();
    let script = "cd ../it*repo\ntreehand cd w\npwd\ncd /\ntreehand -q -C \"$OLDPWD\" --color never cd w\npwd";
    each_posix(&world, script, |answer| assert_eq!(answer.expect(0).stdout, format!("{path}\n{path}\n")));
    if let Some(answer) =
        in_fish(&world, "cd ../it*repo\ntreehand cd w\npwd\ntreehand -q -C (pwd) --color never cd ^\npwd")
    {
        assert_eq!(answer.expect(0).stdout, format!("{path}\n{}\n", odd.canonicalize().expect("a path").display()));
    }
}

#[test]
fn everything_else_passes_through_with_its_exit_code_and_streams() {
    let world = World::new();
    workspace(&world, "cd");
    let script = "treehand path nothing && echo yes || echo \"no $?\"; treehand cd nothing || echo \"none $?\"; pwd
        echo 'one two' | treehand exec --confine off cd -- cat
        treehand path cd >/dev/null && treehand cd --help | head -n 1 && treehand cd cd --json | head -c 7";
    let repo = world.repo().canonicalize().expect("a path").display().to_string();
    let expected =
        format!("no 3\nnone 3\n{repo}\none two\nGo to a workspace (needs `treehand shell-init`)\n{{\"name\"");
    each_posix(&world, &script.replace("\"no $?\"", "no $?"), |answer| {
        assert_eq!(answer.expect(0).stdout, expected);
    });
    let fish = script.replace("$?", "$status");
    if let Some(answer) = in_fish(&world, &fish) {
        assert_eq!(answer.expect(0).stdout, expected);
    }
}

#[test]
fn a_failing_command_ends_a_script_as_the_program_itself_would() {
    let world = World::new();
    each_posix(&world, "treehand path nothing\necho survived", |answer| assert_eq!(answer.expect(3).stdout, ""));
    each_posix(&world, "treehand cd nothing\necho survived", |answer| assert_eq!(answer.expect(3).stdout, ""));
}

#[test]
fn an_alias_of_the_same_name_is_no_obstacle() {
    let world = World::new();
    let path = workspace(&world, "w");
    for (shell, option) in [(BASH, "shopt -s expand_aliases"), (ZSH, "setopt aliases")] {
        let script = format!(
            "{option}\nalias treehand='nice treehand'\neval \"$(command treehand shell-init {0})\"\n\
             eval \"$(command treehand shell-init {0})\"\n\\treehand cd w\npwd",
            shell[0]
        );
        if let Some(answer) = world.in_shell(shell, &script) {
            assert_eq!(answer.expect(0).stdout, format!("{path}\n"));
        }
    }
}

#[test]
fn cd_without_the_shells_help_explains_itself() {
    let world = World::bare_of_repositories();
    let home = world.path().join("home");
    let output = world.command(&["cd", "x", "--json"]).current_dir(&home).output().expect("started");
    assert_eq!(output.status.code(), Some(2));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert!(document["hint"].as_str().is_some_and(|hint| hint.contains("treehand shell-init bash")), "{document}");
}

/// What bash would put in the place of the word at the end of a line.
fn bash_offers(world: &World, line: &str, replaced: &str) -> Vec<String> {
    let script = format!(
        "set -eu\neval \"$(treehand completions bash)\"\ncompopt() {{ local IFS=' '; printf '<%s>\\n' \"$*\"; }}\n\
         COMP_LINE={line}\nCOMP_POINT=${{#COMP_LINE}}\n_treehand treehand {replaced} x\n\
         [ ${{#COMPREPLY[@]}} -eq 0 ] || printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        line = quote(line),
        replaced = quote(replaced)
    );
    let answer = world.in_shell(BASH, &script).expect("bash is there").expect(0);
    assert_eq!(answer.stderr, "");
    answer.stdout.lines().map(str::to_owned).collect()
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[test]
fn the_key_completes_what_fits_where_the_cursor_stands() {
    let world = World::new();
    for name in ["feature/x", "feature/y", "a@b", "$(touch${IFS}pwned)"] {
        workspace(&world, name);
    }
    let run = world.run_tasks("[[task]]\nid = 'lexer'\ncommand = ['true']\n", &[]).expect(0).json();
    let run = run["run"].as_str().expect("a run").to_owned();
    let check = |line: &str, replaced: &str, expected: &[&str]| {
        assert_eq!(bash_offers(&world, line, replaced), expected, "{line}");
    };
    check("treehand cd fe", "fe", &["feature/x", "feature/y"]);
    check("treehand rm feature/x fe", "fe", &["feature/y"]);
    check("treehand path a@", "", &["b"]);
    check("treehand path $", "$", &["\\$\\(touch\\$\\{IFS\\}pwned\\)"]);
    check("treehand path \\$", "\\$", &["\\$\\(touch\\$\\{IFS\\}pwned\\)"]);
    check("treehand path '$", "$", &["$(touch${IFS}pwned)"]);
    check("treehand new z --base=fe", "fe", &["feature/x", "feature/y"]);
    check("treehand new z --stale b", "b", &["block"]);
    check("treehand --color=a", "a", &["auto", "always"]);
    check("treehand clean --only trash,lo", "trash,lo", &["trash,locks"]);
    check("treehand --set worktree.sta", "worktree.sta", &["<-o nospace>", "worktree.stale="]);
    check("treehand shell-i", "shell-i", &["shell-init"]);
    check("treehand exec feature/x ", "", &["--"]);
    check("treehand exec feature/x -- l", "l", &["<-o bashdefault -o default>"]);
    check("treehand -C ", "", &["<-o dirnames>"]);
    check("treehand run --tasks ", "", &["<-o bashdefault -o default>"]);
    check("treehand __", "__", &[]);
    let short = &run[..run.len() - 1];
    check(&format!("treehand show {short}"), short, &[&run, &format!("{run}/lexer")]);
    check(&format!("treehand logs {run}/l"), &format!("{run}/l"), &[&format!("{run}/lexer")]);
    check(&format!("treehand wait {short}"), short, &[]);
    world.shell("mkfifo ../gate").expect(0);
    let gate = world.path().join("gate").display().to_string();
    let open = world.treehand(&["run", "--json", "--detach", "--confine", "off", "--", "cat", &gate]).expect(0).json();
    let open = open["run"].as_str().expect("a run").to_owned();
    for verb in ["wait", "cancel"] {
        check(&format!("treehand {verb} {open}"), &open, &[&open]);
    }
    world.treehand(&["cancel", &open]).expect(0);
    check(&format!("treehand cancel {open}"), &open, &[]);
}

#[test]
fn the_key_never_says_an_error_and_is_quick() {
    let world = World::new();
    workspace(&world, "feature");
    let ask = |directory: &str| {
        let mut command = world.command(&["__complete", "zsh", "--", "fe", "-C", directory, "path"]);
        let begun = Instant::now();
        let output = command.output().expect("started");
        (output, begun.elapsed())
    };
    let (answer, _) = ask(".");
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "words\nfeature\ton feature\n");
    // On a machine that is busy with something else one of many has to be quick.
    assert!((0..200).any(|_| ask(".").1.as_millis() < 50), "no answer came within 50 ms");
    let store = world.repo().join(".git/treehand/state.db");
    std::fs::write(&store, "no database at all, but long enough to be looked at as one").expect("written");
    for directory in [".", "/", "/nowhere"] {
        let (answer, _) = ask(directory);
        assert_eq!((answer.status.code(), &*answer.stdout, &*answer.stderr), (Some(0), &b"words\n"[..], &b""[..]));
    }
    let other = world.path().join("other");
    std::fs::create_dir(&other).expect("a directory");
    world.git_in(&other, &["init", "-q"]);
    ask(&other.to_string_lossy());
    assert!(!other.join(".git/treehand").exists(), "pressing the key made a store");
}

#[test]
fn zsh_and_fish_complete_names_too() {
    let world = World::new();
    for name in ["feature/x", "feature/$y"] {
        workspace(&world, name);
    }
    let zsh = "set -eu\neval \"$(treehand completions zsh)\"\n\
        compadd() { while [[ $1 != -- ]]; do shift; done; print -rl -- \"${(@P)2}\" \"${shown[@]}\" }\n\
        words=(treehand -C '\".\"' cd fe) CURRENT=5 PREFIX=fe\n_treehand";
    if let Some(answer) = world.in_shell(ZSH, zsh) {
        let answer = answer.expect(0);
        let expected = "feature/$y\nfeature/x\nfeature/$y  -- on feature/$y\nfeature/x  -- on feature/x\n";
        assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), (expected, ""));
    }
    let fish = "treehand completions fish | source\ncomplete -C 'treehand -C \".\" cd fe'; complete -C 'treehand cd \"feature/x'";
    if let Some(answer) = world.in_shell(FISH, fish) {
        let answer = answer.expect(0);
        let expected = "feature/$y\ton feature/$y\nfeature/x\ton feature/x\nfeature/x\ton feature/x\n";
        assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), (expected, ""));
    }
}

#[test]
fn the_scripts_parse() {
    let world = World::new();
    for (shell, check) in [(BASH, "bash -n"), (ZSH, "zsh -n"), (FISH, "fish --no-execute")] {
        for verb in ["shell-init", "completions"] {
            let script = format!("treehand {verb} {} > ../script; {check} ../script", shell[0]);
            if let Some(answer) = world.in_shell(shell, &script) {
                let answer = answer.expect(0);
                assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("", ""), "{shell:?} {verb}");
            }
        }
    }
}
