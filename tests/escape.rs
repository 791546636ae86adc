//! The escape suite: each attack succeeds with `--confine off`, so it is real, and fails under `strict`.
//!
//! The attacker is this very program, started inside as `attacker_inside`. What it reports is its exit code; what counts is
//! what the world outside looks like afterwards.
#![expect(unsafe_code, reason = "attacks are system calls that no library offers")]
#![expect(clippy::disallowed_methods, reason = "attacks and their victims are started and signalled as they come")]

#[path = "escape/attacks.rs"]
mod attacks;
#[path = "escape/stage.rs"]
mod stage;
mod support;
#[path = "escape/zoo.rs"]
mod zoo;

use stage::Stage;

/// Not a test of its own: what the sandbox starts. Without its variables it has nothing to do.
#[test]
fn attacker_inside() {
    if let (Ok(name), Ok(victims)) = (std::env::var("ATTACK"), std::env::var("VICTIMS")) {
        let victims = serde_json::from_str(&victims).expect("victims");
        let got_out = attacks::run(&name, &victims);
        std::process::exit(if got_out { 42 } else { 43 });
    }
}

/// Under `off` the attack gets out; under `strict` it does not, and nothing outside has changed.
fn check(name: &str) {
    let stage = Stage::new();
    assert_eq!(stage.attack(name, "off"), 42, "{name} is no attack: it fails unconfined, too");
    let stage = Stage::new();
    if support::level() == "strict" {
        assert_eq!(stage.attack(name, "strict"), 43, "{name} gets out of the sandbox");
        stage.assert_unharmed();
    }
}

/// The same for what fails unconfined as well on a machine that is set up with care: only the sandbox is asked.
fn check_strict(name: &str) {
    let stage = Stage::new();
    if support::level() == "strict" {
        assert_eq!(stage.attack(name, "strict"), 43, "{name} gets out of the sandbox");
        stage.assert_unharmed();
    }
}

macro_rules! attacks {
    ($check:ident: $($name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            $check(stringify!($name));
        })+
    };
}

attacks!(check:
    read_a_secret,
    write_into_the_home,
    list_the_home,
    read_the_repository_configuration,
    plant_a_hook,
    move_a_branch,
    write_into_the_main_worktree,
    remove_a_pack,
    chmod_a_key,
    follow_a_link_out,
    leave_by_dotdot,
    read_a_process_environment,
    enter_a_process_root,
    signal_a_process,
    lower_a_process_limit,
    connect_to_loopback,
    connect_to_an_abstract_socket,
    connect_to_a_socket_file,
    write_the_private_configuration,
    redirect_the_worktree,
    plant_in_tmp,
    make_a_user_namespace,
    set_the_user_id_bit,
);

attacks!(check_strict:
    trace_a_process,
    use_keyrings,
    use_io_uring,
    clone_with_namespaces,
    type_into_the_terminal,
    other_calling_convention,
    open_a_packet_socket,
    open_by_handle,
    mount_something,
    write_kernel_settings,
    rename_the_pinned_link,
);

#[test]
fn repository_and_siblings_are_hidden_in_what_the_user_shows() {
    let world = support::World::new();
    world.treehand(&["new", "s", "--sealed"]).expect(0);
    world.treehand(&["new", "sibling", "--sealed"]).expect(0);
    let sibling = world.treehand(&["path", "sibling"]).expect(0).stdout.trim().to_owned();
    let read = format!("confine.read={}", world.path().display());
    let look = |level: &str, path: &str| {
        let script = "cat \"$1\" >/dev/null 2>&1";
        world.treehand(&["exec", "s", "--set", &read, "--confine", level, "--", "sh", "-c", script, "sh", path]).code
    };
    let (config, main) = (world.repo().join(".git/config"), world.repo().join("a.txt"));
    let hidden =
        [config.to_string_lossy().into_owned(), main.to_string_lossy().into_owned(), format!("{sibling}/a.txt")];
    let shown = world.path().join("home/.gitconfig").to_string_lossy().into_owned();
    assert!(hidden.iter().all(|path| look("off", path) == 0));
    if support::level() == "strict" {
        assert_eq!(look("strict", &shown), 0, "the user asked for it");
        assert!(hidden.iter().all(|path| look("strict", path) == 1));
    }
}

#[test]
fn a_directory_of_the_box_is_not_exchanged_for_a_link() {
    let stage = Stage::new();
    if support::level() == "strict" {
        for directory in ["repo", "home", "tmp"] {
            let script = "cd .. && mv \"$1\" \"$1.old\" && ln -s / \"$1\"";
            assert_ne!(stage.run("strict", &["sh", "-c", script, "sh", directory]), 0, "{directory} could be renamed");
        }
        // Where something else made one, the next view is refused.
        assert_eq!(stage.run("off", &["sh", "-c", "cd ../tmp && cd .. && mv tmp tmp.old && ln -s / tmp"]), 0);
        assert_eq!(stage.run("strict", &["true"]), 10);
    }
}
