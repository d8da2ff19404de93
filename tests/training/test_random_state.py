"""The random state within a block is that of `torch.manual_seed`, and what was before comes back."""

from __future__ import annotations

import torch

from unregress.training.random_state import seeded_rng


def test_a_block_draws_as_after_manual_seed_and_leaves_no_trace() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded_rng(7, torch.device("cpu"), double=False):
        assert torch.equal(torch.rand(3), expected)
        assert torch.initial_seed() == 7
    assert torch.equal(torch.get_rng_state(), before)
