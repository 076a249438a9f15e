"""Sessions come back to the last bit, say whether numbers still agree, and refuse what is forged; nothing is half written."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import infoflow
from infoflow.analyses.activations import Activations
from infoflow.errors import BadFile, InfoflowError
from infoflow.files import atomic, flows, sessions
from infoflow.files.agreement import agreement, tolerance_of
from infoflow.files.results import kinds, pack, unpack
from infoflow.files.sessions import Entry, Session
from infoflow.interventions import Zero
from tests.helpers import tiny

PROMPT = "When Mary and John"
MAKE: dict[str, Callable[["infoflow.Model"], Any]] = {
    "Flow": lambda m: infoflow.decompose(m, PROMPT, sources="words", interventions=[Zero("mlp", 1)]),
    "Attribution": lambda m: infoflow.attribute(m, PROMPT, 65, against=66, contrast="bank"),
    "DirectAttribution": lambda m: infoflow.direct(m, PROMPT, 65),
    "Attention": lambda m: infoflow.attention(m, PROMPT),
    "Lens": lambda m: infoflow.logit_lens(m, PROMPT, targets=[65], kind="frozen", contrast="bank"),
    "Promotions": lambda m: infoflow.promotions(m, PROMPT),
    "Activations": lambda m: infoflow.activations(m, PROMPT),
    "Stability": lambda m: infoflow.stability(m, PROMPT),
    "Location": lambda m: infoflow.locate(m, PROMPT, 65, against=66, contrast="Then Anna and Fred"),
    "Graph": lambda m: infoflow.graph(m, PROMPT, 65),
    "Readers": lambda m: infoflow.readers(m, PROMPT, 1, 2, 65),
    "Causal": lambda m: infoflow.causal(m, PROMPT, 65, 66, sources="words"),
    "Patching": lambda m: infoflow.patch(m, PROMPT, "When Mary and Paul"),
    "Pairs": lambda m: infoflow.patch_pairs(m, PROMPT, "When Mary and Paul", heads=[(1, 0), (0, 1)]),
    "Circuit": lambda m: infoflow.circuit(m, PROMPT, infoflow.decompose(m, PROMPT).top[0].id),
    "Roles": lambda m: infoflow.roles(m, PROMPT, 65),
    "Carriers": lambda m: infoflow.carriers(m, PROMPT, 2, 6, 3),
    "QueryKey": lambda m: infoflow.query_key(m, PROMPT, 2, 1, -2, -4),
    "Generation": lambda m: infoflow.generate(m, PROMPT, 3),
    "Correction": lambda m: infoflow.correct(m, "Is it é?", "No."),
}


def same(one: Any, other: Any, where: str = "") -> None:
    """Equal to the last bit, with types."""
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape, where
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f"), where
    elif is_dataclass(one):
        assert type(one) is type(other), where
        for f in fields(one):
            same(getattr(one, f.name), getattr(other, f.name), f"{where}.{f.name}")
    elif isinstance(one, tuple):
        assert isinstance(other, tuple) and len(one) == len(other), where
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{where}.{place}")
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            same(one[key], other[key], f"{where}.{key}")
    else:
        assert one == other and (isinstance(one, str) or type(one) is type(other)), where


@pytest.fixture(scope="module")
def model() -> "infoflow.Model":
    return tiny.model("gemma2")


@pytest.fixture(scope="module")
def results(model: "infoflow.Model") -> dict[str, Any]:
    return {name: make(model) for name, make in MAKE.items()}


@pytest.fixture(scope="module")
def small(model: "infoflow.Model") -> bytes:
    """A session of few bytes: a lens and the stream."""
    found = [infoflow.logit_lens(model, "ab", 2, mids=False), infoflow.activations(model, "ab")]
    return sessions.as_zip(sessions.session_of(found, "Small", "A note."), tables=False)


def test_every_kind_of_result_can_be_kept() -> None:
    assert MAKE.keys() == kinds().keys() - {"OfSweep"}  # what sweeps have in common


@pytest.mark.slow
def test_a_session_comes_back_to_the_last_bit(results: dict[str, Any], tmp_path: Path) -> None:
    path = infoflow.save_session(tmp_path / "all", list(results.values()), title="Alles, 全部, 😀", note="line\nline")
    assert path.name == "all.zip"
    again = infoflow.open_session(path)
    assert (again.title, again.note) == ("Alles, 全部, 😀", "line\nline") and again.infoflow == infoflow.__version__
    for (name, ours), entry in zip(results.items(), again.entries, strict=True):
        assert entry.request == ours.provenance.request
        same(ours, entry.result, name)
        assert entry.result.to_frame().equals(ours.to_frame()) and entry.result.summary() == ours.summary()


@pytest.mark.parametrize("asked", [{"target": 65}, {"target": 65, "site": "z", "method": "gradient"}, {"method": "gradient"}])
def test_sweeps_without_a_rival_or_of_logits_alone_are_kept_too(asked: dict[str, Any], model: "infoflow.Model") -> None:
    found = infoflow.patch(model, PROMPT, "When Mary and Paul", **asked)
    same(found, sessions.open_session(sessions.as_zip(sessions.session_of([found]))).entries[0].result)


def test_a_prompt_of_which_nothing_is_left_opens_again() -> None:
    found = infoflow.activations(tiny.model("llama"), "ab", interventions=[Zero("embed")])  # no biases: all of it is nothing
    same(found, sessions.open_session(sessions.as_zip(sessions.session_of([found]))).entries[0].result)


@pytest.mark.slow
def test_run_again_its_numbers_are_the_same(results: dict[str, Any], model: "infoflow.Model") -> None:
    for name, ours in results.items():
        found = agreement(ours, ours.provenance.request.run(model), tolerance=1e-5)
        assert found.agrees, (name, found)


def test_what_changed_is_told(results: dict[str, Any]) -> None:
    lens = results["Lens"]
    moved = lens.logits.copy()
    moved[0, 0, 0] += 0.5 * np.abs(moved).max()
    found = agreement(lens, replace(lens, logits=moved))
    assert not found.agrees and found.worst == found.differences["logits"] == pytest.approx(0.5, rel=1e-4)
    assert agreement(lens, replace(lens, logits=moved), tolerance=0.6).agrees
    other = agreement(lens, replace(lens, labels=("x", *lens.labels[1:])))
    assert other.changed == ("labels.0",) and not other.agrees
    assert agreement(lens, replace(lens, max_error=1.0)).agrees  # rounding has no digits to agree in
    scores = results["QueryKey"]
    seen = np.where(np.isfinite(scores.scores), scores.scores, 0.0).astype(np.float32)
    assert not np.isfinite(scores.scores).all()
    assert agreement(scores, replace(scores, scores=seen)).differences["scores"] == float("inf")
    twice = replace(scores, scores=2 * scores.scores)
    assert agreement(scores, twice).differences["scores"] == pytest.approx(1)
    attribution = results["Attribution"]
    off = replace(attribution, total=attribution.total + 1)
    assert agreement(attribution, off).differences["total"] > 0.05


def test_tensors_open_in_plain_numpy(results: dict[str, Any], tmp_path: Path) -> None:
    acts: Activations = results["Activations"]
    path = infoflow.save_session(tmp_path / "half", [results["Flow"], acts, acts], tensors="float16")
    with zipfile.ZipFile(path) as stored:
        assert {"tensors.npz", "tensors-002.npz"} < set(stored.namelist())
        with np.load(io.BytesIO(stored.read("tensors.npz")), allow_pickle=False) as held:
            assert set(held) == {
                "resid_pre", "attn_out", "mlp_out", "resid_post", "z", "pattern", "tokens", "token_ids",
            }  # fmt: skip
            assert held["resid_post"].dtype == np.float16 and held["tokens"].tolist() == list(acts.tokens)
            assert np.allclose(held["resid_post"], acts.resid_post, rtol=1e-3, atol=1e-3)
            assert held["token_ids"].tolist() == list(acts.token_ids)
        table = stored.read("tables/001-flow.csv").decode()
        assert table.splitlines()[0].startswith("layer,")
    again = infoflow.open_session(path).entries[1].result
    assert again.resid_post.dtype == np.float32 and np.allclose(again.resid_post, acts.resid_post, rtol=1e-3, atol=1e-3)
    assert agreement(again, acts, tolerance_of(again)).agrees and not agreement(again, acts, tolerance_of(acts)).agrees
    half = replace(acts.provenance, dtype="bfloat16")
    assert tolerance_of(again) < tolerance_of(replace(again, provenance=half)) == tolerance_of(replace(acts, provenance=half))


def test_tensors_that_half_precision_can_not_hold_are_kept_in_full(results: dict[str, Any]) -> None:
    acts = results["Activations"]
    huge = replace(acts, resid_pre=acts.resid_pre * 1e6)
    with pytest.raises(BadFile, match="float16 does not. Keep them as float32"):
        sessions.as_zip(sessions.session_of([huge]), tensors="float16")
    with pytest.raises(InfoflowError, match="not as 'int8'"):
        sessions.as_zip(sessions.session_of([acts]), tensors="int8")
    light = sessions.session_of([replace(acts, z=None, pattern=None)])
    again = sessions.open_session(sessions.as_zip(light)).entries[0].result
    assert again.z is None and again.pattern is None


def test_values_that_are_no_numbers_are_not_kept(results: dict[str, Any]) -> None:
    lens = results["Lens"]
    broken = lens.kl.copy()
    broken[0, 0] = np.nan
    with pytest.raises(BadFile, match="1 of .* values of its kl are no numbers"):
        sessions.as_zip(sessions.session_of([replace(lens, kl=broken)]))
    with pytest.raises(BadFile, match="total is inf, which is no number"):
        sessions.as_zip(sessions.session_of([replace(results["Attribution"], total=float("inf"))]))


def test_words_views_and_notes_are_kept(model: "infoflow.Model", small: bytes) -> None:
    held = sessions.open_session(small)
    view = {"prompt": ("ab",), "change": ('{"kind": "zero"}', "-x")}
    noted = replace(held, entries=(replace(held.entries[0], note="why?", view=view), held.entries[1]))
    again = sessions.open_session(sessions.as_zip(noted))
    assert again.entries[0].note == "why?" and again.entries[0].view == view and again.entries[1].view == {}
    assert sessions.as_zip(again) == sessions.as_zip(noted)  # equal sessions are equal files
    renamed = sessions.changed(sessions.as_zip(again), title="New", note="Other")
    head = sessions.heading(renamed)
    assert (head.title, head.note, head.prompts, head.models) == ("New", "Other", ("ab",), ("tiny-gemma2",))
    same(sessions.open_session(renamed).entries[0].result, held.entries[0].result)


def test_a_run_that_was_saved_alone_opens_too(results: dict[str, Any], tmp_path: Path) -> None:
    flows.save(results["Flow"], tmp_path / "old.npz")
    same(infoflow.open_session(tmp_path / "old.npz").entries[0].result, results["Flow"])
    data = (tmp_path / "old.npz").read_bytes()
    same(sessions.open_session(data).entries[0].result, results["Flow"])
    with np.load(io.BytesIO(data)) as held:
        arrays = dict(held)
    for forged, said in [
        (_npz(**{**arrays, "error": np.zeros(3)}), "is no saved run|has the shape"),
        (_npz(**{**arrays, "header": np.frombuffer(b"[1]", np.uint8)}), "is no saved run"),
        (_npz(**{**arrays, "gram_lower": np.array([{}], dtype=object)}), "is no array|only numbers"),
    ]:
        with pytest.raises(BadFile, match=said):
            sessions.open_session(forged)


def test_nothing_to_keep_and_nothing_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="1 to 500 results; this has 0"):
        infoflow.save_session(tmp_path / "none", [])
    both = infoflow.compare(*[infoflow.attention(tiny.model("llama"), "ab")] * 2)
    with pytest.raises(BadFile, match="A Comparison can't be kept. Keep the results"):
        infoflow.save_session(tmp_path / "both", [both])
    with pytest.raises(BadFile, match="can't be read: No such file"):
        infoflow.open_session(tmp_path / "none.zip")
    for ask in (lambda p: infoflow.open_session(p), lambda p: infoflow.save_session(p, [object()])):
        with pytest.raises(InfoflowError, match="there is no such user"):
            ask("~nobody-of-that-name/x.zip")
    with pytest.raises(InfoflowError, match="can't be written"):
        atomic.write(tmp_path / "no" / "folder.zip", b"x")


def rezipped(data: bytes, change: Callable[[dict[str, Any]], Any] = lambda c: None, **more: Any) -> bytes:
    """A session with its config changed by hand, or members put in its place (None takes one out)."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        members: dict[str, Any] = {name: old.read(name) for name in old.namelist()}
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()
        for name, content in {**members, **more.get("put", {})}.items():
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: Any) -> None:
        for step in path[:-1]:
            config = config[step]
        config[path[-1]] = to

    return change


