"""Programme tracking: what its files may hold, what breaks its rules, what the page says.

Belongs here: `tracking`, `breaches`, `progress`, `status_page` on the default register with some
rows laid over it. Does not belong here: the asset and the command (acceptance).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rcs_assets.errors import ConfigurationError
from rcs_assets.programme import load_programme
from rcs_assets.programme.breaches import RULES, View, breaches, report_due
from rcs_assets.programme.progress import progress
from rcs_assets.programme.status_page import status_page
from rcs_assets.programme.tracking import COLUMNS, load_tracking, readiness_problems
from tests.acceptance.documentation import blocks

DATA = Path(__file__).parents[3] / "rcs_assets" / "programme" / "data"
AFTER_ALL = date(2020, 6, 30)
DURING = date(2019, 2, 1)
Row = dict[str, str]
Overlay = Callable[..., Path]


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    """`overlay(file, row, …)`: rows of a tracking file; a default row of the same key, changed."""

    def write(file: str, *rows: Row) -> Path:
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        if file.endswith(".yaml"):
            (folder / file).write_text("".join(f"{k}: {v}\n" for r in rows for k, v in r.items()))
            return folder
        with (DATA / file).open(encoding="utf-8", newline="") as stream:
            known = list(csv.DictReader(stream))
        with (folder / file).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS[file])
            writer.writeheader()
            for row in rows:
                alike = [r for r in known if all(r[c] == row.get(c, r[c]) for c in list(r)[:2])]
                first = next((r for r in alike if r[next(iter(row))] in row.values()), None)
                writer.writerow({**(first or {"source": "a test"}), **row})
        return folder

    return write


def view(folder: Path | None, on: date, *, placeholders_allowed: bool = True) -> View:
    return View(load_programme(folder), load_tracking(folder), on, placeholders_allowed)


def said(folder: Path | None, on: date) -> set[tuple[str, str]]:
    return {(b.rule, b.engagement) for b in breaches(view(folder, on))}


def participation(key: str, slot: str, first: str, last: str, status: str = "active") -> Row:
    return {
        "engagement": key, "slot": slot, "status": status, "active_from": first,
        "active_until": last, "source": "a test",
    }  # fmt: skip


@pytest.mark.parametrize("on", [date(2016, 6, 1), date(2017, 12, 1), DURING, AFTER_ALL])
def test_the_default_register_breaks_no_rule(on: date) -> None:
    assert breaches(view(None, on)) == ()


def milestone(key: str, name: str, due: str = "", done: str = "") -> Row:
    return {"engagement": key, "milestone": name, "due_on": due, "done_on": done, "source": "x"}


def readiness(key: str, **changes: str) -> Row:
    return {"engagement": key, "assessed_on": "2018-11-07", **changes}


MORAY = "t3-moray"
# Rule → file, rows, day, and whose breach it is.
BROKEN: dict[str, tuple[str, tuple[Row, ...], date, str]] = {
    "surveys_follow_readiness": (
        "readiness.csv",
        (readiness(MORAY, outcome="conditional", health_signed="no"),),
        DURING,
        MORAY,
    ),
    "slots_are_not_overbooked": (
        "slots.csv", ({"key": "t1-2015-09", "capacity": "2"},), DURING, "",
    ),
    "advisers_are_not_overcommitted": ("tracking.yaml", ({"active_max_n": "4"},), DURING, ""),
    "surveys_lie_in_the_programme": (
        "participation.csv",
        (participation(MORAY, "t3-2018-09", "2019-03-01", "2020-02-29"),),
        DURING,
        MORAY,
    ),
    "approvals_are_renewed_in_time": (
        "tracking.yaml",
        ({"approval_warning_days": "6000"},),
        AFTER_ALL,
        MORAY,
    ),
    "parents_are_asked_in_their_tranches": (
        "tracking.yaml",
        ({"parent_tranches": "[t1]"},),
        DURING,
        "t2-falkirk",
    ),
    "needs_assessments_stand_for_parents": (
        "tracking.yaml",
        ({"needs_assessments_n": "4"},),
        AFTER_ALL,
        "t2-north-lanarkshire",
    ),
    "reports_come_within_six_months": (
        "milestones.csv",
        (milestone(MORAY, "reports"),),
        date(2019, 12, 29),
        MORAY,
    ),
    "milestones_are_kept": (
        "milestones.csv",
        (milestone(MORAY, "jsc_plan", due="2020-01-31"),),
        date(2020, 2, 1),
        MORAY,
    ),
    "milestones_follow_their_order": (
        "milestones.csv",
        (milestone(MORAY, "linkage", done="2018-12-01"),),
        AFTER_ALL,
        MORAY,
    ),
    "development_days_are_held": (
        "milestones.csv",
        (milestone(MORAY, "development_day_3"),),
        AFTER_ALL,
        MORAY,
    ),
    "exchanges_are_held_twice_a_year": (
        "tracking.yaml",
        ({"exchanges_a_year_n": "3"},),
        AFTER_ALL,
        "",
    ),
    "events_are_held": (
        "events.csv",
        ({"key": "exchange-2019-1", "held_on": ""},),
        AFTER_ALL,
        "",
    ),
    "posts_are_filled": (
        "posts.csv",
        (
            {
                "engagement": MORAY, "role": "evidence_officer", "post": f"EO-{MORAY}",
                "share_pct": "50", "from_on": "2018-09-01", "until_on": "2019-01-31",
            },
        ),
        DURING,
        MORAY,
    ),
}  # fmt: skip
# Rules that are broken by a row that is not there: an engagement that was added.
ADDED = ("engagements_have_a_slot", "withdrawals_have_a_cut_off")


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_found_and_says_what_to_do(rule: str, overlay: Overlay) -> None:
    file, rows, on, whose = BROKEN[rule]
    found = breaches(view(overlay(file, *rows), on))
    assert (rule, whose) in {(b.rule, b.engagement) for b in found}
    (known,) = [r for r in RULES if r.name == rule]
    assert {b.fix for b in found if b.rule == rule} == {known.fix}
    assert re.search(r"config/\w+\.(csv|yaml)", known.fix)


def test_every_rule_can_be_broken() -> None:
    assert {*BROKEN, *ADDED, "cycles_are_entered"} == {rule.name for rule in RULES}


@pytest.mark.parametrize(
    ("key", "page"), [("t4-moray", "add-a-tranche"), ("t3-midlothian", "add-a-cpp")]
)
def test_a_how_to_names_every_row_that_the_status_asks_for(
    tmp_path: Path, repo_root: Path, key: str, page: str
) -> None:
    """docs/how-to/add-a-tranche.md and add-a-cpp.md: on the day before its survey begins."""
    file = repo_root / "docs" / "how-to" / f"{page}.md"
    names = re.findall(r"`config/(\w+\.csv)`", file.read_text(encoding="utf-8"))
    for name, rows in zip(names, blocks(file, "csv"), strict=True):
        (tmp_path / name).write_text(rows, encoding="utf-8")
    first = min(w.fieldwork_start for w in load_programme(tmp_path).engagements[key].waves)
    before = {found for found in said(tmp_path, first) if found[1] in ("", key)}
    # What is done while the CPP takes part is entered by then: docs/how-to/track-the-programme.md.
    assert before == {("posts_are_filled", key), ("cycles_are_entered", key)}


def test_readiness_is_entered_once(tmp_path: Path, overlay: Overlay) -> None:
    """The assessment is the milestone; a placeholder is neither in production."""
    config = overlay("milestones.csv", milestone(MORAY, "readiness"))
    steps = {
        allowed: {
            step.milestone: step
            for one in progress(view(config, AFTER_ALL, placeholders_allowed=allowed)).standings
            if one.engagement == MORAY
            for step in one.steps
        }
        for allowed in (True, False)
    }
    assert (steps[True]["readiness"].state, steps[True]["readiness"].done_on) == (
        "done",
        date(2018, 11, 7),
    )
    assert steps[False]["readiness"].state == "open"
    assert ("milestones_follow_their_order", MORAY) not in said(config, AFTER_ALL)


def test_a_cpp_that_is_no_longer_ready_has_not_done_it(overlay: Overlay) -> None:
    rows = (
        readiness(MORAY),
        readiness(MORAY) | {"assessed_on": "2018-12-01", "outcome": "not_ready",
         "assessor": "x", **dict.fromkeys(COLUMNS["readiness.csv"][3:9], "no")},
    )  # fmt: skip
    overlay("readiness.csv", *rows)
    config = overlay("milestones.csv", milestone(MORAY, "readiness"))
    (one,) = [s for s in progress(view(config, DURING)).standings if s.engagement == MORAY]
    assert one.readiness == "not_ready" and one.steps[0].state == "open"


def test_an_engagement_that_was_added_needs_a_slot_and_a_cut_off(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "engagements.csv").write_text("key,tranche,cpp,source\nt3-falkirk,t3,falkirk,test\n")
    (config / "waves.csv").write_text(
        f"{','.join(waves_header())}\n"
        "t3-falkirk,primary,scotcen,P5;P6;P7,2019-01-07,2019-03-31,census,online_in_class,,yes,x\n"
    )
    assert {(rule, "t3-falkirk") for rule in ADDED} <= said(config, DURING)


def waves_header() -> tuple[str, ...]:
    from rcs_assets.programme.load import COLUMNS as REGISTER

    return REGISTER["waves.csv"]


def test_who_is_active_is_in_the_cycle(overlay: Overlay) -> None:
    row = {"engagement": MORAY, "cycle_no": "1", "phase": "analyse", "entered_on": "2019-04-01"}
    assert ("cycles_are_entered", MORAY) in said(overlay("cycles.csv", row), DURING)


def test_the_seventh_active_cpp_is_one_too_many(overlay: Overlay) -> None:
    """Five of tranches 1 and 2 on 2017-01-01; two more make seven."""
    keys = ("t3-moray", "t3-south-ayrshire")
    rows = [participation(key, "t3-2018-09", "2017-01-01", "2018-06-30") for key in keys]
    assert ("advisers_are_not_overcommitted", "") not in said(
        overlay("participation.csv", rows[0]), DURING
    )
    found = breaches(view(overlay("participation.csv", *rows), DURING))
    (one,) = [b.said for b in found if b.rule == "advisers_are_not_overcommitted"]
    assert one.startswith("7 CPPs are active on 2017-01-01")


def test_the_report_clock_counts_from_the_last_survey() -> None:
    on = view(None, DURING)
    assert report_due(on, "t1-west-lothian") == date(2016, 11, 30)  # parents until 31 May
    assert report_due(on, "t2-falkirk") == date(2017, 12, 30)
    assert report_due(on, MORAY) == date(2019, 12, 28)


def test_a_report_that_came_late_stays_a_breach(overlay: Overlay) -> None:
    folder = overlay("milestones.csv", milestone(MORAY, "reports", done="2019-12-30"))
    assert ("reports_come_within_six_months", MORAY) not in said(folder, date(2019, 12, 28))
    late = [b for b in breaches(view(folder, AFTER_ALL)) if b.rule.startswith("reports")]
    assert [b.said for b in late] == ["reported on 2019-12-30, 2 days after it was due"]
    # Its day has been entered: it is not asked for again.
    assert "enter the day" not in late[0].fix and "config/milestones.csv" in late[0].fix


def test_readiness_counts_only_before_the_first_survey(overlay: Overlay) -> None:
    programme = load_programme()
    rows = (
        readiness(MORAY, outcome="not_ready", governance_ok="no"),
        {**readiness(MORAY), "assessed_on": "2019-01-08", "outcome": "ready",
         "assessor": "x", **dict.fromkeys(COLUMNS["readiness.csv"][3:9], "yes")},
    )  # fmt: skip
    tracking = load_tracking(overlay("readiness.csv", *rows))
    (problem,) = readiness_problems(programme, tracking, MORAY, DURING, placeholders_allowed=True)
    assert "not_ready: governance_ok missing" in problem
    assert readiness_problems(programme, tracking, MORAY, date(2019, 1, 6)) == ()


def test_a_placeholder_is_no_assessment_in_production() -> None:
    problems = readiness_problems(load_programme(), load_tracking(), MORAY, DURING)
    assert problems == ("the assessment of readiness is a placeholder for demonstrations",)


@pytest.mark.parametrize(
    ("file", "row", "column", "rule"),
    [
        ("slots.csv", {"key": "t1-2015-09", "month": "10"}, "month", "month of tracking.yaml"),
        ("slots.csv", {"key": "t1-2015-09", "capacity": "4"}, "capacity", "1 to 3 CPPs"),
        ("participation.csv", participation(MORAY, "t1-2015-09", "2018-09-01", "2020-01-01"),
         "slot", "another tranche"),
        ("participation.csv", participation(MORAY, "t3-2018-09", "2018-09-01", "2018-01-01"),
         "active_until", "ends after it starts"),
        ("participation.csv", participation("t9-nowhere", "t3-2018-09", "2018-09-01", "2020-01-01"),
         "engagement", "not known"),
        ("readiness.csv", readiness(MORAY, health_signed="no"), "outcome", "health_signed"),
        ("readiness.csv", readiness(MORAY, health_signed="perhaps"), "health_signed", "perhaps"),
        ("milestones.csv", milestone(MORAY, "party"), "milestone", "party"),
        ("milestones.csv", milestone(MORAY, "reports", due="soon"), "due_on", "a date"),
        ("cycles.csv", {"engagement": MORAY, "cycle_no": "1", "phase": "review",
                        "entered_on": "2020-03-01"}, "phase", "analyse, plan, do, review"),
        ("cycles.csv", {"engagement": MORAY, "cycle_no": "1", "phase": "plan",
                        "entered_on": "2018-01-01"}, "entered_on", "before analyse"),
        ("events.csv", {"key": "e", "kind": "picnic", "planned_on": "2019-01-01"}, "kind",
         "picnic"),
        ("events.csv", {"key": "e", "kind": "workshop", "planned_on": "2019-01-01",
                        "engagements": "t1-x"}, "engagements", "t1-x"),
        ("needs_assessments.csv", {"engagement": MORAY, "topic": "a", "commissioned_on":
                                   "2019-01-01", "reported_on": "2018-01-01"}, "reported_on",
         "after it is commissioned"),
        ("posts.csv", {"engagement": MORAY, "role": "king", "post": "p"}, "role", "king"),
        ("posts.csv", {"engagement": MORAY, "role": "evidence_officer", "post": "p",
                       "share_pct": "150", "from_on": "2019-01-01"}, "share_pct", "1 to 100"),
        ("cut_offs.csv", {"engagement": MORAY, "last_day": "2019"}, "last_day", "a date"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_row_column_rule_and_fix(
    file: str, row: Row, column: str, rule: str, overlay: Overlay
) -> None:
    folder = overlay(file, row)
    with pytest.raises(ConfigurationError) as caught:
        load_tracking(folder)
    message = str(caught.value)
    assert f"file config/{file}, row 2, column {column}" in message
    assert rule in message and caught.value.fix


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("active_max_n", "0"),
        ("slot_months", "[13]"),
        ("posts_from", "{king: 1}"),
        ("report_months", "half a year"),
        ("colour", "red"),
        ("development_days_n", "4"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(key: str, value: str, overlay: Overlay) -> None:
    folder = overlay("tracking.yaml", {key: value})
    with pytest.raises(ConfigurationError, match=r"config/tracking\.yaml"):
        load_tracking(folder)


class _Reader(HTMLParser):
    """Tags, and what lies in tables."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_says_what_is_the_matter_and_loads_nothing(overlay: Overlay) -> None:
    folder = overlay("milestones.csv", milestone(MORAY, "jsc_plan", due="2020-01-31"))
    now = progress(view(folder, AFTER_ALL))
    page = status_page(now, is_simulated=True)
    reader = _Reader()
    reader.feed(page)
    text = " ".join(" ".join(reader.text).split())
    assert "INTERNAL. Not for release" in text and "SIMULATED" in text
    assert "jsc_plan was due on 2020-01-31 and is not done" in text
    assert "overdue 2020-01-31" in text
    assert "1 breach of the programme's rules" in text
    tags = [tag for tag, _ in reader.tags]
    assert not {"script", "link", "img", "iframe"} & set(tags)
    assert not any(name in ("src", "style") for _, given in reader.tags for name in given)
    assert all(given.get("scope") for tag, given in reader.tags if tag == "th")
    assert tags.count("caption") == tags.count("table") == 6
    assert ("html", {"lang": "en-GB"}) in reader.tags
    assert status_page(now, is_simulated=True) == page


def test_the_page_escapes_what_was_entered(overlay: Overlay) -> None:
    row = {"engagement": MORAY, "topic": "<b>need</b>", "commissioned_on": "2019-01-01"}
    page = status_page(
        progress(view(overlay("needs_assessments.csv", row), AFTER_ALL)), is_simulated=False
    )
    assert "&lt;b&gt;need&lt;/b&gt;" in page and "<b>need" not in page
    assert "SIMULATED" not in page
