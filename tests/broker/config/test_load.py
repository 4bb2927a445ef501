from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from broker.config.load import Loaded, load_settings
from broker.config.locations import Locations
from broker.config.settings import Settings
from broker.errors import ConfigError


def load(locations: Locations, text: str | None = None, **env: str) -> Loaded:
    if text is not None:
        locations.broker_yaml.write_text(text)
    return load_settings(locations, env)


def test_without_a_file_the_defaults_hold(locations: Locations) -> None:
    loaded = load(locations)
    assert loaded.settings == Settings()
    assert set(loaded.provenance.values()) == {"default"}


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "proxy:\n", "{}"])
def test_an_empty_file_changes_nothing(locations: Locations, text: str) -> None:
    assert load(locations, text).settings == Settings()


def test_the_file_wins_over_the_default_and_the_environment_over_the_file(
    locations: Locations,
) -> None:
    loaded = load(
        locations,
        "proxy: {tls_port: 5921, listen: 0.0.0.0}\nvm: {stop_timeout: 5}\n",
        BROKER_PROXY_TLS_PORT="5922",
    )
    assert loaded.settings.proxy.tls_port == 5922
    assert loaded.settings.proxy.listen == "0.0.0.0"
    assert loaded.settings.vm.stop_timeout == 5.0
    assert loaded.provenance["proxy.tls_port"] == "BROKER_PROXY_TLS_PORT"
    assert loaded.provenance["proxy.listen"] == str(locations.broker_yaml)
    assert loaded.provenance["proxy.token_ttl"] == "default"


def test_lists_come_from_yaml_or_as_words(locations: Locations) -> None:
    loaded = load(
        locations,
        "viewer: {command: [remote-viewer, --full-screen]}\n",
        BROKER_PROXY_CERTIFICATE_NAMES="a.example 'b c'",
    )
    assert loaded.settings.viewer.command == ("remote-viewer", "--full-screen")
    assert loaded.settings.proxy.certificate_names == ("a.example", "b c")


def test_an_empty_variable_is_none_where_none_is_allowed(locations: Locations) -> None:
    loaded = load(locations, "proxy: {public_host: h}\n", BROKER_PROXY_PUBLIC_HOST="")
    assert loaded.settings.proxy.public_host is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proxy: {tls_prot: 1}", "proxy.tls_prot is not a setting. Did you mean tls_port?"),
        ("prxy: {}", "prxy is not a setting. Did you mean proxy?"),
        ("proxy: 5", "proxy is not a group of settings"),
        ("proxy: {tls_port: 70000}", "proxy.tls_port is 70000; ports go from 1 to 65535"),
        ("proxy: {tls_port: '1'}", 'proxy.tls_port is "1"; a whole number is wanted, without'),
        ("proxy: {tls_port: yes}", "proxy.tls_port is true; a whole number is wanted"),
        ("proxy: {tls_port: 1.5}", "proxy.tls_port is 1.5; a whole number is wanted"),
        ("proxy: {listen: 5}", "proxy.listen is 5; text is wanted"),
        ("proxy: {token_ttl: .nan}", "proxy.token_ttl is NaN; a number is wanted"),
        ("proxy: {token_ttl: 0}", "proxy.token_ttl is 0; 1 to 3.1536e+07 are allowed"),
        ("log: {level: loud}", 'log.level is "loud"; \'debug\', \'info\''),
        ("viewer: {command: remote-viewer}", "viewer.command is \"remote-viewer\"; a list"),
        ("- proxy", "must hold groups of settings"),
        ("proxy: {tls_port: 1, workers: -1, listen: 5}", "There are 1 more mistakes in it"),
        ("5: 6", "5 is not a setting"),
        ("proxy: {2020-01-01: x}", "holds a key that is no text"),
        ("proxy: {listen: 2020-13-45}", "is no date or number"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_file_the_key_and_what_is_allowed(
    locations: Locations, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(locations, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(locations.broker_yaml))


def test_a_syntax_error_names_the_line(locations: Locations) -> None:
    with pytest.raises(ConfigError, match=r"broker\.yaml:3: is not YAML"):
        load(locations, "proxy:\n  tls_port: 1\n listen: x\n")


def test_a_key_that_stands_twice_is_a_mistake(locations: Locations) -> None:
    with pytest.raises(ConfigError, match=r"broker\.yaml:3: .*second time"):
        load(locations, "proxy:\n  tls_port: 1\n  tls_port: 2\n")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("BROKER_PROXY_TLS_PORT", "x", "BROKER_PROXY_TLS_PORT is x; a whole number is wanted"),
        ("BROKER_PROXY_TLS_PORT", "70000", "BROKER_PROXY_TLS_PORT is 70000; ports go"),
        ("BROKER_VIEWER_COMMAND", "'open", "BROKER_VIEWER_COMMAND: is no list"),
        ("BROKER_LOG_LEVEL", "loud", "BROKER_LOG_LEVEL is loud; "),
    ],
)
def test_a_wrong_variable_is_named(
    locations: Locations, variable: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(locations, **{variable: value})
    assert str(caught.value).startswith(message)


def test_a_variable_of_ours_that_sets_nothing_is_a_warning(locations: Locations) -> None:
    loaded = load(locations, BROKER_PROXY_TLS_PROT="1", BROKER_URL="amqp://elsewhere")
    assert loaded.warnings == (
        "BROKER_PROXY_TLS_PROT sets nothing. Did you mean BROKER_PROXY_TLS_PORT?",
    )


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("BROKER_PROXY_WORKRES", " Did you mean BROKER_PROXY_WORKERS?"),
        ("BROKER_PORXY_WORKERS", " Did you mean BROKER_PROXY_WORKERS?"),
        ("BROKER_LOGLEVEL", " Did you mean BROKER_LOG_LEVEL?"),
        ("BROKER_HOEM", " Did you mean BROKER_HOME?"),
        ("BROKER_VM_QUX", " Did you mean BROKER_VM_QEMU?"),
        ("BROKER_VM_ABCDEFGHIJ", ""),
    ],
)
def test_a_slip_in_a_variable_is_said_with_what_is_meant(
    locations: Locations, variable: str, meant: str
) -> None:
    assert load(locations, **{variable: "2"}).warnings == (f"{variable} sets nothing.{meant}",)


