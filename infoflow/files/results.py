"""Any result as plain values and plain arrays, and back, checked: nothing is unpickled, and no class is named that is no result.

Fields go by their declared types. An array stands in the values as {"array": name}; all arrays of one result must have the
shapes that its fields' axes say, the same axis as long everywhere.
"""

import math
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from jaxtyping import jaxtyped

from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Request, from_dict, known
from infoflow.analyses.result import Result
from infoflow.errors import BadFile, InfoflowError
from infoflow.files.arrays import Arrays, from_half, in_a_line, lower_half

ARRAY = "array"
DEEPEST = 40
"""levels of values in values: a result has fewer than ten"""
_NUMBERS = "biuf"
"""kinds of arrays that hold numbers"""
_MAY_LACK = (
    "scores", "effect", "runs.against", "clean.against", "corrupted.against", "runs.log_probability", "runs.rank", "runs.kl",
)  # fmt: skip
"""arrays in which some entries are no number: of heads that have nothing to be scored by, of keys that a query can't see, of
sources that were not removed, of a sweep's outcomes where there is no rival or logits alone are estimated"""


@cache
def kinds() -> dict[str, type[Any]]:
    """Every result of a request, by the name of its class; what is made of results, or of a data set, is made of them again."""
    known()  # which imports them all

    def below(kind: type[Any]) -> Iterator[type[Any]]:
        for child in kind.__subclasses__():
            yield from (child, *below(child))

    rooms = ("infoflow.analyses.", "infoflow.studies.")
    found = {kind.__name__: kind for kind in below(Result) if is_dataclass(kind) and kind.__module__.startswith(rooms)}
    return {name: kind for name, kind in found.items() if _hints(kind).get("provenance") is Provenance}


def check_kind(result: Any) -> None:
    """That something is a result of a request.

    Raises:
        BadFile: it is not.
    """
    if type(result).__name__ not in kinds():
        raise BadFile(f"A {type(result).__name__} can't be kept. Keep the results that it was made of.")


def pack(result: Any) -> tuple[dict[str, Any], Arrays]:
    """A result as plain values, and its arrays by the names that they have there.

    Raises:
        BadFile: values that are no numbers, or no result of a request: a comparison is made again of the two that it is of.
    """
    check_kind(result)
    arrays: Arrays = {}
    return {"kind": type(result).__name__, "values": _packed(result, "", arrays)}, arrays


