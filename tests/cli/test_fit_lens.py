"""infoflow fit-lens: a file of texts in, a lens out."""

import json
from pathlib import Path

import numpy as np
import pytest

import infoflow
from infoflow.cli import main as cli
from infoflow.cli.fit_lens import texts_of
from infoflow.errors import BadPrompt
from infoflow.models.lenses import read_lens

TEXTS = ["The quick brown fox jumps", "over lazy dogs, and more", "ab"]


def test_fits_and_says_what_it_did(folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text("\n\n".join(TEXTS))
    name, out = str(folders["llama"]), tmp_path / "lens.safetensors"
    asked = ["fit-lens", "--model", name, "--prompts", str(tmp_path / "texts.txt"), "--out", str(out), "--skip", "4"]
    assert cli.main([*asked, "--max-tokens", "14"]) == 0
    said = capsys.readouterr()
    assert said.out == "" and "Prompt 1 of 2: 16 of 48" in said.err and "2 of 3 texts were long enough" in said.err
    assert "agree to" in said.err and f"Written to {out}" in said.err
    model = infoflow.load_model(name)
    expected = infoflow.fit_lens(model, TEXTS, max_tokens=14, skip=4)
    lens = infoflow.load_lens(model, str(out))
    for row in lens.rows:
        np.testing.assert_array_equal(lens.matrices[row], expected.matrices[row])
    more = ["--max-tokens", "14", "--directions", "24", "--seed", "5", "--batch", "7", "--half", "--quiet", "--no-resume"]
    assert cli.main([*asked, *more]) == 0
    assert capsys.readouterr().err == ""
    turned = infoflow.fit_lens(model, TEXTS, max_tokens=14, skip=4, directions=24, seed=5)
    np.testing.assert_allclose(read_lens(out).matrices["embed"], turned.matrices["embed"], rtol=2e-3, atol=1e-3)


def test_what_files_of_texts_may_be(tmp_path: Path) -> None:
    for name, held in (
        ("blocks.txt", "one\n\n two\n three \n\n\n\nfour\n"), ("lines.txt", "one\ntwo three\nfour\n\n"),
        ("list.json", json.dumps(["one", "two\n\nthree"])),
    ):  # fmt: skip
        (tmp_path / name).write_text(held)
    assert texts_of(tmp_path / "blocks.txt") == ["one", "two\n three", "four"]
    assert texts_of(tmp_path / "lines.txt") == ["one", "two three", "four"]
    assert texts_of(tmp_path / "list.json") == ["one", "two\n\nthree"]


@pytest.mark.parametrize(
    ("name", "held", "said"),
    [
        ("none.txt", None, "can't be read"), ("bytes.txt", b"\xff\xfe\x00", "can't be read"),
        ("broken.json", b"[", "can't be read"), ("deep.json", b"[" * 100_000, "can't be read"),
        ("empty.txt", b"\n \n", "no list of texts"),
        ("object.json", b'{"a": 1}', "no list of texts"), ("numbers.json", b"[1, 2]", "no list of texts"),
    ],
)  # fmt: skip
def test_files_that_hold_no_texts(name: str, held: bytes | None, said: str, tmp_path: Path) -> None:
    if held is not None:
        (tmp_path / name).write_bytes(held)
    with pytest.raises(BadPrompt, match=said):
        texts_of(tmp_path / name)


def test_another_ending_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit-lens", "--prompts", "none.txt", "--out", str(tmp_path / "lens.pt")]) == cli.EXIT_BAD_INPUT
    assert "written as .safetensors" in capsys.readouterr().err
