"""Lab 05: what can happen to Pinboard in a cluster, how it is mended, and what only looks mended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from lab_helpers.core.waiting import wait_for

from . import duty as tools
from .duty import DNS, Duty, container_of
from .names import DEPLOYMENT, PORT, REPLICAS, SERVICE
from .outcome import CRITERIA, HINTS, outcome

if TYPE_CHECKING:
    from lab_helpers.course.declare import Lab
    from lab_helpers.course.oncall import Facts, OnCall
    from lab_helpers.course.world import World

BRIEF = (
    f"the Deployment {DEPLOYMENT} keeps {REPLICAS} pods that serve, and the Service {SERVICE} leads to them,\n"
    "as you left them; no rollout hangs, no pod waits, every node takes work"
)


def declare(lab: Lab) -> OnCall:
    """Let the lab have these incidents."""
    duty = lab.on_call(
        "On call: find out what happened, and mend it",
        brief=BRIEF,
        criteria=CRITERIA,
        hints=HINTS,
        after=("service",),
        begin=tools.begin,
        rescue=tools.rescue,
        end=tools.end,
    )(outcome)
    _faults_on_the_way(duty)
    _faults_of_rollouts(duty)
    _wrong_mends(duty)
    return duty


# -- faults on the way to the pods -------------------------------------------------------------------------------------


def _faults_on_the_way(duty: OnCall) -> None:
    @duty.incident(
        "nobody-chosen",
        symptom="\"Our pages call http://pinboard, and since lunch they get 'connection refused'.\"",
        explanation="the Service selected labels that no pod has, so nobody was behind its name. The pods were well "
        "all the time; a Service does not complain when it finds none.",
        fails="serves",
        state="no-answer",
        hints=(
            "Is anybody behind the name? Compare `!kubectl get service -o wide` (its selector) with "
            "`!kubectl get pods --show-labels`.",
            f"`!kubectl set selector service {SERVICE} app=pinboard`",
        ),
        mend=_chosen_again,
    )
    def nobody_chosen(world: World, chance: Random, facts: Facts) -> None:
        def change(service: dict[str, dict[str, dict[str, str]]]) -> None:
            key, value = next(iter(service["spec"]["selector"].items()))
            wrong = (f"{value}s", f"{value}-api", value.capitalize(), f"{value}-prod")
            service["spec"]["selector"] = {key: chance.choice(wrong)}

        Duty(world, facts).change("service", change)

    @duty.incident(
        "wrong-door",
        symptom='"http://pinboard refuses the connection. I can resolve the name, I even see pods behind it!"',
        explanation="the Service knocked at a port of the pods on which nobody listens: its targetPort. Endpoints with "
        "ready pods in them do not mean that somebody answers there.",
        fails="serves",
        state="no-answer",
        hints=(
            "`!kubectl get endpointslices` shows pods and a port. `!kubectl logs deployment/"
            + DEPLOYMENT
            + "` begins with "
            "the port on which Pinboard listens.",
            f"`!kubectl edit service {SERVICE}` wants an editor; `!kubectl patch service {SERVICE} --type=json -p "
            f'\'[{{"op": "replace", "path": "/spec/ports/0/targetPort", "value": {PORT}}}]\'` does not.',
        ),
        mend=_right_door,
    )
    def wrong_door(world: World, chance: Random, facts: Facts) -> None:
        port = chance.choice((80, 3000, 5000, 8080, 9000))
        Duty(world, facts).change("service", lambda service: service["spec"]["ports"][0].update(targetPort=port))

    @duty.incident(
        "nameless",
        symptom='"Nothing works any more! Not only Pinboard: no service finds any other one."',
        explanation="the cluster's DNS had been scaled down to nothing. Addresses went on working, names did not: when "
        "everything breaks at once, look for what everything shares.",
        fails="serves",
        state="no-dns",
        hints=(
            "Names in a cluster are CoreDNS's work: `!kubectl get deployment,pods -n kube-system`",
            "`!kubectl scale deployment coredns -n kube-system --replicas=2`",
        ),
        mend=_named_again,
    )
    def nameless(world: World, chance: Random, facts: Facts) -> None:
        del chance
        Duty(world, facts).kubectl("scale", *DNS, "--replicas=0")

    @duty.incident(
        "closed-nodes",
        symptom='"Pinboard has become slow, and your monitoring says that it lacks pods. Was there any maintenance?"',
        explanation="the workers had been closed for new pods (cordoned) for some maintenance, and nobody opened them "
        "again. What runs goes on running there, so that one notices it only when a pod has to be replaced.",
        fails="whole",
        state="too-few",
        hints=(
            "`!kubectl get nodes`: what does SchedulingDisabled mean?",
            "`!kubectl uncordon NODE`, for each of them",
        ),
        mend=_opened,
    )
    def closed_nodes(world: World, chance: Random, facts: Facts) -> None:
        duty = Duty(world, facts)
        duty.kubectl("cordon", *duty.workers)
        lost = chance.sample([pod["metadata"]["name"] for pod in duty.pods()], chance.randint(1, 2))
        duty.mine("delete", "pod", *lost, "--wait=false", "--grace-period=1")


def _chosen_again(world: World, facts: Facts) -> None:
    labels = [f"{key}={value}" for key, value in facts["service"]["spec"]["selector"].items()]
    duty = Duty(world, facts)
    duty.mine("set", "selector", duty.service, ",".join(labels))
    _wait_until_it_works(world, facts)


def _right_door(world: World, facts: Facts) -> None:
    duty = Duty(world, facts)
    port = facts["service"]["spec"]["ports"][0]["targetPort"]
    change = [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": port}]
    duty.mine("patch", duty.service, "--type=json", "-p", json.dumps(change))
    _wait_until_it_works(world, facts)


def _named_again(world: World, facts: Facts) -> None:
    Duty(world, facts).kubectl("scale", *DNS, f"--replicas={facts['dns']}")
    _wait_until_it_works(world, facts)


def _opened(world: World, facts: Facts) -> None:
    duty = Duty(world, facts)
    duty.kubectl("uncordon", *duty.workers)
    _wait_until_it_works(world, facts)


def _wait_until_it_works(world: World, facts: Facts) -> None:
    def works() -> bool:
        return all(evidence.ok for evidence in outcome(world, facts))

    wait_for(works, "Pinboard to work again", timeout_s=90, interval_s=0.2)


# -- faults that a rollout brings --------------------------------------------------------------------------------------


def _faults_of_rollouts(duty: OnCall) -> None:
    hangs = (
        '"You promised us {} an hour ago, and we still see the old one. The colleague\'s rollout has not come back."'
    )

    @duty.incident(
        "no-such-image",
        symptom=hangs.format("the new version"),
        explanation="the rollout asked for an image that does not exist on the nodes, and nobody can give them. The "
        "old pods stayed, since a rollout takes one away only when a new one is ready: your readiness probe at work.",
        fails="whole",
        state="stuck",
        hints=(
            f"The new pod's image: is there such a one? `!kubectl rollout undo deployment/{DEPLOYMENT}` goes back.",
        ),
        mend=_undone,
    )
    def no_such_image(world: World, chance: Random, facts: Facts) -> None:
        tag = chance.choice(("1.1", "2", "latest-stable", "v1", "1-hotfix"))
        duty = Duty(world, facts)
        duty.change("deployment", lambda item: container_of(item).update(image=f"pinboard:{tag}"))
        duty.wait_for_pods_waiting(("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"))

    @duty.incident(
        "wrong-question",
        symptom=hangs.format("a new setting"),
        explanation="the readiness probe asked for a page that Pinboard does not have, and took 404 for 'not ready'. "
        "The new pod ran well, and was never sent a request. Mend the question: without one, the next bad version goes "
        "live.",
        fails="whole",
        state="stuck",
        hints=(
            "It runs, and is not ready: who says so? `!kubectl describe pod NAME` tells what the probe asks and hears.",
            f"Pinboard says `/readyz`. `!kubectl rollout undo deployment/{DEPLOYMENT}` goes back to that.",
        ),
        mend=_undone,
    )
    def wrong_question(world: World, chance: Random, facts: Facts) -> None:
        path = chance.choice(("/ready", "/health", "/readyz/", "/api/ready", "/status"))
        probe = {"httpGet": {"path": path, "port": PORT}, "periodSeconds": 1}
        Duty(world, facts).change("deployment", lambda item: container_of(item).update(readinessProbe=probe))

    @duty.incident(
        "too-hungry",
        symptom=hangs.format("more speed"),
        explanation="each new pod asked for more than any node has, so that the scheduler found no place for it. A "
        "request is a reservation: it is kept free for the pod whether it uses it or not, or there is no pod.",
        fails="whole",
        state="stuck",
        hints=(
            "The new pod is Pending. `!kubectl describe pod NAME` ends with what each node says to it.",
            f"`!kubectl rollout undo deployment/{DEPLOYMENT}`; or a request that a node can meet.",
        ),
        mend=_undone,
    )
    def too_hungry(world: World, chance: Random, facts: Facts) -> None:
        requests = chance.choice(({"cpu": "600"}, {"memory": "9Ti"}, {"cpu": "400", "memory": "4Ti"}))
        Duty(world, facts).change(
            "deployment", lambda item: container_of(item).update(resources={"requests": requests})
        )

    @duty.incident(
        "bad-setting",
        symptom=hangs.format("the new configuration"),
        explanation="a setting with which Pinboard cannot start: it said so in its log, and ended, again and again "
        "(CrashLoopBackOff). A program that refuses a bad setting at its start is kinder than one that guesses.",
        fails="whole",
        state="stuck",
        hints=(
            "The new pod starts and ends. Its last words: `!kubectl logs NAME --previous`",
            f"`!kubectl rollout undo deployment/{DEPLOYMENT}`, or correct the setting: `kubectl set env --help`.",
        ),
        mend=_undone,
    )
    def bad_setting(world: World, chance: Random, facts: Facts) -> None:
        name, value = chance.choice(
            (
                ("PINBOARD_PORT", "eight thousand"),
                ("DATABASE_URL", "postgres//db"),
                ("PINBOARD_PORT", "80000"),
                ("PINBOARD_HOST", "pinboard.example"),
            )
        )
        duty = Duty(world, facts)
        duty.mine("set", "env", duty.deployment, f"{name}={value}")


def _undone(world: World, facts: Facts) -> None:
    duty = Duty(world, facts)
    duty.mine("rollout", "undo", duty.deployment)
    duty.roll_out()
    _wait_until_it_works(world, facts)


# -- what only looks mended --------------------------------------------------------------------------------------------


def _wrong_mends(duty: OnCall) -> None:
    @duty.wrong_mend("nobody-chosen", "another-name", fails="serves", state="no-answer:nobody-chosen")
    def another_name(world: World, facts: Facts) -> Iterator[None]:
        """A second Service that works; users still call the first."""
        duty = Duty(world, facts)
        duty.mine("expose", duty.deployment, "--name=pinboard-2", "--port=80", f"--target-port={PORT}")
        yield
        duty.mine("delete", "service", "pinboard-2")

    @duty.wrong_mend("closed-nodes", "control-plane-opened", fails="walls", state="no-taint")
    def control_plane_opened(world: World, facts: Facts) -> Iterator[None]:
        duty = Duty(world, facts)
        for name, node in facts["nodes"].items():
            for taint in node["taints"]:
                duty.kubectl("taint", "node", name, f"{taint['key']}:{taint['effect']}-")
        duty.roll_out()
        yield

    @duty.wrong_mend("closed-nodes", "asked-for-less", fails="whole", state="too-few:closed-nodes")
    def asked_for_less(world: World, facts: Facts) -> Iterator[None]:
        duty = Duty(world, facts)
        duty.mine("scale", duty.deployment, "--replicas=1")
        duty.roll_out()
        yield

    @duty.wrong_mend("wrong-question", "without-a-probe", fails="walls", state="no-probe")
    def without_a_probe(world: World, facts: Facts) -> Iterator[None]:
        duty = Duty(world, facts)
        duty.change("deployment", lambda item: container_of(item).pop("readinessProbe"))
        duty.roll_out()
        wait_for(lambda: len(duty.pods()) == REPLICAS, "the pods of before to be gone", timeout_s=60, interval_s=0.2)
        yield
