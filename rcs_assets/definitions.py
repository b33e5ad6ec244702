"""The code location that Dagster loads (workspace.yaml, `[tool.dg]`).

Belongs here: one name, `defs`, and closing what its processes write to others. Does not belong
here: anything else.
"""

from rcs_assets.build import build_defs
from rcs_assets.owner_only import write_for_owner_only

write_for_owner_only()
defs = build_defs()
