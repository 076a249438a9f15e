"""What a head or an MLP writes, by what reads it: bars, its tokens, and its moves as arcs."""

from infoflow.analyses.readers import Readers
from infoflow.charts import attention as arcs
from infoflow.charts import signed
from infoflow.pictures.picture import Picture, short
from infoflow.tables import readers as tables

LEAST = 0.02
"""of a head's largest move, from which a move is drawn"""
PADDING = 26
"""pixels that a page takes from a chart's height"""


def picture(found: Readers, dark: bool = False) -> Picture:
    """By which way what it writes reaches the logit."""
    return Picture(
        chart=signed.ranking(tables.parts(found), "logit", "+.2f", dark, PADDING), frame=found.to_frame(),
        title=f"What reads {found.name}: {_asked(found)}",
        note=f"Parts of its {found.total:+.2f}, by the first later head or MLP that takes it on; they sum to it.{_capped(found)}",
    )  # fmt: skip


def tokens(found: Readers, dark: bool = False) -> Picture:
    """What its write says of the next token."""
    return Picture(
        chart=signed.ranking(tables.written(found), "logit", "+.2f", dark, PADDING), frame=found.written_frame(),
        title=f"What {found.name} promotes and suppresses: {_asked(found)}",
        note=f"What it adds to each token's logit directly, over the mean of all tokens.{_capped(found)}",
    )  # fmt: skip


def moves(found: Readers, dark: bool = False) -> Picture:
    """From which position to which a head brings its part."""
    table = tables.moves(found)
    apart = table["dest"] != table["src"]
    least = LEAST * float(table["weight"].abs().max()) if len(table) else 0.0
    beside = {"stays at its position": float(table["weight"][~apart].sum()), "is of biases": found.bias}
    beside["is of interventions"] = found.put_in
    rest = "".join(f"; {amount:+.2f} {what}" for what, amount in beside.items() if abs(amount) >= 0.005)
    return Picture(
        chart=arcs.arcs(table, list(found.position_labels), None, least, dark), frame=table,
        title=f"What {found.name} brings from where to where: {_asked(found)}",
        note=f"Green arcs bring it towards the answer, magenta away: {table['weight'][apart].sum():+.2f} in all of its "
        f"{found.total:+.2f} along all paths{rest}.{_capped(found)}",
    )  # fmt: skip


def _asked(found: Readers) -> str:
    what, made = f"“{found.target_name.strip()}”", found.provenance
    rather = "" if found.against_name is None else f" over “{found.against_name.strip()}”"
    return f"{what}{rather} after “{short(made.prompt)}”, {made.whose}"


def _capped(found: Readers) -> str:
    return " Before the model's soft cap." if found.softcap else ""
