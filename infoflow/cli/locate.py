"""Where the answer is: a logit as a sum over positions at every row of the residual stream, and which heads moved it."""

import argparse

from infoflow.cli.options import CONTRAST, add_out, add_question, add_target, asked, contrast_of
from infoflow.cli.shared import answer

HELP = "tell on which position the answer is, at every layer"
EXAMPLES = (
    'infoflow locate "The capital of France is" --target Paris --against Rome --out answer.html',
    'infoflow locate "The capital of France is" --out answer.svg --width 2col --no-title',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_question(parser)
    add_target(parser)
    parser.add_argument("--centred", action="store_true", help="less the mean logit of the vocabulary")
    parser.add_argument("--top-k", type=int, default=8, help="likeliest next tokens that are told (default: 8)")
    parser.add_argument("--contrast", nargs="+", metavar="TEXT", help=CONTRAST)
    add_out(parser)


def run(options: argparse.Namespace) -> int:
    """Run it and write the result.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.analyses.location import LocationRequest

    request = LocationRequest(
        **asked(options), target=options.target, against=options.against, position=options.position, centred=options.centred,
        top_k=options.top_k, contrast=contrast_of(options.contrast),
    )  # fmt: skip
    return answer(request, options)
