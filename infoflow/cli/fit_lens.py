"""Fit a Jacobian lens of a model on texts, and write it."""

import argparse
import json
import time
from pathlib import Path

from infoflow.cli import ctrl_c
from infoflow.cli.shared import say
from infoflow.errors import BadPrompt
from infoflow.text.amounts import duration

HELP = "fit a lens that reads the middle layers"
EXAMPLES = (
    "infoflow fit-lens --prompts texts.txt --out lens.safetensors --directions 128 --skip 4",
    "infoflow fit-lens --model smollm2 --prompts texts.txt --out lens.safetensors",
)
_SETTLED = 5.0
"""seconds before a guess at how much longer it takes says something"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--model", default="demo", help="demo, smollm2, a local folder, or a name on the hub (default: demo)")
    parser.add_argument("--revision", help="branch, tag or commit of a model on the hub")
    parser.add_argument(
        "--prompts",
        required=True,
        type=Path,
        help="file of texts: a JSON list (.json), or plain text with a blank line between two, or one a line",
    )
    parser.add_argument("--out", required=True, type=Path, help="file to write: .safetensors")
    parser.add_argument("--directions", type=int, help="random directions a prompt, instead of all: quicker, and an estimate")
    parser.add_argument("--max-tokens", type=int, default=128, help="of each text (default: 128)")
    parser.add_argument("--skip", type=int, default=16, help="first tokens that are left out (default: 16)")
    parser.add_argument("--batch", type=int, help="directions at a time (default: what fits in memory)")
    parser.add_argument("--seed", type=int, default=0, help="of the random directions (default: 0)")
    parser.add_argument("--half", action="store_true", help="write float16, half the size")
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on where a fit to the same file was stopped (default: yes)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def texts_of(file: Path) -> list[str]:
    """The texts of a file: of a JSON list, or divided by blank lines, or, where there is none, by lines.

    Raises:
        BadPrompt: it can't be read, or holds no texts.
    """
    try:
        held = file.read_text(encoding="utf-8")
        texts = json.loads(held) if file.suffix == ".json" else None
    except (OSError, ValueError, RecursionError) as error:
        raise BadPrompt(f"The texts in '{file}' can't be read ({error}). Give a file of UTF-8 text, or a JSON list.") from None
    if texts is None:
        blocks = [block.strip() for block in held.split("\n\n") if block.strip()]
        texts = blocks if len(blocks) > 1 else [line.strip() for line in held.splitlines() if line.strip()]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise BadPrompt(f"'{file}' holds no list of texts. Put a blank line between two, or write a JSON list of them.")
    return texts


def run(options: argparse.Namespace) -> int:
    """Fit it and write it.

    Raises:
        InfoflowError: an input that can't be used.
    """
    from infoflow.analyses.jacobian import fit_lens  # torch loads only when there is something to do
    from infoflow.models.lenses import save_lens
    from infoflow.models.loading import load_model

    if options.out.suffix != ".safetensors":
        raise BadPrompt(f"A lens is written as .safetensors, and '{options.out}' is called otherwise. Rename it.")
    texts = texts_of(options.prompts)
    say(f"Loading {options.model} …", options.quiet)
    model = load_model(options.model, options.revision)
    begun: list[tuple[float, float]] = []

    def tell(doing: str, fraction: float) -> None:
        ctrl_c.again()
        now = time.monotonic()
        begun.append((now, fraction)) if not begun else None
        since, first = begun[0]
        left = (now - since) / (fraction - first) * (1 - fraction) if fraction > first and now - since > _SETTLED else None
        about = "" if left is None or fraction == 1 else f", about {duration(left)} more"
        say(f"\r{doing}{about}      ", options.quiet, "\n" if fraction == 1.0 else "")

    lens = fit_lens(
        model, texts, options.out, options.max_tokens, options.skip, options.batch, options.directions, options.seed, tell,
        options.resume,
    )  # fmt: skip
    if options.half:
        lens = save_lens(lens, options.out, half=True)
    say(f"{lens.n_prompts} of {len(texts)} texts were long enough", options.quiet)
    if lens.halves:
        worst = min(lens.halves, key=lens.halves.__getitem__)
        say(f"Two halves of them agree to {lens.halves[worst]:.3f} in {worst}, the least of all rows", options.quiet)
    say(f"Written to {options.out} ({lens.digest})", options.quiet)
    return 0
