//! Stories of the schedule: the timer of systemd that cleans at night, and what is said where there is none.
//!
//! systemctl and loginctl are scripts here that write down what they are told; what real systemd makes of the files is in the
//! unit tests of `cleanup::schedule_units`, word by word.

#![expect(clippy::disallowed_methods, reason = "stories read the environment as a user's shell does")]

use crate::support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use support::World;

/// A world in which systemctl and loginctl are scripts that write down what they are told, and do as systemd does.
fn with_systemd() -> World {
    let mut world = World::new();
    let programs = world.path().join("bin");
    std::fs::create_dir(&programs).expect("made");
    for (name, script) in [("systemctl", SYSTEMCTL), ("loginctl", "echo no")] {
        let place = programs.join(name);
        std::fs::write(&place, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).expect("set");
    }
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a PATH"));
    world.set("PATH", path.leak());
    world
}

const SYSTEMCTL: &str = r#"shift 3
echo "$*" >> "$HOME/calls"
units="$HOME/.config/systemd/user"
link="$units/timers.target.wants/treehand-clean.timer"
if [ -e "$HOME/no-bus" ]; then echo 'Failed to connect to bus: No medium found' >&2; exit 1; fi
case "$1 $2" in
"enable --now")
    if [ -e "$HOME/refuses" ]; then mkdir -p "${link%/*}" && ln -s "$units/$3" "$link"; printf 'What?\nFailed to enable unit: no\n' >&2; exit 1; fi
    mkdir -p "${link%/*}" && ln -sf "$units/$3" "$link" ;;
"disable --now") rm "$link" ;;
"show treehand-clean.timer")
    if [ -L "$link" ]; then printf 'UnitFileState=enabled\nActiveState=active\n'
    else printf 'UnitFileState=disabled\nActiveState=inactive\n'; fi
    echo NeedDaemonReload=no ;;
"show treehand-clean.service") printf 'Result=exit-code\nExecMainStatus=1\nExecMainExitTimestampMonotonic=7\n' ;;
"list-timers --all") echo '[{"next":1796010863500404,"left":1,"last":1795924463500404,"unit":"treehand-clean.timer"}]' ;;
esac"#;

fn units(world: &World) -> PathBuf {
    world.path().join("home/.config/systemd/user")
}

fn read(file: impl AsRef<Path>) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

const INSTALL: &[&str] = &["clean", "schedule", "install"];
const SHOW: &[&str] = &["clean", "schedule", "show", "--json"];
const REMOVE: &[&str] = &["clean", "schedule", "remove"];

/// Everything below the home that has to do with systemd, each with its text.
fn left(world: &World) -> Vec<(PathBuf, String)> {
    let files = walkdir::WalkDir::new(units(world)).into_iter().filter_map(Result::ok);
    files.filter(|one| !one.file_type().is_dir()).map(|one| (one.path().to_owned(), read(one.path()))).collect()
}

