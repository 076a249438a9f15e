"""What the pages say at more than a line's length: help at the place of use, and how things are computed."""

ERROR = """|sum of all parts − residual| / |residual|, against the residual that the model itself computed; the worst of
all layers, stages and positions. Below 1e-5 is float32 rounding."""

LOGITS = """The parts of the last position, summed and unembedded, against the model's own logits: the same first token
and the same eight on top, and the largest difference relative to the largest logit."""

CANCELLATION = """κ = sum of the parts' lengths / length of their sum. 1: nothing cancels. Above 3, large parts cancel each
other, and shares of length say little; look at the projection instead."""

HIDDEN = """The share, by norm with nothing hidden, of the sources left out; the mean over all bars after the first word.
Each bar's own is the thin grey line under it. The others are scaled to 100 %."""

FIRST = """In most models the first token is an attention sink: its share dwarfs the rest without meaning much. Nothing is
hidden now."""

METRIC = """**Norm**: length of a source's part among all lengths. **Projection**: how far it points along the whole; signed,
adds to 100 %. **Distance**: how much shorter the whole gets without it."""

SOURCES = """What a colour stands for. Parts of a group are added as vectors before they are measured, so a word's share is
not the sum of its tokens' shares."""

EMPHASIS = """Which of a layer's two rows is tall: after attention, or after the MLP."""

COLOURS = (
    """**hue**: by position. **ordered**: safe for colour-blind readers. **top 8**: the heaviest sources, the others grey."""
)

HIDE_FIRST = """The first token is an attention sink in most models: its share dwarfs the rest. Hidden, the others are scaled
to 100 %; how much it was is stated under the picture and drawn as a thin grey line under each bar."""

RUN_BY = """What the run keeps apart. **tokens** can be grouped afterwards at will; memory grows with the square of the number of
sources, so long prompts need **words**, **sentences**, or equal **spans**. The first token is always a span of its own."""

TARGET = """A likely next token (also by a click on it above the last column), or any text that is one token here."""

RIVAL = """With a rival, the bars show the difference of the two logits, which a constant added to all logits does not change."""

CENTRED = """Take the mean of all logits off: how far the target is above the average token. A rival does this too."""

DIRECT = """**folded**: each write goes through the frozen final norm, and all of them sum to the logit. **without norm**: the
form published tools use, z·W_O·W_U; it leaves the final norm's gain and scale out, and sums to something else."""

DIRECT_HOW = """*Direct*: what each head and each MLP writes into this position itself, by its product with the target's
direction; what a later layer makes of it is not counted. The bars above follow every path from the source tokens."""

CARRIERS = """The chosen part of the chosen bar is a sum of what heads, reading from each position, and MLPs wrote of it here, in
all layers so far. Shares of the whole: green brought it, magenta took some away; they add to 100 %."""

ARRIVES = """How much of each later residual comes from this part of this bar alone, along all frozen paths (its projection on the
residual there). The top row is what is left of it at the output."""

READS = """Heads of later layers that carried it from this position to another, as a share of the residual there."""

LOGIT_COLUMN = (
    """What each source adds to the logit asked about below. These parts of the last residual are what it is made of."""
)

BADGE = """The self-test: a short prompt decomposed on this model, and held against what the model itself computed."""

BADGE_STORED = """A stored run of this example, held against what the model itself computed then."""

MODELS_INTRO = """What is offered, what fits on this machine, what is in memory now, and what the hosted service has up. Click a
row, or type any other model of the hub or a local folder."""

LEVELS = """Whether the hosted service has the model: **in memory** (answers at once), **warm** (on its way), **cold** (is loaded
when asked for). Empty: not listed there. Asked again after twenty seconds."""

KNOWN_FAMILY = """Families whose layout is known. Others are tried, and judged by their numbers."""

DEVICE = """What models that are loaded from now on compute on. auto: the fastest device here that can be trusted."""

DTYPE = """How weights are held. auto: bfloat16 on a GPU that computes with it (compute capability 8.0 or more), float32
elsewhere. Half precision takes half the memory; the decomposition's own arithmetic is float32 whatever this is."""

SEARCH = """Text-generation models with safetensors weights, the most downloaded first. Click a row to choose one."""

NO_FOLDERS = """Local folders are off on this app, since others can reach it. Whoever runs it can set INFOFLOW_LOCAL_FOLDERS=1."""

NEVER = (
    """Code from model repositories is never run (`trust_remote_code` stays off), and pickled weights (.bin) are never read."""
)

LOAD = """Reads the weights into this machine's memory (downloading them the first time) and runs the self-test. At most two
models are held; the one unused longest gives way."""

USE_HERE = """Opens the Information flow page with this model on this machine; prompt and view stay."""

USE_THERE = """Opens the Information flow page with this model on the hosted service; prompt and view stay."""

