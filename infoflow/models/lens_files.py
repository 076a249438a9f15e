"""Files of fitted lenses, read as plain arrays: our own safetensors, the Jacobian lens's `.pt`, and the tuned lens's checkpoints.

Of a `.pt` only tensors, numbers and texts are read, never objects. Tensors stay on the disk until they are asked
for, so that a file of another model is refused before any of it takes memory.

Source: github.com/anthropics/jacobian-lens and AlignmentResearch/tuned-lens, whose files these are.
"""

import json
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from infoflow.errors import BadLens
from infoflow.text.characters import shortened

FORMAT = "infoflow lens 1"
ENDINGS = (".safetensors", ".pt", ".pth")
"""of the files that are read"""
_HEADER_BYTES = 10_000_000
_MOST = 10**9
"""layers and prompts are fewer"""
_FLOATS = {"F64", "F32", "F16", "BF16"}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a file holds; an array is read when it is asked for."""

    kind: str
    shapes: dict[str, tuple[int, ...]]
    """of each row's matrix"""
    matrix: Callable[[str], np.ndarray]
    """of a row, float32"""
    bias: Callable[[str], np.ndarray | None]
    n_layers: int | None = None
    """of the model that it was fitted for, where the file says so"""
    n_prompts: int | None = None
    model: str = ""
    revision: str = ""
    halves: dict[str, float] = field(default_factory=dict)


def stored(file: Path, beside: Callable[[str], Path | None]) -> Stored:
    """What a lens's file holds; `beside(name)` gives a file that lies beside it, if there is one.

    Raises:
        BadLens: no such file, not whole, objects in it, or no lens.
    """
    if not file.is_file():
        raise BadLens(f"There is no file '{file}'. Check the path.")
    if file.suffix == ".safetensors":
        return _own(file)
    if file.suffix not in ENDINGS:
        raise BadLens(f"'{file.name}' is no lens: its name ends in neither .safetensors nor .pt. Choose such a file.")
    held = _unpacked(file)
    try:
        return _tuned(file, held, beside) or _jacobian(file, held)
    except RecursionError as error:  # keys can be nested as well
        raise _not_whole(file, error) from error


# --- our own


def _own(file: Path) -> Stored:
    from safetensors import SafetensorError, safe_open

    header = header_of(file)
    if header.get("format") != FORMAT:
        raise BadLens(
            f"'{file.name}' is no lens of infoflow: its header does not say '{FORMAT}'. Fit one with infoflow.fit_lens, or give "
            "the .pt file of a Jacobian or tuned lens."
        )
    try:
        with safe_open(str(file), "np") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  it is no mapping
            kinds = {name: str(one.get_dtype()) for name, one in slices.items()}
            shapes = {name: tuple(int(n) for n in one.get_shape()) for name, one in slices.items()}
    except (SafetensorError, OSError) as error:
        raise _not_whole(file, error) from error
    other = sorted(name for name, kind in kinds.items() if kind not in _FLOATS - {"BF16"})
    if other:
        raise BadLens(f"'{file.name}' holds {other[0]} as {kinds[other[0]]}, not as floats. Fit or fetch it again.")

    def read(name: str) -> np.ndarray:
        try:
            with safe_open(str(file), "np") as again:
                return np.asarray(again.get_tensor(name), np.float32)
        except (SafetensorError, OSError) as error:
            raise _not_whole(file, error) from error

    return Stored(
        kind=str(header.get("kind")),
        shapes={name.removeprefix("matrix."): s for name, s in shapes.items() if name.startswith("matrix.")},
        matrix=lambda row: read(f"matrix.{row}"),
        bias=lambda row: read(f"bias.{row}") if f"bias.{row}" in shapes else None,
        n_layers=_number(header.get("n_layers")),
        n_prompts=_number(header.get("n_prompts")),
        model=_said(header, "model"),
        revision=_said(header, "revision"),
        halves=_halves(file, header.get("halves") or {}),
    )


def _halves(file: Path, said: Any) -> dict[str, float]:
    values = list(said.values()) if isinstance(said, dict) else [None]
    if not all(isinstance(value, float | int) and abs(value) <= 1.01 for value in values):
        raise BadLens(f"'{file.name}' does not say of each row how alike two halves gave it. Fit or fetch it again.")
    return {row: float(value) for row, value in said.items()}


