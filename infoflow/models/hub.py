"""The Hugging Face hub: what is there, and a model's files brought here, with progress and a stop that works.

Only what a model needs is fetched: configuration, tokenizer, and safetensors weights. Pickled weights (.bin) never are.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2  # what huggingface_hub speaks through
import huggingface_hub
from huggingface_hub import errors, utils

from infoflow.errors import UnsupportedModel
from infoflow.models import hub_names
from infoflow.models.hub_names import plain_downloads
from infoflow.settings import settings
from infoflow.text.amounts import in_words

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SMALL = (".json", ".txt", ".model", ".jinja", ".tiktoken")
_PATIENCE = 10.0


@dataclass(frozen=True)
class Fetched:
    """A model's files on this machine."""

    folder: Path
    commit: str


@dataclass(frozen=True)
class Found:
    """One model of a search."""

    name: str
    family: str
    parameters: int
    """in millions; 0 where the hub does not say"""
    gated: bool
    downloads: int


def split_revision(name: str) -> tuple[str, str | None]:
    """`owner/model@revision` as its two parts."""
    repository, at, revision = name.partition("@")
    return (repository, revision or None) if at else (name, None)


def is_name(name: str) -> bool:
    """Whether a text can be a model's name on the hub."""
    try:
        utils.validate_repo_id(split_revision(name)[0])
    except errors.HFValidationError:
        return False
    return True


def canonical(name: str) -> str:
    """A model's name as the hub spells it; as it is given where the hub does not say."""
    try:
        return str(huggingface_hub.HfApi().model_info(name, timeout=_PATIENCE).id)
    except (OSError, httpx2.HTTPError):
        return name


def search(text: str, most: int = 20) -> list[Found]:
    """Text-generation models with safetensors weights whose name holds `text`, the most downloaded first.

    Raises:
        UnsupportedModel: the hub can't be reached.
    """
    asked: Any = {
        "search": text, "pipeline_tag": "text-generation", "filter": "safetensors", "sort": "downloads", "limit": most,
        "expand": ["downloads", "gated", "safetensors", "config"],
    }  # fmt: skip
    try:  # not through the hub's own library, whose searches have no limit of time
        answer = httpx2.get(
            f"{hub_names.address()}/api/models", params=asked, headers=utils.build_hf_headers(), timeout=_PATIENCE
        )
        answer.raise_for_status()
        listed = [huggingface_hub.ModelInfo(**model) for model in answer.json()]
    except (OSError, ValueError, httpx2.HTTPError) as error:
        raise UnsupportedModel(
            f"{_hub()} can't be searched from here now. Type a name, or use what is on this machine."
        ) from error
    return [
        Found(
            m.id,
            str((m.config or {}).get("model_type", "")),
            round((m.safetensors.total if m.safetensors else 0) / 1e6),
            bool(m.gated),
            int(m.downloads or 0),
        )
        for m in listed
    ]


