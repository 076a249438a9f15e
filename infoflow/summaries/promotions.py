"""What promotions say: which block raised a token most."""

from infoflow.analyses.promotions import Promotions
from infoflow.summaries.sentence import Sentence, quoted
from infoflow.tables import promotions as tables


def sentences(found: Promotions) -> tuple[Sentence, ...]:
    """The block that moved a token's probability most."""
    table = tables.largest(found, found.token_ids.size)
    table = table[table["change"] > 0].reset_index(drop=True)
    if table.empty:
        return (Sentence("No block raised any token's probability by as much as 0.01 %."),)
    block, token = str(table["name"][0]).split(": ", 1)
    raised = f"{block} raised a token's probability most of all blocks: {quoted(token)} by {table['change'][0]:.0%}."
    return (Sentence(raised, {"position": found.position}),)
