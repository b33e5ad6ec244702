"""Checks a delivered table against its dataset's contract, row by row, set-based.

Belongs here: headers, blank cells, types, forms, allowed values and ranges by
`Field`, keys that repeat; who is accepted, quarantined or withdrawn. Does not belong
here: reading files (`readers.py`) and rules that need another dataset
(`pupils.py`, `survey.py`).

Tables on the scratch connection of one delivery:
- `delivered(row_number, <file columns>)`: as read;
- `cleaned(row_number, <field names>)`: text without blanks around it and without marks;
- `checked(row_number, <field names, typed>)`: null where a cell breaks its rule;
- `violations(row_number, column_name, rule)`: no values;
- `withdrawn(row_number)`: refused consent or opted out; wins over violations;
- `accepted`: a view, the rows of `checked` that stand in neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import duckdb

from rcs_assets.codebook import Dataset, Field
from rcs_assets.codebook.contracts import KIND_FORMS
from rcs_assets.errors import InputError
from rcs_assets.intake.columns import PLACE, column_told
from rcs_assets.intake.formulas import formula_condition
from rcs_assets.intake.readers import quoted
from rcs_assets.storage import sql_literal

VIOLATIONS = "violations"
_COLUMNS_SHOWN = 5
_FLAGS = (frozenset({"Y", "N"}), frozenset({"Yes", "No"}))


@dataclass(frozen=True)
class Kind:
    """How a kind of field is written and stored: a regular expression and a DuckDB type."""

    form: str
    sql_type: str


_MAX_TEXT = 4_000
_SQL_TYPES = {"integer": "integer", "decimal": "double", "date": "date"}
KINDS = {name: Kind(form, _SQL_TYPES.get(name, "varchar")) for name, form in KIND_FORMS.items()}


def check_header(header: Sequence[str], dataset: Dataset, file: str) -> None:
    """Compare a file's columns with the contract.

    Reference files come in the publishers' layout: further columns are left unread.

    Raises:
        InputError: a column missing, unknown or twice.
    """
    expected = [field.column for field in dataset.fields]
    counted = Counter(name.lower() for name in header)
    twice = [name for name in dict.fromkeys(header) if counted[name.lower()] > 1]
    optional = {field.column for field in dataset.fields if field.may_be_absent}
    missing = [name for name in expected if name not in header and name not in optional]
    extra = [name for name in header if name not in expected] if _is_closed(dataset) else []
    refuse_columns(
        file,
        f"The columns do not fit the contract of {dataset.title}",
        header,
        expected,
        {"missing": missing, "not in the contract": extra, "twice": twice},
        f"ask the supplier for exactly the columns of {dataset.title}",
    )


def refuse_columns(
    file: str,
    what: str,
    header: Sequence[str],
    expected: Sequence[str],
    problems: Mapping[str, Sequence[str]],
    fix: str,
) -> None:
    """Refuse a header; a foreign name that could be a person's is told by its place.

    A file without header begins with a record: of its first line nothing is told.

    Raises:
        InputError: any list of `problems` (title → columns) is not empty.
    """
    found = {title: names for title, names in problems.items() if names}
    if not found:
        return
    known = set(expected)
    is_header = len(problems["missing"]) <= len(expected) // 2

    def shown(names: Sequence[str]) -> list[str]:
        told = [name for name in names if is_header or name in known][:_COLUMNS_SHOWN]
        listed = [
            name if name in known else column_told(header, header.index(name), expected)
            for name in told
        ]
        more = len(names) - len(told)
        return [*listed, *([f"and {more} more"] if more else [])]

    listed = {title: shown(names) for title, names in found.items()}
    columns = ", ".join(name.removeprefix(PLACE) for name in shown([*chain(*found.values())]))
    is_unnamed = any(name.startswith(PLACE) for name in chain(*listed.values()))
    raise InputError(
        what,
        where=f"file {file}, header, column {columns}",
        why="; ".join(f"{title}: {', '.join(names)}" for title, names in listed.items())
        + ("" if is_header else "; the first line does not look like a header")
        + ("; a name that no contract has could be a person's, so it is not told" * is_unnamed),
        fix=fix,
    )


def _is_closed(dataset: Dataset) -> bool:
    return dataset.level != "reference"


def check_rows(con: duckdb.DuckDBPyConnection, dataset: Dataset, file: str) -> None:
    """Make `checked`, `violations`, `withdrawn` and `accepted` from `delivered`.

    Raises:
        InputError: no rows at all in a file that must have some.
    """
    if dataset.is_required:
        require_rows(con, file)
    _add_absent(con, dataset)
    cells = ", ".join(f"{_clean(field)} as {quoted(field.name)}" for field in dataset.fields)
    # A table of its own: planned as one query, rules over uncleaned cells take seconds.
    con.execute(f"create table cleaned as select row_number, {cells} from delivered")
    typed = ", ".join(f"{_typed(field)} as {quoted(field.name)}" for field in dataset.fields)
    rules = ", ".join(
        f"{{'column_name': {sql_literal(field.column)}, 'rule': {_rule(field)}}}"
        for field in dataset.fields
    )
    con.execute(
        f"create table checked as select row_number, {typed}, "
        f"list_filter([{rules}], lambda cell: cell.rule is not null) as broken from cleaned"
    )
    start_states(con)
    con.execute(
        f"insert into {VIOLATIONS} select row_number, cell.column_name, cell.rule "
        "from (select row_number, unnest(broken) as cell from checked)"
    )


def _add_absent(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    """Columns that the file may leave out, as empty ones."""
    for field in dataset.fields:
        if field.may_be_absent:
            con.execute(
                f"alter table delivered add column if not exists {quoted(field.column)} varchar"
            )


def quarantine_row_rules(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    """Quarantine rows whose cells contradict each other by the contract's row rules."""
    for rule in dataset.row_rules:
        cells = [quoted(column) for column in rule.columns]
        if rule.total is None:
            broken = " or ".join(f"{first} > {second}" for first, second in pairwise(cells))
        else:
            # Decimals: three tenths are no more than 0.3 beside the total.
            total = " + ".join(f"{cell}::decimal(18, 6)" for cell in cells)
            wanted = quoted(rule.total) if isinstance(rule.total, str) else rule.total
            broken = f"abs({total} - {wanted}) > {rule.tolerance}"
        quarantine(con, broken, rule.columns[0], rule.name)


