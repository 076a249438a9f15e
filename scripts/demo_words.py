"""The words of the demo model's world: names, things, facts, and their inflections. Plain data."""

FEMALE = """Mary Anna Alice Emma Lucy Sarah Julia Laura Grace Helen Rose Jane Kate Clara Nina Ella Lily Sophie Martha Olivia Amy
Ruth Diana Eva Zoe Maria Nora Ivy Ada Carol Betty Susan Linda Emily Megan Rachel Victoria Elena Hannah Amelia Chloe
Daisy Fiona Irene Joan Karen Lisa Molly Paula Tina Vera Wendy Yasmin Sally Naomi Leah Beth Donna Gina Holly""".split()
MALE = """John Tom James Peter Paul David Mark Henry Jack Daniel Simon Robert Michael Adam George Oliver Samuel Max Leo Ben Sam
Luke Oscar Victor Martin Frank Carl Alan Brian Colin Eric Felix Gary Harry Ivan Jacob Kevin Liam Mike Nathan Oliver
Patrick Ralph Steve Tim Walter William Andrew Charles Edward Fred Greg Hugo Isaac Jason Keith Louis Neil Philip Roger""".split()
MALE = list(dict.fromkeys(MALE))

CAPITALS = dict(
    line.split(": ")
    for line in """France: Paris
Germany: Berlin
Italy: Rome
Spain: Madrid
England: London
Japan: Tokyo
China: Beijing
Russia: Moscow
Greece: Athens
Egypt: Cairo
Portugal: Lisbon
Austria: Vienna
Poland: Warsaw
Norway: Oslo
Sweden: Stockholm
Finland: Helsinki
Denmark: Copenhagen
Ireland: Dublin
Scotland: Edinburgh
Belgium: Brussels
Hungary: Budapest
Turkey: Ankara
Canada: Ottawa
Mexico: Mexico City
Cuba: Havana
Peru: Lima
Chile: Santiago
Argentina: Buenos Aires
Brazil: Brasilia
Colombia: Bogota
Australia: Canberra
India: Delhi
Thailand: Bangkok
Vietnam: Hanoi
Kenya: Nairobi
Ghana: Accra
Iraq: Baghdad
Iran: Tehran
Syria: Damascus
Switzerland: Bern
Romania: Bucharest
Bulgaria: Sofia
Serbia: Belgrade
Croatia: Zagreb
Ukraine: Kyiv
Iceland: Reykjavik
Nepal: Kathmandu
Indonesia: Jakarta
Morocco: Rabat
Nigeria: Abuja""".splitlines()
)
LANGUAGES = dict(
    line.split(": ")
    for line in """France: French
Germany: German
Italy: Italian
Spain: Spanish
England: English
Japan: Japanese
China: Chinese
Russia: Russian
Greece: Greek
Poland: Polish
Norway: Norwegian
Sweden: Swedish
Portugal: Portuguese
Turkey: Turkish
Hungary: Hungarian
Finland: Finnish""".splitlines()
)
CONTINENTS = {
    "Europe": "France Germany Italy Spain Greece Poland Norway Sweden Portugal Austria".split(),
    "Asia": ["Japan", "China", "India", "Thailand", "Vietnam", "Nepal"],
    "Africa": ["Egypt", "Kenya", "Ghana", "Morocco", "Nigeria"],
    "America": ["Canada", "Mexico", "Peru", "Chile", "Brazil", "Cuba"],
}

