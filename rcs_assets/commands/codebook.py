"""Commands of the codebook: contracts, page, freezing, adoption, differences.

Belongs here: calling the codebook room. Does not belong here: what a codebook says.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from rcs_assets.codebook import load_codebook
from rcs_assets.commands.terminal import (
    DONE,
    config_folder,
    open_home,
    print_json,
    refuse_inside_home,
)
from rcs_assets.storage import Settings, write_atomically


def codebook_contracts(options: argparse.Namespace) -> int:
    """Write the contracts, the home's overlay in them, one file a dataset or version."""
    from rcs_assets.codebook.odcs import open_contracts

    contracts = open_contracts(load_codebook(config_folder(options)))
    options.out.mkdir(parents=True, exist_ok=True)
    for name, contract in contracts.items():
        write_atomically(options.out / f"{name}.odcs.yaml", contract.to_yaml())
    print(f"Wrote {len(contracts)} contracts to {options.out}.")
    return DONE


def codebook_adopt(options: argparse.Namespace) -> int:
    """Write the overlay, and load it: what cannot be loaded is not adopted."""
    from rcs_assets.codebook.hwb import adopt

    found = adopt(options.lists, options.stage, options.tranche, load_codebook(), options.out)
    load_codebook(options.out)
    print(f"Wrote {found.version} with {found.variables_n} questions to {options.out}.")
    for question in found.unrouted:
        print(f"  asked of all, its routing names several questions: {question}")
    return DONE


def codebook_page(options: argparse.Namespace) -> int:
    """Write the codebook's page, with licensed wording where its licence permits it."""
    from rcs_assets.codebook_page import write_codebook

    home = open_home(options)
    refuse_inside_home(home, options.out)
    day = Settings.from_environment().as_of
    print(write_codebook(home, load_codebook(home.config), day, options.out))
    return DONE


def codebook_freeze(options: argparse.Namespace) -> int:
    """Keep the codebook that holds now, so that later answers can be counted by it."""
    from rcs_assets.codebook.frozen import FOLDER, freeze

    kept = freeze(config_folder(options), options.name)
    print(f"Kept version {kept.version[:12]} as {FOLDER}/{options.name} in config/.")
    print("Next: rcs materialise counts by it too (safe haven, definition_sets)")
    return DONE


def codebook_differences(options: argparse.Namespace) -> int:
    """Differences between questionnaire versions, and the indicators that they break."""
    from rcs_assets.codebook.versions import comparability, differences

    codebook = load_codebook(config_folder(options))
    found = differences(codebook)
    flags = comparability(codebook)
    broken = {name: flag for name, flag in flags.items() if flag.startswith("not")}
    if options.json:
        print_json({"differences": [asdict(d) for d in found], "not_comparable": broken})
        return DONE
    for item in found:
        mark = "breaks comparability" if item.breaks_comparability else "mapped"
        where = f"{item.older} → {item.newer}"
        print(f"{where}  {item.variable}  {item.change} ({mark}): {item.note}")
    print(f"{len(found)} differences; {len(broken)} indicators not comparable throughout.")
    for name, flag in broken.items():
        print(f"  {name}: {flag}")
    return DONE
