"""Documents that are attached to a candidate before it is published.

Belongs here: which packages a renderer works on, taking its pages into a package's folder
and manifest, and telling whether every package that must have a page has it. Does not
belong here: rendering (`reporting`), deciding whether to publish (`gate.py`).

A renderer reads one package's folder and nothing else, and hands its pages back as bytes:
it cannot change what was protected, and a page whose candidate was rebuilt meanwhile is
refused. Pages are not part of the content hash; all that they are made from is (the rows,
the authored summaries, the code of `reporting`), so that equal content gives equal pages.

A release in which one area changed draws the pages of that area again and keeps the others byte
by byte. So a page names the release that it was made for, and the fingerprint of the tables that
it was made of; the manifest beside it has the same fingerprint (`pages_of`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.errors import InputError
from rcs_assets.release.files import MANIFEST, sha256_file, write_json
from rcs_assets.release.fingerprint import figures_hash, technical_hash
from rcs_assets.release.packages import CANDIDATE, CURRENT, read_candidate
from rcs_assets.release.seal import candidate_hash, note_seal
from rcs_assets.storage import Home

REPORT = "report.html"
TECHNICAL = "technical_report."
# interfaces.md, A release: whoever gets one of these packages gets a page to read. The safe
# haven's is about linkage (policy.md: nothing of it is handed out).
PAGE_OF = {"public": REPORT, "cpp": REPORT, "school": REPORT, SAFE_HAVEN: "linkage.html"}


@dataclass(frozen=True)
class PackageFolder:
    """One package of the candidate, as a renderer needs it.

    `name` is its folder in the release (`public`, `cpp/t2-falkirk`, `school/5500001`),
    `kind` the part before the slash, `path` the folder to read. `engagement` is null for
    public and safe_haven; `geography_code` is the SEED code of a school, the council's code
    of a CPP, else null. `content_hash` names the candidate that the pages are made of.
    """

    name: str
    kind: str
    path: Path
    engagement: str | None
    geography_code: str | None
    version: str
    as_of: str
    is_simulated: bool
    content_hash: str

    @property
    def must_have_report(self) -> bool:
        """Whether the gate refuses the candidate while this package has no page (`PAGE_OF`)."""
        return self.kind in PAGE_OF


def candidate_packages(home: Home) -> tuple[PackageFolder, ...]:
    """All packages of the candidate, in the order of its description.

    A CPP package holds `summary.md` where an author wrote one
    (`$RCS_HOME/config/summaries/<engagement>.md`).

    Raises:
        InputError: there is no candidate.
        StorageError: its description is damaged.
    """
    said = _candidate(home)
    return tuple(
        PackageFolder(
            name=name,
            kind=package["kind"],
            path=_folder(home) / name,
            engagement=package["engagement"],
            geography_code=package["geography_code"],
            version=said["release"],
            as_of=said["as_of"],
            is_simulated=said["simulated"],
            content_hash=said["content_hash"],
        )
        for name, package in said["packages"].items()
    )


def made_of(package: PackageFolder, code: str) -> dict[str, str]:
    """What the pages of a package are made of: its figures, and what tells how they are shown.

    Args:
        package: a package of the candidate.
        code: the version of the renderer's code.

    Returns:
        `figures`: the fingerprint of the tables; `technical`: that of the technical report;
        `code`: a hash of the renderer, the package's name, the policy's version and whether its
        rows are simulated.
    """
    policy = read_package_manifest(package.path)["policy_version"]
    said = json.dumps([package.name, package.is_simulated, policy, code])
    return {
        "figures": figures_hash(package.path),
        "technical": technical_hash(package.path),
        "code": hashlib.sha256(said.encode()).hexdigest(),
    }


def kept_pages(
    home: Home, package: PackageFolder, made: Mapping[str, str]
) -> Mapping[str, bytes] | None:
    """Pages that were made of the same before, byte by byte; None if they must be made.

    They are looked for in the candidate itself and in the current release. Where the technical
    report alone differs, which counts what was done to the whole release, its pages are missing.
    """
    for folder in (package.path, home.releases / CURRENT / package.name):
        if (folder / MANIFEST).is_file():
            manifest = read_package_manifest(folder)
            before = manifest.get("pages_of") or {}
            if any(before.get(of) != made[of] for of in ("figures", "code")):
                continue
            if tuple(_changed(folder, manifest)):
                continue
            is_same = before.get("technical") == made["technical"]
            return {
                name: (folder / name).read_bytes()
                for name in manifest["pages"]
                if is_same or not name.startswith(TECHNICAL)
            }
    return None


def attach(
    home: Home,
    pages: Mapping[str, Mapping[str, bytes]],
    content_hash: str,
    made: Mapping[str, Mapping[str, str]] | None = None,
) -> int:
    """Write pages into packages of the candidate and record them in their manifests.

    Pages that were attached before and are not named here are removed from the packages
    named, so that a repetition leaves exactly what it brought.

    Args:
        home: the installation.
        pages: package → path in its folder (`report.html`, `clusters/C5500001.html`) → bytes.
        content_hash: of the candidate that the pages were made of.
        made: package → what its pages were made of (`made_of`), so that they can be kept.

    Returns:
        Number of pages written.

    Raises:
        InputError: no such candidate or package, or a page would take the place of a file
            that is no page.
    """
    said = _candidate(home)
    if said["content_hash"] != content_hash:
        raise InputError(
            "The pages were made of another candidate",
            where=str(_folder(home)),
            why="it was rebuilt while they were made",
            fix="make the pages again: rcs materialise",
        )
    unknown = sorted(set(pages) - set(said["packages"]))
    if unknown:
        raise InputError(f"The candidate has no package {unknown[0]}", where=str(_folder(home)))
    for name, files in pages.items():
        _attach(_folder(home) / name, files, (made or {}).get(name, {}))
    return sum(len(files) for files in pages.values())


def sealed_hash(home: Home) -> str:
    """The hash of the candidate's bytes, once its pages are attached; it is noted beside it."""
    sealed = candidate_hash(_folder(home))
    note_seal(home, sealed)
    return sealed


