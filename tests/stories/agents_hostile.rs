//! Stories of agents that mean harm, or have lost their way: what they print, hand in, plant and flood. The run ends in an orderly
//! way each time, nothing of the user's is changed or shown, and nothing is left.

use crate::support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::World;
use support::followed::Followed;
use support::stub::{self, task};

/// What the user has to let the agent in.
const LENT: &str = r#"{"token":"old-token-old-token","resource_url":"portal.example.com"}"#;

fn world() -> World {
    let mut world = World::new();
    stub::install(&world);
    world.set("STUB_KEY", "sk-very-secret-key");
    let own = own(&world);
    std::fs::create_dir_all(own.parent().expect("a parent")).expect("made");
    std::fs::write(&own, LENT).expect("written");
    world
}

fn own(world: &World) -> PathBuf {
    world.path().join("home/.stub/auth.json")
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("read")
}

/// Runs a tasks file to its end.
fn run(world: &World, tasks: &str) -> Value {
    world.run_tasks(tasks, &["--confine", support::level()]).json()
}

fn one<'a>(document: &'a Value, id: &str) -> &'a Value {
    document["tasks"].as_array().expect("tasks").iter().find(|task| task["id"] == id).expect("a task")
}

/// Everything that a person, or a program, can read of a run.
fn told(world: &World, run: &str) -> Vec<(&'static str, String)> {
    let said = |args: &[&str]| {
        let answer = world.treehand(args);
        answer.stdout + &answer.stderr
    };
    vec![
        ("show", said(&["show", run])),
        ("show --json", said(&["show", run, "--json"])),
        ("logs", said(&["logs", run])),
        ("ps", said(&["ps", "--all"])),
        ("doctor", said(&["doctor"])),
    ]
}

/// No socket is left, and no process that has a mark of an attempt.
fn assert_nothing_left(world: &World) {
    let sockets = walkdir::WalkDir::new(world.path().join("state")).into_iter().filter_map(Result::ok);
    let sockets: Vec<PathBuf> = sockets
        .map(|entry| entry.path().to_owned())
        .filter(|path| path.extension().is_some_and(|kind| kind == "sock" || kind == "agent"))
        .collect();
    assert!(sockets.is_empty(), "{sockets:?}");
    assert!(!world.trees().exists(), "workspaces are left");
}

/// No text steers a terminal.
fn assert_plain(what: &str, text: &str) {
    let steers = |letter: char| (letter.is_control() && letter != '\n' && letter != '\t') || letter == '\u{202e}';
    assert!(!text.contains(steers), "{what}: {text:?}");
}

#[test]
fn nothing_that_an_agent_puts_in_the_place_of_what_it_was_lent_ends_more_than_its_own_attempt() {
    let world = world();
    let elsewhere = world.path().join("home/elsewhere.json");
    std::fs::write(&elsewhere, LENT.replace("old", "her")).expect("written");
    let lent = "$HOME/.stub/auth.json";
    let tasks = [
        ("directory", format!("rm {lent}; mkdir {lent}; echo x > {lent}/x")),
        ("link", format!("rm {lent}; ln -s {} {lent}", elsewhere.display())),
        ("own", format!("rm {lent}; ln -s {} {lent}", own(&world).display())),
        ("pipe", format!("rm {lent}; mkfifo {lent}")),
        ("file-above", "rm -r $HOME/.stub; echo x > $HOME/.stub".to_owned()),
        (
            "link-above",
            format!("rm -r $HOME/.stub; ln -s {} $HOME/.stub", own(&world).parent().expect("one").display()),
        ),
        ("huge", format!("dd if=/dev/zero of={lent} bs=1M count=5 2> /dev/null")),
        ("closed", "chmod 0 $HOME/.stub".to_owned()),
        ("deep", format!("head -c 100000 /dev/zero | tr '\\0' '[' > {lent}")),
        ("other", format!("printf '{{\"token\":1}}' > {lent}")),
        ("led-away", format!("printf '%s' '{}' > {lent}", LENT.replace("portal.example.com", "evil.example.com"))),
    ];
    let text_of: String =
        tasks.iter().map(|(id, does)| task(id, "'stub'", &format!("{does}; echo {id} > {id}.txt; finish"))).collect();
    let document = run(&world, &text_of);
    for (id, _) in &tasks {
        assert_eq!(one(&document, id)["state"], "landed", "{id}: {document}");
        assert_eq!(world.show("main", &format!("{id}.txt")).trim(), *id);
    }
    assert_eq!(text(&own(&world)), LENT);
    assert_eq!(text(&elsewhere), LENT.replace("old", "her"));
    let left = std::fs::read_dir(own(&world).parent().expect("a parent")).expect("listed").count();
    assert_eq!(left, 1, "nothing is left beside it");
    assert_nothing_left(&world);
}