def fetch(
    name: str,
    revision: str | None = None,
    weights: bool = True,
    accept: Callable[[Path], Any] | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Fetched:
    """A model's files: those already here if they are complete, else from the hub.

    `accept(folder)` is called when the configuration is here and before anything large is fetched; it may refuse by
    raising. `on_progress(doing, fraction)` is called for every block; raising in it stops the download, whose finished
    files are kept.

    Raises:
        UnsupportedModel: no such model or revision, gated, no safetensors weights, no room on the disk, no connection.
    """
    here = _cached(name, revision, weights)
    if here is not None:
        return here
    api = huggingface_hub.HfApi()
    try:
        listed = api.model_info(name, revision=revision, files_metadata=True, timeout=_PATIENCE)
        sizes = {f.rfilename: int(f.size or 0) for f in listed.siblings or []}
        small = sorted(f for f in sizes if "/" not in f and f.endswith(_SMALL) and not f.endswith(".bin.index.json"))
        if "config.json" not in sizes:
            raise UnsupportedModel(
                f"'{name}' has no config.json on the hub, so transformers can't read it. Choose another model."
            )
        folder = Path(api.hf_hub_download(name, "config.json", revision=revision)).parent
        commit = folder.name  # the branch as it is now: all files are of one commit

        def get(file: str, bar: Any) -> None:
            with plain_downloads():
                api.hf_hub_download(name, file, revision=commit, tqdm_class=bar)

        if accept is not None:
            accept(folder)
        for file in small:
            get(file, _reporter(on_progress, "Downloading the tokenizer", 0, 0))
        if weights:
            wanted = weight_files(folder, sizes, name)
            total = sum(sizes[f] for f in wanted)
            _check_disk(total, name)
            done = 0
            for file in wanted:
                get(file, _reporter(on_progress, "Downloading", done, total))
                done += sizes[file]
    except (OSError, httpx2.HTTPError) as error:
        raise _in_words(name, revision, error) from error
    return Fetched(folder, commit)


def fetch_file(
    name: str, file: str, revision: str | None = None, on_progress: Callable[[str, float], None] | None = None
) -> Path:
    """One file of a model: the one already here, else from the hub. `on_progress` may stop it by raising.

    Raises:
        UnsupportedModel: no such model, revision or file, gated, no room on the disk, no connection.
    """
    found = huggingface_hub.try_to_load_from_cache(name, file, revision=revision)
    if isinstance(found, str):
        return Path(found)
    api = huggingface_hub.HfApi()
    try:
        listed = api.model_info(name, revision=revision, files_metadata=True, timeout=_PATIENCE)
        sizes = {f.rfilename: int(f.size or 0) for f in listed.siblings or []}
        if file not in sizes:
            others = [f for f in sizes if f.endswith(".gguf")]
            there = f"It has: {', '.join(others[:5])}." if others else "It has no GGUF file at all."
            raise UnsupportedModel(f"'{name}' has no file '{file}' on the hub. {there}")
        _check_disk(sizes[file], name)
        with plain_downloads():
            bar = _reporter(on_progress, "Downloading", 0, sizes[file])
            return Path(api.hf_hub_download(name, file, revision=revision, tqdm_class=bar))
    except (OSError, httpx2.HTTPError) as error:
        raise _in_words(name, revision, error) from error


def fetch_part(
    name: str,
    file: str,
    revision: str | None = None,
    kind: str = "model",
    on_progress: Callable[[str, float], None] | None = None,
    most: int | None = None,
) -> Path:
    """One file of a repository of any kind ("model", "space", "dataset"): the one already here, else from the hub if it is no
    larger than `most` bytes. `on_progress` may stop it by raising.

    Raises:
        UnsupportedModel: no such repository, revision or file, gated, larger, no room on the disk, no connection.
    """
    try:
        there = huggingface_hub.hf_hub_download(name, file, revision=revision, repo_type=kind, dry_run=True)
        size = int(there.file_size or 0) if there.will_download else 0
        if most is not None and size > most:
            raise UnsupportedModel(
                f"'{name}/{file}' is {in_words(size)} to download; what is looked for takes {in_words(most)} at most. Check it."
            )
        _check_disk(size, name)
        bar = _reporter(on_progress, f"Downloading {file.rpartition('/')[2]}", 0, size)
        with plain_downloads():
            return Path(huggingface_hub.hf_hub_download(name, file, revision=revision, repo_type=kind, tqdm_class=bar))
    except errors.LocalEntryNotFoundError as error:
        raise UnsupportedModel(f"'{name}/{file}' is not here, and {_hub()} can't be reached. Use a local file.") from error
    except errors.EntryNotFoundError as error:
        raise UnsupportedModel(f"'{name}' has no file '{file}' on the hub. Check the path.") from error
    except (errors.RevisionNotFoundError, errors.GatedRepoError) as error:
        raise _in_words(name, revision, error) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise UnsupportedModel(f"There is no {kind} '{name}' on the hub. Check the spelling.") from error
    except ValueError as error:  # no name of a file
        raise UnsupportedModel(f"'{name}' can have no such file on the hub ({error}). Check the path.") from error
    except (OSError, httpx2.HTTPError) as error:
        raise _in_words(name, revision, error) from error


def weight_files(folder: Path, sizes: dict[str, int], name: str) -> list[str]:
    """The safetensors files that transformers reads, among `sizes`; `folder` holds the index where there are several.

    Raises:
        UnsupportedModel: there are none.
    """
    if (folder / _INDEX).is_file():
        return sorted(set(json.loads((folder / _INDEX).read_text())["weight_map"].values()))
    if _WEIGHTS in sizes:
        return [_WEIGHTS]
    raise UnsupportedModel(
        f"'{name}' has no safetensors weights. Pickled ones (.bin) can run code when they are read, so they are not loaded; "
        "choose a revision or a copy with safetensors."
    )


def _cached(name: str, revision: str | None, weights: bool) -> Fetched | None:
    """What is here of a model if it is all that is needed: weights come last, so that they stand for the rest."""
    try:
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, ValueError):
        return None
    if not (folder / "config.json").is_file() or not any(folder.glob("tokenizer*")):
        return None
    if weights:
        try:
            files = weight_files(folder, {f.name: 0 for f in folder.iterdir()}, name)
        except (UnsupportedModel, OSError):
            return None
        if not all((folder / f).is_file() for f in files):
            return None
    return Fetched(folder, folder.name)


