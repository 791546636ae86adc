"""A place of its own for one scenario: a repository, a home, a configuration and a scripted server, used by `scripts/test-agents`.

Nothing of the user's is in it but the programs. `close` leaves nothing: runs are cancelled, what of this place still runs is ended by
its number, and the directory goes. What happened is read as anybody would: from the events of a run, `show --json` and git.
"""

import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

from model_server import ModelServer

# How long one call of ours may take, and how long is waited for something that has to happen.
CALL_MAX = 300
PATIENCE = 60
LOOK = 0.05

KEYS = ["ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"]
# Which agents want the version of the protocol in the address.
WITH_VERSION = ["codex", "pi", "opencode", "qwen", "aider", "mini-swe-agent"]
# Agents in an environment of Python's: its other programs are nobody else's. Their models have the name of a protocol.
OF_PYTHON = ["aider", "mini-swe-agent"]


class Differs(Exception):
    """Something is not as it has to be."""


def check(holds, what):
    if not holds:
        raise Differs(what)


def same(name, found, expected):
    check(found == expected, f"{name}: {found!r}, and not {expected!r}")


def one_of(name, found, expected):
    check(found in expected, f"{name}: {found!r}, and none of {expected!r}")


class Attempt:
    """One attempt of a task, as the journal tells of it."""

    def __init__(self, task, agent):
        self.task, self.agent, self.resumed = task, (agent or {}).get("profile"), (agent or {}).get("resumed")
        self.session, self.submission, self.error, self.ended, self.begun = None, None, None, None, None

    @property
    def kind(self):
        return (self.error or {}).get("kind")

    @property
    def failure(self):
        return (self.error or {}).get("class")


