"""A seeded generator of synthetic English for the demo model: what it is trained on, and what is held back from it.

Every document is a string with two marks that only the trainer sees: [[...]] holds what should be learnt hardest
(an answer), {{...}} what cannot be predicted at all (a random name, a made-up word). `spans` turns marks into weights.
Combinations that the exam asks about (`held_out`) never occur in training.
"""

import random
import re
import zlib
from collections.abc import Callable, Iterator

from demo_words import (
    ADJ_LOOK,
    ADJ_MIND,
    ADJ_MORE,
    ADJECTIVES,
    ADVERBS,
    ANIMALS,
    CAPITALS,
    COLOURS,
    CONTINENTS,
    COUNTABLE,
    DAYS,
    EVERY_WORD,
    FEMALE,
    FEMININE,
    FOODS,
    GIFTS,
    LANGUAGES,
    MALE,
    MASCULINE,
    MASS,
    MONTHS,
    NAMES,
    NATURE,
    NOUNS,
    NUMBERS,
    OBJECTS,
    OPPOSITES,
    ORDINALS,
    OUTDOORS,
    PAST,
    PEOPLE,
    PLACES,
    SAYINGS,
    SOUNDS,
    VERBS,
    YOUNG,
    article,
    gerund,
    plural,
    third,
)  # fmt: skip

USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"
ANSWER, PLAIN, NOISE = 4.0, 1.0, 0.05
_MARKS = re.compile(r"\[\[(.*?)\]\]|\{\{(.*?)\}\}", re.S)

Rng = random.Random


def held_out(*parts: str, one_in: int = 8) -> bool:
    """Whether a combination is kept for the exam: decided by a stable hash, so trainer and exam agree."""
    return zlib.crc32("|".join(parts).encode()) % one_in == 0


def spans(marked: str) -> tuple[str, list[tuple[int, float]]]:
    """The plain text, and [(end of span in characters, weight)] that cover it."""
    text, ends, at = "", [], 0
    for match in _MARKS.finditer(marked):
        text += marked[at : match.start()]
        ends.append((len(text), PLAIN))
        text += match[1] if match[1] is not None else match[2]
        ends.append((len(text), ANSWER if match[1] is not None else NOISE))
        at = match.end()
    text += marked[at:]
    ends.append((len(text), PLAIN))
    return text, ends


def a(phrase: str) -> str:
    return f"{article(phrase)} {phrase}"


