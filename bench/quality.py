"""The quality bench: one command per question of "how good", each printing a table and writing bench/out/*.json.

python -m bench.quality retrieval            which retriever, fusion and weights find the passage
python -m bench.quality handbook             answers, citations, refusals and times per arm
python -m bench.quality abstain              when to decline: features, fit, thresholds
python -m bench.quality citations [FOLDER]   every quote equals its document at its offsets
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import quality_abstain, quality_citations, quality_handbook, quality_retrieval


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description="Measure how good Openbook is.")
    measures = parser.add_subparsers(dest="measure", required=True)
    measures.add_parser("retrieval", help="recall and MRR of retrievers, fusions, weights")
    handbook = measures.add_parser("handbook", help="answers about the bundled handbook")
    handbook.add_argument("--arms", nargs="+", default=list(quality_handbook.ARMS), metavar="ARM")
    handbook.add_argument("--settings", type=Path, help="an openbook.toml to use instead of the defaults")
    handbook.add_argument("--name", default="quality-handbook", help="name of the result file in bench/out")
    handbook.add_argument("--verbose", action="store_true", help="show every answer")
    measures.add_parser("abstain", help="features and threshold of declining")
    citations = measures.add_parser("citations", help="quotes against documents, per format")
    citations.add_argument("folder", nargs="?", type=Path, default=quality_citations.FIXTURES)
    given = parser.parse_args()
    if given.measure == "retrieval":
        quality_retrieval.run()
    elif given.measure == "handbook":
        settings = given.settings.read_text(encoding="utf-8") if given.settings else ""
        quality_handbook.run(given.arms, settings=settings, name=given.name, verbose=given.verbose)
    elif given.measure == "abstain":
        quality_abstain.run()
    else:
        quality_citations.run(given.folder)


if __name__ == "__main__":
    main()
