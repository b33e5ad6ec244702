"""Commands of who holds what for how long: keys, access log, retention, extra children.

Belongs here: calling storage and the registers of destruction. Does not belong here: deciding
what must go (`intake`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rcs_assets.codebook import load_codebook
from rcs_assets.commands.running import compute_changes
from rcs_assets.commands.terminal import DONE, REFUSED, make_home, open_home, print_json
from rcs_assets.errors import WrongUseError
from rcs_assets.intake.retention import (
    complete_certificates,
    destroy_ended,
    ended_engagements,
    pending_certificates,
)
from rcs_assets.programme import load_programme
from rcs_assets.storage import Home, Settings
from rcs_assets.storage.access_log import begin_anew, noted_entry, read_access
from rcs_assets.storage.decision_log import forget_engagement
from rcs_assets.storage.keyring import RELEASED, key_states, new_keys, rotate_keys

if TYPE_CHECKING:
    from rcs_assets.intake.extras import Extra


def keys_new(options: argparse.Namespace) -> int:
    """Make the keys that the installation never had."""
    made = new_keys(make_home(options))
    if options.json:
        print_json({"made": made})
        return DONE
    for name in made:
        print(f"made or recorded: {name}")
    print(
        "Next: back up keys/ and keys.json, apart from the data" if made else "All keys are there"
    )
    return DONE


def keys_list(options: argparse.Namespace) -> int:
    """Each key: generation, where it comes from, whether it can be used."""
    states = key_states(open_home(options))
    if options.json:
        print_json(states)
    else:
        for state in states:
            print(
                f"{state.name:<24} generation {state.generation}  {state.source:<32} "
                f"{state.problem or state.purpose}"
            )
    return REFUSED if any(state.problem for state in states) else DONE


def keys_rotate(options: argparse.Namespace) -> int:
    """Put new keys in the place of the old ones."""
    done = rotate_keys(open_home(options), options.names or RELEASED, lost=options.lost)
    if options.json:
        print_json({"rotated": done})
        return DONE
    print(f"New keys: {', '.join(done)}")
    print("Next: back up keys/ and keys.json, destroy old copies; rcs materialise --publish")
    return DONE


def access(options: argparse.Namespace) -> int:
    """The access log, after its chain of hashes was checked from the first entry on."""
    home = open_home(options)
    if options.begin_anew is not None:
        return _begin_log(home, options.begin_anew)
    entries = read_access(home)
    if options.noted is not None:
        entry = noted_entry(entries, options.noted)
        print(f"entry {entry.n} of {entry.at} stands as it was noted; {len(entries)} entries now")
        return DONE
    if options.json:
        print_json(entries)
        return DONE
    for entry in entries:
        print(f"{entry.at}  {entry.who:<16} {entry.event:<14} {entry.what:<24} {entry.purpose}")
    print(f"{len(entries)} entries, none changed, none missing")
    if entries:
        print(f"Note elsewhere, for rcs access --noted: {entries[-1].sha256}")
    return DONE


def _begin_log(home: Home, reason: str) -> int:
    if not reason.strip():
        raise WrongUseError("--begin-anew names no reason", fix="say what was found out")
    aside = begin_anew(home, reason)
    print(f"A new access log was begun. Put aside: {f'logs/{aside}' if aside else 'nothing'}")
    print("Next: keep what was put aside; rcs doctor")
    return DONE


def retention(options: argparse.Namespace) -> int:
    """Say which engagements are past their retention; with --destroy, destroy what is held."""
    home = open_home(options)
    programme, day = load_programme(home.config), Settings.from_environment().as_of
    ended = ended_engagements(home, programme, day)
    keys = destroy_ended(home, programme, day) if options.destroy else ()
    for item in ended if options.destroy else ():
        forget_engagement(home, item.engagement)
    certificates = _remove_rows(home, keys)
    begun = pending_certificates(home)
    if options.json:
        print_json({"ended": ended, "certificates": certificates, "begun_n": len(begun)})
        return DONE
    for item in ended:
        print(
            f"{item.engagement:<32} until {item.retention_until.isoformat()}  "
            f"{item.deliveries_n} deliveries"
        )
    for file in certificates:
        print(f"Certificate: {file}")
    if certificates:
        print("The vault has a new key: back up keys/ and keys.json, destroy copies of the old one")
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
        compute_changes(home, publish=False, only=engagements, left_out=engagements)
    return complete_certificates(home)


def extras(options: argparse.Namespace) -> int:
    """Say which extracts hold children whose UID was not issued; with --destroy, destroy those."""
    from rcs_assets.intake.extras import destroy_extra_children, extra_children

    home = open_home(options)
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
        print_json({"extra": found, "certificates": certificates})
        return DONE
    for one in found:
        print(f"{one.engagement:<32} {extra_words(one)}")
    for file in certificates:
        print(f"Certificate: {file}")
    if not found:
        print("No extract holds a child whose UID was not issued.")
    elif options.destroy:
        print("Next: rcs materialise")
    else:
        print("Next: rcs extras --destroy (there is no way back)")
    return DONE


def extra_words(one: Extra) -> str:
    """One extract with extra children, in words for an operator."""
    return (
        f"{one.rows_n:,} rows of children whose UID was not issued in {one.file}; "
        f"{one.earlier_n:,} earlier deliveries of the extract that can still be opened"
    )