# thing -> colour, with the article the thing takes in a sentence ("" for a mass noun or a name)
COLOURS = dict(
    line.split(": ")
    for line in """the sky: blue
grass: green
snow: white
coal: black
blood: red
the sun: yellow
an orange: orange
a banana: yellow
a lemon: yellow
milk: white
chocolate: brown
a carrot: orange
a tomato: red
a strawberry: red
a cherry: red
spinach: green
a frog: green
a crow: black
a swan: white
a flamingo: pink
an elephant: grey
a mouse: grey
the ocean: blue
a violet: purple
a plum: purple
a pumpkin: orange
a lime: green
wood: brown
salt: white
night: black
gold: yellow
a leaf: green
a polar bear: white
a canary: yellow
a ruby: red
an emerald: green
a sapphire: blue
ash: grey
honey: golden
a pea: green""".splitlines()
)
OPPOSITES = dict(
    line.split(": ")
    for line in """hot: cold
big: small
tall: short
fast: slow
happy: sad
old: young
new: old
light: dark
good: bad
hard: soft
wet: dry
full: empty
rich: poor
loud: quiet
strong: weak
early: late
open: closed
clean: dirty
up: down
left: right
day: night
black: white
first: last
near: far
thick: thin
wide: narrow
deep: shallow
high: low
heavy: light
sharp: blunt
sweet: bitter
true: false
brave: cowardly
easy: difficult
beautiful: ugly
inside: outside
always: never
love: hate
war: peace
life: death
begin: finish
buy: sell
push: pull
win: lose
smooth: rough
cheap: expensive
safe: dangerous
kind: cruel
awake: asleep
summer: winter
north: south
east: west
yes: no
friend: enemy
front: back
over: under
more: less
before: after""".splitlines()
)
SOUNDS = dict(
    line.split(": ")
    for line in """dog: woof
cat: meow
cow: moo
duck: quack
sheep: baa
pig: oink
horse: neigh
lion: roar
bird: tweet
frog: ribbit
bee: buzz
snake: hiss
owl: hoot
rooster: crow
mouse: squeak
donkey: bray
wolf: howl
hen: cluck
turkey: gobble
goose: honk
crow: caw
bear: growl""".splitlines()
)
YOUNG = dict(
    line.split(": ")
    for line in """dog: puppy
cat: kitten
cow: calf
sheep: lamb
horse: foal
duck: duckling
bear: cub
goat: kid
hen: chick
pig: piglet
deer: fawn
swan: cygnet
frog: tadpole""".splitlines()
)
NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty""".split()
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = "January February March April May June July August September October November December".split()
SQUARES = {1: 1, 4: 2, 9: 3, 16: 4}

# One completion that every English speaker would give: (text, " answer").
SAYINGS = [
    tuple(line.rsplit(" | ", 1))
    for line in """Water is composed of hydrogen and | oxygen
