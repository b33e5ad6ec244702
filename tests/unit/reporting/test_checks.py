"""Each check of the pages passes on what was made and fails on what was changed."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import duckdb
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.programme import load_programme
from rcs_assets.release.pages import attach, candidate_packages
from rcs_assets.reporting import checks, render_package
from rcs_assets.reporting.examine import unpacked
from rcs_assets.storage import Home
from rcs_assets.storage.checks import Bench
from tests.unit.reporting import made

SCHOOL_PAGE = f"school/{made.SCHOOL}/report.html"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a candidate of made-up packages, pages attached."""
    place = Home.open(tmp_path_factory.mktemp("home"), profile="demo", seed=1)
    root = place.releases / ".candidate"
    made.write_public(root / "public")
    made.write_cpp(root / "cpp" / made.ENGAGEMENT)
    made.write_school(root / "school" / made.SCHOOL)
    made.write_haven(root / "safe_haven")
    names = (f"cpp/{made.ENGAGEMENT}", "public", "safe_haven", f"school/{made.SCHOOL}")
    described = {
        "release": "2020.06.30", "as_of": "2020-06-30", "content_hash": "0" * 64,
        "policy_version": "2026.1", "simulated": True,
        "packages": {
            name: {"kind": name.split("/")[0], "engagement": None, "geography_code": None}
            for name in names
        },
    }  # fmt: skip
    (root / "candidate.json").write_text(json.dumps(described))
    packages = [p for p in candidate_packages(place) if p.must_have_report]
    pages = {p.name: render_package(p.path, p.name) for p in packages}
    assert attach(place, pages, "0" * 64) == 32
    return place


@pytest.fixture
def bench(home: Home):
    con = duckdb.connect()
    con.execute("create schema intake")
    con.execute("create table intake.receipts as select true as is_simulated")
    yield Bench(con, home, load_programme(), load_codebook(), frozenset())
    con.close()


@pytest.fixture
def change(home: Home):
    """Changes the text of a page for one test."""
    kept: dict[Path, bytes] = {}

    def change_page(page: str, old: bytes, new: bytes) -> None:
        file = home.releases / ".candidate" / page
        content = kept.setdefault(file, file.read_bytes())
        assert old in content
        file.write_bytes(content.replace(old, new, 1))

    yield change_page
    for file, content in kept.items():
        file.write_bytes(content)


@pytest.mark.parametrize("check", checks.PYTHON_CHECKS, ids=lambda c: c.name)
def test_pages_as_made_pass(check, bench) -> None:
    verdict = check.judge(bench)
    assert verdict.passed, verdict.observed
    assert verdict.observed.startswith(
        ("10 pages", "4 packages", "9 PDFs", "2 explorers", "1 page of the safe haven")
    )


@pytest.mark.parametrize(
    ("judge", "old", "new", "what"),
    [
        (checks.pages_are_accessible, b"</main>", b"<script>1</script></main>", "no page has"),
        (checks.pages_are_accessible, b"</main>", b'<p style="x">y</p></main>', "no page has"),
        (checks.pages_are_accessible, b"</main>", b'<p onclick="x">y</p></main>', "no page has"),
        (checks.pages_load_nothing, b"</style>", b" p{}</style>", "policy that names its style"),
        (checks.pages_load_nothing, b"</main>", b"<p>http://a.b</p></main>", "loads, runs"),
        (checks.pages_say_simulated, b"<title>SIMULATED ", b"<title>", "does not say it"),
        (checks.pages_are_accessible, b"</h1>", b"</h1><h1>Two</h1>", "not one h1"),
        (checks.pages_are_accessible, b"<h2", b"<h4>x</h4><h2", "level is skipped"),
        (checks.pages_are_accessible, b"<caption>", b"<caption hidden='", "not well-formed"),
        (checks.pages_are_accessible, b' lang="en-GB"', b"", "no language"),
        (checks.pages_are_accessible, b'<th scope="row"', b"<th", "header without scope"),
        (checks.pages_are_accessible, b' role="img"', b"", "a chart without role"),
        (checks.pages_are_accessible, b'href="#main"', b'href="other.html"', "leaves the page"),
        (checks.pages_are_accessible, b'href="#main"', b'href="#nothing"', "link to nowhere"),
        (checks.pages_are_accessible, b' tabindex="0"', b"", "a scroll area"),
        (checks.pages_are_accessible, b'id="talk"', b'id="care"', "an id stands twice"),
    ],
)  # fmt: skip
def test_a_fault_in_a_page_is_found(judge, old, new, what, bench, change) -> None:
    change(SCHOOL_PAGE, old, new)
    verdict = judge(bench)
    assert not verdict.passed
    assert what in verdict.observed and SCHOOL_PAGE in verdict.observed


def test_a_figure_that_is_not_released_is_found(bench, change) -> None:
    change(SCHOOL_PAGE, b'class="number own" data-label="School">', b'class="number own">0.5 ')
    verdict = checks.pages_show_released_figures_only(bench)
    assert not verdict.passed and SCHOOL_PAGE in verdict.observed


