"""The words of the field, each in a sentence or two: shown as help where they stand."""

WORDS = {
    "token": "A piece of text that the model reads as one: a word, a part of one, or a mark. A position is a token's place.",
    "residual stream": "One vector for each position, which every layer adds to. It begins as the token's embedding; what "
    "stands in it at the end is the prediction.",
    "layer": "One step of the model: first attention adds something to every position, then the MLP does.",
    "head": "A part of a layer's attention. It looks from each position at earlier ones, and brings something from there. 5.1 is "
    "head 1 of layer 5; both are counted from 0.",
    "MLP": "The part of a layer that works on each position alone, without looking at others.",
    "logit": "The model's score of a next token. The softmax of all scores is their probabilities: 1 more makes a token "
    "e = 2.7 times as likely beside the others.",
    "attention sink": "A position, most often the first, where heads rest that fetch nothing: much weight, little content.",
    "source": "What a part of the stream is traced back to: a token of the prompt, or a group of them.",
    "logit lens": "Reading a middle layer's residual as if it were the last, to see what it would predict.",
    "contribution": "What one source, head or MLP adds, with attention patterns, MLP gates and norm scales held as they were.",
    "intervention": "Changing something inside the model and running it again, to see whether what was claimed to matter does.",
}  # fmt: skip
