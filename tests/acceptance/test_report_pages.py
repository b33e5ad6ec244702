"""Report pages as a person opens them: from a file, offline, in a browser, by keyboard.

The rules of outputs.md 4.7 that need a layout; those that a strict parser can see are in
`rcs_assets.reporting.examine`. Pages of made-up packages stand for each kind; the released
ones follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rcs_assets.reporting import render_package
from rcs_assets.reporting.examine import form_problems
from tests.unit.reporting import made

pytestmark = pytest.mark.browser
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
KINDS = ("school", "cpp", "cluster", "public", "summary", "technical")

# Relative luminance and ratio as WCAG 2.2 defines them; text on the nearest opaque background.
CONTRAST = """
() => {
  const channel = v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 };
  const light = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + .05) / (y + .05) };
  const behind = e => { for (; e; e = e.parentElement) { const c = numbers(
    getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c }
    return [255, 255, 255] };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  for (let node; (node = walker.nextNode());) {
    const e = node.parentElement;
    if (!node.data.trim() || e.closest('title, desc, style')) continue;
    const style = getComputedStyle(e), inSvg = e.closest('svg');
    const size = parseFloat(style.fontSize), bold = style.fontWeight >= 700;
    const large = size >= 24 || (bold && size >= 18.66);
    const r = ratio(numbers(inSvg ? style.fill : style.color), behind(e));
    if (r < (large ? 3 : 4.5)) found.push(`${r.toFixed(2)} ${node.data.trim().slice(0, 40)}`);
  }
  return found;
}
"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CLIPPED = """
() => [...document.querySelectorAll('th, td, h1, h2, h3, summary, .tiles li')]
  .filter(e => e.getClientRects().length && !e.closest('.scroll')
    && !(innerWidth < 752 && e.closest('.stacks thead'))
    && e.scrollWidth > e.clientWidth + 1 && !e.classList.contains('chart'))
  .map(e => e.innerText.slice(0, 40))
