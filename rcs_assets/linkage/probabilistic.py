"""Scores of the pairs that no deterministic pass decided: Splink on a connection of ours.

Belongs here: turning `data/model.yaml` into Splink's settings, fitting them where enough
records are left over, and the table `scored` of candidate pairs with quantised evidence.
Does not belong here: priors, thresholds and assignment (`assign.py`, `remainder.py`). Splink
is imported only here, and only when there is something to score.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import log2
from threading import Lock
from typing import Any

import duckdb

from rcs_assets.linkage.settings import LinkRules, LinkSettings, inner_name
from rcs_assets.linkage.years_alone import for_years_alone, has_years_alone

# Parameters that were fitted are rounded to this many digits before anything is scored, so
# that the order of a floating-point sum leaves no trace in a weight.
_DIGITS = 5
# A level that the sample never shows would else be certain evidence.
_SMALLEST = 1e-5
# Splink takes the dataset whose name is smaller as the left one.
_NAMES = ("a_left", "b_right")
DECIDING_FIELD = "first_forename"
# Every pair, where there are few.
ALL_PAIRS = "l.unique_id is not null and r.unique_id is not null"
# Where a file lacks the field, nobody can say how often it changes.
_UNKNOWN_M = 0.02


@dataclass(frozen=True)
class MatchModel:
    """A model that predictions can be repeated with: its fields, and Splink's settings."""

    fields: tuple[str, ...]
    splink: Mapping[str, Any]

    @property
    def forename_changed(self) -> float:
        """Share of true pairs whose forenames are not alike (m of the last level)."""
        return self._last_m(DECIDING_FIELD)

    @property
    def birth_date_changed(self) -> float:
        """Share of true pairs whose birth dates are not near (m of the last level)."""
        return self._last_m("date_of_birth")

    def _last_m(self, field: str) -> float:
        for entry in self.splink["comparisons"]:
            if entry["output_column_name"] == field:
                return float(entry["comparison_levels"][-1]["m_probability"])
        return _UNKNOWN_M


def match_model(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, settings: LinkSettings, *, prior: float
) -> MatchModel:
    """The model, fitted to the records that the exact passes left where they are enough.

    Args:
        con: a connection with the temp tables `left_rest` and `right_rest` (standardised,
            unique by `unique_id`) and those of `count_frequencies`; in `dedupe` mode only
            `left_rest` is read.
        rules: the model as data, and from how many records on it is fitted.
        settings: mode, seed, whether to fit, or an earlier call's model to be used again.
        prior: probability that a pair drawn at random is one child, for the fit alone.
    """
    if settings.model is not None:
        return settings.model
    tables = rest_tables(settings)
    smallest = min(len_of(con, table) for table in tables)
    fields = _present_fields(con, rules, settings, tables)
    shipped = splink_settings(rules, settings, fields, prior)
    unfitted = MatchModel(tuple(fields), shipped)
    if smallest == 0 or not _is_fitted(rules, settings, smallest) or has_years_alone(con, rules):
        return unfitted
    blocks = _training_blocks(con, rules, tables, fields, shipped["comparisons"])
    if not blocks:
        return unfitted
    from splink.internals.exceptions import SplinkException

    with QUIET:
        try:
            linker = _linker(con, rules, tables, shipped)
            fitted = _fitted(linker, rules, settings, shipped, blocks)
        except (ValueError, SplinkException):
            # A level that the files never show has no probability that can be written down.
            return unfitted
    return MatchModel(tuple(fields), fitted)


def used_model(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, settings: LinkSettings, model: MatchModel
) -> MatchModel:
    """What of a model the rest of these files can use: comparisons of fields that both hold.

    A field that a file lacks says nothing of any pair, but costs a look at each of them, and a
    block on it one at every two records. Birth dates that are years alone say something else, and
    how often an extra field agrees by chance is counted.

    Args:
        con, rules, settings: as for `match_model`.
        model: what it returned.
    """
    present = set(_present_fields(con, rules, settings, rest_tables(settings)))
    comparisons = [
        entry for entry in model.splink["comparisons"] if entry["output_column_name"] in present
    ]
    fields = tuple(field for field in model.fields if field in present)
    judged = for_years_alone(con, rules, comparisons)
    counted = [
        _counted_alike(con, settings, entry)
        if entry["output_column_name"] in settings.extra_fields
        else entry
        for entry in judged
    ]
    return MatchModel(fields, {**model.splink, "comparisons": counted})


