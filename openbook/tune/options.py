"""How a tuning goes and what it needs from other rooms, as values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openbook.errors import UsageError
from openbook.records import Answer, Case, Scope
from openbook.seams import Searcher
from openbook.settings import Settings
from openbook.tune.measure import Confidence
from openbook.tune.trials import Rooms

PARTS = ("search", "passages", "decline", "order")


@dataclass(frozen=True, slots=True)
class Options:
    """How a tuning goes."""

    parts: tuple[str, ...] = PARTS
    """What is tuned, of PARTS; "order" needs answers."""
    tries: int = 7
    """Values per dimension, the present one included."""
    held: float = 0.5
    """Share of the questions kept for judging."""
    seed: int = 0
    minutes: float | None = None
    """No new try begins after this; judging is not cut short."""
    token_price: float = 0.05
    """How much of "gold text shown" (0-1) 1,000 tokens of passages must bring."""
    wrong_cost: float = 1.0
    """How much worse an answer to an unanswerable question is than declining an answerable one."""
    reranker: str = ""
    """A reranker to try beside the one of the settings."""
    answers: int = 0
    """Questions per value answered by the language model, to tune the order of passages; 0 leaves it."""
    groups: tuple[str, ...] = ()
    """Documents these groups may see are searched too."""
    force: bool = False
    """Take what did best on the questions to choose on, significant or not."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.parts if name not in PARTS]
        if unknown or not self.parts:
            raise UsageError(f"cannot tune {', '.join(map(repr, unknown)) or 'nothing'}; choose of {', '.join(PARTS)}")
        if self.tries < 2 or not 0 < self.held < 1 or self.token_price < 0 or self.wrong_cost <= 0 or self.answers < 0:
            raise UsageError(
                f"tries = {self.tries} must be at least 2, held = {self.held} between 0 and 1, token_price = "
                f"{self.token_price} and answers = {self.answers} not negative, wrong_cost = {self.wrong_cost} above 0"
            )


@dataclass(frozen=True, slots=True)
class Tools:
    """What a tuning needs from the other rooms."""

    rooms: Rooms
    confidence: Confidence
    asked: Callable[[Case], str]
    """The question as it is searched for."""
    divide: Callable[[Sequence[Case], float, int], tuple[list[Case], list[Case]]]
    """(cases, share held out, seed) -> (rest, held out), by document."""
    answer: Callable[[Settings, Searcher, Case, Scope], Answer] | None = None
    """An answer of the language model; None when there is none."""