#[test]
fn a_timer_is_installed_shown_changed_and_taken_away() {
    let mut world = with_systemd();
    world.set("TREEHAND_CLEAN__PROTECT", "keep*");
    let nothing = world.treehand(SHOW).expect(0).json();
    assert_eq!((&nothing["schema"], &nothing["installed"]), (&json!("treehand/clean-schedule/v1"), &json!(false)));
    let flags =
        ["--notify", "mail -s '100%' me", "--min-age", "2d", "--branches", "all", "--set", "clean.retention=7d"];
    let text = world.treehand(&[INSTALL, &flags].concat()).expect(0).stdout;
    assert!(text.starts_with("cleaning daily at 03:30 is installed\n"), "{text}");
    assert!(text.contains("only while you are logged in; for always: loginctl enable-linger"), "{text}");
    let calls = read(world.path().join("home/calls"));
    assert!(calls.contains("\ndaemon-reload\nenable --now treehand-clean.timer\n"), "{calls}");
    let (service, timer) =
        (read(units(&world).join("treehand-clean.service")), read(units(&world).join("treehand-clean.timer")));
    for line in ["OnCalendar=*-*-* 03:30:00", "RandomizedDelaySec=1800s", "Persistent=true", "WantedBy=timers.target"] {
        assert!(timer.lines().any(|found| found == line), "{line}: {timer}");
    }
    let own = Path::new(env!("CARGO_BIN_EXE_treehand")).canonicalize().expect("a path");
    let start = format!(
        "ExecStart={} clean --all-repos --yes --json --min-age=2d --branches=all \"--notify=mail -s '100%%' me\" --set=clean.retention=7d",
        own.display()
    );
    for line in [
        &start,
        "Nice=19",
        "IOSchedulingClass=idle",
        "CPUSchedulingPolicy=idle",
        "Type=oneshot",
        "Environment=\"TREEHAND_CLEAN__PROTECT=keep*\"",
    ] {
        assert!(service.lines().any(|found| found == line), "{line}: {service}");
    }
    assert!(service.contains(&format!("Environment=XDG_STATE_HOME={}\n", world.path().join("state").display())));
    let shown = world.treehand(SHOW).expect(0).json();
    assert_eq!(
        (&shown["problems"], &shown["linger"], &shown["command"][6]),
        (&json!([]), &json!(false), &json!("--branches=all"))
    );
    assert_eq!(
        (&shown["next"], &shown["last"]),
        (&json!("2026-11-30T03:54:23.500Z"), &json!("2026-11-29T03:54:23.500Z"))
    );
    assert_eq!((&shown["last_result"], &shown["last_exit"]), (&json!("exit-code"), &json!(1)));
    world.treehand(&[INSTALL, &flags].concat()).expect(0);
    assert_eq!(read(units(&world).join("treehand-clean.service")), service, "once more is the same");
    world.treehand(&[INSTALL, &["--every", "6h"]].concat()).expect(0);
    assert_eq!(world.treehand(SHOW).expect(0).json()["calendar"], "*-*-* 00/6:30:00");
    let removed = world.treehand(&[REMOVE, &["--json"]].concat()).expect(0).json();
    assert_eq!(removed["removed"].as_array().map(Vec::len), Some(2));
    assert!(
        read(world.path().join("home/calls"))
            .ends_with("disable --now treehand-clean.timer\ndaemon-reload\nreset-failed treehand-clean.service\n")
    );
    assert_eq!(left(&world), []);
    assert_eq!(world.treehand(REMOVE).expect(0).stdout, "nothing is scheduled\n");
}

#[test]
fn nothing_of_somebody_elses_is_overwritten_and_what_was_changed_is_put_aside() {
    let world = with_systemd();
    std::fs::create_dir_all(units(&world)).expect("made");
    let (service, timer) = (units(&world).join("treehand-clean.service"), units(&world).join("treehand-clean.timer"));
    std::fs::write(&timer, "[Timer]\nOnCalendar=weekly\n").expect("written");
    let before = left(&world);
    for refused in [INSTALL, REMOVE] {
        let error = world.treehand(&[refused, &["--json"]].concat()).expect(4).json();
        assert!(error["message"].as_str().is_some_and(|text| text.ends_with("treehand-clean.timer is not treehand's")));
        assert_eq!(left(&world), before);
    }
    std::fs::remove_file(&timer).expect("removed");
    std::os::unix::fs::symlink("/dev/null", &service).expect("masked");
    world.treehand(INSTALL).expect(4);
    std::fs::remove_file(&service).expect("removed");
    world.treehand(INSTALL).expect(0);
    let by_hand = format!("{}Environment=MINE=1\n", read(&service));
    std::fs::write(&service, &by_hand).expect("written");
    let problems = world.treehand(SHOW).expect(1).json()["problems"].clone();
    assert!(problems[0].as_str().is_some_and(|text| text.ends_with("treehand-clean.service was changed by hand")));
    let answer = world.treehand(INSTALL).expect(0);
    assert!(answer.stderr.contains("was changed by hand; that is kept in "), "{}", answer.stderr);
    assert_eq!(read(units(&world).join("treehand-clean.service.changed")), by_hand);
    assert!(!read(&service).contains("MINE"));
}

#[test]
fn what_is_wrong_with_a_schedule_is_shown() {
    let world = with_systemd();
    let copy = world.path().join("treehand copy");
    world.copy_program(&copy);
    world.shell(&format!("'{}' clean schedule install", copy.display())).expect(0);
    let problem = |code: i32| world.treehand(SHOW).expect(code).json()["problems"].to_string();
    assert!(problem(1).contains("the program that it starts is another than this one: "));
    std::fs::remove_file(&copy).expect("removed");
    assert!(problem(1).contains("the program that it starts is gone: "));
    world.treehand(INSTALL).expect(0);
    assert_eq!(problem(0), "[]");
    std::fs::remove_file(units(&world).join("timers.target.wants/treehand-clean.timer")).expect("disabled");
    assert!(problem(1).contains("the timer is not at work"));
    std::fs::remove_file(units(&world).join("treehand-clean.service")).expect("removed");
    assert!(problem(1).contains("treehand-clean.service is missing"));
    std::fs::write(world.path().join("home/no-bus"), "").expect("written");
    world.treehand(INSTALL).expect(1);
    assert!(problem(1).contains("treehand-clean.service is missing"));
}

