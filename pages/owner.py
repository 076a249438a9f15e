"""What is under way in this app, who waits, what failed: for whoever runs it."""

from infoflow.ui import frame
from infoflow.ui import owner as ui

frame.page("Owner", ui.INTRO)
if ui.let_in():
    ui.state()
    ui.in_force()
