"""The kubeconfig of a place: only what is ours is taken out of it, and a lock that a kill left is broken."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from lab_helpers.tools.kubectl import forget_cluster, locked_kubeconfig, parse_kubeconfig, read_kubeconfig


def written(path: Path, *names: str, current: str) -> None:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": "https://127.0.0.1:1"}} for name in names],
        "users": [{"name": name, "user": {}} for name in names],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        "current-context": current,
    }
    path.write_text(json.dumps(content))


def test_a_cluster_is_forgotten_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    written(path, "kind-pinboard", "kind-mine", current="kind-pinboard")
    forget_cluster(path, "pinboard")
    left = read_kubeconfig(path)
    assert [[entry["name"] for entry in left[part]] for part in ("clusters", "users", "contexts")] == [
        ["kind-mine"]
    ] * 3
    assert left["current-context"] == ""
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_current_context_stays(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    written(path, "kind-pinboard", "kind-mine", current="kind-mine")
    forget_cluster(path, "pinboard")
    assert read_kubeconfig(path)["current-context"] == "kind-mine"


def test_what_is_no_business_of_ours_is_not_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("# my notes\nkind: Config\nclusters: []\nusers: []\ncontexts: []\n")
    forget_cluster(path, "pinboard")
    assert path.read_text().startswith("# my notes")
    forget_cluster(tmp_path / "none", "pinboard")
    assert not (tmp_path / "none").exists()


def test_a_text_that_is_no_kubeconfig_is_an_empty_one(tmp_path: Path) -> None:
    assert parse_kubeconfig("just: [a, b") == {}
    assert parse_kubeconfig("words") == {}
    assert read_kubeconfig(tmp_path) == {}


def test_a_lock_that_a_kill_left_is_broken_and_ours_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    lock = tmp_path / "kubeconfig.lock"
    lock.touch()
    long_ago = time.time() - 3600
    os.utime(lock, (long_ago, long_ago))
    with locked_kubeconfig(path):
        assert lock.exists()
    assert not lock.exists()
