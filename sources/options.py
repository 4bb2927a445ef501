"""What the options of hypervisor sources have in common, for our drivers and anybody's.

One pydantic model per driver, made from `SourceOptions`: an unknown key is refused with the
nearest one, no error quotes a value, secrets come by value, file or environment variable, and a
CA is PEM text or the path of such a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from broker import human
from broker.dialing import UNPRIVILEGED, DialPolicy
from broker.errors import ConfigError
from broker.model import SourceName

WAYS = ("", "_file", "_env")
"""How a secret is given: `password`, `password_file`, `password_env`."""


def _blank_is_none(value: object) -> object:
    return None if value == "" else value


def _one_is_a_list(value: object) -> object:
    return [each.strip() for each in value.split(",")] if isinstance(value, str) else value


_LEADS = ("", "A file that holds it, relative to sources.yaml. ", "A variable that holds it. ")

Text = Annotated[str, Field(min_length=1)]
MaybeText = Annotated[str | None, BeforeValidator(_blank_is_none)]
Port = Annotated[int, Field(ge=1, le=65535)]
MaybePort = Annotated[Port | None, BeforeValidator(_blank_is_none)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_one_is_a_list)]
"""A list, or text with commas."""
CaSource = Annotated[str | None, BeforeValidator(_blank_is_none), Field(repr=False)]
"""PEM text, or the path of a file with it, relative to sources.yaml."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret as its entry gives it; `sources.reading` reads it. Its value is in no repr.

    Attributes:
        key: The option's name without `_file` or `_env`.
        way: One of `WAYS`.
        given: The secret itself, a path, or a variable's name.
    """

    key: str
    way: str
    given: str = field(repr=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        """`SourceOptions` makes them; pydantic only sees that it did."""
        return core_schema.is_instance_schema(cls)


class SourceOptions(BaseModel):
    """What every hypervisor's entry may say."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    dial_networks: Texts = ()
    """Networks (CIDR) that its consoles may be in; anywhere but this host, its link, and where
    clouds tell secrets when not given."""
    dial_ports: Texts = ()
    """Ports and ranges (`5900-6100`) that its consoles may be on; 1024-65535 when not given."""

    @model_validator(mode="before")
    @classmethod
    def _fold_secrets(cls, found: Any) -> Any:
        """`password_file: x` becomes the `Secret` of `password`."""
        if not isinstance(found, Mapping):
            return found
        folded = dict(found)
        for key in secrets_of(cls):
            given = [(way, folded.pop(key + way)) for way in WAYS if key + way in folded]
            given = [(way, value) for way, value in given if value is not None]
            if len(given) > 1:
                names = " and ".join(key + way for way, _ in given)
                raise ValueError(f"has {names}; keep one of them")
            for way, value in given:
                if not isinstance(value, str | int) or value == "":
                    raise ValueError(f"has an empty {key + way}")
                folded[key] = Secret(key, way, str(value))
        return folded

    @field_validator("dial_networks")
    @classmethod
    def _are_networks(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        import ipaddress

        for each in found:
            try:
                ipaddress.ip_network(each, strict=False)
            except ValueError:
                raise ValueError("has a dial_networks that is no network: 10.0.0.0/8") from None
        return found

    @field_validator("dial_ports")
    @classmethod
    def _are_ports(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        for each in found:
            low, _, high = each.partition("-")
            ends = (low.strip(), (high or low).strip())
            are_numbers = all(end.isascii() and end.isdigit() for end in ends)
            if not are_numbers or not 0 < int(ends[0]) <= int(ends[1]) < 65536:
                raise ValueError("has a dial_ports that is no range of ports: 5900-6100")
        return found

    def policy(self, *, local: bool = False) -> DialPolicy:
        """Where its consoles may be.

        Args:
            local: The hypervisor is on this host.
        """
        ranges = []
        for each in self.dial_ports:
            low, _, high = each.partition("-")
            ranges.append((int(low), int(high or low)))
        return DialPolicy(self.dial_networks, tuple(ranges) or (UNPRIVILEGED,), local)


Options = TypeVar("Options", bound=SourceOptions)


def parse_options(
    model: type[Options], name: SourceName, type_name: str, options: Mapping[str, object]
) -> Options:
    """An entry's options, checked.

    Args:
        type_name: The word after `type:`, for errors.

    Raises:
        ConfigError: An option is unknown (the nearest is offered), missing or wrong; no value is
            quoted.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as exc:
        raise _problem(model, name, type_name, exc) from None


def option_names(model: type[BaseModel]) -> list[str]:
    """All keys that an entry may have."""
    secret = secrets_of(model)
    return [
        key + way for key in model.model_fields for way in (WAYS if key in secret else WAYS[:1])
    ]


def options_schema(model: type[BaseModel]) -> Mapping[str, object]:
    """JSON Schema of an entry's options, the three ways of each secret spelled out.

    A secret given by value is `writeOnly`: whoever shows an entry leaves it out.
    """
    from pydantic.json_schema import GenerateJsonSchema

    class Generate(GenerateJsonSchema):
        def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> dict[str, Any]:
            return {"type": "string"}

    found = model.model_json_schema(schema_generator=Generate)
    secret = secrets_of(model)
    properties: dict[str, Any] = {}
    for key, told in found.get("properties", {}).items():
        text = told.pop("description", "").replace("\n", " ")
        told.pop("title", None)
        for way, lead in zip(WAYS if key in secret else WAYS[:1], _LEADS, strict=False):
            shape = {"type": "string"} if key in secret else told
            hidden = {"writeOnly": True} if key in secret and not way else {}
            properties[key + way] = shape | hidden | ({"description": lead + text} if text else {})
    needed = [key for key in found.get("required", ()) if key not in secret]
    one_of = [
        {"oneOf": [{"required": [key + way]} for way in WAYS]}
        for key in found.get("required", ())
        if key in secret
    ]
    return (
        {"type": "object", "additionalProperties": False, "properties": properties}
        | ({"required": needed} if needed else {})
        | ({"allOf": one_of} if one_of else {})
        | ({"$defs": found["$defs"]} if "$defs" in found else {})
    )


def secrets_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The options of a model that are secrets."""
    return tuple(
        key
        for key, told in model.model_fields.items()
        if told.annotation in (Secret, Secret | None)
    )


def _problem(
    model: type[BaseModel], name: SourceName, type_name: str, exc: ValidationError
) -> ConfigError:
    """Pydantic's first complaint in our words; no value is shown, it might be a secret."""
    errors: list[Any] = list(exc.errors(include_url=False, include_input=False))
    # a misspelt option is the reason why the right one is missing
    error = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    where = f"sources.yaml: {name}"
    key = human.one_line(".".join(str(each) for each in error["loc"]))
    names = option_names(model)
    match error["type"]:
        case "extra_forbidden":
            return ConfigError(
                f"{where}: {key} is not a setting of a {type_name} source",
                fix=human.did_you_mean(key, names) or f"There are: {', '.join(names)}",
            )
        case "missing" | "string_too_short":
            ways = [key + way for way in WAYS] if key in secrets_of(model) else [key]
            return ConfigError(
                f"{where}: its {key} is missing",
                fix=f"Add `{_or(ways)}: …`; see: {_see(type_name)}",
            )
        case "value_error":
            return ConfigError(f"{where} {error['ctx']['error']}", fix=f"See: {_see(type_name)}")
        case _:
            said = str(error["msg"]).removeprefix("Input should be ")
            return ConfigError(f"{where}: {key} is not {said}", fix=f"See: {_see(type_name)}")


def _see(type_name: str) -> str:
    return f"broker sources schema {type_name}"


def _or(names: Iterable[str]) -> str:
    return "` or `".join(names)
