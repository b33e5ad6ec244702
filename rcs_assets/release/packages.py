"""What was published: listing and showing releases.

Belongs here: where releases lie, reading their manifests. Does not belong here: building
(`candidate.py`), publishing (`publish.py`), proving that a release is whole (`verify.py`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.errors import InputError, StorageError
from rcs_assets.release.files import APPROVALS, AUDIT_LOG, CANDIDATE_FILE, MANIFEST
from rcs_assets.storage import Home

CURRENT = "current"
CANDIDATE = ".candidate"
KINDS = ("public", "cpp", "school", "archive", SAFE_HAVEN)
HISTORY_COLUMNS = ("release", "as_of", "policy_version", "codebook_version")
_DAMAGED = f"its {MANIFEST} is damaged"
# What a list tells of a release; that of one that was withdrawn too.
_LISTED = {"as_of", "simulated", "packages"}
_KINDS_OF_ONE = ("public", SAFE_HAVEN)
_VERSION = re.compile(r"^(\d{4})\.(\d{2})\.(\d{2})(?:\.(\d+))?$")
_LEFTOVERS = (
    f"{CANDIDATE}-build-*",
    f"{CANDIDATE}-old-*",
    f".{CURRENT}-*",
    ".tombstone-*",
    # What had not yet been put in the place of the log, or of a candidate's signatures.
    f".{AUDIT_LOG}.*",
    f".{APPROVALS}.*",
)


@dataclass(frozen=True)
class ReleaseEntry:
    """One folder of `releases/` in a list.

    `withdrawn` is why the release was taken back, `problem` why the folder is none (then nothing
    of it is known but its name); else empty.
    """

    version: str
    as_of: str = ""
    is_current: bool = False
    is_simulated: bool | None = None
    packages: tuple[str, ...] = ()
    withdrawn: str = ""
    problem: str = ""


@dataclass(frozen=True)
class PackageSummary:
    """One package of a release: `tables` is table → rows."""

    name: str
    files_n: int
    bytes_n: int
    tables: dict[str, int]


@dataclass(frozen=True)
class ReleaseSummary:
    """What one release holds."""

    version: str
    as_of: str
    is_current: bool
    is_simulated: bool
    content_hash: str
    policy_version: str
    left_out: tuple[str, ...]
    packages: tuple[PackageSummary, ...]


def version_order(version: str) -> tuple[int, ...]:
    """The key that sorts versions by day, then number; ten comes after nine."""
    found = _VERSION.match(version)
    if not found:
        raise InputError(
            f"{version} is no version of a release",
            why="versions are YYYY.MM.DD, then .1, .2 …",
            fix="run: rcs release list",
        )
    return tuple(int(part or 0) for part in found.groups())


def versions(home: Home) -> list[str]:
    """Names of the folders that are called like releases, oldest first, whoever made them."""
    return sorted(filter(_VERSION.match, _folders(home)), key=version_order)


def _folders(home: Home) -> list[str]:
    """Names of the folders that a reader of `releases/` sees."""
    if not home.releases.is_dir():
        return []
    return [
        path.name
        for path in home.releases.iterdir()
        if path.is_dir() and not (path.is_symlink() or path.name.startswith("."))
    ]


def current_version(home: Home) -> str | None:
    """The version that `current` points to; None if nothing was published.

    Raises:
        StorageError: `current` points to something that is no release.
    """
    link = home.releases / CURRENT
    if not link.is_symlink():
        return None
    target = home.releases / link.readlink().name
    if not _VERSION.match(target.name) or target.is_symlink():
        raise _no_current(target, "`current` points to it, and it is no release")
    if not target.exists():
        raise _no_current(target, "`current` points to it, and there is nothing of that name")
    if not (target / MANIFEST).is_file():
        raise _no_current(target, f"`current` points to it, and it holds no {MANIFEST}")
    return target.name


def _no_current(folder: Path, why: str) -> StorageError:
    return StorageError(
        "The current release cannot be found",
        where=str(folder),
        why=why,
        fix="if the folder of the release was given another name, name it back; else restore it "
        "from a backup. Then run: rcs release verify",
    )


def read_manifest(home: Home, version: str) -> dict[str, Any]:
    """The manifest of a published release.

    Raises:
        InputError: no such release.
        StorageError: its manifest is missing or damaged.
    """
    folder = home.releases / version
    if not _VERSION.match(version) or not folder.is_dir():
        raise InputError(
            f"There is no release {version}", where=str(home.releases), fix="run: rcs release list"
        )
    content = _manifest(folder)
    if isinstance(content, str):
        raise StorageError(
            f"{version} is not a whole release: {content}",
            where=str(folder),
            fix="run: rcs release list; restore the folder from its backup, or, if it was not "
            "published by this installation, move it out of releases/",
        )
    return content


def _manifest(folder: Path) -> dict[str, Any] | str:
    """What a folder's manifest says, or why it says nothing."""
    if not (folder / MANIFEST).is_file():
        return f"it holds no {MANIFEST}"
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except ValueError:
        content = None
    return content if isinstance(content, dict) else _DAMAGED


