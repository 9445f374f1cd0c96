"""What helps, by the state that a check saw: from a nudge to nearly the answer."""

from __future__ import annotations

from .cluster import NO_CLUSTER_HINTS
from .names import CLUSTER, DEPLOYMENT, IMAGE, PORT, REPLICAS, SERVICE

CLUSTER = {
    **NO_CLUSTER_HINTS,
    "too-few": (
        "The cluster has fewer workers than the task asks for. Each entry under `nodes:` in kind.yaml is one node.",
        "A cluster that is there gets no new nodes from kind: correct kind.yaml, then "
        f"`!kind delete cluster --name {CLUSTER}`, and create it once more.",
    ),
    "not-ready": (
        "A node is not ready. Right after the creation it takes a few seconds; `kubectl get nodes` shows it.",
        "`!kubectl wait --for=condition=Ready nodes --all --timeout=120s` waits for them.",
        "It stays so? The node's kubelet may have ended: `!docker exec NODE systemctl status kubelet`",
    ),
    "cordoned": (
        "A node is closed for new pods: `kubectl get nodes` says SchedulingDisabled.",
        "`!kubectl uncordon NODE` opens it again.",
    ),
    "no-context": (
        "kubectl has no current context here, so it does not know which cluster you mean.",
        f"`!kind export kubeconfig --name {CLUSTER}` enters the cluster and makes it the current one.",
    ),
    "other-context": (
        "kubectl speaks to somewhere else. `kubectl config get-contexts` marks the current one with a star.",
        f"`!kubectl config use-context kind-{CLUSTER}`",
    ),
}

POD_HINTS = {
    "starting": (
        f"Its pods are being started. `!kubectl rollout status deployment/{DEPLOYMENT}` waits for them.",
        "It stays so? `!kubectl describe pods` ends with what happened.",
    ),
    "none-wanted": (
        "The Deployment is there, and wants no pods.",
        f"`!kubectl scale deployment {DEPLOYMENT} --replicas=1`",
    ),
    "unscheduled": (
        "A pod is Pending: no node takes it. `kubectl describe pod` says in its last lines what each node lacks.",
        "A node that is cordoned takes none (`kubectl uncordon NODE`); a request that no node can meet is never met.",
    ),
    "no-image": (
        "The node has no such image, and nobody to get it from. What you built is in your machine's engine; a "
        "node has a store of its own.",
        f"Compare the name in the manifest with the one that you built, and load it: "
        f"`!kind load docker-image {IMAGE} --name {CLUSTER}`",
    ),
    "always-pulled": (
        "The image is on the node, and Kubernetes asks a registry all the same: imagePullPolicy is Always. For the tag "
        "`:latest`, or none, it is so by default.",
        f"Give the image a tag that says which one it is: `{IMAGE}`.",
    ),
    "crashes": (
        "The container starts and ends, again and again.",
        "Its last words: `!kubectl logs deployment/" + DEPLOYMENT + " --previous`",
    ),
    "not-ready": (
        "The container runs, but the readiness probe does not succeed, so nobody is sent there.",
        f"Which path and port does it ask? Pinboard says `/readyz` on port {PORT}. `!kubectl describe pods` shows what "
        "the probe heard.",
    ),
}

DEPLOY = {
    **NO_CLUSTER_HINTS,
    **POD_HINTS,
    "no-deployment": (
        "There is no Deployment yet. deployment.yaml describes one; two places in it are yours.",
        f"Fill in the image ({IMAGE}) and the probe's path, then `!kubectl apply -f deployment.yaml`.",
    ),
    "bare-pod": (
        "Pinboard runs in a pod of its own. Nobody replaces such a pod when it or its node dies.",
        "A Deployment makes its pods itself: `!kubectl apply -f deployment.yaml`",
    ),
    "other-owner": (
        "Pinboard runs, but it is not a Deployment that keeps it: the kind of its owner decides what happens when "
        "you want a new version or more of it.",
        "`!kubectl apply -f deployment.yaml` makes a Deployment.",
    ),
    "silent": (
        "A pod counts as ready, but nobody answers at its address. On which address does the service listen?",
        "Inside of the pod, 127.0.0.1 is the pod's own: PINBOARD_HOST has to be 0.0.0.0, as in the Dockerfile.",
    ),
    "not-pinboard": (
        "Something answers in that pod, but not Pinboard as itself.",
        f"Which image runs there? `!kubectl describe deployment {DEPLOYMENT}`. Build it with `docker build -t "
        f"{IMAGE} .` in this folder.",
    ),
}

