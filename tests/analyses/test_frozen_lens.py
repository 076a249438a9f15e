import math
from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses import frozen_lens
from infoflow.errors import BadPrompt, TooLarge
from infoflow.interventions import Block, Mean, Scale, Steer, Zero
from infoflow.traced.frozen_lens import sources_to_last
from tests.helpers import tiny
from tests.helpers.frozen_network import FrozenNetwork

PROMPT = "abc the cat"
FAMILIES = ["gpt2", "llama", "gemma2", "gpt_neox", "bloom", "mixtral", "opt", "cohere", "granite"]


def read_by_hand(network: FrozenNetwork, x: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the unembedding gives everywhere for this input of a layer beyond what it gives for none, [position, vocabulary]."""
    network.post(torch.zeros_like(x), layer)
    nothing = network.everywhere
    network.post(x, layer)
    return network.everywhere - nothing, nothing


@pytest.mark.parametrize("name", FAMILIES)
def test_a_state_is_pushed_on_as_a_replayed_network_does(name: str) -> None:
    """One state alone goes into a layer of transformers' own network, whose norms, patterns and gates are replayed."""
    model = tiny.model(name)
    hf, row, config = model._hf, model.architecture, model._hf.config
    scale = getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    own = infoflow.logit_lens(model, PROMPT, k=300, mids=False, kind="frozen")
    last = infoflow.logit_lens(model, PROMPT, k=300, mids=False, kind="frozen", read="last")
    network = FrozenNetwork(hf, row, list(own.prompt_ids))
    with torch.no_grad():
        bias = getattr(hf.get_submodule(row.final_norm), "bias", None)
        width = network.embeddings.shape[-1]
        added = hf.get_submodule(row.unembed)(torch.zeros(1, width) if bias is None else bias[None])[0]
    n = len(own.tokens)
    for layer in range(model.n_layers):
        states = network.embeddings if layer == 0 else network.residuals[layer - 1]
        for position in (0, 2, n - 1):
            x = torch.zeros_like(states)
            x[position] = states[position]
            reads, _ = read_by_hand(network, x, layer)
            raw = (scale * (reads[position] + added)).numpy()
            expected = cap * np.tanh(raw / cap) if cap else raw
            np.testing.assert_allclose(by_id(own, layer, position), expected, rtol=1e-4, atol=2e-4)
            expected = (scale * (reads[-1] - reads[-1].mean())).numpy()
            np.testing.assert_allclose(by_id(last, layer, position), expected, rtol=1e-4, atol=2e-4)


def by_id(lens: "infoflow.Lens", row: int, position: int) -> np.ndarray:
    """Logits of a cell by token id, where all were asked for."""
    out = np.empty(len(lens.logits[row, position]), np.float32)
    out[lens.token_ids[row, position]] = lens.logits[row, position]
    return out


def test_the_parts_of_every_row_sum_to_the_logits(family: "infoflow.Model") -> None:
    """Read at the last position; rows after attention too. The last row at its own position is the model's own output."""
    lens = infoflow.logit_lens(family, PROMPT, targets=[65, 70], kind="frozen", read="last")
    flow = infoflow.decompose(family, PROMPT, targets=[65, 70])
    assert lens.added is not None and lens.max_error < 1e-5
    whole = lens.target_logits.sum(1) + lens.added
    np.testing.assert_allclose(whole, np.broadcast_to(whole[-1], whole.shape), atol=1e-4)
    raw = [t.before_cap if t.before_cap is not None else t.logit for t in flow.targets[:2]]
    assert whole[-1, 0] - whole[-1, 1] == pytest.approx(raw[0] - raw[1], abs=1e-4)  # of a difference no mean is taken off
    own = infoflow.logit_lens(family, PROMPT, targets=[65, 70], kind="frozen")
    plain = infoflow.logit_lens(family, PROMPT, k=300, targets=[65, 70], mids=any("mid" in row for row in own.rows))
    assert own.rows == plain.rows == lens.rows and own.max_error < 1e-5
    np.testing.assert_allclose(own.target_logits[-1], plain.target_logits[-1], atol=1e-4)
    np.testing.assert_allclose(own.kl[-1], 0, atol=1e-5)
    if all(t.before_cap is None for t in flow.targets):  # of the last position both read the same states by the same paths
        output = by_id(plain, -1, -1)
        np.testing.assert_allclose(whole[-1], output[[65, 70]] - output.mean(), atol=1e-4)
        ours, theirs = (each.target_logits[:, -1, 0] - each.target_logits[:, -1, 1] for each in (own, lens))
        constant = ours[-1] - theirs[-1]  # of the final norm's and the unembedding's biases
        np.testing.assert_allclose(ours - theirs, np.full(len(ours), constant), atol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "llama", "cohere", "gemma2"])
