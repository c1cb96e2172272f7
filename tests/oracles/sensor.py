"""The line scanner: whether there is an item at two readings before the end, read off their signs."""

import torch
from torch import Tensor

from oracles import Known
from rnnlab.tasks.sensor import JAMMING, NORMAL, SLIPPING, Sensor

UNKNOWN = -1  # a gap where the item belongs, and an item where the gap belongs
CLASSES = torch.tensor([[SLIPPING, UNKNOWN], [NORMAL, JAMMING]])  # by item at u, item at v


def oracle(task: Sensor, inputs: Tensor) -> Tensor:
    """Only padding is 0: a reading is positive or negative."""
    last = (inputs[..., 0] != 0).sum(0) - 1
    columns = torch.arange(inputs.shape[1])
    u = last - task.distance
    v = u + task.period - task.period // 2
    outputs = torch.zeros(inputs.shape[:2], dtype=torch.int64)
    item = (inputs[..., 0] > 0).long()
    outputs[last, columns] = CLASSES[item[u, columns], item[v, columns]]
    return outputs


KNOWN = Known(
    oracle,
    changed=lambda task, inputs: -inputs,
    blind=lambda task, batch: torch.zeros(*batch.targets.shape, 3),
    settings=[
        Sensor(),
        Sensor(distance=4, varied=False),
        Sensor(distance=9, period=5, jitter=0, noise=0.0, drift=0.0),
        Sensor(distance=13, period=7, jitter=2, noise=0.5, drift=0.49),
    ],
    short={"distance": 3, "period": 4, "varied": False},
    long={"distance": 100},
)
