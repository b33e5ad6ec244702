"""The processes of the UI as a group: begun in order, and ended whatever they do.

Small modules stand in the place of Dagster's, as real processes.
"""

from __future__ import annotations

import os
import signal
import textwrap
import threading
import time
from pathlib import Path

import pytest

from rcs_assets import ui
from rcs_assets.ui import Group, UiError, listen, stops_noted, url

MODULES = {
    "obeys": "",
    "loses_the_first": "signal.signal(15, lambda *_: signal.signal(15, signal.SIG_DFL))",
    "never_ends": "signal.signal(15, signal.SIG_IGN)",
    "has_a_child": "subprocess.Popen([sys.executable, '-m', 'never_ends'])",
    "ends_by_itself": "sys.exit(3)",
}


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Group:
    """Modules that say, by a file of their name, that they work."""
    monkeypatch.setattr(ui, "_TOLD_AGAIN_SECONDS", 0.3)
    monkeypatch.setattr(ui, "_END_SECONDS", 0.3)
    for name, line in MODULES.items():
        text = f"""
            import pathlib, signal, subprocess, sys, time
            {line}
            pathlib.Path("{name}.there").touch()
            time.sleep(60)
            """
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    return Group(tmp_path, dict(os.environ))


@pytest.mark.parametrize(
    ("name", "waits_for", "ended_by"),
    [
        ("loses_the_first", "loses_the_first", signal.SIGTERM),
        ("never_ends", "never_ends", signal.SIGKILL),
        ("has_a_child", "never_ends", signal.SIGTERM),
    ],
)
def test_all_end_and_what_they_have_started(
    group: Group, tmp_path: Path, name: str, waits_for: str, ended_by: signal.Signals
) -> None:
    with pytest.raises(KeyboardInterrupt), group:
        for one, file in (("obeys", "obeys"), (name, waits_for)):
            group.start(one, [one])
            group.wait((tmp_path / f"{file}.there").exists, 30)
        group.is_complete = True
        raise KeyboardInterrupt
    ended = {one: process.returncode for one, process in group.started.items()}
    assert ended == {"obeys": -signal.SIGTERM, name: -ended_by}
    assert not group.is_there()


def test_what_is_stopped_before_all_have_begun_ends_at_once(group: Group, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), group:
        group.start("never_ends", ["never_ends"])
        group.wait((tmp_path / "never_ends.there").exists, 30)
        raise KeyboardInterrupt
    assert group.started["never_ends"].returncode == -signal.SIGKILL
    assert not group.is_there()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted_and_a_second_one_is_impatience(
    group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """An exception out of nowhere could come before the process just begun is in the group."""
    monkeypatch.setattr(ui, "_TOLD_AGAIN_SECONDS", 60)
    before = signal.getsignal(number)
    again = threading.Timer(0.4, os.kill, (os.getpid(), number))
    with stops_noted(group), pytest.raises(KeyboardInterrupt), group:
        os.kill(os.getpid(), number)
        group.start("never_ends", ["never_ends"])
        while not (tmp_path / "never_ends.there").exists():
            time.sleep(0.01)
        again.start()
        group.watch()
    assert group.started["never_ends"].returncode == -signal.SIGKILL
    assert signal.getsignal(number) == before


def test_a_signal_that_is_ignored_stays_so_and_is_not_handed_on(group: Group) -> None:
    """A shell in the background ignores Ctrl-C: Dagster's processes would end by nothing then."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stops_noted(group), pytest.raises(UiError, match="does not begin"), group:
            group.start("obeys", ["obeys"])
            os.kill(os.getpid(), signal.SIGINT)
            status = Path(f"/proc/{group.started['obeys'].pid}/status").read_text()
            group.wait(lambda: False, 0.3)
    finally:
        signal.signal(signal.SIGINT, before)
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    assert not int(ignored.split()[1], 16) >> (signal.SIGINT - 1) & 1


def test_one_that_ends_by_itself_is_named_and_ends_all(group: Group) -> None:
    with pytest.raises(UiError, match="The ends_by_itself of the UI has ended"), group:
        group.start("obeys", ["obeys"])
        group.start("ends_by_itself", ["ends_by_itself"])
        group.watch()
    assert group.started["obeys"].returncode == -signal.SIGTERM
    assert not group.is_there()


def test_one_that_does_not_begin_is_told(group: Group) -> None:
    with pytest.raises(UiError, match="The UI does not begin"), group:
        group.start("obeys", ["obeys"])
        group.wait(lambda: False, 0.3)
    assert not group.is_there()


def test_the_address_is_what_a_browser_takes() -> None:
    with listen("127.0.0.1", 0) as one:
        assert url("127.0.0.1", one) == f"http://127.0.0.1:{one.getsockname()[1]}"
        assert url("::1", one) == f"http://[::1]:{one.getsockname()[1]}"
