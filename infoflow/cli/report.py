"""Results as one HTML file that opens offline: of prompts that run now, of files that commands wrote, or of a session."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infoflow.analyses.request import Request, from_dict
from infoflow.cli.options import add_changes, add_model, changes_of, prompt_of, spec_of
from infoflow.cli.shared import code_of, perform, say
from infoflow.errors import BadPrompt, InfoflowError

if TYPE_CHECKING:
    from infoflow.files.reports import Part

HELP = "write results as one HTML file that opens offline"
EXAMPLES = (
    'infoflow report --prompt "The capital of France is" --analysis flow,locate,lens --target Paris --out report.html',
    "infoflow report session.zip --out report.html",
)
ANALYSES = ("flow", "attention", "lens", "locate", "attribute", "generate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "files", nargs="*", help="sessions (.zip), and results that a command wrote as .json, which are run again as they were"
    )
    parser.add_argument("--prompt", action="append", default=[], help="a text to run now; repeatable; '-' reads standard input")
    parser.add_argument("--analysis", default="flow", help=f"what is run of each prompt: several of {', '.join(ANALYSES)}")
    parser.add_argument("--target", help="token whose logit locate and attribute are of, and which lens follows")
    parser.add_argument("--against", help="token that it is held against")
    add_model(parser)
    add_changes(parser)
    parser.add_argument("--title", default="", help="of the whole")
    parser.add_argument("--note", default="", help="below the title")
    parser.add_argument("--out", default="report.html", help="file to write (default: report.html)")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def run(options: argparse.Namespace) -> int:
    """Run what has to be run, and write the report.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.files import formats
    from infoflow.files.reports import Part, report

    if formats.check_place(options.out) != "html":
        raise BadPrompt(f"A report is .html, and '{options.out}' is called otherwise. Rename it.")
    asked = requests(options)
    parts: list[Part] = []
    title, note = options.title, options.note
    held: dict[Any, Any] = {}
    for file in options.files:
        said, more = _opened(Path(file), options.quiet, held)
        parts += more
        title, note = title or said[0], note or said[1]
    parts += [Part(perform(request, options.quiet, held)) for request in asked]
    if not parts:
        raise BadPrompt("There is nothing to report. Name a file, or give a --prompt.")
    report(parts, options.out, title, note)
    say(f"Written to {options.out}", options.quiet)
    made = [part.result.provenance for part in parts if hasattr(part.result, "provenance")]
    return max((code_of(one) for one in made), default=0)


def requests(options: argparse.Namespace) -> list[Request[Any]]:
    """What is asked of each prompt.

    Raises:
        InfoflowError: an analysis that there is not, or one that lacks a target.
    """
    names = [name.strip() for name in options.analysis.split(",") if name.strip()]
    for name in names:
        if name not in ANALYSES:
            raise BadPrompt(f"There is no analysis '{name}' for a report. Use some of: {', '.join(ANALYSES)}.")
    if "attribute" in names and options.target is None:
        raise BadPrompt("attribute is of a token's logit. Name it with --target.")
    followed = [token for token in (options.target, options.against) if token is not None]
    more: dict[str, dict[str, Any]] = {
        "lens": {"analysis": "logit_lens", "targets": followed},
        "locate": {"analysis": "location", "target": options.target, "against": options.against},
        "attribute": {"analysis": "attribution", "target": options.target, "against": options.against},
        "generate": {"analysis": "generation"},
    }
    spec, changes = spec_of(options), changes_of(options.change)
    return [
        replace(from_dict({"analysis": name, "prompt": prompt, **more.get(name, {})}), model=spec, interventions=changes)
        for prompt in map(prompt_of, options.prompt)
        for name in names
    ]


def _opened(file: Path, quiet: bool, held: dict[Any, Any]) -> "tuple[tuple[str, str], list[Part]]":
    """Title and note of a file, and its results: of a session as they were kept, of a command's JSON run again.

    Raises:
        InfoflowError: neither, or one that can't be read.
    """
    from infoflow.files.reports import Part
    from infoflow.files.sessions import check_service, open_session

    if file.suffix.lower() == ".zip":
        session = open_session(file)
        return (session.title, session.note), [Part(entry.result, entry.note) for entry in session.entries]
    try:
        made = json.loads(file.read_text(encoding="utf-8"))["provenance"]
        compared = made["options"] if made.get("function") == "compare" else None
        asked = [from_dict(one["request"]) for one in ([made] if compared is None else [made["a"], made["b"]])]
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        raise InfoflowError(
            f"'{file}' is no session and no result of a command. Give a .zip that was saved, or a .json that --out wrote."
        ) from None
    say(f"Running again what '{file}' is of …", quiet)
    for one in asked:
        check_service(one)
    asked = [replace(one, model=replace(one.model, device="auto")) for one in asked]
    results = [perform(one, quiet, held) for one in asked]
    return ("", ""), [Part(results[0] if compared is None else _compared(results, compared, file))]


def _compared(results: list[Any], options: Any, file: Path) -> Any:
    from infoflow.studies.compare import compare

    try:
        return compare(*results, **options)
    except TypeError:
        raise InfoflowError(f"'{file}' compares in a way that is not known here. Compare again, and write another.") from None
