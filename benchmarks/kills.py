"""kill -9 at random moments of `rcs release publish`, `approve` and `withdraw`, and two at once.

Belongs here: real commands in processes of their own on a copy of an installation, killed; what
is read after that; whether the next command completes. Does not belong here: kills while a
candidate is computed (tests/integration/test_kill.py).

    python -m benchmarks.kills HOME --kills 100 --seed 1

HOME is one that `rcs demo` made; it is copied. Of a third of a council's pupils the needs are
changed, and a candidate is computed on the copy; each kill has a copy of that. Half of a command's
kills are drawn over its whole length, half between the first byte that it writes among the releases
and its end. A process that had ended before it was killed does not count. After a kill the release
that is read and the one before are verified file by file, the command is given again, and all is
verified once more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

import rcs_assets.build
import rcs_assets.release.assets
import rcs_assets.runs  # noqa: F401 - all imported once, before commands are forked off
from rcs_assets.cli import main as rcs
from rcs_assets.intake.drop import current_deliveries, opened
from rcs_assets.release.approval import new_key
from rcs_assets.release.audit_log import Event, read_log
from rcs_assets.release.packages import current_version
from rcs_assets.storage import Home

APPROVERS = ("anna", "bert")
CALIBRATIONS = 3
AT_ONCE = 10
_LOOK = 0.0005


@dataclass(frozen=True)
class Ended:
    """One command: its status (-9 if killed), and what it printed."""

    status: int
    said: str


@dataclass
class Place:
    """A copy of an installation, with the two releases that may be read."""

    home: Path
    old: str
    new: str

    @property
    def releases(self) -> Path:
        """Where the releases lie."""
        return self.home / "releases"

    def current(self) -> str:
        """The version that is read now."""
        return str(current_version(Home.open(self.home)))


@dataclass
class Tally:
    """What the kills of one command met: `read` is the version that was read → kills."""

    read: Counter[str] = field(default_factory=Counter)
    began_n: int = 0
    ended_before_n: int = 0

    @property
    def kills(self) -> int:
        """Processes that were alive when they were killed."""
        return sum(self.read.values())


class Wrong(Exception):
    """Something was not whole, or the next command did not complete."""


def start(log: Path, *arguments: str | Path) -> int:
    """`rcs` with these words in a process of its own; everything is imported already."""
    pid = os.fork()
    if pid:
        return pid
    status = 99
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        status = rcs([str(word) for word in arguments])
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 98
    finally:
        os._exit(status)


def ended(pid: int, log: Path) -> Ended:
    """Wait for a process."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ended(status, log.read_text("utf-8") if log.exists() else "")


def run(log: Path, *arguments: str | Path) -> Ended:
    """One command to its end."""
    return ended(start(log, *arguments), log)


def must(log: Path, *arguments: str | Path) -> Ended:
    """One command that has to succeed."""
    done = run(log, *arguments)
    if done.status != 0:
        raise Wrong(f"rcs {' '.join(map(str, arguments))}: {done.status}\n{done.said[-3000:]}")
    return done


