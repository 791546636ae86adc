#!/usr/bin/env python3
"""Real agents in the tasks of real runs, against a scripted server: called by `scripts/test-agents`, not by hand.

Each scenario has a world of its own, and is confined `strict`. What has to come of it is the same for every agent, but for what
`UNLIKE` says. `AGENT/SCENARIO` names one; those of `all` need several agents.
"""

import argparse
import json
import os
import signal
import sys
import time
import traceback

from world import Differs, World, check, one_of, same

COMMIT = "git add -A && git -c user.name=agent -c user.email=agent@example.com commit -q -m scripted && git rev-parse HEAD"
SUMMARY = "wrote hello.txt, as the script says"
SUBMIT = {"tool": "submit_result", "args": {"status": "done", "summary": SUMMARY}}
END = [SUBMIT, {"say": "DONE."}]

# Commands that stay are known by how long they would: that is ours alone.
STAY, GONE = 10_000_000 + os.getpid(), 20_000_000 + os.getpid()
LEAVE = f"setsid nohup env -i sleep {GONE} < /dev/null > /dev/null 2>&1 & sleep 0.2; echo begun"

# These have no tools of treehand's, and speak in words; the one is asked for edits, the other ends by a command.
IN_WORDS = ["aider", "mini-swe-agent"]
EDIT = "hello.txt\n```\nhello\n```\n"
SAY_DONE = {"shell": "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"}

FIRST = ["codex", "claude", "pi"]
# Who takes over from an agent.
NEXT = {"codex": "claude", "claude": "pi", "pi": "codex"}
# Agents of which a result is taken only when they handed it in: a stream that was cut looks like an end there.
HAND_IN = ["pi", "opencode", "gemini"]

# What comes of it otherwise: kinds and classes of the error, with the reason.
UNLIKE = {
    # They say of a stream that was cut what they say of any other, so that only the missing result tells.
    ("pi", "cut"): (["no_result"], ["failure"]),
    ("gemini", "cut"): (["no_result"], ["failure"]),
    # It asks again for ever, and says nothing of it.
    ("opencode", "500"): (["no_start", "timeout"], ["timeout"]),
    ("qwen", "500"): (["no_start", "timeout"], ["timeout"]),
    ("qwen", "429"): (["timeout"], ["timeout"]),
    # It asks again for ever, and each time it is a turn.
    ("opencode", "cut"): (["budget"], ["policy"]),
}


def lands(agent, world):
    """It writes a file and commits it; both land."""
    outcome = world.run("[[script:lands]]", "--agent", agent)
    outcome.has_landed()
    same("hello.txt", world.git("show", "main:hello.txt"), "hello\n")
    same("attempts", [one.agent for one in outcome.attempts], [agent])
    check(outcome.attempts[0].session or agent in IN_WORDS, "its conversation has no name")


def of_lands(agent):
    if agent == "aider":
        return [{"say": EDIT}]
    end = [SAY_DONE] if agent in IN_WORDS else END if agent in HAND_IN else END[1:]
    return [{"write": ["hello.txt", "hello\n"]}, {"shell": COMMIT}, *end]


lands.scripts = lambda agent: {"lands": of_lands(agent)}


def checked(agent, world):
    """`agents check`: it is found, gets in, answers, hands in a result and changes nothing."""
    done = world.call("-q", "agents", "check", agent, "--json")
    found = json.loads(done.stdout)
    same("exit code and error", (done.returncode, found["error"]), (0, None))
    has_tools = agent not in IN_WORDS
    # mini-swe-agent says its version by no flag, and neither of those in words has tools.
    unknown = {"aider": ["tools"], "mini-swe-agent": ["version", "tools"]}.get(agent, [])
    same("steps that did not go well", [step["step"] for step in found["steps"] if not step["ok"]], unknown)
    same("ok and model", (found["ok"], found["model"].split("/")[-1]), (True, "scripted"))
    same("it says what it used", bool(found["usage"]["tokens"]) and bool(found["session"]), has_tools)
    same("worktrees", len(world.git("worktree", "list").splitlines()), 1)
    same("branches", world.git("branch", "--format=%(refname:short)").split(), ["main"])