def header_of(file: Path) -> dict[str, Any]:
    """What a safetensors file of ours says of itself; {} of another. It is one text in JSON: of several the order in the file
    would change from one time to the next.

    Raises:
        BadLens: it is none, or not whole.
    """
    try:
        with file.open("rb") as opened:
            (size,) = struct.unpack("<Q", opened.read(8))
            if size > _HEADER_BYTES:
                raise ValueError("its header is too long")
            said = json.loads(json.loads(opened.read(size)).get("__metadata__", {}).get("infoflow", "{}"))
    except (struct.error, ValueError, AttributeError, TypeError, OSError, RecursionError) as error:
        raise _not_whole(file, error) from error
    return said if isinstance(said, dict) else {}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST else None


def _not_whole(file: Path, error: Exception) -> BadLens:
    return BadLens(f"'{file.name}' can't be read: it is not whole, or no such file ({_first(error)}). Fetch it again.")


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(". ")


# --- what torch saved


def _unpacked(file: Path) -> Any:
    """What a .pt file holds: containers, numbers, texts and tensors, the latter still on the disk."""
    import torch

    try:
        packed = zipfile.is_zipfile(file)
        if packed:
            _as_torch_packs(file)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=packed)
    except BadLens:
        raise
    except Exception as error:  # noqa: BLE001  a file can be wrong in any way, and is then read wrong in any way
        if "Weights only load failed" not in str(error) or "GLOBAL" not in str(error):
            raise _not_whole(file, error) from error
    raise BadLens(
        f"'{file.name}' holds Python objects, not tensors alone. Such a file can run code when it is read, so it is not. Save "
        "the lens again as a dict of tensors."
    )


def _as_torch_packs(file: Path) -> None:
    """Refuse a zip file that can grow as it is read: torch.save compresses nothing, and a lens's structure is short."""
    with zipfile.ZipFile(file) as opened:
        for one in opened.infolist():
            if one.compress_type != zipfile.ZIP_STORED or one.file_size != one.compress_size:
                raise BadLens(
                    f"'{file.name}' is compressed, which torch.save does not do. Save the lens again as a dict of tensors."
                )
            if one.filename.endswith(".pkl") and one.file_size > _HEADER_BYTES:
                raise BadLens(f"'{file.name}' holds {one.file_size:,} bytes beside its tensors. Save the lens's tensors alone.")


def _jacobian(file: Path, held: Any) -> Stored:
    """`{"J": {layer: [d, d]}, "n_prompts", "source_layers", "d_model"}`, layer l being the output of block l; or whatever holds
    exactly one such mapping, or a stack [layer, d, d] with the list of its layers."""
    found = held["J"] if isinstance(held, Mapping) and "J" in held else held
    tensors = _by_layer(file, found, held)
    prompts = held.get("n_prompts") if isinstance(held, Mapping) else None
    return Stored(
        kind="jacobian",
        shapes={f"L{layer}.post": tuple(tensor.shape) for layer, tensor in tensors.items()},
        matrix=lambda row: _array(tensors[int(row[1:].split(".")[0])]),
        bias=lambda row: None,
        n_prompts=_number(prompts),
        model=_said(held, "model", "model_name"),
        revision=_said(held, "revision", "model_revision"),
    )


def _said(held: Any, *keys: str) -> str:
    return next((held[k] for k in keys if isinstance(held.get(k), str)), "") if isinstance(held, Mapping) else ""


def _by_layer(file: Path, found: Any, held: Any) -> dict[int, Any]:
    candidates = _mappings(found, held)
    if len(candidates) != 1:
        keys = (
            ", ".join(shortened(key, 40) for key in sorted(map(str, held))[:8])
            if isinstance(held, Mapping)
            else type(held).__name__
        )
        raise BadLens(
            f"'{file.name}' is no lens: it holds {'no' if not candidates else 'more than one'} mapping from layers to matrices "
            f"(it has: {keys}). Give the file of a Jacobian lens, not a checkpoint of its fit."
        )
    return candidates[0]


def _mappings(found: Any, top: Any, deep: int = 3) -> list[dict[int, Any]]:
    """Every mapping from layers to matrices in what was read, level by level; what stands in several places is looked at once."""
    level, seen, made = [found], {id(found)}, []
    for left in range(deep, -1, -1):
        below: list[Any] = []
        for one in level:
            mapping = _stack(one, top) or (_layered(one) if left else None)
            if mapping:
                made.append(mapping)
            elif isinstance(one, Mapping):
                new = {id(value): value for value in one.values() if id(value) not in seen}
                seen |= new.keys()
                below += new.values()
        level = below
    return made


