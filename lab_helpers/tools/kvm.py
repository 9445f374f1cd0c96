"""Which accelerator really runs a guest here? Opening /dev/kvm is no proof: a nested KVM may open and then hang.

The proof on x86-64 is a guest of a few bytes, run through KVM's own interface in a process of its own: it switches to
64-bit mode, counts to three million and says 'K' on a port. Hardware needs milliseconds for that, emulation seconds.
Interface: https://docs.kernel.org/virt/kvm/api.html
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import mmap
import os
import platform
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Literal

LIMIT_S = 0.5
"""How long the proof may take, in seconds. Working KVM needs about 0.01."""

_CREATE_VM, _GET_API_VERSION, _MMAP_SIZE, _CREATE_VCPU, _RUN = 0xAE01, 0xAE00, 0xAE04, 0xAE41, 0xAE80
_SET_MEMORY, _GET_CPUID, _SET_CPUID = 0x4020AE46, 0xC008AE05, 0x4008AE90
_GET_SREGS, _SET_SREGS, _SET_REGS = 0x8138AE83, 0x4138AE84, 0x4090AE82
_EXIT_IO, _EXIT_HLT = 2, 5


@dataclass(frozen=True)
class Accelerator:
    """How QEMU runs the guest's instructions: by the processor (kvm, hvf) or by translating them (tcg)."""

    name: Literal["kvm", "hvf", "tcg"]
    why: str


@functools.lru_cache(maxsize=1)
def probe_accelerator() -> Accelerator:  # noqa: PLR0911 - one return for each thing that can be the case
    """The fastest accelerator that is proven to work, and why. Takes LIMIT_S seconds at most; asked once a process."""
    if sys.platform == "darwin":
        done = subprocess.run(["sysctl", "-n", "kern.hv_support"], capture_output=True, text=True, check=False)
        if done.stdout.strip() == "1":
            return Accelerator("hvf", "macOS says that this processor supports its Hypervisor framework")
        return Accelerator("tcg", "macOS says that this machine has no Hypervisor framework")
    if not os.path.exists("/dev/kvm"):  # noqa: PTH110 - this file also runs without site-packages, early imports count
        return Accelerator("tcg", "there is no /dev/kvm: no hardware virtualization, or it is off in the firmware")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accelerator("tcg", "/dev/kvm is there, but this user may not open it (group kvm)")
    if platform.machine() not in ("x86_64", "AMD64"):
        return Accelerator("kvm", "/dev/kvm opens (on this architecture the proof is the first guest itself)")
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-S", "-E", __file__], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Accelerator(
            "tcg", f"/dev/kvm opens, but a tiny guest did not finish within {LIMIT_S} s: it does not run at full speed"
        )
    if done.returncode != 0:
        return Accelerator("tcg", f"/dev/kvm opens, but a tiny guest did not run: {done.stderr.strip()[-120:]}")
    return Accelerator("kvm", f"a tiny guest ran through /dev/kvm in {(time.perf_counter() - began) * 1000:.0f} ms")


def _segment(selector: int, kind: int, long_mode: int, default_32: int) -> bytes:
    return struct.pack("<QIHBBBBBBBBBB", 0, 0xFFFFFFFF, selector, kind, 1, 0, default_32, 1, long_mode, 1, 0, 0, 0)


def _run_tiny_guest(count: int = 3_000_000) -> None:
    """Run the guest; exits with a message when anything is not as it should be. Runs in a process of its own."""
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    if fcntl.ioctl(kvm, _GET_API_VERSION, 0) != 12:
        sys.exit("KVM speaks another version of its interface")
    vm = fcntl.ioctl(kvm, _CREATE_VM, 0)
    memory = mmap.mmap(-1, 0x20000)
    # mov ecx,count; loop: dec ecx; jnz loop; mov al,'K'; mov dx,0x3f8; out dx,al; hlt
    code = b"\xb9" + struct.pack("<I", count) + b"\xff\xc9\x75\xfc\xb0K\x66\xba\xf8\x03\xee\xf4"
    memory[0x10000 : 0x10000 + len(code)] = code
    for address, entry in ((0x1000, 0x2007), (0x2000, 0x3007), (0x3000, 0x87)):  # page tables: 2 MiB, identity
        struct.pack_into("<Q", memory, address, entry)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, _SET_MEMORY, struct.pack("IIQQQ", 0, 0, 0, 0x20000, base))
    cpu = fcntl.ioctl(vm, _CREATE_VCPU, 0)
    shared = mmap.mmap(cpu, fcntl.ioctl(kvm, _MMAP_SIZE, 0))
    cpuid = bytearray(8 + 40 * 256)
    struct.pack_into("<I", cpuid, 0, 256)
    fcntl.ioctl(kvm, _GET_CPUID, cpuid)
    fcntl.ioctl(cpu, _SET_CPUID, cpuid)
    special = bytearray(312)
    fcntl.ioctl(cpu, _GET_SREGS, special)
    special[0:24] = _segment(8, 11, 1, 0)
    for index in range(1, 6):
        special[24 * index : 24 * index + 24] = _segment(16, 3, 0, 1)
    for offset, value in ((224, 0x80050033), (240, 0x1000), (248, 0x20), (264, 0x500)):  # cr0, cr3, cr4, efer
        struct.pack_into("<Q", special, offset, value)
    fcntl.ioctl(cpu, _SET_SREGS, special)
    registers = bytearray(144)
    struct.pack_into("<QQ", registers, 128, 0x10000, 2)  # rip, rflags
    fcntl.ioctl(cpu, _SET_REGS, registers)
    said = b""
    while True:
        fcntl.ioctl(cpu, _RUN, 0)
        reason = struct.unpack_from("<I", shared, 8)[0]
        if reason == _EXIT_IO:
            offset = struct.unpack_from("<BBHIQ", shared, 32)[4]
            said += shared[offset : offset + 1]
        else:
            sys.exit(0 if reason == _EXIT_HLT and said == b"K" else f"the guest stopped with KVM exit reason {reason}")


if __name__ == "__main__":
    _run_tiny_guest()
