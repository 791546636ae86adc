//! Rows about what is in a repository: files that git converts, repositories in it, and history that is not what it seems.

use crate::drive::Row;
use crate::sight::assert_same;

/// The plain repository with these lines in `.gitattributes` and this set up before the first commit.
pub fn with_attributes(attributes: &str, setup: &str) -> Row {
    let again = "git ls-files -z | xargs -0 rm; git checkout -q -f .";
    Row::make(&format!(
        "git init -q repo; cd repo; {setup}; printf '{attributes}' > .gitattributes; seed; {again}; mess"
    ))
}

#[test]
fn autocrlf() {
    let setup = "git config core.autocrlf true; printf 'dos\\r\\ndos\\r\\n' > dos.txt; printf '\\0\\r\\n' > bin.dat";
    let row =
        with_attributes("", setup).changing("cat a.txt; printf 'four\\r\\n' >> a.txt; printf 'new\\r\\n' > landed.txt");
    row.drive();
    let before = row.look();
    row.land(&before);
    assert_eq!(row.git(&["show", "main:landed.txt"]), "new", "the repository has line feeds alone");
    let here = std::fs::read(row.repo.join("landed.txt")).expect("landed");
    assert_eq!(here, b"new\r\n", "the worktree has what autocrlf says");
    row.undo(&before);
}

#[test]
fn attribute_eol() {
    with_attributes("*.txt text eol=crlf\\n*.dat -text\\n", "printf 'x\\r\\n' > x.dat").drive();
}

#[test]
fn working_tree_encoding() {
    let setup = "printf 'wide\\n' | iconv -f UTF-8 -t UTF-16 > wide.utf16";
    let row = with_attributes("*.utf16 text working-tree-encoding=UTF-16\\n", setup)
        .changing("printf 'more\\n' | iconv -f UTF-8 -t UTF-16 > landed.utf16; printf 'wide, changed\\n' | iconv -f UTF-8 -t UTF-16 > wide.utf16");
    let before = row.look();
    row.land(&before);
    assert_eq!(row.git(&["show", "main:landed.utf16"]), "more", "the repository has UTF-8");
    row.undo(&before);
    row.drive();
}

#[test]
fn ident() {
    let row = with_attributes("*.id ident\\n", "echo '$Id$ one' > one.id")
        .changing("echo more >> one.id; echo '$Id$' > two.id");
    row.drive();
}

/// A repository with a library as a submodule, initialised, and a nested one in that.
pub const SUBMODULE: &str = "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always; \
    git init -q inner; (cd inner; seed); git init -q lib; (cd lib; seed; git submodule --quiet add ../inner inner; git commit -qm inner); \
    git init -q repo; cd repo; seed; git submodule --quiet add ../lib lib; git submodule --quiet update --init --recursive; git commit -qm lib; mess";

#[test]
fn submodule() {
    Row::make(SUBMODULE).drive();
}

#[test]
fn submodule_dirty() {
    let row = Row::make(SUBMODULE);
    row.sh("cd repo/lib; mess; cd inner; mess");
    row.drive();
}

#[test]
fn submodule_in_a_workspace() {
    let row = Row::make(SUBMODULE);
    let before = row.look();
    let workspace = row.make_workspace(&before);
    let place = workspace.display();
    row.sh(&format!(
        "cd '{place}'; git -c protocol.file.allow=always submodule --quiet update --init --recursive; cd lib; mess"
    ));
    row.treehand(&["rm", "w", "--json"]).expect(4);
    let dirty = row.sh(&format!("cd '{place}'; git status --porcelain; git -C lib status --porcelain"));
    row.treehand(&["rm", "w", "--force", "--json"]).expect(0);
    assert!(!workspace.exists());
    assert_same(&row.look(), &before, "the submodule of the main worktree is its own");
    row.treehand(&["undo"]).expect(0);
    assert_eq!(
        row.sh(&format!("cd '{place}'; git status --porcelain; git -C lib status --porcelain")),
        dirty,
        "it is back"
    );
    row.sh(&format!("cd '{place}/lib'; git reset -q --hard; git clean -fdxq"));
    row.treehand(&["rm", "w"]).expect(0);
    row.clean(&before);
}

