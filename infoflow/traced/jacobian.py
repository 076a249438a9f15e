"""What runs inside the trace of a Jacobian lens's fit: backward passes from the last residual to every row.

Like `frozen.py`: torch, plain values and module calls only. It needs the graph of the run itself, so it runs on this machine
alone.
"""

import torch


def pulled_back(nn, tracer, plan, directions, first, batch, report):
    """[row, direction, d_model], float32: of each direction q, d (sum over positions of <q, x_final>) / d x of a row, in the mean
    over positions. Both are positions from `first` on, without the last.

    Rows are the embeddings and the output of every layer but the last. One forward pass stands for all: `batch` directions go
    back through its graph together.
    """
    layers = nn.get(plan.layers)
    begun = layers[0].input.detach().clone().requires_grad_()
    layers[0].input = begun
    held = [begun]
    for index in range(plan.n_layers):
        after = layers[index].output
        held.append(after[0] if isinstance(after, tuple) else after)
    last = held.pop()
    found = torch.empty(len(held), len(directions), last.shape[-1])
    for at in range(0, len(directions), batch):
        some = directions[at : at + batch].to(last.device, last.dtype)
        pulled = torch.zeros(len(some), *last.shape, device=last.device, dtype=last.dtype)
        pulled[:, 0, first:-1] = some[:, None]
        slopes = torch.autograd.grad(last, held, pulled, retain_graph=True, is_grads_batched=True)
        for row, slope in enumerate(slopes):
            found[row, at : at + batch] = slope[:, 0, first:-1].float().mean(1).cpu()
        if report is not None:
            report(at + len(some), len(directions))
    return found
