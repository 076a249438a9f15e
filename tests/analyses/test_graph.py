"""The graph of a logit: edges sum to what cells hold, what is kept to what paths written out one by one do, a case on paper."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses.graph import GraphRequest
from infoflow.errors import BadPrompt, TooLarge
from infoflow.interventions import Block, Reject, Replace, Scale, Steer, Zero
from tests.helpers import tiny
from tests.helpers.frozen_network import FrozenNetwork

PROMPT, SHORT, TARGET, RIVAL = "When Mary and John", "Joe", 65, 66


def sums(found: infoflow.Graph, n_layers: int) -> tuple[np.ndarray, np.ndarray]:
    """[layer, position]: what goes out of the cells below a layer, and what comes into those above it."""
    out, into = np.zeros((2, n_layers, len(found.labels)))
    np.add.at(out, (found.edges.layer, found.edges.source), found.edges.amount)
    np.add.at(into, (found.edges.layer, found.edges.dest), found.edges.amount)
    return out, into


def moves_of(found: infoflow.Graph) -> set[tuple[int, int, int]]:
    """Those that are kept: layer, source, dest."""
    of = found.edges
    return {
        move for move in zip(of.layer.tolist(), of.source.tolist(), of.dest.tolist(), strict=True) if move[1] != move[2]
    }  # fmt: skip


def whole_rows(where: infoflow.Location) -> tuple[np.ndarray, np.ndarray]:
    """Of a location, cells and what is added to them, of whole layers alone."""
    every = 2 if where.mids else 1
    n = (len(where.rows) - 1) // every
    return where.by_cell[::every], (where.added + where.put_in_at).reshape(n, every, -1).sum(1)


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_edges_sum_to_what_cells_hold_and_without_a_threshold_all_is_kept(name: str) -> None:
    model = tiny.model(name)
    found = infoflow.graph(model, PROMPT, TARGET, against=RIVAL, threshold=0)
    where, logit = infoflow.locate(model, PROMPT, TARGET, RIVAL), infoflow.attribute(model, PROMPT, TARGET, RIVAL)
    assert found.total == where.total and found.max_error < 1e-5
    cells, added = whole_rows(where)
    out, into = sums(found, model.n_layers)
    np.testing.assert_allclose(out, cells[:-1], atol=2e-5)
    np.testing.assert_allclose(into + added, cells[1:], atol=2e-5)
    np.testing.assert_allclose(found.nodes.amount, cells[found.nodes.row, found.nodes.position], atol=1e-5)
    assert found.kept_total == pytest.approx(found.total, abs=2e-5) and found.share == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found.by_source, logit.by_source, atol=1e-5)
    np.testing.assert_allclose(found.by_source, found.all_by_source, atol=1e-6)
    assert found.bias == pytest.approx(logit.bias, abs=2e-5) and found.all_bias == pytest.approx(found.bias, abs=2e-5)
    assert (abs(found.bias) > 1e-3) == (name.split(",")[0] in tiny.BIASED) and found.put_in == 0.0 == found.all_put_in
    assert len(moves_of(found)) > 40 and np.abs(found.edges.amount[found.edges.moves]).max() > 1e-3  # or it says nothing
    np.testing.assert_allclose(
        found.edges.head_amount.sum(1)[found.edges.moves], found.edges.amount[found.edges.moves], atol=1e-5
    )
    last = found.edges.layer == model.n_layers - 1
    assert set(found.edges.dest[last].tolist()) == {found.position}


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_what_a_few_moves_keep_is_the_sum_over_their_paths(name: str) -> None:
    """Against all paths, one by one, through transformers' own layers with patterns, gates and scales replayed."""
    model = tiny.model(name)
    paths = list(every_path(model, SHORT))
    n = len(model.encode(SHORT))
    whole = infoflow.graph(model, SHORT, TARGET, RIVAL, threshold=0.0)
    slack = 2e-4 * max(1.0, *(abs(amount) for _, _, amount in paths))
    assert sum(amount for *_, amount in paths) == pytest.approx(whole.total, abs=slack)
    assert len([path for _, path, _ in paths if len(path) == model.n_layers + 1]) == 20  # three layers, four tokens
    through: dict[tuple[int, int, int], float] = {}
    for _, path, amount in paths:
        for move in moves_in(path, model.n_layers):
            through[move] = through.get(move, 0.0) + amount
    of = whole.edges
    for layer, source, dest, amount in zip(of.layer, of.source, of.dest, of.amount, strict=True):
        if source != dest:
            assert through[int(layer), int(source), int(dest)] == pytest.approx(float(amount), abs=slack)
    less = set()
    for threshold in (0.03, 0.3):
        found = infoflow.graph(model, SHORT, TARGET, RIVAL, threshold=threshold)
        expected = kept(through, threshold * abs(found.total), model.n_layers, n)
        assert moves_of(found) == expected
        some = [(start, path[0], a) for start, path, a in paths if expected.issuperset(moves_in(path, model.n_layers))]
        by_source = [sum(a for start, p, a in some if start == "token" and p == source) for source in range(n)]
        np.testing.assert_allclose(found.by_source, by_source, atol=slack)
        assert found.bias == pytest.approx(sum(a for start, _, a in some if start == "bias"), abs=slack)
        assert found.share == pytest.approx(sum(a for *_, a in some) / found.total, abs=slack / abs(found.total))
        less.add(len(expected))
    assert len(less) > 1 and min(less) < len(moves_of(whole))


