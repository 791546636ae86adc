#!/usr/bin/env python3
"""Many short tasks in several runs at once: called by `scripts/stress soak`, not by hand.

Each supervisor is looked at all the while: its memory, descriptors, threads and shims, and the processor time that it and its
children have taken. When all runs are over, everything has landed once, nothing is left, memory and descriptors stayed flat.
How long the steps of a task took at the beginning and at the end of its run is told beside that: a step that takes longer the
more tasks there are would show.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime

EVERY = 0.2
FILES = 300
TICK = os.sysconf("SC_CLK_TCK")

# What may grow between the second fifth of the samples and the last one. In a short run the allocator is still taking what it keeps.
MEMORY = (1.2, 8192 if int(sys.argv[3]) < 500 else 4096)
# More of the last samples than of the others are of landings, for which several gits are at work.
DESCRIPTORS = (1, 8)

# Fewer samples than this say nothing about growth.
ENOUGH = 25


def median(values):
    return sorted(values)[len(values) // 2] if values else float("nan")


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def git(repo, *args):
    return subprocess.run(["git", "-C", repo, *args], stdout=subprocess.PIPE, check=True, text=True).stdout


def make_repository(repo):
    git(".", "init", "-q", "-b", "main", repo)
    git(repo, "config", "user.name", "Soak")
    git(repo, "config", "user.email", "soak@example.com")
    for n in range(FILES):
        os.makedirs(f"{repo}/dir{n % 15}", exist_ok=True)
        with open(f"{repo}/dir{n % 15}/file{n}.txt", "w") as file:
            file.write(f"file {n}\n" * 40)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "base")


def start(treehand, place, repo, number, count):
    """A run of that many tasks, each of which changes a file of its own; its name and its supervisor's number."""
    path = f"{place}/run{number}.toml"
    with open(path, "w") as file:
        for n in range(count):
            script = json.dumps(f"echo {n} > dir{n % 15}/soak-{number}-{n}.txt")
            file.write(f'[[task]]\nid = "t{n}"\ncommand = ["sh", "-c", {script}]\n')
    args = ["-q", "run", "--json", "--detach", "--confine", LEVEL, "--jobs", "2", "--tasks", path]
    command = [treehand, "-C", repo, *args]
    run = json.loads(subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout)["run"]
    return run, supervisor_of(repo, run)


def supervisor_of(repo, run):
    with open(f"{repo}/.git/treehand/locks/run-{run}") as lock:
        return int(lock.read().rsplit(" ", 1)[1])


def shims_by_parent():
    """How many shims each process has."""
    found = Counter()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as words:
                is_shim = words.read().split(b"\0")[1:2] == [b"__shim"]
            if is_shim:
                with open(f"/proc/{name}/stat") as stat:
                    found[int(stat.read().rpartition(")")[2].split()[1])] += 1
        except OSError:
            continue
    return found


