"""A minimal circuit: knock-outs are what hooks make of them, both figures are of runs of their own, and the search is greedy."""

from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses import circuits
from infoflow.analyses.circuits import MLP, Knockouts
from infoflow.errors import BadPrompt, Cancelled
from infoflow.text.neutral import NEUTRAL, neutral_ids
from tests.helpers import tiny

PROMPT = "Mary saw a"


def knocked_out(model: infoflow.Model, units: set[tuple[int, int]], ids: list[int]) -> float:
    """The lead of plain transformers where hooks put means over neutral texts into heads and MLPs."""
    plan, hf = model.plan(), model._hf
    layers = hf.get_submodule(plan.layers)
    prompt = [t.id for t in model.encode(PROMPT)]
    texts = [neutral_ids(model.encode, number, len(prompt)) for number in range(len(NEUTRAL))]

    def output(index: int) -> Any:
        return layers[index].get_submodule(plan.attention).get_submodule(plan.output)

    def mlp(index: int) -> Any:
        return layers[index].get_submodule(plan.mlp_post_norm or plan.down)

    seen: dict[tuple[int, str], list[torch.Tensor]] = {}
    hooks = []
    for i in range(len(layers)):
        note = lambda key, x: seen.setdefault(key, []).append(x.clone())  # noqa: E731
        hooks.append(output(i).register_forward_pre_hook(lambda _, args, i=i, note=note: note((i, "z"), args[0])))
        hooks.append(mlp(i).register_forward_hook(lambda _, __, out, i=i, note=note: note((i, "mlp"), out)))
    with torch.no_grad():
        for text in texts:
            hf(torch.tensor([text]), use_cache=False)
    for hook in hooks:
        hook.remove()
    mean = {key: torch.stack(values).mean(0) for key, values in seen.items()}

    def without_heads(_: Any, args: Any, i: int) -> Any:
        x = args[0].clone()
        for layer, head in units:
            if layer == i and head != MLP:
                part = slice(head * plan.d_head, (head + 1) * plan.d_head)
                x[..., part] = mean[i, "z"][..., part]
        return (x, *args[1:])

    hooks = [output(i).register_forward_pre_hook(lambda _, args, i=i: without_heads(_, args, i)) for i in range(len(layers))]
    hooks += [mlp(i).register_forward_hook(lambda _, __, out, i=i: mean[i, "mlp"]) for i, head in units if head == MLP]
    with torch.no_grad():
        logits = hf(torch.tensor([prompt]), use_cache=False).logits[0, -1]
    for hook in hooks:
        hook.remove()
    return float(logits[ids[0]] - (logits[ids[1]] if len(ids) > 1 else 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "gemma2", "bloom"])
def test_knock_outs_are_what_hooks_make_of_them(name: str) -> None:
    model = tiny.model(name)
    knock = Knockouts(model, model.encode(PROMPT), [65, 66])
    sets: list[list[tuple[int, int]]] = [[(1, 2)], [(0, MLP)], [(2, 0), (2, 3), (0, 1), (1, MLP)], knock.units]
    leads, whole = knock.leads(sets)
    scale = max(1.0, float(np.abs(leads).max()))
    assert whole == pytest.approx(infoflow.attribute(model, PROMPT, 65, 66).model_total, abs=1e-5 * scale)
    for some, found in zip(sets, leads, strict=True):
        assert found == pytest.approx(knocked_out(model, set(some), [65, 66]), abs=2e-5 * scale), some
    (more,), always = knock.leads([[(2, 1)]], always=[(0, MLP), (1, 2)])
    assert always == pytest.approx(knocked_out(model, {(0, MLP), (1, 2)}, [65, 66]), abs=2e-5 * scale)
    assert more == pytest.approx(knocked_out(model, {(0, MLP), (1, 2), (2, 1)}, [65, 66]), abs=2e-5 * scale)


@pytest.mark.slow
def test_the_circuit_keeps_what_was_asked_for_and_no_part_can_go(demo: infoflow.Model) -> None:
    prompt = "When Mary and John went to the store, John gave a drink to"
    told: list[str] = []
    found = infoflow.circuit(demo, prompt, " Mary", " John", on_progress=lambda doing, fraction: told.append(doing))
    assert found.faithfulness >= 0.8 and found.size < 27 and "Round 1: 54 parts are left" in told
    inside = set(found.members)
    knock = Knockouts(demo, demo.encode(prompt), [found.target, found.against or 0])
    outside = [unit for unit in knock.units if unit not in inside]
    (alone, without), lead = knock.leads([outside, list(inside)])
    assert (found.alone, found.without, found.lead) == pytest.approx((alone, without, lead), abs=1e-4)
    assert found.faithfulness == pytest.approx((alone - found.nothing) / (lead - found.nothing))
    assert found.completeness == pytest.approx(1 - (without - found.nothing) / (lead - found.nothing))
    least = found.nothing + 0.8 * (lead - found.nothing)
    further, _ = knock.leads([[unit] for unit in found.members], outside)
    assert (further < least + 1e-4).all()  # minimal: without any one more it keeps less
    table = found.to_frame()
    assert len(table) == 54 and table["in_circuit"].sum() == found.size and found.names[0] == circuits.named(found.members[0])
    (one,), _ = knock.leads([[(4, 7)]])
    assert float(table.loc[table["name"] == "4.7", "knocked"].iloc[0]) == pytest.approx(lead - one, abs=1e-4)
    more = infoflow.circuit(demo, prompt, " Mary", " John", keep=0.95)
    assert more.size >= found.size and more.faithfulness >= 0.95


def test_bad_input_and_a_stop() -> None:
    model = tiny.model("llama")
    for more, said in (
        ({"keep": 1.0}, "between 0 and 1"), ({"against": 65}, "are the same"), ({"texts": "It"}, "needs as many"),
        ({"position": 99}, "no position 99"),
    ):  # fmt: skip
        with pytest.raises(BadPrompt, match=said):
            infoflow.circuit(model, PROMPT, 65, **more)
    one, other = (infoflow.attribute(model, PROMPT, 65, 66).model_total, 0.0)
    target, against = (66, 65) if one > other else (65, 66)
    knock = Knockouts(model, model.encode(PROMPT), [target, against])
    (nothing,), lead = knock.leads([knock.units])
    if lead <= nothing:
        with pytest.raises(BadPrompt, match="no part of the model speaks for this answer"):
            infoflow.circuit(model, PROMPT, target, against)

    def stop(doing: str, fraction: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        infoflow.circuit(model, PROMPT, 65, on_progress=stop)
