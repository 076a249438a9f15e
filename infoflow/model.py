"""A loaded language model with its lock. The only file that imports transformers, and with `remote_run.py` nnsight.

Everything that runs the model goes through `Model.run`: one nnsight trace, in which a block of plain functions reads
the values of the forward pass in execution order, calls the model's own modules, and returns what the result needs.
"""

import contextlib
import contextvars
import copy
import functools
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nnsight
import torch
from nnsight._c import unmount

if unmount is not None:  # nnsight mounts .save on every object, which breaks the web server's imports
    unmount("save")

import transformers
from nnsight import TransformersModel
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from infoflow import budget, decoding, devices, hub, progress, remote, remote_run
from infoflow.architectures import Architecture
from infoflow.errors import Cancelled, InfoflowError, RemoteRunError, TooLarge, UnsupportedModel
from infoflow.frozen import reconstruction_error
from infoflow.layouts import modules_of, rows_that_fit, sparse_layers
from infoflow.tokens import UNDECODABLE, Token, label
from infoflow.vocabulary import Turn, Vocabulary
from infoflow.weights import DEMO, fingerprint

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_tqdm_hook(progress.bar)


class Model:
    """One model in memory, its tokenizer and architecture, and the lock that every use of it holds.

    nnsight can't run one module in two threads at once, and neither can a plain forward run beside a trace; so the
    lock is here, and nobody else needs to know.
    """

    def __init__(
        self,
        hf_model: Any,
        tokenizer: Any,
        name: str,
        revision: str,
        connection: remote.Connection | None = None,
        traced: Any = None,
    ) -> None:
        """`traced` is nnsight's wrapper of a hosted model, whose modules are here without their weights."""
        self.connection = connection
        self.name = name
        self.revision = revision
        self.tokenizer = tokenizer
        rows, longest = hf_model.get_input_embeddings().num_embeddings, getattr(hf_model.config, "max_position_embeddings", None)
        self._vocabulary = Vocabulary(tokenizer, rows, longest)
        if connection is None and any(p.is_meta for p in hf_model.parameters()):
            raise UnsupportedModel(
                "This model's weights are not on this machine, so it can't be run here. Load it with its weights."
            )
        self.candidates = rows_that_fit(hf_model)
        self.architecture = self.candidates[0]
        hf_model.eval()
        if getattr(hf_model.config, "_attn_implementation", "eager") != "eager":
            hf_model.set_attn_implementation("eager")  # the others return no pattern
        self._settling = False
        self._layout: dict[str, Architecture] = {}
        """the row that was settled on; one for all who use this model"""
        self.lock = threading.RLock()
        self._traced = traced or TransformersModel(hf_model, tokenizer=tokenizer, task="text-generation")
        self._hf = hf_model
        self._speed: float | None = None
        self.tested: Any = None
        """what `infoflow.check` said, for an application that asks once a model"""

    def through(self, connection: remote.Connection) -> "Model":
        """The same hosted model for another visitor: with that visitor's key and status line."""
        other = copy.copy(self)
        other.connection = connection
        return other

    @property
    def n_layers(self) -> int:
        return len(self._hf.get_submodule(self.architecture.layers))

    @property
    def family(self) -> str:
        """The kind of model, as transformers names it."""
        return str(self._hf.config.model_type)

    @property
    def parameters(self) -> int:
        """In millions."""
        return round(self._hf.num_parameters() / 1e6)

    @property
    def dtype(self) -> str:
        """How the weights are stored; "hosted" where only the service knows before a run."""
        if self.connection is not None:
            return "hosted"
        return str(next(self._hf.parameters()).dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        return next(self._hf.parameters()).device

    @property
    def bytes(self) -> int:
        """Memory of the weights; 0 for a hosted model."""
        return 0 if self.connection is not None else sum(p.numel() * p.element_size() for p in self._hf.parameters())

    def free_memory(self) -> int:
        """Bytes that are free where this model runs; of this machine for a hosted one."""
        return devices.free_memory("cpu" if self.connection is not None else str(self.device))

    def _settle(self) -> None:
        """Choose among layouts that fit a family without a row: the one whose parts add up best on a few tokens."""
        if len(self.candidates) == 1:
            return  # without the lock, which a run may hold for long
        with self.lock if self.connection is None else contextlib.nullcontext():  # there a run may queue for long
            if self._settling:
                return  # asked by the runs below
            if "row" not in self._layout:
                self._settling = True
                try:
                    self._layout["row"] = self._best_candidate()
                finally:
                    self._settling = False
            self.architecture = self._layout["row"]

    def _best_candidate(self) -> Architecture:
        ids = [i % self._hf.get_input_embeddings().num_embeddings for i in (5, 9, 7, 5, 3)]
        errors: list[float] = []
        for row in self.candidates:
            self.architecture = row
            try:
                error = float(self.run(ids, reconstruction_error, self.plan(), len(ids)))
            except Exception as failed:  # noqa: BLE001  shapes that don't fit fail in many ways, here and there
                if isinstance(failed, Cancelled) or (isinstance(failed, RemoteRunError) and failed.kind != "server"):
                    raise  # it says nothing of the layout: ask again next time
                error = float("inf")
            errors.append(error if error == error else float("inf"))
        return self.candidates[errors.index(min(errors))]

    def plan(self) -> SimpleNamespace:
        """The architecture's row with what a block needs to know of this model, as plain values."""
        self._settle()
        config, row = self._hf.config, self.architecture
        n_heads = config.num_attention_heads
        modules = modules_of(self._hf, row)
        return SimpleNamespace(
            **asdict(row),
            n_heads=n_heads,
            n_kv_heads=getattr(config, "num_key_value_heads", None) or n_heads,
            d_head=getattr(config, "head_dim", None) or config.hidden_size // n_heads,
            residual_multiplier=float(getattr(config, "residual_multiplier", 1.0)),
            logit_scale=float(getattr(config, "logit_scale", 1.0)) / float(getattr(config, "logits_scaling", 1.0)),
            softcap=float(getattr(config, "final_logit_softcapping", None) or 0.0),
            biased=any(getattr(m, "bias", None) is not None or getattr(m, "has_bias", False) for _, m in modules),
            sparse=sparse_layers(self._hf, row),
            remote=self.connection is not None,
            chunk_bytes=budget.chunk_bytes(self),
        )

    def sizes(self) -> budget.Sizes:
        """What the cost of an analysis depends on."""
        config, plan = self._hf.config, self.plan()
        modules = modules_of(self._hf, self.architecture)
        mapped = [(role, m) for role, m in modules if role in ("value", "output", "up", "down", "experts")]
        chosen = getattr(config, "num_experts_per_tok", 1)
        per_row = sum(
            sum(p.numel() for p in m.parameters()) * (chosen / m.num_experts if role == "experts" else 1) for role, m in mapped
        )
        return budget.Sizes(
            layers=self.n_layers,
            d_model=config.hidden_size,
            d_head=plan.d_head,
            heads=plan.n_heads,
            kv_heads=plan.n_kv_heads,
            vocabulary=self._hf.get_input_embeddings().num_embeddings,
            hidden=max(max(p.shape[-2:]) for role, m in mapped for p in m.parameters() if p.ndim > 1),
            parameters=self._hf.num_parameters(),
            mapped_parameters=int(per_row),
            biased=plan.biased,
            parallel=plan.parallel,
            half=self.dtype != "float32",
        )

    def speed(self) -> float:
        """Multiply-adds per second of a matrix product of this model's shape on its device, measured once, in float32."""
        if self._speed is None:
            sizes = self.sizes()
            rows = torch.randn(512, sizes.d_model, device=self.device)
            matrix = torch.randn(sizes.d_model, sizes.hidden, device=self.device)
            with self.lock, torch.no_grad():
                times: list[float] = []
                while sum(times) < 0.2 or len(times) < 3:
                    started = time.perf_counter()
                    float((rows @ matrix)[0, 0])
                    times.append(time.perf_counter() - started)
            self._speed = rows.shape[0] * matrix.numel() / min(times)  # the others shared the machine
        return self._speed

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self._hf.config.model_type}, {self.n_layers} layers, {self.dtype} on {self.device})"

    def encode(self, prompt: str | Sequence[int]) -> tuple[Token, ...]:
        """The tokens of a prompt: text, with the special tokens this tokenizer adds, or token ids as they are.

        Raises:
            BadPrompt: an empty or blank prompt, or an id the model has no embedding for.
            TooLarge: more tokens than the model has positions for.
        """
        return self._vocabulary.encode(prompt)

    @property
    def longest(self) -> int | None:
        """The most tokens it reads, where that is known."""
        return self._vocabulary.longest

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer says how a conversation is written; base models' mostly do not."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    @property
    def is_instruct(self) -> bool:
        """Whether the model was made to be talked to: it has a chat template, and its name says so. Many base models carry the
        template of their chat siblings."""
        words = set(re.split(r"[^a-z]+", self.name.lower()))
        return self.has_chat_template and bool(words & {"instruct", "chat", "it", "assistant"})

    def chat(self, turns: Sequence[Turn], answer_next: bool = True) -> tuple[int, ...]:
        """Token ids of a conversation in the model's own chat template; with `answer_next`, up to where its answer begins.

        Raises:
            BadPrompt: no turn, no chat template, or a conversation that the template refuses.
        """
        return self._vocabulary.chat(turns, answer_next)

    def text_of(self, token_id: int) -> Token:
        """One token of the vocabulary, as a prediction names it."""
        return self._vocabulary.tokens([int(token_id)])[0]

    def name_of(self, token_id: int) -> str:
        """A token's text, with its leading space; a special token's label."""
        token = self.text_of(token_id)
        return label(token) if token.name else token.text or UNDECODABLE

    def token_id(self, token: str | int) -> int:
        """The id of a token: of a text that is one token, or an id as it is.

        Raises:
            BadPrompt: the text is several tokens, which it names, or there is no such id.
        """
        return self._vocabulary.token_id(token)

    def token_id_near(self, token: str | int) -> int:
        """`token_id` of what a reader typed: with the leading space that most words have, if that is a token; else as it is.

        Raises:
            BadPrompt: neither is a single token.
        """
        return self._vocabulary.token_id_near(token)

    def run(self, ids: Sequence[int], block: Callable[..., Any], *args: Any) -> Any:
        """Run the model once on `ids`; inside the trace call `block(envoy, tracer, *args)` and bring its result back.

        The block may call neither Streamlit nor a lock; it sees the modules by dotted path (`envoy.get(path)`). A trace runs
        in an empty context: functions among `args` (progress) are called in that of this function's caller.
        """
        if self.connection is not None:
            self._refuse_hosted_experts()
            # functions stay here: the service tells of the run through the connection
            sent = [None if callable(a) else a for a in args]
            return remote_run.run(self._traced, ids, block, sent, self.connection)
        context = contextvars.copy_context()
        args = tuple(functools.partial(context.run, a) if callable(a) else a for a in args)
        traced = self._traced
        prompt = torch.tensor([list(ids)], device=self.device)
        with (
            self.lock,
            torch.no_grad(),
            torch.autocast(self.device.type, enabled=False),
            traced.trace(prompt) as tracer,
        ):
            result = nnsight.save(block(traced, tracer, *args))
        return result  # noqa: RET504  nnsight needs the name

    def _refuse_hosted_experts(self) -> None:
        if sparse_layers(self._hf, self.architecture):
            raise UnsupportedModel(
                "The experts' weights of a hosted mixture of experts can't be read, so it can't be analysed there. "
                "Choose a dense model, or run this one on a machine of your own."
            )

    def generate(
        self,
        ids: Sequence[int],
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        on_token: Callable[[int], None] | None = None,
    ) -> tuple[int, ...]:
        """The ids that the model adds to `ids`, up to and with an id that ends its text.

        At temperature 0 always the likeliest; else samples of softmax(logits / temperature) within top-p. A seed gives the
        same tokens again on the same machine. `on_token` is told each id as it comes; a hosted model tells all at its end.
        """
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id or 0
        arguments = decoding.options(max_new_tokens, pad)
        told = on_token or (lambda token_id: None)
        if self.connection is not None:
            self._refuse_hosted_experts()  # before it writes what can't be read
            arguments |= decoding.sampled(temperature, top_p) if temperature else {}
            new = remote_run.generate(self._traced, ids, arguments, seed if temperature else None, self.connection)
            for token_id in new:
                told(token_id)
            return tuple(new)
        sampler = decoding.Sampler(temperature, top_p, seed) if temperature else None
        prompt = torch.tensor([list(ids)], device=self.device)
        with self.lock:
            return tuple(decoding.continue_here(self._hf, prompt, arguments, sampler, told))

    @property
    def ends(self) -> set[int]:
        """Ids after which the model stops."""
        return decoding.ends_of(self._hf, self.tokenizer)