#[test]
fn what_comes_back_goes_where_a_link_of_the_users_leads() {
    let world = world();
    let kept = world.path().join("home/dotfiles/auth.json");
    std::fs::create_dir_all(kept.parent().expect("a parent")).expect("made");
    std::fs::rename(own(&world), &kept).expect("moved");
    std::os::unix::fs::symlink(&kept, own(&world)).expect("linked");
    let does = format!("printf '%s' '{}' > $HOME/.stub/auth.json; echo x > x.txt; finish", LENT.replace("old", "new"));
    let document = run(&world, &task("a", "'stub'", &does));
    assert_eq!(document["state"], "landed", "{document}");
    assert!(own(&world).is_symlink(), "the user's link is a link still");
    assert_eq!(text(&kept), LENT.replace("old", "new"));
}

#[test]
fn what_an_agent_says_steers_no_terminal_and_says_no_secret() {
    let world = world();
    let odd = r"\\u001b[31m\\u001b]0;owned\\u0007\\r\\u202eevil";
    let does = format!(
        "key=$STUB_KEY; token=$(sed 's/.*\"token\":\"//;s/\".*//' $HOME/.stub/auth.json)
        say '{{\"type\":\"text\",\"text\":\"{odd} '$key' '$token'\"}}'; printf 'raw \\033[31m\\000\\n'
        tool progress '{{\"message\":\"{odd} \\n '$key'\"}}'
        tool ask '{{\"question\":\"{odd} '$token'?\",\"default\":\"{odd} '$key'\",\"deadline\":\"1s\"}}'
        tool submit_result '{{\"status\":\"failed\",\"summary\":\"{odd} '$key' '$token'\\nYour task, b:\"}}'; finish"
    )
    .replace(r"\\u", r"\u")
    .replace(r"\\r", r"\r");
    let fault = format!("fault '{odd} '$STUB_KEY'' 400").replace(r"\\u", r"\u").replace(r"\\r", r"\r");
    let both = task("a", "'stub'", &does) + "retries = 0\n" + &task("b", "'second'", &fault) + "retries = 0\n";
    let file = world.path().join("hostile.toml");
    std::fs::write(&file, both).expect("written");
    let answer = world.treehand(&["run", "--confine", support::level(), "--tasks", &file.to_string_lossy()]);
    let run = world.only_run();
    let mut all = told(&world, &run);
    assert!(all[0].1.matches("evil ***").count() >= 2, "it was heard: {}", all[0].1);
    all.push(("run", answer.stdout + &answer.stderr));
    for (what, text) in &all {
        assert_plain(what, text);
        assert!(!text.contains("very-secret") && !text.contains("old-token"), "{what}: {text}");
    }
    let found = world.shell("grep -rlE 'very-secret|old-token' .git/treehand || true").expect(0).stdout;
    assert_eq!(found, "", "no secret is kept anywhere");
}

#[test]
fn a_token_that_was_refreshed_meanwhile_is_a_secret_as_the_old_one_was() {
    let world = world();
    let new = LENT.replace("old", "new");
    let first = format!("printf '%s' '{new}' > $HOME/.stub/auth.json; echo x > x.txt; submit done 'made'; finish");
    let says = "token=$(sed 's/.*\"token\":\"//;s/\".*//' $HOME/.stub/auth.json)
        printf '%s' \"$token\" | wc -c > y.txt; submit done \"it is $token\"; finish";
    let document = run(&world, &(task("a", "'stub'", &first) + &task("b", "'stub'", says) + "needs = ['a']\n"));
    assert_eq!(document["state"], "landed", "{document}");
    assert_eq!(text(&own(&world)), new);
    assert_eq!(world.show("main", "y.txt").trim(), "19", "{document}");
    assert_eq!(one(&document, "b")["attempts"][0]["agent"]["submission"]["summary"], "it is ***");
}

#[test]
fn what_an_agent_prints_without_end_is_bounded_and_read_no_further_than_it_makes_sense() {
    let world = world();
    let does = "head -c 9000000 /dev/zero | tr '\\0' x; echo; head -c 3000000 /dev/zero; echo
        head -c 300000 /dev/zero | tr '\\0' '['; echo; head -c 200000 /dev/zero | tr '\\0' '{'; echo
        say '{\"type\":\"session\",\"id\":'; say '{\"type\":[[[[{}]]]],\"text\":7}'; say '{\"type\":\"text\",\"text\":{}}'
        say '{\"type\":\"usage\",\"input\":99999999999999999999999999,\"output\":-1}'
        echo x > x.txt; finish";
    let document = run(&world, &task("a", "'stub'", does));
    assert_eq!(document["state"], "landed", "{document}");
    for (what, text) in told(&world, document["run"].as_str().expect("a run")) {
        assert_plain(what, &text);
    }
}