def _attach(folder: Path, pages: Mapping[str, bytes], made: Mapping[str, str]) -> None:
    manifest = read_package_manifest(folder)
    before = set(manifest.get("pages", ()))
    kept = [entry for entry in manifest["files"] if entry["path"] not in before]
    for name in pages:
        _refuse_misplaced(folder, name, {entry["path"] for entry in kept})
    # The manifest is without pages while they change: a kill leaves a package that the
    # gate refuses, not one with half of its pages.
    manifest |= {"pages_of": dict(made)}
    write_json(folder / MANIFEST, manifest | {"files": kept, "pages": []})
    for name in sorted(before - set(pages)):
        (folder / name).unlink(missing_ok=True)
    entries = [_write_page(folder, name, content) for name, content in pages.items()]
    files = sorted([*kept, *entries], key=lambda entry: str(entry["path"]))
    write_json(folder / MANIFEST, manifest | {"files": files, "pages": sorted(pages)})


def _refuse_misplaced(folder: Path, name: str, taken: set[str]) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or name in taken or name == MANIFEST:
        raise InputError(
            f"A page may not be called {name}",
            where=str(folder),
            why="it must lie in the package, under a name that no other file has",
        )


def _write_page(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return {"path": name, "sha256": digest, "bytes": len(content)}


def read_package_manifest(folder: Path) -> dict[str, Any]:
    """The `manifest.json` of one package."""
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return content


def page_problems(home: Home) -> tuple[str, ...]:
    """Why the pages of the candidate are not complete; empty if they are.

    Each package that must have a page needs it, and every page must be the one that
    was attached, byte by byte. No candidate: nothing to say (the gate has its own reason).
    """
    if read_candidate(home) is None:
        return ()
    return tuple(
        f"{package.name}: {problem}"
        for package in candidate_packages(home)
        for problem in _problems(package)
    )


def _problems(package: PackageFolder) -> Iterable[str]:
    manifest = read_package_manifest(package.path)
    pages = manifest.get("pages", [])
    wanted = PAGE_OF.get(package.kind)
    if wanted is not None and wanted not in pages:
        yield f"{wanted} is missing"
    yield from _changed(package.path, manifest)


def _changed(folder: Path, manifest: Mapping[str, Any]) -> Iterable[str]:
    listed = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    for name in manifest.get("pages", ()):
        file = folder / name
        if not file.is_file() or listed.get(name) != sha256_file(file):
            yield f"{name} is not the page that was made"


def _folder(home: Home) -> Path:
    return home.releases / CANDIDATE


def _candidate(home: Home) -> dict[str, Any]:
    said = read_candidate(home)
    if said is None:
        raise InputError(
            "There is no candidate", where=str(_folder(home)), fix="run: rcs materialise"
        )
    return said