"""
TARGETS = """
() => [...document.querySelectorAll('nav a, summary')]
  .filter(e => e.getBoundingClientRect().height < 44).map(e => e.innerText.slice(0, 40))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One page of each kind."""
    root = tmp_path_factory.mktemp("pages")
    folders = {
        f"school/{made.SCHOOL}": made.write_school(root / "school"),
        f"cpp/{made.ENGAGEMENT}": made.write_cpp(root / "cpp", waves=2),
        "public": made.write_public(root / "public"),
    }
    for name, folder in folders.items():
        for path, page in render_package(folder, name, screen_only=True).items():
            (folder / path).parent.mkdir(exist_ok=True)
            # The longest name of a CPP: headers must have room for it.
            (folder / path).write_bytes(page.replace(b"Falkirk", b"Clackmannanshire"))
    return {
        "school": root / "school" / "report.html",
        "cpp": root / "cpp" / "report.html",
        "cluster": root / "cpp" / "clusters" / f"{made.CLUSTER}.html",
        "public": root / "public" / "report.html",
        "summary": root / "cpp" / "summary.html",
        "technical": root / "cpp" / "technical_report.html",
    }


@pytest.fixture(scope="module")
def context(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")),
            executable_path=str(chromium),
            headless=True,
            args=FLAGS,
        )
        yield context
        context.close()


@pytest.fixture
def opened(context, files) -> Iterator:
    """Opens a page; `requested` and `complaints` say what it did."""
    page = context.new_page()
    page.requested, page.complaints = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))

    def open_page(kind: str, width: int = 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(files[kind].as_uri())
        return page

    yield open_page
    page.close()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_whole_at_each_width_and_asks_nobody(opened, kind) -> None:
    """Opened once: what it asks, keeps and says of itself, contrast; then at each width."""
    page = opened(kind)
    assert [url for url in page.requested if url != page.url] == []
    assert page.complaints == []
    assert page.context.cookies() == []
    assert page.locator("h1").count() == 1
    assert page.get_attribute("html", "lang") == "en-GB"
    assert page.title().startswith("SIMULATED")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate(CONTRAST) == []
    for width in (1280, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(f"innerWidth === {width}")
        assert page.evaluate(OVERFLOW) <= 0, f"scrolls sideways at {width}"
        if width in (1280, 320):
            assert page.evaluate(CLIPPED) == [], f"clipped at {width}"
    assert page.evaluate(TARGETS) == []


def test_the_keyboard_reaches_everything_and_shows_where_it_is(opened) -> None:
    page = opened("cpp")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    expected = page.locator("a, summary, [tabindex='0']").count()
    seen = []
    for _ in range(expected):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "(() => { const s = getComputedStyle(document.activeElement);"
                " return [document.activeElement.tagName, s.outlineStyle, s.outlineWidth] })()"
            )
        )
    assert seen[0][0] == "A"
    assert {tag for tag, _, _ in seen} == {"A", "SUMMARY", "DIV"}
    assert {(style, width) for _, style, width in seen} == {("solid", "3px")}


def test_the_first_stop_skips_to_the_content(opened) -> None:
    page = opened("school")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the content"
    box = skip.bounding_box()
    assert box is not None and box["x"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def test_a_list_opens_by_keyboard(opened) -> None:
    page = opened("cpp")
    details = page.locator("details:not([open])").first
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.open")


def test_tables_stay_tables_on_a_telephone(opened) -> None:
    """Rows that stack keep their roles: a screen reader still meets a table."""
    page = opened("school", 320)
    table = page.get_by_role("table", name="Safe: per cent of pupils")
    assert table.get_by_role("row").count() >= 3
    assert table.get_by_role("rowheader", name="Feels safe in local area").count() == 1
    assert table.get_by_role("columnheader").count() == 6


def test_a_rating_is_a_word_a_shape_and_a_colour(opened) -> None:
    page = opened("school")
    looks = {}
    for kind in ("better", "similar", "worse"):
        rating = page.locator(f".legend .rating.{kind}")
        drawn = rating.locator("svg path, svg circle")
        looks[kind] = (
            rating.inner_text().strip(),
            drawn.get_attribute("d") or "circle",
            drawn.evaluate("e => getComputedStyle(e).fill"),
        )
    words, shapes, colours = zip(*looks.values(), strict=True)
    assert words == ("Better", "Similar", "Worse")
    assert len(set(shapes)) == len(set(colours)) == 3


# outputs.md 4.2: marks need 3:1 on white and on the wash; text in its dark form 4.5:1.
MARKS = {"teal": 3, "orange": 3, "grey": 4.5, "purple": 3, "navy": 4.5, "teal-dark": 4.5,
         "orange-dark": 4.5, "muted": 4.5, "link": 4.5, "ink": 4.5}  # fmt: skip


def _light(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _ratio(one: str, other: str) -> float:
    high, low = sorted((_light(one), _light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_palette_keeps_its_distances(opened) -> None:
    page = opened("school")
    palette = {
        name: page.evaluate(
            f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()"
        )
        for name in (*MARKS, "wash")
    }
    assert _ratio("#000000", "#ffffff") == pytest.approx(21)
    for name, least in MARKS.items():
        assert _ratio(palette[name], "#ffffff") >= least, name
        assert _ratio(palette[name], palette["wash"]) >= least, name


@pytest.mark.parametrize("colours", ("light", "dark"))
def test_charts_can_be_read_in_the_colours_that_a_reader_has_chosen(opened, colours) -> None:
    page = opened("cpp")
    page.emulate_media(forced_colors="active", color_scheme=colours)
    assert page.evaluate(CONTRAST) == []
    seen = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor,"
        " ...['path.area', 'path.range', 'circle.first', 'circle.none', 'rect.second']"
        ".map(s => getComputedStyle(document.querySelector(s)).stroke)]"
    )
    ground, *marks = ("#" + "".join(f"{int(n):02x}" for n in re.findall(r"\d+", c)) for c in seen)
    assert min(_ratio(mark, ground) for mark in marks) >= 3


def test_print_hides_nothing_that_was_open(opened) -> None:
    page = opened("school")
    page.emulate_media(media="print")
    assert page.locator("#results-secondary").is_visible()
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every("
        "e => getComputedStyle(e).overflowX === 'visible')"
    )


def test_released_pages_are_whole(released_home, context) -> None:
    """Every released page keeps the form; one of each kind is opened."""
    release = released_home.release
    pages = sorted(release.rglob("*/report.html")) + sorted(release.rglob("clusters/*.html"))
    kinds = {page.relative_to(release).parts[0] for page in pages}
    assert kinds == {"public", "cpp", "school"}
    assert [p for p in pages if form_problems(p.read_bytes())] == []
    tab = context.new_page()
    for kind in sorted(kinds):
        first = next(p for p in pages if p.relative_to(release).parts[0] == kind)
        tab.set_viewport_size({"width": 320, "height": 900})
        tab.goto(first.as_uri())
        assert tab.evaluate(OVERFLOW) <= 0, first.name
        assert tab.evaluate(CONTRAST) == [], first.name
    tab.close()
