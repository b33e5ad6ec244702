"""Commands that read an installation: status, doctor, reports, explorers.

Belongs here: reading registers, receipts, Dagster and packages, and printing. Does not belong
here: writing anything that a release holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rcs_assets.commands.custody import extra_words
from rcs_assets.commands.running import graph
from rcs_assets.commands.terminal import (
    DONE,
    REFUSED,
    delivery_status,
    open_home,
    print_json,
    refuse_inside_home,
)
from rcs_assets.errors import InputError, WrongUseError
from rcs_assets.programme import load_programme
from rcs_assets.programme.breaches import View
from rcs_assets.programme.progress import Progress, progress
from rcs_assets.programme.status_page import status_page
from rcs_assets.programme.tracking import load_tracking
from rcs_assets.release import packages
from rcs_assets.storage import Home, Settings, write_atomically


def status(options: argparse.Namespace) -> int:
    """Programme, deliveries, checks and release; read from registers, receipts and Dagster."""
    from rcs_assets.intake.extras import extra_children

    if options.page is not None and options.json:
        raise WrongUseError(
            "--page and --json do not go together", fix="ask for the one, then for the other"
        )
    home = open_home(options)
    now = _progress_of_programme(home)
    if options.page is not None:
        refuse_inside_home(home, options.page, option="--page")
        return _write_status_page(home, now, options.page)
    report: dict[str, Any] = {
        "home": str(home.path),
        "profile": home.profile,
        "programme": now,
        "engagements": list(load_programme(home.config).engagement_keys),
        "deliveries": delivery_status(home),
        "checks": _check_status(home),
        "extra_children": extra_children(home),
        "release": packages.current_version(home),
    }
    if options.json:
        print_json(report)
        return DONE
    print(f"Home {report['home']} ({report['profile']})")
    _print_programme(now)
    for row in report["deliveries"]:
        print(
            f"  {row['file']:<58} received {row['received']:>7,}  accepted {row['accepted']:>7,}  "
            f"quarantined {row['quarantined']:>5,}  withdrawn {row['withdrawn']:>5,}"
        )
        for reason in row["reasons"]:
            print(f"      {reason}")
    failed = [name for name, state in report["checks"].items() if state != "SUCCEEDED"]
    print(f"Checks: {len(report['checks'])} recorded, {len(failed)} not passed")
    for name in failed:
        print(f"  not passed: {name}")
    for extra in report["extra_children"]:
        print(f"  extra children, {extra.engagement}: {extra_words(extra)}. Next: rcs extras")
    print(f"Current release: {report['release'] or 'none'}")
    return DONE


def _progress_of_programme(home: Home) -> Progress:
    """The programme on the day of the command, from its registers alone."""
    return progress(
        View(
            load_programme(home.config),
            load_tracking(home.config),
            Settings.from_environment().as_of,
            home.profile == "demo",
        )
    )


def _write_status_page(home: Home, now: Progress, file: Path) -> int:
    """The status page of today, wherever it is wanted; its own copy is written by the run."""
    if not file.parent.is_dir():
        raise InputError(
            "There is no such folder for the page", where=str(file.parent), fix="make it first"
        )
    write_atomically(file, status_page(now, is_simulated=home.profile == "demo"))
    print(file)
    return DONE


def _print_programme(now: Progress) -> None:
    """One line an engagement, then what is to be done."""
    print(f"Programme on {now.on}: {now.active_n} of at most {now.active_max_n} CPPs active")
    for one in now.standings:
        last = [step for step in one.steps if step.done_on]
        state = "active" if one.is_active else one.status or "not entered"
        print(
            f"  {one.engagement:<28} {state:<12} readiness {one.readiness or 'not assessed':<12} "
            f"approval {'holds' if not one.approval else 'does not hold':<14} "
            f"reports due {one.report_due}  last done {last[-1].milestone if last else 'nothing'}"
        )
    for breach in now.breaches:
        who = breach.engagement or "programme"
        print(f"  to do: {who}: {breach.said}. What to do: {breach.fix}")


def _check_status(home: Home) -> Mapping[str, str]:
    from rcs_assets.runs import dagster_instance, latest_checks

    if not (home.dagster / "dagster.yaml").exists():
        return {}
    with dagster_instance(home) as instance:
        return latest_checks(instance, graph())


def doctor(options: argparse.Namespace) -> int:
    """Examine the installation; every line is a finding."""
    from rcs_assets.doctor import examine

    findings = examine(open_home(options))
    if options.json:
        print_json(findings)
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.is_ok else 'FAIL'}  {finding.what}: {finding.detail}")
    return DONE if all(finding.is_ok for finding in findings) else REFUSED


def report(options: argparse.Namespace) -> int:
    """Where the reports of the current release are; with --out, make them again from it."""
    from rcs_assets.reporting.many import render_packages

    if options.package is not None and options.engagement is not None:
        raise WrongUseError(
            "--package and --engagement do not go together",
            fix="name one package, or one area with its schools",
        )
    home = open_home(options)
    refuse_inside_home(home, options.out)
    folder = home.releases / packages.resolve_version(home, packages.CURRENT)
    names = _packages_with_pages(home, options.package, options.engagement)
    found: list[Path] = []
    if options.out is None:
        for name in names:
            found += sorted(
                file for suffix in ("html", "pdf") for file in (folder / name).rglob(f"*.{suffix}")
            )
    else:
        for name, files in render_packages({name: folder / name for name in names}):
            for path, content in files.items():
                file = options.out / name / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                found.append(file)
        found.sort()
    if options.json:
        print_json(found)
    else:
        for file in found:
            print(file)
    return DONE


def explore(options: argparse.Namespace) -> int:
    """Where the explorers of the current release are; with --open, in a browser."""
    home = open_home(options)
    folder = home.releases / packages.resolve_version(home, packages.CURRENT)
    names = _packages_with_pages(home, options.package, None)
    found = [page for name in names if (page := folder / name / "explorer/index.html").is_file()]
    if not found:
        raise InputError(
            "This package has no explorer",
            why="a school's package holds one school: there is nothing to compare",
            fix="run: rcs explore, or rcs report --package NAME",
        )
    if options.json:
        print_json(found)
    else:
        for page in found:
            print(page)
    if options.open:
        import webbrowser

        if not webbrowser.open(found[0].as_uri()):
            raise InputError(
                "No browser could be opened here",
                where=str(found[0]),
                fix="open this file in a browser; it works without a server and a network",
            )
    return DONE


def tableau(options: argparse.Namespace) -> int:
    """Write the packages of areas, or one package, as Tableau extracts."""
    from rcs_assets.reporting.tableau import write_extract

    home = open_home(options)
    refuse_inside_home(home, options.out)
    folder = home.releases / packages.resolve_version(home, packages.CURRENT)
    names = _packages_with_pages(home, options.package, None)
    if options.package is None:
        names = [name for name in names if name.startswith("cpp/")]
    options.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in names:
        file = options.out / f"{name.replace('/', '-')}.hyper"
        found[str(file)] = write_extract(folder / name, name, file)
    if options.json:
        print_json(found)
    else:
        for path, rows in found.items():
            print(f"{path}: {len(rows)} tables, {sum(rows.values()):,} rows")
    return DONE


def _packages_with_pages(home: Home, wanted: str | None, engagement: str | None) -> list[str]:
    """The packages of the current release that have pages, or those that are wanted."""
    from rcs_assets.reporting.pages import KINDS, packages_of

    version = packages.resolve_version(home, packages.CURRENT)
    manifest = packages.read_manifest(home, version)
    names = sorted(
        (n for n in manifest["packages"] if n.split("/")[0] in KINDS), key=packages.package_order
    )
    if engagement is not None:
        names = packages_of(home.releases / version, names, engagement)
        if not names:
            raise InputError(
                f"The current release has no reports of {engagement}",
                fix="run: rcs release show, and take the name of a package cpp/…",
            )
    if wanted is None:
        return names
    if wanted not in names:
        raise InputError(
            f"The current release has no pages for {wanted}",
            fix="run: rcs release show, and take a name of public, cpp/… or school/…",
        )
    return [wanted]
