"""What Dagster hands to assets: the home, and one way to describe an asset.

Belongs here: the Dagster resource around `Home` and `Settings`, the partitions,
and the options that every asset shares (key, group, owner, tags, pool, links). Does not
belong here: any asset or check; those lie in the rooms' `assets.py` and `checks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from rcs_assets.codebook import Codebook, load_codebook
from rcs_assets.programme import Programme, load_programme
from rcs_assets.storage.home import Home, home_path
from rcs_assets.storage.settings import Settings

WRITER_POOL = "duckdb_writer"
OWNER = "team:data-engineering"
ASSETS_PAGE = "docs/reference/assets.md"


def engagement_partitions() -> dg.StaticPartitionsDefinition:
    """Partitions: one an engagement, in the order of the programme register with its overlay."""
    return dg.StaticPartitionsDefinition(
        list(load_programme(home_path() / "config").engagement_keys)
    )


class HomeResource(dg.ConfigurableResource[Any]):
    """The installation that a run works on.

    `path` is the home; `as_of` fixes all times (YYYY-MM-DD, empty = today);
    `left_out` names the engagements that the operator leaves out of the release.
    """

    path: str
    as_of: str = ""
    left_out: list[str] = Field(default_factory=list)

    def home(self) -> Home:
        """Open the home."""
        return Home.open(self.path)

    def settings(self) -> Settings:
        """Limits of connections, and the day."""
        return Settings.from_environment(as_of=self.as_of)

    def programme(self) -> Programme:
        """The programme register with the home's overlay."""
        return load_programme(self.home().config)

    def codebook(self) -> Codebook:
        """The codebook with the home's overlay."""
        return load_codebook(self.home().config)


def about_asset(key: Sequence[str], code: str = "") -> dict[str, str]:
    """Where an asset is described and where its code lies, from the top of the repository.

    The UI shows both beside the asset; plain paths, since nothing needs the internet.

    Args:
        key: room and thing.
        code: its file, if it is not one of its room's.
    """
    room, thing = key
    return {"docs": f"{ASSETS_PAGE}#{room}-{thing}", "code": code or f"rcs_assets/{room}/"}


def asset_options(
    room: str,
    thing: str,
    *,
    zone: str,
    sensitivity: str,
    description: str,
    partitions: dg.PartitionsDefinition[Any] | None = None,
    deps: Sequence[Sequence[str]] = (),
    kinds: Sequence[str] = ("python", "duckdb"),
) -> dict[str, Any]:
    """The options of an asset `[room, thing]`, alike for the whole graph.

    Args:
        room: asset group, schema and first part of the key (design.md, Names).
        thing: the table or folder that it makes.
        zone: vault, warehouse or release (tag).
        sensitivity: identified, pseudonymised, aggregate, protected or public (tag).
        description: one paragraph for the UI.
        partitions: the engagements, or None for what sees all of them.
        deps: keys of the assets that it reads.
        kinds: badges in the UI.
    """
    options: dict[str, Any] = {
        "key": dg.AssetKey([room, thing]),
        "group_name": room,
        "description": description,
        "owners": [OWNER],
        "kinds": set(kinds),
        "tags": {"zone": zone, "sensitivity": sensitivity},
        "deps": [dg.AssetKey(list(key)) for key in deps],
        "pool": WRITER_POOL,
        "metadata": about_asset((room, thing)),
    }
    if partitions is not None:
        options["partitions_def"] = partitions
        options["backfill_policy"] = dg.BackfillPolicy.single_run()
    return options
