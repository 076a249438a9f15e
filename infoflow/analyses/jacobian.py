"""Fitting a Jacobian lens: what a row's residual comes to in the last one, to first order, in the mean over a corpus.

1. One run of a prompt, and the gradients of the last residual by every row:

       J_r[i, j] = mean_p sum_{p' >= p} d x_final[p', i] / d x_r[p, j]

   over positions p and p' from the `skip`-th on (the first ones are attention sinks, whose states are unlike any other) and
   without the last, which predicts nothing of the text.
2. The mean over prompts.

Each output dimension i is a backward pass, or one column of a batch of them: d_model of them for a prompt. With `directions`, a
prompt has so many of the directions q of a fixed random rotation Q instead, each in turn:

    J = sum_q q (mean over the prompts that had q of J^T q)^T

which is the same in expectation, and the same with all of them. How far it is from where it goes with more prompts is seen by the
two halves: of each direction every other visit, which for an exact fit are the even and the odd prompts.

Sums are kept beside what is written, so that a fit that was stopped goes on where it was.

Source: the Jacobian lens (2026), github.com/anthropics/jacobian-lens.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from infoflow.errors import BadLens, BadPrompt
from infoflow.models import memory
from infoflow.models.account import ACCOUNT
from infoflow.models.lens_files import header_of
from infoflow.models.lenses import FittedLens, atomically, save_lens
from infoflow.text.rows import rows_of

if TYPE_CHECKING:
    import infoflow.models.model

Report = Callable[[str, float], None]
_STATE = "infoflow fit 1"
_MOST_TOGETHER = 16
"""directions in one backward pass: more are not faster on a processor"""
_BETWEEN = 30.0
"""seconds between two states that are kept: those of a large model take gigabytes"""
_LETTERS = 40
"""of a text that are read for each token that is wanted: a whole book need not be tokenised"""


def fit_lens(
    model: "infoflow.models.model.Model",
    prompts: Sequence[str | Sequence[int]],
    out: str | Path | None = None,
    max_tokens: int = 128,
    skip: int = 16,
    batch: int | None = None,
    directions: int | None = None,
    seed: int = 0,
    on_progress: Report | None = None,
    resume: bool = True,
) -> FittedLens:
    """Fit a Jacobian lens on prompts, each cut to `max_tokens`; those of no more than `skip` + 1 tokens are left out.

    `directions`: so many random ones a prompt instead of all `d_model`, which is as much faster (see the module). `batch`: how
    many go back together; None for what fits in memory. `out` is written as safetensors, and beside it "`out`.partial" (at most
    twice a minute, and when the fit is stopped), from which it goes on (`resume`). `on_progress(doing, fraction)` may stop it by
    raising.

    Raises:
        BadPrompt: a hosted model, no prompt that is long enough, numbers that are none, too few prompts for all directions.
        BadLens: a state that is of another fit, or a place that can't be written.
        TooLarge: a run that does not fit in memory.
    """
    if model.hosted:
        raise BadPrompt("Fitting a lens needs backward passes through the model, which the service does not give. Fit it here.")
    width = model.sizes().d_model
    if not 0 <= skip <= max_tokens - 2:
        raise BadPrompt(
            f"Of {max_tokens} tokens the first {skip} and the last are left out, and none stays. Choose fewer, or more."
        )
    if (directions is not None and not 1 <= directions <= width) or (batch is not None and batch < 1):
        raise BadPrompt(f"A prompt has 1 to {width} directions, and at least one goes back at a time. Choose such numbers.")
    texts = [ids for prompt in prompts if len(ids := _ids(model, prompt, max_tokens)) > skip + 1]
    if not texts:
        raise BadPrompt(f"None of the {len(prompts)} prompts is longer than {skip + 1} tokens. Give longer ones, or skip less.")
    if directions is not None and len(texts) * directions < width:
        raise BadPrompt(
            f"{len(texts)} prompts of {directions} directions each leave out some of the {width} that there are. Give "
            f"{-(-width // directions)} prompts, or {-(-width // len(texts))} directions."
        )
    fit = _Fit(model, texts, _How(skip=skip, directions=directions or width, turned=directions is not None, seed=seed), batch)
    place = None if out is None else Path(out).expanduser()
    state = None if place is None else place.with_name(place.name + ".partial")
    fit.run(state, on_progress or (lambda doing, fraction: None), resume)
    lens = fit.lens()
    if place is not None and state is not None:
        lens = save_lens(lens, place)
        state.unlink(missing_ok=True)
    return lens


def merge_lenses(lenses: Sequence[FittedLens]) -> FittedLens:
    """One lens of several that were fitted on other prompts each: the mean, weighted by their prompts. Its halves are two groups
    of the lenses.

    Raises:
        BadLens: none, or lenses of other models, rows or kinds, or of an unknown number of prompts.
    """
    if not lenses:
        raise BadLens("There is no lens to merge. Give some.")
    first = lenses[0]
    for lens in lenses:
        if lens.kind != "jacobian" or lens.biases or not lens.n_prompts:
            raise BadLens("Only Jacobian lenses that say on how many prompts they were fitted can be merged.")
        same = (lens.rows, lens.d_model, lens.n_layers, lens.model, lens.revision)
        if same != (first.rows, first.d_model, first.n_layers, first.model, first.revision):
            raise BadLens(f"{lens} and {first} are not of one model and the same rows, so they can't be merged.")
    if len(lenses) == 1:
        return first
    halves = _halved([lens.n_prompts or 0 for lens in lenses])
    parts = [_weighted([lenses[k] for k in half]) for half in halves]
    total = [sum(lenses[k].n_prompts or 0 for k in half) for half in halves]
    return replace(
        first, matrices=_weighted(lenses), n_prompts=sum(total), digest="",
        halves={row: _cosine(parts[0][row], parts[1][row]) for row in first.rows},
    )  # fmt: skip


def _weighted(lenses: Sequence[FittedLens]) -> dict[str, np.ndarray]:
    total = sum(lens.n_prompts or 0 for lens in lenses)
    return {
        row: np.asarray(sum((lens.n_prompts or 0) / total * lens.matrices[row].astype(np.float64) for lens in lenses), np.float32)
        for row in lenses[0].rows
    }


def _halved(sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Numbers of what is in two groups of about the same size."""
    groups: tuple[list[int], list[int]] = ([], [])
    held = [0, 0]
    for k in sorted(range(len(sizes)), key=lambda k: -sizes[k]):
        lighter = int(held[1] < held[0])
        groups[lighter].append(k)
        held[lighter] += sizes[k]
    return groups


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-300))