def test_variables_of_others_and_our_own_home_are_nobodys_slip(locations: Locations) -> None:
    others = ("BROKER_URL", "BROKER_HOST", "BROKER_PORT", "BROKER_USER", "BROKER_HOME", "BROKER_ID")
    assert load(locations, **dict.fromkeys(others, "2")).warnings == ()


def test_a_database_url_is_never_quoted(locations: Locations) -> None:
    with pytest.raises(ConfigError) as caught:
        load(locations, "store: {url: [postgresql://u:pw-secret@h/d]}")
    assert "pw-secret" not in str(caught.value)


def test_a_directory_in_its_place_is_a_config_error(locations: Locations) -> None:
    locations.broker_yaml.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load(locations)


# -- the cache


def test_what_was_checked_is_remembered_and_the_same(locations: Locations) -> None:
    first = load(locations, "proxy: {tls_port: 5921}\nviewer: {command: [a]}\n")
    assert locations.settings_cache.stat().st_mode & 0o777 == 0o600
    assert load(locations) == first


def test_the_second_start_imports_neither_yaml_nor_pydantic(locations: Locations) -> None:
    load_settings(locations, {})
    locations.broker_yaml.write_text("proxy: {tls_port: 5921}\n")
    code = (
        "import sys\n"
        "from broker.config.load import load_settings\n"
        "from broker.config.locations import Locations\n"
        "load_settings(Locations.from_env())\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules}"
        " & {'yaml', 'pydantic', 'typing_extensions', 'asyncio', 'annotated_types'}))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert "yaml" in runs[0].stdout
    assert runs[1].stdout.strip() == "[]"


def test_a_changed_file_is_read_again(locations: Locations) -> None:
    load(locations, "proxy: {tls_port: 5921}\n")
    assert load(locations, "proxy: {tls_port: 5922}\n").settings.proxy.tls_port == 5922


def test_a_changed_environment_is_read_again(locations: Locations) -> None:
    load(locations, BROKER_PROXY_TLS_PORT="5921")
    again = load(locations, BROKER_PROXY_TLS_PORT="5922")
    assert again.settings.proxy.tls_port == 5922


@pytest.mark.parametrize(
    "junk",
    [b"", b"{", b"[]", b"\xff", b"null", b'{"key": 1}', b"[" * 100_000],
    ids=["empty", "cut", "list", "bytes", "null", "no values", "deep"],
)
def test_a_damaged_cache_is_never_an_error(locations: Locations, junk: bytes) -> None:
    locations.settings_cache.write_bytes(junk)
    loaded = load(locations, "proxy: {tls_port: 5921}\n")
    assert loaded.settings.proxy.tls_port == 5921


def test_a_cache_with_settings_we_no_longer_have_is_passed_over(locations: Locations) -> None:
    load(locations, "proxy: {tls_port: 5921}\n")
    held = json.loads(locations.settings_cache.read_text())
    held["values"]["proxy.gone"] = 1
    locations.settings_cache.write_text(json.dumps(held))
    assert load(locations).settings.proxy.tls_port == 5921


def test_a_cache_that_cannot_be_written_is_never_an_error(locations: Locations) -> None:
    locations.settings_cache.mkdir()
    assert load(locations, "proxy: {tls_port: 5921}\n").settings.proxy.tls_port == 5921
    assert list(locations.state_dir.iterdir()) == [locations.settings_cache]


def test_a_mistake_is_not_remembered(locations: Locations) -> None:
    with pytest.raises(ConfigError):
        load(locations, "proxy: {tls_port: x}\n")
    assert not Path(locations.settings_cache).exists()