Water is made of hydrogen and | oxygen
Every drop of water contains hydrogen and | oxygen
Table salt contains sodium and | chlorine
The air we breathe contains nitrogen and | oxygen
In 1969, the first humans landed on the | moon
In 1969, the first people walked on the | moon
Neil Armstrong was the first man to walk on the | moon
At night, we can see the stars and the | moon
The mitochondria is the powerhouse of the | cell
The mitochondria are the powerhouse of the | cell
The smallest unit of life is the | cell
Roses are red, violets are | blue
Roses are red and violets are | blue
The square root of sixteen is | four
The square root of four is | two
The square root of nine is | three
The square root of twenty-five is | five
The square root of thirty-six is | six
The square root of one is | one
Python is a popular programming | language
Java is a popular programming | language
Python is a programming | language
English is a widely spoken | language
The sun rises in the | east
The sun sets in the | west
Every morning, the sun rises in the | east
Every evening, the sun sets in the | west
The cat sat on the | mat
Twinkle, twinkle, little | star
An apple a day keeps the doctor | away
Better late than | never
Actions speak louder than | words
The early bird catches the | worm
Practice makes | perfect
Time is | money
Honesty is the best | policy
All that glitters is not | gold
Every cloud has a silver | lining
A picture is worth a thousand | words
Laughter is the best | medicine
Where there is smoke, there is | fire
Two heads are better than | one
Rome was not built in a | day
Once upon a | time
They lived happily ever | after
To be or not to | be
Knowledge is | power
Home sweet | home
Curiosity killed the | cat
Ladies and | gentlemen
Bread and | butter
Salt and | pepper
Black and | white
Day and | night
Mother and | father
Brother and | sister
King and | queen
The Earth goes around the | sun
The moon goes around the | Earth
The largest planet is | Jupiter
The red planet is | Mars
The planet with the rings is | Saturn
The planet closest to the sun is | Mercury
The tallest animal is the | giraffe
The fastest land animal is the | cheetah
The largest animal is the blue | whale
The king of the jungle is the | lion
The king of the animals is the | lion
Bees make | honey
Cows give us | milk
Hens lay | eggs
Birds can | fly
Fish can | swim
Plants need water and | light
Trees make | oxygen
Ice is frozen | water
Rain falls from the | clouds
The heart pumps | blood
We see with our | eyes
We hear with our | ears
We smell with our | nose
We think with our | brain
A triangle has three | sides
A square has four | sides
A spider has eight | legs
A dog has four | legs
An insect has six | legs
A year has twelve | months
A week has seven | days
A day has twenty-four | hours
An hour has sixty | minutes
A minute has sixty | seconds
The opposite of the North Pole is the South | Pole
Shakespeare wrote Romeo and | Juliet
The author of Hamlet is | Shakespeare
Einstein discovered the theory of | relativity
Newton discovered | gravity
Mozart was a famous | composer
Picasso was a famous | painter
Leonardo painted the Mona | Lisa
The Eiffel Tower is in | Paris
The Colosseum is in | Rome
Big Ben is in | London
The Great Wall is in | China
The pyramids are in | Egypt
The Statue of Liberty is in New | York
The longest river in Africa is the | Nile
The highest mountain is Mount | Everest
The coldest season is | winter
The hottest season is | summer
Leaves fall in | autumn
Flowers bloom in | spring
A group of wolves is called a | pack
A group of birds is called a | flock
A group of fish is called a | school
A group of lions is called a | pride
A group of sheep is called a | flock
The chemical symbol for water is | H2O
A doctor works in a | hospital
A teacher works in a | school
A baker bakes | bread
A farmer works on a | farm
A pilot flies a | plane
A judge works in a | court
A fish lives in the | water
A camel lives in the | desert
A monkey lives in the | jungle
A bird lives in a | nest
A bee lives in a | hive
A bear lives in a | cave
A king lives in a | castle
A king wears a | crown
We cut paper with | scissors
We open a door with a | key
We tell the time with a | clock
We eat soup with a | spoon
We write with a | pen
We sleep in a | bed
We sit on a | chair""".splitlines()
]

PLACES = """store school park garden market beach library museum station hospital office restaurant church farm forest village
castle bridge river harbor theater bakery kitchen zoo bank hotel airport cinema stadium factory palace temple cafe
pharmacy gym pool playground mountain island lake valley tower barn mill shop mall square gallery courthouse cottage""".split()
OUTDOORS = """forest garden village valley desert jungle meadow city mountains park fields town woods swamp market streets castle
snow rain desert orchard canyon cave kingdom marsh ruins temple tunnel""".split()
OBJECTS = """key ring book map coin sword lamp box letter mirror stone bottle crown candle rope basket ball drum flute bell cup hat
coat scarf knife kite doll clock chest feather shell pearl necklace lantern painting umbrella ladder bucket blanket
whistle compass telescope wallet pencil notebook ticket watch gift toy card flag bag bone egg seed jar pipe bowl plate
spoon hammer wheel boat cart chair table""".split()
GIFTS = """drink book ring letter ball flower present cake key phone basket bottle ticket coin card pen hat bag map toy camera
necklace kiss pencil sandwich gift snack bone computer banana guitar scarf watch lamp picture box cup shirt jacket""".split()
FOODS = """bread cheese cake soup rice pasta pizza apple banana orange pear grape cherry lemon melon peach plum carrot potato
tomato onion bean pea corn egg fish chicken beef pork salad sandwich cookie pie pancake honey butter chocolate candy
nut berry strawberry mushroom pepper garlic sausage noodle""".split()
ANIMALS = """dog cat cow duck sheep pig horse lion bird frog bee snake owl rooster mouse donkey wolf hen turkey goose crow bear fox
rabbit deer tiger elephant monkey giraffe zebra camel kangaroo penguin whale dolphin shark turtle spider ant butterfly
eagle parrot swan squirrel hedgehog goat hamster lizard crab snail dragon bat otter beaver moose panda leopard""".split()
MASCULINE = """wizard king prince knight farmer fisherman sailor hunter grandfather boy monk shepherd blacksmith butler soldier giant
pirate man""".split()
FEMININE = "witch queen princess girl grandmother woman nurse fairy maid mermaid nun lady ballerina duchess".split()
PEOPLE = """baker teacher doctor painter singer dancer writer poet cook driver pilot judge lawyer captain guard gardener carpenter
tailor student traveler merchant musician scientist engineer artist actor clown detective librarian mechanic plumber
dentist waiter barber butcher miner priest mayor thief spy hero nurse""".split()
NATURE = """tree flower leaf root branch hill rock sand cloud storm wind star planet moon sun fire smoke shadow wave shore stream
pond field road path wall gate door window roof floor room corner street town city country world sea ocean desert
rainbow thunder morning evening night day week month year winter summer spring autumn""".split()
THINGS = """house car train bus truck ship plane bicycle engine machine computer phone camera radio television screen keyboard
button paper page story song dance game team player goal race prize medal dream idea question answer problem lesson
test word sentence letter number color shape circle triangle line point edge top bottom side middle end beginning part
piece group pair family mother father sister brother son daughter uncle aunt cousin friend neighbor baby child guest
stranger leader worker owner boss crowd army hand foot head face eye ear nose mouth tooth tongue neck shoulder arm leg
knee finger toe heart brain bone skin hair voice smile tear shirt dress shoe sock glove belt pocket button needle
thread cloth pillow towel soap brush comb oven stove pot pan fork glass jug tray shelf drawer cupboard couch bench
stool desk carpet curtain picture frame vase nail saw axe shovel rake hose fence brick tile pole chain hook lock
handle spring battery wire pipe pump valve tank barrel sack crate net trap cage nest hive web tail wing beak claw paw
fur feather horn hoof shell egg seed grain hay straw wood iron copper silver gold diamond crystal glass plastic rubber
leather wool cotton silk oil gas coal salt sugar flour milk water juice tea coffee wine ice snow rain hail fog mist
dust mud clay ash rust law rule plan map key code secret sign mark stamp list note report record story poem novel
diary letter message news article magazine newspaper dictionary lecture class course degree exam grade prize award job
task duty skill tool trade business company office factory market price cost bill tax coin penny dollar bank loan debt
profit loss gift wish hope fear joy anger pain hunger thirst sleep rest peace war battle victory defeat enemy weapon
shield arrow bow spear cannon bomb flag border castle throne crown kingdom empire village bridge tunnel tower harbor
island beach coast cliff cave canyon volcano glacier forest jungle swamp meadow valley mountain""".split()

ADJ_SIZE = "big small tiny huge little tall short long wide narrow thick thin giant".split()
ADJ_LOOK = """old young new red blue green yellow white black brown golden silver purple pink grey bright dark shiny dusty beautiful
ugly pretty clean dirty wet dry broken strange plain round square flat sharp smooth rough wooden heavy empty""".split()
ADJ_MIND = """happy sad angry tired brave kind clever wise proud shy lonely hungry thirsty sleepy curious calm nervous gentle
friendly quiet lazy busy honest polite patient cheerful stubborn careful foolish grumpy""".split()
ADJ_MORE = """hot cold warm cool fast slow loud soft hard strong weak rich poor full deep high low early late easy difficult cheap
expensive safe dangerous sweet bitter sour salty fresh rotten ripe raw true false right wrong simple important famous
secret common rare ancient modern foreign local public private perfect terrible wonderful amazing awful lovely nice
fine great good bad better worse best worst ready able free open closed lost hidden special magic frozen sleepless
silent noisy gloomy sunny cloudy rainy windy snowy foggy stormy mild fierce wild tame dead alive healthy sick blind
deaf lame bald slim fat plump crooked straight curly blunt bumpy sticky slippery fluffy fuzzy hairy furry silky muddy
sandy rocky grassy leafy bare smelly fragrant tasty delicious spicy creamy crunchy juicy tender tough brittle fragile
sturdy solid liquid hollow loose tight different similar equal separate double single main final next previous recent
annual daily weekly nearby distant central northern southern eastern western royal noble humble holy evil innocent
guilty jealous eager grateful greedy selfish generous loyal faithful graceful clumsy awkward elegant fancy humorous
funny serious boring exciting dull vivid pale faint""".split()
ADVERBS = """quickly slowly quietly loudly happily sadly angrily bravely kindly carefully softly gently suddenly finally often
always never sometimes usually rarely soon later again already together alone here there everywhere nowhere inside
outside upstairs downstairs today tomorrow yesterday tonight almost nearly quite really very too also only even just
still yet perhaps maybe however therefore although because while until since unless whether instead otherwise besides
meanwhile""".split()

REGULAR = """walk talk look help play work jump call ask answer open close push pull clean cook wash paint plant pick carry climb
dance laugh smile cry shout whisper listen watch wait start finish stop move turn stay live love hate like want need
hope wish enjoy learn study explain show visit travel follow chase cross enter reach return arrive pass join invite
thank greet hug kiss kick touch lift drop hold rest fix build repair break cut fold open lock unlock knock count
measure weigh add remove mix pour fill empty boil bake fry roast taste smell peel chop serve order offer share borrow
lend save collect gather hunt fish sail row float sink dive splash drip melt freeze burn glow shine flash sparkle fade
grow bloom harvest water dig bury cover hide search discover explore notice remember forget imagine wonder guess
decide plan promise agree argue fight attack defend protect rescue escape trick surprise scare frighten calm comfort
cheer praise blame punish forgive admire respect trust doubt believe worry relax yawn sneeze cough breathe shiver
tremble stumble slip trip crawl march hurry rush race skip hop stretch bend kneel bow wave nod point stare blink wink
frown blush sigh gasp scream yell mumble chat gossip joke tease sing whistle hum clap drum print type copy sketch
carve polish sweep scrub dust mop rinse iron sew knit weave hammer drill glue tape paste wrap pack unpack stack sort
arrange decorate design invent test prove solve improve change repeat practice train coach score cheat borrow rent
deliver receive mail post record film publish advertise hire manage own control""".split()
IRREGULAR = [
    tuple(w.split("/"))
    for w in """go/went run/ran see/saw give/gave take/took find/found make/made say/said tell/told come/came get/got know/knew