SCALE = {
    **NO_CLUSTER_HINTS,
    **POD_HINTS,
    "no-deployment": ("There is no Deployment to scale. Do the step before this one first.",),
    "bare-pod": (
        "Those are pods of nobody: three of a kind, but nobody keeps them at three.",
        "Let a Deployment make them.",
    ),
    "other-owner": ("Pinboard runs, but not in the pods of a Deployment. Do the step before this one first.",),
    "too-few": (
        "The Deployment wants another number of pods than the task. It keeps exactly as many as it is told.",
        f"`replicas` in the manifest, or: `!kubectl scale deployment {DEPLOYMENT} --replicas={REPLICAS}`",
    ),
    "silent": ("Not every ready pod answers as Pinboard. Do all of them run the same image?",),
    "one-node": (
        "All of them sit on one node. When that node goes, all of them go at once. "
        "`kubectl get pods -o wide` shows where they are.",
        "What keeps them there? A nodeSelector in the manifest, or a node that is cordoned (`kubectl get nodes`).",
        "Pods never move by themselves. Once the reason is gone, delete one: its successor may go elsewhere.",
    ),
}

SERVICE = {
    **NO_CLUSTER_HINTS,
    "no-deployment": ("There is no Deployment that serves. Do the steps before this one first.",),
    "no-service": (
        "There is no Service beside the Deployment. `kubectl expose --help` shows how one is made.",
        f"`!kubectl expose deployment {DEPLOYMENT} --port=80 --target-port={PORT}`",
    ),
    "other-namespace": (
        "There is a Service, but in another namespace. A Service selects pods of its own namespace only.",
        f"Make it beside the Deployment: `!kubectl expose deployment {DEPLOYMENT} --port=80 --target-port={PORT}`",
    ),
    "no-endpoints": (
        "The Service selects no pod that is ready. It finds its pods by their labels.",
        "Compare `kubectl get service -o wide` (its selector) with `kubectl get pods --show-labels`.",
        f"`!kubectl delete service {SERVICE}`, then `!kubectl expose deployment {DEPLOYMENT} --port=80 "
        f"--target-port={PORT}`",
    ),
    "external": (
        "That Service is of the type ExternalName: just another name, and no way to your pods.",
        f"`!kubectl delete service {SERVICE}`, then expose the Deployment.",
    ),
    "strangers": (
        "The Service leads to pods that do not belong to your Deployment. Which labels does it select, and who "
        "else carries them?",
        "`!kubectl get pods --show-labels`",
    ),
    "sometimes": (
        "Some requests are answered and some fail: behind the Service is a pod that does not serve.",
        "`!kubectl get endpointslices -o wide` lists who is behind it. Does each one have a readiness probe?",
    ),
    "no-dns": (
        "The name is not known inside of a pod. Does the cluster's DNS run?",
        "`!kubectl get pods -n kube-system -l k8s-app=kube-dns`",
    ),
    "no-answer": (
        "The Service leads to the right pods, but nobody answers. On which of their ports does it knock?",
        f"Pinboard listens on {PORT}: that has to be the Service's targetPort. Its own port may be any.",
    ),
    "headless": (
        "A Service without an address of its own (clusterIP: None) leaves the client with the pods' addresses: there, "
        "nobody turns its port into another one.",
        f"Expose the Deployment with an ordinary Service, or let the headless one have port {PORT}.",
    ),
    "alone": (
        "A pod that asks for the name hears only itself, so this shows nothing yet. Are there several pods?",
        f"`!kubectl scale deployment {DEPLOYMENT} --replicas={REPLICAS}`",
    ),
}
