"""A session: results with what was asked, notes and the view that they were looked at in, as one .zip.

    config.json              format, schema, title, note, view, and of each entry: the request, its note, its plain values
    results/001-flow.npz     the arrays of an entry, by the names of the result's fields; `numpy.load` reads them
    tables/001-flow.csv      the same as a tidy table, for other programs; never read back
    tensors.npz              of an entry that is the stream itself: resid_pre, attn_out, mlp_out, resid_post, z, pattern, tokens

Nothing is unpickled, nothing is written while one is opened, and every value is checked against the type of its field.
"""

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from infoflow import __version__
from infoflow.analyses.activations import Activations
from infoflow.analyses.request import Request, text_of
from infoflow.errors import BadFile, InfoflowError
from infoflow.files import atomic, flows, formats, strict
from infoflow.files.arrays import Arrays, as_npz, check_size, member, opened_zip, read_npz
from infoflow.files.results import as_text, check_kind, pack, request_of, unpack
from infoflow.models import memory
from infoflow.pictures.picture import picture_of, short
from infoflow.settings import settings
from infoflow.summaries.sentence import sentences_of
from infoflow.text.amounts import in_words

FORMAT = "infoflow session"
SCHEMA = 1
"""of config.json; raised when its fields change. What was saved before there were sessions, a single run (.npz), opens too"""
ENDING = ".zip"
MOST_BYTES = 2_000_000_000
"""of a session in memory"""
SHOWN = 10
"""times the memory of its arrays that checking and showing a result may take"""
MOST_CONFIG = 100_000_000
MOST_ENTRIES = 500
MOST_TITLE, MOST_NOTE = 200, 50_000
TYPES = ("float32", "float16")
_MEMBER = re.compile(r"config\.json|tensors(-\d{3})?\.npz|results/\d{3}-[a-z_]+\.npz|tables/\d{3}-[a-z_]+\.csv")
_LINK = 0o120000
_RUN = "header.npy"
"""a member that single runs have, and sessions have not"""
_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LARGEST_HALF = float(np.finfo(np.float16).max)

View = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One result with what was asked."""

    request: Request[Any]
    """as it was asked; the result's own provenance has that of the very model that was run"""
    result: Any
    note: str = ""
    view: View = field(default_factory=dict)
    """what the page had in its address: the selection, the interventions that are on and off"""

    @property
    def title(self) -> str:
        """What it is, in a line."""
        what = self.request.analysis.replace("_", " ").capitalize()
        return f"{what} of “{short(self.request.title)}” on {self.request.model.name}"


@dataclass(frozen=True, kw_only=True)
class Session:
    """What is kept together."""

    entries: tuple[Entry, ...]
    title: str = ""
    note: str = ""
    made: str = ""
    """when, in ISO 8601, UTC"""
    infoflow: str = __version__

    @property
    def prompts(self) -> tuple[str, ...]:
        """What was run."""
        return tuple(dict.fromkeys(text_of(entry.request.prompt) for entry in self.entries))

    @property
    def models(self) -> tuple[str, ...]:
        """What it was run on."""
        return tuple(dict.fromkeys(entry.request.model.name for entry in self.entries))


def session_of(results: Sequence[Any], title: str = "", note: str = "") -> Session:
    """A session of some results.

    Raises:
        BadFile: one that is no result of a request.
    """
    for result in results:
        check_kind(result)
    entries = tuple(Entry(request=result.provenance.request, result=result) for result in results)
    named = title or (short(entries[0].request.title, 80) if entries else "Nothing yet")
    return Session(entries=entries, title=named, note=note, made=now())


