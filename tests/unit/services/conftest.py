"""A warehouse of a few pupils whose need and receipt are known."""

from __future__ import annotations

import duckdb
import pytest


class Warehouse:
    """The tables that need × reach is made of; `pupil` adds one, `link` the rates of a dataset."""

    def __init__(self) -> None:
        self.con = duckdb.connect()
        for schema in ("programme", "wellbeing", "linkage"):
            self.con.execute(f"create schema {schema}")
        self.con.execute("""
            create table programme.engagements (engagement varchar, tranche varchar);
            create table programme.waves (engagement varchar, survey varchar, stages varchar[]);
            create table wellbeing.indicator_values (
                record_id varchar, engagement varchar, tranche varchar, survey varchar,
                seed_code varchar, stage varchar, sex varchar, primary_low_mood double);
            create table wellbeing.weights (record_id varchar, engagement varchar, weight double);
            create table wellbeing.scores (
                record_id varchar, engagement varchar, mood_score double,
                sdq_emotional_band4 integer, sdq_conduct_band4 integer);
            create table linkage.linked (
                record_id varchar, engagement varchar, has_education boolean,
                has_asn boolean, has_asn_support boolean, has_social_work boolean);
            create table linkage.link_rates (
                engagement varchar, dataset varchar, records_n integer, linked_n integer,
                estimated_recall double);
            create table linkage.link_sensitivity (
                engagement varchar, dataset varchar, breakdown varchar, "group" varchar,
                linked_n integer, missed_n double, sensitivity_pct double);
        """)
        self.engagement("t1-a")
        self._number = 0

    def engagement(self, key: str) -> None:
        """Add an engagement that asked both surveys."""
        self.con.execute("insert into programme.engagements values (?, 't1')", [key])
        for survey, stages in (("primary", ["P5", "P6", "P7"]), ("secondary", ["S1", "S2"])):
            self.con.execute("insert into programme.waves values (?, ?, ?)", [key, survey, stages])

    def link(self, dataset: str, recall: float | None, *, found: int = 90, key: str = "t1-a",
             pairs: int = 50, **groups: float) -> None:  # fmt: skip
        """Rates of a dataset: 100 records, `found` linked.

        `groups`: sensitivity in per cent of a sex (F) or a stage and sex (P5_F), each with
        `pairs` pairs of one child.
        """
        self.con.execute(
            "insert into linkage.link_rates values (?, ?, 100, ?, ?)", [key, dataset, found, recall]
        )
        for group, pct in groups.items():
            breakdown = "stage:sex" if "_" in group else "sex"
            linked_n = round(pairs * pct / 100)
            self.con.execute(
                "insert into linkage.link_sensitivity values (?, ?, ?, ?, ?, ?, ?)",
                [key, dataset, breakdown, group.replace("_", ":"), linked_n, pairs - linked_n, pct],
            )

    def pupil(self, n: int = 1, *, key: str = "t1-a", survey: str = "primary", stage: str = "",
              sex: str = "F", school: str = "1", weight: float = 1.0, mood: float | None = 4.0,
              emotional: int | None = 1, conduct: int | None = 1, asn: bool | None = False,
              any_asn: bool | None = None, social: bool = False) -> None:  # fmt: skip
        """Add `n` pupils; `asn` None: no education record is linked."""
        for _ in range(n):
            self._number += 1
            record = f"r{self._number}"
            low = None if mood is None else float(mood < 3)
            self.con.execute(
                "insert into wellbeing.indicator_values values (?, ?, 't1', ?, ?, ?, ?, ?)",
                [record, key, survey, school, stage or ("P5" if survey == "primary" else "S1"),
                 sex, low],
            )  # fmt: skip
            self.con.execute(
                "insert into wellbeing.weights values (?, ?, ?)", [record, key, weight]
            )
            self.con.execute(
                "insert into wellbeing.scores values (?, ?, ?, ?, ?)",
                [record, key, mood, emotional, conduct],
            )
            self.con.execute(
                "insert into linkage.linked values (?, ?, ?, ?, ?, ?)",
                [record, key, asn is not None, asn if any_asn is None else any_asn, asn, social],
            )


@pytest.fixture
def warehouse() -> Warehouse:
    """An engagement t1-a without pupils."""
    return Warehouse()
