"""Landing results in the queue against `git merge` in a worktree; called by `scripts/bench queue`.

usage: bench_queue_landing.py TREEHAND PLACE RESULTS FILES

Makes a repository of so many files and branches that each change a hundred of them, a dozen at most. One after the other is merged by git into a
branch that a worktree has checked out, and landed by treehand on one that nothing has checked out, and on one that a worktree has.
What landing takes is read from the journal: from the entry in the queue to the end of its task, which is all that treehand does
beyond the gates. The ratios are of medians in the same run.
"""
import os
import sqlite3
import statistics
import subprocess
import sys
import time

TREEHAND, PLACE = sys.argv[1], sys.argv[2]
RESULTS, FILES = (int(word) for word in sys.argv[3:5])
REPO = os.path.join(PLACE, "repo")
BRANCHES = max(3, min(12, RESULTS))
TOGETHER = BRANCHES - 2
CHANGED = max(1, min(100, FILES // (3 * BRANCHES)))


def git(*args, **more):
    return subprocess.run(["git", "-C", REPO, *args], check=True, capture_output=True, **more).stdout


def path(number):
    return f"area{number % 20}/team{number // 20 % 50}/file{number}.txt"


def history():
    out = []

    def commit(branch, mark, parent, files):
        out.append(f"commit {branch}\nmark :{mark}\ncommitter B <b@x> {1_600_000_000 + mark} +0000\ndata 2\nc\n")
        if parent:
            out.append(f"from :{parent}\n")
        for name, text in files:
            out.append(f"M 100644 inline {name}\ndata {len(text)}\n{text}\n")

    text = "line\n" * 20
    commit("refs/heads/main", 1, None, [(path(n), f"file {n}\n{text}") for n in range(FILES)])
    step = max(1, FILES // (3 * BRANCHES * CHANGED))
    for kind, part in (("one", 0), ("out", 1), ("all", 2)):
        for branch in range(BRANCHES):
            first = (part * BRANCHES + branch) * CHANGED * step
            numbers = [(first + n * step) % FILES for n in range(CHANGED)]
            files = [(path(n), f"file {n}\n{text}more\n") for n in numbers]
            commit(f"refs/heads/{kind}-{branch}", 2 + part * BRANCHES + branch, 1, files)
    return "".join(out)


def timed(work):
    began = time.monotonic()
    work()
    return (time.monotonic() - began) * 1000


def journal(kind):
    with sqlite3.connect(os.path.join(REPO, ".git/treehand/state.db")) as store:
        return [at for (at,) in store.execute("SELECT at FROM journal WHERE kind = ? ORDER BY seq", [kind])]


def merge(*names, into):
    args = [TREEHAND, "-C", REPO, "-q", "merge", *names, "--into", into, "--confine", "off", "--json"]
    subprocess.run(args, check=True, capture_output=True)


def landings(kind, into):
    """What each landing took, and the whole command with it."""
    inside, whole = [], []
    for branch in range(BRANCHES):
        whole.append(timed(lambda: merge(f"{kind}-{branch}", into=into)))
        inside.append(journal("task.land")[-1] - journal("queue.entered")[-1])
    return inside[1:], whole[1:]


def main():
    subprocess.run(["git", "init", "-q", "-b", "main", REPO], check=True)
    for key, value in (("user.name", "B"), ("user.email", "b@x"), ("gc.auto", "0")):
        git("config", key, value)
    git("fast-import", "--quiet", input=history().encode())
    git("symbolic-ref", "HEAD", "refs/heads/nothing")
    for name in ("hand", "out", "next"):
        git("branch", name, "main")
    git("worktree", "add", "-q", os.path.join(PLACE, "hand"), "hand")
    git("worktree", "add", "-q", os.path.join(PLACE, "out"), "out")
    by_git = [
        timed(lambda: subprocess.run(
            ["git", "-C", os.path.join(PLACE, "hand"), "merge", "-q", "--no-edit", "--no-ff", f"one-{branch}"],
            check=True, capture_output=True))
        for branch in range(BRANCHES)
    ][1:]
    (inside, whole), (out, _) = landings("one", "next"), landings("out", "out")
    names = [f"all-{branch}" for branch in range(TOGETHER)]
    merge(*names, into="next")
    together = (journal("task.land")[-1] - journal("queue.entered")[-TOGETHER]) / TOGETHER
    hand = statistics.median(by_git)
    print(f"{FILES} files, results of {CHANGED} changed files, medians of {len(by_git)}")
    print(f"git merge in a worktree: {hand:.1f} ms")
    for what, taken in (
        ("landing on a branch that nothing has checked out", statistics.median(inside)),
        (f"the same, {TOGETHER} together, each", together),
        ("landing on a branch that a worktree has checked out", statistics.median(out)),
        ("the whole command, with a supervisor of its own", statistics.median(whole)),
    ):
        print(f"{what}: {taken:.1f} ms; ratio {taken / hand:.3f}")


main()
