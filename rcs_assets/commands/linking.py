"""Commands of linkage: the exchange of identifiers, encodings, clerical review.

Belongs here: calling the linkage room and printing what it says. Does not belong here: deciding
what is a link (`linkage`).
"""

from __future__ import annotations

import argparse
from contextlib import suppress

from rcs_assets.codebook import load_codebook
from rcs_assets.commands.terminal import DONE, open_home, print_json, refuse_unknown_engagements
from rcs_assets.errors import InputError
from rcs_assets.programme import load_programme
from rcs_assets.storage import Settings


def exchange(options: argparse.Namespace) -> int:
    """Write the files that go to the indexer, back to the providers, or to the linker."""
    from rcs_assets.linkage.exchange import default_kinds, export_files, kind_of

    home = open_home(options)
    refuse_unknown_engagements(home, [options.engagement])
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
        print_json(files)
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
        print_json({"file": options.out, "records_n": records_n} | told)
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
        print_json(quality)
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
        for found in progress(open_home(options), Settings.from_environment())
    ]
    if options.json:
        print_json(rows)
        return DONE
    for row in rows:
        print(
            f"{row['engagement']:<32} {row['queue_n']:>5} pairs wait: {row['first_review_n']} for "
            f"a first review, {row['second_review_n']} for a second, {row['adjudication_n']} for "
            "adjudication"
        )
    if not rows:
        print("No queue yet")
    elif any(row["queue_n"] for row in rows):
        print("Next: rcs clerical review --engagement KEY --reviewer NAME")
    else:
        print("No pair waits for a clerk")
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

    home = open_home(options)
    refuse_unknown_engagements(home, [options.engagement])
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

    found = progress(open_home(options), Settings.from_environment())
    if options.json:
        print_json(found)
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

    entries = verified_decisions(open_home(options), Settings.from_environment())
    forgotten = sum(len(entry.forgets) for entry in entries)
    if options.json:
        print_json({"entries_n": len(entries), "forgotten_n": forgotten})
    else:
        print(f"{len(entries)} entries, none changed, none missing; {forgotten} forgotten")
    return DONE
