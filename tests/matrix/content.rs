//! Rows about what is in a repository: files that git converts, repositories in it, and history that is not what it seems.

use crate::drive::Row;

/// The plain repository with these lines in `.gitattributes` and this set up before the first commit.
fn with_attributes(attributes: &str, setup: &str) -> Row {
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

/// A filter as `git lfs` is one: pointers in the repository, content beside it, over git's protocol for single files.
const FAKE_LFS: &str = r#"cat > ../lfs <<'SH'
#!/bin/sh
store=${0%/*}/lfs-store; mkdir -p "$store"
case $1 in
clean) cat > "$store/tmp.$$"; oid=$(sha256sum < "$store/tmp.$$" | cut -d' ' -f1); mv "$store/tmp.$$" "$store/$oid"
  printf 'version fake\noid sha256:%s\n' "$oid";;
smudge) oid=$(sed -n 's/^oid sha256://p'); cat "$store/$oid";;
esac
SH
chmod +x ../lfs; git config filter.lfs.clean "$PWD/../lfs clean %f"; git config filter.lfs.smudge "$PWD/../lfs smudge %f"
git config filter.lfs.required true; echo big > big.bin"#;

#[test]
fn lfs() {
    let row = with_attributes("*.bin filter=lfs diff=lfs merge=lfs -text\\n", FAKE_LFS)
        .changing("test \"$(cat big.bin)\" = big; echo bigger > big.bin; echo more > more.bin");
    row.drive();
    let before = row.look();
    row.land(&before);
    assert!(row.git(&["show", "main:more.bin"]).starts_with("version fake"), "the repository has pointers");
    assert_eq!(
        std::fs::read_to_string(row.repo.join("more.bin")).expect("landed"),
        "more\n",
        "the worktree has content"
    );
    row.undo(&before);
}

#[test]
fn lfs_absent() {
    let row = with_attributes("*.bin filter=lfs diff=lfs merge=lfs -text\\n", FAKE_LFS);
    // Older than the index, the files are not asked about again: the person sees nothing wrong until something is checked out.
    row.sh("cd repo; find . -name .git -prune -o -type f -exec touch -d '1 hour ago' '{}' +; git update-index -q --refresh || true");
    row.sh("cd repo; git config filter.lfs.clean 'git-lfs-is-not-here clean %f'; git config filter.lfs.smudge 'git-lfs-is-not-here smudge %f'");
    row.refused(&["new", "w"], 1, "git_failed", "smudge filter lfs failed");
    row.does_not_land(1, "failed", "smudge filter lfs failed");
}

#[test]
fn lfs_not_required() {
    let row = with_attributes("*.bin filter=lfs\\n", ":");
    row.sh("cd repo; printf 'version fake\\n' > big.bin; git add big.bin; git commit -qm big; git config filter.lfs.smudge git-lfs-is-not-here; git config filter.lfs.clean git-lfs-is-not-here");
    row.sh("cd repo; mess; git reset -q; git add staged.txt");
    row.drive();
}

/// A repository with a library as a submodule, initialised, and a nested one in that.
const SUBMODULE: &str = "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always; \
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
fn submodule_moved_by_a_task() {
    let row = Row::make(SUBMODULE);
    row.sh("cd lib; echo next > next.txt; git add -A; git commit -qm next");
    let next = row.sh("git -C lib rev-parse HEAD").trim().to_owned();
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
    row.sh("cd repo/lib; echo next > next.txt; git add -A; git commit -qm next; cd ..; git add lib; git commit -qm 'lib moves' -- lib");
    let mut row = row;
    let base = row.git(&["rev-parse", "main~1"]);
    row.run_flags = ["--base", &base, "--into", "main"].map(str::to_owned).into();
    row.drive();
}

#[test]
fn submodule_added_by_a_task() {
    let row = Row::make("git init -q lib; (cd lib; seed); git init -q repo; cd repo; seed; mess");
    let script = "git -c protocol.file.allow=always submodule --quiet add ../../../lib lib";
    let row = row.changing(script);
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
