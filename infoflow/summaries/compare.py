"""What two runs beside each other say: what became of the likeliest token, and where they are farthest apart."""

from infoflow.studies.compare import Comparison
from infoflow.summaries.sentence import Sentence, off
from infoflow.tables import compare as tables

FORMS = {"norm": "+.0%", "projection": "+.0%", "distance": "+.0%", "pattern": "+.0%", "probability": "+.0%"}
OF = {"norm": "shares", "projection": "shares", "distance": "shares", "pattern": "patterns", "probability": "probabilities",
      "kl": "KL to output", "entropy": "entropies", "value-weighted": "value-weighted patterns", "contribution": "contributions",
      "specific": "what is specific", "hindsight": "hindsight", "logit": "logits"}  # fmt: skip


def sentences(found: Comparison) -> tuple[Sentence, ...]:
    """The next token in both, and the largest difference with its place."""
    wrong = off(found.max_error, found.provenance)
    if wrong is not None:
        return (wrong,)
    names = found.names
    said = [Sentence(f"{names.moved} {tables.moved(found.top)}")] if all(found.top) else []
    if found.kind == "generation":
        return tuple(said)
    where, place = tables.largest(found)
    form = FORMS.get(found.quantity, "+.2f")
    if abs(place["difference"]) < tables.LEAST:
        return (*said, Sentence(f"Their {OF[found.quantity]} are the same to {tables.LEAST:.1%}."))
    plain = form.lstrip("+") if form.endswith("%") else form
    far = f"Their {OF[found.quantity]} are farthest apart {where}"
    said.append(Sentence(f"{far}: {place['a']:{plain}} {names.where[0]}, {place['b']:{plain}} {names.where[1]}."))
    return tuple(said)
