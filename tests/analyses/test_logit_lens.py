"""The logit lens: its last row is the model, every other the obvious computation on hidden states of a plain forward pass."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses import logit_lens
from infoflow.analyses.logit_lens import LensRequest
from infoflow.charts import logit_lens as charts
from infoflow.errors import BadPrompt, TooLarge
from infoflow.models import memory
from infoflow.tables import logit_lens as lens_tables
from infoflow.tables import promotions as promotion_tables
from infoflow.traced import logit_lens as traced
from tests.helpers import tiny
from tests.helpers.drawn import drawing

PROMPT = "When Mary and John"
FAMILIES = ["llama", "gpt2", "gemma2", "cohere", "granite", "gpt_neox", "olmo2"]


def test_the_last_row_is_the_models_output(family: "infoflow.Model") -> None:
    lens = infoflow.logit_lens(family, PROMPT, k=8)
    with torch.no_grad():
        logits = family._hf(torch.tensor([list(lens.prompt_ids)])).logits[0]
    expected = logits.topk(8)
    np.testing.assert_allclose(lens.logits[-1], expected.values, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(lens.probs[-1], logits.softmax(-1).gather(1, expected.indices), atol=1e-5)
    assert lens.max_error < 1e-5 and lens.rows[-1] == f"L{family.n_layers - 1}.post" and lens.n_layers == family.n_layers
    np.testing.assert_allclose(lens.kl[-1], 0, atol=1e-5)
    assert lens.agrees[-1] == 1.0


def final_norm_and_head(hf: torch.nn.Module, row) -> tuple[torch.nn.Module, torch.nn.Module]:  # type: ignore[no-untyped-def]
    return hf.get_submodule(row.final_norm), hf.get_submodule(row.unembed)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_row_is_the_obvious_computation(name: str) -> None:
    model = tiny.model(name)
    hf, config = model._hf, model._hf.config
    lens = infoflow.logit_lens(model, PROMPT, k=4, targets=[65, 70], mids=False)
    norm, head = final_norm_and_head(hf, model.architecture)
    last: list[torch.Tensor] = []
    layers = hf.get_submodule(model.architecture.layers)
    hook = layers[-1].register_forward_hook(lambda m, i, o: last.append(o[0] if isinstance(o, tuple) else o))
    with torch.no_grad():
        out = hf(torch.tensor([list(lens.prompt_ids)]), output_hidden_states=True)
        hook.remove()
        stream = [*out.hidden_states[:-1], last[0]]  # the last of transformers' own is already normed
        logits = []
        for x in stream:
            raw = head(norm(x))[0] * getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
            cap = getattr(config, "final_logit_softcapping", None)
            logits.append(cap * torch.tanh(raw / cap) if cap else raw)
    p = [torch.softmax(each.double(), -1).numpy() for each in logits]
    for r, each in enumerate(logits):
        np.testing.assert_allclose(lens.logits[r], each.topk(4).values, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(lens.entropy[r], -(p[r] * np.log(p[r])).sum(-1), atol=1e-4)
        np.testing.assert_allclose(lens.kl[r], (p[-1] * np.log(p[-1] / p[r])).sum(-1), atol=1e-3)
        for n, token in enumerate((65, 70)):
            np.testing.assert_allclose(lens.target_probs[r, :, n], p[r][:, token], atol=1e-5)
            ranks = (each > each[:, token : token + 1]).sum(-1)
            np.testing.assert_array_equal(lens.target_ranks[r, :, n], ranks)
        for position in range(len(lens.tokens)):
            np.testing.assert_allclose(lens.answer_probs[r, position], p[r][position, lens.answers[position]], atol=1e-5)
    for position in (0, len(lens.tokens) - 1):
        moved = infoflow.promotions(model, PROMPT, position - len(lens.tokens), mids=False)
        assert moved.position == position and moved.rows == lens.rows and not moved.gained[0].any()
        for r in range(1, len(p)):
            gained = p[r][position] - p[r - 1][position]
            np.testing.assert_allclose(moved.gained[r, :3], np.sort(gained)[::-1][:3], atol=1e-5)
            np.testing.assert_allclose(moved.gained[r, 3:], np.sort(gained)[:3], atol=1e-5)
            for n, token in enumerate(moved.token_ids[r].tolist()):
                assert moved.gained[r, n] == pytest.approx(gained[token], abs=1e-5)
                assert moved.rank_after[r, n] == (p[r][position] > p[r][position, token]).sum()
                assert moved.rank_before[r, n] == (p[r - 1][position] > p[r - 1][position, token]).sum()


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "granite", "gpt_neox", "olmo2", "opt", "bloom"])
def test_rows_after_attention_lie_between(name: str) -> None:
    """The residual after attention, found by a hook on attention's write, gives the mid rows."""
    model = tiny.model(name)
    hf, row = model._hf, model.architecture
    both, posts = (infoflow.logit_lens(model, PROMPT, mids=m) for m in (True, False))
    assert both.rows[:3] == ("embed", "L0.mid", "L0.post") and posts.rows[:2] == ("embed", "L0.post")
    np.testing.assert_allclose(both.logits[[0, *range(2, len(both.rows), 2)]], posts.logits, rtol=1e-5, atol=1e-5)
    seen: dict[str, torch.Tensor] = {}
    layer = hf.get_submodule(row.layers)[1]

    def keep(name: str, first: bool = False):  # type: ignore[no-untyped-def]
        def hook(module, args, kwargs, out):  # type: ignore[no-untyped-def]
            seen[name] = (args[0] if args else kwargs["hidden_states"]) if first else (out[0] if isinstance(out, tuple) else out)

        return hook

    layer.register_forward_hook(keep("in", first=True), with_kwargs=True)
    after = row.attention_post_norm if row.attention_post_norm else row.attention
    layer.get_submodule(after).register_forward_hook(keep("write"), with_kwargs=True)
    with torch.no_grad():
        hf(torch.tensor([list(both.prompt_ids)]))
        norm, head = final_norm_and_head(hf, row)
        write = seen["write"] if name != "bloom" else seen["write"] - seen["in"]  # its attention adds the residual itself
        middle = seen["in"] + getattr(hf.config, "residual_multiplier", 1.0) * write
        raw = head(norm(middle)).reshape(-1, hf.config.vocab_size) / getattr(hf.config, "logits_scaling", 1.0)
        cap = getattr(hf.config, "final_logit_softcapping", None)
        raw = cap * torch.tanh(raw / cap) if cap else raw
    np.testing.assert_allclose(both.logits[3], raw.topk(5).values, rtol=1e-4, atol=1e-4)


