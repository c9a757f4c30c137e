"""Which columns of a table have the images and their keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from ovocr.base.errors import UsageError
from ovocr.base.object_store import is_url
from ovocr.dataset.manifest import SourceOptions
from ovocr.labelgen.sources.found_source import NoImagesError
from ovocr.labelgen.sources.items import is_image_name

IMAGE_COLUMNS = (
    *("image", "img", "jpg", "jpeg", "png", "webp", "picture", "image_bytes", "bytes", "content", "data"),
    *("images", "imgs", "avif", "tif", "tiff"),
)
PATH_COLUMNS = ("image_path", "file_name", "filename", "path", "file", "image_file", "filepath")
KEY_COLUMNS = ("key", "__key__", "url", "id")
# In place of the name of a column of keys: the keys are the row numbers.
ROW_NUMBER = "row-number"
# Number of rows that are looked at before a run.
HEAD_ROWS = 64
_URL_ADVICE = "fetch them first, such as with img2dataset: docs/obelics.md shows how"
_SHOWN = 80


class Head(Protocol):
    """The start of a table."""

    def __call__(self, column: str) -> pa.Array | None:
        """Returns the first values of a column, or None if they cannot be read. Raises ArrowException."""


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table that are read.

    image: column of encoded images, or of paths if ``paths``; a list of several images per row if ``many``.
    key: column of keys; with ``key_field``, a field of its structs. None if the keys are the row numbers.
    """

    image: str
    many: bool
    paths: bool
    key: str | None
    key_field: str | None

    @property
    def names(self) -> list[str]:
        """The names of the columns, each once."""
        return list(dict.fromkeys([self.image, *([self.key] if self.key else [])]))


def find_columns(schema: pa.Schema, head: Head, options: SourceOptions, source: str) -> TableColumns:
    """Returns the columns with images and keys.

    head: returns the first values of a column. options: may name the columns, and the folder of images that a table
    has only the paths of.

    Raises NoImagesError if no column has encoded images, or paths while there is such a folder; UsageError if several
    columns do, or if an option names a column that is missing or of a wrong type.
    """
    image = _find_image(schema, head, options, source)
    type = schema.field(image).type
    element = _element(type)
    key, key_field = _find_key(schema, image, options, source)
    return TableColumns(
        image, many=element is not None, paths=not _has_bytes(element or type), key=key, key_field=key_field
    )


def _find_image(schema: pa.Schema, head: Head, options: SourceOptions, source: str) -> str:
    if options.image_column is not None:
        return _named_image(schema, head, options, source)
    columns = [field.name for field in schema if _has_bytes(_element(field.type) or field.type)]
    preferred = [name for name in IMAGE_COLUMNS if name in columns]
    if len(columns) > 1 and not preferred:
        raise UsageError(
            f"{source}: several columns of encoded images: {', '.join(columns)}; name one with --image-column"
        )
    if columns:
        image = preferred[0] if preferred else columns[0]
        _check_has_bytes(schema, image, head, options, source)
        return image
    paths = _find_paths(schema, head)
    if paths is not None and options.image_root is not None:
        return paths[0]
    raise NoImagesError(_no_images(schema, head, paths, source))


def _named_image(schema: pa.Schema, head: Head, options: SourceOptions, source: str) -> str:
    name = str(options.image_column)
    if name not in schema.names:
        raise UsageError(f"{source}: has no column {name!r} (--image-column); its columns: {', '.join(schema.names)}")
    type = schema.field(name).type
    if _has_bytes(_element(type) or type):
        _check_has_bytes(schema, name, head, options, source)
    elif not _has_paths(_element(type) or type):
        raise UsageError(f"{source}: column {name!r} (--image-column) has no images: its type is {type}")
    elif options.image_root is None:
        raise UsageError(_only_paths(name, _first_path(head, name), source))
    return name


def _check_has_bytes(schema: pa.Schema, name: str, head: Head, options: SourceOptions, source: str) -> None:
    """Raises UsageError if the first rows have only paths and no folder of images is known."""
    type = schema.field(name).type
    type = _element(type) or type
    if options.image_root is not None or not pa.types.is_struct(type) or not _has_paths(type):
        return
    values = head(name)
    if values is None:
        return
    values = flat(values)
    if values.field("bytes").null_count == len(values) and (path := first_text(values.field("path"))):
        raise UsageError(_only_paths(name, path, source))


def _only_paths(name: str, path: str | None, source: str) -> str:
    such = f", such as {path[:_SHOWN]!r}," if path else ""
    if path and is_url(path):
        return f"{source}: column {name!r} has URLs{such} instead of images; {_URL_ADVICE}"
    return f"{source}: column {name!r} has paths{such} instead of images; name their folder with --image-root DIR"