def require_rows(con: duckdb.DuckDBPyConnection, file: str) -> None:
    """Refuse a file that has a header and nothing below.

    Raises:
        InputError: no rows.
    """
    if count(con, "delivered") == 0:
        raise InputError(
            "The file has no rows",
            where=f"file {file}",
            why="this dataset is required and cannot be empty",
            fix="ask the supplier to send it again",
        )


def start_states(con: duckdb.DuckDBPyConnection) -> None:
    """Create the tables that say what becomes of each row of `checked`."""
    con.execute(f"create table {VIOLATIONS} (row_number bigint, column_name varchar, rule varchar)")
    con.execute("create table withdrawn (row_number bigint)")
    _see_accepted(con)


def keep_column(con: duckdb.DuckDBPyConnection, name: str, expression: str) -> str:
    """Add a column to `checked` that several steps ask for, computed once.

    Returns:
        Its name as SQL.
    """
    con.execute(f"alter table checked add column {quoted(name)} varchar")
    con.execute(f"update checked set {quoted(name)} = {expression}")
    _see_accepted(con)
    return quoted(name)


def _see_accepted(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create or replace view accepted as select * from checked "
        f"where row_number not in (select row_number from {VIOLATIONS}) "
        "and row_number not in (select row_number from withdrawn)"
    )


def quarantine(con: duckdb.DuckDBPyConnection, condition: str, column: str, rule: str) -> None:
    """Quarantine the accepted rows for which an SQL condition over `checked` holds."""
    con.execute(
        f"insert into {VIOLATIONS} select row_number, {sql_literal(column)}, {sql_literal(rule)} "
        f"from accepted where {condition}"
    )


def quarantine_duplicates(
    con: duckdb.DuckDBPyConnection, key: Sequence[str], compared: Sequence[str], rule: str
) -> None:
    """Settle rows that share a key.

    Rows alike in every `compared` column: the first is kept, the others are
    quarantined. Rows that contradict each other: all are quarantined, none is guessed.

    Args:
        con: the scratch connection.
        key: field names; rows with a blank key are left alone.
        compared: field names.
        rule: the rule written to quarantine.
    """
    keys = ", ".join(quoted(name) for name in key)
    content = ", ".join(quoted(name) for name in compared)
    present = " and ".join(f"{quoted(name)} is not null" for name in key)
    con.execute(
        f"insert into {VIOLATIONS} "
        f"with content as (select row_number, {keys}, hash(row({content})) as digest "
        f"from accepted where {present}), "
        f"ranked as (select row_number, row_number() over by_key as place, "
        "min(digest) over whole <> max(digest) over whole as is_contradicted from content "
        f"window by_key as (partition by {keys} order by row_number), "
        f"whole as (partition by {keys})) "
        f"select row_number, {sql_literal(','.join(key))}, {sql_literal(rule)} from ranked "
        "where place > 1 or is_contradicted"
    )


def count(con: duckdb.DuckDBPyConnection, table: str, condition: str = "true") -> int:
    """The number of rows of a scratch table for which a condition holds."""
    row = con.execute(f"select count(*) from {table} where {condition}").fetchall()[0]
    return int(row[0])


