"""Who is who: links between the deliveries, made in the vault.

Belongs here: the linkage engine, index numbers, passes of the cascade, project ids,
read-through, link rates. Does not belong here: answers, payload and anything that dbt
builds from the links (`linkage.linked` lies in dbt_project).
"""

from rcs_assets.linkage.engagements import (
    LinkedRows,
    LinkKeys,
    link_engagements,
    link_keys,
    write_linkage,
)
from rcs_assets.linkage.engine import Links, link
from rcs_assets.linkage.model import load_model, save_model
from rcs_assets.linkage.settings import LinkSettings

__all__ = [
    "LinkKeys",
    "LinkSettings",
    "LinkedRows",
    "Links",
    "link",
    "link_engagements",
    "link_keys",
    "load_model",
    "save_model",
    "write_linkage",
]
