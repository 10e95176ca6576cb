"""What a reader of retrieved passages is trained on here: XQuAD's articles 1-18 as a workspace, and their questions.

python -m bench.reader_data FOLDER makes

    FOLDER/xquad/a01-p01.txt ...   the paragraphs, one a file
    FOLDER/openbook.toml, .openbook/   the workspace, synced
    FOLDER/questions.jsonl         question, answer, document, quote, id; for `openbook finetune --from-library`
    FOLDER/closed.jsonl            the same questions as conversations without documents, for the closed-book arm

The documents are named as the library names them. Nothing of articles 19-24 gets in. To choose between recipes without
looking at those, leave out some more and measure on them:

    python -m bench.reader_data FOLDER --without a16 a17 a18
    python -m bench.reader quick --articles a16 a17 a18 --adapter reader=...
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from bench import xquad
from openbook import Workspace
from openbook.files import write_atomic
from openbook.prompt import WITHOUT_PASSAGES
from openbook.prose import sentences

_LONGEST = 400
"""Characters of a sentence given as an answer; of a longer one only the answer is."""


def write(folder: Path, *, without: Collection[str] = ()) -> dict[str, int]:
    """Make the folder, which must not be a workspace yet, without some articles; counts of what is in it.

    Raises OpenbookError when it is one, SystemExit when a paragraph did not sync whole.
    """
    articles = [article for article in xquad.TRAINED_ON if article not in without]
    xquad.write(folder / "xquad", articles=articles)
    with Workspace.init(folder) as workspace:
        report = workspace.sync([folder / "xquad"])
        if report.failed:
            raise SystemExit(f"paragraphs did not sync: {report.failed}")
        texts = {info.name: workspace.document(info.name).text for info in workspace.documents()}
    asked = [question_row(question, texts[f"xquad/{question.paragraph}"]) for question in xquad.about(articles)]
    _write(folder / "questions.jsonl", asked)
    _write(folder / "closed.jsonl", map(closed_row, asked))
    return {"documents": len(texts), "chunks": report.chunks, "questions": len(asked)}


def question_row(question: xquad.Question, text: str) -> dict[str, Any]:
    """One line of questions.jsonl. `text` is the document as stored, in which the answer must stand where XQuAD says.

    Raises SystemExit when it does not.
    """
    if text[question.start : question.end] != question.answer:
        raise SystemExit(f"{question.id}: {question.answer!r} is not at its place in the text of {question.paragraph}")
    return {
        "id": question.id,
        "question": question.text.strip(),
        "answer": [question.answer],
        "document": f"xquad/{question.paragraph}",
        "quote": sentence_around(text, question.start, question.end),
    }


def sentence_around(text: str, start: int, end: int) -> str:
    """The sentence, verbatim, that holds text[start:end], or all that it reaches into.

    >>> sentence_around("He left. She paid 5 dollars. It rained.", 18, 19)
    'She paid 5 dollars.'
    """
    inside = [span for span in sentences(text) if span.start < end and start < span.end]
    return text[min([start, *(span.start for span in inside)]) : max([end, *(span.end for span in inside)])]


def closed_row(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A question as a conversation without documents, under the system prompt of such questions."""
    quote = " ".join(asked["quote"].split())
    answer = quote if len(quote) <= _LONGEST else f"{asked['answer'][0]}."
    turns = {"system": WITHOUT_PASSAGES, "user": asked["question"], "assistant": answer}
    return {"messages": [{"role": role, "content": content} for role, content in turns.items()]}


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reader_data", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--without", nargs="+", default=[], metavar="ARTICLE", choices=xquad.TRAINED_ON)
    given = parser.parse_args()
    print(write(given.folder.resolve(), without=given.without))


if __name__ == "__main__":
    main()
