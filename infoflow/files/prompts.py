"""Prompts of a file, a row at a time: CSV, JSON lines, Parquet, or one a line. The file is never in memory as a whole.

Columns: `prompt`, and where they are there `target`, `against`, `group`, `id`; others are passed over. What stands in a cell is
text, whatever it looks like. A target that is a whole number in JSON or Parquet is a token's id."""

import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from infoflow.errors import BadPrompt
from infoflow.files import atomic
from infoflow.text.characters import printable

KINDS = ("csv", "jsonl", "parquet", "lines")
COLUMNS = ("prompt", "target", "against", "group", "id")
LONGEST = 4_000_000
"""characters of one line"""
_ENDINGS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_AT_ONCE = 256
Token = str | int
"""a token as it is asked for: its text, or its id"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One prompt, and what is asked of it."""

    number: int
    """its place in the file, from 0; blank lines don't count"""
    prompt: str
    target: Token | None = None
    against: Token | None = None
    group: str | None = None
    id: str | None = None

    @property
    def digest(self) -> str:
        """The same for the same row alone."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of the rows: each n-th, from the i-th on. `1/1` is all of them."""

    part: int = 1
    of: int = 1

    @staticmethod
    def named(text: str) -> "Shard":
        """The shard that is written 3/16.

        Raises:
            BadPrompt: it is written otherwise.
        """
        part, slash, of = text.partition("/")
        if not (slash and len(text) < 40 and part.strip().isdecimal() and of.strip().isdecimal() and 1 <= int(part) <= int(of)):
            raise BadPrompt(f"'{text}' is no shard. Write the part and of how many, such as 3/16; parts count from 1.")
        return Shard(int(part), int(of))

    def has(self, number: int) -> bool:
        return number % self.of == self.part - 1

    def __str__(self) -> str:
        return f"{self.part}/{self.of}"


def kind_of(path: str | Path) -> str:
    """The kind that a file's ending names; one a line for any other."""
    return _ENDINGS.get(Path(path).suffix.lower(), "lines")


def read(source: str | Path | io.BufferedIOBase, kind: str = "", limit: int | None = None) -> Iterator[Row]:
    """The prompts of a file, or of what comes through an open one (of which `kind` is one a line if it isn't said).

    Raises:
        BadPrompt: no such file or kind, no text in UTF-8, no column of prompts, a row that is none; with its line.
    """
    if kind and kind not in KINDS:
        raise BadPrompt(f"There are no prompts of kind '{kind}'. Use one of: {', '.join(KINDS)}.")
    by_path = isinstance(source, str | Path)
    name = printable(str(source)) if by_path else "the input"
    kind = kind or (kind_of(source) if by_path else "lines")  # type: ignore[arg-type]
    maker = {"csv": _of_csv, "jsonl": _of_jsonl, "parquet": _of_parquet, "lines": _of_lines}[kind]
    return islice(_told(source, name, maker), limit)


def count(path: str | Path, kind: str = "", limit: int | None = None, shard: Shard | None = None) -> int:
    """How many there are; reading all of them finds what is wrong with the file before anything is run.

    Raises:
        BadPrompt: as `read`.
    """
    return sum(shard is None or shard.has(row.number) for row in read(path, kind, limit))


def typed(text: str) -> list[str]:
    """The prompts that a text has, one a line."""
    return [line for line in text.split("\n") if line.strip()]


def as_rows(given: Iterable[Any]) -> Iterator[Row]:
    """Prompts that are at hand: texts, or mappings with the columns of a file.

    Raises:
        BadPrompt: something else among them.
    """
    for number, one in enumerate(given):
        yield one if isinstance(one, Row) else _row(number, one, f"Prompt {number}")


def _told(source: Any, name: str, maker: Callable[[io.BufferedIOBase, str], Iterator[Row]]) -> Iterator[Row]:
    try:
        if not isinstance(source, str | Path):
            yield from maker(source, name)
            return
        with atomic.place(source).open("rb") as file:
            yield from maker(file, name)
    except UnicodeDecodeError:
        raise BadPrompt(f"{_called(name)} holds no text in UTF-8. Convert it first.") from None
    except OSError as error:
        raise BadPrompt(f"{_called(name)} can't be read: {error.strerror or error}. Check the path.") from None


def _called(name: str) -> str:
    return name[0].upper() + name[1:] if name == "the input" else f"'{name}'"


