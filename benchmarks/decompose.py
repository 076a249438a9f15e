"""Time and memory of the decomposition, beside the obvious way of doing it and beside its matrix products alone.

    python benchmarks/decompose.py                     # quarter-size and 1B shapes, 16, 32 and 64 tokens
    python benchmarks/decompose.py --shapes quarter --tokens 32
    python benchmarks/decompose.py --shapes 1B --tokens 512 --spans 32

Random weights, one process for times; each memory figure is the peak of a process of its own, over the weights, a plain
forward pass and a decomposition of four tokens. Beside time and memory stands what `flow_cost.estimate` said before the run.
The obvious way projects values anew for each query, decomposes dense (position, source) pairs without causality, and keeps
every layer's vectors; it is left out where it would take too long or too much memory. Where there is a CUDA device, rows
for it follow, in float32 and with TF32 products. Compare rows and ratios of one run: machines differ and are shared.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import infoflow
from infoflow.analyses import flow_cost
from infoflow.analyses.flow import decompose
from infoflow.models.catalog import DEMO

SHAPES: dict[str, dict[str, int]] = {
    "demo": {"d": 256, "layers": 6, "heads": 8, "kv": 4, "mlp": 704, "vocab": 2048},
    "quarter": {"d": 1024, "layers": 8, "heads": 16, "kv": 4, "mlp": 4096, "vocab": 32000},
    "1B": {"d": 2048, "layers": 16, "heads": 32, "kv": 8, "mlp": 8192, "vocab": 32000},
}
OBVIOUS_AT_MOST = {"demo": 64, "quarter": 64, "1B": 64}


def build(shape: str) -> Any:
    """A random float32 Llama of the named shape."""
    s = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=s["vocab"],
        hidden_size=s["d"],
        intermediate_size=s["mlp"],
        num_hidden_layers=s["layers"],
        num_attention_heads=s["heads"],
        num_key_value_heads=s["kv"],
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def ids_of(n: int) -> list[int]:
    return torch.randint(1, 2000, (n,), generator=torch.Generator().manual_seed(n)).tolist()


def spans_of(n: int, spans: int) -> list[str]:
    """One label per token: the first alone, the rest in equal spans; every token its own where there are no spans."""
    rest = max(1, (spans or n) - 1)
    return ["0", *(str(1 + i * rest // (n - 1)) for i in range(n - 1))]


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


@torch.no_grad()
def bare_products(shape: str, pairs: int, device: str) -> float:
    """Seconds of the four products of each layer on causal pairs, and nothing else (MATH.md, section 4)."""
    s = SHAPES[shape]
    head = s["d"] // s["heads"]
    x, z, hidden = (torch.randn(pairs, k, device=device) for k in (s["d"], s["d"], s["mlp"]))
    value, output = torch.randn(s["kv"] * head, s["d"], device=device), torch.randn(s["d"], s["d"], device=device)
    up, down = torch.randn(s["mlp"], s["d"], device=device), torch.randn(s["d"], s["mlp"], device=device)
    wait(device)
    started = time.perf_counter()
    for _ in range(s["layers"]):
        x @ value.T
        z @ output.T
        x @ up.T
        hidden @ down.T
    wait(device)
    return time.perf_counter() - started


@torch.no_grad()
def obvious(hf: Any, ids: list[int]) -> torch.Tensor:
    """Per-source vectors of every layer and stage, [layer, stage, position, source, d], as one would first write it."""
    n, config = len(ids), hf.config
    heads, kv = config.num_attention_heads, config.num_key_value_heads
    width = config.hidden_size // heads
    seen: dict[str, list[torch.Tensor]] = {"pre": [], "mid": [], "pattern": [], "gate": []}
    hooks = []
    for layer in hf.model.layers:
        hooks.append(layer.register_forward_pre_hook(lambda m, a: seen["pre"].append(a[0][0])))
        hooks.append(layer.post_attention_layernorm.register_forward_pre_hook(lambda m, a: seen["mid"].append(a[0][0])))
        hooks.append(layer.self_attn.register_forward_hook(lambda m, a, out: seen["pattern"].append(out[1][0])))
        hooks.append(layer.mlp.act_fn.register_forward_hook(lambda m, a, out: seen["gate"].append(out[0])))
    hf(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    c = torch.zeros(n, n, config.hidden_size)
    c[range(n), range(n)] = seen["pre"][0]
    kept = []
    for index, layer in enumerate(hf.model.layers):
        rms = (seen["pre"][index].pow(2).mean(-1) + config.rms_norm_eps).sqrt()
        normed = layer.input_layernorm.weight * c / rms[:, None, None]
        after = c.clone()
        for q in range(n):
            value = (normed @ layer.self_attn.v_proj.weight.T).view(n, n, kv, width).repeat_interleave(heads // kv, 2)
            z = torch.einsum("hk,kshd->shd", seen["pattern"][index][:, q], value)
            after[q] += z.reshape(n, -1) @ layer.self_attn.o_proj.weight.T
        rms = (seen["mid"][index].pow(2).mean(-1) + config.rms_norm_eps).sqrt()
        normed = layer.post_attention_layernorm.weight * after / rms[:, None, None]
        c = after + (seen["gate"][index][:, None] * (normed @ layer.mlp.up_proj.weight.T)) @ layer.mlp.down_proj.weight.T
        kept += [after, c]
    return torch.stack(kept).view(len(hf.model.layers), 2, n, n, -1)


def seconds(work: Any) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def status_bytes(field: str) -> int:
    """A figure of /proc/self/status in bytes (Linux)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024


