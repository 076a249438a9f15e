"""Fitted lenses in files: ours, the Jacobian lens's and the tuned lens's, and what is refused of them."""

import json
import struct
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses.logit_lens import LensRequest
from infoflow.errors import BadLens, TooLarge
from infoflow.models import lens_files, lenses
from infoflow.models.lenses import read_lens
from tests.helpers import hub_server, tiny

D, LAYERS = 48, 3


@pytest.fixture(scope="module")
def model() -> infoflow.Model:
    return tiny.model("llama")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def maps(layers: range = range(LAYERS - 1), d: int = D) -> dict[int, torch.Tensor]:
    return {layer: random(d, d, seed=layer) for layer in layers}


def saved(value: Any, file: Path) -> str:
    torch.save(value, file)
    return str(file)


def published(file: Path, d: int = D, layers: range = range(LAYERS - 1)) -> str:
    """As the Jacobian lens's own code writes it: float16, layer l the output of block l."""
    held = {layer: m.half() for layer, m in maps(layers, d).items()}
    return saved({"J": held, "n_prompts": 1000, "source_layers": list(layers), "d_model": d, "d_source": d}, file)


def tuned(folder: Path, prefix: str = "", config: dict[str, Any] | None = None, layers: int = LAYERS) -> str:
    """As the tuned lens's own code writes it: one map a layer, of its input."""
    folder.mkdir()
    state = OrderedDict()
    for i in range(layers):
        state[f"{prefix}{i}.weight"], state[f"{prefix}{i}.bias"] = random(D, D, seed=i), random(D, seed=10 + i)
    said = {"base_model_name_or_path": "tiny-llama", "d_model": D, "num_hidden_layers": layers, **(config or {})}
    (folder / "config.json").write_text(json.dumps(said))
    return saved(state, folder / "params.pt")


def ours(of: infoflow.Model, /, **other: Any) -> infoflow.FittedLens:
    rows = ("embed", "L0.post", "L1.post")
    made = infoflow.FittedLens(
        kind="jacobian", rows=rows, matrices={row: random(D, D, seed=n).numpy() for n, row in enumerate(rows)}, d_model=D,
        n_layers=LAYERS, n_prompts=7, model=of.name, revision=of.revision, halves={"embed": 0.5, "L1.post": 0.75},
    )  # fmt: skip
    return replace(made, **other)


# --- what is read


def test_ours_comes_back_as_it_was(model: infoflow.Model, tmp_path: Path) -> None:
    bias = {"embed": random(D, seed=9).numpy()}
    lens = infoflow.save_lens(ours(model, kind="tuned", biases=bias), tmp_path / "in" / "lens.safetensors")
    for again in (infoflow.load_lens(model, str(tmp_path / "in")), read_lens(tmp_path / "in" / "lens.safetensors")):
        assert again.digest == lens.digest and lens.digest.startswith("sha256:")
        for name in ("kind", "rows", "d_model", "n_layers", "n_prompts", "model", "revision", "halves"):
            assert getattr(again, name) == getattr(lens, name), name
        assert again.matrices.keys() == set(lens.rows) and again.biases.keys() == {"embed"}
        for row in lens.rows:
            np.testing.assert_array_equal(again.matrices[row], lens.matrices[row])
        np.testing.assert_array_equal(again.biases["embed"], bias["embed"])
    assert [f.name for f in (tmp_path / "in").iterdir()] == ["lens.safetensors"]


