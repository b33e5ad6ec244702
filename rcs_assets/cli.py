"""The command line, `rcs`.

Belongs here: the arguments, and exit statuses (0 done; 1 refused or failed, with the
reason last on stderr; 2 wrong use). Does not belong here: what a command does
(`commands/`).
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rcs_assets.commands import (
    codebook,
    custody,
    fieldwork,
    linking,
    reading,
    releases,
    running,
    serving,
)
from rcs_assets.commands.terminal import REFUSED
from rcs_assets.errors import RcsError, StorageError, WrongUseError
from rcs_assets.release.files import NO_ROOM, disk_failure
from rcs_assets.stopping import was_stopped

# As argparse has it.
WRONG_USE = 2
AS_JSON = "print JSON, for programs"
SCALES = ("small", "full", "national")
TELEMETRY_OFF = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DO_NOT_TRACK": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "GX_ANALYTICS_ENABLED": "false",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Raises:
        KeyboardInterrupt: it was stopped (`entry.py` says so).
    """
    options = build_parser().parse_args(arguments)
    os.environ.update(TELEMETRY_OFF)
    # The graph uses these Dagster features on purpose; the pins hold them still.
    warnings.filterwarnings("ignore", message=".*is currently in (beta|preview).*")
    try:
        status = int(options.command(options))
        sys.stdout.flush()
        return status
    except WrongUseError as error:
        print(f"rcs: {error}", file=sys.stderr)
        return WRONG_USE
    except RcsError as error:
        if was_stopped():
            raise KeyboardInterrupt from None
        print(f"rcs: {error}", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:
        # Who reads the output has seen enough (`rcs status | head`); nothing is left to say to him.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except OSError as error:
        if error.errno not in NO_ROOM:
            named = _named(error, options)
            if named is None:
                raise
            return _say_unusable(error, named)
        failure = disk_failure(error, "the folder of the installation, or of temporary files")
        print(f"rcs: {failure}", file=sys.stderr)
        return REFUSED


def _named(error: OSError, options: argparse.Namespace) -> Path | None:
    """The file or folder that the user named and that failed, or one beside or below it did."""
    if not isinstance(error.filename, str | os.PathLike):
        return None
    named = [Path(options.home)] if getattr(options, "home", None) else []
    for value in vars(options).values():
        each = value if isinstance(value, list) else [value]
        named += [one for one in each if isinstance(one, Path)]
    failed = Path(error.filename).absolute()
    for path in (one.absolute() for one in named):
        if (
            failed in (path, *path.parents)
            or path in failed.parents
            or path.parent == failed.parent
        ):
            return path
    return None


def _say_unusable(error: OSError, named: Path) -> int:
    unusable = StorageError(
        "A file or folder that was named cannot be used",
        where=str(named),
        why=f"{error.strerror}: {error.filename}",
        fix="see that it is there, is what the option asks for, and may be read or written",
    )
    print(f"rcs: {unusable}", file=sys.stderr)
    return REFUSED


def build_parser() -> argparse.ArgumentParser:
    """Every command with its arguments; the reference page is made from it."""
    parser = argparse.ArgumentParser(
        prog="rcs", description="The RCS data platform: from delivered files to gated releases."
    )
    parser.add_argument(
        "--version", action="version", version=f"rcs {version('rcs-data-platform')}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_simulate(commands)
    _add_deliver(commands)
    _add_materialise(commands)
    _add_ui(commands)
    _add_reports(commands)
    _add_exchange(commands)
    _add_encodings(commands)
    _add_clerical(commands)
    _add_keys(commands)
    _add_release(commands)
    _add_fieldwork(commands)
    _add_codebook(commands)
    return parser


def _day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("no day: write it like 2020-06-30") from None
    return text


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("no seed: a whole number from 0 on")
    return int(text)


def _command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=function)
    parser.add_argument(
        "--home", metavar="DIR", help="the installation (default: RCS_HOME or .rcs)"
    )
    parser.add_argument(
        "--profile",
        choices=("demo", "production"),
        help="demo takes simulated files only; fixed for ever (default: production)",
    )
    parser.add_argument("--as-of", type=_day, metavar="DATE", help="fixes all times (YYYY-MM-DD)")
    return parser


def _add_demo(commands: Any) -> None:
    demo = _command(
        commands, "demo", running.demo, "Simulate the programme, deliver, materialise and publish."
    )
    _simulation_options(demo)


def _simulation_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="full",
        help="how much is simulated (default: full, eight CPPs at real size)",
    )
    parser.add_argument("--seed", type=_seed, help="of all random numbers (default: 2026)")
    parser.add_argument("--reference", type=Path, metavar="DIR", help="real public files to use")


