"""Clerks decide: two of them, neither knowing of the other, and a third where they differ.

Belongs here: who may decide which case, what a clerk is shown, recording a decision, how far the
reviews have come. Does not belong here: the page (`review_page.py`), which pairs wait
(`clerical.py`), what a decision does to links (`decided.py`).

A reviewer sees the identifiers of both records and how each field agrees: never a weight, never
what another clerk said, never who else has decided. Whoever adjudicates sees that two clerks
differ, not who said what.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from rcs_assets.errors import InputError
from rcs_assets.linkage.agreement import Agreement, agreement
from rcs_assets.linkage.clerical import (
    LEFT_COLUMNS,
    RIGHT_COLUMNS,
    refuse_other_log,
    reviews_of,
)
from rcs_assets.linkage.engine import add_forename_forms
from rcs_assets.linkage.settings import Clerical, LinkRules, load_link_rules
from rcs_assets.linkage.standardise import standardised
from rcs_assets.storage import Home, Settings, open_vault, write_lock
from rcs_assets.storage.decision_log import (
    Content,
    Decision,
    DecisionEntry,
    add_decision,
    read_decisions,
)
from rcs_assets.storage.keyring import RECORDS, key_generations
from rcs_assets.storage.settings import operator_name

VERDICTS = ("same", "different", "unsure")
REVIEWERS = 2
_NAME = re.compile(r"[a-z][a-z0-9-]{1,31}")


@dataclass(frozen=True)
class FieldShown:
    """One row of the page: the field, both records' values as delivered, how they agree."""

    label: str
    left: str
    right: str
    level: str


@dataclass(frozen=True)
class CaseShown:
    """One pair as a clerk sees it; `left_n` pairs are still before him, this one included."""

    queue_id: str
    case_id: str
    fields: tuple[FieldShown, ...]
    left_n: int


@dataclass(frozen=True)
class Progress:
    """How far one engagement has come; `Agreement` is over all its pairs with two reviews.

    `records_n`: records that were compared; `grey_n`: pairs in the grey band; `queue_n`: those
    that clerks get now; `once_n`, `twice_n`: of them, with one review, with two that differ.
    `settled`: verdict → cases; `outcomes`: what the last run did with them.
    """

    engagement: str
    records_n: int
    grey_n: int
    queue_n: int
    once_n: int
    twice_n: int
    settled: Mapping[str, int]
    outcomes: Mapping[str, int]
    agreement: Agreement


