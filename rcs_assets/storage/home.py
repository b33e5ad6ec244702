"""The home: the folder that holds all state of one installation.

Belongs here: where each zone lies, the profile of the installation. Does not belong here:
keys (`keyring.py`), opening a zone (`connect.py`), locking (`lock.py`) and what a zone
contains (the rooms).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rcs_assets.errors import ConfigurationError, StorageError
from rcs_assets.storage.files import write_atomically

PROFILES = ("production", "demo")
FOLDERS = (
    "config",
    # A folder above another is named too: what is made on the way has the mode of the process.
    "drop",
    "drop/incoming",
    "drop/files",
    "releases",
    "dagster",
    "logs",
    "keys",
    "receipts",
    "tmp",
)
DEMO_SEED = 2026
# Of a withdrawn release the tombstone stands in `releases/`, and its files are kept here.
WITHDRAWN_FOLDER, TOMBSTONE = ".withdrawn", "WITHDRAWN.md"
DEFAULT_HOME = ".rcs"


def home_path() -> Path:
    """The folder of RCS_HOME; `.rcs` below the working folder if it is not set."""
    return Path(os.environ.get("RCS_HOME") or DEFAULT_HOME).expanduser().resolve()


@dataclass(frozen=True)
class Home:
    """One installation.

    `path` holds every zone; `profile` is `production` or `demo`; `seed` is set in
    the demo profile only, where keys are derived from it so that two runs are equal
    (design.md, Zones).
    """

    path: Path
    profile: str
    seed: int | None

    @classmethod
    def open(cls, path: str | Path, *, profile: str | None = None, seed: int | None = None) -> Home:
        """Open a home, creating its folders on first use.

        Args:
            path: the folder.
            profile: `production` (the default for a new home) or `demo`; an existing
                home keeps its profile and refuses another one.
            seed: demo profile only; the default is 2026.

        Raises:
            ConfigurationError: unknown profile, or another one than the home was made with; a new
                home in a folder that holds something else.
        """
        root = _folder(path)
        recorded = _read_marker(root)
        chosen = profile or (recorded.profile if recorded else "production")
        if chosen not in PROFILES:
            raise ConfigurationError(
                f"Unknown profile {chosen}", why="profiles are production and demo"
            )
        if recorded is not None:
            _refuse_other(recorded, chosen, seed)
            return recorded
        _refuse_others_folder(root)
        demo_seed = DEMO_SEED if seed is None else seed
        home = cls(root, chosen, demo_seed if chosen == "demo" else None)
        home._create()
        return home

    @classmethod
    def existing(cls, path: str | Path, *, profile: str | None = None) -> Home:
        """Open a home that has been made; nothing is written.

        Args:
            path: the folder.
            profile: refused if the home was made with another one.

        Raises:
            ConfigurationError: there is no installation, or one of another profile.
        """
        root = _folder(path)
        recorded = _read_marker(root)
        if recorded is None:
            raise ConfigurationError(
                "There is no installation here",
                where=str(root),
                why="it is made by its first delivery, by `rcs keys new`, or by `rcs demo`",
                fix="name its folder with --home or RCS_HOME, or make one",
            )
        _refuse_other(recorded, profile or recorded.profile, None)
        return recorded

    def _create(self) -> None:
        for folder in FOLDERS:
            (self.path / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)
        write_atomically(
            self.path / "home.json",
            json.dumps({"profile": self.profile, "seed": self.seed}, sort_keys=True) + "\n",
        )

    @property
    def config(self) -> Path:
        """The adopter's overlay of programme, codebook and policy data."""
        return self.path / "config"

    @property
    def drop(self) -> Path:
        """Deliveries as they came, by sha256."""
        return self.path / "drop"

    @property
    def incoming(self) -> Path:
        """Where plain files wait until they are registered."""
        return self.drop / "incoming"

    @property
    def register(self) -> Path:
        """The drop register: one JSON line a delivery."""
        return self.drop / "register.jsonl"

    @property
    def vault(self) -> Path:
        """The encrypted database of identifiers."""
        return self.path / "vault.duckdb"

    @property
    def warehouse(self) -> Path:
        """The database of pseudonymised rows and everything computed from them."""
        return self.path / "warehouse.duckdb"

    @property
    def releases(self) -> Path:
        """Published releases; `current` points to the newest."""
        return self.path / "releases"

    @property
    def dagster(self) -> Path:
        """The Dagster instance: runs, events, check records."""
        return self.path / "dagster"

    @property
    def logs(self) -> Path:
        """Log files of the command line and of dbt."""
        return self.path / "logs"

    @property
    def keys(self) -> Path:
        """Named keys, one file each, mode 0600."""
        return self.path / "keys"

    @property
    def receipts(self) -> Path:
        """One JSON receipt a delivery; exact counts, for the operator."""
        return self.path / "receipts"

    @property
    def tmp(self) -> Path:
        """Temporary files of the engines; inside the home, so on its disk."""
        return self.path / "tmp"

    def permission_day(self, day: date) -> date:
        """The day on which what is permitted must hold, of work that is done as of another one.

        In production never before the clock's: an earlier day would bring back an approval that
        has ended, and a key that is revoked.
        """
        return day if self.profile == "demo" else max(day, date.today())

    def key(self, name: str) -> bytes:
        """The named 32-byte key (`keyring.py`); each use stands in the access log.

        Raises:
            StorageError: the key is missing, damaged, readable by others, or another one than
                the installation was made with.
        """
        # Here and not above: the keyring locks the home and writes its log, so it stands on it.
        from rcs_assets.storage.keyring import read_key

        return read_key(self, name)


def _folder(path: str | Path) -> Path:
    root = Path(path).expanduser().resolve()
    if root.exists() and not root.is_dir():
        raise StorageError(
            "The home is no folder",
            where=str(root),
            why="all state of an installation lies in one folder",
            fix="name a folder with --home or RCS_HOME",
        )
    return root


def _refuse_others_folder(root: Path) -> None:
    """A folder of something else would be closed to all but its owner, and filled."""
    own = {Path(folder).parts[0] for folder in FOLDERS}
    others = sorted(p.name for p in root.iterdir() if p.name not in own) if root.exists() else []
    if others:
        raise ConfigurationError(
            "This folder holds something else than an installation",
            where=f"{root}, {len(others)} files or folders, the first: {others[0]}",
            why="all state of an installation lies in a folder of its own",
            fix="name a new or an empty folder with --home or RCS_HOME",
        )


def _read_marker(root: Path) -> Home | None:
    marker = root / "home.json"
    if not marker.exists():
        return None
    try:
        recorded = json.loads(marker.read_text(encoding="utf-8"))
        return Home(root, recorded["profile"], recorded["seed"])
    except (ValueError, KeyError) as error:
        raise ConfigurationError(
            "home.json cannot be read", where=str(marker), fix="restore it from a backup"
        ) from error


def _refuse_other(recorded: Home, profile: str, seed: int | None) -> None:
    if recorded.profile != profile:
        raise ConfigurationError(
            f"This home has the profile {recorded.profile}, not {profile}",
            where=str(recorded.path),
            why="demonstration and production data never share a home",
            fix="name another folder with --home, or leave --profile out",
        )
    if seed is not None and recorded.seed != seed:
        raise ConfigurationError(
            f"This home was made with seed {recorded.seed}, not {seed}",
            where=str(recorded.path),
            why="the seed makes the demo's keys",
            fix="name another folder with --home, or leave --seed out",
        )