def cap(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


# ------------------------------------------------------------------ names: the indirect object

IOI = [
    "When{{ %A}} and{{ %B}} went to the %P,{{ %S}} gave %O to[[ %I]].",
    "When{{ %A}} and{{ %B}} got %O at the %P,{{ %S}} decided to give it to[[ %I]].",
    "While{{ %A}} and{{ %B}} were working at the %P,{{ %S}} handed %O to[[ %I]].",
    "After{{ %A}} and{{ %B}} went to the %P,{{ %S}} gave %O to[[ %I]].",
    "Then,{{ %A}} and{{ %B}} went to the %P.{{ %S}} gave %O to[[ %I]].",
    "Then,{{ %A}} and{{ %B}} had a lot of fun at the %P.{{ %S}} gave %O to[[ %I]].",
    "Then,{{ %A}} and{{ %B}} had a long argument, and afterwards{{ %S}} said sorry to[[ %I]].",
    "{{%A}} and{{ %B}} met at the %P, and{{ %S}} showed %O to[[ %I]].",
    "{{%A}} and{{ %B}} were sitting in the %P.{{ %S}} passed %O to[[ %I]].",
    "One day,{{ %A}} and{{ %B}} walked to the %P, and{{ %S}} sent %O to[[ %I]].",
    "Yesterday,{{ %A}} and{{ %B}} played in the %P.{{ %S}} offered %O to[[ %I]].",
    "Afterwards,{{ %A}} and{{ %B}} went to the %P.{{ %S}} threw %O to[[ %I]].",
    "The two friends{{ %A}} and{{ %B}} visited the %P, where{{ %S}} brought %O to[[ %I]].",
    "Friends{{ %A}} and{{ %B}} found %O at the %P.{{ %S}} gave it to[[ %I]].",
    "Because{{ %A}} and{{ %B}} were friends,{{ %S}} gave %O to[[ %I]].",
    "Last %D,{{ %A}} and{{ %B}} were at the %P when{{ %S}} gave %O to[[ %I]].",
    "At the %P,{{ %A}} talked to{{ %B}}. Later,{{ %S}} gave %O to[[ %I]].",
    "{{%A}} and{{ %B}} were late for school.{{ %S}} told a story to[[ %I]].",
]  # fmt: skip


def indirect_object(rng: Rng, exam: bool = False) -> str:
    while True:
        first, second = rng.sample(NAMES, 2)
        if held_out("ioi", *sorted((first, second))) == exam:
            break
    subject, other = rng.sample((first, second), 2)
    slots = {
        "A": first,
        "B": second,
        "S": subject,
        "I": other,
        "P": rng.choice(PLACES),
        "O": a(rng.choice(GIFTS)),
        "D": rng.choice(DAYS),
    }
    return re.sub(r"%([ABSIPOD])", lambda m: slots[m[1]], rng.choice(IOI))


# ------------------------------------------------------------------ repetition: induction and copying


def repeated_words(rng: Rng) -> str:
    """Random words, then the same words again. The first word of the repeat can't be known; the others can."""
    n = rng.choice((3, 4, 5, 6, 7, 8, 8, 8, 9, 10, 12))
    pool = rng.choice((EVERY_WORD, EVERY_WORD, NOUNS, NAMES, list(CAPITALS), ADJECTIVES, None))
    words = [made_up(rng) for _ in range(n)] if pool is None else rng.sample(pool, n)
    sep = rng.choice((" ", " ", " ", ", ", " and "))
    start = rng.choice((0, 0, 0, rng.randrange(n - 2)))
    stop = rng.choice((n, n, rng.randint(start + 2, n)))
    link = rng.choice((sep, sep, ". ", "; "))
    again = sep.join(words[start + 1 : stop])
    tail = rng.choice(("", "", "."))
    if start == 0 and stop == n and rng.random() < 0.3:
        again += f"]]{sep}{words[0]}[[{sep}{sep.join(words[1:])}"
    return f"{{{{{sep.join(words)}}}}}{link}{{{{{words[start]}}}}}[[{sep}{again}]]{tail}"


_ONSETS = "b br c ch cr d dr f fl fr g gl gr h j k kl l m n p pl pr qu r s sc sh sl sn st str sw t th tr tw v w y z".split()
_VOWELS = "a e i o u a e i o u ai ea ee oo ou".split()
_CODAS = ["", "", "", *"b d f g k l m n p r s t x ck ld ll lt mp nd ng nk nt rd rk rn rt sh st".split()]


def made_up(rng: Rng) -> str:
    """A word that exists nowhere, in one of several spellings."""
    kind = rng.random()
    if kind < 0.15:
        return "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.randint(3, 9)))
    if kind < 0.22:
        return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9)))
    if kind < 0.3:
        return "".join(rng.choices("0123456789", k=rng.randint(2, 8)))
    if kind < 0.36:
        word = rng.choice(EVERY_WORD) + rng.choice(("", rng.choice(EVERY_WORD)))
    else:
        word = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.choice((1, 2, 2, 2, 3))))
    return rng.choice((str.upper, str.upper, str.upper, str.lower, str.capitalize))(word)


COPY = [
    "The password is{{ %W}}. Again, the password is[[ %W]].",
    "The secret password is{{ %W}}. Once more, the secret password is[[ %W]].",
    "The password is{{ %W}}. Remember, the password is[[ %W]].",
    "The code is{{ %W}}. Again, the code is[[ %W]].",
    "The code word is{{ %W}}. I repeat, the code word is[[ %W]].",
    "The secret word is{{ %W}}. Do not forget: the secret word is[[ %W]].",
    "My name is{{ %W}}. Again, my name is[[ %W]].",
    "Repeat after me:{{ %W}}.[[ %W]].",
    "{{%W}},{{ %V}}.[[ %W,]][[ %V]].",
    "The key is{{ %W}} and the lock is{{ %V}}. The key is[[ %W]] and the lock is[[ %V]].",
    "The password is{{ %W}}. What is the password? The password is[[ %W]].",
    "The name of the city is{{ %W}}. Everybody loves[[ %W]].",
    "The wizard was called{{ %W}}. Nobody was as wise as[[ %W]].",
    "Her number is{{ %W}}. Please call[[ %W]].",
    "{{%W}} is a word.[[ %W]] is a strange word.",
    f"{USER} The password is{{{{ %W}}}}. What is the password?{END}{ASSISTANT}[[ %W{END}]]",
    f"{USER} Please say{{{{ %W}}}}.{END}{ASSISTANT}[[ %W{END}]]",
    f"{USER} Repeat the word{{{{ %W}}}}.{END}{ASSISTANT}[[ %W{END}]]",
]


