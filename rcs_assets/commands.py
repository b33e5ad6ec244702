"""What each command does, and its words for people.

Belongs here: calling the rooms and the launcher, and printing. Does not belong here:
any work on data: everything is a Dagster run, a read of a package, or an append to
the drop register followed by a run (design.md, Execution). Dagster is imported only
by the commands that need it, since that takes seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rcs_assets.codebook import load_codebook
from rcs_assets.errors import ConfigurationError, InputError
from rcs_assets.intake.drop import DeliveryOutcome, current_deliveries
from rcs_assets.intake.drop import deliver as register_files
from rcs_assets.intake.retention import (
    complete_certificates,
    destroy_ended,
    ended_engagements,
    pending_certificates,
)
from rcs_assets.programme import load_programme
from rcs_assets.programme.breaches import View
from rcs_assets.programme.progress import Progress, progress
from rcs_assets.programme.status_page import status_page
from rcs_assets.programme.tracking import load_tracking
from rcs_assets.release import packages
from rcs_assets.storage import Home, Settings, home_path, write_atomically, write_lock
from rcs_assets.storage.access_log import read_access
from rcs_assets.storage.decision_log import forget_engagement, read_decisions
from rcs_assets.storage.home import DEMO_SEED
from rcs_assets.storage.keyring import RELEASED, key_states, new_keys, require_keys, rotate_keys
from rcs_assets.storage.recover import set_aside_if_damaged

if TYPE_CHECKING:
    from rcs_assets.intake.extras import Extra

DONE, REFUSED = 0, 1
CANDIDATE_WORD = "candidate"


# --- commands that write -----------------------------------------------------------


def demo(options: argparse.Namespace) -> int:
    """Simulate, deliver, materialise, publish; what has not changed is used again."""
    started = time.monotonic()
    home = _open_home(options, profile="demo")
    _simulate_into_drop(home, options)
    status = _materialise(home, publish=True)
    if status == DONE:
        _say_published(home, time.monotonic() - started)
    return status


def simulate(options: argparse.Namespace) -> int:
    """Write deliveries and truth to folders outside any home, or sign edited copies."""
    from rcs_assets.simulate import sign_files
    from rcs_assets.simulate import simulate as make

    seed = DEMO_SEED if options.seed is None else options.seed
    if options.sign:
        sign_files(options.sign, seed)
        print(f"Signed {len(options.sign)} files as simulated. Next: rcs deliver FILE …")
        return DONE
    if options.out is None or options.truth is None:
        raise ConfigurationError(
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
        progress=_progress,
    )
    print(f"Wrote {len(report.files)} simulated deliveries to {options.out}.")
    print(f"Next: rcs deliver --profile demo {options.out}")
    return DONE


def deliver(options: argparse.Namespace) -> int:
    """Register files; each that is refused is named, the others go on."""
    home = _open_home(options)
    # What lies in a drop without keys looks like an installation that has lost them.
    require_keys(home)
    outcomes = _register(home, options.paths)
    if options.json:
        _print_json(outcomes)
    else:
        for outcome in outcomes:
            print(f"{outcome.status:<10} {outcome.file}")
        new = sum(outcome.status == "registered" for outcome in outcomes)
        print(f"{new} new of {len(outcomes)} files. Next: rcs materialise")
    refused = [outcome for outcome in outcomes if outcome.status == "refused"]
    for outcome in refused:
        print(f"rcs: {outcome.message}", file=sys.stderr)
    return REFUSED if refused else DONE


def materialise(options: argparse.Namespace) -> int:
    """Compute what has changed; with --publish, ask the gate."""
    home = _open_home(options)
    os.environ["RCS_LEFT_OUT"] = ",".join(options.leave_out)
    _refuse_unknown_engagements(home, [*options.engagement, *options.leave_out])
    if options.select and options.publish:
        raise ConfigurationError(
            "--select and --publish do not go together",
            why="a selection may leave parts of the release behind its data",
            fix="run: rcs materialise --publish",
        )
    require_keys(home)
    read_decisions(home)  # a log that was changed is refused before any run
    if options.select:
        return _materialise_selection(home, options.select, options.engagement)
    status = _materialise(
        home, only=options.engagement, left_out=options.leave_out, publish=options.publish
    )
    if status == DONE and options.publish:
        _say_published(home, None)
    return status


def release_publish(options: argparse.Namespace) -> int:
    """Ask the gate for the candidate as it stands."""
    from rcs_assets.runs import Launcher, dagster_instance

    home = _open_home(options)
    with dagster_instance(home) as instance:
        outcome = Launcher(home, _graph(), instance, _progress).publish()
    if outcome.error:
        print(f"rcs: {outcome.error}", file=sys.stderr)
        return REFUSED
    _say_published(home, None)
    return DONE


def exchange(options: argparse.Namespace) -> int:
    """Write the files that go to the indexer, back to the providers, or to the linker."""
    from rcs_assets.linkage.exchange import default_kinds, export_files, kind_of

    home = _open_home(options)
    _refuse_unknown_engagements(home, [options.engagement])
    files = export_files(
        home,
        load_programme(home.config),
        load_codebook(home.config),
        Settings.from_environment(),
        options.engagement,
        options.kinds or default_kinds(options.receiver),
        options.out,
    )
    if options.json:
        _print_json(files)
        return DONE
    for file in files:
        kind = kind_of(file)
        print(f"{file}  {kind.sender} to {kind.receiver}: {kind.about}")
    return DONE


def encodings_key(options: argparse.Namespace) -> int:
    """Make a key file."""
    from rcs_assets.linkage.encodings import new_key

    new_key(options.file)
    print(f"Made {options.file}. It stays with the identifiers: never send it with encodings.")
    return DONE


def encodings_make(options: argparse.Namespace) -> int:
    """Encode a file; needs no installation."""
    from rcs_assets.linkage.encodings import contract_of, encode_file, leaving_out

    codebook = load_codebook()
    given = (options.opt_outs, options.pupils)
    if any(given) != all(given) or (options.payload and not all(given)):
        raise InputError(
            "Children who opted out are left out by three arguments together",
            why="whose records they are is known from the list and the sample file in clear",
            fix="give --opt-outs and --pupils, and the files that follow with --payload",
        )
    without = leaving_out(*given, options.payload, codebook) if all(given) else None
    records_n, left_out_n = encode_file(
        options.file,
        options.key,
        options.out,
        options.id,
        contract_of(options.out, codebook),
        without,
    )
    if options.json:
        told = {"left_out_n": left_out_n} if without else {}
        _print_json({"file": options.out, "records_n": records_n} | told)
        return DONE
    print(f"Encoded {records_n:,} records into {options.out}.")
    if without:
        print(f"Left out {left_out_n:,} records that may be those of children who opted out.")
        if options.payload:
            names = ", ".join(file.name for file in options.payload)
            print(f"Send the copies without them, which lie beside it: {names}.")
    return DONE


def encodings_link(options: argparse.Namespace) -> int:
    """Link two files of encodings; needs no installation and no key."""
    from rcs_assets.linkage.encodings import link_files

    quality = link_files(options.left, options.right, options.out).quality
    if options.json:
        _print_json(quality)
        return DONE
    print(f"{quality.links_n:,} links, {quality.clerical_n:,} doubtful pairs in {options.out}.")
    print(
        f"Estimated precision {quality.precision} ({quality.precision_low} to "
        f"{quality.precision_high}), recall {quality.recall} ({quality.recall_low} to "
        f"{quality.recall_high})"
    )
    return DONE


def clerical_queue(options: argparse.Namespace) -> int:
    """How many pairs of each engagement wait, and for which seat."""
    from rcs_assets.linkage.review import progress

    rows = [
        {
            "engagement": found.engagement,
            "queue_n": found.queue_n,
            "first_review_n": found.queue_n - found.once_n - found.twice_n,
            "second_review_n": found.once_n,
            "adjudication_n": found.twice_n,
        }
        for found in progress(_open_home(options), Settings.from_environment())
    ]
    if options.json:
        _print_json(rows)
        return DONE
    for row in rows:
        print(
            f"{row['engagement']:<32} {row['queue_n']:>5} pairs wait: {row['first_review_n']} for "
            f"a first review, {row['second_review_n']} for a second, {row['adjudication_n']} for "
            "adjudication"
        )
    print("Next: rcs clerical review --engagement KEY --reviewer NAME" if rows else "No queue yet")
    return DONE


def clerical_review(options: argparse.Namespace) -> int:
    """Serve the page of a reviewer until he leaves it."""
    return _serve_clerk(options, adjudicates=False)


def clerical_adjudicate(options: argparse.Namespace) -> int:
    """Serve the page of who adjudicates until he leaves it."""
    return _serve_clerk(options, adjudicates=True)


def _serve_clerk(options: argparse.Namespace, *, adjudicates: bool) -> int:
    from rcs_assets.linkage.review import Seat
    from rcs_assets.linkage.review_page import ReviewServer
    from rcs_assets.linkage.settings import load_link_rules

    home = _open_home(options)
    _refuse_unknown_engagements(home, [options.engagement])
    seat = Seat(
        home, options.engagement, options.reviewer, adjudicates, Settings.from_environment()
    )
    idle_minutes = load_link_rules(home.config).clerical.idle_minutes
    server = ReviewServer(seat, idle_minutes)
    print(f"Open on this machine: {server.url}", flush=True)
    print("The address is the key to the page: give it to nobody. Ctrl-C ends it.", flush=True)
    with suppress(KeyboardInterrupt):
        server.serve()
    print("Next, when all is decided: rcs materialise")
    return DONE


def clerical_status(options: argparse.Namespace) -> int:
    """Decisions of each engagement, what the last run did with them, and how far clerks agree."""
    from rcs_assets.linkage.review import progress

    found = progress(_open_home(options), Settings.from_environment())
    if options.json:
        _print_json(found)
        return DONE
    for one in found:
        settled = ", ".join(f"{n} {verdict}" for verdict, n in one.settled.items())
        outcomes = ", ".join(f"{n} {what}" for what, n in one.outcomes.items()) or "none yet"
        print(f"{one.engagement}: {one.records_n:,} records, {one.grey_n} pairs in the grey band")
        print(f"  waiting {one.queue_n}; decided: {settled}; in the last run: {outcomes}")
        told = one.agreement
        if told.pairs_n:
            kappa = (
                f"kappa {told.kappa} ({told.kappa_low} to {told.kappa_high})"
                if told.kappa is not None
                else "no kappa: both always said the same"
            )
            print(
                f"  two reviewers agreed on {told.agreed_n} of {told.pairs_n}: {told.agreed_pct} % "
                f"({told.agreed_low} to {told.agreed_high}), {kappa}"
            )
    if not found:
        print("No queue yet. Next: rcs materialise")
    return DONE


def clerical_verify(options: argparse.Namespace) -> int:
    """The log of decisions, checked from the first entry on and against the last run."""
    from rcs_assets.linkage.review import verified_decisions

    entries = verified_decisions(_open_home(options), Settings.from_environment())
    forgotten = sum(len(entry.forgets) for entry in entries)
    if options.json:
        _print_json({"entries_n": len(entries), "forgotten_n": forgotten})
    else:
        print(f"{len(entries)} entries, none changed, none missing; {forgotten} forgotten")
    return DONE


def keys_new(options: argparse.Namespace) -> int:
    """Make the keys that the installation never had."""
    made = new_keys(_open_home(options))
    if options.json:
        _print_json({"made": made})
        return DONE
    for name in made:
        print(f"made or recorded: {name}")
    print(
        "Next: back up keys/ and keys.json, apart from the data" if made else "All keys are there"
    )
    return DONE


def keys_list(options: argparse.Namespace) -> int:
    """Each key: generation, where it comes from, whether it can be used."""
    states = key_states(_open_home(options))
    if options.json:
        _print_json(states)
    else:
        for state in states:
            print(
                f"{state.name:<24} generation {state.generation}  {state.source:<32} "
                f"{state.problem or state.purpose}"
            )
    return REFUSED if any(state.problem for state in states) else DONE


def keys_rotate(options: argparse.Namespace) -> int:
    """Put new keys in the place of the old ones."""
    done = rotate_keys(_open_home(options), options.names or RELEASED, lost=options.lost)
    if options.json:
        _print_json({"rotated": done})
        return DONE
    print(f"New keys: {', '.join(done)}")
    print("Next: back up keys/ and keys.json, destroy old copies; rcs materialise --publish")
    return DONE


def access(options: argparse.Namespace) -> int:
    """The access log, after its chain of hashes was checked from the first entry on."""
    entries = read_access(_open_home(options))
    if options.json:
        _print_json(entries)
        return DONE
    for entry in entries:
        print(f"{entry.at}  {entry.who:<16} {entry.event:<14} {entry.what:<24} {entry.purpose}")
    print(f"{len(entries)} entries, none changed, none missing")
    return DONE


def retention(options: argparse.Namespace) -> int:
    """Say which engagements are past their retention; with --destroy, destroy what is held."""
    home = _open_home(options)
    programme, day = load_programme(home.config), Settings.from_environment().as_of
    ended = ended_engagements(home, programme, day)
    keys = destroy_ended(home, programme, day) if options.destroy else ()
    for item in ended if options.destroy else ():
        forget_engagement(home, item.engagement)
    certificates = _remove_rows(home, keys)
    begun = pending_certificates(home)
    if options.json:
        _print_json({"ended": ended, "certificates": certificates, "begun_n": len(begun)})
        return DONE
    for item in ended:
        print(
            f"{item.engagement:<32} until {item.retention_until.isoformat()}  "
            f"{item.deliveries_n} deliveries"
        )
    for file in certificates:
        print(f"Certificate: {file}")
    if begun:
        print(f"Begun and not completed: {len(begun)}. Next: rcs retention --destroy")
    if not ended:
        print(f"No engagement with deliveries is past its retention on {day.isoformat()}.")
    elif options.destroy:
        print("Next: leave them out of releases (rcs materialise --publish --leave-out KEY)")
    else:
        print("Next: rcs retention --destroy (there is no way back)")
    return DONE


def _remove_rows(home: Home, engagements: Sequence[str]) -> tuple[Path, ...]:
    """Run the engagements whose keys are gone, which leaves nothing of them; then certify."""
    if not engagements:
        return ()
    os.environ["RCS_LEFT_OUT"] = ",".join(engagements)
    with contextlib.redirect_stdout(sys.stderr):
        # What is estimated of the others may fail; that nothing is left is counted, not assumed.
        _materialise(home, publish=False, only=engagements, left_out=engagements)
    return complete_certificates(home)


def extras(options: argparse.Namespace) -> int:
    """Say which extracts hold children whose UID was not issued; with --destroy, destroy those."""
    from rcs_assets.intake.extras import destroy_extra_children, extra_children

    home = _open_home(options)
    found = extra_children(home)
    certificates: tuple[Path, ...] = ()
    if options.destroy:
        certificates = destroy_extra_children(
            home,
            load_programme(home.config),
            load_codebook(home.config),
            Settings.from_environment(),
        )
    if options.json:
        _print_json({"extra": found, "certificates": certificates})
        return DONE
    for one in found:
        print(f"{one.engagement:<32} {_extra_words(one)}")
    for file in certificates:
        print(f"Certificate: {file}")
    if not found:
        print("No extract holds a child whose UID was not issued.")
    elif options.destroy:
        print("Next: rcs materialise")
    else:
        print("Next: rcs extras --destroy (there is no way back)")
    return DONE


def _extra_words(one: Extra) -> str:
    return (
        f"{one.rows_n:,} rows of children whose UID was not issued in {one.file}; "
        f"{one.earlier_n:,} earlier deliveries of the extract that can still be opened"
    )


def monitor(options: argparse.Namespace) -> int:
    """Write the monitor of fieldwork from what the last run recorded."""
    from rcs_assets.linkage.fieldwork import read_fieldwork
    from rcs_assets.monitor import write_monitor

    home = _open_home(options)
    if options.json:
        _print_json(read_fieldwork(home))
        return DONE
    print(write_monitor(home, load_programme(home.config), options.out))
    return DONE


def errors(options: argparse.Namespace) -> int:
    """Make the error reports for the suppliers of an engagement, and open them if asked."""
    from rcs_assets.supplier_report import make_reports

    home = _open_home(options)
    _refuse_unknown_engagements(home, [options.engagement])
    found = make_reports(
        home,
        load_programme(home.config),
        load_codebook(home.config),
        Settings.from_environment(),
        options.engagement,
        options.dataset,
        options.out,
    )
    if options.json:
        _print_json(found)
        return DONE
    if not found:
        print("Nothing was set aside in these deliveries")
        return DONE
    for report in found:
        print(f"{report.file}: {report.reason or f'{report.rows_n:,} rows set aside'}")
        for file in report.opened:
            print(file)
    print(
        "Identified: for the supplier of each file only"
        if options.out
        else "Sealed in drop/reports; to open them: rcs errors "
        f"--engagement {options.engagement} --out FOLDER"
    )
    return DONE


def uids_list(options: argparse.Namespace) -> int:
    """Proposals about UIDs under another school, and what was decided about each."""
    from rcs_assets.intake.decisions import proposals

    found = proposals(_open_home(options), options.engagement)
    if options.json:
        _print_json(found)
        return DONE
    for item in found:
        print(
            f"{item.engagement:<28} {item.decision:<7} {item.pupils_n:>6,} UIDs of "
            f"{item.seed_code_right} under {item.seed_code_delivered}  "
            + (
                "issued by the platform"
                if item.evidence == "issued"
                else f"distance from the roll {item.distance_before:g} → {item.distance_after:g}"
            )
        )
    print(f"{sum(item.decision == 'open' for item in found)} of {len(found)} wait for a decision")
    return DONE


def uids_decide(options: argparse.Namespace) -> int:
    """Record what an operator decided about UIDs under another school."""
    from rcs_assets.intake.decisions import decide

    home = _open_home(options)
    name = decide(
        home,
        load_programme(home.config),
        load_codebook(home.config),
        options.engagement,
        (options.delivered, options.right),
        options.decision,
        options.by,
        options.reason,
        Settings.from_environment().as_of,
    )
    print(f"Recorded in {name}. Next: rcs materialise --engagement {options.engagement}")
    return DONE


def uids_issue(options: argparse.Namespace) -> int:
    """Write the sample file of a list of pupils, with UIDs keyed on the SEED code."""
    from rcs_assets.intake.issue import issue

    home = _open_home(options)
    _refuse_unknown_engagements(home, [options.engagement])
    issued_n = issue(
        home,
        load_programme(home.config),
        load_codebook(home.config),
        Settings.from_environment(),
        options.engagement,
        options.list,
        options.out,
    )
    print(f"{issued_n:,} UIDs issued: {options.out}. Identified: deliver it, then remove it.")
    return DONE


# --- commands that read ------------------------------------------------------------


def status(options: argparse.Namespace) -> int:
    """Programme, deliveries, checks and release; read from registers, receipts and Dagster."""
    from rcs_assets.intake.extras import extra_children

    home = _open_home(options)
    now = _progress_of_programme(home)
    if options.page is not None:
        return _write_status_page(home, now, options.page)
    report: dict[str, Any] = {
        "home": str(home.path),
        "profile": home.profile,
        "programme": now,
        "engagements": list(load_programme(home.config).engagement_keys),
        "deliveries": _delivery_status(home),
        "checks": _check_status(home),
        "extra_children": extra_children(home),
        "release": packages.current_version(home),
    }
    if options.json:
        _print_json(report)
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
        print(f"  extra children, {extra.engagement}: {_extra_words(extra)}. Next: rcs extras")
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


def doctor(options: argparse.Namespace) -> int:
    """Examine the installation; every line is a finding."""
    from rcs_assets.doctor import examine

    findings = examine(_open_home(options))
    if options.json:
        _print_json(findings)
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.is_ok else 'FAIL'}  {finding.what}: {finding.detail}")
    return DONE if all(finding.is_ok for finding in findings) else REFUSED


def report(options: argparse.Namespace) -> int:
    """Where the reports of the current release are; with --out, make them again from it."""
    from rcs_assets.reporting.many import render_packages

    home = _open_home(options)
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
        _print_json(found)
    else:
        for file in found:
            print(file)
    return DONE


def explore(options: argparse.Namespace) -> int:
    """Where the explorers of the current release are; with --open, in a browser."""
    home = _open_home(options)
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
        _print_json(found)
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

    home = _open_home(options)
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
        _print_json(found)
    else:
        for path, rows in found.items():
            print(f"{path}: {len(rows)} tables, {sum(rows.values()):,} rows")
    return DONE


def codebook_contracts(options: argparse.Namespace) -> int:
    """Write the contracts, the home's overlay in them, one file a dataset or version."""
    from rcs_assets.codebook.odcs import open_contracts

    contracts = open_contracts(load_codebook(_config(options)))
    options.out.mkdir(parents=True, exist_ok=True)
    for name, contract in contracts.items():
        write_atomically(options.out / f"{name}.odcs.yaml", contract.to_yaml())
    print(f"Wrote {len(contracts)} contracts to {options.out}.")
    return DONE


