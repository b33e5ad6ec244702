"""The pages of the candidate as an asset.

Belongs here: wiring. Does not belong here: what a page says (`views.py`) and how it gets
into a package (`release.pages`).
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

import dagster as dg

from rcs_assets.release.pages import attach, candidate_packages, sealed_hash
from rcs_assets.reporting.pages import render_package
from rcs_assets.storage.resources import HomeResource, asset_options


@dg.asset(
    **asset_options(
        "reporting",
        "pages",
        zone="release",
        sensitivity="protected",
        description="One self-contained page a school, cluster and CPP and one of the "
        "programme, each made from its package of the candidate alone and attached to it. A "
        "CPP's page begins with its authored summary.",
        deps=[("release", "candidate")],
        kinds=("python",),
    )
)
def pages(home: HomeResource) -> dg.MaterializeResult[None]:
    """Make the pages and attach them to the candidate.

    Raises:
        InputError: an authored summary holds a figure in digits, a placeholder that is not
            known, or one that asks for a figure that is not shown.
    """
    place = home.home()
    packages = candidate_packages(place)
    made = {p.name: render_package(p.path, p.name) for p in packages if p.must_have_report}
    written = attach(place, made, packages[0].content_hash)
    return dg.MaterializeResult(
        metadata={
            "pages": written,
            "packages": len(made),
            # What the gate publishes, and approvers sign, is what lies there now.
            "candidate_hash": sealed_hash(place),
            "bytes": sum(len(page) for files in made.values() for page in files.values()),
        }
    )
