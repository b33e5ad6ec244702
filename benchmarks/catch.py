"""What intake catches of the defects that `rcs simulate --defects typical` plants.

Belongs here: for each kind of defect how many were planted and what became of each. Does not
belong here: the damaged files of `--defects hostile` (tests/unit/intake/test_hostile.py) and how
well records with typing errors are linked (`linkage.py`).

    python benchmarks/catch.py --scale small --write     the table of docs/reference/defects.md
    python benchmarks/catch.py --scale full

A row of a child who opted out is withdrawn before any rule is asked, so a planted defect may lie in
a withdrawn row. Everything else must have been caught by the rule named: what is left over is
*unaccounted*, and the command fails if there is any.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from rcs_assets.codebook import Codebook, load_codebook
from rcs_assets.intake.desk import open_desk
from rcs_assets.intake.drop import deliver, engagements_in_scope
from rcs_assets.intake.receipts import Receipt, read_receipts
from rcs_assets.intake.take import take, take_education, take_reference, take_social_work
from rcs_assets.programme import load_programme
from rcs_assets.simulate import simulate
from rcs_assets.storage import Home, Settings, open_vault, open_warehouse

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "defects.md"
SEED = 2026
SETTINGS = Settings(threads=2, memory_limit="2GB", as_of=date(2020, 6, 30))
EACH = (
    "opt_outs",
    "uid_decisions",
    "sample_file",
    "primary_survey",
    "secondary_survey",
    "parent_survey",
)
AFTER = ("clusters", "service_map", "budgets")
# (dataset, kind) → how the rows are found in the delivered file, and the rule that catches them.
QUARANTINED = {
    ("attendance", "halves_off_possible"): ("possible_n = '370'", "halves_off_possible"),
    ("attendance", "record_of_nobody"): ("record_id = 'E0000000'", "identifiers_not_accepted"),
    ("attendance", "repeated_row"): (
        "row_number() over (partition by record_id order by n) > 1",
        "duplicate_record_id",
    ),
    ("cfe_levels", "level_in_other_words"): ("level = 'Second Level'", "value_not_allowed"),
    ("exclusions", "ended_before_started"): ("ended_on < started_on", "ended_before_started"),
    ("looked_after", "ended_before_started"): ("ended_on < started_on", "ended_before_started"),
    ("child_protection", "unknown_conference"): (
        "conference_type = 'case discussion'",
        "value_not_allowed",
    ),
    ("social_work_ids", "repeated_record"): (
        "row_number() over (partition by record_id order by n) > 1",
        "duplicate_record_id",
    ),
    ("social_work_payload", "unknown_status"): (
        "looked_after_status = 'respite'",
        "value_not_allowed",
    ),
    ("social_work_payload", "closed_before_opened"): (
        "closed_on < opened_on",
        "closed_before_opened",
    ),
}
# Caught in files without children, or by the receipt's own count.
COUNTED = {
    ("sample_file", "special_school"): "special_school_out_of_scope",
    ("sample_file", "name_of_other_school"): "school_name_of_other_school",
    ("sample_file", "unknown_school_name"): "school_name_unknown",
    ("primary_survey", "other_stage"): "no_stage_match",
    ("secondary_survey", "other_stage"): "no_stage_match",
    ("secondary_survey", "form_of_other_stage"): "form_not_of_stage",
    ("secondary_survey", "unknown_form"): "form_unknown",
    ("primary_survey", "no_answers"): "no_answers",
    ("secondary_survey", "no_answers"): "no_answers",
    ("clusters", "unknown_school"): "school_not_on_roll",
    ("service_map", "tiers_off_100"): "tiers_off_100",
}
# Repaired, and counted in the receipt's flags.
REPAIRED = {
    "uids_of_similar_school": "uids_repaired",
    "earlier_name_for_code": "school_by_earlier_name",
    "name_for_code": "school_by_name",
}
SURVEYS = ("primary_survey", "secondary_survey", "parent_survey")
ENDINGS = {
    "attendance": "attendance",
    "cfe_levels": "cfe-levels",
    "exclusions": "exclusions",
    "child_protection": "child-protection",
    "looked_after": "looked-after",
    "education_ids": "education-identifiers",
    "social_work_ids": "social-work-identifiers",
    "social_work_payload": "social-work-payload",
    "sample_file": "sample-file",
    "opt_outs": "opt-outs",
}
IDENTIFIERS = {
    "attendance": "education_ids",
    "cfe_levels": "education_ids",
    "exclusions": "education_ids",
    "child_protection": "social_work_ids",
    "looked_after": "social_work_ids",
    "social_work_payload": "social_work_ids",
}
KEPT = "kept: nothing for intake to judge; linkage bears with it"


@dataclass(frozen=True)
class Caught:
    """One kind of defect over all engagements: planted = caught + withdrawn + unaccounted."""

    dataset: str
    kind: str
    planted_n: int
    by: str
    caught_n: int
    withdrawn_n: int

    @property
    def unaccounted_n(self) -> int:
        """Planted defects that neither a rule nor a withdrawal explains."""
        return 0 if self.by == KEPT else self.planted_n - self.caught_n - self.withdrawn_n


def take_in(folder: Path, home: Home) -> None:
    """Register and take in every delivery of a folder."""
    codebook, programme = load_codebook(), load_programme()
    deliver(home, [folder], programme, codebook, received_on=SETTINGS.as_of)
    with open_desk(home, programme, codebook, SETTINGS) as desk:
        for name, dataset in codebook.datasets.items():
            if dataset.level != "engagement":
                take_reference(desk, name)
        for key in engagements_in_scope(home, programme):
            for name in EACH:
                take(desk, name, key)
            take_education(desk, key)
            take_social_work(desk, key)
            for name in AFTER:
                take(desk, name, key)


def catch(folder: Path, truth: Path, home: Home) -> list[Caught]:
    """Compare what was planted with what became of it.

    Args:
        folder: the deliveries as they were written.
        truth: their answer book.
        home: an installation that has taken them in.
    """
    with (truth / "planted.csv").open(encoding="utf-8", newline="") as stream:
        planted = [
            (r["engagement"], r["dataset"], r["kind"], int(r["n"])) for r in csv.DictReader(stream)
        ]
    receipts = {(r.engagement, r.dataset): r for r in read_receipts(home)}
    codebook = load_codebook()
    found: dict[tuple[str, str, str], tuple[int, int, int]] = {}
    with open_warehouse(home, read_only=True) as con:
        for engagement, dataset, kind, n in _by_kind(planted):
            receipt = receipts[engagement, dataset]
            counts = _one(con, home, codebook, folder, truth, receipt, kind, n)
            by, caught_n, withdrawn_n = counts
            before = found.get((dataset, kind, by), (0, 0, 0))
            found[dataset, kind, by] = (
                before[0] + n,
                before[1] + caught_n,
                before[2] + withdrawn_n,
            )
    return [
        Caught(dataset, kind, n, by, caught_n, withdrawn_n)
        for (dataset, kind, by), (n, caught_n, withdrawn_n) in sorted(found.items())
    ]


def _by_kind(rows: list[tuple[str, str, str, int]]) -> list[tuple[str, str, str, int]]:
    """Violations of routing are one kind, whatever the question."""
    sums: dict[tuple[str, str, str], int] = {}
    for engagement, dataset, kind, n in rows:
        key = (engagement, dataset, kind.partition(":")[0])
        sums[key] = sums.get(key, 0) + n
    return [(*key, n) for key, n in sorted(sums.items())]


def _one(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    codebook: Codebook,
    folder: Path,
    truth: Path,
    receipt: Receipt,
    kind: str,
    n: int,
) -> tuple[str, int, int]:
    """By what the defects of one kind in one delivery were caught, how many, and withdrawn ones."""
    dataset, engagement = receipt.dataset, receipt.engagement or ""
    if (dataset, kind) in QUARANTINED:
        where, rule = QUARANTINED[dataset, kind]
        caught_n, withdrawn_n = _rows(con, folder, receipt, where, rule)
        return f"quarantined: {rule}", caught_n, withdrawn_n
    if (dataset, kind) in COUNTED:
        rule = COUNTED[dataset, kind]
        return f"quarantined: {rule}", int(receipt.reasons.get(rule, 0)), 0
    if dataset == "sample_file" and kind in REPAIRED:
        flag = REPAIRED[kind]
        return f"repaired: {flag}", int(receipt.flags.get(flag, 0)), 0
    if dataset in ("sample_file", "education_ids") and kind == "missing_scn":
        _, withdrawn_n = _rows(con, folder, receipt, "scn is null", "")
        return "noted: scn_missing", int(receipt.flags.get("scn_missing", 0)), withdrawn_n
    if dataset in SURVEYS:
        return _survey(con, home, codebook, truth, receipt, engagement, kind, n)
    return KEPT, 0, 0


def _survey(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    codebook: Codebook,
    truth: Path,
    receipt: Receipt,
    engagement: str,
    kind: str,
    n: int,
) -> tuple[str, int, int]:
    survey = receipt.dataset.removesuffix("_survey")
    if kind == "routing_violation":
        return "repaired: routing", n - _violations(con, codebook, survey, engagement), 0
    if kind == "form_answered":
        return "repaired: form", n - _beside_the_form(con, codebook, survey, engagement), 0
    statuses = dict(
        con.execute(
            "select status, count(*) from read_parquet(?) where engagement = ? and survey = ? "
            "group by status",
            [str(truth / "respondents.parquet"), engagement, survey],
        ).fetchall()
    )
    opted_out_n = n - int(statuses.get(kind, 0))
    if kind == "duplicate":
        return (
            "quarantined: duplicate_uid",
            int(receipt.reasons.get("duplicate_uid", 0)),
            opted_out_n,
        )
    if kind == "out_of_codebook":
        caught_n = int(receipt.reasons.get("value_outside_codebook", 0))
        return "quarantined: value_outside_codebook", caught_n, opted_out_n
    if kind == "refusal":
        refused_n = receipt.withdrawn_n - int(statuses.get("opted_out", 0))
        return "withdrawn: refused", refused_n, opted_out_n
    if kind == "not_on_sample":
        return "kept, counted as unlinked", _unissued(home, survey, engagement), opted_out_n
    return KEPT, 0, 0


def _unissued(home: Home, survey: str, engagement: str) -> int:
    """Answers whose UID was not issued; the vault is asked how many, not which."""
    with open_vault(home, read_only=True) as con:
        rows = con.execute(
            "select count(*) from survey_identifiers as own where engagement = ? and survey = ? "
            "and not exists (select 1 from sample_identifiers as issued "
            "where issued.engagement = own.engagement and issued.uid = own.uid)",
            [engagement, survey],
        ).fetchall()
    return int(rows[0][0])


def _violations(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, survey: str, engagement: str
) -> int:
    """Answers that stand in payload although routing passes the question by."""
    routed = [v for v in codebook.variables_of(survey) if v.routing is not None]
    tests = [
        f"({v.name} >= 0 and {v.routing.variable} >= 0 and {v.routing.variable} not in "
        f"({', '.join(map(str, sorted(v.routing.codes)))}))::int"
        for v in routed
        if v.routing is not None
    ]
    query = f"select coalesce(sum({' + '.join(tests)}), 0) from intake.{survey}_survey"
    rows = con.execute(f"{query} where engagement = ?", [engagement]).fetchall()
    return int(rows[0][0])


def _beside_the_form(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, survey: str, engagement: str
) -> int:
    """Answers that stand in payload although the pupil's form does not ask the question."""
    tranche = load_programme().engagements[engagement].tranche
    tests = [
        f"(form = '{form.name}' and {name} not in (-4, -5))::int"
        for form in codebook.questionnaire_for(tranche, survey).forms
        for name in sorted(form.left_out)
    ]
    query = f"select coalesce(sum({' + '.join(tests)}), 0) from intake.{survey}_survey"
    rows = con.execute(f"{query} where engagement = ?", [engagement]).fetchall()
    return int(rows[0][0])


