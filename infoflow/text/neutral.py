"""Neutral texts: what states of any other text look like, in the mean. Plain data."""

NEUTRAL = (
    "There is a small table near the window, and on the table there are some papers that nobody has read for a while.",
    "They talked about the weather for some time, and then about the plans that they had made for the next few days.",
    "In general it takes longer than one would think to put everything back in the place where it was before.",
    "She said that she would call again later, but it was not quite clear whether anyone would be there by then.",
    "Most of the people in the room had heard the story before, although a few of them pretended that they had not.",
    "If the door is open you can go in and wait; if it is closed, please come back at another time or leave a note.",
)
"""a few sentences in which no name, number or fact stands out"""