def wrap_model(hf_model: Any, tokenizer: Any, name: str = "", revision: str = "") -> Model:
    """A transformers model you already hold, ready for the analyses. Its attention is switched to eager.

    Raises:
        UnsupportedModel: a family without a row in `architectures.py`.
    """
    name = name or getattr(hf_model.config, "_name_or_path", "") or type(hf_model).__name__
    return Model(hf_model, tokenizer, name, revision or "in memory")


def load_model(
    name: str = "demo",
    revision: str | None = None,
    remote: bool = False,
    host: str | None = None,
    key: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    folders: bool = True,
    on_progress: Callable[[str, float], None] | None = None,
) -> Model:
    """Load a model by name: "demo", a local folder, or a name on the Hugging Face hub (`owner/model`, `owner/model@revision`).

    `device` is "auto" (the fastest that can be trusted) or one of `devices.available()`; `dtype`, how the weights are
    held, "auto" (bfloat16 on a GPU that has it, float32 elsewhere and for the bundled model), "float32", "bfloat16" or
    "float16". `folders=False` reads nothing but the bundled model and the hub. `on_progress(doing, fraction)` is called
    while files are fetched and weights are read; raising in it stops that.

    `remote=True` takes a hub model as NDIF hosts it: its configuration and tokenizer are read here, every analysis runs
    there. `host` and `key` default to NDIF_HOST (else the public service) and NDIF_API_KEY.

    Raises:
        UnsupportedModel: unknown name, a folder that is no model, a family that is not supported, a device that is not there.
        TooLarge: weights that do not fit in the memory that is free.
        RemoteRunError: a host that is no address.
    """
    name, told = name.strip(), on_progress or (lambda doing, fraction: None)
    if not name:
        raise UnsupportedModel("No model was named. Use 'demo', a local folder, or a name on the Hugging Face hub.")
    folder = _folder_of(name) if folders or name == "demo" else None
    if not folder:
        hub_name, in_name = hub.split_revision(name)
        if not hub.is_name(hub_name):
            where = f"There is no folder '{name}'. Check the path, or give" if folders else "Give"
            raise UnsupportedModel(f"{where} a name on the hub such as 'Qwen/Qwen3-0.6B'.")
        name, revision = hub_name, revision or in_name
    if remote:
        return _hosted(name, folder, revision, host, key, told)
    place = devices.choose(device)
    torch_dtype = torch.float32 if name == "demo" and dtype == "auto" else devices.dtype_of(dtype, place)
    with _in_words(name):

        def accept(files: Path) -> None:  # refuse before anything large is downloaded or read
            with torch.device("meta"):
                empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(str(files), trust_remote_code=False))
            rows_that_fit(empty)
            if folder:
                hub.weight_files(folder, {f.name: 0 for f in folder.iterdir()}, name)
            _check_room(name, empty, place, torch_dtype)

        if folder:
            accept(folder)
            found = hub.Fetched(folder, fingerprint(folder))
        else:
            found = hub.fetch(name, revision, True, accept, on_progress)
            accept(found.folder)  # it may have been here already
        told("Reading the weights", 0.0)
        with progress.told_to(told):
            hf_model: Any = AutoModelForCausalLM.from_pretrained(
                found.folder, use_safetensors=True, dtype=torch_dtype, attn_implementation="eager", trust_remote_code=False
            )
        hf_model.requires_grad_(False)  # gradients flow to embeddings alone; weights' would cost memory
        hf_model.to(place)
        tokenizer = AutoTokenizer.from_pretrained(found.folder, trust_remote_code=False)
    return Model(hf_model, tokenizer, name, found.commit)