def is_here(name: str) -> bool:
    """Whether all that a model needs was downloaded before; nothing is fetched."""
    return _cached(name, None, weights=True) is not None


def _check_disk(size: int, name: str) -> None:
    where = Path(hub_names.cache_folder())
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free
    if size > free:
        raise UnsupportedModel(f"'{name}' is {in_words(size)} to download; the disk has {in_words(free)} left. Make room first.")


def _reporter(on_progress: Callable[[str, float], None] | None, doing: str, before: int, total: int) -> Any:
    """A class that stands where the hub's library wants a progress bar, for one file."""

    class Reporter:
        def __init__(self, *args: Any, initial: int = 0, **kwargs: Any) -> None:
            self.done = before + initial
            self.update(0)

        def update(self, n: int | None = 1) -> None:
            self.done += n or 0
            if on_progress is not None:
                amount = f" {in_words(self.done)} of {in_words(total)}" if total else ""
                on_progress(doing + amount, self.done / total if total else 0.0)

        def __enter__(self) -> "Reporter":
            return self

        def __exit__(self, *args: Any) -> None:
            pass

    return Reporter


def _hub() -> str:
    return "The Hugging Face hub" if hub_names.address() == "https://huggingface.co" else hub_names.address()


def _in_words(name: str, revision: str | None, error: Exception) -> UnsupportedModel:
    if isinstance(error, errors.GatedRepoError):
        return UnsupportedModel(
            f"'{name}' is gated. Open huggingface.co/{name}, accept its licence, make a read token at "
            "huggingface.co/settings/tokens, start the app with it in HF_TOKEN, and load the model again."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UnsupportedModel(f"'{name}' has no revision '{revision}'. Use a branch, a tag or a commit of it.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return UnsupportedModel(
            f"There is no model '{name}': it is no local folder, and the hub does not know it. Check the spelling."
        )
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        return UnsupportedModel(f"The hub did not give '{name}' out (answer {error.response.status_code}). Try again later.")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return UnsupportedModel(f"There is no local model '{name}', and HF_HUB_OFFLINE forbids asking the hub.")
    if isinstance(error, OSError) and "Consistency check" in str(error):
        return UnsupportedModel(f"A file of '{name}' did not arrive whole. Load it again.")
    or_folder = "" if settings().hosted else " or a local folder"
    return UnsupportedModel(f"There is no local model '{name}', and {_hub()} can't be reached from here. Use 'demo'{or_folder}.")