#[test]
fn submodule_of_a_remote_that_is_away() {
    let row = Row::make(&format!("{SUBMODULE}; git -C lib branch mine; cd ..; mv lib lib.away; mv inner inner.away"));
    row.sh("mkdir repo/.git/modules/lib/lfs");
    let before = row.look();
    let made = row.treehand(&["new", "w", "--json"]).expect(0).json();
    let brought = serde_json::json!([{"path": "lib", "missing": null}, {"path": "lib/inner", "missing": null}]);
    assert_eq!(made["submodules"], brought);
    let place = std::path::PathBuf::from(made["path"].as_str().expect("a path"));
    let look = |place: &std::path::Path| {
        let of = |args: &[&str]| row.git_in(&place.join("lib"), args);
        let remote = of(&["config", "--get-regexp", "^(remote|submodule)\\."]);
        let status =
            row.git_in(place, &["submodule", "foreach", "--recursive", "--quiet", "git status -s; git rev-parse HEAD"]);
        (status, remote, of(&["for-each-ref", "refs/remotes"]))
    };
    assert_eq!(look(&place), look(&row.repo), "as in the main worktree");
    assert_eq!(row.git_in(&place.join("lib"), &["for-each-ref", "refs/heads"]), "", "on no branch");
    assert_eq!(
        row.git_in(&place.join("lib"), &["config", "lfs.storage"]),
        row.sh("echo $PWD/repo/.git/modules/lib/lfs").trim()
    );
    let pack = |git_dir: &str| row.sh(&format!("cd {git_dir}; find objects -type f -links +1 | wc -l"));
    assert_ne!(pack("repo/.git/worktrees/repo/modules/lib").trim(), "0", "files are shared");
    row.treehand(&["rm", "w"]).expect(0);
    row.treehand(&["undo"]).expect(0);
    assert_eq!(look(&place), look(&row.repo), "it is back");
    row.treehand(&["rm", "w"]).expect(0);
    row.treehand(&["new", "other"]).expect(0);
    row.treehand(&["undo"]).expect(0);
    assert_eq!(look(&place), look(&row.repo), "it is back, although its name in git was taken");
    row.git_in(&place.join("lib/inner"), &["fsck", "--full", "--strict"]);
    row.sh("git -C repo config submodule.lib.active false");
    assert_eq!(row.treehand(&["new", "third", "--json"]).expect(0).json()["submodules"], serde_json::json!([]));
    row.sh("git -C repo config submodule.lib.active true");
    row.treehand(&["rm", "other", "third"]).expect(0);
    // What is committed there, and in the superproject, is nowhere else.
    row.sh(&format!(
        "cd '{0}/lib'; echo more > more; git add more; git commit -qm more; cd ..; git commit -qam more",
        place.display()
    ));
    row.sh("git -C repo branch -q other w");
    row.refused(&["rm", "w"], 4, "refused", "submodules of `w` have commits that are nowhere else: lib");
    row.sh("git -C repo branch -q -D other");
    row.sh(&format!("cd repo/lib; git fetch -q '{}/lib' HEAD:more", place.display()));
    row.treehand(&["rm", "w", "-D"]).expect(0);
    row.sh("git -C repo/lib branch -q -D more");
    row.treehand(&["new", "w", "--set", "worktree.submodules=never"]).expect(0);
    assert!(!place.join("lib/a.txt").exists(), "as `git worktree add` does");
    row.treehand(&["rm", "w"]).expect(0);
    row.sh("mv repo/.git/modules/lib/modules away");
    let missing = row.treehand(&["new", "w", "--json"]).expect(0).json()["submodules"].clone();
    assert_eq!((&missing[0]["missing"], &missing[1]["missing"]), (&().into(), &"it was never cloned here".into()));
    row.treehand(&["rm", "w"]).expect(0);
    row.sh("mv away repo/.git/modules/lib/modules");
    row.clean(&before);
}

#[test]
fn submodule_with_its_own_git_dir() {
    let row = Row::make(
        "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always; \
         git init -q lib; (cd lib; seed); git init -q repo; cd repo; seed; git clone -q ../lib 'my lib'; \
         git submodule --quiet add --name of/mine ../lib 'my lib' 2>/dev/null; git commit -qm lib; test -d 'my lib/.git'; mess",
    );
    row.drive();
    row.sh("mv lib away");
    let made = row.treehand(&["new", "w", "--json"]).expect(0).json();
    assert_eq!(made["submodules"], serde_json::json!([{"path": "my lib", "missing": null}]));
    row.treehand(&["rm", "w"]).expect(0);
}

