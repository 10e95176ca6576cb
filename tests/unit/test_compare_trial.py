"""Arms are asked in turns; failures become rows; what is done is not asked again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openbook.compare.store import Store
from openbook.compare.trial import Contender, run
from openbook.errors import CompareError, EndpointError, ModelError, PromptTooLong
from openbook.records import Answer, Arm, Case
from tests.compare_answers import answer as made

CASES = [Case(f"Question {number}?", ("x",), id=f"c{number}") for number in range(6)]


def answer(text: str = "fine", arm: Arm = "base") -> Answer:
    return made(text, arm=arm)


def contender(
    name: str = "base", ask: Callable[[Case], Answer] = lambda case: answer(case.id), **more: object
) -> Contender:
    return replace(Contender(name, name, ask, identity="i"), **more)  # type: ignore[arg-type]


class Failing:
    """Fails with each error in turn, None meaning an answer; afterwards it answers."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.asked: list[str] = []

    def __call__(self, case: Case) -> Answer:
        self.asked.append(case.id)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return answer()


def recorded(log: list[str], name: str) -> Callable[[Case], Answer]:
    def ask(case: Case) -> Answer:
        log.append(f"{name} {case.id}")
        return answer()

    return ask


def test_every_arm_is_asked_every_case_and_rows_say_how_it_came_about(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    with Store(tmp_path) as store:
        done = run(CASES, [contender("base"), contender("rag")], store, clock=lambda: moment)
        assert (done.asked, done.kept, done.failed, done.missing, done.stopped) == (12, 0, {}, {}, False)
        rows = store.rows()
    assert {(row.case, row.arm) for row in rows} == {(case.id, arm) for case in CASES for arm in ("base", "rag")}
    assert {(row.at, row.identity, row.error) for row in rows} == {("2026-11-22T12:00:00+00:00", "i", "")}
    assert all(row.answer is not None and row.answer.text == row.case for row in rows)
    assert all(row.memory_mb > 5 for row in rows)


def test_the_four_take_turns_another_one_first_each_time_and_diagnostics_and_seeds_follow(tmp_path: Path) -> None:
    log: list[str] = []
    arms = [
        contender("tuned#2", recorded(log, "tuned#2"), role="seed", close=lambda: log.append("close")),
        contender("oracle", recorded(log, "oracle"), role="diagnostic"),
        contender("base", recorded(log, "base")),
        contender("rag", recorded(log, "rag"), open=lambda: log.append("open")),
        contender("tuned", recorded(log, "tuned")),
    ]
    with Store(tmp_path) as store:
        run(CASES[:2], arms, store)
    four = ["base c0", "open", "rag c0", "tuned c0", "rag c1", "tuned c1", "base c1"]
    assert log == [*four, "oracle c0", "oracle c1", "tuned#2 c0", "tuned#2 c1", "close"]


def test_an_arm_is_asked_only_what_it_takes(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        done = run(
            CASES, [contender(), contender("oracle", takes=lambda case: case.id == "c3", role="diagnostic")], store
        )
        assert done.asked == 7
        assert [row.case for row in store.rows({"oracle": "i"})] == ["c3"]


def test_what_is_done_is_not_asked_again_and_what_failed_is(tmp_path: Path) -> None:
    ask = Failing(None, ModelError("the model stumbled"), None, None, None, None)
    with Store(tmp_path) as store:
        first = run(CASES, [contender("base", ask)], store)
        assert (first.asked, first.failed) == (6, {"base": 1})
        assert store.rows()[1].error == "the model stumbled"
    told: list[tuple[str, int, int]] = []
    with Store(tmp_path) as store:
        second = run(CASES, [contender("base", ask)], store, progress=lambda *step: told.append(step))
        assert (second.asked, second.kept, second.failed) == (1, 5, {})
        assert all(row.answer is not None for row in store.rows())
    assert ask.asked == [*(case.id for case in CASES), "c1"]
    assert told == [("ask", 0, 1), ("ask", 1, 1)]


def test_another_identity_is_asked_everything_again(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run(CASES, [contender()], store)
        assert run(CASES, [contender(identity="other")], store).asked == 6


def test_an_arm_that_fails_three_times_in_a_row_is_asked_no_more_and_the_others_go_on(tmp_path: Path) -> None:
    away = EndpointError("no server answers at 'http://x'")
    ask = Failing(None, away, away, away, away, away)
    with Store(tmp_path) as store:
        done = run(CASES, [contender("base"), contender("endpoint", ask, role="diagnostic")], store)
        assert ask.asked == ["c0", "c1", "c2", "c3"]
        assert done.failed == {"endpoint": 3}
        assert "failed 3 times in a row and was asked no more (no server answers at 'http://x')" in done.notes[0]
        assert len(store.rows({"base": "i"})) == 6
        assert len(store.rows({"endpoint": "i"})) == 4
        assert done.missing == {}


def test_prompts_that_are_too_long_say_nothing_about_the_arm(tmp_path: Path) -> None:
    long = PromptTooLong("the question is too long")
    with Store(tmp_path) as store:
        done = run(CASES, [contender("base", Failing(long, long, long, long))], store)
        assert (done.asked, done.failed, done.notes) == (6, {"base": 4}, ())


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda case: answer("  \n"), "every answer of the arm 'rag' failed or is empty .no answer has a word"),
        (
            Failing(*[ModelError("it broke")] * 9),
            "the last time: it broke.; the rows are kept: mend that and run again",
        ),
    ],
)
def test_one_of_the_four_without_any_answer_is_one_sentence_and_rows_are_kept(
    tmp_path: Path, ask: Callable[[Case], Answer], says: str
) -> None:
    with Store(tmp_path) as store:
        with pytest.raises(CompareError, match=says):
            run(CASES, [contender("base"), contender("rag", ask)], store)
        assert len(store.rows({"base": "i"})) == 6
        assert store.rows({"rag": "i"})


