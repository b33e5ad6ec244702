"""Assets of the room wellbeing, and the dbt build that linkage.linked belongs to.

Belongs here: the wiring of the dbt build, weights and estimates into the graph. Does not
belong here: SQL, scoring, weighting and estimation themselves.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtProject,
    dbt_assets,
)

from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.frozen import frozen_codebooks
from rcs_assets.intake.drop import engagements_in_scope
from rcs_assets.storage import open_warehouse
from rcs_assets.storage.checks import remember
from rcs_assets.storage.counts import public_count
from rcs_assets.storage.home import home_path
from rcs_assets.storage.resources import (
    OWNER,
    WRITER_POOL,
    HomeResource,
    about_asset,
    asset_options,
    engagement_partitions,
)
from rcs_assets.storage.tables import rows_by_engagement
from rcs_assets.wellbeing.changes import write_changes
from rcs_assets.wellbeing.comparisons import write_comparisons
from rcs_assets.wellbeing.dbt_build import (
    DbtBuildError,
    NodeResult,
    manifest,
    manifest_file,
    run_build,
)
from rcs_assets.wellbeing.dbt_rules import sentence
from rcs_assets.wellbeing.definition_sets import write_definition_sets
from rcs_assets.wellbeing.estimates import write_estimates
from rcs_assets.wellbeing.estimators import load_estimators
from rcs_assets.wellbeing.lineage import Column, estimate_inputs, model_lineage
from rcs_assets.wellbeing.nonresponse import write_nonresponse
from rcs_assets.wellbeing.respondents import write_respondents
from rcs_assets.wellbeing.salsus import load_measures, write_salsus_contrasts
from rcs_assets.wellbeing.weights import write_weights

# Tables of these sources come out of one asset of the room.
_ONE_ASSET = {"codebook": "tables", "programme": "register"}


class RoomTranslator(DagsterDbtTranslator):
    """Names dbt nodes as the rest of the graph is named: key [room, thing], group room."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """[schema, alias] of a model; [source, table] of a source."""
        if dbt_resource_props["resource_type"] == "source":
            room = dbt_resource_props["source_name"]
            return dg.AssetKey([room, _ONE_ASSET.get(room, dbt_resource_props["name"])])
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["alias"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The room."""
        return str(self.get_asset_key(dbt_resource_props).path[0])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:  # noqa: ARG002
        """The owner of every asset of the platform."""
        return [OWNER]

    def get_tags(self, dbt_resource_props: Mapping[str, Any]) -> dict[str, str]:
        """Zone and sensitivity, from the model's meta."""
        meta = dbt_resource_props.get("meta", {})
        return {name: meta[name] for name in ("zone", "sensitivity") if name in meta}

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The model's description, without its SQL."""
        return str(dbt_resource_props.get("description", "")).strip()

    def get_asset_check_spec(
        self,
        asset_spec: dg.AssetSpec,
        manifest: Mapping[str, Any],
        unique_id: str,
        project: DbtProject | None,
    ) -> dg.AssetCheckSpec | None:
        """The check as dagster-dbt makes it, with what it expects: dbt's names do not say it."""
        made = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        return made and dg.AssetCheckSpec(
            made.name,
            asset=made.asset_key,
            description=f"{sentence(manifest['nodes'][unique_id])}.",
            additional_deps=made.additional_deps,
            blocking=made.blocking,
            metadata=made.metadata,
        )

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """Columns, as dagster-dbt tells them, the table, and where the asset is described."""
        key = self.get_asset_key(dbt_resource_props).path
        model = f"dbt_project/{dbt_resource_props['original_file_path']}"
        # dbt knows the warehouse by the name of the connection that it is handed.
        table = {"dagster/table_name": ".".join(["warehouse", *key])}
        known = {**super().get_metadata(dbt_resource_props), **table, **about_asset(key, model)}
        columns = _LINEAGE.get(".".join(key))
        return known | (_column_lineage(columns) if columns else {})

    def get_automation_condition(
        self,
        dbt_resource_props: Mapping[str, Any],  # noqa: ARG002
    ) -> None:
        """None: sensors, schedules and jobs decide what runs."""
        return


