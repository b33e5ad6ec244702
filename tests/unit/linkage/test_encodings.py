"""Encodings in the place of identifiers: made with a key, linked without it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rcs_assets.cli import main
from rcs_assets.errors import InputError
from rcs_assets.linkage import LinkSettings, link
from rcs_assets.linkage.encodings import encode, link_encodings, load_encoding_rules
from rcs_assets.simulate.pairs import make_pairs
from tests.acceptance.documentation import commands
from tests.conftest import REPO_ROOT

KEY, OTHER, NOISE = b"k" * 32, b"o" * 32, b"n" * 32
# With a letter that no hexadecimal number has.
CANARIES = ("qwyxcanary", "vuzcanary", "fk10", "9zq", "-11-27")


@pytest.fixture(scope="module")
def files():
    """Two files of pupils, some of whom only one holds; seed of no figure and no setting."""
    return make_pairs(400, 98, left_only_share=0.5, right_only_share=0.1)


def table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame.dropna(axis=1, how="all"), preserve_index=False)


def matrix(encoded: pa.Table) -> np.ndarray:
    return np.array(
        [
            np.unpackbits(np.frombuffer(bytes.fromhex(c), np.uint8))
            for c in encoded["clk"].to_pylist()
        ]
    )


def test_the_engine_links_encodings_as_it_links_identifiers(files):
    left, right = (encode(table(f), KEY, noise=NOISE) for f in (files.left, files.right))
    links = link_encodings(left, right)
    truth = set(zip(files.truth.left_id, files.truth.right_id, strict=True))
    found = {
        (row["left_id"], row["right_id"])
        for row in links.table.to_pylist()
        if row["band"] == "auto"
    }
    assert len(found & truth) >= 0.99 * len(found)
    assert len(found & truth) >= 0.93 * len(truth)
    assert len({one for one, _ in found}) == len({other for _, other in found}) == len(found)
    assert links.quality.precision_low <= len(found & truth) / len(found)


def test_encodings_depend_on_key_and_record_alone_and_say_nothing_without_the_key(files):
    some = table(files.left.head(200))
    encoded = encode(some, KEY, noise=NOISE)
    shuffled = some.take(np.random.default_rng(1).permutation(some.num_rows))
    assert encode(shuffled, KEY, noise=NOISE).equals(encoded)
    assert not encode(some, KEY).equals(encoded)  # nobody can repeat the bits turned over
    bits, other = matrix(encoded), matrix(encode(some, OTHER, noise=NOISE))
    own = matrix(encode(some, KEY, noise=b"m" * 32))

    def dice(one, two):
        return 2 * (one & two).sum(1) / (one.sum(1) + two.sum(1))

    # The same records under another key are no more alike than any two records.
    strangers = dice(bits, np.roll(bits, 1, axis=0))
    assert dice(bits, own).min() > 0.75 > strangers.max()
    assert abs(dice(bits, other).mean() - strangers.mean()) < 0.06
    assert bits.shape[1] == load_encoding_rules().folded


@pytest.fixture
def council(tmp_path, monkeypatch):
    """A folder with identifiers and no installation; commands run as at the council."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RCS_HOME", str(tmp_path / "no-home"))
    frame = pd.DataFrame(
        {
            "survey_uid": ["U1", "U2", "U3"],
            "surname": ["Qwyxcanary", "Orr", "Muir"],
            "first_forename": ["Vuzcanary", "Anne", "Isla"],
            "date_of_birth": ["2003-11-27", "2004-01-31", "2005-02-03"],
            "postcode": ["FK10 9ZQ", "FK1 1AA", "FK7 7AB"],
        }
    )
    frame.to_csv(tmp_path / "sample.csv", index=False)
    frame.rename(columns={"survey_uid": "number"}).to_csv(tmp_path / "register.csv", index=False)
    for name in ("social-work.csv", "clinic.csv"):
        frame.rename(columns={"survey_uid": "record_id"}).to_csv(tmp_path / name, index=False)
    return tmp_path


