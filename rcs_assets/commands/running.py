"""Commands that take data in and compute: demo, simulate, deliver, materialise, publish.

Belongs here: registering files, planning and launching runs, saying what came of them. Does not
belong here: the plan itself (`runs.py`), any work on data.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rcs_assets.codebook import load_codebook
from rcs_assets.commands.terminal import (
    DONE,
    REFUSED,
    config_folder,
    delivery_status,
    make_home,
    open_home,
    print_json,
    refuse_unknown_engagements,
    say_progress,
)
from rcs_assets.errors import ConfigurationError, InputError, WrongUseError
from rcs_assets.intake.drop import (
    DeliveryOutcome,
    current_deliveries,
    engagements_in_scope,
    named_files,
)
from rcs_assets.intake.drop import deliver as register_files
from rcs_assets.programme import load_programme
from rcs_assets.release import packages
from rcs_assets.release.audit_log import standing
from rcs_assets.stopping import was_stopped
from rcs_assets.storage import Home, Settings, write_atomically, write_lock
from rcs_assets.storage.decision_log import read_decisions
from rcs_assets.storage.home import DEMO_SEED
from rcs_assets.storage.keyring import require_keys
from rcs_assets.storage.recover import set_aside_if_damaged


def demo(options: argparse.Namespace) -> int:
    """Simulate, deliver, materialise, publish; what has not changed is used again."""
    if options.profile == "production":
        raise WrongUseError(
            "A demonstration is of the profile demo",
            why="it is made of simulated files, which production refuses",
            fix="leave --profile out",
        )
    started = time.monotonic()
    home = _to_work_on(make_home(options, profile="demo"))
    _simulate_into_drop(home, options)
    status = compute_changes(home, publish=True)
    if status == DONE:
        _say_published(home, time.monotonic() - started)
    return status


def simulate(options: argparse.Namespace) -> int:
    """Write deliveries and truth to folders outside any home, or sign edited copies."""
    from rcs_assets.simulate import sign_files
    from rcs_assets.simulate import simulate as make

    seed = DEMO_SEED if options.seed is None else options.seed
    if options.sign:
        if options.out is not None or options.truth is not None:
            raise WrongUseError(
                "--sign writes nothing to other folders", fix="leave --out and --truth out"
            )
        # The list of what is simulated lies beside the files of each folder.
        for folder in sorted({file.parent for file in options.sign}):
            sign_files([file for file in options.sign if file.parent == folder], seed)
        print(f"Signed {len(options.sign)} files as simulated. Next: rcs deliver FILE …")
        return DONE
    if options.out is None or options.truth is None:
        raise WrongUseError(
            "Nowhere to write", fix="name both folders: rcs simulate --out DIR --truth DIR"
        )
    report = make(
        options.out,
        truth=options.truth,
        scale=options.scale,
        seed=seed,
        defects=options.defects,
        reference=options.reference,
        overlay=_overlay_to_simulate(options),
        progress=say_progress,
    )
    print(f"Wrote {len(report.files)} simulated deliveries to {options.out}.")
    print(f"Next: rcs deliver --profile demo {options.out}")
    return DONE


def deliver(options: argparse.Namespace) -> int:
    """Register files; each that is refused is named, the others go on."""
    # Before the home: a mistyped path must not make an installation.
    _require_files(options.paths)
    home = _to_work_on(make_home(options))
    # What lies in a drop without keys looks like an installation that has lost them.
    require_keys(home)
    outcomes = _register(home, options.paths)
    if options.json:
        print_json(outcomes)
    else:
        for outcome in outcomes:
            print(f"{outcome.status:<10} {outcome.file}")
        new = sum(outcome.status == "registered" for outcome in outcomes)
        print(f"{new} new of {len(outcomes)} files. Next: rcs materialise")
    refused = [outcome for outcome in outcomes if outcome.status == "refused"]
    for outcome in refused:
        # Here nothing is kept, and the operator has typed the name.
        named = "" if outcome.file in outcome.message else f"{outcome.file}: "
        print(f"rcs: {named}{outcome.message}", file=sys.stderr)
    return REFUSED if refused else DONE


def materialise(options: argparse.Namespace) -> int:
    """Compute what has changed; with --publish, ask the gate."""
    if options.select is not None and not options.select.strip():
        raise WrongUseError("--select names nothing", fix="name assets, or leave it out")
    if both := sorted({*options.engagement} & {*options.leave_out}):
        raise WrongUseError(
            f"{both[0]} is both chosen and left out", fix="name it with one of the two options"
        )
    if options.select and options.publish:
        raise WrongUseError(
            "--select and --publish do not go together",
            why="a selection may leave parts of the release behind its data",
            fix="run: rcs materialise --publish",
        )
    home = _to_work_on(open_home(options))
    os.environ["RCS_LEFT_OUT"] = ",".join(options.leave_out)
    refuse_unknown_engagements(home, [*options.engagement, *options.leave_out])
    require_keys(home)
    read_decisions(home)  # a log that was changed is refused before any run
    if options.select:
        return _materialise_selection(home, options.select, options.engagement)
    status = compute_changes(
        home, only=options.engagement, left_out=options.leave_out, publish=options.publish
    )
    if status == DONE and options.publish:
        _say_published(home, None)
    return status


def release_publish(options: argparse.Namespace) -> int:
    """Ask the gate for the candidate as it stands."""
    from rcs_assets.runs import Launcher, dagster_instance

    home = _to_work_on(open_home(options))
    with dagster_instance(home) as instance:
        outcome = Launcher(home, graph(), instance, say_progress).publish()
    if _report_runs([outcome]) == DONE:
        _say_published(home, None)
        return DONE
    return REFUSED


def _to_work_on(home: Home) -> Home:
    """The home, unless its overlay holds a name that nothing reads: its rules would not hold."""
    from rcs_assets.overlays import refuse_unread

    refuse_unread(home.config)
    return home


def graph() -> Any:
    """Assets, checks and jobs; importing them takes seconds."""
    from rcs_assets.build import build_defs

    return build_defs()


def compute_changes(
    home: Home, *, publish: bool, only: Sequence[str] = (), left_out: Sequence[str] = ()
) -> int:
    """Run what has changed, then publish if asked; the exit status.

    Raises:
        InputError: nothing has been delivered.
    """
    from rcs_assets.runs import plan_runs

    for name in set_aside_if_damaged(home):
        print(f"rcs: set aside {name}; it is rebuilt from the drop", file=sys.stderr)
    if not current_deliveries(home):
        raise InputError("Nothing has been delivered", fix="run: rcs deliver PATH …")
    plan = plan_runs(home, left_out=left_out, only=only)
    if plan.is_empty and (not publish or _is_published(home)):
        print("Nothing has changed since the last run.")
        return DONE
    return _launch(home, plan, publish)


def _is_published(home: Home) -> bool:
    """The candidate is the current release, and no killed run left a newer one beside it."""
    current = packages.current_version(home)
    if current is None or standing(home)[-1] != current:
        return False
    candidate = packages.read_candidate(home)
    content = packages.read_manifest(home, current)["content_hash"]
    return candidate is None or candidate["content_hash"] == content


def _launch(home: Home, plan: Any, publish: bool) -> int:
    from rcs_assets.wellbeing.dbt_build import warm_up

    if plan.engagements:
        warm_up()
    from rcs_assets.runs import Launcher, dagster_instance

    say_progress("loading the graph")
    with dagster_instance(home) as instance:
        launcher = Launcher(home, graph(), instance, say_progress)
        if publish:
            plan = launcher.with_unrecorded(
                plan, engagements_in_scope(home, load_programme(home.config))
            )
        outcomes = launcher.materialise(plan)
        if publish and not any(outcome.error for outcome in outcomes):
            outcomes.append(launcher.publish())
    return _report_failures(home, outcomes)


def _materialise_selection(home: Home, selection: str, engagements: Sequence[str]) -> int:
    from rcs_assets.runs import Launcher, dagster_instance

    chosen = engagements or sorted(
        {d.engagement for d in current_deliveries(home).values() if d.engagement}
    )
    with dagster_instance(home) as instance:
        outcomes = Launcher(home, graph(), instance, say_progress).select(selection, chosen)
    return _report_failures(home, outcomes)


def _report_failures(home: Home, outcomes: Sequence[Any]) -> int:
    if not was_stopped():
        _say_incomplete(home)
    return _report_runs(outcomes)


def _report_runs(outcomes: Sequence[Any]) -> int:
    """Raises KeyboardInterrupt where a run failed since it was told to stop."""
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed and was_stopped():
        raise KeyboardInterrupt
    for outcome in failed:
        print(f"rcs: {outcome.error}", file=sys.stderr)
    return REFUSED if failed else DONE


def _say_incomplete(home: Home) -> None:
    """Why engagements are incomplete: each reason once, with the deliveries that it holds for."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in delivery_status(home):
        if row["status"] != "accepted":
            place = row["engagement"] or "reference"
            of_reason = found.setdefault((place, row["reasons"][0]), [])
            of_reason.append(row["file"] or row["dataset"])
    for (place, reason), names in found.items():
        print(f"incomplete: {place}: {reason}", file=sys.stderr)
        counted = f"{len(names)} deliveries" if len(names) > 1 else "1 delivery"
        print(f"  {counted}: {', '.join(names)}", file=sys.stderr)