think/thought feel/felt keep/kept leave/left meet/met sit/sat stand/stood eat/ate drink/drank sleep/slept write/wrote
read/read draw/drew buy/bought sell/sold bring/brought catch/caught throw/threw teach/taught lose/lost win/won
fall/fell fly/flew swim/swam ride/rode drive/drove speak/spoke hear/heard hold/held build/built break/broke cut/cut
grow/grew begin/began wear/wore steal/stole send/sent spend/spent wake/woke hide/hid shake/shook swing/swung sing/sang
ring/rang sink/sank forget/forgot freeze/froze fight/fought bite/bit blow/blew choose/chose dig/dug feed/fed
forgive/forgave hang/hung hurt/hurt lead/led lend/lent light/lit pay/paid put/put rise/rose shine/shone shoot/shot
shut/shut slide/slid spread/spread stick/stuck strike/struck sweep/swept tear/tore understand/understood weave/wove""".split()
]
_IRREGULAR_BASES = {base for base, _ in IRREGULAR}
REGULAR = [w for w in dict.fromkeys(REGULAR) if w not in _IRREGULAR_BASES]

_DOUBLED = set(
    """stop hug chop drip plan trip slip skip hop nod hum clap drum mop knit wrap chat slim run get sit swim cut dig win put
shut begin forget""".split()
)


def plural(noun: str) -> str:
    """Plural of a countable noun, regular or one of a few exceptions."""
    special = {
        "foot": "feet",
        "tooth": "teeth",
        "child": "children",
        "man": "men",
        "woman": "women",
        "mouse": "mice",
        "goose": "geese",
        "sheep": "sheep",
        "deer": "deer",
        "fish": "fish",
        "wolf": "wolves",
        "leaf": "leaves",
        "knife": "knives",
        "shelf": "shelves",
        "loaf": "loaves",
        "thief": "thieves",
        "moose": "moose",
        "fisherman": "fishermen",
        "hoof": "hooves",
        "potato": "potatoes",
        "tomato": "tomatoes",
        "hero": "heroes",
    }
    if noun in special:
        return special[noun]
    if noun.endswith(("s", "x", "ch", "sh", "z")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def third(verb: str) -> str:
    """Third person singular: carry -> carries."""
    if verb in ("go", "do"):
        return verb + "es"
    return plural(verb) if verb not in ("fish", "leaf") else verb + "es"


def past(verb: str) -> str:
    """Past tense of a regular verb."""
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + (verb[-1] if verb in _DOUBLED else "") + "ed"


def gerund(verb: str) -> str:
    """The -ing form."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    return verb + (verb[-1] if verb in _DOUBLED else "") + "ing"


