"""A data set of many prompts as it is written: a folder of Parquet files that is whole at every moment.

    results/batch.json                           what was asked: model, analyses, settings (of a shard batch-3-of-16.json)
    results/prompts/s0001of0001-000000000.parquet   one row a prompt; the number is that of the part's first row
    results/flow/…, locate/…, lens/…, heads/…, attribute/…    files of the same names

A part is first written under another name in its folder, brought to the disk, and then renamed. The prompts' table comes last, so
that it says which parts are whole: what is left of a kill are files that no row of `prompts` belongs to, which the next run takes
away. Rows of a shard are written in their order, so that what is there is where the last run stopped."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from infoflow.errors import InfoflowError
from infoflow.files import atomic
from infoflow.files.prompts import Shard
from infoflow.studies.batch import ANALYSES, PROMPTS, SCHEMA, differ, manifests

AT_ONCE = 64
"""prompts of a part, at most"""
SECONDS = 10.0
"""a part is written after so long, however few there are"""
BYTES = 64_000_000
"""or with so much in memory"""


def _fields(**kinds: str) -> pa.Schema:
    types = {
        "long": pa.int64(), "int": pa.int32(), "short": pa.int16(), "number": pa.float32(), "double": pa.float64(),
        "yes": pa.bool_(), "text": pa.string(), "word": pa.dictionary(pa.int32(), pa.string()),
    }  # fmt: skip
    return pa.schema([(name, types[kind]) for name, kind in kinds.items()])


_ERRORS = {f"max_error_{name}": "double" for name in ANALYSES}
_LINKS = {f"link_{name}": "text" for name in ANALYSES}
SCHEMAS = {
    PROMPTS: _fields(
        number="long", id="text", group="text", prompt="text", target="text", against="text", model="text", revision="text",
        dtype="text", verdict="text", n_tokens="int", top="text", top_id="int", top_probability="number", **_ERRORS,
        seconds="double", error="text", link="text", **_LINKS, digest="text",
    ),
    "flow": _fields(
        number="long", layer="short", source="int", position="int", relative="number", token="word", kind="word", share="number",
        projection="number",
    ),
    "locate": _fields(
        number="long", layer="short", arrives="number", head="short", from_position="int", from_token="word", from_logit="number",
        holds_position="int", holds_token="word", holds_logit="number", here="number", total="number",
    ),
    "lens": _fields(
        number="long", row="word", layer="short", token="word", token_id="int", probability="number", entropy="number",
        kl="number", final="yes", target_logit="number", target_rank="int", against_logit="number", against_rank="int",
    ),
    "heads": _fields(
        number="long", layer="short", head="short", kind="word", previous="number", duplicate="number", induction="number",
        entropy="number", concentration="number", sink_share="number", first_weight="number", looks_position="int",
        looks_token="word", looks_weight="number", writes="number",
    ),
    "attribute": _fields(
        number="long", part="word", layer="short", head="short", position="int", token="word", logit="number",
    ),
}  # fmt: skip


@dataclass
class Kept:
    """One prompt's rows."""

    record: dict[str, Any]
    """of the prompts' table"""
    tables: dict[str, pd.DataFrame]
    """by analysis; one that failed has none"""


def text(value: str | None) -> str | None:
    """A text as a file holds it: half of a surrogate, which no file can hold, by its number."""
    return None if value is None else value.encode("utf-8", "backslashreplace").decode("utf-8")


