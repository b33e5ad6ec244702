"""The room reporting: pages that people read, made from a release package alone.

Belongs here: reading one package, turning its protected rows into words, charts and pages.
Does not belong here: the warehouse, the codebook, any estimate, and any decision about what
may be shown; a page shows what its package shows (policy.md, one rule for every outlet).
"""

from rcs_assets.reporting.pages import render_package

__all__ = ["render_package"]
