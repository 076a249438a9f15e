"""What the stream itself says: how far it grows, and which layer turns it most."""

from infoflow.analyses.activations import Activations
from infoflow.metrics.vectors import norm
from infoflow.summaries.sentence import Sentence, off, quoted


def sentences(found: Activations) -> tuple[Sentence, ...]:
    """Of the last position: its length from the embedding to the output, the layer whose write turns it most, and the first
    position where that is far longer than all others."""
    wrong = off(found.max_error, found.provenance)
    if wrong is not None:
        return (wrong,)
    lengths, turns = norm(found.stream), found.turns[:, -1]
    start, end = float(lengths[0, -1]), float(lengths[-1, -1])
    layer = int(turns[1:].argmin()) + 1 if len(turns) > 1 else 0
    last = quoted(found.position_labels[-1])
    said = f"The residual at {last} goes from {start:.3g} long to {end:.3g}"
    turned = f"after the first layer, {layer} turns it most (cosine {turns[layer]:.2f})" if len(turns) > 1 else "in one layer"
    out = [Sentence(f"{said}; {turned}.", {"layer": layer})]
    middle = found.n_layers // 2
    others = [float(x) for x in lengths[middle, 1:]]
    if others and lengths[middle, 0] > 5 * max(others):
        times = lengths[middle, 0] / max(others)
        sink = f"{quoted(found.position_labels[0])} is {times:.0f} times as long as any other there (row {middle}): a sink."
        out.append(Sentence(sink, {"position": 0}))
    return tuple(out)
