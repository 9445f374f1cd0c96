"""The same recipe makes an arm64 guest, which boots. Emulated on other machines: ten minutes, so only with --full."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab_helpers.boundaries.vm import Vm
from lab_helpers.core.settings import Place
from lab_helpers.images.guest_image import find_guest_image, guest_image
from lab_helpers.tools.qemu import host_arch

EMULATED = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")


@pytest.mark.live
@pytest.mark.full
@pytest.mark.optional
def test_an_arm64_guest_is_built_and_boots(here: Place) -> None:
    if not shutil.which("qemu-system-aarch64"):
        pytest.skip("no QEMU for arm64: on Debian the package qemu-system-arm")
    can_build = host_arch() == "arm64" or (EMULATED.exists() and shutil.which("arch-test"))
    if find_guest_image(here, "arm64") is None and not can_build:
        pytest.skip("arm64 programs do not run here: install qemu-user-static, binfmt-support and arch-test")
    vm = Vm.create(here, "arm", guest_image(here, arch="arm64"), memory_mib=640, cpus=2)
    guest = vm.start()
    assert guest.shell("uname -m; nproc; systemctl is-system-running") == "aarch64\n2\nrunning\n"
    vm.stop()
    assert vm.guest() is None
