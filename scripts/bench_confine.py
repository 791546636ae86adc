#!/usr/bin/env python3
"""What confinement costs: called by `scripts/bench confine`, not by hand.

Spawns in turn, in one run: a program as it is, the same in a treehand sandbox, the same in bwrap with the same binds (where
bwrap is installed). Then a job that reads many files, outside and inside in turn, which takes its own time: what it costs to
start it is in the first part. Figures are medians and tenths of milliseconds.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import time


def median(values):
    return sorted(values)[len(values) // 2]


def tenth(values):
    return sorted(values)[len(values) // 10]


def spawn(argv, stdout=subprocess.DEVNULL, **kwargs):
    """Wall and processor time of one program, its waited-for descendants included, in milliseconds."""
    began = time.perf_counter()
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout, **kwargs)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{argv[0]} ended with {child.returncode}")
    return wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def timed(run, job):
    """What a job says of its own time, in milliseconds."""
    script = f"began=$(date +%s%N); {job}; ended=$(date +%s%N); echo $((ended - began))"
    read, write = os.pipe()
    run(["sh", "-c", script], write)
    os.close(write)
    with open(read) as said:
        return int(said.read()) / 1e6


def policy(treehand, place, argv):
    """The policy of a command in a sealed workspace, as the product itself would hand it to a shim."""
    shown = subprocess.run(
        [treehand, "-C", f"{place}/repo", "exec", "w", "--dry-run", "--json", "--", *argv],
        check=True, capture_output=True, text=True)
    shown = json.loads(shown.stdout)
    return {
        "version": 1, "level": "strict", "argv": argv, "env": [["PATH", os.environ["PATH"]], ["HOME", "/tmp"]],
        "directory": shown["directory"], "token": "ab" * 16, "streams": "inherited",
        "view": {"mounts": shown["mounts"], "links": shown["links"]}, "private": True, "network": "none", "limits": shown["limits"],
        "log": None, "timeout_ms": None,
    }


def shim(treehand, document, stdout=subprocess.DEVNULL):
    text = json.dumps(document).encode()
    memory = os.memfd_create("policy")
    os.write(memory, text)
    os.lseek(memory, 0, os.SEEK_SET)
    ours, theirs = socket.socketpair()
    argv = [treehand, "__shim", str(memory), str(theirs.fileno())]
    result = spawn(argv, stdout=stdout, pass_fds=(memory, theirs.fileno()))
    theirs.close()
    os.close(memory)
    ended = None
    while head := ours.recv(4, socket.MSG_WAITALL):
        ended = json.loads(ours.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL))
    ours.close()
    if ended is None or ended.get("ended", {}).get("exit") != 0:
        sys.exit(f"the sandbox says {ended}")
    return result


def bwrap(document):
    argv = ["bwrap", "--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run"]
    for mount in document["view"]["mounts"]:
        if mount["access"] == "hide":
            argv += ["--tmpfs", mount["target"]]
        else:
            argv += ["--bind" if mount["access"] == "write" else "--ro-bind", mount["source"], mount["target"]]
    for path, says in document["view"]["links"]:
        argv += ["--symlink", says, path]
    return argv + ["--chdir", document["directory"], *document["argv"]]


def show(name, figures):
    wall, cpu = [one[0] for one in figures], [one[1] for one in figures]
    print(f"{name:<22} wall median {median(wall):6.1f} ms  p10 {tenth(wall):6.1f} ms  cpu median {median(cpu):6.1f} ms")


def main():
    treehand, place, rounds, files = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    document = policy(treehand, place, ["true"])
    variants = {"plain": lambda: spawn(["true"]), "treehand strict": lambda: shim(treehand, document)}
    if subprocess.run(["sh", "-c", "command -v bwrap"], stdout=subprocess.DEVNULL).returncode == 0:
        variants["bwrap, same binds"] = lambda: spawn(bwrap(document))
    else:
        print("bwrap is not installed: not compared")
    figures = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            figures[name].append(run())
    for name, all_of in figures.items():
        show(name, all_of)
    for name, job in {
        "git status": "git status >/dev/null",
        "grep -r": "grep -rc missing . >/dev/null || true",
    }.items():
        document = policy(treehand, place, ["true"])
        outside, inside = [], []
        for _ in range(max(3, rounds // 4)):
            outside.append(timed(lambda argv, out: spawn(argv, stdout=out, cwd=document["directory"]), job))
            inside.append(timed(lambda argv, out: shim(treehand, {**document, "argv": argv}, stdout=out), job))
        ratios = [within / without for within, without in zip(inside, outside)]
        print(f"{name}, {files} files: outside {median(outside):.1f} ms, inside {median(inside):.1f} ms; "
              f"ratio of the medians {median(inside) / median(outside):.3f}, of the tenths "
              f"{tenth(inside) / tenth(outside):.3f}, median of the pairs {median(ratios):.3f}")


main()