def test_a_diagnostic_without_any_answer_is_missing_and_stops_nothing(tmp_path: Path) -> None:
    broken = contender("bare", Failing(*[ModelError("it broke")] * 9), role="diagnostic")
    idle = contender("oracle", takes=lambda case: False, role="diagnostic")
    with Store(tmp_path) as store:
        done = run(CASES, [contender(), broken, idle], store)
    assert done.missing.keys() == {"bare", "oracle"}
    assert "none of the cases suits it" in done.missing["oracle"]


@pytest.mark.parametrize(
    ("cases", "arms", "says"),
    [
        ([], [contender()], "there is no case to ask"),
        (CASES, [], "there is no arm to ask"),
        (CASES, [contender(), contender()], "two arms are called 'base'"),
    ],
)
def test_what_cannot_be_run_is_said(tmp_path: Path, cases: list[Case], arms: list[Contender], says: str) -> None:
    with Store(tmp_path) as store, pytest.raises(CompareError, match=says):
        run(cases, arms, store)


def test_ctrl_c_keeps_the_rows_and_waits_for_requests_in_flight(tmp_path: Path) -> None:
    begun, asked = threading.Event(), []

    def slow(case: Case) -> Answer:
        asked.append(case.id)
        begun.set()
        time.sleep(0.2)
        return answer()

    def interrupted(case: Case) -> Answer:
        if case.id == "c2":
            begun.wait(5)
            raise KeyboardInterrupt
        return answer()

    arms = [contender("base", interrupted), contender("endpoint", slow, role="diagnostic", server="s", workers=2)]
    with Store(tmp_path) as store:
        with pytest.raises(KeyboardInterrupt):
            run(CASES, arms, store)
        assert store.done("base", "i") == {"c0", "c1"}
        assert store.done("endpoint", "i") == set(asked)
        assert len(asked) < len(CASES)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("openbook-ask")]
        kept = 2 + len(asked)
        assert run(CASES, [contender("base"), contender("endpoint", slow, role="diagnostic")], store).kept == kept


