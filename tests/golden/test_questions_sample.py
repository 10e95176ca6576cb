"""What one small document gives, word for word: a change of the rules shows here."""

from openbook import questions
from openbook.settings import Reading
from tests.questions_library import MemoryLibrary

TEXT = """# Travel

## Hotels

The Oakland office of Clef opened in 2013 with three founders.
Employees of Clef may spend up to $180 per night on a hotel.
If a flight to Oakland is cancelled, you should call the travel desk of Clef.

| Class | Price |
|---|---|
| Coach | $52 |
| First | $97 |

## Who approves a journey?

The operations manager of Clef approves it within two days.
"""


def test_a_travel_policy_gives_these_questions() -> None:
    built = questions.build(MemoryLibrary({"travel.md": TEXT}), settings=Reading())
    assert sorted((case.question, case.gold[0]) for case in built.cases if not case.history) == [
        ("Employees of Clef may spend how much per night on a hotel?", "$180"),
        ("The Oakland office of Clef opened in 2013 with how many founders?", "three"),
        ('What do the documents say about "Hotels"?', "The Oakland office of Clef opened in 2013 with three founders."),
        ("What is the price of Coach?", "$52"),
        ("What is the price of First?", "$97"),
        ("What should you do if a flight to Oakland is cancelled?", "you should call the travel desk of Clef"),
        ("When did the Oakland office of Clef open with three founders?", "2013"),
    ]