def of_checked(agent):
    nothing = {"tool": "submit_result", "args": {"status": "nothing_to_do", "summary": "ok"}}
    return [SAY_DONE] if agent == "mini-swe-agent" else [{"say": "ok"}] if agent in IN_WORDS else [nothing, {"say": "ok"}]


checked.scripts = lambda agent: {"unmarked": of_checked(agent)}


def not_let_in(agent, world):
    """`agents check` of one that is not let in says so, and what to do about it."""
    done = world.call("-q", "agents", "check", agent, "--json")
    found = json.loads(done.stdout)
    same("exit code, ok and class", (done.returncode, found["ok"], found["error"]["class"]), (1, False, "auth"))
    one_of("beginning of the hint", found["error"]["hint"].split(" ")[0], ["log", "set"])


not_let_in.scripts = lambda agent: {"unmarked": [{"http": 401}]}


def no_key(agent, world):
    """401: no second attempt, and the next agent takes over."""
    other = NEXT.get(agent, "codex")
    outcome = world.run("[[script:no-key]]", "--agent", f"{agent},{other}")
    outcome.has_landed()
    same("attempts", [one.agent for one in outcome.attempts], [agent, other])
    first = outcome.attempts[0]
    same("kind and class of the error", (first.kind, first.failure), ("auth", "auth"))
    same("hello.txt", world.git("show", "main:hello.txt"), "hello\n")


no_key.scripts = lambda agent: {f"no-key@{agent}": [{"http": 401}], "no-key": [{"write": ["hello.txt", "hello\n"]}, *END]}
no_key.agents = lambda agent: [agent, NEXT.get(agent, "codex")]


def refusal(status, kinds, classes, attempts):
    """A server that answers everything with a status; it ends like that after so many attempts."""

    def scenario(agent, world):
        outcome = world.run(f"[[script:{scenario.name}]]", "--agent", agent, "--timeout", "60s")
        outcome.has_failed(*UNLIKE.get((agent, scenario.name), (kinds, classes)))
        same("attempts", len(outcome.attempts), attempts)

    scenario.name = str(status)
    scenario.__doc__ = f"{status} to everything: {attempts} attempt{'s' if attempts > 1 else ''}, of class {' or '.join(classes)}."
    scenario.scripts = lambda agent: {scenario.name: [{"http": status}]}
    return scenario


def limited_twice(agent, world):
    """429 twice: it, or another attempt, comes through."""
    outcome = world.run("[[script:429-twice]]", "--agent", agent)
    outcome.has_landed()
    same("refused", sum(one.status == 429 for one in world.server.of("429-twice")), 2)
    same("hello.txt", world.git("show", "main:hello.txt"), "hello\n")


limited_twice.scripts = lambda agent: {"429-twice": [{"http": 429, "times": 2}, {"write": ["hello.txt", "hello\n"]}, *END]}


def cut(agent, world):
    """Each stream ends in the middle: what was written so far does not land."""
    outcome = world.run("[[script:cut]]", "--agent", agent, "--timeout", "60s")
    outcome.has_failed(*UNLIKE.get((agent, "cut"), (["agent", "cut", "timeout"], ["transient", "timeout"])))


cut.scripts = lambda agent: {"cut": [{"write": ["hello.txt", "hello\n"]}, {"cut": "all of this will be cut somewhere in the middle"}]}
cut.settings = {"supervise.attempts": 1}


def silent(agent, world):
    """A server that takes the request and says nothing: whoever only waits for it is idle, whatever helpers it has."""
    begun = time.monotonic()
    outcome = world.run("[[script:silent]]", "--agent", agent, "--timeout", "15s")
    # These take more than an agent that waits may while they begin, on a machine that has other things to do: they are at work by that.
    outcome.has_failed(["idle", "timeout"] if agent in ("claude", "opencode") else ["idle"], ["timeout"])
    check(time.monotonic() - begun < 30, f"it took {time.monotonic() - begun:.0f} s")


silent.scripts = lambda agent: {"silent": [{"hang": True}]}
silent.settings = {"supervise.attempts": 1, "supervise.idle": "6s"}


def submits(agent, world):
    """It hands in a result, which is on record."""
    outcome = world.run("[[script:submits]]", "--agent", agent)
    outcome.has_landed()
    same("what was handed in", outcome.attempts[0].submission, {"status": "done", "summary": SUMMARY})
    handed = [one for one in world.server.of("submits") if len(one.results) == 2]
    check(handed, "nothing was asked after the result was handed in")
    same("what the tool said has 'stored' in it", "stored" in handed[0].results[1], True)