class Bench:
    """The installations that the kills start from, in one folder."""

    def __init__(self, source: Path, work: Path) -> None:
        self.work = work
        self.log = work / "said.txt"
        self.base = work / "base"
        shutil.copytree(source, self.base, symlinks=True)
        self.keys = {name: work / f"{name}.pem" for name in APPROVERS}
        self.old = str(current_version(Home.open(self.base)))
        self._name_approvers()
        self._make_candidate()
        self.new = json.loads((self.base / "releases/.candidate/candidate.json").read_text())[
            "release"
        ]
        if self.new == self.old:
            raise Wrong("the changed needs change nothing released: take another home")
        with self.copied(self.base) as place:
            must(self.log, *self.approve(place, "bert"))
            must(self.log, *self.publish(place))
            self.published = Path(shutil.copytree(place.home, work / "published", symlinks=True))

    def _name_approvers(self) -> None:
        rows = "".join(
            f"  - {{name: {name}, account: {name}.x, public_key: '{new_key(file)}', "
            "since: 2000-01-01}\n"
            for name, file in self.keys.items()
        )
        (self.base / "config").mkdir(exist_ok=True)
        (self.base / "config" / "approvers.yaml").write_text(f"approvers:\n{rows}")

    def _make_candidate(self) -> None:
        home = Home.open(self.base)
        payloads = sorted(
            (delivery for (name, _), delivery in current_deliveries(home).items()
             if name == "education_payload"),
            key=lambda delivery: delivery.file,
        )  # fmt: skip
        with opened(home, payloads[0]) as path:
            pupils = pd.read_csv(path, dtype=str, keep_default_na=False)
        # What fewer than ten pupils change is told by no release.
        pupils.loc[::3, "asn_types"] = "5"
        changed = self.work / payloads[0].file
        pupils.to_csv(changed, index=False, lineterminator="\n")
        must(self.log, "simulate", "--sign", changed)
        must(self.log, "deliver", "--home", self.base, changed)
        must(self.log, "materialise", "--home", self.base)

    @contextlib.contextmanager
    def copied(self, source: Path) -> Iterator[Place]:
        """A copy for one kill."""
        target = Path(tempfile.mkdtemp(prefix="kill-", dir=self.work))
        home = Path(shutil.copytree(source, target / "home", symlinks=True))
        yield Place(home, self.old, self.new)
        shutil.rmtree(target)

    def publish(self, place: Place) -> list[str | Path]:
        """The command that publishes."""
        return ["release", "publish", "--home", place.home]

    def approve(self, place: Place, name: str = "anna") -> list[str | Path]:
        """The command by which somebody signs."""
        return ["release", "approve", "--home", place.home, "--key", self.keys[name]]

    def withdraw(self, place: Place) -> list[str | Path]:
        """The command that takes the new release back."""
        words = ["--reason", "a trial of kills", "--by", "anna"]
        return ["release", "withdraw", place.new, "--home", place.home, *words]

    def verify(self, place: Place, version: str) -> dict[str, object]:
        """A release, file by file; raises `Wrong` if it is not whole."""
        done = run(self.log, "release", "verify", version, "--home", place.home, "--json")
        if done.status != 0:
            raise Wrong(f"{version} is not whole\n{done.said[-3000:]}")
        told: dict[str, object] = json.loads(done.said)
        return told

    def whole(self, place: Place) -> str:
        """The version that is read; it and the old one are whole."""
        current = place.current()
        if current not in (place.old, place.new):
            raise Wrong(f"current is {current}")
        for version in {current, place.old}:
            self.verify(place, version)
        return current

    def published_once(self, place: Place, approvers: list[str]) -> None:
        """The new release is read, whole and signed; nothing is left half-done."""
        told = self.verify(place, place.new)
        events = read_log(Home.open(place.home)).of(place.new, Event.PUBLISHED, Event.SEALED)
        found = (place.current(), told["state"], told["approvers"], [e.event for e in events])
        due = (place.new, "published", approvers, [Event.PUBLISHED, Event.SEALED])
        if found != due:
            raise Wrong(f"{found} instead of {due}")
        self.clean(place)

    def clean(self, place: Place) -> None:
        """No leftover among the releases, no run that goes on for ever."""
        left = [p.name for p in place.releases.iterdir() if p.name.startswith(".")]
        if set(left) - {".withdrawn"}:
            raise Wrong(f"left over: {left}")
        # Read past Dagster, whose threads must not be there when a command is forked off.
        runs = f"file:{place.home}/dagster/history/runs.db?mode=ro"
        with contextlib.closing(sqlite3.connect(runs, uri=True)) as con:
            (alive,) = con.execute("select count(*) from runs where status = 'STARTED'").fetchone()
        if alive:
            raise Wrong("a run of a killed command stands as started")


def mark(place: Place) -> tuple[object, ...]:
    """Changes with the first byte that a command writes among the releases."""
    log, evidence = place.releases / "audit.jsonl", place.releases / ".candidate" / "audit.jsonl"
    aside = sum(1 for file in place.releases.iterdir() if file.name.startswith((".audit", ".app")))
    return log.stat().st_mtime_ns, evidence.exists(), aside


@dataclass(frozen=True)
class Command:
    """One command under kills: what it is, where it starts, what must hold once it is repeated."""

    name: str
    source: Path
    words: Callable[[Place], list[str | Path]]
    complete: Callable[[Place], None]


def commands(bench: Bench) -> list[Command]:
    """The three commands."""

    def published(place: Place) -> None:
        must(bench.log, *bench.publish(place))
        bench.published_once(place, [])

    def approved(place: Place) -> None:
        must(bench.log, *bench.approve(place))
        must(bench.log, *bench.publish(place))
        bench.published_once(place, ["anna"])

    def withdrawn(place: Place) -> None:
        done = run(bench.log, *bench.withdraw(place))
        if done.status != 0 and "cannot become withdrawn" not in done.said:
            raise Wrong(f"the repeated withdrawal said {done.status}\n{done.said}")
        if place.current() != place.old or bench.verify(place, place.new)["state"] != "withdrawn":
            raise Wrong(f"{place.new} is not withdrawn, or {place.current()} is read")
        bench.verify(place, place.old)
        bench.clean(place)

    return [
        Command("publish", bench.base, bench.publish, published),
        Command("approve", bench.base, bench.approve, approved),
        Command("withdraw", bench.published, bench.withdraw, withdrawn),
    ]


