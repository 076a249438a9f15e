"""The font that exported pictures need beside the usual one: letters, signs and scripts of DejaVu Sans, common ideographs and
Hangul of Droid Sans Fallback, emoji of Noto Emoji, cut down, joined and renamed (as their licences
ask). Run once (woff2 needs brotli); the result ships.

    python scripts/make_font.py DejaVuSans.ttf DroidSansFallback.ttf noto-emoji-*-400-normal.woff2
"""

import sys
import tempfile
from pathlib import Path

from fontTools import merge, subset
from fontTools.ttLib import TTFont
from fontTools.ttLib.scaleUpem import scale_upem

FONT = Path(__file__).parents[1] / "infoflow" / "pictures" / "fonts" / "infoflow.ttf"
FAMILY, UNITS = "infoflow", 1000
SIGNS = (
    (0x20, 0x7E), (0xA0, 0xFF),
    (0x100, 0x24F), (0x250, 0x3FF), (0x400, 0x52F), (0x531, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x750, 0x77F),
    (0x10A0, 0x10FF),
    (0x1E00, 0x1FFF), (0x2000, 0x214F), (0x2150, 0x23FF), (0x2423, 0x2423), (0x2500, 0x26FF), (0x27E0, 0x27EF), (0x2A00, 0x2A2F),
    (0xFB1D, 0xFDFF), (0xFE70, 0xFEFF), (0xFFFD, 0xFFFD),
)  # fmt: skip


COMMON = (("gb2312", 0xFE), ("euc_jp", 0xFE), ("big5", 0xC6), ("euc_kr", 0xC8))
"""two-byte encodings, and the last row of what is in common use"""


def of_codec(name: str, last: int) -> set[int]:
    """The characters of an encoding up to that row."""
    found: set[int] = set()
    for first in range(0xA1, last + 1):
        for second in (*range(0x40, 0x7F), *range(0xA1, 0xFF)):
            try:
                found |= {ord(c) for c in bytes([first, second]).decode(name) if ord(c) > 0x7F}
            except UnicodeDecodeError:
                continue
    return found


def cut(font: TTFont, characters: set[int], shaped: bool) -> None:
    """Keep some characters, without hints, and with what joins letters where `shaped`."""
    options = subset.Options()
    options.hinting, options.notdef_outline = False, True
    if not shaped:
        options.layout_features = []
        options.drop_tables += ["GSUB", "GPOS", "GDEF", "vhea", "vmtx", "VORG"]
    tool = subset.Subsetter(options)
    tool.populate(unicodes=characters)
    tool.subset(font)


def main(dejavu: str, droid: str, *emoji: str) -> None:
    letters, ideographs = TTFont(dejavu), TTFont(droid)
    cut(letters, {c for low, high in SIGNS for c in range(low, high + 1)}, shaped=True)
    have = set(letters.getBestCmap())
    cut(ideographs, {c for codec in COMMON for c in of_codec(*codec)} - have, shaped=False)
    have |= set(ideographs.getBestCmap())
    parts = [letters, ideographs]
    for path in emoji:
        piece = TTFont(path)
        piece.flavor = None
        cut(piece, {c for c in piece.getBestCmap() if c > 0x2000} - have, shaped=False)
        have |= set(piece.getBestCmap())
        parts.append(piece)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, part in enumerate(parts):
            scale_upem(part, UNITS)
            paths.append(f"{folder}/{number}.ttf")
            part.save(paths[-1])
        whole = merge.Merger().merge(paths)
    for number, text in ((1, FAMILY), (2, "Regular"), (3, FAMILY), (4, FAMILY), (6, FAMILY)):
        whole["name"].removeNames(nameID=number)  # fonts of the system with the old name are other fonts
        whole["name"].setName(text, number, 3, 1, 0x409)
    FONT.parent.mkdir(exist_ok=True)
    whole.save(FONT)
    print(len(whole.getBestCmap()), "characters,", FONT.stat().st_size, "bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
