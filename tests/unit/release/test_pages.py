import json
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rcs_assets.errors import InputError
from rcs_assets.release.fingerprint import figures_hash, technical_hash
from rcs_assets.release.pages import PAGE_OF, attach, candidate_packages, page_problems
from rcs_assets.storage import Home


@pytest.fixture
def candidate_home(built, tmp_path):
    return Home.open(shutil.copytree(built.home.path, tmp_path / "home"))


def reports(home, text=b"<!DOCTYPE html>"):
    return {p.name: {PAGE_OF[p.kind]: text} for p in candidate_packages(home) if p.must_have_report}


def attached(home, pages):
    return attach(home, pages, candidate_packages(home)[0].content_hash)


def test_packages_say_what_a_renderer_needs(built):
    packages = {p.name: p for p in candidate_packages(built.home)}
    own = packages["cpp/t2-falkirk"]
    assert (own.kind, own.engagement, own.geography_code) == ("cpp", "t2-falkirk", "S12000014")
    assert own.is_simulated and own.version == "2020.06.30" and own.as_of == "2020-06-30"
    assert all((p.path / "manifest.json").is_file() for p in packages.values())
    assert packages["safe_haven"].must_have_report
    assert not packages["archive/t2-falkirk"].must_have_report


def test_a_candidate_without_pages_says_which_are_missing(built):
    problems = page_problems(built.home)
    assert "public: report.html is missing" in problems
    assert "safe_haven: linkage.html is missing" in problems
    assert not any(p.startswith("archive") for p in problems)


def test_attached_pages_stand_in_the_manifest(candidate_home):
    pages = reports(candidate_home)
    pages["cpp/t2-falkirk"]["clusters/C1.html"] = b"cluster"
    assert attached(candidate_home, pages) == len(pages) + 1
    assert page_problems(candidate_home) == ()
    folder = candidate_home.releases / ".candidate" / "cpp" / "t2-falkirk"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["pages"] == ["clusters/C1.html", "report.html"]
    paths = [entry["path"] for entry in manifest["files"]]
    assert paths == sorted(paths) and set(manifest["pages"]) <= set(paths)


def test_a_repetition_leaves_exactly_what_it_brought(candidate_home):
    pages = reports(candidate_home)
    attached(candidate_home, {**pages, "public": {"report.html": b"old", "old.html": b"old"}})
    attached(candidate_home, {"public": {"report.html": b"new"}})
    folder = candidate_home.releases / ".candidate" / "public"
    assert (folder / "report.html").read_bytes() == b"new" and not (folder / "old.html").exists()
    assert page_problems(candidate_home) == ()


def test_a_changed_page_is_noticed(candidate_home):
    attached(candidate_home, reports(candidate_home))
    page = candidate_home.releases / ".candidate" / "public" / "report.html"
    page.write_text("other")
    assert page_problems(candidate_home) == ("public: report.html is not the page that was made",)


def test_pages_of_another_candidate_are_refused(candidate_home):
    stale = replace(candidate_packages(candidate_home)[0], content_hash="another")
    with pytest.raises(InputError, match="another candidate"):
        attach(candidate_home, reports(candidate_home), stale.content_hash)


@pytest.mark.parametrize("name", ["../x.html", "/x.html", "certificate.json", "manifest.json"])
def test_a_page_takes_no_other_place(candidate_home, name):
    with pytest.raises(InputError, match="may not be called"):
        attached(candidate_home, {"public": {name: b""}})


def test_an_unknown_package_is_refused(candidate_home):
    with pytest.raises(InputError, match="no package school/1"):
        attached(candidate_home, {"school/1": {"report.html": b""}})


def test_pages_of_the_same_are_kept_and_of_another_are_not(candidate_home):
    from rcs_assets.release.pages import kept_pages, made_of

    packages = {p.name: p for p in candidate_packages(candidate_home)}
    public = packages["public"]
    before = made_of(public, "code")
    attach(candidate_home, {"public": {"report.html": b"one"}}, public.content_hash,
           {"public": before})  # fmt: skip
    assert made_of(public, "code") == before
    assert kept_pages(candidate_home, public, before) == {"report.html": b"one"}
    # Another version of the same rows keeps its pages; other rows or other code do not.
    assert made_of(replace(public, version="x"), "code") == before
    assert kept_pages(candidate_home, public, made_of(public, "other code")) is None
    # The technical report counts the whole release: alone it is made again.
    both = {"report.html": b"one", "technical_report.html": b"text"}
    attach(candidate_home, {"public": both}, public.content_hash, {"public": before})
    assert kept_pages(candidate_home, public, before) == both
    assert kept_pages(candidate_home, public, before | {"technical": "other"}) == {
        "report.html": b"one"
    }
    (public.path / "report.html").write_bytes(b"two")
    assert kept_pages(candidate_home, public, before) is None


def written(folder, version, estimate="62.0", day="2020-06-30"):
    """A package of one table with its release, one without, and the text that names it."""
    (folder / "parquet").mkdir(parents=True)
    tables = {
        "estimates": {"release": [version, version], "estimate": [estimate, "48.0"]},
        "geographies": {"geography_name": ["Falkirk"]},
        "releases": {"release": [version]},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / "parquet" / f"{name}.parquet")
    row = f"{version},{estimate}\n".encode()
    (folder / "table.csv").write_bytes(b"release,estimate\n" + row)
    (folder / "technical_report.md").write_text(f"| Release | {version} of {day} |")
    (folder / "manifest.json").write_text(json.dumps({"release": version}))
    return figures_hash(folder)


def test_the_fingerprint_is_of_the_figures_and_not_of_the_release(tmp_path):
    first = written(tmp_path / "1", "2020.06.30")
    assert written(tmp_path / "2", "2020.06.30.1") == first
    assert technical_hash(tmp_path / "1") == technical_hash(tmp_path / "2") != ""
    text = tmp_path / "2" / "technical_report.md"
    text.write_text(text.read_text() + "Quantities attacked: 7")
    assert technical_hash(tmp_path / "1") != technical_hash(tmp_path / "2")
    assert figures_hash(tmp_path / "2") == first
    assert written(tmp_path / "3", "2020.06.30.1", estimate="63.0") != first
    (tmp_path / "2" / "summary.md").write_text("Read them together.")
    assert figures_hash(tmp_path / "2") != first


def test_the_asset_keeps_what_is_the_same_and_makes_the_rest(candidate_home, monkeypatch):
    """Nothing changed: nothing is made. Another technical report: it is made, the rest is kept."""
    from rcs_assets.reporting import assets
    from rcs_assets.storage.resources import HomeResource

    public = [p for p in candidate_packages(candidate_home) if p.name == "public"]
    monkeypatch.setattr(assets, "candidate_packages", lambda home: public)

    def made() -> tuple[int, int]:
        told = assets.pages(home=HomeResource(path=str(candidate_home.path))).metadata
        return told["packages_made_again"], told["technical_reports_made_again"]

    assert made() == (1, 0)
    folder = candidate_home.releases / ".candidate" / "public"
    before = {f.name: f.read_bytes() for f in folder.glob("*.html")}
    assert made() == (0, 0)
    text = folder / "technical_report.md"
    text.write_text(text.read_text("utf-8") + "\nQuantities attacked: 7.\n", encoding="utf-8")
    assert made() == (0, 1)
    after = {f.name: f.read_bytes() for f in folder.glob("*.html")}
    assert {name for name in before if before[name] != after[name]} == {"technical_report.html"}
    assert "Quantities attacked: 7." in after["technical_report.html"].decode()
