"""Hosted models: the same numbers as local ones, and every failure in words. The service is a process on loopback."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import infoflow
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.perform import run_now
from infoflow.errors import Cancelled, RemoteRunError, UnsupportedModel
from infoflow.ndif import service as remote
from tests.helpers import tiny
from tests.helpers.agreement import largest_difference
from tests.helpers.loopback import KEY, OTHER, Service

PROMPT = "When Mary and John"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_every_analysis_gives_the_numbers_of_the_same_weights_here(family: str, service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    assert largest_difference(tiny.model(family), hosted(family, service)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "more", "family"),
    [("float32", "--sandbox", "qwen2"), ("bfloat16", "--sandbox", "llama"), ("float32", "--old", "qwen2")],
)
def test_services_of_other_kinds_give_them_too(
    dtype: str, more: str, family: str, start: Callable[..., Service], folders: dict[str, Path],
    hosted: Callable[..., "infoflow.Model"],
) -> None:  # fmt: skip
    """Where blocks run in a process of their own no gradient comes back through a module's call, and modules can't be counted; an
    old service gives no patterns, which then come of what attention was given."""
    service = start(f"--key={KEY}", more, f"--dtype={dtype}")
    here = infoflow.load_model(str(folders[family]), dtype=dtype)
    assert largest_difference(here, hosted(family, service)) < 1e-4


@pytest.mark.slow
def test_nnsights_own_simulation_gives_the_same_numbers(folders: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "tests.helpers.simulate", str(folders["qwen2"])]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1e-4


def test_groups_travel_packed_and_come_back_whole(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    theirs = infoflow.decompose(hosted("qwen2", service), PROMPT, sources="words")
    ours = infoflow.decompose(tiny.model("qwen2"), PROMPT, sources="words")
    np.testing.assert_allclose(theirs.gram, ours.gram, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sources", ["tokens", "16 spans"])
def test_what_comes_back_is_what_was_estimated(sources: str, service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    model = hosted("qwen2", service)
    ids = [1 + i for i in range(48)]
    infoflow.decompose(model, ids, sources=sources)
    cost = infoflow.estimate(model, 48, 48 if sources == "tokens" else 16)
    assert cost.seconds is None
    assert service.received()[-1]["sent"] / 2 < cost.bytes < service.received()[-1]["sent"] * 2


def test_a_failed_run_settles_no_layout(service: Service, hosted, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """A family without a row is tried layout by layout; a service that fails meanwhile says nothing of the layout."""
    model = hosted("llama", service)
    other = replace(model.architecture, mlp_norm="input_layernorm")
    model.candidates = (other, model.architecture)
    service.fault("busy")
    with pytest.raises(RemoteRunError, match="busy"):
        infoflow.decompose(model, "ab")
    assert infoflow.decompose(model, "ab").max_error < 1e-5 and model.architecture == model.candidates[1]
    runs = len(service.received())
    again = model.through(remote.Connection(service.host, OTHER))  # another visitor does not settle it anew
    assert infoflow.decompose(again, "ab").max_error < 1e-5 and len(service.received()) == runs + 1


def test_the_status_line_tells_what_the_run_is_doing(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    said: list[str] = []
    model = hosted("llama", service)
    model = model.through(remote.Connection(service.host, KEY, said.append))
    infoflow.decompose(model, PROMPT)
    order = [said.index(next(s for s in said if s.startswith(begin))) for begin in ("Sending", "Queued at", "Running", "Down")]
    assert order == sorted(order)
    told: list[tuple[str, float]] = []
    run_now(FlowRequest(model=model.spec, prompt=PROMPT), model, lambda doing, fraction: told.append((doing, fraction)))
    assert told[0] == ("Sending …", 0.0)


def test_what_is_up_is_listed(service: Service) -> None:
    listed = remote.deployments(remote.Connection(service.host))
    assert [d.name for d in listed] == ["tiny/llama", "tiny/mixtral", "tiny/qwen2"]
    assert {(d.level, d.state) for d in listed} == {("HOT", "RUNNING")}


def test_two_visitors_of_one_model_use_their_own_keys(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    model = hosted("llama", service)
    for key in (KEY, OTHER, KEY):
        infoflow.decompose(model.through(remote.Connection(service.host, key)), "ab")
        assert service.received()[-1]["key"] == key
    assert KEY not in repr(model.connection) and KEY not in repr(model)


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [("", "no key", "wants a key"), ("abc", "bad key", "no NDIF key"), (KEY.replace("1", "2"), "bad key", "does not know")],
)
def test_keys_that_do_not_work_are_told_and_never_repeated(key: str, kind: str, message: str, service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RemoteRunError, match=message) as told:
        infoflow.decompose(hosted("llama", service).through(remote.Connection(service.host, key)), "ab")
    assert told.value.kind == kind
    if key:
        assert key not in str(told.value) and key not in told.value.details


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "kind", "message"),
    [
        ("busy", "busy", "busy or restarting"),
        ("error:Could not deploy this model. CANT_ACCOMMODATE", "not up", "can't run this model now"),
        ("error:You are trying to access a gated repo.", "gated", "accept its licence"),
        ("error:CUDA out of memory. Tried to allocate", "too large", "fewer tokens"),
        ("error:Result is too large to be returned", "too large", "fewer tokens"),
        ("error:Traceback\n  File x\nZeroDivisionError: division by zero", "server", "ZeroDivisionError: division by zero"),
        ("error:Job timed out after 600 seconds.", "silent", "it took too long"),
        ("error:ModuleNotFoundError: No module named 'infoflow'", "version", "lacks a package"),
        ("garbage", "result", "could not be read"),
    ],
)
def test_failures_of_the_service_are_told_in_words(mode: str, kind: str, message: str, service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    model = hosted("llama", service)
    service.fault(mode)
    with pytest.raises(RemoteRunError, match=message) as told:
        infoflow.decompose(model, "ab")
    assert told.value.kind == kind
    assert infoflow.decompose(model, "ab").max_error < 1e-5  # the model is as good as before


def test_a_lost_connection_is_tried_once_more_and_then_told(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    said: list[str] = []
    model = hosted("llama", service).through(remote.Connection(service.host, KEY, said.append))
    service.fault("drop")
    assert infoflow.decompose(model, "ab").max_error < 1e-5
    assert any("trying once more" in s for s in said)
    service.fault("drop")
    service.fault("drop")
    with pytest.raises(RemoteRunError, match="lost during the run, twice") as told:
        infoflow.decompose(model, "ab")
    assert told.value.kind == "lost"


@pytest.mark.slow
def test_silence_ends_and_a_run_can_be_abandoned(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    model = hosted("llama", service)
    service.fault("silent")
    with pytest.raises(RemoteRunError, match="Nothing was heard") as told:
        infoflow.decompose(model.through(remote.Connection(service.host, KEY, silence=1.0)), "ab")
    assert told.value.kind == "silent"
    said: list[str] = []

    def stop(text: str) -> None:
        said.append(text)
        if len(said) > 5:
            raise Cancelled("The run was stopped.")

    service.fault("silent")
    with pytest.raises(Cancelled):
        infoflow.decompose(model.through(remote.Connection(service.host, KEY, stop)), "ab")
    assert len(said) == 6  # at the very report at which it was stopped
    assert infoflow.decompose(model, "ab").max_error < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["mute-connection", "mute-session", "mute-request"])
def test_a_service_that_accepts_and_says_nothing_is_given_up(mode: str, service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    model = hosted("llama", service)
    service.fault(mode)
    with pytest.raises(RemoteRunError, match="Nothing was heard of the run for 1 seconds") as told:
        infoflow.decompose(model.through(remote.Connection(service.host, KEY, answer=1.0)), "ab")
    assert told.value.kind == "silent"
    assert infoflow.decompose(model, "ab").max_error < 1e-5


def test_the_revision_is_the_one_that_the_service_says_it_runs(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    assert infoflow.decompose(hosted("llama", service), "ab").provenance.revision == "main"
    service.fault("revision:0123abc")
    try:
        model = hosted("llama", service)
        assert infoflow.decompose(model, "ab").provenance.revision == model.spec.revision == "0123abc"
    finally:
        service.fault("revision:main")
    assert hosted("llama", Service(host="http://127.0.0.1:9")).revision == "unknown"


def test_a_revision_is_unknown_where_the_service_says_none_or_several() -> None:
    def listed(*revisions: str) -> list[remote.Deployment]:
        return [remote.Deployment("Owner/Model", r, "HOT", "RUNNING") for r in revisions] + [
            remote.Deployment("owner/other", "x", "HOT", "RUNNING")
        ]

    assert remote.revision_of(listed("a", "a"), "me", "owner/model") == "a"  # replicas
    for revisions in ((), ("",), ("a", "b")):
        assert remote.revision_of(listed(*revisions), "owner/model") == "unknown"


@pytest.mark.slow
def test_a_client_too_old_and_a_model_not_served_are_told(start, hosted) -> None:  # type: ignore[no-untyped-def]
    newer = start("--min-nnsight=99.0")
    for family in ("llama", "gpt2"):  # served or not: it is refused before that is looked at
        with pytest.raises(RemoteRunError, match="newer nnsight"):
            infoflow.decompose(hosted(family, newer), "ab")


def test_a_model_that_is_not_served_is_told(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RemoteRunError, match="can't run this model now") as told:
        infoflow.decompose(hosted("gpt2", service), "ab")
    assert told.value.kind == "not up"


@pytest.mark.slow
def test_a_service_that_dies_or_is_not_there_is_told(start, hosted) -> None:  # type: ignore[no-untyped-def]
    dying = start()
    model = hosted("llama", dying)
    dying.fault("die")
    with pytest.raises(RemoteRunError, match="can't be reached|lost") as told:
        infoflow.decompose(model, "ab")
    assert told.value.kind in ("unreachable", "lost")
    with pytest.raises(RemoteRunError, match="can't be reached"):
        infoflow.decompose(model, "ab")
    with pytest.raises(RemoteRunError, match="can't be reached"):
        remote.deployments(remote.Connection(dying.host))


@pytest.mark.slow
def test_results_above_the_limit_come_by_download(start, hosted) -> None:  # type: ignore[no-untyped-def]
    downloads = start("--max-inline=10")
    model = hosted("llama", downloads)
    assert infoflow.decompose(model, "ab").max_error < 1e-5 and downloads.received()[-1]["by"] == "download"


@pytest.mark.slow
@pytest.mark.parametrize("inline", ["10", "100000000"])
def test_a_result_that_is_too_large_is_not_taken(inline: str, start, hosted) -> None:  # type: ignore[no-untyped-def]
    service = start(f"--max-inline={inline}")
    model = hosted("llama", service).through(remote.Connection(service.host, limit=3000))
    with pytest.raises(RemoteRunError, match="result is larger than") as told:
        infoflow.decompose(model, "abcdef")
    assert told.value.kind == "too large"


@pytest.mark.slow
def test_versions_are_compared_and_an_old_service_is_told(service: Service, start, hosted) -> None:  # type: ignore[no-untyped-def]
    found = remote.versions(remote.Connection(service.host))
    assert set(found) == {"nnsight", "torch", "transformers", "python"}
    assert all(here == there for here, there in found.values()) and remote.mismatch(found) == ""
    old = start("--old")
    found = remote.versions(remote.Connection(old.host))
    assert "before 0.8.1 it gives no attention patterns" in remote.mismatch(found)
    assert "install the service's version here" in remote.mismatch({**found, "nnsight": ("0.8.1", "0.9.0")})
    with pytest.raises(RemoteRunError, match="can't be reached"):
        remote.versions(remote.Connection("http://127.0.0.1:9"))


def test_a_block_that_reads_a_weight_is_refused_there(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RemoteRunError, match="does not give this analysis the weights") as told:
        hosted("llama", service).run([1, 2], reads_a_weight)
    assert told.value.kind == "no weights"


def reads_a_weight(nn, tracer):  # type: ignore[no-untyped-def]
    return nn.lm_head.weight.sum()


def test_a_hosted_mixture_of_experts_is_refused_in_words(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UnsupportedModel, match="experts' weights of a hosted"):
        infoflow.decompose(hosted("mixtral", service), "ab")
    before = len(service.received())
    with pytest.raises(UnsupportedModel, match="mixture of experts"):
        hosted("mixtral", service).generate([1, 2], 3)
    assert len(service.received()) == before  # nothing was written that could not be read


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(RemoteRunError, match="no address"):
        remote.connection("api.ndif.us")


def test_a_seed_means_the_same_there_again(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    model = hosted("llama", service)
    drawn = [infoflow.generate(model, PROMPT, 8, temperature=1.5, top_p=0.9, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0].output_ids == drawn[1].output_ids != drawn[2].output_ids
    assert drawn[0].how == "sampled at temperature 1.5, top-p 0.9, seed 1 (where the service keeps to it)"
    greedy, there = infoflow.generate(tiny.model("llama"), PROMPT, 8), infoflow.generate(model, PROMPT, 8)
    assert there.output_ids == greedy.output_ids and there.how == greedy.how == "greedy"


def test_a_text_that_fails_there_is_told_in_words(service: Service, hosted) -> None:  # type: ignore[no-untyped-def]
    service.fault("busy")
    with pytest.raises(RemoteRunError, match="busy or restarting"):
        infoflow.generate(hosted("llama", service), PROMPT, 4)