@dataclass(frozen=True)
class Seat:
    """A clerk at work on the queue of an engagement: as a reviewer, or as who adjudicates."""

    home: Home
    engagement: str
    name: str
    adjudicates: bool
    settings: Settings

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                "A clerk's name is not in its form",
                where="--reviewer",
                why="it stands in the log: 2 to 32 small letters, digits and hyphens, a role or an "
                "operator, e.g. clerk-a",
            )
        with self._vault() as con:
            if not _has_queue(con, self.engagement):
                raise InputError(
                    "There is no queue",
                    where=self.engagement,
                    why="a run of linkage makes it; an engagement that an outside indexer links "
                    "has none",
                    fix=f"run: rcs materialise --engagement {self.engagement}",
                )

    def next_case(self) -> CaseShown | None:
        """The next pair for this clerk, in an order that tells nothing; None at the end."""
        with self._vault() as con:
            entries = self._entries(con)
            queue = con.execute(
                "select queue_id, case_id from clerical_queue where engagement = ? "
                "order by case_id",
                [self.engagement],
            ).fetchall()
            mine = [(queue_id, case) for queue_id, case in queue if self._may(entries, case)]
            if not mine:
                return None
            queue_id, case = mine[0]
            return CaseShown(queue_id, case, self._fields(con, case), len(mine))

    def decide(self, queue_id: str, case: str, verdict: str) -> None:
        """Record a decision.

        Raises:
            InputError: no such verdict; a case of another queue; a clerk who decided the case
                already, or sits in another seat of it.
        """
        if verdict not in VERDICTS:
            raise InputError("There is no such verdict", why=f"verdicts: {', '.join(VERDICTS)}")
        with write_lock(self.home, "recording a decision"), self._vault() as con:
            ids = con.execute(
                "select left_id, right_id from clerical_queue "
                "where engagement = ? and queue_id = ? and case_id = ?",
                [self.engagement, queue_id, case],
            ).fetchall()
            if not ids:
                raise InputError(
                    "This decision is for the queue of another run",
                    where=self.engagement,
                    why="linkage ran since the page was opened, and the queue is another one",
                    fix="open the next pair of this queue",
                )
            entries = self._entries(con)
            self._refuse(entries, case)
            generation = key_generations(self.home).get(RECORDS, 1)
            others = [_verdict(entry) for entry in reviews_of(entries, case)]
            add_decision(
                self.home,
                entries,
                who=self.name,
                event=Decision.ADJUDICATED if self.adjudicates else Decision.REVIEWED,
                engagement=self.engagement,
                queue=queue_id,
                settles=self.adjudicates or others == [verdict],
                content=Content(case, ids[0][0], ids[0][1], verdict, generation),
            )

    def _vault(self) -> Any:
        purpose = f"clerical {'adjudication' if self.adjudicates else 'review'}"
        return open_vault(self.home, read_only=True, settings=self.settings, purpose=purpose)

    def _entries(self, con: duckdb.DuckDBPyConnection) -> tuple[DecisionEntry, ...]:
        entries = read_decisions(self.home)
        refuse_other_log(con, entries)
        return entries

    def _may(self, entries: Sequence[DecisionEntry], case: str) -> bool:
        try:
            self._refuse(entries, case)
        except InputError:
            return False
        return True

    def _refuse(self, entries: Sequence[DecisionEntry], case: str) -> None:
        """One person has one seat of a case, and says one thing in it."""
        before = [entry for entry in entries if entry.content and entry.content.case == case]
        if any(self._is_me(entry) for entry in before):
            raise InputError(
                "This clerk has decided the pair already",
                where=self.engagement,
                why="two reviewers and whoever adjudicates are three persons, and a decision "
                "stands",
                fix="leave the pair to another clerk",
            )
        reviews = reviews_of(before, case)
        is_open = (
            len(reviews) == REVIEWERS and not any(entry.settles for entry in before)
            if self.adjudicates
            else len(reviews) < REVIEWERS
        )
        if not is_open:
            raise InputError(
                "The pair does not wait for this seat",
                where=self.engagement,
                why="it has its two reviews"
                if not self.adjudicates
                else "only a pair on which two reviewers differ is adjudicated, and once",
                fix="run: rcs clerical status",
            )

    def _is_me(self, entry: DecisionEntry) -> bool:
        """The same name; in production the same account too, whatever name it gives itself."""
        is_account = entry.account == operator_name(self.home)
        return entry.who == self.name or (self.home.profile == "production" and is_account)

    def _fields(self, con: duckdb.DuckDBPyConnection, case: str) -> tuple[FieldShown, ...]:
        rules = load_link_rules(self.home.config)
        for table, columns, side in (
            ("lhs", LEFT_COLUMNS, "left"), ("rhs", RIGHT_COLUMNS, "right"),
        ):  # fmt: skip
            source = f"{'sample' if side == 'left' else 'social_work'}_identifiers"
            con.execute(
                f"create or replace temp table {table}_raw as "
                f"select {', '.join(columns)}"
                f"{', null::varchar as previous_surname' if side == 'left' else ''} "
                f"from {source} as records inner join clerical_queue as queue "
                "on records.engagement = queue.engagement "
                f"and records.record_id = queue.{side}_id "
                "where queue.engagement = ? and queue.case_id = ?",
                [self.engagement, case],
            )
            same = ", ".join(f"{standardised(n, n)} as {n}" for n in RIGHT_COLUMNS)
            con.execute(f"create or replace temp table {table} as select {same} from {table}_raw")
        add_forename_forms(con, rules, ["lhs", "rhs"])
        return _shown(con, rules)