#[test]
fn submodule_of_a_bare_repository() {
    let row = Row::make(&format!(
        "{SUBMODULE}; cd ..; git clone -q --bare repo bare.git; git -C bare.git worktree add -q ../first main; \
         git -C bare.git remote set-url origin \"$PWD/repo\"; cd first; git submodule --quiet update --init --recursive; cd ..; \
         mv lib away; mv inner gone"
    ));
    let row = row.from("first").with_repo("bare.git");
    let made = row.treehand(&["new", "w", "--json", "--offline"]).expect(0).json();
    let brought = serde_json::json!([{"path": "lib", "missing": null}, {"path": "lib/inner", "missing": null}]);
    assert_eq!(made["submodules"], brought);
    row.treehand(&["rm", "w"]).expect(0);
}

#[test]
fn submodule_that_cannot_be_checked_out() {
    let row = Row::make(&SUBMODULE.replace(
        "git commit -qm inner",
        "echo '*.bad filter=bad' > .gitattributes; echo x > x.bad; git add -A; git commit -qm inner",
    ));
    row.sh("git config --global filter.bad.clean cat; git config --global filter.bad.smudge false; git config --global filter.bad.required true");
    let before = row.look();
    let made = row.treehand(&["new", "w", "--json"]).expect(0);
    assert!(made.stderr.contains("git submodule update --init --recursive"), "{}", made.stderr);
    let made = made.json();
    let why = made["submodules"][0]["missing"].as_str().expect("a reason");
    assert!(why.contains("smudge filter bad failed"), "{why}");
    let place = std::path::PathBuf::from(made["path"].as_str().expect("a path"));
    assert_eq!(std::fs::read_dir(place.join("lib")).expect("a directory").count(), 0);
    assert_eq!(row.git_in(&place, &["status", "--porcelain"]), "", "as `git worktree add` leaves it");
    row.remove(&before, &place);
    row.clean(&before);
}

#[test]
fn submodule_shallow() {
    let row = Row::make(
        "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always; \
         git init -q lib; cd lib; seed; echo b > b; git add b; git commit -qm b; cd ..; git init -q repo; cd repo; seed; \
         git submodule --quiet add --depth 1 \"file://$PWD/../lib\" lib; git commit -qm lib; cd lib; git checkout -q --detach; \
         git branch -q -D main; git for-each-ref --format='delete %(refname)' refs/remotes/ | git update-ref --no-deref --stdin; \
         cd ../..; mv lib away",
    );
    let made = row.treehand(&["new", "w", "--json"]).expect(0).json();
    assert_eq!(made["submodules"], serde_json::json!([{"path": "lib", "missing": null}]));
    let place = std::path::PathBuf::from(made["path"].as_str().expect("a path")).join("lib");
    assert_eq!(row.git_in(&place, &["rev-parse", "--is-shallow-repository"]), "true");
    row.git_in(&place, &["fsck", "--full", "--strict"]);
    row.treehand(&["rm", "w"]).expect(0);
}

#[test]
fn submodule_moved_by_a_task() {
    let row = Row::make(SUBMODULE);
    row.sh("cd lib; echo next > next.txt; git add -A; git commit -qm next");
    let next = row.sh("git -C lib rev-parse HEAD; git -C repo/lib fetch -q origin").trim().to_owned();
    let row = row.changing(&format!(
        "git update-index --cacheinfo 160000,{next},lib; git commit -qm 'lib moves'; echo landed > landed.txt"
    ));
    let before = row.look();
    let workspace = row.make_workspace(&before);
    row.run().expect(0);
    assert_eq!(row.git(&["rev-parse", "main:lib"]), next, "the commit of the submodule landed");
    let status = row.git(&["status", "--porcelain"]);
    assert!(
        status.contains(" M lib"),
        "the submodule's worktree stays where the person has it, as after a merge: {status}"
    );
    row.undo(&before);
    row.remove(&before, &workspace);
    row.clean(&before);
}

#[test]
fn submodule_moved_by_the_target() {
    let row = Row::make(SUBMODULE);
    row.sh("cd repo/lib; echo next > next.txt; git add -A; git commit -qm next; git push -q origin HEAD:refs/heads/next; cd ..; git add lib; git commit -qm 'lib moves' -- lib");
    let mut row = row;
    let base = row.git(&["rev-parse", "main~1"]);
    row.run_flags = ["--base", &base, "--into", "main"].map(str::to_owned).into();
    row.drive();
}

