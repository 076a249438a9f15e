"""What any other text would have said too: zero against itself, states swapped in a frozen twin, exact patching."""

from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses import contrast as contrasts
from infoflow.analyses.request import from_dict
from infoflow.errors import BadPrompt
from infoflow.text.neutral import NEUTRAL
from tests.helpers import tiny
from tests.helpers.frozen_network import FrozenNetwork

PROMPT, OTHER, TARGET, RIVAL = "When Mary and John", "Then Anna and Fred", 65, 66


def test_against_itself_all_is_hindsight(family: infoflow.Model) -> None:
    where = infoflow.locate(family, PROMPT, TARGET, contrast=PROMPT)
    told = infoflow.attribute(family, PROMPT, TARGET, contrast=PROMPT)
    assert np.abs(where.specific).max() < 1e-5 and np.abs(told.specific).max() < 1e-5
    np.testing.assert_allclose(where.hindsight, where.by_cell, atol=1e-5)
    assert where.contrast_total == pytest.approx(where.total, abs=1e-4)
    assert told.contrast_total == pytest.approx(told.total, abs=1e-4)


@pytest.mark.slow
def test_a_contrast_changes_nothing_else(family: infoflow.Model) -> None:
    plain, held = infoflow.locate(family, PROMPT, TARGET), infoflow.locate(family, PROMPT, TARGET, contrast=OTHER)
    assert plain.specific is plain.hindsight is plain.seen is plain.contrast_total is None
    np.testing.assert_array_equal(plain.by_cell, held.by_cell)
    told = infoflow.attribute(family, PROMPT, TARGET, contrast=OTHER)
    np.testing.assert_array_equal(infoflow.attribute(family, PROMPT, TARGET).by_source, told.by_source)
    np.testing.assert_allclose(held.specific[0], told.specific, atol=1e-5)  # the bottom row is by source
    assert held.contrast_total == pytest.approx(infoflow.attribute(family, OTHER, TARGET).total, abs=1e-4)
    assert np.abs(told.specific).max() > 1e-3  # or the above says nothing


def test_a_state_swapped_in_the_frozen_network_takes_what_is_specific(family: infoflow.Model) -> None:
    """transformers' own forward with patterns, gates and scales of the prompt's run replayed, one residual the contrast's."""
    found = infoflow.locate(family, PROMPT, TARGET, contrast=OTHER)
    ids, other_ids = ([t.id for t in family.encode(text)] for text in (PROMPT, OTHER))
    network, other = (FrozenNetwork(family._hf, family.architecture, of) for of in (ids, other_ids))
    scale = family.plan().logit_scale
    whole = scale * float(network.post(network.embeddings)[1][TARGET])
    for position in (1, len(ids) - 1):
        embeddings, states = network.embeddings.clone(), other.residuals[-2]
        embeddings[position] = other.embeddings[position]

        def swapped(module: torch.nn.Module, args: tuple, states: torch.Tensor = states, position: int = position) -> tuple:
            x = args[0].clone()
            x[0, position] = states[position]
            return (x, *args[1:])

        left = {0: scale * float(network.post(embeddings)[1][TARGET])}
        hook = network.layers[-1].register_forward_pre_hook(swapped)
        left[found.row_after(family.n_layers - 1) - 1] = scale * float(network.post(network.embeddings)[1][TARGET])
        hook.remove()
        for row, value in left.items():
            assert whole - value == pytest.approx(float(found.specific[row, position]), abs=2e-4 * max(1, abs(whole)))


def test_of_several_prompts_it_is_the_mean(demo: infoflow.Model) -> None:
    texts = ("The capital of Italy is", "The capital of Spain is")
    each = [infoflow.locate(demo, "The capital of France is", " Paris", contrast=text) for text in texts]
    both = infoflow.locate(demo, "The capital of France is", " Paris", contrast=texts)
    np.testing.assert_allclose(both.specific, (each[0].specific + each[1].specific) / 2, atol=1e-4)
    assert both.contrast_total == pytest.approx((each[0].contrast_total + each[1].contrast_total) / 2, abs=1e-4)
    assert from_request(both).contrast == texts


def from_request(found: infoflow.Location) -> "infoflow.analyses.location.LocationRequest":
    return found.provenance.request


def test_the_bank_is_as_long_as_the_prompt(demo: infoflow.Model) -> None:
    for prompt in ("hi", "The capital of France is", "The old wizard walked through the forest. " * 12):
        found = infoflow.attribute(demo, prompt, " Paris", contrast="bank")
        assert found.specific.shape == found.by_source.shape and np.isfinite(found.specific).all()
        np.testing.assert_allclose(found.hindsight + found.specific, found.by_source, atol=1e-5)
    single = infoflow.attribute(demo, "The", " Paris", contrast="bank").specific
    assert abs(single[0]) < 1e-5  # every text begins with the same mark, whose state is no other's
    assert len(NEUTRAL) > 3


