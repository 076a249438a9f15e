"""Which tokens, heads and MLPs raise a logit, or the difference of two."""

import argparse

from infoflow.cli.options import CONTRAST, add_out, add_question, add_target, asked, contrast_of
from infoflow.cli.shared import answer

HELP = "split a logit by token, head and MLP"
EXAMPLES = (
    'infoflow attribute "The capital of France is" --target Paris --against Rome --out attribution.csv',
    'infoflow attribute "The capital of France is" --target Paris --contrast bank',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_question(parser)
    add_target(parser, required=True)
    parser.add_argument("--centred", action="store_true", help="less the mean logit of the vocabulary")
    parser.add_argument(
        "--direct", choices=("folded", "without norm"), default="folded", help="direct attribution through the final norm, or not"
    )
    parser.add_argument("--contrast", nargs="+", metavar="TEXT", help=CONTRAST)
    add_out(parser)


def run(options: argparse.Namespace) -> int:
    """Run it and write the result.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.analyses.attribution import AttributionRequest, Direct

    request = AttributionRequest(
        **asked(options), target=options.target, against=options.against, position=options.position, centred=options.centred,
        direct=Direct(options.direct), contrast=contrast_of(options.contrast),
    )  # fmt: skip
    return answer(request, options)
