# SPDX-License-Identifier: Apache-2.0
"""bpf(2) through ``libbpf.so.1``: one typed function a command, errors mapped.

libbpf is a dependency of bcc, so nothing is installed for it. Its low-level
functions (<bpf/bpf.h>) return ``-errno``; here that becomes KernelFailure. bcc's
own loader is not used: it cannot set an expected attach type, make a bpf_link
or load a program whose maps it did not create.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

from bpfast.errors import KernelFailure

PROG_TYPE_SCHED_CLS = 3
PROG_TYPE_XDP = 6
ATTACH_XDP = 37
ATTACH_TCX_INGRESS = 46
ATTACH_TCX_EGRESS = 47
XDP_FLAGS_SKB_MODE = 2
XDP_FLAGS_DRV_MODE = 4

MAP_HASH = 1
MAP_ARRAY = 2
MAP_PROG_ARRAY = 3
MAP_PERCPU_ARRAY = 6
MAP_LRU_HASH = 9
MAP_QUEUE = 22
MAP_RINGBUF = 27
MAP_LPM_TRIE = 11
NO_PREALLOC = 1
MMAPABLE = 1 << 10

_NR_BPF = {"x86_64": 321, "aarch64": 280}
_CMD_LINK_GET_NEXT_ID = 31
_CMD_LINK_GET_FD_BY_ID = 30
_CMD_OBJ_GET_INFO_BY_FD = 15
_CMD_PROG_GET_FD_BY_ID = 13
_LOG_BYTES = 16 << 20


class _LoadOpts(ctypes.Structure):
    """struct bpf_prog_load_opts of libbpf 1.0."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("attempts", ctypes.c_int),
        ("expected_attach_type", ctypes.c_uint),
        ("prog_btf_fd", ctypes.c_uint),
        ("prog_flags", ctypes.c_uint),
        ("prog_ifindex", ctypes.c_uint),
        ("kern_version", ctypes.c_uint),
        ("attach_btf_id", ctypes.c_uint),
        ("attach_prog_fd", ctypes.c_uint),
        ("attach_btf_obj_fd", ctypes.c_uint),
        ("fd_array", ctypes.c_void_p),
        ("func_info", ctypes.c_void_p),
        ("func_info_cnt", ctypes.c_uint),
        ("func_info_rec_size", ctypes.c_uint),
        ("line_info", ctypes.c_void_p),
        ("line_info_cnt", ctypes.c_uint),
        ("line_info_rec_size", ctypes.c_uint),
        ("log_level", ctypes.c_uint),
        ("log_size", ctypes.c_uint),
        ("log_buf", ctypes.c_void_p),
    )


class _MapOpts(ctypes.Structure):
    """struct bpf_map_create_opts of libbpf 1.0."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("btf_fd", ctypes.c_uint),
        ("btf_key_type_id", ctypes.c_uint),
        ("btf_value_type_id", ctypes.c_uint),
        ("btf_vmlinux_value_type_id", ctypes.c_uint),
        ("inner_map_fd", ctypes.c_uint),
        ("map_flags", ctypes.c_uint),
        ("map_extra", ctypes.c_ulonglong),
        ("numa_node", ctypes.c_uint),
        ("map_ifindex", ctypes.c_uint),
    )


class _LinkOpts(ctypes.Structure):
    """struct bpf_link_create_opts of libbpf 1.0, up to the part used."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("flags", ctypes.c_uint),
        ("iter_info", ctypes.c_void_p),
        ("iter_info_len", ctypes.c_uint),
        ("target_btf_id", ctypes.c_uint),
        ("padding", ctypes.c_ulonglong * 4),
    )


