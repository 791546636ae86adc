"""`clean` against what git alone says of the same worktrees and branches; called by `scripts/bench clean`.

usage: bench_clean.py TREEHAND PLACE WORKTREES BRANCHES FILES PROCESSES

Makes a repository of so many files, with a history in which six of ten branches were merged, two were squashed and two are open,
so many worktrees of git's, and so many processes that sleep. The ratios are of medians in the same run.
"""
import os
import shutil
import statistics
import subprocess
import sys
import time

TREEHAND, PLACE = sys.argv[1], sys.argv[2]
WORKTREES, BRANCHES, FILES, PROCESSES = (int(word) for word in sys.argv[3:7])
REPO = os.path.join(PLACE, "repo")
WORKSPACES = min(2, WORKTREES)
ROUNDS = 5


def git(*args, **more):
    return subprocess.run(["git", "-C", REPO, *args], check=True, capture_output=True, **more).stdout


def treehand(*args):
    return subprocess.run([TREEHAND, "-C", REPO, *args], check=True, capture_output=True).stdout


class Writer:
    """A stream for `git fast-import`."""

    def __init__(self, stream):
        self.stream, self.mark, self.clock = stream, 0, 1_600_000_000

    def line(self, text):
        self.stream.write(text.encode() + b"\n")

    def commit(self, branch, parents, files):
        self.mark += 1
        self.clock += 60
        self.line(f"commit {branch}\nmark :{self.mark}\ncommitter B <b@x> {self.clock} +0000\ndata 2\nc\n")
        for word, parent in zip(["from", "merge"], parents):
            self.line(f"{word} :{parent}")
        for path, text in files:
            self.line(f"M 100644 inline {path}\ndata {len(text)}\n{text}")
        return self.mark


def path(number):
    return f"area{number % 20}/team{number // 20 % 50}/file{number}.txt"


def history(stream):
    """Branches fork where the target is and come back some commits later, as they do."""
    write = Writer(stream)
    base = [(path(number), f"file {number}\n" + "line\n" * 20) for number in range(FILES)]
    main = write.commit("refs/heads/main", [], base)
    waiting = []
    for number in range(BRANCHES):
        branch, files = f"refs/heads/topic/{number}", [(f"topic/{number % 100}/{number}.txt", f"topic {number}\n" * 5)]
        tip = write.commit(branch, [main], files)
        if number % 3 == 0:
            files = [*files, (path(number * 7 % FILES), f"file {number}\n" + "other\n" * 20)]
            tip = write.commit(branch, [tip], files[1:])
        waiting.append((number, tip, files))
        if len(waiting) < 20:
            continue
        number, tip, files = waiting.pop(0)
        if number % 10 < 6:
            main = write.commit("refs/heads/main", [main, tip], files)
        elif number % 10 < 8:
            main = write.commit("refs/heads/main", [main], files)
    write.line("done")


def make():
    subprocess.run(["git", "init", "-q", "-b", "main", REPO], check=True)
    for key, value in [("user.name", "Bench"), ("user.email", "bench@example.com"), ("gc.auto", "0")]:
        git("config", key, value)
    importer = subprocess.Popen(["git", "-C", REPO, "fast-import", "--quiet", "--done"], stdin=subprocess.PIPE)
    history(importer.stdin)
    importer.stdin.close()
    assert importer.wait() == 0
    git("reset", "-q", "--hard")
    git("pack-refs", "--all")
    git("commit-graph", "write", "--reachable")
    for number in range(WORKTREES - WORKSPACES):
        git("worktree", "add", "-q", "--no-checkout", "--detach", f"{REPO}.git-trees/{number}", "main")
    for number in range(WORKSPACES):
        treehand("-q", "new", f"w{number}", "--offline")


def timed(command, before=lambda: None):
    """Median, in milliseconds, after one that warms the caches."""
    times = []
    for _ in range(ROUNDS + 1):
        before()
        began = time.monotonic()
        command()
        times.append((time.monotonic() - began) * 1000)
    return statistics.median(times[1:])


def alone():
    git("worktree", "list")
    git("for-each-ref", "--format=%(refname) %(ahead-behind:main)")


def once(command):
    began = time.monotonic()
    command()
    return (time.monotonic() - began) * 1000


def removal():
    """A workspace of all files: how long until it is gone, against one look of git's, and how long the deletion takes, against `rm`."""
    treehand("-q", "new", "whole", "--offline")
    whole = treehand("path", "whole").decode().strip()
    copy = os.path.join(PLACE, "copy")
    shutil.copytree(whole, copy, symlinks=True)
    looked = timed(lambda: subprocess.run(["git", "-C", whole, "status"], check=True, capture_output=True))
    gone = once(lambda: treehand("-q", "rm", "whole"))
    assert not os.path.exists(whole)
    by_rm = once(lambda: subprocess.run(["rm", "-rf", copy], check=True))
    expire = lambda: treehand("clean", "--yes", "--only", "trash", "--set", "clean.retention=0s")
    deleted = once(expire)
    # What `clean` takes anyway, with nothing to delete, is not the deletion.
    deleted -= timed(expire)
    print(f"a workspace of {FILES} files: git status: {looked:.0f} ms; rm: {gone:.0f} ms, ratio {gone / looked:.2f}")
    print(f"the deletion behind it: {deleted:.0f} ms; rm -rf: {by_rm:.0f} ms, ratio {deleted / by_rm:.2f}")


def main():
    make()
    sleepers = [subprocess.Popen(["sleep", "100000"], stdout=subprocess.DEVNULL) for _ in range(PROCESSES)]
    try:
        plan = lambda: treehand("clean", "--json", "--branches", "all", "--min-age", "0s")
        proofs = os.path.join(REPO, ".git", "treehand", "proofs.json")
        forget = lambda: os.path.exists(proofs) and os.remove(proofs)
        by_git = timed(alone)
        cold = timed(plan, forget)
        warm = timed(plan)
        print(f"{WORKTREES} worktrees, {BRANCHES} branches, {FILES} files, {PROCESSES} processes more")
        print(f"git worktree list + for-each-ref ahead-behind: {by_git:.0f} ms")
        print(f"plan, nothing known: {cold:.0f} ms, ratio {cold / by_git:.2f}; again: {warm:.0f} ms, ratio {warm / by_git:.2f}")
    finally:
        for sleeper in sleepers:
            sleeper.kill()
    removal()


main()
