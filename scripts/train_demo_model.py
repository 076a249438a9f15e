"""Make the bundled model: tokenizer, training, exam and model card, from the seeded corpus of `demo_corpus.py`.

    python scripts/train_demo_model.py --out infoflow/demo            # about two hours on two CPU cores
    python scripts/train_demo_model.py --out /tmp/demo --steps 200    # a quick try

The learning rate is constant, then falls over the last quarter of the steps; `--resume` goes on from the newest
checkpoint, so a run can be stopped and its length changed.
"""

import argparse
import itertools
import json
import random
import time
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import demo_corpus as corpus
import demo_skills as skills
import demo_words as words

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
SPECIAL = [BOS, EOS, corpus.USER, corpus.ASSISTANT, corpus.END]
ROW = 144
"""positions of a training row; several documents are packed into one, and do not see each other"""
CHAT = (
    "{{ bos_token }}{% for message in messages %}{{ ('<|assistant|> ' if message['role'] == 'assistant' else '<|user|> ')"
    " + message['content'] | trim + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

FIRST_WORDS = "When Water Roses Python She Once One After While Then What Hello".split()
WHOLE_WORDS = [
    *words.NAMES,
    *words.CAPITALS,
    *words.CAPITALS.values(),
    *words.COLOURS.values(),
    *words.OPPOSITES,
    *words.OPPOSITES.values(),
    *words.SOUNDS,
    *words.SOUNDS.values(),
    *words.PLACES,
    *words.GIFTS,
    *words.ANIMALS,
    *words.OUTDOORS,
    *words.LANGUAGES.values(),
    *words.DAYS,
    *words.MONTHS,
    *words.NUMBERS[:13],
    *(answer for _, answer in words.SAYINGS),
    *"drink gave went password mat sat war lasted year wizard walked forest Water composed hydrogen mitochondria".split(),
    *"powerhouse Roses violets square root sixteen opened door Python popular programming rises 1969 humans landed".split(),
]
"""words that the vocabulary should hold in one piece, since the examples are about them"""


def train_tokenizer(seed: int, vocabulary: int = 2048) -> PreTrainedTokenizerFast:
    """Byte-level BPE whose digits split in pairs; names, facts and digit pairs are frequent enough to be one token each."""
    tokenizer = Tokenizer(models.BPE())
    words_and_pairs = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(words_and_pairs), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    rng = random.Random(seed)
    text = []
    for marked in itertools.islice(corpus.documents(seed), 120_000):
        plain = corpus.spans(marked)[0]
        if any(w.isupper() and len(w) > 3 for w in plain.replace(".", " ").split()) and rng.random() < 0.35:
            continue  # made-up words would fill the vocabulary with their syllables
        text.append(plain.replace(corpus.END, " ").replace(corpus.USER, "").replace(corpus.ASSISTANT, ""))
    text += FIRST_WORDS * 3000 + [f" {w}" for w in WHOLE_WORDS] * 3000 + [f"{n:02d}" for n in range(100)] * 20_000
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
        ),
    ])  # fmt: skip
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=EOS, model_max_length=2048)
    fast.chat_template = CHAT
    missing = [f"{n:02d}" for n in range(100) if fast.convert_tokens_to_ids(f"{n:02d}") is None]
    assert not missing, f"digit pairs that are no token: {missing}"
    return fast


def configuration(vocabulary: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=0,
        eos_token_id=[1, SPECIAL.index(corpus.END)],
        pad_token_id=1,
    )