def _require_files(paths: Sequence[Path]) -> None:
    """Raises InputError where the paths name no file that is there."""
    if not any(path.is_file() for path in named_files(paths)):
        raise InputError(
            "There is no file to deliver",
            where=", ".join(map(str, paths)),
            why="a path has to exist, and a folder means its own files, not those of folders in it",
            fix="name the files, or the folder that they lie in",
        )


def _register(home: Home, paths: Sequence[Path]) -> list[DeliveryOutcome]:
    as_of = Settings.from_environment().as_of
    with write_lock(home, "rcs deliver"):
        return register_files(
            home,
            paths,
            load_programme(home.config),
            load_codebook(home.config),
            received_on=as_of,
        )


def _simulate_into_drop(home: Home, options: argparse.Namespace) -> None:
    """Simulate into the home's tmp, deliver, remove the plain copies; once for given settings."""
    from rcs_assets.simulate import code_version
    from rcs_assets.simulate import simulate as make

    wanted = {
        "scale": options.scale,
        "seed": home.seed,
        "reference": _folder_hash(options.reference),
        "simulator": code_version(),
    }
    done = home.path / "simulation.json"
    if done.exists():
        before = json.loads(done.read_text(encoding="utf-8"))
        if before == wanted:
            say_progress("simulated deliveries: unchanged")
            return
        _refuse_another_world(home, before, wanted)
    folder = home.tmp / "simulated"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        make(
            folder,
            truth=home.path.with_name(home.path.name + "-truth"),
            scale=options.scale,
            seed=home.seed or 0,
            defects="typical",
            reference=options.reference,
            overlay=home.config,
            progress=say_progress,
        )
        refused = [o for o in _register(home, [folder]) if o.status == "refused"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if refused:
        raise InputError(f"{len(refused)} simulated files were refused", why=refused[0].message)
    write_atomically(done, json.dumps(wanted, sort_keys=True) + "\n")


def _overlay_to_simulate(options: argparse.Namespace) -> Path | None:
    """The home's overlay, where there is one; the national register is written beside the files."""
    config = config_folder(options)
    return config if config.is_dir() and options.scale != "national" else None


def _refuse_another_world(home: Home, before: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Two simulations in one home would mix their schools and pupils."""
    for name in ("scale", "seed", "reference"):
        if before[name] != wanted[name]:
            raise ConfigurationError(
                f"This home holds a demo of another {name}",
                where=str(home.path),
                why="deliveries of two simulations must not mix",
                fix="name another folder: rcs demo --home DIR (make demo RCS_HOME=DIR)",
            )


def _folder_hash(folder: Path | None) -> str:
    if folder is None:
        return ""
    if not folder.is_dir():
        raise InputError(
            "There is no such folder of reference data",
            where=str(folder),
            fix="name the folder that holds schools/ and geography/",
        )
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*.csv") if file.is_file()):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _say_published(home: Home, seconds: float | None) -> None:
    shown = packages.show_release(home, "current")
    folder = home.releases / "current"
    print(f"Published release {shown.version}{', SIMULATED' if shown.is_simulated else ''}:")
    for package in packages.grouped(shown.packages):
        print(f"  {package.name:<34} {package.files_n:>4} files  {package.bytes_n:>12,} bytes")
    print(f"Where:   {folder}")
    print(f"Read:    {folder / 'evidence.html'} in a browser")
    print(f"Query:   {folder / 'public' / 'rcs.duckdb'} with any DuckDB client (README.md)")
    print("Next:    make ui (the graph in Dagster), rcs status, rcs release verify")
    if seconds is not None:
        print(f"Took:    {seconds:.0f} s")
