"""Licensed wording of items, from the licensee's own files in the installation.

Belongs here: reading `licences.csv` and `wording.csv` of the overlay folder, and which wording a
licence lets whom read on a day. Does not belong here: the codebook (`load.py`), which holds short
labels only, and the page (`rcs_assets/codebook_page.py`).

Domain.md 1.8: the wording of some instruments may not be copied without its owner's consent. So it
is no part of the `Codebook`: its tables, seeds, releases and documentation cannot hold what they
are not given, and its version does not tell whether there is any. The platform's own two files are
headers without a row.

    licences.csv   instrument, holder, reference, permits, valid_from, valid_until
    wording.csv    instrument, variable, wording

`permits` lists where the wording may be read: `safe_haven`, the page for approved analysts inside.
Nothing else can be permitted: policy.md names no package that could carry it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rcs_assets.codebook.load import PLATFORM
from rcs_assets.codebook.model import Codebook, Instrument
from rcs_assets.programme.datafile import DataFolder, Row, read_rows

LICENCES, WORDING = "licences.csv", "wording.csv"
# The package for approved analysts inside, by this name in every later room too.
SAFE_HAVEN = "safe_haven"
_LICENCE_COLUMNS = ("instrument", "holder", "reference", "permits", "valid_from", "valid_until")
_WORDING_COLUMNS = ("instrument", "variable", "wording")
# Longer than any item: an unclosed quotation mark takes the rest of a file into one cell.
MAX_WORDING = 500


@dataclass(frozen=True)
class Licence:
    """Who may show the wording of an instrument, where and from when until when."""

    instrument: str
    holder: str
    reference: str
    permits: tuple[str, ...]
    valid_from: date
    valid_until: date | None

    def problem(self, place: str, on: date) -> str:
        """Why the wording may not be read there on a day; empty if it may."""
        if place not in self.permits:
            return f"licence {self.reference} does not permit it"
        if on < self.valid_from:
            return f"licence {self.reference} begins on {self.valid_from.isoformat()}"
        if self.valid_until is not None and on > self.valid_until:
            return f"licence {self.reference} ended on {self.valid_until.isoformat()}"
        return ""


@dataclass(frozen=True)
class Wording:
    """What the licensee's files hold: licences and (instrument, variable) → wording."""

    licences: Mapping[str, Licence]
    texts: Mapping[tuple[str, str], str]

    def of(self, instrument: str, place: str, on: date) -> Mapping[str, str]:
        """Variable → wording of an instrument, as far as its licence permits it there and then."""
        licence = self.licences.get(instrument)
        if licence is None or licence.problem(place, on):
            return {}
        return {name: text for (owner, name), text in self.texts.items() if owner == instrument}


def load_wording(codebook: Codebook, overlay: Path | None) -> Wording:
    """The licensed wording of an installation; empty where the licensee keeps none there.

    Args:
        codebook: instruments and their items.
        overlay: `$RCS_HOME/config`.

    Raises:
        ConfigurationError: an unknown instrument or item, wording without a licence, a cell that
            is empty or too long, days in the wrong order. No message quotes wording.
    """
    folder = DataFolder("codebook", PLATFORM, overlay)
    licences = {
        row.choice("instrument", codebook.instruments): _licence(row)
        for row in read_rows(folder, LICENCES, _LICENCE_COLUMNS, ("instrument",))
    }
    texts = {}
    for row in read_rows(folder, WORDING, _WORDING_COLUMNS, ("instrument", "variable")):
        instrument = codebook.instruments[row.choice("instrument", codebook.instruments)]
        name = row.choice("variable", items_of(instrument))
        if instrument.name not in licences:
            raise row.problem(
                "instrument",
                f"there is wording of {instrument.name} and no licence for it",
                f"add the licence to {LICENCES}, or take the wording out",
            )
        texts[instrument.name, name] = _text(row)
    return Wording(licences, texts)


def items_of(instrument: Instrument) -> tuple[str, ...]:
    """The variables of an instrument's items, each once, in order."""
    names = [item.variable for scale in instrument.scales for item in scale.items]
    return tuple(dict.fromkeys(names))


def _licence(row: Row) -> Licence:
    licence = Licence(
        instrument=row.required("instrument"),
        holder=row.required("holder"),
        reference=row.required("reference"),
        permits=row.items("permits", (SAFE_HAVEN,)),
        valid_from=row.day("valid_from"),
        valid_until=row.optional_day("valid_until"),
    )
    if licence.valid_until is not None and licence.valid_until < licence.valid_from:
        raise row.problem("valid_until", "it lies before valid_from", "correct the days")
    return licence


def _text(row: Row) -> str:
    text = row.required("wording")
    if len(text) > MAX_WORDING or not text.isprintable():
        raise row.problem(
            "wording",
            f"wording is one line of at most {MAX_WORDING} characters",
            "check for a lost quotation mark or a line break",
        )
    return text