def _counted_alike(
    con: duckdb.DuckDBPyConnection, settings: LinkSettings, comparison: Mapping[str, Any]
) -> dict[str, Any]:
    """The comparison of an extra field, with the share of pairs that agree counted in the files.

    Nobody can ship it: of a number none agree by chance, of a sex every second pair.
    """
    field = f'"{inner_name(comparison["output_column_name"])}"'
    left, right = ("lhs", "lhs" if settings.mode == "dedupe" else "rhs")
    own = 1 if settings.mode == "dedupe" else 0  # a record is no pair with itself
    alike, left_n, right_n = con.execute(f"""
        select
            sum(l.n * (r.n - {own}))::double,
            (select count({field}) from {left}),
            (select count({field}) - {own} from {right})
        from (select {field} as cell, count(*) as n from {left} group by 1) as l
        inner join (select {field} as cell, count(*) as n from {right} group by 1) as r
            on l.cell = r.cell
    """).fetchall()[0]
    share = min((alike or 0.0) / max(left_n * right_n, 1), 1 - _SMALLEST)
    blank, same, *others = comparison["comparison_levels"]
    rest = (1 - share) / (1 - same["u_probability"])
    levels = [(same, share), *((level, level["u_probability"] * rest) for level in others)]
    changed = [{**level, "u_probability": max(round(u, _DIGITS), _SMALLEST)} for level, u in levels]
    return {**comparison, "comparison_levels": [blank, *changed]}


def score_pairs(
    con: duckdb.DuckDBPyConnection,
    rules: LinkRules,
    settings: LinkSettings,
    model: MatchModel,
    blocks: Sequence[str],
    *,
    lowest: float,
) -> None:
    """Make `scored(left_id, right_id, evidence)` of the pairs of the rest within the blocks.

    Args:
        con: as for `match_model`, with `decided_apart` (left_id, right_id): pairs that people
            decided are two children.
        rules: the step to which weights are rounded.
        settings: mode.
        model: what `used_model` returned.
        blocks: conditions on `l` and `r`; a pair is looked at if it meets one of them.
        lowest: evidence below which a pair is left out.

    The evidence is log2 of the Bayes factor: what the fields say, before any prior.
    """
    con.execute(
        "create or replace temp table scored "
        "(left_id varchar, right_id varchar, evidence decimal(12, 3))"
    )
    tables = rest_tables(settings)
    if not blocks or not model.splink["comparisons"] or not all(len_of(con, t) for t in tables):
        return
    fitting = _fitting(con, tables, blocks, rules.most_pairs)
    if not fitting:
        return
    chosen = {
        **model.splink,
        "blocking_rules_to_generate_predictions": [
            {"blocking_rule": block, "sql_dialect": "duckdb"} for block in fitting
        ],
    }
    prior = prior_weight(model.splink["probability_two_random_records_match"])
    from splink.internals.exceptions import SplinkException

    linker = _linker(con, rules, tables, chosen)
    with QUIET:
        try:
            predictions = linker.inference.predict(
                # What is lighter is dropped below: better never kept, of millions of pairs.
                threshold_match_weight=lowest + prior - 1,
                warning_mode="never",
            )
        except SplinkException as error:
            # It holds the engine's message, which can hold values: `link` tells the kind alone.
            raise duckdb.Error(type(error).__name__) from None
    step = rules.thresholds.step
    con.execute(f"""
        insert into scored
        select * from (
            select
                unique_id_l as left_id,
                unique_id_r as right_id,
                (round((match_weight - {prior!r}) / {step}) * {step})::decimal(12, 3) as evidence
            from {predictions.physical_name}
        ) as found
        anti join decided_apart as apart
            on found.left_id = apart.left_id and found.right_id = apart.right_id
        where evidence >= {lowest!r}
    """)
    linker.table_management.delete_tables_created_by_splink_from_db()
    _drop_lightest(con, rules.most_kept)


