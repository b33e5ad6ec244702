"""The process that dbt runs in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rcs_assets.wellbeing import dbt_build

_TELL_KEYS = """
import os, sys
sys.stdin.readline()
print(sorted(name for name in os.environ if name.startswith("RCS_")))
"""


def test_dbt_is_given_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbt_build, "_waiting", [])
    monkeypatch.setattr(dbt_build, "_WAIT_FOR_ORDER", _TELL_KEYS)
    # Commands that other tests run in this process set names of their own.
    for name in [name for name in os.environ if name.startswith("RCS_")]:
        monkeypatch.delenv(name)
    for name in ("RCS_KEY_VAULT", "RCS_KEY_VAULT_NEXT", "RCS_KEY_PASSPHRASE"):
        monkeypatch.setenv(name, "ab" * 32)
    monkeypatch.setenv("RCS_HOME", str(tmp_path))
    assert dbt_build._dbt(["parse"], tmp_path, {}).stdout == "['RCS_HOME']\n"
