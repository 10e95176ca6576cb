"""Settings in, working rooms out: the one place that knows all rooms and joins them.

Models load when first needed and side by side: opening a workspace costs nothing, a question waits for the slowest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from openbook.errors import AdapterError, EmbedderMismatch, LibraryBusy, ModelError, SettingsError, UsageError
from openbook.records import Arm, Message, ModelFiles
from openbook.seams import Embedder, Generator, Progress, Reranker
from openbook.settings import STATE_DIR, AnswerSettings, Settings

if TYPE_CHECKING:
    from openbook.answer.ask import Assistant
    from openbook.answer.extractive import Ranker
    from openbook.finetune.registry import Adapter, Registry
    from openbook.finetune.run import Tools
    from openbook.library.stored import StoredLibrary
    from openbook.readers import Reader
    from openbook.retrieve.search import HybridSearcher

EXTRACTIVE = "extractive"
ENDPOINT = "endpoint"
_READER, _SERVER = "reader", "server"

Prefer = Literal["start", "throughput", "serving"]
"""How a local model is loaded: for one question, for a long-lived process, for many askers at once."""

_T = TypeVar("_T")


class _made_once(cached_property[_T]):  # noqa: N801 - used like cached_property
    """A cached_property of the house that two threads do not make twice."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> _T: ...
    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Self | _T:
        if instance is None:
            return self
        with vars(instance)["_once"]:
            return super().__get__(instance, owner)


