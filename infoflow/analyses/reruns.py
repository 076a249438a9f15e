"""Many runs of one prompt side by side, in each of which some parts are taken from another run.

1. The prompt and the other run (another prompt, the same one corrupted, or means) are two rows of one batch.
2. A run whose first part is taken in layer l is the prompt's own up to there. So it joins at layer l: one row more, which goes on
   from the prompt's residual. Every weight is read once for all runs of a pass, and nothing is computed twice.
3. Positions before the first at which the two runs differ are the same in all rows: their keys and values are computed once.
4. At the end logits are computed of one position alone, and a few numbers of each row are kept.

A part is a site (`resid_pre`, `resid_mid`, `resid_post`, `attn`, `mlp`, `z`, `q`, `k`, `v`, `pattern`) in a layer, at some
positions and, where heads are apart, of some heads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from infoflow.analyses.cost import FLOAT, refuse_many
from infoflow.analyses.interventions import changed_plan
from infoflow.errors import BadPrompt
from infoflow.metrics.effects import Outcomes
from infoflow.text.tokens import Token

if TYPE_CHECKING:
    import torch

    import infoflow.models.model

BASE, SOURCE = 0, 1
"""rows: the prompt that is run again, and the run that parts are taken from"""
OF_HEADS = ("z", "q", "k", "v", "pattern")
ENOUGH = 1024
"""positions of all rows together in one pass: more are no faster, and results would come later"""


@dataclass(frozen=True)
class Part:
    """What is taken from another row."""

    layer: int
    site: str
    heads: tuple[int, ...] | None = None
    """None for all; of keys and values, the heads that hold them"""
    positions: tuple[int, ...] | None = None
    """of the prompt that is run; None for all"""
    row: int = SOURCE
    """taken from; 2 + k is the k-th row of the same run, where it is made of several"""
    mean: tuple[int, ...] | None = None
    """positions of the other prompt whose mean is taken; None for the counterpart of each"""


Row = tuple[Part, ...]
Run = tuple[Row, ...]
"""mostly one row; the last is the one whose outcome counts, and may take from those before it"""


@dataclass
class Reruns:
    """A prompt and another run beside it."""

    model: "infoflow.models.model.Model"
    tokens: Sequence[Token]
    """of the prompt that is run again"""
    other: Sequence[int]
    """of the run that parts are taken from"""
    ids: Sequence[int]
    """target, and what it is held against"""
    position: int = -1
    """read there; of a longer or shorter other prompt at its counterpart"""
    shift: int = 0
    """a place in the other prompt, less that in the prompt"""
    same: int = 0
    """places at the beginning that are the same in both runs"""
    interventions: Sequence[Any] = ()
    """hold in all of them"""
    corrupted: Sequence[Any] = ()
    """and further ones that hold in the corrupted run alone"""
    corrupted_row: int = SOURCE
    instead: "dict[tuple[int, str], torch.Tensor]" = field(default_factory=dict)
    """what stands at (layer, site) in the other run in the place of its own: [1 or position, width]"""

    def __post_init__(self) -> None:
        n = len(self.tokens)
        if not -n <= self.position < n:
            raise BadPrompt(
                f"There is no position {self.position}; the prompt has {n} tokens (0 to {n - 1}, or -1 for the last)."
            )
        self.position %= n
        there = self.position + self.shift
        if not 0 <= there < len(self.other):
            raise BadPrompt("The position that is read has no counterpart in the other prompt. Align them at the other end.")
        self._seen: dict[Any, Any] = {}
        self._plan = self.model.plan()

    @property
    def prefix(self) -> int:
        """Positions that are computed once; changes that are made in all rows are of the whole prompt."""
        local = not (self.model.hosted or self.interventions or self.corrupted or self.instead or self.shift)
        n = min(self.same, self.position) if local else 0
        return n if n and len(self.model.alike([n, len(self.tokens)])) == 1 else 0  # else positions would be read otherwise

    def outcomes(
        self, runs: Sequence[Run], always: Row = (), on_progress: Callable[[int, int], None] | None = None
    ) -> tuple[Outcomes, Outcomes]:
        """What each run says at the position, [run], and what the two that stand beside them do, [2]: the prompt's own and the
        other. `always`: parts that are taken in every run, and in the prompt's own.

        Raises:
            BadPrompt: a site that this family has not.
            TooLarge: memory that runs out, or more runs than are allowed.
        """
        refuse_many(len(runs))
        for site in {part.site for run in runs for row in run for part in row} | {part.site for part in always}:
            self._refuse(site)
        order = sorted(range(len(runs)), key=lambda number: runs[number][0][0].layer if runs[number][0] else 0)
        prefix = self.prefix if all(part.site != "pattern" for run in runs for row in run for part in row) else 0
        found = np.full((5, len(runs)), np.nan)
        beside = np.full((5, 2), np.nan)
        done = 0
        for some in self._passes([len(runs[number]) for number in order], prefix):
            numbers = [order[k] for k in some]
            plan, ends = self._planned([runs[number] for number in numbers], always, prefix)
            values = self._run(plan, prefix, None if on_progress is None else _within(on_progress, done, len(some), len(runs)))
            found[:, numbers], beside = values[:, ends], values[:, :2]
            done += len(some)
            if on_progress is not None:
                on_progress(done, len(runs))
        if not runs:
            plan, _ = self._planned([], always, prefix)
            beside = self._run(plan, prefix, None)[:, :2]
        return _outcomes(found), _outcomes(beside)

    def estimates(self, site: str, mean: Sequence[int] | None = None) -> tuple[Outcomes, np.ndarray]:
        """What the two runs do, [2], and to first order what taking each part would change: [token, layer, head, position] of the
        logits of `ids`, from gradients of the prompt's own run.

        Raises:
            BadPrompt: a hosted model, a site that this family has not.
        """
        from infoflow.traced.patching import estimates

        self._refuse(site)
        if self.model.hosted:
            raise BadPrompt("An estimate needs a backward pass through the run, which the service does not give. Run it exactly.")
        plan, _ = self._planned([], (), 0)
        plan.graph = True
        ids = [t.id for t in self.tokens]
        padded = [*ids, *[ids[-1]] * (plan.n - len(ids))]
        at = (self.position, self.position + self.shift)
        beside, found = self.model.run(padded, estimates, plan, site, list(self.ids), at, self.shift, mean)
        moved = found.double().numpy()[..., : len(ids)]
        lost = [p for p in range(len(ids)) if not 0 <= p + self.shift < len(self.other)]
        moved[..., [] if mean else lost] = 0.0
        return _outcomes(beside.double().numpy()), moved

    def row_bytes(self, prefix: int = 0) -> int:
        """What one row takes: a layer's hidden units, patterns and residuals, and logits with their softmax."""
        s, n = self.model.sizes(), max(len(self.tokens), len(self.other))
        m = n - prefix
        return FLOAT * (m * (4 * s.hidden + 10 * s.d_model) + 4 * s.heads * m * n + 4 * s.vocabulary)

    def at_once(self, prefix: int = 0) -> int:
        """Rows in one pass."""
        n = max(len(self.tokens), len(self.other)) - prefix
        fit = self.model.memory_limit() // 2 // self.row_bytes(prefix)
        return max(1, min(fit, max(8, ENOUGH // n)))

    def _passes(self, sizes: Sequence[int], prefix: int) -> list[list[int]]:
        """Which runs go together, as equal as can be; each is of so many rows."""
        if not sizes:
            return []
        rows, most = sum(sizes), self.at_once(prefix)
        per_pass = -(-rows // -(-rows // most))
        passes: list[list[int]] = [[]]
        held = 0
        for number, size in enumerate(sizes):
            if passes[-1] and held + size > per_pass:
                passes.append([])
                held = 0
            passes[-1].append(number)
            held += size
        return passes

    def _run(self, plan: SimpleNamespace, prefix: int, report: Callable[[int, int], None] | None) -> np.ndarray:
        from infoflow.traced.reruns import outcomes

        at = (self.position - prefix, self.position + self.shift - prefix)
        n = plan.n + prefix
        ids = [t.id for t in self.tokens]
        padded = [*ids, *[ids[-1]] * (n - len(ids))]
        found: torch.Tensor = self.model.run(padded, outcomes, plan, list(self.ids), at, report)
        return found.double().numpy()

    def _planned(self, runs: Sequence[Run], always: Row, prefix: int) -> tuple[SimpleNamespace, list[int]]:
        """The plan of a pass, and the number of each run's last row in it."""
        n = max(len(self.tokens), len(self.other))
        plan = self._changed(prefix, n)
        rows = [(number, k, row) for number, run in enumerate(runs) for k, row in enumerate(run)]
        first = [min((part.layer for part in row), default=0) for _, _, row in rows]
        order = sorted(range(len(rows)), key=first.__getitem__)
        place = {rows[j][:2]: 2 + at for at, j in enumerate(order)}
        joined = 2
        for j in order:
            joined += 1
            plan.joins[first[j]] = joined
        plan.joins = dict(sorted({0: 2, **plan.joins}.items()))
        wanted: dict[tuple[int, str], dict[int, list[Part]]] = {}
        for number, k, row in rows:
            for part in row:
                of = part.row if part.row < 2 else place[number, part.row - 2]
                here = wanted.setdefault((part.layer, part.site), {})
                here.setdefault(place[number, k], []).append(replace(part, row=of))
        self._take(plan, wanted, always, prefix)
        return plan, [place[number, len(run) - 1] for number, run in enumerate(runs)]

    def _changed(self, prefix: int, n: int) -> SimpleNamespace:
        """The plan with what holds in all runs, what holds in the corrupted one, and what stands in the other's places."""
        padded = [*self.tokens, *[self.tokens[-1]] * (n - len(self.tokens))]
        plan = changed_plan(self.model, self.interventions, padded, len(self.tokens), self._seen)
        if self.corrupted:
            more = changed_plan(self.model, self.corrupted, padded, len(self.tokens), self._seen)
            for layer, sites in more.edits.items():
                for site, operations in sites.items():
                    only = [{**one, "only": self.corrupted_row == SOURCE} for one in operations]
                    plan.edits.setdefault(layer, {}).setdefault(site, []).extend(only)
        for (layer, site), state in self.instead.items():
            one = {"factor": state.new_zeros(1, 1), "given": state, "only": True}
            plan.edits.setdefault(layer, {}).setdefault(site, []).append(one)
        plan.n = n - prefix
        plan.prefix, plan.joins = prefix, {}
        plan.beside = (tuple([*self.other, *[self.other[-1]] * (n - len(self.other))]),)
        return plan

    def _take(
        self, plan: SimpleNamespace, wanted: dict[tuple[int, str], dict[int, list[Part]]], always: Row, prefix: int
    ) -> None:
        """Operations that take the parts: at a site one for the k-th part of every row."""
        for part in always:
            wanted.setdefault((part.layer, part.site), {})
        for (layer, site), of_row in wanted.items():
            present = max(rows for at, rows in plan.joins.items() if at <= layer)
            steps = [{row: part for row in range(present) if row != SOURCE} for part in _of(always, layer, site)]
            own = {row: _merged(parts) for row, parts in of_row.items()}
            deepest = max(map(len, own.values()), default=0)
            steps += [{row: parts[k] for row, parts in own.items() if k < len(parts)} for k in range(deepest)]
            here = plan.edits.setdefault(layer, {}).setdefault(site, [])
            here.extend(self._operation(plan, site, step, present, prefix) for step in steps)

    def _operation(self, plan: SimpleNamespace, site: str, step: dict[int, Part], present: int, prefix: int) -> dict[str, Any]:
        import torch

        n = plan.n
        take = torch.arange(present)
        places = torch.zeros(present, n, 1, dtype=torch.bool)
        mean = torch.zeros(present, n, 1)
        heads = torch.zeros(present, plan.n_heads if site in ("z", "q", "pattern") else plan.n_kv_heads, dtype=torch.bool)
        last = min(n, len(self.tokens) - prefix)
        for row, part in step.items():
            take[row] = part.row
            at = range(prefix, prefix + last) if part.positions is None else part.positions
            for p in at:
                there = p + self.shift if part.row == SOURCE else p
                counterpart = 0 <= there < (len(self.other) if part.row == SOURCE else prefix + n)
                if prefix <= p and (counterpart or part.mean is not None):
                    places[row, p - prefix] = True
            if part.mean is not None:
                mean[row, list(part.mean)] = 1.0 / len(part.mean)
            heads[row] = True if part.heads is None else torch.isin(torch.arange(heads.shape[1]), torch.tensor(part.heads))
        shift = self.shift if all(part.row == SOURCE for part in step.values()) else 0
        columns = torch.ones(1, 1, 1, dtype=torch.bool) if site not in OF_HEADS else _columns(plan, site, heads)[:, None]
        of_mean = {"mean": mean} if any(part.mean is not None for part in step.values()) else {}
        return {"take": take, "places": places, "columns": columns, "heads": heads, "shift": shift, **of_mean}

    def _refuse(self, site: str) -> None:
        plan = self._plan
        if site == "resid_mid" and plan.parallel:
            raise BadPrompt(
                "In this model the MLP reads what attention reads, side by side: there is no residual between the two. Choose "
                "another site."
            )
        if site == "pattern" and self.shift:
            raise BadPrompt("Patterns of prompts of unlike lengths have no counterparts. Choose another site.")


def _of(parts: Row, layer: int, site: str) -> list[Part]:
    return [part for part in parts if (part.layer, part.site) == (layer, site)]


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Parts of one site with heads at the same positions as one."""
    together: dict[tuple[Any, int, Any], list[Part]] = {}
    for part in parts:
        together.setdefault((part.positions, part.row, part.mean), []).append(part)
    return [
        some[0]
        if len(some) == 1
        else Part(
            some[0].layer,
            some[0].site,
            None if any(p.heads is None for p in some) else tuple(sorted({h for p in some for h in p.heads or ()})),
            *key,
        )
        for key, some in together.items()
    ]


def _columns(plan: SimpleNamespace, site: str, heads: "torch.Tensor") -> "torch.Tensor":
    """[row, width]: what of a site belongs to some heads ([row, head])."""
    import torch

    of_heads = heads.repeat_interleave(plan.d_head, 1)
    if site in ("z", "pattern") or not plan.fused:
        return of_heads
    if plan.fused == "blocks":  # [all queries | all keys | all values]
        widths = [plan.n_heads * plan.d_head, *[plan.n_kv_heads * plan.d_head] * 2]
        blocks = [torch.zeros(len(heads), width, dtype=torch.bool) for width in widths]
        blocks["qkv".index(site)] = of_heads
        return torch.cat(blocks, 1)
    each = torch.zeros(len(heads), plan.n_heads, 3, plan.d_head, dtype=torch.bool)  # head by head [query | key | value]
    each[:, :, "qkv".index(site)] = heads[:, :, None]
    return each.flatten(1)


def _outcomes(values: np.ndarray) -> Outcomes:
    logit, against, log_probability, rank, kl = values
    return Outcomes(logit=logit, against=against, log_probability=log_probability, rank=rank, kl=kl)


def _within(on_progress: Callable[[int, int], None], done: int, n: int, total: int) -> Callable[[int, int], None]:
    """Told of each layer of a pass, as a part of the runs in it."""
    return lambda layer, layers: on_progress(done + int(n * layer / (layers + 1)), total)
