"""openbook compare as a person runs it: real processes, the default model, the handbook; stopped, resumed, judged."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench import handbook_cases
from openbook import sample
from tests.servers import ChatServer

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
QUICK = ("--no-review", "--skip", "latency", "--skip", "freshness")
_TAKEN = ("dev-a01", "dev-a03", "dev-a04", "test-a02", "test-u14", "test-u15")


def openbook(*words: str, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "openbook", *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def reports(desk: Path) -> list[Path]:
    return sorted((desk / ".openbook/reports").glob("*/"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    sample.copy_handbook(folder / "handbook")
    openbook("init", ".", cwd=folder)
    openbook("sync", "handbook", cwd=folder)
    lines = [
        {
            "id": one.id,
            "question": one.question,
            "answer": list(one.gold),
            "kind": one.kind,
            "type": one.type,
            **({"document": one.spans[0].document, "quote": one.spans[0].quote} if one.spans else {}),
        }
        for one in handbook_cases.cases()
        if one.id in _TAKEN
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_stopped_comparison_goes_on_and_every_number_can_be_traced_to_rows(desk: Path) -> None:
    command = [sys.executable, "-m", "openbook", "compare", "--cases", "questions.jsonl", *QUICK]
    running = subprocess.Popen(
        command, cwd=desk, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not any((one / "rows.jsonl").is_file() and len(rows(one)) >= 3 for one in reports(desk)):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    (folder,) = reports(desk)
    before = {(one["arm"], one["case"], one["at"]) for one in rows(folder)[:3]}

    done = openbook("compare", "--cases", "questions.jsonl", *QUICK, cwd=desk)
    assert reports(desk) == [folder]
    assert "answer correct" in done.stdout
    assert "went on with the comparison" in done.stderr
    after = rows(folder)
    assert before <= {(one["arm"], one["case"], one["at"]) for one in after}

    report = json.loads((folder / "report.json").read_text())
    arms = {arm["name"]: arm for arm in report["arms"]}
    assert {"base", "rag", "oracle", "bare", "extractive"} == set(arms)
    assert {"tuned", "tuned+rag"} <= set(report["missing"])
    for name, arm in arms.items():
        for metric, figure in arm["metrics"].items():
            scores = [one["scores"][metric] for one in after if one["arm"] == name and metric in one["scores"]]
            assert figure["n"] == len(scores)
            assert figure["value"] == pytest.approx(sum(scores) / len(scores))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["finished"]
    assert len(manifest["commands"]) == 2
    page = (folder / "report.html").read_text()
    assert not re.search(r"""(?:src|href)=["']?(?:https?:|//)|url\((?!#)""", page)
    assert report["verdict"].split(":")[0] in page


def test_a_report_is_drawn_again_with_other_prices_and_asks_nothing(desk: Path) -> None:
    (folder,) = reports(desk)
    asked = [(one["arm"], one["case"], one["at"]) for one in rows(folder)]
    (desk / "prices.toml").write_text("machine_hour = 816.0\n")
    before = json.loads((folder / "report.json").read_text())
    told = json.loads(openbook("compare", "--again", folder.name, "--prices", "prices.toml", "--json", cwd=desk).stdout)
    assert [(one["arm"], one["case"], one["at"]) for one in rows(folder)] == asked

    def paid(report: dict[str, Any]) -> float:
        return next(arm["cost"]["thousand_questions"] for arm in report["arms"] if arm["name"] == "rag")

    assert paid(told) == pytest.approx(10_000 * paid(before), rel=0.01)


def test_rules_fail_a_run_with_their_sentence_and_history_keeps_it(desk: Path) -> None:
    (folder,) = reports(desk)
    words = ("compare", "--again", folder.name, "--against", str(folder), "--history", "history.jsonl")
    openbook(*words, "--fail-if", "answer_correct drops > 2pp", cwd=desk)
    failed = openbook(*words, "--fail-if", "rag: refusal < 101%", cwd=desk, expect=2)
    assert "101" in failed.stderr
    failed = openbook(*words, "--fail-if", "base: answer_correct < 99%", cwd=desk, expect=1)
    assert "answer correct" in failed.stderr.replace("answer_correct", "answer correct")
    assert (desk / "history.png").read_bytes().startswith(b"\x89PNG")
    assert len((desk / "history.jsonl").read_text().splitlines()) == 1


def test_advise_quotes_the_newest_report(desk: Path) -> None:
    told = openbook("advise", cwd=desk).stdout
    assert "n = " in told or "cases" in told


