"""Text as any renderer takes it and any reader sees it: what is invisible is drawn or named, nothing is torn apart.

A *character* is what a reader takes for one (a grapheme cluster of Unicode): a letter with its marks, an emoji of several joined.
"""

import unicodedata

import regex  # knows graphemes and scripts, which re does not

UNDECODABLE = "\ufffd"
"""what a tokenizer gives for bytes that are no whole character"""

_DRAWN = {"\n": "⏎", "\t": "⇥", "\xa0": "⍽"}
_NAMED = {
    "\x7f": "DEL", "\xad": "SHY", "\u200b": "ZWSP", "\u200c": "ZWNJ", "\u200d": "ZWJ", "\u200e": "LRM", "\u200f": "RLM",
    "\u2060": "WJ",
    "\u202a": "LRE", "\u202b": "RLE", "\u202c": "PDF", "\u202d": "LRO", "\u202e": "RLO", "\u2066": "LRI", "\u2067": "RLI",
    "\u2068": "FSI", "\u2069": "PDI", "\ufeff": "BOM", "\ufe0e": "VS15", "\ufe0f": "VS16",
}  # fmt: skip
_CONTROLS = (
    "NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US"
).split()
_JOINERS = "\u200c\u200d"
_JOINED = regex.compile(r"[\p{L}\p{M}\p{Extended_Pictographic}]")
_INVISIBLE = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs")
_MANY = 4
"""so many spaces in a row are counted, not drawn"""


def characters(text: str) -> list[str]:
    """What a reader takes for characters, in order; they join to the text."""
    found: list[str] = regex.findall(r"\X", text)
    return found


def named(char: str) -> str:
    """An invisible character by its common short name, else by its number."""
    code = ord(char)
    name = _CONTROLS[code] if code < len(_CONTROLS) else _NAMED.get(char, f"U+{code:04X}")
    return f"⟨{name}⟩"


def printable(text: str) -> str:
    """Text in which nothing is invisible but its spaces: line breaks, tabs and no-break spaces drawn, what else has no shape
    named (⟨ZWJ⟩, ⟨U+2003⟩); a mark without a letter stands on a dotted circle. Joiners that join stay, as in an emoji."""
    if text.isascii() and text.isprintable():
        return text
    out = []
    for char in characters(text):
        out.append(char if char == " " or (len(char) == 1 and char.isprintable() and not _is_mark(char)) else _shown(char))
    return "".join(out)


def _shown(char: str) -> str:
    """One character that may hold invisible ones."""
    out = []
    for place, part in enumerate(char):
        before, after = char[place - 1 : place], char[place + 1 : place + 2]
        if part in _DRAWN:
            out.append(_DRAWN[part])
        elif (
            part in _JOINERS
            and _JOINED.match(before or " ")
            and (_JOINED.match(after or " ") or part == "\u200c")
            or part in "\ufe0e\ufe0f"
            and before
        ):
            out.append(part)
        elif part != " " and unicodedata.category(part) in _INVISIBLE:
            tag = "\U000e0020" <= part <= "\U000e007f" and place > 0  # flags of regions are spelled with these
            out.append(part if tag else named(part))
        elif place == 0 and _is_mark(part):
            out.append(named(part) if part in "\ufe0e\ufe0f" else "◌" + part)
        else:
            out.append(part)
    return "".join(out)


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def spaces(text: str) -> str:
    """Whitespace drawn: ␣, ⏎, ⇥, ⍽; four or more alike in a row are counted, as ␣×40."""
    runs: list[str] = [found[0] for found in regex.finditer(r"(.)\1*", text, regex.DOTALL)]
    shown = [("␣" if run[0] == " " else printable(run[0]), len(run)) for run in runs]
    return "".join(f"{mark}×{n}" if n >= _MANY else mark * n for mark, n in shown)


def spelled(text: str) -> str:
    """`printable`, with whitespace at its ends drawn too, but for one space before it, which most words have."""
    body = text.strip()
    if not body:
        return spaces(text)
    left, right = text[: text.index(body)], text[text.index(body) + len(body) :]
    return f"{'' if left == ' ' else spaces(left)}{printable(body)}{spaces(right)}"


def shortened(text: str, most: int) -> str:
    """At most so many characters, the last an ellipsis where it was longer."""
    if len(text) <= most:
        return text
    found = characters(text)
    return text if len(found) <= most else "".join(found[: most - 1]) + "…"


def width(text: str) -> int:
    """How wide a text is, in letters: ideographs, syllables and emoji take two, marks and joiners none."""
    return sum(_width(char) for char in characters(text)) if not text.isascii() else len(text)


def _width(char: str) -> int:
    first = char[0]
    return 2 if unicodedata.east_asian_width(first) in "WF" or "\ufe0f" in char else 1
