"""Names of the rows of a residual stream: the embeddings, and after each layer's attention (mid) and MLP (post)."""

STAGES = ("mid", "post")
"""after attention, after the MLP"""
ROW_NAMES = {"embed": "embedding", "mid": "after attention", "post": "after MLP"}
"""what the rows of a grid are called on the screen, by stage"""


def rows_of(n_layers: int, mids: bool = True) -> tuple[str, ...]:
    """Names of the rows, from the embeddings to the output: embed, L0.mid, L0.post, ..."""
    stages = STAGES if mids else STAGES[1:]
    return ("embed", *(f"L{layer}.{stage}" for layer in range(n_layers) for stage in stages))


def row_label(row: str) -> str:
    """`L0.mid` as an axis has room for it: L0 attn."""
    return row.replace(".mid", " attn").replace(".post", " MLP")


def row_title(row: str) -> str:
    """The same in words."""
    if row == "embed":
        return "Embedding"
    layer, stage = row.split(".")
    return f"Layer {layer[1:]}, {ROW_NAMES[stage]}"
