"""Analyse many prompts, and write their rows to a data set as they come. A run that was stopped goes on when it is called
again."""

import argparse
import sys
from typing import Any

from infoflow.cli import ctrl_c
from infoflow.cli.options import add_model, spec_of
from infoflow.cli.shared import EXIT_SOME_FAILED, EXIT_STOPPED, EXIT_UNSUPPORTED, failed, say

HELP = "analyse a file of prompts, into a data set"
EXAMPLES = (
    "infoflow batch texts.txt --analysis flow,lens --out results",
    "infoflow batch texts.txt --out results --shard 1/2 --limit 1",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "prompts", help="file of prompts: .csv, .jsonl, .parquet (columns prompt, target, against, group, id), or one a line; "
        "'-' reads standard input",
    )  # fmt: skip
    parser.add_argument("--out", required=True, help="folder of the data set; the same again goes on with it")
    parser.add_argument(
        "--analysis", default="flow,locate,lens,heads,attribute",
        help="some of flow, locate, lens, heads, attribute (default: all of them)",
    )  # fmt: skip
    add_model(parser)
    parser.add_argument(
        "--together", type=int, default=8, help="prompts of one length that share a forward pass, at most (default: 8)"
    )
    parser.add_argument("--parallel", type=int, default=1, help="requests under way at once, with --remote (default: 1)")
    parser.add_argument(
        "--sources", default="words", help="what a source of flow is: words, tokens, sentences, or e.g. '32 spans'"
    )
    parser.add_argument("--shard", default="1/1", help="the part of the rows that this process takes, e.g. 3/16")
    parser.add_argument("--limit", type=int, help="so many prompts of the file, the first ones")
    parser.add_argument("--format", default="", help="of standard input: lines, csv, jsonl or parquet (default: lines)")
    parser.add_argument("--at-once", type=int, default=64, help="prompts between two writes, at most (default: 64)")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def run(options: argparse.Namespace) -> int:
    """Run it; 4 where some prompts have an error, which is in their row.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.analyses.provenance import UNSUPPORTED  # torch loads only when there is something to do
    from infoflow.errors import BadPrompt
    from infoflow.files import batch, prompts
    from infoflow.models.loading import load
    from infoflow.studies.batch import PROMPTS, check_analyses

    analyses = check_analyses([name.strip() for name in options.analysis.split(",") if name.strip()])
    if min(options.parallel, options.at_once, options.together) < 1 or (options.limit is not None and options.limit < 1):
        raise BadPrompt("--parallel, --together, --at-once and --limit are whole numbers of 1 or more.")
    shard = prompts.Shard.named(options.shard)
    spec = spec_of(options)
    from_input = options.prompts == "-"
    total = None if from_input else prompts.count(options.prompts, options.format, options.limit, shard)
    if total == 0:
        if shard == prompts.Shard():
            raise BadPrompt(f"There are no prompts in '{options.prompts}'. Write one a line, or choose another file.")
        say(f"No prompt of '{options.prompts}' is in shard {shard}.", options.quiet)
        return 0
    source: Any = sys.stdin.buffer if from_input else options.prompts
    given = prompts.read(source, options.format, options.limit)
    say(f"Loading {spec.name} …", options.quiet)
    model = load(spec)
    try:
        found = batch.batch(
            model, given, options.out, analyses, sources=options.sources, shard=shard, parallel=options.parallel,
            together=options.together,
            at_once=options.at_once, spec=spec, total=total, on_progress=_teller(options.quiet),
        )  # fmt: skip
    except KeyboardInterrupt:
        say("", options.quiet)
        return failed("Stopped", f"stopped. What is done is in {options.out}; run the same again to go on.", EXIT_STOPPED)
    rows, wrong = found.counts
    say(f"\n{rows:,} prompts are in {options.out}", options.quiet)
    if any((frame["verdict"] == UNSUPPORTED).any() for frame in found.rows(PROMPTS, ["verdict"])):
        return failed("SelfTest", f"do not rely on what was written: the self-test refused {spec.name}.", EXIT_UNSUPPORTED)
    if wrong:
        first = found.failures().iloc[0]
        said = f"{wrong:,} of {rows:,} prompts have an error. Prompt {first['number']}: {first['error']}"
        return failed("SomeFailed", said, EXIT_SOME_FAILED)
    return 0


def _teller(quiet: bool) -> Any:
    told = [""]

    def tell(doing: str, fraction: float) -> None:
        ctrl_c.again()
        if doing != told[0]:
            say(f"\r{doing:<78}", quiet, "")
        told[0] = doing

    return tell