def test_the_bundled_reader_is_compared_like_an_adapter_of_ones_own(desk: Path) -> None:
    assert "reader@1" in openbook("adapters", "add", cwd=desk).stdout
    words = ("--arm", "rag", "--arm", "tuned+rag", "--json")
    report = json.loads(openbook("compare", "--cases", "questions.jsonl", *QUICK, *words, cwd=desk).stdout)
    assert [(arm["name"], arm["adapter"]) for arm in report["arms"]] == [("rag", ""), ("tuned+rag", "reader@1")]
    assert any("leaks were not looked for" in note for note in report["notes"])
    answers = {one["arm"]: one["answer"]["adapter"] for one in rows(Path(report["folder"])) if one["answer"]["prompt"]}
    assert answers == {"rag": "reader (bundled)", "tuned+rag": "reader@1"}
    openbook("adapters", "remove", "reader@1", "--force", cwd=desk)


def grade(messages: list[dict[str, str]]) -> str:
    """A judge by rule: full marks where the reference stands in the answer, else none."""
    asked = messages[-1]["content"]
    found = re.search(r"<reference>\n(.*?)\n</reference>\n<answer>\n(.*?)\n</answer>", asked, re.DOTALL)
    assert found is not None
    return "4" if any(one in found[2] for one in found[1].split(" / ")) else "0"


def test_a_judge_behind_a_real_socket_is_checked_by_controls_and_labels_and_decides_nothing(desk: Path) -> None:
    settings = (desk / "openbook.toml").read_text()
    command = (
        "compare",
        "--cases",
        "questions.jsonl",
        *QUICK,
        "--arm",
        "rag",
        "--arm",
        "extractive",
        "--judge",
        "--json",
    )
    with ChatServer(grade) as server:
        (desk / "openbook.toml").write_text(f'{settings}\n[endpoint]\nurl = "{server.url}"\nmodel = "tiny"\n')
        report = json.loads(openbook(*command, cwd=desk).stdout)
        folder, asked = Path(report["folder"]), len(server.requests)
        judged = report["sections"]["judge"]
        assert judged["controls"]["reference"] == 1.0
        assert judged["controls"]["refusal"] < 0.25
        assert report["primary"] == "answer_correct"
        labels = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
        scores = {(one["arm"], one["case"]): one["scores"].get("judge") for one in rows(folder)}
        for one in labels:
            one["right"] = scores[one["arm"], one["case"]] == 1.0
        (desk / "labels.jsonl").write_text("".join(json.dumps(one) + "\n" for one in labels))
        again = json.loads(openbook(*command, "--labels", "labels.jsonl", cwd=desk).stdout)
        assert again["folder"] == report["folder"]
        assert again["sections"]["judge"]["n_human"] == len(labels)
        assert again["sections"]["judge"]["agreement"] == 1.0
        assert len(server.requests) < 2 * asked  # answers keep their grades, only the controls are asked again
    (desk / "openbook.toml").write_text(settings)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--arm", "tuned"), 1, "needs a fine-tuned adapter"),
        (("--arm", "shouted"), 2, "does not exist"),
        (("--primary", "beauty"), 2, "does not exist"),
        (("--primary", "judge"), 2, "decide"),
        (("--tuned", "nobody"), 1, "nobody"),
        (("--again", "never"), 2, "--cases"),
        (("--fail-if", "answer_correct drops > 2pp"), 2, "--against"),
        (("--labels", "questions.jsonl"), 2, "--judge"),
    ],
)
def test_wrong_use_is_one_sentence(desk: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = openbook("compare", "--cases", "questions.jsonl", *QUICK, *words, cwd=desk, expect=code)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        ('{"question": "Who?", "id": "a"}\n', 1, "answer"),
        ('{"question": "Who?", "answer": "x", "id": "a"}\n{"question": "Why?", "answer": "y", "id": "a"}\n', 0, "'a'"),
    ],
)
def test_broken_cases_are_named_and_nothing_usable_is_an_error(desk: Path, lines: str, code: int, said: str) -> None:
    (desk / "broken.jsonl").write_text(lines)
    done = openbook("compare", "--cases", "broken.jsonl", *QUICK, "--arm", "extractive", cwd=desk, expect=code)
    assert said in done.stderr


def test_a_report_that_is_not_there_is_named(desk: Path) -> None:
    assert "'never'" in openbook("compare", "--again", "never", cwd=desk, expect=1).stderr
    assert "no finished comparison ''" in openbook("compare", "--again", "", cwd=desk, expect=1).stderr


def test_a_report_of_another_format_is_refused(desk: Path) -> None:
    (desk / "other.json").write_text('{"format": 99}')
    done = openbook("compare", "--against", "other.json", "--fail-if", "rag: refusal < 1%", cwd=desk, expect=1)
    assert "format 99" in done.stderr
