from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.scale import Unit, hand
from geoseg.scale.crew import Lost
from geoseg.scale.hand import Hand
from geoseg.scale.unit import Attempt


class OneMachine:
    """Workers that die together when a poisonous unit fills the memory of their machine."""

    def __init__(self, room, poison, flaky):
        self.room, self.poison, self.flaky = room, poison, flaky
        self.busy = []
        self.tries = Counter()
        self.most = 0

    def take(self, unit):
        self.busy.append(unit.name)
        self.most = max(self.most, len(self.busy))
        self.tries[unit.name] += 1

    def ended(self, _):
        if self.poison & set(self.busy):
            busy, self.busy = self.busy, []
            return [Lost(name, "killed") for name in busy]
        name = self.busy.pop(0)  # the others go on
        error = "away" if name in self.flaky and self.tries[name] == 1 else ""
        return [Attempt(name=name, worker="w", started=0, error=error)]

    def stop(self):
        pass


@pytest.fixture(autouse=True, scope="module")
def at_once():
    before, hand._BACKOFF_S = hand._BACKOFF_S, (0.0, 0.0)
    yield
    hand._BACKOFF_S = before


names = st.sets(st.integers(0, 24).map(str), max_size=5)


@pytest.mark.slow
@given(count=st.integers(0, 25), room=st.integers(1, 6), poison=names, flaky=names)
def test_units_that_die_beside_a_poisonous_one_are_done(count, room, poison, flaky):
    crew = OneMachine(room, poison, flaky)
    units = [Unit(str(number), None, Path(f"/nowhere/{number}")) for number in range(count)]

    batches = Hand(crew, iter(units)).ends()
    ends = [(held.unit.name, tried.error) for batch in batches for held, tried in batch]

    given = {unit.name for unit in units}
    assert sorted(name for name, _ in ends) == sorted(given)
    assert {name for name, error in ends if error} == given & poison
    assert all(crew.tries[name] == 3 for name in given & poison)
    assert crew.most <= room
