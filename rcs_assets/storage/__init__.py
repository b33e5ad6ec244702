"""The zones: where state lies, how it is opened, locked and keyed.

Belongs here: home, settings, lock, connections, keys, access log, and (in
`resources.py`, the only module here that imports Dagster) the resource that hands
them to assets. Does not belong here: what a zone contains; the rooms own that.
"""

from rcs_assets.storage.connect import (
    open_memory,
    open_vault,
    open_warehouse,
    sql_list,
    sql_literal,
)
from rcs_assets.storage.counts import public_count, rounded_count
from rcs_assets.storage.files import write_atomically
from rcs_assets.storage.home import Home, home_path
from rcs_assets.storage.lock import write_lock
from rcs_assets.storage.pseudonyms import hmac_expression
from rcs_assets.storage.settings import Settings, operator_name

__all__ = [
    "Home",
    "Settings",
    "hmac_expression",
    "home_path",
    "open_memory",
    "open_vault",
    "open_warehouse",
    "operator_name",
    "public_count",
    "rounded_count",
    "sql_list",
    "sql_literal",
    "write_atomically",
    "write_lock",
]
