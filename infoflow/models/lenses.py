"""Fitted lenses: affine maps of middle rows into the basis of the last residual, where the model's own unembedding reads them.

    reading of row r = unembed(norm_f(M_r x + b_r))

*Jacobian lens*: M_r = E[d x_final / d x_r] over a corpus, b_r = 0 (`analyses/jacobian.py` fits one). *Tuned lens*: M_r and b_r
are trained so that the reading is the model's own output. The last row's map is the identity in both.

Source: Belrose et al. (2023, tuned lens); the Jacobian lens (2026), github.com/anthropics/jacobian-lens.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infoflow.errors import BadLens, UnsupportedModel
from infoflow.models import hub, memory
from infoflow.models.catalog import DEMO
from infoflow.models.fingerprint import of_file
from infoflow.models.lens_files import ENDINGS, FORMAT, Stored, header_of, stored
from infoflow.text.characters import shortened
from infoflow.text.rows import rows_of

if TYPE_CHECKING:
    import infoflow.models.model

BUNDLED = "bundled"
"""names the lens that ships for a model"""
DEMO_LENS = DEMO / "lenses" / "jacobian.safetensors"
"""in a folder of its own: the weights' fingerprint is that of all safetensors files beside them"""
KINDS = ("jacobian", "tuned")
_FILES = ("lens.safetensors", "params.pt", "lens.pt")
"""what is looked for in a folder"""
HUB = "hub:"
"""before a source that is looked for on the hub and nowhere else"""
_SMALL = 1_000_000
"""bytes of what is in a file beside the maps"""
_ON_HUB = re.compile(
    r"(?:(spaces|datasets)/)?([\w.-]+/[\w.-]+)/([^@\\\x00-\x1f]+\.(?:pt|pth|safetensors))(?:@([\w.-]+(?:/[\w.-]+)*))?"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedLens:
    """Affine maps of some rows of the residual stream into the basis of the last one."""

    kind: str
    """jacobian or tuned"""
    rows: tuple[str, ...]
    """those that it reads, from the embedding on; the last row of the stream needs no map and is not among them"""
    matrices: dict[str, np.ndarray]
    """row -> float32 [d_model, d_model]: M of M x + b"""
    biases: dict[str, np.ndarray] = field(default_factory=dict)
    """row -> float32 [d_model]; {} where there are none"""
    d_model: int
    n_layers: int
    n_prompts: int | None = None
    """that it was fitted on, where that is known"""
    model: str = ""
    """that it says it was fitted for; '' where it does not say"""
    revision: str = ""
    halves: dict[str, float] = field(default_factory=dict)
    """row -> cosine of what two halves of the prompts gave, each matrix as one long vector; {} where it is not known"""
    digest: str = ""
    """of its file; '' of one that is in no file"""

    def __repr__(self) -> str:
        fitted = f", {self.n_prompts} prompts" if self.n_prompts is not None else ""
        of = f" of {self.model!r}" if self.model else ""
        return f"FittedLens({self.kind}{of}, {len(self.rows)} rows of {self.d_model}{fitted})"


def bundled_lens(model: "infoflow.models.model.Model") -> str | None:
    """The source of the lens that ships for a model, by its weights: "bundled"; None where none does."""
    if model.hosted or not DEMO_LENS.is_file():
        return None
    return BUNDLED if model.revision == header_of(DEMO_LENS).get("revision") else None


def load_lens(
    model: "infoflow.models.model.Model",
    source: str,
    any_model: bool = False,
    folders: bool = True,
    on_progress: Callable[[str, float], None] | None = None,
) -> FittedLens:
    """The fitted lens of a model from "bundled", a local file or folder, or the hub ("owner/name/path/in/repo.pt", with
    "@revision" after it; before it "spaces/" or "datasets/" where it lies in one, and "hub:" where no file here is meant).

    Read are infoflow's own .safetensors, the .pt of a Jacobian lens and the params.pt of a tuned lens. One that says it was
    fitted for another model of the same shape is taken with `any_model`. `folders=False` reads no local file.
    `on_progress(doing, fraction)` is told of a download and may stop it by raising.

    Raises:
        BadLens: no such file, not whole, objects in it, no lens, another width or number of layers, another model, numbers
            that are not finite.
        TooLarge: more than the memory that a run may take.
    """
    file, beside = _located(model, source if folders else hub_only(source), on_progress)
    return _checked(stored(file, beside), model, source, file, any_model)


def fetch(model: "infoflow.models.model.Model", source: str, on_progress: Callable[[str, float], None]) -> None:
    """Bring a lens's file here, where it is on a hub, so that loading it takes no time.

    Raises:
        BadLens: there is none.
    """
    _located(model, source, on_progress)


def hub_only(source: str) -> str:
    """The source for one who may name no file of this machine: "bundled" as it is, all else on the hub alone."""
    source = source.strip()
    return source if source == BUNDLED or source.startswith(HUB) else HUB + source


def digest_of(model: "infoflow.models.model.Model", source: str) -> str:
    """The digest of a lens's file as it is now; "" of one on a hub, which is not fetched for that, and where there is none."""
    try:
        file = _here(model, source.strip())
        if file is None or file.suffix not in ENDINGS or not file.is_file():
            return ""
        now = file.stat()
        return _digest(file, now.st_mtime_ns, now.st_size)
    except OSError:
        return ""


@lru_cache(maxsize=32)
def _digest(file: Path, modified: int, size: int) -> str:
    return of_file(file)


def read_lens(file: str | Path) -> FittedLens:
    """A lens that `save_lens` wrote, by itself, held against no model.

    Raises:
        BadLens: no such file, not whole, or none that `save_lens` wrote.
    """
    path = Path(file).expanduser()
    found = stored(path, lambda name: None)
    if found.n_layers is None or not all(found.shapes.values()) or not found.shapes:
        raise BadLens(f"'{path.name}' does not say how many layers its model has. Load it with load_lens and the model.")
    return _lens(found, path, next(iter(found.shapes.values()))[-1], found.n_layers)


def save_lens(lens: FittedLens, path: str | Path, half: bool = False) -> FittedLens:
    """Write a lens as safetensors, float32, or float16 with `half`; the lens with its file's digest. The file is there as a
    whole or not at all.

    Raises:
        BadLens: numbers that float16 does not hold, or a place that can't be written.
    """
    from safetensors.numpy import save_file

    kept = {**{f"matrix.{row}": m for row, m in lens.matrices.items()}, **{f"bias.{row}": b for row, b in lens.biases.items()}}
    if half:
        most = max(float(np.abs(value).max(initial=0)) for value in kept.values())
        if most > float(np.finfo(np.float16).max):
            raise BadLens(f"The lens holds numbers up to {most:.1e}, more than float16 does. Save it without half.")
    arrays = {name: np.ascontiguousarray(value, np.float16 if half else np.float32) for name, value in kept.items()}
    said = {
        "format": FORMAT, "kind": lens.kind, "model": lens.model, "revision": lens.revision, "n_layers": lens.n_layers,
        "n_prompts": lens.n_prompts, "halves": lens.halves,
    }  # fmt: skip
    place = Path(path).expanduser()
    atomically(place, lambda file: save_file(arrays, str(file), metadata={"infoflow": json.dumps(said)}))
    return replace(lens, digest=of_file(place))


def atomically(place: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make a file beside a place, and put it there when it is whole.

    Raises:
        BadLens: it can't be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".lens-") as folder:
            made = Path(folder) / place.name
            write(made)
            os.replace(made, place)
    except OSError as error:
        raise BadLens(f"'{place}' can't be written ({error.strerror or error}). Choose another place.") from error


# --- where it lies


def _located(
    model: "infoflow.models.model.Model", source: str, on_progress: Callable[[str, float], None] | None
) -> tuple[Path, Callable[[str], Path | None]]:
    """A lens's file, and what gives the files beside it."""
    source = source.strip()
    local = _here(model, source)
    if source == BUNDLED:
        if local is None:
            raise BadLens(f"No lens ships for '{model.name}'. Fit one with infoflow.fit_lens, or give a file or one on the hub.")
        return local, lambda name: None
    if local is not None and local.is_dir():
        raise BadLens(f"The folder '{source}' holds none of {', '.join(_FILES)}. Name the lens's file.")
    if local is not None:
        return local, lambda name: (local.parent / name) if (local.parent / name).is_file() else None
    named = source.removeprefix(HUB)
    there = _ON_HUB.fullmatch(named)
    if there is None or named[0] in "/.~" or ".." in (there[3] + "/" + (there[4] or "")).split("/"):
        shown = shortened("".join(c if c.isprintable() else "\ufffd" for c in source), 80)
        what = f"There is no file '{shown}'. Check the path, or give" if source and named == source else "Give"
        raise BadLens(f"{what} a lens on the hub as owner/name/path/in/repo.pt, or 'bundled'.")
    return _fetched(there, model, on_progress)


def _here(model: "infoflow.models.model.Model", source: str) -> Path | None:
    """The local file that a source names, of a folder the one in it; the folder itself where none is. None where it names none,
    and without a look where it is one of the hub."""
    if source == BUNDLED:
        return DEMO_LENS if bundled_lens(model) else None
    if not source or source.startswith(HUB):
        return None
    try:
        local = Path(source).expanduser()
        if local.is_dir():
            return next((local / name for name in _FILES if (local / name).is_file()), local)
        return local if local.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long or not to be looked at; no name at all; nobody's home
        return None


def _fetched(
    there: "re.Match[str]", model: "infoflow.models.model.Model", on_progress: Callable[[str, float], None] | None
) -> tuple[Path, Callable[[str], Path | None]]:
    kind, repository, file, revision = there.groups()
    most = _SMALL + 6 * model.sizes().d_model ** 2 * (model.n_layers + 1)  # half as much again as float32 for every row

    def get(name: str) -> Path:
        return hub.fetch_part(repository, name, revision, (kind or "models")[:-1], on_progress, most)

    def beside(name: str) -> Path | None:
        try:
            return get("/".join([*file.split("/")[:-1], name]))
        except UnsupportedModel:
            return None  # it may do without

    try:
        return get(file), beside
    except UnsupportedModel as error:
        raise BadLens(str(error)) from error


# --- whether it fits


def _checked(found: Stored, model: "infoflow.models.model.Model", source: str, file: Path, any_model: bool) -> FittedLens:
    sizes = model.sizes()
    d, layers = sizes.d_model, model.n_layers
    wrong = next((f"{row} is {' by '.join(map(str, s))}" for row, s in found.shapes.items() if s != (d, d)), None)
    if wrong:
        raise BadLens(f"The lens '{source}' is for a model of another width: {wrong}, and '{model.name}' is {d} wide.")
    if found.n_layers is not None and found.n_layers != layers:
        raise BadLens(f"The lens '{source}' is for a model of {found.n_layers} layers; '{model.name}' has {layers}.")
    beyond = [row for row in found.shapes if row not in rows_of(layers, mids=False)]
    if beyond:
        raise BadLens(f"The lens '{source}' reads {beyond[0]}, which '{model.name}' with its {layers} layers does not have.")
    if not any_model:
        _same_model(found, model, source)
    memory.refuse(4 * d * d * len(found.shapes), model.memory_limit(), f"The lens '{source}' takes", "Unload another model")
    last = f"L{layers - 1}.post"
    if last in found.shapes and not np.allclose(found.matrix(last), np.eye(d), atol=1e-2):
        raise BadLens(
            f"The lens '{source}' maps the last row of '{model.name}' elsewhere, so it was fitted for a deeper model or another "
            "target. Choose one that ends at the last layer."
        )
    return _lens(found, file, d, layers)


def _lens(found: Stored, file: Path, d: int, layers: int) -> FittedLens:
    if found.kind not in KINDS:
        raise BadLens(f"'{file.name}' is a lens of kind '{found.kind}'; there are: {', '.join(KINDS)}.")
    rows = tuple(row for row in rows_of(layers, mids=False)[:-1] if row in found.shapes)
    if not rows:
        raise BadLens(f"'{file.name}' holds no map of any row but the last. Choose another.")
    matrices = {row: _finite(found.matrix(row), row, (d, d), file) for row in rows}
    biases = {row: _finite(bias, row, (d,), file) for row in rows if (bias := found.bias(row)) is not None}
    return FittedLens(
        kind=found.kind, rows=rows, matrices=matrices, biases=biases, d_model=d, n_layers=layers, n_prompts=found.n_prompts,
        model=found.model, revision=found.revision, halves={row: found.halves[row] for row in rows if row in found.halves},
        digest=of_file(file),
    )  # fmt: skip


def _finite(value: np.ndarray, row: str, shape: tuple[int, ...], file: Path) -> np.ndarray:
    if value.shape != shape:
        raise BadLens(f"'{file.name}' holds {row} with the shape {value.shape}, where {shape} is wanted. Fetch it again.")
    if not np.isfinite(value).all():
        raise BadLens(f"'{file.name}' holds numbers that are not finite, in {row}. Fit or fetch it again.")
    return value


def _same_model(found: Stored, model: "infoflow.models.model.Model", source: str) -> None:
    """The same weights by any name, or the same name with no other revision.

    Raises:
        BadLens: it says that it was fitted for another.
    """
    if found.revision and found.revision == model.revision:
        return
    anyway = "Choose its own lens, or take this one all the same with any_model=True."
    if found.model and not _alike(found.model, model.name):
        raise BadLens(f"The lens '{source}' was fitted for '{found.model}', and this is '{model.name}'. {anyway}")
    kind = _kind_of(found.revision)
    if kind and kind == _kind_of(model.revision):
        raise BadLens(
            f"The lens '{source}' was fitted for other weights of '{model.name}': {found.revision}, and these are "
            f"{model.revision}. {anyway}"
        )


def _alike(one: str, other: str) -> bool:
    """Whether two names can be one model's: `gpt2` is openai-community/gpt2's, and a folder's name stands for the folder."""
    names = [hub.split_revision(name.strip().rstrip("/"))[0].casefold() for name in (one, other)]
    if all(name.count("/") == 1 for name in names):
        return names[0] == names[1]
    return names[0].rpartition("/")[2] == names[1].rpartition("/")[2]


def _kind_of(revision: str) -> str:
    """What a revision is, if two of its kind that differ are other weights: a commit, or a fingerprint of a file or of what is in
    memory; '' for a branch or a tag, which moves."""
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return "commit"
    before, mark, _ = revision.partition("sha256:")
    return before + mark