submits.scripts = lambda agent: {"submits": [{"write": ["hello.txt", "hello\n"]}, *END]}


def nothing_to_do(agent, world):
    """It says that there was nothing to do, and that is no failure."""
    outcome = world.run("[[script:nothing]]", "--agent", agent)
    same("exit code and states", (outcome.code, set(outcome.states.values())), (0, {"no_change"}))


nothing_to_do.scripts = lambda agent: {
    "nothing": [{"tool": "submit_result", "args": {"status": "nothing_to_do", "summary": "it is done already"}}, {"say": "DONE."}]
}


def asks(agent, world):
    """It asks a person, the task waits, and the answer is what its tool says."""
    run = world.start("[[script:asks]]", "--agent", agent, "--name", "t")
    waits = lambda: world.document("show", run)["tasks"][0]["question"]
    question = world.until("the task does not wait for an answer", waits)
    same("the question", question["text"], "Which port?")
    world.document("answer", f"{run}/t", "port 48213")
    outcome = world.followed(run)
    outcome.has_landed()
    heard = [one for one in world.server.of("asks") if len(one.results) >= 2]
    check(heard and "48213" in heard[0].results[1], "the answer has not come to the agent")
    same("attempts", len(outcome.attempts), 1)


asks.scripts = lambda agent: {
    "asks": [{"write": ["hello.txt", "hello\n"]}, {"tool": "ask", "args": {"question": "Which port?"}}, *END]
}


def resumes(agent, world):
    """It is killed in the middle: the next attempt goes on with its conversation, in the same workspace."""
    run = world.start("[[script:resumes]]", "--agent", agent)
    world.until_asked("resumes", 1)
    world.until("its command does not run", lambda: any(f"sleep {STAY}" in called for called in world.processes().values()))
    asked = len(world.server.requests)
    os.kill(world.agent_process(), signal.SIGKILL)
    outcome = world.followed(run)
    outcome.has_landed()
    same("attempts", [one.agent for one in outcome.attempts], [agent, agent])
    first, second = outcome.attempts
    same("class of the error", first.failure, "crash")
    check(first.session, "the first attempt's conversation has no name")
    same("the conversation that the second goes on with", second.resumed, first.session)
    later = [one for one in world.server.requests[asked:] if one.script]
    check(later and all(one.results for one in later), "the second attempt has asked without what the first had done")
    same("hello.txt", world.git("show", "main:hello.txt"), "hello\n")


resumes.scripts = lambda agent: {
    "resumes": [{"write": ["hello.txt", "hello\n"]}, {"shell": f"test -e once && exit 0; touch once; sleep {STAY}"}, *END]
}


def cancelled(agent, world):
    """It is cancelled while a child of its shell has gone away from it: nothing of both survives."""
    run = world.start("[[script:cancelled]]", "--agent", agent)
    world.until_asked("cancelled", 1)
    runs = lambda seconds: any(f"sleep {seconds}" in called for called in world.processes().values())
    world.until("its commands do not run", lambda: runs(STAY) and runs(GONE))
    begun = time.monotonic()
    world.document("cancel", run)
    outcome = world.followed(run)
    check(time.monotonic() - begun < 15, f"it took {time.monotonic() - begun:.0f} s")
    same("states", set(outcome.states.values()), {"cancelled"})


cancelled.scripts = lambda agent: {
    "cancelled": [
        {"shell": LEAVE},
        {"shell": f"echo on > on.txt; sleep {STAY}"},
        {"say": "DONE."},
    ]
}


def leaves_a_child(agent, world):
    """It ends well, and what its shell has left behind is ended with it."""
    outcome = world.run("[[script:leaves]]", "--agent", agent)
    outcome.has_landed()
    same("its child has begun", any("begun" in one.results[1] for one in world.server.of("leaves") if len(one.results) == 2), True)


leaves_a_child.scripts = lambda agent: {
    "leaves": [
        {"write": ["hello.txt", "hello\n"]},
        {"shell": LEAVE},
        *END,
    ]
}

TASK = '[[task]]\nid = "{id}"\nagent = "{agent}"\nprompt = "[[script:{script}]] Do it."\nneeds = {needs}\n'


