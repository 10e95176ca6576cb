"""Questions for a retriever's training, as gathered from a workspace."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from openbook.assemble import House
from openbook.records import Case, Change, Span
from openbook.retrieve.embed import FakeEmbedder
from openbook.retriever import gather, tools
from openbook.settings import Settings
from tests import migrations


def test_documents_of_the_same_text_stay_on_one_side_without_questions_from_the_library(tmp_path: Path) -> None:
    facts = {f"{n}.md": f"The town number {n} has {n + 40} bridges, {n + 50} schools, {n + 9} mills." for n in range(9)}
    texts = {**facts, "copy.md": facts["4.md"]}

    def case(name: str, what: str) -> Case:
        end = texts[name].index(f" {what}")
        return Case(f"How many {what} in {name}?", (texts[name][end - 2 : end],), (Span(name, end - 2, end),))

    asked = [case(name, "schools" if name == "copy.md" else "bridges") for name in texts]
    house, embedder = House(tmp_path, Settings()), FakeEmbedder()
    house.change_embedder(embedder)
    with closing(house):
        put = [migrations.entry(name, text, embedder=embedder) for name, text in texts.items()]
        house.library.commit(Change(put=put, embedder=embedder.fingerprint))
        cases, about = gather(house, asked, from_library=False, seed=0, progress=None)
        assert [len(one.spans) for one in cases] == [1] * 10
        assert ["4.md", "copy.md"] in about["twins"]
        for seed in range(20):
            _, held = tools(house, None, twins=about["twins"]).split(cases, 0.3, seed)
            names = {span.document for one in held for span in one.spans}
            assert ("4.md" in names) == ("copy.md" in names)
