"""Lab 01: what it asks about lab 00, and before it shows."""

from __future__ import annotations

from lab_helpers.course.predictions import prediction, recall

QUESTIONS = (
    recall(
        "cd",
        "You run the line `!cd desk`. Where does the next `!` line run?",
        choices=("in desk", "where it would have run without the first one"),
        answer="where it would have run without the first one",
        because="Each `!` line gets a shell of its own, and that shell's `cd` ends with it. One line with `&&` "
        "between, or the folder's name in the command, does it.",
    ),
    recall(
        "check",
        "What does a check look at?",
        choices=("the cells and outputs of the notebook", "files, processes and answers: the machine itself"),
        answer="files, processes and answers: the machine itself",
        because="A notebook only says what was run. A check looks at what there is, so it does not matter how you "
        "got there, and a command without an error message proves nothing.",
    ),
    prediction(
        "memtotal",
        "You give this guest 512 MiB of memory. How much will its own kernel say that it has in all?",
        choices=("exactly 512 MiB", "less than 512 MiB", "more than 512 MiB"),
        answer="less than 512 MiB",
        because="The firmware and the kernel keep a part for themselves before anything is counted: the kernel's "
        "code, and its list of who owns which page. What you assign and what the guest calls its total are two "
        "numbers.",
    ),
    prediction(
        "swappiness",
        "You set `vm.swappiness` to 7 in the guest. What will your own machine say afterwards?",
        choices=("7 on both", "7 in the guest only", "an error: a guest may not do that"),
        answer="7 in the guest only",
        because="The setting lives in the memory of the kernel that was asked, and the guest's kernel is not yours. "
        "In its own machine a guest's root may do everything; it just does not reach any further.",
    ),
    prediction(
        "forward",
        "The forward leads from your port 8001 to the guest's port 8000. Will Pinboard answer on your port 8001?",
        choices=("yes: the service runs and the forward is there", "no: something is still missing"),
        answer="no: something is still missing",
        because="The service listens on the guest's own 127.0.0.1. A forward arrives at the guest's network card, "
        "which is another address, and nobody listens there. It takes both: a way in, and somebody who listens "
        "where it ends.",
    ),
)
