"""OpenSSH's client: keys, the config that makes `ssh NAME` work, running commands, copying files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab_helpers.core.errors import ToolError
from lab_helpers.core.processes import Completed, need_program, pasteable, run

CONNECT_FAILED = 255
"""The exit code by which ssh itself reports that it did not get through."""


@dataclass(frozen=True)
class Endpoint:
    """Where a guest's SSH server is reached, and with which key. `alias` names it in known_hosts."""

    alias: str
    port: int
    key: Path
    known_hosts: Path
    control: Path
    """The folder for the sockets by which later connections share the first one."""
    host: str = "127.0.0.1"
    user: str = "root"

    def options(self) -> dict[str, str]:
        return {
            "HostName": self.host,
            "Port": str(self.port),
            "User": self.user,
            "IdentityFile": f'"{self.key}"',
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": f'"{self.known_hosts}"',
            "HostKeyAlias": self.alias,
            "StrictHostKeyChecking": "accept-new",
            "LogLevel": "ERROR",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "2",
            "ControlMaster": "auto",
            "ControlPath": f'"{self.control}/%C"',
            "ControlPersist": "60",
        }

    def config(self) -> str:
        """Its entry in an ssh config."""
        lines = [f"Host {self.alias}", *(f"    {name} {value}" for name, value in self.options().items())]
        return "\n".join(lines) + "\n"

    def argv(self, *words: str) -> list[str]:
        """The ssh command for it, complete in itself."""
        options = [part for name, value in self.options().items() for part in ("-o", f"{name}={value}")]
        return [str(need_program("ssh", "SSH")), *options, self.alias, *words]


def make_key(path: Path, comment: str) -> None:
    """Make an ed25519 key pair without a passphrase at `path` (mode 0600), unless it is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    run([need_program("ssh-keygen", "SSH"), "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])


def credential(public_key: Path) -> str:
    """The kernel argument by which systemd in the guest lets this key log in as root: systemd.system-credentials(7)."""
    packed = base64.b64encode(public_key.read_bytes()).decode()
    return f"systemd.set_credential_binary=ssh.authorized_keys.root:{packed}"


def run_in(
    endpoint: Endpoint, argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 30, check: bool = True
) -> Completed:
    """Run a program over SSH. Raises ToolError when there is no connection or, with `check`, when it fails."""
    endpoint.control.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        done = run(endpoint.argv("--", pasteable(argv)), stdin=stdin, timeout_s=timeout_s, check=False)
    except ToolError:
        hang_up(endpoint)  # the shared connection may lead to a guest that has restarted since
        raise
    if done.code == CONNECT_FAILED:
        raise ToolError(
            f"No SSH connection to {endpoint.alias}.", command=f"ssh {endpoint.alias}", output=done.err, code=done.code
        )
    if check and not done.ok:
        raise ToolError(
            f"`{argv[0]}` failed in {endpoint.alias} with exit code {done.code}.",
            command=f"ssh {endpoint.alias} {pasteable([pasteable(argv)])}",
            output=done.err or done.out,
            code=done.code,
        )
    return Completed(tuple(argv), done.code, done.out, done.err)


def hang_up(endpoint: Endpoint) -> None:
    """End the shared connection to an endpoint, if there is one."""
    if endpoint.control.exists() and any(endpoint.control.iterdir()):
        argv = endpoint.argv()
        run([*argv[:-1], "-O", "exit", argv[-1]], check=False)


def hang_up_socket(control: Path) -> None:
    """End the shared connection that listens at a control socket."""
    run([need_program("ssh", "SSH"), "-o", f"ControlPath={control}", "-O", "exit", "any"], check=False)
