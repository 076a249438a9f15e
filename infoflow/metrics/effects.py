"""What a run says of a token, and how far a change brought it back: one number a run, whatever was changed in it.

    logit         the model's own, of the target
    logit_diff    the target's lead over `against`: its logit less the other's
    recovery      (lead - corrupted lead) / (clean lead - corrupted lead): 0 as the corrupted run, 1 as the clean one
    probability   of the target
    rank          of the target among all tokens; 1 is the likeliest
    kl            KL(P || Q), in nats: P of the run that parts were taken from, Q of this one; 0 where both say the same

Where nothing is held against the target, its logit stands for the lead. A probability says little near 0 and near 1, where large
changes do not show; a difference of logits does not.

Source: Zhang & Nanda, "Towards Best Practices of Activation Patching in Language Models" (2023).
"""

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float

Runs = Float[np.ndarray, "*runs"]
METRICS = {
    "logit_diff": "Lead of the target over the other token, in logits.",
    "recovery": "Share of the way from the corrupted run (0) to the clean one (1) that the lead has come.",
    "logit": "The target's logit.",
    "probability": "The target's probability. Near 0 and near 1 large changes hardly show in it.",
    "rank": "The target's rank among all tokens; 1 is the likeliest.",
    "kl": "KL divergence from the run that parts are taken from, in nats; 0 where this run says what that one says.",
}
HARDLY = 0.5
"""logits between clean and corrupted below which a share of the way between them means little"""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What each of some runs says at one position."""

    logit: Runs
    against: Runs
    """the other token's; NaN where there is none"""
    log_probability: Runs
    """of the target, in nats"""
    rank: Runs
    kl: Runs

    @property
    def lead(self) -> np.ndarray:
        """Target over against; the target's logit where there is none."""
        return np.asarray(self.logit - np.where(np.isnan(self.against), 0.0, self.against))

    def at(self, index: object) -> "Outcomes":
        """Of some runs."""
        return replace(self, **{f.name: np.asarray(getattr(self, f.name)[index]) for f in fields(self)})

    def shaped(self, *shape: int) -> "Outcomes":
        """The same in other axes."""
        return replace(self, **{f.name: getattr(self, f.name).reshape(shape) for f in fields(self)})


def mean_of(several: "list[Outcomes]") -> Outcomes:
    """The mean of each number over several draws."""
    return Outcomes(**{f.name: np.mean([getattr(one, f.name) for one in several], 0) for f in fields(Outcomes)})


def filled(found: Outcomes, ran: Bool[np.ndarray, " runs"], other: Outcomes) -> Outcomes:
    """Outcomes of all runs: `found` of those that ran, in order; of the rest that of one `other`."""
    whole = {}
    for field in fields(found):
        all_of = np.full(len(ran), float(getattr(other, field.name)))
        all_of[ran] = getattr(found, field.name)
        whole[field.name] = all_of
    return Outcomes(**whole)


def measured(runs: Outcomes, metric: str, clean: Outcomes, corrupted: Outcomes) -> np.ndarray:
    """One number of each run.

    Raises:
        KeyError: an unknown metric.
    """
    if metric == "recovery":
        way = float(clean.lead) - float(corrupted.lead)
        return np.asarray((runs.lead - corrupted.lead) / way) if way else np.full(runs.logit.shape, np.nan)
    values = {
        "logit_diff": runs.lead, "logit": runs.logit, "probability": np.exp(runs.log_probability), "rank": runs.rank,
        "kl": runs.kl,
    }  # fmt: skip
    return np.asarray(values[metric])