class Writer:
    """One shard of a data set under way. Only one process writes it at a time."""

    def __init__(self, folder: str | Path, about: dict[str, Any], shard: Shard, at_once: int = AT_ONCE) -> None:
        """
        Raises:
            InfoflowError: a folder that can't be written to, that holds a data set of something else, or that another process
            writes.
        """
        self.folder, self.shard, self.at_once = atomic.place(folder), shard, at_once
        self.about = {"batch": SCHEMA, **about, "shard": [shard.part, shard.of]}
        self._waiting: list[Kept] = []
        self._since, self._bytes = time.monotonic(), 0
        self._lock: IO[str] | None = None
        with _in_words(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.folder / f".{self._prefix}.lock")
            try:
                self._begin()
            except BaseException:
                self.close()
                raise

    @property
    def tables(self) -> tuple[str, ...]:
        """The prompts' comes last: it says what is whole."""
        return (*self.about["analyses"], PROMPTS)

    @property
    def _prefix(self) -> str:
        return f"s{self.shard.part:04d}of{self.shard.of:04d}"

    def _begin(self) -> None:
        """Take away what a kill has left, and see what is there."""
        for other in manifests(self.folder):
            if why := differ(other, self.about):
                raise InfoflowError(
                    f"'{self.folder}' holds a data set of something else: {why}. Choose another folder for this one."
                )
        for name in self.tables:
            (self.folder / name).mkdir(exist_ok=True)
        of = f"-{self.shard.part}-of-{self.shard.of}" if self.shard.of > 1 else ""
        place = self.folder / f"batch{of}.json"
        if not place.exists():
            if any((self.folder / PROMPTS).glob("[!.]*.parquet")) and not manifests(self.folder):
                raise InfoflowError(f"'{self.folder}' holds rows, and nothing that says of what. Choose another folder.")
            _write(place, json.dumps(self.about, indent=1, ensure_ascii=True).encode())
        self.parts = sorted(path.name for path in (self.folder / PROMPTS).glob(f"{self._prefix}-*.parquet"))
        whole = set(self.parts)
        for name in self.tables:
            for path in (self.folder / name).iterdir():
                if (
                    path.name.startswith(f".{self._prefix}-")
                    or path.name.startswith(f"{self._prefix}-")
                    and path.name not in whole
                ):
                    path.unlink()
        self.done = sum(self._opened(part).metadata.num_rows for part in self.parts)

    def _opened(self, part: str) -> pq.ParquetFile:
        path = self.folder / PROMPTS / part
        missing = [name for name in self.tables if not (self.folder / name / part).is_file()]
        try:
            if missing:
                raise OSError
            return pq.ParquetFile(path)
        except (pa.ArrowException, OSError):
            where = self.folder / (missing[0] if missing else PROMPTS) / part
            raise InfoflowError(f"'{where}' can't be read: the data set is damaged. Make it anew in another folder.") from None

    def digests(self) -> Iterator[str]:
        """Of the rows that are there, in order."""
        for part in self.parts:
            with self._opened(part) as opened:
                yield from opened.read(["digest"])["digest"].to_pylist()

    def failed(self) -> int:
        """How many of the rows that are there have an error."""
        found = 0
        for part in self.parts:
            with self._opened(part) as opened:
                column = opened.read(["error"])["error"]
                found += len(column) - column.null_count
        return found

    def add(self, kept: Kept) -> None:
        """One more prompt, after all before it.

        Raises:
            InfoflowError: its part can't be written.
        """
        if not self._waiting:
            self._since = time.monotonic()
        self._bytes += sum(int(table.memory_usage(index=False).sum()) for table in kept.tables.values())
        self._waiting.append(kept)
        if len(self._waiting) >= self.at_once or time.monotonic() - self._since > SECONDS or self._bytes > BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits.

        Raises:
            InfoflowError: it can't be written; what was before is as it was.
        """
        waiting = self._waiting[:]
        if not waiting:
            return
        name = f"{self._prefix}-{waiting[0].record['number']:09d}.parquet"
        with _in_words(self.folder):
            for table in self.tables[:-1]:
                parts = [kept.tables[table].assign(number=kept.record["number"]) for kept in waiting if table in kept.tables]
                frame = pd.concat(parts, ignore_index=True) if parts else None
                _write(self.folder / table / name, _parquet(_arrow(frame, SCHEMAS[table])))
            records = pa.Table.from_pylist([kept.record for kept in waiting], SCHEMAS[PROMPTS])
            _write(self.folder / PROMPTS / name, _parquet(records))
        self._waiting, self._bytes = self._waiting[len(waiting) :], 0

    def close(self) -> None:
        """Let another process write. What waits is not written by this."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.flush()  # whatever ended it: rows that are done are kept
        finally:
            self.close()


def _arrow(frame: pd.DataFrame | None, schema: pa.Schema) -> pa.Table:
    if frame is None:
        return schema.empty_table()
    for name in schema.names:
        if pa.types.is_dictionary(schema.field(name).type):
            frame[name] = [text(value) for value in frame[name]]
    return pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False)


def _parquet(table: pa.Table) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(table, out, compression="zstd")
    return bytes(out.getvalue())


def _write(path: Path, data: bytes) -> None:
    """The whole file or none of it; what a kill leaves has a name that the next run knows."""
    atomic.put(path, data, path.with_name(f".{path.name}.tmp"))


def _locked(path: Path) -> IO[str]:
    """A file that is this process's alone for as long as it is open; a kill lets it go.

    Raises:
        InfoflowError: another process has it.
    """
    file = path.open("w")
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise InfoflowError(
            f"Another process is writing this part of '{path.parent}'. Wait for it, or give each its own with --shard 1/2, 2/2."
        ) from None
    return file


@contextlib.contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise InfoflowError(
            f"'{folder}' can't be written to: {why}. What is done is kept; run the same again to go on."
        ) from error