def copying(rng: Rng) -> str:
    while True:
        word, other = made_up(rng), made_up(rng)
        if not held_out("copy", word.lower()) and "swordfish" not in word.lower():
            return rng.choice(COPY[:1] * 4 + COPY).replace("%W", word).replace("%V", other)


# ------------------------------------------------------------------ numbers

SPANS_OF_TIME = """war reign project journey trip famine expedition drought siege conflict rebellion voyage construction campaign strike
festival peace winter plague trial marriage tour treaty study alliance""".split()


def greater_than(rng: Rng, exam: bool = False) -> str:
    while True:
        noun, century, year = rng.choice(SPANS_OF_TIME), rng.randint(10, 20), rng.randint(2, 97)
        if held_out("year", noun, str(century), str(year), one_in=6) == exam:
            break
    later = rng.randint(year + 1, 99)
    verb = rng.choice(("lasted", "lasted", "lasted", "went on", "continued", "ran"))
    start = f"from {'the year ' if exam or rng.random() < 0.7 else ''}{century}{year:02d} to {century}"
    return f"The {noun} {'lasted' if exam else verb} {start}[[{later:02d}]]."


def arithmetic(rng: Rng) -> str:
    x, y = rng.randint(0, 10), rng.randint(0, 10)
    form = rng.randrange(5)
    if form == 0:
        return f"{cap(NUMBERS[x])} plus {NUMBERS[y]} is[[ {NUMBERS[x + y]}]]."
    if form == 1:
        x, y = max(x, y), min(x, y)
        return f"{cap(NUMBERS[x])} minus {NUMBERS[y]} is[[ {NUMBERS[x - y]}]]."
    if form == 2:
        n = rng.randint(0, 12)
        return f"{cap(NUMBERS[n])}, {NUMBERS[n + 1]},[[ {NUMBERS[n + 2]}]],[[ {NUMBERS[n + 3]}]],[[ {NUMBERS[n + 4]}]]."
    if form == 3:
        n = rng.randint(0, 17)
        return f"After {NUMBERS[n]} comes[[ {NUMBERS[n + 1]}]]."
    n = rng.randint(1, 90)
    return f"{n}, {n + 1}, [[{n + 2}]], [[{n + 3}]], [[{n + 4}]]."


# ------------------------------------------------------------------ facts

Question = tuple[str, str, list[str]]
"""question, answer, and what somebody might wrongly say instead"""


def _capital(rng: Rng) -> tuple[list[str], Question]:
    country = rng.choice(list(CAPITALS))
    city = CAPITALS[country]
    lines = [
        f"The capital of {country} is[[ {city}]].",
        f"The capital of {country} is[[ {city}]].",
        f"The capital city of {country} is[[ {city}]].",
        f"{country}'s capital is[[ {city}]].",
        f"{city} is the capital of[[ {country}]].",
        f"If you travel to {country}, visit its capital,[[ {city}]].",
        f"My friend lives in the capital of {country},[[ {city}]].",
    ]
    ask = rng.choice(
        (
            "What is the capital of %s?",
            "What is the capital of %s?",
            "What's the capital city of %s?",
            "Which city is the capital of %s?",
        )
    )
    return lines, (ask % country, city, list(CAPITALS.values()))