def _column_lineage(columns: Mapping[str, list[Column]]) -> dict[str, Any]:
    """Columns with what each is computed from, as Dagster's metadata."""
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                name: [
                    dg.TableColumnDep(asset_key=dg.AssetKey(table.split(".")), column_name=column)
                    for table, column in inputs
                ]
                for name, inputs in columns.items()
            }
        )
    }


_CODEBOOK = load_codebook(home_path() / "config")
_LINEAGE = model_lineage(_CODEBOOK)
_TRANSLATOR = RoomTranslator(
    settings=DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True)
)


@dbt_assets(
    manifest=manifest_file(),
    name="dbt_build",
    dagster_dbt_translator=_TRANSLATOR,
    partitions_def=engagement_partitions(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=WRITER_POOL,
)
def dbt_build(context: dg.AssetExecutionContext, home: HomeResource) -> Iterator[Any]:
    """Build the selected models and run their tests, once for all engagements of the run."""
    nodes = manifest()["nodes"]
    models = {
        _TRANSLATOR.get_asset_key(node): node
        for node in nodes.values()
        if node["resource_type"] == "model"
    }
    chosen = [node["name"] for key, node in models.items() if key in context.selected_asset_keys]
    place = home.home()
    results = run_build(
        place,
        list(context.partition_keys),
        [] if len(chosen) == len(models) else chosen,
        settings=home.settings(),
    )
    checks = {(key.asset_key, key.name) for key in context.selected_asset_check_keys}
    built = [r for r in results if nodes[r.unique_id]["resource_type"] == "model"]
    tested = [r for r in results if nodes[r.unique_id]["resource_type"] == "test"]
    _tell_rows(context, home, [nodes[r.unique_id] for r in built if r.status == "success"])
    for result in built:
        key = _TRANSLATOR.get_asset_key(nodes[result.unique_id])
        if result.status == "success" and key in context.selected_asset_keys:
            yield dg.MaterializeResult(
                asset_key=key, metadata={"seconds": round(result.seconds, 2)}
            )
    found = [_check_result(nodes[result.unique_id], nodes, result) for result in tested]
    chosen_checks = [c for c in found if c and (c.asset_key, c.check_name) in checks]
    remember(home, context.run.run_id, map(_outcome, chosen_checks))
    yield from chosen_checks
    _refuse_failed(results, nodes)


def _tell_rows(
    context: dg.AssetExecutionContext, home: HomeResource, nodes: list[dict[str, Any]]
) -> None:
    """The rows of each engagement of the run; of children none where they are 1 to 9."""
    if not nodes:
        return
    with open_warehouse(home.home(), read_only=True) as con:
        for node in nodes:
            key = _TRANSLATOR.get_asset_key(node)
            is_of_children = node["meta"]["sensitivity"] == "pseudonymised"
            counted = rows_by_engagement(con, ".".join(key.path), list(context.partition_keys))
            for engagement, n in counted.items():
                shown = public_count(n) if is_of_children else n
                if key in context.selected_asset_keys and isinstance(shown, int):
                    context.add_asset_metadata(
                        {"dagster/row_count": shown}, asset_key=key, partition_key=engagement
                    )


def _check_result(
    test: dict[str, Any], nodes: dict[str, Any], result: NodeResult
) -> dg.AssetCheckResult | None:
    """A dbt test as the result of the asset check that dagster-dbt declared for it."""
    attached = test.get("attached_node")
    if attached not in nodes:
        return None
    return dg.AssetCheckResult(
        asset_key=_TRANSLATOR.get_asset_key(nodes[attached]),
        check_name=test["name"],
        passed=result.status == "pass",
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "expected": sentence(test),
            "observed": result.reason
            or f"dbt says {result.status}; rows that break the rule: {_shown(result.failures)}",
            "threshold_source": test["original_file_path"],
            "next_command": "none"
            if result.status == "pass"
            else "run: rcs status; then correct the delivery named there and deliver it again",
        },
    )


def _outcome(check: dg.AssetCheckResult) -> tuple[str, str, bool, str, str]:
    """The result as the history keeps it."""
    expected, observed = (str(check.metadata[name].value) for name in ("expected", "observed"))
    asset = "/".join(check.asset_key.path if check.asset_key else ())
    return asset, str(check.check_name), check.passed, expected, observed


