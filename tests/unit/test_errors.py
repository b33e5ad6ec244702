"""How an error is said: four sentences, in which nothing of what they name is lost."""

from __future__ import annotations

import pytest

from rcs_assets.errors import RcsError


def test_each_part_is_a_sentence() -> None:
    error = RcsError("It failed", where="row 3.", why="a rule", fix="mend it.")
    assert str(error) == "It failed. Where: row 3. Why: a rule. What to do: mend it."
    assert str(RcsError("It failed.")) == "It failed."


@pytest.mark.parametrize("path", ["..", "folder/..", "export...", "."])
def test_a_path_that_ends_in_dots_keeps_them(path: str) -> None:
    said = str(RcsError("There is no file", where=path, fix=f"run: rcs deliver {path}"))
    assert f"Where: {path} What to do: run: rcs deliver {path}" in said