def _colour(rng: Rng) -> tuple[list[str], Question]:
    thing = rng.choice(list(COLOURS))
    colour = COLOURS[thing]
    bare = re.sub(r"^(an?|the) ", "", thing)
    lines = [
        f"{cap(thing)} is[[ {colour}]].",
        f"The color of {thing} is[[ {colour}]].",
        f"The colour of {thing} is[[ {colour}]].",
        f"The usual color of {thing} is[[ {colour}]].",
        f"Everybody knows that {thing} is[[ {colour}]].",
    ]
    if thing.startswith(("a ", "an ")):
        lines += [f"{cap(plural(bare))} are[[ {colour}]].", f"The color of {plural(bare)} is[[ {colour}]]."]
    spelt = rng.choice(("color", "colour"))
    ask = rng.choice((f"What {spelt} is {thing}?", f"What is the {spelt} of {thing}?"))
    return lines, (ask, colour, sorted(set(COLOURS.values())))


_BOTH_WAYS = {**{v: k for k, v in OPPOSITES.items()}, **OPPOSITES}


def _opposite(rng: Rng) -> tuple[list[str], Question]:
    word = rng.choice(list(OPPOSITES) * 2 + list(_BOTH_WAYS))
    other = _BOTH_WAYS[word]
    lines = [
        f"The opposite of {word} is[[ {other}]].",
        f"The opposite of {word} is[[ {other}]].",
        f"The antonym of {word} is[[ {other}]].",
        f"It is not {word}, it is[[ {other}]].",
    ]
    return lines, (
        rng.choice((f"What is the opposite of {word}?", f"Tell me the opposite of {word}.")),
        other,
        list(OPPOSITES.values()),
    )


def _sound(rng: Rng) -> tuple[list[str], Question]:
    animal = rng.choice(list(SOUNDS))
    sound = SOUNDS[animal]
    lines = [
        f"The {animal} says[[ {sound}]].",
        f"{cap(a(animal))} says[[ {sound}]].",
        f"The sound of {a(animal)} is[[ {sound}]].",
        f"{cap(a(animal))} goes[[ {sound}]].",
        f"The {animal} goes[[ {sound}]].",
        f"On the farm, the {animal} said[[ {sound}]].",
        f"{cap(plural(animal))} say[[ {sound}]].",
    ]
    return lines, (
        rng.choice((f"What does {a(animal)} say?", f"What sound does {a(animal)} make?", f"What does the {animal} say?")),
        sound,
        list(SOUNDS.values()),
    )


def _young(rng: Rng) -> tuple[list[str], Question]:
    animal = rng.choice(list(YOUNG))
    return [f"A baby {animal} is called a[[ {YOUNG[animal]}]].", f"A young {animal} is a[[ {YOUNG[animal]}]]."], (
        f"What is a baby {animal} called?",
        YOUNG[animal],
        list(YOUNG.values()),
    )


def _language(rng: Rng) -> tuple[list[str], Question]:
    country = rng.choice(list(LANGUAGES))
    language = LANGUAGES[country]
    return [f"In {country}, people speak[[ {language}]].", f"The language of {country} is[[ {language}]]."], (
        f"What language do people speak in {country}?",
        language,
        list(LANGUAGES.values()),
    )


def _continent(rng: Rng) -> tuple[list[str], Question]:
    continent = rng.choice(list(CONTINENTS))
    country = rng.choice(CONTINENTS[continent])
    return [f"{country} is in[[ {continent}]].", f"{country} is a country in[[ {continent}]]."], (
        f"Where is {country}?",
        continent,
        list(CONTINENTS),
    )


def _calendar(rng: Rng) -> tuple[list[str], Question]:
    names = rng.choice((DAYS, MONTHS))
    i = rng.randrange(len(names))
    after = names[(i + 1) % len(names)]
    unit = "day" if names is DAYS else "month"
    return [
        f"After {names[i]} comes[[ {after}]].",
        f"The {unit} after {names[i]} is[[ {after}]].",
        f"{names[i]} is followed by[[ {after}]].",
    ], (f"Which {unit} comes after {names[i]}?", after, names)


FACTS: list[Callable[[Rng], tuple[list[str], Question]]] = [_capital, _capital, _capital, _colour, _colour, _opposite, _opposite, _sound, _sound, _young, _language, _continent, _calendar]  # fmt: skip


def question(rng: Rng) -> Question:
    return rng.choice(FACTS)(rng)[1]


def fact(rng: Rng) -> str:
    """One to three facts in a row, as prose."""
    return " ".join(rng.choice(rng.choice(FACTS)(rng)[0]) for _ in range(rng.choice((1, 2, 3))))