def now() -> str:
    """This moment, as sessions say it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def save_session(
    path: str | Path, results: Sequence[Any], title: str = "", note: str = "", tensors: str = "float32", tables: bool = True
) -> Path:
    """Keep results in one file that `open_session` reads: exact to the last bit, but for tensors that are kept as float16.

    Raises:
        BadFile: a result that can't be kept, or no results at all.
        InfoflowError: a place that can't be written to; what was there before is still there.
    """
    where = atomic.place(path)
    where = where if where.suffix == ENDING else where.with_name(f"{where.name}{ENDING}")
    atomic.write(where, as_zip(session_of(results, title, note), tensors, tables))
    return where


def open_session(path: "str | Path | bytes", folders: bool = True) -> Session:
    """Read what `save_session` wrote; nothing is run, and no model is needed. A single result that `save` wrote opens too.

    With `folders=False` one that names a folder or file of this machine as its model is refused.

    Raises:
        BadFile: no such file, none of ours, or one that holds what it must not: what is wrong is said, and nothing is written.
    """
    if isinstance(path, bytes):
        return _read(path, folders)
    where = atomic.place(path)
    try:
        data = where.read_bytes()
    except OSError as error:
        raise BadFile(f"'{path}' can't be read: {error.strerror or type(error).__name__}. Check the path.") from None
    return _read(data, folders)


def as_zip(session: Session, tensors: str = "float32", tables: bool = True) -> bytes:
    """A session as its file. `tensors` is how the stream itself is kept, where it is among the results.

    Raises:
        BadFile: nothing to keep, or a result that can't be.
    """
    if not session.entries or len(session.entries) > MOST_ENTRIES:
        raise BadFile(f"A session holds 1 to {MOST_ENTRIES} results; this has {len(session.entries)}. Choose some.")
    out, entries, streams = BytesIO(), [], 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as stored:
        for number, entry in enumerate(session.entries, 1):
            plain, arrays = pack(entry.result)
            name = f"{number:03}-{entry.request.analysis}"
            held = f"results/{name}.npz"
            if isinstance(entry.result, Activations):
                streams += 1
                held = "tensors.npz" if streams == 1 else f"tensors-{streams:03}.npz"
            stored.writestr(_plain_member(held), as_npz(_as_kept(entry.result, arrays, tensors)), zipfile.ZIP_STORED)
            if tables:
                stored.writestr(_plain_member(f"tables/{name}.csv"), formats.as_csv(entry.result.to_frame()))
            view = {name: list(values) for name, values in entry.view.items()}
            asked = entry.request.to_dict()
            entries.append({"request": asked, "note": entry.note, "view": view, "arrays": held, "result": plain})
        config = {
            "format": FORMAT, "schema": SCHEMA, "infoflow": session.infoflow, "made": session.made or now(),
            "title": session.title, "note": session.note, "entries": entries,
        }  # fmt: skip
        stored.writestr(_plain_member("config.json"), strict.as_json(config, indent=1))
    return out.getvalue()


def changed(data: bytes, title: str | None = None, note: str | None = None) -> bytes:
    """A session's file with another title or note; its results are not touched.

    Raises:
        BadFile: no session.
    """
    with opened_zip(data) as old:
        check_members(old)
        config = _config(old)
        config |= {name: value for name, value in (("title", title), ("note", note)) if value is not None}
        _words(config)
        out = BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for info in old.infolist():
                if info.filename != "config.json":
                    new.writestr(_plain_member(info.filename), member(old, info), info.compress_type)
            new.writestr(_plain_member("config.json"), strict.as_json(config, indent=1))
    return out.getvalue()


def heading(data: bytes) -> Session:
    """A session without its results: title, note, when, and what was asked; quick, for lists.

    Raises:
        BadFile: no session.
    """
    with opened_zip(data) as stored:
        check_members(stored)
        config = _config(stored)
    title, note = _words(config)
    asked = [request_of(one.get("request"), "request") for one in _entries(config)]
    entries = tuple(Entry(request=request, result=None) for request in asked)
    return Session(entries=entries, title=title, note=note, made=_text(config, "made"))


def _plain_member(name: str) -> zipfile.ZipInfo:
    """A member without the day and machine it was written on: equal sessions are equal files."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    return info


def _as_kept(result: Any, arrays: Arrays, tensors: str) -> Arrays:
    """The arrays of a result as its file has them; those of the stream in the chosen type, beside the tokens they are about."""
    if not isinstance(result, Activations):
        return arrays
    if tensors not in TYPES:
        raise InfoflowError(f"Tensors are kept as {' or '.join(TYPES)}, and not as '{tensors}'.")
    if tensors == "float16":
        most = max((float(np.abs(a).max()) for a in arrays.values() if a.size), default=0.0)
        if most > _LARGEST_HALF:
            raise BadFile(f"These tensors reach {most:.0f}, which float16 does not. Keep them as float32.")
        arrays = {name: array.astype(np.float16) for name, array in arrays.items()}
    ids = np.array(result.token_ids, dtype=np.int64)
    return {**arrays, "tokens": np.array(result.tokens, dtype=str), "token_ids": ids}


def check_service(request: Request[Any]) -> None:
    """That a request of a file may be run here: the service that it names would be sent the key of whoever runs it.

    Raises:
        BadFile: of another service than the one that is set.
    """
    host, ours = request.model.host, settings().host
    if host and host != ours:
        raise BadFile(
            f"It was run on {short(host)}, and runs go to {short(ours)}: no other service gets a key. Set NDIF_HOST for it."
        )