def _rows(
    con: duckdb.DuckDBPyConnection, folder: Path, receipt: Receipt, where: str, rule: str
) -> tuple[int, int]:
    """Rows of a delivered file with a defect: quarantined by the rule; of opted-out children."""
    dataset, engagement = receipt.dataset, receipt.engagement or ""

    def read(name: str) -> str:
        path = folder / f"{engagement}_{ENDINGS[name]}.csv"
        return f"read_csv('{path}', header = true, all_varchar = true)"

    scopes = "'survey', 'all'" if dataset == "sample_file" else "'linkage', 'all'"
    out = (
        f"select survey_uid, scn from {read('sample_file')} where survey_uid in "
        f"(select survey_uid from {read('opt_outs')} where scope in ({scopes}))"
    )
    children = IDENTIFIERS.get(dataset, dataset)
    uid = "survey_uid" if children != "social_work_ids" else "null::varchar"
    gone = (
        f"select {'survey_uid' if children == 'sample_file' else 'record_id'} "
        f"from {read(children)} where {uid} in (select survey_uid from out) "
        "or scn in (select scn from out where scn is not null)"
    )
    own = "survey_uid" if dataset == "sample_file" else "record_id"
    found = con.execute(
        f"with out as ({out}), gone as ({gone}), "
        f"numbered as (select *, row_number() over () as n from {read(dataset)}), "
        f"judged as (select n, {own} in (select * from gone) as is_out, {where} as is_bad "
        "from numbered), bad as (from judged where is_bad) "
        "select count(distinct bad.n) filter (where q.rule = ? and not is_out), "
        "count(distinct bad.n) filter (where is_out) from bad "
        "left join intake.quarantine as q on q.row_number = bad.n and q.dataset = ? "
        "and q.engagement = ?",
        [rule, dataset, engagement],
    ).fetchall()[0]
    return int(found[0]), int(found[1])


