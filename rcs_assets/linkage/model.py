"""The model as a thing of its own: written down once, and every prediction made from it.

Belongs here: which model the platform scores with, its table `linkage.model` and its file, the
hash that names it, and the refusal of one that was changed or is older than its rules. Does not
belong here: fitting and scoring (`probabilistic.py`), the rules (`data/`).

A prediction is a function of the records, the rules and the model. Records lie in the vault;
the frequencies of names are counted in them each time, since a list of names is
identified material and cannot be part of a model. Rules and model are named by hashes, so that
links can be said to be made of exactly these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.given import need_kind
from rcs_assets.linkage.probabilistic import MatchModel, splink_settings
from rcs_assets.linkage.settings import (
    FORMS_FILE,
    MODEL_FILE,
    RULES_FILE,
    LinkRules,
    LinkSettings,
    load_link_rules,
    rules_folder,
)
from rcs_assets.storage.files import write_atomically

TABLE = "linkage.model"
# A model that an adopter fitted (`save_model`), in $RCS_HOME/config/.
FITTED_FILE = "match_model.json"
SHIPPED = "shipped"
# What a model is written down for; the prior of a prediction is that of its own files.
_PRIOR = 0.0001
_LIBRARIES = ("splink", "duckdb")


@dataclass(frozen=True)
class StoredModel:
    """A model with what made it.

    `model_id`: sha256 of its content. `origin`: shipped or fitted. `rules_id`: sha256 of the
    files of rules that it was written down under. `libraries`: their versions then.
    """

    model_id: str
    origin: str
    rules_id: str
    libraries: Mapping[str, str]
    model: MatchModel


def model_id(model: MatchModel) -> str:
    """The sha256 of fields and settings, whatever the order of keys; the prior is no part."""
    return hashlib.sha256(_text(model).encode()).hexdigest()


def platform_model(overlay: Path | None = None) -> StoredModel:
    """The model that the platform is to score with: the adopter's fitted one, or the shipped.

    Args:
        overlay: folder that may hold files of rules and `match_model.json`.

    Raises:
        InputError: the file is not in its form, or not what its hash names.
        ConfigurationError: rules that contradict themselves.
    """
    if overlay is not None and (overlay / FITTED_FILE).is_file():
        return _stored("fitted", load_model(overlay / FITTED_FILE), overlay)
    return _stored(SHIPPED, shipped_model(load_link_rules(overlay)), overlay)


def shipped_model(rules: LinkRules) -> MatchModel:
    """The rules' own parameters, for every field; one that a file lacks says nothing."""
    fields = [entry["field"] for entry in rules.model["comparisons"]]
    settings = splink_settings(rules, LinkSettings(training="fixed"), fields, _PRIOR)
    return MatchModel((*fields, "previous_surname"), settings)


def save_model(model: MatchModel, path: str | Path) -> str:
    """Write a model, for instance `Links.model`, to a file.

    Returns:
        Its id, which stands in the file.

    Raises:
        InputError: it is no model, or no file can be written there.
    """
    need_kind(model, MatchModel, "model", "give Links.model of a call")
    file = Path(path)
    name = model_id(model)
    content = {"model_id": name, "model": json.loads(_text(model))}
    try:
        write_atomically(file, json.dumps(content, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise InputError(
            "The match model cannot be saved",
            where=str(file),
            why=f"no file can be written there ({type(error).__name__})",
            fix="name a file in a folder that is there and can be written",
        ) from None
    return name


def load_model(path: str | Path) -> MatchModel:
    """A model from its file, for `LinkSettings.model`.

    Raises:
        InputError: the file is not in its form, or was changed after it was written.
    """
    file = Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return _model(content["model"], content["model_id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "The file of the match model cannot be used",
            where=file.name,
            why=f"it is not a model that was saved ({type(error).__name__})",
            fix="save it anew from Links.model (rcs_assets.linkage.save_model), or remove it",
        ) from None


def write_model(con: duckdb.DuckDBPyConnection, stored: StoredModel) -> None:
    """Make linkage.model anew: one row, with the model's content as JSON.

    Args:
        con: a writing connection to the warehouse.
        stored: the model.
    """
    con.execute("create schema if not exists linkage")
    row = {
        "model_id": stored.model_id,
        "origin": stored.origin,
        "rules_id": stored.rules_id,
        **{f"{name}_version": stored.libraries[name] for name in _LIBRARIES},
        "definition": _text(stored.model),
    }
    con.register("model_row", pa.Table.from_pylist([row]))
    con.execute(f"create or replace table {TABLE} as from model_row")
    con.unregister("model_row")


def read_model(con: duckdb.DuckDBPyConnection, overlay: Path | None = None) -> StoredModel:
    """The model that linkage must use.

    Args:
        con: a connection to the warehouse.
        overlay: the adopter's folder, whose rules the model must have been written under.

    Raises:
        InputError: there is none, it was changed, or the rules are others now.
    """
    try:
        rows = con.execute(f"from {TABLE}").to_arrow_table().to_pylist()
    except duckdb.CatalogException:
        rows = []
    if len(rows) != 1:
        raise _refused("it was never written down")
    row = rows[0]
    if row["rules_id"] != _rules_id(overlay):
        raise _refused("the rules of linkage, or the fitted model in config/, are others now")
    model = _model(json.loads(row["definition"]), row["model_id"])
    return StoredModel(
        row["model_id"],
        row["origin"],
        row["rules_id"],
        {name: row[f"{name}_version"] for name in _LIBRARIES},
        model,
    )


def _stored(origin: str, model: MatchModel, overlay: Path | None) -> StoredModel:
    libraries = {name: version(name) for name in _LIBRARIES}
    return StoredModel(model_id(model), origin, _rules_id(overlay), libraries, model)


def _rules_id(overlay: Path | None) -> str:
    """Of the rules that a prediction follows; a fitted model is one of them."""
    digest = hashlib.sha256(
        rules_folder(overlay).version((RULES_FILE, MODEL_FILE, FORMS_FILE)).encode()
    )
    if overlay is not None and (overlay / FITTED_FILE).is_file():
        digest.update((overlay / FITTED_FILE).read_bytes())
    return digest.hexdigest()


def _text(model: MatchModel) -> str:
    """The content in one form."""
    settings = dict(model.splink) | {"probability_two_random_records_match": _PRIOR}
    return json.dumps({"fields": list(model.fields), "splink": settings}, sort_keys=True)


def _model(content: Mapping[str, Any], name: str) -> MatchModel:
    model = MatchModel(tuple(content["fields"]), content["splink"])
    if model_id(model) != name:
        raise _refused("its content is not what its hash names")
    return model


def _refused(why: str) -> InputError:
    return InputError(
        "The match model is not the one to link with",
        where=TABLE,
        why=why,
        fix="run: rcs materialise (it writes the model down anew, then links)",
    )
