"""The program that converts charts: a line of JSON and what it is about on standard input, a line and what came of it on standard
output. `converter.py` runs it, as a file: the package would load all that it has.
"""

import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vl_convert

_beside = importlib.util.spec_from_file_location("glyphs", Path(__file__).with_name("glyphs.py"))
assert _beside is not None and _beside.loader is not None
glyphs: Any = importlib.util.module_from_spec(_beside)
_beside.loader.exec_module(glyphs)

_TAG = re.compile(r"<[^>]+>")
_NUMBERED = re.compile(r'(?<= )(id="|clip-path="url\(#|fill="url\(#|stroke="url\(#)(clip|gradient_)(\d+)')


def renumbered(svg: str) -> str:
    """The same picture, whatever was drawn before it: Vega goes on counting what parts refer to."""
    seen: dict[str, int] = {}

    def named(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}{seen.setdefault(found[3], len(seen))}"

    return _TAG.sub(lambda tag: _NUMBERED.sub(named, tag[0]), svg)


def _drawn(given: bytes) -> str:
    return str(glyphs.with_font(renumbered(vl_convert.vegalite_to_svg(json.loads(given)))))


JOBS: dict[str, Callable[..., bytes]] = {
    "svg": lambda given: glyphs.embedded(_drawn(given)).encode(),
    "png": lambda given, scale: vl_convert.svg_to_png(_drawn(given), scale=scale),
    "pdf": lambda given: vl_convert.svg_to_pdf(_drawn(given)),
    "html": lambda given: vl_convert.vegalite_to_html(json.loads(given), bundle=True).encode(),
    "library": lambda given: vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").encode(),
    "svg_as_png": lambda given, scale, ppi: vl_convert.svg_to_png(given.decode(), scale=scale, ppi=ppi),
    "svg_as_pdf": lambda given: vl_convert.svg_to_pdf(given.decode()),
}


def main() -> None:
    """Do one job after the other until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the converter itself prints is no answer
    vl_convert.register_font_directory(str(glyphs.FOLDER))
    while line := sys.stdin.buffer.readline():
        asked = json.loads(line)
        given = sys.stdin.buffer.read(asked.pop("bytes"))
        try:
            made = JOBS[asked.pop("job")](given, **asked)
        except Exception:  # noqa: BLE001  of whatever kind, it can't be drawn, and the next picture can
            answers.write(b"null\n")
        else:
            answers.write(b"%d\n" % len(made) + made)
        answers.flush()


if __name__ == "__main__":
    main()