def _drop_lightest(con: duckdb.DuckDBPyConnection, most: int) -> None:
    """Keep the pairs that say most, by whole steps of evidence, where more than `most` were found.

    Only where files hold little to compare: a forename that two of 60,000 share is no link.
    """
    if len_of(con, "scored") <= most:
        return
    rows = con.execute(
        "select floor(evidence)::integer, count(*) from scored group by 1 order by 1 desc"
    ).fetchall()
    kept, least = 0, rows[0][0]
    for step, pairs_n in rows:
        kept += pairs_n
        if kept > most:
            break
        least = step
    con.execute(f"delete from scored where evidence < {least}")


def rest_tables(settings: LinkSettings) -> list[str]:
    """The tables that hold what the exact passes left."""
    return ["left_rest"] if settings.mode == "dedupe" else ["left_rest", "right_rest"]


def blocks_of(rules: LinkRules, kind: str, fields: Sequence[str]) -> list[str]:
    """The conditions of a set of blocks (blocking | loose_blocking) whose fields are there."""
    return [rule["when"] for rule in rules.model[kind] if set(rule["fields"]) <= set(fields)]


def first_blocks(
    con: duckdb.DuckDBPyConnection,
    rules: LinkRules,
    settings: LinkSettings,
    fields: Sequence[str],
) -> list[str]:
    """The blocks of the model's pass, and those of extra fields.

    Within one table no last pass follows, which looks at every pair or more loosely: this one does.
    """
    is_dedupe = settings.mode == "dedupe"
    if is_dedupe and len_of(con, "left_rest") ** 2 <= rules.remainder.all_pairs:
        return [ALL_PAIRS]
    kinds = ("blocking", "loose_blocking") if is_dedupe else ("blocking",)
    known = [block for kind in kinds for block in blocks_of(rules, kind, fields)]
    return [*extra_blocks(con, rules, settings), *known]


def extra_blocks(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, settings: LinkSettings
) -> list[str]:
    """Agreement of each extra field that tells records apart: a number does, a sex does not."""
    sides = ["lhs"] if settings.mode == "dedupe" else ["lhs", "rhs"]
    most = rules.block_records * sum(len_of(con, table) for table in sides)
    columns = map(inner_name, settings.extra_fields)
    named = [f'l."{column}" = r."{column}"' for column in columns]
    return [block for block in named if _pairs_n(con, sides, block, most) <= most]


def prior_weight(prior: float) -> float:
    """log2 of the odds."""
    return log2(prior / (1 - prior))


def clerical_weight(rules: LinkRules, settings: LinkSettings) -> float:
    """The weight below which a pair is no candidate."""
    chosen = settings.clerical_weight
    return rules.thresholds.clerical if chosen is None else chosen


def len_of(con: duckdb.DuckDBPyConnection, table: str) -> int:
    """Number of rows of a table."""
    return int(con.execute(f"select count(*) from {table}").fetchall()[0][0])


def splink_settings(
    rules: LinkRules, settings: LinkSettings, fields: Sequence[str], prior: float
) -> dict[str, Any]:
    """The model as Splink's settings, for the fields that both files hold.

    Args:
        rules: the model as data.
        settings: mode and extra fields.
        fields: fields that are filled on both sides.
        prior: probability that a pair drawn at random is one child.
    """
    return {
        "link_type": "dedupe_only" if settings.mode == "dedupe" else "link_only",
        "unique_id_column_name": "unique_id",
        "probability_two_random_records_match": prior,
        "max_iterations": rules.training.max_iterations,
        "retain_matching_columns": False,
        "comparisons": [
            _comparison(entry)
            for entry in _comparisons(rules, settings)
            if entry["field"] in fields
        ],
        "blocking_rules_to_generate_predictions": [],
    }


