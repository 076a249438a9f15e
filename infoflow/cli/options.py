"""What commands take, and what requests and files are made of from it."""

import argparse
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from infoflow.cli.shared import host_of, standard_input
from infoflow.errors import BadPrompt
from infoflow.interventions import AnyIntervention
from infoflow.models.spec import ModelSpec
from infoflow.text.ranges import numbers

STDIN = "-"
MODEL = "demo, smollm2, a local folder or .gguf file, or a name on the hub (default: demo)"
ENDINGS = ".json, .csv, .parquet, .html, .png, .svg, .pdf or .vl.json (Vega-Lite)"
CONTRAST = "what it is held against: another prompt of as many tokens, several, or 'bank' (neutral texts)"


def add_question(parser: argparse.ArgumentParser, prompt: str = "the text to run; '-' reads it from standard input") -> None:
    """A prompt, the model that it is asked of, and what is changed in its run."""
    parser.add_argument("prompt", help=prompt)
    add_model(parser)
    add_changes(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, and where it runs."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", default="demo", help=MODEL)
    group.add_argument("--revision", help="branch, tag or commit of a model on the hub")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps … (default: the fastest that can be trusted)")
    group.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"), help="how weights are held")
    group.add_argument("--remote", action="store_true", help="run on the hosted service NDIF, with the key in NDIF_API_KEY")
    group.add_argument("--host", help="address of another such service (default: NDIF_HOST, else the public one)")


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Interventions."""
    parser.add_argument(
        "--change", action="append", default=[], metavar="FILE",
        help="interventions: a file of JSON, or the JSON itself, as addresses and provenances have them; one or a list",
    )  # fmt: skip


def add_target(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Whose logit is looked at, and over which."""
    likeliest = "" if required else " (default: the likeliest next token)"
    parser.add_argument("--target", required=required, help=f"token whose logit it is, its leading space or not{likeliest}")
    parser.add_argument("--against", help="token that it is held against: then it is the difference of both logits")
    parser.add_argument("--position", type=int, default=-1, help="which predicts it; negative ones from the end (default: -1)")


def add_out(parser: argparse.ArgumentParser, pictures: bool = True) -> None:
    """Where the result goes, and how."""
    group = parser.add_argument_group("output")
    group.add_argument("--out", help=f"file to write: {ENDINGS} (default: JSON on standard output)")
    group.add_argument("--quiet", action="store_true", help="no progress on standard error")
    if not pictures:
        return
    group.add_argument("--dark", action="store_true", help="draw pictures for a dark page")
    paper = parser.add_argument_group(
        "figures for a paper", "With one of these a picture is light and of true size, and its caption goes to standard output."
    )
    paper.add_argument("--width", help="1col, 2col (of a paper of two columns), or a length: 3.25in, 8.5cm, 234pt")
    paper.add_argument("--font-size", type=float, metavar="POINTS", help="of what stands at the axes (default: 8)")
    paper.add_argument("--no-title", action="store_true", help="no title and note in the picture: the caption has them")


def spec_of(options: argparse.Namespace) -> ModelSpec:
    """The model that was asked for.

    Raises:
        RemoteRunError: no address of a service.
    """
    return ModelSpec(
        name=options.model, revision=options.revision or "", device=options.device, dtype=options.dtype, host=host_of(options)
    )


def prompt_of(given: str) -> str:
    """A prompt, or what is on standard input in its place."""
    return standard_input() if given == STDIN else given


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """The fields that every request has.

    Raises:
        InfoflowError: one that can't be used.
    """
    return {"model": spec_of(options), "prompt": prompt_of(options.prompt), "interventions": changes_of(options.change)}


def changes_of(given: Sequence[str]) -> tuple[AnyIntervention, ...]:
    """Interventions of files, or of JSON that stands in their place.

    Raises:
        BadPrompt: a file that can't be read, or something else in it.
    """
    return tuple(change for one in given for change in _changes(one))


def change_of(given: str) -> AnyIntervention:
    """The one intervention of a file or of JSON.

    Raises:
        BadPrompt: none, or several.
    """
    found = _changes(given)
    if len(found) != 1:
        raise BadPrompt(f"One intervention is wanted here, and there are {len(found)}.")
    return found[0]


def is_change(given: str) -> bool:
    """Whether it is an intervention as JSON, or a file of one, and no prompt."""
    return given.lstrip().startswith("{") or given.endswith(".json")


@cache
def _adapter() -> Any:
    return TypeAdapter(tuple[AnyIntervention, ...])


def _changes(given: str) -> tuple[AnyIntervention, ...]:
    text = given
    if not given.lstrip().startswith(("{", "[")):
        try:
            text = Path(given).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BadPrompt(f"The interventions in '{given}' can't be read ({error}). Give a file of JSON.") from None
    try:
        values = json.loads(text)
        found: tuple[AnyIntervention, ...] = _adapter().validate_python([values] if isinstance(values, dict) else values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadPrompt(f"These are no interventions: {where or 'the whole'}: {first['msg']}. {EXAMPLE}") from None
    except (ValueError, RecursionError) as error:
        raise BadPrompt(f"These interventions are no JSON ({error}). {EXAMPLE}") from None
    return found


EXAMPLE = 'One is, for example, {"kind": "zero", "site": "z", "layers": 3, "head": 1}.'


def contrast_of(given: Sequence[str] | None) -> str | tuple[str, ...] | None:
    """A contrast as requests have it."""
    return None if not given else given[0] if len(given) == 1 else tuple(given)


def layers_of(given: str | None) -> tuple[int, ...] | None:
    """Layers as they are typed: 3, 3-5, 0,2,7.

    Raises:
        BadPrompt: something else.
    """
    return None if given is None else numbers(given, "layer")


def places_of(given: Sequence[str] | None) -> tuple[int | str, ...] | None:
    """Positions and words: -1, France."""
    return None if not given else tuple(int(one) if re.fullmatch(r"-?\d{1,9}", one) else one for one in given)
