"""The graph of a logit: from a prediction back to the tokens."""

from infoflow.analyses.graph import Graph
from infoflow.charts import graph as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import graph as tables


def picture(found: Graph, dark: bool = False) -> Picture:
    """The graph, a column a token; a click on a dot selects `cell`."""
    what, shown = tables.what(found), tables.columns(found)
    end = {"column": shown.index(found.position), "text": f"{what} {found.total:+.2f}"}
    frames = (tables.nodes(found), tables.edges(found), tables.sources(found), tables.rows(found))
    return Picture(
        chart=charts.paths(*frames, end, dark),
        frame=found.to_frame(),
        title=f"Paths to {what} after “{short(found.provenance.prompt)}”, {found.provenance.whose}",
        note=f"{_said(found, len(shown))}" + f" {found.note}" * bool(found.note),
    )


def _said(found: Graph, shown: int) -> str:
    keeps = f"The graph keeps {found.share:.0%} of {found.total:+.2f}"
    above = " (what is left out lowers it)" if found.share > 1.005 else ""
    of = [
        f"{name} {kept:+.2f} of {every:+.2f}"
        for name, kept, every in (("biases", found.bias, found.all_bias), ("interventions", found.put_in, found.all_put_in))
        if every
    ]
    beside = f" ({', '.join(of)})" if of else ""
    left = f" {len(found.labels) - shown} tokens that no kept path goes through are left out." * (shown < len(found.labels))
    return (
        f"{keeps}{above}, along {tables.moves(found)}, all heads of a layer together, and what stays. Green raises, magenta "
        f"lowers, width and dots by amount; below, what of each token arrives{beside}.{left} The paths are those of the finished "
        "run: hindsight is in it."
    )