#[test]
fn submodule_added_by_a_task() {
    let row = Row::make("git init -q lib; (cd lib; seed); git init -q repo; cd repo; seed; mess");
    let script = "git -c protocol.file.allow=always submodule --quiet add ../../../lib lib";
    let row = row.changing(script).unconfined();
    row.does_not_land(4, "policy", "a repository inside the repository");
}

#[test]
fn repository_inside() {
    let script = "git init -q repo; cd repo; seed; mess; git init -q mine; cd mine; seed; mess";
    Row::make(script).drive();
}

#[test]
fn subtree_merge() {
    let script = "git init -q lib; (cd lib; seed); git init -q repo; cd repo; seed; git fetch -q ../lib main; \
        git merge -q -s ours --no-commit --allow-unrelated-histories FETCH_HEAD; git read-tree --prefix=vendor/lib/ -u FETCH_HEAD; \
        git commit -qm 'lib as a subtree'; mess";
    Row::make(script).changing("echo landed >> vendor/lib/a.txt; echo landed > landed.txt").drive();
}

#[test]
fn merge_driver() {
    let script = "git init -q repo; cd repo; printf 'log merge=union\nlist merge=mine\n' > .gitattributes; \
        echo first > log; echo first > list; seed; \
        git config merge.mine.driver 'cat %A %B > both; mv both %A'; mess";
    let row = Row::make(script);
    let workspace = row.make_workspace(&row.look());
    let append = |place: &std::path::Path, text: &str| {
        for file in ["log", "list"] {
            let path = place.join(file);
            let old = std::fs::read_to_string(&path).expect("there");
            std::fs::write(&path, format!("{old}{text}\n")).expect("written");
        }
        row.git_in(place, &["commit", "-q", "-m", text, "--", "log", "list"]);
    };
    append(&workspace, "in the workspace");
    append(&row.repo, "on main");
    let version = row.git(&["version"]);
    if ["2.39.", "2.40."].iter().any(|old| version.contains(old)) {
        row.treehand(&["fresh", "w", "--update", "merge"]).expect(5);
        return;
    }
    row.treehand(&["fresh", "w", "--update", "merge"]).expect(0);
    let read = |file: &str| std::fs::read_to_string(workspace.join(file)).expect("there");
    assert_eq!(read("log"), "first\nin the workspace\non main\n");
    assert_eq!(read("list"), "first\nin the workspace\nfirst\non main\n");
}

#[test]
fn replace_refs() {
    let script = "git init -q repo; cd repo; seed; echo 2 > 2; git add 2; git commit -qm second; echo 3 > 3; git add 3; git commit -qm third; \
        git replace --graft HEAD HEAD~2; mess";
    Row::make(script).drive();
}

#[test]
fn grafts() {
    let script = "git init -q repo; cd repo; seed; echo 2 > 2; git add 2; git commit -qm second; echo 3 > 3; git add 3; git commit -qm third; \
        mkdir -p .git/info; echo \"$(git rev-parse HEAD) $(git rev-parse HEAD~2)\" > .git/info/grafts; mess";
    Row::make(script).drive();
}

#[test]
fn strange_names() {
    let names =
        r#"printf x > "$(printf 'new\nline')"; echo x > ' '; echo x > -dash; echo x > 'q"uote'; echo x > 'c:\d'"#;
    let script = format!("git init -q repo; cd repo; {names}; seed; mess");
    Row::make(&script)
        .changing("for f in *; do test -f \"$f\" && test \"$f\" != own.txt && echo more >> \"$f\"; done; true")
        .drive();
}

#[test]
fn submodule_recurse() {
    let row = Row::make(SUBMODULE);
    row.sh("git config --global submodule.recurse true; cd lib; echo next > next.txt; git add -A; git commit -qm next");
    row.drive();
    row.sh("git -C repo/lib fetch -q origin");
    let next = row.sh("git -C lib rev-parse HEAD").trim().to_owned();
    let row = row.changing(&format!("git update-index --cacheinfo 160000,{next},lib; git commit -qm 'lib moves'"));
    let before = row.look();
    row.run().expect(0);
    row.undo(&before);
}