def test_some_rows_and_positions_are_those_of_all(name: str) -> None:
    family = tiny.model(name)
    whole = infoflow.logit_lens(family, PROMPT, targets=[65], kind="frozen", read="last")
    n, rows = len(whole.tokens), [whole.rows[0], whole.rows[2]]
    for read in ("own", "last"):
        every = infoflow.logit_lens(family, PROMPT, targets=[65], kind="frozen", read=read)
        some = infoflow.logit_lens(family, PROMPT, targets=[65], kind="frozen", read=read, rows=rows, positions=[2, -1])
        assert some.rows == (*rows, whole.rows[-1]) and some.positions == (2, n - 1) and some.max_error < 1e-5
        for name in ("logits", "probs", "kl", "target_logits"):
            part = getattr(every, name)[[0, 2, -1]][:, [2, n - 1]]
            np.testing.assert_allclose(getattr(some, name), part, atol=5e-5)
    assert some.added is not None and whole.added is not None  # what is not read is in the rest
    rest = whole.target_logits.sum(1) + whole.added
    np.testing.assert_allclose(some.target_logits.sum(1) + some.added, rest[[0, 2, -1]], atol=1e-4)


def test_sources_that_are_not_read_are_one() -> None:
    assert sources_to_last(4, [0, 1, 2, 3]) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert sources_to_last(5, [2, 4]) == ([0, 0, 1, 0, 2], [1, 2])
    assert sources_to_last(4, [0]) == ([0, 1, 1, 1], [0])


def test_a_case_worked_out_by_hand() -> None:
    """Embeddings (1, 1), (1, -1) at rms 1. Attention adds the mean so far, so that the second keeps 3/2 of itself and gets half
    of the first: (2, -1), of rms s. The MLP reads b / s of a part (a, b) and writes it, times the gate g of the whole, to a."""
    s = math.sqrt(2.5)
    g = 2 / s / (1 + math.exp(-2 / s))
    t = math.sqrt(((2 - g / s) ** 2 + 1) / 2)  # the final norm's
    own = infoflow.logit_lens(tiny.on_paper(), [1, 2], k=1, targets=[1, 2], kind="frozen")
    np.testing.assert_allclose(own.target_logits[0, 1], [1.5 * (1 - g / s) / t, -1.5 / t], atol=1e-6)
    np.testing.assert_allclose(own.target_logits[1, 1], [(2 - g / s) / t, -1 / t], atol=1e-6)  # after attention
    last = infoflow.logit_lens(tiny.on_paper(), [1, 2], k=1, targets=[1, 2], kind="frozen", read="last")
    first, second = last.target_logits[0] @ [1, -1]  # of a difference no mean is taken off
    assert first == pytest.approx(0.5 * g / s / t, abs=1e-6)
    assert second == pytest.approx((1.5 * (1 - g / s) + 1.5) / t, abs=1e-6)
    np.testing.assert_allclose(last.target_logits[1:, 0], 0, atol=1e-7)  # above attention nothing of the first gets there


STACKS = [
    [Scale("mlp", 0.3, layers=0), Block(2, (4,)), Mean("attn", layers=0), Zero("z", layers=1, head=1)],
    [Scale("resid_pre", 0.5, layers=1), Steer("resid_pre", ("It", "a"), 0.5, layers=2), Scale("resid_post", 0.7, layers=0)],
]


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "gpt_neox"])
def test_changed_runs_sum_too(name: str, stack: list[Any]) -> None:
    """What interventions put in above a row is in the rest; below it, in the states. The last row is the changed run's own, and
    of the last position both ways of reading have the same states along the same paths."""
    model = tiny.model(name)
    lens = infoflow.logit_lens(model, PROMPT, targets=[65, 70], kind="frozen", read="last", interventions=stack)
    own = infoflow.logit_lens(model, PROMPT, targets=[65, 70], kind="frozen", interventions=stack)
    plain = infoflow.logit_lens(model, PROMPT, targets=[65, 70], interventions=stack, mids="L0.mid" in own.rows)
    assert lens.max_error < 1e-5 and own.max_error < 1e-5 and lens.added is not None
    whole = lens.target_logits.sum(1) + lens.added
    np.testing.assert_allclose(whole, np.broadcast_to(whole[-1], whole.shape), atol=1e-4)
    np.testing.assert_allclose(own.target_logits[-1], plain.target_logits[-1], atol=1e-4)
    if name != "gemma2":  # whose cap bends what is read at a state's own position
        lead = (own.target_logits - lens.target_logits)[:, -1] @ [1, -1]
        np.testing.assert_allclose(lead, np.full(len(lead), lead[-1]), atol=1e-4)


