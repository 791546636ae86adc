#!/usr/bin/env python3
"""What supervision costs: called by `scripts/bench orchestrate`, not by hand.

First short tasks: the time from admission to the first instruction of a command (its workspace is made in between), from its
last instruction to the recorded end, and how many lines the journal takes in a second; beside it a shell loop that does the
same with `git worktree add` and `&`. Then commands that sleep: what holding them costs in memory and processor time.
"""

import json
import os
import subprocess
import sys
import time
from datetime import datetime


def median(values):
    return sorted(values)[len(values) // 2] if values else float("nan")


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000


def tasks_file(path, count, script):
    with open(path, "w") as file:
        for n in range(count):
            text = script.replace("NUMBER", str(n))
            file.write(f'[[task]]\nid = "t{n}"\ncommand = ["sh", "-c", {json.dumps(text)}]\n')


def events(treehand, repo, run):
    """The lines of the journal about a run, told by one who follows it."""
    command = [treehand, "-C", repo, "-q", "run", "--events", "--confine", LEVEL, *run]
    told = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    return [json.loads(line) for line in told.stdout.splitlines()]


def short(treehand, place, repo, tasks, jobs):
    file = f"{place}/short.toml"
    tasks_file(file, tasks, "date +%s%N; echo NUMBER > short-NUMBER.txt; date +%s%N")
    began = time.perf_counter()
    lines = events(treehand, repo, ["--jobs", str(jobs), "--tasks", file])
    wall = time.perf_counter() - began
    at = {}
    for line in lines:
        at.setdefault((line.get("task"), line["kind"]), moment(line["at"]))
    run = next(line["run"] for line in lines)
    logs = f"{repo}/.git/treehand/logs/{run}"
    first, last = [], []
    for n in range(tasks):
        with open(f"{logs}/t{n}.1.log") as log:
            stamps = [int(stamp) / 1e6 for stamp in log.read().split()]
        first.append(stamps[0] - at[f"t{n}", "task.lease"])
        last.append(at[f"t{n}", "attempt.ended"] - stamps[1])
    landed = sum(line["kind"] == "task.land" for line in lines)
    if landed != tasks:
        sys.exit(f"{landed} of {tasks} tasks landed")
    print(f"{tasks} short tasks, {jobs} at once: {wall * 1000 / tasks:.1f} ms a task; from admission to the first instruction "
          f"{median(first):.1f} ms, from the last to the record {median(last):.1f} ms; {len(lines) / wall:.0f} lines of journal a second")
    return wall


def by_hand(repo, tasks, jobs):
    """The same without anything that looks after it: worktrees, commands in the background, squashes one after the other."""
    script = f"""
    one() {{
        flock "$0.lock" git worktree add -q -b "hand/$1" "$0.hand/$1" main && cd "$0.hand/$1" && echo $1 > hand-$1.txt &&
        git add -A && git commit -qm "hand $1"
    }}
    for n in $(seq 0 {tasks - 1}); do one $n & [ $(jobs -r | wc -l) -lt {jobs} ] || wait -n; done; wait
    for n in $(seq 0 {tasks - 1}); do
        git merge -q --squash hand/$n > /dev/null 2>&1 && git commit -qm "hand $n" && git worktree remove "$0.hand/$n" &&
        git branch -q -D hand/$n
    done
    """
    began = time.perf_counter()
    subprocess.run(["bash", "-c", script, repo], cwd=repo, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def below(pid):
    """A process and all that it started, with what it takes of memory and of the processor."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
            parents[int(name)] = int(fields[1])
        except OSError:
            continue
    found, fresh = {pid}, {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def cost(pids):
    """Kilobytes of memory, shared parts divided, and seconds of processor time."""
    memory, ticks = 0, 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as smaps:
                memory += next(int(line.split()[1]) for line in smaps if line.startswith("Pss:"))
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        except (OSError, StopIteration):
            continue
    return memory, ticks / os.sysconf("SC_CLK_TCK")


def sleeping(treehand, place, repo, agents, seconds):
    file = f"{place}/sleep.toml"
    tasks_file(file, agents, "exec sleep 100000")
    run = [treehand, "-C", repo, "-q", "run", "--json", "--detach", "--confine", LEVEL, "--jobs", str(agents), "--tasks", file]
    run = json.loads(subprocess.run(run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout)["run"]
    show = [treehand, "-C", repo, "show", run, "--json"]
    while True:
        states = [task["state"] for task in json.loads(subprocess.run(show, stdout=subprocess.PIPE, check=True).stdout)["tasks"]]
        if all(state == "running" for state in states):
            break
        time.sleep(0.2)
    with open(f"{repo}/.git/treehand/locks/run-{run}") as lock:
        supervisor = int(lock.read().rsplit(" ", 1)[1])
    time.sleep(3)
    memory, before = cost(below(supervisor))
    time.sleep(seconds)
    pids = below(supervisor)
    _, after = cost(pids)
    own, _ = cost({supervisor})
    files = len(os.listdir(f"/proc/{supervisor}/fd"))
    print(f"{agents} commands that sleep: {memory / agents:.0f} KB each ({own} KB of it the supervisor's, who has {files} files open), "
          f"{(after - before) * 100 / seconds:.2f} % of a core for all of them")
    cancelled = time.perf_counter()
    subprocess.run([treehand, "-C", repo, "-q", "cancel", run], stdout=subprocess.DEVNULL, check=True)
    print(f"cancelled in {time.perf_counter() - cancelled:.1f} s")


LEVEL = os.environ.get("BENCH_LEVEL", "strict")


def main():
    treehand, place, tasks, jobs, agents = sys.argv[1:]
    repo, tasks, jobs, agents = f"{place}/repo", int(tasks), int(jobs), int(agents)
    wall = short(treehand, place, repo, tasks, jobs)
    hand = by_hand(repo, tasks, jobs)
    print(f"wall {wall * 1000:.0f} ms, the shell loop {hand * 1000:.0f} ms; ratio {wall / hand:.2f}")
    sleeping(treehand, place, repo, agents, 10)


main()
