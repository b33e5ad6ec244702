"""Made-up release packages in the released columns, for tests of pages.

Belongs here: writing folders as release writes them, with invented figures. Does not belong
here: any figure of a simulation, and assertions.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rcs_assets.codebook import load_codebook

ENGAGEMENT, TRANCHE, COUNCIL = "t2-falkirk", "t2", "S12000014"
EARLIER = "t1-falkirk"
SCHOOL = "5500001"
CLUSTER = "C5500009"
ESTIMATES = (
    "release tranche engagement survey geography_level geography_code geography_name breakdown "
    "group indicator statistic n estimate ci_low ci_high status note"
).split()
GEOGRAPHIES = "geography_level geography_code geography_name parent_level parent_code".split()
INDICATORS = (
    "indicator title domain direction definition denominator stages instrument source is_sensitive "
    "sentence is_core comparability"
).split()
COMPARISONS = (
    "engagement survey geography_level geography_code indicator statistic comparator verdict status"
).split()
PARTICIPATION = (
    "engagement survey geography_level geography_code respondents_n roll_n response_band "
    "schools_n status"
).split()
REACH = (
    "engagement breakdown group need need_level service n observed_pct ci_low ci_high "
    "corrected_pct bound_low bound_high status"
).split()
RECIPIENTS = "engagement survey service n not_responded_pct status".split()
SPEND = "engagement sector tier age_band funding_origin domain gbp children_n status".split()
CHANGES = (
    "engagement earlier_engagement survey geography_code geography_name breakdown group indicator "
    "statistic n earlier_estimate later_estimate change ci_low ci_high verdict status note"
).split()
OUTCOMES = (
    "engagement geography_name domain survey indicator title is_core direction estimate ci_low "
    "ci_high status sentence"
).split()
MODELS = (
    "survey outcome kind factor level odds_ratio ci_low ci_high is_clear effect_points effect_low "
    "effect_high value n status"
).split()
RISKS = (
    "survey outcome kind domain factor title level n share_pct outcome_pct ci_low ci_high status"
).split()
STAGES = {"primary": ("P5", "P6", "P7"), "secondary": ("S1", "S2", "S3", "S4"), "parent": ()}

TECHNICAL = """# Technical report

**SIMULATED: no record is of a real child.**

Falkirk. Written by the run.

| what | which |
| --- | --- |
| Release | 2020.06.30 of 2020-06-30 |

## Fieldwork

A census \\*asked\\* every <b>pupil</b>; [no](other.html).

| area | survey | records | fieldwork |
| --- | --- | --- | --- |
| Falkirk | primary | 1,960 | 2017-01-09 to 2017-06-30 |
| A \\| B | secondary | [c] | 2017-01-09 to 2017-06-30 |

| status | cells |
| --- | --- |
| published | 12 |

## Limits