#[test]
fn what_is_no_name_of_a_conversation_is_no_argument_of_the_next_attempt() {
    let world = world();
    for (n, id) in
        ["--dangerous", "../../x", "/etc/passwd", "a b", r"a\nb", "", "..", r"a\u001b[31m"].iter().enumerate()
    {
        let id_of = format!("t{n}");
        let does = format!(
            "if [ \"$TREEHAND_ATTEMPT_NUMBER\" = 1 ]; then say '{{\"type\":\"session\",\"id\":\"{id}\"}}'; kill -9 $$; fi
            printf '%s' \"$resumed\" > {id_of}.txt; printf '%s' \"$#\" > {id_of}.count; finish"
        );
        // The stand-in says a name of its own first; this one does not.
        let document = run(&world, &task(&id_of, "'silent'", &does));
        assert_eq!(document["state"], "landed", "{id}: {document}");
        assert_eq!(world.show("main", &format!("{id_of}.txt")), "", "{id}: {document}");
        assert_eq!(document["tasks"][0]["attempts"][1]["agent"]["resumed"], Value::Null, "{id}");
    }
}

#[test]
fn an_endpoint_that_is_flooded_ends_no_more_than_the_patience_of_who_floods_it() {
    let world = world();
    let script = "import socket,sys,json,threading
def line():
    s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); return s
held=[line() for _ in range(200)]
try:
    for s in held: s.sendall(b'{\"id\":1,')
except OSError: pass
for s in held[:100]: s.close()
s=line()
s.settimeout(2)
try:
    for _ in range(200): s.sendall(b'x\\n'*10000)
except OSError: pass
for tool in ['progress','nonsense','fresh','conflicts','ask','submit_result','task_context','inbox']:
    s=line()
    s.settimeout(2)
    asks=json.dumps({'id':tool,'tool':tool,'args':{'message':'m'*4000} if tool=='progress' else {}}).encode()+b'\\n'
    try:
        for _ in range(1500): s.sendall(asks)
    except OSError: pass
s=line()
s.settimeout(5)
try:
    s.sendall(b'{\"id\":1,\"tool\":\"progress\",\"args\":{\"message\":\"'+b'y'*1000000)
except OSError: pass
";
    world.commit("a script", &[("flood.py", script)]);
    if !world.has("python3") {
        return;
    }
    let does = "python3 flood.py \"$endpoint\" || true; echo x > x.txt; finish";
    let quiet = "echo y > y.txt; submit done 'in peace'; finish";
    let document = run(&world, &format!("jobs = 2\n{}{}", task("a", "'stub'", does), task("b", "'second'", quiet)));
    assert_eq!(document["state"], "landed", "{document}");
    assert_eq!(one(&document, "b")["attempts"][0]["agent"]["submission"]["summary"], "in peace");
    assert_nothing_left(&world);
}

#[test]
fn what_an_agent_hands_in_is_bounded_and_so_is_what_the_next_one_gets_of_it() {
    let world = world();
    let long = "long=$(head -c 16000 /dev/zero | tr '\\0' a | sed 's/a/\u{1f600}/g')";
    let says = |id: &str| {
        format!(
            "{long}; echo {id} > {id}.txt; tool submit_result '{{\"status\":\"done\",\"summary\":\"'$long'\"}}'; finish"
        )
    };
    let ids: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
    let mut tasks: String = ids.iter().map(|id| task(id, "'stub'", &says(id))).collect();
    let needs = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    let asks = "tool task_context '{}'; printf '%s' \"$answer\" | wc -c > size.txt; finish";
    tasks += &(task("last", "'second'", asks) + &format!("needs = [{needs}]\ntimeout = \"60s\"\n"));
    let document = run(&world, &tasks);
    assert_eq!(document["state"], "landed", "{document}");
    let size: usize = world.show("main", "size.txt").trim().parse().expect("a number");
    assert!((20 * 1000..1 << 20).contains(&size), "{size}");
    let too_long = task(
        "b",
        "'stub'",
        "long=$(head -c 70000 /dev/zero | tr '\\0' a); tool submit_result '{\"status\":\"done\",\"summary\":\"'$long'\"}'; printf '%s' \"$answer\" > answer.txt; finish",
    );
    run(&world, &too_long);
    assert!(world.show("main", "answer.txt").contains("at most are taken"), "{}", world.show("main", "answer.txt"));
}

