"""A score by source on both sides, as a map."""

from infoflow.analyses.query_key import QueryKey
from infoflow.charts import query_key as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import query_key as tables


def picture(found: QueryKey, dark: bool = False) -> Picture:
    """Sources of the query by sources of the key."""
    made, names = found.provenance, found.position_labels
    shown = tables.matrix(found)
    other = (
        f" {tables.OTHER} are the sources with small parts, together."
        if tables.OTHER in set(shown["query_source"]) | set(shown["key_source"])
        else ""
    )
    rather = "" if found.against is None else f" rather than {found.against} {names[found.against]}"
    what = "the score" if found.against is None else "the difference of two scores"
    position = f" The position itself adds {found.by_position:+.2f}." if found.by_position else ""
    return Picture(
        chart=charts.source_map(shown, dark), frame=found.to_frame(),
        title=f"Why head {found.layer}.{found.head} looks from {found.query} {names[found.query]} at {found.key} "
        f"{names[found.key]}{rather}, “{short(made.prompt)}”, {made.whose}",
        note=f"Parts of {what}, before the softmax, by source of the query (rows) and of the key (columns); together "
        f"{found.score:+.2f}.{position}{other} {found.note}".strip(),
    )  # fmt: skip
