//! The escape suite: each attack succeeds with `--confine off`, so it is real, and fails under `strict`; which of them
//! `landlock` holds is in the table, too.
//!
//! The attacker is this very program, started inside as `attacker_inside`. What it reports is its exit code; what counts is
//! what the world outside looks like afterwards.
#![expect(unsafe_code, reason = "attacks are system calls that no library offers")]
#![expect(clippy::disallowed_methods, reason = "attacks and their victims are started and signalled as they come")]

#[path = "escape/attacks.rs"]
mod attacks;
#[path = "escape/limits.rs"]
mod limits;
#[path = "escape/stage.rs"]
mod stage;
mod support;
#[path = "escape/zoo.rs"]
mod zoo;

use stage::Stage;

/// How the attacker ends.
const GOT_OUT: i32 = 42;
const HELD: i32 = 43;

/// Not a test of its own: what the sandbox starts. Without its variables it has nothing to do.
#[test]
fn attacker_inside() {
    if let (Ok(name), Ok(victims)) = (std::env::var("ATTACK"), std::env::var("VICTIMS")) {
        let victims = serde_json::from_str(&victims).expect("victims");
        let got_out = attacks::run(&name, &victims);
        std::process::exit(if got_out { GOT_OUT } else { HELD });
    }
}

/// What an attack does where nothing confines it.
#[derive(Clone, Copy, PartialEq)]
enum Unconfined {
    /// It gets out, so it is one.
    Open,
    /// That depends on the machine and the user, or would harm it; it is not tried.
    Untried,
}

/// What an attack does where Landlock and a filter are all there is.
#[derive(Clone, Copy, PartialEq)]
enum Fenced {
    Held,
    /// `docs/design/confinement.md` says so, and so does treehand whenever that level is used.
    Open,
}

/// Under `strict` the attack does not get out, and nothing outside has changed.
fn check(name: &str, unconfined: Unconfined, fenced: Fenced) {
    if unconfined == Unconfined::Open {
        assert_eq!(Stage::new().attack(name, "off"), GOT_OUT, "{name} is no attack: it fails unconfined, too");
    }
    if support::level() == "strict" {
        let stage = Stage::new();
        assert_eq!(stage.attack(name, "strict"), HELD, "{name} gets out of the sandbox");
        stage.assert_unharmed();
    }
    if stage::has_fence() {
        let stage = Stage::new();
        // From its ninth version on, Landlock looks at socket files as well.
        let newer = name == "connect_to_a_socket_file_with_the_network" && stage::knows_socket_files();
        let fenced = if newer { Fenced::Held } else { fenced };
        match fenced {
            Fenced::Open => assert_eq!(stage.attack(name, "landlock"), GOT_OUT, "{name} is held: say so"),
            Fenced::Held => {
                assert_eq!(stage.attack(name, "landlock"), HELD, "{name} gets over the fence");
                stage.assert_unharmed();
            }
        }
    }
}

macro_rules! attacks {
    ($unconfined:ident, $fenced:ident: $($name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), Unconfined::$unconfined, Fenced::$fenced);
        })+
    };
}

attacks!(Open, Held:
    // Files of the user's, of the repository, of others.
    read_a_secret,
    write_into_the_home,
    add_an_authorized_key,
    list_the_home,
    read_a_sibling,
    write_into_a_sibling,
    read_the_repository_configuration,
    write_the_repository_configuration,
    plant_attributes,
    plant_a_hook,
    move_a_branch,
    move_the_head,
    rewrite_packed_refs,
    write_into_the_main_worktree,
    read_the_journal,
    remove_a_pack,
    truncate_a_pack,
    add_a_pack,
    hard_link_a_pack,
    follow_a_link_out,
    follow_a_link_to_a_hook,
    leave_by_dotdot,
    plant_in_tmp,
    plant_in_shared_memory,
    // Files that say where the workspace belongs.
    write_the_private_configuration,
    plant_a_private_hook,
    swap_the_private_hooks,
    unlink_the_packed_refs,
    // Processes.
    read_a_process_environment,
    enter_a_process_root,
    leave_by_the_root_of_the_parent,
    signal_a_process,
    signal_the_parent,
    lower_a_process_limit,
    change_a_process_priority,
    pin_a_process,
    // Sockets.
    connect_to_loopback,
    send_a_datagram,
    connect_to_an_abstract_socket,
    connect_to_an_abstract_socket_with_the_network,
    connect_to_a_socket_file,
    // The kernel.
    make_a_user_namespace,
    set_the_user_id_bit,
);

attacks!(Open, Open:
    chmod_a_key,
    touch_a_key,
    read_a_command_line,
    redirect_the_worktree,
    write_the_worktree_configuration,
    rename_the_pinned_link,
    connect_to_a_socket_file_with_the_network,
);

attacks!(Untried, Held:
    write_into_the_system,
    write_the_memory_of_a_process,
    trace_a_process,
    use_a_descriptor_that_was_left_open,
    use_keyrings,
    use_io_uring,
    ask_for_what_reaches_into_others,
    clone_with_namespaces,
    enter_a_namespace,
    change_the_root,
    type_into_the_terminal,
    other_calling_convention,
    open_a_packet_socket,
    open_by_handle,
    make_a_device,
    mount_something,
    unmount_a_pin,
    write_kernel_settings,
);

#[test]
fn a_file_that_is_handed_in_is_not_opened_anew() {
    let check = |level: &str, open: bool| {
        let stage = Stage::new();
        let (input, output) = (stage.path().join("input"), stage.path().join("output"));
        std::fs::write(&input, "input").expect("written");
        std::fs::write(&output, "before\n").expect("written");
        let script = "cat; : >/proc/$$/fd/0; exec 3</proc/$$/fd/1; cat <&3 >&2";
        let answer = stage.with_files(level, &input, &output, &["sh", "-c", script]);
        assert_eq!(
            std::fs::read_to_string(&input).expect("there").is_empty(),
            open,
            "{level}: the input was truncated"
        );
        assert_eq!(answer.contains("before"), open, "{level}: {answer}");
        // What it is for, it can be used for.
        assert!(std::fs::read_to_string(&output).expect("there").starts_with("before\ninput"), "{level}");
    };
    check("off", true);
    if support::level() == "strict" {
        check("strict", false);
    }
    if stage::has_fence() {
        check("landlock", false);
    }
}

#[test]
fn a_socket_of_the_network_is_not_handed_in() {
    use std::os::fd::OwnedFd;
    if support::level() != "strict" {
        return;
    }
    let stage = Stage::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let connected = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
    let (line, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let (loose, _other) = std::os::unix::net::UnixDatagram::pair().expect("a pair");
    let table = [
        (OwnedFd::from(connected), "none", 10),
        (OwnedFd::from(datagrams), "none", 10),
        (OwnedFd::from(loose), "none", 10),
        (OwnedFd::from(line), "none", 0),
        (OwnedFd::from(listener), "full", 0),
    ];
    for (socket, net, code) in table {
        let what = format!("{socket:?} with {net}");
        assert_eq!(stage.with_input(socket, net, &["true"]), code, "{what}");
    }
}

#[test]
fn a_directory_is_not_handed_in() {
    if support::level() == "strict" {
        let stage = Stage::new();
        let output = stage.path().join("output");
        std::fs::write(&output, "").expect("written");
        let answer = stage.with_files("strict", stage.path(), &output, &["ls", "/proc/self/fd/0/"]);
        assert!(answer.contains("is a directory, which leads out of the workspace"), "{answer}");
        assert_eq!(std::fs::read_to_string(&output).expect("there"), "");
    }
}

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
