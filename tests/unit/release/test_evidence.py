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
    "packages": {
        "public": {"tables": {"estimates": 1234}, "cells": {"published": 1200, "c": 34}},
        "archive/t1-moray": {"tables": {"estimates": 4}, "cells": {"published": 4}},
        "school/1": {"tables": {"estimates": 9}, "cells": {"published": 700, "c": 2}},
        "school/2": {"tables": {"estimates": 9}, "cells": {"published": 800}},
    },
    "files": [
        {"path": "public/rcs.duckdb", "sha256": "a", "bytes": 2_000_000},
        {"path": "archive/t1-moray/microdata/primary.sav", "sha256": "e", "bytes": 1_000_000},
        {"path": "school/1/table.csv", "sha256": "b", "bytes": 1_200_000},
        {"path": "school/2/table.csv", "sha256": "c", "bytes": 1_200_000},
        {"path": "school/2/report.html", "sha256": "d", "bytes": 100_000},
    ],
    "audit": {"cells": 4321, "suppressed": 21, "coalitions": 9, "attacked": 77, "programs": 154,
              "unsafe": 0},
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


def test_schools_are_one_row_with_their_number_and_size():
    text = evidence_page(MANIFEST)
    row = re.search(r'<tr><th scope="row">school/<wbr>\*</th>.*?</tr>', text)
    cells = re.findall(r">([^<]*)</td>", row[0])
    assert cells == ["estimates", "2", "3", "2.5", "1,500", "0", "2", "0", "0"]
    assert "school/<wbr>1" not in text


def test_a_package_with_files_of_answers_says_so():
    row = re.search(
        r'<tr><th scope="row">archive/<wbr>t1-moray</th>.*?</tr>', evidence_page(MANIFEST)
    )
    assert ">estimates, microdata</td>" in row[0] and ">1.0</td>" in row[0]


def test_the_audit_is_told_with_its_figures():
    text = evidence_page(MANIFEST)
    assert "4,321 cells, 21 of them hidden" in text and "Unsafe: <strong>0</strong>" in text


def test_the_same_manifest_gives_the_same_page():
    assert evidence_page(MANIFEST) == evidence_page(MANIFEST)
