"""The roles that are played for an answer, as bars."""

from infoflow.charts import signed
from infoflow.pictures.picture import Picture, short
from infoflow.studies.roles import Roles


def picture(found: Roles, dark: bool = False) -> Picture:
    """What is left of the lead without each role."""
    table = found.to_frame()
    played = table[table["size"] > 0].rename(columns={"role": "name"})
    made = found.provenance
    return Picture(
        chart=signed.ranking(played, "left", "+.0%", dark), frame=table,
        title=f"Roles for “{found.target_label.strip()}” after “{short(made.prompt)}”, {made.whose}",
        note=f"What is left of the lead of {found.lead:+.1f} when all parts of a role are at their means over neutral texts.",
    )  # fmt: skip
