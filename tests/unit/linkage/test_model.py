"""The model written down: a prediction is repeated from it, and another one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from rcs_assets.errors import InputError
from rcs_assets.linkage import LinkSettings, link, load_model, save_model
from rcs_assets.linkage.model import model_id, platform_model, read_model, write_model
from rcs_assets.simulate.pairs import make_pairs


@pytest.fixture(scope="module")
def files() -> tuple[pa.Table, pa.Table]:
    made = make_pairs(pupils_n=1_500, seed=31, left_only_share=0.1, right_only_share=0.1)
    left, right = (
        pa.Table.from_pandas(frame.dropna(axis=1, how="all"), preserve_index=False)
        for frame in (made.left, made.right)
    )
    return left, right


def test_a_prediction_is_repeated_from_the_file_of_a_fitted_model(
    files: tuple[pa.Table, pa.Table], tmp_path: Path
) -> None:
    first = link(*files, LinkSettings(training="fit", seed=5))
    name = save_model(first.model, tmp_path / "m.json")
    again = link(*files, LinkSettings(model=load_model(tmp_path / "m.json"), seed=6))
    assert again.table.equals(first.table)
    assert again.quality == first.quality
    assert again.missed.equals(first.missed)
    assert model_id(again.model) == name
    # It was fitted: the shipped one is another model, and gives other weights.
    assert not link(*files, LinkSettings(training="fixed")).table.equals(first.table)


def test_a_path_may_be_a_text_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    model = platform_model().model
    file = str(tmp_path / "m.json")
    assert save_model(model, file) == model_id(load_model(file))
    for path in (tmp_path / "nowhere" / "m.json", tmp_path):
        with pytest.raises(InputError, match="cannot be saved") as refused:
            save_model(model, path)
        assert str(path) in str(refused.value)
        with pytest.raises(InputError, match="cannot be used"):
            load_model(str(path))
    with pytest.raises(InputError, match="MatchModel"):
        save_model("model", file)  # type: ignore[arg-type]


def test_the_table_gives_the_links_of_the_rules_it_was_made_of(
    files: tuple[pa.Table, pa.Table],
) -> None:
    con = duckdb.connect()
    write_model(con, platform_model())
    stored = read_model(con)
    assert stored.origin == "shipped"
    assert stored.libraries["splink"] and stored.libraries["duckdb"] == duckdb.__version__
    expected = link(*files, LinkSettings(training="fixed"))
    found = link(*files, LinkSettings(model=stored.model))
    assert found.table.equals(expected.table)
    assert found.quality == expected.quality


def test_a_changed_table_is_refused_and_so_are_other_rules(tmp_path: Path) -> None:
    con = duckdb.connect()
    with pytest.raises(InputError, match="never written down"):
        read_model(con)
    write_model(con, platform_model(tmp_path))
    con.execute("""update linkage.model set definition = replace(definition, '0.92', '0.93')""")
    with pytest.raises(InputError, match="not what its hash names"):
        read_model(con, tmp_path)
    write_model(con, platform_model(tmp_path))
    assert read_model(con, tmp_path).origin == "shipped"
    (tmp_path / "linkage.yaml").write_text("expected_share: 0.8\n", encoding="utf-8")
    with pytest.raises(InputError, match="others now"):
        read_model(con, tmp_path)


def test_an_adopters_fitted_model_takes_the_place_of_the_shipped_one(
    files: tuple[pa.Table, pa.Table], tmp_path: Path
) -> None:
    name = save_model(link(*files, LinkSettings(training="fit")).model, tmp_path / "m.json")
    (tmp_path / "m.json").rename(tmp_path / "match_model.json")
    stored = platform_model(tmp_path)
    assert (stored.origin, stored.model_id) == ("fitted", name)
    content = json.loads((tmp_path / "match_model.json").read_text("utf-8"))
    content["model"]["splink"]["comparisons"].pop()
    (tmp_path / "match_model.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="not the one to link with"):
        platform_model(tmp_path)
    (tmp_path / "match_model.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be used"):
        platform_model(tmp_path)