Answers are of one day.
"""

# (indicator, breakdown, group) → status, or status and note
Statuses = Callable[[str, str, str], str]


def all_shown(indicator: str, breakdown: str, group: str) -> str:
    return "published"


def all_hidden(indicator: str, breakdown: str, group: str) -> str:
    return "c"


def some_hidden(indicator: str, breakdown: str, group: str) -> str:
    pick = _draw(indicator, breakdown, group) % 9
    return {0: "c", 1: "c low", 2: "u"}.get(pick, "published")


def _draw(*parts: str) -> int:
    return zlib.crc32("/".join(parts).encode())


def cells(
    survey: str,
    level: str,
    code: str,
    name: str,
    *,
    statuses: Statuses = all_shown,
    breakdowns: Iterable[str] = ("total",),
    engagement: str | None = ENGAGEMENT,
    n: int = 120,
    step: int = 1,
) -> list[dict[str, str]]:
    """Rows of `estimates` for one place, every indicator of a survey."""
    rows = []
    for indicator in load_codebook().indicators.values():
        if indicator.survey != survey:
            continue
        for breakdown in breakdowns:
            for group in _groups(survey, breakdown):
                row = dict.fromkeys(ESTIMATES, "") | {
                    "release": "2020.06.30",
                    "tranche": TRANCHE if level != "all" else "",
                    "engagement": engagement or "",
                    "survey": survey,
                    "geography_level": level,
                    "geography_code": code,
                    "geography_name": name,
                    "breakdown": breakdown,
                    "group": group,
                    "indicator": indicator.name,
                    "statistic": indicator.statistic,
                }
                status, _, note = statuses(indicator.name, breakdown, group).partition(" ")
                row |= {"status": status, "note": note}
                if status in ("published", "u"):
                    row |= _figures(indicator, code, breakdown, group, n, step)
                rows.append(row)
    return rows


def _groups(survey: str, breakdown: str) -> list[str]:
    if breakdown == "stage:sex":
        return [f"{stage}:{sex}" for stage in STAGES[survey] for sex in "FM"]
    return {
        "total": ["all"],
        "sex": ["F", "M"],
        "stage": list(STAGES[survey]),
        "simd_quintile": list("12345"),
        "asn": ["N", "Y"],
        "looked_after": ["N", "Y"],
        "ethnicity": ["other", "white"],
    }[breakdown]


def _figures(indicator, code: str, breakdown: str, group: str, n: int, step: int) -> dict[str, str]:
    base = 15 + _draw(indicator.name) % 70
    shift = _shift(indicator.name, code)
    if breakdown != "total":
        shift += _draw(indicator.name, code, breakdown, group) % 17 - 8
    width = 4 if code == COUNCIL else 8
    if breakdown == "simd_quintile":
        shift = 4 * int(group) - 12
    if indicator.statistic == "mean":
        low, high = {"p": (5, 20), "s": (7, 35)}[indicator.name[0]]
        middle = low + (high - low) * (base + shift) / 100
        return {
            "n": str(n), "estimate": f"{middle:.1f}",
            "ci_low": f"{middle - 0.6:.1f}", "ci_high": f"{middle + 0.6:.1f}",
        }  # fmt: skip
    estimate = min(max(base + shift, 1), 99) // step * step
    return {
        "n": str(n), "estimate": f"{estimate}.0",
        "ci_low": f"{max(estimate - width, 0)}.0", "ci_high": f"{min(estimate + width, 100)}.0",
    }  # fmt: skip


def _shift(indicator: str, code: str) -> int:
    return _draw(indicator, code) % 17 - 8


def indicators() -> list[dict[str, str]]:
    return [
        {
            "indicator": i.name, "title": i.title, "domain": i.domain, "direction": i.direction,
            "definition": i.definition, "denominator": i.denominator,
            "stages": ", ".join(i.stages), "instrument": i.instrument, "source": i.source,
            "is_sensitive": str(i.is_sensitive).lower(), "sentence": i.sentence,
            "is_core": str(i.is_core).lower(),
            "comparability": "comparable",
        }
        for i in load_codebook().indicators.values()
    ]  # fmt: skip


def comparisons(
    survey: str,
    level: str,
    code: str,
    *,
    statuses: Statuses = all_shown,
    verdict: Callable[[str], str] | None = None,
) -> list[dict[str, str]]:
    """One row an indicator; the default gives each verdict to some."""
    rows = []
    for indicator in load_codebook().indicators.values():
        if indicator.survey != survey or indicator.direction == "context":
            continue
        shown = not statuses(indicator.name, "total", "all").startswith("c")
        found = verdict(indicator.name) if verdict else _verdict(indicator, code)
        rows.append(
            {
                "engagement": ENGAGEMENT, "survey": survey, "geography_level": level,
                "geography_code": code, "indicator": indicator.name,
                "statistic": indicator.statistic, "comparator": "rest_of_cpp",
                "verdict": found if shown else "", "status": "published" if shown else "c",
            }
        )  # fmt: skip
    return rows


def _verdict(indicator, code: str) -> str:
    """Of the made-up figures: a gap of more than nine points counts."""
    other = COUNCIL if code != COUNCIL else TRANCHE
    gap = _shift(indicator.name, code) - _shift(indicator.name, other)
    if abs(gap) <= 9:
        return "similar"
    return "better" if (gap > 0) == (indicator.direction == "higher_better") else "worse"


def geographies(schools: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    rows = [
        ("all", "all", "All areas of the programme", "", ""),
        ("tranche", TRANCHE, "Tranche 2 (2016-17)", "all", "all"),
        ("cpp", COUNCIL, "Falkirk", "tranche", TRANCHE),
        ("cluster", CLUSTER, "Carron Bridge High cluster", "cpp", COUNCIL),
        *(("school", code, name, "cluster", CLUSTER) for code, name in schools),
    ]
    return [dict(zip(GEOGRAPHIES, row, strict=True)) for row in rows]


def participation(survey: str, level: str, code: str, **values: str) -> dict[str, str]:
    row = dict.fromkeys(PARTICIPATION, "") | {
        "engagement": ENGAGEMENT, "survey": survey, "geography_level": level,
        "geography_code": code, "respondents_n": "445", "roll_n": "634",
        "response_band": "70-74 %", "status": "published",
    }  # fmt: skip
    return row | values


def write_school(
    folder: Path,
    *,
    surveys: Iterable[str] = ("secondary",),
    name: str = "Carron Bridge High School",
    area: str = "Falkirk",
    statuses: Statuses = some_hidden,
    verdict: Callable[[str], str] | None = None,
    breakdowns: Iterable[str] = ("total", "sex", "stage", "stage:sex"),
    n: int = 120,
    step: int = 1,
    simulated: bool = True,
) -> Path:
    """A school package: CSV files and a manifest."""
    rows, rated, shares = [], [], []
    for survey in surveys:
        rows += cells(
            survey, "school", SCHOOL, name, statuses=statuses, breakdowns=breakdowns, n=n, step=step
        )
        rows += cells(survey, "cpp", COUNCIL, area, breakdowns=("total", "sex", "stage"), n=3000)
        rated += comparisons(survey, "school", SCHOOL, statuses=statuses, verdict=verdict)
        shares.append(participation(survey, "school", SCHOOL))
    _csv(folder / "table.csv", ESTIMATES, rows)
    _csv(folder / "indicators.csv", INDICATORS, indicators())
    _csv(folder / "comparisons.csv", COMPARISONS, rated)
    _csv(folder / "geographies.csv", GEOGRAPHIES, geographies([(SCHOOL, name)]))
    _csv(folder / "participation.csv", PARTICIPATION, shares)
    _manifest(folder, f"school/{SCHOOL}", simulated)
    return folder


def write_cpp(
    folder: Path,
    *,
    statuses: Statuses = all_shown,
    summary: str | None = None,
    schools: int = 6,
    services: bool = True,
    waves: int = 1,
) -> Path:
    """A CPP package: Parquet files, with clusters, schools, reach and spend.

    With two `waves` it has changes since tranche 1.
    """
    named = [(f"55000{i:02}", f"Made-up Primary {chr(65 + i)}") for i in range(schools)]
    wide = ("total", "sex", "stage", "stage:sex", "simd_quintile", "asn", "looked_after")
    estimates = cells(
        "primary", "cpp", COUNCIL, "Falkirk", breakdowns=wide, statuses=statuses, n=3000
    )
    estimates += cells(
        "secondary", "cpp", COUNCIL, "Falkirk", breakdowns=wide, statuses=statuses, n=2500
    )
    estimates += cells("parent", "cpp", COUNCIL, "Falkirk", statuses=statuses, n=450)
    estimates += cells(
        "primary",
        "cluster",
        CLUSTER,
        "Carron Bridge High cluster",
        breakdowns=("total", "sex", "stage"),
        statuses=some_hidden,
    )
    estimates += cells(
        "primary",
        "cluster",
        f"{CLUSTER}-small",
        "Small schools of Carron Bridge High cluster",
        n=40,
    )
    for survey in ("primary", "secondary"):
        estimates += cells(
            survey, "tranche", TRANCHE, "Tranche 2 (2016-17)", engagement=None, n=8000
        )
    for code, name in named:
        estimates += cells("primary", "school", code, name, statuses=some_hidden, n=60)
    rated = [
        row
        for code, _ in named
        for row in comparisons("primary", "school", code, statuses=some_hidden)
    ]
    rated += comparisons("primary", "cpp", COUNCIL, statuses=statuses)
    rated += comparisons("secondary", "cpp", COUNCIL, statuses=statuses)
    rated += comparisons("primary", "cluster", CLUSTER, statuses=some_hidden)
    shares = [
        participation(s, "cpp", COUNCIL, respondents_n="3050", roll_n="4100", schools_n="31")
        for s in ("primary", "secondary")
    ]
    tables = {
        "estimates": (ESTIMATES, estimates),
        "indicators": (INDICATORS, indicators()),
        "comparisons": (COMPARISONS, rated),
        "geographies": (GEOGRAPHIES, geographies(named)),
        "participation": (PARTICIPATION, shares),
    }
    if services:
        tables |= {
            "reach": (REACH, reach(ENGAGEMENT)),
            "recipients": (RECIPIENTS, recipients(ENGAGEMENT)),
            "spend": (SPEND, spend(ENGAGEMENT)),
        }
    if waves == 2:
        first = ("tranche", "t1", "Tranche 1 (2015-16)", "all", "all")
        tables["geographies"][1].append(dict(zip(GEOGRAPHIES, first, strict=True)))
        tables["changes"] = (CHANGES, changes())
    own = [e for e in estimates if (e["geography_level"], e["breakdown"]) == ("cpp", "total")]
    tables["outcomes"] = (OUTCOMES, outcomes(own))
    for table, (columns, rows) in tables.items():
        _parquet(folder / "parquet" / f"{table}.parquet", columns, rows)
    (folder / "technical_report.md").write_text(TECHNICAL, encoding="utf-8")
    if summary is not None:
        (folder / "summary.md").write_text(summary, encoding="utf-8")
    _manifest(folder, f"cpp/{ENGAGEMENT}", True)
    return folder


def write_public(folder: Path, *, findings: str = "clear", waves: int = 1) -> Path:
    """The public package with two CPPs; `findings` are clear, unclear, hidden or none.

    With two `waves`, Falkirk was asked in tranche 1 too.
    """
    estimates, listed = [], geographies([])
    if waves == 2:
        above = ("cpp", COUNCIL, "Falkirk", "tranche", "t1")
        listed.insert(0, dict(zip(GEOGRAPHIES, above, strict=True)))
        listed.append(
            dict(
                zip(
                    GEOGRAPHIES, ("tranche", "t1", "Tranche 1 (2015-16)", "all", "all"), strict=True
                )
            )
        )
        estimates += cells("secondary", "cpp", COUNCIL, "Falkirk", engagement=EARLIER, n=2800)
    for survey in ("primary", "secondary"):
        for code, name in (("t1", "Tranche 1 (2015-16)"), (TRANCHE, "Tranche 2 (2016-17)")):
            estimates += cells(survey, "tranche", code, name, engagement=None, n=4000)
        estimates += cells(
            survey,
            "all",
            "all",
            "All areas of the programme",
            engagement=None,
            breakdowns=("total", "sex", "stage", "simd_quintile"),
            n=9000,
        )
        estimates += cells(survey, "cpp", COUNCIL, "Falkirk", n=3000)
        estimates += cells(
            survey,
            "cpp",
            "S12000005",
            "Clackmannanshire",
            engagement="t1-clackmannanshire",
            statuses=some_hidden,
            n=900,
        )
    tables = {
        "estimates": (ESTIMATES, estimates),
        "indicators": (INDICATORS, indicators()),
        "comparisons": (COMPARISONS, []),
        "geographies": (GEOGRAPHIES, listed),
        "participation": (PARTICIPATION, []),
        "reach": (REACH, reach(ENGAGEMENT)),
        "recipients": (RECIPIENTS, recipients(ENGAGEMENT)),
        "spend": (SPEND, spend(ENGAGEMENT)),
    }
    if waves == 2:
        tables["changes"] = (CHANGES, changes())
    if findings != "none":
        tables |= {"models": (MODELS, models(findings)), "risks": (RISKS, risks())}
    for table, (columns, rows) in tables.items():
        _parquet(folder / "parquet" / f"{table}.parquet", columns, rows)
    (folder / "technical_report.md").write_text(TECHNICAL, encoding="utf-8")
    _manifest(folder, "public", True)
    return folder


def write_haven(folder: Path, *, records: Mapping[str, str] | None = None) -> Path:
    """The safe haven's tables of linkage: two areas, one of them linked by an outside indexer.

    Args:
        folder: where to.
        records: what stands in each file's row in the place of what is made up here.
    """
    areas = (ENGAGEMENT, "t1-clackmannanshire")
    shared = {"engagement": ENGAGEMENT, "dataset": "social_work", "breakdown": "sex", "group": "F"}
    ends = {"ci_low": "80.00", "ci_high": "99.00"}
    rates = [
        shared | {
            "engagement": area, "records_n": "1343", "linked_n": "1300", "clerical_n": "7",
            "missed_n": "2.5" if known else "", "is_encoded": str(known).lower(),
            **{
                name: value if known else ""
                for name, value in (
                    ("estimated_precision", "0.9996"), ("precision_low", "0.9981"),
                    ("precision_high", "1.0000"), ("estimated_recall", "0.9754"),
                    ("recall_low", "0.9700"), ("recall_high", "0.9800"),
                )
            },
            **(records or {}),
        }
        for area, known in zip(areas, (True, False), strict=True)
    ]  # fmt: skip
    groups = [
        shared | ends | {
            "breakdown": breakdown, "group": group, "records_n": "45", "linked_pct": "88.89",
            "false_pct": "0.03", "false_low": "0.00", "false_high": "0.30", "missed_pct": "11.20",
            "missed_low": "1.00", "missed_high": "20.00", "linked_share_pct": "10.00",
            "unlinked_share_pct": "30.00", "std_difference": "-0.500",
        }
        for breakdown, group in (("looked_after_status", "currently_away"), ("total", "all"))
    ]  # fmt: skip
    sensitivity = [
        shared | ends | {
            "breakdown": "stage:sex", "group": "S2:F", "pupils_n": "300", "linked_n": "40",
            "missed_n": "1.5", "sensitivity_pct": "96.40",
        }
    ]  # fmt: skip
    flow = [
        {"engagement": area, "dataset": dataset, "step_no": "1", "step": step, "n": n}
        for area in areas
        for dataset, step, n in (
            ("pupils", "invited", "2000"), ("pupils", "answered", "1500"),
            ("social_work", "received", "1350"), ("social_work", "quarantined", "7"),
            ("social_work", "accepted", "1343"), ("social_work", "linked", "1300"),
            ("social_work", "waits for a clerk", "7"), ("social_work", "not linked", "36"),
        )
    ]  # fmt: skip
    effects = [
        {
            "engagement": ENGAGEMENT, "survey": "secondary", "kind": "reach",
            "result": "low_mood, high: social_work", "scenario": scenario, "pupils_n": "400",
            "counted_n": "40", "pct": "10.00", "difference": difference,
        }
        for scenario, difference in (("as linked", "0.00"), ("exact only", "-1.25"))
    ]  # fmt: skip
    model = [
        {
            "model_id": "ab" * 32, "origin": "shipped", "splink_version": "5.0.0",
            "field": "date_of_birth", "level_no": "1", "level": "same", "m": "0.920000000",
            "u": "0.000400000", "match_weight": "11.17", "has_term_frequency": "false",
        }
    ]  # fmt: skip
    items = [
        {"guideline": "RECORD 6.3", "label": "Flow", "answer": "2,000 invited", "filled_by": "run"}
    ]
    for table, rows in (
        ("link_rates", rates), ("link_rates_by_group", groups), ("link_sensitivity", sensitivity),
        ("link_flow", flow), ("link_effects", effects), ("link_model", model),
        ("link_items", items),
    ):  # fmt: skip
        _parquet(folder / "parquet" / f"{table}.parquet", list(rows[0]), rows, numbers=())
    _manifest(folder, "safe_haven", True)
    return folder


def outcomes(own: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """A sentence for each shown total of a CPP, as the table `outcomes` has them."""
    known = load_codebook().indicators
    rows = []
    for cell in own:
        indicator = known[cell["indicator"]]
        row = {column: cell.get(column, "") for column in OUTCOMES} | {
            "domain": indicator.domain, "title": indicator.title,
            "is_core": str(indicator.is_core).lower(), "direction": indicator.direction,
            "sentence": f"{cell['estimate']} of those asked: {indicator.title}.",
        }  # fmt: skip
        rows.append(row if cell["estimate"] else row | {"sentence": ""})
    return rows


def changes() -> list[dict[str, str]]:
    """Secondary totals of Falkirk in tranche 2 against tranche 1, with a row of each kind."""
    kinds = {
        "secondary_sdq_very_high_emotional": ("40.0", "30.0", "-10.0", "-14.0", "-6.0", "better"),
        "secondary_positive_wellbeing": ("30.0", "20.0", "-10.0", "-14.0", "-6.0", "worse"),
        "secondary_sdq_very_high_conduct": ("20.0", "21.0", "1.0", "-3.0", "5.0", "similar"),
        "secondary_hungry": ("c", ""),
        "secondary_lonely": ("x", "stages_differ"),
        "secondary_bullied": ("x", "not_comparable"),
    }
    rows = []
    for indicator in load_codebook().indicators.values():
        if indicator.survey != "secondary":
            continue
        found = kinds.get(indicator.name, ("20.0", "23.0", "3.0", "-1.0", "7.0", ""))
        row = dict.fromkeys(CHANGES, "") | {
            "engagement": ENGAGEMENT, "earlier_engagement": EARLIER, "survey": "secondary",
            "geography_code": COUNCIL, "geography_name": "Falkirk", "breakdown": "total",
            "group": "all", "indicator": indicator.name, "statistic": indicator.statistic,
        }  # fmt: skip
        if len(found) == 2:
            rows.append(row | {"status": found[0], "note": found[1]})
            continue
        names = ("earlier_estimate", "later_estimate", "change", "ci_low", "ci_high", "verdict")
        rows.append(
            row | dict(zip(names, found, strict=True)) | {"n": "2500", "status": "published"}
        )
        rows.append(
            row
            | {"engagement": EARLIER, "earlier_engagement": "", "status": "x", "note": "one_wave"}
        )
    return rows


FACTORS = {"often_lonely": "Often lonely", "poor_health": "Fair or poor health", "hidden": "Hidden"}


def models(findings: str) -> list[dict[str, str]]:
    """Three factors of one outcome; the third is never shown."""
    effects = {"often_lonely": ("7.0", "5.0", "9.0"), "poor_health": ("-1.0", "-3.0", "1.0")}
    rows = []
    for factor in FACTORS:
        row = dict.fromkeys(MODELS, "") | {
            "survey": "secondary", "outcome": "secondary_sdq_very_high_emotional", "kind": "term",
            "factor": factor, "level": "risk", "status": "c",
        }  # fmt: skip
        if factor in effects and findings != "hidden":
            figures = dict(
                zip(("effect_points", "effect_low", "effect_high"), effects[factor], strict=True)
            )
            clear = str(findings == "clear" and factor == "often_lonely").lower()
            row |= {**figures, "is_clear": clear, "status": "published"}
        rows.append(row)
    return [
        *rows,
        rows[0] | {"factor": "sex", "level": "F"},
        rows[0] | {"kind": "check"},
        *_fit(findings),
    ]


def _fit(findings: str) -> list[dict[str, str]]:
    """The test of fit: something is missing where findings are clear."""
    row = dict.fromkeys(MODELS, "") | {
        "survey": "secondary", "outcome": "secondary_sdq_very_high_emotional", "kind": "check",
        "factor": "fit", "level": "all",
    }  # fmt: skip
    if findings == "hidden":
        return [row | {"status": "c"}]
    return [row | {"value": "0.01" if findings == "clear" else "0.40", "status": "published"}]


def risks() -> list[dict[str, str]]:
    base = dict.fromkeys(RISKS, "") | {"kind": "factor", "level": "risk", "status": "c"}
    return [base | {"factor": factor, "title": title} for factor, title in FACTORS.items()]


def reach(engagement: str) -> list[dict[str, str]]:
    rows = []
    for need in ("emotional", "conduct"):
        for level, share in (("high", 31), ("some", 18), ("none", 9)):
            for service in ("any_service", "asn_support", "social_work", "any_asn", "both"):
                hidden = level == "high" and service == "social_work" and need == "conduct"
                figures = {
                    "n": "310", "observed_pct": f"{share}.0", "ci_low": f"{share - 4}.0",
                    "ci_high": f"{share + 4}.0", "corrected_pct": f"{share + 6}.0",
                    "bound_low": f"{share}.0", "bound_high": f"{share + 20}.0",
                    "status": "published",
                }  # fmt: skip
                row = dict.fromkeys(REACH, "") | {
                    "engagement": engagement, "breakdown": "total", "group": "all", "need": need,
                    "need_level": level, "service": service, "status": "c",
                }  # fmt: skip
                rows.append(row if hidden else row | figures)
    return rows


def recipients(engagement: str) -> list[dict[str, str]]:
    """Of primary pupils all is shown, of secondary pupils the sum alone."""
    rows = []
    for survey, share in (("primary", 24), ("secondary", 87)):
        for service in ("any_service", "asn_support", "social_work"):
            figures = {"n": "1230", "not_responded_pct": f"{share}.0", "status": "published"}
            row = dict.fromkeys(RECIPIENTS, "") | {
                "engagement": engagement, "survey": survey, "service": service, "status": "c",
            }  # fmt: skip
            is_hidden = survey == "secondary" and service != "any_service"
            rows.append(row if is_hidden else row | figures)
    return rows


def spend(engagement: str) -> list[dict[str, str]]:
    rows = []
    amounts = {
        "education": (4200, 1300, 900),
        "social_work": (300, 1900, 5200),
        "third_sector": None,
    }
    for sector, parts in amounts.items():
        for tier, gbp in zip(
            ("universal", "targeted", "specialist"), parts or ("",) * 3, strict=True
        ):
            rows.append(_spend(engagement, sector, tier, f"{gbp}000" if gbp else ""))
        rows.append(_spend(engagement, sector, "all", f"{sum(parts)}000" if parts else ""))
    for tier, gbp in (
        ("universal", 4700),
        ("targeted", 3400),
        ("specialist", 6300),
        ("all", 14400),
    ):
        rows.append(_spend(engagement, "all", tier, f"{gbp}000"))
    return rows


def _spend(engagement: str, sector: str, tier: str, gbp: str) -> dict[str, str]:
    return {
        "engagement": engagement, "sector": sector, "tier": tier, "age_band": "all",
        "funding_origin": "all", "domain": "all", "gbp": gbp,
        "children_n": "8200" if gbp else "", "status": "published" if gbp else "c",
    }  # fmt: skip


def _csv(file: Path, columns: list[str], rows: Iterable[dict[str, str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


_NUMBERS = frozenset(
    "n estimate ci_low ci_high respondents_n roll_n schools_n observed_pct corrected_pct "
    "bound_low bound_high gbp children_n effect_points effect_low effect_high "
    "earlier_estimate later_estimate change".split()
)


def _parquet(
    file: Path, columns: list[str], rows: list[dict[str, str]], numbers: Iterable[str] | None = None
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    known = _NUMBERS if numbers is None else numbers
    arrays = {}
    for column in columns:
        texts = pa.array([row[column] or None for row in rows], pa.string())
        arrays[column] = texts.cast(pa.decimal128(12, 1)) if column in known else texts
    pq.write_table(pa.table(arrays), file)


def _manifest(folder: Path, name: str, simulated: bool) -> None:
    content = {
        "package": name, "release": "2020.06.30", "simulated": simulated,
        "policy_version": "2026.1+0123456789ab", "files": [],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
