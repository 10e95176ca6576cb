"""Examples, a chat and settings in, everything a person should know before any compute out; trains nothing.

Examples that cannot be learned as they are (too long, refused by the chat template, nothing to learn) are left out and
listed, never cut. Showing the result is preflight_page's business.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openbook.errors import MissingExtra
from openbook.finetune import changing, duplicates, personal
from openbook.finetune.changing import Changing
from openbook.finetune.chat import Chat
from openbook.finetune.duplicates import Leak
from openbook.finetune.examples import Loaded, Problem
from openbook.finetune.personal import Found
from openbook.finetune.preflight_tokens import Lengths, Measured, Outsider, Preview, preview, typical
from openbook.records import Example
from openbook.seams import Progress
from openbook.settings import Finetune

FEW = 10
"""Fewer examples than this hardly show a pattern; people are told."""
NEARLY_ALL = 0.95
"""Share of examples from which one system prompt counts as the prompt of all."""
_SHOWN_SYSTEMS = 5


@dataclass(frozen=True, slots=True)
class Preflight:
    """What the examples are like; `errors` forbid training, `warnings` do not."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    lines: int
    formats: Mapping[str, str]
    """Format by file."""
    by_format: Mapping[str, int]
    """Usable examples by format."""
    problems: tuple[Problem, ...]
    kept: tuple[Example, ...] = dataclasses.field(repr=False)
    """Training examples to learn from, in order."""
    kept_validation: tuple[Example, ...] = dataclasses.field(repr=False)
    lengths: Lengths
    limit: int
    """Longest sequence in tokens: the lesser of the setting and the model's context."""
    left_out: tuple[Outsider, ...]
    unended: tuple[str, ...]
    """Places where a learned reply does not end with a token that ends an answer."""
    duplicates: tuple[tuple[str, ...], ...]
    """Places of equal training examples."""
    near_duplicates: tuple[tuple[str, ...], ...]
    leaks: tuple[Leak, ...]
    personal: tuple[Found, ...] | None
    """None when it was not looked for; `personal_note` says why."""
    personal_note: str
    changing: tuple[Changing, ...]
    systems: tuple[tuple[str, float], ...]
    """The commonest system prompts with their share of the kept examples; "" stands for none."""
    preview: tuple[Preview, ...]
    lessons: int = 0
    """How many of the kept training examples, the last ones, were made from the library."""
    estimate: Mapping[str, Any] | None = None
    """Filled in after a probe: seconds, peak_memory_mb, tokens, cost."""

    @property
    def system(self) -> str | None:
        """The system prompt nearly all examples share; None when there is none."""
        return self.systems[0][0] or None if self.systems and self.systems[0][1] >= NEARLY_ALL else None

    def as_json(self) -> dict[str, Any]:
        """Plain data for preflight.json: counts instead of the examples, which stand in the corrected file."""
        plain = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("kept", "kept_validation")
        }
        return {
            "format": 1,
            "examples": len(self.kept),
            "validation": len(self.kept_validation),
            "system": self.system,
            **{name: _plain(value) for name, value in plain.items()},
        }


def check(
    train: Loaded,
    validation: Sequence[Example],
    *,
    chat: Chat,
    settings: Finetune,
    documents: Sequence[str] = (),
    lessons: Sequence[Example] = (),
    lessons_held: Sequence[Example] = (),
    progress: Progress | None = None,
) -> Preflight:
    """Look at everything before training. `train.examples` are those to learn from, `validation` those held out.

    `lessons` were made from the library: only their tokens are looked at. `documents` are the names in the library.
    Raises MissingExtra without the packages of the extra `finetune`; personal data is looked for when the extra
    `privacy` is installed.
    """
    limit = min(settings.max_tokens, chat.context)
    measured = Measured(limit)
    every = [(example, False) for example in train.examples] + [(example, True) for example in validation]
    for done, (example, held) in enumerate(every):
        if progress and done % 100 == 0:
            progress("tokens", done, len(every))
        measured.take(example, chat, held=held, pairs=settings.method == "dpo")
    own = len(measured.kept[False])
    for lesson, held in [*((one, False) for one in lessons), *((one, True) for one in lessons_held)]:
        measured.take(lesson, chat, held=held, pairs=False)
    if progress:
        progress("tokens", len(every), len(every))
    kept = tuple(measured.kept[False])
    examples = [example for example, _ in every]
    found, note = _personal(examples)
    equal = duplicates.exact(train.examples)
    flight = Preflight(
        errors=(),
        warnings=(),
        lines=train.lines + len(lessons),
        formats=train.formats,
        by_format=Counter(train.formats.get(example.place.rpartition(":")[0], "") for example in train.examples),
        problems=train.problems,
        kept=kept,
        kept_validation=tuple(measured.kept[True]),
        lengths=measured.lengths(),
        limit=limit,
        left_out=tuple(measured.left_out),
        unended=tuple(measured.unended),
        duplicates=_places(equal, train.examples),
        near_duplicates=_places(duplicates.near(train.examples), train.examples),
        leaks=tuple(duplicates.leaks(train.examples, validation)),
        personal=found,
        personal_note=note,
        changing=changing.find(train.examples, document_names=documents),
        systems=_systems(kept[:own]),
        preview=tuple(preview(example, chat) for example in typical(kept, measured.tokens)),
        lessons=len(kept) - own,
    )
    errors, warnings = _verdict(flight, [*train.examples, *lessons], [*validation, *lessons_held], chat, settings)
    if lessons and kept and not flight.lessons:
        long = f"all are longer than {limit:,} tokens; raise finetune.max_tokens, or show fewer passages (retrieve.k)"
        errors = (f"None of the {len(lessons)} lessons made from the library can be used: {long}.", *errors)
    return dataclasses.replace(flight, errors=errors, warnings=warnings)