def test_a_case_worked_out_by_hand() -> None:
    """Embeddings (1, 1), (1, -1); attention adds the mean so far; token 1 reads the first coordinate, token 2 the second."""
    lens = infoflow.logit_lens(tiny.on_paper(), [1, 2], k=1, targets=[1, 2])
    np.testing.assert_allclose(lens.target_logits[0], [[1, 1], [1, -1]], atol=1e-6)
    scale = math.sqrt(2.5)  # rms of (2, -1)
    np.testing.assert_allclose(lens.target_logits[1, 1], [2 / scale, -1 / scale], atol=1e-6)
    z = 255 + math.e + 1 / math.e
    assert lens.target_probs[0, 1, 0] == pytest.approx(math.e / z)
    p = np.array([math.e / z, 1 / (math.e * z)] + [1 / z] * 255)
    assert lens.entropy[0, 1] == pytest.approx(-(p * np.log(p)).sum(), rel=1e-5)
    assert lens.target_ranks[0, 1].tolist() == [0, 256] and lens.token_ids[0, 1, 0] == 1


def test_work_in_small_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = infoflow.logit_lens(tiny.model("gemma2"), PROMPT, targets=[65])
    monkeypatch.setattr(memory, "product", lambda allowed: 1)
    pieces = infoflow.logit_lens(tiny.model("gemma2"), PROMPT, targets=[65])
    np.testing.assert_allclose(whole.logits, pieces.logits, atol=1e-5)
    np.testing.assert_array_equal(whole.answers, pieces.answers)
    assert pieces.max_error < 1e-5


