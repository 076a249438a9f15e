"""What the model writes, and what each token of it rests on."""

import argparse

from infoflow.cli.options import CONTRAST, add_out, add_question, asked, contrast_of
from infoflow.cli.shared import answer

HELP = "let the model write, and split what it wrote"
EXAMPLES = (
    'infoflow generate "The old wizard walked through the forest" --max-new-tokens 8 --out text.json',
    'infoflow generate "Tell me a story." --chat --model smollm2 --temperature 0.8 --seed 3',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_question(parser)
    parser.add_argument("--max-new-tokens", type=int, default=20, help="tokens that are written at most (default: 20)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token always (default)")
    parser.add_argument("--top-p", type=float, default=1.0, help="of the probability that is drawn from (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    parser.add_argument("--chat", action="store_true", help="in the model's chat template")
    parser.add_argument("--thinking", action="store_true", help="let a model think first whose template has a switch for that")
    parser.add_argument("--k", type=int, default=5, help="likeliest tokens of each step (default: 5)")
    parser.add_argument("--contrast", nargs="+", metavar="TEXT", help=CONTRAST)
    add_out(parser)


def run(options: argparse.Namespace) -> int:
    """Run it and write the result.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.analyses.generation import GenerationRequest
    from infoflow.text.conversations import Form

    request = GenerationRequest(
        **asked(options), max_new_tokens=options.max_new_tokens, temperature=options.temperature, top_p=options.top_p,
        seed=options.seed, form=Form.CHAT if options.chat else Form.PLAIN, k=options.k, thinking=options.thinking,
        contrast=contrast_of(options.contrast),
    )  # fmt: skip
    return answer(request, options)