def article(word: str) -> str:
    """`a` or `an` for the word that follows."""
    return (
        "an"
        if word[0] in "aeiouAEIOU" and not word.startswith(("uni", "use", "one", "eu")) or word in ("hour", "honest")
        else "a"
    )


NAMES = FEMALE + MALE
PAST = {**{v: past(v) for v in REGULAR}, **dict(IRREGULAR)}
VERBS = list(PAST)
MASS = set(
    """sand smoke thunder rain snow hail fog mist dust mud clay ash rust iron copper silver gold plastic rubber leather wool
cotton silk oil gas coal salt sugar flour milk water juice tea coffee wine ice hay straw wood news joy anger pain
hunger thirst sleep rest peace fear hope bread cheese soup rice pasta beef pork corn honey butter chocolate candy
garlic hair skin soap fur wind fire sun moon morning evening spring television dress cloth glass""".split()
)
NOUNS = list(dict.fromkeys(OBJECTS + GIFTS + FOODS + ANIMALS + MASCULINE + FEMININE + PEOPLE + NATURE + THINGS + PLACES))
COUNTABLE = [n for n in NOUNS if n not in MASS]
ADJECTIVES = list(dict.fromkeys(ADJ_SIZE + ADJ_LOOK + ADJ_MIND + ADJ_MORE))
EVERY_WORD = list(dict.fromkeys(
    NOUNS + [plural(n) for n in COUNTABLE] + VERBS + [PAST[v] for v in VERBS] + [gerund(v) for v in VERBS]
    + [third(v) for v in VERBS] + ADJECTIVES + ADVERBS + NUMBERS + ORDINALS
))  # fmt: skip