def test_a_council_encodes_and_the_platform_links_without_a_home(council, capsys):
    """docs/how-to/encode-identifiers.md, two files without the platform, step by step."""
    page = REPO_ROOT / "docs" / "how-to" / "encode-identifiers.md"
    for words in commands(page, "rcs"):
        if words[1] == "encodings" and "t1-clackmannanshire" not in " ".join(words):
            assert main(words[1:]) == 0
    pairs = pd.read_csv(council / "pairs.csv")
    assert list(pairs.left_id) == list(pairs.right_id) == ["U1", "U2", "U3"]
    for name in ("council.key", "register-encoded.csv", "clinic-encoded.csv", "pairs.csv"):
        assert (council / name).stat().st_mode & 0o077 == 0
    said = capsys.readouterr()
    text = (council / "register-encoded.csv").read_text() + said.out + said.err
    assert not [canary for canary in CANARIES if canary in text.lower()]
    assert (council / "council.key").read_text().strip() not in text
    assert not (council / "no-home").exists()


@pytest.mark.parametrize(
    ("arguments", "spoil", "said"),
    [
        ("make social-work.csv --key none.key", None, "There is no key file"),
        ("make social-work.csv --key open.key", ("open.key", "00" * 32), "Others may read the key"),
        ("make social-work.csv --key council.key", ("council.key", "no key"), "This is no key"),
        ("make sample.csv --key council.key", None, "There is no column record_id"),
        ("make bad.csv --key council.key", ("bad.csv", "record_id,surname\n1,a\n1,b\n"), "twice"),
        ("make bad.csv --key council.key", ("bad.csv", "record_id,surname\n,a\n2,b\n"), "blank"),
        ("make bad.csv --key council.key", ("bad.csv", "record_id,surname\n"), "no rows"),
        ("make bad.csv --key council.key", ("bad.csv", "record_id,shoe\n1,a\n"), "no field"),
        ("make bad.csv --key council.key", ("bad.csv", "record_id,sex\n1,F\n2,\n"), "1 records"),
        ("make bad.csv --key council.key", ("bad.csv", "record_id,surname\n1\n"), "cannot be read"),
        ("make none.csv --key council.key", None, "cannot be read"),
        ("link one.csv other.csv", None, "different keys or rules"),
        ("link one.csv social-work.csv", None, "no whole file of encodings"),
        ("link one.csv bad.csv", ("bad.csv", "record_id,scheme,clk\n1,x,ff\n"), "no whole file"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_nothing_is_written(council, capsys, arguments, spoil, said):
    for name in ("council", "other"):
        assert main(["encodings", "key", f"{name}.key"]) == 0
    if "link" in arguments:
        for name, key in (("one", "council"), ("other", "other")):
            words = ["make", "social-work.csv", "--key", f"{key}.key", "--out", f"{name}.csv"]
            assert main(["encodings", *words]) == 0
    if spoil:
        (council / spoil[0]).write_text(spoil[1], encoding="utf-8")
        if spoil[0] == "open.key":
            # Whatever mask a test before this one has left.
            (council / spoil[0]).chmod(0o644)
    before = sorted(council.iterdir())
    assert main(["encodings", *arguments.split(), "--out", "new.csv"]) == 1
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not [canary for canary in CANARIES if canary in error.lower()]
    assert sorted(council.iterdir()) == before


def test_no_file_is_ever_overwritten(council, capsys):
    assert main(["encodings", "key", "council.key"]) == 0
    key = (council / "council.key").read_bytes()
    assert main(["encodings", "key", "council.key"]) == 1
    made = ["encodings", "make", "social-work.csv", "--key", "council.key", "--out", "sample.csv"]
    assert main(made) == 1
    assert capsys.readouterr().err.count("There is a file already") == 2
    assert (council / "council.key").read_bytes() == key
    with pytest.raises(InputError, match="no file of encodings"):
        link_encodings(pa.table({"record_id": ["1"]}), pa.table({"record_id": ["1"]}))


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (["ff00", "no hex"], ["ff00", "0f0f"], r"left, column clk.*1 of them are no pairs"),
        (["ff00", "0f0f"], ["ff0", "0f0f"], r"right, column clk.*1 of them are no pairs"),
        (["f9e1", "0f0f"], ["f9", "0f"], "2 different lengths"),
    ],
)
def test_encodings_that_cannot_be_compared_are_refused_without_being_told(left, right, said):
    one, other = (pa.table({"record_id": ["1", "2"], "clk": clk}) for clk in (left, right))
    with pytest.raises(InputError, match=said) as refused:
        link(one, other, settings=LinkSettings(training="fixed"))
    assert not [clk for clk in [*left, *right] if clk in str(refused.value)]