def moves_in(path: tuple[int, ...], n_layers: int) -> list[tuple[int, int, int]]:
    """The moves of a path: layer, source, dest. Its last position is above the last layer."""
    first = n_layers + 1 - len(path)
    return [(first + i, a, b) for i, (a, b) in enumerate(itertools.pairwise(path)) if a != b]


def kept(through: dict[tuple[int, int, int], float], least: float, n_layers: int, n: int) -> set[tuple[int, int, int]]:
    """Moves of that size from which others lead on to the last position, from the top down."""
    found, reaches = set(), {n - 1}
    for layer in reversed(range(n_layers)):
        here = {m for m, a in through.items() if m[0] == layer and abs(a) >= least and m[2] in reaches}
        found |= here
        reaches |= {source for _, source, _ in here}
    return found


def every_path(model: infoflow.Model, prompt: str) -> Iterator[tuple[str, tuple[int, ...], float]]:
    """All that adds up to the lead of the target over its rival: "token" from each embedding, or "bias" from where one is added;
    the positions that it goes through, row by row; how much. A vector at one position is sent through one layer at a time."""
    ids = [t.id for t in model.encode(prompt)]
    network, scale = FrozenNetwork(model._hf, model.architecture, ids), model.plan().logit_scale
    layers, n, d = network.layers, len(ids), network.embeddings.shape[-1]

    def layer(index: int, x: torch.Tensor) -> torch.Tensor:
        if index == 0:
            return network.post(x)[0][0]
        hook = layers[index].register_forward_pre_hook(lambda m, args: (x[None], *args[1:]))
        after = network.post(network.embeddings)[0][index]
        hook.remove()
        return after

    def read(x: torch.Tensor) -> float:
        hook = layers[-1].register_forward_hook(lambda m, args, y: (x[None], *y[1:]) if isinstance(y, tuple) else x[None])
        logits = network.post(network.embeddings)[1]
        hook.remove()
        return scale * float(logits[TARGET] - logits[RIVAL])

    def alone(position: int, vector: torch.Tensor) -> torch.Tensor:
        x = torch.zeros(n, d)
        x[position] = vector
        return x

    def on(row: int, path: tuple[int, ...], vector: torch.Tensor) -> Iterator[tuple[tuple[int, ...], float]]:
        x = alone(path[-1], vector)
        if row == len(layers):
            yield path, read(x) - nothing
            return
        after = layer(row, x) - added[row]
        for to in range(path[-1], n):
            if row + 1 < len(layers) or to == n - 1:
                yield from on(row + 1, (*path, to), after[to])

    nothing, added = read(torch.zeros(n, d)), [layer(index, torch.zeros(n, d)) for index in range(len(layers))]
    yield "bias", (n - 1,), nothing
    for position in range(n):
        for path, amount in on(0, (position,), network.embeddings[position]):
            yield "token", path, amount
        for row in range(len(layers)):
            if added[row].any() and (row + 1 < len(layers) or position == n - 1):
                for path, amount in on(row + 1, (position,), added[row][position]):
                    yield "bias", path, amount