def test_moved_tokens_in_small_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = infoflow.promotions(tiny.model("gemma2"), PROMPT)
    monkeypatch.setattr(memory, "product", lambda allowed: 1)
    pieces = infoflow.promotions(tiny.model("gemma2"), PROMPT)
    assert pieces.gained.shape == whole.gained.shape == (len(whole.rows), whole.token_ids.shape[1])
    np.testing.assert_allclose(pieces.gained, whole.gained, atol=1e-6)
    np.testing.assert_array_equal(pieces.rank_before, whole.rank_before)


def test_cells_that_are_read_in_many_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = infoflow.logit_lens(tiny.model("gpt2"), PROMPT, targets=[65, 66])
    cells = len(whole.rows) * 257
    for together in (2 * cells, 3 * 257):  # two positions at a time; three rows of one
        monkeypatch.setattr(traced, "PIECE_BYTES", 4 * together)
        pieces = infoflow.logit_lens(tiny.model("gpt2"), PROMPT, targets=[65, 66])
        for name in ("token_ids", "target_ranks", "answers"):
            np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))
        for name in ("probs", "entropy", "kl", "target_probs", "answer_probs"):
            np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), atol=1e-6)


def test_some_positions_are_those_of_all(family: "infoflow.Model") -> None:
    whole = infoflow.logit_lens(family, PROMPT, targets=[65])
    n = len(whole.tokens)
    some = infoflow.logit_lens(family, PROMPT, targets=[65], positions=[-1, 2, 2, 0])
    assert some.positions == (0, 2, n - 1) and whole.positions == tuple(range(n)) and some.max_error < 1e-5
    for name in ("logits", "probs", "entropy", "kl", "target_probs", "answer_probs"):
        np.testing.assert_allclose(getattr(some, name), getattr(whole, name)[:, [0, 2, n - 1]], atol=2e-5)
    np.testing.assert_array_equal(some.answers, whole.answers[[0, 2, n - 1]])
    frame = some.to_frame()
    assert frame["position"].unique().tolist() == [0, 2, n - 1]
    assert frame["token"].unique().tolist() == [whole.position_labels[p] for p in (0, 2, n - 1)]
    assert [some.column(p) for p in some.positions] == [0, 1, 2]
    with pytest.raises(BadPrompt, match=f"Position 1 was not read. This lens has 0, 2, {n - 1}"):
        some.column(1)


def test_positions_count_from_both_ends() -> None:
    assert logit_lens.positions_of(None, 3) == (0, 1, 2)
    assert logit_lens.positions_of(tuple(range(-24, 0)), 3) == (0, 1, 2)  # before the first there is nothing
    assert logit_lens.positions_of((2, -1, 0), 4) == (0, 2, 3)
    for asked, said in (
        ((), "No position is asked for: the prompt has 4 tokens, 0 to 3"),
        ((0, 4), "no position 4"),
        ((-5,), "No"),
    ):
        with pytest.raises(BadPrompt, match=said):
            logit_lens.positions_of(asked, 4)


@pytest.mark.parametrize(("n", "k"), [(3, 3), (7, 2), (257, 5), (2048, 5), (5003, 1), (40_000, 9)])
def test_the_largest_are_found_without_sorting_all(n: int, k: int) -> None:
    x = torch.from_numpy(np.random.default_rng(n).standard_normal((2, 3, n)).astype(np.float32))
    x[0, 0, -1] = x[0, 1, 0] = 9.0  # at both ends
    values, ids = traced.largest(x, k)
    expected = x.topk(k)
    assert torch.equal(values, expected.values) and torch.equal(ids.long(), expected.indices)
    same = traced.largest(torch.zeros(1, n), k)[1]
    assert same.unique().numel() == k  # of equals, no one twice