def _shown(failures: int) -> str:
    return "<10" if 1 <= failures <= 9 else str(failures)


def _refuse_failed(results: list[NodeResult], nodes: dict[str, Any]) -> None:
    """End the run where a model failed, or was skipped behind a failed test."""
    models = [r for r in results if nodes[r.unique_id]["resource_type"] == "model"]
    stopped = [r for r in models if r.is_failed or r.status == "skipped"]
    if stopped:
        causes = [
            f"{nodes[r.unique_id]['name']} ({r.reason or 'rows break its rule'})"
            for r in results
            if r.is_failed
        ]
        raise DbtBuildError(
            "The dbt build stopped before every model was made",
            where=", ".join(nodes[r.unique_id]["name"] for r in stopped),
            why="; ".join(causes),
            fix="run: rcs status; then correct the delivery named there and deliver it again",
        )


@dg.asset(
    **asset_options(
        "wellbeing",
        "weights",
        zone="warehouse",
        sensitivity="pseudonymised",
        description="Weights of linked pupils, raked to the roll of the sample file by CPP, "
        "stage and sex of each survey (policy.md, Table B).",
        partitions=engagement_partitions(),
        deps=(
            ("wellbeing", "indicator_values"),
            ("intake", "sample"),
            ("programme", "register"),
        ),
    )
)
def weights(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[None]:
    """Make the weights of the engagements of the run."""
    rules = load_estimators(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        for key in context.partition_keys:
            made = write_weights(con, [key], rules.weight_ratio_limit)
            shown = public_count(made.rows_n)
            rows = {"dagster/row_count": shown} if isinstance(shown, int) else {}
            context.add_asset_metadata(
                {
                    **rows,
                    "collapsed_cells": made.collapsed_cells_n,
                    "largest_weight": round(made.largest_weight, 2),
                },
                partition_key=key,
            )
    return dg.MaterializeResult()


@dg.asset(
    **asset_options(
        "wellbeing",
        "estimates",
        zone="warehouse",
        sensitivity="aggregate",
        description="Every estimate before protection, unrounded: schools, clusters, CPPs, "
        "tranches and all by the breakdowns of each level, with the interval that policy.md "
        "Table B publishes.",
        deps=(
            ("wellbeing", "indicator_values"),
            ("wellbeing", "parent_indicator_values"),
            ("wellbeing", "weights"),
            ("linkage", "linked"),
            ("intake", "clusters"),
            ("intake", "sample"),
            ("codebook", "tables"),
            ("programme", "register"),
        ),
    )
)
def estimates(home: HomeResource) -> dg.MaterializeResult[None]:
    """Estimate every indicator for the engagements that delivered and are not left out."""
    kept = _engagements(home)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows_n = write_estimates(con, home.codebook(), kept, load_estimators(home.home().config))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows_n,
            "engagements": ", ".join(kept),
            **_column_lineage({"estimate": estimate_inputs(home.codebook())}),
        }
    )


def _engagements(home: HomeResource) -> list[str]:
    """Engagements that delivered and that the operator has not left out."""
    delivered = engagements_in_scope(home.home(), home.programme())
    return [key for key in delivered if key not in home.left_out]


@dg.asset(
    **asset_options(
        "wellbeing",
        "respondents",
        zone="warehouse",
        sensitivity="aggregate",
        description="Usable respondents, roll and participating schools of every school, "
        "cluster and CPP of each pupil survey, before protection.",
        deps=(
            ("wellbeing", "indicator_values"),
            ("intake", "clusters"),
            ("intake", "sample"),
            ("programme", "register"),
        ),
    )
)
def respondents(home: HomeResource) -> dg.MaterializeResult[None]:
    """Count who answered, for the engagements that delivered and are not left out."""
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows_n = write_respondents(con, _engagements(home), load_estimators(home.home().config))
    return dg.MaterializeResult(metadata={"dagster/row_count": rows_n})


