"""Split every residual of one run into what each source token contributed, and write the result."""

import argparse
import sys

from infoflow.cli.shared import add_remote, code_of, host_of, perform, say, standard_input

HELP = "split the residual stream by source token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("prompt", help="the text to run; '-' reads it from standard input")
    parser.add_argument("--model", default="demo", help="demo, a local folder, or a name on the hub (default: demo)")
    parser.add_argument("--revision", help="branch, tag or commit of a model on the hub")
    add_remote(parser)
    parser.add_argument(
        "--out", help="file to write: .json, .csv, .parquet, .html, .png, .svg or .pdf (default: JSON on standard output)"
    )
    parser.add_argument("--sources", default="tokens", help="what a source is: tokens, words, sentences, or e.g. '32 spans'")
    parser.add_argument(
        "--metric",
        default="norm",
        choices=("norm", "projection", "distance"),
        help="what pictures and the share column show",
    )
    parser.add_argument("--show-first", action="store_true", help="do not hide the first token in pictures")
    parser.add_argument("--dark", action="store_true", help="draw pictures for a dark page")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def run(options: argparse.Namespace) -> int:
    """Run it and write the result.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.analyses.flow import Flow, FlowRequest  # torch loads only when there is something to do
    from infoflow.files import formats
    from infoflow.models.spec import ModelSpec
    from infoflow.pictures import flow as pictures
    from infoflow.pictures import glyphs

    if options.out:
        formats.check_place(options.out)  # before the work, not after it
    prompt = standard_input() if options.prompt == "-" else options.prompt
    model = ModelSpec(name=options.model, revision=options.revision or "", host=host_of(options))
    flow: Flow = perform(FlowRequest(model=model, prompt=prompt, sources=options.sources), options.quiet)
    likeliest = flow.top[0]
    say(f"Worst error {flow.max_error:.1e}; next token {likeliest.token!r} ({likeliest.probability:.1%})", options.quiet)
    if not options.out:
        sys.stdout.write(formats.as_json(flow).decode() + "\n")
        return code_of(flow.provenance)
    hidden = (0,) if flow.first_is_one_of_many() and not options.show_first else ()

    def picture() -> pictures.Grid:
        return pictures.grid(flow, options.metric, hidden, dark=options.dark)

    missing = glyphs.lacking(flow.labels)
    if missing and options.out.lower().endswith((".png", ".svg", ".pdf")):
        say(glyphs.sentence(missing), options.quiet)
    formats.write(flow, options.out, picture, flow.to_frame(options.metric), options.dark)
    say(f"Written to {options.out}", options.quiet)
    return code_of(flow.provenance)