def _folder_of(name: str) -> Path | None:
    """The local folder that a name stands for, if any.

    Raises:
        UnsupportedModel: a folder that holds no model.
    """
    folder = DEMO if name == "demo" else Path(name).expanduser()
    if not folder.is_dir():
        return None
    if not (folder / "config.json").is_file():
        raise UnsupportedModel(
            f"The folder '{name}' is no model: it has no config.json. Choose a folder made by save_pretrained."
        )
    return folder


def _check_room(name: str, empty: Any, device: str, dtype: torch.dtype) -> None:
    """Refuse weights that do not fit: reading them would end the process, and every visitor's work with it."""
    needed = empty.num_parameters() * dtype.itemsize
    device = min(device, "cpu", key=devices.free_memory)  # they go through this machine's memory on their way
    free = devices.free_memory(device)
    if needed > free:
        held = str(dtype).removeprefix("torch.")
        smaller = " Hold them as bfloat16 (half of it), or choose" if dtype == torch.float32 and needed // 2 < free else " Choose"
        raise TooLarge(
            f"The weights of '{name}' take {budget.in_words(needed)} as {held}; {budget.in_words(free)} are free on {device}."
            f"{smaller} a smaller model, unload another, or run it on NDIF."
        )


@contextlib.contextmanager
def _in_words(name: str) -> Iterator[None]:
    """What transformers raises when it can't read a model, as a sentence."""
    try:
        yield
    except InfoflowError:
        raise
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnsupportedModel(
            f"'{name}' can't be loaded: {reason[:300]} Only models of transformers with safetensors weights are read."
        ) from error


def _hosted(
    name: str,
    folder: Path | None,
    revision: str | None,
    host: str | None,
    key: str | None,
    told: Callable[[str, float], None],
) -> Model:
    """A model that the service runs: modules without weights, and the tokenizer."""
    to = remote.connection(host, key)
    if name == "demo":
        raise UnsupportedModel("The bundled model is not on the service; it runs here. Choose a model of the hub for there.")
    found = hub.Fetched(folder, "local") if folder else hub.fetch(name, revision, weights=False, on_progress=told)
    with _in_words(name):
        tokenizer = AutoTokenizer.from_pretrained(found.folder, trust_remote_code=False)
        traced = TransformersModel(
            name, task="text-generation", tokenizer=tokenizer, attn_implementation="eager", revision=revision, dispatch=False
        )
    return Model(traced._module, tokenizer, name, found.commit, to, traced)
