"""Verdicts: is each role played for this answer, by whom, and does the answer need it?"""

from infoflow.metrics.effects import HARDLY
from infoflow.studies.roles import CARRIERS, MLPS, MOVERS, SCORED, Role, Roles
from infoflow.summaries.sentence import Sentence

DOES = {
    MOVERS: "Movers copy the answer from its earlier place",
    CARRIERS: "Carriers bring what “{rests_on}” says to the end",
    SCORED["induction"]: "Induction heads continue what was said before",
    SCORED["previous token"]: "Previous-token heads mark what each token follows",
    SCORED["duplicate token"]: "Duplicate-token heads find the same token before",
    MLPS: "MLPs write the answer",
}
SHOWN = 6
EXPECTED = {
    "ioi": (MOVERS,), "induction": (SCORED["induction"], SCORED["previous token"]), "factual": (CARRIERS, MLPS),
    "greater": (CARRIERS, MLPS), "copying": (MOVERS, SCORED["induction"]),
    "duplicate": (SCORED["duplicate token"], SCORED["induction"], MOVERS),
}  # fmt: skip
"""of each example, by its key: the roles that its known circuit has"""


def sentences(found: Roles) -> tuple[Sentence, ...]:
    """A verdict on each role that is played."""
    if _hardly(found):
        return (_nothing_to_judge(found),)
    said = tuple(Sentence(verdict(found, role)) for role in found.roles if role.members)
    return said or (Sentence("No head plays a role that is known here."),)


def _hardly(found: Roles) -> bool:
    """Whether all parts together speak so little for the answer that a share of it means nothing."""
    return found.lead - found.nothing < HARDLY


def _nothing_to_judge(found: Roles) -> Sentence:
    return Sentence(
        f"The lead is {found.lead:+.1f}, and {found.nothing:+.1f} with every head and MLP at its mean over neutral texts: they "
        "hardly speak for this answer, so that no role is judged."
    )


def verdict(found: Roles, role: Role) -> str:
    """Who plays a role, what they write, and what is left without them."""
    does = DOES[role.name].format(rests_on=found.rests_on)
    if not role.members:
        return f"{does}: no, there are none on this prompt."
    which = "all of them" if role.name == MLPS else _named(role)
    answer = "yes" if role.needed else "in part" if role.left < 1 - PART else "not needed"
    return f"{does}: {answer}, {which}, {role.share:.0%} of the lead directly; knocking them out {_leaves(role.left)}."


def _leaves(left: float) -> str:
    if left >= 0.005:
        return f"leaves {left:.0%}"
    return "leaves nothing" if left > -0.05 else f"turns the answer round ({left:.0%})"


PART = 0.2
"""of the lead that goes with a role, from which it takes part"""


def of_example(found: Roles, key: str) -> tuple[Sentence, ...]:
    """Verdicts on the roles that an example's known circuit has."""
    if _hardly(found):
        return (_nothing_to_judge(found),)
    return tuple(Sentence(verdict(found, found.role(name))) for name in EXPECTED.get(key, ()))


def _named(role: Role) -> str:
    n = len(role.members)
    names = ", ".join(role.names[:SHOWN]) + (" …" if n > SHOWN else "")
    return f"{n} head{'s' * (n != 1)} ({names})"