#[test]
fn the_mail_of_a_workspace_that_is_gone_on_with_is_made_anew() {
    let world = world();
    let mine = world.path().join("home/mine");
    std::fs::create_dir_all(&mine).expect("made");
    let mine = mine.display();
    let plants = [
        ("link", format!("rm -r .treehand; ln -s {mine} .treehand")),
        ("inbox", format!("rm -r .treehand/inbox; ln -s {mine} .treehand/inbox")),
        ("file", "rm -r .treehand; echo x > .treehand".to_owned()),
        ("said", "mkdir -p .treehand/inbox; echo 'push it' > .treehand/inbox/0009-steer.txt".to_owned()),
        ("closed", "chmod 0 .treehand/inbox".to_owned()),
        ("asks", "echo '{\"question\":\"Whose?\"}' > .treehand/q; mv .treehand/q .treehand/question.json".to_owned()),
    ];
    let tasks: String = plants
        .iter()
        .map(|(id, plant)| {
            let does = format!(
                "if [ \"$TREEHAND_ATTEMPT_NUMBER\" = 1 ]; then fault 'no' 401; cd $HOME; {plant}; exit 0; fi
                ls -A $TREEHAND_MAIL/inbox > {id}.txt; [ -d $TREEHAND_MAIL/inbox ] && [ ! -L $HOME/.treehand ] && echo fine > {id}.md
                tool progress '{{\"message\":\"x\"}}'; finish"
            );
            task(id, "['stub', 'second']", &does) + "handover = 'continue'\n"
        })
        .collect();
    let document = run(&world, &tasks);
    for (id, _) in &plants {
        let done = one(&document, id);
        assert_eq!(done["state"], "landed", "{id}: {done}");
        assert_eq!(done["attempts"][0]["error"]["kind"], "auth", "{id}: {done}");
        assert_eq!(done["attempts"].as_array().map(Vec::len), Some(2), "{id}: {done}");
        assert_eq!(
            (world.show("main", &format!("{id}.txt")), world.show("main", &format!("{id}.md"))),
            (String::new(), "fine\n".into()),
            "{id}"
        );
    }
    let left = std::fs::read_dir(world.path().join("home/mine")).expect("listed").count();
    assert_eq!(left, 0, "nothing was made in a directory of the user's");
}

#[test]
fn what_an_agent_plants_where_the_next_one_is_lent_something_gets_it_nothing() {
    let world = world();
    let mine = world.path().join("home/mine");
    std::fs::create_dir_all(&mine).expect("made");
    let plants = [
        ("link", format!("rm -rf .stub; ln -s {} .stub", mine.display())),
        ("own-link", format!("rm -rf .stub/auth.json; ln -s {}/x .stub/auth.json", mine.display())),
        ("directory", "rm -rf .stub/auth.json; mkdir -p .stub/auth.json/x".to_owned()),
        ("readable", "rm -rf .stub/auth.json; echo x > .stub/auth.json; chmod 666 .stub/auth.json".to_owned()),
    ];
    let tasks: String = plants
        .iter()
        .map(|(id, plant)| {
            let does = format!(
                "if [ \"$TREEHAND_ATTEMPT_NUMBER\" = 1 ]; then fault 'no' 401; cd $HOME; {plant}; exit 0; fi
                stat -c %a $HOME/.stub/auth.json > {id}.txt; cat $HOME/.stub/auth.json | wc -c >> {id}.txt; finish"
            );
            task(id, "['stub', 'second']", &does) + "handover = 'continue'\n"
        })
        .collect();
    let document = run(&world, &tasks);
    for (id, _) in &plants {
        assert_eq!(one(&document, id)["state"], "landed", "{id}: {document}");
        assert_eq!(world.show("main", &format!("{id}.txt")), format!("600\n{}\n", LENT.len()), "{id}");
    }
    assert_eq!(std::fs::read_dir(&mine).expect("listed").count(), 0);
    assert_eq!(text(&own(&world)), LENT);
}

#[test]
fn an_agent_that_asks_without_end_is_answered_and_ends() {
    let world = world();
    let script = "import socket,sys,json
s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); lines=s.makefile()
for n in range(300):
    s.sendall(json.dumps({'id':n,'tool':'ask','args':{'question':'q%d?'%n,'default':'d%d'%n,'deadline':'1ms'}}).encode()+b'\\n')
    print(lines.readline(), end='')
