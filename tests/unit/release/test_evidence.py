import re
from html.parser import HTMLParser

from rcs_assets.release.evidence import evidence_page

MANIFEST = {
    "release": "2020.06.30",
    "as_of": "2020-06-30",
    "simulated": True,
    "left_out": ["t1-moray"],
    "content_hash": "abc",
    "code_version": "0.1.0",
    "programme_version": "p1",
    "codebook_version": "c1",
    "policy_version": "2026.1",
    "statuses": {"published": "Shown", "c": "Confidential"},
    "packages": {"public": {"tables": {"estimates": 1234}, "cells": {"published": 1200, "c": 34}}},
    "checks": [
        {"asset": "a/b", "check": "fine", "status": "passed", "expected": "0", "observed": "0"},
        {"asset": "a/b", "check": "<b>", "status": "failed", "expected": "< 1", "observed": "2"},
    ],
    "deliveries": [
        {"engagement": None, "dataset": "simd", "file": "s.csv", "sha256": "ab" * 32,
         "status": "accepted", "received": 100, "accepted": 90, "quarantined": "<10",
         "withdrawn": 0},
    ],
}  # fmt: skip


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def test_the_page_loads_nothing_and_runs_nothing():
    text = evidence_page(MANIFEST)
    page = Page(text)
    assert not page.of("script", "img", "link", "iframe", "object", "form")
    policy = next(m["content"] for m in page.of("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert not any(name.startswith("on") or name == "style" for _, a in page.tags for name in a)
    assert not re.search(r"(?:https?:)?//|url\(|@import", text)


def test_the_style_is_the_one_named_in_the_policy():
    import base64
    import hashlib

    text = evidence_page(MANIFEST)
    style = text.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in text


def test_structure_for_readers_of_any_kind():
    page = Page(evidence_page(MANIFEST))
    assert page.of("html")[0]["lang"] == "en-GB"
    levels = [tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == "h1" and levels.count("h1") == 1 and set(levels[1:]) == {"h2"}
    assert len(page.of("caption")) == len(page.of("table")) > 3
    assert all(cell.get("scope") in ("row", "col") for cell in page.of("th"))
    scrolling = [d for d in page.of("div") if d.get("class") == "scroll"]
    assert all(d["tabindex"] == "0" and d["aria-label"] for d in scrolling)
    assert page.of("main") and page.of("title")


def test_simulated_is_said_first_and_only_if_true():
    assert "SIMULATED RCS release" in evidence_page(MANIFEST)
    assert "SIMULATED" not in evidence_page(MANIFEST | {"simulated": False})


def test_checks_counts_and_marks_are_shown_and_escaped():
    text = evidence_page(MANIFEST)
    assert "2 checks of the data in this release; 1 passed" in text
    assert "&lt;b&gt;" in text and "<b>" not in text
    assert "&#9650; failed" in text and "&lt;10" in text and "1,200" in text
    assert "t1-moray" in text


def test_the_same_manifest_gives_the_same_page():
    assert evidence_page(MANIFEST) == evidence_page(MANIFEST)
