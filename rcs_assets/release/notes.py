"""What readers of the public package get to read beside the tables.

Belongs here: release notes with what changed since the release before, a disclosure report
without values, how to cite. Does not belong here: the pages (`reporting`), the certificate.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import yaml

from rcs_assets.disclosure.policy import Policy
from rcs_assets.release.audit_log import AuditLog, Event, read_log
from rcs_assets.release.describe import Head
from rcs_assets.release.diff import ESTIMATES, change_table, compare
from rcs_assets.release.packages import CANDIDATE, current_version, read_manifest
from rcs_assets.release.rules_in_force import changed_rules
from rcs_assets.storage import Home, sql_literal

NOTES = "RELEASE_NOTES.md"
DISCLOSURE = "DISCLOSURE_REPORT.md"
CITATION = "CITATION.cff"
_FIRST = "The first release, or the first after all earlier ones were withdrawn."
_COMPARED_WITH = "Compared with release {},"
_COMPARED = {
    "policy_version": "disclosure policy",
    "codebook_version": "codebook",
    "programme_version": "programme register",
}
_BY_PLACE = """
select geography_level, breakdown, count(*), count(*) filter (status in ('published', 'u')),
    count(*) filter (status = 'u'), count(*) filter (status = 'c'),
    count(*) filter (status = 'z'), count(*) filter (status = 'x')
from read_parquet({}) group by all order by all
"""


def write_notes(home: Home, folder: Path, head: Head) -> None:
    """Write the three files into the public package of a candidate.

    Args:
        home: the installation; its current release is the one before.
        folder: the candidate's; its tables are written.
        head: version, day, what the audit found.
    """
    target = folder / "public"
    mark = "SIMULATED: no figure describes a real child, school or area.\n\n"
    mark = mark if head.is_simulated else ""
    for name, title, text in (
        (NOTES, f"Release {head.version}: notes", _notes(home, folder, head)),
        (DISCLOSURE, f"Release {head.version}: disclosure report", _report(folder, head)),
    ):
        (target / name).write_text(f"# {title}\n\n{mark}{text}", encoding="utf-8")
    text = yaml.safe_dump(_citation(head), sort_keys=False, allow_unicode=True)
    (target / CITATION).write_text(text, encoding="utf-8")


def _notes(home: Home, folder: Path, head: Head) -> str:
    log = read_log(home)
    before = current_version(home)
    if before is None:
        return f"{_FIRST}\n{_said(log)}"
    manifest = read_manifest(home, before)
    changed = [
        f"- another {words}\n"
        for name, words in _COMPARED.items()
        if manifest[name] != getattr(head.sources, name.removesuffix("_version")).version
    ]
    changed += [f"- {words}\n" for words in changed_rules(manifest.get("rules", {}), head.rules)]
    changes = compare(home.releases / before, folder)
    return (
        f"{_COMPARED_WITH.format(before)} in cells of the public tables of areas; how smaller "
        "places changed is not told, since it could be one child's answers.\n\n"
        f"{change_table(changes)}\n{''.join(changed)}{_said(log)}"
    )


def notes_problem(home: Home) -> str:
    """Why the notes of the candidate do not hold; empty if they do, or there is no candidate.

    What was said of earlier releases, or which of them is read, may have changed since.

    Raises:
        StorageError: the audit log was changed.
    """
    file = home.releases / CANDIDATE / "public" / NOTES
    if not file.is_file():
        return ""
    text, before = file.read_text(encoding="utf-8"), current_version(home)
    compared = _COMPARED_WITH.format(before) if before else _FIRST
    if compared not in text or _said(read_log(home)) not in text:
        return (
            "an erratum, a withdrawal or a publication was recorded after the candidate's notes "
            "were written, which have to tell it"
        )
    return ""


def _said(log: AuditLog) -> str:
    """Errata and withdrawals of earlier releases."""
    lines = [
        f"- {entry.release}, erratum of {entry.day}: {entry.details['text']}\n"
        if entry.event == Event.ERRATUM
        else f"- {entry.release} was withdrawn on {entry.day}: {entry.details['reason']}\n"
        for entry in log.entries
        if entry.event in (Event.ERRATUM, Event.WITHDRAWN)
    ]
    return f"\n## Earlier releases\n\n{''.join(lines)}" if lines else ""


def _report(folder: Path, head: Head) -> str:
    policy, audited = head.sources.policy, head.audited
    with duckdb.connect() as con:
        found = con.execute(_BY_PLACE.format(sql_literal(folder / ESTIMATES))).fetchall()
    rows = "".join("| " + " | ".join(_cell(value) for value in row) + " |\n" for row in found)
    thresholds = "".join(
        "| " + " | ".join(str(value or "–") for value in row) + " |\n" for row in _rules(policy)
    )
    return f"""Policy {policy.version}. No value of a hidden cell, and nothing that tells which of
them are small, stands in this report.

## Rules in force

| output | base at least | numerator | complement | % shown to | n shown to |
|---|---:|---:|---:|---:|---:|
{thresholds}
{_spend_said(policy)}

## Cells of the public tables

| level | by | cells | shown | of them unreliable | hidden | nobody on the roll | not asked |
|---|---|---:|---:|---:|---:|---:|---:|
{rows}
## Audit of all packages together

{audited.cells_n:,} cells, {audited.hidden_n:,} of them hidden, as {audited.coalitions_n:,}
coalitions of readers see them; {audited.targets_n:,} protected quantities attacked with
{audited.programs_n:,} linear programs. Unsafe: {audited.unsafe_n:,}. `certificate/` holds made-up
tables that show it without data.
"""


def _rules(policy: Policy) -> Iterator[tuple[object, ...]]:
    """Title, least counts and steps of every table of pupils that a package can hold."""
    for row in policy.output_classes.values():
        n_step = f"{row.n_step:g}" if row.n_step else ""
        yield row.title, row.base_said, row.numerator, row.complement, row.pct_said, n_step
    reach, models = policy.reach, policy.models
    steps = (f"{reach.pct_step:g}", f"{reach.n_step:g}")
    yield "Need and reach: a need row", reach.base, reach.numerator, reach.complement, *steps
    base = f"{models.cell} (sensitive {models.cell + models.sensitive_plus})"
    steps = (f"{models.pct_step:g}", f"{models.n_step:g}")
    yield "Findings: each group of a factor", base, models.numerator, models.numerator, *steps


def _spend_said(policy: Policy) -> str:
    rule = policy.spend
    return (
        f"Spend is shown to £{rule.gbp_step:,.0f}. A sum with money of a provider whose accounts "
        f"are not public\nneeds at least {rule.least_holdings} providers; the second largest may "
        f"not be able to work out the largest to within\n{rule.p_pct:g}%, and the "
        f"{rule.dominance_holdings} largest may hold at most {rule.dominance_pct:g}% of it."
    )


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _citation(head: Head) -> dict[str, Any]:
    mark = "SIMULATED " if head.is_simulated else ""
    controllers = {approval.controller for approval in head.sources.programme.approvals.values()}
    return {
        "cff-version": "1.2.0",
        "message": "If you use these tables, cite them as below.",
        "type": "dataset",
        "title": f"{mark}Realigning Children's Services: tables, release {head.version}",
        "version": head.version,
        "date-released": head.sources.as_of.isoformat(),
        "authors": [{"name": name} for name in sorted(controllers)],
    }
