"""A conversation as what each turn contributed; an answer as what it rests on."""

from infoflow.charts import logit_lens as lens_charts
from infoflow.charts import signed as charts
from infoflow.pictures.picture import Picture
from infoflow.studies.corrections import Answer, Change, Correction
from infoflow.tables import corrections as tables
from infoflow.tables.logit_lens import trajectories


def picture(found: Correction | Change | Answer, dark: bool = False, quantity: str = "own") -> Picture:
    """Of a conversation, its last change; of one without, its last answer."""
    if isinstance(found, Correction):
        found = found.changes[-1] if found.changes else found.answers[-1]
    return turns(found, dark, quantity) if isinstance(found, Change) and found.difference is not None else layers(found, dark)


def turns(change: Change, dark: bool = False, quantity: str = "own") -> Picture:
    """What each turn contributed to the lead of the new answer over the old one: all of it, or with a contrast what is specific,
    or hindsight."""
    table = tables.of_quantity(tables.turns(change), quantity)
    capped = change.difference.note if change.difference is not None else ""
    part = {"own": "", "specific": "Beyond the contrast. ", "hindsight": "What the contrast would have said too. "}[quantity]
    return Picture(
        chart=charts.ranking(table.rename(columns={"label": "name"}), "logit", "+.2f", dark), frame=change.to_frame(),
        title=f"From “{change.before.text}” to “{change.after.text}”, {change.after.generation.provenance.whose}",
        note=f"Logits: what each turn added to the lead of “{change.after.text}” over the old answer. {part}{capped}".strip(),
    )  # fmt: skip


def layers(found: Change | Answer, dark: bool = False) -> Picture:
    """The answers through the layers."""
    lens, last = found.lens, found if isinstance(found, Answer) else found.after
    chart = lens_charts.trajectories(trajectories(lens, lens.positions[-1]), "probability", dark)
    return Picture(
        chart=chart, frame=last.to_frame(), title=f"“{last.text}”, {last.generation.provenance.whose}",
        note="Probabilities at the position that the answer is read off, by row of the stream.",
    )  # fmt: skip
