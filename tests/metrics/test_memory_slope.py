"""Groups of never-seen samples that memory kept is compared with."""

from __future__ import annotations

import numpy as np

from unregress.metrics.memory_slope import groups_of_people, matched_groups, random_groups


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