def _read(data: bytes, folders: bool) -> Session:
    # a visitor's file, which may be made to do harm, takes no more than a run may
    left = MOST_BYTES if folders else min(MOST_BYTES, memory.limit(memory.free()) // SHOWN)
    with opened_zip(data) as stored:
        if _RUN in stored.namelist():
            return _single(data, folders, left)
        check_members(stored, left)
        config = _config(stored, MOST_CONFIG if folders else left // 3)  # as values it takes some 25 times what it does as text
        title, note = _words(config)
        entries = []
        for one in _entries(config):
            entry, used = _entry(one, stored, left)
            left -= used
            if not folders:
                _check_model(entry)
            entries.append(entry)
    session = Session(
        entries=tuple(entries), title=title, note=note, made=_text(config, "made"), infoflow=_text(config, "infoflow")
    )
    if not entries:
        raise BadFile("It holds no results.")
    return session


def _single(data: bytes, folders: bool, most: int) -> Session:
    """A run that was saved alone, as a session."""
    read_npz(data, most)  # which refuses what says that it is larger than it is
    try:
        session = session_of([unpack(*pack(flows.load(BytesIO(data))))])  # each array held against its field
    except TypeError as error:
        raise BadFile(f"It is no saved run ({short(str(error), 80)}). Choose a file that infoflow saved.") from None
    _holds_together(session.entries[0].result)
    if not folders:
        _check_model(session.entries[0])
    return session


def check_members(stored: zipfile.ZipFile, most: int = MOST_BYTES) -> None:
    """That a zip has the members of a session alone, and no more than `most` bytes of them.

    Raises:
        BadFile: another name, a link, or more bytes than are allowed.
    """
    for info in stored.infolist():
        if info.external_attr >> 16 & 0o170000 == _LINK:
            raise BadFile(f"It holds a link, '{short(info.filename)}', and is refused for that.")
        if not _MEMBER.fullmatch(info.filename):
            raise BadFile(f"It holds '{short(info.filename)}', which no session has, and is refused for that.")
    check_size(stored, most)


def _config(stored: zipfile.ZipFile, most: int = MOST_CONFIG) -> dict[str, Any]:
    info = next((one for one in stored.infolist() if one.filename == "config.json"), None)
    if info is None:
        raise BadFile("It is a zip file, and none of infoflow's: it has no config.json.")
    most = min(most, MOST_CONFIG)
    if info.file_size > most:
        raise BadFile(f"Its config.json would take {in_words(info.file_size)}, and {in_words(most)} are allowed.")
    try:
        config = json.loads(member(stored, info), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"Its config.json can't be read ({short(str(error), 80)}).") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise BadFile("Its config.json is not that of a session.")
    schema = config.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise BadFile("It does not say of which schema it is.")
    if schema > SCHEMA:
        raise BadFile(f"It was written by a newer infoflow (schema {schema}; this one reads up to {SCHEMA}). Update infoflow.")
    return config


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _text(config: Mapping[str, Any], name: str, most: int = MOST_TITLE) -> str:
    value = config.get(name, "")
    if not isinstance(value, str) or len(value) > most:
        raise BadFile(f"Its {name} is no text of at most {most:,} characters.")
    return as_text(value, name)


def _words(config: Mapping[str, Any]) -> tuple[str, str]:
    """Title and note."""
    return _text(config, "title"), _text(config, "note", MOST_NOTE)


def _view(one: Mapping[str, Any]) -> View:
    view = one.get("view", {})
    if not isinstance(view, dict) or not all(
        re.fullmatch(r"[A-Za-z_0-9]{1,60}", name) and isinstance(values, list) and all(isinstance(v, str) for v in values)
        for name, values in view.items()
    ):
        raise BadFile("The view of one of its results is no list of texts by name.")
    return {name: tuple(as_text(v, "view") for v in values) for name, values in view.items()}


def _entries(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = config.get("entries")
    if not isinstance(found, list) or len(found) > MOST_ENTRIES or not all(isinstance(one, dict) for one in found):
        raise BadFile("It has no list of results.")
    return found


def _entry(one: dict[str, Any], stored: zipfile.ZipFile, left: int) -> tuple[Entry, int]:
    """An entry, and how many bytes its arrays take."""
    held = one.get("arrays")
    info = next((m for m in stored.infolist() if m.filename == held), None)
    if info is None or not str(held).endswith(".npz"):
        raise BadFile(f"The arrays of one of its results are missing ('{short(str(held))}').")
    arrays = read_npz(member(stored, info), left)
    result = unpack(one.get("result"), arrays)
    request = request_of(one.get("request"), "request")
    if request.analysis != result.provenance.request.analysis:
        raise BadFile(f"One of its results is of {result.provenance.request.analysis}, and {request.analysis} was asked.")
    _holds_together(result)
    entry = Entry(request=request, result=result, note=_text(one, "note", MOST_NOTE), view=_view(one))
    return entry, sum(array.nbytes for array in arrays.values())


def _holds_together(result: Any) -> None:
    """That it can be shown: each field may be of its type, and all of them about something else."""
    try:
        result.to_frame()
        picture_of(result)
        sentences_of(result)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  whatever a forged file makes of it
        raise BadFile(f"One of its results does not hold together ({type(error).__name__}), and is refused for that.") from None


def _check_model(entry: Entry) -> None:
    for spec in (entry.request.model, entry.result.provenance.request.model):
        if not _HUB.fullmatch(spec.name) or ".." in spec.name or spec.name.endswith(".gguf"):
            raise BadFile(
                f"It names '{short(spec.name)}' as its model, which is a file or folder. Only names on the hub are read."
            )
