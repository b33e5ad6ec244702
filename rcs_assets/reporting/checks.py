"""Checks of reporting: the pages as their readers get them.

Belongs here: rules in Python that read the pages of `releases/.candidate/` beside the rows of
their package. Does not belong here: rendering; of the code that made the pages nothing is
used (`examine.py` looks at bytes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.release.packages import CANDIDATE
from rcs_assets.release.pages import candidate_packages
from rcs_assets.reporting.examine import (
    Figures,
    collect,
    explorer_problems,
    figure_problems,
    form_problems,
    outside_problems,
    pdf_problems,
    says_simulated,
)
from rcs_assets.storage import sql_literal
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, room_checks

ASSET = ("reporting", "pages")
REPORT = "report.html"
SUMMARY = "summary.html"
TECHNICAL = "technical_report.html"
HAVEN_PAGE = "linkage.html"
HAVEN_MARK = b"NOT FOR RELEASE"
EXPLORER = "explorer"
_ESTIMATES = ("n", "estimate", "ci_low", "ci_high")
_REACH = ("n", "observed_pct", "ci_low", "ci_high", "corrected_pct", "bound_low", "bound_high")
_RECIPIENTS = ("n", "not_responded_pct")
_SPEND = ("gbp", "children_n")
_CHANGES = ("earlier_estimate", "later_estimate", "change", "ci_low", "ci_high")
_MODELS = ("effect_points", "effect_low", "effect_high")


def _folders(bench: Bench) -> dict[str, Path]:
    """Package → folder of each package that must have a page."""
    return {p.name: p.path for p in candidate_packages(bench.home) if p.must_have_report}


def _pages(folder: Path) -> dict[str, bytes]:
    return {
        f.relative_to(folder).as_posix(): f.read_bytes()
        for f in sorted(folder.rglob("*.html"))
        if f.parent.name != EXPLORER
    }


def pdfs_are_tagged(bench: Bench) -> Verdict:
    """Every PDF claims PDF/A-2a and PDF/UA-1, has a language, and says SIMULATED if it is."""
    simulated = bench.con.execute("select bool_or(is_simulated) from intake.receipts").fetchall()
    found, n = [], 0
    for name, folder in _folders(bench).items():
        for file in sorted(folder.rglob("*.pdf")):
            n += 1
            problems = pdf_problems(file.read_bytes(), simulated=bool(simulated[0][0]))
            path = file.relative_to(folder).as_posix()
            found += [f"{name}/{path}: {problem}" for problem in problems]
    return Verdict.of(found, n, "PDFs")


def explorer_holds_the_package(bench: Bench) -> Verdict:
    """Each explorer holds one mark a row of its package, figures of shown rows alone."""
    found, n = [], 0
    for name, folder in _folders(bench).items():
        if name == SAFE_HAVEN or name.startswith("school/"):
            continue
        rows = bench.con.execute(
            """
            select n::int, (estimate * 10)::int, status in ('published', 'u')
            from read_parquet(?) where indicator in (select indicator from read_parquet(?))
            """,
            [str(folder / "parquet" / f"{table}.parquet") for table in ("estimates", "indicators")],
        ).fetchall()
        n += 1
        problems = explorer_problems(folder / EXPLORER, rows)
        found += [f"{name}/{EXPLORER}: {problem}" for problem in problems]
    return Verdict.of(found, n, "explorers")


def _each_page(bench: Bench, problems: Callable[[bytes], Iterable[str]]) -> Verdict:
    found, n = [], 0
    for name, folder in _folders(bench).items():
        for path, page in _pages(folder).items():
            n += 1
            found += [f"{name}/{path}: {problem}" for problem in problems(page)]
    return Verdict.of(found, n, "pages")


def every_page_is_there(bench: Bench) -> Verdict:
    """Each school, CPP and the programme has a report, each cluster with rows its own.

    A CPP and the programme have a summary of one page and a technical report beside it. Each
    is a page and a PDF. The safe haven has its page on linkage.
    """
    found = []
    folders = _folders(bench)
    for name, folder in folders.items():
        wanted = {REPORT} if name.startswith("school/") else {REPORT, SUMMARY, TECHNICAL}
        made = {
            f.relative_to(folder).as_posix()
            for f in folder.rglob("*")
            if f.suffix in (".html", ".pdf") and f.parent.name != EXPLORER
        }
        if name.startswith("cpp/"):
            rows = bench.con.execute(
                "select distinct geography_code from read_parquet(?) "
                "where geography_level = 'cluster'",
                [str(folder / "parquet" / "estimates.parquet")],
            ).fetchall()
            wanted |= {f"clusters/{row[0]}.html" for row in rows}
        wanted |= {f"{PurePosixPath(path).with_suffix('.pdf')}" for path in wanted}
        if name == SAFE_HAVEN:
            wanted = {HAVEN_PAGE}
        found += [f"{name}/{path}" for path in sorted(wanted ^ made)]
    return Verdict.of(found, len(folders), "packages")


def pages_show_released_figures_only(bench: Bench) -> Verdict:
    """Every number in a table of a page stands in a shown row of its package."""
    figures = _figures(bench)
    found, n = [], 0
    for name, folder in _folders(bench).items():
        own = Figures(figures["estimates"].get(name, {}), _tables(figures, name))
        for path, page in _pages(folder).items():
            n += 1
            found += [f"{name}/{path}: {problem}" for problem in figure_problems(page, own)]
    return Verdict.of(found, n, "pages")


def _tables(
    figures: Mapping[str, Mapping[str, Mapping[str, frozenset[str]]]], package: str
) -> dict[str, frozenset[str]]:
    return {
        table: frozenset().union(*figures[table].get(package, {"": frozenset()}).values())
        for table in ("reach", "recipients", "spend", "models", "changes")
    }


def _figures(bench: Bench) -> dict[str, dict[str, dict[str, frozenset[str]]]]:
    """Table → package → key → numbers of shown rows, read with one query a kind of file."""
    root = bench.home.releases / CANDIDATE
    found: dict[str, dict[str, dict[str, frozenset[str]]]] = {}
    for table, key, columns in (
        ("estimates", "indicator", _ESTIMATES),
        ("reach", "need", _REACH),
        ("recipients", "service", _RECIPIENTS),
        ("spend", "sector", _SPEND),
        ("models", "outcome", _MODELS),
        ("changes", "indicator", _CHANGES),
    ):
        found[table] = {}
        for reader in _readers(root, table):
            rows = bench.con.execute(
                f"""
                with shown as (
                    select filename, "{key}" as key,
                        -- A page says "6 points lower": the sign is a word.
                        unnest([{", ".join(f"ltrim({c}::varchar, '-')" for c in columns)}])
                        as number
                    from {reader}
                    where status in ('published', 'u')
                )
                select filename, list(distinct [key, number]) from shown
                where coalesce(number, '') <> '' group by filename order by filename
                """
            ).fetchall()
            for file, pairs in rows:
                found[table][_package_of(Path(file), root)] = collect(map(tuple, pairs))
    return found


def _readers(root: Path, table: str) -> list[str]:
    """SQL that reads a table of all packages, with the file of each row."""
    plain = "table.csv" if table == "estimates" else f"{table}.csv"
    readers = []
    for kind in ("public", "cpp/*"):
        pattern = f"{kind}/parquet/{table}.parquet"
        if any(root.glob(pattern)):
            readers.append(f"read_parquet({sql_literal(root / pattern)}, filename = true)")
    if any(root.glob(f"school/*/{plain}")):
        file = sql_literal(root / "school" / "*" / plain)
        readers.append(f"read_csv({file}, all_varchar = true, header = true, filename = true)")
    return readers


def _package_of(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts
    return parts[0] if parts[0] == "public" else "/".join(parts[:2])


def pages_load_nothing(bench: Bench) -> Verdict:
    """No page loads, runs or sends anything; its policy allows its own style alone."""
    return _each_page(bench, outside_problems)


def what_stays_says_so(bench: Bench) -> Verdict:
    """The page of the safe haven says in title and text that it stays; no other package has it."""
    found, n = [], 0
    for name, folder in _folders(bench).items():
        for path, page in _pages(folder).items():
            if name == SAFE_HAVEN:
                n += 1
                in_title = HAVEN_MARK in page.partition(b"</title>")[0]
                if not in_title or HAVEN_MARK not in page.partition(b"<main")[2]:
                    found.append(f"{name}/{path}: does not say it")
            elif path == HAVEN_PAGE or HAVEN_MARK in page:
                found.append(f"{name}/{path}: belongs to the safe haven")
    return Verdict.of(found, n, "page of the safe haven")


def pages_say_simulated(bench: Bench) -> Verdict:
    """Made from simulated deliveries: title and text of every page say so."""
    simulated = bench.con.execute("select bool_or(is_simulated) from intake.receipts").fetchall()
    if not simulated[0][0]:
        return Verdict(True, "no delivery is simulated")
    return _each_page(bench, lambda page: () if says_simulated(page) else ("does not say it",))


def pages_are_accessible(bench: Bench) -> Verdict:
    """Well-formed, one h1, headings in order, captions, scopes, named charts, no dead link."""
    return _each_page(bench, form_problems)


NO_PAGES = "run: rcs materialise (the pages are older than the candidate, or were changed)"
PYTHON_CHECKS = (
    PythonCheck(
        ASSET,
        "every_page_is_there",
        "Each package for readers has its page and PDF, each cluster in a CPP's figures its own",
        "docs/outputs.md, Decisions; docs/interfaces.md, A release",
        NO_PAGES,
        every_page_is_there,
    ),
    PythonCheck(
        ASSET,
        "pdfs_are_tagged",
        "Every PDF claims PDF/A-2a and PDF/UA-1, has title and language, says SIMULATED if it is",
        "docs/outputs.md 4.7, rule 13; design.md, The gate",
        NO_PAGES,
        pdfs_are_tagged,
    ),
    PythonCheck(
        ASSET,
        "explorer_holds_the_package",
        "Each explorer holds one mark a row of its package and figures of shown rows alone; it "
        "asks nobody",
        "policy.md, One rule for every outlet; docs/outputs.md, Decisions",
        NO_PAGES,
        explorer_holds_the_package,
    ),
    PythonCheck(
        ASSET,
        "pages_show_released_figures_only",
        "Every number in a table of a page stands in a shown row of its package",
        "policy.md, One rule for every outlet",
        NO_PAGES,
        pages_show_released_figures_only,
    ),
    PythonCheck(
        ASSET,
        "pages_load_nothing",
        "No page loads, runs or sends anything; its policy allows its own style alone",
        "docs/outputs.md 1.3, row 45",
        NO_PAGES,
        pages_load_nothing,
    ),
    PythonCheck(
        ASSET,
        "pages_say_simulated",
        "What is made from simulated deliveries says SIMULATED in title and text of every page",
        "design.md, The gate",
        NO_PAGES,
        pages_say_simulated,
    ),
    PythonCheck(
        ASSET,
        "what_stays_says_so",
        "The safe haven's page says that it is not for release, and lies in no other package",
        "policy.md, Audiences; One rule for every outlet",
        NO_PAGES,
        what_stays_says_so,
    ),
    PythonCheck(
        ASSET,
        "pages_are_accessible",
        "Every page is well-formed, with one h1, headings in order, captions, scopes and named "
        "charts",
        "docs/outputs.md 4.7",
        NO_PAGES,
        pages_are_accessible,
    ),
)

reporting_checks = room_checks("reporting_checks", PYTHON_CHECKS)