def tasks_file(world, tasks):
    path = f"{world.place}/tasks.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(TASK.format(**{"needs": [], **task}) for task in tasks)
    return path


def two_at_once(agent, world):
    """Two of it at the same moment: neither hears or sees anything of the other."""
    path = tasks_file(world, [{"id": name, "agent": agent, "script": f"two.{name}"} for name in "ab"])
    outcome = world.run("--tasks", path, "--jobs", "2")
    outcome.has_landed()
    for name, other in ["ab", "ba"]:
        same(f"{name}.txt", world.git("show", f"main:{name}.txt"), f"of {name}\n")
        asked = world.server.of(f"two.{name}")
        check(asked, f"nothing was asked for {name}")
        check(not any(f"script:two.{other}]" in one.text or f"{other}.txt" in one.text for one in asked), f"{name} has heard of {other}")
        [attempt] = outcome.of(name)
        same(f"summary of {name}", attempt.submission["summary"], f"did {name}")
    sessions = {one.session for one in outcome.attempts}
    check(len(sessions) == 2 and None not in sessions, f"conversations: {sessions}")


def of_two(name):
    end = {"tool": "submit_result", "args": {"status": "done", "summary": f"did {name}"}}
    return [{"write": [f"{name}.txt", f"of {name}\n"], "meet": 2}, {"shell": f"ls > /dev/null; cat {name}.txt"}, end, {"say": "DONE."}]


two_at_once.scripts = lambda agent: {f"two.{name}": of_two(name) for name in "ab"}


def secret(agent, world):
    """The key that it asks its server with is in no tool's environment, no log, no journal, no result."""
    outcome = world.run("[[script:secret]]", "--agent", agent)
    outcome.has_landed()
    printed = world.git("show", "main:env.txt")
    check("TREEHAND_TASK=" in printed, "the shell has printed no environment")
    keys = [line.split("=")[0] for line in printed.splitlines() if world.key in line]
    same("variables of its shell with the key", keys, [])
    check(world.key not in outcome.said, "what treehand said has the key in it")
    check(not any(world.key in one.text for one in world.server.requests), "the model was told the key")
    same("files with the key", world.find_text(world.key), [])


secret.scripts = lambda agent: {"secret": [{"shell": "env | sort > env.txt; env"}, *END]}


def tasks_of_three(_, world):
    """A file of five tasks, done by three agents, one on another's results; all land."""
    tasks = [
        {"id": "one", "agent": "codex", "script": "five.one"},
        {"id": "two", "agent": "claude", "script": "five.two"},
        {"id": "three", "agent": "pi", "script": "five.three"},
        {"id": "four", "agent": "codex", "script": "five.four", "needs": ["two", "three"]},
        {"id": "five", "agent": "claude", "script": "five.five", "needs": ["one", "four"]},
    ]
    outcome = world.run("--tasks", tasks_file(world, tasks), "--jobs", "3")
    outcome.has_landed()
    same("agents", {one.task: one.agent for one in outcome.attempts}, {task["id"]: task["agent"] for task in tasks})
    for task in tasks:
        same(task["id"], world.git("show", f"main:{task['id']}.txt"), "done\n")
    seen = world.git("show", "main:seen.txt").split()
    same("what the last has seen", seen, [f"{name}.txt" for name in ["five", "four", "one", "three", "two"]])
    told = world.server.of("five.four")[0].text
    check(SUMMARY in told, "the fourth was not told what those before it came to")


def of_five(name):
    see = [{"shell": "ls *.txt > /tmp/seen && mv /tmp/seen seen.txt"}] if name == "five" else []
    return [{"write": [f"{name}.txt", "done\n"]}, *see, *END]


tasks_of_three.scripts = lambda _: {f"five.{name}": of_five(name) for name in ["one", "two", "three", "four", "five"]}
tasks_of_three.agents = lambda _: FIRST

refused_for_good = refusal(400, ["agent"], ["policy"], 1)
limited = refusal(429, ["rate_limit"], ["rate_limit"], 1)
limited.settings = {"supervise.attempts": 1}
broken = refusal(500, ["agent"], ["transient"], 2)