class House:
    """The rooms of one workspace, opened on first use and closed together."""

    def __init__(
        self,
        root: Path,
        settings: Settings,
        *,
        progress: Progress | None = None,
        prefer: Prefer = "throughput",
        readers: Path | None = None,
        library: Path | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`prefer` chooses how a local model loads: "start" for one question, "throughput" for a long-lived process,
        "serving" for many askers at once.

        `readers` is where the bundled readers lie; None is in this package. `library` is the library's folder, such as
        that of a copy; None is the workspace's own. `notice` gets sentences a person should
        read although nothing has to stop.
        """
        self.root = root
        self.settings = settings
        self.library_folder = library or root / STATE_DIR / "library"
        self._progress = progress
        self._prefer: Prefer = prefer
        self._readers = readers
        self.notice = notice
        self._embedder_name = ""
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="openbook-load")
        self._loaded: dict[str, Future[Generator]] = {}
        """Language models by what they are: "", _READER, _SERVER, or an adapter's NAME@VERSION."""
        self._once = RLock()
        """Held while something is made that there must be one of; never while a language model loads."""
        self._ranking: Ranker | None = None
        self.brief = False
        """Others wait for the library this opens instead of being turned away: set by who will soon let go of it."""

    @_made_once
    def embedder(self) -> Embedder:
        """The embedder of the library's vectors; that of the settings where there is no library yet."""
        from openbook.library import standing

        name = self.settings.models.embedder
        found = standing(self.library_folder, settings=self.settings.library)
        used = found.current.name if found is not None and found.current.name else name
        self._embedder_name = used
        if used == name:
            return self.load_embedder(name)
        self.notice(
            f"the library uses the embedder {used!r}, the settings name {name!r}; change over with: openbook migrate"
        )
        try:
            return self.load_embedder(used)
        except ModelError as error:
            raise EmbedderMismatch(
                f"the library was made with the embedder {used!r}, which cannot be loaded ({error}); "
                f"mend that, or change over to {name!r} with: openbook migrate"
            ) from None

    def load_embedder(self, name: str) -> Embedder:
        """An embedder by its name in the settings. Raises ModelError, SettingsError."""
        from openbook.retrieve.embed import OpenVINOEmbedder

        return OpenVINOEmbedder(self._files(name, "embedder"))

    def change_embedder(self, embedder: Embedder) -> None:
        """Follow the library, which has changed over: the next question is embedded with this one."""
        self.__dict__["embedder"] = embedder
        if "searcher" in self.__dict__:
            self.searcher.use(embedder)

    @_made_once
    def library(self) -> StoredLibrary:
        """The workspace's library; this process owns it from here on."""
        from openbook.library import standing

        embedder = self.embedder
        try:
            return self._open(embedder)
        except EmbedderMismatch:
            # Another process may have changed the library over while this one loaded its model or waited.
            found = standing(self.library_folder, settings=self.settings.library)
            now = found.current.name if found is not None else ""
            if not now or now == self._embedder_name:
                raise
        self._embedder_name = now
        self.__dict__["embedder"] = embedder = self.load_embedder(now)
        return self._open(embedder)

    def _open(self, embedder: Embedder) -> StoredLibrary:
        from openbook.library import open_library

        return open_library(
            self.library_folder,
            settings=self.settings.library,
            embedder_fingerprint=embedder.fingerprint,
            dimensions=embedder.dimensions,
            embedder_name=self._embedder_name,
            brief=self.brief,
        )

    def let_go(self) -> None:
        """Leave the library to others until it is needed again; models stay loaded. Nothing may be using it."""
        with self._once:
            vars(self).pop("searcher", None)
            library: StoredLibrary | None = vars(self).pop("library", None)
        if library is not None:
            library.close()

    @property
    def open_library(self) -> StoredLibrary | None:
        """The library, if it is open in this process."""
        found: StoredLibrary | None = self.__dict__.get("library")
        return found

    @_made_once
    def reranker(self) -> Reranker | None:
        """The reranker of the settings, or None."""
        name = self.settings.models.reranker
        if not name:
            return None
        from openbook.retrieve.rerank import OpenVINOReranker

        return OpenVINOReranker(self._files(name, "reranker"))

    @_made_once
    def searcher(self) -> HybridSearcher:
        """Hybrid retrieval over the library."""
        from openbook.retrieve.search import HybridSearcher

        return HybridSearcher(self.library, self.embedder, self.settings.retrieve, reranker=self.reranker)

    def generator(self, *, reads: bool = False) -> Generator:
        """The language model of the settings; waits for it to load. With `reads`, the one that reads passages."""
        return self.start_generator(reads=reads).result()

    def start_generator(self, *, reads: bool = False) -> Future[Generator]:
        """Begin loading the language model in the background; with `reads`, with its bundled reader if it has one."""
        bundled = self.reader if reads else None
        return self._start(_READER if bundled is not None else "", partial(self._load_generator, bundled))

    def warm(self) -> bool:
        """Begin loading the model that reads passages where that needs no download; whether it did."""
        from openbook.models import fetch

        name = self.settings.models.generator
        if name in (EXTRACTIVE, ENDPOINT) or not fetch.installed(placed(name, self.root)):
            return False
        self.start_generator(reads=True)
        return True

    @property
    def loading(self) -> bool:
        """Whether a language model is being loaded."""
        with self._once:
            return any(not one.done() for one in self._loaded.values())

    def _start(self, key: str, load: Callable[[], Generator]) -> Future[Generator]:
        """The model of this key, loading or loaded; begun once, whichever threads ask for it; again if it failed."""
        with self._once:
            found = self._loaded.get(key)
            if found is None or (found.done() and found.exception() is not None):
                found = self._loaded[key] = self._pool.submit(load)
            return found

    def release(self, adapter: str) -> None:
        """Free the model of an adapter (NAME@VERSION), if it is loaded; the next question to it loads it again."""
        with self._once:
            loaded = self._loaded.pop(adapter, None)
        if loaded is not None and loaded.exception() is None:
            loaded.result().close()

    @_made_once
    def reader(self) -> Reader | None:
        """The bundled reader in force; see reader_of."""
        return reader_of(self.settings, home=self._readers)

    @property
    def adapters(self) -> Registry:
        """The fine-tuned adapters of the workspace."""
        from openbook.finetune.registry import Registry

        return Registry(self.root / STATE_DIR / "adapters")

    def assistant(
        self,
        arm: Arm,
        *,
        adapter: str | None = None,
        system: str | None = None,
        shots: Sequence[Message] = (),
        reads_with_reader: bool = True,
        endpoint: bool = False,
        settings: AnswerSettings | None = None,
    ) -> Assistant:
        """The assistant of one arm; arms differ here and nowhere else.

        `adapter` is NAME or NAME@VERSION; None takes the only one, or the only promoted one. `system` is the system
        prompt of questions without passages, None the one the arm has; `shots` are turns that show how to answer.
        Without `reads_with_reader` the untouched model reads passages; with `endpoint` the one behind settings.endpoint
        writes, whichever model the settings name. `settings` take the place of settings.answer.
        Raises UsageError for an arm that needs an adapter when there is none, AdapterError for one of another model.
        """
        from openbook.answer.ask import Assistant
        from openbook.prompt import WITHOUT_PASSAGES

        chosen = self._adapter(arm, adapter)
        if self.settings.models.generator == EXTRACTIVE and arm == "rag" and not endpoint:
            arm = "extractive"
        searches = arm not in ("base", "tuned")
        reads = searches and reads_with_reader
        if endpoint:
            answering: Callable[[], Generator] = self._start(_SERVER, self._load_endpoint).result
        elif chosen is not None:
            answering = partial(self._tuned, chosen)
        else:
            answering = partial(self.generator, reads=reads)
            if arm != "extractive":
                self.start_generator(reads=reads)
        rewriting = answering if endpoint and self.settings.models.generator == EXTRACTIVE else self.generator
        added = chosen if chosen is not None else self.reader if arm == "rag" and reads and not endpoint else None
        return Assistant(
            arm=arm,
            settings=settings or self.settings.answer,
            library_version=lambda: self.library.version() if searches else 0,
            searcher=self.searcher if searches else None,
            ranker=self._ranker() if searches else None,
            generator=None if arm == "extractive" else answering,
            rewriter=None if arm == "extractive" else rewriting,
            adapter=added.ref if added is not None else None,
            system=system if system is not None else chosen.system if chosen is not None else WITHOUT_PASSAGES,
            shots=shots,
            notes=self._changed_since(chosen) if chosen is not None and searches else (),
        )

    def _ranker(self) -> Ranker:
        """Remembers the sentences of passages from one question to the next, as long as the embedder stays."""
        from openbook.answer.extractive import Ranker

        with self._once:
            if self._ranking is None or self._ranking.embedder is not self.embedder:
                self._ranking = Ranker(self.embedder)
            return self._ranking

    def serving(self) -> dict[str, object]:
        """What decides which passages a model is shown and how: an adapter that learned to read depends on it."""
        from openbook.prompt import fingerprint

        settings = self.settings
        return {
            "embedder": self.embedder.fingerprint,
            "reranker": settings.models.reranker,
            "retrieve": settings.retrieve.model_dump(),
            "passages": settings.answer.passages,
            "hints": settings.answer.hints,
            "order": settings.answer.order,
            "chunk_tokens": settings.ingest.chunk_tokens,
            "overlap_tokens": settings.ingest.overlap_tokens,
            "instructions": settings.answer.instructions,
            "prompt": fingerprint(),
        }

    def _changed_since(self, adapter: Adapter) -> tuple[str, ...]:
        """What a person should know when the retriever is not the one the adapter learned with."""
        learned = adapter.manifest.get("library")
        if not learned:
            return (
                f"the adapter {adapter.ref} never learned to read passages, which usually makes such answers worse; "
                "train one with: openbook finetune --from-library",
            )
        changed = differences(learned["serving"], self.serving())
        if not changed:
            return ()
        return (
            f"the adapter {adapter.ref} learned to read what another retriever found: {', '.join(changed)} changed "
            "since; measure it again, or train it again with: openbook finetune --from-library",
        )

    def _adapter(self, arm: Arm, ref: str | None) -> Adapter | None:
        found = adapter_for(self.adapters, arm, ref)
        if found is None:
            return None
        from openbook.finetune.registry import check_base

        files = self.base_files()
        check_base(found, files.sha256, base_name=files.name)
        return found

    def _tuned(self, adapter: Adapter) -> Generator:
        return self._start(adapter.ref, partial(self._load_tuned, adapter)).result()

    def _load_tuned(self, adapter: Adapter) -> Generator:
        from openbook.models import fetch

        served = fetch.read_home(adapter.folder / "served")
        if served is None:
            raise AdapterError(f"adapter {adapter.ref} has no served form; check it with: openbook adapters show")
        return self._on_this_machine(served)

    def add_adapter(self, name: str, *, progress: Progress | None = None) -> Adapter:
        """Register the bundled reader as an adapter of the workspace, to be compared or exported like any other.

        Raises AdapterError when the model has no reader, AdapterError or ModelError when it cannot be merged.
        """
        import shutil

        from openbook import readers
        from openbook.finetune.merge import merge_gguf
        from openbook.models import fetch

        files = self.base_files()
        reader = readers.find(self.settings.models.generator, home=self._readers or readers.HOME)
        if reader is None or files.original is None or reader.base_sha256 != files.sha256:
            raise AdapterError(
                f"no reader is bundled for {files.name!r}; train one with: openbook finetune --from-library"
            )
        reader.verify()
        with self.adapters.reserve(name) as draft:
            for one in readers.FILES:
                shutil.copy(reader.folder / one, draft.folder / one)
            served = draft.folder / "served"
            served.mkdir()
            merge_gguf(files.original, draft.folder, served / "model.gguf", progress=progress)
            fetch.convert_into(served / "model.gguf", served, name=f"{files.name}+{name}", progress=progress)
            kept = {key: value for key, value in reader.manifest.items() if key not in ("format", "name", "files")}
            return draft.publish({**kept, "parent": "", "run": ""})

    def base_files(self) -> ModelFiles:
        """The files of the model that is trained and that adapters belong to.

        Raises SettingsError when models.generator is no model on this machine.
        """
        name = self.settings.models.generator
        if name in (EXTRACTIVE, ENDPOINT):
            raise SettingsError(f"models.generator is {name!r}: set it to a model on this machine to train or serve it")
        return self._files(name, "generator")

    def training_tools(
        self,
        *,
        progress: Progress | None = None,
        watchers: Callable[[Path], Sequence[Callable[[dict[str, Any]], None]]] = lambda _: (),
        stopping: Callable[[], bool] = lambda: False,
        documents: Sequence[str] | None = None,
    ) -> Tools:
        """What a training needs from the other rooms; `documents` are names in the library, None looks them up."""
        from openbook.answer.generators.openvino import OpenVINOGenerator
        from openbook.finetune.run import Tools
        from openbook.models import fetch

        return Tools(
            convert=lambda gguf, folder, name: fetch.convert_into(gguf, folder, name=name, progress=progress),
            generator=OpenVINOGenerator,
            documents=self._document_names() if documents is None else documents,
            progress=progress,
            watchers=watchers,
            stopping=stopping,
        )

    def _document_names(self) -> list[str]:
        """Names in the library, which is free again afterwards; none when another process has it."""
        if not ((self.library_folder / "catalog.db").exists() or self.settings.library.catalog_url):
            return []
        with (
            contextlib.suppress(LibraryBusy),
            contextlib.closing(House(self.root, self.settings, library=self.library_folder)) as other,
        ):
            return [one.name for one in other.library.documents()]
        return []

    def close(self) -> None:
        """Release the library and the models."""
        self._pool.shutdown(wait=True)
        for loaded in self._loaded.values():
            if loaded.exception() is None:
                loaded.result().close()
        if "library" in self.__dict__:
            self.library.close()

    def _load_generator(self, bundled: Reader | None) -> Generator:
        name = self.settings.models.generator
        if name == EXTRACTIVE:
            raise SettingsError(f"models.generator is {EXTRACTIVE!r}: no language model is set, so this arm cannot run")
        if name == ENDPOINT:
            return self._load_endpoint()
        if bundled is not None:
            files = with_reader(bundled, offline=offline(self.settings), progress=self._progress)
        else:
            files = self._files(name, "generator")
        return self._on_this_machine(files)

    def _on_this_machine(self, files: ModelFiles) -> Generator:
        if self._prefer == "serving":
            from openbook.answer.generators.batched import BatchedGenerator

            return BatchedGenerator(files)
        from openbook.answer.generators.openvino import OpenVINOGenerator

        return OpenVINOGenerator(files, prefer=self._prefer)

    def _load_endpoint(self) -> Generator:
        from openbook.answer.generators.endpoint import EndpointGenerator

        return EndpointGenerator(self.settings.endpoint)

    def model_files(self, name: str, kind: Literal["embedder", "generator", "reranker"]) -> ModelFiles:
        """The files of a model as openbook.toml names it: a relative path counts from the workspace.

        Raises ModelError when it cannot be had, SettingsError when it is of another kind.
        """
        return self._files(name, kind)

    def _files(self, name: str, kind: Literal["embedder", "generator", "reranker"]) -> ModelFiles:
        from openbook.models import catalogue, fetch

        place = placed(name, self.root)
        if not (catalogue.looks_like_path(place) or catalogue.looks_like_hub(place)):
            catalogue.get(place, wanted=kind)
        files = fetch.ensure(place, offline=offline(self.settings), progress=self._progress)
        if files.kind != kind:
            raise SettingsError(f"models.{kind} = {name!r} is a {files.kind}; choose one with: openbook models list")
        # Named as in the settings, so that a workspace that moved knows its own embedder again.
        return files if place == name else replace(files, name=name)


def adapter_for(registry: Registry, arm: Arm, ref: str | None) -> Adapter | None:
    """The adapter that an arm is asked with; None for arms without one.

    Raises UsageError when the arm needs one and there is none, or takes none and one is named; AdapterError.
    """
    if arm not in ("tuned", "tuned+rag"):
        if ref is not None:
            raise UsageError(f"--adapter {ref!r} does not go with arm {arm!r}; use --arm tuned or --arm tuned+rag")
        return None
    names = registry.names()
    if not names:
        raise UsageError(
            f"arm {arm!r} needs a fine-tuned adapter, and this workspace has none; train one with: "
            "openbook finetune EXAMPLES --name NAME"
        )
    return registry.get(names[0] if ref is None and len(names) == 1 else ref)


def differences(then: Mapping[str, Any], now: Mapping[str, Any], *, within: str = "") -> list[str]:
    """What has another value now, one phrase each, by name.

    >>> differences({"retrieve": {"k": 3}, "order": "best_last"}, {"retrieve": {"k": 2}, "order": "best_last"})
    ['retrieve.k 3 -> 2']
    """
    found: list[str] = []
    for key in sorted({*then, *now}):
        before, after = then.get(key), now.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, within=f"{within}{key}.")
        elif before != after:
            found.append(f"{within}{key} {_brief(before)} -> {_brief(after)}")
    return found