def sample(pid, shims):
    """What a supervisor takes at the moment; `None` when it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as smaps:
            pairs = (line.split()[:2] for line in smaps if line.endswith("kB\n"))
            memory = {name.rstrip(":"): int(size) for name, size in pairs}
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        own, children = (int(fields[n]) + int(fields[n + 1]) for n in (11, 13))
        return {
            "at": time.time(),
            "resident": memory["Rss"],
            "private": memory["Private_Clean"] + memory["Private_Dirty"],
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": int(fields[17]),
            "shims": shims[pid],
            "own": own / TICK * 1000,
            "children": children / TICK * 1000,
        }
    except (OSError, KeyError):
        return None


def watch(supervisors):
    """Samples of all supervisors until the last of them is gone."""
    samples = {run: [] for run in supervisors}
    living = dict(supervisors)
    while living:
        shims = shims_by_parent()
        for run, pid in list(living.items()):
            taken = sample(pid, shims)
            if taken:
                samples[run].append(taken)
            else:
                del living[run]
        time.sleep(EVERY)
    return samples


def fifth(values, number):
    return values[len(values) * (number - 1) // 5:len(values) * number // 5]


def flat(samples, what, allowed):
    """The medians of the second and of the last fifth, and whether the difference is allowed."""
    values = [sample[what] for sample in samples]
    before, after = median(fifth(values, 2)), median(fifth(values, 5))
    return before, after, len(values) < ENOUGH or after <= before * allowed[0] + allowed[1]


# What is done for a task beside its command, by the lines of the journal that it lies between.
STEPS = {
    "made ready": ("task.lease", "attempt.started"),
    "taken in": ("attempt.ended", "task.capture"),
    "landed": ("land", "task.land"),
}


def steps(repo, run):
    """How long each step took for each task, in the order in which they happened."""
    store = sqlite3.connect(f"file:{repo}/.git/treehand/state.db?mode=ro", uri=True)
    began, took = {}, {name: [] for name in STEPS}
    for task, kind, phase, at in store.execute("SELECT task, kind, phase, at FROM journal WHERE run = ? ORDER BY seq", [run]):
        for name, (first, last) in STEPS.items():
            if kind == first and phase != "done":
                began[name, task] = at
            elif kind == last and (name, task) in began:
                took[name].append(at - began.pop((name, task)))
    store.close()
    return took


def judge_run(treehand, repo, run, pid, samples, wrong):
    """Prints what a run took, and notes what is wrong with it."""
    shown = json.loads(subprocess.run([treehand, "-C", repo, "show", run, "--json"], stdout=subprocess.PIPE, check=True).stdout)
    tasks = shown["tasks"]
    landed = sorted(moment(task["landed"]["at"]) for task in tasks if task.get("landed"))
    if len(landed) != len(tasks):
        left = Counter(task["state"] for task in tasks if not task.get("landed"))
        wrong.append(f"{run}: {len(landed)} of {len(tasks)} tasks landed; the others: {dict(left)}")
    if supervisor_of(repo, run) != pid:
        wrong.append(f"{run}: its first supervisor has ended before it")
    if len(samples) < 5 or len(landed) < 5:
        wrong.append(f"{run}: too short to say anything of it")
        return
    figures = {}
    for what, allowed in (("resident", MEMORY), ("private", MEMORY), ("descriptors", DESCRIPTORS), ("threads", DESCRIPTORS)):
        before, after, is_flat = flat(samples, what, allowed)
        figures[what] = f"{before} to {after}"
        if not is_flat:
            wrong.append(f"{run}: {what} grew from {before} to {after}")
    most = max(sample["descriptors"] for sample in samples)
    shims = max(sample["shims"] for sample in samples)
    took = {name: (median(fifth(times, 1)), median(fifth(times, 5))) for name, times in steps(repo, run).items()}
    rates = [(len(part) - 1) / max(part[-1] - part[0], 0.001) for part in (fifth(landed, 1), fifth(landed, 5))]
    own, children = (samples[-1][part] / len(landed) for part in ("own", "children"))
    print(f"{run}: {len(landed)} landed; KB resident {figures['resident']}, private {figures['private']}; descriptors "
          f"{figures['descriptors']} (most {most}), threads {figures['threads']}, shims at most {shims}; {own:.0f} ms of its own "
          f"processor time a task, {children:.0f} ms of its children's; from the first fifth to the last "
          + ", ".join(f"{name} in {first:.0f} to {last:.0f} ms" for name, (first, last) in took.items())
          + f", {rates[0]:.1f} to {rates[1]:.1f} tasks a second")


def judge_history(repo, expected, wrong):
    """Each task of each run is one commit on main, and its file is there."""
    trailer = "%(trailers:key=Treehand-{},valueonly,separator=%x20)"
    log = git(repo, "log", f"--format={trailer.format('Run')} {trailer.format('Task')}", "main")
    found = Counter(tuple(line.split()) for line in log.splitlines())
    # The first commit is nobody's.
    if found.pop((), 0) != 1:
        wrong.append("there are commits without trailers")
    if found != Counter(expected):
        odd = [(name, found[name]) for name in sorted(found.keys() | expected) if found[name] != 1]
        wrong.append(f"commits that are not there once: {odd[:5]}")
    changed = git(repo, "status", "--porcelain")
    if changed:
        wrong.append(f"the main worktree is not at its branch: {changed.splitlines()[:5]}")
    files = sum(name.startswith("soak-") for _, _, names in os.walk(repo) for name in names)
    if files != len(expected):
        wrong.append(f"{files} files of tasks, expected {len(expected)}")


def below(directory):
    """Every file below a directory."""
    return [f"{root}/{name}" for root, _, files in os.walk(directory) for name in files]


def listed(directory):
    return [f"{directory}/{name}" for name in os.listdir(directory)] if os.path.isdir(directory) else []


def judge_leftovers(place, repo, wrong):
    """What should have gone with its run."""
    command = ["git", "-C", repo, "fsck", "--full", "--strict", "--no-dangling", "--no-progress"]
    fsck = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if fsck.returncode or fsck.stdout.strip():
        wrong.append(f"git fsck: {fsck.stdout.splitlines()[:5]}")
    entries = git(repo, "worktree", "list").splitlines()[1:]
    branches = [name for name in git(repo, "for-each-ref", "--format=%(refname)").split()
                if name != "refs/heads/main" and not name.startswith("refs/treehand/merged/")]
    state = f"{repo}/.git/treehand"
    temporary = [path for path in below(f"{repo}/.git")
                 if path.endswith((".lock", ".keep")) or os.path.basename(path).startswith("tmp_")]
    places = {
        "worktree entries": entries + listed(f"{repo}/.git/worktrees"),
        "refs": branches,
        "quarantines": listed(f"{state}/quarantine"),
        "things in the trash": listed(f"{state}/trash"),
        "locks and temporary files": temporary,
        "boxes": listed(f"{repo}.trees"),
        "sockets": listed(f"{place}/state/treehand/sockets"),
        "private directories": [path for repository in listed(f"{place}/state/treehand/sealed") for path in listed(repository)],
        "temporary files": listed(f"{place}/tmp"),
        "processes": processes(place),
    }
    for what, left in places.items():
        if left:
            wrong.append(f"{len(left)} {what} left, such as {left[:3]}")


def processes(place):
    """Those that still carry the variables of this soak."""
    sign, found = f"TMPDIR={place}/tmp".encode(), []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as environ, open(f"/proc/{name}/cmdline", "rb") as words:
                if int(name) != os.getpid() and sign in environ.read().split(b"\0"):
                    found.append(words.read().replace(b"\0", b" ").decode(errors="replace")[:80])
        except OSError:
            continue
    return found


LEVEL = os.environ["SOAK_LEVEL"]


def main():
    treehand, place, tasks, runs = sys.argv[1:]
    repo, runs = f"{place}/repo", int(runs)
    count = max(1, int(tasks) // runs)
    make_repository(repo)
    began = time.monotonic()
    supervisors = dict(start(treehand, place, repo, number, count) for number in range(runs))
    samples = watch(supervisors)
    wall = time.monotonic() - began
    wrong = []
    for run, pid in supervisors.items():
        judge_run(treehand, repo, run, pid, samples[run], wrong)
    judge_history(repo, {(run, f"t{n}") for run in supervisors for n in range(count)}, wrong)
    judge_leftovers(place, repo, wrong)
    packs = sum(name.endswith(".pack") for name in os.listdir(f"{repo}/.git/objects/pack"))
    print(f"{count * runs} tasks in {runs} runs at level {LEVEL}: {wall:.0f} s, {count * runs / wall:.1f} tasks a second; "
          f"{packs} packs, journal {os.path.getsize(f'{repo}/.git/treehand/state.db') >> 10} KB")
    for what in wrong:
        print(what, file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
