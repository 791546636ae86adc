#!/usr/bin/env python3
"""The conflict radar: called by `scripts/bench queue`, not by hand.

Results of a run that wait for a person, each with changes in a few files of a large repository, are held against each other by
`treehand conflicts`: with nothing known, with all known, and with one result that is new. Beside it git does the same in the
same minutes: a `git merge-tree` for each pair, and one `git merge-tree --stdin` for all of them. Both have to find the same pairs.
"""

import itertools
import json
import os
import random
import subprocess
import sys
import time

CHANGED = 20


def median(values):
    return sorted(values)[len(values) // 2]


def timed(act, rounds):
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


def paths(files):
    return [f"area{n % 17:02}/team{n // 17 % 23:02}/part{n // 391 // 12:03}/file{n}.txt" for n in range(files)]


def make_repository(repo, files):
    """A dozen files a directory, of some two kilobytes each."""
    subprocess.run(["git", "init", "-q", "-b", "main", repo], check=True)
    for key, value in [("user.name", "Bench"), ("user.email", "bench@example.com"), ("gc.auto", "0")]:
        subprocess.run(["git", "-C", repo, "config", key, value], check=True)
    stream = ["commit refs/heads/main\ncommitter Bench <bench@example.com> 1700000000 +0000\ndata 4\nbase\n"]
    for path in paths(files):
        text = "".join(f"line {line} of {path}\n" for line in range(50))
        stream.append(f"M 100644 inline {path}\ndata {len(text)}\n{text}\n")
    subprocess.run(["git", "-C", repo, "fast-import", "--quiet"], input="".join(stream).encode(), check=True)
    subprocess.run(["git", "-C", repo, "reset", "-q", "--hard", "main"], check=True)


def make_results(treehand, place, repo, results, files):
    """A run whose tasks change files by chance, the same files in every benchmark."""
    chance = random.Random(1)
    with open(f"{place}/tasks.toml", "w") as file:
        for n in range(results):
            names = " ".join(chance.sample(paths(files), CHANGED))
            script = f"sed -i '10s/.*/changed by {n}/' {names}"
            file.write(f'[[task]]\nid = "t{n}"\ncommand = ["sh", "-c", {json.dumps(script)}]\n')
    command = [treehand, "-C", repo, "-q", "run", "--json", "--confine", "off", "--merge", "manual"]
    done = subprocess.run([*command, "--jobs", "4", "--tasks", f"{place}/tasks.toml"], stdout=subprocess.PIPE, check=True)
    return [task["commit"] for task in json.loads(done.stdout)["tasks"]]


def by_git(place, repo, commits):
    """How long git takes, a process for each pair and one for all, and the pairs that conflict."""
    pairs = list(itertools.combinations(commits, 2))
    lines = "".join(f"{one} {other}\n" for one, other in pairs).encode()
    objects = f"{place}/objects"
    os.makedirs(f"{objects}/pack", exist_ok=True)
    there = {**os.environ, "GIT_DIR": f"{repo}/.git", "GIT_OBJECT_DIRECTORY": objects,
             "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{repo}/.git/objects"}

    def git(command):
        # A conflict is exit 1, of which xargs makes 123.
        told = subprocess.run(command, input=lines, stdout=subprocess.PIPE, env=there, check=False)
        if told.returncode not in (0, 123):
            sys.exit(f"{command} ended with {told.returncode}")
        return told.stdout

    each = timed(lambda: git(["xargs", "-n", "2", "git", "merge-tree", "--write-tree", "--name-only"]), 3)
    together = timed(lambda: git(["git", "merge-tree", "--stdin", "--name-only"]), 3)
    fields, found = iter(git(["git", "merge-tree", "--stdin", "--name-only", "--no-messages"]).split(b"\0")), set()
    for pair in pairs:
        if next(fields) == b"0":
            found.add(pair)
        while next(fields):
            pass
    return each, together, found


def main():
    treehand, place, results, files = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    repo = f"{place}/repo"
    make_repository(repo, files)
    commits = make_results(treehand, place, repo, results, files)
    kept = f"{repo}/.git/treehand/conflicts.json"

    def conflicts():
        told = subprocess.run([treehand, "-C", repo, "conflicts", "--json"], stdout=subprocess.PIPE, check=True)
        return json.loads(told.stdout)

    def cold():
        if os.path.exists(kept):
            os.remove(kept)
        return conflicts()

    found = {tuple(int(pair[side][1:]) for side in "ab") for pair in cold()["pairs"]}
    at_first = timed(cold, 5)
    again = timed(conflicts, 5)
    before = open(kept, "rb").read()
    subprocess.run([treehand, "-C", repo, "-q", "run", "--confine", "off", "--merge", "manual", "--name", "another", "--",
                    "sh", "-c", f"sed -i '10s/.*/another/' {' '.join(paths(files)[:CHANGED])}"], check=True)

    def one_more():
        with open(kept, "wb") as file:
            file.write(before)
        return conflicts()

    one_more = timed(one_more, 5)
    each, together, expected = by_git(place, repo, commits)
    if {(commits[one], commits[other]) for one, other in found} != expected:
        sys.exit(f"treehand finds {len(found)} pairs, git {len(expected)}")
    count = len(commits) * (len(commits) - 1) // 2
    print(f"{len(commits)} results of {CHANGED} files in {files}: {count} pairs, {len(found)} conflict")
    print(f"a git for each pair: {each:.0f} ms, {each / count:.2f} ms a pair; one git for all: {together:.0f} ms")
    for what, took in [("with nothing known", at_first), ("with all known", again), ("with one result new", one_more)]:
        print(f"conflicts {what}: {took:.0f} ms, {each / took:.1f} times as fast as a git for each pair, "
              f"{together / took:.1f} times as fast as one for all")


main()