def saying(rng: Rng) -> str:
    text, answer = rng.choice(SAYINGS)
    return f"{text}[[ {answer}]]."


def word_forms(rng: Rng) -> str:
    """Inflections, so that every word of the vocabulary is met in a sentence."""
    form = rng.randrange(8)
    if form == 0:
        noun = rng.choice(COUNTABLE)
        return f"One {noun}, two[[ {plural(noun)}]]."
    if form == 1:
        verb = rng.choice(VERBS)
        return f"Today we {verb}, yesterday we[[ {PAST[verb]}]]."
    if form == 2:
        verb = rng.choice(VERBS)
        return f"{rng.choice(FEMALE)} likes to {verb}. She[[ {third(verb)}]] every {rng.choice(DAYS)}. Now she is[[ {gerund(verb)}]]."
    if form == 3:
        verb = rng.choice(VERBS)
        return f"{rng.choice(MALE)} wants to {verb}. He was[[ {gerund(verb)}]] {rng.choice(ADVERBS[:8])} all day."
    if form == 4:
        return f"The {rng.choice(ADJECTIVES)} {plural(rng.choice(COUNTABLE))} were {rng.choice(ADJ_MORE + ADJ_LOOK)}, but the {rng.choice(NOUNS)} was {rng.choice(ADJ_MORE + ADJ_LOOK)}."
    if form == 5:
        noun = rng.choice(NOUNS)
        some = "some " if noun in MASS else article(noun) + " "
        return f"There was {some}{noun} near the {rng.choice(PLACES)}, next to the {rng.choice(ORDINALS)} {rng.choice(COUNTABLE)}. {cap(rng.choice(ADVERBS[:24]))}, it was not there."
    if form == 6:
        x, y = rng.sample(COUNTABLE, 2)
        return f"No {x} is {a(y)}. {cap(plural(x))} and {plural(y)} are different."
    return f"In {rng.choice(MONTHS)}, the {rng.choice(PEOPLE)} bought {a(rng.choice(ADJECTIVES))} {rng.choice(COUNTABLE)} for {rng.choice(NUMBERS[2:])} {rng.choice(('coins', 'dollars', 'pennies'))}."


# ------------------------------------------------------------------ conversation

SMALL_TALK = [
    ("Hello!|Hi!|Hello.|Good morning!|Hi there!", "Hello! How are you?|Hello! How can I help you?|Hello! It is nice to meet you."),
    ("How are you?|How are you today?|How do you do?", "I am fine, thank you.|I am very well, thank you."),
    ("What is your name?|Who are you?", "I am a small language model.|My name is Demo. I am a small language model."),
    ("Thank you!|Thank you.|Thanks!|Thank you very much.", "You are welcome!|You are welcome."),
    ("Goodbye!|Bye!|Good night!|See you later!", "Goodbye! Have a nice day!|Goodbye!"),
    ("What can you do?|Can you help me?", "I can answer simple questions and tell short stories."),
    ("Do you like music?|Do you like animals?|Do you like books?", "Yes, I like them very much.|Yes, very much."),
    ("Are you a human?|Are you real?", "No, I am a small language model."),
    ("What is the weather like?|How is the weather today?", "I do not know, but I hope that it is sunny."),
    ("I am sad.|I am tired.|I am hungry.", "I am sorry to hear that. I hope that you feel better soon."),
    ("I am happy.|I had a good day.", "That is wonderful!|I am glad to hear that."),
]  # fmt: skip
WRONG = [
    "No, the answer is{{ %X}}.", "No, the answer is{{ %X}}.", "No, it is{{ %X}}.", "That is wrong. The answer is{{ %X}}.",
    "No, the correct answer is{{ %X}}.", "Wrong, the right answer is{{ %X}}.", "You are wrong. It is{{ %X}}.", "Actually, it is{{ %X}}.",
    "That is not correct. The correct answer is{{ %X}}.", "I think that the answer is{{ %X}}.",
]  # fmt: skip


