"""The RCS data platform: one room a stage, from delivered files to gated releases.

Belongs here: nothing but the version. Each room is imported by its own name
(`rcs_assets.intake`, `rcs_assets.linkage`, …), so that importing one engine
does not load the others.
"""

__version__ = "0.1.0"