def read_candidate(home: Home) -> dict[str, Any] | None:
    """What the candidate says of itself; None if there is no complete candidate.

    Raises:
        StorageError: its description is damaged.
    """
    folder = home.releases / CANDIDATE
    # A publication that was killed may have gone as far as the manifest, which holds it all.
    found = [file for name in (CANDIDATE_FILE, MANIFEST) if (file := folder / name).is_file()]
    if not found:
        return None
    try:
        content: dict[str, Any] = json.loads(found[0].read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(found[0]) from error
    if not {"release", "content_hash", "packages", "policy_version"} <= set(content):
        raise _damaged(found[0])
    return content


def _damaged(file: Path) -> StorageError:
    return StorageError(
        "The release candidate is damaged", where=str(file), fix="run: rcs materialise"
    )


def list_releases(home: Home) -> list[ReleaseEntry]:
    """All folders of `releases/`: those that are called like releases, oldest first; the others."""
    current, named = current_version(home), versions(home)
    others = sorted(set(_folders(home)) - set(named))
    return [
        *(_listed(home, version, current) for version in named),
        *(ReleaseEntry(name, problem="it is not called like a release") for name in others),
    ]


def _listed(home: Home, version: str, current: str | None) -> ReleaseEntry:
    manifest = _manifest(home.releases / version)
    if isinstance(manifest, str):
        return ReleaseEntry(version, problem=manifest)
    if not manifest.keys() >= _LISTED:
        return ReleaseEntry(version, problem=_DAMAGED)
    return ReleaseEntry(
        version,
        manifest["as_of"],
        version == current,
        manifest["simulated"],
        tuple(sorted(manifest["packages"], key=package_order)),
        manifest.get("withdrawn", {}).get("reason", ""),
    )


def resolve_version(home: Home, version: str | None) -> str:
    """A version from `current`, None (= current) or itself.

    Raises:
        InputError: nothing was published yet, or what is asked for is no version, or a link.
    """
    if version and version != CURRENT:
        # A name, never a path: nothing outside `releases/` is taken for a release.
        if not _VERSION.match(version):
            raise InputError(
                "This is no name of a release",
                where=f"'{version}'",
                why="releases are called by day and number, as in 2020.06.30.1",
                fix="run: rcs release list",
            )
        if (home.releases / version).is_symlink():
            raise InputError(
                "A link is no release",
                where=str(home.releases / version),
                why="what it points to was not published here under this name",
                fix="remove the link",
            )
        return version
    found = current_version(home)
    if found is None:
        raise InputError(
            "Nothing was published yet",
            where=str(home.releases),
            fix="run: rcs materialise --publish",
        )
    return found


def show_release(home: Home, version: str | None = None) -> ReleaseSummary:
    """What one release holds; the current one if `version` is None or `current`.

    Raises:
        InputError: no such release.
    """
    chosen = resolve_version(home, version)
    manifest = read_manifest(home, chosen)
    if "withdrawn" in manifest:
        raise InputError(
            f"Release {chosen} was withdrawn",
            where=str(home.releases / chosen),
            why=manifest["withdrawn"]["reason"],
            fix="run: rcs release list",
        )
    sizes = package_sizes(manifest["files"])
    return ReleaseSummary(
        chosen,
        manifest["as_of"],
        chosen == current_version(home),
        manifest["simulated"],
        manifest["content_hash"],
        manifest["policy_version"],
        tuple(manifest["left_out"]),
        tuple(
            PackageSummary(name, *sizes.get(name, (0, 0)), manifest["packages"][name]["tables"])
            for name in sorted(manifest["packages"], key=package_order)
        ),
    )


def package_order(name: str) -> tuple[int, str]:
    """The key that sorts packages by who reads them: public, CPPs, schools, deposit, inside."""
    return KINDS.index(name.split("/")[0]), name


def package_of(path: str) -> str:
    """The package that a file of a release belongs to; empty for those beside the packages."""
    parts = path.split("/")
    if len(parts) > 1 and parts[0] in _KINDS_OF_ONE:
        return parts[0]
    return "/".join(parts[:2]) if len(parts) > 2 else ""


def package_sizes(files: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Package → number of files, bytes; from the list of a manifest."""
    sizes: dict[str, tuple[int, int]] = {}
    for entry in files:
        name = package_of(entry["path"])
        files_n, bytes_n = sizes.get(name, (0, 0))
        sizes[name] = (files_n + 1, bytes_n + int(entry["bytes"]))
    return sizes


def grouped(packages: Iterable[PackageSummary]) -> tuple[PackageSummary, ...]:
    """The packages with those of schools as one, for a list that people read."""
    found = list(packages)
    schools = [package for package in found if package.name.startswith("school/")]
    rows: dict[str, int] = {}
    for package in schools:
        for table, n in package.tables.items():
            rows[table] = rows.get(table, 0) + n
    together = PackageSummary(
        f"school/* ({len(schools)} packages)",
        sum(package.files_n for package in schools),
        sum(package.bytes_n for package in schools),
        rows,
    )
    first = found.index(schools[0]) if schools else len(found)
    others = [package for package in found if package not in schools]
    return (*others[:first], *([together] if schools else []), *others[first:])


def next_version(home: Home, as_of: date, content_hash: str) -> str:
    """The version of a candidate: that of the current release if the content is the same.

    Else the day (`as_of`), then `.1`, `.2` … if that day has a release.
    """
    current = current_version(home)
    if current and read_manifest(home, current)["content_hash"] == content_hash:
        return current
    day = as_of.strftime("%Y.%m.%d")
    taken = set(versions(home))
    number = 0
    version = day
    while version in taken:
        number += 1
        version = f"{day}.{number}"
    return version


def clean_leftovers(home: Home) -> None:
    """Remove what a killed run left aside; never a release, `current` or the candidate."""
    for pattern in _LEFTOVERS:
        for path in home.releases.glob(pattern):
            if path.is_symlink() or path.is_file():
                path.unlink()
            else:
                shutil.rmtree(path)
