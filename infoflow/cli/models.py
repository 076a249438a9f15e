"""Which models there are: the catalogue, with what each needs and whether its files are here; and the families that are known."""

import argparse
import json
import sys

HELP = "list the models and families"
EXAMPLES = ("infoflow models", "infoflow models --families")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--families", action="store_true", help="the families whose layout is in the table")


def run(options: argparse.Namespace) -> int:
    """List them."""
    import pandas as pd

    from infoflow.models import hub, memory, smollm2
    from infoflow.models.architectures import FAMILIES
    from infoflow.models.catalog import MODELS, SMOLLM2
    from infoflow.text.amounts import in_words

    if options.families:
        rows = pd.DataFrame({"family": sorted(FAMILIES)})
    else:
        free, bundled = memory.free("cpu"), {"demo": True, SMOLLM2: smollm2.file() is not None}
        rows = pd.DataFrame([
            {
                "name": entry.name, "family": entry.family, "parameters": f"{entry.parameters:,} M",
                "needs": in_words(4_000_000 * entry.parameters), "fits": 4_000_000 * entry.parameters < free,
                "here": bundled.get(entry.name) or hub.is_here(entry.name), "note": entry.note,
            }
            for entry in MODELS
        ])  # fmt: skip
    if options.json:
        sys.stdout.write(json.dumps(rows.to_dict("records")) + "\n")
        return 0
    table = [list(rows.columns), *([_cell(value) for value in row] for row in rows.itertuples(index=False))]
    wide = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        sys.stdout.write("  ".join(cell.ljust(n) for cell, n in zip(row, wide, strict=True)).rstrip() + "\n")
    return 0


def _cell(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
