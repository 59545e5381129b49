"""A program of a few hundred bytes for the probe's image: it carries what it reads from one pipe to another.

It needs nothing of an image but itself: no libc, no shell. It opens `/pipes/in`, reads at most 64 bytes,
opens `/pipes/out`, writes them there and exits with 0. It looks for no errors: whoever waits at the other end
of `/pipes/out` sees that nothing comes. The machine code below was written by hand for this; each line is an
instruction.
"""

from __future__ import annotations

import struct

IN, OUT = "/pipes/in", "/pipes/out"
"""Where the program looks for its pipes. The code below knows how long these are."""

_STRINGS = f"{IN}\0{OUT}\0".encode()
_BASE, _HEADERS = 0x400000, 64 + 56  # where it is loaded; the bytes of the two headers below

_X86_64 = bytes.fromhex(
    "488d3d47000000"  # lea  rdi, [rip + 0x47]   "/pipes/in", which follows the code
    "31f6"  #            xor  esi, esi           O_RDONLY
    "b802000000"  #      mov  eax, 2             open
    "0f05"  #            syscall
    "89c7"  #            mov  edi, eax
    "488d7424c0"  #      lea  rsi, [rsp - 64]    the buffer: nothing else uses the stack
    "ba40000000"  #      mov  edx, 64
    "31c0"  #            xor  eax, eax           read
    "0f05"  #            syscall
    "89c3"  #            mov  ebx, eax           how many bytes came
    "488d3d2f000000"  #  lea  rdi, [rip + 0x2f]  "/pipes/out"
    "be01000000"  #      mov  esi, 1             O_WRONLY
    "b802000000"  #      mov  eax, 2             open
    "0f05"  #            syscall
    "89c7"  #            mov  edi, eax
    "488d7424c0"  #      lea  rsi, [rsp - 64]
    "89da"  #            mov  edx, ebx
    "b801000000"  #      mov  eax, 1             write
    "0f05"  #            syscall
    "31ff"  #            xor  edi, edi
    "b83c000000"  #      mov  eax, 60            exit
    "0f05"  #            syscall
)

_AARCH64 = struct.pack(
    "<23I",
    0xD10103FF,  # sub  sp, sp, #64
    0x92800C60,  # mov  x0, #-100       AT_FDCWD: there is no plain open
    0x100002A1,  # adr  x1, pc + 84     "/pipes/in", which follows the code
    0xD2800002,  # mov  x2, #0          O_RDONLY
    0xD2800708,  # mov  x8, #56         openat
    0xD4000001,  # svc  #0
    0x910003E1,  # mov  x1, sp          the descriptor is in x0
    0xD2800802,  # mov  x2, #64
    0xD28007E8,  # mov  x8, #63         read
    0xD4000001,  # svc  #0
    0xAA0003F3,  # mov  x19, x0         how many bytes came
    0x92800C60,  # mov  x0, #-100
    0x500001A1,  # adr  x1, pc + 54     "/pipes/out"
    0xD2800022,  # mov  x2, #1          O_WRONLY
    0xD2800708,  # mov  x8, #56         openat
    0xD4000001,  # svc  #0
    0x910003E1,  # mov  x1, sp
    0xAA1303E2,  # mov  x2, x19
    0xD2800808,  # mov  x8, #64         write
    0xD4000001,  # svc  #0
    0xD2800000,  # mov  x0, #0
    0xD2800BA8,  # mov  x8, #93         exit
    0xD4000001,  # svc  #0
)

_MACHINES = {"x86_64": (62, _X86_64), "aarch64": (183, _AARCH64)}
_SPELLINGS = {"amd64": "x86_64", "arm64": "aarch64"}  # Go's, which both engines use


def program(architecture: str) -> bytes | None:
    """The executable for an architecture in the kernel's or in Go's spelling; None where we have none."""
    known = _MACHINES.get(_SPELLINGS.get(architecture, architecture))
    if known is None:
        return None
    machine, code = known
    size = _HEADERS + len(code) + len(_STRINGS)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",  # 64 bits, little-endian, version 1
        2,  # an executable
        machine,
        1,
        _BASE + _HEADERS,  # its entry: right behind the headers
        64,  # the program header follows this one
        0,
        0,
        64,
        56,
        1,
        0,
        0,
        0,
    )
    # One segment, all of the file, to be read and executed.
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + code + _STRINGS
