"""A cluster's API, asked through the kubernetes client's connection: plain JSON, short waits, one error for silence.

Paths and objects: https://kubernetes.io/docs/reference/kubernetes-api/. The client's typed models are left out on
purpose: they take a second and 30 MB to import, and a check needs a handful of fields.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from lab_helpers.core.errors import LabError
from lab_helpers.tools.kind import CONTROL_PLANE

Object = dict[str, Any]
"""A Kubernetes object as JSON."""
CONNECT_S = 3
READ_S = 10


class ClusterSilentError(LabError):
    """A cluster is there, but its API does not answer, or not as a healthy one does. That is its state, not a bug."""


@dataclass(frozen=True)
class Node:
    """A node as the cluster sees it."""

    name: str
    control_plane: bool
    ready: bool
    """Its Ready condition is true, and its kubelet answers now: the condition alone is up to 50 s old."""
    cordoned: bool
    address: str
    why: str
    """What is wrong with it; empty when it is ready."""


@dataclass(frozen=True)
class Reply:
    """What a request through the API brought."""

    status: int
    text: str


class _NoAnswerInTimeError(ClusterSilentError):
    """It took the request, and then took too long."""


class Api:
    """A connection to one cluster."""

    def __init__(self, name: str, kubeconfig: Object) -> None:
        """Of a kubeconfig the current context is taken. Raises ClusterSilentError when it leads nowhere."""
        self.name = name
        config = importlib.import_module("kubernetes.config")
        try:
            self.client: Any = config.new_client_from_config_dict(kubeconfig)
        except config.ConfigException as error:
            raise self._silent(f"its kubeconfig leads nowhere: {error}") from None
        """The kubernetes client's own, for whoever wants its typed APIs: `CoreV1Api(api.client)`."""
        if self.client.configuration.proxy:  # it is on 127.0.0.1, whatever a proxy's settings say
            self.client.configuration.proxy = None
            self.client.rest_client = type(self.client.rest_client)(self.client.configuration)

    def request(self, path: str, *, timeout_s: float = READ_S) -> Reply:
        """GET a path as the cluster's administrator; any status is an answer. Raises ClusterSilentError."""
        with self._answer(path, timeout_s) as answer:
            return Reply(answer.status, answer.data.decode(errors="replace"))

    def send(self, method: str, path: str, body: Object | None = None, *, timeout_s: float = READ_S) -> Reply:
        """Change something: POST, PUT, PATCH (a merge patch) or DELETE. Any status is an answer.

        Raises ClusterSilentError.
        """
        with self._answer(path, timeout_s, method=method, body=body) as answer:
            return Reply(answer.status, answer.data.decode(errors="replace"))

    def get(self, path: str) -> Object | None:
        """One object, or a list of them; None when there is none. Raises ClusterSilentError."""
        reply = self.request(path)
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise self._silent(f"{path}: status {reply.status}: {reply.text[:200]}")
        found = json.loads(reply.text)
        assert isinstance(found, dict)
        return found

    def items(self, path: str) -> list[Object]:
        """The objects of a list, for example of "/api/v1/pods"; empty when the cluster does not know that kind."""
        return list((self.get(path) or {}).get("items") or [])

    def watch(self, path: str, version: str) -> Iterator[Object]:
        """What happens to the objects of a list since that version of it, until the connection ends (or an hour has
        passed)."""
        query = urlencode({"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"})
        with self._answer(f"{path}?{query}", 3600, stream=True) as answer:
            if answer.status != 200:
                raise self._silent(f"{path}: status {answer.status}")
            rest = b""
            for chunk in answer.stream(amt=None):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (json.loads(line) for line in lines if line.strip())

    def ask_pod(self, pod: Object, port: int, path: str, *, timeout_s: float = 3) -> Reply:
        """GET from a pod's own address, as a client inside of the cluster: the API server passes it on.

        Status 502 to 504: nobody answered there.
        """
        meta = pod["metadata"]
        name = f"/api/v1/namespaces/{quote(meta['namespace'])}/pods/{quote(meta['name'])}:{port}/proxy{path}"
        try:
            return self.request(name, timeout_s=timeout_s)
        except _NoAnswerInTimeError as error:
            return Reply(504, error.why)

    def nodes(self) -> list[Node]:
        """All nodes, control planes first. Each one's kubelet is asked. Raises ClusterSilentError."""
        found = [self._node(item) for item in self.items("/api/v1/nodes")]
        return sorted(found, key=lambda node: (not node.control_plane, node.name))

    def _node(self, item: Object) -> Node:
        name = item["metadata"]["name"]
        conditions = {each["type"]: each for each in item.get("status", {}).get("conditions") or []}
        addresses = item.get("status", {}).get("addresses") or []
        ready = conditions.get("Ready", {})
        why = ""
        if ready.get("status") != "True":
            why = ready.get("message") or ready.get("reason") or "it has not reported yet"
        elif not self._kubelet_answers(name):
            why = "its kubelet does not answer"
        return Node(
            name=name,
            control_plane=f"node-role.kubernetes.io/{CONTROL_PLANE}" in item["metadata"].get("labels", {}),
            ready=not why,
            cordoned=bool(item.get("spec", {}).get("unschedulable")),
            address=next((each["address"] for each in addresses if each["type"] == "InternalIP"), ""),
            why=why,
        )

    def _kubelet_answers(self, node: str) -> bool:
        try:
            return self.request(f"/api/v1/nodes/{quote(node)}/proxy/healthz", timeout_s=3).status == 200
        except _NoAnswerInTimeError:
            return False

    @contextlib.contextmanager
    def _answer(
        self, path: str, timeout_s: float, *, stream: bool = False, method: str = "GET", body: Object | None = None
    ) -> Iterator[Any]:
        import urllib3

        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            answer = self.client.rest_client.pool_manager.request(
                method,
                self.client.configuration.host + path,
                body=None if body is None else json.dumps(body).encode(),
                headers=None if body is None else {"Content-Type": kind},
                timeout=urllib3.Timeout(connect=CONNECT_S, read=timeout_s),
                retries=False,
                preload_content=not stream,
            )
            try:
                yield answer
            finally:
                answer.close()
        except urllib3.exceptions.ReadTimeoutError:
            raise self._silent(f"no answer within {timeout_s:g} s", _NoAnswerInTimeError) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._silent(str(error)) from None

    def _silent(self, why: str, kind: type[ClusterSilentError] = ClusterSilentError) -> ClusterSilentError:
        return kind(
            f"The cluster {self.name} does not answer.",
            why=why,
            do=f"look at it: kubectl --context kind-{self.name} get nodes",
        )


def is_ready(pod: Object) -> bool:
    """A pod that is ready to serve, and not about to end."""
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
