"""The certificate of a package: which rules were applied, and what they did.

Belongs here: thresholds and steps in force, counts of cells by status, what the audit
found, what microdata keep to. Does not belong here: anything that tells which hidden cells
are really small, or how they were chosen (policy.md: no costs, no search order).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.disclosure.policy import SENSITIVE, OutputClass, Policy
from rcs_assets.release.contents import Package

_RULES = (
    "A cell is hidden if its base, numerator or complement is below the threshold; zero is small.",
    "Further cells are hidden so that no hidden one can be worked out from rows, columns, the "
    "school, cluster, CPP hierarchy, or the public rolls.",
    "Percentages, means and n are rounded to the nearest multiple, halves away from zero. A "
    "Wilson interval is computed from rounded values, any other is rounded outward.",
    "Where fewer than {changed_least} pupils of a CPP, tranche or all areas have changed since an "
    "earlier release, n stays as that release showed it; figure and interval are made anew, and "
    "the cell is hidden if they would move.",
    "The audit, which does not know how cells were chosen, computes for every protected "
    "quantity the range that a reader can narrow it down to; rounding counts as protection. A "
    "range that is too narrow is unsafe, and one unsafe quantity stops the release.",
)
_SAFE_HAVEN = (
    "Not for handing out: holds unrounded estimates and linked microdata for approved analysts. "
    "The table estimates is the public one; whatever else leaves goes through the policy's rules."
)
_SCHOOL = (
    "Each row about this school is that of its CPP's package, whose readers know more. The made-up "
    "tables there fit this package too; for each cell hidden here one has it low and one high. "
    "`rcs release verify --certificate` checks both."
)
_MICRODATA = (
    "An anonymised file of answers counts every answer by its keys, also where a table hides the "
    "cell: it is for the named recipient under an agreement, not for publication."
)


@dataclass(frozen=True)
class Audited:
    """What the audit of the release found, over all packages and coalitions of readers.

    `cells_n` were looked at, `hidden_n` of them are hidden, `targets_n` protected quantities
    were attacked with `programs_n` linear programs, `unsafe_n` could be narrowed too far.
    """

    coalitions_n: int
    cells_n: int
    hidden_n: int
    targets_n: int
    programs_n: int
    unsafe_n: int

    def words(self) -> dict[str, int]:
        """The figures by the names of certificates and evidence page."""
        return {
            "coalitions": self.coalitions_n,
            "cells": self.cells_n,
            "suppressed": self.hidden_n,
            "attacked": self.targets_n,
            "programs": self.programs_n,
            "unsafe": self.unsafe_n,
        }


@dataclass(frozen=True)
class Told:
    """What only some certificates say.

    `microdata`: survey → what anonymising did; `witnesses`: how hidden cells can be checked.
    """

    microdata: Mapping[str, Any] | None = None
    witnesses: Mapping[str, Any] | None = None


def read_audit(con: duckdb.DuckDBPyConnection) -> Audited:
    """The sums of `disclosure.audit`."""
    row = con.execute(
        """
        select count(distinct coalition), coalesce(sum(cells_n), 0)::bigint,
            coalesce(sum(hidden_n), 0)::bigint, coalesce(sum(targets_n), 0)::bigint,
            coalesce(sum(programs_n), 0)::bigint, coalesce(sum(unsafe_n), 0)::bigint,
        from disclosure.audit
        """
    ).fetchall()[0]
    return Audited(*row)


def certificate(
    package: Package,
    version: str,
    policy: Policy,
    counts: Sequence[tuple[str, str, int]],
    audited: Audited,
    is_simulated: bool,
    told: Told | None = None,
) -> dict[str, Any]:
    """The content of `certificate.json`.

    Args:
        package: which one.
        version: of the release.
        policy: the policy that protected the estimates.
        counts: status, note (or empty), number of cells.
        audited: what the audit of the release found.
        is_simulated: whether the deliveries were.
        told: what only some packages have.
    """
    content: dict[str, Any] = {
        "package": package.name,
        "release": version,
        "simulated": is_simulated,
        "policy_version": policy.version,
        "policy_source": policy.source,
        "thresholds": _thresholds(package, policy),
        "rules": [rule.format(changed_least=policy.changed_least) for rule in _RULES],
        "cells_by_status": [
            {"status": status, "note": note, "cells": cells} for status, note, cells in counts
        ],
        "audit_of_the_release": audited.words(),
    }
    told = told or Told()
    if told.microdata:
        rule, surveys = policy.microdata, told.microdata
        content["microdata"] = {"k": rule.k, "l": rule.l, "note": _MICRODATA, "surveys": surveys}
    if told.witnesses:
        content["witnesses"] = dict(told.witnesses)
    if package.kind == "school":
        content |= {"witnesses_in": f"cpp/{package.engagement}", "witnesses_rule": _SCHOOL}
    if package.kind == SAFE_HAVEN:
        content[SAFE_HAVEN] = _SAFE_HAVEN
    return content


def _thresholds(package: Package, policy: Policy) -> dict[str, Any]:
    return {row.name: asdict(row) for row in rows_in_force(package, policy)}


def rows_in_force(package: Package, policy: Policy) -> list[OutputClass]:
    """Rows of Table A that hold in the package, by the name of the row."""
    audience = policy.audiences["cpp" if package.kind in ("cpp", "school") else "public"]
    names = set(audience.output_classes.values()) | {SENSITIVE} | set(policy.special.values())
    if package.kind in ("cpp", "school"):
        names |= {size.output_class for size in policy.school_sizes}
    if package.kind == "school":
        names -= set(policy.special.values()) | {audience.output_classes["cluster"]}
    return [policy.output_classes[name] for name in sorted(names)]