def _comparisons(rules: LinkRules, settings: LinkSettings) -> list[dict[str, Any]]:
    extra = [
        {"field": field, "levels": rules.model["extra_field"]} for field in settings.extra_fields
    ]
    return [*rules.model["comparisons"], *extra]


def _comparison(entry: dict[str, Any]) -> dict[str, Any]:
    field = entry["field"]
    blank = {"sql_condition": f"{field}_l is null or {field}_r is null", "is_null_level": True}
    levels = [_level(field, level) for level in entry["levels"]]
    if entry.get("term_frequency"):
        levels[0] |= {"tf_adjustment_column": field, "tf_adjustment_weight": 1.0}
    return {"output_column_name": field, "comparison_levels": [blank, *levels]}


def _level(field: str, level: dict[str, Any]) -> dict[str, Any]:
    condition = level["when"].format(l=f"l.{field}", r=f"r.{field}")
    return {
        "sql_condition": "ELSE" if condition == "else" else _suffixed(condition),
        "label_for_charts": level["name"],
        "m_probability": level["m"],
        "u_probability": level["u"],
    }


def _suffixed(condition: str) -> str:
    """`l.surname` as Splink writes it in a comparison: `surname_l`."""
    return re.sub(r"\b([lr])\.(\w+)", r"\2_\1", condition)


def _present_fields(
    con: duckdb.DuckDBPyConnection,
    rules: LinkRules,
    settings: LinkSettings,
    tables: Sequence[str],
) -> list[str]:
    """Fields that are filled somewhere in the tables; a former surname in one is enough."""
    fields = [entry["field"] for entry in _comparisons(rules, settings)]
    counted = ", ".join(f'count("{inner_name(field)}")' for field in (*fields, "previous_surname"))
    counts = [con.execute(f"select {counted} from {table}").fetchall()[0] for table in tables]
    present = [field for field, *n in zip(fields, *counts, strict=False) if all(n)]
    return [*present, *(["previous_surname"] if any(n[-1] for n in counts) else [])]


def _is_fitted(rules: LinkRules, settings: LinkSettings, smallest: int) -> bool:
    return settings.training == "fit" or (
        settings.training == "auto" and smallest >= rules.training.min_records
    )


def count_frequencies(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, tables: Sequence[str]
) -> None:
    """Make `tf_<field>(<field>, tf_<field>)` of each field that the model adjusts: value, share.

    All records of the tables count, not only those left over: what is rare among the leftovers
    may be common.
    """
    for field in _adjusted_fields(rules.model["comparisons"]):
        values = " union all ".join(f"select {field} from {table}" for table in tables)
        con.execute(f"""
            create or replace temp table tf_{field} as
            select {field}, count(*) / sum(count(*)) over () as tf_{field}
            from ({values})
            where {field} is not null
            group by {field}
        """)


