"""A key says who a call is: by where it was made, never by when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grctl.engine.identity import Branch, split_key

NAMES = st.text(min_size=1, max_size=30)


def test_calls_of_a_branch_are_numbered_as_they_are_made():
    root = Branch(None)

    assert [root.next_key() for _ in range(3)] == ["1", "2", "3"]


def test_a_branch_is_named_by_what_its_parent_had_asked_for():
    root = Branch(None)
    early = root.child("work")
    root.next_key()
    late = root.child("work")

    assert early.next_key() == "0.work#1/1"
    assert late.next_key() == "1.work#1/1"


def test_branches_of_one_name_made_at_one_place_are_numbered():
    root = Branch(None)

    assert [root.child(name).path for name in ("a", "b", "a")] == ["0.a#1/", "0.b#1/", "0.a#2/"]


def test_a_library_that_makes_tasks_of_its_own_shifts_no_key_of_the_step():
    undisturbed, disturbed = Branch(None), Branch(None)
    disturbed.child("Pool._reap")

    assert undisturbed.child("work").next_key() == disturbed.child("work").next_key()


def test_what_one_branch_asks_for_does_not_shift_the_keys_of_another():
    quiet, busy = Branch(None), Branch(None)
    first, second = busy.child("one"), busy.child("two")
    for _ in range(5):
        first.next_key()
    quiet.child("one")

    assert second.next_key() == quiet.child("two").next_key()


def test_a_branch_knows_how_deep_it_is_and_whose():
    scope = object()
    branch = Branch(scope).child("a").child("b")

    assert branch.depth == 2
    assert branch.scope is scope


def test_a_deep_path_stays_short_enough_for_an_index_and_tells_branches_apart():
    def key_of(*names: str) -> str:
        branch = Branch(None)
        for name in names:
            branch = branch.child(name)
        return branch.next_key()

    long = ["coroutine" * 10] * 50

    assert len(key_of(*long)) < 300
    assert key_of(*long) == key_of(*long)
    assert key_of(*long, "a") != key_of(*long, "b")
    assert key_of(*long) != key_of(*long[1:])


def test_a_key_is_taken_apart_for_messages():
    root = Branch(None)

    assert split_key(root.next_key()) == ("", "1")
    assert split_key(root.child("a").child("b").next_key()) == ("1.a#1/0.b#1", "1")


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), NAMES)), max_size=40))
def test_no_two_calls_of_a_step_have_one_key(moves: list[tuple[int, str | None]]):
    branches, keys = [Branch(None)], []
    for which, name in moves:
        branch = branches[which % len(branches)]
        if name is None:
            keys.append(branch.next_key())
        else:
            branches.append(branch.child(name))
    keys += [branch.next_key() for branch in branches]

    assert len(set(keys)) == len(keys)


@given(st.permutations(range(4)))
def test_keys_do_not_depend_on_the_order_in_which_branches_run(order: list[int]):
    root = Branch(None)
    branches = [root.child("work") for _ in range(4)]
    keys = {n: branches[n].next_key() for n in order}

    assert [keys[n] for n in range(4)] == [f"0.work#{n + 1}/1" for n in range(4)]