def _places(groups: Sequence[tuple[int, ...]], examples: Sequence[Example]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(examples[index].place for index in group) for group in groups)


def _personal(examples: Sequence[Example]) -> tuple[tuple[Found, ...] | None, str]:
    try:
        return personal.find(examples), ""
    except MissingExtra as error:
        return None, f"personal data was not looked for: {error}"


def _systems(examples: Sequence[Example]) -> tuple[tuple[str, float], ...]:
    texts = Counter(
        next((message.content for message in example.messages if message.role == "system"), "") for example in examples
    )
    return tuple((text, count / len(examples)) for text, count in texts.most_common(_SHOWN_SYSTEMS))


def _verdict(
    flight: Preflight, examples: Sequence[Example], validation: Sequence[Example], chat: Chat, settings: Finetune
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sentences, the gravest first."""
    errors: list[str] = []
    warnings: list[str] = []
    count = len(examples)
    if not flight.kept:
        whys = Counter(outsider.why for outsider in flight.left_out if not outsider.validation).most_common(1)
        errors.append(f"None of the {count} examples can be used" + (f"; most often: {whys[0][0]}." if whys else "."))
    if count > 1 and len(flight.duplicates) == 1 and len(flight.duplicates[0]) == count:
        errors.append(f"All {count} examples are the same; a model would learn one reply to everything.")
    if flight.kept and len(flight.unended) == len(flight.kept):
        errors.append("No learned reply ends with a token that ends an answer, so the model would never learn to stop.")
    elif flight.unended:
        warnings.append(f"In {_n(flight.unended, 'example')} a learned reply does not teach the model to stop.")
    if 0 < len(flight.kept) < FEW:
        warnings.append(f"There are only {_n(flight.kept, 'example')}; give at least {FEW}, better 50 or more.")
    if dropped := sum(problem.dropped for problem in flight.problems):
        warnings.append(f"{dropped} of {flight.lines} records could not be read and are not used.")
    out = [outsider for outsider in flight.left_out if not outsider.validation]
    if out:
        long = sum("tokens are more than" in outsider.why for outsider in out)
        what = "finetune.max_tokens" if flight.limit == settings.max_tokens else "what the model reads"
        why = f"; {long} for being longer than {flight.limit:,} tokens ({what})" if long else ""
        warnings.append(f"{_n(out, 'example')} left out{why}.")
    if len(out) < len(flight.left_out):
        warnings.append(f"{len(flight.left_out) - len(out)} of {_n(validation, 'validation example')} left out.")
    if not validation:
        warnings.append("No example is held out, so nothing can be said about how well it learned.")
    elif flight.leaks:
        warnings.append(
            f"{len(flight.leaks)} of {_n(validation, 'validation example')} share a conversation, a document or a "
            "prompt with training; the scores will look better than they are."
        )
    copies = sum(len(group) - 1 for group in flight.duplicates)
    if copies and not errors:
        warnings.append(f"{copies} of {_n(examples, 'example')} repeat another one exactly and weigh double.")
    if alike := sum(len(group) - 1 for group in flight.near_duplicates):
        warnings.append(f"{alike} of {_n(examples, 'example')} nearly repeat another one.")
    if flight.personal:
        warnings.append(
            f"Personal data was found in {len(flight.personal)} places; a model may repeat what it learned."
        )
    elif flight.personal is None:
        warnings.append(f"{flight.personal_note[:1].upper()}{flight.personal_note[1:]}.")
    if flight.changing:
        places = len({found.place for found in flight.changing})
        warnings.append(f"{places} of {_n(examples, 'example')} teach facts that change; those are better retrieved.")
    warnings.extend(_style(examples, flight, chat, settings))
    return tuple(errors), tuple(warnings)


def _style(examples: Sequence[Example], flight: Preflight, chat: Chat, settings: Finetune) -> list[str]:
    found = []
    pairs = sum(example.rejected is not None for example in examples)
    if pairs and settings.method != "dpo":
        found.append(f"{pairs} rejected replies are not used by finetune.method = {settings.method!r}; dpo uses them.")
    loose = sum(example.messages[-1].content != example.messages[-1].content.strip() for example in examples)
    if loose:
        found.append(f"{loose} of {_n(examples, 'reply')} begin or end with white space, which the model will copy.")
    if flight.systems and flight.system is None and flight.systems[0][1] < NEARLY_ALL:
        share = next((part for text, part in flight.systems if not text), 0.0)
        if 0 < share < 1:
            found.append(f"{share:.0%} of the examples have no system prompt while others do; use one for all.")
    if chat.template is None:
        found.append("The model has no chat template; a plain transcript is used, here and when it answers.")
    return found


def _n(things: Sequence[object], noun: str) -> str:
    count = len(things)
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def _plain(value: Any) -> Any:
    """Records, tuples and mappings as JSON knows them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