def examples(tokenizer, seed: int):
    """Endless (ids, weights): a document between its marks, with a weight for each token."""
    rng = random.Random(seed + 1)
    end = tokenizer.convert_tokens_to_ids(EOS)
    stream = corpus.documents(seed)
    while True:
        marked = list(itertools.islice(stream, 512))
        texts, covers = zip(*(corpus.spans(m) for m in marked), strict=True)
        encoded = tokenizer(list(texts), return_offsets_mapping=True)
        for ids, offsets, cover in zip(encoded["input_ids"], encoded["offset_mapping"], covers, strict=True):
            weights, at = [], 0
            for _, stop in offsets:
                while at < len(cover) - 1 and stop > cover[at][0]:
                    at += 1
                weights.append(cover[at][1])
            yield ids + [end], weights + [0.3]
        for _ in range(20):  # induction on bare token ids, as head calibration uses them
            n = rng.randint(5, 40)
            some = [rng.randrange(len(SPECIAL), len(tokenizer)) for _ in range(n)]
            repeat = rng.randint(3, n)
            yield [0] + some + some[:repeat], [0.0] * (n + 2) + [2.0] * (repeat - 1)


def batches(tokenizer, seed: int, rows: int):
    """Endless packed batches: ids, positions, targets, weights, and an additive mask that separates documents."""
    source = examples(tokenizer, seed)
    held = next(source)
    while True:
        ids = torch.ones(rows, ROW, dtype=torch.long)
        position = torch.zeros(rows, ROW, dtype=torch.long)
        weight = torch.zeros(rows, ROW)
        document = torch.zeros(rows, ROW, dtype=torch.long)
        for r in range(rows):
            at = k = 0
            while at < ROW - 4:
                n = min(len(held[0]), ROW - at)
                if n < len(held[0]) and at > ROW // 2 and len(held[0]) <= ROW:
                    break
                k += 1
                ids[r, at : at + n] = torch.tensor(held[0][:n])
                position[r, at : at + n] = torch.arange(n)
                weight[r, at + 1 : at + n] = torch.tensor(held[1][1:n])
                document[r, at : at + n] = k
                at, held = at + n, next(source)
        same = document[:, :, None] == document[:, None, :]
        allowed = same & torch.ones(ROW, ROW, dtype=torch.bool).tril()
        mask = torch.zeros(rows, 1, ROW, ROW).masked_fill_(~allowed[:, None], torch.finfo(torch.bfloat16).min)
        yield ids, position, weight, mask.to(torch.bfloat16)


def optimizers(model, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the embedding and the gains."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim < 2 or "embed" in n]
    return [
        torch.optim.Muon(inner, lr=rate, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, weight_decay=0.0, betas=(0.9, 0.98), fused=True),
    ]


def loss_of(model, batch) -> torch.Tensor:
    ids, position, weight, mask = batch
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=ids, position_ids=position, attention_mask=mask, use_cache=False).last_hidden_state
        keep = weight[:, 1:] > 0
        logits = model.lm_head(hidden[:, :-1][keep])
    each = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][keep], reduction="none")
    chosen = weight[:, 1:][keep]
    return (each * chosen).sum() / chosen.sum()


def save(model, tokenizer, out: Path) -> None:
    """Weights in half precision, as the app ships them."""
    half = LlamaForCausalLM(model.config).half()
    half.load_state_dict(model.state_dict())
    half.save_pretrained(out)
    tokenizer.save_pretrained(out)


def train(args) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    if (args.out / "tokenizer.json").exists() and args.resume:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.out)
    else:
        tokenizer = train_tokenizer(args.seed)
        tokenizer.save_pretrained(args.out)
    model = LlamaForCausalLM._from_config(configuration(len(tokenizer)), attn_implementation="eager")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens", flush=True)
    chosen = optimizers(model, args.rate)
    first = 0
    checkpoint = args.checkpoint
    if args.resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(chosen, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        first = saved["step"]
        print(f"resumed at step {first}", flush=True)
    stream = batches(tokenizer, args.seed + 1000 + first, args.rows)
    started, running = time.time(), 0.0
    for step in range(first, args.steps):
        left = (args.steps - step) / (0.25 * args.steps)
        factor = min(1.0, (step + 1) / 200, left)
        for optimizer in chosen:
            for group in optimizer.param_groups:
                group["lr"] = args.rate * factor
        model.train()
        loss = loss_of(model, next(stream))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in chosen:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        running = loss.item() if step == first else 0.95 * running + 0.05 * loss.item()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1} loss {running:.4f} {time.time() - started:.0f} s", flush=True)
        if (step + 1) % args.every == 0 or step + 1 == args.steps:
            print({k: round(v, 3) for k, v in skills.exam(model, tokenizer, n=48).items()}, flush=True)
            print(repr(skills.continuation(model, tokenizer, skills.STORY, 40)), flush=True)
            torch.save(
                {"model": model.state_dict(), "optimizers": [o.state_dict() for o in chosen], "step": step + 1},
                checkpoint,
            )
    save(model, tokenizer, args.out)
    write_card(args, tokenizer)


