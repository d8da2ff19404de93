"""Groups of never-seen samples that memory kept is compared with."""

from __future__ import annotations

import numpy as np

from unregress.metrics.memory_groups import groups_of_people, groups_of_runs, matched_groups, random_groups
from unregress.metrics.memory_slope import null_of


def test_random_groups_have_each_sample_at_most_once() -> None:
    found = random_groups(30, 7, 50, np.random.default_rng(0))
    assert found.shape == (50, 7) and all(len(set(group)) == 7 for group in found.tolist())


def test_groups_of_people_take_whole_people() -> None:
    people = ["a", "a", "b", "b", "b", "c", "d", "d"]
    for group in groups_of_people(people, 4, 40, np.random.default_rng(0)).tolist():
        counts = {person: [people[row] for row in group].count(person) for person in people}
        # All but the last person, who is cut off, are there with all of their samples.
        partial = [person for person, count in counts.items() if 0 < count < people.count(person)]
        assert len(group) == len(set(group)) == 4 and len(partial) <= 1


def test_matched_groups_have_nearly_the_same_targets() -> None:
    rng = np.random.default_rng(0)
    there, wanted = rng.normal(size=(2000, 2)), np.array([[2.0, 2.0], [-1.0, 0.0]])
    found = there[matched_groups(wanted, there, 200, rng)]
    assert found.shape == (200, 2, 2) and abs(found.mean(0) - wanted).max() < 0.4


def test_groups_of_runs_are_as_long_and_reach_from_end_to_end() -> None:
    found = groups_of_runs(10, [3, 2], 500, np.random.default_rng(0))
    assert found.shape == (500, 5) and (found.min(), found.max()) == (0, 9)
    assert (np.diff(found[:, :3]) == 1).all() and (np.diff(found[:, 3:]) == 1).all()


def test_runs_vary_as_series_do() -> None:
    """A slow drift of errors makes a stretch lean by itself: stretches show it, single samples do not."""
    rng = np.random.default_rng(0)
    target = np.sin(np.arange(3000) / 150)
    model = 0.3 * np.sin(np.arange(3000) / 150 + 1) + 0.1 * rng.normal(size=3000)
    left_out = np.zeros(3000)
    of = {
        name: null_of(model, target, left_out, groups, 1.0).slopes.std()
        for name, groups in {
            "single": random_groups(3000, 100, 300, rng),
            "runs": groups_of_runs(3000, [100], 300, rng),
        }.items()
    }
    assert of["runs"] > 5 * of["single"]
