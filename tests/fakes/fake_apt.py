"""An apt system of scripts: packages are files in a folder, and an installation is a `touch`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tests.fakes.surroundings import Bin

APT_GET = r"""
echo "apt-get $*" >> "$LOG"
for word in "$@"; do case $word in
    indextargets) echo "http://mirror.invalid/debian/"; echo "http://mirror.invalid/debian/"; exit 0 ;;
    update)
        touch "$STATE/updated"
        cp "$STATE"/coming/* "$STATE/available/" 2> /dev/null
        exit "$(cat "$STATE/update-code")" ;;
esac; done
if [ -e "$STATE/mirror-dropped" ] && [ ! -e "$STATE/updated" ]; then echo "E: 404 Not Found" >&2; exit 100; fi
for name in $(ls "$STATE/available"); do case " $* " in *" $name "*)
    echo "0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded."
    echo "Get:1 http://mirror.invalid $name"; echo "Unpacking $name (1.0) ..."; echo "Setting up $name (1.0) ..."
    touch "$STATE/installed/$name" ;;
esac; done
"""
DPKG_QUERY = r"""
case $1 in
    --show) shift 2; for name in "$@"; do [ -e "$STATE/installed/$name" ] && echo "$name 1.0 installed"; done; exit 0 ;;
    --search) [ "$2" = "$STATE/usr/bin/tool" ] && echo "tool-package:amd64: $2" && exit 0; exit 1 ;;
esac
"""
APT_CACHE = r"""
[ $# -gt 1 ] || { echo " release v=12,o=Debian,a=stable,n=bookworm,l=Debian,c=main,b=amd64"; exit 0; }
shift
for name in "$@"; do
    candidate="(none)"; [ ! -e "$STATE/available/$name" ] || candidate=1.0
    printf '%s:\n  Installed: (none)\n  Candidate: %s\n  Version table:\n     1.0 500\n' "$name" "$candidate"
done
"""


SUDO = r"""
echo "sudo $*" >> "$LOG"
case $1 in --validate) exit 0 ;; --non-interactive) shift ;; esac
exec "$@"
"""


class FakeApt:
    """The system. `available`: what its lists offer; `coming`: what they offer after an update."""

    def __init__(self, folder: Path, *, available: Collection[str] = (), coming: Collection[str] = ()) -> None:
        self.state = folder / "apt"
        for kind, names in (("available", available), ("coming", coming), ("installed", ())):
            (self.state / kind).mkdir(parents=True)
            for name in names:
                (self.state / kind / name).touch()
        (self.state / "update-code").write_text("0")
        self.bin = Bin(folder / "bin", "ls", "cp", "mv")
        for name, script in (("apt-get", APT_GET), ("dpkg-query", DPKG_QUERY), ("apt-cache", APT_CACHE)):
            self.bin.fake(name, f"STATE='{self.state}'\n{script}")
        self.bin.fake("sudo", SUDO)

    def installed(self) -> set[str]:
        return {path.name for path in (self.state / "installed").iterdir()}

    def updates(self) -> int:
        return sum(" update" in call for call in self.bin.calls() if call.startswith("apt-get"))
