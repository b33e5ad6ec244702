"""The items that readers of linked data must be told (RECORD, GUILD), filled from the run.

Belongs here: `services.link_items`: facts in words from the tables of linkage, put into the
answers of `data/link_items.yaml`. Does not belong here: the figures (`linkage`,
`link_effects.py`), which items there are (data), anything that is released.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.errors import ConfigurationError
from rcs_assets.linkage.settings import LinkRules
from rcs_assets.programme.datafile import DataFolder, read_mapping

TABLE = "services.link_items"
FILE = "link_items.yaml"
OWNER = "For the data owner to answer: config/link_items.yaml."
_KEYS = {"guideline", "label", "answer"}


@dataclass(frozen=True)
class LinkItem:
    """One item: where it comes from, our label, and the answer with names of facts."""

    name: str
    guideline: str
    label: str
    answer: str


def load_link_items(overlay: Path | None = None) -> tuple[LinkItem, ...]:
    """The items with the data owner's in their place.

    Args:
        overlay: folder that may hold a `link_items.yaml` with some of the entries.

    Raises:
        ConfigurationError: an entry without exactly guideline, label and answer, or with a
            fact that there is not.
    """
    folder = DataFolder("services", Path(__file__).parent / "data", overlay)
    return tuple(read_mapping(folder, FILE, _item).values())


def _item(name: str, label: str, entry: Mapping[str, Any]) -> LinkItem:
    asked = {
        field for _, field, _, _ in string.Formatter().parse(str(entry.get("answer"))) if field
    }
    wrong = sorted(set(entry) ^ _KEYS) or sorted(asked - FACTS)
    if wrong:
        raise ConfigurationError(
            f"{label} is not valid",
            where=f"file {label}, entry {name}",
            why=f"not known, or missing: {', '.join(wrong)}",
            fix=f"give guideline, label and answer; facts are {', '.join(sorted(FACTS))}",
        )
    return LinkItem(name, *(str(entry[key]) for key in ("guideline", "label", "answer")))


def write_link_items(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, items: tuple[LinkItem, ...]
) -> int:
    """Make services.link_items anew: guideline, item, label, answer, filled_by (run | owner).

    Args:
        con: a writing connection to the warehouse, where linkage and link effects are current,
            with the temp table `scope` of the engagements that enter.
        rules: passes and thresholds.
        items: which to fill.

    Returns:
        Number of items.
    """
    for view, table in _VIEWS.items():
        con.execute(
            f"create or replace temp view {view} as "
            f"from {table} where engagement in (select engagement from scope)"
        )
    facts = _rule_facts(rules) | {
        name: _said(con.execute(sql).fetchall()) for name, sql in _FACTS.items()
    }
    rows = [
        {
            "item_no": number,
            "guideline": item.guideline,
            "item": item.name,
            "label": item.label,
            "answer": item.answer.format(**facts) or OWNER,
            "filled_by": "run" if item.answer else "owner",
        }
        for number, item in enumerate(items, 1)
    ]
    con.register("item_rows", pa.Table.from_pylist(rows))
    con.execute("create schema if not exists services")
    con.execute(f"create or replace table {TABLE} as from item_rows")
    con.unregister("item_rows")
    return len(rows)


def _said(rows: list[tuple[object]]) -> str:
    """The fact of a query; `none` where there is nothing to tell, as if everybody was linked."""
    return str(rows[0][0]) if rows and rows[0][0] is not None else "none"


def _rule_facts(rules: LinkRules) -> dict[str, str]:
    names = [entry.name.replace("_", " ") for entry in rules.passes if entry.name != "uid"]
    return {
        "passes": ", ".join(names),
        "auto": f"{rules.thresholds.auto:g}",
        "clerical": f"{rules.thresholds.clerical:g}",
    }


def _listed(rows: str) -> str:
    """SQL: the texts of a query (column `said`, in order) joined by semicolons."""
    return f"select string_agg(said, '; ') from ({rows})"


_RANGE = (
    "if(min({0}) = max({0}), format('{{:.2f}} %', 100 * min({0})), "
    "format('{{:.2f}} to {{:.2f}} %', 100 * min({0}), 100 * max({0})))"
)
# What the facts read, of the engagements that enter.
_VIEWS = {
    "item_groups": "linkage.link_rates_by_group",
    "item_rates": "linkage.link_rates",
    "item_flow": "linkage.link_flow",
    "item_receipts": "intake.receipts",
    "item_sample": "intake.sample",
}
# Fact → query of one row and column. Whole figures and rates only; no group below ten.
_FACTS = {
    "councils_n": "select count(distinct engagement) from item_rates",
    "pupils": "select format('{:,}', count(*)) from item_sample",
    "flow": _listed(
        "select format('{} {:,}', step, sum(n)::bigint) as said from item_flow "
        "where dataset = 'pupils' group by step, step_no order by step_no"
    ),
    "quarantined": _listed(
        "select format('{} {:,} of {:,}', replace(dataset, '_', ' '), sum(quarantined_n)::bigint, "
        "sum(received_n)::bigint) as said from item_receipts where dataset in ('sample_file', "
        "'primary_survey', 'secondary_survey', 'education_payload', 'social_work_payload') "
        "and status = 'accepted' group by dataset order by dataset"
    ),
    "records": _listed(
        "select format('{} {:,}', replace(dataset, '_', ' '), sum(records_n)::bigint) as said "
        "from item_rates group by dataset order by dataset"
    ),
    "model": (
        "select format('{} ({}, Splink {})', left(model_id, 12), origin, splink_version) "
        "from linkage.model"
    ),
    "model_id": "select model_id from linkage.model",
    "quality": _listed(
        f"select format('{{}}: precision {{}}, recall {{}}', replace(dataset, '_', ' '), "
        f"{_RANGE.format('estimated_precision')}, {_RANGE.format('estimated_recall')}) as said "
        "from item_rates where estimated_recall is not null group by dataset order by "
        "dataset"
    ),
    "missed": _listed(
        "select format('{} {:.1f} %', "
        "replace(dataset, '_', ' '), 100 * sum(missed_n) / (sum(linked_n) + sum(missed_n))) "
        "as said from item_rates where dataset in ('education', 'social_work') "
        "and missed_n is not null group by dataset order by dataset"
    ),
    "selection": _listed(
        "select format('{}: {:.1f} % linked', replace(dataset, '_', ' '), "
        "100 * sum(linked_n) / sum(records_n)) as said "
        "from item_rates group by dataset order by dataset"
    ),
    "scn": _listed(
        "select format('{} {:.1f} %', replace(dataset, '_', ' '), 100 * sum(records_n) filter "
        "(\"group\" = 'Y') / sum(records_n)) as said from item_groups "
        "where breakdown = 'has_scn' group by dataset order by dataset"
    ),
    "waiting": (
        "select coalesce(sum(clerical_n), 0)::bigint from item_rates where dataset = 'social_work'"
    ),
    "lowest": (
        "select format('{} {} {} {:.1f} % ({})', replace(dataset, '_', ' '), "
        "replace(breakdown, '_', ' '), \"group\", linked_pct, engagement) "
        "from item_groups where breakdown not in ('school', 'has_scn') "
        'order by linked_pct, engagement, dataset, breakdown, "group" limit 1'
    ),
    "difference": (
        "select format('{} {} {} {:.2f} ({})', replace(dataset, '_', ' '), "
        "replace(breakdown, '_', ' '), \"group\", std_difference, engagement) "
        "from item_groups "
        "where breakdown not in ('school', 'has_scn') and std_difference is not null "
        'order by abs(std_difference) desc, engagement, dataset, breakdown, "group" limit 1'
    ),
    "threshold_points": (
        "select format('{:.1f}', max(abs(difference))) from services.link_effects "
        "where scenario like 'weight %' or scenario = 'exact only'"
    ),
    "weight_points": (
        "select format('{:.1f}', max(abs(difference))) from services.link_effects "
        "where scenario = 'link weights' and kind = 'indicator'"
    ),
}
FACTS = frozenset({*_FACTS, "passes", "auto", "clerical"})
