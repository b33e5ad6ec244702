"""The pages of the candidate as an asset.

Belongs here: wiring. Does not belong here: what a page says (`views.py`, `layout.py`) and how
it gets into a package (`release.pages`).
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import PurePosixPath

import dagster as dg

from rcs_assets.release.pages import (
    TECHNICAL,
    attach,
    candidate_packages,
    kept_pages,
    made_of,
    sealed_hash,
)
from rcs_assets.reporting.many import render_packages
from rcs_assets.storage.code import pages_version
from rcs_assets.storage.resources import HomeResource, asset_options


@dg.asset(
    **asset_options(
        "reporting",
        "pages",
        zone="release",
        sensitivity="protected",
        description="Reports as page and PDF: one a school, cluster and CPP and one of the "
        "programme, each made from its package of the candidate alone and attached to it. A "
        "CPP's report begins with its authored summary. What was made of the same before is "
        "kept.",
        deps=[("release", "candidate")],
        kinds=("python",),
    )
)
def pages(home: HomeResource) -> dg.MaterializeResult[None]:
    """Make the reports and attach them to the candidate.

    Raises:
        InputError: an authored summary holds a figure in digits, a placeholder that is not
            known, or one that asks for a figure that is not shown.
    """
    place = home.home()
    packages = {p.name: p for p in candidate_packages(place) if p.must_have_report}
    content_hash = next(iter(packages.values())).content_hash
    code = pages_version()
    made = {name: made_of(package, code) for name, package in packages.items()}
    counted: Counter[str] = Counter()
    due, told_anew, kept = {}, {}, {}
    for name, package in packages.items():
        found = kept_pages(place, package, made[name])
        if found is None:
            due[name] = package.path
        elif made[name]["technical"] and not any(page.startswith(TECHNICAL) for page in found):
            kept[name], told_anew[name] = found, package.path
        else:
            attach(place, {name: found}, content_hash, made)
            counted.update(_counts(found))
    for name, files in chain(render_packages(due), render_packages(told_anew, technical_only=True)):
        whole = {**kept.get(name, {}), **files}
        attach(place, {name: whole}, content_hash, made)
        counted.update(_counts(whole))
    return dg.MaterializeResult(
        metadata={
            **{key: counted[key] for key in ("html", "pdf", "bytes")},
            "packages": len(packages),
            "packages_made_again": len(due),
            "technical_reports_made_again": len(told_anew),
            # What the gate publishes, and approvers sign, is what lies there now.
            "candidate_hash": sealed_hash(place),
            # Of the candidate; publishing moves it into its version's folder.
            "public_report_until_published": dg.MetadataValue.path(
                packages["public"].path / "report.html"
            ),
        }
    )


def _counts(files: Mapping[str, bytes]) -> dict[str, int]:
    found = Counter(PurePosixPath(name).suffix[1:] for name in files)
    return {**found, "bytes": sum(map(len, files.values()))}