def _shown(con: duckdb.DuckDBPyConnection, rules: LinkRules) -> tuple[FieldShown, ...]:
    """The values of the pair in `lhs_raw` and `rhs_raw`, with the model's words for agreement."""
    levels = {entry["field"]: entry["levels"] for entry in rules.model["comparisons"]}
    parts = []
    for name in rules.clerical.fields:
        parts += [
            f"coalesce(a.{name}::varchar, '')",
            f"coalesce(b.{name}::varchar, '')",
            _level(name, levels[name]) if name in levels else "''",
        ]
    row = con.execute(
        f"select {', '.join(parts)} from lhs_raw as a, rhs_raw as b, lhs as l, rhs as r"
    ).fetchall()[0]
    return tuple(
        FieldShown(label, *row[3 * place : 3 * place + 3])
        for place, label in enumerate(rules.clerical.fields.values())
    )


def _level(field: str, levels: Sequence[Mapping[str, Any]]) -> str:
    left, right = f"l.{field}", f"r.{field}"
    cases = [
        (level["when"].format(l=left, r=right), str(level["name"]).replace("'", "''"))
        for level in levels
    ]
    whens = " ".join(f"when {when} then '{name}'" for when, name in cases if when != "else")
    last = next((name for when, name in cases if when == "else"), "different")
    return f"case when {left} is null or {right} is null then 'blank' {whens} else '{last}' end"


def progress(home: Home, settings: Settings) -> tuple[Progress, ...]:
    """How far the review of each engagement has come, in the order of their keys.

    Raises:
        StorageError: no vault, or the log was changed.
    """
    rules = load_link_rules(home.config).clerical
    with open_vault(home, read_only=True, settings=settings, purpose="clerical status") as con:
        entries = read_decisions(home)
        refuse_other_log(con, entries)
        known = con.execute("select 1 from duckdb_tables() where table_name = 'clerical_counts'")
        if not known.fetchall():
            return ()
        counts = con.execute(
            "select engagement, records_n, grey_n, queue_n from clerical_counts order by all"
        ).fetchall()
        queued = con.execute("select engagement, case_id from clerical_queue").fetchall()
        outcomes = con.execute(
            "select engagement, outcome, count(*) from clerical_outcomes group by all order by all"
        ).fetchall()
    return tuple(
        _progress(
            rules,
            [entry for entry in entries if entry.engagement == key and entry.content],
            {case for engagement, case in queued if engagement == key},
            {outcome: n for engagement, outcome, n in outcomes if engagement == key},
            (key, records_n, grey_n, queue_n),
        )
        for key, records_n, grey_n, queue_n in counts
    )


def verified_decisions(home: Home, settings: Settings) -> tuple[DecisionEntry, ...]:
    """Every entry of the log, checked by itself and against what the last run saw of it.

    Raises:
        StorageError: the log was changed, cut, or replaced as a whole.
    """
    entries = read_decisions(home)
    if home.vault.exists():
        with open_vault(home, read_only=True, settings=settings, purpose="clerical verify") as con:
            refuse_other_log(con, entries)
    return entries


def _progress(
    rules: Clerical,
    entries: Sequence[DecisionEntry],
    queued: set[str],
    outcomes: Mapping[str, int],
    counts: tuple[str, int, int, int],
) -> Progress:
    cases = sorted({entry.content.case for entry in entries if entry.content})
    reviews = {case: reviews_of(entries, case) for case in cases}
    settled = {_case(entry): _verdict(entry) for entry in entries if entry.settles}
    # By name within a case, so that with two clerks each has his own margin.
    pairs = [
        tuple(_verdict(entry) for entry in sorted(found, key=lambda entry: entry.who))
        for found in reviews.values()
        if len(found) == REVIEWERS
    ]
    waiting = [len(reviews[case]) for case in cases if case in queued and case not in settled]
    return Progress(
        *counts,
        once_n=waiting.count(1),
        twice_n=waiting.count(REVIEWERS),
        settled={v: list(settled.values()).count(v) for v in VERDICTS},
        outcomes=outcomes,
        agreement=agreement([(one, other) for one, other in pairs], rules.confidence),
    )


def _case(entry: DecisionEntry) -> str:
    return entry.content.case if entry.content else ""


def _verdict(entry: DecisionEntry) -> str:
    return entry.content.verdict if entry.content else ""


def _has_queue(con: duckdb.DuckDBPyConnection, engagement: str) -> bool:
    known = con.execute("select 1 from duckdb_tables() where table_name = 'clerical_counts'")
    return bool(
        known.fetchall()
        and con.execute(
            "select 1 from clerical_counts where engagement = ?", [engagement]
        ).fetchall()
    )