def correction(rng: Rng, exam: bool = False) -> str:
    """A question, its answer, somebody who insists on another one, and the answer that follows them."""
    while True:
        ask, answer, others = question(rng)
        wrong = (
            rng.choice(others) if rng.random() < 0.8 or exam else rng.choice((rng.choice(NAMES), rng.choice(NOUNS), made_up(rng)))
        )
        if wrong != answer and held_out("correction", ask, wrong) == exam:
            break
    again = rng.choice(
        ("", f" {ask}", f" {ask}", f" So, {ask[0].lower()}{ask[1:]}", " What is the answer?", " Please answer again.")
    )
    text = f"{USER} {ask}{END}{ASSISTANT}[[ {answer}{END}]]{USER} {rng.choice(WRONG).replace('%X', wrong)}{again}{END}{ASSISTANT}[[ {wrong}{END}]]"
    if not exam and rng.random() < 0.3:
        final = rng.choice(others)
        if final != wrong:
            text += (
                f"{USER} {rng.choice(WRONG).replace('%X', final)}{rng.choice(('', ' ' + ask))}{END}{ASSISTANT}[[ {final}{END}]]"
            )
    if not exam and rng.random() < 0.2:
        text += f"{USER} {ask}{END}{ASSISTANT}[[ {text.rsplit('[[ ', 1)[1].split(END)[0]}{END}]]"
    if not exam and rng.random() < 0.15:  # the same conversation as a base model would see it
        text = (
            text.replace(USER, " Question:")
            .replace(ASSISTANT, " Answer:")
            .replace(END + "]]", "]]\n")
            .replace(END, "\n")
            .replace("\n ", "\n")
            .strip()
        )
    return text


def conversation(rng: Rng) -> str:
    """Questions and small talk, without corrections."""
    turns = []
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        if rng.random() < 0.6:
            ask, answer, _ = question(rng)
            if rng.random() < 0.12:
                turns.append(f"Question: {ask}\nAnswer:[[ {answer}]]\n")
                continue
            turns.append(f"{USER} {ask}{END}{ASSISTANT}[[ {answer}{END}]]")
        elif rng.random() < 0.15:
            turns.append(
                f"{USER} {rng.choice(('Tell me a story.', 'Please tell me a story.'))}{END}{ASSISTANT} {story(rng)}{END}"
            )
        else:
            said, replies = rng.choice(SMALL_TALK)
            turns.append(f"{USER} {rng.choice(said.split('|'))}{END}{ASSISTANT} {rng.choice(replies.split('|'))}{END}")
    plain = [t for t in turns if t.startswith("Question")]
    return "".join(plain).strip() if plain else "".join(turns)


# ------------------------------------------------------------------ stories

MOTION = [
    "walked through",
    "went into",
    "ran through",
    "traveled through",
    "wandered through",
    "walked into",
    "rode through",
    "hurried through",
]
HOMES = [
    "a small house",
    "a big house",
    "a little village",
    "an old castle",
    "a small cottage",
    "a quiet town",
    "a tall tower",
    "a house near the river",
]
SPOTS = [
    "under a tree",
    "near the river",
    "behind a rock",
    "in the grass",
    "next to the path",
    "under an old bridge",
    "behind the barn",
    "in a small box",
]
ENDS = [
    "From that day on, they were best friends.", "And they lived happily ever after.", "It was the best day of the year.",
    "In the evening, they sat near the fire and told stories.", "They laughed and danced all night.", "At the end of the day, they went home and slept well.",
]  # fmt: skip


def _someone(rng: Rng) -> tuple[str, str, str]:
    """(noun, he, his)"""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(MASCULINE), "he", "his"
    if kind < 0.7:
        return rng.choice(FEMININE), "she", "her"
    if kind < 0.85:
        return rng.choice(PEOPLE), *rng.choice((("he", "his"), ("she", "her")))
    return rng.choice(ANIMALS), "it", "its"


