"""Making, looking at and removing workspaces against git doing the same; called by `scripts/bench workspaces`.

usage: bench_workspaces.py TREEHAND PLACE FILES

Makes a repository of so many files, a few kilobytes each, in directories of a dozen. Each round makes a worktree by git and workspaces by
treehand, one after the other, looks at each with `git status` and removes them; the ratios are of medians over the rounds. Several
at once are told for each of them. Those from a slot have one that is ready at `main`, and nobody making another, when they begin; as root each file
of a slot is looked at first, as an ordinary user its seal is enough. What has to reach the disk is waited for before each step, so that nobody pays
for another's.
"""
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time

TREEHAND, PLACE = sys.argv[1], sys.argv[2]
FILES = int(sys.argv[3])
REPO = os.path.join(PLACE, "repo")
ROUNDS = 3
AT_ONCE = 8
# What differs between a slot and the base, as far as the repository has so many files.
MOVED = [count for count in (100, 5000) if count * 2 <= FILES]
SLOTS = {**os.environ, "TREEHAND_WORKTREE__POOL": "1", "TREEHAND_WORKTREE__POOL_FREE": "0"}


def history():
    rng = random.Random(1)
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz_(){};\n ", k=rng.randint(3, 12))) for _ in range(4000)]
    yield b"commit refs/heads/main\ncommitter B <b@x> 1600000000 +0000\ndata 2\nc\n"
    for n in range(FILES):
        text = b" ".join(rng.choices(words, k=max(1, int(rng.lognormvariate(6, 1.1)) % 9000)))
        name = f"area{n % 20}/team{n // 20 % 50}/part{n // 12000}/file{n}.txt".encode()
        yield b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(text), text)
    for count in MOVED:
        yield b"commit refs/heads/moved-%d\ncommitter B <b@x> 1600000000 +0000\ndata 2\nm\nfrom refs/heads/main\n" % count
        for n in range(0, FILES - FILES % count, FILES // count):
            yield b"M 100644 inline area%d/team%d/part%d/file%d.txt\ndata 6\nmoved\n\n" % (n % 20, n // 20 % 50, n // 12000, n)


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, **more).stdout


def git(*args):
    return run("git", "-C", REPO, *args)


def treehand(*args):
    return run(TREEHAND, "-C", REPO, "-q", *args)


def cost(work):
    """How long it takes and how much of a processor, in milliseconds."""
    os.sync()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    work()
    ended, after = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (ended - began) * 1000, cpu * 1000


def at_once(command, again=None):
    """Does it several times at once; where one that fails is to be done again, that is part of the cost."""
    children = [subprocess.Popen(command(n), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for n in range(AT_ONCE)]
    said = [child.communicate()[1].decode() for child in children]
    for n, child in enumerate(children):
        if child.returncode and again is None:
            sys.exit(f"{child.args}: {said[n]}")
        elif child.returncode:
            print(f"git failed with {AT_ONCE} at once, and did it again: {said[n].strip()}")
            again(n)


def path_of(name):
    return treehand("path", name).decode().strip()


def slot_is_ready():
    """Has one at `main`: a workspace asks for it, and whoever makes it is waited for."""
    run(TREEHAND, "-C", REPO, "-q", "new", "asks", "--offline", "--base", "main", env=SLOTS)
    treehand("rm", "asks")
    pool = f"{REPO}/.git/treehand/pool"
    while not [name for name in os.listdir(pool) if "." not in name]:
        run(TREEHAND, "__slots", f"{REPO}/.git")
        time.sleep(0.02)
    run(TREEHAND, "__slots", f"{REPO}/.git")


def from_slots(take):
    """Workspaces from a slot: at the base, with the base moved, and sealed."""
    for row, base, more in [("slot", "main", []), *((f"slot {n}", f"moved-{n}", []) for n in MOVED), ("slot sealed", "main", ["--sealed"])]:
        slot_is_ready()
        command = [TREEHAND, "-C", REPO, "new", "taken", "--json", "--offline", "--base", base, *more]
        said = []
        take(row, lambda: said.append(run(*command, env=SLOTS)))
        if json.loads(said[0])["strategy"] != "slot":
            sys.exit(f"no slot was taken: {said[0].decode()}")
        if row == "slot":
            place = path_of("taken")
            take("slot status", lambda: run("git", "-C", place, "status", "--porcelain"))
        treehand("rm", "taken")
    # None are wanted any more.
    run(TREEHAND, "-C", REPO, "-q", "new", "asks", "--offline", "--base", "main")
    treehand("rm", "asks")
    while os.path.exists(f"{REPO}/.git/treehand/pool"):
        run(TREEHAND, "__slots", f"{REPO}/.git")
        time.sleep(0.02)


def one_round(seen):
    def take(row, work):
        seen.setdefault(row, []).append(cost(work))

    tree = f"{REPO}.by-git"
    take("git add", lambda: git("worktree", "add", "-q", "-b", "by-git", tree, "main"))
    take("new", lambda: treehand("new", "plain", "--offline", "--base", "main"))
    take("sealed", lambda: treehand("new", "sealed", "--sealed", "--offline", "--base", "main"))
    plain = path_of("plain")
    for row, place in (("git status", tree), ("status", plain), ("git status 2", tree), ("status 2", plain)):
        take(row, lambda: run("git", "-C", place, "status", "--porcelain"))
    take("git remove", lambda: git("worktree", "remove", tree))
    take("rm", lambda: treehand("rm", "plain"))
    treehand("rm", "sealed")
    take("sparse", lambda: treehand("new", "sparse", "--sparse", "area1/team1", "--offline", "--base", "main"))
    take("sparse status", lambda: run("git", "-C", path_of("sparse"), "status", "--porcelain"))
    take("sparse sealed", lambda: treehand("new", "sealed", "--sealed", "--sparse", "area1/team1", "--offline", "--base", "main"))
    treehand("rm", "sparse", "sealed")
    git("branch", "-q", "-D", "by-git")
    from_slots(take)
    many = lambda n: ["git", "-C", REPO, "worktree", "add", "-q", "-b", f"many-{n}", f"{REPO}.many-{n}", "main"]

    def again(n):
        # git fails now and then on an entry that another git is just writing ("failed to read …/commondir"), and leaves the branch.
        subprocess.run(["git", "-C", REPO, "branch", "-q", "-D", f"many-{n}"], capture_output=True)
        run(*many(n))

    take("git at once", lambda: at_once(many, again))
    for n in range(AT_ONCE):
        git("worktree", "remove", f"{REPO}.many-{n}")
        git("branch", "-q", "-D", f"many-{n}")
    take("at once", lambda: at_once(lambda n: [TREEHAND, "-C", REPO, "-q", "new", f"at-once-{n}", "--offline", "--base", "main"]))
    for n in range(AT_ONCE):
        treehand("rm", f"at-once-{n}")


def main():
    run("git", "init", "-q", "-b", "main", REPO)
    for key, value in (("user.name", "B"), ("user.email", "b@x"), ("gc.auto", "0")):
        git("config", key, value)
    run("git", "-C", REPO, "fast-import", "--quiet", input=b"".join(history()))
    git("symbolic-ref", "HEAD", "refs/heads/nothing")
    seen = {}
    for _ in range(ROUNDS):
        one_round(seen)
    wall = {row: statistics.median(took for took, _ in all) for row, all in seen.items()}
    cpu = {row: statistics.median(spent for _, spent in all) for row, all in seen.items()}
    print(f"{FILES} files, medians of {ROUNDS} rounds, {os.cpu_count()} processors")
    print(f"{'':52}{'ms':>9}{'of git':>9}{'processor':>11}")
    for what, row, by in (
        ("git worktree add", "git add", "git add"),
        ("new", "new", "git add"),
        ("new --sealed", "sealed", "git add"),
        (f"new, {AT_ONCE} at once (of as many by git), each", "at once", "git at once"),
        ("new --sparse, a directory of a thousand", "sparse", "git add"),
        ("new --sealed --sparse, the same", "sparse sealed", "git add"),
        ("new, a slot is ready", "slot", "git add"),
        *((f"new, a slot is ready, {count} files behind", f"slot {count}", "git add") for count in MOVED),
        ("new --sealed, a slot is ready", "slot sealed", "git add"),
        ("first git status in it (of in one by git)", "status", "git status"),
        ("first git status in one of a slot", "slot status", "git status"),
        ("first git status in a sparse one", "sparse status", "git status"),
        ("second git status in it", "status 2", "git status 2"),
        ("rm (of git worktree remove)", "rm", "git remove"),
    ):
        share = AT_ONCE if row == "at once" else 1
        print(f"{what:52}{wall[row] / share:9.1f}{wall[row] / wall[by]:9.3f}{cpu[row] / cpu[by]:11.3f}")


main()
