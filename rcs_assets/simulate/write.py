"""Writes files so that the same content gives the same bytes.

Belongs here: CSV, .sav and .xlsx writers with fixed time stamps and the mark SIMULATED
where the format has a place for it, and signing. Does not belong here: what the files say.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import openpyxl
import pandas as pd
import pyreadstat

from rcs_assets.programme import read_simulated_manifest, write_simulated_manifest
from rcs_assets.programme.provenance import MANIFEST_NAME, sha256_of

MARK = "SIMULATED"
# Creation stamps are data of the simulation, not of the machine's clock.
FIXED_TIME = datetime(2019, 6, 3, 9, 0, 0)
SAV_DATE_AT, SAV_DATE, SAV_TIME = 92, b"03 Jun 19", b"09:00:00"


@dataclass(frozen=True)
class SavLayout:
    """Labels of an SPSS file: by supplier's column name."""

    title: str
    column_labels: Mapping[str, str]
    value_labels: Mapping[str, Mapping[float, str]]
    missing_codes: Mapping[str, tuple[float, ...]]
    formats: Mapping[str, str]


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """Write UTF-8 CSV: comma, quotes only where needed, empty for null."""
    frame.to_csv(path, index=False, lineterminator="\n")
    return path


def write_sav(path: Path, frame: pd.DataFrame, layout: SavLayout) -> Path:
    """Write an SPSS file with labels and user-missing values; title and note say SIMULATED."""
    pyreadstat.write_sav(
        frame,
        path,
        file_label=f"{MARK} {layout.title}"[:64],
        column_labels=dict(layout.column_labels),
        variable_value_labels={k: dict(v) for k, v in layout.value_labels.items()},
        missing_ranges={k: _missing_ranges(v) for k, v in layout.missing_codes.items() if v},
        variable_format=dict(layout.formats),
        note=f"{MARK}: every record in this file was made by rcs simulate",
        row_compress=True,
    )
    with path.open("r+b") as file:
        file.seek(SAV_DATE_AT)
        file.write(SAV_DATE + SAV_TIME)
    return path


def write_xlsx(path: Path, sheet: str, frame: pd.DataFrame, title: str) -> Path:
    """Write one sheet; the workbook's title says SIMULATED, its time stamps are fixed."""
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None  # a new workbook always has one sheet
    page.title = sheet
    page.append(list(frame.columns))
    for row in frame.astype(object).to_numpy().tolist():
        page.append(row)
    book.properties.title = f"{MARK} {title}"
    book.properties.creator = "rcs simulate"
    book.properties.created = FIXED_TIME
    buffer = io.BytesIO()
    book.save(buffer)
    _copy_with_fixed_times(buffer, path)
    return path


def sign_files(paths: list[Path], seed: int) -> Path:
    """Sign simulated files again, for example after a test changed one.

    What the folder's list names already stays listed, as far as it still lies there unchanged.

    Args:
        paths: files of one folder.
        seed: the simulator's seed.

    Returns:
        The list beside the files.

    Raises:
        InputError: a file cannot be read, or the list was changed after signing.
    """
    folder = paths[0].parent
    listed = {
        folder / name: digest
        for digest, name in read_simulated_manifest(folder).items()
        if (folder / name).is_file()
    }
    kept = {path for path, digest in listed.items() if sha256_of(path) == digest}
    public = {path for path in kept - set(paths) if path.name in _public_names(folder)}
    return write_simulated_manifest(folder, sorted(kept | set(paths)), seed, public=public)


def _public_names(folder: Path) -> set[str]:
    entries = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))["files"]
    return {entry["name"] for entry in entries if entry["kind"] == "public"}


def _missing_ranges(codes: tuple[float, ...]) -> list[object]:
    """SPSS takes up to three values, or one range."""
    return list(codes) if len(codes) <= 3 else [{"lo": min(codes), "hi": max(codes)}]


def _copy_with_fixed_times(buffer: io.BytesIO, path: Path) -> None:
    stamp = FIXED_TIME.isoformat().encode() + b"Z"
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            if info.filename == "docProps/core.xml":
                content = re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + stamp, content)
            fixed = zipfile.ZipInfo(info.filename, FIXED_TIME.timetuple()[:6])
            fixed.compress_type = zipfile.ZIP_DEFLATED
            fixed.external_attr = 0o644 << 16
            target.writestr(fixed, content)