def test_half_the_size(model: infoflow.Model, tmp_path: Path) -> None:
    infoflow.save_lens(ours(model), tmp_path / "whole.safetensors")
    infoflow.save_lens(ours(model), tmp_path / "half.safetensors", half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.52 * (tmp_path / "whole.safetensors").stat().st_size
    again = infoflow.load_lens(model, str(tmp_path / "half.safetensors"))
    for row, matrix in ours(model).matrices.items():
        assert again.matrices[row].dtype == np.float32
        np.testing.assert_array_equal(again.matrices[row], matrix.astype(np.float16))
    large = ours(model, matrices={row: 1e5 * m for row, m in ours(model).matrices.items()})
    with pytest.raises(BadLens, match="more than float16"):
        infoflow.save_lens(large, tmp_path / "large.safetensors", half=True)
    assert not (tmp_path / "large.safetensors").exists()


def test_a_published_jacobian_lens(model: infoflow.Model, tmp_path: Path) -> None:
    lens = infoflow.load_lens(model, published(tmp_path / "lens.pt"))
    assert lens.kind == "jacobian" and lens.rows == ("L0.post", "L1.post") and lens.biases == {}
    assert (lens.n_prompts, lens.d_model, lens.n_layers, lens.model) == (1000, D, LAYERS, "")
    for layer, matrix in maps().items():
        assert lens.matrices[f"L{layer}.post"].dtype == np.float32
        np.testing.assert_array_equal(lens.matrices[f"L{layer}.post"], matrix.half().float().numpy())


@pytest.mark.parametrize(
    "value",
    [
        maps(),
        {"J": {str(layer): m.bfloat16() for layer, m in maps().items()}},
        {"made": {"jacobians": {f"layer_{layer}": m for layer, m in maps().items()}, "seed": 3}},
        {"J": torch.stack(list(maps().values())), "source_layers": [0, 1]},
        OrderedDict((f"L{layer}.post", torch.nn.Parameter(m)) for layer, m in maps().items()),
    ],
    ids=["bare", "names", "nested", "stacked", "parameters"],
)
def test_whatever_holds_one_matrix_a_layer(value: Any, model: infoflow.Model, tmp_path: Path) -> None:
    lens = infoflow.load_lens(model, saved(value, tmp_path / "lens.pt"))
    assert lens.rows == ("L0.post", "L1.post")
    for layer, matrix in maps().items():
        np.testing.assert_allclose(lens.matrices[f"L{layer}.post"], matrix.numpy(), rtol=1e-2)


def test_an_older_file_of_torch_is_read_too(model: infoflow.Model, tmp_path: Path) -> None:
    torch.save({"J": maps()}, tmp_path / "lens.pt", _use_new_zipfile_serialization=False)
    assert infoflow.load_lens(model, str(tmp_path / "lens.pt")).rows == ("L0.post", "L1.post")


def test_the_identity_of_the_last_row_is_left_out(model: infoflow.Model, tmp_path: Path) -> None:
    lens = infoflow.load_lens(model, saved({"J": {**maps(), 2: torch.eye(D)}}, tmp_path / "lens.pt"))
    assert lens.rows == ("L0.post", "L1.post")


@pytest.mark.parametrize("prefix", ["", "layer_translators."])
def test_a_tuned_lens(prefix: str, model: infoflow.Model, tmp_path: Path) -> None:
    """h + W h + b of a layer's input."""
    lens = infoflow.load_lens(model, tuned(tmp_path / "tuned", prefix))
    assert lens.kind == "tuned" and lens.rows == ("embed", "L0.post", "L1.post") and lens.model == "tiny-llama"
    h = random(D, seed=99)
    for i, row in enumerate(lens.rows):
        expected = h + torch.nn.functional.linear(h, random(D, D, seed=i), random(D, seed=10 + i))
        np.testing.assert_allclose(lens.matrices[row] @ h.numpy() + lens.biases[row], expected.numpy(), atol=1e-4)
    assert infoflow.load_lens(model, str(tmp_path / "tuned")).digest == lens.digest


def test_a_tuned_lens_without_its_config(model: infoflow.Model, tmp_path: Path) -> None:
    file = Path(tuned(tmp_path / "tuned"))
    (file.parent / "config.json").unlink()
    assert infoflow.load_lens(model, str(file)).model == ""


# --- from the hub


def test_from_the_hub(server: hub_server.Hub, model: infoflow.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(server.folders["tiny/llama"] / "lens.pt")
    said: list[str] = []
    for source in ("tiny/llama/lens.pt", "tiny/llama/lens.pt@main"):
        lens = infoflow.load_lens(model, source, on_progress=lambda doing, fraction: said.append(doing))
        assert lens.rows == ("L0.post", "L1.post")
    assert any("lens.pt" in doing for doing in said)
    for source, why in (
        ("tiny/llama/other.pt", "has no file 'other.pt'"),
        ("tiny/llama/lens.pt@other", "no revision 'other'"),
        ("tiny/nothing/lens.pt", "no model 'tiny/nothing'"),
    ):
        with pytest.raises(BadLens, match=why):
            infoflow.load_lens(model, source)


def test_what_the_hub_is_asked_for(model: infoflow.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tuned lens lies in a space, with its config beside it."""
    folder, asked = Path(tuned(tmp_path / "tuned")).parent, []

    def download(
        name: str, file: str, revision: str | None, repo_type: str, tqdm_class: Any = None, dry_run: bool = False
    ) -> Any:
        if dry_run:
            return SimpleNamespace(will_download=True, file_size=10)
        asked.append((name, file, revision, repo_type))
        return str(folder / Path(file).name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    lens = infoflow.load_lens(model, "spaces/some/lenses/lens/tiny-llama/params.pt@refs/pr/1")
    assert lens.kind == "tuned" and lens.model == "tiny-llama"
    of = ("some/lenses", "refs/pr/1", "space")
    assert asked == [(of[0], f"lens/tiny-llama/{name}", *of[1:]) for name in ("params.pt", "config.json")]


def test_a_file_that_is_too_large_for_a_lens_is_not_fetched(server: hub_server.Hub, model: infoflow.Model) -> None:
    """Up to half as much again as its maps in float32, and a megabyte."""
    most = 1_000_000 + 6 * D * D * (LAYERS + 1)
    file = server.folders["tiny/llama"] / "lens.pt"
    file.write_bytes(bytes(most + 1))
    with pytest.raises(BadLens, match=r"'tiny/llama/lens.pt' is 1 MB to download; .* takes 1 MB at most"):
        infoflow.load_lens(model, "tiny/llama/lens.pt")
    assert server.sent == 0
    file.write_bytes(bytes(most))
    with pytest.raises(BadLens, match="not whole"):
        infoflow.load_lens(model, "tiny/llama/lens.pt")
    assert server.sent == most


def test_a_download_says_how_far_it_is_and_stops(server: hub_server.Hub, model: infoflow.Model) -> None:
    published(server.folders["tiny/llama"] / "lens.pt")
    said: list[tuple[str, float]] = []

    class Stop(Exception):
        pass

    def stop(doing: str, fraction: float) -> None:
        raise Stop

    request = LensRequest(model=model.spec, prompt="a b", kind="jacobian", lens="tiny/llama/lens.pt")
    with pytest.raises(Stop):
        request.run(model, stop)
    request.run(model, lambda doing, fraction: said.append((doing, fraction)))
    ends = [(doing, fraction) for doing, fraction in said if doing.startswith("Downloading lens.pt")]
    assert ends[0][1] == 0 and ends[-1][1] == 1 and " of " in ends[-1][0]


# --- what is refused


class Object:
    """No plain data."""


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"J": Object()}, "holds Python objects"),
        ({"sum": maps(), "half": maps()}, "more than one mapping"),
        ({"J": {0: torch.zeros(D, D, dtype=torch.int32)}}, "no mapping"),
        ({"J": {0: torch.eye(D).to_sparse()}}, "no mapping"),
        ({"J": torch.stack(list(maps().values())), "source_layers": [0]}, "no mapping"),
        ({"J": {}, "n_prompts": 1}, "no mapping"),
        ({"J": torch.zeros(2, D, D), "source_layers": ["a", "b"]}, "no mapping"),
        ({"J": torch.zeros(2, D, D), "source_layers": [None, 1]}, "no mapping"),
        ({"J": torch.zeros(2, D, D), "source_layers": [-1, 1.5]}, "no mapping"),
        ({"J": torch.zeros(2, D, D), "source_layers": [1, 1]}, "no mapping"),
        ({"J": {0: torch.eye(D), "0": torch.eye(D)}}, "no mapping"),
        ({"J": {0: torch.eye(D).to(torch.float8_e4m3fn)}}, "no mapping"),
        ({"9" * 5000 + ".weight": torch.eye(D)}, "no mapping"),
        ({"0.weight": torch.eye(D), "0.bias": torch.zeros(1).expand(10**13)}, "0.bias is not as long"),
        (torch.zeros(3), "no mapping"),
        ({"0.weight": torch.zeros(D)}, "0.weight is no plain tensor"),
        ({0: torch.full((D, D), float("nan"))}, "not finite, in L0.post"),
        ({0: torch.full((D, D), float("inf"))}, "not finite, in L0.post"),
        ({2: torch.eye(D)}, "no map of any row but the last"),
        (maps(range(3)), "for a deeper model or another target"),
        (maps(range(5)), "reads L3.post, which 'tiny-llama' with its 3 layers does not have"),
        (maps(d=32), "another width: L0.post is 32 by 32, and 'tiny-llama' is 48 wide"),
        ({0: torch.zeros(D, 2 * D)}, "another width: L0.post is 48 by 96"),
    ],
)
def test_files_that_are_no_lens_of_this_model(value: Any, why: str, model: infoflow.Model, tmp_path: Path) -> None:
    with pytest.raises(BadLens, match=why):
        infoflow.load_lens(model, saved(value, tmp_path / "lens.pt"), any_model=True)


def test_files_that_are_not_whole(model: infoflow.Model, tmp_path: Path) -> None:
    file = Path(published(tmp_path / "lens.pt"))
    own = tmp_path / "own.safetensors"
    infoflow.save_lens(ours(model), own)
    for whole in (file, own):
        held = whole.read_bytes()
        for part in (b"", held[:4], held[: len(held) // 2], held[:-50]):
            whole.write_bytes(part)
            with pytest.raises(BadLens, match="not whole|is no lens"):
                infoflow.load_lens(model, str(whole))


def own(file: Path, said: Any, shape: tuple[int, ...] = (D, D)) -> str:
    """A file of ours whose header says whatever it shall."""
    from safetensors.numpy import save_file

    text = (
        said
        if isinstance(said, str)
        else json.dumps({"format": lens_files.FORMAT, "kind": "jacobian", "n_layers": LAYERS, **said})
    )
    save_file({"matrix.embed": np.ones(shape, np.float32)}, str(file), metadata={"infoflow": text})
    return str(file)


DEEP = "[" * 100_000


@pytest.mark.parametrize("halves", [[1, 2], "x", 3, {"embed": "x"}, {"embed": None}, {"embed": [1]}, {"embed": float("nan")}])
def test_halves_that_are_no_numbers(halves: Any, model: infoflow.Model, tmp_path: Path) -> None:
    with pytest.raises(BadLens, match="two halves"):
        infoflow.load_lens(model, own(tmp_path / "lens.safetensors", {"halves": halves}))


def test_headers_of_any_depth(model: infoflow.Model, tmp_path: Path) -> None:
    file = tmp_path / "lens.safetensors"
    with pytest.raises(BadLens, match="not whole"):
        infoflow.load_lens(model, own(file, DEEP))
    file.write_bytes(struct.pack("<Q", len(DEEP)) + DEEP.encode())
    with pytest.raises(BadLens, match="not whole"):
        infoflow.load_lens(model, str(file))
    folder = Path(tuned(tmp_path / "tuned")).parent
    for text in (DEEP, " " * 10_000_001):
        (folder / "config.json").write_text(text)
        with pytest.raises(BadLens, match=r"config.json beside the lens can't be read"):
            infoflow.load_lens(model, str(folder))


def test_headers_with_odd_numbers(model: infoflow.Model, tmp_path: Path) -> None:
    for said in ({"n_layers": True}, {"n_layers": "3"}, {"n_layers": 3.5}, {"n_prompts": True}):
        lens = infoflow.load_lens(model, own(tmp_path / "lens.safetensors", said))
        assert lens.n_layers == LAYERS and lens.n_prompts is None
    with pytest.raises(BadLens, match="does not say"):
        read_lens(own(tmp_path / "lens.safetensors", {}, shape=()))


def test_a_packed_file_that_grows_as_it_is_read(model: infoflow.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch.save does not write is refused before it is unpacked."""
    whole, other = Path(published(tmp_path / "whole.pt")), tmp_path / "other.pt"

    def packed(method: int, more: int = 0) -> str:
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(other, "w", method) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name) + (b"\0" * more if name.endswith("data.pkl") else b""))
        return str(other)

    assert infoflow.load_lens(model, packed(zipfile.ZIP_STORED)).rows == ("L0.post", "L1.post")
    monkeypatch.setattr("torch.load", lambda *args, **more: pytest.fail("it was read"))
    with pytest.raises(BadLens, match="is compressed"):
        infoflow.load_lens(model, packed(zipfile.ZIP_DEFLATED))
    with pytest.raises(BadLens, match="bytes beside its tensors"):
        infoflow.load_lens(model, packed(zipfile.ZIP_STORED, 10_000_001))


def test_what_stands_in_many_places_is_looked_at_once(
    model: infoflow.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """150 ** 3 paths lead to 150 numbers; and a mapping that stands twice is one."""
    looked: list[Any] = []
    is_tensor = lens_files._is_tensor
    monkeypatch.setattr(lens_files, "_is_tensor", lambda value, ndim: looked.append(value) or is_tensor(value, ndim))
    inner: Any = dict.fromkeys(range(1000, 1150))
    for _ in range(2):
        inner = dict.fromkeys(range(150), inner)
    with pytest.raises(BadLens, match="no mapping"):
        infoflow.load_lens(model, saved({"J": inner}, tmp_path / "lens.pt"))
    assert len(looked) < 2000
    once = maps()
    lens = infoflow.load_lens(model, saved({"a": {"b": once}, "c": once, "d": {"e": {"f": once}}}, tmp_path / "lens.pt"))
    assert lens.rows == ("L0.post", "L1.post")


def test_other_files(model: infoflow.Model, folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no lens")
    for source, why in (
        (str(tmp_path / "none.pt"), "There is no file"),
        (str(tmp_path / "notes.txt"), "ends in neither"),
        (str(tmp_path), "holds none of"),
        (str(folders["llama"] / "model.safetensors"), "no lens of infoflow"),
        ("", "owner/name/path/in/repo.pt"),
        ("gpt2", "owner/name/path/in/repo.pt"),
        ("owner/name/../../lens.pt", "owner/name/path/in/repo.pt"),
        ("bundled", "No lens ships for 'tiny-llama'"),
    ):
        with pytest.raises(BadLens, match=why):
            infoflow.load_lens(model, source)


def test_no_local_file_where_that_is_forbidden(model: infoflow.Model, demo: infoflow.Model, tmp_path: Path) -> None:
    file = published(tmp_path / "lens.pt")
    with pytest.raises(BadLens, match="^Give a lens on the hub"):
        infoflow.load_lens(model, file, folders=False)
    for source in (file, str(tmp_path), f" {file}", f"hub:{file}", f"hub:hub:{file}", "hub:", ""):
        only = lenses.hub_only(source)
        assert only == lenses.hub_only(only) and lenses.digest_of(model, only) == ""
        with pytest.raises(BadLens, match="^Give a lens on the hub"):
            infoflow.load_lens(model, only)
    assert infoflow.load_lens(demo, lenses.hub_only(" bundled ")).model == "demo"


def test_a_source_of_the_hub_is_not_even_looked_for_here(
    server: hub_server.Hub, model: infoflow.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file here of the same name is another one."""
    published(server.folders["tiny/llama"] / "lens.pt")
    monkeypatch.chdir(tmp_path)
    Path("tiny/llama").mkdir(parents=True)
    saved({0: random(D, D, seed=5)}, Path("tiny/llama/lens.pt"))
    source = "tiny/llama/lens.pt"
    assert infoflow.load_lens(model, source).rows == ("L0.post",) and lenses.digest_of(model, source)
    looked: list[str] = []
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **how: looked.append(str(path)) or stat(path, **how))
    for source in ("tiny/llama/lens.pt", str(tmp_path / "tiny" / "llama" / "lens.pt"), "~/lens.pt", "bundled"):
        assert lenses.digest_of(model, lenses.hub_only(source)) == ""
    assert infoflow.load_lens(model, lenses.hub_only("tiny/llama/lens.pt")).rows == ("L0.post", "L1.post")
    assert looked and not [path for path in looked if path in ("bundled", source) or path.endswith("tiny/llama/lens.pt")]


NO_FILES = ("a\0b.pt", "owner/name/a\0b.pt", "~nobody-of-that-name/x.pt", "x" * 300 + ".pt", "\ud800.pt", "/proc/self/mem")
NO_REVISIONS = ("owner/name/x.pt@../../x", "owner/name/x.pt@/etc/x")


@pytest.mark.parametrize("source", NO_FILES + NO_REVISIONS)
def test_what_can_be_no_file(source: str, model: infoflow.Model) -> None:
    """A sentence, no failure of the system's, and none where the digest is asked for before."""
    assert lenses.digest_of(model, source) == ""
    with pytest.raises(BadLens, match="There is no file|ends in neither"):
        infoflow.load_lens(model, source)


def test_the_digest_of_a_file_that_can_t_be_read(model: infoflow.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(file: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(lenses, "of_file", denied)
    assert lenses.digest_of(model, published(tmp_path / "lens.pt")) == ""


def test_the_digest_of_a_folder_is_its_file_s(model: infoflow.Model, tmp_path: Path) -> None:
    """So that another file in it is another lens; that of what is read first of several."""
    digests = [lenses.digest_of(model, str(tmp_path))]
    for file in ("lens.pt", "params.pt"):
        infoflow.save_lens(ours(model, n_prompts=len(file)), tmp_path / "made.safetensors")
        (tmp_path / file).write_bytes((tmp_path / "made.safetensors").read_bytes())
        digests.append(lenses.digest_of(model, str(tmp_path)))
        assert digests[-1] == lenses.digest_of(model, str(tmp_path / file))
    for n in (1, 22):
        lens = infoflow.save_lens(ours(model, n_prompts=n), tmp_path / "lens.safetensors")
        digests.append(lenses.digest_of(model, f" {tmp_path} "))
        assert digests[-1] == lens.digest
    assert digests[0] == "" and len(set(digests)) == 5


def test_more_than_memory_allows(model: infoflow.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = published(tmp_path / "lens.pt")
    monkeypatch.setattr(infoflow.Model, "memory_limit", lambda self: 10_000)
    with pytest.raises(TooLarge, match="The lens .* takes about"):
        infoflow.load_lens(model, file)


def test_another_number_of_layers(model: infoflow.Model, tmp_path: Path) -> None:
    with pytest.raises(BadLens, match="of 4 layers; 'tiny-llama' has 3"):
        infoflow.load_lens(model, tuned(tmp_path / "tuned", layers=4), any_model=True)
    infoflow.save_lens(ours(model, n_layers=4), tmp_path / "lens.safetensors")
    with pytest.raises(BadLens, match="of 4 layers"):
        infoflow.load_lens(model, str(tmp_path / "lens.safetensors"), any_model=True)


def test_a_lens_of_another_kind(model: infoflow.Model, tmp_path: Path) -> None:
    infoflow.save_lens(ours(model, kind="other"), tmp_path / "lens.safetensors")
    with pytest.raises(BadLens, match="of kind 'other'"):
        infoflow.load_lens(model, str(tmp_path / "lens.safetensors"))


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("fitted", "this", "taken"),
    [
        (("gpt2", ""), ("openai-community/gpt2", COMMIT), True),
        (("openai-community/gpt2", "main"), ("/models/GPT2", "sha256:0"), True),
        (("", ""), ("any", "sha256:0"), True),
        (("one/name", COMMIT), ("another/name", COMMIT), True),
        (("one/name", ""), ("another/name", COMMIT), False),
        (("gpt2", ""), ("gpt2-medium", ""), False),
        (("gpt2", COMMIT), ("gpt2", COMMIT[::-1]), False),
        (("gpt2", COMMIT), ("gpt2", "sha256:0"), True),
        (("gpt2", "sha256:1"), ("gpt2", "sha256:0"), False),
        (("gpt2", "in memory sha256:1"), ("gpt2", "sha256:0"), True),
        (("gpt2", "step1000"), ("gpt2", COMMIT), True),
    ],
)
def test_which_model_it_says_it_is_for(fitted: tuple[str, str], this: tuple[str, str], taken: bool, tmp_path: Path) -> None:
    model = infoflow.wrap_model(tiny.hf_model("llama"), tiny.tokenizer(), *this)
    model.revision = this[1]
    file = str(tmp_path / "lens.safetensors")
    infoflow.save_lens(ours(model, model=fitted[0], revision=fitted[1]), file)
    if not taken:
        with pytest.raises(BadLens, match="was fitted for .*any_model=True"):
            infoflow.load_lens(model, file)
    assert infoflow.load_lens(model, file, any_model=not taken).model == fitted[0]


# --- what ships


def test_the_lens_that_ships(demo: infoflow.Model, model: infoflow.Model) -> None:
    assert infoflow.bundled_lens(demo) == "bundled" and infoflow.bundled_lens(model) is None
    lens = infoflow.load_lens(demo, "bundled")
    assert lens.kind == "jacobian" and lens.rows == ("embed", *(f"L{layer}.post" for layer in range(5)))
    assert lens.model == "demo" and lens.revision == demo.revision and (lens.n_prompts or 0) >= 32
    assert all(value > 0.9 for value in lens.halves.values()) and lens.halves.keys() == set(lens.rows)
    assert lenses.DEMO_LENS.stat().st_size < 1_000_000


def test_the_lens_that_ships_is_this_model_s(demo: infoflow.Model) -> None:
    """One prompt that it was not fitted on is nearer to it, row by row, than to the identity."""
    lens = infoflow.load_lens(demo, "bundled")
    text = "Tom and Mary went to the store. Tom gave a book to Mary. The sun rises in the east, and it sets in the west."
    one = infoflow.fit_lens(demo, [text], max_tokens=32, skip=8, directions=256)

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))

    for row in lens.rows:
        near = cosine(lens.matrices[row], one.matrices[row])
        assert near > max(0.4, cosine(np.eye(256), one.matrices[row])), row


def test_a_file_of_values_in_values_without_end_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(*given: object) -> None:
        raise RecursionError

    (tmp_path / "lens.pt").write_bytes(b"")
    monkeypatch.setattr(lens_files, "_unpacked", lambda file: {})
    monkeypatch.setattr(lens_files, "_tuned", deep)
    with pytest.raises(BadLens, match="lens.pt"):
        lens_files.stored(tmp_path / "lens.pt", lambda name: None)
