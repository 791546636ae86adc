#!/usr/bin/env python3
"""What it gains that tasks which change the same files are not at work together: called by `scripts/bench overlap`, not by hand.

A run of tasks, made by chance: each waits for a moment, as an agent thinks, and then adds a word of its own to a line or two of a
few files. Some files are wanted by many tasks and have few lines, so two tasks often want the same line; most are wanted by hardly
any. Most tasks declare what they change: the files, or a pattern that has them and their neighbours in it. The same run, with the
same number of jobs, lands by itself under each policy of `supervise.overlap`. Where a word is missing in the end that a landed task
wrote, the benchmark fails.
"""

import json
import os
import random
import subprocess
import sys
import time

POLICIES = ["ignore", "prefer", "wait"]
HOT, HOT_LINES = 4, 4
COLD, COLD_LINES = 80, 12
# Lines further apart than git looks for a conflict.
APART = 6


def hot(n):
    return f"hot/part{n % 2}/file{n}.txt"


def cold(n):
    return f"cold/part{n % 8}/file{n}.txt"


def make_repository(repo):
    subprocess.run(["git", "init", "-q", "-b", "main", repo], check=True)
    for key, value in [("user.name", "Bench"), ("user.email", "bench@example.com"), ("gc.auto", "0")]:
        subprocess.run(["git", "-C", repo, "config", key, value], check=True)
    files = [(hot(n), HOT_LINES) for n in range(HOT)] + [(cold(n), COLD_LINES) for n in range(COLD)]
    for path, lines in files:
        os.makedirs(os.path.dirname(f"{repo}/{path}"), exist_ok=True)
        with open(f"{repo}/{path}", "w", encoding="utf-8") as file:
            file.writelines(f"line {line} of {path}\n" for line in range(lines * APART))
    subprocess.run(["git", "-C", repo, "add", "-A"], check=True)
    subprocess.run(["git", "-C", repo, "commit", "-qm", "base"], check=True)


def make_tasks(count, seed):
    """What each task waits for, changes and declares."""
    chance = random.Random(seed)
    tasks = []
    for n in range(count):
        edits = {}
        if chance.random() < 0.55:
            path = hot(chance.randrange(HOT))
            edits[path] = chance.sample(range(HOT_LINES), 1 if chance.random() < 0.7 else 2)
        for path in chance.sample([cold(n) for n in range(COLD)], chance.randint(1, 2)):
            edits[path] = [chance.randrange(COLD_LINES)]
        kind, paths = chance.random(), list(edits)
        if kind < 0.15:
            paths = []
        elif kind < 0.35:
            paths = sorted({f"{os.path.dirname(path)}/**" for path in edits})
        tasks.append({"id": f"t{n}", "thinks": round(chance.uniform(0.1, 0.6), 2), "edits": edits, "paths": paths})
    return tasks


def write_tasks(path, tasks):
    with open(path, "w", encoding="utf-8") as file:
        for task in tasks:
            steps = [f"sleep {task['thinks']}"]
            for edited, lines in task["edits"].items():
                marks = ";".join(f"{line * APART + 1}s/$/ {task['id']}./" for line in lines)
                steps.append(f"sed -i '{marks}' {edited}")
            file.write(f"[[task]]\nid = \"{task['id']}\"\ncommand = [\"sh\", \"-ec\", {json.dumps('; '.join(steps))}]\n")
            if task["paths"]:
                file.write(f"paths = {json.dumps(task['paths'])}\n")


def lost(repo, tasks, landed):
    """Words of landed tasks that are not in the target."""
    missing = []
    for task in tasks:
        for path, lines in task["edits"].items() if task["id"] in landed else ():
            text = subprocess.run(["git", "-C", repo, "show", f"main:{path}"], stdout=subprocess.PIPE, check=True).stdout
            there = text.decode().splitlines()
            missing += [f"{task['id']} in {path}" for line in lines if f" {task['id']}." not in there[line * APART]]
    return missing


def measure(treehand, place, tasks, jobs, policy):
    repo = f"{place}/repo"
    make_repository(repo)
    write_tasks(f"{place}/tasks.toml", tasks)
    command = [treehand, "-C", repo, "-q", "run", "--json", "--confine", "off", "--jobs", str(jobs)]
    command += ["--set", f"supervise.overlap={policy}", "--tasks", f"{place}/tasks.toml"]
    began = time.perf_counter()
    # What is rejected is not exit 0.
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    wall = time.perf_counter() - began
    states = {task["id"]: task["state"] for task in json.loads(done.stdout)["tasks"]}
    if not set(states.values()) <= {"landed", "rejected"}:
        sys.exit(f"{policy}: a task ended otherwise: {states}")
    landed = {task for task, state in states.items() if state == "landed"}
    missing = lost(repo, tasks, landed)
    if missing:
        sys.exit(f"{policy}: it landed and is not there: {missing}")
    return len(states) - len(landed), len(landed), wall


def main():
    treehand, place, count, jobs, seeds = sys.argv[1], sys.argv[2], *(int(number) for number in sys.argv[3:6])
    totals = {policy: [0, 0, 0.0] for policy in POLICIES}
    for seed in range(1, seeds + 1):
        tasks = make_tasks(count, seed)
        for policy in POLICIES:
            here = f"{place}/{policy}{seed}"
            os.makedirs(here)
            found = measure(treehand, here, tasks, jobs, policy)
            totals[policy] = [total + one for total, one in zip(totals[policy], found)]
    print(f"{count} tasks, {jobs} jobs, {seeds} workloads; together:")
    for policy, (rejected, landed, wall) in totals.items():
        print(f"  {policy:<7} rejected {rejected:>3}, landed {landed:>3}, wall {wall:5.1f} s")


main()