def test_stopping_ends_between_two_questions(tmp_path: Path) -> None:
    log: list[str] = []
    with Store(tmp_path) as store:
        done = run(CASES, [contender("base", recorded(log, "base"))], store, stopping=lambda: len(log) >= 2)
        assert (done.stopped, done.asked, done.missing) == (True, 2, {})
        assert not run(CASES, [contender("base", recorded(log, "base"))], store).stopped
    assert log == [f"base c{number}" for number in range(6)]


def test_a_fault_of_the_program_in_a_thread_is_not_swallowed(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        with pytest.raises(ZeroDivisionError):
            run(CASES, [contender(), contender("endpoint", lambda case: 1 // 0, server="s", workers=3)], store)  # type: ignore[arg-type,return-value]
        assert set(store.done("base", "i")) <= {case.id for case in CASES}


def test_threads_of_one_server_share_its_workers_and_run_beside_the_local_arms(tmp_path: Path) -> None:
    gate, now, most, local_meanwhile = threading.Lock(), 0, 0, 0

    def remote(case: Case) -> Answer:
        nonlocal now, most
        with gate:
            now += 1
            most = max(most, now)
        time.sleep(0.03)
        with gate:
            now -= 1
        return answer()

    def local(case: Case) -> Answer:
        nonlocal local_meanwhile
        time.sleep(0.01)
        local_meanwhile += now > 0
        return answer()

    arms = [
        contender("base", local),
        contender("endpoint", remote, server="s", workers=3, role="diagnostic"),
        contender("endpoint-base", remote, server="s", workers=3, role="diagnostic"),
    ]
    with Store(tmp_path) as store:
        assert run(CASES, arms, store).asked == 18
    assert most == 3
    assert local_meanwhile > 0


def burn(seconds: float) -> None:
    started = time.thread_time()
    while time.thread_time() - started < seconds:
        pass


def test_cpu_seconds_are_those_of_the_asking_whatever_other_threads_do(tmp_path: Path) -> None:
    def spending(seconds: float) -> Callable[[Case], Answer]:
        def ask(case: Case) -> Answer:
            burn(seconds)
            time.sleep(0.02)
            return answer()

        return ask

    arms = [
        contender("base", spending(0.05)),
        contender("endpoint", spending(0.02), server="s", workers=2, role="diagnostic"),
    ]
    with Store(tmp_path) as store:
        run(CASES, arms, store)
        local = [row.cpu_seconds for row in store.rows({"base": "i"})]
        remote = [row.cpu_seconds for row in store.rows({"endpoint": "i"})]
    assert all(0.019 <= spent < 0.06 for spent in remote), remote
    assert 0.035 <= sum(local) / len(local) < 0.09, local


def test_loading_a_model_is_on_no_row(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run(CASES[:1], [contender(open=lambda: burn(0.2))], store)
        assert store.rows()[0].cpu_seconds < 0.1


def test_a_model_that_cannot_be_loaded_is_told_by_the_rows(tmp_path: Path) -> None:
    def fail(*_: object) -> Answer:
        raise ModelError("no such model")

    with Store(tmp_path) as store, pytest.raises(CompareError, match="no such model"):
        run(CASES, [contender("base", fail, open=fail)], store)


def test_memory_stays_flat_over_many_rows(tmp_path: Path) -> None:
    cases = [Case(f"Question {number}?", id=f"c{number}") for number in range(600)]

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    ask = contender(ask=lambda case: replace(answer(), prompt=case.id * 20_000))
    with Store(tmp_path) as store:
        run(cases[:50], [ask], store)
        before = resident()
        run(cases, [ask], store)
        assert resident() - before < 15 * 2**20
    assert store.path.stat().st_size > 40 * 2**20