#[test]
fn without_a_manager_nothing_is_left_and_the_line_for_cron_is_said() {
    let mut world = with_systemd();
    std::fs::write(world.path().join("home/refuses"), "").expect("written");
    let error = world.treehand(&[INSTALL, &["--json"]].concat()).expect(1).json();
    assert_eq!(
        error["message"],
        "systemctl --user enable --now treehand-clean.timer failed: Failed to enable unit: no"
    );
    assert_eq!(left(&world), []);
    std::fs::remove_file(world.path().join("home/refuses")).expect("removed");
    world.treehand(INSTALL).expect(0);
    let installed = left(&world);
    std::fs::write(world.path().join("home/no-bus"), "").expect("written");
    let error = world.treehand(&[INSTALL, &["--every", "15m"]].concat()).expect(1);
    let why = "your systemd manager cannot be reached (systemctl --user): Failed to connect to bus: No medium found";
    assert!(error.stderr.contains(why), "{}", error.stderr);
    assert_eq!(left(&world), installed);
    let answer = world.treehand(REMOVE).expect(0);
    assert!(answer.stderr.contains("a manager that is at work knows the timer until"), "{}", answer.stderr);
    assert_eq!(left(&world), [], "the link that starts it is gone, too");
    world.set("PATH", "/nowhere");
    let error = world
        .treehand(&[INSTALL, &["--at", "4:05", "--notify", "echo 5% > ../told", "--json"]].concat())
        .expect(1)
        .json();
    assert_eq!((&error["kind"], &error["message"]), (&json!("unscheduled"), &json!("systemctl is not installed")));
    let hint = error["hint"].as_str().expect("a hint").to_owned();
    let line = hint.strip_prefix("with cron, as a line of `crontab -e`: 5 4 * * * ").expect(&hint);
    // cron takes the backslashes away and hands the rest to sh.
    let path = std::env::var("PATH").expect("a PATH").leak();
    world.set("PATH", path);
    world.shell(&line.replace("\\%", "%").replace("PATH=/nowhere", &format!("PATH='{path}'"))).expect(0);
    assert_eq!(read(world.path().join("told")), "5%\n");
}

#[test]
fn a_schedule_that_makes_no_sense_is_refused_before_anything_is_asked() {
    let world = with_systemd();
    for wrong in [
        &["clean", "schedule"][..],
        &["clean", "schedule", "install", "--at", "25:00"],
        &["clean", "schedule", "install", "--at", "3"],
        &["clean", "schedule", "install", "--every", "5h"],
        &["clean", "schedule", "install", "--every", "0s"],
        &["clean", "schedule", "install", "--at", "03:00", "--every", "1d"],
        &["clean", "schedule", "install", "--set", "clean.min_age=soon"],
        &["clean", "--yes", "schedule", "show"],
    ] {
        world.treehand(wrong).expect(2);
    }
    assert_eq!((left(&world), read(world.path().join("home/calls"))), (vec![], String::new()));
}

#[test]
fn systemd_takes_the_files_as_they_are_written() {
    let mut world = with_systemd();
    if !world.has("systemd-analyze") {
        return;
    }
    world.set("XDG_RUNTIME_DIR", world.path().to_string_lossy().into_owned().leak());
    let directory = world.path().join("it's \"100%\" $HOME \\ here");
    std::fs::create_dir(&directory).expect("made");
    let copy = directory.join("treehand");
    world.copy_program(&copy);
    let copied = |args: &[&str]| {
        let mut command = std::process::Command::new(&copy);
        world.clean(&mut command);
        command.args(args);
        support::answer(command)
    };
    for when in
        [&[][..], &["--at", "23:59"], &["--every", "15m"], &["--every", "6h"], &["--every", "3d"], &["--every", "1w"]]
    {
        let hostile = ["--notify", "printf '%s\\n' \"$HOME\"; ; \u{e9}\n\t\u{1}\u{202e}"];
        copied(&[INSTALL, when, &hostile].concat()).expect(0);
        let files = ["treehand-clean.timer", "treehand-clean.service"].map(|name| units(&world).join(name));
        let check = format!("systemd-analyze verify --user '{}' '{}'", files[0].display(), files[1].display());
        let answer = world.shell(&check);
        assert!(answer.code == 0 && !answer.stderr.contains("treehand-clean"), "{when:?}: {}", answer.stderr);
    }
    let shown = copied(SHOW).expect(0).json();
    assert_eq!(shown["command"][0].as_str(), copy.canonicalize().expect("a path").to_str());
}
