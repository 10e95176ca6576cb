"""The English verbs the rules know, form -> base form; a word that is not here is no verb to them. Data and spelling.

A tagger would know more verbs. The permissive ones need a model that is downloaded (docs/decisions/0090).
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

BE = frozenset({"is", "are", "was", "were"})
HAVE = frozenset({"has", "have", "had"})
MODAL = frozenset({"will", "would", "can", "could", "may", "might", "must", "shall", "should"})
AUXILIARY = BE | HAVE | MODAL

_REGULAR = """
accept accompany account accrue achieve acquire act adapt add address adjust administer adopt advance affect aim
allocate allow amend announce answer appear appoint apply appoint approve argue arise arrive assist attack attempt
attend attract award ban base believe belong benefit border broadcast calculate call cancel capture carry cause cease
celebrate chair change charge claim close co-found coin collect combine command commission compete compile complete
comprise conclude conduct confirm connect conquer consider consist construct contain continue contribute control
convert convince cooperate copy count cover create cross date deal debate decide declare decline decrease defeat
define delay deliver demand demonstrate depend deploy derive describe design desire destroy determine develop devise
die differ direct discharge discover discuss display divide dominate donate double earn edit elect eliminate embrace
emerge employ enable encompass encourage end enforce enhance enjoy enter establish estimate evaluate evolve examine
exceed exercise fail figure fit! focus exhibit exist expand expect experience expire explain exploit explore export
express extend favor feature fill finance finish flourish follow force form fund gain gather generate govern graduate
grant guarantee happen head help hire host house identify ignite implement import impose improve include incorporate
increase indicate influence inhabit initiate inspire install instruct integrate intend introduce invade invent invest
invite involve issue join judge kill label lack land last launch learn license limit link list live locate maintain
manage mandate manufacture mark marry measure mention migrate monitor move name notify number observe obtain occupy
occur offer open operate oppose order organize originate own paint participate pass permit place plan! play possess
practice praise predict prefer! prepare present preserve prevent process produce prohibit promise promote propose
protect prove provide publish purchase pursue qualify raise range rank ratify reach realize receive recognize
recommend record recover recruit reduce reflect refuse reimburse reject relate release rely remain remove rename renew
rent reopen repair replace report represent request require rescue reserve resign resist resolve respond restore
result resume retain retire return reveal review reward roam rule save schedule score search secure seize serve settle
share show sign solve sponsor stabilize start state stay stop! study submit! subsidize succeed suffer suggest
supplement supply support surrender surround survive target tend terminate test total trace track trade train
transfer! translate transmit! travel treat trigger try turn unify unite update use utilize value vary vest view
violate visit vote wait waive walk want warn waste weigh widen work yield
""".split()
_IRREGULAR = """
become became become|begin began begun|break broke broken|bring brought brought|build built built|buy bought bought
catch caught caught|choose chose chosen|come came come|cost cost cost|cut cut cut|draw drew drawn|drive drove driven
eat ate eaten|fall fell fallen|feed fed fed|fight fought fought|find found found|fly flew flown|forbid forbade forbidden
get got gotten|give gave given|go went gone|grow grew grown|hold held held|keep kept kept|know knew known|lay laid laid
lead led led|leave left left|lend lent lent|lie lay lain|lose lost lost|make made made|mean meant meant|meet met met
oversee oversaw overseen|pay paid paid|put put put|rise rose risen|run ran run|say said said|see saw seen|sell sold sold
send sent sent|set set set|shoot shot shot|show showed shown|sing sang sung|speak spoke spoken|spend spent spent
split split split|spread spread spread|stand stood stood|strike struck struck|take took taken|teach taught taught
tell told told|think thought thought|throw threw thrown|undergo underwent undergone|win won won|write wrote written
arise arose arisen|withdraw withdrew withdrawn|seek sought sought|overthrow overthrew overthrown
""".replace("\n", "|").split("|")


class Form(NamedTuple):
    """A verb's form."""

    base: str
    tense: Literal["past", "s", "base"]


@cache
def forms() -> dict[str, Form]:
    """Finite forms: "founded" -> ("found"...). A form that is both past and base ("cost") counts as base."""
    table: dict[str, Form] = {}
    for entry in _REGULAR:
        base = entry.rstrip("!")
        table.setdefault(_ed(base, doubled=entry.endswith("!")), Form(base, "past"))
        table.setdefault(_s(base), Form(base, "s"))
        table.setdefault(base, Form(base, "base"))
    for entry in _IRREGULAR:
        if entry.strip():
            base, past, _ = entry.split()
            table[_s(base)] = Form(base, "s")
            table[past] = Form(base, "past")
            table[base] = Form(base, "base")
    table["founded"], table["founds"] = Form("found", "past"), Form("found", "s")
    return table


@cache
def participles() -> frozenset[str]:
    """Past participles: "written", "founded", "been"."""
    regular = {_ed(entry.rstrip("!"), doubled=entry.endswith("!")) for entry in _REGULAR}
    return frozenset(
        regular | {entry.split()[2] for entry in _IRREGULAR if entry.strip()} | {"been", "founded", "born"}
    )


def _ed(base: str, *, doubled: bool) -> str:
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ied"
    return base + (base[-1] if doubled else "") + "ed"


def _s(base: str) -> str:
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ies"
    return base + ("es" if base.endswith(("s", "x", "z", "ch", "sh", "o")) else "s")
