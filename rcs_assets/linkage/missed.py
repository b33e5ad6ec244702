"""How many records the links by number missed, and who they are: no link is made here.

Belongs here: on the vault's connection, the quality of the files that a number links, and the
table of chances that a record without a link has its partner among the pupils. Does not belong
here: linking (`exact.py`, `social_work.py`), groups of children (`by_group.py`).

- Education joins by SCN plus one agreement, or not at all. The engine, without the number,
  looks at the records and pupils that this left over: whom it would link, and whom it takes
  for missed itself, the number missed.
- Answers join by UID or not at all, and hold nothing else to compare. Every answer is taken as
  that of an invited pupil: the most that can have been missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute

from rcs_assets.linkage.engine import Links, filled, link_each
from rcs_assets.linkage.exact import PASS_SCN, PASS_UID, SURVEY_DATASETS
from rcs_assets.linkage.quality import Expected, LinkQuality, counted, quality_of
from rcs_assets.linkage.settings import LinkRules, LinkSettings
from rcs_assets.storage import sql_list, sql_literal

_PERSON = "surname, first_forename, second_forename, sex, date_of_birth, postcode"
# Dataset and engagement → its estimated quality.
Quality = dict[tuple[str, str], LinkQuality]


def prepare_chances(con: duckdb.DuckDBPyConnection) -> None:
    """Make the empty temp table `missed_chances`.

    One row a record without a link: dataset, engagement, side (record | pupil: whose id
    `record_id` is), record_id, chance that the pair was missed.
    """
    con.execute(
        "create or replace temp table missed_chances (dataset varchar, engagement varchar, "
        "side varchar, record_id varchar, chance double)"
    )


def add_chances(
    con: duckdb.DuckDBPyConnection, dataset: str, engagement: str, chances: pa.Table
) -> None:
    """Add the chances of the engine (`Links.missed`): its left file are the pupils."""
    con.register("new_chances", chances)
    con.execute(
        f"insert into missed_chances select {sql_literal(dataset)}, {sql_literal(engagement)}, "
        "if(side = 'left', 'pupil', 'record'), record_id, chance from new_chances"
    )
    con.unregister("new_chances")


def estimate_education(
    con: duckdb.DuckDBPyConnection,
    rules: LinkRules,
    settings: LinkSettings,
    engagements: Sequence[str],
) -> Quality:
    """The quality of the links by SCN, and the chances of the records that they left over.

    Args:
        con: a connection to the vault with `spine`, `education_links`, the view
            `education_records` and `missed_chances`.
        rules: how often the pass is right.
        settings: of the engine.
        engagements: partition keys.

    A record with the number of a pupil who opted out was not missed: it is left out.
    """
    quality: Quality = {}
    tail = (1 - rules.groups.confidence) / 2
    missed = {}
    files = {}
    for engagement in engagements:
        if (links_n := _links_n(con, engagement)) is not None:
            missed[engagement] = links_n, Expected(0.0, 0.0, 0.0)
            pupils, records = _left_over(con, engagement)
            if pupils.num_rows and records.num_rows:
                files[engagement] = pupils, records, settings
    for engagement, links in zip(files, link_each([*files.values()]), strict=True):
        missed[engagement] = missed[engagement][0], _all_missed(links, tail)
        add_chances(con, "education", engagement, _all_chances(links, rules))
    for engagement, (links_n, expected) in missed.items():
        quality["education", engagement] = _by_number(rules, PASS_SCN, links_n, expected)
    return quality


def estimate_answers(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, engagements: Sequence[str]
) -> Quality:
    """The quality of the links by UID: no unlinked answer is anybody's, or every one is."""
    quality: Quality = {}
    named = sql_list(engagements)
    rows = con.execute(f"""
        select dataset, engagement, count(project_id), count(*) - count(project_id)
        from survey_links
        where dataset in {SURVEY_DATASETS} and engagement in ({named})
        group by all
        order by all
    """).fetchall()
    for dataset, engagement, links_n, others_n in rows:
        missed = Expected(float(others_n), 0.0, float(others_n))
        quality[dataset, engagement] = _by_number(rules, PASS_UID, links_n, missed)
    con.execute(f"""
        insert into missed_chances
        select dataset, engagement, 'record', record_id, 1.0
        from survey_links
        where project_id is null and engagement in ({named})
    """)
    return quality


