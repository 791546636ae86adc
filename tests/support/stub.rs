//! A stand-in for a coding agent: a script that does what its prompt says, in the language of `sh`, and tells of it as agents do.
//!
//! Words for prompts: `say LINE` writes a line of its output; `tool NAME JSON` uses a tool of treehand's and puts the answer into
//! `$answer`, `begin` does not wait for it, and `kill_server` ends its server of tools then; `finish` says that it is done; `fault MESSAGE STATUS` that it is not; `uses TOKENS` what it used. `$resumed` is the
//! conversation that it goes on with.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::World;

/// What every stand-in can: its words.
const WORDS: &str = r#"#!/bin/sh
[ "$1" = --version ] && { echo 'stub 1.0'; exit 0; }
endpoint=$1 treehand=$2 resumed=${3:-}
say() { printf '%s\n' "$1"; }
finish() { say '{"type":"end"}'; }
fault() { say '{"type":"error","message":"'"$1"'","status":'"${2:-null}"'}'; }
uses() { say '{"type":"usage","input":'"$1"',"output":0}'; }
begin() {
  rm -f "$HOME/in" "$HOME/out"; mkfifo "$HOME/in" "$HOME/out"
  "$treehand" mcp --task --endpoint "$endpoint" < "$HOME/in" > "$HOME/out" &
  server=$!
  exec 3> "$HOME/in" 4< "$HOME/out"
  printf '%s\n' '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"stub","version":"1"}}}' '{"jsonrpc":"2.0","method":"notifications/initialized"}' '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"'"$1"'","arguments":'"$2"'}}' >&3
}
kill_server() { kill -9 $server; wait $server 2> /dev/null; exec 3>&- 4<&-; }
tool() {
  begin "$1" "$2"
  answer=
  while IFS= read -r line <&4; do case $line in *'"id":1'*) answer=$line; break;; esac; done
  exec 3>&- 4<&-; wait $server; rm -f "$HOME/in" "$HOME/out"
}
submit() { tool submit_result '{"status":"'"$1"'","summary":"'"$2"'"}'; }
prompt=$(cat)
"#;

/// What the one does that its prompt tells what to do.
const OBEYS: &str = r#"
case $0 in *silent) ;; *) say '{"type":"session","id":"'"${resumed:-conversation-$$}"'"}';; esac
say '{"type":"text","text":"I am at work"}'
eval "$(printf '%s\n' "$prompt" | sed -n '/^Your task, /,$p' | sed 1,2d)"
"#;

const PROFILE: &str = r#"
schema = 1
summary = "a stand-in"
install = "copy it from the tests"
version = ["--version"]
args = ["{endpoint}", "{treehand}", ["{session}"]]
prompt = { delivery = "stdin" }
leaves = [".stub*"]

[env]
set = { HOME = "{home}" }
secrets = ["STUB_KEY"]

[[bring]]
from = ["~/.stub/auth.json"]
to = "{home}/.stub/auth.json"
refresh = true
login = true

[output]
format = "jsonl"

[[output.rule]]
event = "session"
when = { "/type" = "session" }
get = ["/id"]

[[output.rule]]
event = "text"
when = { "/type" = "text" }
get = ["/text"]

[[output.rule]]
event = "turn"
when = { "/type" = "usage" }

[[output.rule]]
event = "usage"
when = { "/type" = "usage" }
input = ["/input"]
output = ["/output"]

[[output.rule]]
event = "error"
when = { "/type" = "error" }
get = ["/message"]
status = "/status"

[[output.rule]]
event = "end"
when = { "/type" = "end" }

[success]
end = true
"#;

/// Gives a world the agent `stub`, and more of it: `second` and `third`, and `silent`, which names no conversation by itself.
pub fn install(world: &World) {
    let (programs, profiles) = (world.path().join("programs"), world.path().join("home/.config/treehand/agents"));
    std::fs::create_dir_all(&profiles).expect("made");
    for name in ["stub", "silent"] {
        write(&programs.join(name), OBEYS);
    }
    let program = programs.join("stub");
    let profile = format!("program = '{}'\n{PROFILE}", program.display());
    std::fs::write(profiles.join("stub.toml"), profile).expect("written");
    for name in ["second", "third"] {
        std::fs::write(profiles.join(format!("{name}.toml")), "extends = \"stub\"\n").expect("written");
    }
    let silent = format!("extends = \"stub\"\nprogram = '{}'\n", programs.join("silent").display());
    std::fs::write(profiles.join("silent.toml"), silent).expect("written");
}

/// Writes the program of a stand-in that does this, with the words of all of them.
pub fn write(program: &Path, does: &str) {
    std::fs::create_dir_all(program.parent().expect("a parent")).expect("made");
    std::fs::write(program, format!("{WORDS}{does}")).expect("written");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

/// A task of an agent, in a tasks file.
pub fn task(id: &str, agent: &str, prompt: &str) -> String {
    format!("[[task]]\nid = \"{id}\"\nagent = {agent}\nprompt = '''\n{prompt}\n'''\n")
}
