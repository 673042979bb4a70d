"""Values as literals of C++ and Kotlin. What is in them came with somebody's data: none may end its literal."""

from __future__ import annotations

import numpy as np

BYTES_A_LINE = 16


def c_string(text: str) -> str:
    """A string literal of C++: UTF-8, each byte that is not a plain character as three octal digits."""
    data = text.encode("utf-8", "surrogatepass")
    return '"' + "".join(chr(byte) if _is_plain(byte) else f"\\{byte:03o}" for byte in data) + '"'


def kotlin_string(text: str) -> str:
    """A string literal of Kotlin: UTF-16, each unit that is not a plain character as four hexadecimal digits."""
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2").tolist()
    return '"' + "".join(chr(unit) if _is_plain(unit) else f"\\u{unit:04x}" for unit in units) + '"'


def _is_plain(code: int) -> bool:
    return code < 128 and (chr(code).isalnum() or chr(code) in " -_.,:")


def number(value: float) -> str:
    """A number of C++ and Kotlin that reads back as the same float32."""
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0")
    return f"{text}f"


def array(data: bytes) -> str:
    """Bytes as the elements of an array of C++, some in a line."""
    lines = (data[at : at + BYTES_A_LINE] for at in range(0, len(data), BYTES_A_LINE))
    return "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in line) for line in lines)
