"""Models by name: bundled, from a folder, from the hub, or as the service hosts them; and those you already hold."""

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from nnsight import TransformersModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from infoflow.errors import InfoflowError, TooLarge, UnsupportedModel
from infoflow.models import devices, gguf, hub, memory, progress, reading, smollm2
from infoflow.models.account import ACCOUNT
from infoflow.models.catalog import DEMO, SMOLLM2
from infoflow.models.fingerprint import fingerprint, of_module
from infoflow.models.layouts import rows_that_fit
from infoflow.models.model import Model
from infoflow.models.spec import ModelSpec
from infoflow.models.transformers_names import name_of
from infoflow.ndif import service
from infoflow.ndif.nnsight_names import module_of, name_there
from infoflow.text.amounts import in_words


def wrap_model(hf_model: Any, tokenizer: Any, name: str = "", revision: str = "") -> Model:
    """A transformers model you already hold, ready for the analyses. It stays as it is: a run switches
    dropout off and attention to eager for its time alone.

    Raises:
        UnsupportedModel: a family without a row in `architectures.py`.
    """
    name = name or name_of(hf_model.config) or type(hf_model).__name__
    return Model(hf_model, tokenizer, name, revision or f"in memory {of_module(hf_model)}".strip())


def load_model(
    name: str = "demo",
    revision: str | None = None,
    remote: bool = False,
    host: str | None = None,
    key: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    folders: bool = True,
    on_progress: Callable[[str, float], None] | None = None,
) -> Model:
    """Load a model by name: "demo", "smollm2", a local folder or GGUF file, or a name on the Hugging Face hub (`owner/model`,
    `owner/model@revision`, `owner/model:file.gguf`). Weights of a GGUF file are dequantised once and kept in the cache.

    `device` is "auto" (the fastest that can be trusted) or one of `devices.available()`; `dtype`, how the weights are
    held, "auto" (bfloat16 on a GPU that has it, float32 elsewhere and for the bundled model), "float32", "bfloat16" or
    "float16". `folders=False` reads nothing but the bundled model and the hub. `on_progress(doing, fraction)` is called
    while files are fetched and weights are read; raising in it stops that.

    `remote=True` takes a hub model as NDIF hosts it: its configuration and tokenizer are read here, every analysis runs
    there. `host` and `key` default to NDIF_HOST (else the public service) and NDIF_API_KEY.

    Raises:
        UnsupportedModel: unknown name, a folder that is no model, a family that is not supported, a device that is not there.
        TooLarge: weights that do not fit in the memory that is free.
        RemoteRunError: a host that is no address.
    """
    told = on_progress or (lambda doing, fraction: None)
    if remote:
        return _hosted(_asked(name, revision, folders), host, key, told)
    return read(resolve(ModelSpec(name=name, revision=revision or "", device=device, dtype=dtype), folders, told), told)


@dataclass(frozen=True)
class Resolved:
    """What a name stands for: two that are the same weights on the same device have the same `weights`."""

    spec: ModelSpec
    """the commit or the weights' fingerprint, the device, the type: nothing is left open"""
    folder: Path | None
    """the local one, if it is one"""

    @property
    def weights(self) -> ModelSpec:
        """The same for every spelling of a folder."""
        return replace(self.spec, name=str(self.folder.resolve())) if self.folder else self.spec


def resolve(spec: ModelSpec, folders: bool = True, on_progress: Callable[[str, float], None] | None = None) -> Resolved:
    """What a model's name stands for now, before its weights are read; of the hub, the configuration is fetched.

    Raises:
        UnsupportedModel: as `load_model`.
    """
    asked = _asked(spec.name, spec.revision or None, folders)
    name, folder, file = asked.name, asked.folder, asked.file
    place = devices.choose(spec.device)
    torch_dtype = torch.float32 if name == "demo" and spec.dtype == "auto" else devices.dtype_of(spec.dtype, place)
    with _in_words(name):
        if asked.gguf:
            file = hub.fetch_file(*asked.gguf, asked.revision, on_progress)
        if file:
            folder, commit = gguf.in_folder(file, on_progress)
        elif folder:
            commit = fingerprint(folder, on_progress)
        else:
            accept = functools.partial(_accept, replace(spec, name=name, device=place, dtype=_named(torch_dtype)), None)
            commit = hub.fetch(name, asked.revision, False, accept, on_progress).commit
    return Resolved(ModelSpec(name=name, revision=commit, device=place, dtype=_named(torch_dtype)), folder)


