"""What a conversation says: where the answer changed, and which turn did it."""

from infoflow.studies.corrections import Answer, Change, Correction
from infoflow.summaries.sentence import Sentence, off, quoted
from infoflow.tables import corrections as tables
from infoflow.text.tokens import visible


def sentences(found: Correction | Change | Answer) -> tuple[Sentence, ...]:
    """Of a conversation, its last change; of one without, its last answer."""
    if isinstance(found, Correction):
        found = found.changes[-1] if found.changes else found.answers[-1]
    if isinstance(found, Answer):
        p = float(found.generation.prob[0])
        return (Sentence(f"The model answers {quoted(visible(found.text))}; its first token has {p:.0%}."),)
    where = Sentence(tables.said(found))
    if found.difference is None:
        return (where,)
    wrong = off(found.difference.max_error, found.after.generation.provenance)
    if wrong is not None:
        return (wrong,)
    table = tables.turns(found)
    largest = table.loc[table["logit"].idxmax()]
    most = Sentence(f"{quoted(str(largest['label']))} added most to that lead: {largest['logit']:+.2f}.")
    if found.difference.specific is None:
        return where, most
    beyond = table.loc[table["specific"].idxmax()]
    if beyond["specific"] <= 0:
        return where, most, Sentence("No turn says more of it here than the contrast's does.")
    return where, most, Sentence(f"Beyond the contrast {quoted(str(beyond['label']))} says most: {beyond['specific']:+.2f}.")