def _add_simulate(commands: Any) -> None:
    simulate = _command(
        commands,
        "simulate",
        running.simulate,
        "Write simulated deliveries, and elsewhere the truth.",
    )
    _simulation_options(simulate)
    simulate.add_argument("--out", type=Path, metavar="DIR", help="folder for the deliveries")
    simulate.add_argument(
        "--truth", type=Path, metavar="DIR", help="folder for what was drawn; never delivered"
    )
    simulate.add_argument(
        "--defects",
        choices=("none", "typical", "hostile"),
        default="typical",
        help="errors planted (default: typical); hostile: a damaged file a kind as well",
    )
    simulate.add_argument(
        "--sign",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="sign edited copies of simulated files, so that the demo profile takes them",
    )


def _add_deliver(commands: Any) -> None:
    deliver = _command(commands, "deliver", running.deliver, "Register files in the drop folder.")
    deliver.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="files, or folders of files"
    )
    deliver.add_argument("--json", action="store_true", help=AS_JSON)


def _add_materialise(commands: Any) -> None:
    parser = _command(
        commands, "materialise", running.materialise, "Compute what has changed, as Dagster runs."
    )
    parser.add_argument(
        "--engagement",
        action="append",
        default=[],
        metavar="KEY",
        help="look at this engagement only; may be repeated (default: all that delivered)",
    )
    parser.add_argument("--select", metavar="ASSETS", help="a selection in Dagster's syntax")
    parser.add_argument(
        "--leave-out",
        action="append",
        default=[],
        metavar="KEY",
        help="an engagement that the release goes without; may be repeated",
    )
    parser.add_argument("--publish", action="store_true", help="ask the gate, publish if it passes")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("no port: a whole number from 0 (a free one) to 65535")
    return int(text)


def _add_ui(commands: Any) -> None:
    parser = _command(
        commands, "ui", serving.ui, "Serve the graph in Dagster's UI, to pages of its own only."
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="NAME",
        help="one address of this machine (default: 127.0.0.1); there is no login",
    )
    parser.add_argument("--port", type=_port, default=3000, help="default: 3000; 0: any free one")


def _add_reports(commands: Any) -> None:
    status = _command(commands, "status", reading.status, "Programme, deliveries, checks, release.")
    status.add_argument("--json", action="store_true", help=AS_JSON)
    status.add_argument(
        "--page", type=Path, metavar="FILE", help="write the internal status page of today to FILE"
    )
    report = _command(
        commands,
        "report",
        reading.report,
        "The reports of the current release, or made again elsewhere.",
    )
    tableau = _command(
        commands, "tableau", reading.tableau, "Write packages of the current release as .hyper."
    )
    tableau.add_argument(
        "--package", metavar="NAME", help="one package, e.g. public; else every area's"
    )
    tableau.add_argument("--out", type=Path, metavar="DIR", required=True, help="where to")
    tableau.add_argument("--json", action="store_true", help=AS_JSON)
    explore = _command(
        commands, "explore", reading.explore, "Where the explorers of the current release are."
    )
    explore.add_argument("--package", metavar="NAME", help="one package, e.g. cpp/t2-falkirk")
    explore.add_argument("--open", action="store_true", help="open it in the browser")
    explore.add_argument("--json", action="store_true", help=AS_JSON)
    report.add_argument("--package", metavar="NAME", help="one package, e.g. cpp/t2-falkirk")
    report.add_argument(
        "--engagement", metavar="KEY", help="one area with its schools, e.g. t2-falkirk"
    )
    report.add_argument("--out", type=Path, metavar="DIR", help="make the pages again, into DIR")
    report.add_argument("--json", action="store_true", help=AS_JSON)
    retention = _command(
        commands, "retention", custody.retention, "Engagements whose retention has ended."
    )
    retention.add_argument(
        "--destroy",
        action="store_true",
        help="destroy the keys of their deliveries for ever, remove their rows, write certificates",
    )
    retention.add_argument("--json", action="store_true", help=AS_JSON)
    extras = _command(
        commands, "extras", custody.extras, "Extra children in councils' extracts, to be destroyed."
    )
    extras.add_argument(
        "--destroy",
        action="store_true",
        help="seal the extracts anew without them and destroy the keys of what was delivered",
    )
    extras.add_argument("--json", action="store_true", help=AS_JSON)
    doctor = _command(commands, "doctor", reading.doctor, "Examine the installation.")
    doctor.add_argument("--json", action="store_true", help=AS_JSON)


