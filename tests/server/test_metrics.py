"""Figures for Prometheus: what they count, and who may read them."""

from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from infoflow.server import metrics
from infoflow.server.metrics import Counts, HeldModel, Now
from infoflow.server.owner import WRONG, Behind, Door

NOW = Now([HeldModel("demo", 20_000_000, 3, 2, 0.5)], 600_000_000, 2_000_000_000, 1_000, 7)
TOKEN = "the owner's own"


def values(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_runs_are_counted_and_the_rest_is_as_it_is_now() -> None:
    counts = Counts()
    for seconds in (0.2, 7.0):
        counts.add("flow", "demo", "ran", seconds)
    counts.add("flow", "demo", "busy", 0.0)
    found = values(counts.text(NOW))
    assert found["infoflow_runs_total", "analysis=flow", "model=demo", "outcome=ran"] == 2
    assert found["infoflow_runs_total", "analysis=flow", "model=demo", "outcome=busy"] == 1
    assert found["infoflow_run_seconds_bucket", "analysis=flow", "le=0.25", "outcome=ran"] == 1
    assert found["infoflow_run_seconds_sum", "analysis=flow", "outcome=ran"] == 7.2
    assert found["infoflow_waiting_runs", "model=demo"] == 2 and found["infoflow_model_users", "model=demo"] == 3
    assert found["infoflow_resident_bytes",] == 600_000_000 and found["infoflow_sessions",] == 7
    assert values(counts.text(Now([], 1, 1, 0, 0)))["infoflow_models",] == 0


def test_a_model_that_is_held_in_two_types_is_one_line() -> None:
    """Prometheus reads nothing of what names one thing twice."""
    both = Now([HeldModel("gpt2", 500, 1, 0, 0.5), HeldModel("gpt2", 250, 3, 2, 0.5)], 1, 1, 0, 0)
    lines = Counts().text(both).decode().splitlines()
    assert [line for line in lines if line.startswith("infoflow_model_bytes{")] == ['infoflow_model_bytes{model="gpt2"} 750.0']
    assert 'infoflow_waiting_runs{model="gpt2"} 2.0' in lines and "infoflow_models 2.0" in lines


def test_no_names_without_end() -> None:
    counts = Counts()
    for number in range(3 * metrics.NAMES):
        counts.add("flow", f"model {number}", "ran", 0.1)
    names = [key for key in values(counts.text(NOW)) if key[0] == "infoflow_runs_total"]
    assert len(names) == metrics.NAMES + 1


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    door, counts = Door(now=lambda: 0.0), Counts()

    def asked(token: str | None = None, set_to: str = TOKEN, alone: bool = False) -> tuple[int, str]:
        monkeypatch.setenv("INFOFLOW_OWNER_TOKEN", set_to)
        client = TestClient(Starlette(routes=[metrics.route(lambda: counts.text(NOW), lambda given: door.opens(given, alone))]))
        found = client.get("/metrics", headers={"Authorization": f"Bearer {token}"} if token is not None else {})
        return found.status_code, found.text

    return asked


def test_the_owner_alone_reads_them(ask: Callable[..., tuple[int, str]]) -> None:
    for alone in (True, False):
        assert ask(TOKEN, alone=alone)[0] == 200 and "infoflow_sessions 7.0" in ask(TOKEN, alone=alone)[1]
        for wrong in (None, "", "another", TOKEN[:-1], f"{TOKEN}x"):
            assert ask(wrong, alone=alone)[0] == 401
            assert "infoflow_" not in ask(wrong, alone=alone)[1]


def test_without_a_token_they_are_for_this_machine_alone(ask: Callable[..., tuple[int, str]]) -> None:
    assert ask(set_to="", alone=True)[0] == 200
    status, said = ask(set_to="", alone=False)
    assert status == 404 and "INFOFLOW_OWNER_TOKEN" in said and ask("x", set_to="", alone=False)[0] == 404


def test_tokens_can_not_be_tried_without_end(ask: Callable[..., tuple[int, str]]) -> None:
    assert {ask(f"guess {number}")[0] for number in range(WRONG)} == {401}
    status, said = ask(TOKEN)
    assert status == 429 and "60 seconds" in said, "not even the right one is looked at now"


def test_nobody_locks_an_owner_out_whose_token_is_long(ask: Callable[..., tuple[int, str]]) -> None:
    long = f"{TOKEN}, {TOKEN}"
    assert {ask(f"guess {number}", long)[0] for number in range(WRONG)} == {401}
    assert ask("another guess", long)[0] == 429 and ask(long, long)[0] == 200


def test_a_path_of_somebody_else_is_behind_the_same_door() -> None:
    client = TestClient(Behind(PlainTextResponse("active_sessions 7"), "/base/_stcore/metrics", lambda given: given == TOKEN))
    for path in ("/base/_stcore/metrics", "/base/_stcore/metrics/", "/base/_stcore/metric%73"):
        assert client.get(path).status_code == 401 and "active" not in client.get(path).text
        assert "active" in client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert "active" in client.get("/base/_stcore/health").text