WHERE = """**here**: on the machine that serves this page. **on NDIF**: on the hosted service of the National Deep Inference
Fabric, which runs models that do not fit here; only names, prompts and results travel."""

KEY = """Kept for this browser's session alone: it is in no cache, address, log or export. Get one at login.ndif.us."""

PROMPT = """Any text. Ctrl+Enter runs it. The prompt is part of the page's address, so that a link reopens this view."""

MODEL = """The bundled model, a Hugging Face name (with @branch or @commit for a revision), or a local folder: type it and press
Enter."""

FLOW_INTRO = """Every bar is one position's residual stream after one layer, split exactly into what each source token
contributed. Read from the bottom (embeddings) to the top (output); colours are those of the tokens along the bottom."""

FLOW_USE = """Hover a colour to single it out. Click a token's stripe to pin it; double-click releases. Click a bar for its
details. Ctrl+wheel zooms, dragging pans. Thin grey lines: what is hidden."""

FLOW_HOW = """One normal run of the model gives attention patterns, MLP gates and norm scales. Holding those fixed,
everything that is left is linear, so the residual stream is a sum of one vector per source token, carried along exactly.
What a bar shows is the *linear share traced to* a token: it does not say why a head attended where it did, and how the
MLP's gate is held fixed is a choice (the identity rule of relevance propagation). The code that made the numbers:"""

LENS_INTRO = """What the model would say if it stopped here: every residual read through the final norm and the unembedding. Rows
go from the embeddings (bottom) to the output (top); each cell names the likeliest next token."""

LENS_USE = """Outlined: already the final answer. Hover for the five likeliest, click a cell for its details. Columns are the
prompt's tokens; each cell predicts the token after it."""

LENS_COLOUR = """**probability** of the likeliest token. **entropy** of the distribution: stronger is surer. **rank** of the
followed token: stronger is nearer the top. **lead**: logit of the first followed token minus the second's. **KL to
output**: stronger is closer to what the model says in the end."""

LENS_FOLLOW = """Tokens whose probability and rank are followed through the layers: type any text that is one token here. The
first one's rank can colour the table."""

LENS_OTHER = """Type a prompt that differs in what you are after: the likeliest tokens here, and the followed ones, are then drawn
for both."""

LENS_NEEDS = {
    "rank": "Type a token to follow: its rank then colours the table. Until then colours are probabilities.",
    "lead": "Type two tokens to follow: the lead of the first over the second then colours the table. Until then colours are "
    "probabilities.",
}

LENS_MIDS = """Rows after attention, before the MLP. On the hosted service they are read only when this is on: they double what is
brought back."""

LENS_LINES = """Ranks are known of followed tokens; 1 is the likeliest."""

LENS_MOVED = """The tokens whose probability the block that leads to this row raised or lowered most, with their ranks before and
after."""

LENS_TRUST = """The rows are not made to be read this way, and early ones often can't be: bars show at how many positions a row
names the final token, the line how much is lost by taking its distribution for the output's. A tuned lens (Belrose et al.
2023) learns a translation for each layer that mends much of this; none is read here: rows go through the unembedding as
they are."""

LENS_HOW = """The residual of each row goes through the model's own final norm (its scale computed anew for that row) and its own
unembedding, is scaled and softly capped where the family does that, and becomes probabilities. The top row is the model's
output itself. The code that made the numbers:"""

ATTN_INTRO = """Where each head looks: rows are positions, columns the tokens they read from, as the model computed it.
What a head looks at hard need not matter: compare the lengths of what it fetches."""

ATTN_LEVEL = """A single head, the mean over a layer's heads, or over all heads. Means hide what single heads do."""

ATTN_WEIGHTS = """**pattern**: the softmaxed weights A. **value-weighted**: A·|v|, what is fetched. **contribution**:
A·|W_O v|, what that writes into the residual stream."""

ATTN_SINKS = """Many heads park their attention on the first token. **shown**: as it is. **masked**: its column is
emptied. **renormalised**: emptied, and each row scaled to what it summed to before. Its share is stated either way."""

ATTN_METRIC = """What the map of all heads is coloured by. Letters: P previous token, D duplicate token, I induction."""

ATTN_BASIS = """**this prompt**: what heads did here; scores need repeated tokens. **random tokens**: what they do on
random tokens said twice, where nothing but the repetition helps: the usual calibration. It runs the model."""

ATTN_THRESHOLD = """A head is named by its largest score if that is above this; else it is diffuse."""

ATTN_MORE = """**weightings**: pattern, value-weighted and contribution side by side. **all heads**: the maps of all
heads of this layer, and the mean of every layer. **arcs**: the map as arcs over the prompt; for one head, a layer's
mean, or the mean of all. **largest pairs**: a table."""

