"""What all kinds of tests share: places, homes, and the closing account.

Belongs here: fixtures that more than one kind of test needs, and the line that
says what was skipped and why. Does not belong here: data of one room; that lies
in the conftest beside that room's tests.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

REPO_ROOT = Path(__file__).resolve().parents[1]
SHARED_REFERENCE = REPO_ROOT.parent / "shared" / "reference"
DEMO_SEED = 2026
DEMO_DAY = "2020-06-30"

# No test calls home, and none reads or writes the installation of whoever runs it.
QUIET = {
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "NO_COLOR": "1",
}
FOREIGN = ("DAGSTER_HOME", "RCS_AS_OF", "RCS_ENGAGEMENTS", "RCS_WAREHOUSE", "FORCE_COLOR")


# No test is judged by a clock: how long an example takes hangs on what else the machine does.
hypothesis.settings.register_profile(
    "no_clock",
    hypothesis.settings.default,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("no_clock")


def pytest_configure(config: pytest.Config) -> None:
    """Before any module of the platform is imported: a quiet and foreign-free environment."""
    os.environ.update(QUIET)
    for name in FOREIGN:
        os.environ.pop(name, None)
    if "RCS_TEST_HOME" not in os.environ:
        os.environ["RCS_TEST_HOME"] = tempfile.mkdtemp(prefix="rcs-test-home-")
        config.add_cleanup(
            lambda: shutil.rmtree(os.environ.pop("RCS_TEST_HOME"), ignore_errors=True)
        )
    os.environ["RCS_HOME"] = os.environ["RCS_TEST_HOME"]


@pytest.fixture(autouse=True)
def foreign_names_as_before() -> Iterator[None]:
    """A command in this process names its home to Dagster; the next test has another, or none."""
    before = {name: os.environ.get(name) for name in FOREIGN}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


# Files whose single tests take longest: begun last, one of them would outlast all others.
LONG_FIRST = ("tests/privacy/test_canaries", "tests/integration/", "tests/mutation/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of files for two workers (`--dist loadfile`).

    One worker makes the released home while the other tests what needs none: without an order
    both would meet at its lock at once and one of them wait.
    """
    homes = {i.path for i in items if "released_home" in getattr(i, "fixturenames", ())}
    first = next((item.path for item in items if item.path in homes), None)

    def rank(item: pytest.Item) -> tuple[bool, bool, int]:
        long = [at for at, name in enumerate(LONG_FIRST) if item.nodeid.startswith(name)]
        return item.path != first, item.path in homes, min(long, default=len(LONG_FIRST))

    items.sort(key=rank)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped, and whether the reference material was there."""
    skipped = len(terminalreporter.stats.get("skipped", []))
    presence = "was there" if SHARED_REFERENCE.is_dir() else "was not there"
    terminalreporter.write_line(f"{skipped} tests skipped; ../shared/reference {presence}")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The top folder of the repository."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """The real public files beside the repository; the test is skipped where they are not."""
    if not SHARED_REFERENCE.is_dir():
        pytest.skip("../shared/reference is not there: no real public files to test with")
    return SHARED_REFERENCE


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Debian's browser; the test is skipped where it is not installed."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    return Path(found)


@pytest.fixture
def make_home(tmp_path: Path) -> Callable[[str], Path]:
    """Names a fresh folder for an installation; the platform itself makes what lies in it."""

    def make(name: str = "home") -> Path:
        folder = tmp_path / name
        folder.mkdir(mode=0o700)
        return folder

    return make


@dataclass(frozen=True)
class CommandResult:
    """What a command did: its exit status, output and wall time in seconds."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def output(self) -> str:
        """Both streams, for messages of failing tests."""
        return f"{self.stdout}\n{self.stderr}"


Rcs = Callable[..., CommandResult]


def run_rcs(*arguments: str | Path, timeout: float = 600, **environment: str) -> CommandResult:
    """Run the installed `rcs` as an operator would, without a terminal and from elsewhere."""
    script = Path(sys.executable).with_name("rcs")
    variables = {k: v for k, v in os.environ.items() if not k.startswith("RCS_")}
    started = time.monotonic()
    done = subprocess.run(
        [script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
        env=variables | QUIET | environment,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr, time.monotonic() - started)


@pytest.fixture(scope="session")
def rcs() -> Rcs:
    """`rcs(*arguments)` runs the command and returns a CommandResult; it raises nothing."""
    return run_rcs


@dataclass(frozen=True)
class ReleasedHome:
    """An installation after `rcs demo --scale small`, and what the command said.

    Tests read it; one that changes something works on `copy`.
    """

    path: Path
    stdout: str
    seconds: float

    @property
    def release(self) -> Path:
        """The published release."""
        return (self.path / "releases" / "current").resolve()

    def copy(self, target: Path) -> Path:
        """A copy that a test may change, made while nobody writes to the access log.

        Other workers read deliveries of the same home; a copy of the log from before an
        entry, with its head from after it, would be refused as cut.
        """
        with (self.path / "logs" / ".access.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return Path(shutil.copytree(self.path, target, symlinks=True))


@pytest.fixture(scope="session")
def released_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReleasedHome]:
    """One `rcs demo --scale small` for all tests of a session, whichever worker runs them.

    RCS_TEST_RELEASED names a folder to keep it in, so that work on a test does not wait
    for a new one each time; nothing looks whether it is of the code as it is now.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    shared = Path(os.environ.get("RCS_TEST_RELEASED", shared))
    shared.mkdir(parents=True, exist_ok=True)
    home, said = shared / "released-home", shared / "released-home.txt"
    with FileLock(shared / "released-home.lock"):
        if not said.exists():
            result = run_rcs(
                "demo", "--scale", "small", "--seed", str(DEMO_SEED), "--home", home,
                "--as-of", DEMO_DAY,
            )  # fmt: skip
            if result.status != 0:
                pytest.fail(f"rcs demo --scale small failed:\n{result.output[-6000:]}")
            said.write_text(f"{result.seconds}\n{result.stdout}", encoding="utf-8")
    seconds, _, stdout = said.read_text(encoding="utf-8").partition("\n")
    yield ReleasedHome(home, stdout, float(seconds))