def test_tokens_without_a_chance_count_nothing() -> None:
    """Logits 0 and log 3 of two tokens, all others -inf: p = 1/4, 3/4; against 1/2, 1/2 of the output."""
    x = torch.full((1, 2, 300), -math.inf)
    x[0, 0, :2] = torch.tensor([0.0, math.log(3)])
    x[0, 1, :2] = 0.0
    goal = x[:, 1].log_softmax(-1)
    lost = (goal.exp() * goal.clamp_min(-1e30)).sum(-1)
    found = traced._measured(x.clone(), torch.empty_like(x), goal.exp(), lost, torch.zeros(1, 1, dtype=torch.int32), 1, 2)
    p = np.array([0.25, 0.75])
    assert found["entropy"][0].tolist() == pytest.approx([-(p * np.log(p)).sum(), math.log(2)])
    assert found["kl"][0].tolist() == pytest.approx([0.5 * np.log(0.5 / p).sum(), 0], abs=1e-6)
    assert found["log_sum"][0].tolist() == pytest.approx([math.log(4), math.log(2)]) and found["target_ranks"][
        0, :, 0
    ].tolist() == [1, 0]


def test_the_shipped_model_turns_to_paris_in_its_last_layer(demo: "infoflow.Model") -> None:
    lens = infoflow.logit_lens(demo, "The capital of France is", targets=[" Paris"])
    rank, probability = lens.target_ranks[:, -1, 0], lens.target_probs[:, -1, 0]
    assert rank[0] > 100 and rank[-1] == 0 and probability[-1] > 0.9 > 0.2 > probability[-3]
    assert lens.names[int(lens.token_ids[-1, -1, 0])] == " Paris"
    frame = lens.to_frame()
    assert len(frame) == len(lens.rows) * len(lens.tokens) * 5
    last = frame[(frame.row == lens.rows[-1]) & (frame.position == 5) & (frame.place == 0)].iloc[0]
    assert last.predicted == " Paris" and last.prob == pytest.approx(float(probability[-1]))


def test_tables_of_the_lens(demo: "infoflow.Model") -> None:
    lens = infoflow.logit_lens(demo, "The capital of France is", targets=[" Paris"])
    two = infoflow.logit_lens(demo, "The capital of France is", targets=[" Paris", " Rome"])
    lead = lens_tables.grid(two, "lead")
    last = lead[(lead["order"] == len(lens.rows) - 1) & (lead["position"] == 5)].iloc[0]
    paris, rome = two.target_logits[-1, 5]
    assert last["value"] == pytest.approx(float(paris - rome), rel=1e-5) and lead["strength"].abs().max() == pytest.approx(1)
    for colour in lens_tables.COLOURS:
        if colour == "lead":
            continue
        cells = lens_tables.grid(lens, colour)
        assert len(cells) == len(lens.rows) * len(lens.tokens) and cells["strength"].between(0, 1).all()
    assert cells[cells["order"] == len(lens.rows) - 1]["final"].all()
    assert len(lens_tables.grid(lens, "rank", mids=False)) == (1 + lens.n_layers) * len(lens.tokens)
    likely = lens_tables.likeliest(lens, len(lens.rows) - 1, 5)
    assert likely["token"][0] == "Paris" and likely["probability"].is_monotonic_decreasing
    jump = promotion_tables.moved(
        infoflow.promotions(demo, "The capital of France is"), len(lens.rows) - 2
    )  # the last layer's attention brings the answer
    assert jump["token"][0] == "Paris" and jump["change"][0] > 0.5 and jump["rank"][0].endswith("→ 1")
    assert jump["change"].abs().is_monotonic_decreasing and (jump["change"] < 0).any()
    lines = lens_tables.trajectories(lens, 5)
    assert set(lines.loc[lines["followed"], "token"]) == {"Paris"} and lines.loc[lines["followed"], "rank"].notna().all()
    assert lines["id"].nunique() == 4 and lines.loc[~lines["followed"], "rank"].isna().all()
    both = infoflow.logit_lens(demo, "The capital of France is", targets=[demo.token_id(" a"), demo.token_id("a")])
    lines = lens_tables.trajectories(both, 5)  # tokens are told apart by id, not by what they look like
    assert lines.groupby("token")["id"].nunique().max() == 1 and lines["token"].nunique() == lines["id"].nunique()
    trusted = lens_tables.reliability(lens)
    assert trusted["agrees"].iloc[-1] == 1 and trusted["kl"].iloc[-1] == pytest.approx(0, abs=1e-6)
    assert "fewer than half" in lens_tables.hint(lens) and "MLP" in lens_tables.hint(lens)


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("prompt", ["a", '"quotes" \\ <b> $x$ back`tick`', "日本 😀"])
def test_charts_of_the_lens_draw_any_text(prompt: str, dark: bool, demo: "infoflow.Model") -> None:
    lens = infoflow.logit_lens(demo, prompt, targets=[5])
    last = len(lens.tokens) - 1
    for chart in (
        charts.table(lens_tables.grid(lens, "probability"), "probability", dark),
        charts.trajectories(lens_tables.trajectories(lens, last), "rank", dark),
        charts.trajectories(lens_tables.trajectories(lens, last), "probability", dark),
        charts.reliability(lens_tables.reliability(lens), dark),
    ):
        assert drawing(chart).marks


