"""What a head or an MLP writes, by what reads it: parts sum, each is what the replayed network loses, a case on paper."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses.readers import ReadersRequest
from infoflow.errors import BadPrompt, TooLarge
from infoflow.interventions import Block, Reject, Replace, Resample, Scale, Steer, Zero
from tests.helpers import tiny
from tests.helpers.frozen_network import FrozenNetwork

PROMPT, TARGET, RIVAL = "When Mary", 65, 66
Change = tuple[Any, Callable[[torch.Tensor], torch.Tensor], bool]
"""a module, what becomes of what it is given, or (True) of what it gives"""


class Replayed:
    """transformers' own layers with patterns, gates and scales of a first run, in which something may be changed."""

    def __init__(self, model: infoflow.Model, prompt: str) -> None:
        self.plan, self.row = model.plan(), model.architecture
        self.network = FrozenNetwork(model._hf, self.row, [t.id for t in model.encode(prompt)])
        self.layers, self.d_head = self.network.layers, self.plan.d_head
        self.lead = self()

    def __call__(self, *changes: Change) -> float:
        """The lead of the target over its rival."""
        with ExitStack() as stack:
            for module, change, gives in changes:
                if gives:
                    hook = module.register_forward_hook(lambda m, a, y, change=change: change(y))
                else:
                    hook = module.register_forward_pre_hook(lambda m, a, change=change: (change(a[0]), *a[1:]))
                stack.callback(hook.remove)
            self.residuals, logits = self.network.post(self.network.embeddings)
        self.logits = self.plan.logit_scale * logits
        return float(self.logits[TARGET] - self.logits[RIVAL])

    def output(self, layer: int) -> Any:
        """The projection that z is given to."""
        return self.layers[layer].get_submodule(f"{self.row.attention}.{self.row.output}")

    def without(self, layer: int, head: int) -> Change:
        """A head's z gone; of an MLP, what it writes."""
        if head < 0:
            if self.row.mlp_post_norm:  # which has no bias, and is replayed after it gives
                return self.layers[layer].get_submodule(self.row.mlp_post_norm), torch.zeros_like, False
            return self.layers[layer].get_submodule(self.row.down), torch.zeros_like, True
        return self.output(layer), self._columns(head, torch.zeros_like), False

    def _columns(self, head: int, of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
        columns = slice(head * self.d_head, (head + 1) * self.d_head)

        def change(z: torch.Tensor) -> torch.Tensor:
            z = z.clone()
            z[..., columns] = of(z[..., columns])
            return z

        return change

    def seen_by(self, module: Any, *changes: Change) -> torch.Tensor:
        """What a module is given."""
        seen: list[torch.Tensor] = []
        self(*changes, (module, lambda x: seen.append(x.clone()) or x, False))
        return seen[0]

    def write(self, layer: int, head: int) -> torch.Tensor:
        """What a head or an MLP adds to the stream, as the difference that it makes there."""
        gone = self.without(layer, head)
        if head >= 0 and not self.plan.parallel:
            mid = self.layers[layer].get_submodule(self.row.mlp_norm)
            return self.seen_by(mid) - self.seen_by(mid, gone)
        self()
        whole = self.residuals[layer]
        self(gone)
        return (whole - self.residuals[layer])[None]

    def lost(self, reader: tuple[int, int], write: torch.Tensor) -> float:
        """What the lead loses where one reader alone does not see a write."""
        layer, head = reader
        norm = self.layers[layer].get_submodule(self.row.mlp_norm if head < 0 else self.row.attention_norm)
        blind: Change = (norm, lambda x: x - write, False)
        if head < 0:
            return self.lead - self(blind)
        z = self.seen_by(self.output(layer), blind)
        columns = slice(head * self.d_head, (head + 1) * self.d_head)
        return self.lead - self((self.output(layer), self._columns(head, lambda _: z[..., columns]), False))


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_parts_sum_and_without_the_head_the_replayed_network_loses_the_total(name: str) -> None:
    model = tiny.model(name)
    split, replayed = infoflow.attribute(model, PROMPT, TARGET, RIVAL), Replayed(model, PROMPT)
    assert replayed.lead == pytest.approx(split.total, abs=1e-4)
    largest = 0.0
    for layer, head in ((0, 1), (1, 3), (1, -1)):
        found = infoflow.readers(model, PROMPT, layer, head, TARGET, RIVAL)
        assert found.max_error < 1e-5 and found.logit_total == split.total
        assert found.direct == pytest.approx(float(split.by_mlp[layer] if head < 0 else split.by_head[layer, head]), abs=1e-5)
        assert float(found.to_frame()["logit"].sum()) == pytest.approx(found.total, abs=1e-5)
        assert not found.by_head[: layer + 1].any() and not found.by_mlp[:layer].any()
        if head >= 0 or layer not in model.plan().sparse:
            slack = 1e-4 * max(1.0, abs(found.total))
            assert replayed.lead - replayed(replayed.without(layer, head)) == pytest.approx(found.total, abs=slack)
        if head >= 0:
            assert found.moves is not None and not np.triu(found.moves, 1).any()
            assert found.moves.sum() + found.bias == pytest.approx(found.total, abs=1e-5) and found.put_in == 0.0
            assert found.moves.sum(1)[:-1] == pytest.approx(found.by_position[:-1], abs=1e-5) or found.bias
        largest = max(largest, abs(found.total - found.direct))
    assert largest > 1e-2  # or it says nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2", "granite", "gpt2", "opt", "gpt_neox"])
def test_what_a_reader_takes_on_is_what_is_lost_where_it_alone_sees_nothing_of_it(name: str) -> None:
    model = tiny.model(name)
    replayed, largest = Replayed(model, PROMPT), 0.0
    for layer, head in ((0, 2), (0, -1), (1, 1)):
        found, write = infoflow.readers(model, PROMPT, layer, head, TARGET, RIVAL), replayed.write(layer, head)
        frame = found.to_frame()
        for reader in frame[(frame["kind"] != "direct") & frame["head"].isin([-1, 0, 3])].itertuples():
            if reader.layer == layer and replayed.plan.parallel:
                assert reader.logit == 0.0  # side by side with it
                continue
            lost = replayed.lost((reader.layer, reader.head), write)
            assert lost == pytest.approx(reader.logit, abs=2e-4 * max(1.0, abs(found.logit_total))), reader.name
            largest = max(largest, abs(reader.logit))
    assert largest > 1e-2


@pytest.mark.parametrize("name", ["qwen2", "gemma2", "gpt2", "gpt_neox"])
def test_promoted_tokens_are_those_whose_logits_the_write_moves_most(name: str) -> None:
    """Where the final norm alone does not see the write."""
    model = tiny.model(name)
    replayed = Replayed(model, PROMPT)
    write = replayed.write(1, 2)
    replayed()
    whole = replayed.logits
    replayed((model._hf.get_submodule(model.architecture.final_norm), lambda x: x - write, False))
    moved = (whole - replayed.logits).numpy()
    over = moved - moved.mean()
    found = infoflow.readers(model, PROMPT, 1, 2, TARGET)
    order = np.argsort(-over)
    np.testing.assert_array_equal(found.token_ids, [order[:6], order[::-1][:6]])
    np.testing.assert_allclose(found.promoted, over[found.token_ids], atol=1e-4)
    one = infoflow.attribute(model, PROMPT, int(order[0]), centred=True)
    assert found.promoted[0, 0] == pytest.approx(one.by_head[1, 2], abs=1e-5)
    frame = found.written_frame()
    assert len(frame) == 12 and frame["logit"].is_monotonic_decreasing
    assert frame["token"].iloc[0] == model.name_of(int(order[0]))


STACKS: list[list[Any]] = [
    [Zero("z", 1, None, 0), Block(3, -1), Scale("resid_post", 0.5, 0, 2), Scale("mlp", 0.3), Scale("attn", 2.0, 1)],
    [Replace("embed", PROMPT[::-1], None, -1), Steer("resid_pre", ("It", "a"), 0.5, 1), Reject("resid_post", "first", 0)],
    [Scale("resid_mid", 0.5, 0), Steer("resid_mid", ("It", "a"), 0.5, 1), Resample("z", 1, -1, 0), Scale("neurons", 0.5, 2)],
    [Reject("z", "first", 1), Reject("z", ("It", "a"), 0)],
]


@pytest.mark.slow
@pytest.mark.parametrize("stack", range(len(STACKS)))
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3_text", "gpt2"])
def test_of_a_changed_run_parts_sum_too(name: str, stack: int) -> None:
    model, put_in = tiny.model(name), 0.0
    split = infoflow.attribute(model, PROMPT, TARGET, RIVAL, interventions=STACKS[stack])
    for layer, head in ((1, 0), (0, 3), (1, -1)):
        found = infoflow.readers(model, PROMPT, layer, head, TARGET, RIVAL, interventions=STACKS[stack])
        assert found.max_error < 1e-5 and found.logit_total == split.total
        assert found.direct == pytest.approx(float(split.by_mlp[layer] if head < 0 else split.by_head[layer, head]), abs=1e-5)
        put_in += abs(found.put_in)
        if stack == 0 and (layer, head) == (1, 0):
            assert found.total == 0.0  # it is taken away
    assert (put_in > 1e-3) == (stack >= 2)  # what is taken off all heads together mixes them


def test_a_case_on_paper() -> None:
    """Both tokens are (1, 1), so the head writes (1, 1) and the stream after it is (2, 2), of rms 2. The MLP reads (1, 1): its
    gate g = silu(1) multiplies the second coordinate, and it writes (g, 0), of which half is the head's."""
    g = 1 / (1 + np.exp(-1))
    rms = float(np.sqrt(((2 + g) ** 2 + 4) / 2))
    found = infoflow.readers(tiny.on_paper(), [1, 1], 0, 0, 1)
    assert found.direct == pytest.approx(1 / rms, abs=1e-6)
    np.testing.assert_allclose(found.by_mlp, [0.5 * g / rms], atol=1e-6)
    assert found.total == pytest.approx((1 + 0.5 * g) / rms, abs=1e-6) and found.moves is not None
    np.testing.assert_allclose(found.moves, [[0, 0], [found.total / 2, found.total / 2]], atol=1e-6)
    np.testing.assert_allclose(found.by_position, [0, found.total], atol=1e-6)
    assert found.to_frame()[["kind", "name"]].values.tolist() == [["direct", "directly"], ["MLP", "MLP 0"]]
    mlp = infoflow.readers(tiny.on_paper(), [1, 1], 0, -1, 1)
    assert mlp.direct == pytest.approx(g / rms, abs=1e-6) == mlp.total and mlp.moves is None and mlp.name == "MLP 0"
    first = infoflow.readers(tiny.on_paper(), [1, 2], 0, 0, 1)  # the head writes (1, 0): token 1's direction alone
    gate = 2 * 2.5**-0.5 / (1 + np.exp(-2 * 2.5**-0.5)) * 2.5**-0.5
    slope = float(1 / np.sqrt(((2 - gate) ** 2 + 1) / 2))
    assert first.token_ids[0, 0] == 1 and first.name == "head 0.0"
    assert first.promoted[0, 0] == pytest.approx(slope * 256 / 257, abs=1e-6)
    assert first.promoted[1, 0] == pytest.approx(-slope / 257, abs=1e-6)


def test_of_an_earlier_position_later_ones_are_not_in_it(family: infoflow.Model) -> None:
    found = infoflow.readers(family, PROMPT, 0, 1, TARGET, position=3)
    assert found.position == 3 and found.moves is not None and found.max_error < 1e-5
    assert not found.moves[4:].any() and not found.by_position[4:].any() and found.by_position[:4].any()


def test_without_a_target_it_is_the_likeliest(demo: infoflow.Model) -> None:
    prompt, done = "The capital of France is", []
    found = infoflow.readers(demo, prompt, 4, 0, against=" Rome", on_progress=lambda *step: done.append(step))
    assert found.target_name == " Paris" and found.against_name == " Rome"
    assert done == [(i + 1, demo.n_layers) for i in range(demo.n_layers)]
    assert found.provenance.request == ReadersRequest(
        model=demo.spec, prompt=prompt, layer=4, head=0, target=found.target, against=found.against
    )


@pytest.mark.parametrize(
    ("place", "said"),
    [((6, 0, -1), "no layer 6; the model has 6"), ((0, 8, -1), "no head 8; a layer has 8"), ((0, -2, -1), "no head -2"),
     ((0, 0, 9), "no position 9")],
)  # fmt: skip
def test_what_is_not_there_is_refused(demo: infoflow.Model, place: tuple[int, int, int], said: str) -> None:
    layer, head, position = place
    with pytest.raises(BadPrompt, match=said):
        infoflow.readers(demo, "ab", layer, head, " Paris", position=position)


def test_too_long_a_prompt_is_refused_before_it_runs(demo: infoflow.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run", lambda *_: pytest.fail("the model ran"))
    monkeypatch.setattr("infoflow.models.memory.free", lambda device="cpu": 1_000_000)
    with pytest.raises(TooLarge, match="Readers over"):
        infoflow.readers(demo, "The capital of France is", 0, 0)
