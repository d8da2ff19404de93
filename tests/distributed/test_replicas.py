"""Which modules are sharded, and the attributes of a model in data parallelism."""

from __future__ import annotations

from torch import nn

from unregress.distributed.replicas import _blocks


class Shared(nn.Module):
    """Two blocks, the second of which shares its weight with the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 3)])
        self.out = nn.Linear(3, 3)
        self.out.weight = self.blocks[1].weight


def test_blocks_are_sharded_inside_out_and_shared_weights_stay_together():
    model = Shared()
    assert list(_blocks(model)) == [model.blocks[0][0], model.blocks[0]]
