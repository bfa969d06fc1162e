"""What waits side by side gives what it gives one after the other."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlbench.host import cores as machine
from xlbench.host.cores import side_by_side


@given(st.lists(st.integers(), max_size=600))
def test_answers_stand_in_the_order_of_what_was_asked(items):
    assert side_by_side(lambda item: item * 2, items) == [item * 2 for item in items]


def test_many_are_waited_for_at_once(monkeypatch):
    monkeypatch.setattr(machine, "TOGETHER", 1)
    waiting = threading.Barrier(4, timeout=30)
    assert len(side_by_side(lambda _: waiting.wait(), range(4))) == 4


@pytest.mark.parametrize("number", [1, 1000])
def test_what_the_look_raises_is_raised(number):
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda item: 1 // item, [0] * number)