def memory_of(shape: str, n: int, spans: int, which: str) -> int:
    """Peak memory of one decomposition over weights and a plain pass, in a process of its own."""
    command = [sys.executable, __file__, "--measure", which, "--shapes", shape, "--tokens", str(n), "--spans", str(spans)]
    return int(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]))


def measure(shape: str, n: int, spans: int, which: str) -> None:
    """The child process of `memory_of`."""
    hf = build(shape)
    model = infoflow.wrap_model(hf, AutoTokenizer.from_pretrained(DEMO))
    decompose(model, ids_of(4))
    with torch.no_grad():
        hf(torch.tensor([ids_of(n)]))
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far (loading) is not what is asked for
    before = status_bytes("VmRSS")
    if which == "ours":
        decompose(model, ids_of(n), spans_of(n, spans))
    else:
        obvious(hf, ids_of(n))
    print(status_bytes("VmHWM") - before)


def row(shape: str, n: int, spans: int, hf: Any, model: Any, device: str, options: argparse.Namespace) -> str:
    ids, sources = ids_of(n), spans_of(n, spans)
    met, pairs = 0, 0
    for i in map(int, sources):
        met = max(met, i + 1)
        pairs += met
    expected = flow_cost.estimate(model, n, met)
    flow = decompose(model, ids, sources)  # warm
    wait(device)
    ours, floors, plain = [], [], []
    for _ in range(options.repeats):  # side by side: a machine that is busy for a while slows all of them
        ours.append(seconds(lambda: (decompose(model, ids, sources), wait(device))))
        floors.append(bare_products(shape, pairs, device))
        with torch.no_grad():
            plain.append(seconds(lambda: (hf(torch.tensor([ids], device=device)), wait(device))))
    took, floor, forward = map(statistics.median, (ours, floors, plain))
    runs = device == "cpu" and not spans and n <= OBVIOUS_AT_MOST[shape]
    slow = seconds(lambda: obvious(hf, ids)) if runs else None
    if slow is not None and n <= 32:
        vectors = obvious(hf, ids)
        gram = torch.einsum("lkpsd,lkptd->lkpst", vectors, vectors)
        off = (gram - torch.tensor(flow.gram)).abs().max() / gram.abs().max()
        assert off < 1e-4, f"the two ways differ by {off}"
        del vectors, gram
    with_memory = device == "cpu" and not options.no_memory
    memory = memory_of(shape, n, spans, "ours") if with_memory else None
    other = memory_of(shape, n, 0, "obvious") if with_memory and runs else None
    mb = "{:,.0f} MB".format
    cells = [
        f"{shape}{'' if device == 'cpu' else ' ' + precision()}",
        str(n),
        str(met),
        f"{took:.2f} s",
        f"{expected.seconds:.2f} s",
        f"{floor:.2f} s",
        f"{took / floor:.2f}",
        f"{(took - forward) / floor:.2f}",
        "-" if slow is None else f"{slow:.1f} s",
        "-" if slow is None else f"{slow / took:.1f}x",
        "-" if memory is None else mb(memory / 1e6),
        mb(expected.bytes / 1e6),
        "-" if other is None else mb(other / 1e6),
        f"{flow.max_error:.1e}",
    ]
    return "| " + " | ".join(cells) + " |"


def precision() -> str:
    return f"cuda {'TF32' if torch.backends.cuda.matmul.allow_tf32 else 'float32'}"


HEADER = """| shape | tokens | sources | decompose | estimated | bare products | ratio | without the forward pass | obvious way \
| faster | memory | estimated | obvious memory | error |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["quarter", "1B"], choices=list(SHAPES))
    parser.add_argument("--tokens", nargs="+", type=int, default=[16, 32, 64])
    parser.add_argument("--spans", type=int, default=0, help="group the tokens into so many sources; 0: each token is one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--measure", choices=("ours", "obvious"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["INFOFLOW_MAX_TOKENS"] = str(max(64, *options.tokens))
    if options.measure:
        measure(options.shapes[0], options.tokens[0], options.spans, options.measure)
        return
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(HEADER, flush=True)
    for shape in options.shapes:
        hf = build(shape)
        model = infoflow.wrap_model(hf, AutoTokenizer.from_pretrained(DEMO))
        for n in options.tokens:
            print(row(shape, n, options.spans, hf, model, "cpu", options), flush=True)
        if torch.cuda.is_available():
            model = infoflow.wrap_model(hf.cuda(), AutoTokenizer.from_pretrained(DEMO))
            for tf32 in (False, True):
                torch.backends.cuda.matmul.allow_tf32 = tf32
                for n in options.tokens:
                    print(row(shape, n, options.spans, hf, model, "cuda", options), flush=True)
            print(f"CUDA rows: {torch.cuda.get_device_name()}")


if __name__ == "__main__":
    main()
