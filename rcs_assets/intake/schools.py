"""Which school a pupil's row means: names, earlier names, special schools, confusable names.

Belongs here: the rules of `data/schools.yaml`, the special schools that take part in the adapted
mode (`data/special_schools.csv`), what is known of schools by name, and the judgement of a sample
file's schools. Does not belong here: doubts about whose UIDs they are (`mixed.py`), other rules
of the sample file (`pupils.py`).

Order: domain.md 1.11, step 7. A name is looked up as a whole (spelling, case and marks apart),
among the names that schools of the engagement's council have or had; a name that two schools
have, or that none has, is not guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.intake.contracts import VIOLATIONS, count, quarantine
from rcs_assets.programme.datafile import DataFolder, read_rows, read_rules
from rcs_assets.storage import sql_literal

WHY = "domain.md 1.11 (7), 12"
RULES_FILE, SPECIAL_FILE = "schools.yaml", "special_schools.csv"
_DEFAULTS = Path(__file__).parent / "data"
OUT_OF_SCOPE, ADAPTED = "special_school_out_of_scope", "special_school_adapted_mode"
NAME_UNKNOWN, NAME_AMBIGUOUS = "school_name_unknown", "school_name_ambiguous"
STAGE_NOT_OF_SCHOOL = "stage_not_of_school"
NAME_CONTRADICTS = "school_name_of_other_school"
# Names of schools by the reference tables that intake may hold: table → its columns of names.
_NAMED = {
    "school_roll": ("school_name",),
    "school_list": ("school_name",),
    "school_roll_2022": ("school_name",),
    "school_names": ("new_school_name", "old_school_name"),
    "school_changes": ("school_name",),
}
# Today's names; a name of another table only is an earlier one.
_CURRENT = ("school_roll", "school_list")


@dataclass(frozen=True)
class SchoolRules:
    """What `data/schools.yaml` says; the file gives source, date and reason of each entry."""

    spellings: Mapping[str, str]
    filler_words: tuple[str, ...]
    similar_from: float
    doubt_from: float
    left_at_most: float
    least_group: int
    suppressed_as: float


@dataclass(frozen=True)
class Schools:
    """What is known of the schools, as tables for a scratch connection.

    `places`: seed_code, council_name, has_primary, has_secondary, is_special (no other
    department). `names`: seed_code, name, is_earlier. `adapted`: SEED codes of special schools
    of the engagement that chose the adapted mode.
    """

    rules: SchoolRules
    places: pa.Table
    names: pa.Table
    adapted: tuple[str, ...]


def load_school_rules(overlay: Path | None = None) -> SchoolRules:
    """The rules with an adopter's overlay.

    Raises:
        ConfigurationError: an entry that is not in its form or makes no sense.
    """
    return read_rules(DataFolder("intake", _DEFAULTS, overlay), RULES_FILE, _rules, _problems, WHY)


def _rules(entries: Mapping[str, Any]) -> SchoolRules:
    return SchoolRules(
        spellings={str(word): str(same) for word, same in entries["spellings"].items()},
        filler_words=tuple(str(word) for word in entries["filler_words"]),
        similar_from=float(entries["similar_from"]),
        doubt_from=float(entries["doubt_from"]),
        left_at_most=float(entries["left_at_most"]),
        least_group=int(entries["least_group"]),
        suppressed_as=float(entries["suppressed_as"]),
    )


def _problems(rules: SchoolRules) -> Iterator[str]:
    words = (*rules.spellings, *rules.spellings.values(), *rules.filler_words)
    if any(word != word.lower() or not word.replace(" ", "").isalnum() for word in words):
        yield "spellings and filler_words are words in small letters without marks"
    if not 0.5 <= rules.similar_from <= 1:
        yield "similar_from lies between 0.5 and 1"
    if rules.doubt_from <= 0 or not 0 <= rules.left_at_most < 1:
        yield "doubt_from is above 0, left_at_most from 0 to below 1"
    if rules.least_group < 1 or not 1 <= rules.suppressed_as <= 4:
        yield "least_group is at least 1, suppressed_as lies between 1 and 4"


def adapted_schools(engagement: str, overlay: Path | None = None) -> tuple[str, ...]:
    """SEED codes of the special schools that agreed to the adapted mode.

    Raises:
        ConfigurationError: a row that is not in its form.
    """
    columns = ("engagement", "seed_code", "agreed_on", "source")
    rows = read_rows(DataFolder("intake", _DEFAULTS, overlay), SPECIAL_FILE, columns, columns[:2])
    for row in rows:
        row.required("source")
        if not isinstance(row.day("agreed_on"), date) or len(row.text("seed_code")) != 7:
            raise row.problem("seed_code", "a SEED code has seven digits", "correct the row")
    return tuple(row.text("seed_code") for row in rows if row.text("engagement") == engagement)


def known_schools(
    warehouse: duckdb.DuckDBPyConnection, engagement: str, overlay: Path | None
) -> Schools:
    """Every school that the reference tables know, with every name that it has or had.

    Raises:
        InputError: there is no school roll or no school list yet.
    """
    held = require_roll(warehouse)
    named = " union all ".join(
        f"select seed_code, {column} as name, {table not in _CURRENT} as is_earlier "
        f"from intake.{table} where {column} is not null"
        for table, columns in _NAMED.items()
        if table in held
        for column in columns
    )
    names = warehouse.execute(
        f"select seed_code, name, bool_and(is_earlier) as is_earlier from ({named}) "
        "group by all order by all"
    ).to_arrow_table()
    places = warehouse.execute(
        "with known as ("
        "select seed_code, council_name, school_type = 'Primary' as has_primary, "
        "school_type = 'Secondary' as has_secondary, school_type = 'Special' as has_special "
        "from intake.school_roll union all "
        "select seed_code, council_name, has_primary, has_secondary, has_special "
        "from intake.school_list) "
        "select seed_code, max(council_name) as council_name, "
        "bool_or(has_primary) as has_primary, bool_or(has_secondary) as has_secondary, "
        "bool_or(has_special) and not bool_or(has_primary) and not bool_or(has_secondary) "
        "as is_special from known group by seed_code order by seed_code"
    ).to_arrow_table()
    rules = load_school_rules(overlay)
    return Schools(rules, places, names, adapted_schools(engagement, overlay))


def require_roll(warehouse: duckdb.DuckDBPyConnection) -> set[str]:
    """The tables of intake, among them school roll and school list.

    Raises:
        InputError: there is no school roll or no school list yet.
    """
    held = {
        str(row[0])
        for row in warehouse.execute(
            "select table_name from information_schema.tables where table_schema = 'intake'"
        ).fetchall()
    }
    if not set(_CURRENT) <= held or not all(count(warehouse, f"intake.{t}") for t in _CURRENT):
        raise InputError(
            "There is no school roll",
            where="reference data, school_roll and school_list",
            why="every pupil's school is checked against the roll",
            fix="deliver the school roll and the school list, then run: rcs materialise",
        )
    return held


def published_roll(warehouse: duckdb.DuckDBPyConnection) -> pa.Table:
    """The published roll as seed_code, cell (stage, `F`, `M`), n; null where suppressed.

    A stage of another kind of school is absent, not suppressed.
    """
    stages = (*(f"P{n}" for n in range(1, 8)), *(f"S{n}" for n in range(1, 7)))
    cells = {stage: f"{stage.lower()}_n" for stage in stages} | {"F": "female_n", "M": "male_n"}
    listed = ", ".join(f"{{'cell': '{cell}', 'n': {column}}}" for cell, column in cells.items())
    return warehouse.execute(
        "select seed_code, cell, n from ("
        f"select seed_code, school_type, unnest([{listed}], recursive := true) "
        "from intake.school_roll where school_type in ('Primary', 'Secondary')) "
        "where cell in ('F', 'M') or cell[1] = school_type[1] order by all"
    ).to_arrow_table()


def plain_name(rules: SchoolRules, column: str) -> str:
    """SQL: a name in small letters, without accents, marks and double spaces, spellings unified."""
    text = f"lower(strip_accents(replace(replace({column}, chr(160), ' '), '&', ' and ')))"
    text = (
        f"regexp_replace(replace(replace({text}, '''', ''), chr(8217), ''), '[^a-z0-9]+', ' ', 'g')"
    )
    for word, same in rules.spellings.items():
        text = f"regexp_replace({text}, '\\b{word}\\b', {sql_literal(same)}, 'g')"
    return f"trim({text})"


def name_stem(rules: SchoolRules, plain: str) -> str:
    """SQL: what is left of a plain name without the words that many schools share."""
    words = "|".join(rules.filler_words)
    left = f"regexp_replace({plain}, '\\b({words})\\b', ' ', 'g')"
    return f"trim(regexp_replace({left}, ' +', ' ', 'g'))"


def confusable(con: duckdb.DuckDBPyConnection, schools: Schools, council: str) -> None:
    """Create `confusable(seed_a, seed_b)` on the connection: schools of a council, alike by name.

    Both directions of a pair are in it. Earlier names count: a supplier's list may hold them.
    """
    rules = schools.rules
    register(con, schools)
    con.execute(
        "create table stems as select distinct seed_code, "
        f"{name_stem(rules, plain_name(rules, 'name'))} as stem "
        "from school_names join school_places using (seed_code) "
        f"where council_name = {sql_literal(council)}"
    )
    con.execute(
        "create table confusable as select distinct a.seed_code as seed_a, b.seed_code as seed_b "
        "from stems as a join stems as b on a.seed_code <> b.seed_code "
        "where a.stem <> '' and b.stem <> '' "
        f"and jaro_winkler_similarity(a.stem, b.stem) >= {rules.similar_from}"
    )


def register(con: duckdb.DuckDBPyConnection, schools: Schools) -> None:
    """Put what is known on a scratch connection: `school_places`, `school_names`."""
    con.register("school_places", schools.places)
    con.register("school_names", schools.names)


def resolve_names(con: duckdb.DuckDBPyConnection, schools: Schools, council: str) -> dict[str, int]:
    """Fill SEED codes from names; quarantine what a name leaves open or contradicts.

    Args:
        con: scratch connection with `checked` (seed_code, school_name, stage).
        schools: what is known.
        council: whose schools are meant.

    Returns:
        Flags: `school_by_name` and, of these, `school_by_earlier_name`.
    """
    if not count(con, "checked", "school_name is not null"):
        quarantine(con, "seed_code is null", "seed_code", "blank")
        return {}
    register(con, schools)
    plain = plain_name(schools.rules, "name")
    con.execute(
        f"create table named as select {plain} as plain, seed_code, "
        "bool_and(is_earlier) as is_earlier, has_primary, has_secondary, is_special "
        "from school_names join school_places using (seed_code) "
        f"where council_name = {sql_literal(council)} group by all"
    )
    # Each name once: hundreds of pupils share one.
    con.execute(
        "create table spelt as "
        f"select school_name, {plain_name(schools.rules, 'school_name')} as plain "
        "from (select distinct school_name from checked where school_name is not null)"
    )
    # Where several schools have the name, the stage tells a primary from a secondary.
    con.execute(
        "create table meant as with found as (select written.row_number, named.seed_code, "
        "named.is_earlier, named.seed_code is not distinct from written.seed_code as is_same, "
        "case when written.stage = 'SP' then named.is_special when written.stage[1] = 'P' "
        "then named.has_primary else named.has_secondary end as has_stage "
        "from checked as written join spelt using (school_name) join named using (plain)), "
        "narrowed as (from found qualify has_stage "
        "or not bool_or(coalesce(has_stage, false)) over (partition by row_number)) "
        "select row_number, min(seed_code) as seed_code, "
        "count(distinct seed_code) as schools_n, bool_and(is_earlier) as is_earlier, "
        "bool_or(is_same) as is_same from narrowed group by row_number"
    )
    con.execute(
        "create table by_name as select row_number, is_earlier from meant "
        "join checked using (row_number) where checked.seed_code is null and meant.schools_n = 1"
    )
    con.execute(
        "update checked set seed_code = meant.seed_code from meant "
        "where checked.row_number = meant.row_number and checked.seed_code is null "
        "and meant.schools_n = 1"
    )
    _quarantine_open(con)
    return {
        "school_by_name": count(con, "by_name"),
        "school_by_earlier_name": count(con, "by_name", "is_earlier"),
        "school_name_not_known": count(
            con,
            "accepted",
            "school_name is not null and row_number not in (select row_number from meant)",
        ),
    }


def _quarantine_open(con: duckdb.DuckDBPyConnection) -> None:
    several = "(select row_number from meant where schools_n > 1)"
    for condition, column, rule in (
        ("seed_code is null and school_name is null", "seed_code", "blank"),
        (f"seed_code is null and row_number in {several}", "school_name", NAME_AMBIGUOUS),
        ("seed_code is null", "school_name", NAME_UNKNOWN),
        (
            "row_number in (select row_number from meant where not is_same "
            "and row_number not in (select row_number from by_name))",
            "school_name",
            NAME_CONTRADICTS,
        ),
    ):
        quarantine(con, condition, column, rule)


def quarantine_other_stages(con: duckdb.DuckDBPyConnection, schools: Schools) -> None:
    """Quarantine pupils of a stage that their school does not have.

    To be called after doubts about UIDs: there a primary's pupils stand under a secondary.
    """
    register(con, schools)
    quarantine(
        con,
        "row_number in (select row_number from checked join school_places using (seed_code) "
        "where not case when stage[1] = 'P' then has_primary else has_secondary end)",
        "stage",
        STAGE_NOT_OF_SCHOOL,
    )


def quarantine_special(con: duckdb.DuckDBPyConnection, schools: Schools) -> None:
    """Quarantine pupils of special schools: out of scope of the survey, and counted (domain.md 12).

    Schools that agreed to the adapted mode are counted apart: what they answer is another
    instrument, and not among the figures of this survey.
    """
    register(con, schools)
    adapted = ", ".join(sql_literal(code) for code in schools.adapted) or "null"
    special = "seed_code in (select seed_code from school_places where is_special)"
    # A special school's pupils carry stages that this contract may not know: the school decides.
    con.execute(
        f"delete from {VIOLATIONS} where column_name = 'stage' and row_number in "
        f"(select row_number from checked where {special})"
    )
    quarantine(con, f"{special} and seed_code in ({adapted})", "seed_code", ADAPTED)
    quarantine(con, special, "seed_code", OUT_OF_SCOPE)