def _config(options: argparse.Namespace) -> Path:
    """The overlay of the home, which need not be there: nothing is opened or written."""
    return (Path(options.home) if options.home else home_path()) / "config"


def _overlay_to_simulate(options: argparse.Namespace) -> Path | None:
    """The home's overlay, where there is one; the national register is written beside the files."""
    config = _config(options)
    return config if config.is_dir() and options.scale != "national" else None


def codebook_adopt(options: argparse.Namespace) -> int:
    """Write the overlay, and load it: what cannot be loaded is not adopted."""
    from rcs_assets.codebook.hwb import adopt

    found = adopt(options.lists, options.stage, options.tranche, load_codebook(), options.out)
    load_codebook(options.out)
    print(f"Wrote {found.version} with {found.variables_n} questions to {options.out}.")
    for question in found.unrouted:
        print(f"  asked of all, its routing names several questions: {question}")
    return DONE


def codebook_page(options: argparse.Namespace) -> int:
    """Write the codebook's page, with licensed wording where its licence permits it."""
    from rcs_assets.codebook_page import write_codebook

    home = _open_home(options)
    day = Settings.from_environment().as_of
    print(write_codebook(home, load_codebook(home.config), day, options.out))
    return DONE


def codebook_freeze(options: argparse.Namespace) -> int:
    """Keep the codebook that holds now, so that later answers can be counted by it."""
    from rcs_assets.codebook.frozen import FOLDER, freeze

    kept = freeze(_config(options), options.name)
    print(f"Kept version {kept.version[:12]} as {FOLDER}/{options.name} in config/.")
    print("Next: rcs materialise counts by it too (safe haven, definition_sets)")
    return DONE