LENS, VALUES = ("entries", 0, "result"), ("entries", 0, "result", "values")
FORGED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "newer": (_set("schema", to=2), "written by a newer infoflow .schema 2"),
    "no schema": (_set("schema", to="1"), "does not say of which schema"),
    "another format": (_set("format", to="zip"), "not that of a session"),
    "no results": (_set("entries", to=[]), "holds no results"),
    "another kind": (_set(*LENS, "kind", to="Popen"), "a kind that is not known here, 'Popen'"),
    "a field more": (_set(*VALUES, "extra", to=1), "a field that is not known here, 'extra'"),
    "a text for a number": (_set(*VALUES, "max_error", to="small"), "max_error is small, which is no float"),
    "more than a float holds": (_set(*VALUES, "max_error", to=10**400), "max_error is 10000.*, which is no float"),
    "a number for a truth": (_set(*VALUES, "kind", to=3), "kind is 3, which is no str"),
    "an array that is not there": (_set(*VALUES, "kl", to={"array": "x"}), "array 'x' is missing"),
    "another array's shape": (_set(*VALUES, "kl", to={"array": "probs"}), "kl has the shape .* which is no Float"),
    "rows for another number of positions": (_set(*VALUES, "positions", to=[0]), "does not hold together"),
    "half a character": (_set("title", to="\ud800"), "half a character"),
    "half a character in a token": (_set(*VALUES, "tokens", to=["<s>", "\udfff", "b"]), "half a character"),
    "a long title": (_set("title", to="x" * 300), "title is no text of at most 200"),
    "a request of another": (_set("entries", 0, "request", to={"analysis": "attention", "prompt": "ab"}), "attention was asked"),
    "a request that is none": (_set("entries", 0, "request", "prompt", to=5), "is no request"),
    "a key in the model": (_set("entries", 0, "request", "model", "key", to="secret"), "is no request"),
    "another member as arrays": (_set("entries", 0, "arrays", to="config.json"), "arrays of one of its results are missing"),
    "a view that is none": (_set("entries", 0, "view", to={"<b>": ["x"]}), "no list of texts by name"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_what_is_forged_is_refused_with_a_sentence(name: str, small: bytes) -> None:
    change, said = FORGED[name]
    with pytest.raises(BadFile, match=said):
        sessions.open_session(rezipped(small, change))


@pytest.mark.parametrize(
    "name", ["../../evil.txt", "/etc/passwd", "C:\\x", "results/../../x.npz", "results/001-flow.npz\n", "x.py"]
)
def test_names_that_no_session_has_are_refused(name: str, small: bytes) -> None:
    with pytest.raises(BadFile, match="which no session has"):
        sessions.open_session(rezipped(small, put={name: b"x"}))


def _linked(data: bytes) -> bytes:
    out = io.BytesIO(data)
    info = zipfile.ZipInfo("results/009-flow.npz")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(out, "a") as stored:
        stored.writestr(info, "/etc/passwd")
    return out.getvalue()


def _npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _claiming(shape: tuple[int, ...], follows: int = 8, dtype: str = "<f4") -> bytes:
    """An array that says what it likes of the bytes that follow."""
    out, held = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(out, "w") as stored:
        stored.writestr("kl.npy", held.getvalue() + b"\0" * follows)
    return out.getvalue()


def _lzma(data: bytes) -> bytes:
    """A session whose config is compressed by another method, and broken in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as new:
        new.writestr("config.json", old.read("config.json"))
    turned = bytearray(out.getvalue())
    turned[100:104] = b"\xff\0\xff\0"
    return bytes(turned)


def _far(data: bytes) -> bytes:
    """A zip whose first member is said to begin behind the end of every file."""
    with zipfile.ZipFile(io.BytesIO(data)) as stored:
        where, name = stored.start_dir, len(stored.infolist()[0].filename)
    turned, more = bytearray(data), struct.pack("<HHQ", 1, 8, 2**64 - 1)
    turned[where + 30 : where + 32], turned[where + 42 : where + 46] = struct.pack("<H", len(more)), b"\xff" * 4
    turned[where + 46 + name : where + 46 + name] = more
    end = turned.rfind(b"PK\5\6")
    turned[end + 12 : end + 16] = struct.pack("<I", end - where)
    return bytes(turned)


def test_archives_that_do_harm_are_refused(small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    held = "results/001-logit_lens.npz"
    for data, said in [
        (_linked(small), "holds a link"),
        (small[: len(small) // 2], "which no session has"),  # of the arrays in it an end is left
        (small[:100], "only a part of one"),
        (b"", "only a part of one"),
        (b"hello", "no zip file"),
        (rezipped(small, put={"config.json": b"[1, NaN]"}), "NaN is no number"),
        (rezipped(small, put={"config.json": b"[" * 100_000}), "can't be read"),
        (rezipped(small, put={"config.json": None}), "has no config.json"),
        (rezipped(small, put={held: _npz(kl=np.array([{"a": 1}], dtype=object))}), "is no array|only numbers"),
        (rezipped(small, put={held: _npz(kl=np.array([1 + 2j]))}), "only numbers and texts are read"),
        (rezipped(small, put={held: _claiming((10**12,))}), "not hold as many numbers"),
        (rezipped(small, put={held: _claiming((-2,))}), "not hold as many numbers|no array"),
        (rezipped(small, put={held: _claiming((10**12,), 0, "<U0")}), "not hold as many numbers"),
        (rezipped(small, put={held: _claiming((True,), 4)}), "not hold as many numbers"),
        *(
            (rezipped(small, put={held: _claiming(shape, n)}), "that no array has")
            for shape, n in (((10**30, 0), 0), ((1,) * 70, 4), ((2**62, 0), 0))
        ),
        (_lzma(small), "config.json' is broken"),
        (_far(small), "is broken .*too large"),
        (rezipped(small, put={held: b"PK\5\6" + b"\0" * 18}), "is missing"),
    ]:
        with pytest.raises(BadFile, match=said):
            sessions.open_session(data)
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "2")  # of which checking it takes a part
    wide = rezipped(small, put={held: _npz(kl=np.zeros(100_000, np.float32))})
    with pytest.raises(BadFile, match="would take 1 MB when unpacked"):
        sessions.open_session(wide, folders=False)
    with pytest.raises(BadFile, match="is missing"):
        sessions.open_session(wide)
    with monkeypatch.context() as few:
        few.setattr("infoflow.files.arrays.MOST_MEMBERS", 10)
        with pytest.raises(BadFile, match="more than 10 members"):
            sessions.open_session(small)
    monkeypatch.setattr(sessions, "MOST_BYTES", 1_000_000)
    bomb = rezipped(small, put={held: _npz(kl=np.zeros(10_000_000, np.float32))})  # 40 MB of nothing in 40 kB
    assert len(bomb) < 200_000
    with pytest.raises(BadFile, match="would take 40 MB when unpacked"):
        sessions.open_session(bomb)
    twice = io.BytesIO(small)
    with zipfile.ZipFile(twice, "a") as stored, pytest.warns(UserWarning, match="Duplicate name"):
        stored.writestr("config.json", b"{}")
    with pytest.raises(BadFile, match="two members of one name"):
        sessions.open_session(twice.getvalue())


@pytest.mark.parametrize("name", ["/etc", "../x", "~/model", "C:\\x", "model.gguf", "a/../b"])
def test_visitors_sessions_name_no_folders(name: str, small: bytes) -> None:
    data = rezipped(small, _set("entries", 0, "request", "model", "name", to=name))
    assert sessions.open_session(data).models[0] == name  # of this machine's owner: nothing is loaded by opening
    with pytest.raises(BadFile, match="which is a file or folder"):
        sessions.open_session(data, folders=False)


def test_a_crash_or_a_full_disk_leaves_the_old_file(tmp_path: Path, small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.zip"
    atomic.write(path, small)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(InfoflowError, match="No space left on device. Nothing was changed"):
            atomic.write(path, b"half")
    assert path.read_bytes() == small and [p.name for p in tmp_path.iterdir()] == ["kept.zip"]


WRITER = """
import sys
from pathlib import Path
from infoflow.files import atomic
path, n = Path(sys.argv[1]), 0
print("begun", flush=True)
while True:
    n += 1
    atomic.write(path, bytes([n % 256]) * 3_000_000)
"""


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.bin"
    for wait in (0.0, 0.004, 0.011, 0.023, 0.037):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None and writer.stdout.readline() == b"begun\n"
        while not path.exists():
            time.sleep(0.001)
        time.sleep(wait)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        data = path.read_bytes()
        assert len(data) == 3_000_000 and len(set(data)) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ARRAYS = st.sampled_from([
    np.zeros(0, np.float32), np.zeros((3, 3), np.float32), np.full((2, 3), np.nan, np.float32), np.arange(4), np.array("x"),
    np.zeros((2, 3, 4, 5), np.float16), np.ones(7, bool), np.array(["a", "b"]), np.array([2**63], np.uint64),
])  # fmt: skip


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [path for key, item in inside for path in _paths(item, (*at, key))]


@pytest.mark.slow
@settings(max_examples=2000, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_mutated_file_does_anything_but_open_or_be_refused(data: st.DataObject, small: bytes, tmp_path: Path) -> None:
    """Bytes turned and cut, values of the config and arrays exchanged: the same cases each time."""
    with zipfile.ZipFile(io.BytesIO(small)) as stored:
        members = {name: stored.read(name) for name in stored.namelist()}
    how = data.draw(st.sampled_from(["bytes", "cut", "config", "config", "config", "array", "array", "drop"]))
    if how == "bytes":
        turned = bytearray(small)
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(small) - 1), st.integers(0, 255)), min_size=1)):
            turned[place] = value
        forged = bytes(turned)
    elif how == "cut":
        forged = small[: data.draw(st.integers(0, len(small) - 1))]
    elif how == "config":
        config = json.loads(members["config.json"])
        for _ in range(data.draw(st.integers(1, 2))):
            path = data.draw(st.sampled_from(_paths(config)))
            owner = config
            for step in path[:-1]:
                owner = owner[step]
            if data.draw(st.booleans()):
                owner[path[-1]] = data.draw(JSON)
            else:
                del owner[path[-1]]
        put = {"config.json": json.dumps(config).encode("utf-8", "surrogatepass")}
        forged = rezipped(small, put=put)
    elif how == "array":
        name = data.draw(st.sampled_from([n for n in members if n.endswith(".npz")]))
        with np.load(io.BytesIO(members[name])) as held:
            arrays = dict(held)
        arrays[data.draw(st.sampled_from(sorted(arrays)))] = data.draw(ARRAYS)
        forged = rezipped(small, put={name: _npz(**arrays)})
    else:
        forged = rezipped(small, put={data.draw(st.sampled_from(sorted(members))): None})
    try:
        opened = sessions.open_session(forged, folders=False)
    except BadFile as error:
        assert str(error)
    else:
        assert isinstance(opened, Session) and all(isinstance(entry, Entry) for entry in opened.entries)
    assert not list(tmp_path.iterdir())


def test_packing_names_no_class_that_is_no_result(results: dict[str, Any]) -> None:
    plain, arrays = pack(results["Readers"])
    assert json.dumps(plain, allow_nan=False)  # plain values
    for kind in ("Model", "ModelSpec", "Provenance", "os.system", "", "Answers"):
        with pytest.raises(BadFile, match="not known here"):
            unpack({**plain, "kind": kind}, arrays)