def _brief(value: object) -> str:
    text = " ".join(str(value).split()) if value not in ("", None) else "none"
    return text if len(text) <= 60 else f"{text[:57]}..."


def placed(name: str, root: Path) -> str:
    """A model's name as it is, or its path in the workspace where the settings name one relative to it."""
    inside = name.startswith(f"{STATE_DIR}/") and not Path(name).is_absolute()
    return str(root / name) if inside else name


def offline(settings: Settings) -> bool:
    """Whether downloads are switched off, by the settings or OPENBOOK_OFFLINE=1."""
    return settings.models.offline or os.environ.get("OPENBOOK_OFFLINE", "") not in ("", "0")


def reader_of(settings: Settings, *, home: Path | None = None) -> Reader | None:
    """The bundled reader in force: None when the generator has none, has other weights, or it is switched off.

    `home` is where the readers lie; None is in this package.
    """
    from openbook import readers
    from openbook.models import fetch

    name = settings.models.generator
    found = readers.find(name, home=home or readers.HOME) if settings.models.reader == "auto" else None
    return found if found is not None and fetch.identity(name) == found.base_sha256 else None


def with_reader(reader: Reader, *, offline: bool = False, progress: Progress | None = None) -> ModelFiles:
    """The files of a reader's model with the reader merged in; made and converted at the first call, then kept.

    Raises ModelError as openbook.models.fetch.ensure does.
    """
    from openbook.finetune.merge import merge_gguf
    from openbook.models.derive import derived

    def merge(base: Path, out: Path) -> None:
        reader.verify()
        merge_gguf(base, reader.folder, out)

    return derived(reader.name, reader.identity, merge, says="prepare reader", offline=offline, progress=progress)