@pytest.mark.parametrize("n", [1, 2, 7, 31, 255, 256])
def test_the_bank_fits_a_model_that_reads_few_tokens(n: int) -> None:
    model = tiny.model("llama")  # 256 tokens, of which each byte is one
    assert model.longest == 256
    found = contrasts.prompts_of(model, "bank", model.encode([9] * n))
    assert [len(ids) for ids in found] == [n] * len(NEUTRAL) and (n == 1 or len(set(map(tuple, found))) > 1)


def test_swapping_a_whole_row_on_top_is_seen_whole_where_no_norm_stands_between() -> None:
    """The share of a swap's effect that frozen paths see: on top only the final norm's scale differs."""
    model = tiny.model("llama")
    found = infoflow.locate(model, PROMPT, TARGET, against=RIVAL, contrast=OTHER)
    norm = model._hf.model.norm
    with torch.no_grad():
        seen: list[torch.Tensor] = []
        hook = norm.register_forward_pre_hook(lambda m, a: seen.append(a[0][0, -1]))
        for prompt in (PROMPT, OTHER):
            model._hf(torch.tensor([[t.id for t in model.encode(prompt)]]))
        hook.remove()
        direction = (model._hf.lm_head.weight[TARGET] - model._hf.lm_head.weight[RIVAL]) * norm.weight
        rms = (seen[0].pow(2).mean() + norm.variance_epsilon).sqrt()
        expected = float((seen[0] - seen[1]) @ direction / rms)
    assert float(found.specific[-1].sum()) == pytest.approx(expected, abs=1e-5)
    assert float(found.seen[-1]) == pytest.approx(expected / (found.total - found.contrast_total), rel=1e-4)


def test_another_length_is_refused_with_both_tokenisations(demo: infoflow.Model) -> None:
    message = r"The contrast has 5 tokens and the prompt 6.*Prompt: .* France · is. Contrast: .*of · is\."
    for run in (infoflow.attribute, infoflow.locate):
        with pytest.raises(BadPrompt, match=message):
            run(demo, "The capital of France is", " Paris", contrast="The capital of is")
        with pytest.raises(BadPrompt, match="A contrast is a prompt, several prompts, token ids, or 'bank'"):
            run(demo, "The capital of France is", " Paris", contrast=[])
        with pytest.raises(BadPrompt, match="empty"):
            run(demo, "The capital of France is", " Paris", contrast=" ")


def test_without_a_target_the_contrast_is_of_the_likeliest(demo: infoflow.Model) -> None:
    found = infoflow.locate(demo, "The capital of France is", contrast="The capital of Italy is")
    named = infoflow.locate(demo, "The capital of France is", " Paris", contrast="The capital of Italy is")
    assert found.target == named.target
    np.testing.assert_allclose(found.specific, named.specific, atol=1e-5)
    assert found.contrasts[0] == "The capital of Italy is"


@pytest.mark.slow
def test_the_table_of_a_trained_model(smol: infoflow.Model) -> None:
    """What `France`, the last position and `The` hold at the residual that a layer reads, and what another prompt says there."""
    layers = (8, 16, 20, 22, 24, 28)
    expected = {
        "The capital of Italy is": {
            3: (-1.23, -1.58, -1.48, -1.41, 0.03, 0.16), 4: (1.48, 2.09, 1.82, 2.30, -0.76, -3.84),
            0: (4.40, 3.24, 3.08, 2.92, 2.92, 0.85),
        },
        "The owner of cats is": {
            3: (-0.03, 0.02, -0.15, -0.01, -0.32, 0.19), 4: (1.70, 2.51, 2.42, 2.36, 3.35, 4.05),
        },
    }  # fmt: skip
    for contrast, table in expected.items():
        found = infoflow.locate(smol, "The capital of France is", " Paris", against=" Rome", contrast=contrast)
        for position, values in table.items():
            assert [float(found.hindsight[2 * layer, position]) for layer in layers] == pytest.approx(values, abs=0.05)


