"""Facts of everyday kinds, each told and asked in several wordings, so that a policy cannot memorize one.

The birthplace of Ada Torvel is Marneck.  |  Ada Torvel was born in Marneck.  |  …
Where was Ada Torvel born?                |  What is Ada Torvel's birthplace?  |  …
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from memagent.tasks.vocabulary import adjective, noun

_FIRST = (
    "Ada Amir Anton Bela Carla Cedric Dora Edwin Elena Farid Flora Gaspar Greta Hugo Ida Igor Ines Jonas Judith Karim "
    "Lena Leon Mabel Nadia Nils Olga Oscar Petra Quentin Rosa Ruben Selma Simon Tessa Tomas Ulla Victor Wanda Yusuf"
).split()
_ONSETS = "B Br C D F G Gr H J K L M N P R S St T Tr V W Z".split()
_MIDDLES = "al an ar el en er il in ol on or ul un ur".split()
_ENDS = (
    "bach berg by den dor feld ford gate ham hill ik ing ley mar mere mont na ova ra rick ros sen stad ton vel".split()
)
_JOBS = (
    "baker|beekeeper|bookbinder|carpenter|chemist|clockmaker|dentist|diver|florist|gardener|glazier|interpreter|judge|"
    "librarian|locksmith|midwife|pilot|plumber|potter|shepherd|surveyor|tailor|translator|weaver"
).split("|")
_COLOURS = "amber black blue brown crimson gold green grey orange pink purple red silver turquoise white yellow".split()
_ANIMALS = "camel cat dog donkey falcon goat goose hare horse llama owl parrot pony rabbit raven tortoise".split()
_DISHES = (
    "apple pie|barley soup|bean stew|cheese dumplings|cherry cake|fish curry|fried rice|garlic bread|lentil salad|"
    "mushroom risotto|onion tart|pea soup|plum pudding|potato gratin|roast duck|stuffed peppers"
).split("|")
_MONTHS = "January February March April May June July August September October November December".split()

Draw = Callable[[random.Random], str]


def person(draw: random.Random) -> str:
    return f"{draw.choice(_FIRST)} {_syllables(draw)}"


def town(draw: random.Random) -> str:
    return _syllables(draw)


def _syllables(draw: random.Random) -> str:
    middle = "".join(draw.choices(_MIDDLES, k=draw.choice([1, 1, 2])))
    return draw.choice(_ONSETS) + middle + draw.choice(_ENDS)


def thing(draw: random.Random) -> str:
    return f"{adjective(draw)} {noun(draw)}"


def number(draw: random.Random) -> str:
    digits = draw.randint(2, 7)
    return str(draw.randrange(10 ** (digits - 1), 10**digits))


def year(draw: random.Random) -> str:
    return str(draw.randint(1400, 2020))


def day(draw: random.Random) -> str:
    return f"{draw.randint(1, 28)} {draw.choice(_MONTHS)} {draw.randint(1700, 2030)}"


def hour(draw: random.Random) -> str:
    return f"{draw.randint(1, 23)}:{draw.randint(0, 59):02}"


def secret(draw: random.Random) -> str:
    return f"{adjective(draw)}-{noun(draw)}"


def one_of(choices: list[str]) -> Draw:
    return lambda draw: draw.choice(choices)


@dataclass(frozen=True, slots=True)
class Kind:
    """Wordings for one kind of fact: {s} stands for the subject and {v} for the value."""

    subject: Draw
    value: Draw
    told: tuple[str, ...]
    asked: tuple[str, ...]


KINDS = (
    Kind(
        person,
        town,
        ("{s} was born in {v}.", "The birthplace of {s} is {v}.", "It was in {v} that {s} was born."),
        ("Where was {s} born?", "What is {s}'s birthplace?", "In which town was {s} born?"),
    ),
    Kind(
        person,
        one_of(_JOBS),
        ("{s} works as a {v}.", "By profession, {s} is a {v}.", "For many years {s} earned a living as a {v}."),
        ("What does {s} do for a living?", "What is the profession of {s}?", "As what does {s} work?"),
    ),
    Kind(
        person,
        day,
        ("{s} arrived on {v}.", "On {v}, {s} arrived at last.", "The day of {s}'s arrival was {v}."),
        ("When did {s} arrive?", "On which day did {s} arrive?", "What was the date of {s}'s arrival?"),
    ),
    Kind(
        person,
        one_of(_DISHES),
        (
            "{s} likes nothing better than {v}.",
            "The favourite dish of {s} is {v}.",
            "If you ask {s} what to cook, it is {v}.",
        ),
        ("What is {s}'s favourite dish?", "Which dish does {s} like best?", "What does {s} like to eat most?"),
    ),
    Kind(
        person,
        number,
        ("{s} lives in room {v}.", "The number on {s}'s door is {v}.", "You will find {s} in room {v}."),
        ("In which room does {s} live?", "What is the number of {s}'s room?", "Where can {s} be found?"),
    ),
    Kind(
        person,
        one_of(_ANIMALS),
        ("{s} keeps a {v}.", "The animal that {s} keeps is a {v}.", "A {v} lives with {s}."),
        ("Which animal does {s} keep?", "What kind of animal lives with {s}?", "What pet does {s} have?"),
    ),
    Kind(
        person,
        person,
        ("{s} is married to {v}.", "{v} is the spouse of {s}.", "Some years ago {s} married {v}."),
        ("Who is {s} married to?", "What is the name of {s}'s spouse?", "Whom did {s} marry?"),
    ),
    Kind(
        thing,
        number,
        ("The access code of the {s} is {v}.", "To open the {s}, enter {v}.", "{v} is the code that opens the {s}."),
        ("What is the access code of the {s}?", "Which code opens the {s}?", "What must be entered to open the {s}?"),
    ),
    Kind(
        thing,
        person,
        ("The {s} belongs to {v}.", "{v} is the owner of the {s}.", "Everybody knows that {v} owns the {s}."),
        ("Who owns the {s}?", "To whom does the {s} belong?", "Who is the owner of the {s}?"),
    ),
    Kind(
        thing,
        number,
        (
            "The {s} was sold for {v} crowns.",
            "Somebody paid {v} crowns for the {s}.",
            "The price of the {s} was {v} crowns.",
        ),
        ("For how many crowns was the {s} sold?", "What was the price of the {s}?", "How much was paid for the {s}?"),
    ),
    Kind(
        thing,
        one_of(_COLOURS),
        ("The {s} was painted {v}.", "They painted the {s} {v}.", "The colour of the {s} is {v}."),
        ("What colour is the {s}?", "In which colour was the {s} painted?", "Which colour does the {s} have?"),
    ),
    Kind(
        thing,
        year,
        (
            "The {s} was found in {v}.",
            "It was in {v} that the {s} came to light.",
            "The year in which they found the {s} was {v}.",
        ),
        ("When was the {s} found?", "In which year did the {s} come to light?", "In what year was the {s} found?"),
    ),
    Kind(
        thing,
        town,
        ("The {s} is kept in {v}.", "In {v} one can see the {s}.", "They took the {s} to {v}, where it is still."),
        ("Where is the {s} kept?", "In which town can one see the {s}?", "Where is the {s}?"),
    ),
    Kind(
        town,
        secret,
        (
            "The password for {s} is {v}.",
            "Who wants to enter {s} must say {v}.",
            "At the gates of {s} the password is {v}.",
        ),
        (
            "What is the password for {s}?",
            "What must one say to enter {s}?",
            "Which password is used at the gates of {s}?",
        ),
    ),
    Kind(
        town,
        hour,
        ("The train to {s} leaves at {v}.", "At {v} the train for {s} departs.", "Passengers to {s} leave at {v}."),
        (
            "When does the train to {s} leave?",
            "At what time does the train for {s} depart?",
            "What is the departure time of the train to {s}?",
        ),
    ),
    Kind(
        town,
        person,
        ("The mayor of {s} is {v}.", "{v} was elected mayor of {s}.", "In {s} they chose {v} as their mayor."),
        ("Who is the mayor of {s}?", "Who was elected mayor of {s}?", "What is the name of the mayor of {s}?"),
    ),
    Kind(
        town,
        number,
        ("{s} has {v} inhabitants.", "The number of people who live in {s} is {v}.", "{v} people live in {s}."),
        ("How many inhabitants does {s} have?", "How many people live in {s}?", "What is the population of {s}?"),
    ),
)
