"""Each council attacks the files of answers about its pupils, with all that it supplied.

Run from the top of the project: `python -m benchmarks.reidentification --home HOME` (a home with
a release). The attacker is `linkage.attacker_view`: every pupil of the sample file with the
payload that the council supplied. Prints, for each file and stage, how many records the engine
takes for recognised and how often it is right if it must guess for everyone, as shares.

Belongs here: the report, and the attack on one file. Does not belong here: the attack itself
(`disclosure/reidentify.py`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import duckdb
import pyarrow as pa

from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure.anonymise import anonymise
from rcs_assets.disclosure.policy import load_policy
from rcs_assets.disclosure.reidentify import Reidentification, council_records, reidentify
from rcs_assets.linkage.attacker_view import salted_id_macro
from rcs_assets.release.deposit import PUPILS_SQL
from rcs_assets.storage import Home, hmac_expression

KEYS = ("stage", "simd_group", "any_support")
SURVEYS = ("primary", "secondary")


def open_files(home: Home) -> duckdb.DuckDBPyConnection:
    """A connection on which `anonymised_keys` holds the files' records with who they are."""
    con = duckdb.connect(str(home.path / "warehouse.duckdb"), read_only=True)
    codebook = load_codebook(home.config)
    variables = {survey: codebook.variables_of(survey) for survey in SURVEYS}
    con.execute(
        "create temp view release_geographies as select distinct engagement from linkage.linked"
    )
    con.execute(PUPILS_SQL)
    macro = hmac_expression(con, "release", home.key("release"))
    rule = load_policy(home.config).microdata
    anonymise(con, "deposit_pupils", "wellbeing.item_answers", variables, rule, macro)
    return con


def records_of(
    con: duckdb.DuckDBPyConnection, home: Home, engagement: str, survey: str
) -> pa.Table:
    """The records of a file in its order, with the salted id of each pupil: the truth."""
    salt = salted_id_macro(con, home.key("attacker_view"))
    return con.execute(
        f"""
        select {salt}(ids.project_id) as record_id, sex, stage, simd_group, any_support
        from anonymised_keys as keys
        inner join linkage.project_ids as ids
            on ids.record_id = keys.record_id and ids.dataset = keys.survey || '_survey'
                and ids.engagement = keys.engagement
        where keys.engagement = $engagement and keys.survey = $survey
        order by row_order
        """,
        {"engagement": engagement, "survey": survey},
    ).to_arrow_table()


def attack(
    con: duckdb.DuckDBPyConnection, home: Home, engagement: str, survey: str, stages: list[str]
) -> Reidentification | None:
    """One council on the records of some stages of a file; None where it holds none of them."""
    records = records_of(con, home, engagement, survey)
    con.register("file_records", records)
    chosen = con.execute(
        "from file_records where stage in (select unnest($stages))", {"stages": stages}
    ).to_arrow_table()
    rule = load_policy(home.config).microdata
    known = council_records(con, engagement, stages, rule)
    return reidentify(known, chosen, KEYS, threads=2) if len(chosen) and len(known) else None


def main() -> None:
    """Attack every file of a home."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    home = Home.open(parser.parse_args().home)
    with open_files(home) as con:
        files = con.execute(
            "select engagement, survey, stage from anonymised_keys where stage is not null "
            "group by all order by all"
        ).fetchall()
        for engagement, survey, stage in files:
            found = attack(con, home, engagement, survey, [stage])
            if found is not None:
                print(
                    f"{engagement} {survey} {stage}: recognised "
                    f"{100 * found.linked_n / found.records_n:.1f} %, guesses right "
                    f"{found.right_pct:.1f} %, by chance "
                    f"{100 * found.chance_n / found.records_n:.1f} %",
                    flush=True,
                )


if __name__ == "__main__":
    main()