def quality_table(quality: Mapping[tuple[str, str], LinkQuality]) -> pa.Table:
    """Estimates as a table: dataset, engagement, precision and recall with their ends."""
    columns = {
        "estimated_precision": "precision", "precision_low": "precision_low",
        "precision_high": "precision_high", "estimated_recall": "recall",
        "recall_low": "recall_low", "recall_high": "recall_high",
    }  # fmt: skip
    found = {
        column: pa.array([getattr(entry, name) for entry in quality.values()], pa.float64())
        for column, name in columns.items()
    }
    ends = {
        f"missed_{end}": pa.array([getattr(q.missed, end) for q in quality.values()], pa.float64())
        for end in ("n", "low", "high")
    }
    return pa.table(
        {
            "dataset": pa.array([dataset for dataset, _ in quality], pa.string()),
            "engagement": pa.array([engagement for _, engagement in quality], pa.string()),
            **found,
            **ends,
        }
    )


def _by_number(rules: LinkRules, pass_no: int, links_n: int, missed: Expected) -> LinkQuality:
    precision = next(entry.precision for entry in rules.passes if entry.pass_no == pass_no)
    tail = (1 - rules.groups.confidence) / 2
    wrong = links_n * (1 - precision)
    return quality_of(links_n, 0, counted(wrong, wrong, wrong, tail), missed)


def _links_n(con: duckdb.DuckDBPyConnection, engagement: str) -> int | None:
    records_n, links_n = con.execute(
        "select count(*), count(project_id) from education_links where engagement = ?",
        [engagement],
    ).fetchall()[0]
    return int(links_n) if records_n else None


def _left_over(con: duckdb.DuckDBPyConnection, engagement: str) -> tuple[pa.Table, pa.Table]:
    """Pupils and education records without a link, without columns that are empty."""
    pupils = con.execute(
        f"select record_id, {_PERSON} from sample_identifiers "
        "semi join (from spine where engagement = $key and project_id not in (select project_id "
        "from education_links where engagement = $key and project_id is not null)) "
        "as alone using (record_id) where engagement = $key",
        {"key": engagement},
    ).to_arrow_table()
    records = con.execute(
        f"select record_id, {_PERSON} from education_records "
        "semi join (from education_links where engagement = $key and project_id is null "
        "and not is_refused) as alone using (record_id) where engagement = $key",
        {"key": engagement},
    ).to_arrow_table()
    return filled(pupils), filled(records)


def _all_missed(links: Links, tail: float) -> Expected:
    """Pairs that the engine would link, those of them that are wrong taken off, and its misses.

    Which pairs these are is nearly certain, since names, birth date and home agree; how many of a
    file have no number is chance. So the ends are widened by it, as those of other files: an
    interval of the pairs alone would have no width.
    """
    quality = links.quality
    return counted(
        quality.links_n - quality.wrong.n + quality.missed.n,
        quality.links_n - quality.wrong.high + quality.missed.low,
        quality.links_n - quality.wrong.low + quality.missed.high,
        tail,
    )


def _all_chances(links: Links, rules: LinkRules) -> pa.Table:
    """Of both sides: the probability of the link that the engine would make, or its own chance."""
    found = links.table.filter(pa.compute.not_equal(links.table["band"], "clerical"))
    chance = pa.array(
        [
            rules.precision[pass_no] if probability is None else probability
            for pass_no, probability in zip(
                found["pass_no"].to_pylist(), found["probability"].to_pylist(), strict=True
            )
        ],
        pa.float64(),
    )
    named = [
        pa.table(
            {
                "side": pa.array([side] * found.num_rows, pa.string()),
                "record_id": found[f"{side}_id"],
                "chance": chance,
            }
        )
        for side in ("left", "right")
    ]
    return pa.concat_tables([*named, links.missed])
