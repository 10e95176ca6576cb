"""A workspace in, the arms that a comparison asks out: joins answering, adapters and openbook.compare.trial.

Arms differ by data only: which model writes, which adapter it has, whether it sees passages, and which. What decides an
arm's answers is hashed into its identity, so that a row is never taken for the answer of another model or library.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from openbook import provenance
from openbook.assemble import ENDPOINT, EXTRACTIVE, House
from openbook.compare.schema import FOUR
from openbook.compare.trial import Contender, everything, nothing
from openbook.errors import CompareError
from openbook.prompt import fingerprint
from openbook.records import Answer, Arm, Case, Chunk, Condition, Message, Scope

if TYPE_CHECKING:
    from openbook.answer.ask import Assistant
    from openbook.finetune.registry import Adapter, Registry
    from openbook.seams import Library

_BEHAVIOUR = ("behaviour", "general")
"""Kinds that no document answers and no document should."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What makes an arm what it is."""

    name: str
    label: str
    arm: Arm
    role: Literal["four", "diagnostic", "seed"] = "four"
    adapter: Adapter | None = None
    shots: tuple[Message, ...] = ()
    oracle: bool = False
    """Shown the gold passage instead of what search finds, and never declining for what search finds."""
    reads_with_reader: bool = True
    endpoint: bool = False
    takes: Callable[[Case], bool] = everything


