"""Many prompts: rows are those of single runs, one bad prompt stops nothing, and what was stopped goes on."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import infoflow
from infoflow.analyses.attention import AttentionRequest
from infoflow.errors import BadPrompt, Cancelled, InfoflowError, RemoteRunError, TooLarge
from infoflow.files import batch as runner
from infoflow.files import datasets
from infoflow.interventions import Zero
from infoflow.studies.batch import ANALYSES, Batch
from infoflow.tables import batch as tables
from tests.helpers import tiny
from tests.helpers.loopback import Service

ROOT = Path(__file__).parents[2]
PROMPTS = [
    {"prompt": text, "group": "ab"[n % 2], "id": f"p{n}"} for n, text in enumerate(("abcabc", "a b", "hello", "x", "xyz 12, Q"))
]


@pytest.fixture(scope="module")
def model() -> "infoflow.Model":
    return tiny.model("qwen2")


def every(found: Batch) -> dict[str, pd.DataFrame]:
    """All tables, in the order of the prompts, without the time they took."""
    out = {}
    for name in ("prompts", *found.analyses):
        table = pd.concat(list(found.rows(name, found.table(name).schema.names)), ignore_index=True)
        out[name] = table.sort_values("number", kind="stable", ignore_index=True).drop(columns="seconds", errors="ignore")
    return out


def same(one: Batch, other: Batch) -> None:
    ours, theirs = every(one), every(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        pd.testing.assert_frame_equal(ours[name], theirs[name], check_exact=False, rtol=1e-4, atol=1e-6)


def written(folder: Path) -> dict[str, int]:
    """Every file of a data set, with its last change."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob("*/*") if path.is_file()}


@pytest.fixture(scope="module")
def both(model: "infoflow.Model", tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """All tables of two prompts, of which one has a target."""
    given = [{"prompt": "abcabc", "target": "d", "against": "e"}, "abcabd"]
    return every(infoflow.batch(model, given, tmp_path_factory.mktemp("both")))


def test_rows_are_those_of_single_runs(model: "infoflow.Model", both: dict[str, pd.DataFrame]) -> None:
    of = both
    assert of["prompts"]["error"].isna().all() and of["prompts"]["number"].tolist() == [0, 1]
    for number, prompt in enumerate(("abcabc", "abcabd")):
        asked: dict[str, Any] = {"target": model.token_id("d"), "against": model.token_id("e")} if number == 0 else {}
        lens = infoflow.logit_lens(model, prompt, targets=list(asked.values()), positions=[-1])
        where = infoflow.locate(model, prompt, **asked)
        written = infoflow.attribute(model, prompt, **(asked or {"target": where.top[0].id}))
        results = {
            "flow": infoflow.decompose(model, prompt, sources="words"), "locate": where, "lens": lens,
            "heads": infoflow.attention(model, prompt), "attribute": written,
        }  # fmt: skip
        record = of["prompts"].iloc[number]
        assert record["top_id"] == where.top[0].id and record["n_tokens"] == 7 and record["dtype"] == "float32"
        for name, result in results.items():
            expected = tables.OF[name](result)
            rows = of[name][of[name]["number"] == number].drop(columns="number").reset_index(drop=True)
            assert list(rows) == [c for c in datasets.SCHEMAS[name].names if c != "number"] and len(rows) == len(expected)
            for column in rows:
                if expected[column].dtype.kind in "fiub":
                    np.testing.assert_allclose(rows[column].astype(float), expected[column].astype(float), rtol=1e-4, atol=1e-5)
                elif not column.endswith("_rank"):
                    assert rows[column].tolist() == expected[column].tolist(), (name, column)
            if name != "heads":
                assert record[f"max_error_{name}"] < 1e-5


def test_sums_of_rows_are_what_the_field_says(both: dict[str, pd.DataFrame]) -> None:
    of = both
    sums = of["flow"].groupby(["number", "layer"])[["share", "projection"]].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-4)
    total = of["locate"].groupby("number")["total"].first()
    whole = of["attribute"].assign(source=of["attribute"]["part"] == "source").groupby(["number", "source"])["logit"].sum()
    np.testing.assert_allclose(whole.unstack(), np.stack([total, total], 1), rtol=1e-4)
    last = of["lens"].groupby("number").last()
    assert last["final"].all() and last["token_id"].tolist() == of["prompts"]["top_id"].tolist()


def test_one_bad_prompt_is_a_row_and_stops_nothing(
    model: "infoflow.Model", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attended = runner.tables.OF["heads"]

    def fails(result: Any) -> pd.DataFrame:
        if result.tokens[1] == "m":
            raise MemoryError("no more")
        if result.tokens[1] == "n":
            raise ValueError("a bug")
        return attended(result)

    monkeypatch.setitem(runner.tables.OF, "heads", fails)
    texts = ["ab", "", "\ud800", "m", "n", "c" * 300, "de"]
    given = [*({"prompt": text} for text in texts), {"prompt": "ab", "target": "no such"}]
    found = infoflow.batch(model, given, tmp_path, ["flow", "heads", "attribute"])
    frame = found.to_frame().set_index("number")
    assert found.counts == (8, 6) and frame.index[frame["error"].isna()].tolist() == [0, 6]
    errors = frame["error"].tolist()
    assert errors[1] == "The prompt is empty. Type a few words, or choose one of the examples."
    assert errors[2].startswith("Character 1 of the text is half of one (U+D800)") and frame["prompt"][2] == "\\ud800"
    assert errors[3] == "heads: MemoryError: no more" and errors[4] == "heads: ValueError: a bug"
    assert "reads at most 256" in errors[5] and errors[7].startswith("attribute: 'no such' is 7 tokens here")
    rows = {name: set(table["number"]) for name, table in every(found).items()}
    assert rows["flow"] == {0, 3, 4, 6, 7} and rows["heads"] == {0, 6, 7} and rows["attribute"] == {0, 3, 4, 6}
    assert found.failures()["number"].tolist() == [1, 2, 3, 4, 5, 7]


def test_too_many_sources_is_said_of_the_flow_alone(
    model: "infoflow.Model", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", "3")
    found = infoflow.batch(model, ["a b c d e f", "ab"], tmp_path / "words", ["flow", "lens"])
    assert found.failures()["error"].iloc[0].startswith("flow: ") and found.counts == (2, 1)
    assert infoflow.batch(model, ["a b c d e f"], tmp_path / "spans", ["flow"], sources="3 spans").counts == (1, 0)


def test_nothing_is_done_twice(model: "infoflow.Model", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after each prompt by turns, and again; what is there is as a run in one go, and is not touched."""
    runs: list[str] = []
    once = runner.Run.of

    def counted(self: runner.Run, row: Any) -> Any:
        runs.append(row.prompt)
        return once(self, row)

    monkeypatch.setattr(runner.Run, "of", counted)
    for stop in (1, 3):

        def enough(doing: str, fraction: float, stop: int = stop) -> None:
            if doing.startswith(f"{stop} of 5 prompts"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            infoflow.batch(model, PROMPTS, tmp_path / "stopped", ["lens", "heads"], on_progress=enough)
    before = written(tmp_path / "stopped")
    found = infoflow.batch(model, PROMPTS, tmp_path / "stopped", ["lens", "heads"])
    assert runs == [p["prompt"] for p in PROMPTS]
    assert before.items() < written(tmp_path / "stopped").items()
    same(found, infoflow.batch(model, PROMPTS, tmp_path / "whole", ["lens", "heads"], at_once=3))
    assert infoflow.batch(model, PROMPTS, tmp_path / "stopped", ["lens", "heads"]).counts == (5, 0) and len(runs) == 10


def test_a_run_that_asks_something_else_is_refused(model: "infoflow.Model", tmp_path: Path) -> None:
    def again(said: str, other: Any = model, given: Any = PROMPTS, analyses: Sequence[str] = ("lens",), **more: Any) -> None:
        with pytest.raises(InfoflowError) as raised:
            infoflow.batch(other, given, tmp_path, analyses, **more)
        assert said in str(raised.value), raised.value

    infoflow.batch(model, PROMPTS, tmp_path, ["lens"])
    before = written(tmp_path)
    again("its analyses are lens, and not heads", analyses=["heads"])
    again("its model is 'tiny-qwen2', and not 'tiny-llama'", tiny.model("llama"))
    again("its weights is", infoflow.wrap_model(tiny.hf_model("qwen2", 1), tiny.tokenizer(), name="tiny-qwen2"))
    again("its sources is 'words', and not 'tokens'", sources="tokens")
    again("its interventions is", interventions=[Zero("mlp", layers=(1,))])
    again("it is cut into 1 shards, and not into 2", shard="1/2")
    again("Prompt 1 is not the one", given=[PROMPTS[0], "other"])
    again("holds more rows than there are prompts", given=PROMPTS[:3])
    again("is the limit lower than before?", limit=2)
    again("There is no analysis 'nonsense'", analyses=["nonsense"])
    again("No analysis was named", analyses=[])
    again("Several requests at once are for a hosted model", parallel=2)
    assert written(tmp_path) == before
    (tmp_path / "batch.json").unlink()
    again("holds rows, and nothing that says of what")
    (tmp_path / "batch.json").write_text("{}")
    again("is no description of a data set")


def test_two_processes_do_not_write_one_part(model: "infoflow.Model", tmp_path: Path) -> None:
    about = {"model": {"name": "any"}, "analyses": ["lens"], "settings": {}}
    with datasets.Writer(tmp_path, about, runner.Shard(1, 2)):
        with pytest.raises(InfoflowError, match="Another process is writing this part"):
            datasets.Writer(tmp_path, about, runner.Shard(1, 2))
        datasets.Writer(tmp_path, about, runner.Shard(2, 2)).close()
    datasets.Writer(tmp_path, about, runner.Shard(1, 2)).close()


def test_a_full_disk_is_a_sentence_and_what_was_done_stays(
    model: "infoflow.Model", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, count = datasets._write, [0]

    def full(path: Path, data: bytes) -> None:
        count[0] += 1
        if count[0] > 4:  # the description, one part of two files, and the first of the next
            path.with_name(f".{path.name}.tmp").write_bytes(data[:100])
            raise OSError(28, "No space left on device")
        whole(path, data)

    monkeypatch.setattr(datasets, "_write", full)
    with pytest.raises(InfoflowError, match="can't be written to: No space left on device. What is done is kept"):
        infoflow.batch(model, PROMPTS, tmp_path, ["lens"], at_once=2)
    assert infoflow.open_batch(tmp_path).counts == (2, 0)
    monkeypatch.setattr(datasets, "_write", whole)
    same(infoflow.batch(model, PROMPTS, tmp_path, ["lens"]), infoflow.batch(model, PROMPTS, tmp_path / "whole", ["lens"]))
    assert not list(tmp_path.glob("*/.*.tmp"))


