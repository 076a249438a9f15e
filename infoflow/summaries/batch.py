"""What many prompts say together."""

from infoflow.studies.batch import PLACES, Batch
from infoflow.summaries.sentence import Sentence

USUAL = 0.5
"""of the prompts, on which a head must be of a kind to be called so"""
NO_KIND = ("diffuse", "too few positions")


def sentences(found: Batch) -> tuple[Sentence, ...]:
    """How many there are and how many failed; where the answer moves; which heads are what on most prompts."""
    rows, failed = found.counts
    of = f" of “{found.group}”" if found.group is not None else ""
    bad = f", {failed:,} with an error" if failed else ""
    said = [Sentence(f"{rows:,} prompt{'' if rows == 1 else 's'}{of} on {found.model}{bad}.")]
    said += [one for one in (_moves(found), _heads(found), _shares(found)) if one is not None]
    return tuple(said[:3])


def _moves(found: Batch) -> Sentence | None:
    if "locate" not in found.analyses:
        return None
    table = found.moves()
    if table.empty or not table["prompts"].sum():
        return None
    best = table.loc[table["prompts"].idxmax()]
    layer, of = int(best["layer"]), f"{best['share']:.0%} of {_them(found, 'locate')}"
    return Sentence(f"Most of the answer comes to the last position in layer {layer} on {of}.", {"layer": layer})


def _heads(found: Batch) -> Sentence | None:
    if "heads" not in found.analyses:
        return None
    table = found.head_labels()
    table = table[~table["kind"].isin(NO_KIND) & (table["share"] > USUAL)].sort_values("share", ascending=False, kind="stable")
    if table.empty:
        return None
    best = table.iloc[0]
    layer, head = int(best["layer"]), int(best["head"])
    article = "an" if best["kind"][0] in "aeiou" else "a"
    more = int((table["kind"] == best["kind"]).sum()) - 1
    also = f", as {'is 1 other' if more == 1 else f'are {more} others'} on most" if more else ""
    return Sentence(
        f"Head {layer}.{head} is {article} {best['kind']} head on {best['share']:.0%} of {_them(found, 'heads')}{also}.",
        {"layer": layer, "head": head},
    )


def _them(found: Batch, analysis: str) -> str:
    """The prompts that a share is of: those that the analysis did not fail on."""
    if not found.counts[1] or (n := found.ran(analysis)) == found.ran(*found.analyses):
        return "them"
    return f"the {n:,} that this is known of"


def _shares(found: Batch) -> Sentence | None:
    if "flow" not in found.analyses:
        return None
    table = found.shares()
    if table.empty:
        return None
    last = table[table["layer"] == table["layer"].max()].set_index("place")["share"]
    own = float(last.get(PLACES[-2], 0.0))
    return Sentence(f"After the last layer {own:.0%} of the last position is of the last tenth of its prompt.")