@functools.cache
def libraries_stay() -> None:
    """Import all that reading a model will need, and leave it out of every later look for what nobody holds, once for a process
    that serves others. Streamlit looks after each run of a page; with torch and transformers to go through that takes a third
    of a second, in which no thread does anything else. Models come later: they are found when they are given up."""
    from transformers import PreTrainedModel  # noqa: F401  it brings most of what the first model would

    gc.collect()
    gc.freeze()


def read(found: Resolved, told: Callable[[str, float], None]) -> Model:
    """The model that was found, its weights read into memory.

    Raises:
        InfoflowError: as `load_model`.
    """
    spec = found.spec
    place = spec.device
    devices.no_more_threads_than_cores()
    with _in_words(spec.name):
        accept = functools.partial(_accept, spec, found.folder)  # refuse before anything large is downloaded or read
        folder = found.folder or hub.fetch(spec.name, spec.revision, True, accept, told).folder
        needed = accept(folder)  # it may have been here already
        through = min(place, "cpu", key=memory.free)  # they go through this machine's memory on their way
        with ACCOUNT.reserved(needed, through, told), progress.told_to(told), memory.told_when_out(through):
            _check_room(spec, needed, memory.free(through), through)
            told("Reading the weights", 0.0)
            hf_model: Any = reading.weights(str(folder), spec.name, dtype=devices.dtype_of(spec.dtype, place))
            hf_model.requires_grad_(False)  # gradients flow to embeddings alone; weights' would cost memory
            hf_model.to(place)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = Model(hf_model, tokenizer, spec.name, spec.revision)
    model.stored = gguf.stored_as(folder)
    return model


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class _Asked:
    """What a name names: a folder, a GGUF file, one on the hub, or a model there."""

    name: str
    folder: Path | None = None
    file: Path | None = None
    gguf: tuple[str, str] | None = None
    """a model's name on the hub and a file of it"""
    revision: str | None = None


def _asked(name: str, revision: str | None, folders: bool) -> _Asked:
    """What is meant by a name.

    Raises:
        UnsupportedModel: neither a folder, nor a file, nor a name that the hub could have.
    """
    name = name.strip()
    if not name:
        raise UnsupportedModel("No model was named. Use 'demo', a local folder, or a name on the Hugging Face hub.")
    if name == SMOLLM2:
        return _Asked(name, file=smollm2.here())
    folder = _folder_of(name) if folders or name == "demo" else None
    if folder:
        return _Asked(name, folder=folder, revision=revision)
    local = Path(name).expanduser()
    if folders and name.endswith(".gguf") and local.is_file():
        return _Asked(name, file=local)
    repository, colon, in_it = name.partition(":")
    hub_name, in_name = hub.split_revision(repository)
    if revision and in_name and revision != in_name and hub.is_name(hub_name):
        raise UnsupportedModel(f"'{name}' names revision {in_name}, and {revision} is asked for as well. Give one of them.")
    if hub.is_name(hub_name) and colon and in_it.endswith(".gguf"):
        return _Asked(name, gguf=(hub_name, in_it), revision=revision or in_name)
    if not hub.is_name(hub_name) or colon:
        what = "no such file" if name.endswith(".gguf") else f"no folder '{name}'"
        where = f"There is {what}. Check the path, or give" if folders else "Give"
        raise UnsupportedModel(f"{where} a name on the hub such as 'Qwen/Qwen3-0.6B'.")
    return _Asked(hub_name, revision=revision or in_name)