def test_what_a_killed_run_left_of_a_part_is_taken_away(model: "infoflow.Model", tmp_path: Path) -> None:
    """A table's file without the prompts that it is of, or half of one: the next run may write no file of that name."""
    found = infoflow.batch(model, PROMPTS[:2], tmp_path, ["lens"], at_once=2)
    (name,) = found.files
    whole, first = tmp_path / "lens" / name, name.removesuffix(".parquet")
    left = [whole.with_name(f"{first[:-1]}9.parquet"), whole.with_name(f".{name}.tmp")]
    others = whole.with_name("notes.txt")
    for path in (*left, others):
        path.write_bytes(whole.read_bytes())
    infoflow.batch(model, PROMPTS[:2], tmp_path, ["lens"])
    assert sorted(path.name for path in whole.parent.iterdir()) == sorted([name, others.name])


def test_what_has_waited_for_long_is_written_and_errors_of_before_are_counted(
    model: "infoflow.Model", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds after the first row of a part; here each row takes six."""
    told = ["0"]
    monkeypatch.setattr(datasets, "time", SimpleNamespace(monotonic=lambda: 6.0 * int(told[-1][0])))

    def tell(doing: str, fraction: float) -> None:
        if re.match(r"\d of \d prompts", doing):
            told.append(doing)

    given = [{"prompt": ""}, *PROMPTS]
    found = infoflow.batch(model, given, tmp_path, ["lens"], together=1, on_progress=tell)
    assert [pq.ParquetFile(tmp_path / "prompts" / name).metadata.num_rows for name in found.files] == [3, 3]
    infoflow.batch(model, [*given, {"prompt": "ab"}], tmp_path, ["lens"], together=1, on_progress=tell)
    assert told[-1].startswith("7 of 7") and all(", 1 with an error" in doing for doing in told[1:])


def test_a_damaged_part_is_told(model: "infoflow.Model", tmp_path: Path) -> None:
    infoflow.batch(model, PROMPTS, tmp_path, ["lens"], at_once=3)
    first, second = sorted((tmp_path / "lens").glob("*.parquet"))
    kept = second.read_bytes()
    second.unlink()
    for again in (lambda: infoflow.open_batch(tmp_path), lambda: infoflow.batch(model, PROMPTS, tmp_path, ["lens"])):
        with pytest.raises(InfoflowError, match=second.name):
            again()
    second.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(InfoflowError, match="a file of it is damaged"):
        list(infoflow.open_batch(tmp_path).rows("lens", ["token"]))


def test_what_the_reader_stops_is_kept(model: "infoflow.Model", tmp_path: Path) -> None:
    """Also within a prompt: each step of it is told."""
    told: list[str] = []

    def stop(doing: str, fraction: float) -> None:
        told.append(doing)
        if doing.startswith("2 of 5") and told.count(doing) == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        infoflow.batch(model, PROMPTS, tmp_path, ["lens", "heads"], together=1, on_progress=stop)
    assert infoflow.open_batch(tmp_path).counts == (2, 0)


def test_what_the_reader_stops_is_kept_where_prompts_share_their_passes(model: "infoflow.Model", tmp_path: Path) -> None:
    def stop(doing: str, fraction: float) -> None:
        if doing.startswith("3 of 5"):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        infoflow.batch(model, PROMPTS, tmp_path, ["lens", "heads"], on_progress=stop)
    assert infoflow.open_batch(tmp_path).counts == (3, 0)
    assert infoflow.batch(model, PROMPTS, tmp_path, ["lens", "heads"]).counts == (5, 0)


def test_interventions_are_in_force_and_in_the_addresses(model: "infoflow.Model", tmp_path: Path) -> None:
    change = Zero("mlp", layers=(1,))
    frame = infoflow.batch(model, ["abcab"], tmp_path, ["lens"], interventions=[change]).to_frame()
    changed = infoflow.logit_lens(model, "abcab", interventions=[change], positions=[-1])
    assert frame["top_id"][0] == changed.token_ids[-1, -1, 0] and "change=" in frame["link_lens"][0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
@pytest.mark.slow
def test_killed_runs_and_shards_end_as_one_run_does(folders: dict[str, Path], tmp_path: Path) -> None:
    """Killed with -9 at every file of a part, with half of it written or before it is renamed, and at any moment; and three
    processes that write a third of the rows each into one folder."""
    given = tmp_path / "prompts.csv"
    pd.DataFrame({"prompt": [f"{n} ab{n % 7} ab" if n != 5 else "" for n in range(30)], "group": ["x", "y"] * 15}).to_csv(
        given, index=False
    )
    command = [sys.executable, "-m", "tests.helpers.killed", str(folders["llama"]), str(given), str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ends"] == [0] + [-9] * 17 and told["last"] == 0 and told["shards"] == [0, 0, 0]
    assert max(told["left"]) == 5, "the last file of a part is what makes it whole"
    whole, killed, shards = (infoflow.open_batch(tmp_path / name) for name in ("whole", "killed", "shards"))
    assert whole.counts == (30, 1) and len(shards.files) > 3 and not list((tmp_path / "killed").glob("*/.*.tmp"))
    same(whole, killed)
    same(whole, shards)
    pd.testing.assert_frame_equal(whole.shares(), shards.shares(), rtol=1e-4)
    parts = [pq.ParquetFile(tmp_path / "killed/prompts" / name).metadata.num_rows for name in killed.files]
    assert sum(parts) == 30 and max(parts) == 2


def test_shards_in_folders_of_their_own_are_one_data_set_when_put_together(model: "infoflow.Model", tmp_path: Path) -> None:
    import shutil

    for part in (2, 1):
        infoflow.batch(model, PROMPTS, tmp_path / str(part), ["lens", "heads"], shard=f"{part}/2")
        shutil.copytree(tmp_path / str(part), tmp_path / "both", dirs_exist_ok=True)
    same(infoflow.open_batch(tmp_path / "both"), infoflow.batch(model, PROMPTS, tmp_path / "whole", ["lens", "heads"]))
    infoflow.batch(model, PROMPTS, tmp_path / "third", ["lens", "heads"], shard="1/3")
    shutil.copytree(tmp_path / "third", tmp_path / "both", dirs_exist_ok=True)
    with pytest.raises(InfoflowError, match="do not belong together: of one it is cut into 2 shards, and not into 3"):
        infoflow.open_batch(tmp_path / "both")


def test_data_sets_of_different_files_are_not_one(model: "infoflow.Model", tmp_path: Path) -> None:
    import shutil

    infoflow.batch(model, ["ab", "cd"], tmp_path / "one", ["lens"])
    infoflow.batch(model, ["ef", "gh"], tmp_path / "two", ["lens"])
    for table in ("prompts", "lens"):
        (path,) = (tmp_path / "two" / table).glob("*.parquet")
        shutil.copy(path, tmp_path / "one" / table / f"other-{path.name}")
    with pytest.raises(InfoflowError, match="Some prompts are twice"):
        infoflow.open_batch(tmp_path / "one")


def test_several_requests_are_under_way_on_the_service(
    service: Service, hosted: Callable[..., "infoflow.Model"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, under_way, most = hosted("qwen2", service), [0], [0]
    once = runner.Run.of

    def counted(self: runner.Run, row: Any) -> Any:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        try:
            return once(self, row)
        finally:
            under_way[0] -= 1

    monkeypatch.setattr(runner.Run, "of", counted)
    found = infoflow.batch(there, PROMPTS, tmp_path / "there", ["lens", "heads"], parallel=3)
    assert most[0] == 3 and found.counts == (5, 0)
    ours, theirs = (every(b) for b in (infoflow.batch(tiny.model("qwen2"), PROMPTS, tmp_path / "here", ["lens", "heads"]), found))
    for name in ("lens", "heads"):
        pd.testing.assert_frame_equal(ours[name], theirs[name], rtol=1e-3, atol=1e-4)
    assert theirs["prompts"]["link"].str.contains("where=on\\+NDIF").all()


def test_a_service_that_fails_ends_the_run_and_keeps_what_is_done(
    service: Service, hosted: Callable[..., "infoflow.Model"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "WAITS", (0.01,))
    there = hosted("qwen2", service)
    once, down = runner.perform, [False]

    def perform(request: Any, *more: Any) -> Any:
        if request.prompt == "hello" and down[0]:
            raise RemoteRunError("busy", "The service is busy or restarting. Try again in a few minutes.")
        if request.prompt == "a b" and not down[0]:
            down[0] = True
            raise RemoteRunError("busy", "once")  # and then not
        return once(request, *more)

    monkeypatch.setattr(runner, "perform", perform)
    with pytest.raises(RemoteRunError, match="busy or restarting"):
        infoflow.batch(there, PROMPTS, tmp_path, ["lens"], parallel=2)
    assert infoflow.open_batch(tmp_path).counts == (2, 0)
    monkeypatch.setattr(runner, "perform", once)
    assert infoflow.batch(there, PROMPTS, tmp_path, ["lens"], parallel=2).counts == (5, 0)
    lost = hosted("qwen2", service, key="22222222-2222-3333-4444-555555555555")
    with pytest.raises(RemoteRunError):
        infoflow.batch(lost, PROMPTS, tmp_path / "other", ["lens"], parallel=2)


def test_who_stops_is_heard_while_the_service_is_waited_for(
    service: Service, hosted: Callable[..., "infoflow.Model"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, begun = hosted("qwen2", service), threading.Event()

    def queued(self: runner.Run, row: Any) -> Any:
        begun.set()
        assert self.stopped.wait(20), "the service is left running"
        raise Cancelled("stopped")

    def stop(doing: str, fraction: float) -> None:
        if begun.is_set():
            raise Cancelled("by the reader")

    monkeypatch.setattr(runner, "HEARD", 0.02)
    monkeypatch.setattr(runner.Run, "of", queued)
    with pytest.raises(Cancelled, match="by the reader"):
        infoflow.batch(there, PROMPTS, tmp_path, ["lens"], parallel=2, on_progress=stop)


def test_a_table_is_prompts_and_one_mapping_is_not(model: "infoflow.Model", tmp_path: Path) -> None:
    table = pd.DataFrame({"prompt": ["ab", None, "cd"], "target": ["c", None, None], "group": ["x", "y", None]})
    found = infoflow.batch(model, table, tmp_path / "table", ["lens"])
    frame = found.to_frame()
    assert frame["prompt"].tolist() == ["ab", "", "cd"] and found.counts == (3, 1) and found.groups == ("x", "y")
    assert frame["target"].tolist()[0] == "c" and frame["target"].isna().tolist() == [False, True, True]
    with pytest.raises(BadPrompt, match="This is one mapping, and prompts are several"):
        infoflow.batch(model, {"prompt": "ab"}, tmp_path / "one", ["lens"])
    assert not (tmp_path / "one").exists()


def test_progress_tells_how_much_is_left() -> None:
    assert runner._doing(0, 2, 10, 0, 1.0) == "2 of 10 prompts"
    assert runner._doing(100, 50, 1_200, 3, 30.0) == "150 of 1,200 prompts, 3 with an error, 100 a minute, 10 minutes left"
    assert (
        runner._doing(0, 10, 10, 0, 5.0) == "10 of 10 prompts, 120 a minute" and runner._doing(0, 3, None, 0, 1.0) == "3 prompts"
    )


def test_a_refused_prompt_keeps_its_words() -> None:
    assert runner._said({}, 2) is None and runner._said({"flow": "No.", "lens": "No."}, 2) == "No."
    assert runner._said({"flow": "No.", "lens": "No."}, 3) == "flow, lens: No."
    assert runner._said({"flow": str(TooLarge("A.")), "lens": str(BadPrompt("B."))}, 2) == "flow: A. lens: B."
    assert set(ANALYSES) == set(tables.OF) == set(datasets.SCHEMAS) - {"prompts"}
    assert replace(runner.Settings(), sources="x").to_dict() == {"sources": "x", "interventions": []}


def test_prompts_of_one_length_share_their_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which no row moves, and no number by more than rounding; one that can't be run stops none of its group."""
    model, shared = tiny.model("qwen2"), list[int]()
    run = infoflow.Model.run_together
    monkeypatch.setattr(infoflow.Model, "run_together", lambda self, calls: (shared.append(len(calls)), run(self, calls))[1])
    given = ["When Mary", "a", "Then Paul", " ", "Now Anna!", {"prompt": "Here Tom!", "target": "nothing that is one token"}, "b"]
    alone = infoflow.batch(model, given, tmp_path / "alone", ("heads", "attribute"), together=1)
    assert not shared
    both = infoflow.batch(model, given, tmp_path / "both", ("heads", "attribute"), together=3)
    assert max(shared) == 3 and alone.counts == both.counts == (7, 2)
    ours, theirs = every(alone), every(both)
    for name, table in ours.items():
        pd.testing.assert_frame_equal(table, theirs[name], check_exact=False, rtol=1e-3, atol=1e-4)


def test_so_many_share_a_pass_as_memory_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, shared = tiny.model("llama"), list[int]()
    run = infoflow.Model.run_together
    monkeypatch.setattr(infoflow.Model, "run_together", lambda self, calls: (shared.append(len(calls)), run(self, calls))[1])
    model.tested = infoflow.check(model)
    needed = AttentionRequest(prompt="When Mary").estimate(model).bytes
    monkeypatch.setattr(infoflow.Model, "memory_limit", lambda self: 2 * needed + 1)
    infoflow.batch(model, ["When Mary"] * 5, tmp_path / "two", ("heads",))
    assert max(shared) == 2


def test_a_prompt_that_is_too_long_for_the_app_is_told_in_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_PROMPT_TOKENS", "5")
    found = infoflow.batch(tiny.model("llama"), ["When Mary", "a", "When Paul", "b"], tmp_path / "out", ("heads",), together=2)
    assert found.counts == (4, 2) and every(found)["prompts"]["error"].str.contains("at most 5. Shorten it").sum() == 2


def test_prompts_that_share_a_pass_have_the_time_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left when it is over is told so in its own row, and the next group has a time of its own."""

    def over(say: Any) -> Any:
        asked = count()

        def told(doing: str, fraction: float) -> None:
            if next(asked) >= 2:
                raise TooLarge("It was ended.")

        return told

    monkeypatch.setattr(runner, "in_time", over)
    found = infoflow.batch(tiny.model("llama"), ["When Mary"] * 6, tmp_path / "three", ("heads",), together=3)
    assert found.counts == (6, 2) and set(every(found)["prompts"]["error"].dropna()) == {"It was ended."}
