"""The released tables beside the estimates, as releases are compared row by row.

Belongs here: what names a row of each, what it says, the exact counts behind it, and reading both
from the packages of a release. Does not belong here: holding rows back (`held.py`), judging a
finished release (`row_differences.py`), the estimates (`earlier.py`).

policy.md, How protection is judged, Change between releases. The counts stand in the safe haven
(`counts_behind`), so that the next release can be compared with this one. One that was made before
they were kept has none: what it showed is known, and of what changed the least is feared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.service_rules import SPEND_COLUMNS
from rcs_assets.errors import StorageError
from rcs_assets.storage import sql_literal

COUNTS = "counts_behind"
PUBLIC = "public"
PUPILS, CHILDREN, POUNDS = "pupils", "children", "pounds"
_MONEY = ", ".join(SPEND_COLUMNS)


@dataclass(frozen=True)
class Beside:
    """A table of a release beside the estimates.

    `line`, `key`: columns that name a row. Rows of one line add up (`adds_up`), or else are figures
    of the same pupils, whom the counts do not tell wholly: who changes in a line changes each row,
    and a figure that moved was moved by somebody. `numbers`, `words`: what a shown row says;
    `people`: those of the numbers that count persons. `counts` (of SQL that names line and row): a
    query for the exact counts of now, with the columns line_key, row_key, unit, part, n.
    `is_per_audience`: packages show other rows of it; else all show those of the public one.
    `is_derived`: shown where estimates are, which are judged for themselves.
    """

    name: str
    line: tuple[str, ...]
    key: tuple[str, ...]
    numbers: tuple[str, ...]
    counts: Callable[[str], str]
    words: tuple[str, ...] = ()
    people: tuple[str, ...] = ("n",)
    adds_up: bool = True
    is_per_audience: bool = False
    is_derived: bool = False

    @property
    def naming(self) -> str:
        """SQL for `line` and `row` of a relation that has the columns."""
        return "{} as line_key, {} as row_key".format(*self.keys)

    @property
    def keys(self) -> tuple[str, str]:
        """SQL for each of the two."""
        return _joined(self.line), _joined(self.key)


def _joined(columns: Sequence[str]) -> str:
    each = ", ".join(f"coalesce(\"{name}\"::varchar, '')" for name in columns)
    return f"concat_ws('|', {each})"


def _counted(source: str, **parts: str) -> Callable[[str], str]:
    """Counts of pupils in a relation: part → SQL of the number."""
    listed = ", ".join(
        f"{{'part': {sql_literal(part)}, 'n': coalesce({sql}, 0)::double}}"
        for part, sql in parts.items()
    )
    return lambda naming: (
        f"select {naming}, '{PUPILS}' as unit, unnest([{listed}], max_depth := 2) from {source}"
    )


_PLACE = ("engagement", "survey", "geography_level", "geography_code")
_OF_RECIPIENTS = """(
    select engagement, survey, service, sum(served_n) as recipients_n,
        sum(served_n) filter (not has_responded) as silent_n,
        sum(served_n) filter (has_responded) as responded_n,
    from (
        unpivot (
            select engagement, survey, has_responded, asn_support_n as asn_support,
                social_work_n as social_work, any_service_n as any_service
            from services.recipients
        )
        on asn_support, social_work, any_service into name service value served_n
    )
    group by all
)"""
# A verdict is of the place's own figure and of the one that is shown beside it.
_OF_COMPARISONS = """(
    select c.*, own.numerator_n as own_yes, own.base_n as own_n,
        beside.numerator_n as beside_yes, beside.base_n as beside_n,
    from wellbeing.comparisons as c
    inner join (from wellbeing.estimates where breakdown = 'total') as own
        using (engagement, survey, geography_level, geography_code, indicator)
    left join (
        select *, if(geography_level = 'cpp', engagement, tranche) as of_place
        from wellbeing.estimates
        where breakdown = 'total' and geography_level in ('cpp', 'tranche')
    ) as beside
        on beside.survey = c.survey and beside.indicator = c.indicator
        and beside.geography_level = if(c.geography_level = 'cpp', 'tranche', 'cpp')
        and beside.of_place = if(c.geography_level = 'cpp', own.tranche, c.engagement)
)"""
# Every total of every set of columns; whose money it is is told by a fingerprint of the name.
# Sums of decimals are the same in whatever order they are added up.
_OF_SPEND = f"""(
    select
        engagement, {", ".join(f"coalesce({name}, 'all') as {name}" for name in SPEND_COLUMNS)},
        concat_ws('|', sha256(provider_name)[:16], provider_type, is_confidential) as part,
        sum(gbp::decimal(18, 6)) as gbp, sum(children_n::decimal(18, 6)) as children_n,
    from services.spend
    group by engagement, provider_name, provider_type, is_confidential, cube ({_MONEY})
)"""


def _of_spend(naming: str) -> str:
    return f"""
        select {naming}, '{POUNDS}' as unit, part, gbp::double as n from {_OF_SPEND}
        union all
        select {naming}, '{CHILDREN}', '', coalesce(sum(children_n), 0)::double
        from {_OF_SPEND} group by line_key, row_key
    """


TABLES = (
    Beside(
        "participation",
        line=_PLACE[:2],
        key=_PLACE[2:],
        numbers=("respondents_n", "roll_n", "schools_n"),
        words=("response_band",),
        people=("respondents_n", "roll_n"),
        is_per_audience=True,
        counts=_counted(
            "wellbeing.respondents where geography_level in ('school', 'cpp')",
            respondents="respondents_n",
            roll="roll_n",
            others="roll_n - respondents_n",
        ),
    ),
    Beside(
        "reach",
        line=("engagement", "need"),
        key=("need_level", "service", "breakdown", "group"),
        numbers=(
            "n", "observed_pct", "ci_low", "ci_high", "corrected_pct", "bound_low", "bound_high",
        ),
        is_per_audience=True,
        counts=_counted(
            "services.reach", need="need_n", served="served_n", others="need_n - served_n"
        ),
    ),
    Beside(
        "recipients",
        line=("engagement", "survey"),
        key=("service",),
        numbers=("n", "not_responded_pct"),
        counts=_counted(
            _OF_RECIPIENTS, recipients="recipients_n", silent="silent_n", responded="responded_n"
        ),
    ),
    Beside(
        "risks",
        line=("survey", "outcome"),
        key=("kind", "domain", "factor", "level"),
        numbers=("n", "share_pct", "outcome_pct", "ci_low", "ci_high"),
        counts=_counted(
            "research.risks",
            pupils="n",
            with_outcome="with_outcome_n",
            without="n - with_outcome_n",
        ),
    ),
    Beside(
        "models",
        line=("survey", "outcome"),
        key=("kind", "factor", "level"),
        numbers=(
            "odds_ratio", "ci_low", "ci_high", "effect_points", "effect_low", "effect_high",
            "value", "n",
        ),
        words=("is_clear",),
        adds_up=False,
        counts=_counted(
            "research.models",
            pupils="n",
            least_cell="least_cell_n",
            least_outcome="least_outcome_n",
        ),
    ),
    Beside(
        "comparisons",
        line=_PLACE,
        key=("indicator", "statistic", "comparator"),
        numbers=(),
        words=("verdict",),
        people=(),
        adds_up=False,
        is_per_audience=True,
        is_derived=True,
        counts=_counted(
            _OF_COMPARISONS,
            own="own_n",
            own_yes="own_yes",
            own_no="own_n - own_yes",
            beside="beside_n",
            beside_yes="beside_yes",
            beside_no="beside_n - beside_yes",
        ),
    ),
    Beside(
        "changes",
        line=("engagement", "survey", "indicator", "breakdown", "group"),
        key=("statistic",),
        numbers=("n", "earlier_estimate", "later_estimate", "change", "ci_low", "ci_high"),
        words=("verdict",),
        adds_up=False,
        is_derived=True,
        counts=_counted(
            "wellbeing.changes",
            earlier="earlier_n",
            earlier_yes="earlier_numerator_n",
            earlier_no="earlier_n - earlier_numerator_n",
            later="later_n",
            later_yes="later_numerator_n",
            later_no="later_n - later_numerator_n",
            shared="shared_n",
        ),
    ),
    Beside(
        "spend",
        line=("engagement",),
        key=SPEND_COLUMNS,
        numbers=("gbp", "children_n"),
        people=("children_n",),
        counts=_of_spend,
    ),
)  # fmt: skip
BESIDE = {table.name: table for table in TABLES}


def counts_sql(tables: Sequence[Beside] = TABLES) -> str:
    """The exact counts behind rows, as the safe haven keeps them: of all tables, or of some."""
    return " union all by name ".join(
        f"select {sql_literal(table.name)} as table_name, * from ({table.counts(table.naming)})"
        for table in tables
    )


def change_rules(policy: Policy) -> dict[str, object]:
    """What a change needs to be told, as parameters of a query: contributors, and of money who."""
    rule = policy.spend
    return {
        "open": list(rule.open_provider_types),
        "least": policy.changed_least,
        "holdings": rule.least_holdings,
        "p_pct": rule.p_pct,
        "top_n": rule.dominance_holdings,
        "top_pct": rule.dominance_pct,
    }


def proven_from(policy: Policy) -> float:
    """So far apart shown numbers of persons prove that as many changed as a change needs."""
    steps = [rule.n_step for rule in policy.output_classes.values()]
    steps += [policy.reach.n_step, policy.models.n_step, policy.spend.n_step]
    return policy.changed_least + max(steps)


_ROW_COLUMNS = (
    "release varchar, audience varchar, table_name varchar, line_key varchar, row_key varchar, "
    "is_shown boolean, is_hidden boolean, figures varchar[], people double[]"
)
_COUNT_COLUMNS = (
    "release varchar, table_name varchar, line_key varchar, row_key varchar, unit varchar, "
    "part varchar, n double"
)


def read_then(
    con: duckdb.DuckDBPyConnection, releases: Sequence[Path], tables: Sequence[Beside] = TABLES
) -> None:
    """Make `sdc_row_then` and `sdc_count_then`: what releases showed or hid, with the counts.

    Args:
        con: any connection.
        releases: folders of releases, or of what may become one.
        tables: which tables are read.

    Raises:
        StorageError: a package or the counts behind it cannot be read, or are not there though the
            release says that they are: nothing is compared then, so nothing may be published.
    """
    con.execute(f"create or replace temp table sdc_row_then ({_ROW_COLUMNS})")
    con.execute(f"create or replace temp table sdc_count_then ({_COUNT_COLUMNS})")
    names = ", ".join(sql_literal(table.name) for table in tables)
    for folder in releases:
        release = sql_literal(folder.name)
        if _is_there(folder, SAFE_HAVEN, COUNTS):
            columns = "table_name, line_key, row_key, unit, part, n"
            source = f"read_parquet({sql_literal(_file(folder / SAFE_HAVEN, COUNTS))})"
            _insert(
                con, folder, "sdc_count_then",
                f"select {release} as release, {columns} from {source} "
                f"where table_name in ({names})",
            )  # fmt: skip
        for table in tables:
            for audience, source in _packages(folder, table):
                sql = said_sql(table, source, release=release, audience=audience)
                _insert(con, folder, "sdc_row_then", sql)


def said_sql(table: Beside, relation: str, *, release: str, audience: str) -> str:
    """What the rows of a relation say, in the columns of `sdc_row_then`."""
    numbers = [f"nullif(\"{name}\"::varchar, '')::decimal(15, 2)" for name in table.numbers]
    said = [f"{sql}::varchar" for sql in numbers]
    said += [f"nullif(\"{name}\"::varchar, '')" for name in table.words]
    people = [sql for name, sql in zip(table.numbers, numbers, strict=True) if name in table.people]
    return (
        f"select {release} as release, {audience} as audience, "
        f"{sql_literal(table.name)} as table_name, {table.naming}, "
        "status in ('published', 'u') as is_shown, status = 'c' as is_hidden, "
        f"[{', '.join(said)}] as figures, [{', '.join(people)}]::double[] as people "
        f"from {relation}"
    )


def _packages(folder: Path, table: Beside) -> Iterator[tuple[str, str]]:
    """SQL of the audience and of the rows of each package that shows a table."""
    own = sorted((folder / "cpp").glob("*")) if table.is_per_audience else []
    for audience in (PUBLIC, *(f"cpp/{package.name}" for package in own)):
        if _is_there(folder, audience, table.name):
            file = sql_literal(_file(folder / audience, table.name))
            yield sql_literal(audience), f"read_parquet({file})"
    # How a school took part stands in its own package alone.
    if table.name == "participation" and any((folder / "school").glob(f"*/{table.name}.csv")):
        files = sql_literal(folder / "school" / "*" / f"{table.name}.csv")
        yield "'cpp/' || engagement", f"read_csv({files}, all_varchar=true, header=true)"


def _file(package: Path, table: str) -> Path:
    return package / "parquet" / f"{table}.parquet"


def _is_there(folder: Path, package: str, table: str) -> bool:
    """Whether a package has a table: not all releases had all, but none lacks what it lists.

    Raises:
        StorageError: the table is listed, and its file is gone.
    """
    if _file(folder / package, table).exists():
        return True
    try:
        listed = json.loads((folder / package / "datapackage.json").read_text(encoding="utf-8"))
        is_listed = any(Path(one["path"]).stem == table for one in listed["resources"])
    except FileNotFoundError:
        is_listed = False
    except (ValueError, KeyError, TypeError, OSError):
        is_listed = True
    if is_listed:
        raise unreadable(folder, f"{package}, table {table}")
    return False


def _insert(con: duckdb.DuckDBPyConnection, folder: Path, into: str, sql: str) -> None:
    try:
        con.execute(f"insert into {into} by name {sql}")
    except duckdb.Error:
        raise unreadable(folder, "its tables") from None


def unreadable(folder: Path, what: str) -> StorageError:
    """The refusal where a release has lost something: nothing is compared, or published, then."""
    return StorageError(
        f"What release {folder.name} told cannot be read",
        where=f"{folder.name}: {what}",
        why="a release is read beside all before it; without one of them nobody knows what the "
        "two tell together",
        fix="run: rcs release list; restore the folder from its backup, or, if it was not "
        "published by this installation, move it out of releases/",
    )
