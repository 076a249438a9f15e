"""A question, the model's answer, corrections, and each new answer: what each turn contributed to the change."""

import argparse

from infoflow.cli.options import CONTRAST, add_changes, add_model, add_out, changes_of, contrast_of, prompt_of, spec_of
from infoflow.cli.shared import answer

HELP = "ask, correct, and split what changed"
EXAMPLES = ('infoflow correct "What is the capital of France?" "No, the answer is Rome." --out correction.json',)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("question", help="what is asked first; '-' reads it from standard input")
    parser.add_argument("correction", nargs="+", help="what is said after the answer, in the order of the turns")
    add_model(parser)
    add_changes(parser)
    parser.add_argument("--form", choices=("auto", "plain text", "chat"), default="auto", help="how it is written")
    parser.add_argument("--whole-answers", action="store_true", help="more than the first word of an answer")
    parser.add_argument("--max-new-tokens", type=int, default=12, help="of an answer (default: 12)")
    parser.add_argument("--system", default="", help="what is said to the model before the question")
    parser.add_argument("--contrast", nargs="+", metavar="TEXT", help=f"{CONTRAST}; one for each turn")
    add_out(parser)


def run(options: argparse.Namespace) -> int:
    """Run it and write the result.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.studies.corrections import CorrectionRequest
    from infoflow.text.conversations import Form

    request = CorrectionRequest(
        model=spec_of(options), prompt=(prompt_of(options.question), *options.correction),
        interventions=changes_of(options.change), form=Form(options.form), one_word=not options.whole_answers,
        max_new_tokens=options.max_new_tokens, system=options.system, contrast=contrast_of(options.contrast),
    )  # fmt: skip
    return answer(request, options)
