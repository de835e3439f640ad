"""Who is in a story: where each name comes, how it is introduced, and which names drift in.

A *name* is a capitalised word of the name list (:func:`storyteller.engine.lexicon.names`) in the middle of a sentence; where a
sentence starts, a word that is also a common word (``Hope``, ``Will``) counts only if it is a name elsewhere in the story.
A word that the story itself gives as a name (``a dragon named Zog``) is one throughout.

A name *drifts* when it is first seen after the first third of the story (of its words), as the subject of a clause, with no
introduction: the sign of a model that has forgotten whom it tells about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from storyteller.engine import lexicon
from storyteller.engine.lexicon import word_set

Introduction = Literal["named", "called", "greeting", "role"]

FIRST_PART = 1 / 3


@dataclass(frozen=True, slots=True)
class NameSeen:
    """One place of a name: characters ``start`` to ``end`` of the text, a possessive ``'s`` left out.

    ``introduced`` says how this place makes the name known: by ``named`` or ``name is``, by ``called``, by a greeting, or by a role
    beside it (``her friend Sam``, ``Sam the fox``, ``Sam, a small fox``); ``subject`` whether a clause is about it;
    ``share`` how much of the story's words comes before, 0 to 1.
    """

    name: str
    start: int
    end: int
    introduced: Introduction | None
    subject: bool
    share: float


@dataclass(frozen=True, slots=True)
class Drift:
    """A name that comes late, as a subject and unintroduced: its first place and the share of the story before it."""

    name: str
    start: int
    end: int
    share: float


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int
    after_space: bool

    @property
    def is_word(self) -> bool:
        return self.text[0].isalpha()

    @property
    def base(self) -> str:
        return _POSSESSIVE.sub("", self.text)

    @property
    def low(self) -> str:
        return self.text.lower().replace("’", "'")


_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|[^\w\s]|\n|\d+")
_POSSESSIVE = re.compile(r"['’]s$")
_QUOTES = frozenset("\"'“”‘’")
_SENTENCE_ENDS = frozenset(".!?…:\n") | _QUOTES
_ARTICLES = word_set("a an the his her their its my our your")
_GREETINGS = word_set("hello hi hey bye goodbye welcome dear thanks meet i'm")
_ROLES = word_set(
    """
    aunt auntie baby bear bee bird boy brother bug bunny butterfly captain cat child cousin cow dad daddy daughter dinosaur doctor dog
    doll dr dragon duck elephant fairy farmer father fish fox friend friends frog ghost giraffe girl goat grandfather grandma
    grandmother grandpa hedgehog horse kid king kitten knight lady lion man mermaid miss mister mom mommy monkey monster mother mouse
    mr mrs ms mum mummy neighbor neighbour nurse otter owl parrot penguin pet pig pirate pony prince princess puppy queen rabbit robot
    sheep sir sister snail snake son spider squirrel teacher tiger toy turtle twin twins uncle unicorn whale witch wizard wolf woman
    worm
    """
)
_TITLES = word_set("aunt auntie captain cousin doctor dr grandma grandpa king lady miss mister mr mrs ms prince princess queen sir uncle")
_CLAUSE_STARTS = word_set(
    "after and as because before but however if later meanwhile now once since so soon suddenly that then though until when where while yet"
)
_SAYING = word_set(
    """
    added agreed answered asked begged called cheered cried exclaimed giggled laughed mumbled replied said says screamed shouted
    sighed smiled sobbed squeaked thought told whispered yelled
    """
)
_NO_VERB = word_set(
    """
    about across after against along and around as at because before behind below beside between but by down during for from in inside
    into like near nor of off on or out outside over past than the through till to toward towards under until up upon when while with
    without
    """
)


def names(text: str) -> list[NameSeen]:
    """Every place of every name in ``text``, in order."""
    tokens = _tokens(text)
    words_before = [0]
    for token in tokens:
        words_before.append(words_before[-1] + token.is_word)
    total = max(words_before[-1], 1)
    known = _known_names(tokens)
    seen: list[NameSeen] = []
    introduced: dict[int, Introduction] = {}
    subjects: set[int] = set()
    for place, token in enumerate(tokens):
        name = token.base
        if name not in known:
            continue
        listed_after = _listed_after(tokens, place)
        how = _introduction(tokens, place)
        if how is None and listed_after is not None:
            how = introduced.get(listed_after)
        if how is not None:
            introduced[place] = how
        if _is_subject(tokens, place, known) or listed_after in subjects:
            subjects.add(place)
        seen.append(NameSeen(name, token.start, token.start + len(name), how, place in subjects, words_before[place] / total))
    return seen


def name_drift(text: str) -> list[Drift]:
    """The names that drift into ``text``, in the order of their first places."""
    drifts, met = [], set[str]()
    for seen in names(text):
        if seen.name not in met and seen.share > FIRST_PART and seen.subject and seen.introduced is None:
            drifts.append(Drift(seen.name, seen.start, seen.end, seen.share))
        met.add(seen.name)
    return drifts


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    for match in _TOKEN.finditer(text):
        after_space = match.start() == 0 or text[match.start() - 1].isspace()
        tokens.append(_Token(match.group(), match.start(), match.end(), after_space))
    return tokens


def _known_names(tokens: list[_Token]) -> set[str]:
    known: set[str] = set()
    for place, token in enumerate(tokens):
        name = token.base
        if not (token.is_word and name[0].isupper() and len(name) > 1):
            continue
        common = lexicon.is_word(name)
        if lexicon.is_name(name):
            if not (common and _starts_sentence(tokens, place)):
                known.add(name)
        elif not common and _introduction(tokens, place) in ("named", "called"):
            known.add(name)
    return known


def _starts_sentence(tokens: list[_Token], place: int) -> bool:
    return place == 0 or tokens[place - 1].text in _SENTENCE_ENDS


def _before(tokens: list[_Token], place: int, count: int) -> list[str]:
    """The ``count`` tokens before ``place``, nearest first, in lower case; "" past the start."""
    return [tokens[place - step].low if place >= step else "" for step in range(1, count + 1)]


def _introduction(tokens: list[_Token], place: int) -> Introduction | None:
    first, second, third = _before(tokens, place, 3)
    if first == "named" or (first in ("is", "was", "are", "were", "be") and second in ("name", "names")) or first == "name's":
        return "named"
    if first == "called" and tokens[place - 1].after_space and second not in _QUOTES:
        return "called"
    if first == "," and second in _GREETINGS | {"you"} and (second != "you" or third == "thank"):
        return "greeting"
    if first in _GREETINGS or (first == "am" and second == "i") or (first == "is" and second == "this"):
        return "greeting"
    return "role" if _has_role(tokens, place) else None


def _has_role(tokens: list[_Token], place: int) -> bool:
    at = place - 1
    if at >= 0 and tokens[at].text == "." and at >= 1 and tokens[at - 1].low in _TITLES:
        return True
    if at >= 0 and tokens[at].low in _TITLES:
        return True
    if at >= 0 and tokens[at].text == ",":
        at -= 1
    if at >= 0 and tokens[at].low in _ROLES:
        described = [tokens[near].low for near in range(max(0, at - 3), at)]
        if any(word in _ARTICLES for word in described) and not any(word in _SENTENCE_ENDS for word in described):
            return True
    following = [tokens[near].low if near < len(tokens) else "" for near in range(place + 1, place + 3)]
    return following[0] == "the" or (following[0] == "," and following[1] in _ARTICLES)


def _listed_after(tokens: list[_Token], place: int) -> int | None:
    """The place of the name before this one in a list: "Tom and Lily", "Tom, Lily, and Max"; None if there is none."""
    before = place - 1
    if before >= 0 and tokens[before].low == "and":
        before -= 2 if before >= 1 and tokens[before - 1].text == "," else 1
    elif before >= 0 and tokens[before].text == "," and place + 1 < len(tokens) and tokens[place + 1].low in (",", "and"):
        before -= 1
    else:
        return None
    return before if before >= 0 and lexicon.is_name(tokens[before].text) else None


def _is_subject(tokens: list[_Token], place: int, known: set[str]) -> bool:
    token = tokens[place]
    if token.text != token.base:
        return False
    first, second = _before(tokens, place, 2)
    if first in _SAYING and second in _QUOTES:
        return True
    if not (_starts_sentence(tokens, place) or first in (",", ";", "-", "—", "–") or first in _CLAUSE_STARTS):
        return False
    at = place + 1
    while at + 1 < len(tokens) and tokens[at].low in ("and", ",") and tokens[at + 1].text in known:
        at += 2
    if at >= len(tokens):
        return False
    following = tokens[at]
    return following.is_word and following.text.islower() and following.text not in _NO_VERB
