"""Addresses of pages: what a request is in one. That a page opened by it asks just that is in tests/pages/test_batch.py."""

from urllib.parse import parse_qs, urlsplit

import pytest

from infoflow.analyses.attention import AttentionRequest
from infoflow.analyses.attribution import AttributionRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.generation import GenerationRequest
from infoflow.analyses.location import LocationRequest
from infoflow.analyses.logit_lens import LensRequest
from infoflow.files import links
from infoflow.interventions import Zero
from infoflow.models.spec import ModelSpec

PROMPT = "a & b=c? é\n#"


def parts(link: str) -> tuple[str, dict[str, list[str]]]:
    found = urlsplit(link)
    return found.path, parse_qs(found.query, strict_parsing=True)


@pytest.mark.parametrize(
    ("request_", "path", "more"),
    [
        (FlowRequest(prompt=PROMPT), "/", {}),
        (FlowRequest(prompt=PROMPT, sources="words"), "/", {"run_by": ["words"]}),
        (LocationRequest(prompt=PROMPT, target=7, against=" x", centred=True, contrast="d & e"), "/answer",
         {"target": ["#7"], "against": [" x"], "answer_centred": ["true"], "contrast": ["d & e"]}),
        (AttentionRequest(prompt=PROMPT, interventions=(Zero("mlp", layers=(1,)),)), "/attention",
         {"change": ['{"kind":"zero","site":"mlp","layers":[1]}']}),
        (LensRequest(prompt=PROMPT, targets=(" x", "y")), "/logit_lens", {"lens_follow": [" x", "y"]}),
        (AttributionRequest(prompt=PROMPT, target=7, against=8), "/circuits", {"target": ["#7"], "against": ["#8"]}),
    ],
)  # fmt: skip
def test_a_request_is_a_page_and_a_query(request_, path: str, more: dict[str, list[str]]) -> None:  # type: ignore[no-untyped-def]
    found, query = parts(links.link(request_))
    assert found == path
    if "change" in more:
        assert query.keys() == {"prompt", "change"} and '"mlp"' in query["change"][0]
    else:
        assert query == {"prompt": [PROMPT], **more}


def test_there_is_no_address_of_what_no_page_shows_so() -> None:
    assert links.link(GenerationRequest(prompt="a")) == ""
    assert links.link(FlowRequest(prompt=(1, 2))) == "" and links.link(FlowRequest(prompt=" ")) == ""
    assert links.link(FlowRequest(prompt="é" * 1_400)) == "" and links.link(FlowRequest(prompt="é" * 1_300))


def test_half_a_surrogate_is_an_address_all_the_same() -> None:
    assert parts(links.link(FlowRequest(prompt="\ud800a")))[1] == {"prompt": ["?a"]}


def test_a_model_is_named_so_that_its_weights_are_found_again(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    assert links.model(ModelSpec(revision="sha256:1")) == []
    assert links.model(ModelSpec(name="owner/model")) == [("model", "owner/model")]
    assert links.model(ModelSpec(name="owner/model", revision="step1000")) == [("model", "owner/model@step1000")]
    assert links.model(ModelSpec(name="owner/model", host="https://x")) == [("model", "owner/model"), ("where", "on NDIF")]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner/model").mkdir(parents=True)
    assert links.model(ModelSpec(name="owner/model", revision="ab12")) == [("model", "owner/model")]