OF_EACH = {
    "lands": lands,
    "401": no_key,
    "400": refused_for_good,
    "429-twice": limited_twice,
    "429": limited,
    "500": broken,
    "cut": cut,
    "silent": silent,
    "submits": submits,
    "nothing": nothing_to_do,
    "asks": asks,
    "resumes": resumes,
    "cancelled": cancelled,
    "leaves": leaves_a_child,
    "two": two_at_once,
    "secret": secret,
    "check": checked,
    "check-401": not_let_in,
}
OF_WORDS = ["lands", "check", "check-401"]
OF_ALL = {"tasks-file": tasks_of_three}


def play(treehand, programs, agent, scenario):
    """What differed, line by line; nothing where nothing did."""
    world = World(treehand, programs, scenario.scripts(agent), getattr(scenario, "settings", None), [f"sleep\0{GONE}"])
    differed, keep = [], bool(os.environ.get("TEST_AGENTS_KEEP"))
    try:
        scenario(agent, world)
        world.nothing_is_left()
    except Differs as what:
        differed.append(str(what))
    except Exception:  # A scenario that breaks has failed, and the others are still played.
        differed += traceback.format_exc().splitlines()
    finally:
        differed += [f"script {one.script}: {one.wrong}" for one in world.server.requests if one.wrong]
        if differed:
            asked = [(one.script, len(one.results), one.status or one.step) for one in world.server.requests[:12]]
            differed += [f"asked: {script}, {results} results: {answer}" for script, results, answer in asked]
            for log, lines in world.told():
                differed += [f"{log}: {line}" for line in lines]
            differed += [f"kept: {world.place}"] if keep else []
        world.close(keep and bool(differed))
    return differed


def not_confined(treehand):
    """Why nothing can be confined here; empty where it can."""
    world = World(treehand, {}, {})
    try:
        done = world.call("-q", "run", "--confine", "strict", "--", "true")
        return "" if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"
    finally:
        world.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("treehand")
    parser.add_argument("programs", nargs="*", metavar="NAME=PATH")
    parser.add_argument("--only", action="append", default=[], metavar="AGENT[/SCENARIO]")
    options = parser.parse_args()
    programs = dict(pair.split("=", 1) for pair in options.programs)
    plan = [(agent, name, scenario) for agent in programs for name, scenario in OF_EACH.items()]
    plan = [one for one in plan if one[0] not in IN_WORDS or one[1] in OF_WORDS]
    plan += [("all", name, scenario) for name, scenario in OF_ALL.items()]
    known = {agent for agent, _, _ in plan} | {f"{agent}/{name}" for agent, name, _ in plan} | set(OF_EACH)
    why = not_confined(options.treehand)
    if why:
        print(f"\n== NO SCENARIO IS PLAYED: agents cannot be confined `strict` here: {why}", flush=True)
        return 1
    unknown = [one for one in options.only if one not in known]
    if unknown:
        print(f"\n== NOT RUN: {', '.join(unknown)}: there is no such scenario, or its agent is not there", flush=True)
    only = set(options.only)
    plan = [one for one in plan if not only or {one[0], f"{one[0]}/{one[1]}", one[1]} & only]
    failed, not_run, well = [], list(unknown), 0
    for agent, name, scenario in plan:
        needed = getattr(scenario, "agents", lambda agent: [agent])(agent)
        missing = [one for one in needed if one not in programs]
        if missing:
            print(f"\n== NOT RUN: {agent}/{name}: {', '.join(missing)} not there\n", flush=True)
            not_run.append(f"{agent}/{name}")
            continue
        begun = time.monotonic()
        differed = play(options.treehand, programs, agent, scenario)
        word = "FAILED" if differed else "ok"
        print(f"{word:<7} {agent + '/' + name:<22} {time.monotonic() - begun:5.1f} s  {(scenario.__doc__ or '').split(chr(10))[0]}", flush=True)
        for line in differed:
            print(f"        {line}", flush=True)
        failed += [f"{agent}/{name}"] if differed else []
        well += not differed
    word = f", {len(failed)} FAILED: {' '.join(failed)}" if failed else ""
    word += f", {len(not_run)} NOT RUN: {' '.join(not_run)}" if not_run else ""
    print(f"\n{well} ok{word}", flush=True)
    return 1 if failed or not_run else 0


if __name__ == "__main__":
    # What ends it ends what it has started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