def codebook_differences(options: argparse.Namespace) -> int:
    """Differences between questionnaire versions, and the indicators that they break."""
    from rcs_assets.codebook.versions import comparability, differences

    codebook = load_codebook(_config(options))
    found = differences(codebook)
    flags = comparability(codebook)
    broken = {name: flag for name, flag in flags.items() if flag.startswith("not")}
    if options.json:
        _print_json({"differences": [asdict(d) for d in found], "not_comparable": broken})
        return DONE
    for item in found:
        mark = "breaks comparability" if item.breaks_comparability else "mapped"
        where = f"{item.older} → {item.newer}"
        print(f"{where}  {item.variable}  {item.change} ({mark}): {item.note}")
    print(f"{len(found)} differences; {len(broken)} indicators not comparable throughout.")
    for name, flag in broken.items():
        print(f"  {name}: {flag}")
    return DONE


def release_list(options: argparse.Namespace) -> int:
    """All published releases, newest last."""
    releases = packages.list_releases(_open_home(options))
    if options.json:
        _print_json(releases)
        return DONE
    for release in releases:
        mark = " (current)" if release.is_current else ""
        mark += f" (withdrawn: {release.withdrawn})" if release.withdrawn else ""
        print(f"{release.version}{mark}")
    if not releases:
        print("No release yet. Next: rcs materialise --publish")
    return DONE