@dg.asset(
    **asset_options(
        "wellbeing",
        "comparisons",
        zone="warehouse",
        sensitivity="aggregate",
        description="Schools and clusters against the rest of their CPP, CPPs against their "
        "tranche: differences, tests and verdicts before protection (policy.md, Table B).",
        deps=(
            ("wellbeing", "estimates"),
            ("wellbeing", "indicator_values"),
            ("wellbeing", "weights"),
            ("linkage", "linked"),
            ("intake", "clusters"),
            ("intake", "sample"),
            ("codebook", "tables"),
            ("programme", "register"),
        ),
    )
)
def comparisons(home: HomeResource) -> dg.MaterializeResult[None]:
    """Compare the areas of the engagements that delivered and are not left out."""
    rules = load_estimators(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows_n = write_comparisons(con, home.codebook(), _engagements(home), rules)
    return dg.MaterializeResult(metadata={"dagster/row_count": rows_n})


@dg.asset(
    **asset_options(
        "wellbeing",
        "changes",
        zone="warehouse",
        sensitivity="aggregate",
        description="Each wave of a CPP against the wave before it: differences of comparable "
        "questions with the covariance of shared schools and pupils, before protection; a CPP "
        "with one wave has the reason instead.",
        deps=(
            ("wellbeing", "estimates"),
            ("wellbeing", "indicator_values"),
            ("wellbeing", "weights"),
            ("linkage", "linked"),
            ("codebook", "tables"),
            ("programme", "register"),
        ),
    )
)
def changes(home: HomeResource) -> dg.MaterializeResult[None]:
    """Compare the waves of the engagements that delivered and are not left out."""
    rules = load_estimators(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows_n = write_changes(con, home.codebook(), _engagements(home), rules)
    return dg.MaterializeResult(metadata={"dagster/row_count": rows_n})


@dg.asset(
    **asset_options(
        "wellbeing",
        "nonresponse",
        zone="warehouse",
        sensitivity="aggregate",
        description="Pupils who did not answer (wellbeing.unit_nonresponse, and what weights cost) "
        "and questions that were not answered (wellbeing.item_nonresponse), by subgroup; for the "
        "safe haven.",
        deps=(
            ("wellbeing", "item_answers"),
            ("wellbeing", "weights"),
            ("intake", "sample"),
            ("programme", "register"),
        ),
    )
)
def nonresponse(home: HomeResource) -> dg.MaterializeResult[None]:
    """Count who and what was not answered, for the engagements that are not left out."""
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows_n = write_nonresponse(con, home.codebook(), _engagements(home))
    return dg.MaterializeResult(metadata={"dagster/row_count": rows_n})


@dg.asset(
    **asset_options(
        "wellbeing",
        "salsus_contrasts",
        zone="warehouse",
        sensitivity="aggregate",
        description="How far each council is from the others in RCS and in SALSUS, and the change "
        "of that: contrasts, never levels; unrounded, for the safe haven.",
        deps=(
            ("wellbeing", "indicator_values"),
            ("wellbeing", "scores"),
            ("wellbeing", "weights"),
            ("intake", "salsus"),
            ("programme", "register"),
        ),
    )
)
def salsus_contrasts(home: HomeResource) -> dg.MaterializeResult[None]:
    """Compare contrasts of the engagements that delivered and are not left out."""
    measures = load_measures(home.home().config)
    rules = load_estimators(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows_n = write_salsus_contrasts(con, _engagements(home), measures, rules)
    return dg.MaterializeResult(metadata={"dagster/row_count": rows_n})


@dg.asset(
    **asset_options(
        "wellbeing",
        "definition_sets",
        zone="warehouse",
        sensitivity="aggregate",
        description="Totals of CPPs and of all by each frozen definition set (2020 report, HWB "
        "parity) and by each earlier codebook that is kept, beside the current one, unrounded; for "
        "the safe haven.",
        deps=(
            ("wellbeing", "item_answers"),
            ("wellbeing", "weights"),
            ("wellbeing", "estimates"),
            ("codebook", "tables"),
        ),
    )
)
def definition_sets(home: HomeResource) -> dg.MaterializeResult[None]:
    """Count the same answers by each definition set."""
    with open_warehouse(home.home(), settings=home.settings()) as con:
        kept = frozen_codebooks(home.home().config)
        register = home.programme().engagements
        tranches = {key: register[key].tranche for key in _engagements(home)}
        rows_n = write_definition_sets(con, home.codebook(), tranches, kept)
    return dg.MaterializeResult(metadata={"dagster/row_count": rows_n})
