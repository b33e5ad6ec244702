"""What every command shares: the home it is about, its words and its exit status.

Belongs here: opening the installation that the options name, JSON and progress on a terminal,
what several commands say of deliveries. Does not belong here: any one command.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rcs_assets.errors import ConfigurationError, InputError
from rcs_assets.programme import load_programme
from rcs_assets.storage import Home, Settings, home_path

DONE, REFUSED = 0, 1


def open_home(options: argparse.Namespace) -> Home:
    """The installation that the options or RCS_HOME name; it must be there."""
    return _entered(Home.existing(_path(options), profile=options.profile), options)


def make_home(options: argparse.Namespace, *, profile: str | None = None) -> Home:
    """The same for the commands that begin an installation: its folders are made on first use."""
    seed = getattr(options, "seed", None)
    made = Home.open(_path(options), profile=profile or options.profile, seed=seed)
    return _entered(made, options)


def _path(options: argparse.Namespace) -> Path:
    return Path(options.home) if options.home else home_path()


def _entered(home: Home, options: argparse.Namespace) -> Home:
    """Runs and processes that are started from here are of this installation and day."""
    os.environ["RCS_HOME"] = str(home.path)
    os.environ["RCS_AS_OF"] = Settings.from_environment(as_of=options.as_of or "").as_of.isoformat()
    return home


def config_folder(options: argparse.Namespace) -> Path:
    """The overlay of the home, which need not be there: nothing is opened or written."""
    return _path(options) / "config"


def refuse_inside_home(home: Home, out: Path | None, *, option: str = "--out") -> None:
    """Raises InputError where a file that somebody asked for would land among those of the home."""
    if out is not None and out.resolve().is_relative_to(home.path):
        raise InputError(
            "Nothing is written into the installation by hand",
            where=f"{option} {out}",
            why="it could take the place of what was published, or of what a run has made",
            fix="name a place outside of it",
        )


def refuse_unknown_engagements(home: Home, keys: Sequence[str]) -> None:
    """Raises ConfigurationError for a key that the register does not have."""
    known = load_programme(home.config).engagements
    for key in keys:
        if key not in known:
            raise ConfigurationError(
                f"There is no engagement {key}",
                where="programme register",
                fix=f"choose from: {', '.join(known)}",
            )


def delivery_status(home: Home) -> list[dict[str, Any]]:
    """Every receipt, as `rcs status --json` gives it (interfaces.md, A release)."""
    from rcs_assets.intake.receipts import read_receipts

    return [
        {
            "file": receipt.file,
            "engagement": receipt.engagement,
            "dataset": receipt.dataset,
            "sha256": receipt.sha256,
            "status": receipt.status,
            "received": receipt.received_n,
            "accepted": receipt.accepted_n,
            "quarantined": receipt.quarantined_n,
            "withdrawn": receipt.withdrawn_n,
            "reasons": [
                *([receipt.reason] if receipt.reason else []),
                *(f"{rule}: {rows_n}" for rule, rows_n in receipt.reasons.items()),
            ],
        }
        for receipt in read_receipts(home)
    ]


def say_progress(text: str) -> None:
    """A line of progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"  {time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """On stdout, keys in order; days and paths as text."""
    print(json.dumps(value, indent=2, sort_keys=True, default=_plain))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, date | Path):
        return str(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(type(value).__name__)
