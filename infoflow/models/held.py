"""A module that others hold too: one lock for all who wrap it, and the state that a run needs, given back after it."""

import contextlib
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import torch

from infoflow.errors import UnsupportedModel
from infoflow.models.transformers_names import attention_of
from infoflow.turns import Turns

_turns: "weakref.WeakKeyDictionary[torch.nn.Module, Turns]" = weakref.WeakKeyDictionary()
_making = threading.Lock()


def turns_of(hf_model: Any) -> Turns:
    """Whose turn it is with a module, and its lock; the same for all who wrap it: two traces of one module at once would disturb
    each other."""
    with _making:
        return _turns.setdefault(hf_model, Turns(threading.RLock()))


def shapes_of(hf_model: Any) -> tuple[tuple[int, ...], ...]:
    """Of every parameter: what was read off a model holds while these do."""
    return tuple(tuple(p.shape) for p in hf_model.parameters())


@contextlib.contextmanager
def as_analysed(hf_model: Any, shapes: tuple[tuple[int, ...], ...]) -> Iterator[None]:
    """Inside, the module runs without dropout and with attention that gives its pattern; after it, as it was before.

    Raises:
        UnsupportedModel: its parameters are not those that it had when it was wrapped.
    """
    if shapes_of(hf_model) != shapes:
        raise UnsupportedModel(
            "The model has been changed since it was wrapped: resized, or layers or adapters put in or taken out. Wrap it again."
        )
    learning = [module for module in hf_model.modules() if module.training]
    attention = attention_of(hf_model.config)
    for module in learning:
        module.training = False
    try:
        if attention != "eager":
            hf_model.set_attn_implementation("eager")  # the others return no pattern
        yield
    finally:
        for module in learning:
            module.training = True
        if attention != "eager":
            hf_model.set_attn_implementation(attention)
