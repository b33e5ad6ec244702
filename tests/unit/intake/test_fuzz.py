"""Mutated files: each is refused with a clear error or read whole; nothing else happens."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import duckdb
import pyreadstat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import InputError
from rcs_assets.intake.archives import unpacked
from rcs_assets.intake.contracts import check_header, check_rows, count
from rcs_assets.intake.readers import probe, read_header, read_sav, read_text
from tests.unit.intake.conftest import pupils, services, survey_frame, write_csv, write_xlsx

# Files are made once; each example writes its own mutation over the one before.
SETTINGS = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
Change = tuple[str, float, bytes]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "cut", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


def mutated(content: bytes, changes: list[Change]) -> bytes:
    """The bytes after each change at its place."""
    for kind, place, piece in changes:
        at = int(place * len(content))
        if kind == "set":
            content = content[:at] + piece + content[at + len(piece) :]
        elif kind == "insert":
            content = content[:at] + piece + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + len(piece) :]
        elif kind == "cut":
            content = content[:at]
        else:
            content = content[:at] + content[at : at + 64] * 3 + content[at + 64 :]
    return content


def read_or_refuse(path: Path, dataset: Dataset) -> int | None:
    """Rows of a text or Excel delivery whose every row has a state; None where it was refused."""
    con = duckdb.connect()
    try:
        probe(path, dataset)
        check_header(read_header(path, dataset), dataset, path.name)
        read_text(con, path, dataset)
        check_rows(con, dataset, path.name)
    except InputError as error:
        assert path.name in str(error) and error.fix
        return None
    else:
        aside = con.execute("select count(distinct row_number) from violations").fetchall()[0][0]
        assert count(con, "accepted") + aside == count(con, "delivered")
        return count(con, "delivered")
    finally:
        con.close()


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_mutated_csv(tmp_path: Path, codebook: Codebook, line_break: str) -> None:
    dataset = codebook.datasets["sample_file"]
    path = write_csv(tmp_path / "a.csv", pupils())
    good = path.read_bytes().replace(b"\n", line_break.encode())

    @SETTINGS
    @given(CHANGES)
    def examine(changes: list[Change]) -> None:
        path.write_bytes(mutated(good, changes))
        read_or_refuse(path, dataset)

    examine()


@SETTINGS
@given(st.text(max_size=30), st.integers(0, 5), st.integers(0, 9))
def test_any_text_in_a_cell_is_kept_or_refused(
    tmp_path: Path, codebook: Codebook, text: str, row: int, column: int
) -> None:
    dataset = codebook.datasets["sample_file"]
    rows = pupils()
    rows[row][list(rows[0])[column]] = text
    made = io.StringIO()
    writer = csv.DictWriter(made, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = tmp_path / "a.csv"
    path.write_bytes(made.getvalue().encode("utf-8", errors="surrogatepass"))
    assert read_or_refuse(path, dataset) in (None, len(rows))


def test_mutated_workbook(tmp_path: Path, codebook: Codebook) -> None:
    """Bytes of the file, and of its sheet with a right checksum."""
    dataset = codebook.datasets["service_map"]
    path = write_xlsx(tmp_path / "a.xlsx", services())
    good = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}

    @SETTINGS
    @given(CHANGES, st.sampled_from(["", *sorted(parts)]))
    def examine(changes: list[Change], part: str) -> None:
        if not part:
            path.write_bytes(mutated(good, changes))
        else:
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in parts.items():
                    archive.writestr(name, mutated(content, changes) if name == part else content)
        read_or_refuse(path, dataset)

    examine()


@pytest.mark.parametrize("ending", ["sav", "zsav"])
def test_mutated_survey(tmp_path: Path, codebook: Codebook, ending: str) -> None:
    dataset = codebook.datasets["primary_survey"]
    questionnaire = codebook.questionnaire_for("t1", "primary")
    path = tmp_path / f"a.{ending}"
    frame = survey_frame(questionnaire, [f"CA{number:08d}" for number in range(30)])
    pyreadstat.write_sav(frame, str(path), compress=ending == "zsav")
    good = path.read_bytes()

    @SETTINGS
    @given(CHANGES)
    def examine(changes: list[Change]) -> None:
        path.write_bytes(mutated(good, changes))
        con = duckdb.connect()
        try:
            probe(path, dataset)
            header = read_header(path, dataset)
            read_sav(con, path, header)
        except InputError as error:
            assert path.name in str(error) and error.fix
        finally:
            con.close()

    examine()


def test_mutated_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.csv", "b.csv"):
            archive.writestr(name, "x,y\n1,2\n" * 50)
    good = path.read_bytes()

    @SETTINGS
    @given(CHANGES)
    def examine(changes: list[Change]) -> None:
        path.write_bytes(mutated(good, changes))
        try:
            with unpacked(path, tmp_path, "file a.zip") as members:
                assert all(member.stat().st_size for member in members)
        except InputError as error:
            assert path.name in str(error)

    examine()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


def test_mutated_public_file(tmp_path: Path, codebook: Codebook, shared_reference: Path) -> None:
    """The real school roll: its first 200 lines, with changes."""
    source = shared_reference / "schools" / "school_level_summary_2019.csv"
    dataset = codebook.datasets["school_roll"]
    good = b"".join(source.open("rb").readlines()[:200])
    path = tmp_path / "a.csv"

    @SETTINGS
    @given(CHANGES)
    def examine(changes: list[Change]) -> None:
        path.write_bytes(mutated(good, changes))
        read_or_refuse(path, dataset)

    examine()
