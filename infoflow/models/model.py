"""A loaded language model with its lock.

Everything that runs the model goes through `Model.run`: one nnsight trace, in which a block of plain functions reads
the values of the forward pass in execution order, calls the model's own modules, and returns what the result needs.
"""

import contextlib
import contextvars
import copy
import functools
import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import nnsight
import torch
from nnsight import TransformersModel

from infoflow.errors import InfoflowError, RemoteRunError, UnsupportedModel
from infoflow.models import decoding, devices, memory
from infoflow.models.architectures import Architecture
from infoflow.models.failures import ctrl_c_stays, told_when_changes_fail
from infoflow.models.held import as_analysed, shapes_of, turns_of
from infoflow.models.layouts import modules_of, neurons_of, passing_parameters, query_key_modules, rows_that_fit, sparse_layers
from infoflow.models.sizes import Sizes
from infoflow.models.spec import ModelSpec
from infoflow.ndif import run as hosted_run
from infoflow.ndif.nnsight_names import name_there
from infoflow.ndif.service import Connection
from infoflow.settings import settings
from infoflow.text.conversations import Form, Turn
from infoflow.text.tokens import Token, label
from infoflow.text.vocabulary import Conversation, Vocabulary
from infoflow.traced import interventions
from infoflow.traced.frozen import reconstruction_error
from infoflow.traced.patterns import NO_PATTERN


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
        connection: Connection | None = None,
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
        if getattr(hf_model, "peft_config", None) or getattr(hf_model, "_hf_peft_config_loaded", False):
            raise UnsupportedModel(
                "This model has an adapter (LoRA) on it, which would be left out. Merge it first (merge_and_unload of peft), and "
                "wrap what that gives."
            )
        self.candidates = rows_that_fit(hf_model)
        self._layout: dict[str, Architecture] = {}
        """the row that was settled on; one for all who use this model"""
        self.turns = turns_of(hf_model)
        self.lock = self.turns.lock
        self._traced = traced or TransformersModel(hf_model, tokenizer=tokenizer, task="text-generation")
        self._hf = hf_model
        self.table: Any = None
        """where runs of several works meet; None for a model that runs at once"""
        self.stored = ""
        """how the weights were stored, where they are held otherwise"""
        self._shapes = shapes_of(hf_model)
        self._known: dict[Any, Any] = {}
        self._tested: dict[str, Any] = {}
        """what `infoflow.check` said, by revision; one for all who use this model"""

    def through(self, connection: Connection, revision: str | None = None) -> "Model":
        """The same hosted model for another visitor, with that visitor's key and status line; `revision` is what the service
        runs now, where that has been asked anew."""
        other = copy.copy(self)
        other.connection, other.revision = connection, self.revision if revision is None else revision
        return other

    @property
    def names(self) -> tuple[str, ...]:
        """By which a service may list it: as it was asked for, and as runs there ask for it."""
        return self.name, name_there(self.name, lambda: self.name)

    @property
    def tested(self) -> Any:
        """What `infoflow.check` said, for an application that asks once a model; None before."""
        return self._tested.get(self.revision)

    @tested.setter
    def tested(self, verdict: Any) -> None:
        self._tested[self.revision] = verdict

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

    @property
    def hosted(self) -> bool:
        """Whether a service runs it."""
        return self.connection is not None

    @property
    def spec(self) -> ModelSpec:
        """This very model, as a request names it."""
        if self.connection is not None:
            return ModelSpec(name=self.name, revision=self.revision, dtype=self.dtype, host=self.connection.host)
        return ModelSpec(name=self.name, revision=self.revision, device=str(self.device), dtype=self.dtype)

    def free_memory(self) -> int:
        """Bytes that are free where this model runs; of this machine for a hosted one."""
        return memory.free("cpu" if self.hosted else str(self.device))

    def memory_limit(self) -> int:
        """Bytes that one run of it may take now."""
        return memory.limit(self.free_memory())

    @property
    def architecture(self) -> Architecture:
        """The layout that was settled on; before that the first that fits by its names."""
        return self._layout.get("row", self.candidates[0])

    def _settled(self) -> Architecture:
        """One among the layouts that fit a family without a row: the one whose parts add up best on a few tokens.

        Raises:
            UnsupportedModel: none of them runs.
        """
        if len(self.candidates) == 1 or "row" in self._layout:
            return self.architecture  # without the lock, which a run may hold for long
        with self.lock if self.connection is None else contextlib.nullcontext():  # there a run may queue for long
            if "row" not in self._layout:
                self._layout["row"] = self._best_candidate()
            return self._layout["row"]

    def _best_candidate(self) -> Architecture:
        ids = [i % self._hf.get_input_embeddings().num_embeddings for i in (5, 9, 7, 5, 3)]
        errors: list[float] = []
        reason = ""
        for row in self.candidates:
            try:
                error = float(self.run(ids, reconstruction_error, self._plan(row), len(ids)))
            except Exception as failed:  # noqa: BLE001  shapes that don't fit fail in many ways, here and there
                if isinstance(failed, InfoflowError) and not (isinstance(failed, RemoteRunError) and failed.kind == "server"):
                    raise  # it says nothing of the layout: ask again next time
                error = float("nan")
                reason = reason or f"{type(failed).__name__}: {(str(failed).splitlines() or [''])[0][:200]}"
            errors.append(error if error == error else float("inf"))
        if min(errors) == float("inf"):  # nothing was measured, so nothing is kept
            raise UnsupportedModel(f"The decomposition does not run on this model ({reason or 'its numbers are not finite'}).")
        return self.candidates[errors.index(min(errors))]

    def plan(self) -> SimpleNamespace:
        """The architecture's row with what a block needs to know of this model, as plain values."""
        return self._plan(self._settled())

    def _plan(self, row: Architecture) -> SimpleNamespace:
        allowed = self.memory_limit()
        return SimpleNamespace(
            **self._configured(row),
            **self._read_once(("modules", row), lambda: self._as_built(row)),
            eager=self._known.get("eager", True),
            edits={},
            given=(),
            copies=1,
            beside=(),
            joins={},
            graph=False,
            projected={role: row.projection(role) for role in "qkv"},
            keep=1,
            prefix=0,
            unchanged={},
            chunk_bytes=memory.chunk(allowed),
            product_bytes=memory.product(allowed),
        )

    def _configured(self, row: Architecture) -> dict[str, Any]:
        config = self._hf.config
        n_heads = config.num_attention_heads
        return {
            **vars(row),
            "n_heads": n_heads,
            "n_kv_heads": getattr(config, "num_key_value_heads", None) or n_heads,
            "d_head": getattr(config, "head_dim", None) or config.hidden_size // n_heads,
            "residual_multiplier": float(getattr(config, "residual_multiplier", 1.0)),
            "logit_scale": float(getattr(config, "logit_scale", 1.0)) / float(getattr(config, "logits_scaling", 1.0)),
            "softcap": float(getattr(config, "final_logit_softcapping", None) or 0.0),
            "hosted": self.hosted,
        }

    def _as_built(self, row: Architecture) -> dict[str, Any]:
        modules = modules_of(self._hf, row)
        return {
            "n_layers": len(self._hf.get_submodule(row.layers)),
            "biased": any(getattr(m, "bias", None) is not None or getattr(m, "has_bias", False) for _, m in modules),
            "sparse": sparse_layers(self._hf, row),
            "n_neurons": neurons_of(self._hf, row),
            **query_key_modules(self._hf, row),
        }

    def _read_once(self, what: Any, read: Callable[[], Any]) -> Any:
        """What is read off a model's modules, which takes long where they are many, and does not change."""
        if what not in self._known:
            self._known[what] = read()
        return self._known[what]

    def sizes(self) -> Sizes:
        """What the cost of an analysis depends on."""
        found: Sizes = self._read_once("sizes", self._sizes)
        return found

    def _sizes(self) -> Sizes:
        config, plan = self._hf.config, self.plan()
        modules = modules_of(self._hf, self.architecture)
        mapped = [(role, m) for role, m in modules if role in ("value", "output", "up", "down", "experts")]
        chosen = getattr(config, "num_experts_per_tok", 1)
        per_row = sum(
            sum(p.numel() for p in m.parameters()) * (chosen / m.num_experts if role == "experts" else 1) for role, m in mapped
        )
        return Sizes(
            layers=self.n_layers,
            d_model=config.hidden_size,
            d_head=plan.d_head,
            heads=plan.n_heads,
            kv_heads=plan.n_kv_heads,
            vocabulary=self._hf.get_input_embeddings().num_embeddings,
            hidden=max(max(p.shape[-2:]) for role, m in mapped for p in m.parameters() if p.ndim > 1),
            parameters=self._hf.num_parameters(),
            mapped_parameters=int(per_row),
            passing_parameters=passing_parameters(self._hf, mapped, chosen),
            biased=plan.biased,
            parallel=plan.parallel,
            half=self.dtype != "float32",
        )

    def speed(self) -> float:
        """Multiply-adds per second of a matrix product of this model's shape on its device, measured once, in float32."""
        sizes = self.sizes()  # tensors of its own: no lock, which a run may hold for long
        return devices.speed(str(self.device), sizes.d_model, sizes.hidden)

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

    def chat(self, turns: Sequence[Turn], answer_next: bool = True, thinking: bool = False) -> tuple[int, ...]:
        """Token ids of a conversation in the model's own chat template; with `answer_next`, up to where its answer begins.
        `thinking` lets a model think first whose template has a switch for that. Marks that are typed in a turn are text there.

        Raises:
            BadPrompt: no turn, no chat template, or a conversation that the template refuses.
        """
        return self._vocabulary.chat(turns, answer_next, thinking).ids

    def conversation(self, turns: Sequence[Turn], form: Form, thinking: bool = False) -> Conversation:
        """A conversation up to where the model's answer begins, in its chat template or as lines of plain text, with the turn of
        each token.

        Raises:
            BadPrompt: as `chat`.
        """
        chat = form == Form.CHAT
        return self._vocabulary.chat(turns, True, thinking) if chat else self._vocabulary.lines(turns, True)

    @property
    def can_think(self) -> bool:
        """Whether its chat template has a switch for thinking before the answer."""
        return bool(self._vocabulary.thinking_switch)

    def text_of(self, token_id: int) -> Token:
        """One token of the vocabulary, as it is in the middle of a text."""
        return self._vocabulary.tokens([int(token_id)])[0]

    def pieces(self, ids: Sequence[int]) -> tuple[Token, ...]:
        """Tokens in the middle of a text, such as what a model writes."""
        return self._vocabulary.tokens(ids)

    def name_of(self, token_id: int) -> str:
        """A token's text, with its leading space; the label of a special one, or of bytes that are no character."""
        token = self.text_of(token_id)
        return label(token) if token.name or token.raw else token.text

    def notes(self, prompt: str | Sequence[int], tokens: Sequence[Token]) -> tuple[str, ...]:
        """What a reader should know of how a prompt became these tokens, a sentence each."""
        return self._vocabulary.notes(prompt, tokens)

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

    def turn(self, say: Callable[[str, float], None]) -> "contextlib.AbstractContextManager[None]":
        """The model for oneself, one visitor after the other; `say` is told the place in line, and may leave by raising."""
        return self.turns.turn(say, settings().queue_length)

    def run(self, ids: Sequence[int], block: Callable[..., Any], *args: Any) -> Any:
        """Run the model once on `ids`; inside the trace call `block(envoy, tracer, *args)` and bring its result back. A plan
        among `args` may change the run (traced/interventions.py), or several copies of it side by side.

        The block may call neither Streamlit nor a lock; it sees the modules by dotted path (`envoy.get(path)`). A trace runs
        in an empty context: functions among `args` (progress) are called in that of this function's caller.
        """
        if self.table is not None:  # of several works that share a pass (together.py)
            return self.table.run(ids, block, *args)
        with told_when_changes_fail(), ctrl_c_stays():
            return self._run(ids, block, *args)

    def run_together(self, calls: Sequence[tuple[Sequence[int], Callable[..., Any], Sequence[Any]]]) -> list[Any]:
        """`run` of several prompts of one length, none of them changed, in one pass: each block sees its own row."""
        given: list[Any] = []
        with (
            ctrl_c_stays(),
            memory.told_when_out(str(self.device)),
            self.lock,
            as_analysed(self._hf, self._shapes),
            torch.no_grad(),
            torch.autocast(self.device.type, enabled=False),
            self._traced.trace() as tracer,
        ):
            results = nnsight.save(given)
            for ids, block, args in calls:
                with tracer.invoke(torch.tensor([list(ids)], device=self.device)):
                    results.append(block(self._traced, tracer, *args))
        return list(results)

    def _run(self, ids: Sequence[int], block: Callable[..., Any], *args: Any) -> Any:
        if self.connection is not None:
            self._refuse_hosted_experts()
            # functions stay here: the service tells of the run through the connection
            sent = [None if callable(a) else a for a in args]
            try:
                return hosted_run.run(self._traced, ids, block, sent, self.connection)
            except RemoteRunError as error:
                plans = [a for a in sent if isinstance(a, SimpleNamespace) and a.eager]
                if error.kind != "version" or NO_PATTERN not in error.details or not plans:
                    raise
                self._known["eager"] = plans[0].eager = False  # an older service: from what attention was given, from now on
                return hosted_run.run(self._traced, ids, block, sent, self.connection)
        changed = hosted_run.changed_in(args)
        context = contextvars.copy_context()
        args = tuple(functools.partial(context.run, a) if callable(a) else a for a in args)
        traced = self._traced
        prompt = torch.tensor(hosted_run.rows_of(ids, changed), device=self.device)
        with (
            memory.told_when_out(str(self.device)),
            self.lock,
            as_analysed(self._hf, self._shapes),
            torch.set_grad_enabled(changed is not None and changed.graph),
            torch.autocast(self.device.type, enabled=False),
        ):
            if changed is None:
                with traced.trace(prompt) as tracer:
                    result = nnsight.save(block(traced, tracer, *args))
            else:  # two parts of one run, of which the second reads what the first has changed
                with traced.trace() as tracer:
                    suffix, more = decoding.after_prefix(self._hf, prompt, changed.prefix)
                    with tracer.invoke(suffix, **more, **hosted_run.last_alone(traced, changed)):
                        interventions.apply(traced, tracer, changed)
                    with tracer.invoke():
                        result = nnsight.save(block(traced, tracer, *args))
        return result

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
        apart = len(self.alike(range(len(ids), len(ids) + max_new_tokens))) > 1
        arguments = decoding.options(max_new_tokens, pad, self.ends, anew=apart)
        told = on_token or (lambda token_id: None)
        if self.connection is not None:
            self._refuse_hosted_experts()  # before it writes what can't be read
            arguments |= decoding.sampled(temperature, top_p) if temperature else {}
            with ctrl_c_stays():
                new = hosted_run.generate(self._traced, ids, arguments, seed if temperature else None, self.connection)
            for token_id in new:
                told(token_id)
            return tuple(new)
        sampler = decoding.Sampler(temperature, top_p, seed) if temperature else None
        prompt = torch.tensor([list(ids)], device=self.device)
        with memory.told_when_out(str(self.device)), self.lock, as_analysed(self._hf, self._shapes):
            return tuple(decoding.continue_here(self._hf, prompt, arguments, sampler, told))

    def alike(self, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """First and last of consecutive lengths of text for which one pass over the longest stands, position by position: all of
        them in most families (`decoding.alike`)."""
        return decoding.alike(self._hf.config, lengths)

    @property
    def ends(self) -> set[int]:
        """Ids after which the model stops."""
        return decoding.ends_of(self._hf, self.tokenizer)