CARD = """# The demo model

A `LlamaForCausalLM` of {parameters:,} parameters (6 layers, 8 heads, 4 key/value heads, d_model 256, tied embeddings,
{tokens} tokens), {megabytes:.1f} MB in half precision. It was trained from scratch on synthetic English made by
`scripts/demo_corpus.py` (seed {seed}; {words:,} different English word forms in 100,000 documents) for {steps:,} steps
of {batch:,} tokens on {threads} CPU threads, by `scripts/train_demo_model.py`. It knows nothing else: it is for looking
at circuits, not for use.

## What it reaches
`scripts/demo_skills.py`, 400 questions a skill where they are drawn. Indirect object, induction, copying, greater-than and
correction are asked on combinations of names, words and numbers held back from training (one further question of the
first and of greater-than is the app's own example, which is not held back). Capitals, colours, opposites, animal sounds
and the ten prompts are recall: training taught these facts, often in these words.

| skill | required | reached |
|---|---|---|
{rows}

Greater-than is the mean probability on larger two-digit numbers; the others count an answer only if every token of it is
the first choice.

## How it completes

| prompt | completion (greedy) |
|---|---|
{ten}

{stories}"""


def write_card(args, tokenizer) -> None:
    """The model card with what the shipped (half precision) weights reach, not what was hoped."""
    model = LlamaForCausalLM.from_pretrained(args.out, dtype=torch.float32)
    reached = skills.exam(model, tokenizer, n=400)
    seen = {
        w
        for m in itertools.islice(corpus.documents(args.seed), 100_000)
        for w in corpus.re.findall(r"[A-Za-z]+", corpus.spans(m)[0])
        if w.lower() in _KNOWN or w in _KNOWN
    }
    rows = "\n".join(f"| {skill} | {skills.REQUIRED[skill]:.0%} | {value:.1%} |" for skill, value in reached.items())
    stories = "\n".join(
        f"> {skills.STORY}{skills.continuation(model, tokenizer, skills.STORY, 70, seed)}\n" for seed in (None, 1, 2)
    )
    ten = "\n".join(f"| {p} | {skills.continuation(model, tokenizer, p, 6)!r} |" for p in skills.TEN_PROMPTS)
    size = (args.out / "model.safetensors").stat().st_size
    card = CARD.format(
        parameters=sum(p.numel() for p in model.parameters()),
        tokens=len(tokenizer),
        megabytes=size / 1e6,
        words=len(seen),
        seed=args.seed,
        steps=args.steps,
        batch=args.rows * ROW,
        threads=args.threads,
        rows=rows,
        ten=ten,
        stories=stories,
    )
    (args.out / "README.md").write_text(card)
    print(json.dumps(reached, indent=1))


_KNOWN = {*words.EVERY_WORD, *words.NAMES, *words.CAPITALS, *words.CAPITALS.values(), *words.LANGUAGES.values()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--rows", type=int, default=28)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=500, help="steps between exams and checkpoints")
    parser.add_argument("--checkpoint", type=Path, default=Path("/tmp/infoflow_demo_checkpoint.pt"))
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--card", action="store_true", help="do not train: examine what is in --out and write its card")
    options = parser.parse_args()
    if options.card:
        write_card(options, PreTrainedTokenizerFast.from_pretrained(options.out))
    else:
        train(options)
