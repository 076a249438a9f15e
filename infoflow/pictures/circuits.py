"""The circuit of an answer, as a map of layers by heads."""

import pandas as pd

from infoflow.analyses.attribution import Attribution, Direct
from infoflow.analyses.circuits import Circuit
from infoflow.analyses.direct import DirectAttribution
from infoflow.charts import circuits as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import attribution
from infoflow.tables import circuits as tables


def picture(found: Circuit, dark: bool = False) -> Picture:
    """What knocking out each part alone takes from the lead; those in the circuit are ringed."""
    table = tables.members(found)
    made, inside = found.provenance, table[table["in_circuit"]]
    return Picture(
        chart=charts.head_map(table, "knocked", inside, dark=dark),
        frame=found.to_frame(),
        title=f"The circuit of “{found.target_label.strip()}” after “{short(made.prompt)}”, {made.whose}",
        note=said(found),
    )


def said(found: Circuit) -> str:
    """Size, faithfulness and completeness."""
    n = found.knocked.size
    return (
        f"Ringed: {found.size} of {n} heads and MLPs, which keep {found.faithfulness:.0%} of the lead alone (asked for "
        f"{found.keep:.0%}); without them {1 - found.completeness:.0%} of it is left. The lead is {found.lead:+.1f}, and "
        f"{found.nothing:+.1f} with everything at its mean over neutral texts. Colour: what knocking each out alone takes."
    )


def written(found: Attribution | DirectAttribution, most: int = 0, dark: bool = False) -> Picture:
    """What each head and MLP writes of the answer directly, with a path of the `most` strongest heads of each layer."""
    table = attribution.writers(found)
    table = table.assign(
        row=table["row"].str.replace("L", "layer "), column=table["column"].str.replace("H", ""),
        name=[f"MLP {i}" if h < 0 else f"head {i}.{h}" for i, h in zip(table["layer"], table["head"], strict=True)],
    )  # fmt: skip
    lines = pd.DataFrame(
        [(f"layer {a[0]}", str(a[1]), f"layer {b[0]}", str(b[1])) for a, b in tables.edges(found, most)] if most else [],
        columns=["from_row", "from_column", "to_row", "to_column"],
    )
    whole = tables.sums(found)
    sums = ", ".join(f"{part} {value:+.2f}" for part, value in zip(whole["part"][:-1], whole["logit"][:-1], strict=True))
    made = found.provenance
    what = "logit" if found.against is None else "lead"
    norm = "through" if found.direct == Direct.FOLDED else "without"
    return Picture(
        chart=charts.head_map(table, "logit", None, lines, dark),
        frame=found.direct_frame(),
        title=f"What each head and MLP writes of the {what} after “{short(made.prompt)}”, {made.whose}",
        note=f"Direct contributions {norm} the frozen final norm: {sums}; they sum to {found.direct_total:+.2f}, the model's "
        f"own {what} is {found.total:+.2f}." + (f" Lines: the {most} strongest heads of each layer." if most else ""),
    )
