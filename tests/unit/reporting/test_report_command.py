"""`rcs report`: where the pages are, and made again from the release alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rcs_assets.cli import main
from rcs_assets.reporting import render_package
from rcs_assets.storage import Home
from tests.unit.reporting import made
from tests.unit.reporting.conftest import CPP, SCHOOL


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    place = Home.open(tmp_path_factory.mktemp("home"), profile="demo", seed=1)
    release = place.releases / "2020.06.30"
    made.write_cpp(release / CPP)
    made.write_school(release / SCHOOL)
    for name in (CPP, SCHOOL):
        for path, page in render_package(release / name, name, screen_only=name != SCHOOL).items():
            (release / name / path).parent.mkdir(exist_ok=True)
            (release / name / path).write_bytes(page)
    packages = {CPP: {}, SCHOOL: {}, "safe_haven": {}}
    (release / "manifest.json").write_text(json.dumps({"packages": packages}))
    (place.releases / "current").symlink_to("2020.06.30")
    return place


@pytest.fixture
def report(home: Home, monkeypatch: pytest.MonkeyPatch, capsys):
    for name in ("RCS_HOME", "RCS_AS_OF"):
        monkeypatch.setenv(name, "")  # restored afterwards: the command sets them

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["report", "--home", str(home.path), *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_it_names_the_pages_of_the_current_release(report, home) -> None:
    status, out, _ = report()
    release = home.releases / "2020.06.30"
    wanted = [
        f"{CPP}/clusters/{made.CLUSTER}-small.html", f"{CPP}/clusters/{made.CLUSTER}.html",
        f"{CPP}/report.html", f"{CPP}/summary.html", f"{CPP}/technical_report.html",
        f"{SCHOOL}/report.html",
        f"{SCHOOL}/report.pdf",
    ]  # fmt: skip
    assert status == 0
    assert out.split("\n")[:-1] == [str(release / path) for path in wanted]


def test_pages_made_again_are_the_same(report, home, tmp_path: Path) -> None:
    status, out, _ = report("--package", SCHOOL, "--out", str(tmp_path), "--json")
    assert status == 0
    made_again = [tmp_path / SCHOOL / "report.html", tmp_path / SCHOOL / "report.pdf"]
    assert json.loads(out) == [str(file) for file in made_again]
    released = home.releases / "2020.06.30" / SCHOOL
    assert [f.read_bytes() for f in made_again] == [
        (released / f.name).read_bytes() for f in made_again
    ]


def test_one_engagement_is_its_area_and_its_schools(report, tmp_path: Path) -> None:
    status, out, _ = report("--engagement", made.ENGAGEMENT, "--json")
    assert status == 0
    packages = {Path(file).parent.name for file in json.loads(out)}
    assert {made.ENGAGEMENT, made.SCHOOL} <= packages
    status, _, err = report("--engagement", "t9-nowhere")
    assert status == 1 and "no reports of t9-nowhere" in err


@pytest.mark.parametrize("name", ["safe_haven", "school/5599999"])
def test_a_package_without_pages_is_refused(report, name) -> None:
    status, _, err = report("--package", name)
    assert status == 1
    assert f"no pages for {name}" in err and "rcs release show" in err