def _add_exchange(commands: Any) -> None:
    parser = _command(
        commands,
        "exchange",
        linking.exchange,
        "Write files for an outside indexer (NRS) or linker (eDRIS), or for the providers.",
    )
    parser.add_argument("--engagement", required=True, metavar="KEY", help="whose records")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="outside the home")
    parser.add_argument(
        "--for",
        dest="receiver",
        choices=("indexer", "provider", "linker"),
        default="indexer",
        help="who gets them, where no kind is named (default: indexer)",
    )
    parser.add_argument(
        "kinds", nargs="*", metavar="KIND", help="e.g. admin_ids_edu, read_through, payload_sw"
    )
    parser.add_argument("--json", action="store_true", help=AS_JSON)


def _add_encodings(commands: Any) -> None:
    text = "Encodings in the place of identifiers that may not be sent; needs no installation."
    group = commands.add_parser("encodings", help=text, description=text)
    actions = group.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, function: Any, about: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, help=about, description=about)
        parser.set_defaults(command=function)
        return parser

    key = action(
        "key", linking.encodings_key, "Make a key file; it stays where the identifiers are."
    )
    key.add_argument("file", type=Path, metavar="FILE", help="where the key goes")
    make = action(
        "make",
        linking.encodings_make,
        "Encode the records of a CSV file; named like a delivery (--out) it can be delivered.",
    )
    make.add_argument("file", type=Path, metavar="FILE", help="identifiers")
    make.add_argument("--key", type=Path, required=True, metavar="FILE", help="the key file")
    make.add_argument(
        "--id",
        default="record_id",
        metavar="COLUMN",
        help="of the ids (default: record_id; of a delivery its own key)",
    )
    make.add_argument(
        "--opt-outs",
        type=Path,
        metavar="FILE",
        help="the list of opt-outs that holds: records that may be these children's are left out",
    )
    make.add_argument(
        "--pupils", type=Path, metavar="FILE", help="the sample file in clear, for --opt-outs"
    )
    make.add_argument(
        "--payload",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="files that follow the records: copied beside --out without the rows left out",
    )
    pair = action("link", linking.encodings_link, "Link two files of encodings made under one key.")
    pair.add_argument("left", type=Path, metavar="LEFT", help="e.g. of the sample file")
    pair.add_argument("right", type=Path, metavar="RIGHT", help="e.g. of social work")
    for parser in (make, pair):
        parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file")
        parser.add_argument("--json", action="store_true", help=AS_JSON)


def _add_clerical(commands: Any) -> None:
    text = "Doubtful links: who decides them, and how far the reviews have come."
    group = commands.add_parser("clerical", help=text, description=text)
    actions = group.add_subparsers(required=True, metavar="ACTION")
    queue = _command(actions, "queue", linking.clerical_queue, "How many pairs wait, and for whom.")
    status = _command(
        actions, "status", linking.clerical_status, "Decisions, what came of them, and agreement."
    )
    verify = _command(
        actions,
        "verify",
        linking.clerical_verify,
        "Check the log of decisions from its first entry on.",
    )
    for parser in (queue, status, verify):
        parser.add_argument("--json", action="store_true", help=AS_JSON)
    review = _command(
        actions,
        "review",
        linking.clerical_review,
        "Serve the page on which a clerk decides, here only.",
    )
    adjudicate = _command(
        actions,
        "adjudicate",
        linking.clerical_adjudicate,
        "The same for a third person, where two reviewers differ.",
    )
    for parser in (review, adjudicate):
        parser.add_argument("--engagement", required=True, metavar="KEY", help="whose pairs")
        parser.add_argument(
            "--reviewer", required=True, metavar="NAME", help="who decides; stands in the log"
        )