class World:
    def __init__(self, treehand, programs, scripts, settings=None, words=()):
        self.place = os.path.realpath(tempfile.mkdtemp(prefix="treehand-agents-"))
        self.treehand, self.programs = treehand, programs
        # What runs of this place has its name in its arguments or its environment, or one of these words.
        self.words = [word.encode() for word in [self.place, *words]]
        self.repo, self.key = f"{self.place}/repo", "sk-" + secrets.token_hex(20)
        self.server = ModelServer(scripts)
        directories = [os.path.dirname(program) for name, program in programs.items() if name not in OF_PYTHON]
        self.environment = {
            "PATH": ":".join([*directories, os.environ["PATH"]]),
            "HOME": f"{self.place}/home",
            "XDG_STATE_HOME": f"{self.place}/state",
            "XDG_CONFIG_HOME": f"{self.place}/config",
            "TMPDIR": f"{self.place}/tmp",
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{name: self.key for name in KEYS},
        }
        for name in ["home", "tmp", "repo", "config/treehand"]:
            os.makedirs(f"{self.place}/{name}")
        self.configure(settings or {})
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "Agents")
        self.git("config", "user.email", "agents@example.com")
        with open(f"{self.repo}/README", "w", encoding="utf-8") as file:
            file.write("A repository for agents.\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "base")

    def configure(self, settings):
        settings = {"supervise.backoff": "100ms", "supervise.start": "60s", **settings}
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        for agent in self.programs:
            address = self.server.address(agent) + ("/v1" if agent in WITH_VERSION else "")
            model = "openai/scripted" if agent in OF_PYTHON else "scripted"
            lines += [f"agent.{agent}.base_url = {json.dumps(address)}", f"agent.{agent}.model = {json.dumps(model)}"]
            lines += [f"agent.{agent}.command = {json.dumps(self.programs[agent])}"] if agent in OF_PYTHON else []
        with open(f"{self.place}/config/treehand/config.toml", "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def git(self, *args):
        done = subprocess.run(["git", "-C", self.repo, *args], env=self.environment, capture_output=True, text=True, check=False)
        check(done.returncode == 0, f"git {args[0]}: {done.stderr.strip()}")
        return done.stdout

    def call(self, *args):
        """treehand, to its end."""
        command = [self.treehand, "-C", self.repo, *args]
        given = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "errors": "replace"}
        try:
            return subprocess.run(command, env=self.environment, timeout=CALL_MAX, check=False, **given)
        except subprocess.TimeoutExpired as late:
            raise Differs(f"treehand {args[0]} takes longer than {CALL_MAX} s") from late

    def document(self, *args):
        done = self.call("-q", *args, "--json")
        check(done.returncode == 0, f"treehand {args[0]} ends with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def run(self, *args):
        """A run that is followed to its end: what that is."""
        done = self.call("-q", "run", "--events", "--confine", "strict", *args)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        check(events, f"treehand run ends with {done.returncode} and has done nothing: {done.stderr.strip()}")
        return Outcome(self, events, done)

    def start(self, *args):
        """A run that nobody follows: its name."""
        return self.document("run", "--detach", "--confine", "strict", *args)["run"]

    def followed(self, run):
        """A run that was started, followed to its end."""
        done = self.call("-q", "wait", run, "--timeout", f"{CALL_MAX // 2}s")
        return Outcome(self, self.events(run), done)

    def events(self, run):
        """The journal of a run, as `run --events` tells it; that follows only what it starts itself."""
        store = sqlite3.connect(f"file:{self.repo}/.git/treehand/state.db?mode=ro", uri=True)
        rows = store.execute("SELECT at, task, kind, data FROM journal WHERE run = ? ORDER BY seq", [run]).fetchall()
        store.close()
        return [{"run": run, "at": at, "task": task, "kind": kind, "data": json.loads(data)} for at, task, kind, data in rows]

    def until(self, what, holds):
        """Waits until something is so; says what came of it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = holds()
            if found:
                return found
            time.sleep(LOOK)
        raise Differs(f"{PATIENCE} s have passed, and {what}")

    def until_asked(self, script, results):
        """Waits until an agent has come so far that it has so many results."""
        come = lambda: any(len(one.results) >= results for one in self.server.of(script))
        return self.until(f"no agent has come to step {results} of {script}", come)

    def processes(self):
        """What runs of this place: number, and how it was called."""
        found = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    called = file.read()
                with open(f"/proc/{name}/environ", "rb") as file:
                    given = file.read()
            except OSError:
                continue
            if int(name) != os.getpid() and called and any(word in called or word in given for word in self.words):
                found[int(name)] = called.rstrip(b"\0").decode("utf-8", "replace").replace("\0", " ")
        return found

    def agent_process(self):
        """The first process of the agent that is at work; none of treehand's."""
        begun = []
        for number, called in self.processes().items():
            try:
                with open(f"/proc/{number}/environ", "rb") as file:
                    is_inside = b"TREEHAND_ATTEMPT=" in file.read()
                with open(f"/proc/{number}/stat", encoding="utf-8") as file:
                    at = int(file.read().rpartition(")")[2].split()[19])
            except (OSError, ValueError):
                continue
            if is_inside and self.treehand not in called.split(" ")[0]:
                begun.append((at, number))
        return min(begun)[1] if begun else None

    def nothing_is_left(self):
        """Waits until nothing of this place runs any more; of a run that is over that is a moment."""
        end = time.monotonic() + 10
        while left := self.processes():
            check(time.monotonic() < end, f"left behind: {left}")
            time.sleep(LOOK)

    def find_text(self, text):
        """Which files of this place have a text in them."""
        found = []
        for directory, _, names in os.walk(self.place):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        if text.encode() in file.read():
                            found.append(os.path.relpath(path, self.place))
        return found

    def told(self):
        """The end of each log of an attempt: what a person looks at when something differs."""
        logs = f"{self.repo}/.git/treehand/logs"
        for directory, _, names in os.walk(logs):
            for name in sorted(name for name in names if name.endswith(".log")):
                path = os.path.join(directory, name)
                with open(path, encoding="utf-8", errors="replace") as file:
                    yield os.path.relpath(path, logs), [line.rstrip()[:300] for line in file.readlines()[-4:]]

    def close(self, keep=False):
        self.server.close()
        runs = self.call("-q", "ps", "--json")
        for run in json.loads(runs.stdout or "{}").get("runs", []):
            self.call("-q", "cancel", run["run"])
        end = time.monotonic() + 10
        while time.monotonic() < end and self.processes():
            time.sleep(LOOK)
        for number in self.processes():
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not keep:
            shutil.rmtree(self.place, ignore_errors=True)


class Outcome:
    """What a run came to."""

    def __init__(self, world, events, done):
        self.world, self.events, self.code, self.said = world, events, done.returncode, done.stdout + done.stderr
        self.run, self.attempts, self.states = events[0]["run"], [], {}
        for event in events:
            self.hear(event["task"], event["kind"], event["data"], event["at"])

    def hear(self, task, kind, data, at):
        last = next((one for one in reversed(self.attempts) if one.task == task), None)
        if kind.startswith("task.") and isinstance(data.get("state"), str):
            self.states[task] = data["state"]
        if kind == "task.start":
            self.attempts.append(Attempt(task, data["detail"]["agent"]))
            self.attempts[-1].begun = at
        elif kind == "attempt.agent":
            last.session = data["session"] or last.session
        elif kind == "attempt.submitted":
            last.submission = data["submission"]
        elif kind in ("attempt.ended", "attempt.judged"):
            last.error, last.ended = data["error"], at

    def of(self, task):
        return [one for one in self.attempts if one.task == task]

    def has_landed(self):
        """Everything has."""
        errors = [(one.agent, one.error) for one in self.attempts if one.error]
        check(self.code == 0, f"the run ends with {self.code}; states {self.states}, errors {errors}")
        same("states", set(self.states.values()), {"landed"})

    def has_failed(self, kinds, classes):
        """Nothing has landed, and this is why."""
        check(self.code != 0, "the run ends with 0")
        check("landed" not in self.states.values(), f"states: {self.states}")
        for one in self.attempts:
            check(one.error, f"an attempt of {one.agent} has no error")
            one_of(f"kind of the error ({one.error['message']})", one.kind, kinds)
            one_of(f"class of the error ({one.error['message']})", one.failure, classes)