class _TestRunOpts(ctypes.Structure):
    """struct bpf_test_run_opts of libbpf 1.0."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint),
        ("data_size_out", ctypes.c_uint),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint),
        ("ctx_size_out", ctypes.c_uint),
        ("retval", ctypes.c_uint),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("cpu", ctypes.c_uint),
        ("batch_size", ctypes.c_uint),
    )


@cache
def library() -> Any:
    """Return libbpf, silenced: this module reports errors itself."""
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        msg = "libbpf.so.1 cannot be loaded: install Debian's libbpf1"
        raise KernelFailure(msg) from error
    library.libbpf_set_print(None)
    return library


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = -result if result != -1 else (ctypes.get_errno() or errno.EPERM)
        msg = f"{what}: {errno.errorcode.get(number, number)}: {os.strerror(number)}"
        raise KernelFailure(msg) from OSError(number, os.strerror(number))
    return result


def error_number(failure: KernelFailure) -> int:
    """Return the errno behind a KernelFailure, or 0."""
    cause = failure.__cause__
    return cause.errno or 0 if isinstance(cause, OSError) else 0


def bpf(command: int, attributes: bytes) -> int:
    """Make the system call itself, for the few commands that libbpf 1.1 does not wrap."""
    number = _NR_BPF[os.uname().machine]
    buffer = ctypes.create_string_buffer(attributes.ljust(144, b"\0"), 144)
    result = _libc().syscall(number, command, buffer, ctypes.c_uint(144))
    return _checked(result, f"bpf command {command}")


def prog_load(
    prog_type: int, instructions: bytes, name: str, *, licence: str = "Dual BSD/GPL", attach_type: int = 0
) -> int:
    """Load a program and return its file descriptor; the verifier's log is in the error."""
    options = _LoadOpts(sz=ctypes.sizeof(_LoadOpts), expected_attach_type=attach_type)
    arguments = (
        prog_type,
        name.encode(),
        licence.encode(),
        instructions,
        ctypes.c_size_t(len(instructions) // 8),
    )
    result = library().bpf_prog_load(*arguments, ctypes.byref(options))
    if result >= 0:
        return int(result)
    log = ctypes.create_string_buffer(_LOG_BYTES)
    options.log_level, options.log_size = 1, _LOG_BYTES
    options.log_buf = ctypes.cast(log, ctypes.c_void_p)
    result = library().bpf_prog_load(*arguments, ctypes.byref(options))
    tail = log.value.decode(errors="replace")[-4000:]
    return _checked(result, f"loading {name!r}: the verifier says:\n{tail}\n")


def verifier_log(prog_type: int, instructions: bytes, name: str, *, attach_type: int = 0) -> str:
    """Load once more with statistics on and return the verifier's last words."""
    log = ctypes.create_string_buffer(_LOG_BYTES)
    options = _LoadOpts(sz=ctypes.sizeof(_LoadOpts), expected_attach_type=attach_type, log_level=4)
    options.log_size, options.log_buf = _LOG_BYTES, ctypes.cast(log, ctypes.c_void_p)
    result = library().bpf_prog_load(
        prog_type,
        name.encode(),
        b"Dual BSD/GPL",
        instructions,
        ctypes.c_size_t(len(instructions) // 8),
        ctypes.byref(options),
    )
    os.close(_checked(result, f"loading {name!r}"))
    return log.value.decode(errors="replace")


def map_create(  # noqa: PLR0913 - the parameters of bpf_map_create()
    map_type: int, name: str, *, key: int, value: int, entries: int, flags: int = 0
) -> int:
    """Create a map; ``key`` and ``value`` are sizes in bytes. Returns its file descriptor."""
    options = _MapOpts(sz=ctypes.sizeof(_MapOpts), map_flags=flags)
    result = library().bpf_map_create(map_type, name.encode(), key, value, entries, ctypes.byref(options))
    return _checked(result, f"creating map {name!r}")


def map_update(fd: int, key: bytes | None, value: bytes, flags: int = 0) -> None:
    """Write one element; a queue has no key."""
    _checked(library().bpf_map_update_elem(fd, key, value, ctypes.c_ulonglong(flags)), "map update")


def map_lookup(fd: int, key: bytes, size: int) -> bytes | None:
    """Return one element of ``size`` bytes, or None where there is none."""
    value = ctypes.create_string_buffer(size)
    result = library().bpf_map_lookup_elem(fd, key, value)
    if result == -errno.ENOENT:
        return None
    _checked(result, "map lookup")
    return value.raw


def map_values(fd: int, entries: int, size: int) -> bytes:
    """Return all values of an array in one call: ``entries`` of them, of ``size`` bytes each."""
    values = ctypes.create_string_buffer(entries * size)
    keys = (ctypes.c_uint32 * entries)()
    batch, count = ctypes.c_uint32(), ctypes.c_uint32(entries)
    result = library().bpf_map_lookup_batch(
        fd, None, ctypes.byref(batch), keys, values, ctypes.byref(count), None
    )
    if result != -errno.ENOENT:  # that is what the kernel says behind the last one
        _checked(result, "map batch lookup")
    return values.raw


def map_delete(fd: int, key: bytes) -> bool:
    """Delete one element; False where there was none."""
    result = library().bpf_map_delete_elem(fd, key)
    if result == -errno.ENOENT:
        return False
    _checked(result, "map delete")
    return True


def map_keys(fd: int, size: int) -> Iterator[bytes]:
    """Yield the keys of a hash map; a key deleted while walking may start the walk again."""
    key: bytes | None = None
    following = ctypes.create_string_buffer(size)
    while True:
        result = library().bpf_map_get_next_key(fd, key, following)
        if result == -errno.ENOENT:
            return
        _checked(result, "map walk")
        key = following.raw
        yield key


def link_create(prog_fd: int, ifindex: int, attach_type: int, flags: int = 0) -> int:
    """Attach a program to an interface of this thread's network namespace by a bpf_link."""
    options = _LinkOpts(sz=_LinkOpts.padding.offset, flags=flags)
    result = library().bpf_link_create(
        prog_fd, ifindex, attach_type, ctypes.byref(options) if flags else None
    )
    return _checked(result, f"attaching to interface {ifindex} (attach type {attach_type})")


def link_update(link_fd: int, prog_fd: int) -> None:
    """Put another program under a link, without a gap."""
    _checked(library().bpf_link_update(link_fd, prog_fd, None), "replacing the program of a link")


def link_detach(link_fd: int) -> None:
    """Take a link off its interface, whoever else holds it."""
    _checked(library().bpf_link_detach(link_fd), "detaching a link")


def link_info(link_fd: int) -> tuple[int, int, int]:
    """Return (link type, program id, interface index); the index is 0 when the interface is gone."""
    buffer = ctypes.create_string_buffer(256)
    attributes = struct.pack("IIQ", link_fd, 256, ctypes.addressof(buffer))
    bpf(_CMD_OBJ_GET_INFO_BY_FD, attributes)
    link_type, _link_id, prog_id = struct.unpack_from("III", buffer.raw)
    (ifindex,) = struct.unpack_from("I", buffer.raw, 16)
    return link_type, prog_id, ifindex


def links() -> Iterator[tuple[int, int, int]]:
    """Yield (link type, program id, interface index) of every link of the kernel."""
    number = 0
    while True:
        attributes = ctypes.create_string_buffer(struct.pack("=III", number, 0, 0), 12)
        result = _libc().syscall(_NR_BPF[os.uname().machine], _CMD_LINK_GET_NEXT_ID, attributes, 12)
        if result < 0 and ctypes.get_errno() == errno.ENOENT:
            return
        _checked(result, "walking the links")
        (number,) = struct.unpack_from("=I", attributes.raw, 4)
        try:
            fd = bpf(_CMD_LINK_GET_FD_BY_ID, struct.pack("=I", number))
        except KernelFailure:
            continue  # gone meanwhile
        try:
            yield link_info(fd)
        finally:
            os.close(fd)


def xdp_attach(ifindex: int, prog_fd: int, flags: int) -> None:
    """Attach an XDP program by netlink, as ``ip link`` does, in this thread's network namespace."""
    result = library().bpf_xdp_attach(ifindex, prog_fd, ctypes.c_uint(flags), None)
    _checked(result, f"attaching an XDP program to interface {ifindex}")


def xdp_detach(ifindex: int, flags: int) -> None:
    """Take an XDP program off that was attached by netlink."""
    result = library().bpf_xdp_detach(ifindex, ctypes.c_uint(flags), None)
    _checked(result, f"taking the XDP program off interface {ifindex}")


def prog_name(prog_fd: int) -> str:
    """Return the name of a loaded program; the kernel keeps 15 characters."""
    buffer = ctypes.create_string_buffer(256)
    bpf(_CMD_OBJ_GET_INFO_BY_FD, struct.pack("IIQ", prog_fd, 256, ctypes.addressof(buffer)))
    # struct bpf_prog_info: name stands behind type, id, tag, four lengths and pointers, times.
    return buffer.raw[64:80].split(b"\0")[0].decode(errors="replace")


def map_info(fd: int) -> tuple[int, int, int]:
    """Return a map's (kernel's number, size of a value, number of elements)."""
    buffer = ctypes.create_string_buffer(256)
    bpf(_CMD_OBJ_GET_INFO_BY_FD, struct.pack("IIQ", fd, 256, ctypes.addressof(buffer)))
    _type, number, _key, value, entries = struct.unpack_from("IIIII", buffer.raw)
    return number, value, entries


def prog_fd_by_id(prog_id: int) -> int:
    """Return a file descriptor of a loaded program."""
    return bpf(_CMD_PROG_GET_FD_BY_ID, struct.pack("I", prog_id))


def prog_id(prog_fd: int) -> int:
    """Return the kernel's number of a loaded program."""
    buffer = ctypes.create_string_buffer(256)
    bpf(_CMD_OBJ_GET_INFO_BY_FD, struct.pack("IIQ", prog_fd, 256, ctypes.addressof(buffer)))
    return int(struct.unpack_from("II", buffer.raw)[1])


def pin(fd: int, path: str) -> None:
    """Pin a map, program or link on a bpf file system."""
    _checked(library().bpf_obj_pin(fd, path.encode()), f"pinning {path!r}")


def pinned(path: str) -> int:
    """Return a file descriptor of what is pinned at ``path``."""
    return _checked(library().bpf_obj_get(path.encode()), f"opening pin {path!r}")


def test_run(
    prog_fd: int, packet: bytes, *, repeat: int = 1, room: int = 4096, context: bytearray | None = None
) -> tuple[int, bytes, int]:
    """BPF_PROG_TEST_RUN: return (action, packet afterwards, nanoseconds a run).

    ``context`` is what the program's context holds (``struct __sk_buff``); the
    program's changes are in it afterwards.
    """
    out = ctypes.create_string_buffer(room)
    options = _TestRunOpts(
        sz=ctypes.sizeof(_TestRunOpts), data_size_in=len(packet), data_size_out=room, repeat=repeat
    )
    options.data_in = ctypes.cast(ctypes.c_char_p(packet), ctypes.c_void_p)
    options.data_out = ctypes.cast(out, ctypes.c_void_p)
    if context is not None:
        held = (ctypes.c_char * len(context)).from_buffer(context)
        options.ctx_in = options.ctx_out = ctypes.cast(held, ctypes.c_void_p)
        options.ctx_size_in = options.ctx_size_out = len(context)
    _checked(
        library().bpf_prog_test_run_opts(prog_fd, ctypes.byref(options)), "running a program on a packet"
    )
    action = ctypes.c_int(options.retval).value
    return action, ctypes.string_at(out, options.data_size_out), int(options.duration)
