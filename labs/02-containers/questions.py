"""Lab 02: what it asks about lab 01, and before it shows."""

from __future__ import annotations

from lab_helpers.course.predictions import prediction, recall

QUESTIONS = (
    recall(
        "kernel",
        "Whose kernel ran your VM?",
        choices=("a copy of the host's, with the host's settings", "its own, started at another time than the host's"),
        answer="its own, started at another time than the host's",
        because="The two boot ids showed it, and so did the setting that you changed in the guest and that never "
        "reached your machine. Even where both are of the same version, they are two.",
    ),
    recall(
        "loopback",
        "A service in the guest listens on 127.0.0.1. Who can reach it?",
        choices=("whoever comes through a port forward", "only who is inside of the guest"),
        answer="only who is inside of the guest",
        because="127.0.0.1 means “this machine itself”, and there the machine is the guest. A forward arrives at the "
        "guest's network card; to be reached there, a service listens on 0.0.0.0, which is every address.",
    ),
    prediction(
        "container-kernel",
        "You ask two containers for their boot id. What will they say?",
        choices=(
            "two boot ids: each container has a small kernel of its own",
            "one boot id: both run on the kernel where the engine runs",
        ),
        answer="one boot id: both run on the kernel where the engine runs",
        because="Nothing was booted. A container brings its own files, and no kernel: its processes ask the one "
        "that is there already, as all others do. That is why it starts so fast, and what it does not isolate.",
    ),
    prediction(
        "pid-on-host",
        "In the container, `sleep` is process number 1. Which number does it have on the host?",
        choices=(
            "1 as well",
            "another number: the host counts it among all its processes",
            "none: the host cannot see into a container",
        ),
        answer="another number: the host counts it among all its processes",
        because="It is one process with two numbers. The container's PID namespace counts from 1 and sees only its "
        "own; the host's sees everything, containers included.",
    ),
    prediction(
        "changed-file",
        "The file has changed in your folder. What does http://127.0.0.1:8002 show now?",
        choices=(
            "the new page, at once",
            "the new page, after the container was restarted",
            "the old page, even after a restart",
        ),
        answer="the old page, even after a restart",
        because="COPY put the file into the image when you built it, and the container runs that image for as long as "
        "it lives. A restart starts the same container again: only a new build and a new container bring the new "
        "page.",
    ),
    prediction(
        "stop",
        "Both containers run the same Pinboard. Which one stops at once?",
        choices=("both: stop is stop", "by-exec only", "by-shell only", "neither: that takes a while"),
        answer="by-exec only",
        because="`docker stop` sends SIGTERM to number 1 alone. In by-exec that is Pinboard, which heeds it; in "
        "by-shell it is a shell that neither ends nor passes it on, so the engine waits ten seconds and then "
        "kills everything.",
    ),
    prediction(
        "free",
        "A container may use 64 MiB. What will `free` in it say?",
        choices=("64 MiB in all", "the memory of the whole host"),
        answer="the memory of the whole host",
        because="`free` reads what the kernel has, and there is only one kernel. The limit is a rule of the kernel's "
        "control groups about what these processes may take; it makes no smaller machine.",
    ),
    prediction(
        "start-again",
        "It has ended by itself. What would a `docker start pinboard-live` do?",
        choices=("it goes on serving", "it ends again, for the same reason", "it is refused: the container is broken"),
        answer="it ends again, for the same reason",
        because="A restart begins with the same image, the same limits and the same volume. If one of these is the "
        "cause, it is still there. So look before you touch.",
    ),
)
