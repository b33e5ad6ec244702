"""The command line, `rcs`.

Belongs here: the arguments, and exit statuses (0 done; 1 refused or failed, with the
reason last on stderr; 2 wrong use). Does not belong here: what a command does
(`commands.py`).
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rcs_assets import commands as do
from rcs_assets.errors import RcsError

AS_JSON = "print JSON, for programs"
SCALES = ("small", "full", "national")
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "GX_ANALYTICS_ENABLED": "false",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = build_parser().parse_args(arguments)
    os.environ.update(TELEMETRY_OFF)
    # The graph uses these Dagster features on purpose; the pins hold them still.
    warnings.filterwarnings("ignore", message=".*is currently in (beta|preview).*")
    try:
        return int(options.command(options))
    except RcsError as error:
        print(f"rcs: {error}", file=sys.stderr)
        return do.REFUSED
    except KeyboardInterrupt:
        print("rcs: stopped; what was published before is untouched.", file=sys.stderr)
        return do.REFUSED


def build_parser() -> argparse.ArgumentParser:
    """Every command with its arguments; the reference page is made from it."""
    parser = argparse.ArgumentParser(
        prog="rcs", description="The RCS data platform: from delivered files to gated releases."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_simulate(commands)
    _add_deliver(commands)
    _add_materialise(commands)
    _add_reports(commands)
    _add_release(commands)
    return parser


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
    parser.add_argument("--as-of", default="", metavar="DATE", help="fixes all times (YYYY-MM-DD)")
    return parser


def _add_demo(commands: Any) -> None:
    demo = _command(
        commands, "demo", do.demo, "Simulate the programme, deliver, materialise and publish."
    )
    _simulation_options(demo)


def _simulation_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="full",
        help="how much is simulated (default: full, eight CPPs at real size)",
    )
    parser.add_argument("--seed", type=int, help="of all random numbers (default: 2026)")
    parser.add_argument("--reference", type=Path, metavar="DIR", help="real public files to use")


def _add_simulate(commands: Any) -> None:
    simulate = _command(
        commands, "simulate", do.simulate, "Write simulated deliveries, and elsewhere the truth."
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
    deliver = _command(commands, "deliver", do.deliver, "Register files in the drop folder.")
    deliver.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="files, or folders of files"
    )
    deliver.add_argument("--json", action="store_true", help=AS_JSON)


def _add_materialise(commands: Any) -> None:
    parser = _command(
        commands, "materialise", do.materialise, "Compute what has changed, as Dagster runs."
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


def _add_reports(commands: Any) -> None:
    status = _command(commands, "status", do.status, "Programme, deliveries, checks, release.")
    status.add_argument("--json", action="store_true", help=AS_JSON)
    report = _command(
        commands, "report", do.report, "The pages of the current release, or made again elsewhere."
    )
    report.add_argument("--package", metavar="NAME", help="one package, e.g. cpp/t2-falkirk")
    report.add_argument("--out", type=Path, metavar="DIR", help="make the pages again, into DIR")
    report.add_argument("--json", action="store_true", help=AS_JSON)
    retention = _command(
        commands, "retention", do.retention, "Engagements whose retention has ended."
    )
    retention.add_argument(
        "--destroy",
        action="store_true",
        help="destroy the keys of their deliveries for ever, and write a certificate",
    )
    retention.add_argument("--json", action="store_true", help=AS_JSON)
    doctor = _command(commands, "doctor", do.doctor, "Examine the installation.")
    doctor.add_argument("--json", action="store_true", help=AS_JSON)


def _add_release(commands: Any) -> None:
    group = commands.add_parser("release", help="List, show, verify and publish releases.")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    listing = _command(actions, "list", do.release_list, "All published releases.")
    show = _command(actions, "show", do.release_show, "What one release holds.")
    verify = _command(actions, "verify", do.release_verify, "Check every file of a release.")
    for parser in (listing, show, verify):
        parser.add_argument("--json", action="store_true", help=AS_JSON)
    for parser in (show, verify):
        parser.add_argument(
            "version",
            nargs="?",
            default="current",
            help="of the release (default: the current one)",
        )
    _command(actions, "publish", do.release_publish, "Ask the gate; publish the candidate.")


if __name__ == "__main__":
    sys.exit(main())