def test_a_higher_threshold_gives_a_part_of_the_graph(family: infoflow.Model) -> None:
    found = [infoflow.graph(family, PROMPT, TARGET, RIVAL, threshold=t) for t in (0.0, 0.03, 0.3)]
    for more, less in itertools.pairwise(found):
        assert moves_of(less) <= moves_of(more)
        nodes = [set(zip(g.nodes.row.tolist(), g.nodes.position.tolist(), strict=True)) for g in (more, less)]
        assert nodes[1] <= nodes[0]
        large = np.abs(less.edges.amount[less.edges.moves])
        assert (large >= less.threshold * abs(less.total) * (1 - 1e-6)).all()
        assert less.total == more.total and less.max_error == more.max_error < 1e-5
    assert len(moves_of(found[0])) > len(moves_of(found[1])) > len(moves_of(found[2]))
    frame = found[1].to_frame()
    starts, ends = (
        set(zip(frame["layer"], frame["source"], strict=True)),
        set(zip(frame["layer"] + 1, frame["dest"], strict=True)),
    )
    assert starts | {(family.n_layers, found[1].position)} == nodes[0] >= ends  # every edge leads to the logit


def test_a_case_on_paper() -> None:
    """As in the location's: what is read at token 2 has 1.5 times its own embedding, and half of that of token 1, which one move
    brings. The slope of both is (1, gate) / rms."""
    s = 2.5**-0.5
    gate = 2 * s / (1 + np.exp(-2 * s)) * s
    rms = float(np.sqrt(((2 - gate) ** 2 + 1) / 2))
    slope = np.array([1.0, gate]) / rms
    moved, stayed = float(0.5 * slope @ [1, 1]), float(1.5 * slope @ [1, -1])
    found = infoflow.graph(tiny.on_paper(), [1, 2], 1, threshold=0.3)
    assert found.total == pytest.approx(moved + stayed, abs=1e-5) and found.share == pytest.approx(1, abs=1e-5)
    edges = found.to_frame()[["layer", "kind", "source", "dest", "head"]].values.tolist()
    assert edges == [[0, "move", 0, 1, 0], [0, "stay", 1, 1, -1]]
    np.testing.assert_allclose(found.edges.amount, [moved, stayed], atol=1e-5)
    assert found.heads_of(0) == f"0.0 {moved:+.2f}" and found.heads_of(1) == ""
    assert list(zip(found.nodes.row.tolist(), found.nodes.position.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1)]
    np.testing.assert_allclose(found.nodes.amount, [moved, stayed, moved + stayed], atol=1e-5)
    np.testing.assert_allclose(found.by_source, [moved, stayed], atol=1e-5)
    few = infoflow.graph(tiny.on_paper(), [1, 2], 1, threshold=1.0)  # the move is 75% of the whole, the rest 25%
    assert not few.edges.moves.any() and few.share == pytest.approx(stayed / (moved + stayed), abs=1e-5)
    np.testing.assert_allclose(few.by_source, [0, stayed], atol=1e-5)


STACKS: list[list[Any]] = [
    [Zero("z", 1, None, 0), Block(3, -1), Scale("resid_post", 0.5, 0, 2), Scale("mlp", 0.3), Scale("attn", 2.0, 1)],
    [Replace("embed", PROMPT[::-1], None, -1), Steer("resid_pre", ("It", "a"), 0.5, 1), Reject("resid_post", "first", 0)],
    [Scale("resid_pre", 0.5, 2, 3), Steer("resid_mid", ("It", "a"), 0.5, 1), Steer("resid_pre", ("It", "a"), 0.5, 2, 4)],
]


