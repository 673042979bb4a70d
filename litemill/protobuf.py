"""Protocol buffer messages from a few lines of definition, for formats whose generated code comes with TensorFlow only.

Fields that a definition leaves out are skipped when a message is parsed.
"""

from __future__ import annotations

from typing import Any

Definition = dict[str, dict[str, tuple[int, str]]]
"""Message name: field name: number and type (`bytes`, `repeated float`, a message, `map Message` from strings)."""

SCALARS = {"string": 9, "bytes": 12, "float": 2, "int32": 5, "int64": 3, "bool": 8}
"""Numbers of the scalar types in google.protobuf.FieldDescriptorProto.Type."""


def messages(package: str, definition: Definition) -> dict[str, Any]:
    """Build message classes.

    Args:
        package: A name of its own for the definition.
        definition: Messages and their fields.

    Returns:
        The classes by message name.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")

    def add(message: Any, name: str, number: int, kind: str) -> None:
        repeated, kind = kind.startswith(("repeated ", "map ")), kind.removeprefix("repeated ").removeprefix("map ")
        new = message.field.add(name=name, number=number)
        new.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
        if kind in SCALARS:
            new.type = SCALARS[kind]
        else:
            new.type, new.type_name = field.TYPE_MESSAGE, f".{package}.{kind}"

    for name, fields in definition.items():
        message = file.message_type.add(name=name)
        for key, (number, kind) in fields.items():
            if kind.startswith("map "):
                entry = message.nested_type.add(name="".join(part.title() for part in key.split("_")) + "Entry")
                entry.options.map_entry = True
                add(entry, "key", 1, "string")
                add(entry, "value", 2, kind.removeprefix("map "))
                add(message, key, number, f"repeated {name}.{entry.name}")
            else:
                add(message, key, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in definition
    }