def _stack(found: Any, top: Any) -> dict[int, Any] | None:
    """[layer, d, d] with the list of its layers."""
    said = top.get("source_layers") if isinstance(top, Mapping) else None
    if not isinstance(said, list | tuple) or not _is_tensor(found, 3) or len(said) != len(found):
        return None
    layers = [_layer(one) for one in said]
    return {n: found[at] for at, n in enumerate(layers) if n is not None} if len({*layers} - {None}) == len(said) else None


def _layered(found: Any) -> dict[int, Any] | None:
    """A matrix a layer, in the layers' order."""
    if not isinstance(found, Mapping) or not all(_is_tensor(value, 2) for value in found.values()):
        return None
    layers = {_layer(key): value for key, value in found.items()}
    if None in layers or len(layers) != len(found):
        return None
    return dict(sorted((layer, value) for layer, value in layers.items() if layer is not None))


def _layer(key: Any) -> int | None:
    """0, "0", "layer_0", "L0.post", "layers.0": a layer's number."""
    if isinstance(key, int) and not isinstance(key, bool):
        return key if 0 <= key < _MOST else None
    said = re.fullmatch(r"(?:(?:layers?|L|J)[._-]?)?(\d{1,5})(?:\.post)?", key) if isinstance(key, str) else None
    return int(said[1]) if said else None


def _is_tensor(value: Any, ndim: int) -> bool:
    import torch

    plain = isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_meta
    return bool(plain and value.dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16) and value.ndim == ndim)


def _array(tensor: Any) -> np.ndarray:
    found: np.ndarray = tensor.detach().float().numpy()
    return np.array(found)


# --- the tuned lens


def _tuned(file: Path, held: Any, beside: Callable[[str], Path | None]) -> Stored | None:
    """`{i}.weight` and `{i}.bias`: h + W h + b of the input of layer i; None where the file holds something else."""
    if not isinstance(held, Mapping):
        return None
    parts = {re.fullmatch(r"(?:layer_translators\.)?(\d{1,5})\.(weight|bias)", str(key)): key for key in held}
    named = {(int(m[1]), m[2]): held[key] for m, key in parts.items() if m is not None}
    weights = {i: tensor for (i, what), tensor in named.items() if what == "weight"}
    if not weights:
        return None
    wrong = [(i, what) for (i, what), tensor in named.items() if not _is_tensor(tensor, 2 if what == "weight" else 1)]
    if wrong:
        raise BadLens(f"'{file.name}' is no tuned lens: {wrong[0][0]}.{wrong[0][1]} is no plain tensor of floats of its shape.")
    apart = [i for (i, what), tensor in named.items() if what == "bias" and (i not in weights or len(tensor) != len(weights[i]))]
    if apart:
        raise BadLens(f"'{file.name}' is no tuned lens: {apart[0]}.bias is not as long as its matrix is wide.")
    config = _config(beside("config.json"))
    d_model, layers = config.get("d_model"), config.get("num_hidden_layers")
    widths = {tuple(tensor.shape) for tensor in weights.values()}
    if isinstance(d_model, int) and widths != {(d_model, d_model)}:
        raise BadLens(
            f"The config.json beside '{file.name}' says that it is {d_model} wide, and its matrices are {sorted(widths)}."
        )

    def matrix(row: str) -> np.ndarray:
        found = _array(weights[_translator(row)])
        found[np.arange(len(found)), np.arange(len(found))] += 1  # it adds to what it reads
        return found

    def bias(row: str) -> np.ndarray | None:
        tensor = named.get((_translator(row), "bias"))
        return None if tensor is None else _array(tensor)

    return Stored(
        kind="tuned",
        shapes={("embed" if i == 0 else f"L{i - 1}.post"): tuple(tensor.shape) for i, tensor in sorted(weights.items())},
        matrix=matrix,
        bias=bias,
        n_layers=layers if isinstance(layers, int) else max(weights) + 1,
        model=_said(config, "base_model_name_or_path"),
        revision=_said(config, "base_model_revision"),
    )


def _translator(row: str) -> int:
    """Which of them reads a row: number i reads the input of layer i."""
    return 0 if row == "embed" else int(row[1:].split(".")[0]) + 1


def _config(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        if file.stat().st_size > _HEADER_BYTES:
            raise ValueError("it is too long")
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadLens(f"The config.json beside the lens can't be read ({str(error)[:200]}). Fetch it again.") from error
    return said if isinstance(said, dict) else {}
