//! Limits: each one ends what goes beyond it, with its name, whatever the program does to hide that; for root and for others.

use super::support::{Answer, World, level, task};

fn bounded(world: &World, limits: &[&str], script: &str) -> Answer {
    let settings = limits.iter().flat_map(|limit| ["--set", limit]);
    let args: Vec<&str> = ["exec", "s"].into_iter().chain(settings).chain(["--", "sh", "-c", script]).collect();
    world.treehand(&args)
}

fn sealed() -> World {
    let world = World::new();
    world.treehand(&["new", "s", "--sealed"]).expect(0);
    world
}

/// The script goes beyond a limit and waits to be ended for it; without the limit it ends by itself.
fn ends(limit: &str, words: &str, script: &str) {
    if level() != "strict" {
        return;
    }
    let world = sealed();
    let answer = bounded(&world, &[limit], &format!("{script}\nsleep 60"));
    assert_eq!(answer.code, 128 + 9, "{}", answer.stderr);
    assert!(answer.stderr.contains(words), "{}", answer.stderr);
}

const DISK: &str = "it took more disk space than confine.limits.disk allows";
const MEMORY: &str = "it took more memory than confine.limits.memory allows";

#[test]
fn files_in_the_tree_count() {
    ends("confine.limits.disk=4M", DISK, "head -c 9M /dev/zero > big");
}

#[test]
fn files_beside_the_tree_and_in_the_git_dir_count() {
    ends("confine.limits.disk=4M", DISK, "head -c 3M /dev/zero > /tmp/big; head -c 3M /dev/zero > ~/big");
    ends("confine.limits.disk=4M", DISK, "head -c 9M /dev/zero > \"$(git rev-parse --git-common-dir)/objects/big\"");
}

#[test]
fn files_without_a_name_count() {
    ends("confine.limits.disk=4M", DISK, "exec 7>big; rm big; head -c 9M /dev/zero >&7");
}

#[test]
fn files_in_a_directory_that_is_shut_count() {
    ends("confine.limits.disk=4M", DISK, "mkdir d; head -c 9M /dev/zero > d/big; chmod 0 d");
}

#[test]
fn files_below_names_that_are_too_long_together_count() {
    let deeper = "name=$(printf '%0250d' 0); for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                  mkdir $name && cd -P $name || exit 1; done";
    ends("confine.limits.disk=4M", DISK, &format!("{deeper}; head -c 9M /dev/zero > big"));
}

#[test]
fn the_memory_of_all_processes_together_counts() {
    // Each by itself stays below.
    let hold = "perl -e '$x = \"x\" x (60 << 20); sleep 60' &";
    ends("confine.limits.memory=200M", MEMORY, &[hold; 5].join("\n"));
}

#[test]
fn who_has_slept_for_long_is_looked_after_as_soon_as_it_goes_on() {
    // By then eight seconds pass between two looks, and what comes next would be over before that.
    let hold = "perl -e '$x = \"x\" x (60 << 20); sleep 4' &";
    let script = format!("sleep 8\n{}\nwait", [hold; 5].join("\n"));
    ends("confine.limits.memory=200M", MEMORY, &script);
}

#[test]
fn memory_that_only_a_descriptor_holds_counts() {
    let script = "perl -e 'my $name = \"x\"; my $f = syscall(319, $name, 0); open(my $h, \">&=\", $f) or die; my $x = \"x\" x (1 << 20); \
                  print $h $x for 1..300; $h->flush; sleep 60' &\n";
    if cfg!(target_arch = "x86_64") {
        ends("confine.limits.memory=200M", MEMORY, script);
    }
    let hold = "perl -e '$x = \"x\" x (120 << 20); sleep 60' &";
    let script = format!("head -c 90M /dev/zero > /dev/shm/a\n{}", [hold; 3].join("\n"));
    ends("confine.limits.memory=400M", MEMORY, &script);
}

#[test]
fn one_process_that_takes_more_memory_than_there_is_gets_none() {
    if level() == "strict" {
        let answer = bounded(&sealed(), &["confine.limits.memory=100M"], "perl -e '$x = \"x\" x (200 << 20)'");
        assert_ne!(answer.code, 0);
        assert!(answer.stderr.contains("memory"), "{}", answer.stderr);
    }
}

#[test]
fn the_watcher_of_the_limits_is_out_of_reach() {
    if level() == "strict" && cfg!(target_arch = "x86_64") {
        // Its open files (prlimit64), its priority, its processor.
        let limit = "perl -e 'my $l = pack(\"QQ\", 3, 3); exit(syscall(302, 1, 7, $l, 0) == 0 ? 42 : 0)'";
        assert_eq!(bounded(&sealed(), &[], limit).code, 0);
        for who in ["syscall(141, 0, 1, 19)", "syscall(141, 1, 0, 19)", "syscall(141, 2, 0, 19)"] {
            assert_eq!(bounded(&sealed(), &[], &format!("perl -e 'exit({who} == 0 ? 42 : 0)'")).code, 0, "{who}");
        }
        assert_eq!(bounded(&sealed(), &[], "perl -e 'exit(syscall(141, 0, 0, 19) == 0 ? 0 : 1)'").code, 0, "its own");
    }
}

#[test]
fn processes_and_open_files_and_the_size_of_a_file_are_bounded() {
    if level() != "strict" {
        return;
    }
    let world = sealed();
    let fork = "perl -e '$| = 1; my $n = 0; while ($n < 900) { my $p = fork; last unless defined $p; if (!$p) { sleep 60; exit } $n++ } \
                print \"$n\\n\"; kill 9, -1'";
    let answer = bounded(&world, &["confine.limits.processes=400"], fork);
    let made: u32 = answer.stdout.trim().parse().expect("a number");
    assert!((300..400).contains(&made), "{made}");
    let open = "perl -e 'my @h; while (open(my $h, \"<\", \"/dev/null\")) { push @h, $h } print scalar(@h)'";
    let opened: u32 = bounded(&world, &["confine.limits.open_files=50"], open).stdout.parse().expect("a number");
    assert!((40..50).contains(&opened), "{opened}");
    let answer = bounded(&world, &["confine.limits.file_size=1M"], "head -c 2M /dev/zero > big; test -s core");
    assert!(world.trees().join("s/repo/big").metadata().expect("there").len() <= 1 << 20, "{}", answer.stderr);
}

#[test]
fn a_task_says_which_limit_ended_it() {
    if level() != "strict" {
        return;
    }
    let world = World::new();
    let command = ["--", "sh", "-c", "head -c 2M /dev/zero > big"];
    let run =
        world.treehand(&[&["run", "--json", "--set", "confine.limits.file_size=1M"][..], &command].concat()).expect(1);
    let reason = task(&run.json(), "sh")["reason"]["message"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("it wrote a file larger than confine.limits.file_size allows"), "{reason}");
    let shown = world.treehand(&[
        "run",
        "--set",
        "confine.limits.output=4K",
        "--",
        "sh",
        "-c",
        "head -c 8192 /dev/zero | tr '\\0' x; echo y > y",
    ]);
    shown.expect(0);
    let run = world.treehand(&["ps", "--json"]).expect(0).json()["runs"][0]["run"].as_str().expect("a run").to_owned();
    let log = world.treehand(&["logs", &run]).expect(0).stdout;
    assert!(log.contains("went beyond 4096 bytes; the rest is dropped"), "{}", &log[log.len().saturating_sub(200)..]);
}