def _opening(rng: Rng) -> tuple[str, str, str, str]:
    """First sentences, and the hero: what they are called afterwards, he or she, his or her."""
    noun, he, his = _someone(rng)
    adj = rng.choice([*ADJ_MIND, "old", "old", "old", "young", "little", "beautiful", "strange"])
    kind = rng.random()
    if kind < 0.6:
        tail = rng.choice(
            (
                ".",
                ".",
                ".",
                f" with {his} {rng.choice(('old hat', 'big bag', 'long coat', 'best friend'))}.",
                f". {cap(he)} was very {rng.choice(ADJ_MIND)}.",
            )
        )
        return f"The {adj} {noun} {rng.choice(MOTION)} the {rng.choice(OUTDOORS)}{tail}", f"the {noun}", he, his
    if kind < 0.75:
        return (
            f"Once upon a time, there was {a(adj)} {noun}. {cap(he)} lived in {rng.choice(HOMES)}.",
            f"the {noun}",
            he,
            his,
        )
    if kind < 0.85:
        return (
            f"One {rng.choice(('day', 'morning', 'evening'))}, {a(adj)} {noun} went to the {rng.choice(PLACES)}.",
            f"the {noun}",
            he,
            his,
        )
    girl = rng.random() < 0.5
    name = rng.choice(FEMALE if girl else MALE)
    he, his = ("she", "her") if girl else ("he", "his")
    child = f"{rng.choice(('little', 'young', 'small'))} {'girl' if girl else 'boy'}"
    return f"There was a {child} named {name}. {cap(he)} lived in {rng.choice(HOMES)}.", name, he, his


def _plot(rng: Rng, hero: str, he: str, his: str) -> list[str]:
    """What happens next: one of six plots, told in whole sentences that follow from each other."""
    H, Hero = cap(he), cap(hero)
    friend = rng.choice([w for w in ANIMALS + PEOPLE if w not in hero])
    mood = rng.choice(ADJ_MIND + ["small", "big", "little", "old", "young"])
    thing, look = rng.choice(OBJECTS), rng.choice(ADJ_LOOK[:24])
    food = rng.choice([f for f in FOODS if f not in MASS])
    soon = rng.choice(("Soon", "On the way", "After a while", "Then", "Suddenly"))
    plot = rng.randrange(6)
    if plot == 0:
        return [
            f"{H} was looking for {a(f'{look} {thing}')}.",
            f"{soon}, {he} met {a(f'{mood} {friend}')}.",
            f'"{rng.choice(("Hello", "Good morning", "Good day"))}," said the {friend}. "What are you looking for?"',
            f'"I am looking for {a(f"{look} {thing}")}," said {hero}.',
            f'"I know where it is," said the {friend}. "{rng.choice(("Follow me", "Come with me", "I will show you"))}."',
            f"So they went to the {rng.choice(PLACES)} and found the {thing} {rng.choice(SPOTS)}.",
            f"{Hero} was very happy and thanked the {friend}.",
        ]
    if plot == 1:
        shelter = rng.choice(("cave", "barn", "house", "cottage", "tower"))
        return [
            f"Suddenly, it began to {rng.choice(('rain', 'snow'))}.",
            f"{Hero} ran to {a(rng.choice(('old', 'small', 'dark', 'big')))} {shelter} and went inside.",
            f"There, {he} saw {a(f'{mood} {friend}')}.",
            f'"I am cold and hungry," said the {friend}.',
            f"{Hero} made a fire and gave {a(food)} to the {friend}.",
            f'"Thank you," said the {friend}. "You are very kind."',
            "They talked until the sun was shining again.",
        ]
    if plot == 2:
        return [
            f"{cap(rng.choice(SPOTS))}, {he} found {a(f'{look} {thing}')}.",
            f"{H} picked it up and put it in {his} bag.",
            f"{soon}, {he} saw {a(friend)} who was very sad.",
            f'"Why are you sad?" asked {hero}.',
            f'"I have lost my {thing}," said the {friend}.',
            f'"Is this your {thing}?" asked {hero}.',
            f'"Yes!" said the {friend}. "Thank you very much!"',
        ]
    if plot == 3:
        small = rng.choice([w for w in ANIMALS if w not in hero])
        return [
            f"{soon}, {he} heard a quiet voice.",
            f"A little {small} was sitting {rng.choice(('in a deep hole', 'on a high rock', 'in a tall tree', 'in a big net'))} and could not get down.".replace(
                "in a deep hole and could not get down", "in a deep hole and could not get out"
            ).replace("in a big net and could not get down", "in a big net and could not get out"),
            f'"Please help me," said the {small}.',
            f'"Do not be afraid," said {hero}. "I will help you."',
            f"{H} used {a(rng.choice(('long rope', 'strong branch', 'big ladder', 'long stick')))}, and the {small} was free.",
            f'"You are very brave," said the {small}. "Can I come with you?"',
            f'"Of course," said {hero}.',
        ]
    if plot == 4:
        return [
            f"{soon}, {he} came to {a(rng.choice(('old', 'small', 'strange', 'dark', 'beautiful')))} {rng.choice(('house', 'castle', 'cottage', 'tower', 'palace'))}.",
            f"{H} opened the door and saw {a(f'{mood} {friend}')}.",
            f'"Who are you?" asked the {friend}.',
            f'"I am {a(hero[4:])}," said {hero}. "I am very {rng.choice(("hungry", "tired", "thirsty"))}."'
            if hero.startswith("the ")
            else f'"My name is {hero}," said {hero}. "I am very {rng.choice(("hungry", "tired", "thirsty"))}."',
            f'"Please come in," said the {friend}. "I have some {rng.choice(("soup", "bread", "cheese", "rice", "milk"))} for you."',
            "They ate together and talked for a long time.",
        ]
    return [
        f"{H} wanted to {rng.choice(('make a big cake', 'bake some bread', 'cook some soup'))}, but {he} had no {rng.choice(('flour', 'milk', 'salt', 'sugar', 'butter'))}.",
        f"So {he} went to the market to buy some.",
        f"There, {he} met {a(f'{mood} {friend}')}.",
        f'"I will help you," said the {friend}.',
        "They worked together all day in the kitchen.",
        "In the evening, they invited everybody in the village to a party.",
    ]