def _find_paths(schema: pa.Schema, head: Head) -> tuple[str, str | None] | None:
    """Returns a column of paths and its first path. Texts count only if the first one is the name of an image."""
    fields = [field for field in schema if _has_paths(_element(field.type) or field.type)]
    order = [*IMAGE_COLUMNS, *PATH_COLUMNS]
    fields.sort(key=lambda field: order.index(field.name) if field.name in order else len(order))
    for field in fields:
        text = _first_path(head, field.name)
        struct = pa.types.is_struct(_element(field.type) or field.type)
        if struct or (text is not None and is_image_name(text) and not is_url(text)):
            return field.name, text
    return None


def _no_images(schema: pa.Schema, head: Head, paths: tuple[str, str | None] | None, source: str) -> str:
    if paths is not None:
        return _only_paths(*paths, source)
    for name in _texts(schema):
        text = _first_path(head, name)
        if text is not None and text.lower().startswith(("http://", "https://")):
            return _only_paths(name, text, source)
    return (
        f"{source}: expected a column of encoded images (binary, struct<bytes, path>, or a list of these), "
        f"found none among {', '.join(schema.names)}"
    )


def _texts(schema: pa.Schema) -> Iterator[str]:
    """Yields the columns of texts, those with a usual name of URLs first."""
    names = [field.name for field in schema if _is_text(_element(field.type) or field.type)]
    return iter(sorted(names, key=lambda name: not ("url" in name.lower() or name in IMAGE_COLUMNS)))


def _first_path(head: Head, name: str) -> str | None:
    values = head(name)
    if values is None:
        return None
    values = flat(values)
    return first_text(values.field("path") if pa.types.is_struct(values.type) else values)


def first_text(values: pa.Array) -> str | None:
    """Returns the first text that is not null."""
    kept = values.drop_null()
    return str(kept[0].as_py()) if len(kept) else None


def flat(values: pa.Array) -> pa.Array:
    """Returns the elements of lists; other values as they are."""
    return values if _element(values.type) is None else values.flatten()


def _find_key(schema: pa.Schema, image: str, options: SourceOptions, source: str) -> tuple[str | None, str | None]:
    if options.image_key_column is None:
        for name in KEY_COLUMNS:
            if name in schema.names and _is_key(schema.field(name).type):
                return name, None
        return (image, "path") if _field_type(schema, image, "path") is not None else (None, None)
    wanted = options.image_key_column
    if wanted == ROW_NUMBER and wanted not in schema.names:
        return None, None
    column, dot, field = wanted.partition(".")
    if wanted in schema.names:
        column, field, type = wanted, "", schema.field(wanted).type
    else:
        type = _field_type(schema, column, field) if dot and column in schema.names else None
    if type is None:
        raise UsageError(f"{source}: has no column {wanted!r} for the keys; its columns: {', '.join(schema.names)}")
    if not _is_key(type):
        raise UsageError(f"{source}: column {wanted!r} cannot have keys, which are texts or integers: it has {type}")
    return column, field or None


def _field_type(schema: pa.Schema, column: str, field: str) -> pa.DataType | None:
    type = schema.field(column).type
    if not pa.types.is_struct(type) or type.get_field_index(field) < 0:
        return None
    return type.field(field).type


def _element(type: pa.DataType) -> pa.DataType | None:
    """Returns the type of a list's elements; None if it is no list."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return type.value_type if any(is_list(type) for is_list in lists) else None


def _has_bytes(type: pa.DataType) -> bool:
    return _is_binary(_struct_field(type, "bytes"))


def _has_paths(type: pa.DataType) -> bool:
    return _is_text(_struct_field(type, "path"))


def _struct_field(type: pa.DataType, name: str) -> pa.DataType:
    """Returns the type of a struct's field, null if it has none; the type itself if it is no struct."""
    if not pa.types.is_struct(type):
        return type
    return type.field(name).type if type.get_field_index(name) >= 0 else pa.null()


def _is_binary(type: pa.DataType) -> bool:
    return _is_one_of(type, ("is_binary", "is_large_binary", "is_binary_view"))


def _is_text(type: pa.DataType) -> bool:
    return _is_one_of(type, ("is_string", "is_large_string", "is_string_view"))


def _is_key(type: pa.DataType) -> bool:
    return _is_text(type) or bool(pa.types.is_integer(type))


def _is_one_of(type: pa.DataType, tests: Sequence[str]) -> bool:
    # Views came with PyArrow 16.
    return any(getattr(pa.types, test)(type) for test in tests if hasattr(pa.types, test))
