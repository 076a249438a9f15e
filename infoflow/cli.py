"""The command line: python -m infoflow flow "The capital of France is" --out flow.json"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from infoflow import __version__
from infoflow.errors import InfoflowError, UnsupportedModel

EXIT_BAD_INPUT = 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="infoflow", description="How information flows through a language model.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    flow = commands.add_parser(
        "flow",
        help="split the residual stream by source token",
        description="Split every residual of one run into what each source token contributed, and write the result.",
    )
    flow.add_argument("prompt", help="the text to run; '-' reads it from standard input")
    flow.add_argument("--model", default="demo", help="demo, a local folder, or a name on the hub (default: demo)")
    flow.add_argument("--revision", help="branch, tag or commit of a model on the hub")
    flow.add_argument(
        "--out", help="file to write: .json, .csv, .parquet, .html, .png or .svg (default: JSON on standard output)"
    )
    flow.add_argument("--sources", default="tokens", help="what a source is: tokens, words, sentences, or e.g. '32 spans'")
    flow.add_argument(
        "--metric",
        default="norm",
        choices=("norm", "projection", "distance"),
        help="what pictures and the share column show",
    )
    flow.add_argument("--show-first", action="store_true", help="do not hide the first token in pictures")
    flow.add_argument("--dark", action="store_true", help="draw pictures for a dark page")
    flow.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser


def _say(text: str, quiet: bool, end: str = "\n") -> None:
    if not quiet:
        print(text, end=end, file=sys.stderr, flush=True)


def _flow(options: argparse.Namespace) -> None:
    from infoflow import export, pictures  # torch loads only when there is something to do
    from infoflow.analyses.flow import Flow, decompose
    from infoflow.model import load_model
    from infoflow.selftest import check

    if options.out:
        export.check_ending(options.out)  # before the work, not after it
    _say(f"Loading {options.model} …", options.quiet)
    model = load_model(options.model, revision=options.revision)
    tested = check(model)
    if not tested.errors:
        raise UnsupportedModel(tested.reason)
    _say(f"Self-test: {tested.verdict}. {tested.reason}", options.quiet)
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    flow = decompose(
        model,
        prompt,
        sources=options.sources,
        on_progress=lambda done, total: _say(f"\rLayer {done} of {total}", options.quiet, "\n" if done == total else ""),
    )
    _say(
        f"Worst error {flow.max_error:.1e}; next token {flow.top[0].token!r} ({flow.top[0].probability:.1%})",
        options.quiet,
    )
    if not options.out:
        sys.stdout.write(export.as_json(flow).decode() + "\n")
        return

    def picture(drawn: Flow) -> Any:
        hidden = (0,) if drawn.first_is_one_of_many() and not options.show_first else ()
        return pictures.flow_grid(drawn, options.metric, hidden, dark=options.dark).chart

    export.write(flow, options.out, picture, pictures.background(options.dark), options.metric)
    _say(f"Written to {options.out}", options.quiet)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it is done, 2 with a sentence on standard error when the input can't be used."""
    options = _parser().parse_args(arguments)
    try:
        {"flow": _flow}[options.command](options)
    except InfoflowError as error:
        print(f"infoflow: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("infoflow: stopped.", file=sys.stderr)
        return 130
    return 0