def release_show(options: argparse.Namespace) -> int:
    """The packages of one release with files and sizes."""
    if options.version == CANDIDATE_WORD:
        return _show_candidate(options)
    shown = packages.show_release(_open_home(options), options.version)
    if options.json:
        _print_json(shown)
        return DONE
    print(f"Release {shown.version}{' SIMULATED' if shown.is_simulated else ''}")
    for package in packages.grouped(shown.packages):
        print(f"  {package.name:<34} {package.files_n:>4} files  {package.bytes_n:>12,} bytes")
    return DONE


def release_diff(options: argparse.Namespace) -> int:
    """What changed between two releases, in cells of areas."""
    from rcs_assets.release.diff import change_table, compare

    home = _open_home(options)
    standing = [r.version for r in packages.list_releases(home) if not r.withdrawn]
    newer = packages.resolve_version(home, options.newer)
    older = options.older or next((v for v in reversed(standing) if _is_before(v, newer)), None)
    if older is None:
        raise InputError(f"There is no release before {newer}", fix="run: rcs release list")
    for version in (older, newer):
        packages.show_release(home, version)
    changes = compare(home.releases / older, home.releases / newer)
    if options.json:
        _print_json({"older": older, "newer": newer, "changes": changes})
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
        _print_json({"file": options.file, "public_key": public})
        return DONE
    print(f"public_key: {public}")
    print(f"Keep {options.file} to yourself. Next: add the public key to config/approvers.yaml")
    return DONE


