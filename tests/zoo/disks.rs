//! Disks that are not there, and disks that are there twice: what a mount hides or shows is not what was deleted.
//!
//! Real mounts need a user namespace; where this machine gives none, those tests say so loudly.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::pen::{Goes, Kept, Pen, Specimen, Verdict};
use crate::support::{Answer, World};

/// Where the workspaces of these pens are.
const TEMPLATE: &str = "worktree.path=../disk/trees/{workspace}/{repo}";

fn tree(world: &World, name: &str) -> PathBuf {
    world.path().join("disk/trees").join(name).join("repo")
}

fn landed(world: &World, name: &str) {
    std::fs::create_dir_all(world.path().join("disk/trees")).expect("made");
    world.treehand(&["new", name, "--set", TEMPLATE]).expect(0);
    let tree = tree(world, name);
    std::fs::write(tree.join(format!("{name}.txt")), "one\n").expect("written");
    world.git_in(&tree, &["add", "--all"]);
    world.git_in(&tree, &["commit", "-q", "-m", name]);
    world.git(&["merge", "-q", "--no-ff", "-m", &format!("merged {name}"), name]);
}

fn away(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    vec![Kept("workspace", name.into(), "its disk may not be mounted")]
}

fn away_although_clean(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name, "--set", TEMPLATE]).expect(0);
    vec![Kept("workspace", name.into(), "its disk may not be mounted")]
}

const AWAY: &[Specimen] = &[("landed", away), ("no-work", away_although_clean)];

#[test]
fn a_workspace_on_a_disk_that_is_away_is_not_gone() {
    let pen = Pen::fill(World::new(), AWAY);
    let (disk, elsewhere) = (pen.world.path().join("disk"), pen.world.path().join("unplugged"));
    std::fs::rename(&disk, &elsewhere).expect("renamed");
    std::fs::create_dir(&disk).expect("an empty mount point");
    pen.judge(&["--min-age", "0s", "--set", TEMPLATE]);
    std::fs::remove_dir(&disk).expect("removed");
    std::fs::rename(elsewhere, disk).expect("renamed");
    pen.world.treehand(&["ls"]).expect(0);
    assert!(tree(&pen.world, "landed").join("landed.txt").exists());
}

/// Runs a script where mounts are its own; `None` where this machine has no user namespaces.
fn with_mounts(world: &World, script: &str) -> Option<Answer> {
    let unshare = "unshare --user --map-root-user --mount";
    if world.shell(&format!("{unshare} true")).code != 0 {
        let required = std::env::var("TREEHAND_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|name| name == "userns"), "user namespaces are required");
        writeln!(std::io::stderr(), "NOT RUN: mounts, this machine has no user namespaces").expect("stderr is open");
        return None;
    }
    let treehand = env!("CARGO_BIN_EXE_treehand");
    Some(world.shell(&format!("{unshare} sh -ec 'treehand={treehand}; {script}'")))
}

#[test]
fn a_mount_that_was_there_when_the_workspace_was_made_and_is_not_now_is_no_proof() {
    let world = World::new();
    std::fs::create_dir(world.path().join("disk")).expect("a mount point");
    let script = format!(
        "mount -t tmpfs zoo ../disk; mkdir ../disk/trees; $treehand new mounted -q --set \"{TEMPLATE}\"; \
         $treehand clean --json --min-age 0s"
    );
    let Some(there) = with_mounts(&world, &script) else { return };
    let there = there.expect(0);
    assert!(there.stdout.contains("no work yet"), "{}", there.stdout);
    let pen = Pen::of(world, vec![("mounted", Kept("workspace", "mounted".into(), "its disk may not be mounted"))]);
    pen.judge(&["--min-age", "0s"]);
}

fn precious(world: &World) -> PathBuf {
    let place = world.path().join("precious");
    std::fs::create_dir_all(place.join("deep")).expect("made");
    std::fs::write(place.join("deep/file"), "precious\n").expect("written");
    place
}

fn is_precious(place: &Path) -> bool {
    std::fs::read(place.join("deep/file")).is_ok_and(|text| text == b"precious\n")
}

#[test]
fn a_link_out_of_a_workspace_that_goes_is_not_followed() {
    let world = World::new();
    std::fs::write(world.repo().join(".git/info/exclude"), "data\n").expect("written");
    let place = precious(&world);
    landed(&world, "links");
    std::os::unix::fs::symlink(&place, tree(&world, "links").join("data")).expect("linked");
    let verdict = Goes("workspace", "links".into(), "clean, ancestor of `main`");
    let pen = Pen::of(world, vec![("links", verdict)]);
    pen.judge(&["--min-age", "0s", "--set", TEMPLATE]);
    assert!(is_precious(&place));
}

#[test]
fn what_is_mounted_in_a_workspace_that_goes_survives_that_and_the_end_of_the_retention() {
    let world = World::new();
    std::fs::write(world.repo().join(".git/info/exclude"), "data/\n").expect("written");
    landed(&world, "holds");
    std::fs::create_dir(tree(&world, "holds").join("data")).expect("a mount point");
    let place = precious(&world);
    let script = "mount --bind ../precious ../disk/trees/holds/repo/data; \
                  $treehand clean --yes --json --min-age 0s; \
                  $treehand clean --yes --json --min-age 0s --set clean.retention=0s || true";
    let Some(done) = with_mounts(&world, script) else { return };
    assert!(is_precious(&place), "the content of a mount was deleted: {}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("something is mounted in `holds`: "), "{}", done.stdout);
}

const DIRECT: &str = "worktree.path=../disk/{workspace}/{repo}";

#[test]
fn a_mount_point_right_above_the_workspaces_is_no_proof_either() {
    let world = World::new();
    std::fs::create_dir(world.path().join("disk")).expect("a mount point");
    let script = format!("mount -t tmpfs zoo ../disk; $treehand new mounted -q --set \"{DIRECT}\"");
    let Some(there) = with_mounts(&world, &script) else { return };
    there.expect(0);
    let pen = Pen::of(world, vec![("mounted", Kept("workspace", "mounted".into(), "its disk may not be mounted"))]);
    pen.judge(&["--min-age", "0s"]);
}
