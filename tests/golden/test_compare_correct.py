"""What counts as a right answer, pair by pair, as a person judged it."""

from __future__ import annotations

import pytest

from openbook.compare.score import correct
from openbook.records import Case

RIGHT = [
    ("15 days", "You get 15 days of leave [1]."),
    ("15 days", "Fifteen days."),
    ("15 days", "Full-time colleagues get 15 days, part-time ones 10 days."),
    ("three months", "Up to 3 months, unpaid."),
    ("€62", "The allowance is 62 euros."),
    ("62 euros", "It is €62 abroad and €28 at home."),
    ("$5,000", "They cover up to 5000 dollars."),
    ("85%", "About 85 percent do."),
    ("5 March 2024", "It opened on March 5th, 2024."),
    ("2024-03-05", "On 5 March 2024."),
    ("5:30 pm", "The desk closes at 17:30."),
    ("9 am", "It opens at 9 a.m. every day."),
    ("Ada Lovelace", "That was Ada Lovelace, the mathematician."),
    ("Human Resources", "Ask human resources."),
    ("the project lead", "Your project lead approves it."),
    (
        "Expenses above 500 euros need the approval of the finance team",
        "The finance team has to approve expenses above €500.",
    ),
    ("45–50 hours", "Between these, 45 to 50 hours."),
    ("no", "No, that is not covered."),
    ("no", "There is no such limit."),
    ("yes", "The answer is yes."),
    ("£5 million", "It cost £5m."),
    ("$1.5 million", "It cost $1,500,000."),
    ("16,000 people", "About 16 thousand people came."),
    ("5 million euros", "It was €5 million."),
]
WRONG = [
    ("15 days", "You get 115 days."),
    ("15 days", "You get 16 days."),
    ("15 days", "15 weeks."),
    ("15 days", ""),
    ("€62", "62 dollars"),
    ("$5,000", "$5,500"),
    ("5 March 2024", "5 April 2024"),
    ("5 March 2024", "15 March 2024"),
    ("5:30 pm", "5:30 am"),
    ("1.5 days", "15 days"),
    ("15 days", "It was 10 days before, now it is 15 days."),
    ("Ada Lovelace", "Ada wrote it."),
    ("no", "Yes, there is no limit."),
    ("yes", "No. Yes is what people think."),
    ("£5", "It cost £5m."),
    (
        "Expenses above 500 euros need the approval of the finance team",
        "Expenses above 600 euros need the approval of the finance team.",
    ),
    (
        "Expenses above 500 euros need the approval of the finance team",
        "Expenses above 500 euros do not need the approval of the finance team.",
    ),
    ("15 days", "It may be 10, 11, 12, 13, 14, 15, 16, 17 or 18 days."),
    ("Human Resources", "Human " + "and many other words of the handbook " * 20 + "Human Resources."),
]


@pytest.mark.parametrize(("gold", "reply"), RIGHT)
def test_a_right_answer_counts_in_whatever_words(gold: str, reply: str) -> None:
    assert correct(Case("How much is it?", gold=(gold,), stale=("10 weeks",)), reply)


@pytest.mark.parametrize(("gold", "reply"), WRONG)
def test_a_wrong_number_a_stale_value_and_a_dump_do_not_count(gold: str, reply: str) -> None:
    assert not correct(Case("How much is it?", gold=(gold,), stale=("10 days",)), reply)
