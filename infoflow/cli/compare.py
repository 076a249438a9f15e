"""Two runs value by value: two prompts, two models, with and without interventions, or the results of two saved sessions."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from infoflow.analyses.request import Request, from_dict
from infoflow.cli.options import add_changes, add_model, add_out, changes_of, prompt_of, spec_of
from infoflow.cli.shared import check_out, perform, say, written
from infoflow.errors import BadPrompt

HELP = "hold two runs against each other, value by value"
EXAMPLES = (
    'infoflow compare "The capital of France is" "The capital of Italy is" --analysis lens --out lens.html',
    'infoflow compare "The capital of France is" --change-b \'{"kind": "zero", "site": "mlp", "layers": 3}\' --out without.svg',
    "infoflow compare session.zip session.zip --out same.json",
)
ANALYSES = {"flow": "flow", "locate": "location", "attention": "attention", "lens": "logit_lens", "next": "generation"}
"""what can be compared, and the analysis that it is"""
SESSION = ".zip"
_OF_RUNS = ("target", "against", "change", "revision", "model_b", "revision_b", "dtype_b", "change_b")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("a", help="a prompt, '-' for standard input, or a session (.zip)")
    parser.add_argument("b", nargs="?", help="another prompt, '-' or session (default: the same prompt)")
    parser.add_argument(
        "--analysis", help=f"what is compared: {', '.join(ANALYSES)} (default: flow; of sessions the first in both)"
    )
    parser.add_argument(
        "--quantity", default="", help="of flow norm, projection, distance; of attention pattern, value-weighted, …"
    )
    parser.add_argument("--sources", default="tokens", help="of flow: words, tokens, sentences, or e.g. '32 spans'")
    parser.add_argument("--target", help="token whose logit locate is of, and which lens follows (default: the likeliest of a)")
    parser.add_argument("--against", help="token that it is held against")
    parser.add_argument("--align", choices=("none", "start", "end"), default="none", help="where prompts of unlike length meet")
    add_model(parser)
    add_changes(parser)
    other = parser.add_argument_group("the other run", "What b has otherwise than a.")
    other.add_argument("--model-b", help="its model, of the same tokens: base and instruct, or two checkpoints with --revision-b")
    other.add_argument("--revision-b", help="branch, tag or commit of its model")
    other.add_argument("--dtype-b", choices=("auto", "float32", "bfloat16", "float16"), help="how its weights are held")
    other.add_argument(
        "--change-b", action="append", default=[], metavar="FILE", help="its interventions, instead of --change; '[]' is none"
    )
    add_out(parser)


def run(options: argparse.Namespace) -> int:
    """Run both and write how they differ.

    Raises:
        InfoflowError: an input that can't be used, or two results that can't be compared.
    """
    from infoflow.studies.compare import compare

    check_out(options)
    if options.analysis is not None and options.analysis not in ANALYSES:
        raise BadPrompt(f"There is no '{options.analysis}' to compare. Use one of: {', '.join(ANALYSES)}.")
    sessions = [one is not None and Path(one).suffix.lower() == SESSION for one in (options.a, options.b)]
    if any(sessions) and not all(sessions):
        raise BadPrompt("The one is a session and the other a prompt. Give two sessions, or two prompts.")
    more = next((name for name in _OF_RUNS if getattr(options, name)), None) if all(sessions) else None
    if more is not None:
        raise BadPrompt(f"--{more.replace('_', '-')} is of runs, and results of sessions are as they were run. Leave it out.")
    a, b = _kept(options) if all(sessions) else _run(options)
    found = compare(a, b, options.quantity, align=options.align)
    say(found.summary(), options.quiet)
    return written(found, options)


def _kept(options: argparse.Namespace) -> tuple[Any, Any]:
    """The first results of one analysis that both sessions have."""
    from infoflow.files.sessions import open_session

    wanted = list(ANALYSES.values()) if options.analysis is None else [ANALYSES[options.analysis]]
    one, other = (
        {entry.request.analysis: entry.result for entry in reversed(open_session(file).entries)}
        for file in (options.a, options.b)
    )
    both = next((name for name in wanted if name in one and name in other), None)
    if both is None:
        raise BadPrompt(
            f"The two sessions have no result in common of {', '.join(wanted)}. Save one of the same analysis in each."
        )
    return one[both], other[both]


def _run(options: argparse.Namespace) -> tuple[Any, Any]:
    first, second = _requests(options)
    held: dict[Any, Any] = {}
    a = perform(first, options.quiet, held)
    if first.analysis == "location":  # the same logit of both
        second = replace(second, target=a.target, against=a.against)  # type: ignore[call-arg]
    return a, perform(second, options.quiet, held)


def _requests(options: argparse.Namespace) -> tuple[Request[Any], Request[Any]]:
    name = ANALYSES[options.analysis or "flow"]
    followed = [token for token in (options.target, options.against) if token is not None]
    more: dict[str, dict[str, Any]] = {
        "flow": {"sources": options.sources}, "logit_lens": {"targets": followed},
        "location": {"target": options.target, "against": options.against}, "generation": {"max_new_tokens": 1, "k": 50},
    }  # fmt: skip
    spec, prompt = spec_of(options), prompt_of(options.a)
    against = prompt if options.b is None else prompt_of(options.b)
    other = replace(
        spec, name=options.model_b or spec.name, revision=options.revision_b or ("" if options.model_b else spec.revision),
        dtype=options.dtype_b or spec.dtype,
    )  # fmt: skip
    changes = changes_of(options.change)
    others = changes_of(options.change_b) if options.change_b else changes
    asked = {"analysis": name, **more.get(name, {})}
    return (
        replace(from_dict({**asked, "prompt": prompt}), model=spec, interventions=changes),
        replace(from_dict({**asked, "prompt": against}), model=other, interventions=others),
    )
