"""Which code made a result: what decides that pages are made anew."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from rcs_assets.storage import code


@pytest.fixture
def fresh():
    """Hashes are kept for a process; here each is worked out anew."""

    def pages() -> str:
        code.room_version.cache_clear()
        code.pages_version.cache_clear()
        return code.pages_version()

    yield pages
    code.room_version.cache_clear()
    code.pages_version.cache_clear()


def test_another_version_of_a_library_that_sets_pages_makes_them_anew(fresh, monkeypatch) -> None:
    before = fresh()
    assert fresh() == before
    for changed in ("typst", "jinja2"):
        other = {changed: "0.0.1"}
        monkeypatch.setattr(code, "version", lambda name, o=other: o.get(name) or version(name))
        assert fresh() != before
    monkeypatch.setattr(code, "version", version)
    assert fresh() == before


def test_the_fonts_count_as_code_of_the_pages(fresh, monkeypatch) -> None:
    before = fresh()
    monkeypatch.setattr(code, "CODE_ENDINGS", code.CODE_ENDINGS - {".ttf"})
    assert fresh() != before
