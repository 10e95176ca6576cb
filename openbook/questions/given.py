"""The user's own questions and answers out of JSONL or CSV files. Knows no library.

A line is {"question", "answer" (text or list of alternatives), and where it helps "document", "quote" or "spans"
([{"document", "quote"}]), "kind", "history" ([{"role", "content"}]), "system", "id"}, and for comparing "why" or "type"
(of unanswerable ones: off-corpus, near-miss, false-premise, superseded), "stale" (what must not be said), "contexts"
(passages to answer from), "without" (documents out of sight) and "same" (one word for questions that ask the same).
A CSV has these as columns, lists as JSON in their cell. A line that cannot be used becomes a sentence in `problems`;
the other lines are read.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from openbook.errors import ExamplesError
from openbook.records import Case, CaseKind, Message, WhyNot

_NAMES = {"question": ("question", "prompt"), "answer": ("answer", "answers", "gold")}
_MORE = "\0more"


@dataclass(frozen=True, slots=True)
class Given(Case):
    """A case as the user gave it, not yet found in the library (`locate`)."""

    sources: tuple[tuple[str, str], ...] = ()
    """(document, quote) as named by the user, either may be ""."""
    place: str = ""
    """Where it stands: "questions.jsonl:12"."""


class Cases(list[Case]):
    """The cases that were read, and what was wrong with other lines."""

    problems: tuple[str, ...] = ()
    """One sentence each: file:line, the value, what to do."""


class _LineError(Exception):
    pass


def read(paths: Sequence[str | Path]) -> Cases:
    """Read questions in the order of the files.

    Raises ExamplesError when a file cannot be read at all. Broken lines and repeated ids are in `.problems`.
    """
    found = Cases()
    problems: list[str] = []
    ids: dict[str, str] = {}
    for path in map(Path, paths):
        for line, row in _rows(path, problems):
            place = f"{path.name}:{line}"
            try:
                case = _case(row, place)
            except _LineError as error:
                problems.append(f"{place}: {error}")
                continue
            if case.id in ids:
                problems.append(f"{place}: id {case.id!r} stands already at {ids[case.id]}; give each question its own")
                continue
            if case.id:
                ids[case.id] = place
            found.append(case)
    found.problems = tuple(problems)
    return found


def _rows(path: Path, problems: list[str]) -> Iterator[tuple[int, object]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ExamplesError(
            f"questions {str(path)!r} cannot be read: {error.strerror or error}; check the path"
        ) from None
    except UnicodeDecodeError as error:
        raise ExamplesError(f"questions {str(path)!r} are not UTF-8 ({error.reason}); save the file as UTF-8") from None
    if path.suffix.lower() in {".csv", ".tsv"}:
        yield from _table(text, path, problems)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = str(error)
                if isinstance(error, json.JSONDecodeError):
                    reason = f"{error.msg} at column {error.colno}"
                elif isinstance(error, RecursionError):
                    reason = "nested too deeply"
                problems.append(
                    f"{path.name}:{number}: {line.strip()[:40]!r} is not valid JSON ({reason}); mend the line"
                )


def _table(text: str, path: Path, problems: list[str]) -> Iterator[tuple[int, object]]:
    first = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t|", key=first.count), restkey=_MORE)
    before = 1
    try:
        names = {name.strip().lower() for name in reader.fieldnames or () if name}
        wanted = [name for name, also in _NAMES.items() if names and names.isdisjoint(also)]
        if wanted and not (wanted == ["answer"] and "kind" in names):  # unanswerable questions need no answer
            problems.append(
                f"{path.name}:1: the columns are {', '.join(map(repr, reader.fieldnames or ()))}, and "
                f"{' and '.join(map(repr, wanted))} must be among them; name the columns in the first line"
            )
            return
        for row in reader:
            line, before = before + 1, reader.line_num
            if more := row.pop(_MORE, None):
                problems.append(f"{path.name}:{line}: {more!r} stands beyond the last column; quote cells with commas")
            else:
                yield line, {name.strip().lower(): _cell(value) for name, value in row.items() if name and value}
    except csv.Error as error:
        problems.append(f"{path.name}:{before + 1}: the table cannot be read further ({error}); mend the file")


def _cell(value: str) -> object:
    if value.lstrip().startswith(("[", "{")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _case(row: object, place: str) -> Given:
    if not isinstance(row, dict):
        raise _LineError(f"{row!r:.40} is no object with a question and an answer; write one object a line")
    fields = {name: value for name, value in row.items() if value is not None}
    question = _text(fields, *_NAMES["question"])
    if not question:
        raise _LineError('there is no "question"; add one')
    kind = _text(fields, "kind") or "answerable"
    if kind not in get_args(CaseKind):
        raise _LineError(f"kind {kind!r} does not exist; use one of {', '.join(get_args(CaseKind))}")
    gold = _gold(fields)
    if kind != "unanswerable" and not gold:
        raise _LineError(f'question {question[:60]!r} has no "answer"; add one, or set kind to "unanswerable"')
    if kind == "unanswerable" and gold:
        raise _LineError(
            f"question {question[:60]!r} is unanswerable but has the answer {gold[0][:40]!r}; remove one of both"
        )
    identity = fields.get("id", "")
    return Given(
        question=question,
        gold=gold,
        kind=kind,  # type: ignore[arg-type]  # checked against CaseKind above
        history=_history(fields),
        id=str(identity) if isinstance(identity, str | int) else "",
        why=_why(fields, kind),
        stale=_texts(fields, "stale"),
        contexts=_texts(fields, "contexts", "context"),
        without=_texts(fields, "without"),
        same=_text(fields, "same"),
        sources=_sources(fields),
        place=place,
    )


def _text(fields: Mapping[str, object], *names: str) -> str:
    for name in names:
        if name in fields:
            value = fields[name]
            if not isinstance(value, str):
                raise _LineError(f"{name} {value!r:.40} is not text; write it as text")
            return _whole(name, value)
    return ""


def _whole(name: str, value: str) -> str:
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise _LineError(f"{name} holds half of a surrogate pair, which is no character; mend it")
    return value.strip()


def _gold(fields: Mapping[str, object]) -> tuple[str, ...]:
    return _texts(fields, "answer", "answers", "gold")


def _why(fields: Mapping[str, object], kind: str) -> WhyNot:
    """Why no document answers. A "type" is a word of the user's own, unless it is one of these."""
    known = get_args(WhyNot)
    why, named = (_text(fields, name).lower().replace("_", "-").replace(" ", "-") for name in ("why", "type"))
    if why not in known:
        some = ", ".join(one for one in known if one)
        raise _LineError(f"why {why!r:.40} does not exist; use one of {some}, or leave it out")
    if why and kind != "unanswerable":
        raise _LineError(f'why {why!r} is for unanswerable questions; set kind to "unanswerable", or remove it')
    own = named if kind == "unanswerable" and named in known else ""
    return why or own  # type: ignore[return-value]  # checked against WhyNot above


