"""Every row of the residual stream read as a prediction, by the logit lens or another one."""

import argparse
from typing import TYPE_CHECKING, Any

from infoflow.cli.options import CONTRAST, add_out, add_question, asked, contrast_of
from infoflow.cli.shared import answer

if TYPE_CHECKING:
    from infoflow.pictures.picture import Picture

HELP = "read every layer as a prediction"
EXAMPLES = (
    'infoflow lens "The capital of France is" --targets Paris --positions -1 --out lens.csv',
    'infoflow lens "The capital of France is" --kind frozen --contrast bank --out lens.html',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_question(parser)
    parser.add_argument("--kind", choices=("logit", "frozen", "jacobian", "tuned"), default="logit", help="of lens")
    parser.add_argument("--k", type=int, default=5, help="likeliest tokens of each cell (default: 5)")
    parser.add_argument("--targets", nargs="+", default=[], metavar="TOKEN", help="tokens that are followed")
    parser.add_argument("--positions", nargs="+", type=int, help="that are read; negative ones from the end (default: all)")
    parser.add_argument("--rows", nargs="+", help="that are read, by name: embed, L0.mid, L0.post … (default: all)")
    parser.add_argument("--no-mids", action="store_true", help="no rows after attention")
    parser.add_argument("--read", choices=("own", "last"), default="own", help="of the frozen lens: where its rows are read")
    parser.add_argument("--lens", metavar="FILE", help="a fitted lens: a file, or owner/name/path/in/repo on the hub")
    parser.add_argument("--contrast", nargs="+", metavar="TEXT", help=CONTRAST)
    parser.add_argument("--colour", default="probability", help="of pictures: probability, entropy, rank, lead or KL to output")
    add_out(parser)


def run(options: argparse.Namespace) -> int:
    """Run it and write the result.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.analyses.logit_lens import LensRequest
    from infoflow.errors import BadPrompt
    from infoflow.tables.logit_lens import COLOURS, FOLLOWED

    if options.colour not in COLOURS:
        raise BadPrompt(f"There is no colour '{options.colour}'. Use one of: {', '.join(COLOURS)}.")
    if len(options.targets) < FOLLOWED.get(options.colour, 0):
        raise BadPrompt(f"The colour {options.colour} is of followed tokens. Name {FOLLOWED[options.colour]} with --targets.")
    request = LensRequest(
        **asked(options), k=options.k, positions=tuple(options.positions) if options.positions else None,
        rows=tuple(options.rows) if options.rows else None, targets=tuple(options.targets),
        mids=not options.no_mids, kind=options.kind,
        read=options.read, contrast=contrast_of(options.contrast), lens=options.lens,
    )  # fmt: skip

    def draw(found: Any, dark: bool) -> "Picture":
        from infoflow.pictures.logit_lens import table

        return table(found, options.colour, dark=dark)

    return answer(request, options, draw)
