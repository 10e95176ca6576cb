"""What the rules make of sentences, headings and tables."""

import pytest

from openbook.questions import cloze, english, headings, inplace, tables
from openbook.questions.draft import plain
from openbook.questions.facts import facts
from openbook.questions.sentences import ask


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        ("Clef was founded in 1990.", "When was Clef founded?", "1990"),
        (
            "In 1986, Nixon named Simon as the first Administrator.",
            "When did Nixon name Simon as the first Administrator?",
            "1986",
        ),
        ("The museum opened on 4 May 1921 in Leeds.", "When did the museum open in Leeds?", "4 May 1921"),
        ("The basic plan costs $5 per month.", "How much does the basic plan cost per month?", "$5"),
        ("Clef also offers 12 weeks of paid leave.", "How many weeks of paid leave does Clef offer?", "12"),
        (
            "Over 60% of Norway's population died in 1349.",
            "What percentage of Norway's population died in 1349?",
            "60%",
        ),
        (
            "Thirty-seven larger epidemics were recorded in Leeds.",
            "How many larger epidemics were recorded in Leeds?",
            "Thirty-seven",
        ),
        ("There were 281 schools in the old town.", "How many schools were there in the old town?", "281"),
        ("The bridge was designed by John Smith.", "Who was the bridge designed by?", "John Smith"),
        (
            "Polonia's home venue is located at Konwiktorska Street.",
            "Where is Polonia's home venue located?",
            "Konwiktorska Street",
        ),
        ("A cliff is a period at the start of vesting.", "What is a cliff?", "a period at the start of vesting"),
        ("The first plan failed because parts were missing.", "Why did the first plan fail?", "parts were missing"),
        (
            "If a holiday falls on a Saturday, we will observe it on the Friday before.",
            "What happens if a holiday falls on a Saturday?",
            "we will observe it on the Friday before",
        ),
        (
            "Employees should give the team notice before they take parental leave.",
            "What should employees do before they take parental leave?",
            "give the team notice",
        ),
    ],
)
def test_a_sentence_gives_the_question_a_person_would_ask(sentence: str, question: str, answer: str) -> None:
    found = {sentence[one.start : one.end]: one.question for one in ask(sentence, frozenset())}
    assert found.get(answer) == question


@pytest.mark.parametrize(
    "sentence",
    [
        "It was founded in 1990.",
        "They have not sold 12 houses in Leeds.",
        "Voters registered in 2010 were asked in 2012 again.",
        "Der Verein wurde 1990 in Berlin gegründet.",
        "Lea arrived with apples, pears and 12 plums in 1990 and 1991.",
        "Was it founded in 1990?",
    ],
)
def test_a_sentence_that_stands_not_alone_gives_none(sentence: str) -> None:
    assert [one.question for one in ask(sentence, frozenset())] == []


def test_the_question_can_stand_in_the_place_of_the_fact() -> None:
    text = "The sales team of Clef has to visit about 40 customers each quarter."
    (one,) = inplace.ask(text)
    assert (one.question, text[one.start : one.end]) == (
        "The sales team of Clef has to visit how many customers each quarter?",
        "40",
    )


def test_facts_are_told_apart_by_kind() -> None:
    text = "On 4 May 1921 Anna Lee paid $5.50, 3.5% of 1,200 shares."
    assert [(one.kind, text[one.start : one.end]) for one in facts(text)] == [
        ("date", "4 May 1921"),
        ("name", "Anna Lee"),
        ("money", "$5.50"),
        ("percent", "3.5%"),
        ("number", "1,200"),
    ]


def test_a_blank_shows_only_a_window_of_the_sentence() -> None:
    text = (
        "Ein Platz in der Herberge am See kostet für jedes Mitglied des Vereins 45 € in der Nacht, im Winter weniger."
    )
    (draft,) = cloze.cloze(plain(text, 0, len(text)))
    assert text[draft.start : draft.end] == "45 €"
    assert draft.question.startswith(
        "Fill in the blank: ... See kostet für jedes Mitglied des Vereins ____ in der Nacht"
    )


def test_marks_are_left_out_and_places_stay_exact() -> None:
    text = "We have **4,662** [shares](https://x.org/a_(b)) of `stock`."
    clean = plain(text, 0, len(text))
    assert clean.text == "We have 4,662 shares of stock."
    start = clean.text.index("4,662")
    left, right = clean.span(start, start + 5)
    assert text[left:right] == "4,662"
    assert clean.exact(start, start + 5)
    assert not clean.exact(start, start + 12)


FAQ = """# Help

## How do I reset my password?

Press "Forgot" on the sign-in page. Then wait.

**Q: Who pays for travel?**
A: Your own department pays.

1. Not a question

**Board seats:** Investors may elect two members of the board.

## Travel expenses

Keep every receipt for at least ten years, please.
"""


def test_faq_lines_terms_and_headings_are_asked_with_the_sentence_below() -> None:
    found = {one.question: FAQ[one.start : one.end] for one in headings.questions(FAQ, "Help", english=True)}
    assert found == {
        "How do I reset my password?": 'Press "Forgot" on the sign-in page.',
        "Who pays for travel?": "Your own department pays.",
        'What is said about "Board seats"?': "Investors may elect two members of the board.",
        'What does "Help" say about "Travel expenses"?': "Keep every receipt for at least ten years, please.",
    }


def test_headings_of_another_language_are_taken_only_when_they_ask() -> None:
    text = "# Hilfe\n\n## Wer zahlt die Reise?\n\nDie Firma zahlt.\n\n## Kosten\n\nBitte jeden Beleg lange aufheben.\n"
    assert [one.question for one in headings.questions(text, "", english=False)] == ["Wer zahlt die Reise?"]


def test_cells_of_markdown_and_html_tables_are_asked_for() -> None:
    text = (
        "| Plan | Price | Free days |\n|---|---|---|\n| Basic | $5 | 3 |\n\n"
        "<table><tr><td>Labor Day</td><td>May 1</td></tr>\n"
        "<tr><td>New Year</td><td>January 1</td></tr></table>"
    )
    found = {one.question: text[one.start : one.end] for one in tables.questions(text, english=True)}
    assert found == {
        "What is the price of Basic?": "$5",
        'What is given under "Free days" for "Basic"?': "3",
        "When is Labor Day?": "May 1",
        "When is New Year?": "January 1",
    }
    german = "| Tarif | Preis |\n|---|---|\n| Basis | 5 € |\n"
    assert [one.question for one in tables.questions(german, english=False)] == ["Basis: Preis?"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The committee meets every month and decides on the budget of the next year.", True),
        ("Das Komitee tagt jeden Monat und entscheidet über den Haushalt des nächsten Jahres.", False),
        ("Le comité se réunit chaque mois et décide du budget de l'année suivante.", False),
        ("El comité se reúne cada mes y decide sobre el presupuesto del próximo año.", False),
        ("委員会は毎月開かれ、翌年の予算を決定する。", False),
    ],
)
def test_english_is_told_by_its_function_words(text: str, expected: bool) -> None:
    assert english.is_english(text) is expected