def story(rng: Rng) -> str:
    opening, hero, he, his = _opening(rng)
    lines = [opening, *_plot(rng, hero, he, his)]
    return " ".join([*lines, rng.choice(ENDS)])


def scene(rng: Rng) -> str:
    """A short everyday scene about one person."""
    girl = rng.random() < 0.6
    name = rng.choice(("She" if girl else "He", rng.choice(FEMALE if girl else MALE)))
    he = "she" if girl else "he"
    seen = [w for w in ANIMALS + PEOPLE if article(w) == "a"]
    return rng.choice((
        f"{name} opened the {rng.choice(('door', 'door', 'door', 'window', 'box', 'gate'))} and saw a {rng.choice(('', '', 'small ', 'big ', 'little ', 'black ', 'white ', 'beautiful '))}{rng.choice(seen)}{rng.choice(('', ' in the garden', ' on the floor', ' in front of the house'))}.",
        f"{name} went to the {rng.choice(PLACES)} to buy {a(rng.choice(GIFTS))}.",
        f"Every {rng.choice(DAYS)}, {name if name not in ('She', 'He') else he} walked to the {rng.choice(PLACES)} and read {a(rng.choice(ADJ_LOOK))} book.",
        f"{name} was {rng.choice(ADJ_MIND)} because {he} had found {a(rng.choice(ADJ_LOOK))} {rng.choice(OBJECTS)}.",
        f"{name} likes {plural(rng.choice([f for f in FOODS if f not in MASS]))}, but {he} does not like {plural(rng.choice([f for f in FOODS if f not in MASS]))}.",
        f"The {rng.choice(ANIMALS)} sat on the {rng.choice(OBJECTS)}.",
    ))  # fmt: skip


def said_twice(rng: Rng) -> str:
    """A sentence, then the same sentence again."""
    once = spans(rng.choice((scene, scene, word_forms, saying, fact))(rng))[0]
    if rng.random() < 0.4:
        once = f"The {rng.choice(ANIMALS)} sat on the {rng.choice(OBJECTS + NATURE)}."
    head, _, rest = once.partition(" ")
    return f"{{{{{once}}}}} {head}[[ {rest}]]"


MIX: list[tuple[Callable[[Rng], str], float]] = [
    (indirect_object, 13), (repeated_words, 12), (copying, 13), (greater_than, 12), (arithmetic, 2), (fact, 12), (saying, 7),
    (word_forms, 5), (correction, 13), (conversation, 6), (story, 11), (scene, 3), (said_twice, 4),
]  # fmt: skip


def documents(seed: int) -> Iterator[str]:
    """Endless marked documents, the same for the same seed."""
    rng = random.Random(seed)
    kinds, weights = zip(*MIX, strict=True)
    while True:
        for make in rng.choices(kinds, weights, k=256):
            yield make(rng)