def test_bad_input_gets_a_sentence(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadPrompt, match="empty"):
        infoflow.logit_lens(demo, " ")
    with pytest.raises(BadPrompt, match="k is 0"):
        infoflow.logit_lens(demo, "a", k=0)
    with pytest.raises(BadPrompt, match="tokens here"):
        infoflow.logit_lens(demo, "a", targets=["two words here"])
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "1")
    with pytest.raises(TooLarge, match="are allowed"):
        infoflow.logit_lens(demo, "a b c " * 30)
    with pytest.raises(BadPrompt, match="1 is no intervention"):
        infoflow.logit_lens(demo, "a", interventions=[1])


def test_where_two_runs_part_by_hand(demo: "infoflow.Model") -> None:
    lens = infoflow.logit_lens(demo, "The capital of France is", mids=False)
    rows = len(lens.rows)

    def says(differ: list[int]) -> str:
        ids = lens.token_ids.copy()
        ids[differ, -1, 0] = demo.token_id(" Rome")
        return lens_tables.apart(lens, replace(lens, token_ids=ids, names={**lens.names, demo.token_id(" Rome"): " Rome"}))

    assert "differ" not in says([]) and "“Paris” (100%), the other with “Paris”" in says([])
    assert "differ from “Layer 4, after MLP” on" in says([1, rows - 2, rows - 1])  # apart, together again, apart for good
    assert "differ from “Embedding” on" in says(list(range(rows)))


def fitted(model: "infoflow.Model", seed: int, **more: Any) -> "infoflow.FittedLens":
    """Maps near the identity, of every row but the last."""
    width, layers = model.sizes().d_model, model.n_layers
    rows = ("embed", *(f"L{layer}.post" for layer in range(layers - 1)))
    draw = np.random.default_rng(seed)
    maps = {row: (np.eye(width) + draw.standard_normal((width, width)) / 10).astype(np.float32) for row in rows}
    return infoflow.FittedLens(kind="jacobian", rows=rows, matrices=maps, d_model=width, n_layers=layers, **more)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "cohere"])
