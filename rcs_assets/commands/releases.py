"""Commands of releases: list, show, compare, approve, withdraw, correct, verify.

Belongs here: calling the release room and printing. Does not belong here: the gate (`release`),
computing and publishing (`running.py`).
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from typing import Any

from rcs_assets.commands.terminal import DONE, REFUSED, open_home, print_json
from rcs_assets.errors import InputError
from rcs_assets.release import packages
from rcs_assets.storage import Home, Settings, write_lock

CANDIDATE_WORD = "candidate"


def release_list(options: argparse.Namespace) -> int:
    """All published releases, newest last, and what else lies beside them."""
    from rcs_assets.release.audit_log import published

    home = open_home(options)
    releases, recorded = packages.list_releases(home), published(home)
    if options.json:
        print_json([asdict(r) | {"is_recorded": r.version in recorded} for r in releases])
        return DONE
    for release in releases:
        print(f"{release.version}{_mark(release, release.version in recorded)}")
    if any(release.version not in recorded for release in releases):
        print(
            f"Move what was not published by this installation out of {home.releases}: the audit "
            "takes it as told"
        )
    if not recorded:
        print("No release yet. Next: rcs materialise --publish")
    return DONE


def _mark(release: packages.ReleaseEntry, is_recorded: bool) -> str:
    """What a reader of the list must know of a folder."""
    if not is_recorded:
        also = f"; {release.problem}" if release.problem else ""
        return f" (not published by this installation{also})"
    if release.problem:
        return f" ({release.problem}: restore it from its backup)"
    current = " (current)" if release.is_current else ""
    return current + (f" (withdrawn: {release.withdrawn})" if release.withdrawn else "")


def release_show(options: argparse.Namespace) -> int:
    """The packages of one release with files and sizes."""
    if options.version == CANDIDATE_WORD:
        return _show_candidate(options)
    shown = packages.show_release(open_home(options), options.version)
    if options.json:
        print_json(shown)
        return DONE
    print(f"Release {shown.version}{' SIMULATED' if shown.is_simulated else ''}")
    for package in packages.grouped(shown.packages):
        print(f"  {package.name:<34} {package.files_n:>4} files  {package.bytes_n:>12,} bytes")
    return DONE


def release_diff(options: argparse.Namespace) -> int:
    """What changed between two releases, in cells of areas."""
    from rcs_assets.release.audit_log import standing
    from rcs_assets.release.diff import change_table, compare

    home = open_home(options)
    newer = packages.resolve_version(home, options.newer)
    before = [v for v in standing(home) if _is_before(v, newer)]
    older = options.older or next(reversed(before), None)
    if older is None:
        raise InputError(f"There is no release before {newer}", fix="run: rcs release list")
    for version in (older, newer):
        packages.show_release(home, version)
    changes = compare(home.releases / older, home.releases / newer)
    if options.json:
        print_json({"older": older, "newer": newer, "changes": changes})
        return DONE
    print(f"From {older} to {newer}, cells of the public tables of areas:")
    print(change_table(changes), end="")
    return DONE


def _is_before(version: str, other: str) -> bool:
    return packages.version_order(version) < packages.version_order(other)


def release_new_key(options: argparse.Namespace) -> int:
    """Make an approver's key; the public half goes into config/approvers.yaml."""
    from rcs_assets.release.approval import new_key

    public = new_key(options.file, os.environ.get("RCS_KEY_PASSPHRASE", ""))
    if options.json:
        print_json({"file": options.file, "public_key": public})
        return DONE
    print(f"public_key: {public}")
    print(f"Keep {options.file} to yourself. Next: add the public key to config/approvers.yaml")
    return DONE


def release_approve(options: argparse.Namespace) -> int:
    """Sign the candidate, if everything about it is proven."""
    from rcs_assets.release.approval import approve, read_key

    key = read_key(options.key, os.environ.get("RCS_KEY_PASSPHRASE", ""))
    home = open_home(options)
    with write_lock(home, "rcs release approve"):
        asked = _asked(home)
        signed = approve(home, asked.decision, asked.facts, key, Settings.from_environment().as_of)
        now = _asked(home)
    if options.json:
        print_json({"approved": signed, "state": now.decision.state})
        return DONE
    print(f"{signed.approver} approved candidate {signed.release}, sha256 {signed.candidate}.")
    for reason in now.decision.reasons:
        print(f"Still: {reason}")
    if now.decision.publish:
        print("Next: rcs release publish")
    return DONE


