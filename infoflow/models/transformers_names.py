"""What is used of transformers that it does not promise to keep, in one place.

`tests/models/test_adapters.py` fails when an upgrade moves any of it.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import gguf
from tqdm.auto import tqdm
from transformers import modeling_gguf_pytorch_utils
from transformers.utils import logging


def attention_of(config: Any) -> str:
    """Which implementation of attention a model of this config runs."""
    return str(getattr(config, "_attn_implementation", "eager"))


def name_of(config: Any) -> str:
    """Where a config was read from; '' where it was made by hand."""
    return str(getattr(config, "_name_or_path", "") or "")


@contextlib.contextmanager
def one_reader() -> Iterator[None]:
    """Inside, transformers parses a GGUF file once. It makes a reader for each of configuration, weights and tokenizer, and the
    parsing of a vocabulary of 50,000 takes some seconds."""
    home: Any = gguf
    make: Any = home.GGUFReader
    made: dict[Any, Any] = {}

    def reader(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path not in made:
            made[path] = make(path, *args, **kwargs)
        return made[path]

    home.GGUFReader = reader
    try:
        yield
    finally:
        home.GGUFReader = make


def tell_of_bars(hook: Callable[..., Any]) -> None:
    """Let `hook(make, args, kwargs)` make transformers' progress bars from now on."""
    logging.set_tqdm_hook(hook)
    modeling_gguf_pytorch_utils.tqdm = lambda *args, **kwargs: hook(tqdm, args, kwargs)  # which makes its bars by itself