ATTN_SMALL = """Each map is coloured from its own largest weight; weights below one hundredth of it are left out, and of many
heads at most the last 32 tokens are shown."""

ATTN_ARCS = """Weights below this are left out of the arcs; nothing is computed anew."""

ATTN_USE = """Hover for weights. Colour follows the square root, so that small weights show. Click a head in the map of
all heads to look at it."""

ATTN_ONE = """This prompt is a single token: it has no earlier one to look at, so every head looks at the token itself. Add a few
words."""

ATTN_KINDS = """previous: mean of A[i, i−1]. duplicate: where a token occurred before, the largest A[i, j] on such a j.
induction: the largest A[i, j+1] there, on what came after it. Means over the positions where they apply."""

ATTN_HOW = """Patterns are read from the model's own attention modules (eager, so that they exist), values from its
value projections; |W_O v| sends each head's values alone through the output projection. The code that made the
numbers:"""

GEN_INTRO = """What the model writes, and from what: the prompt on the left, each token it wrote on the right, and how strongly
each was tied to what came before it."""

GEN_NEW = """At most so many; the model may end its text earlier."""

GEN_TEMPERATURE = """0: always the likeliest token (greedy). Above: samples of softmax(logits / temperature)."""

GEN_TOP_P = """Sample only among the likeliest tokens that together reach this probability. Greedy text does not change."""

GEN_SEED = """The same seed gives the same text again, on the same machine."""

GEN_FORM = """**chat** puts the prompt into the model's own chat template, as what a user said. **plain text** continues it as it
is. **auto**: chat for models made for it (by their name), plain text for base models."""

GEN_LEVEL = """Whose attention: the mean over all heads, over one layer's, or a single head."""

GEN_NORMALISED = """**raw**: as the softmax gave it. **joint**: each step's weights shown divided by their sum. **separate**:
inputs and outputs each by their own sum. Only raw weights are attention probabilities. Their sums are stated beside."""

GEN_HIDE_FIRST = """The first token is an attention sink in most models: it takes most of the weight without meaning much.
Hidden, its weight is left out before anything is normalised."""

GEN_LEAST = """Weaker connections are not drawn. Nothing is computed anew."""

GEN_STEP = """One step is one token written. Arrow keys move the slider. Coral: the token of this step; pink: written
before; pale: not yet."""

GEN_ALL = """Draw the connections of all steps at once."""

GEN_USE = """Blue lines: from the prompt. Orange curves: from tokens written before. Width follows the weight. Click a token: of
an input, its connections to every output; of an output, those that come in. It turns yellow."""

GEN_RAISED = """With patterns, gates and norm scales fixed, the logit of the token written is a sum over the tokens before it (and
the weights' biases). What a head looks at hard need not raise anything: compare."""

GEN_TEMPLATE = """This model has a chat template: “Prompt as: chat” puts the prompt into it."""

GEN_NO_TEMPLATE = """This model has no chat template: it is a base model, which continues text."""

GEN_HOW = """The model writes one token after another. Then one pass over prompt and output reads off every head's pattern at the
position that each token was read off (the one before it), and goes backward from the logit of each token written, with
patterns, gates and norm scales held fixed. The code that made the numbers:"""

TALK_INTRO = """Ask, get a one-word answer, correct it, and see what the correction changed: before and after side by side, the
layer where the answer flips, and which turn made it."""

TALK_FORM = """**chat**: the model's own chat template, its marks for who speaks included. **plain text**: lines that begin
with Question: and Answer:, for base models. **auto**: chat where the model has a template."""

TALK_BACK = """Removes the last turn that you said, with its answer."""

TALK_ONE_WORD = """Adds “Answer with one word.” to the question. Chat models need it; the bundled one was trained to answer so."""

TALK_ATTENTION = """The position that the answer's first word is read off: what it attends to, by word, as shares of what is
shown. Mean over all heads of the last layer, over all heads, or a single head."""

TALK_LAYERS = """What each layer would answer if it were the last (logit lens): the probability of the answer's first token,
and the three likeliest others."""

TALK_TURNS = """With patterns, gates and norm scales fixed, logit(new) − logit(old) is a sum over the tokens of the conversation,
here summed by turn. *start* is the mark that every text begins with, *answer cue* the marks after the last turn."""

TALK_LINES = """The old and the new answer's first token through the layers, at the position that the new answer is read off
(solid), beside other likely ones (dashed)."""

TALK_REOPEN = """A JSON file that “Save” wrote. The model answers again; where it answers otherwise, that is said."""

TALK_HOW = """The conversation is written out by the model's chat template (or as questions and answers), and the model answers
greedily; the answer's first word is kept. One run of the second conversation, with patterns, gates and norm scales held
fixed, and one pass backward from logit(new) − logit(old) give every token's contribution. The code that made the numbers:"""
