"""Pictures of key pages in a browser, and how much two of them differ.

Belongs here: which pages are pictured, the fonts that they are set in, comparing, and accepting
new pictures (`python -m tests.acceptance.pictures`, part of `make snapshots`). Does not belong
here: the judgement (`test_pictures.py`).

Pages name Roboto first and load nothing, so that a reader's machine may set them in another
font. For a picture the shipped fonts are handed to the page, so that it is the same wherever
the browser is of the same make.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from rcs_assets.reporting import render_package
from rcs_assets.reporting.explorer import explorer_files
from rcs_assets.reporting.package import read_package
from rcs_assets.reporting.settings import load_settings
from tests.unit.reporting import made

FOLDER = Path(__file__).parent / "pictures"
BROWSER = FOLDER / "browser.json"
# A pixel differs if it is this much lighter or darker: smoothing of letters stays below it.
LEAST = 64
HEIGHT = 1400
FONTS = {"400": "Regular", "700": "Bold"}
CPP = f"cpp/{made.ENGAGEMENT}"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--font-render-hinting=none", "--disable-lcd-text"]  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """One page at one width; `media` is screen or print."""

    name: str
    address: str
    width: int = 1000
    media: str = "screen"


PICTURES = (
    Picture("school", "school/report.html"),
    Picture("school-telephone", "school/report.html", 320),
    Picture("school-print", "school/report.html", 720, "print"),
    Picture("area", "cpp/report.html"),
    Picture("summary", "cpp/summary.html"),
    Picture("summary-telephone", "cpp/summary.html", 320),
    Picture("technical", "cpp/technical_report.html"),
    Picture("explorer-compare", "cpp/explorer/index.html#view=compare&level=school"),
    Picture("explorer-profile-telephone", "cpp/explorer/index.html#view=profile", 320),
    Picture("explorer-map", "public/explorer/index.html#view=map&survey=secondary"),
    Picture("explorer-change", "public/explorer/index.html#view=change"),
)


def write_pages(root: Path) -> Path:
    """Pages and explorers of made-up packages, without PDFs."""
    packages = {
        "school": (made.write_school(root / "school"), f"school/{made.SCHOOL}"),
        "cpp": (made.write_cpp(root / "cpp"), CPP),
        "public": (made.write_public(root / "public", waves=2), "public"),
    }
    for kind, (folder, name) in packages.items():
        files = dict(render_package(folder, name, screen_only=True))
        if kind != "school":
            files |= explorer_files(folder, read_package(folder, name), load_settings())
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    return root


def take(browser: Any, root: Path, picture: Picture, style: str = "") -> Image.Image:
    """The picture, at half size and in grey: shapes and places, not smoothing."""
    context = browser.new_context(
        viewport={"width": picture.width, "height": HEIGHT},
        device_scale_factor=0.5,
        bypass_csp=True,
        offline=True,
    )
    page = context.new_page()
    page.emulate_media(media=picture.media)
    page.goto(f"{root.as_uri()}/{picture.address}")
    if "explorer" in picture.address:
        page.wait_for_selector("body[data-ready=yes]")
    page.evaluate(_ADD_FONTS, fonts())
    if style:
        page.add_style_tag(content=style)
    # An explorer measures its width when it draws: it draws anew in the fonts that are there now.
    page.evaluate("dispatchEvent(new HashChangeEvent('hashchange'))")
    shot = page.screenshot(clip={"x": 0, "y": 0, "width": picture.width, "height": HEIGHT})
    context.close()
    return Image.open(io.BytesIO(shot)).convert("L")


_ADD_FONTS = """
async (fonts) => {
  for (const [weight, text] of Object.entries(fonts)) {
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    const font = new FontFace('Roboto', bytes, { weight });
    document.fonts.add(await font.load());
  }
  await document.fonts.ready;
}
"""


def fonts() -> dict[str, str]:
    """Weight → the shipped font as base64."""
    folder = resources.files("rcs_assets.reporting") / "data" / "fonts"
    return {
        weight: base64.b64encode((folder / f"Roboto-{name}.ttf").read_bytes()).decode()
        for weight, name in FONTS.items()
    }


def difference(one: Image.Image, other: Image.Image) -> float:
    """Share of pixels that differ, in per cent; 100 where the sizes do."""
    if one.size != other.size:
        return 100.0
    counts = ImageChops.difference(one, other).histogram()
    return 100 * sum(counts[LEAST:]) / (one.width * one.height)


def browser_version(browser: Any) -> str:
    """The make of the browser that sets letters: its first number."""
    return str(browser.version).split(".")[0]


def opened_browser() -> Iterator[Any]:
    """Debian's browser; closed afterwards."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        yield found
        found.close()


def main() -> None:
    """Take all pictures anew."""
    for browser in opened_browser():
        with tempfile.TemporaryDirectory() as folder:
            root = write_pages(Path(folder))
            for picture in PICTURES:
                taken = take(browser, root, picture).quantize(16)
                taken.save(FOLDER / f"{picture.name}.png", optimize=True)
        BROWSER.write_text(json.dumps({"chromium": browser_version(browser)}) + "\n")


if __name__ == "__main__":
    main()
