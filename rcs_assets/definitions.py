"""The code location that Dagster loads (workspace.yaml, `[tool.dg]`).

Belongs here: one name, `defs`. Does not belong here: anything else.
"""

from rcs_assets.build import build_defs

defs = build_defs()