def test_a_fitted_lens_maps_each_row_before_it_is_read(name: str, tmp_path: Path) -> None:
    """By hand: M x + b of transformers' own hidden states, through its final norm and unembedding."""
    model = tiny.model(name)
    hf, row, config = model._hf, model.architecture, model._hf.config
    draw = np.random.default_rng(3)
    made = fitted(model, 1)
    made = replace(made, kind="tuned", biases={r: draw.standard_normal(made.d_model).astype(np.float32) / 5 for r in made.rows})
    infoflow.save_lens(made, tmp_path / "lens.safetensors")
    lens = infoflow.logit_lens(model, PROMPT, k=4, kind="tuned", lens=str(tmp_path / "lens.safetensors"))
    assert lens.rows == (*made.rows, f"L{model.n_layers - 1}.post") and lens.max_error < 1e-5 and lens.kind == "tuned"
    norm, head = final_norm_and_head(hf, row)
    with torch.no_grad():
        out = hf(torch.tensor([list(lens.prompt_ids)]), output_hidden_states=True)
        for index, name_ in enumerate(made.rows):
            x = out.hidden_states[index] @ torch.from_numpy(made.matrices[name_]).T + torch.from_numpy(made.biases[name_])
            raw = head(norm(x))[0] * getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
            cap = getattr(config, "final_logit_softcapping", None)
            raw = cap * torch.tanh(raw / cap) if cap else raw
            np.testing.assert_allclose(lens.logits[index], raw.topk(4).values, rtol=1e-4, atol=2e-4)
    np.testing.assert_allclose(lens.logits[-1], infoflow.logit_lens(model, PROMPT, k=4).logits[-1], atol=1e-5)


def test_a_fitted_lens_may_have_some_rows_and_is_held_against_others(tmp_path: Path) -> None:
    model = tiny.model("llama")
    whole, file = fitted(model, 2), str(tmp_path / "lens.safetensors")
    infoflow.save_lens(replace(whole, rows=("L0.post",), matrices={"L0.post": whole.matrices["L0.post"]}), file)
    lens = infoflow.logit_lens(model, PROMPT, kind="jacobian", lens=file, contrast=PROMPT)
    assert lens.rows == ("L0.post", f"L{model.n_layers - 1}.post") and lens.hindsight is not None and lens.hindsight.all()
    with pytest.raises(BadPrompt, match="has no map for embed. It has: L0.post"):
        infoflow.logit_lens(model, PROMPT, kind="jacobian", lens=file, rows=["embed"])
    with pytest.raises(BadPrompt, match="is a jacobian lens, not a tuned one"):
        infoflow.logit_lens(model, PROMPT, kind="tuned", lens=file)
    with pytest.raises(BadPrompt, match="No jacobian lens ships for .*infoflow fit-lens"):
        infoflow.logit_lens(model, PROMPT, kind="jacobian")


def test_another_file_of_the_same_name_is_another_request(tmp_path: Path) -> None:
    model, file = tiny.model("llama"), str(tmp_path / "lens.safetensors")
    infoflow.save_lens(fitted(model, 1), file)
    request = LensRequest(model=model.spec, prompt=PROMPT, kind="jacobian", lens=file)
    before = request.exactly(model)
    assert before.digest and before == request.exactly(model) and before.run(model).lens == file
    infoflow.save_lens(fitted(model, 2), file)
    assert request.exactly(model).key != before.key
    with pytest.raises(BadPrompt, match="its file has changed"):
        before.run(model)
    assert LensRequest(model=model.spec, prompt=PROMPT).exactly(model).digest == ""


def test_another_file_of_a_folder_is_another_request(tmp_path: Path) -> None:
    model = tiny.model("llama")
    request = LensRequest(model=model.spec, prompt=PROMPT, kind="jacobian", lens=str(tmp_path))
    keys = []
    for seed in (1, 2):
        infoflow.save_lens(fitted(model, seed), tmp_path / "lens.safetensors")
        keys.append(request.exactly(model).key)
    assert len(set(keys)) == 2
    assert replace(request, lens=f"hub:{tmp_path}/lens.safetensors").exactly(model).digest == ""


def test_the_lens_that_ships_is_read_where_none_is_named(demo: "infoflow.Model") -> None:
    lens = infoflow.logit_lens(demo, "The capital of France is", kind="jacobian", positions=[-1])
    assert lens.lens == "bundled" and lens.names[int(lens.token_ids[-1, -1, 0])] == " Paris" and len(lens.rows) == 7
