"""Prompts of a file: what each kind gives, row by row, and a sentence for what is none."""

import io
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some

from infoflow.errors import BadPrompt
from infoflow.files import prompts
from infoflow.files.prompts import Row, Shard

ROWS = (
    Row(number=0, prompt="The capital of France is", target=" Paris", against=" Rome", group="facts", id="a"),
    Row(number=1, prompt='=1+1, "said" he\nand\x00then', group="odd"),
    Row(number=2, prompt=" leading space, 日本語 😀", id="c"),
)


def of(data: bytes, kind: str) -> list[Row]:
    return list(prompts.read(io.BytesIO(data), kind))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_gives_the_same_rows(ending: str, tmp_path: Path) -> None:
    names = ["target", "prompt", "against", "group", "id"]
    table = pd.DataFrame([{name: getattr(row, name) for name in names} for row in ROWS]).assign(other=1)
    path = tmp_path / f"prompts.{ending}"
    if ending == "parquet":
        table.to_parquet(path)
    elif ending == "jsonl":
        lines = [json.dumps({name: getattr(row, name) for name in names}) for row in ROWS]
        path.write_text("\n\n".join(lines), encoding="utf-8")
    else:
        table.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",", lineterminator="\r\n")
    assert tuple(prompts.read(path)) == ROWS
    assert prompts.count(path) == 3 and prompts.count(path, limit=2) == 2 and prompts.count(path, shard=Shard(2, 2)) == 1
    assert [row.number for row in prompts.read(str(path), limit=1)] == [0]


def test_one_a_line_leaves_blank_lines_out_and_spaces_in() -> None:
    found = of("\ufeffThe cat\r\n\n  sat \n\u2028on".encode(), "lines")
    assert [(row.number, row.prompt) for row in found] == [(0, "The cat"), (1, "  sat "), (2, "\u2028on")]
    assert of(b'"a text"\n{"prompt": "b", "target": 7}', "jsonl") == [
        Row(number=0, prompt="a text"),
        Row(number=1, prompt="b", target=7),
    ]
    assert of(b'{"prompt": "\\ud800 half"}', "jsonl")[0].prompt == "\ud800 half"
    assert of(b"prompt\n=HYPERLINK(1)\n", "csv")[0].prompt == "=HYPERLINK(1)"


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"text\nabc\n", "csv", "There is no column 'prompt' in the input; there are: text."),
        (b"", "csv", "The input is empty."),
        (b"prompt,prompt\na,b\n", "csv", "The column 'prompt' is twice"),
        (b"prompt,target\nHello, world, there\n", "csv", "Line 2 of the input has 3 cells, and there are 2 columns."),
        (b'prompt\n"a"b\n', "csv", "Line 2 of the input is no CSV"),
        (b"prompt\n" + b"a" * 200_000, "csv", "Line 2 of the input is no CSV"),
        (b"prompt\n\xff\xfe", "csv", "The input holds no text in UTF-8."),
        (b"a\n\xe9", "lines", "The input holds no text in UTF-8."),
        (b'{"prompt": "a"}\n{"prompt": ', "jsonl", "Line 2 of the input is no JSON: "),
        (b'{"text": "a"}', "jsonl", "Line 1 of the input has no prompt"),
        (b'{"prompt": 5}', "jsonl", "Line 1 of the input has no prompt"),
        (b"[" * 100_000, "jsonl", "Line 1 of the input is no JSON: it is no value that can be read."),
        (b'{"prompt": "a", "target": 1.5}', "jsonl", "Line 1 of the input has a token that is neither a text nor an id: 1.5."),
        (b'{"prompt": "a", "target": true}', "jsonl", "neither a text nor an id"),
        (b'{"prompt": "a", "group": []}', "jsonl", "Line 1 of the input has a group or id"),
        (b"PAR1 is none", "parquet", "The input can't be read as Parquet."),
        (b"a", "xml", "There are no prompts of kind 'xml'."),
    ],
)  # fmt: skip
def test_what_is_no_file_of_prompts_gets_a_sentence(data: bytes, kind: str, said: str) -> None:
    with pytest.raises(BadPrompt) as raised:
        of(data, kind)
    assert str(raised.value).startswith(said) or said in str(raised.value)


def test_an_empty_cell_is_a_prompt_that_fails_alone(tmp_path: Path) -> None:
    pd.DataFrame({"prompt": ["a", None], "group": ["x", "y"]}).to_parquet(tmp_path / "some.parquet")
    assert [row.prompt for row in prompts.read(tmp_path / "some.parquet")] == ["a", ""]
    assert (
        of(b'{"prompt": null, "id": 1}', "jsonl")
        == [Row(number=0, prompt="", id="1")]
        == [replace(row, number=0) for row in of(b"prompt,id\n,1\n", "csv")]
    )


def test_places_that_hold_no_file_are_told(tmp_path: Path) -> None:
    for place, said in ((tmp_path / "no.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(BadPrompt, match=said):
            list(prompts.read(place))
    pd.DataFrame({"prompt": [1, 2]}).to_parquet(tmp_path / "numbers.parquet")
    with pytest.raises(BadPrompt, match="Row 0 of .* has no prompt"):
        list(prompts.read(tmp_path / "numbers.parquet"))
    with pytest.raises(BadPrompt, match="Prompt 1 has no prompt"):
        list(prompts.as_rows(["a", 3]))


def test_a_line_without_an_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "LONGEST", 100)
    with pytest.raises(BadPrompt, match="Line 2 of the input has more than 100 characters"):
        of(b"a\n" + b"b" * 101, "lines")


def test_a_large_file_is_read_a_row_at_a_time(tmp_path: Path) -> None:
    """Ten megabytes; what is held at once is a hundredth of it."""
    path = tmp_path / "many.csv"
    with path.open("w") as file:
        file.write("prompt\n")
        file.writelines(f"{'word ' * 200}{n}\n" for n in range(10_000))
    tracemalloc.start()
    assert prompts.count(path) == 10_000 and path.stat().st_size > 10e6
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1e6


@given(some.lists(some.text(some.characters(exclude_categories=["Cs"]), min_size=1), max_size=5))
def test_any_text_comes_back_from_csv(texts: list[str]) -> None:
    out = io.StringIO(newline="")
    import csv

    writer = csv.writer(out)
    writer.writerows([["prompt"], *([text] for text in texts)])
    assert [row.prompt for row in of(out.getvalue().encode(), "csv")] == texts


def test_shards_cut_by_number_and_leave_none_out() -> None:
    shards = [Shard.named(f"{part}/3") for part in (1, 2, 3)]
    assert [[n for n in range(7) if shard.has(n)] for shard in shards] == [[0, 3, 6], [1, 4], [2, 5]]
    assert str(shards[2]) == "3/3" and all(Shard().has(n) for n in range(3))
    for wrong in ("", "3", "0/3", "4/3", "a/b", "1/0", "-1/2", "1/2/3"):
        with pytest.raises(BadPrompt, match="is no shard"):
            Shard.named(wrong)


def test_a_digest_tells_rows_apart() -> None:
    row = ROWS[0]
    others = [Row(number=0, prompt=row.prompt), Row(number=1, prompt=row.prompt), Row(number=0, prompt="\ud800"), ROWS[1]]
    assert len({one.digest for one in (row, *others)}) == 5
