"""Which examples come into one optimizer step, with beginnings in common and without."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.finetune import batches, prefixes, train
from openbook.finetune.chat import Tokens
from openbook.settings import Finetune


def rows(*sizes: int, prefix: int = 100, own: int = 30) -> list[tuple[int, ...]]:
    """One group of examples for each size, in mixed order; a group of 1 shares nothing."""
    draw = random.Random(0)
    made = []
    for size in sizes:
        shared = tuple(draw.randrange(1000) for _ in range(prefix))
        made += [(*shared, *(draw.randrange(1000) for _ in range(own))) for _ in range(size)]
    draw.shuffle(made)
    return made


def plan(some: Sequence[tuple[int, ...]], **values: object) -> list[list[int]]:
    items = [train.Item("", (Tokens(one, (False,) * (len(one) - 1) + (True,)),)) for one in some]
    return train.steps_of(items, Finetune.model_validate({"batch": 8, "epochs": 1.0, **values}))


def test_groups_that_fit_are_kept_whole_and_smaller_ones_fill_the_room() -> None:
    some = rows(6, 6, 6, 2, 1, 1, 1, 1)
    made = plan(some)
    assert [len(step) for step in made] == [8, 8, 8]
    beginnings = [len({some[n][:100] for n in step}) for step in made]
    assert sum(beginnings) == 8


@pytest.mark.parametrize("seed", range(5))
def test_a_group_larger_than_a_batch_is_cut_otherwise_every_epoch(seed: int) -> None:
    some = rows(12, 12)
    made = plan(some, epochs=2.0, seed=seed)
    assert [sorted(map(len, made[:3])), sorted(map(len, made[3:]))] == [[8, 8, 8]] * 2
    first, second = ({frozenset(step) for step in epoch} for epoch in (made[:3], made[3:]))
    assert first != second
    assert sorted(len({some[n][:100] for n in step}) for step in made[:3]) == [1, 1, 2]


@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    batch=st.integers(1, 16),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_every_example_comes_once_an_epoch_and_no_step_is_too_large(
    sizes: list[int], batch: int, epochs: int, seed: int
) -> None:
    some = rows(*sizes)
    made = plan(some, batch=batch, epochs=float(epochs), seed=seed)
    assert made == plan(some, batch=batch, epochs=float(epochs), seed=seed)
    assert all(0 < len(step) <= batch for step in made)
    if max(sizes) > 1 and batch > 1:
        assert sorted(chain(*made)) == sorted(list(range(len(some))) * epochs)
        groups = [{n for n, one in enumerate(some) if one[:100] == shared} for shared in {one[:100] for one in some}]
        for group in groups:
            pieces = sum(bool(group & set(step)) for step in made)
            assert pieces == epochs * -(-len(group) // batch)


def test_a_part_of_an_epoch_is_a_part_of_its_steps() -> None:
    some = rows(8, 8, 8, 8)
    assert len(plan(some, epochs=0.5)) == 2
    assert len(plan(some, epochs=1.5)) == 6
    assert len(plan(some, epochs=0.01)) == 1


@given(count=st.integers(1, 60), batch=st.integers(1, 9), epochs=st.floats(0.1, 3), seed=st.integers(0, 99))
def test_without_shared_beginnings_the_steps_are_the_shuffled_examples(
    count: int, batch: int, epochs: float, seed: int
) -> None:
    expected: list[list[int]] = []
    order = random.Random(seed)
    while len(expected) < max(1, round(epochs * count / batch)):
        numbers = list(range(count))
        order.shuffle(numbers)
        expected += [numbers[at : at + batch] for at in range(0, count, batch)]
    made = plan(rows(*[1] * count, prefix=0, own=70), batch=batch, epochs=epochs, seed=seed)
    assert made == expected[: max(1, round(epochs * count / batch))]


def test_a_system_prompt_that_all_share_makes_no_group() -> None:
    system = tuple(range(80))
    assert batches.alike([(*system, *one) for one in rows(*[1] * 20)], at_most=8) == []


def test_groups_are_found_behind_instructions_of_any_length() -> None:
    system = tuple(range(300))
    some = [(*system, *one) for one in rows(6, 6, 6)]
    found = batches.alike(some, at_most=8)
    assert sorted(map(len, found)) == [6, 6, 6]
    assert all(len({some[n][:400] for n in group}) == 1 for group in found)


def test_a_forward_pass_is_filled_by_what_is_computed() -> None:
    some = [Tokens(one, (True,) * len(one)) for one in rows(12, prefix=500, own=60)]
    assert batches.computed(some) == 500 + 12 * 60
    assert [pack.tokens for pack in batches.packs(some)] == [12 * 560]
    apart = [Tokens(one, (True,) * len(one)) for one in rows(*[1] * 12, prefix=500, own=60)]
    assert [len(pack.ids) for pack in batches.packs(apart)] == [7 * 560, 5 * 560]


def test_a_sequence_that_is_another_ones_beginning_ends_inside() -> None:
    (root,) = prefixes.tree([range(200), range(100), range(200)])
    assert (root.start, root.stop, root.members) == (0, 100, (0, 1, 2))
    (child,) = root.children
    assert (child.start, child.stop, child.members, child.children) == (100, 200, (0, 2), ())


def test_those_alike_are_put_together_and_all_others_stay_in_order() -> None:
    assert batches.together([(n,) * 100 for n in range(5)]) == [0, 1, 2, 3, 4]
    assert batches.together([(n % 3,) * 100 for n in range(6)]) == [0, 3, 1, 4, 2, 5]
