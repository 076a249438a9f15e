"""What a continuation says: what its first token rests on, and where the model was least sure."""

import numpy as np

from infoflow.analyses.generation import Generation
from infoflow.summaries.sentence import Sentence, adds_most, off, quoted, would_say
from infoflow.tables.generation import written

SURE = 0.5
"""a least sure step above this is not named"""


def sentences(gen: Generation, step: int = 0) -> tuple[Sentence, ...]:
    """Of one step, what raised its token most; and of all, the one that was least likely."""
    wrong = off(gen.max_error, gen.provenance)
    if wrong is not None:
        return (wrong,)
    name, seen = quoted(written(gen, step)), gen.n_prompt + step
    more = gen.of_no_token(step)
    adds = adds_most(np.append(gen.by_source[step, :seen], [*more.values()]), [*gen.position_labels[:seen], *more])
    capped = " before the soft cap" if gen.softcap else ""
    token = f"Token {step + 1} of {gen.n_steps} is {name} ({gen.prob[step]:.0%})"
    found = [Sentence(f"{token}; {adds} to its logit{capped}, {gen.total[step]:.1f}.", {"step": step})]
    if gen.specific is not None:
        found.append(would_say(gen.by_source[step, :seen], gen.specific[step, :seen], gen.position_labels[:seen]))
    least = int(gen.prob.argmin())
    if gen.prob[least] < SURE and gen.n_steps > 1:
        said = f"The model was least sure of {quoted(written(gen, least))}, token {least + 1} ({gen.prob[least]:.0%})."
        found.append(Sentence(said, {"step": least}))
    return tuple(found)
