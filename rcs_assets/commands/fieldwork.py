"""Commands for the time in schools: monitor, reports of errors to suppliers, UIDs.

Belongs here: calling intake, its pages and its register of decisions. Does not belong here:
judging a file (`intake`).
"""

from __future__ import annotations

import argparse

from rcs_assets.codebook import load_codebook
from rcs_assets.commands.terminal import (
    DONE,
    open_home,
    print_json,
    refuse_inside_home,
    refuse_unknown_engagements,
)
from rcs_assets.errors import InputError
from rcs_assets.programme import load_programme
from rcs_assets.storage import Settings


def monitor(options: argparse.Namespace) -> int:
    """Write the monitor of fieldwork from what the last run recorded."""
    from rcs_assets.linkage.fieldwork import read_fieldwork
    from rcs_assets.monitor import write_monitor

    home = open_home(options)
    refuse_inside_home(home, options.out)
    if options.json:
        print_json(read_fieldwork(home))
        return DONE
    print(write_monitor(home, load_programme(home.config), options.out))
    return DONE


def errors(options: argparse.Namespace) -> int:
    """Make the error reports for the suppliers of an engagement, and open them if asked."""
    from rcs_assets.supplier_report import make_reports

    home = open_home(options)
    refuse_unknown_engagements(home, [options.engagement])
    codebook = load_codebook(home.config)
    if options.dataset is not None and options.dataset not in codebook.datasets:
        raise InputError(
            f"There is no dataset {options.dataset}",
            fix=f"choose from: {', '.join(sorted(codebook.datasets))}",
        )
    found = make_reports(
        home,
        load_programme(home.config),
        codebook,
        Settings.from_environment(),
        options.engagement,
        options.dataset,
        options.out,
    )
    if options.json:
        print_json(found)
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

    home = open_home(options)
    refuse_unknown_engagements(home, [options.engagement] if options.engagement else [])
    found = proposals(home, options.engagement)
    if options.json:
        print_json(found)
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

    home = open_home(options)
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

    home = open_home(options)
    refuse_unknown_engagements(home, [options.engagement])
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