def _add_keys(commands: Any) -> None:
    text = "Make, look at and rotate the keys of the installation."
    group = commands.add_parser("keys", help=text, description=text)
    actions = group.add_subparsers(required=True, metavar="ACTION")
    new = _command(
        actions, "new", custody.keys_new, "Make the keys that the installation never had."
    )
    listing = _command(actions, "list", custody.keys_list, "Each key, and whether it can be used.")
    rotate = _command(
        actions, "rotate", custody.keys_rotate, "Put new keys in the place of the old, all or none."
    )
    rotate.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="keys (default: those that every released id depends on)",
    )
    rotate.add_argument(
        "--lost", action="store_true", help="the old keys are gone: do not ask for them"
    )
    access = _command(
        commands,
        "access",
        custody.access,
        "Who used which key or opened the vault; checks the log.",
    )
    access.add_argument(
        "--begin-anew",
        metavar="REASON",
        help="put a log that was changed or cut aside and begin a new one, which says so",
    )
    access.add_argument(
        "--noted",
        metavar="SHA256",
        help="whether the entry that was last on another day, and was noted elsewhere, is there",
    )
    for parser in (new, listing, rotate, access):
        parser.add_argument("--json", action="store_true", help=AS_JSON)


def _add_fieldwork(commands: Any) -> None:
    text = "Issue UIDs, and decide on those that stand under another school."
    group = commands.add_parser("uids", help=text, description=text)
    actions = group.add_subparsers(required=True, metavar="ACTION")
    monitor = _command(
        commands, "monitor", fieldwork.monitor, "Flow and response while fieldwork runs; internal."
    )
    monitor.add_argument("--out", type=Path, metavar="FILE", help="default: monitor.html there")
    monitor.add_argument("--json", action="store_true", help=AS_JSON)
    errors = _command(
        commands,
        "errors",
        fieldwork.errors,
        "Say what was wrong in files, row by row, for their suppliers.",
    )
    errors.add_argument("--engagement", required=True, metavar="KEY", help="whose files")
    errors.add_argument("--dataset", metavar="NAME", help="one delivery only, e.g. sample_file")
    errors.add_argument("--out", type=Path, metavar="FOLDER", help="open them there, unsealed")
    errors.add_argument("--json", action="store_true", help=AS_JSON)
    listing = _command(
        actions,
        "list",
        fieldwork.uids_list,
        "Proposals of intake, and what was decided about each.",
    )
    listing.add_argument("--engagement", metavar="KEY", help="of this one only")
    listing.add_argument("--json", action="store_true", help=AS_JSON)
    decide = _command(
        actions, "decide", fieldwork.uids_decide, "Record a decision; the next run carries it out."
    )
    decide.add_argument("decision", choices=("repair", "keep"), help="set the school right, or not")
    decide.add_argument("--engagement", required=True, metavar="KEY", help="whose sample file")
    decide.add_argument(
        "--delivered", required=True, metavar="SEED", help="school under which the UIDs stand"
    )
    decide.add_argument("--right", required=True, metavar="SEED", help="school whose UIDs they are")
    decide.add_argument("--by", required=True, metavar="NAME", help="who decides")
    decide.add_argument("--reason", required=True, metavar="TEXT", help="what was looked at")
    issue = _command(
        actions,
        "issue",
        fieldwork.uids_issue,
        "Write a sample file from a list of pupils without UIDs.",
    )
    issue.add_argument("list", type=Path, metavar="FILE", help="a sample file without survey_uid")
    issue.add_argument("--engagement", required=True, metavar="KEY", help="whose pupils")
    issue.add_argument("--out", type=Path, required=True, metavar="FILE", help="outside the home")


