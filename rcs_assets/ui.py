"""Dagster's UI of one installation: web server, daemon and code location, begun and ended together.

Belongs here: the processes, in which order they begin, and that none is left. Does not belong here:
what the web server refuses (`ui_guard.py`), how it is made (`ui_server.py`), the command
(`commands/`).

`dagster dev` does the same with a web server that anybody's page may ask. All processes are of one
group, runs of the UI included, so that whatever they have started ends with them.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType

import yaml

from rcs_assets.errors import RcsError, WrongUseError

LOCATION, MODULE = "rcs", "rcs_assets.definitions"
_LOOK_SECONDS = 0.2
# The graph is loaded in 10 s on two cores; a machine that does much else needs longer.
_LOAD_SECONDS = 300
# Python drops a signal that comes while it collects garbage (seen: the daemon, 1 of 10 times), so
# who is there after the first is told once more. A run that is stopped writes its end.
_TOLD_AGAIN_SECONDS, _END_SECONDS = 5, 15
# What was killed and is nobody's child any more goes when the system looks at it.
_GONE_SECONDS = 2
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class UiError(RcsError):
    """The UI cannot be started, or a process of it has ended."""


def listen(host: str, port: int) -> socket.socket:
    """The socket of the UI; a browser that is early waits for its answer.

    Args:
        host: one address or name of this machine.
        port: 0 takes one that is free.

    Raises:
        WrongUseError: the host stands for every address.
        UiError: the port is in use, or the host is none of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        _refuse_everywhere(host, str(address[0]))
        return socket.create_server((str(address[0]), port), family=family)
    except OSError as error:
        raise UiError(
            "The UI cannot listen there",
            where=f"{host}, port {port}",
            # In brackets Python says again what was asked for.
            why=(error.strerror or str(error)).partition(" (")[0],
            fix="see that the host is this machine's; end what uses the port, or name another one "
            "with --port (make ui PORT=3001)",
        ) from None


def _refuse_everywhere(host: str, address: str) -> None:
    if ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        raise WrongUseError(
            "The UI cannot listen on every address",
            where=f"--host {host}",
            why="it answers only to the names that it was started for, and has no login",
            fix="name one address, or leave --host out (127.0.0.1)",
        )


def url(host: str, listening: socket.socket) -> str:
    """Where a browser finds the UI."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}"


def serve(
    listening: socket.socket, host: str, folder: Path, environment: Mapping[str, str]
) -> None:
    """Run all processes of the UI until somebody stops this one.

    Args:
        listening: what `listen` gave.
        host: as in `listen`.
        folder: where they work.
        environment: of all of them; names the installation (RCS_HOME, DAGSTER_HOME).

    Raises:
        UiError: one of them ended by itself.
    """
    with tempfile.TemporaryDirectory(prefix="rcs-ui-") as place:
        group = Group(folder, {**environment, "TMPDIR": place})
        with stops_noted(group), suppress(KeyboardInterrupt), group:
            _begin(group, Path(place), listening, host)
            group.watch()


def _begin(group: Group, place: Path, listening: socket.socket, host: str) -> None:
    code, workspace = place / "code.sock", place / "workspace.yaml"
    server = {"socket": str(code), "location_name": LOCATION}
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    group.start(
        "code location",
        ["dagster", "code-server", "start", "--socket", str(code), "--log-level", "error",
         "--module-name", MODULE, "--location-name", LOCATION],
    )  # fmt: skip
    group.wait(lambda: _answers(code), _LOAD_SECONDS)
    group.start("daemon", ["dagster._daemon", "run", "--workspace", str(workspace)])
    group.start(
        "web server",
        ["rcs_assets.ui_server", "--workspace", str(workspace), "--host", host,
         "--socket", str(listening.fileno())],
        pass_fds=[listening.fileno()],
    )  # fmt: skip


def _answers(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(place)) == 0


class Group:
    """Processes of one process group that is not the terminal's: Ctrl-C comes to this one alone.

    Args:
        folder: where they work.
        environment: of all of them.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        self.is_complete = False
        self.stops_n = 0

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all of them and what they have started; who is impatient stops once more.

        While the graph is being loaded nothing works yet, and Dagster takes a stop for an error
        of it.
        """
        if not self.started:
            return
        if self.is_complete:
            self._signal(signal.SIGTERM)
            self._wait_for_end(_TOLD_AGAIN_SECONDS)
            for process in self.started.values():
                process.terminate()
            self._wait_for_end(_END_SECONDS)
        self._signal(signal.SIGKILL)
        for process in self.started.values():
            process.wait()
        self._wait_for_end(_GONE_SECONDS)

    @property
    def _number(self) -> int:
        """Of the group: that of its first process; 0, a group of its own, while there is none."""
        return next((process.pid for process in self.started.values()), 0)

    def start(self, name: str, module: Sequence[str], *, pass_fds: Sequence[int] = ()) -> None:
        """Begin a process of Python's module; its stdin ends when this process does."""
        self.started[name] = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            pass_fds=pass_fds,
            process_group=self._number,
        )

    def watch(self) -> None:
        """All have begun: stay until somebody stops this process, or one of them ends (UiError)."""
        self.is_complete = True
        self.wait(lambda: False)

    def wait(self, is_ready: Callable[[], bool], seconds: float = float("inf")) -> None:
        """Return when it is.

        Raises:
            KeyboardInterrupt: somebody has stopped this process.
            UiError: a process has ended before, or time is up.
        """
        until = time.monotonic() + seconds
        while not is_ready():
            if self.stops_n:
                raise KeyboardInterrupt
            ended = [n for n, process in self.started.items() if process.poll() is not None]
            if ended or time.monotonic() > until:
                raise UiError(
                    f"The {ended[0]} of the UI has ended" if ended else "The UI does not begin",
                    why="what it said stands above",
                    fix="run: rcs doctor; then start it again",
                )
            time.sleep(_LOOK_SECONDS)

    def _wait_for_end(self, seconds: float) -> None:
        until, stops_n = time.monotonic() + seconds, self.stops_n
        while time.monotonic() < until and self.is_there() and self.stops_n == stops_n:
            time.sleep(_LOOK_SECONDS)

    def is_there(self) -> bool:
        """Whether any of them, or of those that they have started, is left."""
        for process in self.started.values():
            # One that has ended counts until it is asked.
            process.poll()
        return self._signal(0)

    def _signal(self, number: int) -> bool:
        """Whether there was a process to send it to."""
        with suppress(ProcessLookupError):
            os.killpg(self._number, number)
            return True
        return False


@contextmanager
def stops_noted(group: Group) -> Iterator[None]:
    """Being told to end, from outside or since the terminal is closed, is as Ctrl-C.

    It is noted and not raised: between the start of a process and its entry in the group an
    exception would leave it behind. What a shell has this process ignore (Ctrl-C, in the
    background) it goes on ignoring, by a handler: the processes that it starts would inherit it
    otherwise, and end by nothing else.
    """

    def note(number: int, _frame: FrameType | None) -> None:
        if before[signal.Signals(number)] != signal.SIG_IGN:
            group.stops_n += 1

    before = {number: signal.getsignal(number) for number in _STOPS}
    for number in _STOPS:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
