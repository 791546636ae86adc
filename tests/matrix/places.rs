//! Rows about where the repository is, where its parts are, and where one stands in it.

use crate::drive::Row;

/// A plain repository with the person's own work in it.
pub const PLAIN: &str = "git init -q repo; cd repo; seed; mess";

#[test]
fn plain() {
    Row::make(PLAIN).drive();
}

#[test]
fn subdirectory() {
    Row::make(PLAIN).from("repo/sub/dir").drive();
}

#[test]
fn linked_worktree() {
    let script = "git init -q repo; cd repo; seed; git worktree add -q -b side ../side; cd ../side; mess";
    Row::make(script).from("side").onto("side").drive();
}

#[test]
fn linked_worktree_onto_the_main_one() {
    let row = Row::make("git init -q repo; cd repo; seed; mess; git worktree add -q -b side ../side; cd ../side; mess");
    let mut row = row.from("side/sub");
    row.run_flags = ["--base", "main"].map(str::to_owned).into();
    row.drive();
}

#[test]
fn bare_with_worktrees() {
    let script = "git init -q seed; (cd seed; seed); git clone -q --bare seed repo.git; cd repo.git; \
        git worktree add -q ../main main; git worktree add -q -b side ../side; cd ../main; mess; cd ../side; mess";
    Row::make(script).from("main").with_repo("main").drive();
}

#[test]
fn bare_without_worktree() {
    let script = "git init -q seed; (cd seed; seed); git clone -q --bare seed repo.git";
    Row::make(script).from("repo.git").with_repo("repo.git").drive();
}

#[test]
fn separate_git_dir() {
    let row = Row::make("mkdir store; git init -q --separate-git-dir store/here.git repo; cd repo; seed; mess");
    row.drive();
    row.drive_graph();
}

#[test]
fn through_a_symlink() {
    Row::make(&format!("{PLAIN}; ln -s repo ../link")).from("link/sub").drive();
}

#[test]
fn git_dir_is_a_symlink() {
    let row = Row::make(
        "git init -q repo; mkdir store; mv repo/.git store/here; ln -s ../store/here repo/.git; cd repo; seed; mess",
    );
    row.drive();
}

#[test]
fn called_from_a_hook() {
    let mut row = Row::make(&format!("{PLAIN}; git init -q ../other"));
    let other = row.world.path().join("other");
    let set = |name: &str, path: &str| (name.to_owned(), other.join(path).to_string_lossy().into_owned());
    row.env = [
        set("GIT_DIR", ".git"),
        set("GIT_INDEX_FILE", ".git/index"),
        set("GIT_WORK_TREE", ""),
        set("GIT_PREFIX", "x/"),
    ]
    .into();
    row.drive();
    assert_eq!(
        row.sh("cd other; git count-objects; ls -A | wc -l"),
        "0 objects, 0 kilobytes\n1\n",
        "nothing went elsewhere"
    );
}

#[test]
fn inside_a_submodule() {
    let script = "git init -q lib; (cd lib; seed); git init -q repo; cd repo; seed; \
        git -c protocol.file.allow=always submodule --quiet add ../lib lib; git commit -qm lib; mess; cd lib; mess";
    Row::make(script).from("repo/lib/sub").with_repo("repo/lib").drive();
}

#[test]
fn inside_another_repository() {
    let script = "git init -q outer; cd outer; seed; git init -q inner; cd inner; seed; mess";
    Row::make(script).from("outer/inner").with_repo("outer/inner").drive();
}

#[test]
fn core_worktree() {
    let script = "git init -q store; mkdir repo; cd store; git config core.worktree ../../repo; cd ../repo; \
        export GIT_DIR=../store/.git; seed; mess";
    Row::make(script).from("store/.git").with_repo("store/.git").drive();
}

