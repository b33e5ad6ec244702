"""From a document to the bytes of one PDF: tagged (PDF/UA-1) and for the archive (PDF/A-2a).

Belongs here: handing a document to Typst. Does not belong here: any figure or sentence
(`layout.py`), looks (`data/typst/report.typ`), and many reports at once (`many.py`).

All text goes to Typst as data, never as markup, so that nothing in a name is read as a
command. Fonts are those beside the template; the date is the release's, so equal documents
give equal bytes. Typst runs threads of its own: a process that has used it is never forked.
"""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rcs_assets.errors import InputError
from rcs_assets.reporting.blocks import Contents, Document, Fold

if TYPE_CHECKING:
    import typst

# Bytes. Packing costs a sixth of a report's time; a report below this is small enough for e-mail
# (250 KB at most) as Typst writes it.
_PACK_FROM = 200_000


def render_pdf(page: Document) -> bytes:
    """The report as a PDF.

    Raises:
        InputError: a name or a text has a sign that the shipped fonts cannot show: no PDF for
            the archive may hold one (PDF/A-2, 6.2.11).
    """
    import typst

    content = json.dumps(_plain(page), ensure_ascii=False, separators=(",", ":"))
    try:
        made = _compiler().compile(
            format="pdf",
            sys_inputs={"data": content},
            pdf_standards=["a-2a", "ua-1"],
            timestamp=datetime.fromisoformat(page.as_of).replace(tzinfo=UTC),
        )
    except typst.TypstError as error:
        raise InputError(
            "A report cannot be set as PDF",
            where=f"{page.path}, {page.title!r}",
            why=str(error).splitlines()[0],
            fix="write names and the summary in letters of the shipped fonts (Latin with Gaelic "
            "accents, Greek, Cyrillic), without control signs, then run: rcs materialise",
        ) from error
    assert isinstance(made, bytes)
    return _packed(made) if len(made) > _PACK_FROM else made


def _packed(made: bytes) -> bytes:
    """The same PDF with its small objects compressed together.

    Typst writes a tag of the structure tree as an object of its own: over a thousand a report,
    more than half of the file. PDF/A-2 allows object streams, which PDF/A-1 did not. The
    description of the file (XMP) stays readable, and the id is a hash of what is written.
    """
    import pikepdf

    packed = io.BytesIO()
    with pikepdf.open(io.BytesIO(made)) as pdf:
        pdf.save(
            packed,
            object_stream_mode=pikepdf.ObjectStreamMode.generate,
            deterministic_id=True,
        )
    return packed.getvalue()


@cache
def _compiler() -> typst.Compiler:
    """One compiler a process: it keeps fonts and template."""
    import typst

    data = Path(str(resources.files("rcs_assets.reporting") / "data"))
    return typst.Compiler(
        input=data / "typst" / "report.typ",
        root=data,
        font_paths=[data / "fonts"],
        ignore_system_fonts=True,
    )


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries with their kind under `is`, without what print leaves out."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value if not _is_left_out(one)]
    names = getattr(value, "__dataclass_fields__", None)
    if names is None:
        return value
    return {"is": type(value).__name__, **{name: _plain(getattr(value, name)) for name in names}}


def _is_left_out(value: object) -> bool:
    return isinstance(value, Contents) or (isinstance(value, Fold) and not value.in_print)
