"""Take every head's, or every position's, part of one run into another, one at a time: what each changes."""

import argparse
from typing import TYPE_CHECKING, Any

from infoflow.cli.options import add_out, add_question, add_target, asked, change_of, is_change, layers_of, places_of
from infoflow.cli.shared import answer

if TYPE_CHECKING:
    from infoflow.pictures.picture import Picture

HELP = "patch parts of one run into another"
EXAMPLES = (
    'infoflow patch "The capital of France is" "The capital of Italy is" --site resid_pre --out patching.csv',
    'infoflow patch "The capital of France is" \'{"kind": "noise", "site": "embed", "positions": "France"}\' --draws 4',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_question(parser, "the clean prompt; '-' reads it from standard input")
    parser.add_argument(
        "corrupted", nargs="?",
        help="another prompt of as many tokens, or an intervention (JSON or a .json file) under which the clean one is run; left "
        "out, the prompt with one word of its kind swapped",
    )  # fmt: skip
    add_target(parser)
    parser.add_argument("--site", default="z", help="z, q, k, v, pattern, attn, mlp, resid_pre, resid_mid or resid_post")
    parser.add_argument("--units", default="auto", help="layers, heads, positions or 'heads and positions'")
    parser.add_argument("--metric", default="recovery", help="of pictures: logit_diff, recovery, logit, probability, rank or kl")
    parser.add_argument("--direction", choices=("denoising", "noising"), default="denoising", help="which run is run again")
    parser.add_argument("--method", choices=("exact", "gradient"), default="exact", help="gradient: an estimate from one pass")
    parser.add_argument("--layers", help="that are patched: 3, 3-5, 0,2,7 (default: all)")
    for name, said in (
        ("positions", "that are patched"), ("averaged", "whose mean is put in"), ("frozen", "that stay as they are"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", nargs="+", metavar="WHERE", help=f"positions or words {said}")
    parser.add_argument("--align", choices=("none", "start", "end"), default="none", help="prompts of unlike length")
    parser.add_argument("--draws", type=int, default=1, help="of a noise, which are averaged (default: 1)")
    parser.add_argument("--receiver", default="", help="along paths to it alone: logits, or a later head as 5.1.q, 5.1.k, 5.1.v")
    parser.add_argument("--direct", action="store_true", help="of paths: not through MLPs")
    add_out(parser)


def run(options: argparse.Namespace) -> int:
    """Run it and write the result.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.analyses.patching import Method, PatchRequest, Units
    from infoflow.analyses.sweeps import Direction, known_metric
    from infoflow.errors import chosen
    from infoflow.text.alignment import Align

    metric, other = known_metric(options.metric), options.corrupted
    request = PatchRequest(
        **asked(options), corrupted=change_of(other) if other and is_change(other) else other, target=options.target,
        against=options.against, position=options.position, site=options.site, units=chosen(Units, options.units, "unit"),
        method=Method(options.method), direction=Direction(options.direction), layers=layers_of(options.layers),
        positions=places_of(options.positions), averaged=places_of(options.averaged), frozen=places_of(options.frozen),
        align=Align(options.align), draws=options.draws, receiver=options.receiver, direct=options.direct,
    )  # fmt: skip

    def draw(found: Any, dark: bool) -> "Picture":
        from infoflow.pictures.patching import picture

        return picture(found, dark, metric)

    return answer(request, options, draw)
