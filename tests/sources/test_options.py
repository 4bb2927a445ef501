"""Options of sources: what is refused, how secrets and CAs are given, and that none is shown."""

from pathlib import Path

import pytest

from broker.dialing import UNPRIVILEGED, DialPolicy
from broker.driver import DriverContext
from broker.errors import ConfigError
from broker.model import SourceName
from sources.options import (
    CaSource,
    Secret,
    SourceOptions,
    Text,
    option_names,
    options_schema,
    parse_options,
)
from sources.reading import Reader
from sources.vetting import problems_of

LAB = SourceName("lab")


class Options(SourceOptions):
    url: Text
    """Where it answers."""
    password: Secret
    """What it wants to hear."""
    token: Secret | None = None
    retries: int = 2
    ca: CaSource = None


def parse(**given: object) -> Options:
    return parse_options(Options, LAB, "fake", given)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(LAB, DriverContext(config_dir=tmp_path, data_dir=tmp_path, runtime_dir=tmp_path))


def test_a_secret_comes_by_value_file_or_variable(
    tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pw").write_text("from-file\n")
    (tmp_path / "pw").chmod(0o600)
    monkeypatch.setenv("PW", "from-env")
    assert reader.secret(parse(url="x", password="s3cret").password) == "s3cret"
    assert reader.secret(parse(url="x", password=12345).password) == "12345"
    assert reader.secret(parse(url="x", password_file="pw").password) == "from-file"
    assert reader.secret(parse(url="x", password_env="PW").password) == "from-env"
    assert not reader.warnings
    (tmp_path / "pw").chmod(0o644)
    reader.secret(parse(url="x", password_file="pw").password)
    assert "chmod 600" in " ".join(reader.warnings)


def test_what_cannot_be_read_is_told_without_the_secret(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "empty").touch(0o600)
    for given, words in (
        ({"password_file": "none"}, "cannot be read"),
        ({"password_file": "empty"}, "is empty"),
        ({"password_env": "NOT_THERE_AT_ALL"}, "not set"),
    ):
        with pytest.raises(ConfigError, match=words):
            reader.secret(parse(url="x", **given).password)
    with pytest.raises(ConfigError, match="ca holds no certificate"):
        reader.ca("-----BEGIN nothing", "ca")


@pytest.mark.parametrize(
    ("given", "what", "fix"),
    [
        ({"passwort": "s3cret"}, "passwort is not a setting of a fake source", "password"),
        ({"password_fil": "s3cret"}, "password_fil is not", "password_file"),
        ({}, "its password is missing", "password_env"),
        ({"password": "s3cret", "password_env": "X"}, "has password and password_env", ""),
        ({"password": ""}, "an empty password", ""),
        ({"password": ["s3cret"]}, "an empty password", ""),
        ({"password": "p", "retries": "s3cret"}, "retries is not", ""),
        ({"password": "p", "dial_networks": "s3cret"}, "dial_networks that is no network", ""),
        ({"password": "p", "dial_ports": "5900-x"}, "dial_ports that is no range", ""),
        ({"password": "p", "dial_ports": "6100-5900"}, "dial_ports that is no range", ""),
    ],
)
def test_a_wrong_option_is_named_and_its_value_is_not(
    given: dict[str, object], what: str, fix: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url="https://x", **given)
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert "s3cret" not in str(caught.value)


def test_no_secret_is_in_a_representation() -> None:
    options = parse(url="x", password="s3cret", ca="-----BEGIN of-the-ca")
    assert "s3cret" not in repr(options)
    assert "of-the-ca" not in repr(options)


def test_the_policy_is_what_the_options_say() -> None:
    assert parse(url="x", password="p").policy() == DialPolicy((), (UNPRIVILEGED,))
    options = parse(
        url="x", password="p", dial_networks="10.0.0.0/8, ::/0", dial_ports=["5900-6100", "22"]
    )
    expected = DialPolicy(("10.0.0.0/8", "::/0"), ((5900, 6100), (22, 22)), local=True)
    assert options.policy(local=True) == expected


def test_the_schema_has_each_way_of_a_secret() -> None:
    schema = options_schema(Options)
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert sorted(properties) == sorted(option_names(Options))
    assert properties["password_file"]["description"].startswith("A file that holds it")
    assert schema["required"] == ["url"]
    assert "password_env" in str(schema["allOf"])


def test_the_schema_says_which_values_are_not_to_be_shown() -> None:
    properties = options_schema(Options)["properties"]
    assert isinstance(properties, dict)
    hidden = [key for key, told in properties.items() if told.get("writeOnly")]
    assert hidden == ["password", "token"]


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"url": "x", "password": "p"}, {}),
        ({}, {"url": "is needed", "password": "is needed"}),
        ({"url": "", "password_env": "X"}, {"url": "is needed"}),
        ({"url": "x", "password": "p", "retries": "s3cret"}, {"retries": "is not a whole number"}),
        ({"url": "x", "password": "p", "retrys": 1}, {"retrys": "is not a setting here"}),
        ({"url": "x", "password": "p", "password_env": "X"}, {"": "keep one of them"}),
        (
            {"url": "x", "password": "p", "dial_ports": "s3cret", "retries": "s3cret"},
            {"dial_ports": "is no range", "retries": "is not a whole number"},
        ),
    ],
)
def test_each_wrong_option_is_told_by_its_key_without_its_value(
    given: dict[str, object], problems: dict[str, str]
) -> None:
    found = problems_of(Options, given)
    assert found.keys() == problems.keys()
    assert all(problems[key] in text for key, text in found.items())
    assert "s3cret" not in str(found)