PAIRS = {
    "names": (
        "When Mary and John went to the store, John gave a drink to",
        "When Mary and John went to the store, Mary gave a drink to", " Mary", " John", 0.89,
    ),
    "capital": ("The capital of France is", "The capital of Italy is", " Paris", " Rome", 0.83),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_what_is_specific_goes_with_exact_patching(name: str, smol: infoflow.Model) -> None:
    """Every residual of the contrast put into the run, one at a time: over layers and positions the logits' fall goes with what
    is specific, and not with what cells hold by themselves."""
    prompt, other, target, rival, expected = PAIRS[name]
    found = infoflow.locate(smol, prompt, target, against=rival, contrast=other)
    ids, other_ids = (torch.tensor([[t.id for t in smol.encode(text)]]) for text in (prompt, other))
    layers, n = smol._hf.model.layers, ids.shape[1]
    first = int((ids != other_ids).flatten().nonzero()[0])
    """before it both are the same, and so is what is put in"""
    kept, more = list[torch.Tensor](), dict[str, Any]()

    def seen(module: torch.nn.Module, args: tuple, given: dict) -> None:
        kept.append(args[0].clone())
        more.update(given)

    hooks = [layer.register_forward_pre_hook(seen, with_kwargs=True) for layer in layers]
    with torch.no_grad():
        smol._hf(other_ids, use_cache=False)
        others = [states[0] for states in kept]
        kept.clear()
        smol._hf(ids.expand(n - first, -1), use_cache=False)  # as many of the run as are left: each has one put in
        for hook in hooks:
            hook.remove()
        effect = torch.zeros(len(layers), n)
        for index, x in enumerate(kept):
            x[range(n - first), range(first, n)] = others[index][first:]
            for layer in layers[index:]:
                x = layer(x, **more)
            logits = smol._hf.lm_head(smol._hf.model.norm(x[:, -1]))
            effect[index, first:] = found.total - (logits[:, found.target] - logits[:, found.against])
    rows = [2 * layer for layer in range(len(layers))]
    of = {name: np.corrcoef(value[rows].ravel(), effect.numpy().ravel())[0, 1] for name, value in (
        ("own", found.by_cell), ("specific", found.specific),
    )}  # fmt: skip
    assert of["specific"] == pytest.approx(expected, abs=0.03) and of["own"] < expected - 0.2


@pytest.mark.slow
def test_each_step_of_a_text_is_held_against_what_a_prompt_of_its_own_is(family: infoflow.Model) -> None:
    gen = infoflow.generate(family, PROMPT, 3)
    held = infoflow.generate(family, PROMPT, output=gen.output_ids, contrast=OTHER)
    assert gen.specific is gen.hindsight is gen.contrast_total is None
    np.testing.assert_array_equal(held.by_source, gen.by_source)
    other = [t.id for t in family.encode(OTHER)]
    for step in range(3):
        written, token = gen.output_ids[:step], gen.output_ids[step]
        told = infoflow.attribute(family, [*gen.prompt_ids, *written], token, contrast=[*other, *written])
        seen = gen.n_prompt + step
        np.testing.assert_allclose(held.specific[step, :seen], told.specific, atol=1e-4)
        assert not held.specific[step, gen.n_prompt :].any()  # what was written stays
        assert held.contrast_total[step] == pytest.approx(told.contrast_total, abs=1e-4)
    np.testing.assert_allclose(held.specific + held.hindsight, held.by_source, atol=1e-5)


def test_a_text_is_held_against_neutral_ones_as_long_as_the_whole(demo: infoflow.Model) -> None:
    gen = infoflow.generate(demo, PROMPT, 3, contrast="bank")
    for step in (0, 2):
        whole = [*gen.prompt_ids, *gen.output_ids]
        bank = contrasts.prompts_of(demo, "bank", demo.encode(whole))
        seen = gen.n_prompt + step
        told = [infoflow.attribute(demo, whole[:seen], gen.output_ids[step], contrast=one[:seen]).specific for one in bank]
        np.testing.assert_allclose(gen.specific[step, :seen], np.mean(told, 0), atol=1e-4)
    frame = gen.to_frame()
    np.testing.assert_allclose(frame["specific"] + frame["hindsight"], frame["logit"], atol=1e-5)


def test_in_the_chat_template_the_contrast_goes_through_it_too(demo: infoflow.Model) -> None:
    gen = infoflow.generate(demo, "The capital of France is", 2, chat=True, contrast="The capital of Italy is")
    apart = np.nonzero(gen.specific[0])[0].tolist()
    assert [gen.labels[i] for i in apart] == ["France"]


def test_a_text_that_is_given_is_read_and_not_written(demo: infoflow.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    gen = infoflow.generate(demo, PROMPT, 3)
    monkeypatch.setattr(infoflow.Model, "generate", lambda *_, **__: pytest.fail("the model wrote"))
    read = infoflow.generate(demo, PROMPT, output=gen.output_ids)
    np.testing.assert_array_equal(read.by_source, gen.by_source)
    assert read.text == gen.text and read.how == "read, not written" and read.stopped == gen.stopped


def test_words_that_matter_are_swapped_for_what_the_model_would_have_written(demo: infoflow.Model) -> None:
    found = infoflow.locate(demo, "The old wizard walked through the forest")
    assert found.contrasts  # "old" is of a kind
    prompt = "The wizard walked through the forest"
    told = infoflow.locate(demo, prompt)
    assert told.contrasts
    likely = infoflow.logit_lens(demo, prompt, 8).token_ids[-1]
    for other in told.contrasts:
        pairs = zip(demo.encode(prompt), demo.encode(other), strict=True)
        (place,) = [p for p, (a, b) in enumerate(pairs) if a.id != b.id]
        assert demo.encode(other)[place].id in likely[place - 1]


@pytest.mark.parametrize("contrast", [(), ""])
def test_a_contrast_that_is_empty_is_told(contrast: object, demo: "infoflow.Model") -> None:
    """As a file may hold it, which no function was asked for."""
    for analysis in ("location", "logit_lens"):
        request = from_dict({"analysis": analysis, "prompt": "The sky is", "contrast": contrast})
        with pytest.raises(BadPrompt, match="The contrast is empty"):
            request.run(demo)
