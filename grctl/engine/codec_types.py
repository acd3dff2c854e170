"""JSON text to typed values: one pydantic validator for each annotation, made once.

The types pydantic does not know (registered ones, attrs, ``msgspec.Struct``) and enums whose
values JSON changes are put into its schema, so that they work at any depth. bytes are base64
everywhere but inside a pydantic model, whose own config decides.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
import types
import typing
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, Final, get_args, get_origin

from pydantic import ConfigDict, PlainValidator, TypeAdapter
from pydantic_core import CoreConfig, SchemaValidator, core_schema
from typing_extensions import TypedDict as ReadableTypedDict
from typing_extensions import is_typeddict

from grctl.engine.codec_foreign import build_attrs, build_struct, is_attrs, is_struct
from grctl.engine.codec_registry import CodecRegistry

__all__ = ["TypedReaders"]

_CONFIG: Final = ConfigDict(val_json_bytes="base64", arbitrary_types_allowed=True)
_CORE_CONFIG: Final = CoreConfig(val_json_bytes="base64")
_MAX_CACHED: Final = 2048
_PLAIN_ENUM_VALUES: Final = (str, int, float, type(None))
# Parts of a core schema that hold values and functions, not schemas.
_OPAQUE: Final = frozenset(
    {"metadata", "default", "config", "serialization", "members", "expected"}
)

Replace = Callable[[dict[str, Any]], Any]


class TypedReaders:
    """The validators of one codec, by annotation.

    ``read(plain, annotation)`` makes one value from its plain form; ``write(value)`` gives the
    JSON text of one: both are the codec's, for what is nested in types pydantic does not know.
    """

    def __init__(
        self,
        registry: CodecRegistry | None,
        read: Callable[[Any, Any], Any],
        write: Callable[[Any], str],
    ) -> None:
        self._registry = registry
        self._read = read
        self._write = write
        self._version = 0
        # By identity first: it needs no hash and cannot mix up what merely compares equal
        # (``A | B`` and ``B | A``). The annotation is held, so that its id stays its own.
        self._by_identity: dict[int, tuple[Any, SchemaValidator]] = {}
        self._by_equality: dict[Any, SchemaValidator] = {}

    def find(self, annotation: Any) -> SchemaValidator:
        """The validator for an annotation. Raises whatever pydantic does where none can be made."""
        if self._registry is not None and self._registry.version != self._version:
            self._version = self._registry.version
            self._by_identity.clear()
            self._by_equality.clear()
        known = self._by_identity.get(id(annotation))
        if known is not None and known[0] is annotation:
            return known[1]
        return self._remember(annotation)

    def _remember(self, annotation: Any) -> SchemaValidator:
        if max(len(self._by_identity), len(self._by_equality)) >= _MAX_CACHED:
            self._by_identity.clear()
            self._by_equality.clear()
        key = None
        try:
            hash(annotation)
            key = (repr(annotation), annotation)
        except Exception:  # noqa: BLE001 - unhashable, or a user's metaclass: known by identity
            validator = self._made(annotation)
        else:
            validator = self._by_equality.get(key) or self._made(annotation)
            self._by_equality[key] = validator
        self._by_identity[id(annotation)] = (annotation, validator)
        return validator

    def with_surrogates(self, annotation: Any) -> SchemaValidator:
        """A validator over plain *Python* values that lets lone surrogates through.

        pydantic reads neither JSON nor str with them. Not cached: nobody writes such text often.
        Text inside a pydantic model and text with constraints stays pydantic's, and is refused.
        """
        return self._made(annotation, also=_python_node)

    def _made(self, annotation: Any, also: Replace | None = None) -> SchemaValidator:
        rewritten = self._rewritten(annotation)
        # In a list, because TypeAdapter lets no config be given for a dataclass or TypedDict.
        listed = TypeAdapter(list[rewritten], config=_CONFIG)  # type: ignore[valid-type]  # made at run time
        schema: Any = listed.core_schema
        if schema["type"] == "definitions":
            schema = {**schema, "schema": schema["schema"].get("items_schema", _ANY)}
        else:
            schema = schema.get("items_schema", _ANY)
        replaced = _walked(schema, self._replacement)
        if also is not None:
            replaced = _walked(replaced, also)
        # A class that is complete keeps its own validator, which knows nothing of what was put in.
        return SchemaValidator(replaced, _CORE_CONFIG, _use_prebuilt=replaced is schema)

    def _replacement(self, node: dict[str, Any]) -> Any:
        if node["type"] not in {"is-instance", "model", "dataclass", "enum"}:
            return None
        read = self._foreign(node.get("cls"))
        if read is None:
            return None
        return core_schema.no_info_plain_validator_function(read, ref=node.get("ref"))

    def _foreign(  # noqa: PLR0911 - a ladder of kinds
        self, cls: Any
    ) -> Callable[[Any], Any] | None:
        """What makes an instance of this class, if pydantic would not or not rightly."""
        if not isinstance(cls, type):
            return None
        registered = None if self._registry is None else self._registry.find(cls)
        if registered is not None:
            return partial(registered.read, cls)
        if is_struct(cls):
            return partial(build_struct, cls, read=self._read)
        if is_attrs(cls):
            return partial(build_attrs, cls, read=self._read)
        if issubclass(cls, Enum):
            if all(isinstance(member.value, _PLAIN_ENUM_VALUES) for member in cls):
                return None
            return partial(_enum_member, cls, {self._write(m.value): m for m in cls}, self._write)
        return None

    def _rewritten(  # noqa: PLR0911 - a ladder of kinds
        self, annotation: Any, within: tuple[Any, ...] = ()
    ) -> Any:
        """The annotation with foreign classes, and TypedDicts pydantic refuses, replaced."""
        origin = get_origin(annotation)
        if origin is None:
            if is_typeddict(annotation):
                return self._typed_dict(annotation, within)
            read = self._foreign(annotation)
            return annotation if read is None else typing.Annotated[Any, PlainValidator(read)]
        if origin is typing.Literal:
            return annotation
        if isinstance(origin, type) and origin not in (types.UnionType, type):
            read = self._foreign(origin)
            if read is not None:
                return typing.Annotated[Any, PlainValidator(read)]
        arguments = get_args(annotation)
        if origin is typing.Annotated:
            inner = self._rewritten(arguments[0], within)
            same = inner is arguments[0]
            return annotation if same else typing.Annotated[(inner, *arguments[1:])]
        new = tuple(
            self._rewritten(argument, within) if not isinstance(argument, (list, str)) else argument
            for argument in arguments
        )
        if all(one is other for one, other in zip(new, arguments, strict=True)):
            return annotation
        if origin in (typing.Union, types.UnionType):
            return typing.Union[new]  # noqa: UP007 - made from a tuple
        if hasattr(annotation, "copy_with"):
            return annotation.copy_with(new)
        return origin[new]

    def _typed_dict(self, annotation: Any, within: tuple[Any, ...]) -> Any:
        """Before Python 3.12 pydantic takes no ``typing.TypedDict``: the same one it does take."""
        if annotation in within:  # recursive: left to pydantic, whose message tells what to do
            return annotation
        hints = typing.get_type_hints(annotation, include_extras=True)
        new = {name: self._rewritten(hint, (*within, annotation)) for name, hint in hints.items()}
        changed = any(new[name] is not hint for name, hint in hints.items())
        if not changed and (sys.version_info >= (3, 12) or type(annotation).__module__ != "typing"):
            return annotation
        required = annotation.__required_keys__
        fields = {
            name: hint
            if _is_qualified(hint)
            else (typing.Required[hint] if name in required else typing.NotRequired[hint])
            for name, hint in new.items()
        }
        return ReadableTypedDict(annotation.__name__, fields)  # type: ignore[operator]  # made at run time


_ANY: Final = core_schema.any_schema()


def _is_qualified(hint: Any) -> bool:
    return getattr(get_origin(hint), "_name", "") in {"Required", "NotRequired", "ReadOnly"}


def _walked(node: Any, replace: Replace) -> Any:
    """The core schema with nodes replaced; the very same object where nothing was."""
    if isinstance(node, dict):
        if isinstance(node.get("type"), str):
            replaced = replace(node)
            if replaced is not None:
                return replaced
        new = {
            key: item if key in _OPAQUE else _walked(item, replace) for key, item in node.items()
        }
        return node if all(new[key] is item for key, item in node.items()) else new
    if isinstance(node, (list, tuple)):
        items = [_walked(item, replace) for item in node]
        if all(one is other for one, other in zip(items, node, strict=True)):
            return node
        return items if isinstance(node, list) else tuple(items)
    return node


def _python_node(node: dict[str, Any]) -> Any:
    """Text and bytes as this module reads them, for validating Python values instead of JSON."""
    readers = {"str": _any_text, "bytes": _base64}
    if node["type"] in readers and set(node) <= {"type", "ref", "metadata", "serialization"}:
        return core_schema.no_info_plain_validator_function(readers[node["type"]])
    return None


def _any_text(plain: Any) -> str:
    if isinstance(plain, str):
        return plain
    raise ValueError(f"expected a string, found {type(plain).__name__}")


def _base64(plain: Any) -> bytes:
    try:
        return base64.b64decode(_any_text(plain), validate=True)
    except binascii.Error as error:
        raise ValueError(f"expected base64 text: {error}") from error


def _enum_member(
    cls: type[Enum], members: dict[str, Enum], write: Callable[[Any], str], plain: Any
) -> Enum:
    """The member whose value has this JSON: a tuple, a date or bytes is no longer itself there."""
    member = members.get(write(plain))
    if member is None:
        raise ValueError(f"{json.dumps(plain)} is the value of no member of {cls.__name__}")
    return member