def _add_codebook(commands: Any) -> None:
    text = "Contracts of delivered files, and how questionnaire versions differ."
    group = commands.add_parser("codebook", help=text, description=text)
    actions = group.add_subparsers(required=True, metavar="ACTION")
    contracts = _command(
        actions,
        "contracts",
        codebook.codebook_contracts,
        "Write every contract in the Open Data Contract Standard, for suppliers and catalogues.",
    )
    contracts.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the YAML files"
    )
    versions = _command(
        actions,
        "differences",
        codebook.codebook_differences,
        "What each questionnaire version has otherwise than the one before it.",
    )
    versions.add_argument("--json", action="store_true", help=AS_JSON)
    page = _command(
        actions,
        "page",
        codebook.codebook_page,
        "Every item, with licensed wording where permitted, for analysts inside the safe haven.",
    )
    page.add_argument("--out", type=Path, metavar="FILE", help="default: codebook.html there")
    freeze = _command(
        actions,
        "freeze",
        codebook.codebook_freeze,
        "Keep the codebook that holds now, so that later answers can be counted by it.",
    )
    freeze.add_argument("name", metavar="NAME", help="e.g. 2026-spring")
    adopt = _command(
        actions,
        "adopt",
        codebook.codebook_adopt,
        "Turn a question list of the Health and Wellbeing Census into an overlay.",
    )
    for option, text in (
        ("--lists", "folder of the published question lists"),
        ("--out", "folder for the overlay, e.g. config/ of a new home"),
    ):
        adopt.add_argument(option, type=Path, required=True, metavar="DIR", help=text)
    adopt.add_argument("--stage", required=True, help="P5 to P7, S1 to S6, or S4_SU")
    adopt.add_argument("--tranche", required=True, metavar="KEY", help="e.g. t4")


def _add_release(commands: Any) -> None:
    text = "List, show, verify, approve, publish and withdraw releases."
    group = commands.add_parser("release", help=text, description=text)
    actions = group.add_subparsers(required=True, metavar="ACTION")
    listing = _command(actions, "list", releases.release_list, "All published releases.")
    show = _command(actions, "show", releases.release_show, "What one release holds.")
    verify = _command(actions, "verify", releases.release_verify, "Check every file of a release.")
    for parser in (listing, show, verify):
        parser.add_argument("--json", action="store_true", help=AS_JSON)
    for parser in (show, verify):
        parser.add_argument(
            "version",
            nargs="?",
            default="current",
            help="of the release (default: the current one)"
            + ("; `candidate` tells how far the next one has come" if parser is show else ""),
        )
    verify.add_argument(
        "--certificate",
        action="store_true",
        help="check instead that the hidden cells of public and CPP packages are open",
    )
    diff = _command(actions, "diff", releases.release_diff, "What changed between two releases.")
    diff.add_argument("older", nargs="?", help="(default: the release before the newer one)")
    diff.add_argument("newer", nargs="?", default="current", help="(default: the current one)")
    diff.add_argument("--json", action="store_true", help=AS_JSON)
    _command(actions, "publish", running.release_publish, "Ask the gate; publish the candidate.")
    _add_approvals(actions)
    _add_withdrawals(actions)


def _add_approvals(actions: Any) -> None:
    approve = _command(
        actions, "approve", releases.release_approve, "Sign the candidate with your key."
    )
    approve.add_argument(
        "--key",
        type=Path,
        required=True,
        metavar="FILE",
        help="your private key; RCS_KEY_PASSPHRASE opens it where it has a passphrase",
    )
    new_key = _command(actions, "new-key", releases.release_new_key, "Make an approver's key.")
    new_key.add_argument("file", type=Path, metavar="FILE", help="where the private key goes")
    for parser in (approve, new_key):
        parser.add_argument("--json", action="store_true", help=AS_JSON)


def _add_withdrawals(actions: Any) -> None:
    withdraw = _command(
        actions, "withdraw", releases.release_withdraw, "Take a release back, with a reason."
    )
    withdraw.add_argument("--reason", required=True, help="stands on the tombstone, for everyone")
    erratum = _command(
        actions,
        "erratum",
        releases.release_erratum,
        "Record what is wrong with a release that stays.",
    )
    erratum.add_argument("--text", required=True, help="what is wrong, and what holds instead")
    for parser in (withdraw, erratum):
        parser.add_argument("version", help="of the release; `current` is the one that is read")
        parser.add_argument("--by", required=True, metavar="NAME", help="who says so")


if __name__ == "__main__":
    sys.exit(main())