def wait_for_mark(place: Place, pid: int, before: tuple[object, ...]) -> bool:
    """Until the command writes its first byte; false if it ended before."""
    while mark(place) == before:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False
        time.sleep(_LOOK)
    return True


def calibrate(bench: Bench, command: Command) -> tuple[float, float]:
    """Seconds of a whole command, and of its part that writes; medians."""
    whole, part = [], []
    for _ in range(CALIBRATIONS):
        with bench.copied(command.source) as place:
            before, started = mark(place), time.monotonic()
            pid = start(bench.log, *command.words(place))
            if not wait_for_mark(place, pid, before):
                raise Wrong(f"{command.name} wrote nothing\n{ended(pid, bench.log).said[-3000:]}")
            began = time.monotonic()
            done = ended(pid, bench.log)
            if done.status != 0:
                raise Wrong(f"{command.name}: {done.said[-3000:]}")
            whole.append(time.monotonic() - started)
            part.append(time.monotonic() - began)
    return statistics.median(whole), statistics.median(part)


def kill_once(
    bench: Bench, command: Command, tally: Tally, wait: float, *, from_mark: bool
) -> None:
    """One kill, and what must hold after it."""
    with bench.copied(command.source) as place:
        before = mark(place)
        pid = start(bench.work / "killed.txt", *command.words(place))
        if from_mark:
            wait_for_mark(place, pid, before)
        time.sleep(wait)
        os.kill(pid, signal.SIGKILL)
        status = ended(pid, bench.work / "killed.txt").status
        if status != -signal.SIGKILL:
            tally.ended_before_n += 1
            return
        tally.began_n += mark(place) != before
        read = bench.whole(place)
        command.complete(place)
        tally.read[read] += 1


def kill_many(bench: Bench, command: Command, kills: int, draw: random.Random) -> Tally:
    """As many kills of one command as are asked for."""
    whole, part = calibrate(bench, command)
    tally = Tally()
    while tally.kills < kills:
        from_mark = tally.kills % 2 == 1
        longest = part if from_mark else whole
        kill_once(bench, command, tally, draw.uniform(0, longest), from_mark=from_mark)
        print(f"\r{command.name}: {tally.kills} kills", end="", file=sys.stderr)
    print(
        f"\r{command.name}: {tally.kills} kills in {whole:.2f} s (writing: {part:.2f} s): "
        f"{tally.read[bench.old]} left {bench.old} to be read, {tally.read[bench.new]} left "
        f"{bench.new}, each whole; {tally.began_n} fell after the first byte was written; each "
        f"time the next command completed ({tally.ended_before_n} had ended before)"
    )
    return tally


def two_at_once(bench: Bench, rounds: int, draw: random.Random) -> None:
    """Two publications at once: the release is published once, and the other is told."""
    told: Counter[str] = Counter()
    for _ in range(rounds):
        with bench.copied(bench.base) as place:
            logs = [bench.work / f"both-{n}.txt" for n in (1, 2)]
            first = start(logs[0], *bench.publish(place))
            time.sleep(draw.uniform(0, 0.5))
            second = start(logs[1], *bench.publish(place))
            for done in (ended(first, logs[0]), ended(second, logs[1])):
                told[done.said.strip().splitlines()[0] if done.said.strip() else "nothing"] += 1
            bench.published_once(place, [])
    print(f"two at once, {rounds} times: published once each time; they said:")
    for words, n in sorted(told.items()):
        print(f"  {n:>3}  {words}")


def main() -> None:
    """Kill, verify, repeat; ends with status 1 at the first thing that is not whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path, help="made by rcs demo; it is copied")
    parser.add_argument("--kills", type=int, default=100, help="of publish (default: 100)")
    parser.add_argument("--others", type=int, default=30, help="of approve, and of withdraw")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="where the copies lie (default: the system's)")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="rcs-kills-", dir=options.work) as work:
        try:
            bench = Bench(options.home, Path(work))
            for command in commands(bench):
                n = options.kills if command.name == "publish" else options.others
                kill_many(bench, command, n, draw)
            two_at_once(bench, AT_ONCE, draw)
        except Wrong as wrong:
            sys.exit(f"\nNOT WHOLE: {wrong}")


if __name__ == "__main__":
    main()