@pytest.mark.parametrize(("kind", "read"), [("logit", "own"), ("frozen", "own"), ("frozen", "last")])
def test_a_contrast_is_read_in_the_place_of_each_state(kind: str, read: str, demo: "infoflow.Model") -> None:
    prompt, other = "The capital of France is", "The capital of Italy is"
    lens = infoflow.logit_lens(demo, prompt, contrast=other, kind=kind, read=read)
    same = infoflow.logit_lens(demo, prompt, contrast=prompt, kind=kind, read=read)
    assert same.change is not None and same.hindsight is not None and same.hindsight[:, -1].all()
    np.testing.assert_allclose(same.change, 0, atol=1e-5)
    assert lens.change is not None and lens.hindsight is not None and lens.change.min() >= 0 and lens.change.max() <= 1 + 1e-6
    before = lens.tokens.index(" France")
    if kind == "logit":  # read by itself, the other's states are those of its own lens
        theirs = infoflow.logit_lens(demo, other)
        np.testing.assert_array_equal(lens.other_ids, theirs.token_ids)
        np.testing.assert_allclose(lens.other_probs, theirs.probs, atol=1e-5)
    np.testing.assert_allclose(lens.change[:, :before], 0, atol=1e-5)  # up to there the two are the same
    assert lens.change[0, before] > 0.1
    name = lens.names[int(lens.raised_ids[-1, -1, 0])] if lens.raised_ids is not None else ""
    assert name == " Paris"
    with pytest.raises(BadPrompt, match="The contrast has"):
        infoflow.logit_lens(demo, prompt, contrast="The capital is", kind=kind, read=read)
    frame = lens.to_frame()
    assert {"other", "other_prob", "change", "raised", "by"} <= set(frame.columns) and len(frame) == lens.token_ids.size


@pytest.mark.parametrize("name", ["gpt2", "llama", "cohere", "mixtral"])
def test_what_is_specific_is_what_locating_says(name: str) -> None:
    """<x - x', d logit / d x> of every cell, by going backward; here both states are pushed on and read."""
    family = tiny.model(name)
    ids = [t.id for t in family.encode(PROMPT)]
    contrast = (*ids[:2], *[(i + 3) % 250 for i in ids[2:]])
    lens = infoflow.logit_lens(family, PROMPT, k=300, targets=[65, 70], kind="frozen", read="last", contrast=contrast)
    where = infoflow.locate(family, PROMPT, 65, 70, contrast=contrast)
    assert lens.rows == where.rows and lens.other_target_logits is not None and where.specific is not None
    lead, other = lens.target_logits @ [1, -1], lens.other_target_logits @ [1, -1]
    np.testing.assert_allclose(lead, where.by_cell, atol=1e-4)
    np.testing.assert_allclose(lead - other, where.specific, atol=1e-4)
    assert lens.raised is not None and lens.raised_ids is not None and lens.other_ids is not None and lens.change is not None
    mine, theirs = (np.empty_like(lens.probs) for _ in range(2))
    np.put_along_axis(mine, lens.token_ids, lens.probs, -1)
    np.put_along_axis(theirs, lens.other_ids, lens.other_probs, -1)
    np.testing.assert_allclose(lens.raised, -np.sort(theirs - mine, -1), atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(mine - theirs, lens.raised_ids, -1), lens.raised, atol=1e-5)
    np.testing.assert_allclose(lens.change, np.abs(mine - theirs).sum(-1) / 2, atol=1e-5)


def test_the_bank_is_neutral_texts(demo: "infoflow.Model") -> None:
    lens = infoflow.logit_lens(demo, "The capital of France is", contrast="bank", kind="frozen", positions=[-1])
    assert lens.contrast == "bank" and lens.hindsight is not None and not lens.hindsight[-1, 0]


def test_bad_input_gets_a_sentence(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadPrompt, match="There is no row 'L9.post'.*embed, L0.mid"):
        infoflow.logit_lens(demo, "a b", rows=["L9.post"])
    with pytest.raises(BadPrompt, match="Only a frozen one reads it at the last"):
        infoflow.logit_lens(demo, "a b", read="last")
    with pytest.raises(BadPrompt, match="There is no row 'L0.mid'"):
        infoflow.logit_lens(tiny.model("gpt_neox"), PROMPT, kind="frozen", rows=["L0.mid"])
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "30")
    with pytest.raises(TooLarge, match="fewer positions or rows"):
        infoflow.logit_lens(demo, "a b c " * 40, kind="frozen", read="last")


def test_what_it_needs_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of four tokens, of which the second and the last are read. To the last: the first and third are one source, so
    that 1, 2, 2 and 3 sources have arrived, and at each position the biases."""
    monkeypatch.setattr("infoflow.models.memory.chunk", lambda allowed: 1_000)
    model = tiny.model("gpt2")
    s = model.sizes()
    assert s.biased and not s.half and not s.parallel
    fixed = 3 * s.heads * 16
    own = 4 * (2 * 2 * 2 * s.d_model + 2 * 2 * 2 * s.d_model + fixed)
    packed, sources = 1 + 2 + 2 + 3 + 4, 3 + 1
    to_last = 4 * (2 * packed * s.d_model + 2 * 2 * sources * s.d_model + 2 * 5 * 4 * s.heads * s.d_head + fixed)
    assert frozen_lens.needed_bytes(model, 4, 2, (1, 3), False, 1) == own + 1_000
    assert frozen_lens.needed_bytes(model, 4, 2, (1, 3), True, 1) == to_last + 1_000


def test_long_prompts_whose_end_is_read_take_little() -> None:
    """A thousand tokens, of which two dozen are read: what was not read is one source, and what has not arrived takes nothing."""
    model = tiny.model("llama")
    few, many = (frozen_lens.needed_bytes(model, 300, 9, range(300 - n, 300), True, 2) for n in (24, 300))
    none = frozen_lens.needed_bytes(model, 300, 0, range(300), True, 2)
    assert few - none < (many - none) / 5
