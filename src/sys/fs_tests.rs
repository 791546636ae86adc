//! Files and directories as they are made, replaced and removed, in temporary directories: also by others at the same time, without
//! rights, and with links in the way.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_planted_link_or_fifo_is_not_read() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let root = dir.path();
    fs::write(root.join("plain"), "x").expect("write");
    std::os::unix::fs::symlink("/etc/passwd", root.join("link")).expect("link");
    std::os::unix::fs::symlink("/etc", root.join("dir")).expect("link");
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("fifo");
    assert_eq!(read_beneath(root, Path::new("plain"), 10).expect("readable"), Some(b"x".to_vec()));
    assert_eq!(read_beneath(root, Path::new("none"), 10).expect("absent"), None);
    for bad in ["link", "dir/passwd", "fifo", "../x", "/etc/passwd"] {
        assert!(read_beneath(root, Path::new(bad), 1 << 20).is_err(), "{bad} was read");
    }
    assert!(read_beneath(root, Path::new("plain"), 0).is_err(), "a file over the limit was read");
    fs::create_dir_all(root.join("real/deep")).expect("dirs");
    std::os::unix::fs::symlink("real", root.join("alias")).expect("link");
    let is_directory = |path| is_directory_beneath(root, Path::new(path)).expect("readable");
    assert!(is_directory("real") && is_directory("real/deep"));
    for none in ["none", "plain", "dir", "alias", "alias/deep", "plain/x", "../x", "/etc"] {
        assert!(!is_directory(none), "{none} is taken for a directory");
    }
}

#[test]
fn a_workspace_could_not_be_made_while_the_last_other_one_was_removed() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let trees = dir.path().join("trees");
    let make_and_remove = &|name: &str| {
        let (tree, away) = (trees.join(name), dir.path().join(name));
        for _ in 0..2_000 {
            create_private_dir_within(&tree).expect("made");
            move_path(&tree, &away).expect("moved");
            drop(fs::remove_dir(&trees));
            move_path_within(&away, &tree).expect("moved back");
            remove_tree(&tree).expect("removed");
            drop(fs::remove_dir(&trees));
        }
    };
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            scope.spawn(move || make_and_remove(name));
        }
    });
}

#[test]
fn links_are_resolved_in_what_is_there() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let root = dir.path().canonicalize().expect("canonical");
    fs::create_dir_all(root.join("disk/in")).expect("dirs");
    std::os::unix::fs::symlink("disk", root.join("link")).expect("link");
    std::os::unix::fs::symlink("nowhere", root.join("away")).expect("link");
    let check = |path: &str, real: &str| assert_eq!(without_links(&root.join(path)), root.join(real));
    check("link/in", "disk/in");
    check("link/new/deep", "disk/new/deep");
    check("new/deep", "new/deep");
    check("away/new", "nowhere/new");
    std::os::unix::fs::symlink("no/where", root.join("far")).expect("link");
    check("far/new", "far/new");
}

#[test]
fn nothing_is_written_through_a_planted_link() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let (root, other) = (dir.path().join("root"), dir.path().join("other"));
    fs::create_dir_all(&root).expect("dirs");
    fs::create_dir_all(&other).expect("dirs");
    fs::write(other.join("file"), "kept").expect("write");
    std::os::unix::fs::symlink(&other, root.join("dir")).expect("link");
    std::os::unix::fs::symlink(other.join("file"), root.join("file")).expect("link");
    let write = |path: &str| write_beneath(&root, Path::new(path), b"new", None);
    write("made/deep/file").expect("written");
    write("file").expect("the link itself is replaced");
    for bad in ["dir/file", "../other/file", ""] {
        assert!(write(bad).is_err(), "{bad:?} was written");
    }
    assert_eq!(fs::read_to_string(root.join("made/deep/file")).expect("there"), "new");
    assert_eq!(fs::read_to_string(other.join("file")).expect("there"), "kept");
}

#[test]
fn remove_tree_stops_at_links_and_copes_with_unwritable_directories() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let (tree, other) = (dir.path().join("tree"), dir.path().join("other"));
    [&tree.join("a/b"), &other].iter().for_each(|place| fs::create_dir_all(place).expect("dirs"));
    [other.join("kept"), tree.join("a/b/file")].iter().for_each(|file| fs::write(file, "x").expect("write"));
    std::os::unix::fs::symlink(&other, tree.join("link")).expect("link");
    fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o500)).expect("chmod");
    remove_tree(&tree).expect("removed");
    assert!(!tree.exists() && other.join("kept").exists());
    remove_tree(&tree).expect("absent is fine");
}

#[test]
fn a_rename_onto_something_leaves_both() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let [one, other, link] = ["one", "other", "link"].map(|name| dir.path().join(name));
    [&one, &other].iter().for_each(|place| fs::create_dir(place).expect("made"));
    std::os::unix::fs::symlink(&one, &link).expect("linked");
    for taken in [&other, &link] {
        let error = rename_onto_nothing(&one, taken).expect_err("it is taken");
        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
    }
    assert!(is_own_directory(&one).expect("looked") && !is_own_directory(&link).expect("looked"));
    fs::remove_dir(&other).expect("removed");
    rename_onto_nothing(&one, &other).expect("renamed");
    assert!(other.is_dir() && !is_own_directory(&one).expect("looked"));
}
