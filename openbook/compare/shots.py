"""Training conversations in, the few-shot examples that serve each arm best out, with every try written down.

Every arm gets the same tries, in the same order, on the same development cases, which come from the training
conversations and never from the test. Knows no model: arms are asked through what the caller gives.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from openbook.errors import OpenbookError
from openbook.metrics import token_f1
from openbook.prose import content
from openbook.records import Answer, Case, Example, Message
from openbook.seams import Progress

Ask = Callable[[Case], Answer]

LONGEST = 1200
"""Characters of an example that is shown: four of them have to fit beside a question and its passages."""
_COUNTS = (2, 4)
_STOPPED = "choosing few-shot examples was stopped; arms not yet tried are asked without"


@dataclass(frozen=True, slots=True)
class Try:
    """One arm with one set of examples."""

    arm: str
    name: str
    """"none", "2 typical", "4 nearest", "2 drawn" ..."""
    places: tuple[str, ...]
    """Where the examples stand: "replies.jsonl:12"."""
    score: float
    """Mean over the development cases; one without an answer counts 0."""
    n: int
    """Development cases."""
    failed: int
    """Those without an answer."""
    seconds: float
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """The best examples of each arm."""

    shots: Mapping[str, tuple[Message, ...]]
    """Arm -> user and assistant turns to put before the conversation; () where none serve better."""
    tries: tuple[Try, ...]
    """All of them, arm by arm."""
    notes: tuple[str, ...] = ()


def choose(
    examples: Sequence[Example],
    dev: Sequence[Case],
    ask_with: Callable[[str, Sequence[Message]], Ask],
    score: Callable[[Case, Answer], float],
    *,
    arms: Sequence[str],
    tries: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Chosen:
    """For each arm the best of `tries` sets of examples by their mean score on `dev`; of equals the fewest examples.

    `ask_with(arm, turns)` gives the arm with these turns before its conversation; `score` answers in [0, 1]. Take
    `examples` and `dev` from held_out, so that no example answers a development case. See candidates for the tries.
    """
    sets = candidates(examples, dev, tries=tries, seed=seed)
    if len(sets) < 2 or not dev:
        why = "there is no development case" if not dev else "too few training conversations are short enough to show"
        return Chosen(dict.fromkeys(arms, ()), (), (f"no few-shot examples were tried: {why}",))
    log: list[Try] = []
    shots: dict[str, tuple[Message, ...]] = dict.fromkeys(arms, ())
    for arm in arms:
        tried: list[Try] = []
        for name, some in sets:
            ask = ask_with(arm, _turns(some))
            before, started = (len(log) + len(tried)) * len(dev), time.perf_counter()
            scores: list[float] = []
            failed = 0
            for done, case in enumerate(dev, 1):
                if stopping():
                    return Chosen(shots, tuple(log), (_STOPPED,))
                try:
                    scores.append(score(case, ask(case)))
                except OpenbookError:
                    failed += 1
                if progress is not None:
                    progress("choose examples", before + done, len(arms) * len(sets) * len(dev))
            places = tuple(one.place for one in some)
            mean, spent = math.fsum(scores) / len(dev), time.perf_counter() - started
            tried.append(Try(arm, name, places, mean, len(dev), failed, spent))
        best = max(range(len(tried)), key=lambda at: (tried[at].score, -len(sets[at][1]), -at))
        shots[arm] = _turns(sets[best][1])
        log += [replace(one, chosen=at == best) for at, one in enumerate(tried)]
    return Chosen(shots, tuple(log))


def section(chosen: Chosen) -> dict[str, Any]:
    """As plain data: {"shots": {arm: [{"role", "content"}]}, "tries": [Try's fields], "notes": [sentences]}."""
    return {
        "shots": {arm: [asdict(turn) for turn in turns] for arm, turns in chosen.shots.items()},
        "tries": [asdict(one) for one in chosen.tries],
        "notes": list(chosen.notes),
    }


def from_section(plain: Mapping[str, Any]) -> Chosen:
    """What section was made of."""
    return Chosen(
        shots={arm: tuple(Message(**turn) for turn in turns) for arm, turns in plain["shots"].items()},
        tries=tuple(Try(**{**one, "places": tuple(one["places"])}) for one in plain["tries"]),
        notes=tuple(plain["notes"]),
    )


def likeness(case: Case, answer: Answer) -> float:
    """Overlap in words with the closest gold answer, in [0, 1]: a score for choose where the team has none."""
    return max((token_f1(answer.text, gold) for gold in case.gold), default=0.0)


def held_out(
    examples: Sequence[Example], *, most: int = 20, share: float = 0.3, seed: int = 0
) -> tuple[list[Example], list[Case]]:
    """Examples to show, and development cases: at most `most` and at most `share` of them.

    What comes from one conversation or document stays on one side. A case asks for the last turn of its example, with
    everything before as history, its system turn first.
    """
    groups: dict[str, list[Example]] = {}
    for number, one in enumerate(examples):
        groups.setdefault(one.conversation or one.document or f"#{number}", []).append(one)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    room = min(most, int(share * len(examples)))
    shown: list[Example] = []
    dev: list[Case] = []
    for name in order:
        some = [one for one in groups[name] if _asks(one)]
        if some and len(dev) + len(some) <= room:
            dev += [_case(one) for one in some]
        else:
            shown += groups[name]
    return shown, dev


def candidates(
    examples: Sequence[Example], dev: Sequence[Case], *, tries: int, seed: int = 0
) -> list[tuple[str, tuple[Example, ...]]]:
    """The first `tries` of: none, 2 and 4 typical examples, 2 and 4 nearest to the questions of `dev`, then drawn ones.

    Typical is alike in words to all, nearest alike to the questions; each next one as unlike those before as it is
    typical or near. Single exchanges are preferred, long ones left out. Fewer sets when there are too few examples.
    """
    usable = [one for one in examples if _showable(one)]
    single = [one for one in usable if len(_talk(one)) == 2]
    usable = single if len(single) >= max(_COUNTS) else usable
    whole = [content(" ".join(turn.content for turn in _talk(one))) for one in usable]
    asked = [content(_talk(one)[0].content) for one in usable]
    typical, nearest = _likeness(whole, whole), _likeness(asked, [content(case.question) for case in dev])
    found: list[tuple[str, tuple[Example, ...]]] = [("none", ())]
    sizes = [count for count in _COUNTS if count <= len(usable)]
    for name, worth in (("typical", typical), ("nearest", nearest)):
        found += [(f"{count} {name}", tuple(usable[at] for at in _picked(worth, whole, count))) for count in sizes]
    draw = random.Random(seed)
    while sizes and len(found) < tries:
        count = sizes[len(found) % len(sizes)]
        found.append((f"{count} drawn", tuple(draw.sample(usable, count))))
    return found[:tries]


def _picked(worth: Sequence[float], words: Sequence[set[str]], count: int) -> list[int]:
    """The best first; a shown example stands nearest the question when it comes last, so they are turned around."""
    picked: list[int] = []
    while len(picked) < count:
        rest = [at for at in range(len(worth)) if at not in picked]
        picked.append(
            max(
                rest,
                key=lambda at: (worth[at] - max((_overlap(words[at], words[one]) for one in picked), default=0.0), -at),
            )
        )
    return picked[::-1]


def _likeness(texts: Sequence[set[str]], others: Iterable[set[str]]) -> list[float]:
    """Cosine of each text's words with those of all the others together, in [0, 1]."""
    counts = Counter(word for one in others for word in one)
    norm = math.sqrt(sum(count * count for count in counts.values())) or 1.0
    return [sum(counts[word] for word in text) / (norm * math.sqrt(len(text) or 1)) for text in texts]


def _overlap(one: set[str], other: set[str]) -> float:
    return len(one & other) / (len(one | other) or 1)


def _talk(example: Example) -> list[Message]:
    return [turn for turn in example.messages if turn.role != "system"]


def _showable(example: Example) -> bool:
    talk = _talk(example)
    turns = all(turn.role == ("user", "assistant")[at % 2] for at, turn in enumerate(talk))
    return bool(talk) and turns and len(talk) % 2 == 0 and sum(len(turn.content) for turn in talk) <= LONGEST


def _turns(examples: Sequence[Example]) -> tuple[Message, ...]:
    return tuple(turn for one in examples for turn in _talk(one))


def _asks(example: Example) -> bool:
    return len(example.messages) >= 2 and example.messages[-2].role == "user"


def _case(example: Example) -> Case:
    *history, asked, reply = example.messages
    return Case(
        asked.content,
        (reply.content,),
        kind="behaviour",
        history=tuple(history),
        id=example.place or asked.content[:80],
    )
