"""What the cost of an analysis depends on."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the cost of an analysis depends on."""

    layers: int
    d_model: int
    d_head: int
    heads: int
    kv_heads: int
    vocabulary: int
    hidden: int
    """the widest layer of an MLP"""
    parameters: int
    mapped_parameters: int
    """of the maps that act on every (position, source) pair: values, output, up, down"""
    passing_parameters: int
    """of all maps that a plain run takes every token through: experts as many as are chosen, and nothing of the vocabulary"""
    biased: bool
    parallel: bool
    half: bool
    """weights stored in half precision: each map in use is held in float32 too"""