def _show_candidate(options: argparse.Namespace) -> int:
    """The candidate's state, hash and author, and what keeps it from being published."""
    home = open_home(options)
    asked = _asked(home)
    said = {
        "state": asked.decision.state,
        "release": (packages.read_candidate(home) or {}).get("release")
        or packages.current_version(home),
        "candidate": asked.facts.candidate_hash,
        "author": asked.facts.author,
        "reasons": asked.decision.reasons,
    }
    if options.json:
        print_json(said)
        return DONE
    print(f"Candidate {said['release']}: {said['state']}, computed by {said['author']}")
    print(f"  sha256 {said['candidate']}")
    for reason in asked.decision.reasons:
        print(f"  {reason}")
    return DONE


def _asked(home: Home) -> Any:
    """What the gate says of the candidate now."""
    from rcs_assets.release.assets import ask_gate
    from rcs_assets.runs import dagster_instance
    from rcs_assets.storage.resources import HomeResource

    with dagster_instance(home) as instance:
        return ask_gate(instance, HomeResource(path=str(home.path)))


def release_withdraw(options: argparse.Namespace) -> int:
    """Take a release back; a tombstone with the reason stands in its place."""
    from rcs_assets.release.withdraw import withdraw_release

    home = open_home(options)
    day = Settings.from_environment().as_of
    with write_lock(home, "rcs release withdraw"):
        current = withdraw_release(
            home, options.version, reason=options.reason, by=options.by, day=day
        )
    print(f"Withdrawn. Current release: {current or 'none'}")
    return DONE


def release_erratum(options: argparse.Namespace) -> int:
    """Record what is wrong with a release that stays as it is."""
    from rcs_assets.release.withdraw import record_erratum

    home = open_home(options)
    day = Settings.from_environment().as_of
    with write_lock(home, "rcs release erratum"):
        record_erratum(home, options.version, text=options.text, by=options.by, day=day)
    print("Recorded. The notes of the next release will say it.")
    return DONE


def release_verify(options: argparse.Namespace) -> int:
    """Check every file of a release against its manifest and checksums."""
    if options.certificate:
        return _verify_certificate(options)
    from rcs_assets.release.verify import verify_release

    result = verify_release(open_home(options), options.version)
    if options.json:
        print_json(result)
    elif result.is_whole:
        signed = f", signed by {', '.join(result.approvers)}" if result.approvers else ""
        print(
            f"Release {result.version} ({result.state}): {result.files_n} files, all as "
            f"published{signed}; the audit log is unbroken."
        )
    for problem in result.problems:
        print(f"rcs: {problem}", file=sys.stderr)
    return DONE if result.is_whole else REFUSED


def _verify_certificate(options: argparse.Namespace) -> int:
    """Check each package's certificate as whoever holds the package could."""
    from rcs_assets.release.verify import refuse_unrecorded
    from rcs_assets.release.verify_certificate import verify
    from rcs_assets.release.verify_schools import verify_schools

    home = open_home(options)
    version = packages.show_release(home, options.version).version
    refuse_unrecorded(home, version)
    release = home.releases / version
    folders = [release / "public", *sorted((release / "cpp").glob("*"))]
    each = {folder.relative_to(release).as_posix(): verify(folder) for folder in folders}
    problems = [f"{name}: {text}" for name, found in each.items() for text in found["problems"]]
    schools = verify_schools(release)
    problems += schools["problems"]
    counts = ("hidden_cells", "open_from_1_to_k", "tables", "seconds")
    total = {name: round(sum(f.get(name, 0) for f in each.values()), 2) for name in counts}
    if options.json:
        print_json({**total, "problems": problems, "packages": each, "schools": schools})
    elif not problems:
        for name, found in each.items():
            print(
                f"{name}: {found['hidden_cells']:,} hidden cells, {found['tables']:,} made-up "
                f"tables: all fit what is shown. {found['open_from_1_to_k']:,} cells can be "
                "anything from 1 to their threshold, the others are not known exactly."
            )
        print(
            f"school/*: the {schools['hidden_cells']:,} hidden cells of {schools['schools']} "
            "packages are among those of their CPPs, row by row."
        )
    for problem in problems:
        print(f"rcs: {problem}", file=sys.stderr)
    return REFUSED if problems else DONE
