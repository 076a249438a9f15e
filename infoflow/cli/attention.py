"""Where each head looks: every pattern as a table, the mean of all, a layer's or a head's as a picture."""

import argparse
from typing import TYPE_CHECKING, Any

from infoflow.cli.options import add_out, add_question, asked
from infoflow.cli.shared import answer
from infoflow.errors import BadPrompt

if TYPE_CHECKING:
    from infoflow.pictures.picture import Picture

HELP = "write where each head looks"
EXAMPLES = (
    'infoflow attention "The cat sat on the mat. The cat sat on the" --layer 3 --head 1 --out head.png',
    'infoflow attention "The capital of France is" --out attention.parquet',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_question(parser)
    parser.add_argument("--layer", type=int, help="of pictures: this layer's mean (default: the mean of all)")
    parser.add_argument("--head", type=int, help="of pictures: this head of the layer")
    parser.add_argument(
        "--weighting", choices=("pattern", "value", "contribution"), default="pattern", help="of pictures: what weights are"
    )
    parser.add_argument(
        "--sinks",
        choices=("shown", "masked", "renormalised"),
        default="shown",
        help="of pictures: the first token",
    )
    add_out(parser)


def run(options: argparse.Namespace) -> int:
    """Run it and write the result.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.analyses.attention import AttentionRequest

    if options.head is not None and options.layer is None:
        raise BadPrompt("A head is one of a layer. Say which, with --layer.")

    def draw(attn: Any, dark: bool) -> "Picture":
        from infoflow.pictures.attention import attention_map
        from infoflow.tables import attention as tables

        n_layers, n_heads = attn.pattern.shape[:2]
        layer, head = options.layer or 0, options.head or 0
        if not (0 <= layer < n_layers and 0 <= head < n_heads):
            raise BadPrompt(f"There is no head {layer}.{head}: the model has {n_layers} layers of {n_heads} heads.")
        some = tables.Level.ALL if options.layer is None else tables.Level.LAYER
        level = some if options.head is None else tables.Level.HEAD
        found = tables.view(attn, level, layer, head, options.weighting, options.sinks)
        return attention_map(attn, found, options.weighting, sinks=options.sinks, dark=dark)

    return answer(AttentionRequest(**asked(options)), options, draw)
