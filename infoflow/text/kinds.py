"""Of what kind a piece of a prompt is."""

FIRST, SPECIAL, SPACE, NUMBER, PUNCTUATION, CAPITALISED, WORD, OTHER = KINDS = (
    "first token", "special", "space", "number", "punctuation", "capitalised", "word", "other",
)  # fmt: skip
"""the first token, which attention sinks park on; a mark of the tokenizer; white space; digits; signs; a word with a capital (a
name, or a sentence's first); any other word; what holds no letter, digit or sign"""


def kind_of(text: str, position: int, special: bool = False) -> str:
    """One of `KINDS`, by the text and where it begins. A first token is that and nothing else."""
    if position == 0:
        return FIRST
    if special:
        return SPECIAL
    core = text.strip()
    if not core:
        return SPACE
    if any(c.isalpha() for c in core):
        first = next(c for c in core if c.isalpha())
        return CAPITALISED if first.isupper() or first.istitle() else WORD
    if any(c.isdigit() for c in core):
        return NUMBER
    return PUNCTUATION if all(not c.isalnum() and c.isprintable() for c in core) else OTHER
