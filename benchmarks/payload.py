"""What travels to and from a hosted model: bytes of each request and of each result, over the service's own protocol.

    python benchmarks/payload.py                   # 32 and 80 layers, 16, 32 and 64 tokens
    python benchmarks/payload.py --layers 80 --tokens 64

A loopback service (tests/helpers/ndif_server.py) runs narrow random models with as many layers and heads as the hosted ones have:
a result holds inner products, shares and scores, so that its size depends on layers, heads, tokens and sources, and not on
the width. Sizes are those of the compressed blobs that the server received and sent.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import infoflow  # noqa: I001  before the client's HTTP library
import nnsight.modeling.huggingface as hub
import torch
from tests.helpers import tiny
from tests.helpers.loopback import start_service
from transformers import LlamaConfig, LlamaForCausalLM

HEADS = {32: 32, 80: 64}
"""of 8B and 70B models, by layers"""


def save(folder: Path, layers: int) -> None:
    """A narrow random Llama of so many layers."""
    heads = HEADS.get(layers, 32)
    config = LlamaConfig(
        vocab_size=257, hidden_size=2 * heads, intermediate_size=64, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=8, head_dim=2, max_position_embeddings=256,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)


def analyses(model: "infoflow.Model", ids: list[int]) -> dict[str, Callable[[], Any]]:
    last = len(ids) - 1
    return {
        "decompose": lambda: infoflow.decompose(model, ids),
        "decompose in 16 spans": lambda: infoflow.decompose(model, ids, sources="16 spans"),
        "attribute": lambda: infoflow.attribute(model, ids, 65),
        "locate": lambda: infoflow.locate(model, ids, 65),
        "attention": lambda: infoflow.attention(model, ids),
        "logit lens": lambda: infoflow.logit_lens(model, ids, targets=[65], mids=False),
        "logit lens, with rows after attention": lambda: infoflow.logit_lens(model, ids, targets=[65]),
        "generate 20 tokens": lambda: infoflow.generate(model, ids, 20),
        "carriers": lambda: infoflow.carriers(model, ids, model.n_layers - 1, last, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[32, 80])
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 32, 64])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folders = {f"layers{n}": Path(place) / str(n) for n in options.layers}
        for layers, folder in zip(options.layers, folders.values(), strict=True):
            save(folder, layers)
        service = start_service(folders)
        print("| layers | heads | tokens | analysis | request | result | round trip |")
        print("|---|---|---|---|---|---|---|")
        try:
            for layers, (name, folder) in zip(options.layers, folders.items(), strict=True):
                hub._ID_CACHE[str(folder)] = f"tiny/{name}"
                model = infoflow.load_model(str(folder), remote=True, host=service.host)
                for n in options.tokens:
                    ids = torch.randint(1, 257, (n,), generator=torch.Generator().manual_seed(n)).tolist()
                    for title, run in analyses(model, ids).items():
                        started = time.perf_counter()
                        run()
                        took, log = time.perf_counter() - started, service.received()[-1]
                        sizes = f"{log['bytes'] / 1e3:.0f} kB | {log['sent'] / 1e6:.2f} MB"
                        print(f"| {layers} | {HEADS.get(layers, 32)} | {n} | {title} | {sizes} | {took:.1f} s |", flush=True)
        finally:
            service.end()


if __name__ == "__main__":
    main()
