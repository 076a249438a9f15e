"""Arrays in files: plain .npz that opens in numpy, read with checks before anything is put into memory. Nothing is unpickled."""

import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from infoflow.errors import BadFile
from infoflow.text.amounts import in_words

Arrays = dict[str, np.ndarray]
MOST_MEMBERS = 50_000
"""of a zip, with those of the zips in it"""
_MEMBER = b"PK\x01\x02"
"""what a zip has before each name of its list"""
_TOO_LARGE = "It would take {} when unpacked, and {} are allowed: it is broken, made to do harm, or too large for here."
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, ValueError, EOFError, OverflowError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
"""what reading a broken zip raises; OverflowError for a place behind every file's end, RuntimeError for one with a password"""


def lower_half(gram: np.ndarray) -> np.ndarray:
    """Symmetric matrices in the last two axes as one axis with one half of each, the diagonal in it."""
    row, column = np.tril_indices(gram.shape[-1])
    return gram[..., row, column]


def from_half(lower: np.ndarray) -> np.ndarray:
    """The matrices of which `lower_half` took one half.

    Raises:
        BadFile: so many numbers are no half of a square.
    """
    size = lower.shape[-1] if lower.ndim else 0
    n = (math.isqrt(8 * size + 1) - 1) // 2
    if not lower.ndim or n * (n + 1) // 2 != size:
        raise BadFile(f"An array of the shape {lower.shape} holds no halves of square matrices.")
    row, column = np.tril_indices(n)
    gram = np.zeros((*lower.shape[:-1], n, n), dtype=lower.dtype)
    gram[..., row, column] = lower
    gram[..., column, row] = lower
    return gram


def as_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name as `numpy.load` reads them."""
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]  # names are names of arrays
    return out.getvalue()


def read_npz(data: bytes, most: int) -> Arrays:
    """What `as_npz` wrote, in no more than `most` bytes of memory.

    Raises:
        BadFile: it is broken, too large, or holds anything but arrays of numbers and texts.
    """
    with opened_zip(data) as stored:
        check_size(stored, most)
        return {info.filename.removesuffix(".npy"): _array(member(stored, info), info.filename) for info in stored.infolist()}


def opened_zip(data: bytes) -> zipfile.ZipFile:
    """A zip in memory.

    Raises:
        BadFile: it is none, or cut off.
    """
    if data.count(_MEMBER) > MOST_MEMBERS:  # each would be an object before anything could be asked of it
        raise BadFile(f"It has more than {MOST_MEMBERS:,} members. Such a file is broken, or made to do harm.")
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _BROKEN as error:
        raise BadFile(f"It is no zip file, or only a part of one ({in_a_line(error)}).") from None


def check_size(stored: zipfile.ZipFile, most: int) -> None:
    """That a zip's members are no more than `most` bytes together, as it says itself; `member` holds it to that.

    Raises:
        BadFile: they are, or a member is there twice.
    """
    members = stored.infolist()
    whole = sum(info.file_size for info in members)
    if whole > most:
        raise BadFile(_TOO_LARGE.format(in_words(whole), in_words(most)))
    if len({info.filename for info in members}) < len(members):
        raise BadFile("It has two members of one name.")


def member(stored: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """One member of a zip, no more of it than it is said to have.

    Raises:
        BadFile: it is broken, or longer.
    """
    try:
        with stored.open(info) as one:
            data = one.read(info.file_size + 1)
    except _BROKEN as error:
        raise BadFile(f"Its member '{in_a_line(info.filename)}' is broken ({in_a_line(error)}).") from None
    if len(data) != info.file_size:
        raise BadFile(f"Its member '{in_a_line(info.filename)}' is not as long as it is said to be.")
    return data


def _array(data: bytes, name: str) -> np.ndarray:
    """One .npy: its header is read first, and the array is as large as what follows it."""
    held = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(held)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(held)
    except (*_BROKEN, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise BadFile(f"Its member '{in_a_line(name)}' is no array ({in_a_line(error)}).") from None
    if dtype.kind not in "biufU" or dtype.hasobject:
        raise BadFile(f"Its member '{in_a_line(name)}' holds {in_a_line(dtype)}, and only numbers and texts are read.")
    size = len(data) - held.tell()
    if any(type(n) is not int or n < 0 for n in shape) or not dtype.itemsize or math.prod(shape) * dtype.itemsize != size:
        raise BadFile(f"Its member '{in_a_line(name)}' does not hold as many numbers as it says.")
    try:
        return np.frombuffer(data, dtype=dtype, offset=held.tell()).copy().reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # of nothing there may be more rows than any array has
        raise BadFile(f"Its member '{in_a_line(name)}' has a shape that no array has ({in_a_line(error)}).") from None


def in_a_line(what: object) -> str:
    """Whatever a file holds, as a sentence has room for it."""
    text = " ".join(str(what).encode("utf-8", "replace").decode().split())
    return text if len(text) <= 80 else f"{text[:79]}…"
