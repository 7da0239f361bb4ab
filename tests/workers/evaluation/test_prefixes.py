"""Shared beginnings of requests: which groups are found, within which bounds."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.evaluation import prefixes
from workers.evaluation.prefixes import Group, shared_prefixes

SHORT = st.lists(st.lists(st.integers(1, 2), max_size=6), max_size=10)


def rows(prefix: int, count: int, rest: int, first: int = 0) -> list[list[int]]:
    """`count` rows that share `prefix` tokens and nothing after them."""
    shared = [first + 7] * prefix
    return [[*shared, 100 + row, *[first + row] * (rest - 1)] for row in range(count)]


def found(heads: list[list[int]], sizes: list[int] | None = None) -> list[Group]:
    return shared_prefixes(heads, sizes or [len(head) for head in heads])


def allowed(heads: list[list[int]], chosen: list[int]) -> int:
    """Tokens that a group of these rows saves, 0 where the bounds forbid it: written from their definition."""
    length = 0
    while all(len(heads[row]) > length for row in chosen):
        if len({heads[row][length] for row in chosen}) > 1:
            break
        length += 1
    saved = length * (len(chosen) - 1)
    enough = saved >= max(prefixes.SAVED, prefixes.SHARE * sum(len(heads[row]) for row in chosen))
    return saved if enough and length >= prefixes.SHORTEST and len(chosen) >= prefixes.FEWEST else 0


def most_saved(heads: list[list[int]], depth: int = 0) -> int:
    """The most that disjoint groups of rows with a common beginning can save, by trying every beginning."""
    by_next: dict[int, list[list[int]]] = {}
    for head in heads:
        if len(head) > depth:
            by_next.setdefault(head[depth], []).append(head)
    inside = sum(most_saved(group, depth + 1) for group in by_next.values() if len(group) > 1)
    return max(inside, allowed(heads, list(range(len(heads)))) if len(heads) > 1 else 0)


def test_rows_of_a_subject_share_their_examples():
    first, second = rows(400, 10, 50), rows(300, 12, 60, first=1)
    groups = found([*first, *second])
    assert groups == [Group(tuple(range(10)), 400), Group(tuple(range(10, 22)), 300)]


def test_a_common_opening_does_not_hide_what_subjects_share():
    opening = [1, 2, 3] * 15
    heads = [opening + row for first in (0, 1) for row in rows(200, 9, 20, first)]
    assert [(len(group.places), group.length) for group in found(heads)] == [(9, 245), (9, 245)]


@pytest.mark.parametrize(
    ("prefix", "count", "rest", "taken"),
    [
        (31, 50, 5, False),
        (32, 50, 5, True),
        (600, 3, 5, False),
        (600, 4, 5, True),
        (40, 100, 90, False),
        (40, 100, 70, True),
        (64, 8, 5, False),
        (64, 9, 5, True),
    ],
)
def test_the_bounds(prefix, count, rest, taken):
    assert bool(found(rows(prefix, count, rest))) is taken


def test_the_share_that_is_saved_counts_all_that_a_row_reads():
    heads = rows(40, 20, 10)
    assert found(heads)
    assert not found(heads, [200] * 20)


def test_equal_rows_and_no_rows():
    assert found([]) == []
    assert found([[], []]) == []
    assert found([[5] * 40] * 14) == [Group(tuple(range(14)), 40)]


def test_a_row_that_others_go_on_from():
    heads = [[7] * length for length in range(40, 60)]
    assert found(heads) == [Group(tuple(range(20)), 40)]


def test_large_ids_are_told_apart():
    one, other = rows(80, 8, 3), rows(80, 8, 3)
    for row in other:
        row[0] += 2**16
    assert [group.length for group in found([*one, *other])] == [80, 80]


@settings(max_examples=200, deadline=None)
@given(heads=SHORT)
def test_no_other_groups_save_more(heads):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("SHORTEST", 2), ("FEWEST", 2), ("SHARE", 0.4), ("SAVED", 3)):
            patch.setattr(prefixes, name, value)
        groups = found(heads)
        places = [place for group in groups for place in group.places]
        assert len(places) == len(set(places))
        saved = [allowed(heads, list(group.places)) for group in groups]
        assert all(saved)
        assert saved == [group.length * (len(group.places) - 1) for group in groups]
        assert sum(saved) == most_saved(heads)


def test_the_order_of_the_rows_does_not_matter():
    heads = [*rows(100, 9, 20), *rows(80, 9, 20, first=1), *rows(5, 9, 40, first=2)]
    shuffled = list(range(len(heads)))
    random.Random(0).shuffle(shuffled)
    groups = found([heads[place] for place in shuffled])
    again = [(tuple(sorted(shuffled[place] for place in group.places)), group.length) for group in groups]
    assert again == [(group.places, group.length) for group in found(heads)]
