"""What a change of the run does to the next token."""

from infoflow.analyses.generation import Generation
from infoflow.charts import signed as charts
from infoflow.interventions import described
from infoflow.pictures.picture import Picture, short
from infoflow.tables import interventions as tables


def picture(before: Generation, after: Generation, dark: bool = False) -> Picture:
    """The change of each likely token's probability; where nothing is changed, the probabilities themselves."""
    table, made = tables.next_tokens(before, after), after.provenance
    same = before is after
    shown = table.sort_values("after", ascending=False).head(tables.SHOWN) if same else tables.drawn(table)
    stack = " ".join(described(one) for one in made.request.interventions)
    return Picture(
        chart=charts.ranking(shown, "after" if same else "change", ".1%" if same else "+.1%", dark), frame=table,
        title=f"The next token after “{short(made.prompt)}”, {made.whose}",
        note="Probabilities." if same else f"Change of the probability. {stack}",
    )  # fmt: skip