def defaults(registry: Registry, *, base_sha256: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """NAME@VERSION for the arms tuned and tuned+rag, further training seeds of each behind it; () where there is none.

    Adapters that learned to read passages are for tuned+rag, the others for tuned; where only one kind exists it
    serves for both. Promoted ones come first, then the newest. `base_sha256` leaves out adapters of other weights.
    """
    known = [one for one in registry.list() if not base_sha256 or one.base.get("sha256") == base_sha256]
    known.sort(key=lambda one: (one.promoted, one.created, one.version), reverse=True)
    reading = _with_seeds([one for one in known if _reads(one)])
    closed = _with_seeds([one for one in known if not _reads(one)])
    return closed or reading, reading or closed


def contenders(
    house: House,
    *,
    tuned: Sequence[str],
    both: Sequence[str],
    shots: Mapping[str, Sequence[Message]],
    arms: Collection[str],
    groups: Sequence[str] = (),
    version: int | None = None,
) -> tuple[list[Contender], dict[str, str]]:
    """The arms that can be asked here, and why each other one of `arms` cannot (name -> one sentence).

    The first adapter of `tuned` and of `both` is the arm, further ones are its training seeds ("tuned#2"). `shots` are
    few-shot turns by name of one of the four; a diagnostic has those of the arm it explains. `groups` says whose
    documents are seen, `version` which library version is read (None: the newest at each question).
    Opens the library where an arm searches; models load when first asked. Raises AdapterError for an adapter that does
    not exist or belongs to another model, UsageError where openbook.assemble does.
    """
    found: list[Contender] = []
    missing: dict[str, str] = {}
    for name, plan in _plans(house, list(dict.fromkeys(tuned)), list(dict.fromkeys(both)), shots):
        if name.partition("#")[0] not in arms:
            continue
        if isinstance(plan, str):
            missing[name] = plan
        else:
            found.append(_contender(house, plan, groups=tuple(groups), version=version))
    return found, missing


def _plans(
    house: House, tuned: Sequence[str], both: Sequence[str], shots: Mapping[str, Sequence[Message]]
) -> Iterator[tuple[str, _Plan | str]]:
    """Every arm there is, as a plan or as the reason why it cannot be asked."""
    model, given = house.settings.models.generator, {arm: tuple(some) for arm, some in shots.items()}
    base_shots, rag_shots = given.get("base", ()), given.get("rag", ())
    nobody = f"models.generator is {EXTRACTIVE!r}: no model writes answers" if model == EXTRACTIVE else ""
    empty = _nothing_stored(house)

    base = _Plan("base", "base", "base", shots=base_shots)
    rag = _Plan("rag", "RAG", "rag", shots=rag_shots)
    yield "base", nobody or base
    yield "rag", empty or rag

    closed, why_closed = _adapters(house, tuned, "tuned")
    reading, why_reading = _adapters(house, both, "tuned+rag")
    alone = [_tuned(one, "tuned", "tuned", given, number) for number, one in enumerate(closed, 1)]
    joined = [_tuned(one, "tuned+rag", "tuned + RAG", given, number) for number, one in enumerate(reading, 1)]
    yield "tuned", why_closed or alone[0]
    yield "tuned+rag", why_reading or empty or joined[0]

    plain = "" if base_shots else "base is asked without examples, so it is the naive one already"
    yield "naive", nobody or plain or _beside(base, "naive", "base, no examples", shots=())
    yield "oracle", nobody or empty or _beside(rag, "oracle", "RAG, right passage", oracle=True, takes=_has_span)
    yield (
        "tuned+oracle",
        why_reading
        or empty
        or _beside(joined[0], "tuned+oracle", "tuned + RAG, right passage", oracle=True, takes=_has_span),
    )
    same = closed and reading and (closed[0].ref == reading[0].ref or _reads(closed[0]))
    other = "the adapter of the arm tuned learned with documents; name one that did not with --tuned" if same else ""
    yield (
        "closed+rag",
        why_closed
        or empty
        or other
        or _beside(
            _tuned(closed[0], "tuned+rag", "tuned without documents + RAG", given, 1),
            "closed+rag",
            takes=_asks_documents,
        ),
    )
    local = model not in (EXTRACTIVE, ENDPOINT)
    reader = (
        "" if local and house.reader is not None else "no bundled reader is in force, so rag is the bare one already"
    )
    yield (
        "bare",
        empty or reader or _beside(rag, "bare", "RAG, no reader", reads_with_reader=False, takes=_asks_documents),
    )
    already = "rag already answers with the passages' best sentences" if model == EXTRACTIVE else ""
    yield (
        "extractive",
        empty
        or already
        or _beside(rag, "extractive", "best sentences", arm="extractive", shots=(), takes=_asks_documents),
    )
    away = _no_endpoint(house)
    yield "endpoint", away or empty or _beside(rag, "endpoint", "endpoint + RAG", endpoint=True)
    yield "endpoint-base", away or _beside(base, "endpoint-base", "endpoint", endpoint=True)

    if not why_closed:
        yield from ((one.name, one) for one in alone[1:])
    if not why_reading and not empty:
        yield from ((one.name, one) for one in joined[1:])


def _nothing_stored(house: House) -> str:
    return "" if house.library.version() else "the library is empty; add documents with: openbook sync FOLDER"


def _adapters(house: House, refs: Sequence[str], arm: str) -> tuple[list[Adapter], str]:
    if house.settings.models.generator in (EXTRACTIVE, ENDPOINT):
        return [], f"the arm {arm!r} needs a model on this machine; set models.generator to one"
    if not refs:
        how = "openbook finetune EXAMPLES" if arm == "tuned" else "openbook finetune --from-library"
        return [], f"the arm {arm!r} needs a fine-tuned adapter; train one with: {how} --name NAME"
    return [house.adapters.get(ref) for ref in refs], ""


def _no_endpoint(house: House) -> str:
    if house.settings.models.generator == ENDPOINT:
        return "base and rag already ask the endpoint"
    return "" if house.settings.endpoint.model else "no endpoint is set; name url and model in [endpoint]"


def _tuned(
    adapter: Adapter,
    arm: Literal["tuned", "tuned+rag"],
    label: str,
    shots: Mapping[str, tuple[Message, ...]],
    number: int,
) -> _Plan:
    learned = ", which learned to read passages" if arm == "tuned" and _reads(adapter) else ""
    return _Plan(
        name=arm if number == 1 else f"{arm}#{number}",
        label=f"{label} ({adapter.ref}{learned})",
        arm=arm,
        role="four" if number == 1 else "seed",
        adapter=adapter,
        shots=shots.get(arm, ()),
    )


def _beside(plan: _Plan, name: str, label: str = "", **changes: Any) -> _Plan:
    """The same but for a little: what a diagnostic is."""
    return replace(plan, name=name, label=label or plan.label, role="diagnostic", **changes)


def _contender(house: House, plan: _Plan, *, groups: tuple[str, ...], version: int | None) -> Contender:
    settings = house.settings.answer
    if plan.oracle:
        settings = settings.model_copy(update={"abstain_below": 0.0})
    assistant = house.assistant(
        plan.arm,
        adapter=plan.adapter.ref if plan.adapter is not None else None,
        shots=plan.shots,
        reads_with_reader=plan.reads_with_reader,
        endpoint=plan.endpoint,
        settings=settings,
    )
    model = house.settings.models.generator
    served = plan.arm != EXTRACTIVE and (plan.endpoint or (model == ENDPOINT and plan.adapter is None))
    examples = f", {len(plan.shots) // 2} examples" if plan.shots else ""
    ref = plan.adapter.ref if plan.adapter is not None else ""
    return Contender(
        name=plan.name,
        label=f"{plan.label}{examples}",
        ask=partial(_ask, house, assistant, oracle=plan.oracle, groups=groups, version=version),
        identity=_identity(house, plan, groups=groups, version=version),
        takes=plan.takes,
        workers=house.settings.endpoint.concurrency if served else 1,
        role=plan.role,
        adapter=ref,
        model=EXTRACTIVE if plan.arm == EXTRACTIVE else house.settings.endpoint.model if served else model,
        server=house.settings.endpoint.url if served else "",
        open=assistant.load,
        close=partial(house.release, ref) if plan.role == "seed" else nothing,
    )


def _ask(
    house: House, assistant: Assistant, case: Case, *, oracle: bool, groups: tuple[str, ...], version: int | None
) -> Answer:
    contexts = (gold_chunk(house.library, case, version=version),) if oracle else case.contexts or None
    return assistant.ask(
        case.question,
        history=[turn for turn in case.history if turn.role != "system"],
        scope=scope_of(case, groups=groups, version=version),
        contexts=contexts,
        task="\n".join(turn.content for turn in case.history if turn.role == "system"),
    )


def ask_with(
    house: House, *, tuned: Sequence[str], both: Sequence[str], groups: Sequence[str] = (), version: int | None = None
) -> Callable[[str, Sequence[Message]], Callable[[Case], Answer]]:
    """What openbook.compare.shots.choose asks with: (arm of the four, few-shot turns) -> the arm, shown these turns.

    Raises CompareError, when called, for an arm that cannot be asked here.
    """

    def given(arm: str, shots: Sequence[Message]) -> Callable[[Case], Answer]:
        found, missing = contenders(
            house, tuned=tuned[:1], both=both[:1], shots={arm: shots}, arms=(arm,), groups=groups, version=version
        )
        if not found:
            raise CompareError(missing.get(arm) or f"there is no arm {arm!r}; use one of {', '.join(FOUR)}")
        return found[0].ask

    return given


def scope_of(case: Case, *, groups: Sequence[str] = (), version: int | None = None) -> Scope:
    """What a search for the case may see."""
    hidden = tuple(Condition("document", "!=", glob.escape(name)) for name in case.without)
    return Scope(tuple(groups), where=hidden, version=version)


def gold_chunk(library: Library, case: Case, *, version: int | None = None) -> Chunk:
    """The chunk that holds most of the case's first gold span, the earliest of equals.

    Raises CompareError when no chunk holds any of it.
    """
    span = case.spans[0]
    chunks = [chunk for _, chunk in library.chunks_of(span.document, version=version) if span.overlaps(chunk)]
    if not chunks:
        raise CompareError(
            f"the gold span {span.start}-{span.end} of case {case.id!r} stands in no chunk of {span.document!r}; "
            "make the cases again, or bring the document back with: openbook sync"
        )
    return max(chunks, key=lambda chunk: min(chunk.end, span.end) - max(chunk.start, span.start))


def _identity(house: House, plan: _Plan, *, groups: tuple[str, ...], version: int | None) -> str:
    settings = house.settings
    searches = plan.arm not in ("base", "tuned")
    decides: dict[str, Any] = {
        "arm": plan.arm,
        "oracle": plan.oracle,
        "weights": _weights(house, plan),
        "adapter": [plan.adapter.ref, plan.adapter.manifest.get("files")] if plan.adapter is not None else None,
        "answer": settings.answer.model_dump(),
        "shots": [asdict(turn) for turn in plan.shots],
        "prompt": fingerprint(),
        "openbook": provenance.version(),
    }
    if searches:
        seen = version if version is not None else house.library.version()
        decides |= {"library": seen, "groups": sorted(groups), "serving": house.serving()}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _weights(house: House, plan: _Plan) -> list[str]:
    """What writes the words, before an adapter."""
    settings = house.settings
    if plan.arm == EXTRACTIVE:
        return []
    if plan.endpoint or settings.models.generator == ENDPOINT:
        return [settings.endpoint.url, settings.endpoint.model, str(settings.endpoint.context)]
    if settings.models.generator == EXTRACTIVE:
        return []
    reader = house.reader if plan.arm == "rag" and plan.reads_with_reader else None
    return [house.base_files().sha256, reader.identity if reader is not None else ""]


def _has_span(case: Case) -> bool:
    return bool(case.spans) and not case.contexts


def _asks_documents(case: Case) -> bool:
    return case.kind not in _BEHAVIOUR


def _reads(adapter: Adapter) -> bool:
    return bool(adapter.manifest.get("library"))


def _with_seeds(sorted_adapters: Sequence[Adapter]) -> tuple[str, ...]:
    """The first, then others of the same recipe and data, one for each further seed."""
    if not sorted_adapters:
        return ()
    first = sorted_adapters[0]
    by_seed: dict[Any, str] = {}
    for one in sorted_adapters:
        if _recipe(one) == _recipe(first):
            by_seed.setdefault(one.manifest.get("seed"), one.ref)
    return tuple(by_seed.values())


def _recipe(adapter: Adapter) -> Any:
    told = adapter.manifest
    settings = {key: value for key, value in dict(told.get("settings") or {}).items() if key != "seed"}
    data = dict(told.get("data") or {}).get("hash")
    return [adapter.base.get("sha256"), adapter.method, adapter.parent, data, settings]