def _clean(field: Field) -> str:
    """A cell without surrounding and non-breaking spaces; null if blank or a publisher's mark.

    A date in a form of the publisher's is turned into ours; one in another form stays a text that
    no date has, so that it is quarantined and not guessed. A part of a date becomes the first of
    its month or year where the contract takes parts.
    """
    cell = _trimmed(field)
    if field.marks:
        cell = f"case when {cell} not in ({_marks(field)}) then {cell} end"
    if field.date_forms:
        forms = ", ".join(sql_literal(form) for form in field.date_forms)
        read = f"try_strptime({cell}, [{forms}])"
        cell = f"case when {cell} is not null then coalesce(strftime({read}, '%Y-%m-%d'), '?') end"
    if field.takes_parts:
        month = f"replace(coalesce(nullif(substr({cell}, 6, 2), ''), '00'), '00', '01')"
        cell = (
            f"case when {_is_part(cell)} then left({cell}, 4) || '-' || {month} || '-01' "
            f"else {cell} end"
        )
    return cell


def _is_part(cell: str) -> str:
    """Whether a date tells no day: 2016, 2016-02, or 00 where day or month should stand."""
    return f"regexp_full_match({cell}, '[12][0-9]{{3}}(-00|-(0[1-9]|1[0-2]))?(-00)?')"


def count_parts(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> dict[str, int]:
    """Cells of `delivered` that hold a part of a date, where the contract takes parts."""
    columns = [field for field in dataset.fields if field.takes_parts]
    found = [count(con, "delivered", _is_part(_trimmed(field))) for field in columns]
    return {"dates_in_part": sum(found)} if columns else {}


def _trimmed(field: Field) -> str:
    return f"nullif(trim(replace({quoted(field.column)}, chr(160), ' ')), '')"


def _marks(field: Field) -> str:
    return ", ".join(sql_literal(mark) for mark in field.marks)


def count_marks(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> dict[str, int]:
    """Cells with a publisher's mark, by what the mark stands for, from `delivered`.

    Returns:
        `cells_<meaning>` → cells; empty where the contract does not explain its marks.
    """
    columns = [field for field in dataset.fields if field.marks]
    if not dataset.mark_meanings or not columns:
        return {}
    cells = ", ".join(_trimmed(field) for field in columns)
    counted = dict(
        con.execute(
            f"select cell, count(*) from (select unnest([{cells}]) as cell from delivered) "
            "where cell is not null group by cell"
        ).fetchall()
    )
    flags: Counter[str] = Counter()
    for mark, meaning in dataset.mark_meanings.items():
        flags[f"cells_{meaning.replace(' ', '_')}"] += int(counted.get(mark, 0))
    return dict(flags)


def is_flag(field: Field) -> bool:
    """Whether the contract allows yes and no only: such a field is stored as a boolean."""
    return frozenset(field.allowed) in _FLAGS


def _typed(field: Field) -> str:
    kind = KINDS[field.kind]
    cell = quoted(field.name)
    if is_flag(field):
        return f"{cell} in ('Y', 'Yes')"
    if kind.sql_type == "varchar":
        return cell
    return (
        f"case when regexp_full_match({cell}, {sql_literal(kind.form)}) "
        f"then try_cast({cell} as {kind.sql_type}) end"
    )


def _rule(field: Field) -> str:
    """An SQL expression: the first rule that the cell breaks, or null."""
    kind = KINDS[field.kind]
    cell = quoted(field.name)
    cases = []
    if field.is_required:
        cases.append(f"when {cell} is null then 'blank'")
    if field.kind == "text":
        cases.append(f"when {formula_condition(cell)} then 'formula'")
        cases.append(f"when length({cell}) > {_MAX_TEXT} then 'too_long'")
    for form in (kind.form, field.pattern):
        if form:
            literal = sql_literal(form.strip("^$"))
            cases.append(f"when not regexp_full_match({cell}, {literal}) then 'wrong_type'")
    if kind.sql_type != "varchar":
        cases.append(
            f"when {cell} is not null and try_cast({cell} as {kind.sql_type}) is null "
            "then 'wrong_type'"
        )
    if field.allowed:
        allowed = ", ".join(sql_literal(value) for value in field.allowed)
        parts = (
            f"string_split({cell}, {sql_literal(field.separator)})"
            if field.separator
            else f"[{cell}]"
        )
        cases.append(
            f"when {cell} is not null and not list_has_all([{allowed}], {parts}) "
            "then 'value_not_allowed'"
        )
    for limit, sign in ((field.minimum, "<"), (field.maximum, ">")):
        if limit is not None:
            cases.append(f"when try_cast({cell} as double) {sign} {limit} then 'out_of_range'")
    return f"case {' '.join(cases)} end" if cases else "null::varchar"