def _adjusted_fields(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    return [entry["field"] for entry in comparisons if entry.get("term_frequency")]


def _linker(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, tables: Sequence[str], model: dict[str, Any]
) -> Any:
    """Splink on the connection, with the frequencies of all records in the place of its own."""
    from splink import Linker

    from rcs_assets.linkage.backend import make_backend

    api = make_backend(con)
    frames = [
        api.register(table, dataset_display_name=name)
        for table, name in zip(tables, _NAMES, strict=False)
    ]
    named = {**model, "comparisons": [_with_inner_names(entry) for entry in model["comparisons"]]}
    linker = Linker(frames, named, log_level=None, validate_settings=False)
    compared = {entry["output_column_name"] for entry in model["comparisons"]}
    for field in _adjusted_fields(rules.model["comparisons"]):
        if field in compared:
            lookup = api.register(f"tf_{field}")
            linker.table_management.register_term_frequency_lookup(lookup, field)
    return linker


def _with_inner_names(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """A model names fields as its caller does; Splink gets the columns of the engine's tables."""
    field = comparison["output_column_name"]
    column = inner_name(field)
    levels = [
        {
            **level,
            "sql_condition": re.sub(rf"\b{field}(?=_[lr]\b)", column, level["sql_condition"]),
        }
        for level in comparison["comparison_levels"]
    ]
    return {**comparison, "output_column_name": column, "comparison_levels": levels}


def _fitted(
    linker: Any,
    rules: LinkRules,
    settings: LinkSettings,
    model: dict[str, Any],
    blocks: Sequence[str],
) -> dict[str, Any]:
    """The model with u from a seeded sample and m by expectation maximisation, rounded."""
    from splink.blocking_rule_library import CustomRule

    linker.training.estimate_u_using_random_sampling(
        max_pairs=rules.training.u_pairs, seed=settings.seed, num_chunks=1
    )
    for block in blocks:
        linker.training.estimate_parameters_using_expectation_maximisation(
            CustomRule(block), estimate_without_term_frequencies=True
        )
    trained = linker.misc.save_model_to_json()
    linker.table_management.delete_tables_created_by_splink_from_db()
    fitted = {entry["output_column_name"]: entry for entry in trained["comparisons"]}
    return model | {
        "comparisons": [
            entry
            | {
                "comparison_levels": [
                    _rounded(old, new)
                    for old, new in zip(
                        entry["comparison_levels"],
                        fitted[inner_name(entry["output_column_name"])]["comparison_levels"],
                        strict=True,
                    )
                ]
            }
            for entry in model["comparisons"]
        ]
    }


def _training_blocks(
    con: duckdb.DuckDBPyConnection,
    rules: LinkRules,
    tables: Sequence[str],
    fields: Sequence[str],
    comparisons: Sequence[Mapping[str, Any]],
) -> list[str]:
    """The blocks that hold enough pairs to fit parameters within them, and not too many.

    A block says nothing of its own fields. Of what it leaves two fields at least must be compared:
    one alone agrees or not, and nobody can tell why.
    """
    compared = {entry["output_column_name"] for entry in comparisons}
    enough = [
        rule["when"]
        for rule in rules.model["training_blocks"]
        if set(rule["fields"]) <= set(fields) and len(compared - set(rule["fields"])) >= 2
    ]
    return [
        block
        for block in enough
        if rules.training.min_pairs
        <= _pairs_n(con, tables, block, rules.most_pairs)
        <= rules.most_pairs
    ]


def _fitting(
    con: duckdb.DuckDBPyConnection, tables: Sequence[str], blocks: Sequence[str], most: int
) -> list[str]:
    """The blocks, in their order, whose pairs are together no more than `most`."""
    sizes = [len_of(con, table) for table in tables]
    if sizes[0] * sizes[-1] <= most:
        return list(blocks)
    found = []
    for block in blocks:
        pairs_n = _pairs_n(con, tables, block, most)
        if pairs_n <= most:
            found.append(block)
            most -= pairs_n
    return found


def _pairs_n(con: duckdb.DuckDBPyConnection, tables: Sequence[str], block: str, most: int) -> int:
    """How many pairs a block holds; one more than `most` where it holds more."""
    once = " and l.unique_id < r.unique_id" if len(tables) == 1 else ""
    return len_of(
        con,
        f"(select 1 from {tables[0]} as l inner join {tables[-1]} as r on {block}{once} "
        f"limit {most + 1})",
    )


def _rounded(shipped: dict[str, Any], fitted: dict[str, Any]) -> dict[str, Any]:
    """A level with its fitted parameters, or the shipped ones where none could be fitted."""
    parameters = {
        name: max(round(float(fitted[name]), _DIGITS), _SMALLEST)
        for name in ("m_probability", "u_probability")
        if isinstance(fitted.get(name), int | float)
    }
    return shipped | parameters


@contextmanager
def _silenced() -> Iterator[None]:
    logger = logging.getLogger("splink")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class _Quiet:
    """Splink explains itself at length, and its messages may name values: keep it silent.

    Its logger and the filters of warnings are those of the whole process: the first thread that
    uses Splink silences it, and the last one that is done gives it its voice back.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._users_n = 0
        self._silence = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._users_n == 0:
                self._silence.enter_context(_silenced())
            self._users_n += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users_n -= 1
            if self._users_n == 0:
                self._silence.close()


QUIET = _Quiet()
