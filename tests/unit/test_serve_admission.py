"""Turns: so many at once, one line per caller, a limit to it, and what those are told who come too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.serve.admission import Admission, Turn
from openbook.serve.errors import Refused
from openbook.settings import Serve


def admission(concurrent: int = 1, waiting: int = 64) -> Admission:
    settings = Serve(concurrent=concurrent, waiting=waiting, shutdown_seconds=7)
    return Admission(lambda: settings)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_so_many_get_a_turn_at_once_and_the_next_waits_for_one_to_end() -> None:
    async def work() -> None:
        door = admission(concurrent=2)
        first, _ = await door.turn("a"), await door.turn("a")
        third = asyncio.create_task(door.turn("a"))
        await settle()
        assert (door.running, door.waiting, third.done()) == (2, 1, False)
        first.done()
        await third
        assert (door.running, door.waiting) == (2, 0)

    run(work)


def test_a_caller_with_many_questions_delays_another_by_one_answer() -> None:
    async def work() -> None:
        door, order = admission(), list[str]()
        held = await door.turn("busy")

        async def ask(who: str) -> None:
            turn = await door.turn(who)
            order.append(who)
            await asyncio.sleep(0)
            turn.done()

        tasks = [asyncio.create_task(ask(who)) for who in ("busy", "busy", "busy", "busy", "calm", "third", "calm")]
        await settle()
        held.done()
        await asyncio.gather(*tasks)
        assert order == ["busy", "calm", "third", "busy", "calm", "busy", "busy"]

    run(work)


def test_who_has_fewest_answers_in_flight_gets_the_next() -> None:
    async def work() -> None:
        door = admission(concurrent=3)
        held = [await door.turn("busy") for _ in range(3)]
        again = asyncio.create_task(door.turn("busy"))
        calm = [asyncio.create_task(door.turn("calm")) for _ in range(2)]
        await settle()
        held[0].done()
        held[1].done()
        await settle()
        assert [one.done() for one in calm] == [True, False]
        assert again.done()

    run(work)


def test_a_full_line_is_refused_with_the_seconds_it_will_take() -> None:
    async def work() -> None:
        door = admission(waiting=2)
        door._seconds.extend([5.0, 7.0])
        await door.turn("a")
        tasks = [asyncio.create_task(door.turn("a")) for _ in range(2)]
        await settle()
        with pytest.raises(Refused, match="2 questions wait") as refused:
            await door.turn("a")
        assert refused.value.status == 429
        assert refused.value.headers == {"Retry-After": "18"}
        for task in tasks:
            task.cancel()

    run(work)


def test_a_caller_that_fills_the_line_locks_nobody_out() -> None:
    async def work() -> None:
        door = admission(waiting=3)
        held = await door.turn("busy")
        busy = [asyncio.create_task(door.turn("busy")) for _ in range(3)]
        await settle()
        calm = asyncio.create_task(door.turn("calm"))
        await settle()
        assert isinstance(busy[2].exception(), Refused)
        assert door.waiting == 3
        held.done()
        await busy[0]
        (await busy[0]).done()
        await calm

    run(work)


def test_without_a_line_the_next_is_refused_at_once() -> None:
    async def work() -> None:
        door = admission(waiting=0)
        await door.turn("a")
        with pytest.raises(Refused) as refused:
            await door.turn("b")
        assert refused.value.status == 429

    run(work)


def test_who_goes_away_in_line_gives_up_the_place() -> None:
    async def work() -> None:
        door = admission()
        held = await door.turn("a")
        gone, stays = (asyncio.create_task(door.turn("b")) for _ in range(2))
        await settle()
        gone.cancel()
        await settle()
        assert door.waiting == 1
        held.done()
        await stays

    run(work)


def test_a_turn_given_to_who_goes_away_that_moment_is_given_on() -> None:
    async def work() -> None:
        door = admission()
        held = await door.turn("a")
        gone, stays = (asyncio.create_task(door.turn(who)) for who in "bc")
        await settle()
        door._ended("a", 1.0)
        assert held is not None
        gone.cancel()
        await asyncio.wait_for(stays, 60)

    run(work)


def test_stopping_sends_away_who_waits_and_who_comes_and_lets_answers_end() -> None:
    async def work() -> None:
        door = admission()
        held = await door.turn("a")
        waits = asyncio.create_task(door.turn("b"))
        await settle()
        door.stop()
        for refused in (waits, asyncio.create_task(door.turn("c"))):
            with pytest.raises(Refused) as error:
                await refused
            assert (error.value.status, error.value.headers) == (503, {"Retry-After": "7"})
        assert not await door.ended(0.01)
        held.done()
        assert await door.ended(5)

    run(work)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["ask", "end", "leave"])), max_size=60),
    st.integers(1, 3),
    st.integers(0, 5),
)
def test_whatever_happens_turns_are_neither_lost_nor_made(
    steps: list[tuple[str, str]], concurrent: int, waiting: int
) -> None:
    async def work() -> None:
        door = admission(concurrent, waiting)
        asked: list[asyncio.Task[Turn]] = []
        ended: set[asyncio.Task[Turn]] = set()

        def end(most: int) -> None:
            held = [task for task in asked if task.done() and not task.cancelled() and task.exception() is None]
            for task in [task for task in held if task not in ended][:most]:
                ended.add(task)
                task.result().done()

        for who, step in steps:
            if step == "ask":
                asked.append(asyncio.create_task(door.turn(who)))
            elif step == "leave":
                for task in [task for task in asked if not task.done()][-1:]:
                    task.cancel()
            else:
                end(1)
            if step != "leave":
                await settle()
            assert door.running <= concurrent
            assert door.waiting <= waiting
        while not all(task.done() for task in asked):
            end(concurrent)
            await settle()
        end(len(asked))
        await settle()
        assert (door.running, door.waiting) == (0, 0)

    run(work)