def _ids(model: "infoflow.models.model.Model", prompt: str | Sequence[int], most: int) -> tuple[int, ...]:
    """The first tokens of a prompt; () of a blank one."""
    if isinstance(prompt, str):
        return tuple(t.id for t in model.encode(prompt[: _LETTERS * most]))[:most] if prompt.strip() else ()
    return tuple(t.id for t in model.encode(prompt[:most])) if len(prompt) else ()


@dataclass(frozen=True, kw_only=True)
class _How:
    """All that the sums of a fit depend on, beside the model and the prompts."""

    skip: int
    directions: int
    turned: bool
    seed: int


class _Fit:
    """A fit under way: per half, row and direction the sum of what came back, and how often that was."""

    def __init__(
        self, model: "infoflow.models.model.Model", texts: Sequence[tuple[int, ...]], how: _How, batch: int | None
    ) -> None:
        self.model, self.texts, self.how = model, texts, how
        self.d = model.sizes().d_model
        self.rows = rows_of(model.n_layers, mids=False)[:-1]
        self.together = self._together(batch)
        self.rotation = _rotation(self.d, how.seed) if how.turned else np.eye(self.d, dtype=np.float32)
        """each of its rows is a direction"""
        self.sums = np.zeros((2, len(self.rows), self.d, self.d), np.float32)
        self.counts = np.zeros((2, self.d), np.int64)
        self.done = 0

    # --- what it takes

    def _needed(self, batch: int) -> int:
        """Bytes: the graph of a run, what goes back through it, and the sums with a prompt's part of them."""
        s, n = self.model.sizes(), max(map(len, self.texts))
        layer = n * (14 * s.d_model + 5 * s.hidden + 3 * s.heads * n)
        back = batch * n * ((len(self.rows) + 8) * s.d_model + 3 * s.hidden + 3 * s.heads * n)
        sums = len(self.rows) * s.d_model * (2 * s.d_model + self.how.directions)
        return 4 * (s.layers * layer + back + sums + 2 * n * s.vocabulary)

    def _together(self, batch: int | None) -> int:
        asked = batch or _MOST_TOGETHER
        allowed = self.model.memory_limit()
        memory.refuse(self._needed(1), allowed, "Fitting this lens takes", "Use a smaller max_tokens")
        if batch is not None:
            memory.refuse(self._needed(batch), allowed, f"{batch} directions at a time take", "Use a smaller batch")
        return max(1, min(asked, self.how.directions)) if self._needed(asked) <= allowed else self._fitting(asked, allowed)

    def _fitting(self, most: int, allowed: int) -> int:
        return next(b for b in range(min(most, self.how.directions), 0, -1) if b == 1 or self._needed(b) <= allowed)

    # --- the work

    def run(self, state: Path | None, report: Report, resume: bool) -> None:
        """Every prompt that is not done yet."""
        if state is not None and resume and state.is_file():
            self._go_on(state)
        device = str(self.model.device)
        kept, at = self.done, time.monotonic()
        with ACCOUNT.reserved(self._needed(self.together), device, report, memory.limit):
            try:
                while self.done < len(self.texts):
                    self._prompt(report)
                    if state is not None and time.monotonic() - at > _BETWEEN:
                        self._keep(state)
                        kept, at = self.done, time.monotonic()
            finally:  # however it ends
                if state is not None and self.done > kept:
                    self._keep(state)
        report(f"{self.done} of {len(self.texts)} prompts", 1.0)

    def _prompt(self, report: Report) -> None:
        import torch

        from infoflow.traced.jacobian import pulled_back

        k, total = self.how.directions, len(self.texts)
        which = (self.done * k + np.arange(k)) % self.d

        def told(done: int, of: int) -> None:
            report(f"Prompt {self.done + 1} of {total}: {done} of {of} backward passes", (self.done + done / of) / total)

        plan = self.model.plan()
        plan.graph = True
        ids = self.texts[self.done]
        plan.n = len(ids)
        turned = torch.from_numpy(self.rotation[which])
        try:
            found = self.model.run(ids, pulled_back, plan, turned, self.how.skip, self.together, told).numpy()
        except BadPrompt:  # what a run with a plan says whose logits are no numbers; it is of changes, and there are none here
            found = np.array([np.nan])
        if not np.isfinite(found).all():
            raise BadLens(
                f"Prompt {self.done + 1} of those that are long enough gives numbers that are not finite. Leave it out, or hold "
                "the weights as float32."
            )
        half = self.counts.sum(0)[which] % 2
        for side in (0, 1):
            self.sums[side][:, which[half == side]] += found[:, half == side]
            self.counts[side, which[half == side]] += 1
        self.done += 1

    def lens(self) -> FittedLens:
        """What the prompts that are done come to."""
        means = self.sums.sum(0) / self.counts.sum(0)[:, None]
        both = (self.counts > 0).all(0)
        known = [side[:, both] / n[both, None] for side, n in zip(self.sums, self.counts, strict=True)]
        return FittedLens(
            kind="jacobian",
            rows=self.rows,
            matrices={row: np.asarray(self.rotation.T @ mean, np.float32) for row, mean in zip(self.rows, means, strict=True)},
            d_model=self.d,
            n_layers=self.model.n_layers,
            n_prompts=self.done,
            model=self.model.name,
            revision=self.model.revision,
            halves={row: _cosine(known[0][at], known[1][at]) for at, row in enumerate(self.rows)} if both.any() else {},
        )

    # --- what a fit that is stopped leaves

    def _key(self, done: int) -> str:
        """Of all that the sums of the first prompts depend on."""
        spec = self.model.spec
        said = [spec.name, spec.revision, spec.dtype, vars(self.how), self.texts[:done]]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def _keep(self, state: Path) -> None:
        from safetensors.numpy import save_file

        said = {"infoflow": json.dumps({"format": _STATE, "done": self.done, "key": self._key(self.done)})}
        atomically(state, lambda file: save_file({"sums": self.sums, "counts": self.counts}, str(file), metadata=said))

    def _go_on(self, state: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        said = header_of(state)
        try:
            done: int = said["done"] if said.get("format") == _STATE else 0
            held = load_file(str(state)) if done else {}
        except (SafetensorError, ValueError, OSError) as error:
            raise BadLens(f"'{state}', the state of a fit that was stopped, can't be read. Remove it.") from error
        if not (0 < done <= len(self.texts)) or said["key"] != self._key(done) or held["sums"].shape != self.sums.shape:
            raise BadLens(
                f"'{state}' is the state of another fit: of another model, other prompts or settings. Remove it, write to "
                "another file, or begin anew with resume=False."
            )
        self.sums, self.counts, self.done = np.array(held["sums"]), np.array(held["counts"]), done


def _rotation(d: int, seed: int) -> np.ndarray:
    """A random orthogonal matrix, each by its seed."""
    drawn = np.random.default_rng(seed).standard_normal((d, d))
    return np.asarray(np.linalg.qr(drawn)[0], np.float32)