def _texts(fields: Mapping[str, object], *names: str) -> tuple[str, ...]:
    name = next((name for name in names if name in fields), names[0])
    value = fields.get(name, [])
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        alternatives = "alternatives" if names[0] == "answer" else "several"
        raise _LineError(
            f"{names[0]} {value!r:.40} is neither text nor a list of texts; write {alternatives} as a list"
        )
    return tuple(dict.fromkeys(_whole(names[0], one) for one in values if one.strip()))


def _sources(fields: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    spans = fields.get("spans", [])
    if not isinstance(spans, list) or not all(isinstance(span, dict) for span in spans):
        raise _LineError(f'spans {spans!r:.40} is no list of objects; write [{{"document": ..., "quote": ...}}]')
    own = (_text(fields, "document"), _text(fields, "quote"))
    found = [(_text(span, "document"), _text(span, "quote")) for span in spans]
    return tuple(source for source in (own, *found) if any(source))


def _history(fields: Mapping[str, object]) -> tuple[Message, ...]:
    value = fields.get("history", [])
    turns = value if isinstance(value, list) else [value]
    system = _text(fields, "system")
    messages = [Message("system", system)] if system else []
    for turn in turns:
        role = turn.get("role") if isinstance(turn, dict) else None
        content = turn.get("content") if isinstance(turn, dict) else None
        if role not in ("user", "assistant", "system") or not isinstance(content, str) or not content.strip():
            raise _LineError(
                f'history turn {turn!r:.60} is not {{"role": user or assistant, "content": text}}; mend it'
            )
        if role == "system" and messages:
            raise _LineError("the system turn is not the first; give one, before all others")
        messages.append(Message(role, _whole("history", content)))
    return tuple(messages)
