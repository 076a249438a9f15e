"""Split every residual of one run into what each source token contributed, and write the result."""

import argparse
from typing import TYPE_CHECKING, Any

from infoflow.cli.options import add_out, add_question, asked
from infoflow.cli.shared import check_out, perform, say, written

if TYPE_CHECKING:
    from infoflow.pictures.flow import Grid

HELP = "split the residual stream by source token"
EXAMPLES = (
    'infoflow flow "The capital of France is" --sources words --out flow.json',
    'infoflow flow "The capital of France is" --out flow.pdf --width 1col',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_question(parser)
    parser.add_argument("--sources", default="tokens", help="what a source is: tokens, words, sentences, or e.g. '32 spans'")
    parser.add_argument("--targets", nargs="+", default=[], metavar="TOKEN", help="tokens whose logits are split, too")
    parser.add_argument("--top-k", type=int, default=8, help="likeliest tokens whose logits are split (default: 8)")
    parser.add_argument(
        "--metric",
        default="norm",
        choices=("norm", "projection", "distance"),
        help="what pictures and the share column show",
    )
    parser.add_argument("--show-first", action="store_true", help="do not hide the first token in pictures")
    add_out(parser)


def run(options: argparse.Namespace) -> int:
    """Run it and write the result.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.analyses.flow import Flow, FlowRequest  # torch loads only when there is something to do
    from infoflow.pictures import flow as pictures

    check_out(options)
    request = FlowRequest(**asked(options), sources=options.sources, targets=tuple(options.targets), top_k=options.top_k)
    flow: Flow = perform(request, options.quiet)
    say(f"Worst error {flow.max_error:.1e}. {flow.summary()}", options.quiet)

    def draw(found: Any, dark: bool) -> "Grid":
        hidden = (0,) if found.first_is_one_of_many() and not options.show_first else ()
        return pictures.grid(found, options.metric, hidden, dark=dark)

    return written(flow, options, draw, flow.to_frame(options.metric))