#[test]
fn workspaces_behind_a_symlink() {
    let mut row = Row::make(&format!("{PLAIN}; cd ..; mkdir disk.trees; ln -s disk.trees shortcut"));
    row.env.push(("TREEHAND_WORKTREE__PATH".into(), "../shortcut/{workspace}/{repo}".into()));
    row.drive();
    row.drive_graph();
    row.treehand(&["new", "w"]).expect(0);
    row.treehand(&["new", "s", "--sealed"]).expect(0);
    let listed = row.treehand(&["ls", "--json"]).expect(0).json();
    for workspace in listed["workspaces"].as_array().expect("a list") {
        assert_eq!((&workspace["present"], &workspace["error"]), (&true.into(), &().into()), "{workspace}");
    }
    for name in ["w", "s"] {
        let path = row.treehand(&["path", name]).expect(0).stdout;
        assert!(path.contains("/disk.trees/"), "{path}");
        row.treehand(&["diff", name]).expect(0);
        let inside = row.world.path().join("shortcut").join(name).join("repo");
        assert_eq!(row.world.treehand_at(&inside, &["path", "@"]).expect(0).stdout, path);
        row.treehand(&["rm", name]).expect(0);
    }
}

#[test]
fn worktree_config() {
    let script = "git init -q repo; cd repo; git config extensions.worktreeConfig true; git config --worktree core.abbrev 11; \
        seed; mess; git worktree add -q -b side ../side; git -C ../side config --worktree core.abbrev 12";
    Row::make(script).drive();
}

/// Worktrees with settings of their own for everything that counts: who commits, line endings, which files there are.
const OWN_SETTINGS: &str = "git config extensions.worktreeConfig true; git config --worktree user.name Main; \
    git worktree add -q -b side ../side; cd ../side; git config --worktree user.name Side; \
    git config --worktree core.autocrlf true; git sparse-checkout set --no-cone '/*' '!/sub/'; \
    git rm -q --cached -r .; git reset -q --hard; mess";

fn settings_of_where_one_stands_count(row: Row) {
    row.drive();
    let before = row.look();
    row.land_and_look(|| {
        assert_eq!(row.git(&["log", "-1", "--format=%an %cn", "side"]), "Side Side");
        assert_eq!(std::fs::read(row.world.path().join("side/landed.txt")).expect("there"), b"landed\r\n");
    });
    let workspace = row.make_workspace(&before);
    assert_eq!(row.git_in(&workspace, &["config", "user.name"]), "Side");
    assert!(!workspace.join("sub").exists(), "it is as sparse as where one stands");
    row.treehand(&["new", "s", "--sealed"]).expect(0);
    let commit = "echo x > x; git add x; git commit -qm x; git log -1 --format=%an";
    let by = row.treehand(&["exec", "s", "--confine", row.level, "--", "sh", "-ec", commit]).expect(0).stdout;
    assert_eq!(by.trim(), "Side");
}

#[test]
fn worktree_config_of_a_linked_worktree() {
    let script = format!("git init -q repo; cd repo; seed; {OWN_SETTINGS}");
    settings_of_where_one_stands_count(Row::make(&script).from("side").with_repo("side").onto("side"));
}

#[test]
fn worktree_config_beside_a_bare_repository() {
    let script = format!(
        "git init -q seed; (cd seed; seed); git clone -q --bare seed repo.git; cd repo.git; \
         git config extensions.worktreeConfig true; git config --unset core.bare; \
         git config --worktree core.bare true; {OWN_SETTINGS}"
    );
    settings_of_where_one_stands_count(Row::make(&script).from("side").with_repo("side").onto("side"));
}

/// A repository at a path with this name in it.
fn named(name: &str) -> Row {
    let row = Row::make("");
    let quoted = name.replace('\'', r"'\''");
    row.sh(&format!("mkdir -p '{quoted}'; cd '{quoted}'; git init -q 're po'; cd 're po'; seed; mess"));
    let start = format!("{name}/re po");
    row.from(&start).with_repo(&start)
}

#[test]
fn path_with_spaces() {
    named(" a  b ").drive();
}

#[test]
fn path_with_unicode() {
    named("čaj-茶-e\u{301}-🌲").drive();
}

#[test]
fn path_with_quotes() {
    named(r#"it's "quoted" $HOME `id` %s {repo} *?[x] #;&|<>"#).drive();
}

#[test]
fn path_with_backslash() {
    named(r"back\slash\n\").drive();
}

#[test]
fn path_with_newline() {
    let row = named("new\nline");
    row.drive();
}
