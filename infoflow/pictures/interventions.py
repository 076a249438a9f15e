"""A run as it is, before anything is changed; the changed one beside it is drawn by `compare.py`."""

from infoflow.analyses.generation import Generation
from infoflow.charts import signed as charts
from infoflow.pictures.picture import Picture, short
from infoflow.studies.compare import compare
from infoflow.tables import compare as tables


def picture(before: Generation, dark: bool = False) -> Picture:
    """The probabilities of the likeliest next tokens."""
    table, made = tables.next_tokens(compare(before, before)), before.provenance
    table = table.sort_values("a", ascending=False, kind="stable").rename(columns={"a": "probability", "rank_a": "rank"})
    shown = table[["name", "probability", "rank", "id"]].head(tables.SHOWN)
    return Picture(
        chart=charts.ranking(shown, "probability", ".1%", dark), frame=shown,
        title=f"The next token after “{short(made.prompt)}”, {made.whose}", note="Probabilities.",
    )  # fmt: skip