def release_approve(options: argparse.Namespace) -> int:
    """Sign the candidate, if everything about it is proven."""
    from rcs_assets.release.approval import approve, read_key

    key = read_key(options.key, os.environ.get("RCS_KEY_PASSPHRASE", ""))
    home = _open_home(options)
    with write_lock(home, "rcs release approve"):
        asked = _asked(home)
        signed = approve(home, asked.decision, asked.facts, key, Settings.from_environment().as_of)
        now = _asked(home)
    if options.json:
        _print_json({"approved": signed, "state": now.decision.state})
        return DONE
    print(f"{signed.approver} approved candidate {signed.release}, sha256 {signed.candidate}.")
    for reason in now.decision.reasons:
        print(f"Still: {reason}")
    if now.decision.publish:
        print("Next: rcs release publish")
    return DONE


def _show_candidate(options: argparse.Namespace) -> int:
    """The candidate's state, hash and author, and what keeps it from being published."""
    home = _open_home(options)
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
        _print_json(said)
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

    home = _open_home(options)
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

    home = _open_home(options)
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

    result = verify_release(_open_home(options), options.version)
    if options.json:
        _print_json(result)
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
    from rcs_assets.release.verify_certificate import verify
    from rcs_assets.release.verify_schools import verify_schools

    home = _open_home(options)
    release = home.releases / packages.resolve_version(home, options.version)
    folders = [release / "public", *sorted((release / "cpp").glob("*"))]
    each = {folder.relative_to(release).as_posix(): verify(folder) for folder in folders}
    problems = [f"{name}: {text}" for name, found in each.items() for text in found["problems"]]
    schools = verify_schools(release)
    problems += schools["problems"]
    counts = ("hidden_cells", "open_from_1_to_k", "tables", "seconds")
    total = {name: round(sum(f.get(name, 0) for f in each.values()), 2) for name in counts}
    if options.json:
        _print_json({**total, "problems": problems, "packages": each, "schools": schools})
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