def _accept(spec: ModelSpec, folder: Path | None, files: Path) -> int:
    """Bytes of the weights whose configuration lies in `files`; what can't be used is refused."""
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(reading.config_of(str(files)))
    rows_that_fit(empty)
    if folder:
        hub.weight_files(folder, {f.name: 0 for f in folder.iterdir()}, spec.name)
    needed = int(empty.num_parameters() * devices.dtype_of(spec.dtype, spec.device).itemsize)
    through = min(spec.device, "cpu", key=memory.free)
    _check_room(spec, needed, ACCOUNT.obtainable(through), through)
    return needed


def load(
    spec: ModelSpec, key: str | None = None, folders: bool = True, on_progress: Callable[[str, float], None] | None = None
) -> Model:
    """The model that a request names; `load_model` says the rest."""
    return load_model(
        spec.name, spec.revision or None, spec.hosted, spec.host or None, key, spec.device, spec.dtype, folders, on_progress
    )


def _folder_of(name: str) -> Path | None:
    """The local folder that a name stands for, if any.

    Raises:
        UnsupportedModel: a folder that holds no model.
    """
    folder = DEMO if name == "demo" else Path(name).expanduser()
    if not folder.is_dir():
        return None
    if (folder / "adapter_config.json").is_file():
        raise UnsupportedModel(
            f"The folder '{name}' holds an adapter (LoRA), which would be left out. Merge it into its model first "
            "(merge_and_unload of peft, then save_pretrained), and choose the merged one."
        )
    if not (folder / "config.json").is_file():
        raise UnsupportedModel(
            f"The folder '{name}' is no model: it has no config.json. Choose a folder made by save_pretrained."
        )
    return folder


def _check_room(spec: ModelSpec, needed: int, free: int, device: str) -> None:
    """Refuse weights that do not fit: reading them would end the process, and every visitor's work with it."""
    if needed > free:
        smaller = (
            " Hold them as bfloat16 (half of it), or choose" if spec.dtype == "float32" and needed // 2 < free else " Choose"
        )
        raise TooLarge(
            f"The weights of '{spec.name}' take {in_words(needed)} as {spec.dtype}; {in_words(free)} are free on {device}."
            f"{smaller} a smaller model, unload another, or run it on NDIF."
        )


@contextlib.contextmanager
def _in_words(name: str) -> Iterator[None]:
    """What transformers raises when it can't read a model, as a sentence."""
    try:
        yield
    except InfoflowError:
        raise
    except Exception as error:  # noqa: BLE001  configurations can be wrong in any way; transformers then fails in any way
        if memory.ran_out(error):
            raise
        raise UnsupportedModel(
            f"'{name}' can't be loaded: {_reason(error)} Only models of transformers with safetensors weights are read."
        ) from error


def _reason(error: Exception) -> str:
    """What transformers says, in its first line that says something; with the kind of error where that is all there is to it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0] if lines else ""
    if len(lines) > 1 and said.endswith(":"):  # "Validation error for field 'x':"
        said = f"{said} {lines[1]}"
    kind = type(error).__name__
    reason = said if isinstance(error, OSError | ValueError) and said else f"{kind}: {said}" if said else kind
    return reason[:300].rstrip(".") + "."


def _hosted(asked: _Asked, host: str | None, key: str | None, told: Callable[[str, float], None]) -> Model:
    """A model that the service runs: modules without weights, and the tokenizer. Its revision is what the service says."""
    to, name, folder, revision = service.connection(host, key), asked.name, asked.folder, asked.revision
    if name == "demo":
        raise UnsupportedModel("The bundled model is not on the service; it runs here. Choose a model of the hub for there.")
    if asked.file or asked.gguf:
        raise UnsupportedModel(f"'{name}' is a GGUF file, which runs here. Choose a model of the hub for the service.")
    found = hub.Fetched(folder, "local") if folder else hub.fetch(name, revision, weights=False, on_progress=told)
    with _in_words(name):
        tokenizer = AutoTokenizer.from_pretrained(found.folder, trust_remote_code=False)
        traced = TransformersModel(
            name, task="text-generation", tokenizer=tokenizer, attn_implementation="eager", revision=revision, dispatch=False
        )
    known_as = name_there(name, lambda: name if folder else hub.canonical(name))
    return Model(module_of(traced), tokenizer, name, service.revision_there(to, known_as), to, traced)