def test_a_range_beside_a_hidden_figure_is_found(bench, change) -> None:
    hidden = (
        b'data-label="School">[c]</td><td role="cell" class="number" data-label="Likely range">'
    )
    change(SCHOOL_PAGE, hidden, hidden + b"7%")
    verdict = checks.pages_show_released_figures_only(bench)
    assert not verdict.passed and "hidden and told" in verdict.observed


def test_reach_and_spend_are_looked_at_too(bench, change) -> None:
    page = f"cpp/{made.ENGAGEMENT}/report.html"
    change(page, "£4,200,000".encode(), "£4,200,001".encode())
    assert "spend" in checks.pages_show_released_figures_only(bench).observed
    change(page, b">31% to 51%<", b">31% to 52%<")
    assert "reach" in checks.pages_show_released_figures_only(bench).observed
    change(page, b">1,230<", b">1,240<")
    assert "recipients" in checks.pages_show_released_figures_only(bench).observed
    change("public/report.html", b">7 points higher<", b">8 points higher<")
    assert "models" in checks.pages_show_released_figures_only(bench).observed


def test_a_page_of_the_safe_haven_must_say_that_it_stays_there(bench, change) -> None:
    change("safe_haven/linkage.html", b"<title>SIMULATED NOT FOR RELEASE", b"<title>SIMULATED")
    verdict = checks.what_stays_says_so(bench)
    assert not verdict.passed and "safe_haven/linkage.html" in verdict.observed
    change("public/report.html", b"</main>", b"<p>NOT FOR RELEASE</p></main>")
    assert "public/report.html: belongs" in checks.what_stays_says_so(bench).observed


@pytest.mark.parametrize(
    "page",
    [
        SCHOOL_PAGE,
        "safe_haven/linkage.html",
        f"cpp/{made.ENGAGEMENT}/clusters/{made.CLUSTER}.html",
        f"cpp/{made.ENGAGEMENT}/clusters/{made.CLUSTER}-small.html",
        "public/report.pdf",
        "public/summary.pdf",
        f"cpp/{made.ENGAGEMENT}/summary.html",
    ],
)
def test_a_missing_page_is_found(page, bench, home) -> None:
    file = home.releases / ".candidate" / page
    aside = file.rename(file.with_suffix(".aside"))
    verdict = checks.every_page_is_there(bench)
    aside.rename(file)
    assert not verdict.passed and page in verdict.observed


def test_a_pdf_that_was_changed_is_found(bench, change) -> None:
    page = SCHOOL_PAGE.replace(".html", ".pdf")
    change(page, b"<pdfuaid:part>1", b"<pdfuaid:part>2")
    verdict = checks.pdfs_are_tagged(bench)
    assert not verdict.passed and f"{page}: no PDF/UA-1" in verdict.observed


def _repacked(file: Path, **changed: object) -> bytes:
    content = unpacked(file) | changed
    packed = base64.b64encode(gzip.compress(json.dumps(content).encode(), mtime=0)).decode()
    return f'RCS.load("{file.stem}","{packed}");\n'.encode()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda u: {"estimate": [u["estimate"][0] + 10, *u["estimate"][1:]]}, "other figures"),
        (lambda u: {"marks": u["marks"].replace("p", "c", 1)}, "without a mark that shows"),
        (lambda u: {"marks": u["marks"] + "c"}, "another number of rows"),
    ],
)
def test_an_explorer_that_tells_something_else_is_found(damage, what, bench, home) -> None:
    place = home.releases / ".candidate" / "cpp" / made.ENGAGEMENT / "explorer" / "data"
    file = place / f"{made.COUNCIL}.js"
    kept = file.read_bytes()
    file.write_bytes(_repacked(file, **damage(unpacked(file))))
    verdict = checks.explorer_holds_the_package(bench)
    file.write_bytes(kept)
    assert not verdict.passed and what in verdict.observed


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b"default-src 'none'; ", b"", "no content security policy"),
        (b"</main>", b'<img src="https://a.b/c"/></main>', "loads or sends"),
    ],
)
def test_an_explorer_that_could_ask_outside_is_found(old, new, what, bench, change) -> None:
    change("public/explorer/index.html", old, new)
    verdict = checks.explorer_holds_the_package(bench)
    assert not verdict.passed and what in verdict.observed


def test_a_missing_explorer_is_found(bench, home) -> None:
    page = home.releases / ".candidate" / "public" / "explorer" / "index.html"
    aside = page.rename(page.with_suffix(".aside"))
    verdict = checks.explorer_holds_the_package(bench)
    aside.rename(page)
    assert not verdict.passed and "public/explorer: no page" in verdict.observed


def test_without_simulated_deliveries_the_mark_is_not_asked_for(bench) -> None:
    bench.con.execute("update intake.receipts set is_simulated = false")
    assert checks.pages_say_simulated(bench).observed == "no delivery is simulated"