def unpack(plain: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The result that `pack` took apart.

    Raises:
        BadFile: no such result, or a value or an array that is none of its field; it is named.
    """
    if not isinstance(plain, dict) or plain.keys() != {"kind", "values"}:
        raise BadFile("It holds something that is no result.")
    kind = kinds().get(str(plain["kind"]))
    if kind is None:
        raise BadFile(f"It holds a result of a kind that is not known here, '{in_a_line(plain['kind'])}'. Update infoflow.")
    return _unpacked(kind, plain["values"], kind.__name__, arrays, 0)


def _packed(value: Any, where: str, arrays: Arrays) -> Any:
    if isinstance(value, Provenance):
        return value.to_dict()
    if isinstance(value, Request):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        _check_numbers(value, where, where, "can't be kept")
        arrays[where] = lower_half(value) if _is_gram(where) else value
        return {ARRAY: where}
    if is_dataclass(value) and not isinstance(value, type):
        dot = f"{where}." if where else ""
        return {f.name: _packed(getattr(value, f.name), f"{dot}{f.name}", arrays) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): _packed(item, f"{where}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_packed(item, f"{where}.{place}", arrays) for place, item in enumerate(value)]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        raise BadFile(f"Its {where} is {value}, which is no number, so that it can't be kept.")
    return _packed(value.item(), where, arrays) if isinstance(value, np.generic) else value


def _unpacked(hint: Any, value: Any, where: str, arrays: Mapping[str, np.ndarray], depth: int) -> Any:
    """A value of a declared type."""
    if depth > DEEPEST:
        raise BadFile(f"Its {where} is nested too deep.")
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _first_that_fits(get_args(hint), value, where, arrays, depth)
    if _is_array(hint):
        return _array(hint, value, where, arrays)
    if hint is Provenance:
        return _provenance(value, where)
    if isinstance(hint, type) and is_dataclass(hint):
        return _dataclass(hint, value, where, arrays, depth)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint, value, where)
    if origin is tuple:
        return _tuple(get_args(hint), value, where, arrays, depth)
    if origin is dict:
        return _dict(get_args(hint), value, where, arrays, depth)
    return _plain(hint, value, where)


def _first_that_fits(hints: tuple[Any, ...], value: Any, where: str, arrays: Mapping[str, np.ndarray], depth: int) -> Any:
    for hint in hints:
        try:
            return _unpacked(hint, value, where, arrays, depth + 1)
        except BadFile:
            continue
    raise BadFile(f"Its {where} is {in_a_line(value)}, which it can't be.")


def _is_array(hint: Any) -> bool:
    return hint is np.ndarray or isinstance(hint, type) and getattr(hint, "array_type", None) is np.ndarray


def _array(hint: Any, value: Any, where: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    if not isinstance(value, dict) or value.keys() != {ARRAY} or not isinstance(value[ARRAY], str):
        raise BadFile(f"Its {where} is no array.")
    found = arrays.get(value[ARRAY])
    if found is None:
        raise BadFile(f"The array '{in_a_line(value[ARRAY])}' is missing, which its {where} is.")
    if found.dtype.kind not in _NUMBERS:
        raise BadFile(f"The array '{in_a_line(value[ARRAY])}' holds no numbers.")
    if _is_gram(value[ARRAY]):
        found = from_half(found)
    _check_numbers(found, value[ARRAY], where, "is refused")
    if found.dtype == np.float16:  # kept small; computed with as everything else
        found = found.astype(np.float32)
    if not isinstance(found, hint):
        wanted = getattr(hint, "__name__", "an array")
        raise BadFile(f"Its {where} has the shape {found.shape} of {found.dtype}, which is no {wanted}.")
    return found


def _dataclass(kind: Any, value: Any, where: str, arrays: Mapping[str, np.ndarray], depth: int) -> Any:
    if not isinstance(value, dict):
        raise BadFile(f"Its {where} is no {kind.__name__}.")
    hints, named = _hints(kind), {f.name: f for f in fields(kind)}
    unknown = value.keys() - named.keys()
    if unknown:
        raise BadFile(f"Its {where} has a field that is not known here, '{in_a_line(min(unknown))}'. Update infoflow.")
    with jaxtyped("context"):  # an axis is as long in all of its arrays
        made = {name: _unpacked(hints[name], item, f"{where}.{name}", arrays, depth + 1) for name, item in value.items()}
    try:
        return kind(**made)
    except (TypeError, ValueError, InfoflowError) as error:
        raise BadFile(f"Its {where} can't be put together ({in_a_line(error)}).") from None


def _enum(kind: type[Enum], value: Any, where: str) -> Enum:
    try:
        return kind(value)
    except ValueError:
        raise BadFile(f"Its {where} is {in_a_line(value)}; it can be {', '.join(str(k.value) for k in kind)}.") from None


def _tuple(hints: tuple[Any, ...], value: Any, where: str, arrays: Mapping[str, np.ndarray], depth: int) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise BadFile(f"Its {where} is no list.")
    of_each: Callable[[int], Any] = (lambda place: hints[0]) if hints[-1] is Ellipsis else lambda place: hints[place]
    if hints[-1] is not Ellipsis and len(value) != len(hints):
        raise BadFile(f"Its {where} has {len(value)} values instead of {len(hints)}.")
    return tuple(_unpacked(of_each(place), item, f"{where}.{place}", arrays, depth + 1) for place, item in enumerate(value))


def _dict(hints: tuple[Any, ...], value: Any, where: str, arrays: Mapping[str, np.ndarray], depth: int) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise BadFile(f"Its {where} has no names.")
    try:
        keys = {key: int(key) if hints[0] is int else key for key in value}
    except ValueError:
        raise BadFile(f"Its {where} has a name that is no number.") from None
    return {keys[key]: _unpacked(hints[1], item, f"{where}.{in_a_line(key)}", arrays, depth + 1) for key, item in value.items()}


def _plain(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:  # an integer may be larger
        return float(value)
    if hint is bytes and isinstance(value, str):
        return _of_hex(value, where)
    if hint is type(None) and value is None or type(value) is hint and hint in (int, str, bool):
        return as_text(value, where) if isinstance(value, str) else value
    if get_origin(hint) is typing.Literal and value in get_args(hint):
        return value
    raise BadFile(f"Its {where} is {in_a_line(value)}, which is no {getattr(hint, '__name__', hint)}.")


def _of_hex(value: str, where: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise BadFile(f"Its {where} is {in_a_line(value)}, which are no bytes.") from None


def _check_numbers(array: np.ndarray, name: str, where: str, what: str) -> None:
    """That an array holds numbers, but for those that may lack some."""
    if array.dtype.kind == "f" and not any(name == one or name.endswith(f".{one}") for one in _MAY_LACK):
        bad = int((~np.isfinite(array)).sum())
        if bad:
            raise BadFile(f"{bad} of {array.size} values of its {where} are no numbers (NaN or infinite), so that it {what}.")


def as_text(value: str, where: str) -> str:
    """A text that can be written anywhere.

    Raises:
        BadFile: half a character of two halves, which no file can hold.
    """
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadFile(f"Its {where} holds half a character, which is no text.") from None
    return value


def _provenance(value: Any, where: str) -> Provenance:
    if not isinstance(value, dict) or not isinstance(value.get("request"), dict):
        raise BadFile(f"Its {where} does not say what was run.")
    given = {name: item for name, item in value.items() if name not in ("model", "revision", "prompt", "request")}
    hints = _hints(Provenance)
    unknown = given.keys() - hints.keys()
    if unknown:
        raise BadFile(f"Its {where} has a field that is not known here, '{in_a_line(min(unknown))}'. Update infoflow.")
    made = {name: _unpacked(hints[name], item, f"{where}.{name}", {}, 1) for name, item in given.items()}
    missing = {"dtype"} - made.keys()
    if missing:
        raise BadFile(f"Its {where} does not say its {min(missing)}.")
    return Provenance(request=request_of(value["request"], where), **made)


def request_of(value: Any, where: str) -> Request[Any]:
    """A request of a file, checked.

    Raises:
        BadFile: it is none.
    """
    if not isinstance(value, dict):
        raise BadFile(f"Its {where} is no request.")
    try:
        found = from_dict(value)
        as_text(found.key, where)
    except (InfoflowError, TypeError, ValueError, RecursionError) as error:
        raise BadFile(f"Its {where} is no request ({in_a_line(error)}).") from None
    return found


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is not typing.ClassVar}


def _is_gram(name: str) -> bool:
    """Whether these are Gram matrices, which are symmetric: half of each is kept."""
    return name.rpartition(".")[2] == "gram"