# --- parts -------------------------------------------------------------------------


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


def _open_home(options: argparse.Namespace, *, profile: str | None = None) -> Home:
    path = Path(options.home) if options.home else home_path()
    home = Home.open(path, profile=profile or options.profile, seed=getattr(options, "seed", None))
    os.environ["RCS_HOME"] = str(home.path)
    os.environ["RCS_AS_OF"] = Settings.from_environment(as_of=options.as_of).as_of.isoformat()
    return home


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
            _progress("simulated deliveries: unchanged")
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
            progress=_progress,
        )
        refused = [o for o in _register(home, [folder]) if o.status == "refused"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if refused:
        raise InputError(f"{len(refused)} simulated files were refused", why=refused[0].message)
    write_atomically(done, json.dumps(wanted, sort_keys=True) + "\n")


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


def _graph() -> Any:
    from rcs_assets.build import build_defs

    return build_defs()


def _materialise(
    home: Home, *, publish: bool, only: Sequence[str] = (), left_out: Sequence[str] = ()
) -> int:
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
    standing = [release for release in packages.list_releases(home) if not release.withdrawn]
    if current is None or standing[-1].version != current:
        return False
    candidate = packages.read_candidate(home)
    content = packages.read_manifest(home, current)["content_hash"]
    return candidate is None or candidate["content_hash"] == content


def _launch(home: Home, plan: Any, publish: bool) -> int:
    from rcs_assets.wellbeing.dbt_build import warm_up

    if plan.engagements:
        warm_up()
    from rcs_assets.runs import Launcher, dagster_instance

    _progress("loading the graph")
    with dagster_instance(home) as instance:
        launcher = Launcher(home, _graph(), instance, _progress)
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
        outcomes = Launcher(home, _graph(), instance, _progress).select(selection, chosen)
    return _report_failures(home, outcomes)


def _report_failures(home: Home, outcomes: Iterable[Any]) -> int:
    for row in _delivery_status(home):
        if row["status"] != "accepted":
            where = row["engagement"] or "reference"
            print(f"incomplete: {where}: {row['reasons'][0]}", file=sys.stderr)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        print(f"rcs: {outcome.error}", file=sys.stderr)
    return REFUSED if failed else DONE


def _refuse_unknown_engagements(home: Home, keys: Sequence[str]) -> None:
    known = load_programme(home.config).engagements
    for key in keys:
        if key not in known:
            raise ConfigurationError(
                f"There is no engagement {key}",
                where="programme register",
                fix=f"choose from: {', '.join(known)}",
            )


def _delivery_status(home: Home) -> list[dict[str, Any]]:
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


def _check_status(home: Home) -> Mapping[str, str]:
    from rcs_assets.runs import dagster_instance, latest_checks

    if not (home.dagster / "dagster.yaml").exists():
        return {}
    with dagster_instance(home) as instance:
        return latest_checks(instance, _graph())


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


def _progress(text: str) -> None:
    """A line of progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"  {time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, sort_keys=True, default=_plain))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, date | Path):
        return str(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(type(value).__name__)