@pytest.mark.slow
@pytest.mark.parametrize("stack", range(len(STACKS)))
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3_text", "gpt2"])
def test_of_a_changed_run_edges_sum_too(name: str, stack: int) -> None:
    model = tiny.model(name)
    where = infoflow.locate(model, PROMPT, TARGET, RIVAL, interventions=STACKS[stack])
    found = infoflow.graph(model, PROMPT, TARGET, RIVAL, threshold=0, interventions=STACKS[stack])
    assert found.total == where.total and found.max_error < 1e-5 and found.share == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found.by_source, where.by_cell[0], atol=1e-5)
    assert found.put_in == pytest.approx(float(where.put_in[0]), abs=2e-5) == found.all_put_in
    assert found.bias == pytest.approx(float(where.bias[0]), abs=2e-5) and (abs(found.put_in) > 1e-3) == (stack > 0)
    few = infoflow.graph(model, PROMPT, TARGET, RIVAL, threshold=0.1, interventions=STACKS[stack])
    assert moves_of(few) < moves_of(found) and few.all_put_in == pytest.approx(found.put_in, abs=2e-5)


@pytest.mark.parametrize("name", ["qwen3", "gemma", "phi3", "opt"])
def test_what_is_put_in_takes_kept_paths_alone(name: str) -> None:
    """At the position that is read it goes up by itself; at another no move that is left leads away."""
    model, last = tiny.model(name), len(tiny.model(name).encode(PROMPT)) - 1
    for position in (3, last):
        steer = [Steer("resid_pre", ("It", "a"), 0.5, 2, position)]
        none, every = (infoflow.graph(model, PROMPT, TARGET, RIVAL, threshold=t, interventions=steer) for t in (1.0, 0.0))
        assert not none.edges.moves.any() and abs(every.put_in) > 1e-4
        assert none.put_in == (0.0 if position == 3 else pytest.approx(every.put_in, abs=1e-5))
        assert none.all_put_in == pytest.approx(every.put_in, abs=1e-5)


def test_of_an_earlier_position_later_tokens_are_not_in_it(family: infoflow.Model) -> None:
    found = infoflow.graph(family, PROMPT, TARGET, position=3, threshold=0.0)
    assert found.position == 3 and found.nodes.position.max() == 3 and found.share == pytest.approx(1, abs=1e-4)
    assert not found.by_source[4:].any() and found.max_error < 1e-5


def test_without_a_target_it_is_the_likeliest(demo: infoflow.Model) -> None:
    found = infoflow.graph(demo, "The capital of France is", against=" Rome")
    assert found.target_name == " Paris" and found.against_name == " Rome" and found.threshold == 0.04
    assert found.provenance.request == GraphRequest(
        model=demo.spec, prompt="The capital of France is", target=found.target, against=found.against
    )
    done: list[tuple[int, int]] = []
    infoflow.graph(demo, "ab", on_progress=lambda *step: done.append(step))
    assert done == [(i + 1, 2 * demo.n_layers) for i in range(2 * demo.n_layers)]


def test_an_edge_is_a_row_of_its_table(demo: infoflow.Model) -> None:
    found = infoflow.graph(demo, "The capital of France is", " Paris", against=" Rome", threshold=0.05)
    frame = found.to_frame()
    assert len(frame) == len(found.edges.layer) and list(frame) == [
        "layer", "kind", "source", "dest", "from", "to", "amount", "share", "head", "heads",
    ]  # fmt: skip
    move = frame[frame["kind"] == "move"].iloc[0]
    assert move["heads"].startswith(f"{move['layer']}.{move['head']} ") and move["share"] == pytest.approx(
        move["amount"] / found.total
    )
    assert frame["layer"].is_monotonic_increasing and (frame["head"][frame["kind"] == "stay"] == -1).all()


@pytest.mark.parametrize("threshold", [-0.01, 1.5, 4, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(demo: infoflow.Model, threshold: float) -> None:
    with pytest.raises(BadPrompt, match=r"from 0 \(every move\) to 1"):
        infoflow.graph(demo, "ab", 5, threshold=threshold)


def test_other_bad_input_is_told(demo: infoflow.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadPrompt, match=r"from 0 \(every move\) to 1; 7.0 is none"):
        GraphRequest(prompt="ab", target=5, threshold=7.0).run(demo)
    with pytest.raises(BadPrompt, match="There is no position 9"):
        infoflow.graph(demo, "ab", 5, position=9)
    with pytest.raises(BadPrompt, match="token"):
        infoflow.graph(demo, "ab", " no such single token as this")
    with pytest.raises(BadPrompt):
        infoflow.graph(demo, "", 10**9)
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "1")
    with pytest.raises(TooLarge, match="A graph over"):
        infoflow.graph(demo, "The capital of France is " * 20, 5)
