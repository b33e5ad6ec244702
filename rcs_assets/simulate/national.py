"""A generated register of all councils, to try the platform at national size.

Belongs here: the register overlay (programme files of the councils that never took part).
Does not belong here: schools and pupils of these councils, which come about like all
others. The rows say that they are generated: only eight areas took part in fact.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rcs_assets.errors import InputError
from rcs_assets.programme import load_programme
from rcs_assets.programme.load import COLUMNS
from rcs_assets.programme.tracking import COLUMNS as TRACKING_COLUMNS
from rcs_assets.programme.tracking import CONDITIONS, load_tracking

COUNCILS = Path(__file__).parent / "data" / "councils.csv"
SOURCE = "generated register for rcs simulate --scale national: this council never took part"
TRANCHE = "t3"
# A generated council has the waves and dates of this engagement.
TEMPLATE = "t3-moray"
Row = dict[str, object]


def write_register(folder: Path) -> list[Path]:
    """Write the register overlay: 24 more councils in the third tranche.

    Args:
        folder: `$RCS_HOME/config` or another overlay folder.

    Returns:
        The files written: cpps, engagements, waves, privacy, and of tracking what the gate and
        the clock need: readiness, cut_offs.

    Raises:
        InputError: the folder holds an overlay file of somebody's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with COUNCILS.open(encoding="utf-8", newline="") as stream:
        councils = list(csv.DictReader(stream))
    rows: dict[str, list[Row]] = {
        "cpps.csv": [dict(council) for council in councils],
        "engagements.csv": [_engagement(council["slug"]) for council in councils],
        "waves.csv": [row for council in councils for row in _waves(council["slug"])],
        "privacy.csv": [_approval(council["slug"]) for council in councils],
        "readiness.csv": [_readiness(council["slug"]) for council in councils],
        "cut_offs.csv": [_cut_off(council["slug"]) for council in councils],
    }
    columns = {**COLUMNS, **TRACKING_COLUMNS}
    return [_write(folder / file, columns[file], own) for file, own in rows.items()]


def _key(slug: str) -> str:
    return f"{TRANCHE}-{slug}"


def _engagement(slug: str) -> Row:
    return {"key": _key(slug), "tranche": TRANCHE, "cpp": slug, "source": SOURCE}


def _waves(slug: str) -> list[Row]:
    template = load_programme().engagements[TEMPLATE]
    return [
        {
            "engagement": _key(slug),
            "survey": wave.survey,
            "contractor": wave.contractor,
            "stages": ";".join(wave.stages),
            "fieldwork_start": wave.fieldwork_start,
            "fieldwork_end": wave.fieldwork_end,
            "design": wave.design,
            "mode": wave.mode,
            "target_n": "" if wave.target_n is None else wave.target_n,
            "is_held": "yes",
            "source": SOURCE,
        }
        for wave in template.waves
    ]


def _approval(slug: str) -> Row:
    template = load_programme().approvals[TEMPLATE]
    own = {name: getattr(template, name) for name in COLUMNS["privacy.csv"]}
    texts = {
        name: value.replace(TEMPLATE, _key(slug)) if isinstance(value, str) else value
        for name, value in own.items()
    }
    return texts | {"engagement": _key(slug)}


def _readiness(slug: str) -> Row:
    (template,) = [r for r in load_tracking().readiness if r.engagement == TEMPLATE]
    return {
        **dict.fromkeys(CONDITIONS, "yes"),
        "engagement": _key(slug),
        "assessed_on": template.assessed_on,
        "assessor": template.assessor,
        "outcome": template.outcome,
        "source": template.source,
    }


def _cut_off(slug: str) -> Row:
    day = load_tracking().cut_offs[TEMPLATE]
    return {"engagement": _key(slug), "last_day": day, "source": SOURCE}


def _write(path: Path, columns: tuple[str, ...], rows: list[Row]) -> Path:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    text = buffer.getvalue()
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InputError(
            "The generated register would overwrite an overlay",
            where=f"file {path.name} of the overlay folder",
            why="it is not the one that the simulator writes",
            fix="use another home for the national scale, or move the file away",
        )
    path.write_text(text, encoding="utf-8")
    return path
