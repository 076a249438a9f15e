"""Every analysis under nnsight's own simulation of a service, in a process of its own: it empties sys.modules meanwhile.

python -m tests.helpers.simulate FOLDER      prints the largest difference from a plain local run
"""

import sys
from typing import Any

import nnsight
import torch

import infoflow
from infoflow.models.model import Model
from infoflow.ndif import run as remote_run
from infoflow.ndif import service as remote
from infoflow.traced import interventions
from tests.helpers import kept
from tests.helpers.agreement import largest_difference


def _simulated(traced: Any, ids: Any, block: Any, args: Any, to: remote.Connection) -> Any:
    changed = remote_run.changed_in(args)
    prompt = torch.tensor(remote_run.rows_of(ids, changed))
    if changed is None:
        with torch.no_grad(), traced.trace(prompt, remote="local") as tracer:
            result = nnsight.save(block(traced, tracer, *args))
    else:
        last = remote_run.last_alone(traced, changed)  # out here: what a trace names is sent with all that it names itself
        with torch.no_grad(), traced.trace(remote="local") as tracer:
            with tracer.invoke(prompt, **last):
                interventions.apply(traced, tracer, changed)
            with tracer.invoke():
                result = nnsight.save(block(traced, tracer, *args))
    return result


def _simulated_text(traced: Any, ids: Any, arguments: Any, seed: Any, to: remote.Connection) -> Any:
    with torch.no_grad(), traced.generate(torch.tensor([list(ids)]), remote="local", **arguments) as tracer:
        result = nnsight.save(tracer.result)
    return result  # noqa: RET504  nnsight needs the name


def main(folder: str) -> None:
    kept.sources()
    here = infoflow.load_model(folder)
    there = Model(here._hf, here.tokenizer, here.name, here.revision, remote.Connection("http://simulated"), here._traced)
    remote_run._run, remote_run._generate = _simulated, _simulated_text
    print(largest_difference(here, there))


if __name__ == "__main__":
    main(sys.argv[1])