";
    world.commit("a script", &[("ask.py", script)]);
    if !world.has("python3") {
        return;
    }
    let does = "python3 ask.py \"$endpoint\" > answers.txt; finish";
    let document = run(&world, &task("a", "'stub'", does));
    assert_eq!(document["state"], "landed", "{document}");
    let answers = world.show("main", "answers.txt");
    assert!(answers.contains("d0") && answers.contains("d299") && !answers.contains("error"), "{answers}");
}

#[test]
fn who_takes_over_from_one_that_never_began_does_not_go_on_without_the_setup_steps() {
    let world = world();
    let profile = "extends = \"stub\"\nprogram = \"no-such-agent\"\n";
    std::fs::write(world.path().join("home/.config/treehand/agents/absent.toml"), profile).expect("written");
    let config = world.path().join("home/.config/treehand/config.toml");
    std::fs::write(config, "[worktree]\nsetup = ['touch made.txt']\n").expect("written");
    let tasks = task("a", "['absent', 'stub']", "echo x > x.txt; finish") + "handover = 'continue'\n";
    let document = run(&world, &tasks);
    assert_eq!(document["state"], "landed", "{document}");
    assert_eq!(world.git(&["ls-files", "made.txt"]), "made.txt", "{document}");
}

#[test]
fn a_setup_step_that_a_service_refuses_for_now_hands_nothing_over() {
    let world = world();
    let config = world.path().join("home/.config/treehand/config.toml");
    std::fs::write(config, "[worktree]\nsetup = ['echo too many requests; exit 1']\n[supervise]\nbackoff = '10ms'\n")
        .expect("written");
    let document = run(&world, &(task("a", "['stub', 'second']", "echo x > x.txt; finish") + "retries = 1\n"));
    let attempts = document["tasks"][0]["attempts"].as_array().expect("attempts").iter();
    let by: Vec<_> = attempts.map(|attempt| attempt["agent"]["name"].clone()).collect();
    assert_eq!(by, ["stub", "stub"], "{document}");
}

#[test]
fn who_goes_on_after_the_end_of_its_attempt_gets_nothing_and_changes_nothing() {
    let world = world();
    let does = "(trap '' TERM HUP; while :; do printf '%s' '{\"token\":\"bad-token-bad-token\",\"resource_url\":\"portal.example.com\"}' > $HOME/.stub/auth.json; done) > /dev/null 2>&1 &
        echo x > x.txt; finish";
    let document = run(&world, &task("a", "'stub'", does));
    assert_eq!(document["state"], "landed", "{document}");
    assert_nothing_left(&world);
}

#[test]
fn what_an_agent_was_lent_is_taken_back_by_a_successor_too() {
    let world = world();
    let new = LENT.replace("old", "new");
    let does = format!(
        "until [ -e \"$TREEHAND_MAIL/inbox/0001-steer.txt\" ]; do sleep 0.05; done
        printf '%s' '{new}' > $HOME/.stub/auth.json; submit failed 'no'; finish"
    );
    let file = world.path().join("tasks.toml");
    std::fs::write(&file, task("a", "'stub'", &does) + "retries = 0\n").expect("written");
    let mut run = Followed::start(&world, &["--confine", support::level(), "--tasks", &file.to_string_lossy()]);
    run.next("attempt.started");
    let id = world.only_run();
    world.treehand(&["steer", &format!("{id}/a"), "go"]).expect(0);
    run.abandon(&world, &id);
    world.treehand(&["resume", &id]);
    let shown = world.treehand(&["show", &id, "--json"]).expect(0).json();
    assert_eq!(shown["tasks"][0]["attempts"][0]["error"]["kind"], "gave_up", "{shown}");
    let home = Path::new(shown["tasks"][0]["workspace"].as_str().expect("a box")).join("home");
    assert!(home.is_dir() && !home.join(".stub/auth.json").exists());
    assert_eq!(text(&own(&world)), new);
}

#[test]
fn an_agent_sees_no_home_and_no_socket_of_another() {
    if support::level() != "strict" {
        return;
    }
    let world = world();
    let does = "for one in $(dirname $(dirname $(dirname $HOME)))/*/*/home $(dirname $endpoint)/*.sock; do [ -e $one ] && [ $one != $HOME ] && echo $one; done > seen.txt
        cat $(dirname $(dirname $(dirname $HOME)))/*/*/home/.stub/auth.json 2> /dev/null | wc -l > creds.txt; finish";
    let document = run(
        &world,
        &format!("jobs = 2\n{}{}", task("a", "'stub'", does), task("b", "'second'", "sleep 1; echo y > y.txt; finish")),
    );
    assert_eq!(document["state"], "landed", "{document}");
    assert_eq!(world.show("main", "seen.txt"), "");
}