def table(found: list[Caught]) -> str:
    """The measured kinds as a Markdown table, then those that are linkage's to bear."""
    lines = [
        "| delivery | defect | planted | becomes | caught | in withdrawn rows | unaccounted |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {c.dataset} | {c.kind} | {c.planted_n:,} | {c.by} | {c.caught_n:,} | {c.withdrawn_n:,} "
        f"| {c.unaccounted_n:,} |"
        for c in found
        if c.by != KEPT
    ]
    lines += ["", f"Not caught, because a cell alone tells nothing ({KEPT}):", ""]
    lines += [f"- {c.dataset}: {c.kind} ({c.planted_n:,})" for c in found if c.by == KEPT]
    return "\n".join(lines) + "\n"


def page(found: list[Caught]) -> str:
    """The page of the documentation."""
    return (
        "# Defects: planted and caught\n\n"
        "Generated by `python benchmarks/catch.py --scale small --write` from the two small "
        f"engagements, seed {SEED}; a test keeps it current.\n\n"
        "`rcs simulate --defects typical` plants the defects that suppliers' files have and keeps "
        "the list. This is what intake made of each. A row of a child who opted out is withdrawn "
        "before any rule is asked.\n\n" + table(found)
    )


def measure(folder: Path, scale: str, reference: Path | None = None) -> list[Caught]:
    """Simulate, take in, compare, below a folder."""
    out, truth = folder / "files", folder / "truth"
    simulate(out, truth=truth, scale=scale, seed=SEED, reference=reference)
    home = Home.open(folder / "home", profile="demo", seed=SEED)
    take_in(out, home)
    return catch(out, truth, home)


def main() -> None:
    """Print, or write, what was caught."""
    parser = argparse.ArgumentParser(description="What intake catches of planted defects.")
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument("--reference", type=Path, help="real public files to simulate on")
    parser.add_argument("--write", action="store_true", help=f"to docs/reference/{PAGE.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rcs-catch-") as folder:
        found = measure(Path(folder), options.scale, options.reference)
    print(table(found))
    if options.write:
        PAGE.write_text(page(found), encoding="utf-8")
    left = [c for c in found if c.unaccounted_n]
    if left:
        sys.exit(f"unaccounted: {', '.join(f'{c.dataset} {c.kind}' for c in left)}")


if __name__ == "__main__":
    main()
