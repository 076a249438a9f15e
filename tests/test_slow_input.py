"""Texts made to be slow: whatever reads text of others takes time in proportion to it, or refuses it for its length.

Each is given 100,000 characters of what takes a careless expression or loop the square of that. What is linear takes a few
hundredths of a second of the processor's time (not the clock's), and what is not, ten and more; it may take three.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = r"""
import io
import time
from contextlib import suppress
from types import SimpleNamespace
from infoflow.errors import InfoflowError
from infoflow.files import conversations, formats, prompts, sessions
from infoflow.files.library import _slug
from infoflow.models import lenses
from infoflow.ndif import run as service_run
from infoflow.pictures import fitting, glyphs, picture
from infoflow.studies import swap
from infoflow.text import characters, contrasts, ranges, tokens
from infoflow.ui import blocks

N = 100_000
WORDS = ["a", "|", " ", " x", "\n ", "\\", "[", "<", ":", "-", "=", "'", "1,", "0-9999,", "\u0301", "a.", "a/", "{", '"']
READERS = {
    "_mark": lambda t: tokens._mark(tokens.Token(1, "", name=t)),
    "labels": tokens.clean_label, "printable": characters.printable, "spelled": characters.spelled,
    "shortened": lambda t: characters.shortened(t, 20), "width": characters.width, "plain": blocks.plain,
    "numbers": lambda t: ranges.numbers(t, "layer"), "difference": lambda t: contrasts.difference(t, t + "b"),
    "proposals": lambda t: contrasts.proposals(t[:20_000], len),
    "for_csv": lambda t: formats.of_csv(formats._for_csv(t)), "slug": _slug,
    "file_name": lambda t: picture.Picture(None, None, t, "").file_name,
    "lines_of": lambda t: picture.lines_of(t[:50_000], 80.0), "short": picture.short,
    "lacking": lambda t: glyphs.lacking([t]), "with_font": lambda t: glyphs.with_font(f"<text a='{t}'" * 2),
    "texts of an SVG": lambda t: fitting._texts('<g class="mark-text role-mark x">' + t.replace("<", "&lt;") + "</g>"),
    "conversation": lambda t: conversations.load_conversation(t.encode()),
    "one a line": lambda t: [0 for _ in prompts.read(io.BytesIO(t.encode()), "lines")],
    "csv": lambda t: [0 for _ in prompts.read(io.BytesIO(b"prompt\n" + t.encode()), "csv")],
    "jsonl": lambda t: [0 for _ in prompts.read(io.BytesIO(t.encode()), "jsonl")],
    "session": lambda t: sessions.open_session(t.encode()),
    "member": sessions._MEMBER.fullmatch, "hub": sessions._HUB.fullmatch, "on the hub": lenses._ON_HUB.fullmatch,
    "service": lambda t: service_run._server_said("execution timeout of " + t, SimpleNamespace(host="h")),
    "places": lambda t: swap.places_of(SimpleNamespace(tokens=("a",), provenance=SimpleNamespace(prompt="a")), t),
}
for name, read in READERS.items():
    for word in WORDS:
        many = word * (N // len(word))
        for text in (many, f"x{many}\x01"):
            began = time.process_time()
            with suppress(InfoflowError):
                read(text)
            took = time.process_time() - began
            assert took < 3, f"{name} takes {took:.1f} s for {text[:10]!r} and so on, {len(text):,} characters"
"""


@pytest.mark.slow
def test_no_text_takes_the_square_of_its_length() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr[-3000:]