def _lines(file: Any, name: str, newline: str | None = None) -> Iterator[str]:
    """Lines with their ends; one without an end is not read for ever."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline)
    number = 0
    try:
        while line := text.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                raise BadPrompt(f"Line {number} of {name} has more than {LONGEST:,} characters. Is it a file of prompts?")
            yield line
    finally:
        with contextlib.suppress(ValueError):  # closed already
            text.detach()


def _of_lines(file: io.BufferedIOBase, name: str) -> Iterator[Row]:
    number = 0
    for line in _lines(file, name):
        if line.strip():
            yield Row(number=number, prompt=line.rstrip("\n"))
            number += 1


def _of_csv(file: io.BufferedIOBase, name: str) -> Iterator[Row]:
    lines = _lines(file, name, newline="")
    first = next(lines, "")
    reader = csv.reader(_begun(first, lines), delimiter="\t" if "\t" in first and "," not in first else ",", strict=True)
    number, header = 0, None
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = _header([cell.strip().lower() for cell in cells], name)
                continue
            if len(cells) != len(header):
                what = f"{len(cells)} cells, and there are {len(header)} columns"
                raise BadPrompt(f"Line {reader.line_num} of {name} has {what}. Put a text with a comma in it into quotes.")
            values = {column: cell for column, cell in zip(header, cells, strict=True) if column == "prompt" or cell}
            yield _row(number, values, f"Line {reader.line_num} of {name}")
            number += 1
    except csv.Error as error:
        raise BadPrompt(f"Line {reader.line_num} of {name} is no CSV: {error}. Write long texts as JSON lines.") from None
    if header is None:
        raise BadPrompt(f"{_called(name)} is empty. Its first line names the columns, of which one is 'prompt'.")


def _begun(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _header(columns: list[str], name: str) -> list[str]:
    if "prompt" not in columns:
        there = ", ".join(printable(column)[:40] for column in columns[:12])
        raise BadPrompt(f"There is no column 'prompt' in {name}; there are: {there}. Its first line names the columns.")
    twice = next((column for column in COLUMNS if columns.count(column) > 1), None)
    if twice is not None:
        raise BadPrompt(f"The column '{twice}' is twice in {name}. Leave one.")
    return columns


def _of_jsonl(file: io.BufferedIOBase, name: str) -> Iterator[Row]:
    number = 0
    for at, line in enumerate(_lines(file, name), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = error.msg if isinstance(error, json.JSONDecodeError) else "it is no value that can be read"
            raise BadPrompt(f"Line {at} of {name} is no JSON: {why}. Write one object a line.") from None
        yield _row(number, found, f"Line {at} of {name}")
        number += 1


def _of_parquet(file: io.BufferedIOBase, name: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(file if file.seekable() else io.BytesIO(file.read()))
        columns = _header(opened.schema_arrow.names, name)
        number = 0
        for batch in opened.iter_batches(_AT_ONCE, columns=[column for column in COLUMNS if column in columns]):
            for values in batch.to_pylist():
                yield _row(number, values, f"Row {number} of {name}")
                number += 1
    except (pa.ArrowException, OSError):
        raise BadPrompt(f"{_called(name)} can't be read as Parquet. It may be cut short, or another kind of file.") from None


def _row(number: int, given: Any, where: str) -> Row:
    """What was given as a row.

    Raises:
        BadPrompt: no text and no mapping with one, or a cell that is none.
    """
    if isinstance(given, str):
        return Row(number=number, prompt=given)
    prompt = given.get("prompt", 0) if isinstance(given, Mapping) else 0
    if prompt is not None and not isinstance(prompt, str):
        raise BadPrompt(f"{where} has no prompt: it must be a text, or hold one as 'prompt'.")
    return Row(  # an empty cell is a prompt that fails alone, as in CSV
        number=number, prompt=prompt or "", target=_token(given.get("target"), where),
        against=_token(given.get("against"), where),
        group=_word(given.get("group"), where), id=_word(given.get("id"), where),
    )  # fmt: skip


def _token(value: Any, where: str) -> Token | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadPrompt(f"{where} has a token that is neither a text nor an id: {printable(str(value))[:40]}.")
    return value


def _word(value: Any, where: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str | int | float):
        raise BadPrompt(f"{where} has a group or id that is neither a text nor a number: {printable(str(value))[:40]}.")
    return str(value)
