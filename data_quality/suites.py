"""The suites: what a steward expects at the boundaries intake, linked, estimates, candidate.

Belongs here: the expectations, each with its sentence, and where each limit comes
from. Does not belong here: numbers (`thresholds.csv`, `benchmarks.csv`, the codebook,
the disclosure policy), evaluation (`adapter.py`), the queries behind the frames.

An expectation stays only while a mutated delivery makes exactly it fail
(tests/mutation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from data_quality.ladder import GRAINS, ladder
from data_quality.model import (
    Between,
    Expectation,
    HoldsAll,
    NoneRepeated,
    NotAbove,
    OneOf,
    ReleaseRules,
    Suite,
)
from data_quality.thresholds import Benchmark, Threshold
from rcs_assets.codebook import Codebook

Thresholds = Mapping[str, Threshold]

ENGAGEMENT = ("engagement",)
BY_DATASET = ("engagement", "dataset")
BY_SURVEY = ("engagement", "survey")
CELL = (
    "audience",
    "tranche",
    "engagement",
    "survey",
    "geography_level",
    "geography_code",
    "breakdown",
    "group",
    "indicator",
    "statistic",
)
ESTIMATE = ("survey", "indicator", "geography_level", "geography_code", "breakdown", "group")
SHOWN = ("published", "u")
RECEIPTS = ("intake", "receipts")
LINKED = ("linkage", "linked")
LINK_RATES = ("linkage", "link_rates")
ITEM_ANSWERS = ("wellbeing", "item_answers")
SCORES = ("wellbeing", "scores")
ESTIMATES = ("wellbeing", "estimates")
CELLS = ("disclosure", "estimates")

SEE_RECEIPTS = "run: rcs status; read receipts/ for the rules that quarantined rows"
ASK_SUPPLIER = "ask the supplier for a corrected file, deliver it, then run: rcs materialise"


def _limit(
    thresholds: Thresholds,
    threshold: str,
    name: str,
    sentence: str,
    asset: tuple[str, str],
    column: str,
    fix: str,
    where: Mapping[str, tuple[str, ...]] | None = None,
    skips_nulls: bool = False,
) -> Expectation:
    """An expectation that a column (`frame.column`) lies within a dated threshold."""
    limit = thresholds[threshold]
    frame, _, name_of_column = column.partition(".")
    return Expectation(
        name=name,
        sentence=sentence,
        asset=asset,
        frame=frame,
        rule=Between(name_of_column, limit.low, limit.high, skips_nulls),
        source=limit.origin,
        fix=fix,
        where=where or {},
    )


def intake_suite(thresholds: Thresholds) -> Suite:
    """What was taken in: receipts, responses, rolls, records of councils, money, parents."""
    return Suite(
        boundary="intake",
        grains={
            "deliveries": BY_DATASET,
            "responses": BY_SURVEY,
            "rolls": ENGAGEMENT,
            "education": ENGAGEMENT,
            "social_work": ENGAGEMENT,
            "services": ENGAGEMENT,
            "budgets": ENGAGEMENT,
            "parents": ENGAGEMENT,
        },
        expectations=(
            *_deliveries(thresholds),
            *_responses(thresholds),
            *_rolls(thresholds),
            *_education(thresholds),
            *_social_work(thresholds),
            *_services(thresholds),
            *_budgets(thresholds),
            *_parents(thresholds),
        ),
    )


def _deliveries(thresholds: Thresholds) -> tuple[Expectation, ...]:
    return (
        _limit(
            thresholds,
            "quarantined",
            "few_rows_are_quarantined",
            "Of each delivered file only a small share of rows is quarantined",
            RECEIPTS,
            "deliveries.quarantined_pct",
            SEE_RECEIPTS,
        ),
        _limit(
            thresholds,
            "withdrawn",
            "few_rows_are_withdrawn",
            "Of each delivered file only a small share of rows is refused or opted out",
            RECEIPTS,
            "deliveries.withdrawn_pct",
            "compare opt-outs.csv and the consent code with the supplier's own count",
        ),
    )


def _responses(thresholds: Thresholds) -> tuple[Expectation, ...]:
    def responses(
        threshold: str, name: str, sentence: str, column: str, fix: str, skips_nulls: bool = False
    ) -> Expectation:
        return _limit(
            thresholds, threshold, name, sentence, RECEIPTS, column, fix, skips_nulls=skips_nulls
        )

    return (
        responses(
            "response_low",
            "at_least_half_responded",
            "In each survey at least half of the pupils on the roll answered",
            "responses.response_pct",
            "compare the number of records with the contractor's fieldwork report",
        ),
        responses(
            "response_high",
            "no_more_answers_than_pupils",
            "No survey has more answers than pupils on the roll",
            "responses.response_pct",
            "look for records of another area, or of test log-ins, in the survey file",
        ),
        responses(
            "outside_fieldwork",
            "answers_fall_into_fieldwork",
            "Answers were given between the first and the last day of fieldwork",
            "responses.outside_fieldwork_pct",
            "check the date column with the contractor, or correct the window in waves.csv",
        ),
        responses(
            "hardly_answered",
            "questionnaires_are_filled",
            "Hardly any pupil answered fewer than ten questions",
            "responses.hardly_answered_pct",
            ASK_SUPPLIER,
        ),
        responses(
            "straight_lining",
            "few_answer_in_a_straight_line",
            "Hardly any pupil chose the same option throughout a scale with reversed items",
            "responses.straight_lining_pct",
            ASK_SUPPLIER,
            skips_nulls=True,
        ),
    )


def _rolls(thresholds: Thresholds) -> tuple[Expectation, ...]:
    def roll(threshold: str, name: str, sentence: str, column: str, fix: str) -> Expectation:
        return _limit(thresholds, threshold, name, sentence, ("intake", "sample"), column, fix)

    return (
        roll(
            "roll_of_published",
            "sample_is_near_the_published_roll",
            "The sample file holds about as many pupils as the published roll of its schools",
            "rolls.roll_of_published_pct",
            "look for a stage or school that is in the sample file twice, or in part",
        ),
        roll(
            "unlisted_school",
            "schools_are_on_the_school_list",
            "Nearly all pupils of the sample file are in schools of the school list",
            "rolls.unlisted_school_pct",
            "compare the SEED codes of the sample file with the school list",
        ),
        roll(
            "female",
            "both_sexes_are_sampled",
            "About half of the pupils of the sample file are girls",
            "rolls.female_pct",
            ASK_SUPPLIER,
        ),
        roll(
            "smallest_stage",
            "every_stage_is_sampled",
            "Each stage that the wave surveys has about its share of the sample file",
            "rolls.smallest_stage_pct",
            "look for the missing stage in the sample file; stages of a wave are in waves.csv",
        ),
    )


def _education(thresholds: Thresholds) -> tuple[Expectation, ...]:
    def education(threshold: str, name: str, sentence: str, column: str) -> Expectation:
        return _limit(
            thresholds,
            threshold,
            name,
            sentence,
            ("intake", "education"),
            f"education.{column}",
            "ask the council how the column was filled; " + ASK_SUPPLIER,
        )

    return (
        education(
            "free_school_meal",
            "free_school_meals_are_plausible",
            "The share registered for free school meals is that of a Scottish council",
            "free_school_meal_pct",
        ),
        education(
            "asn",
            "support_needs_are_plausible",
            "The share with a recorded support need is that of a Scottish council",
            "asn_pct",
        ),
        education(
            "looked_after",
            "looked_after_is_plausible",
            "The share of looked after children is that of a Scottish council",
            "looked_after_pct",
        ),
        education(
            "attendance",
            "attendance_is_plausible",
            "Mean attendance is that of Scottish schools, in per cent",
            "attendance_pct",
        ),
        education(
            "exclusions",
            "exclusions_are_cases",
            "Exclusions are cases, not days or openings",
            "exclusions_per_1000",
        ),
        education(
            "ethnicity_unknown",
            "ethnic_background_is_recorded",
            "The ethnic background is recorded for nearly all pupils",
            "ethnicity_unknown_pct",
        ),
        education(
            "zone_blank",
            "homes_have_a_data_zone",
            "Nearly all homes could be placed in a data zone",
            "zone_blank_pct",
        ),
        education(
            "zone_unknown",
            "data_zones_are_of_one_vintage",
            "Data zones are those of 2011, on which SIMD 2016 stands",
            "zone_unknown_pct",
        ),
        education(
            "zone_elsewhere",
            "homes_lie_in_the_council",
            "Nearly all pupils live in the council whose schools they attend",
            "zone_elsewhere_pct",
        ),
        education(
            "roll_covered",
            "education_covers_the_roll",
            "The education extract has about one record a pupil of the sample file",
            "roll_covered_pct",
        ),
    )


def _social_work(thresholds: Thresholds) -> tuple[Expectation, ...]:
    def social_work(threshold: str, name: str, sentence: str, column: str) -> Expectation:
        return _limit(
            thresholds,
            threshold,
            name,
            sentence,
            ("intake", "social_work"),
            f"social_work.{column}",
            "ask the social work service whom its extract holds; " + ASK_SUPPLIER,
        )

    return (
        social_work(
            "social_work_known",
            "social_work_knows_a_few",
            "Social work holds a record of some pupils in a hundred",
            "known_pct",
        ),
        social_work(
            "social_work_looked_after",
            "looked_after_records_are_plausible",
            "The share that social work looks after now is that of a Scottish council",
            "looked_after_pct",
        ),
    )


def _services(thresholds: Thresholds) -> tuple[Expectation, ...]:
    def services(threshold: str, name: str, sentence: str, column: str) -> Expectation:
        return _limit(
            thresholds,
            threshold,
            name,
            sentence,
            ("intake", "service_map"),
            f"services.{column}",
            "ask the CPP project manager for a corrected service map and deliver it",
        )

    return (
        services(
            "cost_per_pupil",
            "service_costs_are_in_pounds",
            "The cost of all services a pupil is that of a community planning partnership",
            "cost_per_pupil_gbp",
        ),
        services(
            "domains",
            "services_cover_the_outcomes",
            "The service map names services for most of the eight SHANARRI outcomes",
            "domains_named",
        ),
    )


def _budgets(thresholds: Thresholds) -> tuple[Expectation, ...]:
    def budgets(
        threshold: str, name: str, sentence: str, column: str, skips_nulls: bool = False
    ) -> Expectation:
        return _limit(
            thresholds,
            threshold,
            name,
            sentence,
            ("intake", "budgets"),
            f"budgets.{column}",
            "compare budgets and service map with the CPP project manager; deliver the file "
            "that was wrong",
            skips_nulls=skips_nulls,
        )

    return (
        budgets(
            "budget_used",
            "costs_stay_within_budgets",
            "In no sector do the mapped services cost more than its budget",
            "used_pct",
        ),
        budgets(
            "board_shared",
            "boards_are_shared_once",
            "The parts that CPPs have of a health board's budget sum to no more than all of it",
            "board_shared_pct",
            skips_nulls=True,
        ),
    )


def _parents(thresholds: Thresholds) -> tuple[Expectation, ...]:
    def parents(threshold: str, name: str, sentence: str, column: str) -> Expectation:
        expectation = _limit(
            thresholds,
            threshold,
            name,
            sentence,
            ("intake", "parent_survey"),
            f"parents.{column}",
            "compare the quotas with the contractor's fieldwork report",
        )
        return _optional(expectation)

    return (
        parents(
            "interviews",
            "parent_interviews_fill_the_quota",
            "Each area that held the parent survey has about the agreed number of interviews",
            "interviews_n",
        ),
        parents(
            "ages",
            "parents_of_every_age_are_asked",
            "There are interviews about children of each age from 0 to 8",
            "ages_asked",
        ),
        parents(
            "largest_quintile",
            "parent_interviews_are_spread",
            "Interviews are spread over SIMD quintiles",
            "largest_quintile_pct",
        ),
    )


def _optional(expectation: Expectation) -> Expectation:
    """The same, passing where there is nothing to judge (no engagement held that survey)."""
    return replace(expectation, needs_rows=False)


def linked_suite(codebook: Codebook, thresholds: Thresholds) -> Suite:
    """What was linked, answered and scored."""
    return Suite(
        boundary="linked",
        grains={
            "links": BY_SURVEY,
            "answering": BY_SURVEY,
            "link_rates": BY_DATASET,
            "social_work_links": ENGAGEMENT,
            "items": ("engagement", "survey", "variable"),
            "scores": ("engagement", "survey", "score"),
        },
        expectations=(
            *_links(thresholds),
            *_items(thresholds),
            *_score_means(codebook, thresholds),
        ),
    )


def _links(thresholds: Thresholds) -> tuple[Expectation, ...]:
    def links(
        threshold: str, name: str, sentence: str, column: str, asset: tuple[str, str] = LINKED
    ) -> Expectation:
        return _limit(
            thresholds,
            threshold,
            name,
            sentence,
            asset,
            column,
            "compare the identifiers of the files with the sample file's; then deliver the "
            "corrected file and run: rcs materialise",
        )

    return (
        links(
            "linked",
            "answers_link_to_the_sample",
            "Nearly all answers carry a UID of the sample file",
            "links.linked_pct",
        ),
        links(
            "education_linked",
            "pupils_link_to_education",
            "Nearly all linked pupils have an education record",
            "links.education_pct",
        ),
        links(
            "education_sex_gap",
            "links_work_alike_for_both_sexes",
            "Education records are found about as often for girls as for boys",
            "links.education_sex_gap_pct",
        ),
        links(
            "zone_known",
            "deprivation_is_known",
            "Nearly all linked education records bring a SIMD quintile",
            "links.zone_known_pct",
        ),
        links(
            "smallest_stage_response",
            "every_stage_responds",
            "Each stage that was surveyed has answers from a good part of its roll",
            "answering.smallest_stage_response_pct",
        ),
        links(
            "schools_answering",
            "most_schools_respond",
            "Answers come from most schools with ten or more pupils invited",
            "answering.schools_answering_pct",
        ),
        links(
            "response_sex_gap",
            "both_sexes_respond",
            "Girls and boys respond about alike",
            "answering.response_sex_gap_pct",
        ),
        links(
            "ambiguous",
            "identifiers_belong_to_one_child",
            "Hardly any record carries an identifier that two children hold",
            "link_rates.ambiguous_pct",
            LINK_RATES,
        ),
        links(
            "social_work_linked",
            "social_work_records_link_to_pupils",
            "Most social work records lead to a pupil of the sample file",
            "social_work_links.linked_pct",
            LINK_RATES,
        ),
        links(
            "social_work_clerical",
            "few_links_wait_for_a_clerk",
            "Only a small share of social work records waits for a clerk",
            "social_work_links.clerical_pct",
            LINK_RATES,
        ),
        links(
            "social_work_precision",
            "social_work_links_are_right",
            "By the model's own estimate nearly all links of social work records are right",
            "social_work_links.precision_pct",
            LINK_RATES,
        ),
    )


def _items(thresholds: Thresholds) -> tuple[Expectation, ...]:
    def items(threshold: str, name: str, sentence: str, column: str) -> Expectation:
        return _limit(
            thresholds,
            threshold,
            name,
            sentence,
            ITEM_ANSWERS,
            f"items.{column}",
            "compare the column with the questionnaire version in the codebook; " + ASK_SUPPLIER,
            skips_nulls=True,
        )

    return (
        items(
            "skipped",
            "no_question_is_skipped_by_many",
            "No question of the codebook is skipped by many of those who were asked",
            "skipped_pct",
        ),
        items(
            "not_said",
            "few_prefer_not_to_say",
            "No question of the codebook gets many 'prefer not to say'",
            "not_said_pct",
        ),
        items(
            "top_option",
            "no_question_has_one_answer",
            "No question of the codebook is answered alike by all",
            "top_option_pct",
        ),
        items(
            "rest_correlation",
            "items_run_with_their_scale",
            "Each item of a scale runs with the rest of its scale, once turned the same way",
            "rest_correlation",
        ),
    )


def _score_means(codebook: Codebook, thresholds: Thresholds) -> tuple[Expectation, ...]:
    scored = _limit(
        thresholds,
        "scored",
        "most_pupils_have_scores",
        "Of the pupils who were asked, most have each score",
        SCORES,
        "scores.scored_pct",
        "look at the share of skipped items of that scale (wellbeing.item_answers)",
    )
    means = tuple(
        _limit(
            thresholds,
            f"mean_{scale.name}",
            f"mean_of_{scale.name}_is_plausible",
            f"The mean of {scale.title.lower()} is near the published norm in every area",
            SCORES,
            "scores.mean",
            "compare the value labels of the items with the questionnaire version in the codebook",
            where={"score": (scale.name,)},
        )
        for instrument in codebook.instruments.values()
        for scale in instrument.scales
        if f"mean_{scale.name}" in thresholds
    )
    return (scored, *map(_optional, means))


def estimates_suite(benchmarks: tuple[Benchmark, ...], thresholds: Thresholds) -> Suite:
    """The quality ladder of the estimates, published figures its last rung; before protection."""
    return Suite(
        boundary="estimates",
        grains={**GRAINS, "estimates": ESTIMATE},
        expectations=(
            *ladder(thresholds),
            *(_benchmark(benchmark) for benchmark in benchmarks),
        ),
    )


def candidate_suite(
    codebook: Codebook,
    rules: ReleaseRules,
    thresholds: Thresholds,
) -> Suite:
    """What stands ready for release, cell by cell."""
    return Suite(
        boundary="candidate",
        grains={
            "cells": CELL,
            "coverage": ("audience", "survey"),
            "drift": ("audience", "survey"),
        },
        expectations=(
            *_cell_forms(codebook, rules),
            *_cell_bases(rules),
            _limit(
                thresholds,
                "shown_totals",
                "most_totals_are_shown",
                "Of the totals of each audience most can be shown",
                CELLS,
                "coverage.shown_totals_pct",
                "look for a cut file or a threshold that was raised; run: rcs status",
            ),
            _limit(
                thresholds,
                "hidden_since_last_release",
                "few_cells_are_hidden_since_the_last_release",
                "Few cells that the last release showed are hidden now",
                CELLS,
                "drift.hidden_since_pct",
                "look what was withdrawn, cut or raised since; batch withdrawals; if it is meant, "
                "add a threshold with its reason (config/thresholds.csv)",
            ),
            _limit(
                thresholds,
                "held_for_withdrawals",
                "withdrawals_hide_few_cells",
                "A batch of withdrawals hides a limited share of what the last release showed",
                CELLS,
                "drift.held_for_batch_pct",
                "put it to the steward: check the lists of opt-outs; "
                "if it is meant, add a threshold with its reason (config/thresholds.csv)",
            ),
            _limit(
                thresholds,
                "moved_since_last_release",
                "figures_moved_little_since_the_last_release",
                "Percentages of totals are about where the last release had them",
                CELLS,
                "drift.moved_points",
                "compare: rcs release diff; if a correction explains it, add a threshold with its "
                "reason (config/thresholds.csv)",
            ),
        ),
    )


def _cell(
    name: str,
    sentence: str,
    rule: Between | OneOf | HoldsAll | NoneRepeated | NotAbove,
    source: str,
    where: Mapping[str, tuple[str, ...]] | None = None,
) -> Expectation:
    return Expectation(
        name=name,
        sentence=sentence,
        asset=CELLS,
        frame="cells",
        rule=rule,
        source=source,
        fix="do not publish; report the check and its places as a defect of disclosure",
        where=where or {},
    )


def _cell_forms(codebook: Codebook, rules: ReleaseRules) -> tuple[Expectation, ...]:
    contract = "interfaces.md, estimates"
    hidden = tuple(status for status in rules.statuses if status not in SHOWN)
    return (
        _cell("cells_are_listed_once", "No cell is listed twice", NoneRepeated(CELL), contract),
        _cell(
            "statuses_are_known",
            "Every cell has one of the agreed statuses",
            OneOf("status", rules.statuses),
            f"disclosure policy {rules.label}, statuses",
        ),
        _cell(
            "notes_are_known",
            "A note says low, high or indicative, or nothing",
            OneOf("note", rules.notes),
            "policy.md, How protection is judged",
        ),
        _cell(
            "every_indicator_is_there",
            "Every indicator of the codebook has cells, shown or not, where its survey was held",
            HoldsAll(
                "indicator",
                tuple(codebook.indicators),
                key="survey",
                key_of={name: i.survey for name, i in codebook.indicators.items()},
            ),
            f"codebook {codebook.version[:12]}",
        ),
        _cell(
            "hidden_cells_are_empty",
            "A cell that is hidden has no n, no estimate and no interval",
            Between("figures_filled", 0, 0),
            contract,
            where={"status": hidden},
        ),
        _cell(
            "shown_cells_are_filled",
            "A cell that is shown has an n and an estimate",
            Between("main_figures_filled", 2, 2),
            contract,
            where={"status": SHOWN},
        ),
        _cell(
            "percentages_are_percentages",
            "Percentages lie between 0 and 100",
            Between("estimate", 0, 100, skips_nulls=True),
            contract,
            where={"statistic": ("pct",)},
        ),
        _cell(
            "means_lie_on_their_scale",
            "Means lie between the lowest and the highest score of their scale",
            Between("mean_position_pct", 0, 100, skips_nulls=True),
            f"codebook {codebook.version[:12]}, scales",
            where={"statistic": ("mean",)},
        ),
        _cell(
            "estimates_reach_their_lower_bound",
            "No estimate lies below its interval",
            NotAbove("ci_low", "estimate"),
            "policy.md, An interval gives away its inputs",
        ),
        _cell(
            "estimates_keep_their_upper_bound",
            "No estimate lies above its interval",
            NotAbove("estimate", "ci_high"),
            "policy.md, An interval gives away its inputs",
        ),
        _cell(
            "wide_intervals_are_marked",
            "A percentage without the mark u has an interval of at most so many points",
            Between("interval_width", None, rules.unreliable_interval_wider_than, skips_nulls=True),
            f"disclosure policy {rules.label}, unreliable",
            where={"status": ("published",), "statistic": ("pct",)},
        ),
        _cell(
            "small_bases_are_marked",
            "A cell without the mark u rests on at least so many pupils",
            Between("n", rules.unreliable_n_below, None),
            f"disclosure policy {rules.label}, unreliable",
            where={"status": ("published",)},
        ),
    )


def _cell_bases(rules: ReleaseRules) -> tuple[Expectation, ...]:
    """By audience and sensitivity: bases and steps are such that n, rounded, reaches its base.

    Of a small programme no sensitive cell may be shown at all: then there is none to judge.
    """
    expectations = (
        _cell(
            f"{base.kind}_{'sensitive_' if base.is_sensitive else ''}cells_have_their_base",
            f"Every {'sensitive ' if base.is_sensitive else ''}cell shown to {base.kind} "
            "rests on enough pupils",
            Between("n", base.pupils, None),
            base.source,
            where={
                "kind": (base.kind,),
                "status": SHOWN,
                "sensitivity": ("sensitive" if base.is_sensitive else "ordinary",),
            },
        )
        for base in rules.bases
    )
    return tuple(
        replace(expectation, needs_rows=not base.is_sensitive)
        for expectation, base in zip(expectations, rules.bases, strict=True)
    )


def _benchmark(benchmark: Benchmark) -> Expectation:
    return Expectation(
        name=f"benchmark_{benchmark.name}",
        sentence=f"{benchmark.indicator} resembles the published figure: {benchmark.reason}",
        asset=ESTIMATES,
        frame="estimates",
        rule=Between("estimate", benchmark.low, benchmark.high),
        source=benchmark.origin,
        fix="compare codes, cut-off and coding of the items with the codebook "
        "before anything is published",
        where={
            "indicator": (benchmark.indicator,),
            "survey": (benchmark.survey,),
            "geography_level": (benchmark.geography_level,),
            "breakdown": (benchmark.breakdown,),
            "group": (benchmark.group,),
        },
        # Where a survey was not held, nothing of it can resemble anything.
        only_with={"survey": (benchmark.survey,)},
    )
